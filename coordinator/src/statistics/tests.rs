//! Whole statements with these functions, on released figures that are known.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{AsArray as _, RecordBatch},
        compute::cast,
        datatypes::{DataType, Float64Type},
    },
    catalog::TableProvider,
    datasource::MemTable,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use skerry_proto::ErrorCode;

use super::{function::Function, words};
use crate::{
    catalogue::{
        Catalogue,
        tests::{catalogue, table},
    },
    federated_table,
    frontier::tests::planner,
    merge::{Merged, Reply, tests::reply},
    noise::Noise,
    options,
    plan::Planner,
    standards,
    uncertainty::{self, Figure, Wishes},
};

/// What a unit of the replies' cells is worth.
const STEP: f64 = 0.5;

/// A count for each site, with Laplace noise of scale `scale` that has been drawn already.
fn released(counts: &[f64], scale: f64, rng: &mut ChaCha8Rng) -> Reply {
    let noise = Noise::Laplace { scale };
    let sites: Vec<i64> = (1..=counts.len() as i64).collect();
    let cells: Vec<i64> = counts
        .iter()
        .map(|count| ((count + noise.draw(rng)) / STEP).round() as i64)
        .collect();
    reply("a", &sites, &cells, (scale / STEP) as u64)
}

async fn asked(planner: &Planner, sql: &str, reply: Reply) -> (RecordBatch, Vec<Figure>) {
    wished(planner, sql, reply, Wishes::default()).await
}

async fn wished(
    planner: &Planner,
    sql: &str,
    reply: Reply,
    wishes: Wishes,
) -> (RecordBatch, Vec<Figure>) {
    let planned = planner.plan(sql).await.expect(sql);
    let merged: Vec<Merged> = planned
        .frontiers
        .iter()
        .map(|_| Merged::new(std::slice::from_ref(&reply)).expect("merged"))
        .collect();
    uncertainty::answer(
        planner.state(),
        &planned.upper,
        &planned.frontiers,
        &merged,
        wishes,
    )
    .await
    .expect(sql)
}

fn column(batch: &RecordBatch, at: usize) -> Vec<Option<f64>> {
    let column = cast(batch.column(at), &DataType::Float64).expect("number");
    column.as_primitive::<Float64Type>().iter().collect()
}

/// Counts of three age bands, their persons and weights.
const COUNTS: [f64; 3] = [40.0, 90.0, 250.0];
const PERSONS: [f64; 3] = [20_000.0, 9_000.0, 5_000.0];
const WEIGHTS: [f64; 3] = [50_000.0, 30_000.0, 20_000.0];

/// A statement over the counts, `n`, beside their persons, `p`, and weights, `w`.
fn over_bands(select: &str) -> String {
    format!(
        "SELECT {select} FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t \
         JOIN (VALUES (1, 20000, 50000), (2, 9000, 30000), (3, 5000, 20000)) AS s(site, p, w) \
         ON t.site = s.site"
    )
}

#[tokio::test]
async fn values_are_those_of_the_formulas() {
    let planner = planner();
    let sql = over_bands(
        "direct_rate(n, p, w), SUM(n), crude_rate(SUM(n), SUM(p), 1000), \
         standardised_ratio(SUM(n), SUM(p * 0.01)), share(SUM(n), SUM(p)), \
         difference_in_differences(n, p, t.site = 1, t.site < 3)",
    );
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    // As good as no noise, and cells that are whole.
    let reply = released(&COUNTS, 0.0, &mut rng);
    let mut quiet = reply.clone();
    quiet.quote.noise.as_mut().expect("noise").scale = 1;
    let mut bytes = <skerry_proto::wire::Released as prost::Message>::decode(&*reply.released)
        .expect("released");
    bytes.noise = quiet.quote.noise;
    quiet.released = prost::Message::encode_to_vec(&bytes);
    let (batch, figures) = asked(&planner, &sql, quiet).await;
    let rate: f64 = (0..3).map(|i| WEIGHTS[i] * COUNTS[i] / PERSONS[i]).sum();
    let want = [rate, 380.0, 380.0 / 34.0, 380.0 / 340.0, 380.0 / 34_000.0];
    for (at, want) in want.into_iter().enumerate() {
        let got = column(&batch, at)[0].expect("value");
        assert!((got / want - 1.0).abs() < 1e-12, "{at}: {got} {want}");
        assert!(figures[at].noisy && figures[at].intervals.is_some());
    }
    // One of the four cells has nobody in it.
    assert_eq!(column(&batch, 5)[0], None);
}

