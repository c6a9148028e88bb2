//! Policies that were written beforehand: the tables' declarations, in a file in which
//! `{region}` in a table's `path` stands for the region's id, so that one may serve all regions.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use skerry_node::config::{ConfigError, NodeConfig, Source, read};
use skerry_proto::{Refusal, RegionId};
use toml::Spanned;

use super::{in_policy, layout::list, refusal, text, unreadable};

const PLACE: &str = "{region}";

/// A policy as it was read.
#[derive(Debug)]
pub struct Policy {
    file: PathBuf,
    text: String,
    persons: Option<u64>,
    has_budget: bool,
    /// Of each table, its `path` and where in the text it stands.
    paths: Vec<Spanned<String>>,
    /// Where relative paths start from.
    folder: PathBuf,
}

/// What `init` itself needs to know; the rest is checked as a node's configuration.
#[derive(Deserialize)]
struct File {
    region: Option<Spanned<toml::Value>>,
    listen: Option<Spanned<toml::Value>>,
    persons: Option<u64>,
    budget: Option<toml::Value>,
    #[serde(default)]
    table: Vec<Table>,
}

#[derive(Deserialize)]
struct Table {
    path: Spanned<String>,
}

/// The policies `FOLDER/<region>/policy.toml`.
pub fn by_region(
    folder: &Path,
    data: Option<&Path>,
) -> Result<BTreeMap<RegionId, Policy>, Refusal> {
    let mut policies = BTreeMap::new();
    for entry in list(folder)? {
        let file = entry.join("policy.toml");
        let name = entry.file_name().and_then(|name| name.to_str());
        if let Some(Ok(region)) = name.map(str::parse)
            && file.exists()
        {
            policies.insert(region, Policy::load(&file, data)?);
        }
    }
    if policies.is_empty() {
        return Err(refusal(
            format!("{} has no policies", folder.display()),
            "lay them out as FOLDER/REGION/policy.toml, or name one file for all regions",
        ));
    }
    Ok(policies)
}

impl Policy {
    /// Reads a policy. Paths in it start from `data`, or else from its own folder.
    pub fn load(file: &Path, data: Option<&Path>) -> Result<Self, Refusal> {
        let text = read(file)?;
        let source = Source::new(file, &text);
        let parsed: File = source.parse()?;
        if let Some(key) = parsed.region.as_ref().or(parsed.listen.as_ref()) {
            let message = "a policy for every region has no `region` and no `listen`";
            return Err(source.error(key.span(), message, "init writes them").into());
        }
        if parsed.table.is_empty() {
            return Err(source.error_anywhere("there is no [[table]]", "").into());
        }
        let folder = match (data, file.parent()) {
            (Some(data), _) => data,
            (None, Some(parent)) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        Ok(Self {
            file: file.to_owned(),
            persons: parsed.persons,
            has_budget: parsed.budget.is_some(),
            paths: parsed.table.into_iter().map(|table| table.path).collect(),
            folder: fs::canonicalize(folder).map_err(|error| unreadable(folder, &error))?,
            text,
        })
    }

    /// The regions whose files are there, by the first path that tells them apart.
    pub fn regions(&self) -> Result<Vec<RegionId>, Refusal> {
        let path = self
            .paths
            .iter()
            .find(|path| path.get_ref().contains(PLACE));
        let Some(path) = path else {
            return Err(refusal(
                "which regions?".to_owned(),
                "name them as in --regions north,south, or write {region} in a table's path",
            ));
        };
        let mut parent = self.folder.clone();
        for part in Path::new(path.get_ref()) {
            if let Some((start, end)) = part.to_str().and_then(|part| part.split_once(PLACE)) {
                let mut regions: Vec<RegionId> = list(&parent)?
                    .iter()
                    .filter_map(|path| {
                        let name = path.file_name()?.to_str()?;
                        name.strip_prefix(start)?.strip_suffix(end)?.parse().ok()
                    })
                    .filter(|region| self.path(path, region).exists())
                    .collect();
                regions.sort();
                if regions.is_empty() {
                    break;
                }
                return Ok(regions);
            }
            parent.push(part);
        }
        Err(refusal(
            format!(
                "no data file {} in {}",
                path.get_ref(),
                self.folder.display()
            ),
            "name the folder with --data FOLDER",
        ))
    }

    fn path(&self, path: &Spanned<String>, region: &RegionId) -> PathBuf {
        self.folder
            .join(path.get_ref().replace(PLACE, region.as_str()))
    }

    /// The configuration of one region's node, whose file will be `node`.
    pub fn node(&self, region: &RegionId, listen: &str, node: &Path) -> Result<String, Refusal> {
        let mut policy = self.text.clone();
        // From the end, so that the places before stay where they are.
        for path in self.paths.iter().rev() {
            let full = self.path(path, region);
            let glob = full.to_string_lossy().contains(['*', '?', '[']);
            if !glob && !full.exists() {
                return Err(Source::new(&self.file, &self.text)
                    .error(
                        path.span(),
                        format!("{} is not there", full.display()),
                        "relative paths start from the policy's folder, or from --data",
                    )
                    .into());
            }
            policy.replace_range(path.span(), &text::quoted(&full.to_string_lossy()));
        }
        let head = text::node_head(region, listen, self.persons.is_none());
        let foot = text::node_foot(!self.has_budget, self.persons);
        let text = format!("{head}{policy}\n{foot}");
        let check: Result<NodeConfig, ConfigError> = NodeConfig::parse(node, &text);
        check.map_err(|error| in_policy(error, &self.file, head.matches('\n').count()))?;
        Ok(text)
    }
}
