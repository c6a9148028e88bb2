//! Trusted. Numbers in half the bytes while they are kept.
//!
//! Promise: each value comes back bit for bit. Costs are often whole, or have two decimals, and then an integer of
//! 32 bits and the number of decimals say the same as a float does; each value is tried, and one that doesn't come
//! back keeps its column as it was (after ALP: Afroozeh, Kuffo and Boncz 2023, "ALP: Adaptive Lossless Floating-Point
//! Compression", section 3.1).

use std::sync::Arc;

use datafusion::arrow::{
    array::{Array, ArrayRef, AsArray, Float64Array, Int64Array},
    buffer::NullBuffer,
    datatypes::{DataType as ArrowType, Float64Type, Int64Type},
};

use crate::{plan::rebuild::amount::WHOLE, prepared::bytes_of};

/// One over the last digit that floats may have.
const SCALES: [f64; 2] = [1.0, 100.0];

/// A column.
#[derive(Debug)]
pub enum Narrow {
    /// Integers.
    Integers(Halves),
    /// Floats, times this.
    Floats(Halves, f64),
    /// Anything else.
    AsItWas(ArrayRef),
}

/// Numbers of 32 bits.
#[derive(Debug)]
pub struct Halves {
    values: Vec<i32>,
    nulls: Option<NullBuffer>,
}

impl Halves {
    fn bytes(&self) -> usize {
        size_of_val(&*self.values) + self.nulls.as_ref().map_or(0, |nulls| nulls.buffer().len())
    }
}

impl Narrow {
    /// The column in as few bytes as give it back.
    #[must_use]
    pub fn new(column: &ArrayRef) -> Self {
        let halves = |values| Halves {
            values,
            nulls: column.nulls().cloned(),
        };
        match column.data_type() {
            ArrowType::Int64 => {
                let values = column.as_primitive::<Int64Type>().values();
                of_integers(values).map(|values| Self::Integers(halves(values)))
            }
            ArrowType::Float64 => {
                let values = column.as_primitive::<Float64Type>().values();
                SCALES.into_iter().find_map(|scale| {
                    let values = of_floats(values, scale)?;
                    Some(Self::Floats(halves(values), scale))
                })
            }
            _ => None,
        }
        .unwrap_or_else(|| Self::AsItWas(Arc::clone(column)))
    }

    /// The column as it was.
    #[must_use]
    pub fn column(&self) -> ArrayRef {
        match self {
            Self::Integers(Halves { values, nulls }) => {
                let values = values.iter().map(|value| i64::from(*value));
                let values: Vec<i64> = values.collect();
                Arc::new(Int64Array::new(values.into(), nulls.clone()))
            }
            Self::Floats(Halves { values, nulls }, scale) => {
                let values = floats(values, *scale);
                Arc::new(Float64Array::new(values.into(), nulls.clone()))
            }
            Self::AsItWas(column) => Arc::clone(column),
        }
    }

    /// How many bytes it holds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Integers(halves) | Self::Floats(halves, _) => halves.bytes(),
            Self::AsItWas(column) => bytes_of(column),
        }
    }
}

fn of_integers(values: &[i64]) -> Option<Vec<i32>> {
    let fits = |all, value: &i64| all & (i64::from(*value as i32) == *value);
    let fit = values.iter().fold(true, fits);
    fit.then(|| values.iter().map(|value| *value as i32).collect())
}

/// The floats times the scale, if all come back from it; one that 32 bits don't hold doesn't. Without an early end and a conversion that saturates, so that
/// it compiles to vector instructions.
#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512dq+avx512vl",
    "x86_64+avx2",
    "x86_64+sse4.1"
))]
fn of_floats(values: &[f64], scale: f64) -> Option<Vec<i32>> {
    let half = |value: f64| (value * scale + WHOLE).to_bits() as i32;
    let all_come_back = values.iter().fold(true, |all, value| {
        let back = f64::from(half(*value)) / scale;
        all & (back.to_bits() == value.to_bits())
    });
    all_come_back.then(|| values.iter().map(|value| half(*value)).collect())
}

/// Floats from what [`of_floats`] found.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2", "x86_64+sse4.1"))]
fn floats(values: &[i32], scale: f64) -> Vec<f64> {
    let whole = values.iter().map(|value| f64::from(*value));
    // A division takes several times as long as the rest.
    if scale == 1.0 {
        return whole.collect();
    }
    whole.map(|value| value / scale).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bits(column: &ArrayRef) -> Vec<u64> {
        match column.as_primitive_opt::<Float64Type>() {
            Some(floats) => floats
                .values()
                .iter()
                .map(|value| value.to_bits())
                .collect(),
            None => {
                let integers = column.as_primitive::<Int64Type>().values();
                integers.iter().map(|value| *value as u64).collect()
            }
        }
    }

    proptest! {
        #[test]
        fn each_value_comes_back(
            floats in prop_oneof![
                proptest::collection::vec(proptest::num::f64::ANY, 0..20),
                proptest::collection::vec((-3_000_000_000_i64..3_000_000_000).prop_map(|x| x as f64), 0..20),
                proptest::collection::vec((-3_000_000_i64..3_000_000).prop_map(|x| x as f64 / 100.0), 0..20),
            ],
            integers in prop_oneof![
                proptest::collection::vec(any::<i64>(), 0..20),
                proptest::collection::vec(any::<i32>().prop_map(i64::from), 0..20),
            ],
            known in proptest::collection::vec(any::<bool>(), 20),
            some_null: bool,
            from in 0_usize..3,
        ) {
            let nulls = |count: usize| some_null.then(|| NullBuffer::from(known[..count].to_vec()));
            let columns: [ArrayRef; 2] = [
                Arc::new(Float64Array::new(floats.clone().into(), nulls(floats.len()))),
                Arc::new(Int64Array::new(integers.clone().into(), nulls(integers.len()))),
            ];
            for column in columns {
                let from = from.min(column.len());
                let column = column.slice(from, column.len() - from);
                let back = Narrow::new(&column).column();
                prop_assert_eq!(bits(&back), bits(&column));
                prop_assert_eq!(back.nulls(), column.nulls());
            }
        }
    }

    #[test]
    fn costs_take_half() {
        let costs = |costs: &[f64]| -> ArrayRef { Arc::new(Float64Array::from(costs.to_vec())) };
        for (column, bytes) in [
            (costs(&[0.0, 17.0, 2_147_483_647.0, -2_147_483_648.0]), 16),
            (costs(&[0.01, 0.07, 1.1, -21_474_836.48]), 16),
            (costs(&[0.001, 1.0]), 16),
            (costs(&[-0.0, 1.0]), 16),
            (costs(&[f64::NAN, 1.0]), 16),
            (costs(&[2_147_483_648.0, 1.0]), 16),
        ] {
            let narrow = Narrow::new(&column);
            assert_eq!(narrow.bytes(), bytes, "{column:?}");
            assert_eq!(bits(&narrow.column()), bits(&column));
        }
    }
}