#[tokio::test]
async fn the_noise_of_an_expression_is_what_is_known_of_it() {
    let planner = planner();
    let scale = 20.0;
    let ask = async |sql: &str| {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (batch, figures) = asked(&planner, sql, released(&COUNTS, scale, &mut rng)).await;
        (column(&batch, 0), figures)
    };
    // A figure as it is: exact, and not noisy itself.
    let (sd, figures) = ask("SELECT noise_sd(COUNT(*)) FROM visits GROUP BY site").await;
    assert_eq!(sd.len(), 3);
    for sd in sd {
        assert!((sd.expect("sd") / (scale * 2_f64.sqrt()) - 1.0).abs() < 1e-12);
    }
    assert!(!figures[0].noisy);
    // Limits are those of the figure before it was rounded to a whole number.
    let half_width = scale * 20_f64.ln();
    let (high, figures) =
        ask("SELECT noise_high(COUNT(*)) - COUNT(*) FROM visits GROUP BY site").await;
    for high in high {
        assert!(
            (high.expect("limit") - half_width).abs() < 0.5 + 1e-9,
            "{high:?}"
        );
    }
    assert!(figures[0].noisy);
    // A standardised rate is linear in the counts: (10⁵/W)² Σ w² σ²/n² with W = 10⁵.
    let (variance, _) = ask(&over_bands("noise_variance(direct_rate(n, p, w))")).await;
    let want: f64 = (0..3)
        .map(|i| (WEIGHTS[i] / PERSONS[i]).powi(2) * 2.0 * scale * scale)
        .sum();
    // From 4,000 draws.
    assert!(
        (variance[0].expect("variance") / want - 1.0).abs() < 0.08,
        "{variance:?} {want}"
    );
    // By row, in an aggregate and in a filter, below and above other figures.
    let (sum, _) = ask(
        "SELECT SUM(noise_variance(n)) FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t \
         WHERE noise_sd(n) < 1000 AND n > 0",
    )
    .await;
    assert!((sum[0].expect("sum") / (3.0 * 2.0 * scale * scale) - 1.0).abs() < 1e-9);
    // What is public has none, and the noise of a difference with itself is none.
    let (none, _) = ask(&over_bands("SUM(noise_variance(p))")).await;
    assert_eq!(none, [Some(0.0)]);
    let (none, _) = ask("SELECT noise_sd(COUNT(*) - COUNT(*)) FROM visits GROUP BY site").await;
    assert!(none.iter().all(|sd| sd.is_some_and(|sd| sd < 1e-9)));
    // Of an average of figures, of which another question is asked.
    let (nested, _) = ask(
        "SELECT noise_sd(n + noise_sd(n)) FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t",
    )
    .await;
    assert!(
        nested
            .iter()
            .all(|sd| (sd.expect("sd") / (scale * 2_f64.sqrt()) - 1.0).abs() < 0.08)
    );
}

#[tokio::test]
async fn a_pool_takes_the_noise_of_its_estimates_in() {
    let planner = planner();
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let sql = "SELECT tau_squared(n, 100.0), tau_squared(n, 100.0, 0.0), \
               tau_squared(n, 100.0, 800.0), pooled_fixed(n, n) \
               FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t";
    let (batch, _) = asked(&planner, sql, released(&COUNTS, 20.0, &mut rng)).await;
    let of = |at| column(&batch, at)[0].expect("value");
    assert!((of(0) - of(2)).abs() < 1e-6 * of(0));
    assert!((of(1) - of(0) - 800.0).abs() < 1e-6 * of(0));
    assert!(of(3) > 0.0);
}

fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> f64 {
    // Knuth's product of uniforms, in logarithms.
    let (mut sum, mut count) = (0.0, 0.0);
    loop {
        sum -= rng.random::<f64>().max(1e-300).ln();
        if sum > mean {
            return count;
        }
        count += 1.0;
    }
}

/// The share of statements whose limits (columns 0 and 1) hold the truth, when events are by
/// chance and figures have noise.
async fn coverage(sql: &str, means: &[f64; 3], truth: f64, scale: f64) -> f64 {
    let planner = planner();
    let (mut held, repeats) = (0, 250);
    for seed in 0..repeats {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let counts: Vec<f64> = means.iter().map(|mean| poisson(*mean, &mut rng)).collect();
        let (batch, _) = asked(&planner, sql, released(&counts, scale, &mut rng)).await;
        let (low, high) = (column(&batch, 0)[0], column(&batch, 1)[0]);
        held += u64::from(
            low.is_some_and(|low| low <= truth) && high.is_some_and(|high| truth <= high),
        );
    }
    held as f64 / repeats as f64
}

#[tokio::test]
async fn limits_of_chance_and_noise_cover() {
    // Three standard errors of a share of 0.95 among 250 are 0.041.
    let enough = 0.908..=0.991;
    let truth: f64 = (0..3).map(|i| WEIGHTS[i] * COUNTS[i] / PERSONS[i]).sum();
    for scale in [10.0, 40.0] {
        let sql = over_bands("dobson_low(n, p, w), dobson_high(n, p, w)");
        let rate = coverage(&sql, &COUNTS, truth, scale).await;
        assert!(enough.contains(&rate), "scale {scale}: {rate}");
    }
    // Dobson's limits alone cover far too little where the noise is as large as chance.
    let sql = over_bands("sampling_low(direct_rate(n, p, w)), sampling_high(direct_rate(n, p, w))");
    let rate = coverage(&sql, &COUNTS, truth, 10.0).await;
    assert!(rate < 0.85, "{rate}");
    // A count of a dozen.
    let sql = "SELECT byar_low(SUM(n)), byar_high(SUM(n)) FROM \
               (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t";
    let rate = coverage(sql, &[4.0, 5.0, 3.0], 12.0, 2.0).await;
    assert!(enough.contains(&rate), "{rate}");
}

#[tokio::test]
async fn rows_of_persons_are_not_figures() {
    let planner = planner();
    for sql in [
        "SELECT direct_rate(cost, cost, cost) FROM visits",
        "SELECT SUM(crude_rate(cost, 10)) FROM visits",
        "SELECT COUNT(*) FROM visits WHERE noise_sd(cost) > 1",
    ] {
        let refusal = planner.plan(sql).await.expect_err(sql);
        assert_eq!(refusal.code, ErrorCode::Unsupported, "{refusal}");
        assert!(
            refusal.message.contains("not with rows of persons"),
            "{refusal}"
        );
    }
    let refusal = planner
        .plan("SELECT crude_rate(kind, 5) FROM (SELECT kind, COUNT(*) AS n FROM visits GROUP BY kind) t")
        .await
        .expect_err("text");
    assert!(
        refusal.message.contains("`events` must be a number"),
        "{refusal}"
    );
}

