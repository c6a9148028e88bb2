//! What a researcher would ask of the RAND Health Insurance Experiment, at ε = 1: every answer
//! comes with intervals, and they hold the truth at the rate that they claim.

use std::collections::HashMap;

use crate::{
    coverage::exactly,
    sites::{Randhie, keys, numbers, randhie},
};

/// Times that each question is asked, with fresh noise and, where they are found, fresh bounds.
const TIMES: usize = 60;

/// A question, its keys and its figure.
struct Asked {
    sql: &'static str,
    keys: &'static [&'static str],
    figure: &'static str,
}

/// How often the intervals hold the truth, of so many.
async fn held(sites: &Randhie, asked: &Asked) -> (usize, usize) {
    let of_row = |rows: &arrow::array::RecordBatch| match asked.keys {
        [] => vec![String::new()],
        keys_of_rows => keys(rows, keys_of_rows),
    };
    let truth = exactly(asked.sql).await;
    let truth: HashMap<String, f64> = of_row(&truth)
        .into_iter()
        .zip(numbers(&truth, asked.figure))
        .collect();
    let (mut held, mut cells) = (0, 0);
    for _ in 0..TIMES {
        let rows = sites.ask_fresh(asked.sql).await.rows;
        let low = numbers(&rows, &format!("{}_low", asked.figure));
        let high = numbers(&rows, &format!("{}_high", asked.figure));
        assert_eq!(rows.num_rows(), truth.len(), "{}", asked.sql);
        for (row, key) in of_row(&rows).iter().enumerate() {
            held += usize::from(low[row] <= truth[key] && truth[key] <= high[row]);
            cells += 1;
        }
    }
    (held, cells)
}

/// Below so many of `cells` a 95 % interval falls once in a million, and above so many.
fn expected(cells: usize) -> std::ops::RangeInclusive<usize> {
    let cells = cells as f64;
    let away = 4.9 * (cells * 0.95 * 0.05).sqrt();
    (0.95 * cells - away).floor() as usize..=(0.95 * cells + away).ceil().min(cells) as usize
}

async fn check(asked: Asked) {
    let sites = randhie("1000.0").await;
    let (held, cells) = held(&sites, &asked).await;
    println!("{held} of {cells}: {}", asked.sql);
    assert!(
        expected(cells).contains(&held),
        "{held} of {cells}: {}",
        asked.sql
    );
}

/// Free care against all other plans: visits to physicians, by study year.
#[tokio::test(flavor = "multi_thread")]
async fn effect_of_free_care_on_visits_by_year() {
    check(Asked {
        sql: "SELECT year, AVG(mdvis) FILTER (WHERE coins = 0) - AVG(mdvis) FILTER (WHERE coins > 0) \
              AS effect FROM visits GROUP BY year",
        keys: &["year"],
        figure: "effect",
    })
    .await;
}

/// Admissions to hospital for a thousand years of people, by the share that they pay.
#[tokio::test(flavor = "multi_thread")]
async fn admissions_by_what_people_pay_themselves() {
    check(Asked {
        sql: "SELECT coins, 1000.0 * SUM(totadm) / COUNT(*) AS admissions FROM visits GROUP BY coins",
        keys: &["coins"],
        figure: "admissions",
    })
    .await;
}

/// Persons who were ever admitted twice or more in one year, by sex.
#[tokio::test(flavor = "multi_thread")]
async fn persons_with_two_admissions_in_a_year() {
    check(Asked {
        sql: "SELECT female, COUNT(*) AS persons FROM (\
                SELECT person_id, MAX(female) AS female, MAX(totadm) AS most \
                FROM visits GROUP BY person_id) \
              WHERE most >= 2 GROUP BY female",
        keys: &["female"],
        figure: "persons",
    })
    .await;
}

/// The mean spending by what people say of their health.
#[tokio::test(flavor = "multi_thread")]
async fn spending_by_health() {
    check(Asked {
        sql: "SELECT health, AVG(LEAST(meddol, 10000)) AS dollars FROM visits GROUP BY health",
        keys: &["health"],
        figure: "dollars",
    })
    .await;
}

/// How much more often people went than in their year before, by plan: free care or not.
#[tokio::test(flavor = "multi_thread")]
async fn visits_against_the_year_before() {
    check(Asked {
        sql: "SELECT coins = 0 AS free, AVG(mdvis - before) AS more FROM (\
                SELECT coins, mdvis, LAG(mdvis) OVER (PARTITION BY person_id ORDER BY year) AS before \
                FROM visits) \
              WHERE before IS NOT NULL GROUP BY coins = 0",
        keys: &["free"],
        figure: "more",
    })
    .await;
}

/// The median spending of those with any.
#[tokio::test(flavor = "multi_thread")]
async fn median_spending_of_those_with_any() {
    check(Asked {
        sql: "SELECT MEDIAN(LEAST(meddol, 10000)) AS dollars FROM visits WHERE meddol > 0",
        keys: &[],
        figure: "dollars",
    })
    .await;
}
