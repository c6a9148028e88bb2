//! Real data: answers hold the truth at the rate they claim, and the noise is the one quoted.

use std::{collections::HashMap, path::Path};

use datafusion::prelude::{ParquetReadOptions, SessionContext};

use crate::sites::{keys, numbers, randhie};

/// The exact answer over all sites' files.
pub async fn exactly(sql: &str) -> datafusion::arrow::array::RecordBatch {
    let context = SessionContext::new();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/randhie");
    for site in 1..=6 {
        let file = sample.join(format!("region={site}.parquet"));
        context
            .register_parquet(
                format!("visits{site}"),
                file.to_str().unwrap(),
                ParquetReadOptions::default(),
            )
            .await
            .unwrap();
    }
    let all: Vec<String> = (1..=6)
        .map(|site| format!("SELECT * FROM visits{site}"))
        .collect();
    context
        .sql(&format!(
            "CREATE VIEW visits AS {}",
            all.join(" UNION ALL ")
        ))
        .await
        .unwrap();
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    datafusion::arrow::compute::concat_batches(&batches[0].schema(), &batches).unwrap()
}

/// Over 200 fresh questions at ε = 1: how often the interval holds the truth, and the spread of
/// the noise. The bounds are those of a binomial and of a sample variance beyond which a right
/// system falls once in a million.
#[tokio::test(flavor = "multi_thread")]
async fn intervals_hold_the_truth_at_the_rate_claimed() {
    const QUESTIONS: usize = 200;
    let sites = randhie("1000.0").await;
    let figures = "SUM(mdvis) AS visits, SUM(LEAST(meddol, 10000)) AS dollars";
    let ask = format!("SELECT site, plan, {figures} FROM visits GROUP BY site, plan");
    let truth = exactly(&ask).await;
    let truth: HashMap<String, (f64, f64)> = keys(&truth, &["site", "plan"])
        .into_iter()
        .zip(
            numbers(&truth, "visits")
                .into_iter()
                .zip(numbers(&truth, "dollars")),
        )
        .collect();
    let mut held = [0usize; 2];
    let mut cells = 0usize;
    let mut squares = [0.0f64; 2];
    for _ in 0..QUESTIONS {
        let answer = sites.ask_fresh(&ask).await;
        let rows = &answer.rows;
        // 6 sites by 18 plans, the empty groups too.
        assert_eq!(rows.num_rows(), 108);
        for (index, name) in ["visits", "dollars"].into_iter().enumerate() {
            let figure = numbers(rows, name);
            let low = numbers(rows, &format!("{name}_low"));
            let high = numbers(rows, &format!("{name}_high"));
            let deviation = numbers(rows, &format!("{name}_sd"));
            for (row, key) in keys(rows, &["site", "plan"]).iter().enumerate() {
                let (visits, dollars) = truth.get(key).copied().unwrap_or_default();
                let exact = [visits, dollars][index];
                held[index] += usize::from(low[row] <= exact && exact <= high[row]);
                squares[index] += ((figure[row] - exact) / deviation[row]).powi(2);
            }
        }
        cells += rows.num_rows();
    }
    for index in 0..2 {
        let rate = held[index] as f64 / cells as f64;
        // 21,600 cells: five standard errors are 0.0074; whole numbers widen the intervals of visits.
        assert!((0.9426..=0.96).contains(&rate), "{rate}");
        // A Laplace square has variance 5, so the mean of 21,600 has a standard error of 0.0152.
        let variance = squares[index] / cells as f64;
        assert!((variance - 1.0).abs() < 0.08, "{variance}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_are_told_apart_or_added_as_asked() {
    let sites = randhie("1000.0").await;
    let precise = |sql: &str| skerry_coordinator::question::Question {
        epsilon: Some(skerry_proto::Epsilon::try_from(50.0).unwrap()),
        ..skerry_coordinator::question::Question::new(sql)
    };
    let total = sites
        .client
        .query(&precise("SELECT SUM(mdvis) AS n FROM visits"))
        .await
        .unwrap();
    assert_eq!(total.rows.num_rows(), 1);
    // ε = 50 makes the noise of 6 sites together some ten visits.
    assert!((numbers(&total.rows, "n")[0] - 57_752.0).abs() < 200.0);
    let each = sites
        .client
        .query(&precise(
            "SELECT region, COUNT(DISTINCT person_id) AS persons, AVG(mdvis) AS mean FROM visits \
             GROUP BY region HAVING COUNT(DISTINCT person_id) > 1000 ORDER BY persons DESC LIMIT 2",
        ))
        .await
        .unwrap();
    assert_eq!(keys(&each.rows, &["region"]), ["2", "1"]);
    let persons = numbers(&each.rows, "persons");
    assert!((persons[0] - 1232.0).abs() <= 2.0 && (persons[1] - 1164.0).abs() <= 2.0);
    let one = sites
        .client
        .query(&precise(
            "SELECT region, COUNT(*) AS n FROM visits WHERE region = '3' GROUP BY region",
        ))
        .await
        .unwrap();
    assert_eq!(keys(&one.rows, &["region"]), ["3"]);
    assert_eq!(
        one.record.regions.answered.len(),
        1,
        "a region that isn't asked isn't charged"
    );
}
