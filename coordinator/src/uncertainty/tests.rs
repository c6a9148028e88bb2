//! Answers and their intervals on cells that are known.

use datafusion::arrow::{
    array::Float64Array, compute::cast, datatypes::DataType, util::pretty::pretty_format_batches,
};
use prost::Message as _;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use skerry_proto::{Value, wire};

use super::*;
use crate::{frontier::tests::planner, merge::Reply, noise::Noise, plan::Planned};

/// A quote for `COUNT(*), SUM(cost), AVG(cost)` or a prefix of it over sites 1 to 3.
fn reply(
    true_cells: &[[f64; 2]],
    sites: &[i64],
    frontier: &Frontier,
    scale: f64,
    rng: &mut ChaCha8Rng,
) -> Reply {
    let step = 1.0 / 1024.0;
    let measure = |kind: wire::MeasureKind, centre: f64| wire::Measure {
        kind: kind.into(),
        step,
        rows: 5,
        factors: (kind == wire::MeasureKind::Sum)
            .then_some(wire::Factor {
                low: 0.0,
                high: 100.0,
                centre,
            })
            .into_iter()
            .collect(),
        ..wire::Measure::default()
    };
    let noise = wire::Noise {
        mechanism: wire::Mechanism::DiscreteLaplace.into(),
        scale: (scale / step) as u64,
        sensitivity: 1,
    };
    let aggregates = frontier
        .aggregate
        .aggr_expr
        .iter()
        .map(|expr| {
            let name = expr.schema_name().to_string();
            let (function, measures) = match name.split('(').next() {
                Some("count") => (wire::AggregateFunction::Count, vec![0]),
                Some("sum") => (wire::AggregateFunction::Sum, vec![1, 0]),
                _ => (wire::AggregateFunction::Average, vec![1, 0]),
            };
            wire::Aggregate {
                function: function.into(),
                measures,
                data_type: wire::DataType::Float.into(),
                fraction_nano: 0,
            }
        })
        .collect();
    let laplace = Noise::Laplace { scale };
    let cells = true_cells
        .iter()
        .flatten()
        .map(|cell| ((cell + laplace.draw(rng)) / step).round() as i64)
        .collect();
    let released = wire::Released {
        region: "a".into(),
        question_hash: vec![],
        cells,
        noise: Some(noise),
        ..wire::Released::default()
    };
    let keyed = frontier.keys() > 0;
    Reply {
        region: "a".parse().expect("region"),
        quote: wire::Quote {
            region: "a".into(),
            key_types: if keyed {
                vec![wire::DataType::Integer.into()]
            } else {
                vec![]
            },
            groups: sites
                .iter()
                .map(|site| wire::Group {
                    keys: if keyed {
                        vec![wire::Value::from(&Value::Integer(*site))]
                    } else {
                        vec![]
                    },
                })
                .collect(),
            measures: vec![
                measure(wire::MeasureKind::Rows, 0.0),
                measure(wire::MeasureKind::Sum, 50.0),
            ],
            aggregates,
            noise: Some(noise),
            cost: None,
            budget: None,
            clipped_weight: 0,
            threshold: None,
        },
        released: released.encode_to_vec(),
        charged: true,
        budget: None,
    }
}

/// Rows (count) and sum of (cost − 50) by site.
const TRUTH: [[f64; 2]; 3] = [[1_000.0, 5_000.0], [400.0, -2_000.0], [90.0, 900.0]];

async fn asked(
    planned: &Planned,
    state: &SessionState,
    scale: f64,
    seed: u64,
) -> (RecordBatch, Vec<Figure>) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let merged: Vec<Merged> = planned
        .frontiers
        .iter()
        .map(|frontier| {
            let reply = if frontier.keys() > 0 {
                reply(&TRUTH, &[1, 2, 3], frontier, scale, &mut rng)
            } else {
                reply(&[[1_490.0, 3_900.0]], &[0], frontier, scale, &mut rng)
            };
            Merged::new(&[reply]).expect("merged")
        })
        .collect();
    let wishes = Wishes::default();
    answer(state, &planned.upper, &planned.frontiers, &merged, wishes)
        .await
        .expect("answer")
}

/// The answer of one statement at a small noise, its noisy columns starred.
async fn shown(sql: &str) -> String {
    let planner = planner();
    let planned = planner.plan(sql).await.expect("plan");
    let (batch, figures) = asked(&planned, planner.state(), 0.001, 1).await;
    let names: Vec<String> = planned
        .upper
        .schema()
        .fields()
        .iter()
        .zip(&figures)
        .map(|(field, figure)| format!("{}{}", field.name(), if figure.noisy { "*" } else { "" }))
        .collect();
    for (figure, column) in figures.iter().zip(batch.columns()) {
        if let Some(intervals) = &figure.intervals {
            let values = cast(column, &DataType::Float64).expect("number");
            let values = values
                .as_any()
                .downcast_ref::<Float64Array>()
                .expect("number");
            for (row, value) in values.iter().enumerate() {
                let (Some(low), Some(high), Some(value)) =
                    (intervals.low[row], intervals.high[row], value)
                else {
                    continue;
                };
                assert!(low <= value && value <= high, "{sql}: {low} {value} {high}");
                assert!(high - low < 3.0, "{sql}: {low} {value} {high}");
            }
        }
    }
    let rounded = pretty_format_batches(&[batch]).expect("table").to_string();
    let body: Vec<&str> = rounded
        .lines()
        .skip(3)
        .filter(|line| line.starts_with('|'))
        .collect();
    format!("{}\n{}", names.join(" "), body.join("\n"))
}

