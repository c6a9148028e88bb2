//! The shape of the file, before anything is checked. Spans say where a value stands.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a node's configuration")]
pub struct Node {
    pub region: Spanned<String>,
    pub listen: Spanned<String>,
    pub persons: Spanned<u64>,
    #[serde(default = "default_ledger")]
    pub ledger: PathBuf,
    pub prepared: Option<PathBuf>,
    pub engine: Option<Engine>,
    pub budget: Spanned<Budget>,
    #[serde(default)]
    pub tls: Tls,
    #[serde(default)]
    pub limits: Limits,
    #[serde(default)]
    pub answers: Answers,
    #[serde(default, rename = "table")]
    pub tables: Vec<Spanned<Table>>,
    #[serde(default, rename = "view")]
    pub views: Vec<View>,
}

fn default_ledger() -> PathBuf {
    "ledger.sqlite".into()
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an engine as in { kind = \"ballista\", scheduler = \"df://127.0.0.1:50050\" }"
)]
pub struct Engine {
    pub kind: Spanned<String>,
    pub scheduler: Option<Spanned<String>>,
    pub partitions: Option<Spanned<usize>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table with `project` and `total`")]
pub struct Budget {
    pub project: Allowance,
    pub total: Allowance,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an amount as in { epsilon = 10.0, delta = 1e-7 }"
)]
pub struct Allowance {
    pub epsilon: Spanned<f64>,
    pub delta: Spanned<f64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table of files")]
pub struct Tls {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_authority: PathBuf,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate: "node.pem".into(),
            key: "node.key".into(),
            client_authority: "federation-ca.pem".into(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a table of limits")]
pub struct Limits {
    pub memory_mib: Option<Spanned<u64>>,
    pub concurrent: Option<Spanned<usize>>,
    pub hot_mib: Option<Spanned<u64>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub struct Answers {
    pub time_grid_ms: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table's declaration")]
pub struct Table {
    pub name: Spanned<String>,
    pub path: PathBuf,
    pub unit: Option<Spanned<String>>,
    pub unit_space: Option<Spanned<String>>,
    pub max_rows_per_unit: Option<Spanned<u64>>,
    #[serde(default)]
    pub hidden: bool,
    #[serde(default)]
    pub columns: BTreeMap<Spanned<String>, Column>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a view's declaration")]
pub struct View {
    pub name: Spanned<String>,
    pub sql: Spanned<String>,
    pub max_rows_per_unit: Option<Spanned<u64>>,
    #[serde(default)]
    pub hidden: bool,
    #[serde(default)]
    pub columns: BTreeMap<Spanned<String>, Column>,
}

#[derive(Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "a column's declaration as in { range = [0, 100] }"
)]
pub struct Column {
    pub range: Option<Spanned<Vec<Spanned<toml::Value>>>>,
    pub values: Option<Spanned<Vec<Spanned<toml::Value>>>>,
    pub values_from: Option<Spanned<String>>,
    pub nulls: Option<bool>,
}
