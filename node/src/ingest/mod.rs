//! Prepares a node's private tables: rows hashed by person into partitions, sorted by person
//! within, in files of their own beside a manifest.
//!
//! Two passes over each table. The first sends each row to its partition's file; the second sorts
//! a partition, within the memory that it may have, and writes it for good. What is finished is
//! not done again after an interruption. Nothing is taken for a table before the manifest names
//! it, and that is written last.

mod check;
mod exchange;
mod sort;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fs::{self, TryLockError},
    io,
    num::NonZero,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use datafusion::{
    common::stats::Precision,
    error::DataFusionError,
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::RuntimeEnvBuilder,
    },
    physical_plan::statistics::{StatisticsArgs, StatisticsContext},
    prelude::{SessionConfig, SessionContext},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use skerry_privacy::policy::TablePolicy;
use tokio::task::JoinSet;
use uuid::Uuid;

use check::Check;
pub use check::Found;
use exchange::Exchanged;

use crate::{
    catalogue::{Catalogue, CatalogueError},
    config::{NodeConfig, TableConfig, UnitConfig},
    data_files::DataFiles,
    plan::rebuild::Tables as _,
    prepared::{
        Partitions,
        manifest::{
            FORMAT, Manifest, TableManifest, as_text, partition_file, private_file, sync_folder,
            write_whole,
        },
    },
    statistics,
};

/// Rows that a partition of the largest table has, about: they are sorted in memory at best, and
/// one question reads partitions at the same time.
const PARTITION_ROWS: usize = 1 << 20;
/// A small table is cut too, so that all cores read it.
const LEAST_PARTITIONS: usize = 4;
const MOST_PARTITIONS: usize = 256;
/// Rows of a batch in the first pass: split over all partitions, there must be some for each.
const EXCHANGE_ROWS: usize = 1 << 16;
/// Least memory of one sort.
const LEAST_SORT_BYTES: usize = 32 << 20;
/// So many batches of the first pass fit into the memory of one sort, at least.
const SORT_BATCHES: usize = 8;

/// What is being made; gone once it is finished.
const UNFINISHED: &str = "unfinished.json";
const LOCK: &str = "ingest.lock";
const EXCHANGE: &str = "exchange";
const SPILL: &str = "spill";

/// How tables are prepared.
#[derive(Debug, Clone)]
pub struct IngestOptions {
    /// Where the prepared tables go.
    pub folder: PathBuf,
    /// Memory for rows, about.
    pub memory_mib: u64,
    /// A power of two; nothing: by the size of the largest table.
    pub partitions: Option<usize>,
    /// Partitions that are sorted at the same time; nothing: as many as there are cores.
    pub threads: Option<usize>,
}

/// Which pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Rows go to their partitions.
    Exchange,
    /// Partitions are sorted and written.
    Sort,
}

/// How far it is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The table.
    pub table: &'a str,
    /// The pass.
    pub stage: Stage,
    /// Rows of the table that this pass is through with.
    pub rows: u64,
    /// Of how many, if that is known.
    pub of: Option<u64>,
}

/// What was prepared. For the owner's own terminal: the numbers are not protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngestReport {
    /// The version of the data.
    pub version: Uuid,
    /// Of each table.
    pub partitions: usize,
    /// By name.
    pub tables: BTreeMap<String, TableReport>,
}

/// What was found in one table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// Rows that were left out, for they say no person.
    pub without_unit: u64,
    /// Rows a person, as declared.
    pub max_rows_per_unit: u64,
    /// What the rest holds.
    pub found: Found,
}

/// Why tables can't be prepared. Read by the owner alone.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The tables or their declarations.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// Rows can't be read, sorted or written.
    #[error("table {0}: {1}")]
    Rows(String, #[source] DataFusionError),
    /// The engine.
    #[error("the query engine can't start: {0}")]
    Engine(#[from] DataFusionError),
    /// An option.
    #[error("partitions must be a power of two, at most {}", Partitions::MOST)]
    Partitions,
    /// There is nothing to prepare.
    #[error("the configuration has no private tables")]
    NoTables,
    /// Another process is at it.
    #[error("{0} is being written by another `skerry ingest`")]
    InUse(PathBuf),
}

/// What an unfinished folder is about: work on other tables isn't gone on with.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unfinished {
    format: u32,
    #[serde(with = "as_text")]
    version: Uuid,
    partitions: usize,
    /// SHA-256 of declarations and of the sources' sizes and times.
    of: String,
}

