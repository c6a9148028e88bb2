//! Time and memory of one run, of the process that it is run in.

use std::{fs, time::Instant};

use serde::{Deserialize, Serialize};

use crate::Failure;

/// What a run took: of one question, or of several at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
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

/// What is counted from some moment on.
pub struct Meter {
    began: Instant,
    processor: Option<f64>,
}

impl Meter {
    /// From now on.
    pub fn start() -> Self {
        forget_peak();
        Self {
            began: Instant::now(),
            processor: processor_time(),
        }
    }

    /// Until now.
    pub fn stop(self, milliseconds: Vec<f64>, rows: usize) -> Run {
        Run {
            milliseconds,
            together: since(self.began),
            processor: processor_time()
                .zip(self.processor)
                .map(|(after, before)| after - before),
            rows,
            peak_bytes: peak(),
        }
    }
}

/// Times one run: so many questions at once, each of them so many times in a row.
pub async fn run<F>(
    at_once: usize,
    in_a_row: usize,
    work: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Result<Run, Failure>
where
    F: Future<Output = Result<usize, Failure>> + Send + 'static,
{
    let meter = Meter::start();
    let tasks: Vec<_> = (0..at_once)
        .map(|index| {
            let work = work.clone();
            tokio::spawn(async move {
                let (mut times, mut rows) = (vec![], 0);
                for _ in 0..in_a_row {
                    let began = Instant::now();
                    rows = work(index).await?;
                    times.push(since(began));
                }
                Ok::<_, Failure>((times, rows))
            })
        })
        .collect();
    let (mut all, mut rows) = (vec![], 0);
    for task in tasks {
        let (times, found) = task.await??;
        all.extend(times);
        rows = found;
    }
    Ok(meter.stop(all, rows))
}

/// Since then, to a thousandth.
pub fn since(began: Instant) -> f64 {
    began.elapsed().as_micros() as f64 / 1000.0
}

/// Some runs, summed up.
#[derive(Debug, Clone)]
pub struct Summary {
    /// The median of all questions' times.
    pub milliseconds: f64,
    /// Questions a second.
    pub a_second: f64,
    /// Mean processor time of a question, in milliseconds.
    pub processor: Option<f64>,
    /// The highest peak.
    pub peak_bytes: Option<u64>,
}

/// Sums runs up; nothing of no runs.
pub fn summary(runs: &[Run]) -> Option<Summary> {
    let mut times: Vec<f64> = runs
        .iter()
        .flat_map(|run| run.milliseconds.iter().copied())
        .collect();
    times.sort_by(f64::total_cmp);
    let together: f64 = runs.iter().map(|run| run.together).sum();
    let processor: Option<f64> = runs.iter().map(|run| run.processor).sum();
    Some(Summary {
        milliseconds: *times.get(times.len() / 2)?,
        a_second: times.len() as f64 / together * 1000.0,
        processor: processor.map(|all| all / times.len() as f64),
        peak_bytes: runs.iter().filter_map(|run| run.peak_bytes).max(),
    })
}

/// Linux starts its record of the peak anew when 5 is written here; elsewhere nothing happens.
fn forget_peak() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// The peak since it was last forgotten: all memory of the process that is in use, with what its
/// allocator keeps of what was freed.
fn peak() -> Option<u64> {
    status("VmHWM:")
}

/// All memory of the process that is in use now.
pub fn resident() -> Option<u64> {
    status("VmRSS:")
}

fn status(key: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with(key))?;
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
