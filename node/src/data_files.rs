//! The files that tables are read from: which they are, and whether they are still the same.
//!
//! Sizes and times of private files say something about the data, so they are looked at here and
//! stay here: outside, a changed file is a node that has stopped, like any other.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::UNIX_EPOCH,
};

use datafusion::{datasource::listing::ListingTableUrl, object_store};

use crate::{config::TableConfig, prepared::manifest::Manifest};

/// How a table is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Parquet files.
    Parquet,
    /// Arrow IPC files.
    Arrow,
    /// CSV files.
    Csv,
}

/// The files of one table.
#[derive(Debug, Clone)]
pub struct DataFiles {
    path: PathBuf,
    kind: Kind,
    /// What the files' names end in.
    ending: String,
}

/// A file, without its contents.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileState {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// When it was written, in nanoseconds since 1970.
    pub modified: u128,
    /// What changes also where a file of the same size and time takes its place: device, number
    /// on the device, and when either was changed, in seconds and nanoseconds.
    identity: [i64; 4],
}

impl DataFiles {
    /// The files behind a table's path: a file, a folder or a glob.
    #[must_use]
    pub fn of(table: &TableConfig) -> Self {
        let extension = extension(&table.path);
        let kind = match extension.as_deref() {
            Some("csv") => Kind::Csv,
            Some("arrow" | "ipc" | "feather") => Kind::Arrow,
            Some(_) | None => Kind::Parquet,
        };
        let ending = match (&kind, extension) {
            (Kind::Parquet, _) | (_, None) => ".parquet".to_owned(),
            (Kind::Arrow | Kind::Csv, Some(extension)) => format!(".{extension}"),
        };
        Self {
            path: table.path.clone(),
            kind,
            ending,
        }
    }

    /// How they are stored; it follows from the name.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// What the names of files in a folder end in.
    #[must_use]
    pub fn ending(&self) -> &str {
        &self.ending
    }

    /// The files as they are now, sorted.
    ///
    /// # Errors
    /// If they can't be listed.
    pub fn states(&self) -> io::Result<Vec<FileState>> {
        let url = ListingTableUrl::parse(self.path.to_string_lossy()).map_err(io::Error::other)?;
        let Ok(start) = url.get_url().to_file_path() else {
            return Err(io::Error::other("not a path on this machine"));
        };
        let mut states = vec![];
        if url.is_collection() {
            self.add_below(&start, &url, &mut states)?;
            states.sort();
        } else {
            states.push(state(start)?);
        }
        Ok(states)
    }

    /// Path, size and time of each file, sorted: what is kept of files to know them by later.
    ///
    /// # Errors
    /// If they can't be listed.
    pub fn described(&self) -> io::Result<Vec<(String, u64, u128)>> {
        let states = self.states()?.into_iter();
        Ok(states
            .map(|state| (state.path.display().to_string(), state.size, state.modified))
            .collect())
    }

    /// The engine passes over subfolders in some cases; here they are looked at in all.
    fn add_below(
        &self,
        folder: &Path,
        url: &ListingTableUrl,
        states: &mut Vec<FileState>,
    ) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.add_below(&path, url, states)?;
                continue;
            }
            let name =
                object_store::path::Path::from_absolute_path(&path).map_err(io::Error::other)?;
            let meant = url.contains(&name, true) || url.contains(&name, false);
            if meant && path.to_string_lossy().ends_with(&self.ending) {
                states.push(state(path)?);
            }
        }
        Ok(())
    }
}

fn state(path: PathBuf) -> io::Result<FileState> {
    let found = fs::metadata(&path)?;
    let modified = found.modified()?.duration_since(UNIX_EPOCH);
    Ok(FileState {
        size: found.len(),
        modified: modified.unwrap_or_default().as_nanos(),
        identity: identity(&found),
        path,
    })
}

#[cfg(unix)]
fn identity(found: &fs::Metadata) -> [i64; 4] {
    use std::os::unix::fs::MetadataExt as _;
    [
        found.dev().cast_signed(),
        found.ino().cast_signed(),
        found.ctime(),
        found.ctime_nsec(),
    ]
}

#[cfg(not(unix))]
fn identity(_: &fs::Metadata) -> [i64; 4] {
    [0; 4]
}

/// The extension of a file, of a glob, or of the first file in a folder.
fn extension(path: &Path) -> Option<String> {
    let of = |path: &Path| Some(path.extension()?.to_str()?.to_lowercase());
    if path.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path)
            .ok()?
            .flatten()
            .map(|entry| entry.path())
            .collect();
        names.sort();
        names.iter().find_map(|name| of(name))
    } else {
        of(path)
    }
}

/// The files that private rows are read from, as they were when a node started. Public tables are
/// held in memory from then on, so their files may change.
#[derive(Debug)]
pub struct StartedWith {
    tables: Vec<Watched>,
    changed: AtomicBool,
}

#[derive(Debug)]
struct Watched {
    table: String,
    files: WatchedFiles,
    states: Vec<FileState>,
}

#[derive(Debug)]
enum WatchedFiles {
    /// All that are behind a path: one more is a change.
    Of(DataFiles),
    /// These, by name.
    These(Vec<PathBuf>),
}

impl WatchedFiles {
    fn states(&self) -> io::Result<Vec<FileState>> {
        match self {
            Self::Of(files) => files.states(),
            Self::These(paths) => paths.iter().cloned().map(state).collect(),
        }
    }
}

