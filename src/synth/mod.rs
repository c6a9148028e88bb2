//! Synthetic Nordic regions with a known truth, for the demo, the tests and the benches. No line
//! of it comes from a real person.
//!
//! [`generate`] writes, for any number of people,
//!
//! - `DIR/<region>/<table>.parquet`: the private tables of the common model,
//! - `DIR/public/<table>.parquet`: the public tables, with a column `region`; a region has its
//!   own rows of them beside its private ones,
//! - `DIR/policy.toml`: what is public about all of them, for `skerry init --policy`; and
//!   `DIR/<region>/policy.toml`, the same for that region alone,
//! - `DIR/truth.json`: the parameters, and exact totals counted while the rows were written.
//!
//! Every person has random numbers of their own, from the seed, the region and their place in
//! it, so that the rows are the same for any number of threads and any size of row groups.

mod details;
mod effects;
mod episodes;
mod governance;
mod inclusion;
mod people;
mod policy;
mod public_tables;
mod region_tables;
mod regions;
mod tables;
mod templates;
mod truth;
mod vocabulary;
mod write;

use std::{
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};

use regions::Region;
use truth::Truth;

/// The regions of the default federation, in their order.
pub const REGIONS: [&str; 5] = [
    "norrbotten",
    "nordland",
    "akershus",
    "north_karelia",
    "north_jutland",
];

/// The most regions of one federation.
pub const MOST_REGIONS: usize = 32;

/// The most people of one federation; far more than one machine holds.
pub const MOST_PEOPLE: u64 = 1 << 40;

/// What to generate, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SynthOptions {
    /// The folder, created if need be; it must not hold a federation already.
    pub directory: PathBuf,
    /// People in all regions together; about 10 episodes each.
    pub people: u64,
    /// The same seed gives the same rows.
    pub seed: u64,
    /// How many regions, 1 to [`MOST_REGIONS`]: the first of [`REGIONS`]; beyond five they come
    /// again as `norrbotten_2` and so on. With fewer than five the first ones have all people.
    pub regions: usize,
    /// Threads; more than regions are of no use. The rows do not depend on it.
    pub threads: usize,
    /// Whether episodes are written person by person, instead of year by year with people in no
    /// order. The rows are the same.
    pub sorted: bool,
    /// Rows of a Parquet row group, which bounds the memory. The rows do not depend on it.
    pub row_group_rows: usize,
}

impl SynthOptions {
    /// The default federation of a size: five regions, seed 1, a thread for each core.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>, people: u64) -> Self {
        Self {
            directory: directory.into(),
            people,
            seed: 1,
            regions: REGIONS.len(),
            threads: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            sorted: false,
            row_group_rows: 1 << 20,
        }
    }
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Episodes written so far.
    pub episodes: u64,
    /// About how many there will be.
    pub expected: u64,
}

/// What a run wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The regions' ids.
    pub regions: Vec<String>,
    /// People.
    pub people: u64,
    /// Episodes.
    pub episodes: u64,
}

/// Why nothing, or not all, was generated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SynthError {
    /// An option is out of its range.
    #[error("{0}")]
    Option(String),
    /// There is a federation already.
    #[error("{0} already holds a synthetic federation; remove it or name another folder")]
    Exists(PathBuf),
    /// A file can't be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A Parquet file can't be written.
    #[error("cannot write Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    /// Columns make no batch.
    #[error("cannot build a batch: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// Another region's failure stopped this one.
    #[error("stopped")]
    Stopped,
}

/// What the threads of a run share.
struct Shared<'a> {
    options: &'a SynthOptions,
    progress: &'a (dyn Fn(Progress) + Sync),
    episodes: AtomicU64,
    stopped: AtomicBool,
}

impl Shared<'_> {
    /// Tells the caller of rows written, and this thread whether to go on.
    fn report(&self, rows: u64) -> Result<(), SynthError> {
        if self.stopped.load(Ordering::Relaxed) {
            return Err(SynthError::Stopped);
        }
        let episodes = self.episodes.fetch_add(rows, Ordering::Relaxed) + rows;
        (self.progress)(Progress {
            episodes,
            expected: self.options.people.saturating_mul(10),
        });
        Ok(())
    }
}

