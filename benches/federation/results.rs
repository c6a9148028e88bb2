//! What was measured, as it stands in a results' file.

use std::{fs, path::Path, process::Command, time::SystemTime};

use chrono::{DateTime, SecondsFormat, Utc};
use datafusion::DATAFUSION_VERSION;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Failure,
    measure::{Run, Summary, summary},
};

/// A results' file.
#[derive(Debug, Serialize, Deserialize)]
pub struct Results {
    /// On what.
    pub machine: Machine,
    /// Of Skerry.
    pub commit: String,
    /// Of Skerry.
    pub skerry: String,
    /// Of the engine, on either side.
    pub datafusion: String,
    /// Of the compiler.
    pub rust: String,
    /// One for each command.
    pub parts: Vec<Part>,
}

/// What one command measured.
#[derive(Debug, Serialize, Deserialize)]
pub struct Part {
    /// The command.
    pub command: String,
    /// When it began.
    pub began: String,
    /// The machine's load at that time, of 1, 5 and 15 minutes.
    pub load: String,
    /// How long all of it took.
    pub seconds: f64,
    /// What came of it.
    pub found: Found,
}

/// What came of a command.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// Of questions.
    Questions(Vec<Asked>),
    /// Of preparing tables.
    Ingest(Vec<Ingested>),
    /// Of noise.
    Noise(Vec<Drawn>),
}

/// Whose time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// DataFusion over the prepared tables' files, without noise and bounds.
    Plain,
    /// Skerry over prepared tables.
    Prepared,
    /// Skerry over the files as they were generated: DataFusion's generic plan with exchange and sort.
    Generic,
}

impl Side {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain DataFusion",
            Self::Prepared => "Skerry, prepared",
            Self::Generic => "Skerry, generic plan",
        }
    }
}

/// One question of one side in one setting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Asked {
    /// In all regions together.
    pub people: u64,
    /// In all regions together.
    pub episodes: u64,
    /// Each with a node of its own.
    pub regions: usize,
    /// Of the side's process.
    pub threads: usize,
    /// Its name.
    pub question: String,
    /// Connections that ask it at once.
    pub at_once: usize,
    /// How often each of them asks it in a row.
    pub in_a_row: usize,
    /// Whose time it is.
    pub side: Side,
    /// Memory of the side's process before its first question.
    pub idle_bytes: Option<u64>,
    /// Why it isn't answered.
    pub refused: Option<String>,
    /// The runs that count.
    pub runs: Vec<Run>,
}

impl Asked {
    /// Its runs, summed up.
    pub fn summary(&self) -> Option<Summary> {
        summary(&self.runs)
    }

    /// The name without what it is about, as in Q1.
    pub fn short(&self) -> &str {
        self.question.split(' ').next().unwrap_or(&self.question)
    }
}

/// Tables that were prepared.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ingested {
    /// In all regions together.
    pub people: u64,
    /// In all regions together.
    pub episodes: u64,
    /// Each with tables of its own, one after the other.
    pub regions: usize,
    /// At work.
    pub threads: usize,
    /// `--memory-mib` of `skerry ingest`.
    pub memory_mib: u64,
    /// Of all private tables together; in a process of its own.
    pub run: Run,
}

/// Noise that was drawn.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Drawn {
    /// Its distribution.
    pub mechanism: String,
    /// The noise's scale, in cell units.
    pub scale: u64,
    /// Of one release.
    pub cells: usize,
    /// Releases.
    pub run: Run,
}

/// What the results were measured on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Machine {
    /// Its model.
    pub processor: String,
    /// As the process sees them.
    pub cores: usize,
    /// All of it, in MiB.
    pub memory_mib: u64,
    /// The kernel.
    pub system: String,
}

impl Results {
    /// With nothing in it yet.
    pub fn here() -> Self {
        let line = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let found = text.lines().find(|line| line.starts_with(key));
            let value = found.and_then(|line| line.split_once(':'));
            value.map_or_else(|| "unknown".to_owned(), |(_, text)| text.trim().to_owned())
        };
        let memory = line("/proc/meminfo", "MemTotal");
        let memory = memory.split(' ').next().and_then(|text| text.parse().ok());
        let commit = said("git", &["describe", "--always", "--dirty", "--abbrev=10"]);
        Self {
            machine: Machine {
                processor: line("/proc/cpuinfo", "model name"),
                cores: crate::cores(),
                memory_mib: memory.unwrap_or(0_u64) >> 10,
                system: format!("{} {}", said("uname", &["-sr"]), std::env::consts::ARCH),
            },
            commit,
            skerry: env!("CARGO_PKG_VERSION").to_owned(),
            datafusion: DATAFUSION_VERSION.to_owned(),
            rust: said("rustc", &["--version"]),
            parts: vec![],
        }
    }

    /// Those of a file.
    pub fn load(file: &Path) -> Result<Self, Failure> {
        Ok(serde_json::from_slice(&fs::read(file)?)?)
    }

    /// Writes the file.
    pub fn store(&self, file: &Path) -> Result<(), Failure> {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut text = String::new();
        write(&mut text, &serde_json::to_value(self)?, 0);
        text.push('\n');
        fs::write(file, text)?;
        Ok(())
    }

    /// All questions of all commands.
    pub fn asked(&self) -> impl Iterator<Item = &Asked> {
        self.parts.iter().flat_map(|part| match &part.found {
            Found::Questions(asked) => asked.as_slice(),
            Found::Ingest(_) | Found::Noise(_) => &[],
        })
    }
}

/// As JSON with a line for each record, so that people can look it through.
fn write(text: &mut String, value: &Value, depth: usize) {
    /// The results, their parts, a part, what was found, the records.
    const DEEPEST: usize = 5;
    let (open, close, inner): (char, char, Vec<(String, &Value)>) = match value {
        Value::Object(fields) if depth < DEEPEST && !fields.is_empty() => {
            let named = fields
                .iter()
                .map(|(name, value)| (format!("{}: ", Value::from(name.as_str())), value));
            ('{', '}', named.collect())
        }
        Value::Array(items) if depth < DEEPEST && !items.is_empty() => {
            let items = items.iter().map(|item| (String::new(), item));
            ('[', ']', items.collect())
        }
        other => {
            text.push_str(&other.to_string());
            return;
        }
    };
    text.push(open);
    for (place, (name, value)) in inner.iter().enumerate() {
        text.push_str(if place > 0 { ",\n" } else { "\n" });
        text.push_str(&"  ".repeat(depth + 1));
        text.push_str(name);
        write(text, value, depth + 1);
    }
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    text.push(close);
}

/// The time now and the machine's load, for people.
pub fn now() -> (String, String) {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let now = DateTime::<Utc>::from(SystemTime::now());
    (
        now.to_rfc3339_opts(SecondsFormat::Secs, true),
        load.join(" "),
    )
}

fn said(command: &str, arguments: &[&str]) -> String {
    let output = Command::new(command)
        .args(arguments)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    let text = output
        .ok()
        .and_then(|output| String::from_utf8(output.stdout).ok());
    text.map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
