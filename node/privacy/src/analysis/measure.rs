//! Measures: what each person contributes to each group, as integers on a grid.

use skerry_proto::DataType;

use crate::question::Expression;

/// A person's bound on a measure is about this many cell units: 32 fractional bits, so that
/// scaling a person with a hundred times the declared rows still leaves more than 16.
pub const UNITS_OF_BOUND: u64 = 1 << 32;

/// What is counted or summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeasureKind {
    /// 1 for each person and group.
    Persons,
    /// A person's rows in the group.
    Rows,
    /// A person's sum of (x - centre) over rows in the group.
    Sum,
}

/// How values lie on the grid of whole cell units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    pub fn units(self, value: f64) -> i64 {
        let exact = match self {
            Self::Multiply(units) => value * units as f64,
            Self::Divide(worth) => value / worth as f64,
        };
        // `as` saturates, and takes toward zero.
        exact as i64
    }
}

/// One measure of a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What is counted or summed.
    pub kind: MeasureKind,
    /// Rows for which this is NULL contribute nothing; without one all do. For persons a boolean
    /// that must be true.
    pub argument: Option<Expression>,
    /// Type of the argument.
    pub data_type: Option<DataType>,
    /// Values are clipped to this range, for sums.
    pub low: f64,
    /// Upper end of the range.
    pub high: f64,
    /// Taken off each value, for sums.
    pub centre: f64,
    /// Rows that a person has in the question, at most.
    pub rows: u64,
    /// The grid.
    pub grid: Grid,
}

impl Measure {
    /// Persons per group.
    #[must_use]
    pub fn persons(argument: Option<Expression>) -> Self {
        Self {
            kind: MeasureKind::Persons,
            data_type: argument.as_ref().map(|_| DataType::Boolean),
            argument,
            low: 0.0,
            high: 1.0,
            centre: 0.0,
            rows: 1,
            grid: Grid::for_bound(1.0),
        }
    }

    /// Rows per group, of at most so many a person.
    #[must_use]
    pub fn rows(argument: Option<Expression>, data_type: Option<DataType>, rows: u64) -> Self {
        Self {
            kind: MeasureKind::Rows,
            argument,
            data_type,
            low: 0.0,
            high: 1.0,
            centre: 0.0,
            rows,
            grid: Grid::for_bound(rows as f64),
        }
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
        let most = (low - centre).abs().max((high - centre).abs());
        Self {
            kind: MeasureKind::Sum,
            argument: Some(argument),
            data_type: Some(data_type),
            low,
            high,
            centre,
            rows,
            grid: Grid::for_bound(most * rows as f64),
        }
    }

    /// Units that one row contributes at most.
    #[must_use]
    pub fn most_units(&self) -> u64 {
        match self.kind {
            MeasureKind::Persons | MeasureKind::Rows => self.grid.units(1.0).unsigned_abs(),
            MeasureKind::Sum => {
                let low = self.units(self.low).unsigned_abs();
                low.max(self.units(self.high).unsigned_abs())
            }
        }
    }

    /// What a row with this value contributes to a sum: clipped, centred, in units. NaN gives
    /// nothing.
    #[must_use]
    pub fn units(&self, value: f64) -> i64 {
        if value.is_nan() {
            0
        } else {
            self.grid
                .units(value.clamp(self.low, self.high) - self.centre)
        }
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
            low in -1e12..1e12f64,
            width in 0.0..1e12f64,
            centred: bool,
            rows in 1u64..100_000,
        ) {
            let high = low + width;
            let centre = if centred { low + width / 2.0 } else { 0.0 };
            let measure = Measure::sum(
                Expression::Column(0), DataType::Float, (low, high), centre, rows);
            prop_assert!(measure.units(value).unsigned_abs() <= measure.most_units());
        }

        #[test]
        fn whole_numbers_are_exact(value in 0i64..1000, rows in 1u64..1_000) {
            let measure = Measure::sum(
                Expression::Column(0), DataType::Integer, (0.0, 1000.0), 0.0, rows);
            let Grid::Multiply(units) = measure.grid else { panic!("coarse grid") };
            prop_assert_eq!(measure.units(value as f64), value * units as i64);
        }
    }
}
