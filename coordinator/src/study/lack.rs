//! What a region's data lack for a study.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::Study;

/// A table, or columns of one, that a study reads and that aren't there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lack {
    /// There is no table or view of that name.
    Table(String),
    /// The table has no columns of these names.
    Columns {
        /// The table.
        table: String,
        /// What it lacks, in the order of the study's file.
        columns: Vec<String>,
    },
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table(table) => write!(f, "table {table}"),
            Self::Columns { table, columns } => {
                write!(f, "{} of {table}", columns.join(", "))
            }
        }
    }
}

impl Study {
    /// What it reads and these tables with their columns don't have; nothing when they can serve it.
    #[must_use]
    pub fn lacks(&self, offered: &BTreeMap<String, BTreeSet<String>>) -> Vec<Lack> {
        let lacks = self.tables.iter().filter_map(|(table, columns)| {
            let Some(there) = offered.get(table) else {
                return Some(Lack::Table(table.clone()));
            };
            let lacking = columns.iter().filter(|column| !there.contains(*column));
            let columns: Vec<String> = lacking.cloned().collect();
            let table = table.clone();
            (!columns.is_empty()).then_some(Lack::Columns { table, columns })
        });
        lacks.collect()
    }
}
