//! What a folder of prepared tables says of itself: `manifest.json`, written last by `skerry
//! ingest`, so that a folder without one holds nothing.
//!
//! Numbers in it say something about private data; it stays beside them, for the owner alone.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Its name.
pub const MANIFEST: &str = "manifest.json";
/// Of the layout and of this file. Another number is another layout.
pub const FORMAT: u32 = 1;

/// Prepared tables of one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the data, minted when they were prepared; the folder that they are in.
    #[serde(with = "as_text")]
    pub version: Uuid,
    /// The same number for all tables; a power of two.
    pub partitions: usize,
    /// By name.
    pub tables: BTreeMap<String, TableManifest>,
}

/// One prepared table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableManifest {
    /// The column of the privacy unit.
    pub unit: String,
    /// Size in bytes of each partition's file.
    pub files: Vec<u64>,
    /// The files that it was made from: path, size, time of change.
    pub sources: Vec<(String, u64, u128)>,
}

/// An id as people write it.
pub(crate) mod as_text {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};
    use uuid::Uuid;

    pub fn serialize<S: Serializer>(id: &Uuid, to: S) -> Result<S::Ok, S::Error> {
        id.to_string().serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Uuid, D::Error> {
        Uuid::parse_str(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}

/// Why a folder of prepared tables can't be used. Read by the owner alone.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It can't be read.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] io::Error),
    /// It says something else than a manifest does.
    #[error("{0} is no manifest of prepared tables: {1}")]
    Content(PathBuf, #[source] serde_json::Error),
    /// Another version of Skerry wrote it.
    #[error(
        "{0} is of format {1}, this version of Skerry reads {FORMAT}; run `skerry ingest` again"
    )]
    Format(PathBuf, u32),
}

impl Manifest {
    /// Reads a folder's manifest.
    ///
    /// # Errors
    /// If there is none, or none that can be used.
    pub fn load(folder: &Path) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Of {
            format: u32,
        }
        let file = folder.join(MANIFEST);
        let bytes = fs::read(&file).map_err(|error| ManifestError::File(file.clone(), error))?;
        let content = |error| ManifestError::Content(file.clone(), error);
        // The format first: the rest may look otherwise.
        let of: Of = serde_json::from_slice(&bytes).map_err(content)?;
        if of.format != FORMAT {
            return Err(ManifestError::Format(file, of.format));
        }
        serde_json::from_slice(&bytes).map_err(content)
    }

    /// Writes it in one step: whoever reads sees the one before, or this.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn store(&self, folder: &Path) -> io::Result<()> {
        write_whole(&folder.join(MANIFEST), &serde_json::to_vec_pretty(self)?)
    }

    /// The file of a table's partition.
    #[must_use]
    pub fn file(&self, folder: &Path, table: &str, partition: usize) -> PathBuf {
        folder
            .join(self.version.to_string())
            .join(table)
            .join(partition_file(partition))
    }
}

/// The name of a partition's file.
pub(crate) fn partition_file(partition: usize) -> String {
    format!("{partition:04}.parquet")
}

/// Writes a file for its owner alone, whole or not at all, and on disk when this returns.
pub(crate) fn write_whole(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = file.with_extension("new");
    let mut open = private_file(&beside)?;
    open.write_all(bytes)?;
    open.sync_all()?;
    fs::rename(&beside, file)?;
    sync_folder(file.parent())
}

/// A new file for its owner alone.
pub(crate) fn private_file(file: &Path) -> io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

/// Names in a folder are on disk when this returns.
pub(crate) fn sync_folder(folder: Option<&Path>) -> io::Result<()> {
    match folder {
        Some(folder) if folder != Path::new("") => fs::File::open(folder)?.sync_all(),
        Some(_) | None => fs::File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_survives_the_way_to_disk_and_another_format_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(
            Manifest::load(folder.path()),
            Err(ManifestError::File(..))
        ));
        let table = TableManifest {
            unit: "person_id".into(),
            files: vec![1, 2],
            sources: vec![("visits.parquet".into(), 3, 4)],
        };
        let mut manifest = Manifest {
            format: FORMAT,
            version: Uuid::new_v4(),
            partitions: 2,
            tables: [("visits".to_owned(), table)].into(),
        };
        manifest.store(folder.path()).unwrap();
        assert_eq!(Manifest::load(folder.path()).unwrap(), manifest);
        manifest.format = FORMAT + 1;
        manifest.store(folder.path()).unwrap();
        let refused = Manifest::load(folder.path()).unwrap_err();
        assert!(matches!(refused, ManifestError::Format(_, found) if found == FORMAT + 1));
        fs::write(folder.path().join(MANIFEST), "{}").unwrap();
        assert!(matches!(
            Manifest::load(folder.path()),
            Err(ManifestError::Content(..))
        ));
    }
}