#[tokio::test]
async fn chance_is_reported_beside_the_noise_when_asked_for() {
    let planner = planner();
    let total = Wishes {
        total: true,
        ..Wishes::default()
    };
    let ask = async |sql: &str| {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        wished(&planner, sql, released(&COUNTS, 10.0, &mut rng), total).await
    };
    // Through a subquery, a filter, an alias and a sort, beside columns that have no chance.
    let inner = over_bands("direct_rate(n, p, w, 1000) AS rate, SUM(n) AS n, 7 AS seven");
    let (batch, figures) = ask(&format!(
        "SELECT seven, rate AS r, n FROM ({inner}) AS inside WHERE rate > 0 ORDER BY n"
    ))
    .await;
    assert_eq!(batch.num_columns(), 3);
    assert!(figures[0].total.is_none() && figures[2].total.is_none());
    let found = figures[1].total.as_ref().expect("total");
    // The same as SQL is told where it asks by itself.
    let words = over_bands(
        "sampling_sd(direct_rate(n, p, w, 1000)), dobson_low(n, p, w, 1000), \
         dobson_high(n, p, w, 1000)",
    );
    let (batch, figures) = ask(&words).await;
    for (at, part) in [&found.sampling_sd, &found.low, &found.high]
        .into_iter()
        .enumerate()
    {
        let (of_words, of_option) = (
            column(&batch, at)[0].expect("word"),
            part[0].expect("option"),
        );
        assert!(
            (of_words / of_option - 1.0).abs() < 1e-9,
            "{at}: {of_words} {of_option}"
        );
    }
    // A limit has no limits.
    assert!(figures[1].noisy && figures[1].intervals.is_none());
    // Of one row, with a join above, and of a pool, whose own limits have the noise in them.
    let (_, figures) = ask(
        "SELECT a.name, b.rate FROM (VALUES (1, 'one'), (2, 'two')) AS a(site, name) JOIN \
         (SELECT site, crude_rate(COUNT(*), 1000.0) AS rate FROM visits GROUP BY site) b \
         ON a.site = b.site",
    )
    .await;
    let found = figures[1].total.as_ref().expect("total");
    let noise = figures[1].intervals.as_ref().expect("noise");
    assert!(found.low[0] < noise.low[0] && noise.high[0] < found.high[0]);
    let (_, figures) = ask("SELECT pooled_random(n, n) AS pooled FROM \
         (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t")
    .await;
    assert!(figures[0].total.as_ref().expect("total").low[0].is_some());
}

#[tokio::test]
async fn clamping_is_a_choice_and_is_told() {
    let planner = planner();
    let sql = "SELECT site, COUNT(*) AS n, share(COUNT(*), 100) AS s, COUNT(*) - 50 AS less \
               FROM visits GROUP BY site ORDER BY site";
    let ask = async |clamp: bool| {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let wishes = Wishes {
            clamp,
            total: true,
            ..Wishes::default()
        };
        wished(
            &planner,
            sql,
            released(&[1.0, 50.0, 190.0], 20.0, &mut rng),
            wishes,
        )
        .await
    };
    let (free, figures) = ask(false).await;
    assert!(figures.iter().all(|figure| figure.clamped.is_none()));
    let (kept, figures) = ask(true).await;
    for (at, (low, high)) in [(1, (0.0, f64::INFINITY)), (2, (0.0, 1.0))] {
        let (free, kept) = (column(&free, at), column(&kept, at));
        let mut moved = 0;
        for (free, kept) in free.iter().flatten().zip(kept.iter().flatten()) {
            assert_eq!(free.clamp(low, high), *kept);
            moved += usize::from(free != kept);
        }
        assert_eq!(figures[at].clamped.expect("clamped").rows, moved);
        let bounds = figures[at].intervals.as_ref().expect("bounds");
        assert!(
            bounds
                .low
                .iter()
                .flatten()
                .all(|bound| (low..=high).contains(bound))
        );
        assert!(
            bounds
                .high
                .iter()
                .flatten()
                .all(|bound| (low..=high).contains(bound))
        );
    }
    // 190 of 100, whatever the noise.
    assert!(figures[2].clamped.expect("clamped").rows > 0);
    // Keys aren't figures, and of a difference nothing is known.
    assert!(figures[0].clamped.is_none() && figures[3].clamped.is_none());
    assert_eq!(column(&free, 3), column(&kept, 3));
}

/// The fenced blocks of SQL in `FUNCTIONS.md`.
fn examples() -> Vec<&'static str> {
    include_str!("../../FUNCTIONS.md")
        .split("```sql\n")
        .skip(1)
        .filter_map(|rest| rest.split("\n```").next())
        .collect()
}

