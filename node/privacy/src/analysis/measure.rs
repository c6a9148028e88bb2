//! Measures: what each person contributes to each group, as integers on a grid.

use serde::{Deserialize, Serialize};
use skerry_proto::{DataType, Value};

use super::bins;
use crate::question::Expression;

/// A person's bound on a measure is about this many cell units: 32 fractional bits, so that
/// scaling a person with a hundred times the declared rows still leaves more than 16.
pub const UNITS_OF_BOUND: u64 = 1 << 32;

/// A number of a row: clipped to a range, less a centre. NULL and NaN give none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// An integer or a float.
    pub argument: Expression,
    /// Type of the argument.
    pub data_type: DataType,
    /// Values are clipped to this range.
    pub low: f64,
    /// Upper end of the range.
    pub high: f64,
    /// Taken off each value.
    pub centre: f64,
}

impl Factor {
    /// The clipped and centred value.
    #[must_use]
    #[inline]
    pub fn value(&self, value: f64) -> Option<f64> {
        (!value.is_nan()).then(|| value.clamp(self.low, self.high) - self.centre)
    }

    /// The greatest magnitude of [`Self::value`].
    #[must_use]
    pub fn most(&self) -> f64 {
        (self.low - self.centre)
            .abs()
            .max((self.high - self.centre).abs())
    }
}

/// What is counted or summed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Counted {
    /// 1 for each person and group with a row that meets the condition.
    Persons {
        /// Boolean; without one all rows meet it.
        condition: Option<Expression>,
    },
    /// A person's rows in the group.
    Rows {
        /// Rows for which this is NULL don't count.
        argument: Option<Expression>,
    },
    /// A person's sum over rows in the group.
    Sum(Factor),
    /// A person's sum of products over rows in the group.
    Product(Factor, Factor),
    /// A person's rows in the group by bin of a number, on several levels: one cell for each bin
    /// of each level, see [`bins::levels`]. A row counts once a level.
    Bins {
        /// An integer or a float; rows for which it is NULL or NaN are in no bin.
        argument: Expression,
        /// Type of the argument.
        data_type: DataType,
        /// Where the first bin begins; lesser values are in it too.
        low: f64,
        /// Where the last bin ends; greater values are in it too.
        high: f64,
        /// Ends of the finest bins, one more than there are bins.
        edges: Vec<f64>,
    },
    /// 1 for each person, group and value: one cell a value.
    Values {
        /// Rows in which it isn't one of the values are in no cell.
        argument: Expression,
        /// Type of the argument.
        data_type: DataType,
        /// Sorted, each once.
        values: Vec<Value>,
    },
}

/// What one row does to the cells of one measure in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Sets the one cell to one.
    Once,
    /// Adds its amount to the one cell.
    Add,
    /// Adds one to the cell that it names, and to the bin that holds that one on each further level.
    AddToBins,
    /// Sets the cell that it names to one.
    OnceAt,
}

/// How values lie on the grid of whole cell units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grid {
    /// So many units make one.
    Multiply(u64),
    /// One unit is worth so many.
    Divide(u64),
}

impl Grid {
    /// The finest grid on which a person's bound is about [`UNITS_OF_BOUND`] units. Where one of
    /// the measure is one unit or more, whole numbers are exact.
    #[must_use]
    pub fn for_bound(bound: f64) -> Self {
        let units = UNITS_OF_BOUND as f64;
        // Bounds below a billionth would overflow the grid and mean nothing in practice.
        let bound = bound.max(1e-9);
        if bound <= units {
            Self::Multiply((units / bound).floor() as u64)
        } else {
            Self::Divide((bound / units).ceil().min(u64::MAX as f64) as u64)
        }
    }

    /// What one unit of a cell is worth.
    #[must_use]
    pub fn step(self) -> f64 {
        match self {
            Self::Multiply(units) => 1.0 / units as f64,
            Self::Divide(worth) => worth as f64,
        }
    }

    /// A value in units, toward zero. Finite values within the measure's range give at most
    /// [`Measure::most_units`].
    #[must_use]
    #[inline]
    pub fn units(self, value: f64) -> i64 {
        let exact = match self {
            Self::Multiply(units) => value * units as f64,
            Self::Divide(worth) => value / worth as f64,
        };
        // `as` saturates, and takes toward zero.
        exact as i64
    }

    /// A bound in units, rounded up.
    #[must_use]
    pub fn units_up(self, bound: f64) -> u64 {
        let exact = match self {
            Self::Multiply(units) => bound * units as f64,
            Self::Divide(worth) => bound / worth as f64,
        };
        exact.ceil() as u64
    }
}