/// Generates a synthetic federation; `progress` is called every few thousand people, from
/// several threads. `truth.json` is written last: without it a run is not complete.
///
/// # Errors
/// When an option is out of range, the folder holds a federation, or a file can't be written.
pub fn generate(
    options: &SynthOptions,
    progress: &(dyn Fn(Progress) + Sync),
) -> Result<Summary, SynthError> {
    check(options)?;
    let public = options.directory.join("public");
    std::fs::create_dir_all(&public).map_err(|source| SynthError::Write {
        path: public.clone(),
        source,
    })?;
    let regions = regions::federation(options.people, options.regions, options.seed);
    let shared = Shared {
        options,
        progress,
        episodes: AtomicU64::new(0),
        stopped: AtomicBool::new(false),
    };
    let truths = write_regions(&regions, &shared)?;
    public_tables::write_public_tables(&public, &regions, &truths)?;
    let truth = format!("{:#}\n", truth_of(options, &regions, &truths));
    for (name, text) in [
        ("policy.toml", policy::common_policy(&regions)),
        ("truth.json", truth),
    ] {
        let path = options.directory.join(name);
        std::fs::write(&path, text).map_err(|source| SynthError::Write { path, source })?;
    }
    Ok(Summary {
        regions: regions.iter().map(|region| region.id.clone()).collect(),
        people: options.people,
        episodes: truths.iter().map(Truth::episodes).sum(),
    })
}

fn check(options: &SynthOptions) -> Result<(), SynthError> {
    let range = |what: &str, value: u64, least: u64, most: u64| {
        if (least..=most).contains(&value) {
            Ok(())
        } else {
            let text = format!("{what} must be from {least} to {most}, not {value}");
            Err(SynthError::Option(text))
        }
    };
    range(
        "the number of regions",
        options.regions as u64,
        1,
        MOST_REGIONS as u64,
    )?;
    range(
        "the number of people",
        options.people,
        options.regions as u64 * 20,
        MOST_PEOPLE,
    )?;
    range("the number of threads", options.threads as u64, 1, 1024)?;
    range(
        "rows of a row group",
        options.row_group_rows as u64,
        1,
        1 << 30,
    )?;
    if options.directory.join("truth.json").exists() {
        return Err(SynthError::Exists(options.directory.clone()));
    }
    Ok(())
}

/// Writes the regions, the largest first so that threads end about together.
fn write_regions(regions: &[Region], shared: &Shared<'_>) -> Result<Vec<Truth>, SynthError> {
    let mut order: Vec<usize> = (0..regions.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(regions[place].persons));
    let next = AtomicUsize::new(0);
    let results: Vec<Mutex<Option<Result<Truth, SynthError>>>> =
        regions.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        while let Some(&place) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let result = region_tables::write_region(&regions[place], shared);
            if result.is_err() {
                shared.stopped.store(true, Ordering::Relaxed);
            }
            if let Ok(mut slot) = results[place].lock() {
                *slot = Some(result);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..shared.options.threads.min(regions.len()) {
            scope.spawn(work);
        }
        work();
    });
    let mut truths = Vec::with_capacity(regions.len());
    let mut failure = None;
    for result in results {
        match result.into_inner().ok().flatten() {
            Some(Ok(truth)) => truths.push(truth),
            // The first cause, rather than the regions that it stopped.
            Some(Err(error))
                if !matches!(
                    failure,
                    Some(SynthError::Parquet(_) | SynthError::Write { .. })
                ) =>
            {
                failure = Some(error);
            }
            Some(Err(_)) => {}
            None => failure = failure.or(Some(SynthError::Stopped)),
        }
    }
    failure.map_or(Ok(truths), Err)
}

fn truth_of(options: &SynthOptions, regions: &[Region], truths: &[Truth]) -> Value {
    let by_region: serde_json::Map<String, Value> = regions
        .iter()
        .zip(truths)
        .map(|(region, truth)| (region.id.clone(), truth.json(region)))
        .collect();
    json!({
        "note": "Synthetic. No row comes from a real person. Costs in euros; counts are exact.",
        "seed": options.seed,
        "people": options.people,
        "episodes": truths.iter().map(Truth::episodes).sum::<u64>(),
        "persons_with_episodes": truths.iter().map(Truth::persons_with_episodes).sum::<u64>(),
        "measures": truth::MEASURES.iter()
            .map(|(name, predicate)| ((*name).to_owned(), json!(predicate)))
            .collect::<serde_json::Map<String, Value>>(),
        "window": "365 days before, and 365 days from included_on; people observed for both",
        "regions": by_region,
    })
}

#[cfg(test)]
mod tests;
