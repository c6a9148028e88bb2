//! A node's configuration: one TOML file, which is the owner's policy.
//!
//! What it doesn't name is not there, and what it misspells is refused: a typing mistake must
//! never turn into a policy that nobody meant.

mod check;
mod check_column;
mod check_engine;
mod check_view;
mod domain;
mod file;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use skerry_proto::{Delta, Epsilon, RegionId};

pub use domain::{Domain, parse_moment, show};
pub use skerry_proto::{
    configuration::{ConfigError, Source, read},
    nearest::suggest,
};

/// The configuration of one region's node. Paths are resolved against the file's folder.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The file that it was read from.
    pub file: PathBuf,
    /// The region that the node answers for.
    pub region: RegionId,
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Persons in the data, as declared: public, at least 1, bounds δ.
    pub persons: u64,
    /// What may be spent.
    pub budget: BudgetConfig,
    /// The ledger's file.
    pub ledger: PathBuf,
    /// The folder of prepared tables, which private tables are read from in place of their own
    /// files.
    pub prepared: Option<PathBuf>,
    /// Where questions run.
    pub engine: EngineConfig,
    /// Keys and certificates.
    pub tls: TlsConfig,
    /// What one question may use of the machine.
    pub limits: LimitsConfig,
    /// When answers leave.
    pub answers: AnswersConfig,
    /// The tables, in the file's order.
    pub tables: Vec<TableConfig>,
    /// Views over them, in the file's order: each may name those before it.
    pub views: Vec<ViewConfig>,
}

/// Where questions run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineConfig {
    /// In the node's own process.
    Embedded,
    /// On a Ballista cluster of the region's own; noise, ledger and policy stay in the node.
    Ballista {
        /// Host and port of the scheduler.
        scheduler: String,
        /// Over how many partitions persons are spread.
        partitions: usize,
    },
}

/// What may be spent over the data's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetConfig {
    /// By each project.
    pub project: AllowanceConfig,
    /// By all projects together.
    pub total: AllowanceConfig,
}

/// An amount of privacy loss of one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowanceConfig {
    /// ε.
    pub epsilon: Epsilon,
    /// δ.
    pub delta: Delta,
}

/// The files of a node's mutual TLS, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The node's certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The authority that signs who may connect: the federation's coordinator.
    pub client_authority: PathBuf,
}

/// What questions may use of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Memory of the query engine, in MiB.
    pub memory_mib: u64,
    /// Questions that run at the same time.
    pub concurrent: usize,
    /// Memory for columns of prepared tables that are asked for often, in MiB.
    pub hot_mib: u64,
}

impl LimitsConfig {
    /// Memory for columns that are asked for often, in bytes.
    #[must_use]
    pub fn hot_bytes(&self) -> usize {
        usize::try_from(self.hot_mib)
            .unwrap_or(usize::MAX)
            .saturating_mul(1 << 20)
    }
}

/// When answers leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnswersConfig {
    /// Answers leave at a multiple of this after the question came, so that their time tells
    /// less; zero is off.
    pub time_grid: Duration,
}

/// A table, private or public.
#[derive(Debug, Clone, PartialEq)]
pub struct TableConfig {
    /// As SQL names it.
    pub name: String,
    /// A file, a folder or a glob.
    pub path: PathBuf,
    /// What makes it private; nothing: the table is public.
    pub unit: Option<UnitConfig>,
    /// Whether only views may name it.
    pub hidden: bool,
    /// The columns that are there, in the file's order.
    pub columns: Vec<ColumnConfig>,
}

/// A view: rows of the owner's tables under names that a federation has in common.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewConfig {
    /// As SQL names it.
    pub name: String,
    /// One SELECT over tables, and over views before this one.
    pub sql: String,
    /// Rows that one person has at most, where that is fewer than follow from the tables.
    pub max_rows: Option<u64>,
    /// Whether only later views may name it.
    pub hidden: bool,
    /// The columns that are there, in the file's order.
    pub columns: Vec<ColumnConfig>,
}

/// The privacy unit of a private table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitConfig {
    /// The column that says whose row it is; one of the table's columns.
    pub column: String,
    /// Rows that one person has at most. Enforced: what is above it costs accuracy.
    pub max_rows: u64,
}

/// A column.
#[derive(Debug, Clone, PartialEq)]
pub struct ColumnConfig {
    /// As the data file and SQL name it.
    pub name: String,
    /// What is public about it.
    pub domain: Domain,
    /// Whether a group for NULL, and for values outside the domain, appears when grouped by.
    pub nulls: bool,
}

impl NodeConfig {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// The first mistake, with its line. Data files are not looked at.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        Self::parse(file, &read(file)?)
    }

    /// Checks `text` as if it stood in `file`.
    ///
    /// # Errors
    /// The first mistake, with its line.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source::new(file, text);
        check::node(source, file, source.parse()?)
    }

    /// A view by its name.
    #[must_use]
    pub fn view(&self, name: &str) -> Option<&ViewConfig> {
        self.views.iter().find(|view| view.name == name)
    }

    /// A table by its name.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&TableConfig> {
        self.tables.iter().find(|table| table.name == name)
    }
}

impl TableConfig {
    /// A column by its name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&ColumnConfig> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Whether its rows belong to persons.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.unit.is_some()
    }
}

#[cfg(test)]
mod tests;
