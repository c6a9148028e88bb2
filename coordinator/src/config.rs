//! The coordinator's configuration file. Unknown keys are refused with the line and the nearest
//! known key.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use skerry_proto::{
    RegionId,
    configuration::{Source, read},
};
use toml::Spanned;

use crate::standing::settings::{self, StandingQuestion};

pub use skerry_proto::configuration::ConfigError;

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
    /// Questions that it asks by itself, week after week.
    pub standing: Vec<StandingQuestion>,
    /// Where it keeps what became of them.
    pub standing_state: PathBuf,
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
    regions_per_person: Spanned<u32>,
    #[serde(default = "thirty")]
    deadline_seconds: Spanned<u64>,
    #[serde(default)]
    tls: Tls,
    #[serde(default)]
    region: Vec<Region>,
    #[serde(default)]
    table: Vec<Table>,
    #[serde(default)]
    standing: Vec<Spanned<settings::Raw>>,
    standing_state: Option<PathBuf>,
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
    id: Spanned<RegionId>,
    url: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: Spanned<String>,
    path: PathBuf,
}

fn one() -> Spanned<u32> {
    Spanned::new(0..0, 1)
}

fn thirty() -> Spanned<u64> {
    Spanned::new(0..0, 30)
}

impl CoordinatorConfig {
    /// Reads a file. Relative paths count from the file's own folder.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(file, &read(file)?)
    }

    /// Checks `text` as if it stood in `file`.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let source = Source::new(path, text);
        let file: File = source.parse()?;
        if file.region.is_empty() {
            return Err(source.error_anywhere(
                "there is no [[region]]",
                "name at least one, with `id` and `url`",
            ));
        }
        let mut ids = BTreeSet::new();
        for Region { id, url } in &file.region {
            if !ids.insert(id.get_ref()) {
                let message = format!("region `{}` is there twice", id.get_ref());
                return Err(source.error(id.span(), message, ""));
            }
            if !url.get_ref().starts_with("https://") {
                return Err(source.error(
                    url.span(),
                    format!("the url of region `{}` isn't https", id.get_ref()),
                    "start it with https://, nodes speak TLS only",
                ));
            }
        }
        let mut names = BTreeSet::new();
        for Table { name, .. } in &file.table {
            if !names.insert(name.get_ref()) {
                let message = format!("table `{}` is there twice", name.get_ref());
                return Err(source.error(name.span(), message, ""));
            }
        }
        if *file.regions_per_person.get_ref() == 0 {
            return Err(source.error(
                file.regions_per_person.span(),
                "`regions_per_person` must be at least 1",
                "",
            ));
        }
        if !(1..=86_400).contains(file.deadline_seconds.get_ref()) {
            return Err(source.error(
                file.deadline_seconds.span(),
                "`deadline_seconds` must be from 1 to 86400",
                "",
            ));
        }
        let mut standing: Vec<StandingQuestion> = Vec::new();
        for raw in file.standing {
            let span = raw.span();
            let question = settings::check(&source, folder, raw.into_inner())?;
            if standing.iter().any(|other| other.name == question.name) {
                let message = format!("standing question `{}` is there twice", question.name);
                return Err(source.error(span, message, ""));
            }
            standing.push(question);
        }
        let beside = |path: Option<PathBuf>, default: &str| {
            folder.join(path.unwrap_or_else(|| PathBuf::from(default)))
        };
        Ok(Self {
            listen: file.listen,
            regions_per_person: file.regions_per_person.into_inner(),
            deadline: Duration::from_secs(file.deadline_seconds.into_inner()),
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
                    id: region.id.into_inner(),
                    url: region.url.into_inner(),
                })
                .collect(),
            tables: file
                .table
                .into_iter()
                .map(|table| PublicTable {
                    name: table.name.into_inner(),
                    path: folder.join(table.path),
                })
                .collect(),
            standing,
            standing_state: beside(file.standing_state, "standing.sqlite"),
        })
    }
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
        match CoordinatorConfig::parse(Path::new("/f/coordinator.toml"), text) {
            Ok(config) => panic!("{config:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn reads_the_sample_and_fills_in_the_key_files() {
        let config =
            CoordinatorConfig::parse(Path::new("/f/coordinator.toml"), SAMPLE).expect("valid");
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
            @r"
        /f/coordinator.toml:2: unknown key `regions_per_persons`
          2 | regions_per_persons = 1
          hint: did you mean `regions_per_person`?
        "
        );
        insta::assert_snapshot!(
            refusal("listen = \"127.0.0.1:1\"\n[[region]]\nid = \"a\"\nulr = \"x\"\n"),
            @r#"
        /f/coordinator.toml:4: unknown key `ulr`
          4 | ulr = "x"
          hint: did you mean `url`?
        "#
        );
    }

    #[test]
    fn refuses_what_makes_no_federation() {
        for (text, part) in [
            ("listen = \"127.0.0.1:1\"", "no [[region]]"),
            (&SAMPLE.replace("https", "http"), ":8: the url"),
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
