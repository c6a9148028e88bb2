//! How far private answers are from the truth, noise and clipping together: the same SQL over the
//! same files, by Skerry at one ε and by plain DataFusion.
//!
//! ```text
//! cargo bench --bench accuracy -- --people 1000000 --regions 5 --runs 20
//! ```
//!
//! The total error of a column is Σ|answer − truth| / Σ|truth| over its rows. Bounds on what a
//! person contributes are chosen by Skerry, and paid for, in each run anew.

use std::{
    collections::HashMap,
    error::Error,
    path::{Path, PathBuf},
};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute,
    datatypes::{DataType, Float64Type},
};
use clap::Parser;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use skerry::{
    federation,
    init::{InitOptions, init},
    synth::{self, SynthOptions},
};
use skerry_coordinator::{
    client::{Client, Credentials},
    question::Question,
};
use skerry_proto::Epsilon;

type Failure = Box<dyn Error + Send + Sync>;

/// Name, and SQL with the keys first.
const QUESTIONS: [(&str, usize, &str); 8] = [
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

/// Enough for all runs.
const LARGE_BUDGET: &str = "{ epsilon = 900.0, delta = 1e-7 }";

#[derive(Debug, Parser)]
struct Options {
    /// People in all regions together; about 10 episodes each
    #[arg(long, default_value_t = 20_000)]
    people: u64,
    /// Regions, each with a node of its own
    #[arg(long, default_value_t = 5)]
    regions: usize,
    /// Fresh answers to each question
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// ε of each answer
    #[arg(long, default_value_t = 1.0)]
    epsilon: f64,
    /// What goes into `OPTIONS(…)` of each question, for example `bounds = 'declared'`
    #[arg(long)]
    options: Option<String>,
    /// Questions whose name holds this [default: all]
    #[arg(long, default_value = "")]
    only: String,
    /// Where the data are written, or were [default: a folder that is removed]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    let folder = tempfile::tempdir()?;
    let data = options
        .data
        .clone()
        .unwrap_or_else(|| folder.path().join("data"));
    if !data.join("truth.json").exists() {
        let mut wanted = SynthOptions::new(&data, options.people);
        wanted.regions = options.regions;
        synth::generate(&wanted, &|_| ())?;
    }
    let truth: serde_json::Value =
        serde_json::from_slice(&std::fs::read(data.join("truth.json"))?)?;
    let regions: Vec<String> = truth["regions"]
        .as_object()
        .map_or_else(Vec::new, |regions| regions.keys().cloned().collect());
    let home = folder.path().join("federation");
    // The budget has to last for all runs.
    let policy = folder.path().join("policy");
    with_large_budget(&data, &policy)?;
    init(&InitOptions {
        folder: home.clone(),
        regions: regions
            .iter()
            .map(|id| id.parse())
            .collect::<Result<_, _>>()?,
        data: None,
        unit: None,
        policy: Some(policy),
        port: 0,
    })?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let exact = pooled(&data, &regions).await?;
        let federation = federation::start(&home).await?;
        let credentials = Credentials::load(&home.join("researcher"))?;
        let client = Client::connect(&federation.url(), &credentials).await?;
        let mut table = comfy_table::Table::new();
        table.set_header([
            "question",
            "rows",
            "total error",
            "worst run",
            "intervals hold",
            "low by (said)",
        ]);
        let asked = QUESTIONS
            .into_iter()
            .filter(|(name, ..)| name.contains(&options.only));
        for (name, keys, sql) in asked {
            eprintln!("{name}");
            table.add_row(measure(name, keys, sql, &options, &exact, &client).await?);
        }
        println!("{table}");
        println!(
            "ε = {}, {} people, {} episodes, {} regions, {} runs; total error: median of the runs",
            options.epsilon,
            truth["people"],
            truth["episodes"],
            regions.len(),
            options.runs
        );
        federation.stop().await;
        Ok::<_, Failure>(())
    })
}

/// Copies the policy files with a budget that doesn't run out.
fn with_large_budget(data: &Path, policy: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(policy)?;
    for entry in std::fs::read_dir(data)? {
        let entry = entry?;
        let (from, to) = (entry.path(), policy.join(entry.file_name()));
        if from.is_dir() {
            std::fs::create_dir_all(&to)?;
            for file in std::fs::read_dir(&from)? {
                let file = file?;
                copy_or_link(&file.path(), &to.join(file.file_name()))?;
            }
        } else {
            copy_or_link(&from, &to)?;
        }
    }
    Ok(())
}

/// Policies are copied with a larger budget, data are hard links.
fn copy_or_link(from: &Path, to: &Path) -> Result<(), Failure> {
    if from
        .extension()
        .is_some_and(|extension| extension == "toml")
    {
        let text = std::fs::read_to_string(from)?;
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                if line.starts_with("project = {") || line.starts_with("total = {") {
                    let name = line.split(' ').next().unwrap_or_default();
                    format!("{name} = {LARGE_BUDGET}")
                } else {
                    line.to_owned()
                }
            })
            .collect();
        let mut text = lines.join("\n");
        if text.contains("[[table]]") && !text.contains("[budget]") {
            text += &format!("\n[budget]\nproject = {LARGE_BUDGET}\ntotal = {LARGE_BUDGET}\n");
        }
        std::fs::write(to, text)?;
    } else {
        std::fs::hard_link(from, to).or_else(|_| std::fs::copy(from, to).map(|_| ()))?;
    }
    Ok(())
}

/// All regions' tables as one, with the region.
async fn pooled(data: &Path, regions: &[String]) -> Result<SessionContext, Failure> {
    let session = SessionContext::new();
    for table in ["episodes", "patients"] {
        let mut parts = Vec::new();
        for (place, region) in regions.iter().enumerate() {
            let name = format!("{region}_{table}");
            let file = data.join(region).join(format!("{table}.parquet"));
            let file = file.display().to_string();
            session
                .register_parquet(&name, file, ParquetReadOptions::default())
                .await?;
            // A number is a person's within a region alone: pooled, two persons would be one.
            parts.push(format!(
                "SELECT * REPLACE (patient_id * {} + {place} AS patient_id), '{region}' AS region
                 FROM {name}",
                regions.len()
            ));
        }
        let view = format!("CREATE VIEW {table} AS {}", parts.join(" UNION ALL "));
        session.sql(&view).await?.collect().await?;
    }
    Ok(session)
}

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

async fn measure(
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
