//! The version of a node's data: a random id, minted anew when the files change.
//!
//! Times and sizes of private files say something about the data, so they stay in a file beside
//! the ledger; only the random id takes part in the hash that a question is known by.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{config::NodeConfig, data_files::DataFiles};

/// A random id of the data as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataVersion(Uuid);

#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
struct Stored {
    version: String,
    /// Path, size and time of change of each file.
    files: Vec<(String, u64, u128)>,
}

impl DataVersion {
    /// The id as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The version of the files that a configuration names: the one stored in `file` if they are
    /// as they were, else a new one. For prepared tables their version stands, which was minted
    /// when they were prepared.
    ///
    /// # Errors
    /// If files can't be listed or the version can't be stored.
    pub fn current(config: &NodeConfig, prepared: Option<Uuid>, file: &Path) -> io::Result<Self> {
        let mut files = vec![];
        for table in &config.tables {
            if prepared.is_none() || !table.is_private() {
                files.extend(DataFiles::of(table).described()?);
            }
        }
        if let Some(version) = prepared {
            files.push((format!("prepared {version}"), 0, 0));
        }
        files.sort();
        let stored = fs::read(file)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Stored>(&bytes).ok());
        let same = stored.filter(|stored| stored.files == files);
        if let Some(version) = same.and_then(|stored| Uuid::parse_str(&stored.version).ok()) {
            return Ok(Self(version));
        }
        let version = Uuid::new_v4();
        let fresh = Stored {
            version: version.to_string(),
            files,
        };
        let beside = file.with_extension("new");
        write_private(&beside, &serde_json::to_vec(&fresh)?)?;
        fs::rename(beside, file)?;
        Ok(Self(version))
    }
}

/// Sizes and times of private files are the owner's alone.
fn write_private(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut open = options.open(file)?;
    open.write_all(bytes)?;
    open.sync_all()
}
