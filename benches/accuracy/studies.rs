//! How often the intervals of each study's figures hold the truth, over fresh noise in each run.

use std::collections::BTreeMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::{self, concat_batches},
    datatypes::{DataType, Float64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use datafusion::prelude::SessionContext;
use skerry_coordinator::{
    answer::ColumnRecord,
    client::Client,
    exact::exactly,
    study::{Given, Study},
};

use crate::{Failure, Options};

/// Where a figure was held, and in how many runs.
#[derive(Debug, Default, Clone, Copy)]
struct Held {
    intervals: usize,
    holding: usize,
}

impl Held {
    fn add(&mut self, other: Self) {
        self.intervals += other.intervals;
        self.holding += other.holding;
    }

    fn share(self) -> f64 {
        100.0 * self.holding as f64 / self.intervals.max(1) as f64
    }
}

/// A study's part of the report: a line for each figure and one for all of them.
#[derive(Debug, Default)]
pub struct Coverage {
    figures: BTreeMap<String, Held>,
    rows: usize,
    answered_ms: Vec<u128>,
}

impl Coverage {
    /// Lines of the table: study, figure, rows, intervals, share that holds the truth in per cent.
    pub fn lines(&self, study: &str) -> Vec<[String; 5]> {
        let line = |figure: &str, held: Held| {
            [
                study.to_owned(),
                figure.to_owned(),
                self.rows.to_string(),
                held.intervals.to_string(),
                format!("{:.1} %", held.share()),
            ]
        };
        let mut all = Held::default();
        let mut lines = Vec::new();
        for (name, held) in &self.figures {
            all.add(*held);
            lines.push(line(name, *held));
        }
        lines.insert(0, line("all figures", all));
        lines
    }

    /// Median time of an answer in milliseconds.
    pub fn milliseconds(&self) -> u128 {
        let mut times = self.answered_ms.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or(0)
    }
}

/// Asks a study again and again, and holds each interval against the exact figure.
pub async fn cover(
    study: &Study,
    options: &Options,
    exact: &SessionContext,
    client: &Client,
) -> Result<Coverage, Failure> {
    let mut question = study.ask(&Given::default())?;
    question.fresh = true;
    let frame = exactly(exact, &question.sql).await?;
    let schema = std::sync::Arc::clone(frame.schema().inner());
    let batches = frame.collect().await?;
    let truth = concat_batches(
        batches.first().map_or(&schema, RecordBatch::schema_ref),
        &batches,
    )?;
    let mut coverage = Coverage {
        rows: truth.num_rows(),
        ..Coverage::default()
    };
    for _ in 0..options.runs {
        let began = std::time::Instant::now();
        let answer = client.query(&question).await?;
        coverage.answered_ms.push(began.elapsed().as_millis());
        for (figure, held) in held(&truth, &answer.rows, &answer.record.columns)? {
            coverage.figures.entry(figure).or_default().add(held);
        }
    }
    Ok(coverage)
}

/// By figure: in how many rows that both have an interval is told, and holds the truth.
fn held(
    truth: &RecordBatch,
    answer: &RecordBatch,
    record: &[ColumnRecord],
) -> Result<Vec<(String, Held)>, Failure> {
    let names: Vec<&str> = truth
        .schema_ref()
        .fields()
        .iter()
        .map(|field| field.name().as_str())
        .collect();
    let figures = names
        .iter()
        .copied()
        .filter(|name| answer.column_by_name(&format!("{name}_low")).is_some());
    // What is said of noisy figures, such as whether they rise, tells no row apart.
    let keys: Vec<&str> = record
        .iter()
        .filter(|column| !column.noisy)
        .map(|column| column.name.as_str())
        .collect();
    let places: BTreeMap<String, usize> = rows_by_key(answer, &keys)?
        .into_iter()
        .enumerate()
        .map(|(row, key)| (key, row))
        .collect();
    let mut found = Vec::new();
    for name in figures {
        let exact = numbers(truth, name)?;
        let low = numbers(answer, &format!("{name}_low"))?;
        let high = numbers(answer, &format!("{name}_high"))?;
        let mut held = Held::default();
        for (row, key) in rows_by_key(truth, &keys)?.iter().enumerate() {
            let (Some(exact), Some(place)) = (exact[row], places.get(key)) else {
                continue;
            };
            if let (Some(low), Some(high)) = (low[*place], high[*place]) {
                // The last digit of a float is not what is looked at.
                let slack = 1e-9 * exact.abs();
                held.intervals += 1;
                held.holding += usize::from(low - slack <= exact && exact <= high + slack);
            }
        }
        found.push((name.to_owned(), held));
    }
    Ok(found)
}

/// What tells rows apart: all columns without noise that are no fractions.
fn rows_by_key(batch: &RecordBatch, keys: &[&str]) -> Result<Vec<String>, Failure> {
    let options = FormatOptions::default();
    let columns = keys
        .iter()
        .filter_map(|name| batch.column_by_name(name))
        .filter(|column| !column.data_type().is_floating())
        .map(|column| ArrayFormatter::try_new(column.as_ref(), &options))
        .collect::<Result<Vec<_>, _>>()?;
    let rows = 0..batch.num_rows();
    Ok(rows
        .map(|row| {
            let texts: Vec<String> = columns
                .iter()
                .map(|column| column.value(row).to_string())
                .collect();
            texts.join("|")
        })
        .collect())
}

fn numbers(batch: &RecordBatch, name: &str) -> Result<Vec<Option<f64>>, Failure> {
    let column = batch
        .column_by_name(name)
        .ok_or_else(|| format!("there is no column {name}"))?;
    let column = compute::cast(column, &DataType::Float64)?;
    Ok(column.as_primitive::<Float64Type>().iter().collect())
}