macro_rules! answers {
    ($($name:ident: $sql:literal => @$snapshot:literal;)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                insta::assert_snapshot!(shown($sql).await, @$snapshot);
            }
        )*
    };
}

answers! {
    grouped: "SELECT site, COUNT(*) AS n FROM visits GROUP BY site" => @r#"
    site n*
    | 1  | 1000 |
    | 2  | 400  |
    | 3  | 90   |
    "#;
    total: "SELECT COUNT(*) AS n, CAST(ROUND(AVG(cost)) AS INT) AS mean FROM visits" => @r#"
    n* mean*
    | 1490 | 53 |
    "#;
    having: "SELECT site, COUNT(*) AS n, CAST(ROUND(SUM(cost)) AS INT) s FROM visits GROUP BY site HAVING COUNT(*) > 100 ORDER BY n DESC" => @r#"
    site n* s*
    | 1  | 1000 | 55000 |
    | 2  | 400  | 18000 |
    "#;
    limit: "SELECT site, COUNT(*) AS n FROM visits GROUP BY site ORDER BY n LIMIT 1" => @r#"
    site n*
    | 3  | 90 |
    "#;
    order_by_hidden: "SELECT site FROM visits GROUP BY site ORDER BY COUNT(*) DESC" => @r#"
    site
    | 1  |
    | 2  |
    | 3  |
    "#;
    share: "SELECT site, CAST(ROUND(100.0 * COUNT(*) / SUM(COUNT(*)) OVER ()) AS INT) AS share FROM visits GROUP BY site ORDER BY site" => @r#"
    site share*
    | 1  | 67 |
    | 2  | 27 |
    | 3  | 6  |
    "#;
    ranked: "SELECT site, RANK() OVER (ORDER BY COUNT(*) DESC) AS place FROM visits GROUP BY site ORDER BY site" => @r#"
    site place*
    | 1  | 1  |
    | 2  | 2  |
    | 3  | 3  |
    "#;
    total_of_groups: "SELECT SUM(n) AS s, COUNT(*) AS sites, MAX(n) AS most FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t" => @r#"
    s* sites most*
    | 1490 | 3  | 1000 |
    "#;
    filtered_then_counted: "SELECT COUNT(*) AS busy FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t WHERE n > 200" => @r#"
    busy*
    | 2  |
    "#;
    none_left: "SELECT COUNT(*) AS busy, SUM(n) AS s FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t WHERE n > 2000000" => @r#"
    busy* s*
    | 0  |    |
    "#;
    regrouped: "SELECT site > 1 AS rest, SUM(n) AS s FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t GROUP BY site > 1 ORDER BY 1" => @r#"
    rest s*
    | false | 1000 |
    | true  | 490  |
    "#;
    top_inside: "SELECT SUM(n) AS s FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site ORDER BY n DESC LIMIT 2) t" => @r#"
    s*
    | 1400 |
    "#;
    cte_twice: "WITH t AS (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) SELECT a.site, a.n - b.n AS less FROM t a JOIN t b ON a.site = b.site + 1 ORDER BY a.site" => @r#"
    site less*
    | 2  | -600 |
    | 3  | -310 |
    "#;
    scalar: "SELECT CAST(100 * (SELECT COUNT(*) FROM visits WHERE site = 1) / (SELECT COUNT(*) FROM visits) AS INT) AS percent" => @r#"
    percent*
    | 100 |
    "#;
    union: "SELECT 'all' AS who, COUNT(*) AS n FROM visits UNION ALL SELECT 'site ' || CAST(site AS VARCHAR), COUNT(*) FROM visits GROUP BY site ORDER BY who" => @r#"
    who n*
    | all    | 1490 |
    | site 1 | 1000 |
    | site 2 | 400  |
    | site 3 | 90   |
    "#;
    with_public: "SELECT 'x' AS who, COUNT(*) AS n FROM visits UNION ALL SELECT 'y', 5 ORDER BY who" => @r#"
    who n*
    | x  | 1490 |
    | y  | 5    |
    "#;
    values_join: "SELECT v.label, t.n FROM (VALUES (1, 'one'), (2, 'two'), (9, 'nine')) AS v(site, label) LEFT JOIN (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t ON v.site = t.site ORDER BY 1" => @r#"
    label n*
    | nine |      |
    | one  | 1000 |
    | two  | 400  |
    "#;
    full_join: "SELECT v.label, t.site, t.n FROM (VALUES (1, 'one'), (9, 'nine')) AS v(site, label) FULL JOIN (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t ON v.site = t.site ORDER BY 1, 2" => @r#"
    label site n*
    | nine |    |      |
    | one  | 1  | 1000 |
    |      | 2  | 400  |
    |      | 3  | 90   |
    "#;
    by_zero: "SELECT site, COUNT(*) / (COUNT(*) - COUNT(*)) AS x, COUNT(*) % 7 AS rest FROM visits GROUP BY site ORDER BY site" => @r#"
    site x* rest*
    | 1  |    | 6  |
    | 2  |    | 1  |
    | 3  |    | 6  |
    "#;
    cases: "SELECT site, CASE WHEN COUNT(*) > 500 THEN 'busy' ELSE 'calm' END AS kind FROM visits GROUP BY site ORDER BY site" => @r#"
    site kind*
    | 1  | busy |
    | 2  | calm |
    | 3  | calm |
    "#;
    nothing_noisy: "SELECT 1 AS one" => @r#"
    one
    | 1  |
    "#;
}

