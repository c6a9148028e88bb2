//! Writing a new federation: keys, certificates and configuration, one folder for each party.

pub mod draft;
mod layout;
mod policy;
mod text;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use skerry_node::config::{ConfigError, NodeConfig};
use skerry_proto::{ErrorCode, Refusal, RegionId};

use crate::authority::{Authority, AuthorityError, write_new};

pub use layout::Layout;

/// What to write.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// Where; made if it isn't there.
    pub folder: PathBuf,
    /// The regions; empty: those of the data's files.
    pub regions: Vec<RegionId>,
    /// Data files laid out by region.
    pub data: Option<PathBuf>,
    /// The column that says whose row it is, for a draft of the tables.
    pub unit: Option<String>,
    /// In place of a draft: a file with a policy for every region, or a folder with
    /// `<region>/policy.toml`.
    pub policy: Option<PathBuf>,
    /// The coordinator's port; the nodes have the following ones. 0: free ports at each start.
    pub port: u16,
}

/// What was written.
#[derive(Debug, Clone)]
pub struct Written {
    /// The regions, in their order.
    pub regions: Vec<RegionId>,
    /// Whether the nodes have tables that an owner still has to look through.
    pub drafted: bool,
}

/// Writes a federation.
///
/// # Errors
/// When one is there already, when the data or the policy can't be used, or a file can't be
/// written. Nothing is written before all of it is known to be usable.
pub fn init(options: &InitOptions) -> Result<Written, Refusal> {
    let folder = &options.folder;
    for taken in ["coordinator.toml", "authority"] {
        if folder.join(taken).exists() {
            return Err(refusal(
                format!("{} has a federation already", folder.display()),
                "choose another folder: keys and ledgers are never written over",
            ));
        }
    }
    let tables = tables(options)?;
    let regions = if options.regions.is_empty() {
        tables.regions()?
    } else {
        options.regions.clone()
    };
    check_regions(&regions)?;
    let mut nodes = Vec::with_capacity(regions.len());
    for (index, region) in regions.iter().enumerate() {
        let listen = text::address(port(options.port, index + 1)?);
        let file = folder.join(region.as_str()).join("node.toml");
        let text = match &tables {
            Tables::Policy(policy) => policy.node(region, &listen, &file)?,
            Tables::Policies(policies) => match policies.get(region) {
                Some(policy) => policy.node(region, &listen, &file)?,
                None => {
                    return Err(refusal(
                        format!("there is no policy of region `{region}`"),
                        "",
                    ));
                }
            },
            Tables::Draft { layout, unit } => {
                text::node(region, &listen, &draft::tables(layout, region, unit)?)
            }
            Tables::None => text::node(region, &listen, text::SAMPLE_TABLE),
        };
        NodeConfig::parse(&file, &text)?;
        if file.exists() {
            return Err(refusal(
                format!("{} is there already", file.display()),
                "choose another folder: nothing is written over",
            ));
        }
        nodes.push((region.clone(), text));
    }
    let public = public_tables(options)?;
    write(options, &nodes, &public).map_err(|error| refusal(error.to_string(), ""))?;
    Ok(Written {
        regions,
        drafted: matches!(tables, Tables::None | Tables::Draft { .. }),
    })
}

/// Where the nodes' tables come from.
enum Tables {
    None,
    Draft { layout: Layout, unit: String },
    Policy(policy::Policy),
    Policies(BTreeMap<RegionId, policy::Policy>),
}

impl Tables {
    fn regions(&self) -> Result<Vec<RegionId>, Refusal> {
        match self {
            Self::None => Err(refusal(
                "which regions?".to_owned(),
                "name them as in --regions north,south, or give --data or --policy",
            )),
            Self::Draft { layout, .. } => Ok(layout.regions()),
            Self::Policy(policy) => policy.regions(),
            Self::Policies(policies) => Ok(policies.keys().cloned().collect()),
        }
    }
}

fn tables(options: &InitOptions) -> Result<Tables, Refusal> {
    match (&options.policy, &options.data, &options.unit) {
        (Some(folder), data, None) if folder.is_dir() => {
            policy::by_region(folder, data.as_deref()).map(Tables::Policies)
        }
        (Some(policy), data, None) => {
            policy::Policy::load(policy, data.as_deref()).map(Tables::Policy)
        }
        (Some(_), _, Some(_)) => Err(refusal(
            "--unit goes with a draft, and --policy takes its place".to_owned(),
            "the policy names the unit of each table: leave --unit out",
        )),
        (None, Some(data), Some(unit)) => Ok(Tables::Draft {
            layout: Layout::find(data)?,
            unit: unit.clone(),
        }),
        (None, Some(_), None) => Err(refusal(
            "--data without --unit: whose rows are they?".to_owned(),
            "name the column that says it, as in --unit person_id",
        )),
        (None, None, Some(_)) => Err(refusal(
            "--unit without --data".to_owned(),
            "give the folder with the data files, as in --data FOLDER",
        )),
        (None, None, None) => Ok(Tables::None),
    }
}

