//! Time and memory of one run.

use std::{fs, time::Instant};

use serde_json::{Value, json};

use crate::Failure;

/// What a run took.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Wall time.
    pub milliseconds: f64,
    /// Rows of the answer.
    pub rows: usize,
    /// The most memory that the whole process had meanwhile; nothing where the system doesn't say.
    pub peak_bytes: Option<u64>,
}

/// Times one run.
pub async fn run(work: impl AsyncFnOnce() -> Result<usize, Failure>) -> Result<Run, Failure> {
    forget_peak();
    let began = Instant::now();
    let rows = work().await?;
    Ok(Run {
        milliseconds: began.elapsed().as_secs_f64() * 1000.0,
        rows,
        peak_bytes: peak(),
    })
}

/// The run with the median time, and the highest peak of all.
pub fn median(runs: &[Run]) -> Run {
    let mut sorted = runs.to_vec();
    sorted.sort_by(|a, b| a.milliseconds.total_cmp(&b.milliseconds));
    let middle = sorted.get(sorted.len() / 2).copied().unwrap_or(Run {
        milliseconds: f64::NAN,
        rows: 0,
        peak_bytes: None,
    });
    Run {
        peak_bytes: runs.iter().filter_map(|run| run.peak_bytes).max(),
        ..middle
    }
}

/// Memory for people.
pub fn show_memory(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "unknown".to_owned(), |bytes| (bytes >> 20).to_string())
}

/// What the results were measured on.
pub fn machine() -> Value {
    let line = |file: &str, key: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find(|line| line.starts_with(key));
        found
            .and_then(|line| line.split(':').nth(1))
            .map(|value| value.trim().to_owned())
    };
    json!({
        "processor": line("/proc/cpuinfo", "model name"),
        "cores": std::thread::available_parallelism().map(usize::from).ok(),
        "memory": line("/proc/meminfo", "MemTotal"),
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
    })
}

/// Linux starts its record of the peak anew when 5 is written here; elsewhere nothing happens.
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

fn peak() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes << 10)
}
