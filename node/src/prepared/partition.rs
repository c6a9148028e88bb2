//! Trusted. Which partition a person's rows are in.
//!
//! Promise: a function of the unit alone, so that all rows of a person, in all tables, are in
//! partitions of one number. Rows are held against it as they are read: see [`Order`].

use std::cmp::Ordering;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray},
        datatypes::{DataType as ArrowType, Int64Type},
    },
    common::{Result as EngineResult, internal_err},
};

/// 2^64 over the golden ratio: consecutive numbers are spread evenly (Knuth, volume 3, 6.4).
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// A number of partitions: a power of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions {
    bits: u32,
}

impl Partitions {
    /// The most: each is a file of each table.
    pub const MOST: usize = 1 << 12;

    /// That many; nothing if it is no power of two, or too large.
    #[must_use]
    pub const fn new(count: usize) -> Option<Self> {
        if count.is_power_of_two() && count <= Self::MOST {
            Some(Self {
                bits: count.trailing_zeros(),
            })
        } else {
            None
        }
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> usize {
        1 << self.bits
    }

    /// Of a unit that is an integer.
    #[must_use]
    #[inline]
    pub const fn of_integer(self, unit: i64) -> usize {
        let spread = unit.cast_unsigned().wrapping_mul(SPREAD);
        // In two steps: a shift by all 64 bits would be none.
        (spread >> 1 >> (63 - self.bits)) as usize
    }

    /// Of a unit that is a text: by its FNV-1a hash.
    #[must_use]
    pub fn of_text(self, unit: &str) -> usize {
        let hash = unit.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        self.of_integer(hash.cast_signed())
    }

    /// Of each row of a column of units without NULLs.
    ///
    /// # Errors
    /// If the units are neither integers nor texts.
    pub fn of_column(self, units: &ArrayRef) -> EngineResult<Vec<u32>> {
        Ok(match units.data_type() {
            ArrowType::Int64 => {
                let units = units.as_primitive::<Int64Type>().values().iter();
                units.map(|unit| self.of_integer(*unit) as u32).collect()
            }
            ArrowType::Utf8View => {
                let units = units.as_string_view();
                (0..units.len())
                    .map(|row| self.of_text(units.value(row)) as u32)
                    .collect()
            }
            _ => return internal_err!("the unit is neither an integer nor a text"),
        })
    }
}

/// Holds the units of one partition, batch by batch, against what the layout promises: each row
/// belongs into the partition, and units never fall, so that a person's rows are adjacent.
#[derive(Debug)]
pub struct Order {
    partitions: Partitions,
    partition: usize,
    last: Option<Last>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    Integer(i64),
    Text(String),
}

impl Order {
    /// Before the first batch of a partition.
    #[must_use]
    pub fn new(partitions: Partitions, partition: usize) -> Self {
        Self {
            partitions,
            partition,
            last: None,
        }
    }

    /// Checks the next batch's units.
    ///
    /// # Errors
    /// If a unit is missing, falls, or belongs elsewhere: the files aren't what the layout says.
    pub fn check(&mut self, units: &ArrayRef) -> EngineResult<()> {
        if units.null_count() > 0 {
            return internal_err!("a row of a prepared table belongs to nobody");
        }
        let (ordered, last) = match units.data_type() {
            ArrowType::Int64 => {
                let units = units.as_primitive::<Int64Type>().values();
                (
                    self.integers(units),
                    units.last().copied().map(Last::Integer),
                )
            }
            ArrowType::Utf8View => {
                let units = units.as_string_view();
                let at = |row: usize| units.value(row);
                let mut ordered = true;
                for row in 0..units.len() {
                    let order = if row == 0 {
                        Ordering::Less
                    } else {
                        at(row - 1).cmp(at(row))
                    };
                    ordered &= order.is_le();
                    // Equal neighbours belong into one partition.
                    ordered &= order.is_eq() || self.partitions.of_text(at(row)) == self.partition;
                }
                if let (Some(Last::Text(last)), false) = (&self.last, units.is_empty()) {
                    ordered &= last.as_str() <= at(0);
                }
                let last = units.len().checked_sub(1);
                (ordered, last.map(|row| Last::Text(at(row).to_owned())))
            }
            _ => return internal_err!("the unit is neither an integer nor a text"),
        };
        if !ordered {
            return internal_err!("a prepared table is not in the order that it should be in");
        }
        if last.is_some() {
            self.last = last;
        }
        Ok(())
    }