/// One measure of a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What is counted or summed.
    pub counted: Counted,
    /// Rows that a person has in the question, at most.
    pub rows: u64,
    /// A bound on a person's own total over all cells, in the measure's unit, if one was asked
    /// for: in L1 norm for Laplace, L2 norm for Gaussian noise. Else it follows from rows and ranges.
    pub total: Option<f64>,
    /// The grid.
    pub grid: Grid,
}

impl Measure {
    /// A measure on the finest grid that its bound allows.
    #[must_use]
    pub fn new(counted: Counted, rows: u64, total: Option<f64>) -> Self {
        let rows = match counted {
            Counted::Persons { .. } => 1,
            Counted::Rows { .. }
            | Counted::Sum(_)
            | Counted::Product(_, _)
            | Counted::Bins { .. }
            | Counted::Values { .. } => rows,
        };
        let bound = most(&counted) * rows as f64 * cells_of_row(&counted) as f64;
        Self {
            counted,
            rows,
            total,
            grid: Grid::for_bound(total.map_or(bound, |total| total.min(bound))),
        }
    }

    /// Persons per group.
    #[must_use]
    pub fn persons(condition: Option<Expression>) -> Self {
        Self::new(Counted::Persons { condition }, 1, None)
    }

    /// Rows per group, of at most so many a person.
    #[must_use]
    pub fn rows(argument: Option<Expression>, rows: u64) -> Self {
        Self::new(Counted::Rows { argument }, rows, None)
    }

    /// A sum of values within a range, of at most so many rows a person.
    #[must_use]
    pub fn sum(
        argument: Expression,
        data_type: DataType,
        (low, high): (f64, f64),
        centre: f64,
        rows: u64,
    ) -> Self {
        let factor = Factor {
            argument,
            data_type,
            low,
            high,
            centre,
        };
        Self::new(Counted::Sum(factor), rows, None)
    }

    /// Cells of one group.
    #[must_use]
    pub fn cells(&self) -> usize {
        match &self.counted {
            Counted::Persons { .. }
            | Counted::Rows { .. }
            | Counted::Sum(_)
            | Counted::Product(_, _) => 1,
            Counted::Bins { edges, .. } => bins::levels(edges.len().saturating_sub(1))
                .into_iter()
                .sum(),
            Counted::Values { values, .. } => values.len(),
        }
    }

    /// The finest bins of a number; none for what isn't counted by bins.
    #[must_use]
    pub fn leaves(&self) -> usize {
        match &self.counted {
            Counted::Bins { edges, .. } => edges.len().saturating_sub(1),
            Counted::Persons { .. }
            | Counted::Rows { .. }
            | Counted::Sum(_)
            | Counted::Product(_, _)
            | Counted::Values { .. } => 0,
        }
    }

    /// Cells that one row changes.
    #[must_use]
    pub fn cells_of_row(&self) -> usize {
        cells_of_row(&self.counted)
    }

    /// What a row does to the cells.
    #[must_use]
    pub const fn effect(&self) -> Effect {
        match self.counted {
            Counted::Persons { .. } => Effect::Once,
            Counted::Rows { .. } | Counted::Sum(_) | Counted::Product(_, _) => Effect::Add,
            Counted::Bins { .. } => Effect::AddToBins,
            Counted::Values { .. } => Effect::OnceAt,
        }
    }

    /// What is evaluated on each row, in order.
    #[must_use]
    pub fn arguments(&self) -> Vec<&Expression> {
        match &self.counted {
            Counted::Persons { condition } => condition.iter().collect(),
            Counted::Rows { argument } => argument.iter().collect(),
            Counted::Sum(factor) => vec![&factor.argument],
            Counted::Product(first, second) => vec![&first.argument, &second.argument],
            Counted::Bins { argument, .. } | Counted::Values { argument, .. } => vec![argument],
        }
    }

    /// Units that one row adds to a cell at most.
    #[must_use]
    pub fn most_units(&self) -> u64 {
        self.grid.units(most(&self.counted)).unsigned_abs()
    }

