//! Time and memory of one run.

use std::{fs, time::Instant};

use serde_json::{Value, json};

use crate::Failure;

/// What a run took: of one question, or of several at once.
#[derive(Debug, Clone)]
pub struct Run {
    /// Wall time of each of the questions.
    pub milliseconds: Vec<f64>,
    /// Wall time of all of them.
    pub together: f64,
    /// Time of all processors; nothing where the system doesn't say.
    pub processor: Option<f64>,
    /// Rows of the answer.
    pub rows: usize,
    /// The most memory that the whole process had meanwhile; nothing where the system doesn't say.
    pub peak_bytes: Option<u64>,
}

/// Times one run of so many questions at once.
pub async fn run<F>(at_once: usize, work: impl Fn(usize) -> F) -> Result<Run, Failure>
where
    F: Future<Output = Result<usize, Failure>> + Send + 'static,
{
    forget_peak();
    let processor = processor_time();
    let began = Instant::now();
    let tasks: Vec<_> = (0..at_once)
        .map(|index| {
            let work = work(index);
            tokio::spawn(async move {
                let began = Instant::now();
                let rows = work.await?;
                Ok::<_, Failure>((began.elapsed().as_secs_f64() * 1000.0, rows))
            })
        })
        .collect();
    let mut milliseconds = vec![];
    let mut rows = 0;
    for task in tasks {
        let (took, found) = task.await??;
        milliseconds.push(took);
        rows = found;
    }
    Ok(Run {
        milliseconds,
        together: began.elapsed().as_secs_f64() * 1000.0,
        processor: processor_time()
            .zip(processor)
            .map(|(after, before)| after - before),
        rows,
        peak_bytes: peak(),
    })
}

/// Some runs, summed up.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The median of all questions' times.
    pub milliseconds: f64,
    /// Questions a second.
    pub a_second: f64,
    /// Mean processor time of a question.
    pub processor: Option<f64>,
    /// Rows of the answer.
    pub rows: usize,
    /// The highest peak.
    pub peak_bytes: Option<u64>,
}

/// Sums runs up.
pub fn summary(runs: &[Run]) -> Summary {
    let mut times: Vec<f64> = runs
        .iter()
        .flat_map(|run| run.milliseconds.clone())
        .collect();
    times.sort_by(f64::total_cmp);
    let together: f64 = runs.iter().map(|run| run.together).sum();
    let processor: Option<f64> = runs.iter().map(|run| run.processor).sum();
    Summary {
        milliseconds: times.get(times.len() / 2).copied().unwrap_or(f64::NAN),
        a_second: times.len() as f64 / together * 1000.0,
        processor: processor.map(|all| all / times.len().max(1) as f64),
        rows: runs.last().map_or(0, |run| run.rows),
        peak_bytes: runs.iter().filter_map(|run| run.peak_bytes).max(),
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
        "load": fs::read_to_string("/proc/loadavg").ok().map(|load| load.trim().to_owned()),
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

/// In milliseconds, of all threads, in steps of ten.
fn processor_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // After the name, which is in brackets; ticks are a hundredth of a second on Linux.
    let fields = stat.rsplit_once(") ")?.1;
    let mut fields = fields.split(' ').skip(11);
    let ticks = |field: &str| field.parse::<f64>().ok();
    Some((ticks(fields.next()?)? + ticks(fields.next()?)?) * 10.0)
}