    fn integers(&self, units: &[i64]) -> bool {
        let follows = match (&self.last, units.first()) {
            (Some(Last::Integer(last)), Some(first)) => last <= first,
            (Some(Last::Text(_)), _) => false,
            (Some(Last::Integer(_)) | None, _) => true,
        };
        rise(units) & all_in(units, self.partitions, self.partition) & follows
    }
}

/// Whether units never fall from row to row. Without an early end, so that it compiles to vector instructions; those
/// of newer processors are used where they are.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2", "x86_64+sse4.2"))]
pub(crate) fn rise(units: &[i64]) -> bool {
    let pairs = units.iter().zip(units.iter().skip(1));
    pairs.fold(true, |rise, (one, next)| rise & (one <= next))
}

/// Whether all belong into one partition; as [`rise`] is compiled.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512dq+avx512vl", "x86_64+avx2"))]
fn all_in(units: &[i64], partitions: Partitions, partition: usize) -> bool {
    let here = |unit: &i64| partitions.of_integer(*unit) == partition;
    units.iter().fold(true, |all, unit| all & here(unit))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use datafusion::arrow::array::{Int64Array, StringViewArray};

    use super::*;

    fn integers(units: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(units.to_vec()))
    }

    fn of_partition(partitions: Partitions, partition: usize) -> Vec<i64> {
        (-500..500)
            .filter(|unit| partitions.of_integer(*unit) == partition)
            .collect()
    }

    #[test]
    fn consecutive_units_are_spread_evenly() {
        for count in [1, 2, 16, 128] {
            let partitions = Partitions::new(count).unwrap();
            let mut found = vec![0_usize; count];
            for unit in 0..128_000 {
                found[partitions.of_integer(unit)] += 1;
            }
            let fair = 128_000 / count;
            assert!(
                found
                    .iter()
                    .all(|rows| rows.abs_diff(fair) <= fair / 10 + 1)
            );
        }
        assert_eq!(Partitions::new(3), None);
    }

    #[test]
    fn only_rising_units_of_the_partition_pass() {
        let partitions = Partitions::new(4).unwrap();
        let own = of_partition(partitions, 2);
        let (head, tail) = own.split_at(own.len() / 2);
        let fresh = || Order::new(partitions, 2);

        let mut order = fresh();
        order.check(&integers(head)).unwrap();
        order.check(&integers(&[])).unwrap();
        // A person's rows may go on in the next batch.
        order.check(&integers(&[head[head.len() - 1]])).unwrap();
        order.check(&integers(tail)).unwrap();
        assert!(
            order.check(&integers(head)).is_err(),
            "falls between batches"
        );

        let mut turned = own.clone();
        turned.swap(3, 4);
        assert!(fresh().check(&integers(&turned)).is_err());
        let other = of_partition(partitions, 1);
        assert!(fresh().check(&integers(&other)).is_err());
        let missing: ArrayRef = Arc::new(Int64Array::from(vec![Some(own[0]), None]));
        assert!(fresh().check(&missing).is_err());
    }

    #[test]
    fn texts_are_checked_too() {
        let partitions = Partitions::new(2).unwrap();
        let mut own: Vec<String> = (0..100)
            .map(|number| format!("person {number}"))
            .filter(|unit| partitions.of_text(unit) == 0)
            .collect();
        own.sort();
        own.insert(1, own[0].clone());
        let texts =
            |units: &[String]| -> ArrayRef { Arc::new(StringViewArray::from_iter_values(units)) };
        let fresh = || Order::new(partitions, 0);
        fresh().check(&texts(&own)).unwrap();
        let mut order = fresh();
        order.check(&texts(&own[5..])).unwrap();
        assert!(order.check(&texts(&own[..5])).is_err());
        own.swap(4, 7);
        assert!(fresh().check(&texts(&own)).is_err());
        assert!(Order::new(partitions, 1).check(&texts(&own[..1])).is_err());
    }
}