    /// What a row with these arguments says: its amount in units, or for [`Effect::AddToBins`] and
    /// [`Effect::OnceAt`] the position of its cell. Nothing for a row that doesn't contribute.
    ///
    /// This is the meaning that the engine's plan is tested against.
    #[must_use]
    pub fn amount(&self, arguments: &[Value]) -> Option<i64> {
        let number = |index: usize| match arguments.get(index)? {
            Value::Integer(x) => Some(*x as f64),
            Value::Float(x) => Some(*x),
            Value::Null
            | Value::Boolean(_)
            | Value::Text(_)
            | Value::Date(_)
            | Value::Timestamp(_) => None,
        };
        let once = self.grid.units(1.0);
        match &self.counted {
            Counted::Persons { condition: None } | Counted::Rows { argument: None } => Some(once),
            Counted::Persons { condition: Some(_) } => {
                (arguments.first() == Some(&Value::Boolean(true))).then_some(once)
            }
            Counted::Rows { argument: Some(_) } => {
                arguments.first().filter(|value| !value.is_null())?;
                Some(once)
            }
            Counted::Sum(factor) => Some(self.grid.units(factor.value(number(0)?)?)),
            Counted::Product(first, second) => Some(
                self.grid
                    .units(first.value(number(0)?)? * second.value(number(1)?)?),
            ),
            Counted::Bins { edges, .. } => bins::position(edges, number(0)?),
            Counted::Values { values, .. } => values
                .binary_search(arguments.first()?)
                .ok()
                .map(|position| position as i64),
        }
    }
}

fn cells_of_row(counted: &Counted) -> usize {
    match counted {
        Counted::Persons { .. }
        | Counted::Rows { .. }
        | Counted::Sum(_)
        | Counted::Product(_, _)
        | Counted::Values { .. } => 1,
        Counted::Bins { edges, .. } => bins::levels(edges.len().saturating_sub(1)).len(),
    }
}

/// The greatest magnitude that one row adds to a cell.
fn most(counted: &Counted) -> f64 {
    match counted {
        Counted::Persons { .. }
        | Counted::Rows { .. }
        | Counted::Bins { .. }
        | Counted::Values { .. } => 1.0,
        Counted::Sum(factor) => factor.most(),
        // Rounding is monotone: |a| ≤ A and |b| ≤ B give |a·b| ≤ A·B as floats, too.
        Counted::Product(first, second) => first.most() * second.most(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// No value, however hostile, contributes more units than claimed.
        #[test]
        fn a_row_stays_within_its_units(
            value in proptest::num::f64::ANY,
            other in proptest::num::f64::ANY,
            low in -1e12..1e12f64,
            width in 0.0..1e12f64,
            centred: bool,
            rows in 1u64..100_000,
            total in proptest::option::of(1e-3..1e18f64),
        ) {
            let high = low + width;
            let centre = if centred { low + width / 2.0 } else { 0.0 };
            let factor = Factor {
                argument: Expression::Column(0), data_type: DataType::Float, low, high, centre,
            };
            let sum = Measure::new(Counted::Sum(factor.clone()), rows, total);
            let product = Measure::new(Counted::Product(factor.clone(), factor), rows, total);
            for measure in [sum, product] {
                let found = measure.amount(&[Value::Float(value), Value::Float(other)]);
                prop_assert_eq!(found.is_none(), value.is_nan()
                    || (measure.arguments().len() == 2 && other.is_nan()));
                prop_assert!(found.unwrap_or(0).unsigned_abs() <= measure.most_units());
            }
        }

        /// A count has 16 fractional bits or more, as long as a person's bound is at most 2^16; a bound
        /// itself is never less than 2^31 units, so that scaling leaves something of small parts.
        #[test]
        fn grids_are_fine(rows in 1u64..1 << 22, most in 1e-6..1e9f64) {
            let count = Measure::rows(None, rows);
            prop_assert!(rows > 1 << 16 || count.grid.units(1.0) >= 1 << 16, "{:?}", count.grid);
            let sum = Measure::sum(Expression::Column(0), DataType::Float, (0.0, most), 0.0, rows);
            for (measure, bound) in [(count, rows as f64), (sum, most * rows as f64)] {
                prop_assert!(measure.grid.units(bound) >= 1 << 31, "{:?}", measure.grid);
                // A bound is rounded up, a value toward zero.
                let units = bound / measure.grid.step();
                prop_assert!(measure.grid.units_up(bound) as f64 >= units * (1.0 - 1e-12));
                prop_assert!(measure.grid.units(bound) as f64 <= units * (1.0 + 1e-12));
                prop_assert_eq!(measure.grid.units(-bound), -measure.grid.units(bound));
            }
        }

        #[test]
        fn whole_numbers_are_exact(value in 0i64..1000, rows in 1u64..1_000) {
            let measure = Measure::sum(
                Expression::Column(0), DataType::Integer, (0.0, 1000.0), 0.0, rows);
            let Grid::Multiply(units) = measure.grid else { panic!("coarse grid") };
            prop_assert_eq!(measure.amount(&[Value::Integer(value)]), Some(value * units as i64));
        }
    }
}
