//! Draws of an answer's figures, and the intervals that they make.

use std::collections::HashMap;

use datafusion::{
    arrow::{
        array::{Array, Float64Array, Int64Array, RecordBatch},
        compute::cast,
        datatypes::DataType,
    },
    common::{DataFusionError, Result},
};

/// The share of cases in which an interval holds the figure without noise.
pub(crate) const LEVEL: f64 = 0.95;
/// One entry per row; nothing where no bound can be given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intervals {
    /// Lower bounds.
    pub low: Vec<Option<f64>>,
    /// Upper bounds.
    pub high: Vec<Option<f64>>,
    /// Standard deviations of the noise.
    pub sd: Vec<Option<f64>>,
}

/// A column of whole numbers.
pub(crate) fn int64(batch: &RecordBatch, at: usize) -> Result<&Int64Array> {
    batch
        .column(at)
        .as_any()
        .downcast_ref::<Int64Array>()
        .ok_or_else(|| DataFusionError::Internal("a row without identity".to_owned()))
}

/// Values of the wanted columns for each of the answer's rows.
pub(crate) struct Samples {
    /// From a row's identity to the answer's rows that have it. Two rows that no value but the
    /// noise tells apart share one, and their draws.
    slots: HashMap<i64, usize>,
    slot_of_row: Vec<usize>,
    sharing: Vec<usize>,
    /// slot × column.
    values: Vec<Vec<Vec<f64>>>,
}

impl Samples {
    /// Room for the draws of these rows.
    pub fn new(rows: &[i64], columns: usize) -> Self {
        let mut slots = HashMap::new();
        let mut sharing = Vec::new();
        let slot_of_row = rows
            .iter()
            .map(|row| {
                let slot = *slots.entry(*row).or_insert_with(|| {
                    sharing.push(0);
                    sharing.len() - 1
                });
                sharing[slot] += 1;
                slot
            })
            .collect();
        Self {
            slots,
            slot_of_row,
            values: vec![vec![Vec::new(); columns]; sharing.len()],
            sharing,
        }
    }

    /// Takes in some draws: a batch of columns, the row's identity last.
    pub fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.num_columns() - 1;
        let ids = int64(batch, columns)?;
        let numbers = (0..columns)
            .map(|at| cast(batch.column(at), &DataType::Float64))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        for (at, number) in numbers.iter().enumerate() {
            let Some(number) = number.as_any().downcast_ref::<Float64Array>() else {
                continue;
            };
            for (row, value) in number.iter().enumerate() {
                // An undefined draw is not a value; it is counted when bounds are taken.
                if let (Some(slot), Some(value)) = (self.slots.get(&ids.value(row)), value)
                    && value.is_finite()
                {
                    self.values[*slot][at].push(value);
                }
            }
        }
        Ok(())
    }

    /// Intervals of each column, after so many draws.
    pub fn intervals(mut self, draws: usize) -> Vec<Intervals> {
        let columns = self.values.first().map_or(0, Vec::len);
        let mut found = vec![Intervals::default(); columns];
        let mut bounds = Vec::new();
        for (slot, values) in self.values.iter_mut().enumerate() {
            let expected = draws * self.sharing[slot];
            bounds.push(
                values
                    .iter_mut()
                    .map(|v| interval(v, expected))
                    .collect::<Vec<_>>(),
            );
        }
        for slot in self.slot_of_row {
            for (intervals, (low, high, sd)) in found.iter_mut().zip(&bounds[slot]) {
                intervals.push(*low, *high, *sd);
            }
        }
        found
    }
}

impl Intervals {
    /// One more row.
    pub fn push(&mut self, low: Option<f64>, high: Option<f64>, sd: Option<f64>) {
        self.low.push(low);
        self.high.push(high);
        self.sd.push(sd);
    }

    /// Of rows about which nothing is known.
    pub fn unknown(rows: usize) -> Self {
        Self {
            low: vec![None; rows],
            high: vec![None; rows],
            sd: vec![None; rows],
        }
    }
}

/// Low, high and standard deviation of what was drawn. Draws that gave no number could be
/// anything: they count at both ends, and where they reach a bound there is none.
fn interval(values: &mut [f64], expected: usize) -> (Option<f64>, Option<f64>, Option<f64>) {
    values.sort_unstable_by(f64::total_cmp);
    let undefined = expected.saturating_sub(values.len());
    let tail = (((1.0 - LEVEL) / 2.0) * (expected + 1) as f64).floor() as usize;
    // The tail-th from either end, counting the undefined ones first.
    let inside = tail.max(1).checked_sub(undefined + 1);
    let low = inside.and_then(|at| values.get(at)).copied();
    let high = inside
        .and_then(|at| values.len().checked_sub(at + 1))
        .and_then(|at| values.get(at))
        .copied();
    let n = values.len() as f64;
    let sd = (low.is_some() && values.len() > 1).then(|| {
        let mean = values.iter().sum::<f64>() / n;
        (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    });
    (low, high, sd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_draws_take_bounds_away() {
        let mut values: Vec<f64> = (1..=1_000).map(f64::from).collect();
        assert_eq!(interval(&mut values, 1_000).0, Some(25.0));
        assert_eq!(interval(&mut values, 1_000).1, Some(976.0));
        // 1 % undefined: further out. 3 %: no bound.
        assert_eq!(interval(&mut values[10..], 1_000).0, Some(25.0));
        assert_eq!(interval(&mut values[30..], 1_000), (None, None, None));
        assert_eq!(interval(&mut [], 0), (None, None, None));
    }
}
