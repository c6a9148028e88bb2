//! Federations to test with: the RAND Health Insurance Experiment's six sites, each with its node.

use std::{fs, path::Path};

use arrow::{
    array::{Array, AsArray as _, RecordBatch},
    compute,
    datatypes::{DataType, Float64Type},
};
use skerry::{
    federation::{self, Federation},
    init::{InitOptions, init},
};
use skerry_coordinator::{
    answer::Answer,
    client::{Client, Credentials},
    question::Question,
};
use tempfile::TempDir;

/// A federation that runs, and a researcher's connection to it.
pub struct Randhie {
    pub federation: Federation,
    pub client: Client,
    folder: TempDir,
}

impl Randhie {
    /// The folder of the federation.
    pub fn folder(&self) -> std::path::PathBuf {
        self.folder.path().join("federation")
    }

    pub async fn ask_fresh(&self, sql: &str) -> Answer {
        let question = Question {
            fresh: true,
            ..Question::new(sql)
        };
        self.client.query(&question).await.unwrap()
    }
}

/// Writes the sites' data and policy with other budgets.
pub fn copy_sample(to: &Path, epsilon: &str) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/randhie");
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(sample).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let file = to.join("policy.toml");
    let policy = fs::read_to_string(&file).unwrap();
    let lines: Vec<String> = policy
        .lines()
        .map(|line| match line.split_once("epsilon = ") {
            Some((before, after)) => {
                let rest = after.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
                format!("{before}epsilon = {epsilon}{rest}")
            }
            None => line.to_owned(),
        })
        .collect();
    fs::write(file, lines.join("\n")).unwrap();
}

/// Writes a federation of the six sites into `folder`.
pub fn write_federation(folder: &Path, epsilon: &str) {
    let data = folder.join("data");
    copy_sample(&data, epsilon);
    init(&InitOptions {
        folder: folder.join("federation"),
        regions: vec![],
        data: None,
        unit: None,
        policy: Some(data.join("policy.toml")),
        port: 0,
    })
    .unwrap();
}

/// The six sites, with so much ε for each project and in all.
pub async fn randhie(epsilon: &str) -> Randhie {
    let folder = TempDir::new().unwrap();
    write_federation(folder.path(), epsilon);
    start(folder).await
}

/// Starts a federation that is written.
pub async fn start(folder: TempDir) -> Randhie {
    let place = folder.path().join("federation");
    let federation = federation::start(&place).await.unwrap();
    let credentials = Credentials::load(&place.join("researcher")).unwrap();
    let client = Client::connect(&federation.url(), &credentials)
        .await
        .unwrap();
    Randhie {
        federation,
        client,
        folder,
    }
}

/// A column as floats, NULL as NaN.
pub fn numbers(rows: &RecordBatch, name: &str) -> Vec<f64> {
    let column = rows
        .column_by_name(name)
        .unwrap_or_else(|| panic!("no column {name}"));
    let column = compute::cast(column, &DataType::Float64).unwrap();
    let column = column.as_primitive::<Float64Type>();
    (0..column.len())
        .map(|row| {
            if column.is_null(row) {
                f64::NAN
            } else {
                column.value(row)
            }
        })
        .collect()
}

/// Columns as one text a row.
pub fn keys(rows: &RecordBatch, names: &[&str]) -> Vec<String> {
    let columns: Vec<_> = names
        .iter()
        .map(|name| {
            let column = rows
                .column_by_name(name)
                .unwrap_or_else(|| panic!("no column {name}"));
            compute::cast(column, &DataType::Utf8).unwrap()
        })
        .collect();
    (0..rows.num_rows())
        .map(|row| {
            let parts: Vec<&str> = columns
                .iter()
                .map(|column| column.as_string::<i32>().value(row))
                .collect();
            parts.join("/")
        })
        .collect()
}
