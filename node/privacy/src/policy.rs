//! The owner's policy: what is there, and what is public about it. Default is deny: a table or
//! column that the policy doesn't name doesn't exist.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};
use skerry_proto::{DataType, Value};

use crate::question::Relation;

/// All tables of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// Tables, by name.
    pub tables: BTreeMap<String, TablePolicy>,
    /// Views of private tables, by name; none has the name of a table.
    pub views: BTreeMap<String, View>,
    /// Tables and views that no question may name, only views.
    pub hidden: BTreeSet<String>,
}

/// A private table whose rows are a relation over others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// Takes the view's place in a question. Its columns are those of `announced`, in order.
    pub relation: Relation,
    /// The view as a table: what those who ask are told of it.
    pub announced: TablePolicy,
}

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablePolicy {
    /// Whose rows these are.
    pub ownership: Ownership,
    /// In the catalogue's order.
    pub columns: Vec<ColumnPolicy>,
}

/// Whose rows a table's are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// Each row belongs to the person in the unit column.
    Private {
        /// Name of the unit column.
        unit: String,
        /// Rows that a person has, at most. Not believed: who has more is scaled down.
        max_rows_per_unit: u64,
    },
    /// Everyone may know the rows, which are therefore part of the policy.
    Public {
        /// Rows, each in the order of the columns.
        rows: Vec<Vec<Value>>,
    },
}

/// One column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ColumnPolicy {
    /// Name.
    pub name: String,
    /// Type after widening.
    pub data_type: DataType,
    /// What is public about its values.
    pub domain: Domain,
    /// Whether rows with NULL, or with a value that isn't listed, are a group of their own.
    /// Otherwise they are in no group.
    pub nulls: bool,
}

/// What is public about a column's values.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum Domain {
    /// Nothing.
    Unknown,
    /// From the first to the second, both included; of the column's type, or both integers for a
    /// float column.
    Range(Value, Value),
    /// These alone; another value becomes NULL when it is read.
    Values(Vec<Value>),
}

impl Policy {
    /// A table's or a view's columns and owner, hidden ones too.
    #[must_use]
    pub fn columns_of(&self, name: &str) -> Option<&TablePolicy> {
        let view = || self.views.get(name).map(|view| &view.announced);
        self.tables.get(name).or_else(view)
    }

    /// What questions may name: tables and views that aren't hidden.
    pub fn offered(&self) -> impl Iterator<Item = (&String, &TablePolicy)> {
        let views = self
            .views
            .iter()
            .map(|(name, view)| (name, &view.announced));
        self.tables
            .iter()
            .chain(views)
            .filter(|(name, _)| !self.hidden.contains(*name))
    }

    /// SHA-256 over the whole policy.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        // Debug of closed types is injective, see `QuestionHash::of`.
        Sha256::digest(format!("{self:?}").as_bytes()).into()
    }
}

impl TablePolicy {
    /// The column of that name, with its position.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<(usize, &ColumnPolicy)> {
        self.columns
            .iter()
            .enumerate()
            .find(|(_, column)| column.name == name)
    }
}
