//! What is refused, and in which words.

use super::*;

/// A column of the file that the catalogue doesn't name can't be asked for, and a plan that names
/// it all the same is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_catalogue_does_not_name_is_not_there() {
    let bench = bench().await;
    let node = &bench.node;
    assert!(bench.exact.sql("SELECT coins FROM visits").await.is_ok());
    assert!(try_frontier(node, "SELECT COUNT(*) FROM visits WHERE coins > 1").is_err());
    let honest = question(node, "SELECT COUNT(*) FROM visits WHERE mdvis > 1");
    assert!(Admitted::admit(node, &honest).is_ok());
    let mut plan = honest.plan.clone();
    while let Some(at) = plan.windows(5).position(|part| part == b"mdvis") {
        plan.splice(at..at + 5, *b"coins");
    }
    assert_ne!(plan, honest.plan);
    assert!(Admitted::admit(node, &wire::Question { plan, ..honest }).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_name_the_part() {
    let bench = bench().await;
    let cases = [
        ("SELECT SUM(inpdol) FROM visits", ErrorCode::NoRange),
        (
            "SELECT educdec, COUNT(*) FROM visits GROUP BY educdec",
            ErrorCode::NoPublicValues,
        ),
        (
            "SELECT person_id, COUNT(*) FROM visits GROUP BY person_id",
            ErrorCode::PrivateOutput,
        ),
        ("SELECT MAX(mdvis) FROM visits", ErrorCode::PrivateOutput),
        (
            "SELECT COUNT(*) FROM visits a JOIN visits b ON a.plan = b.plan",
            ErrorCode::JoinNotOnUnit,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT * FROM visits LIMIT 100) t",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(DISTINCT meddol) FROM visits",
            ErrorCode::NoPublicValues,
        ),
        (
            "SELECT COUNT(*) FROM visits WHERE random() > 0.5",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT SUM(DISTINCT mdvis) FROM visits",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(*) FROM visits WHERE health ~ 'a.b'",
            ErrorCode::Unsupported,
        ),
        ("SELECT COUNT(*) FROM plans", ErrorCode::PlanRefused),
        (
            "SELECT COUNT(*) FROM (SELECT ROW_NUMBER() OVER (ORDER BY meddol) AS n FROM visits) t WHERE n < 10",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT SUM(s) FROM (SELECT SUM(mdvis) OVER (PARTITION BY plan) AS s FROM visits) t",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT person_id, FIRST_VALUE(health) AS h FROM visits GROUP BY person_id) t WHERE h = 'poor'",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT b.person_id, COUNT(*) FROM visits a LEFT JOIN visits b ON a.person_id = b.person_id GROUP BY b.person_id",
            ErrorCode::PrivateOutput,
        ),
        (
            "SELECT person_id, COUNT(*) FROM visits WHERE person_id BETWEEN 1 AND 50 GROUP BY person_id",
            ErrorCode::PrivateOutput,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT b.person_id, COUNT(*) AS n FROM visits a LEFT JOIN visits b ON a.person_id = b.person_id GROUP BY b.person_id) t WHERE n > 1",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(*) FROM visits WHERE plan NOT IN (SELECT CASE WHEN plan > 3 THEN plan END FROM plans)",
            ErrorCode::Unsupported,
        ),
        // One NULL among them would leave nobody.
        (
            "SELECT COUNT(*) FROM visits a WHERE totadm NOT IN (SELECT b.totadm FROM visits b WHERE b.person_id = a.person_id AND b.year = 1)",
            ErrorCode::Unsupported,
        ),
        // Whether a public row is kept would hang on all persons.
        (
            "SELECT COUNT(*) FROM plans p WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.plan = p.plan)",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(*) FROM plans p WHERE EXISTS (SELECT 1 FROM visits v WHERE v.plan = p.plan)",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(*) FROM plans p LEFT JOIN visits v ON v.plan = p.plan",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(*) FROM plans p FULL JOIN visits v ON v.plan = p.plan",
            ErrorCode::Unsupported,
        ),
        // DISTINCT without the unit is over all persons' rows.
        (
            "SELECT COUNT(*) FROM (SELECT DISTINCT health FROM visits) t",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT DISTINCT ON (health) health, year FROM visits ORDER BY health, year) t",
            ErrorCode::Unsupported,
        ),
        // Which values are distinct hangs on all rows, and their sum on the order of floats.
        (
            "SELECT AVG(DISTINCT mdvis) FROM visits",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT person_id, SUM(DISTINCT mdvis) AS s FROM visits GROUP BY person_id) t WHERE s > 3",
            ErrorCode::Unsupported,
        ),
        (
            "SELECT COUNT(*) FROM (SELECT person_id, AVG(DISTINCT mdvis) AS s FROM visits GROUP BY person_id) t WHERE s > 3",
            ErrorCode::Unsupported,
        ),
    ];
    for (sql, code) in cases {
        let refusal = refusal(&bench, sql);
        assert_eq!(refusal.code, code, "{sql}: {refusal:?}");
        assert!(!refusal.message.is_empty());
    }
    let left = bench.node.ledger.budget(&"tests".parse().unwrap()).unwrap();
    assert_eq!(left.project.epsilon_spent_nano, 0);
}

/// Chains and nestings that would double at each level are refused or cheap.
#[tokio::test(flavor = "multi_thread")]
async fn nested_repetition_is_bounded() {
    let bench = bench().await;
    let node = &bench.node;
    let mut nested = "mdvis".to_owned();
    for _ in 0..12 {
        nested = format!("CASE {nested} WHEN 1 THEN 2 WHEN 2 THEN 3 WHEN 3 THEN 1 ELSE 0 END");
    }
    let chained = vec!["mdvis"; 200].join(" / ");
    for value in [nested, chained] {
        let sql = format!("SELECT COUNT(*) FROM visits WHERE {value} = 1");
        if let Some(plan) = try_question(node, &sql) {
            let _ = Admitted::admit(node, &plan).and_then(|admitted| admitted.quote(node));
        }
    }
}
