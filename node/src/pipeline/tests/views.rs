//! Questions through views: the vector before noise is the exact answer of the views' own SQL.

use skerry_privacy::policy::Ownership;

use super::*;

/// Views of the visits under other names: mapped, filtered, joined, aggregated per person, united.
const VIEWS: &str = r#"
[[view]]
name = "contacts"
sql = """
SELECT person_id AS patient_id,
       CASE plan WHEN 11 THEN 'free' ELSE 'shared' END AS care,
       CASE health WHEN 'excellent' THEN 'well' WHEN 'good' THEN 'well'
                   WHEN 'fair' THEN 'ill' WHEN 'poor' THEN 'very ill' END AS state,
       year + 1973 AS calendar_year, mdvis / 2.0 AS amount, inpdol AS cost
FROM visits WHERE age >= 18"""

[view.columns]
patient_id = {}
care = {}
state = { values = ["well", "ill", "unknown"], nulls = false }
calendar_year = {}
amount = {}
cost = { range = [0, 50000] }

[[view]]
name = "persons"
hidden = true
sql = """
SELECT person_id AS id, MAX(age) AS oldest, SUM(totadm) AS admissions
FROM visits v
WHERE EXISTS (SELECT 1 FROM visits w WHERE w.person_id = v.person_id AND w.year = 1)
GROUP BY person_id"""

[view.columns]
id = {}
oldest = {}
admissions = { range = [0, 80] }

[[view]]
name = "adults"
sql = "SELECT id AS patient_id, admissions FROM persons WHERE oldest >= 18"

[view.columns]
patient_id = {}
admissions = {}

[[view]]
name = "use_of_care"
sql = """
SELECT CAST(v.person_id AS VARCHAR) AS patient_id, p.kind, v.mdvis AS n FROM visits v JOIN plans p ON v.plan = p.plan
UNION ALL
SELECT CAST(person_id AS VARCHAR), 'admission', totadm FROM visits WHERE totadm > 0
  AND person_id NOT IN (SELECT person_id FROM visits WHERE year = 5)"""
max_rows_per_unit = 10

[view.columns]
patient_id = {}
kind = { values = ["free", "shared", "admission"], nulls = false }
n = { range = [0, 77] }

[[view]]
name = "kinds"
sql = "SELECT kind, plan * 10 AS code FROM plans WHERE plan > 10"

[view.columns]
kind = {}
code = {}
"#;

/// What the engine is told the views are.
const SAME: &[(&str, &str)] = &[
    (
        "contacts",
        "SELECT person_id AS patient_id, CASE plan WHEN 11 THEN 'free' ELSE 'shared' END AS care, \
         CASE WHEN health IN ('excellent', 'good') THEN 'well' WHEN health = 'fair' THEN 'ill' END AS state, \
         year + 1973 AS calendar_year, mdvis / 2.0 AS amount, inpdol AS cost FROM visits WHERE age >= 18",
    ),
    (
        "adults",
        "SELECT person_id AS patient_id, SUM(totadm) AS admissions FROM visits v \
         WHERE person_id IN (SELECT person_id FROM visits WHERE year = 1) \
         GROUP BY person_id HAVING MAX(age) >= 18",
    ),
    (
        "use_of_care",
        "SELECT CAST(person_id AS VARCHAR) AS patient_id, CASE plan WHEN 11 THEN 'free' ELSE 'shared' END AS kind, mdvis AS n FROM visits \
         UNION ALL SELECT CAST(person_id AS VARCHAR), 'admission', totadm FROM visits v WHERE totadm > 0 \
         AND NOT EXISTS (SELECT 1 FROM visits w WHERE w.person_id = v.person_id AND w.year = 5)",
    ),
    (
        "kinds",
        "SELECT kind, plan * 10 AS code FROM plans WHERE plan > 10",
    ),
];

