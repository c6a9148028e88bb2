//! Window functions over the rows of one person, and their meaning.
//!
//! The rows of a person that have the same keys are put in order: by the order's expressions, then
//! by all columns, floats by their bits. Rows that are still equal are one row twice, so every
//! value here is a function of the person's rows as a multiset. The work is n log n in the
//! person's rows, whatever the frames are.

mod aggregate;
mod evaluate;

use serde::{Deserialize, Serialize};
use skerry_proto::{DataType, Value};

use super::{Expression, PersonFunction, TypeError};

/// Columns that are computed for each row over rows of the same person.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// Besides the unit: rows that differ in one of these don't see each other.
    pub keys: Vec<Expression>,
    /// How the rows are put in order.
    pub order: Vec<SortKey>,
    /// The new columns.
    pub columns: Vec<WindowColumn>,
}

/// One expression of an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SortKey {
    /// By what.
    pub by: Expression,
    /// Greatest first.
    pub descending: bool,
    /// NULL before everything else, whichever direction.
    pub nulls_first: bool,
}

/// One new column.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WindowColumn {
    /// Which.
    pub function: WindowFunction,
    /// Over which rows.
    pub frame: Frame,
}

/// What is computed for a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum WindowFunction {
    /// The row's place in the order, from 1.
    RowNumber,
    /// The place of the first row that is equal to this one in the order, from 1.
    Rank,
    /// How many different rows there are in the order up to this one.
    DenseRank,
    /// The argument on another row.
    Shift {
        /// Of what.
        argument: Expression,
        /// So many rows earlier; negative: later.
        earlier: i64,
        /// Where there is no such row.
        otherwise: Value,
    },
    /// The argument on the first row of the frame.
    First {
        /// Of what.
        argument: Expression,
        /// The first row on which the argument isn't NULL.
        known: bool,
    },
    /// The argument on the last row of the frame.
    Last {
        /// Of what.
        argument: Expression,
        /// The last row on which the argument isn't NULL.
        known: bool,
    },
    /// An aggregate over the frame.
    Aggregate {
        /// Which.
        function: PersonFunction,
        /// Of what.
        argument: Expression,
    },
}

/// The rows that a function sees from a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Frame {
    /// How both ends are counted.
    pub unit: FrameUnit,
    /// The first row.
    pub start: Bound,
    /// The last row.
    pub end: Bound,
}

/// How the ends of a frame are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FrameUnit {
    /// In rows.
    Rows,
    /// In values of the one expression of the order; rows that are equal in the order belong together.
    Range,
}

/// One end of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Bound {
    /// The end of the person's rows on that side.
    Unbounded,
    /// The row itself.
    Current,
    /// So many rows or whole numbers further on; negative: before.
    Number(i64),
    /// So many months and then days further on; negative: before. For ranges of dates.
    Calendar {
        /// Months.
        months: i32,
        /// Days.
        days: i32,
    },
}

impl Frame {
    /// All rows.
    pub const WHOLE: Self = Self {
        unit: FrameUnit::Rows,
        start: Bound::Unbounded,
        end: Bound::Unbounded,
    };

    /// Whether all rows have the same frame.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        (self.start, self.end) == (Bound::Unbounded, Bound::Unbounded)
    }

    /// Whether each row is surely in its own frame.
    #[must_use]
    pub fn holds_own_row(&self) -> bool {
        let reaches = |bound, sign: i64| match bound {
            Bound::Unbounded | Bound::Current => true,
            Bound::Number(further) => further.saturating_mul(sign) >= 0,
            Bound::Calendar { months, days } => {
                i64::from(months) * sign >= 0 && i64::from(days) * sign >= 0
            }
        };
        reaches(self.start, -1) && reaches(self.end, 1)
    }
}

impl WindowFunction {
    /// What it is computed of.
    #[must_use]
    pub fn argument(&self) -> Option<&Expression> {
        match self {
            Self::RowNumber | Self::Rank | Self::DenseRank => None,
            Self::Shift { argument, .. }
            | Self::First { argument, .. }
            | Self::Last { argument, .. }
            | Self::Aggregate { argument, .. } => Some(argument),
        }
    }
}

impl Window {
    /// The types of the new columns over an input with these columns.
    ///
    /// # Errors
    /// If a part has a type that it can't have.
    pub fn data_types(&self, columns: &[DataType]) -> Result<Vec<DataType>, TypeError> {
        for part in &self.keys {
            part.data_type(columns)?;
        }
        let order = self
            .order
            .iter()
            .map(|key| key.by.data_type(columns))
            .collect::<Result<Vec<_>, _>>()?;
        self.columns
            .iter()
            .map(|column| {
                column.frame.check(&order)?;
                match &column.function {
                    WindowFunction::RowNumber
                    | WindowFunction::Rank
                    | WindowFunction::DenseRank => Ok(DataType::Integer),
                    WindowFunction::First { argument, .. }
                    | WindowFunction::Last { argument, .. } => argument.data_type(columns),
                    WindowFunction::Shift {
                        argument,
                        otherwise,
                        ..
                    } => {
                        let found = argument.data_type(columns)?;
                        match otherwise.data_type() {
                            Some(other) if other != found => {
                                Err(TypeError(format!("LAG or LEAD of {found} and {other}")))
                            }
                            Some(_) | None => Ok(found),
                        }
                    }
                    WindowFunction::Aggregate { function, argument } => {
                        function.data_type(argument.data_type(columns)?)
                    }
                }
            })
            .collect()
    }
}

impl Frame {
    fn check(&self, order: &[DataType]) -> Result<(), TypeError> {
        for bound in [self.start, self.end] {
            let fits = match (self.unit, bound, order) {
                (_, Bound::Unbounded | Bound::Current, _)
                | (FrameUnit::Rows, Bound::Number(_), _)
                | (FrameUnit::Range, Bound::Number(_), [DataType::Integer])
                | (FrameUnit::Range, Bound::Calendar { .. }, [DataType::Date]) => true,
                (FrameUnit::Rows, Bound::Calendar { .. }, _)
                | (FrameUnit::Range, Bound::Number(_) | Bound::Calendar { .. }, _) => false,
            };
            if !fits {
                return Err(TypeError(
                    "a RANGE needs one ORDER BY, of an integer for numbers, of a date for intervals".into(),
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