struct Source<'a> {
    config: &'a TableConfig,
    unit: &'a UnitConfig,
    policy: &'a TablePolicy,
    files: Vec<(String, u64, u128)>,
}

/// Prepares all private tables of a configuration.
///
/// # Errors
/// If a table can't be read or the folder can't be written. What was finished stays, for the
/// next run.
pub async fn ingest(
    config: &NodeConfig,
    options: &IngestOptions,
    progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<IngestReport, IngestError> {
    let mut raw = config.clone();
    raw.prepared = None;
    let threads = options
        .threads
        .or_else(|| std::thread::available_parallelism().ok().map(NonZero::get))
        .unwrap_or(1);
    private_folder(&options.folder)?;
    let lock = at(&options.folder.join(LOCK), private_file)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(IngestError::InUse(options.folder.clone())),
        Err(TryLockError::Error(error)) => {
            return Err(IngestError::File(options.folder.join(LOCK), error));
        }
    }
    let memory = usize::try_from(options.memory_mib)
        .unwrap_or(usize::MAX)
        .saturating_mul(1 << 20);
    let reading = context(&options.folder, memory / 2, threads, EXCHANGE_ROWS)?;
    let catalogue = Catalogue::open_tables(&raw, &reading).await?;
    let sources = raw
        .tables
        .iter()
        .filter_map(|table| {
            let unit = table.unit.as_ref()?;
            let policy = catalogue.policy().tables.get(&table.name)?;
            Some((table, unit, policy))
        })
        .map(|(config, unit, policy)| {
            let files = at(&config.path, |_| DataFiles::of(config).described())?;
            Ok(Source {
                config,
                unit,
                policy,
                files,
            })
        })
        .collect::<Result<Vec<_>, IngestError>>()?;
    if sources.is_empty() {
        return Err(IngestError::NoTables);
    }
    let unfinished = begin(&options.folder, &sources, options.partitions, async || {
        most_rows(&sources, &catalogue, &reading).await
    })
    .await?;
    let partitions = Partitions::new(unfinished.partitions).ok_or(IngestError::Partitions)?;
    let folder = options.folder.join(unfinished.version.to_string());
    // Each sort has memory of its own: what one of them holds while it merges what it spilled would
    // else be missing in another that can't do with less.
    let sort_bytes = (memory / 2 / threads.max(1)).max(LEAST_SORT_BYTES);
    let sorting = || {
        let rows = crate::prepared::BATCH_ROWS;
        context(&options.folder, sort_bytes, 1, rows)
    };
    // A sort takes in a batch at a time, twice its size, beside what it keeps for merging.
    let buffered = (memory / 4).min(sort_bytes / SORT_BATCHES * partitions.count());
    let mut manifest = Manifest {
        format: FORMAT,
        version: unfinished.version,
        partitions: partitions.count(),
        tables: BTreeMap::new(),
    };
    let mut tables = BTreeMap::new();
    for source in &sources {
        let name = &source.config.name;
        let rows = |error| IngestError::Rows(name.clone(), error);
        let own = folder.join(name);
        private_folder(&own)?;
        let between = own.join(EXCHANGE);
        let marker = own.join("exchanged.json");
        let exchanged: Exchanged = match read_json(&marker) {
            Some(exchanged) => exchanged,
            None => {
                private_folder(&between)?;
                let provider = catalogue.provider(name).ok_or(IngestError::NoTables)?;
                let frame = reading
                    .read_table(provider)
                    .and_then(|frame| exchange::columns(frame, source.policy, &source.unit.column))
                    .map_err(rows)?;
                let done = Arc::new(AtomicU64::new(0));
                let exchange = exchange::exchange(
                    frame,
                    &source.unit.column,
                    partitions,
                    &between,
                    buffered,
                    Arc::clone(&done),
                );
                let exchanged = told(exchange, || {
                    progress(Progress {
                        table: name,
                        stage: Stage::Exchange,
                        rows: done.load(Ordering::Relaxed),
                        of: None,
                    });
                })
                .await
                .map_err(rows)?;
                at(&marker, |marker| {
                    write_whole(marker, &serde_json::to_vec(&exchanged)?)
                })?;
                exchanged
            }
        };
        let sort = Arc::new(Sorting {
            table: name.clone(),
            unit: source.unit.clone(),
            policy: source.policy.clone(),
            partitions,
            folder: own.clone(),
            nullable: exchanged.nullable,
            next: AtomicUsize::new(0),
            done: AtomicU64::new(0),
        });
        let mut workers = JoinSet::new();
        for _ in 0..threads {
            let (sort, context) = (Arc::clone(&sort), sorting()?);
            workers.spawn(async move { sort.partitions(&context).await });
        }
        let found = told(workers.join_all(), || {
            progress(Progress {
                table: name,
                stage: Stage::Sort,
                rows: sort.done.load(Ordering::Relaxed),
                of: Some(exchanged.rows),
            });
        })
        .await
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
        let mut report = TableReport {
            without_unit: exchanged.without_unit,
            max_rows_per_unit: source.unit.max_rows,
            found: Found::default(),
        };
        for of_partition in found.iter().flatten() {
            report.found.add(of_partition);
        }
        let files = (0..partitions.count())
            .map(|partition| {
                at(&own.join(partition_file(partition)), |file| {
                    Ok(fs::metadata(file)?.len())
                })
            })
            .collect::<Result<_, _>>()?;
        at(&own, |own| sync_folder(Some(own)))?;
        let table = TableManifest {
            unit: source.unit.column.clone(),
            files,
            sources: source.files.clone(),
        };
        manifest.tables.insert(name.clone(), table);
        tables.insert(name.clone(), report);
    }
    finish(&options.folder, &manifest)?;
    Ok(IngestReport {
        version: manifest.version,
        partitions: manifest.partitions,
        tables,
    })
}