async fn bench_of_views() -> Bench {
    let bench = bench_with(VIEWS).await;
    for (name, sql) in SAME {
        let create = format!("CREATE VIEW {name} AS {sql}");
        bench.exact.sql(&create).await.unwrap();
    }
    bench
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_its_sql() {
    let bench = bench_of_views().await;
    let questions = [
        (
            "SELECT care, COUNT(*), SUM(amount), AVG(cost) FROM contacts GROUP BY care",
            1,
        ),
        (
            "SELECT calendar_year, care, COUNT(DISTINCT patient_id) FROM contacts GROUP BY calendar_year, care",
            2,
        ),
        (
            "SELECT COUNT(*), SUM(admissions) FROM adults WHERE admissions > 1",
            0,
        ),
        (
            "SELECT SUM(a.admissions), SUM(c.amount) FROM contacts c JOIN adults a ON c.patient_id = a.patient_id",
            0,
        ),
        (
            "SELECT kind, COUNT(*), SUM(n) FROM use_of_care GROUP BY kind",
            1,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT patient_id, SUM(n) AS n FROM use_of_care GROUP BY patient_id) t WHERE n > 10",
            0,
        ),
        (
            "SELECT COUNT(*) FROM use_of_care a JOIN use_of_care b ON a.patient_id = b.patient_id AND a.n < b.n",
            0,
        ),
        (
            "SELECT k.kind, COUNT(*) FROM visits v JOIN kinds k ON v.plan * 10 = k.code GROUP BY k.kind",
            1,
        ),
    ];
    for (sql, keys) in questions {
        agrees(&bench, sql, keys).await;
    }
    // What isn't listed is NULL before any expression sees it, and what is listed has its group.
    agrees_with(
        &bench,
        "SELECT state, COUNT(*), SUM(CASE WHEN state IS NULL THEN 1 ELSE 0 END) FROM contacts GROUP BY state",
        "SELECT state, COUNT(*), 0 FROM contacts WHERE state IS NOT NULL GROUP BY state",
        1,
    )
    .await;
    agrees_with(
        &bench,
        "SELECT COUNT(*) FROM contacts WHERE state IS NULL",
        "SELECT COUNT(*) FROM visits WHERE age >= 18 AND (health IS NULL OR health = 'poor')",
        0,
    )
    .await;
    let groups = through_the_node(
        &bench,
        "SELECT state, COUNT(*) FROM contacts GROUP BY state",
    )
    .await;
    let names: Vec<&str> = groups.iter().map(|(keys, _)| keys[0].as_str()).collect();
    assert_eq!(names, ["ill", "unknown", "well"]);
    assert_eq!(groups[1].1, [0.0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_from_a_view_is_announced() {
    let bench = bench_of_views().await;
    let policy = bench.node.catalogue.policy();
    let offered: Vec<&str> = policy.offered().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        offered,
        [
            "kinds",
            "plans",
            "visits",
            "adults",
            "contacts",
            "use_of_care"
        ]
    );
    let told = |view: &str| {
        let table = policy.columns_of(view).unwrap();
        let columns: Vec<String> = (table.columns.iter())
            .map(|column| format!("{} {}: {:?}", column.name, column.data_type, column.domain))
            .collect();
        let rows = match &table.ownership {
            Ownership::Private {
                unit,
                max_rows_per_unit,
            } => format!("{max_rows_per_unit} a {unit}"),
            Ownership::Public { rows } => format!("{} public", rows.len()),
        };
        (rows, columns)
    };
    let (rows, columns) = told("contacts");
    assert_eq!(rows, "5 a patient_id");
    assert_eq!(columns[0], "patient_id integer: Unknown");
    assert_eq!(
        columns[1],
        "care text: Values([Text(\"free\"), Text(\"shared\")])"
    );
    assert_eq!(
        columns[3],
        "calendar_year integer: Values([Integer(1974), Integer(1975), Integer(1976), Integer(1977), Integer(1978)])"
    );
    assert_eq!(columns[4], "amount float: Range(Float(0.0), Float(38.5))");
    assert_eq!(columns[5], "cost float: Range(Float(0.0), Float(50000.0))");
    let (rows, columns) = told("adults");
    assert_eq!(rows, "1 a patient_id");
    assert_eq!(
        columns[1],
        "admissions integer: Range(Integer(0), Integer(80))"
    );
    // Two branches of five rows each; declared as ten, which says the same.
    assert_eq!(told("use_of_care").0, "10 a patient_id");
    assert_eq!(told("use_of_care").1[0], "patient_id text: Unknown");
    assert_eq!(told("kinds").0, "9 public");
}

/// A declared number of rows below what the tables allow means less noise, and clips whoever has
/// more: the answer is too low, never wider than claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_declared_number_of_rows_narrows_the_bound() {
    let view = |rows: &str| {
        format!(
            "\n[[view]]\nname = \"few\"\nsql = \"SELECT person_id, mdvis FROM visits\"\n{rows}\n\
             [view.columns]\nperson_id = {{}}\nmdvis = {{}}\n"
        )
    };
    let sql = "SELECT COUNT(*) FROM few";
    let as_tables = bench_with(&view("")).await;
    let narrowed = bench_with(&view("max_rows_per_unit = 2")).await;
    let noise = |bench: &Bench| {
        let quoted = Admitted::admit(&bench.node, &question(&bench.node, sql))
            .and_then(|admitted| admitted.quote(&bench.node))
            .unwrap();
        let quote = quoted.quote();
        quote.noise.scale() as f64 * quote.measures[0].grid.step()
    };
    let (wide, narrow) = (noise(&as_tables), noise(&narrowed));
    assert!((wide / narrow - 2.5).abs() < 1e-3, "{wide} {narrow}");
    agrees(&as_tables, "SELECT COUNT(*) FROM visits", 0).await;
    let all = through_the_node(&as_tables, sql).await[0].1[0];
    let clipped = through_the_node(&narrowed, sql).await[0].1[0];
    let persons =
        through_the_node(&narrowed, "SELECT COUNT(DISTINCT person_id) FROM few").await[0].1[0];
    assert!(
        clipped < all && clipped <= 2.0 * persons && clipped > persons,
        "{clipped} {all}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_tables_are_not_there() {
    let bench = bench_of_views().await;
    assert!(try_frontier(&bench.node, "SELECT COUNT(*) FROM persons").is_err());
    // Nor in a plan that names it all the same.
    let name = |plan: &LogicalPlan, from: &[u8], to: &[u8]| {
        let bytes = encode(plan);
        let at = bytes
            .windows(from.len())
            .position(|part| part == from)
            .unwrap();
        [&bytes[..at], to, &bytes[at + from.len()..]].concat()
    };
    let plan = frontier(&bench.node, "SELECT COUNT(*) FROM contacts");
    let mut hidden = name(&plan, b"contacts", b"contacts");
    while let Some(at) = hidden.windows(8).position(|part| part == b"contacts") {
        hidden.splice(at..at + 8, *b"persons_");
    }
    let asked = wire::Question {
        plan: hidden,
        ..question(&bench.node, "SELECT COUNT(*) FROM contacts")
    };
    assert!(Admitted::admit(&bench.node, &asked).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn views_are_refused_as_tables_are() {
    let bench = bench_of_views().await;
    for (sql, code) in [
        (
            "SELECT patient_id, COUNT(*) FROM contacts GROUP BY patient_id",
            ErrorCode::PrivateOutput,
        ),
        (
            "SELECT patient_id, COUNT(*) FROM use_of_care GROUP BY patient_id",
            ErrorCode::PrivateOutput,
        ),
        (
            "SELECT cost, COUNT(*) FROM contacts GROUP BY cost",
            ErrorCode::NoPublicValues,
        ),
        (
            "SELECT COUNT(*) FROM contacts a JOIN contacts b ON a.care = b.care",
            ErrorCode::JoinNotOnUnit,
        ),
        ("SELECT MAX(cost) FROM contacts", ErrorCode::PrivateOutput),
    ] {
        let refusal = refusal(&bench, sql);
        assert_eq!(refusal.code, code, "{sql}: {refusal:?}");
    }
    // As a balanced tree: a long chain is nested too deep.
    let mut many = "SELECT patient_id FROM contacts".to_owned();
    for _ in 0..7 {
        many = format!("({many}) UNION ALL ({many})");
    }
    let refusal = refusal(&bench, &format!("SELECT COUNT(*) FROM ({many}) t"));
    assert_eq!(refusal.code, ErrorCode::TooLarge, "{refusal:?}");
}

/// A changed view is another policy, and another question.
#[tokio::test(flavor = "multi_thread")]
async fn a_view_belongs_to_the_policy() {
    let one = bench_with(VIEWS).await.node.policy_hash;
    let same = bench_with(VIEWS).await.node.policy_hash;
    let other = bench_with(&VIEWS.replace("THEN 'free'", "THEN 'none'"))
        .await
        .node
        .policy_hash;
    let hidden = bench_with(&VIEWS.replace("hidden = true", "hidden = false"))
        .await
        .node
        .policy_hash;
    assert_eq!(one, same);
    assert_ne!(one, other);
    assert_ne!(one, hidden);
}