impl StartedWith {
    /// Remembers the files of these tables.
    ///
    /// # Errors
    /// If they can't be listed.
    pub fn tables(tables: &[TableConfig]) -> io::Result<Self> {
        let private = tables.iter().filter(|table| table.is_private());
        Self::now(private.map(|table| {
            let files = WatchedFiles::Of(DataFiles::of(table));
            (table.name.clone(), files)
        }))
    }

    /// Remembers the files of one version of prepared tables. Another version has files of its
    /// own.
    ///
    /// # Errors
    /// If they can't be found.
    pub fn prepared(folder: &Path, manifest: &Manifest) -> io::Result<Self> {
        Self::now(manifest.tables.keys().map(|table| {
            let file = |partition| manifest.file(folder, table, partition);
            let files = (0..manifest.partitions).map(file).collect();
            (table.clone(), WatchedFiles::These(files))
        }))
    }

    fn now(tables: impl Iterator<Item = (String, WatchedFiles)>) -> io::Result<Self> {
        let tables = tables
            .map(|(table, files)| {
                let states = files.states().map_err(|error| {
                    io::Error::new(error.kind(), format!("table {table}: {error}"))
                })?;
                Ok(Watched {
                    table,
                    files,
                    states,
                })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self {
            tables,
            changed: AtomicBool::new(false),
        })
    }

    /// Whether all files are as they were. Once they weren't, they never are again: a node that
    /// has seen parts of two versions is started anew. Blocks for as long as a listing takes.
    #[must_use]
    pub fn unchanged(&self) -> bool {
        if self.changed.load(Ordering::Acquire) {
            return false;
        }
        for Watched {
            table,
            files,
            states,
        } in &self.tables
        {
            if files.states().is_ok_and(|now| now == *states) {
                continue;
            }
            if !self.changed.swap(true, Ordering::AcqRel) {
                tracing::error!(
                    table,
                    "the table's files are not those that this node started with; nothing is \
                     answered until it is started again"
                );
            }
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(path: PathBuf) -> TableConfig {
        TableConfig {
            name: "visits".into(),
            path,
            unit: Some(crate::config::UnitConfig {
                column: "id".into(),
                max_rows: 1,
            }),
            hidden: false,
            columns: vec![],
        }
    }

    fn manifest_of_one_file() -> crate::prepared::manifest::TableManifest {
        crate::prepared::manifest::TableManifest {
            unit: "id".into(),
            files: vec![1],
            sources: vec![],
        }
    }

    fn names(path: PathBuf) -> Vec<String> {
        DataFiles::of(&table(path))
            .states()
            .unwrap()
            .iter()
            .map(|state| {
                state
                    .path
                    .file_name()
                    .unwrap()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect()
    }

    #[test]
    fn only_the_tables_own_files_are_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        for name in ["a.parquet", "b.parquet", "c.csv", "ledger.sqlite"] {
            fs::write(place.join(name), "x").unwrap();
        }
        fs::create_dir(place.join("part=1")).unwrap();
        fs::write(place.join("part=1/d.parquet"), "x").unwrap();
        assert_eq!(names(place.join("a.parquet")), ["a.parquet"]);
        assert_eq!(
            names(place.join("[ab].parquet")),
            ["a.parquet", "b.parquet"]
        );
        assert_eq!(names(place.join("*.csv")), ["c.csv"]);
        let all = ["a.parquet", "b.parquet", "d.parquet"];
        assert_eq!(names(place.to_owned()), all);
        assert!(
            DataFiles::of(&table(place.join("z.parquet")))
                .states()
                .is_err()
        );
    }

    #[test]
    fn any_other_file_in_its_place_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.parquet");
        fs::write(&file, "one").unwrap();
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        let started = || StartedWith::tables(&[table(folder.path().to_owned())]).unwrap();
        let node = started();
        assert!(node.unchanged() && node.unchanged());
        // A file beside it that the table doesn't read.
        fs::write(folder.path().join("notes.txt"), "x").unwrap();
        assert!(node.unchanged());
        // One more of the table's.
        fs::write(folder.path().join("b.parquet"), "x").unwrap();
        assert!(!node.unchanged());
        // It has stopped, also when all is as it was.
        fs::remove_file(folder.path().join("b.parquet")).unwrap();
        assert!(!node.unchanged());
        let node = started();
        assert!(node.unchanged());
        // Another file of the same size and time.
        let other = folder.path().join("other");
        fs::write(&other, "two").unwrap();
        let open = fs::File::options().write(true).open(&other).unwrap();
        open.set_modified(before).unwrap();
        fs::rename(&other, &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        #[cfg(unix)]
        assert!(!node.unchanged());
        // None of those that were named.
        let of_version = Manifest {
            format: 1,
            version: uuid::Uuid::nil(),
            partitions: 1,
            tables: [("visits".to_owned(), manifest_of_one_file())].into(),
        };
        let place = of_version.file(folder.path(), "visits", 0);
        fs::create_dir_all(place.parent().unwrap()).unwrap();
        fs::write(&place, "x").unwrap();
        let node = StartedWith::prepared(folder.path(), &of_version).unwrap();
        fs::write(place.with_extension("new"), "another version's").unwrap();
        assert!(node.unchanged());
        fs::write(&place, "longer").unwrap();
        assert!(!node.unchanged());
        // None at all.
        let node = started();
        fs::remove_file(&file).unwrap();
        assert!(!node.unchanged());
    }
}
