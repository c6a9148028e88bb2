//! The owner's policy: what is there, and what is public about it. Default is deny: a table or
//! column that the policy doesn't name doesn't exist.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use skerry_proto::{DataType, Value};

/// All tables of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// By name.
    pub tables: BTreeMap<String, TablePolicy>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