/// Goes on with what is unfinished if it is about the same, or begins anew.
async fn begin(
    folder: &Path,
    sources: &[Source<'_>],
    wanted: Option<usize>,
    most_rows: impl AsyncFnOnce() -> Result<usize, IngestError>,
) -> Result<Unfinished, IngestError> {
    let mut of = Sha256::new();
    for source in sources {
        of.update(format!("{:?} {:?}\n", source.config, source.files));
    }
    let of = hex::encode(of.finalize());
    let file = folder.join(UNFINISHED);
    if let Some(found) = read_json::<Unfinished>(&file) {
        let same = found.format == FORMAT
            && found.of == of
            && wanted.is_none_or(|wanted| wanted == found.partitions);
        if same {
            return Ok(found);
        }
        remove(&folder.join(found.version.to_string()))?;
    }
    let partitions = match wanted {
        Some(wanted) => wanted,
        None => (most_rows().await? / PARTITION_ROWS)
            .next_power_of_two()
            .clamp(LEAST_PARTITIONS, MOST_PARTITIONS),
    };
    if Partitions::new(partitions).is_none() {
        return Err(IngestError::Partitions);
    }
    let unfinished = Unfinished {
        format: FORMAT,
        version: Uuid::new_v4(),
        partitions,
        of,
    };
    private_folder(&folder.join(unfinished.version.to_string()))?;
    at(&file, |file| {
        write_whole(file, &serde_json::to_vec(&unfinished)?)
    })?;
    Ok(unfinished)
}

/// Rows of the largest table, as far as the files say.
async fn most_rows(
    sources: &[Source<'_>],
    catalogue: &Catalogue,
    context: &SessionContext,
) -> Result<usize, IngestError> {
    let mut most = 0;
    for source in sources {
        let name = &source.config.name;
        let provider = catalogue.provider(name).ok_or(IngestError::NoTables)?;
        let plan = context
            .read_table(provider)?
            .create_physical_plan()
            .await
            .map_err(|error| IngestError::Rows(name.clone(), error))?;
        let statistics = StatisticsContext::new().compute(&*plan, &StatisticsArgs::new());
        let rows = match statistics {
            Ok(statistics) => match statistics.num_rows {
                Precision::Exact(rows) | Precision::Inexact(rows) => Some(rows),
                Precision::Absent => None,
            },
            Err(_) => None,
        };
        // A row of an Arrow file has some fifty bytes.
        let bytes: u64 = source.files.iter().map(|(_, bytes, _)| bytes).sum();
        let guessed = usize::try_from(bytes / 50).unwrap_or(usize::MAX);
        most = most.max(rows.unwrap_or(guessed));
    }
    Ok(most)
}

/// The second pass over one table, shared by those who work at it.
struct Sorting {
    table: String,
    unit: UnitConfig,
    policy: TablePolicy,
    partitions: Partitions,
    folder: PathBuf,
    nullable: Vec<String>,
    /// The next partition to be taken.
    next: AtomicUsize,
    /// Rows that are written.
    done: AtomicU64,
}

impl Sorting {
    /// Takes the next partition until there is none.
    async fn partitions(&self, context: &SessionContext) -> Result<Vec<Found>, IngestError> {
        let mut all = vec![];
        loop {
            let partition = self.next.fetch_add(1, Ordering::Relaxed);
            if partition >= self.partitions.count() {
                return Ok(all);
            }
            all.push(self.partition(partition, context).await?);
        }
    }

    async fn partition(
        &self,
        partition: usize,
        context: &SessionContext,
    ) -> Result<Found, IngestError> {
        let file = self.folder.join(partition_file(partition));
        let report = file.with_extension("json");
        if let (Some(found), true) = (read_json::<Found>(&report), file.exists()) {
            self.done.fetch_add(found.rows, Ordering::Relaxed);
            return Ok(found);
        }
        let rows = exchange::partition_file(&self.folder.join(EXCHANGE), partition);
        let beside = file.with_extension("part");
        let unit = &self.unit;
        let check = |schema: &_| Check::new(&self.policy, unit.max_rows, schema, context);
        let found = sort::sort(
            context,
            &rows,
            &unit.column,
            &self.nullable,
            &beside,
            check,
            &self.done,
        )
        .await
        .map_err(|error| IngestError::Rows(self.table.clone(), error))?;
        at(&file, |file| fs::rename(&beside, file))?;
        at(&report, |report| {
            write_whole(report, &serde_json::to_vec(&found)?)
        })?;
        at(&rows, |rows| fs::remove_file(rows))?;
        Ok(found)
    }
}

/// The manifest names the new tables from now on. The version before stays for a node that still
/// runs on it; earlier ones go.
fn finish(folder: &Path, manifest: &Manifest) -> Result<(), IngestError> {
    let before = Manifest::load(folder).ok().map(|before| before.version);
    at(&folder.join(manifest.version.to_string()), |own| {
        sync_folder(Some(own))
    })?;
    at(folder, |folder| manifest.store(folder))?;
    at(&folder.join(UNFINISHED), |file| fs::remove_file(file))?;
    remove(&folder.join(SPILL))?;
    for name in manifest.tables.keys() {
        let own = folder.join(manifest.version.to_string()).join(name);
        remove(&own.join(EXCHANGE))?;
        for entry in at(&own, |own| fs::read_dir(own))?.flatten() {
            let path = entry.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                at(&path, |path| fs::remove_file(path))?;
            }
        }
    }
    for entry in at(folder, |folder| fs::read_dir(folder))?.flatten() {
        let name = entry.file_name();
        let version = name.to_str().and_then(|name| Uuid::parse_str(name).ok());
        if version.is_some_and(|found| found != manifest.version && Some(found) != before) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

/// Tells of progress now and then while the work goes on, and once when it is done.
async fn told<T>(work: impl Future<Output = T>, tell: impl Fn()) -> T {
    let mut work = std::pin::pin!(work);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(200));
    loop {
        tokio::select! {
            done = &mut work => {
                tell();
                return done;
            }
            _ = tick.tick() => tell(),
        }
    }
}

/// An engine whose rows take at most so much memory; what is more spills into the folder.
fn context(
    folder: &Path,
    bytes: usize,
    threads: usize,
    batch_rows: usize,
) -> Result<SessionContext, IngestError> {
    let spill = folder.join(SPILL);
    private_folder(&spill)?;
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill]));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let session = SessionConfig::new()
        .with_target_partitions(threads)
        .with_batch_size(batch_rows);
    let session = statistics::unused(session);
    Ok(SessionContext::new_with_config_rt(session, runtime))
}

fn read_json<T: for<'a> Deserialize<'a>>(file: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(file).ok()?).ok()
}

fn at<T>(path: &Path, work: impl FnOnce(&Path) -> io::Result<T>) -> Result<T, IngestError> {
    work(path).map_err(|error| IngestError::File(path.to_owned(), error))
}

/// A folder for its owner alone.
fn private_folder(folder: &Path) -> Result<(), IngestError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    at(folder, |folder| builder.create(folder))
}

fn remove(folder: &Path) -> Result<(), IngestError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(IngestError::File(folder.to_owned(), error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
