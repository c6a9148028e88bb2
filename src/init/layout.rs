//! Data files laid out by region: `FOLDER/region=ID.parquet` or `FOLDER/TABLE/region=ID.parquet`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use skerry_proto::{Refusal, RegionId};

use super::{refusal, unreadable};

/// The data files of each table and region.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout(BTreeMap<String, BTreeMap<RegionId, PathBuf>>);

impl Layout {
    /// Looks through a folder. File names are all that is read.
    ///
    /// # Errors
    /// When it can't be listed or has no such files.
    pub fn find(folder: &Path) -> Result<Self, Refusal> {
        let folder = fs::canonicalize(folder).map_err(|error| unreadable(folder, &error))?;
        let mut tables = BTreeMap::new();
        let here = region_files(&folder)?;
        if !here.is_empty() {
            tables.insert(table_name(&folder), here);
        }
        for entry in list(&folder)? {
            if entry.is_dir() && region_of(&entry).is_none() {
                let files = region_files(&entry)?;
                if !files.is_empty() {
                    tables.insert(table_name(&entry), files);
                }
            }
        }
        if tables.is_empty() {
            return Err(refusal(
                format!("{} has no data files by region", folder.display()),
                "lay them out as FOLDER/region=ID.parquet or FOLDER/TABLE/region=ID.parquet",
            ));
        }
        Ok(Self(tables))
    }

    /// The regions of any table, sorted.
    #[must_use]
    pub fn regions(&self) -> Vec<RegionId> {
        let mut regions: Vec<_> = self
            .0
            .values()
            .flat_map(|files| files.keys().cloned())
            .collect();
        regions.sort();
        regions.dedup();
        regions
    }

    /// The tables that a region has, with the file of each.
    pub fn tables(&self, region: &RegionId) -> impl Iterator<Item = (&str, &Path)> {
        self.0.iter().filter_map(|(table, files)| {
            files
                .get(region)
                .map(|file| (table.as_str(), file.as_path()))
        })
    }
}

fn region_files(folder: &Path) -> Result<BTreeMap<RegionId, PathBuf>, Refusal> {
    Ok(list(folder)?
        .into_iter()
        .filter_map(|path| region_of(&path).map(|region| (region, path)))
        .collect())
}

fn region_of(path: &Path) -> Option<RegionId> {
    let name = path.file_name()?.to_str()?.strip_prefix("region=")?;
    let id = [".parquet", ".csv", ".arrow"]
        .iter()
        .find_map(|ending| name.strip_suffix(ending));
    match id {
        Some(id) => id.parse().ok(),
        None if path.is_dir() => name.parse().ok(),
        None => None,
    }
}

/// What SQL can call a table, after its folder.
fn table_name(folder: &Path) -> String {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let name: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '_'
            }
        })
        .collect();
    let name = name.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
    if name.is_empty() {
        "data".to_owned()
    } else {
        name.to_owned()
    }
}

/// What a folder holds, sorted by name.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, Refusal> {
    let mut paths = fs::read_dir(folder)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|error| unreadable(folder, &error))?;
    paths.sort();
    Ok(paths)
}
