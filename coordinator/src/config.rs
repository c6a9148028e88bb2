//! The coordinator's configuration file. Unknown keys are refused with the line and the nearest
//! known key.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use skerry_proto::RegionId;

/// Why a configuration can't be used: the file, the line where there is one, and what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

/// What a coordinator runs with.
#[derive(Debug, Clone)]
pub struct CoordinatorConfig {
    /// Where researchers connect (Arrow Flight SQL over TLS). Port 0: any free port.
    pub listen: SocketAddr,
    /// In at most how many regions one person is known.
    pub regions_per_person: u32,
    /// How long a statement waits for the regions.
    pub deadline: Duration,
    /// Keys and certificates.
    pub tls: TlsFiles,
    /// The regions, in the order in which answers list them.
    pub regions: Vec<RegionConfig>,
    /// Public tables that can be used with noisy figures.
    pub tables: Vec<PublicTable>,
}

/// Paths of PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The coordinator's own certificate, shown to researchers and to nodes.
    pub certificate: PathBuf,
    /// The key of that certificate.
    pub key: PathBuf,
    /// Who signs the nodes' certificates.
    pub node_authority: PathBuf,
    /// Who signs the researchers' certificates.
    pub researcher_authority: PathBuf,
}

/// One region's node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionConfig {
    /// Also the name in the node's certificate: `<id>.node.skerry`.
    pub id: RegionId,
    /// `https://host:port`.
    pub url: String,
}

/// A public table of the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicTable {
    /// The name in SQL.
    pub name: String,
    /// A Parquet or CSV file.
    pub path: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    listen: SocketAddr,
    #[serde(default = "one")]
    regions_per_person: u32,
    #[serde(default = "thirty")]
    deadline_seconds: u64,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    region: Vec<Region>,
    #[serde(default)]
    table: Vec<Table>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Tls {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    node_authority: Option<PathBuf>,
    researcher_authority: Option<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Region {
    id: RegionId,
    url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    path: PathBuf,
}

const fn one() -> u32 {
    1
}

const fn thirty() -> u64 {
    30
}

impl CoordinatorConfig {
    /// Reads a file. Relative paths count from the file's own folder.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, folder)
            .map_err(|error| ConfigError(format!("{}: {error}", path.display())))
    }

    /// Reads a text. Relative paths count from `folder`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|error| explain(text, &error))?;
        let refuse = |message: String| Err(ConfigError(message));
        if file.region.is_empty() {
            return refuse("there is no [[region]]: name at least one, with `id` and `url`".into());
        }
        for (index, region) in file.region.iter().enumerate() {
            if file.region[..index]
                .iter()
                .any(|other| other.id == region.id)
            {
                return refuse(format!("region `{}` is there twice", region.id));
            }
            if !region.url.starts_with("https://") {
                return refuse(format!(
                    "region `{}`: url `{}` must start with https://, nodes speak TLS only",
                    region.id, region.url
                ));
            }
        }
        for (index, table) in file.table.iter().enumerate() {
            if file.table[..index]
                .iter()
                .any(|other| other.name == table.name)
            {
                return refuse(format!("table `{}` is there twice", table.name));
            }
        }
        if file.regions_per_person == 0 {
            return refuse("regions_per_person must be at least 1".into());
        }
        if !(1..=86_400).contains(&file.deadline_seconds) {
            return refuse("deadline_seconds must be from 1 to 86400".into());
        }
        let beside = |path: Option<PathBuf>, default: &str| {
            folder.join(path.unwrap_or_else(|| PathBuf::from(default)))
        };
        Ok(Self {
            listen: file.listen,
            regions_per_person: file.regions_per_person,
            deadline: Duration::from_secs(file.deadline_seconds),
            tls: TlsFiles {
                certificate: beside(file.tls.certificate, "coordinator.pem"),
                key: beside(file.tls.key, "coordinator.key"),
                node_authority: beside(file.tls.node_authority, "federation-ca.pem"),
                researcher_authority: beside(file.tls.researcher_authority, "researchers-ca.pem"),
            },
            regions: file
                .region
                .into_iter()
                .map(|region| RegionConfig {
                    id: region.id,
                    url: region.url,
                })
                .collect(),
            tables: file
                .table
                .into_iter()
                .map(|table| PublicTable {
                    name: table.name,
                    path: folder.join(table.path),
                })
                .collect(),
        })
    }
}

/// The parser's message with the line, and for an unknown key the nearest known one.
fn explain(text: &str, error: &toml::de::Error) -> ConfigError {
    let mut message = String::new();
    if let Some(Range { start, .. }) = error.span() {
        let line = text.get(..start).unwrap_or("").matches('\n').count() + 1;
        let _ = write!(message, "line {line}: ");
    }
    let told = error.message();
    message.push_str(told);
    let mut quoted = told.split('`').skip(1).step_by(2);
    if told.starts_with("unknown field")
        && let Some(unknown) = quoted.next()
        && let Some((known, _)) = quoted
            .map(|known| (known, strsim::damerau_levenshtein(unknown, known)))
            .filter(|(known, distance)| *distance <= known.len().max(3) / 2)
            .min_by_key(|(_, distance)| *distance)
    {
        let _ = write!(message, "; did you mean `{known}`?");
    }
    ConfigError(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"
listen = "127.0.0.1:7500"
regions_per_person = 2
deadline_seconds = 20

[[region]]
id = "norrbotten"
url = "https://127.0.0.1:7501"

[[table]]
name = "sites"
path = "sites.csv"
"#;

    fn refusal(text: &str) -> String {
        match CoordinatorConfig::parse(text, Path::new("/f")) {
            Ok(config) => panic!("{config:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_the_sample_and_fills_in_the_key_files() {
        let config = CoordinatorConfig::parse(SAMPLE, Path::new("/f")).expect("valid");
        assert_eq!(config.regions_per_person, 2);
        assert_eq!(config.deadline, Duration::from_secs(20));
        assert_eq!(config.tls.key, Path::new("/f/coordinator.key"));
        assert_eq!(config.tables[0].path, Path::new("/f/sites.csv"));
        assert_eq!(config.regions[0].id.as_str(), "norrbotten");
    }

    #[test]
    fn an_unknown_key_is_refused_with_line_and_nearest_key() {
        insta::assert_snapshot!(
            refusal("listen = \"127.0.0.1:1\"\nregions_per_persons = 1\n"),
            @"line 2: unknown field `regions_per_persons`, expected one of `listen`, `regions_per_person`, `deadline_seconds`, `tls`, `region`, `table`; did you mean `regions_per_person`?"
        );
        insta::assert_snapshot!(
            refusal("listen = \"127.0.0.1:1\"\n[[region]]\nid = \"a\"\nulr = \"x\"\n"),
            @"line 4: unknown field `ulr`, expected `id` or `url`; did you mean `url`?"
        );
    }

    #[test]
    fn refuses_what_makes_no_federation() {
        for (text, part) in [
            ("listen = \"127.0.0.1:1\"", "no [[region]]"),
            (&SAMPLE.replace("https", "http"), "https://"),
            (&SAMPLE.replace("person = 2", "person = 0"), "at least 1"),
            (&SAMPLE.replace("norrbotten", "../x"), "not valid"),
            (
                &format!("{SAMPLE}[[region]]\nid=\"norrbotten\"\nurl=\"https://x\""),
                "twice",
            ),
        ] {
            assert!(refusal(text).contains(part), "{text}");
        }
    }
}
