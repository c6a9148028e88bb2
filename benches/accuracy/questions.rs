//! Questions whose total error is measured.

use std::collections::HashMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute,
    datatypes::{DataType, Float64Type},
};
use datafusion::prelude::SessionContext;
use skerry_coordinator::{client::Client, question::Question};
use skerry_proto::Epsilon;

use crate::{Failure, Options};

/// Name, and SQL with the keys first.
pub const QUESTIONS: [(&str, usize, &str); 8] = [
    (
        "episodes by service",
        1,
        "SELECT service, COUNT(*) AS n FROM episodes GROUP BY service",
    ),
    (
        "cost by municipality",
        2,
        "SELECT e.region, p.municipality, SUM(e.cost) AS cost
         FROM episodes e JOIN patients p ON e.patient_id = p.patient_id
         GROUP BY e.region, p.municipality",
    ),
    (
        "mean cost by service",
        1,
        "SELECT service, AVG(cost) AS mean FROM episodes GROUP BY service",
    ),
    (
        "spread of cost",
        0,
        "SELECT STDDEV(cost) AS sd FROM episodes WHERE service = 'hospital_admission'",
    ),
    (
        "median cost of admissions",
        0,
        "SELECT MEDIAN(cost) AS median FROM episodes WHERE service = 'hospital_admission'",
    ),
    (
        "90 % of waiting days",
        0,
        "SELECT APPROX_PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY waited_days) AS days FROM episodes",
    ),
    (
        "services used",
        1,
        "SELECT region, COUNT(DISTINCT service) AS services FROM episodes GROUP BY region",
    ),
    (
        "persons by service",
        1,
        "SELECT service, COUNT(DISTINCT patient_id) AS persons FROM episodes GROUP BY service",
    ),
];

/// The figures of the column after the keys, by keys.
fn figures(
    batch: &RecordBatch,
    keys: usize,
    column: usize,
) -> Result<HashMap<String, f64>, Failure> {
    let texts = (0..keys)
        .map(|key| compute::cast(batch.column(key), &DataType::Utf8))
        .collect::<Result<Vec<_>, _>>()?;
    let numbers = compute::cast(batch.column(column), &DataType::Float64)?;
    let numbers = numbers.as_primitive::<Float64Type>();
    Ok((0..batch.num_rows())
        .filter(|row| numbers.is_valid(*row))
        .map(|row| {
            let key: Vec<&str> = texts
                .iter()
                .map(|text| text.as_string::<i32>().value(row))
                .collect();
            (key.join("|"), numbers.value(row))
        })
        .collect())
}

/// The total error of a question, and what its intervals hold: a row of the table.
pub async fn measure(
    name: &str,
    keys: usize,
    sql: &str,
    options: &Options,
    exact: &SessionContext,
    client: &Client,
) -> Result<Vec<String>, Failure> {
    let mut truth = HashMap::new();
    for batch in exact.sql(sql).await?.collect().await? {
        truth.extend(figures(&batch, keys, keys)?);
    }
    let asked = match &options.options {
        Some(text) => {
            let words = format!("SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS({text})");
            sql.replacen("SELECT", &words, 1)
        }
        None => sql.to_owned(),
    };
    let mut question = Question::new(asked);
    question.epsilon = Some(Epsilon::try_from(options.epsilon)?);
    question.fresh = true;
    let whole: f64 = truth.values().map(|x| x.abs()).sum();
    let mut errors = Vec::new();
    let (mut held, mut cells, mut low_by) = (0usize, 0usize, Vec::new());
    for _ in 0..options.runs {
        let answer = client.query(&question).await?;
        let answered = figures(&answer.rows, keys, keys)?;
        let lows = figures(&answer.rows, keys, keys + 1)?;
        let highs = figures(&answer.rows, keys, keys + 2)?;
        let mut error = 0.0;
        for (key, exact) in &truth {
            error += (answered.get(key).copied().unwrap_or(0.0) - exact).abs();
            if let (Some(low), Some(high)) = (lows.get(key), highs.get(key)) {
                cells += 1;
                held += usize::from(low <= exact && exact <= high);
            }
        }
        errors.push(error / whole);
        let bounds = answer
            .record
            .clipping
            .iter()
            .flat_map(|record| &record.bounds);
        low_by.extend(bounds.filter_map(|bound| bound.low_by));
    }
    errors.sort_by(f64::total_cmp);
    low_by.sort_by(f64::total_cmp);
    let percent = |share: f64| format!("{:.3} %", 100.0 * share);
    let middle = |values: &[f64]| values.get(values.len() / 2).copied();
    Ok(vec![
        name.to_owned(),
        truth.len().to_string(),
        middle(&errors).map_or(String::new(), percent),
        errors.last().copied().map_or(String::new(), percent),
        format!("{:.1} %", 100.0 * held as f64 / cells.max(1) as f64),
        middle(&low_by).map_or("declared".to_owned(), percent),
    ])
}
