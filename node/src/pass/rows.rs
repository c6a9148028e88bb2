//! The rows of a pass, as they are to be made: which tables are read, and how their rows meet.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    arrow::datatypes::Schema, common::Result as EngineResult, execution::SessionState,
    logical_expr::Expr,
};

use super::operator::Operator;
use crate::{plan::rebuild::PersonSum, prepared::TableFiles};

/// Rows of persons, by the unit. Names of columns are unique within the whole.
#[derive(Debug)]
pub enum Rows {
    /// A prepared table.
    Scan {
        files: Arc<TableFiles>,
        /// By name and position.
        columns: Vec<(String, usize)>,
        /// By which row groups are left out; over the columns.
        conditions: Vec<Expr>,
    },
    /// Rows for which all the conditions are true.
    Filter {
        input: Box<Rows>,
        conditions: Vec<Expr>,
    },
    /// Other columns from each row.
    Project {
        input: Box<Rows>,
        columns: Vec<(String, Expr)>,
    },
    /// Two relations joined on the unit.
    Join {
        kind: Kind,
        left: Box<Rows>,
        right: Box<Rows>,
        /// The columns of the unit.
        units: (String, String),
        /// Over both sides' columns.
        condition: Option<Expr>,
    },
    /// One row a person.
    PerPerson {
        input: Box<Rows>,
        /// The column of the unit, before and after.
        unit: (String, String),
        sums: Vec<(String, PersonSum)>,
    },
}

/// How two relations are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Pairs that match.
    Inner,
    /// And the left side's rows without a match.
    Left,
    /// The left side's rows with a match.
    Semi,
    /// The left side's rows without one.
    Anti,
}

impl Kind {
    /// Whether the left side's rows without a match come out.
    #[must_use]
    pub fn keeps_unmatched(self) -> bool {
        match self {
            Self::Inner | Self::Semi => false,
            Self::Left | Self::Anti => true,
        }
    }
}

impl Rows {
    /// The names of all columns.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&str> {
        match self {
            Self::Scan { columns, .. } => columns.iter().map(|(name, _)| name.as_str()).collect(),
            Self::Filter { input, .. } => input.names(),
            Self::Project { columns, .. } => {
                columns.iter().map(|(name, _)| name.as_str()).collect()
            }
            Self::Join {
                kind, left, right, ..
            } => {
                let mut names = left.names();
                if matches!(kind, Kind::Inner | Kind::Left) {
                    names.extend(right.names());
                }
                names
            }
            Self::PerPerson { unit, sums, .. } => sums
                .iter()
                .map(|(name, _)| name.as_str())
                .chain([unit.1.as_str()])
                .collect(),
        }
    }

    /// All columns.
    ///
    /// # Errors
    /// If the engine refuses an expression.
    pub fn schema(&self, state: &SessionState) -> EngineResult<Schema> {
        let all = self.names().into_iter().map(str::to_owned).collect();
        Ok(Operator::new(self, &all, state)?.schema().as_ref().clone())
    }
}

/// The names of the columns of an expression.
pub fn names(expression: &Expr) -> BTreeSet<&str> {
    expression
        .column_refs()
        .into_iter()
        .map(|column| column.name.as_str())
        .collect()
}