/// The share of seeds whose interval holds the truth, per row of the answer.
async fn coverage(sql: &str, scale: f64, truth: &[f64], seeds: u64) -> Vec<f64> {
    let planner = planner();
    let planned = planner.plan(sql).await.expect("plan");
    let mut held = vec![0_u32; truth.len()];
    for seed in 0..seeds {
        let (_, figures) = asked(&planned, planner.state(), scale, seed).await;
        let intervals = figures
            .last()
            .and_then(|f| f.intervals.as_ref())
            .expect("intervals");
        for (row, truth) in truth.iter().enumerate() {
            let low = intervals.low[row].unwrap_or(f64::NEG_INFINITY);
            let high = intervals.high[row].unwrap_or(f64::INFINITY);
            held[row] += u32::from(low <= *truth && *truth <= high);
        }
    }
    held.into_iter()
        .map(|held| f64::from(held) / seeds as f64)
        .collect()
}

#[tokio::test]
async fn intervals_of_ratios_cover() {
    // AVG: 50 + S / n. At a scale of 20, a count of 90 is known to ± 60.
    let averages: Vec<f64> = TRUTH.iter().map(|[n, s]| 50.0 + s / n).collect();
    let sql = "SELECT site, AVG(cost) AS c FROM visits GROUP BY site ORDER BY site";
    for (row, rate) in coverage(sql, 20.0, &averages, 300)
        .await
        .into_iter()
        .enumerate()
    {
        // 200 cases of 0.95: three standard errors are 0.046.
        assert!(rate > 0.90, "row {row}: {rate}");
    }
    let sql = "SELECT (SELECT COUNT(*) FROM visits WHERE site = 1) * 1.0 \
               / (SELECT COUNT(*) FROM patients) AS ratio";
    let rate = coverage(sql, 100.0, &[1.0], 200).await[0];
    assert!((0.90..=1.0).contains(&rate), "{rate}");
}

#[tokio::test]
async fn exact_intervals_cover() {
    let sql = "SELECT site, COUNT(*) AS n FROM visits GROUP BY site ORDER BY site";
    let truth: Vec<f64> = TRUTH.iter().map(|[n, _]| *n).collect();
    for rate in coverage(sql, 20.0, &truth, 500).await {
        // Whole bounds are rounded outwards, by half a step of 60 on average: a little over.
        assert!((0.93..0.985).contains(&rate), "{rate}");
    }
}

#[tokio::test]
async fn plain_figures_have_exact_intervals_through_joins_and_unions() {
    let planner = planner();
    let exact = 2.0 * 20.0 * 20_f64.ln();
    for sql in [
        "SELECT site, COUNT(*) AS n FROM visits GROUP BY site",
        "SELECT v.label, t.n FROM (VALUES (1, 'one'), (9, 'nine')) AS v(site, label) \
         LEFT JOIN (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t ON v.site = t.site",
        "SELECT 0 AS site, COUNT(*) AS n FROM visits UNION ALL \
         SELECT site, COUNT(*) FROM visits GROUP BY site ORDER BY n",
        "WITH t AS (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) \
         SELECT a.site, b.n FROM t a JOIN t b ON a.site = b.site + 1 WHERE b.n > 100",
    ] {
        let planned = planner.plan(sql).await.expect("plan");
        let (batch, figures) = asked(&planned, planner.state(), 20.0, 7).await;
        let intervals = figures[1].intervals.as_ref().expect("intervals");
        for row in 0..batch.num_rows() {
            match (intervals.low[row], intervals.high[row]) {
                // Rounded outwards to whole numbers.
                (Some(low), Some(high)) => {
                    assert!(
                        (0.0..=2.0).contains(&(high - low - exact)),
                        "{sql}: {low} {high}"
                    );
                }
                (low, high) => {
                    assert_eq!((low, high), (None, None));
                    assert!(batch.column(1).is_null(row), "{sql}");
                }
            }
        }
    }
}