/// Region ids become names in certificates, which have rules of their own.
fn check_regions(regions: &[RegionId]) -> Result<(), Refusal> {
    /// Folders of the federation that are no region's.
    const TAKEN: [&str; 2] = ["authority", "researcher"];
    let mut seen = BTreeSet::new();
    for region in regions {
        let name = region.as_str();
        let fits = name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_')
            && name.len() <= 63
            && !name.ends_with('-');
        if !fits {
            return Err(refusal(
                format!("region `{name}` can't stand in a certificate"),
                "use a-z, 0-9, `-` and `_`, up to 63 of them",
            ));
        }
        if TAKEN.contains(&name) {
            return Err(refusal(
                format!("`{name}` is a folder of every federation, so no region can have it"),
                "",
            ));
        }
        if !seen.insert(name) {
            return Err(refusal(format!("region `{name}` is named twice"), ""));
        }
    }
    Ok(())
}

fn port(first: u16, index: usize) -> Result<u16, Refusal> {
    if first == 0 {
        return Ok(0);
    }
    u16::try_from(index)
        .ok()
        .and_then(|index| first.checked_add(index))
        .ok_or_else(|| {
            refusal(
                format!("no ports are left above {first}"),
                "choose a lower --port, or 0 for free ones at each start",
            )
        })
}

/// The public tables of all regions together, for the coordinator: name and file. They are the
/// files of the folder `public` beside the policy.
fn public_tables(options: &InitOptions) -> Result<Vec<(String, PathBuf)>, Refusal> {
    let Some(policy) = &options.policy else {
        return Ok(Vec::new());
    };
    let beside = if policy.is_dir() {
        policy.as_path()
    } else {
        policy.parent().unwrap_or(Path::new(""))
    };
    let folder = beside.join("public");
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let files = fs::read_dir(&folder).map_err(|error| unreadable(&folder, &error))?;
    let mut tables = Vec::new();
    for file in files {
        let file = file.map_err(|error| unreadable(&folder, &error))?.path();
        let known = file
            .extension()
            .is_some_and(|kind| kind == "parquet" || kind == "csv");
        if let Some(name) = file.file_stem().and_then(|name| name.to_str())
            && known
        {
            let path = fs::canonicalize(&file).map_err(|error| unreadable(&file, &error))?;
            tables.push((name.to_owned(), path));
        }
    }
    tables.sort();
    Ok(tables)
}

fn write(
    options: &InitOptions,
    nodes: &[(RegionId, String)],
    public: &[(String, PathBuf)],
) -> Result<(), AuthorityError> {
    let folder = &options.folder;
    let federation = Authority::new("Skerry federation")?;
    let researchers = Authority::new("Skerry researchers")?;

    let authority = make_folder(folder, "authority")?;
    keep_private(&authority)?;
    federation.write(&authority, "federation")?;
    researchers.write(&authority, "researchers")?;

    let federation_ca = federation.certificate();
    let mut regions = Vec::with_capacity(nodes.len());
    for (index, (region, text)) in nodes.iter().enumerate() {
        let place = make_folder(folder, region.as_str())?;
        federation.node(region)?.write(&place, "node")?;
        write_new(&place.join("federation-ca.pem"), &federation_ca, false)?;
        write_new(&place.join("node.toml"), text, false)?;
        // Checked before: the ports fit.
        let port = port(options.port, index + 1).unwrap_or(0);
        regions.push((region.clone(), text::address(port)));
    }

    let researcher = make_folder(folder, "researcher")?;
    researchers
        .researcher("researcher")?
        .write(&researcher, "researcher")?;
    write_new(&researcher.join("federation-ca.pem"), &federation_ca, false)?;

    federation.coordinator()?.write(folder, "coordinator")?;
    write_new(&folder.join("federation-ca.pem"), &federation_ca, false)?;
    let researchers_ca = researchers.certificate();
    write_new(&folder.join("researchers-ca.pem"), &researchers_ca, false)?;
    let text = text::coordinator(&text::address(options.port), &regions, public);
    write_new(&folder.join("coordinator.toml"), &text, false)
}

fn make_folder(parent: &Path, name: &str) -> Result<PathBuf, AuthorityError> {
    let folder = parent.join(name);
    fs::create_dir_all(&folder).map_err(|source| failed(&folder, source))?;
    Ok(folder)
}

fn keep_private(folder: &Path) -> Result<(), AuthorityError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .map_err(|source| failed(folder, source))?;
    }
    Ok(())
}

fn failed(path: &Path, source: io::Error) -> AuthorityError {
    AuthorityError::File {
        path: path.display().to_string(),
        source,
    }
}

fn refusal(message: String, hint: &str) -> Refusal {
    Refusal::new(ErrorCode::Configuration, message, hint)
}

fn unreadable(path: &Path, error: &dyn std::error::Error) -> Refusal {
    refusal(format!("{}: {error}", path.display()), "")
}

/// A mistake in `policy`, found in the text that was made from it after `before` lines.
fn in_policy(mut error: ConfigError, policy: &Path, before: usize) -> ConfigError {
    if let Some((line, _)) = &mut error.line
        && *line > before
    {
        *line -= before;
        policy.clone_into(&mut error.file);
    }
    error
}

#[cfg(test)]
mod tests;