/// The common model of the regions, and the coordinator's public tables.
fn regions() -> Planner {
    use skerry_proto::DataType::{Boolean, Date, Float, Integer, Text};
    let private = |name: &str, columns: &[(&str, skerry_proto::DataType)]| {
        let unit = [("patient_id", Integer)];
        let columns: Vec<_> = unit.iter().chain(columns).copied().collect();
        table(name, "patient_id", &columns)
    };
    let tables = || {
        vec![
            private(
                "patients",
                &[
                    ("municipality", Text),
                    ("sex", Text),
                    ("birth_year", Integer),
                    ("frailty", Integer),
                    ("nursing_home", Boolean),
                ],
            ),
            private(
                "episodes",
                &[
                    ("service", Text),
                    ("urgent", Boolean),
                    ("mode", Text),
                    ("start_date", Date),
                    ("days", Integer),
                    ("cost", Float),
                ],
            ),
        ]
    };
    let population: Arc<dyn TableProvider> = {
        let columns = ["region", "sex", "age_band"]
            .map(|name| (name.to_owned(), Text))
            .into_iter()
            .chain(["year", "persons"].map(|name| (name.to_owned(), Integer)))
            .collect::<Vec<_>>();
        let schema = federated_table::schema(&columns, None);
        let batch = RecordBatch::new_empty(Arc::clone(&schema));
        Arc::new(MemTable::try_new(schema, vec![vec![batch]]).expect("table"))
    };
    let own = BTreeMap::from([
        ("population".to_owned(), population),
        (
            standards::TABLE.to_owned(),
            standards::table().expect("table"),
        ),
    ]);
    let catalogue = Catalogue::new(
        vec![catalogue("a", tables()), catalogue("b", tables())],
        &own,
    );
    Planner::new(Arc::new(catalogue), &own).expect("planner")
}

#[tokio::test]
async fn every_example_is_planned_and_every_function_has_one() {
    let planner = regions();
    let examples = examples();
    for example in &examples {
        let statement = options::take(example).expect(example);
        if let Err(refusal) = planner.plan(&statement.sql).await {
            panic!("{refusal:?}\n{example}");
        }
    }
    let document = include_str!("../../FUNCTIONS.md");
    let sql = examples.join("\n");
    for function in Function::ALL {
        let described = function.description();
        assert!(
            sql.contains(&format!("{}(", described.name)),
            "no example of {}",
            described.name
        );
        let signature = if described.name.ends_with("_high") {
            format!("`{}(…)`", described.name)
        } else {
            format!("`{}`", function.signature())
        };
        assert!(
            document.contains(&signature),
            "{signature} is not documented"
        );
    }
    for word in words::WORDS {
        assert!(
            document.contains(&format!("`{word}(")),
            "{word} is not documented"
        );
    }
}

/// Needs `python3`; `.ci/run` runs it. By hand:
/// `cargo test --workspace --lib against_python -- --ignored`.
#[test]
#[ignore = "needs python3"]
fn against_python() {
    use super::estimate::Part;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/statistics/reference.py");
    let output = std::process::Command::new("python3")
        .arg(script)
        .output()
        .expect("python3");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let mut seen = std::collections::BTreeSet::new();
    for line in text.lines() {
        let case: serde_json::Value = serde_json::from_str(line).expect("json");
        let name = case["name"].as_str().expect("name");
        let rows: Vec<Vec<f64>> = serde_json::from_value(case["rows"].clone()).expect("rows");
        let rows = || rows.iter().map(Vec::as_slice);
        let found = match Function::named(name).expect(name) {
            Function::Row(function) => rows().next().and_then(|row| function.estimate(row)),
            Function::Rows(function) => function.estimate(rows()),
        };
        let found = found.expect(line);
        for (part, key) in Part::ALL
            .into_iter()
            .zip(["value", "variance", "low", "high"])
        {
            let Some(want) = case[key].as_f64() else {
                continue;
            };
            let got = found.part(part);
            // Python integrates and bisects to nine digits.
            let error = (got - want).abs() / want.abs().max(1e-3);
            assert!(error < 1e-7, "{name} {key}: {got} {want}\n{line}");
        }
        seen.insert(name.to_owned());
    }
    for function in Function::ALL {
        let name = function.description().name;
        assert!(seen.contains(name), "{name} has no reference");
    }
}
