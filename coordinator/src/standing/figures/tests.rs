use std::{path::Path, sync::Arc};

use datafusion::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use serde_json::json;

use super::*;
use crate::{
    answer::{Caveats, PrivacyRecord, RegionsRecord},
    config::CoordinatorConfig,
    samples::Intervals,
    uncertainty::Figure as Column,
};

fn question() -> StandingQuestion {
    let text = r#"
listen = "127.0.0.1:0"
[[region]]
id = "a"
url = "https://127.0.0.1:1"
[[standing]]
name = "s"
project = "p"
epsilon = 1.0
sql = "SELECT $week"
figure = "n"
group_by = ["region"]
from = "2024-01-01"
weeks = 1
[standing.alerts]
webhook = "http://127.0.0.1/"
"#;
    let config = CoordinatorConfig::parse(Path::new("c.toml"), text).expect("valid");
    config.standing[0].clone()
}

fn answer(regions: &[Option<&str>], counts: ArrayRef, noisy: bool, missing: &[&str]) -> Answer {
    let rows = regions.len();
    let batch = RecordBatch::try_from_iter([
        (
            "c0",
            Arc::new(regions.iter().copied().collect::<StringArray>()) as ArrayRef,
        ),
        ("c1", counts),
    ])
    .expect("batch");
    let intervals = Intervals {
        low: vec![Some(1.0); rows],
        high: vec![Some(9.0); rows],
        sd: vec![Some(2.0); rows],
    };
    let count = Column {
        intervals: noisy.then_some(intervals),
        ..Column::alone(noisy)
    };
    let mut privacy = PrivacyRecord::default();
    privacy
        .regions
        .insert("a".into(), json!({"mechanism": "discrete Gaussian"}));
    privacy
        .regions
        .insert("b".into(), json!({"mechanism": "discrete Laplace"}));
    let records = RegionsRecord {
        answered: ["a", "b"]
            .into_iter()
            .filter(|region| !missing.contains(region))
            .map(|region| region.parse().expect("id"))
            .collect(),
        missing: missing
            .iter()
            .map(|region| region.parse().expect("id"))
            .collect(),
    };
    Answer::new(
        &batch,
        &["region".to_owned(), "n".to_owned()],
        &[Column::alone(false), count],
        "q".parse().expect("id"),
        privacy,
        records,
        Caveats::default(),
    )
    .expect("answer")
}

fn week() -> NaiveDate {
    "2024-01-01".parse().expect("a day")
}

fn whole(counts: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(counts.to_vec()))
}

#[test]
fn a_figure_has_the_noise_of_its_region() {
    let all = answer(&[Some("a"), Some("b"), None], whole(&[5, 6, 11]), true, &[]);
    let read = figures(&all, &question(), week()).expect("figures");
    let groups: Vec<&str> = read.iter().map(|figure| figure.group.as_str()).collect();
    assert_eq!(
        groups,
        [
            r#"{"region":"a"}"#,
            r#"{"region":"b"}"#,
            r#"{"region":null}"#
        ]
    );
    let shapes: Vec<Shape> = read.iter().map(|figure| figure.released.shape).collect();
    assert_eq!(shapes, [Shape::Gaussian, Shape::Laplace, Shape::Laplace]);
    assert_eq!(
        (
            read[1].released.value,
            read[1].low,
            read[1].high,
            read[1].released.sd
        ),
        (6.0, 1.0, 9.0, 2.0)
    );
}

#[test]
fn a_total_without_some_regions_is_no_figure() {
    let rows = [Some("a"), None, Some("all regions")];
    let partial = answer(&rows, whole(&[5, 5, 5]), true, &["b"]);
    let read = figures(&partial, &question(), week()).expect("figures");
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].group, r#"{"region":"a"}"#);
}

#[test]
fn what_does_not_fit_is_told() {
    let question = question();
    let told = |answer: &Answer| figures(answer, &question, week()).expect_err("told");
    let twice = answer(&[Some("a"), Some("a")], whole(&[5, 6]), true, &[]);
    assert!(told(&twice).contains("more than one row"));
    let real: ArrayRef = Arc::new(Float64Array::from(vec![0.5]));
    assert!(told(&answer(&[Some("a")], real, true, &[])).contains("no count"));
    assert!(told(&answer(&[Some("a")], whole(&[5]), false, &[])).contains("no noise"));
    let null: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    assert!(told(&answer(&[Some("a")], null, true, &[])).contains("NULL"));
    assert!(told(&answer(&[], whole(&[]), true, &[])).contains("no figure"));
    let other = StandingQuestion {
        figure: "m".into(),
        ..question.clone()
    };
    let five = answer(&[Some("a")], whole(&[5]), true, &[]);
    let error = figures(&five, &other, week()).expect_err("no such column");
    assert_eq!(error, "the answer has no column `m`, but region, n");
}

#[test]
fn of_an_answer_with_more_weeks_the_one_that_is_asked_is_read() {
    let weeks = answer(
        &[Some("2023-12-25"), Some("2024-01-01"), None],
        whole(&[4, 5, 6]),
        true,
        &[],
    );
    let question = StandingQuestion {
        group_by: vec![],
        week_column: Some("region".into()),
        ..question()
    };
    let read = figures(&weeks, &question, week()).expect("figures");
    assert_eq!((read.len(), read[0].released.value), (1, 5.0));
}
