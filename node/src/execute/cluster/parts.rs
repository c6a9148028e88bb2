//! Trusted. What comes back from a cluster: sums of persons in parts, checked.
//!
//! **Claim.** What is taken in is a sum over persons of their own clipped vectors, each person's at most once,
//! whatever the cluster does with its tasks.
//!
//! **Proof.** A part is made by one run of [`PersonSums`](super::operator::PersonSums) over a partition. That run
//! has seen each of its persons once, since the units rise, and only persons of one bucket of a hash of the unit, both checked
//! row by row. It numbers what it sends and has an id that is drawn for it. Here one run is taken in for each
//! bucket, and each number of it once. Persons of two buckets are different persons, so no person
//! is in two runs that are taken in. Parts of a run without persons are not added. ∎
//!
//! A part that is missing would cost accuracy alone; it is an error all the same.

use std::collections::{HashMap, hash_map::Entry};

use datafusion::{
    arrow::{
        array::{Array, AsArray, RecordBatch},
        datatypes::{UInt32Type, UInt64Type},
    },
    common::{Result as EngineResult, internal_err},
};

/// Id of the run that made a part.
pub const RUN: &str = "run";
/// Number of the part within its run.
pub const NUMBER: &str = "number";
/// The bucket of the run's persons; NULL while there are none.
pub const BUCKET: &str = "bucket";
/// The key, where keys aren't known beforehand.
pub const KEY: &str = "key";
/// Sums, 16 bytes a cell.
pub const CELLS: &str = "cells";
/// Whether it is the last of its run.
pub const LAST: &str = "last";

/// One part of a sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The key's bytes; nothing for the cells that belong to no key.
    pub key: Option<Vec<u8>>,
    /// Exact sums.
    pub cells: Vec<i128>,
}

/// A run that parts come from.
#[derive(Debug, Default)]
struct Run {
    next: u64,
    bucket: Option<u32>,
    ended: bool,
}

/// The parts so far.
#[derive(Debug)]
pub struct Parts {
    partitions: usize,
    runs: HashMap<Vec<u8>, Run>,
    /// Which run each bucket belongs to.
    buckets: HashMap<u32, Vec<u8>>,
}

impl Parts {
    /// For so many partitions.
    pub fn new(partitions: usize) -> Self {
        Self {
            partitions,
            runs: HashMap::new(),
            buckets: HashMap::new(),
        }
    }

    /// Takes a batch in; its parts that have persons.
    ///
    /// # Errors
    /// If a part came before, is of a bucket that another run has, or isn't whole.
    pub fn of_batch(&mut self, batch: &RecordBatch) -> EngineResult<Vec<Part>> {
        let column = |name| batch.column_by_name(name);
        let columns = (
            column(RUN).and_then(|c| c.as_binary_opt::<i32>()),
            column(NUMBER).and_then(|c| c.as_primitive_opt::<UInt64Type>()),
            column(BUCKET).and_then(|c| c.as_primitive_opt::<UInt32Type>()),
            column(KEY).and_then(|c| c.as_binary_opt::<i32>()),
            column(CELLS).and_then(|c| c.as_binary_opt::<i32>()),
            column(LAST).and_then(|c| c.as_boolean_opt()),
        );
        let (Some(run), Some(number), Some(bucket), Some(key), Some(cells), Some(last)) = columns
        else {
            return internal_err!("the parts lack a column");
        };
        let mut parts = vec![];
        for row in 0..batch.num_rows() {
            let of_row = bucket.is_valid(row).then(|| bucket.value(row));
            self.accept(run.value(row), number.value(row), of_row, last.value(row))?;
            if of_row.is_none() {
                continue;
            }
            let (cells, rest) = cells.value(row).as_chunks::<16>();
            if !rest.is_empty() {
                return internal_err!("a part of half a cell");
            }
            parts.push(Part {
                key: key.is_valid(row).then(|| key.value(row).to_vec()),
                cells: cells
                    .iter()
                    .map(|cell| i128::from_le_bytes(*cell))
                    .collect(),
            });
        }
        Ok(parts)
    }

    fn accept(
        &mut self,
        run: &[u8],
        number: u64,
        bucket: Option<u32>,
        last: bool,
    ) -> EngineResult<()> {
        let known = self.runs.entry(run.to_vec()).or_default();
        if known.ended || known.next != number {
            return internal_err!("a part came twice or is missing");
        }
        known.next += 1;
        known.ended = last;
        match (known.bucket, bucket) {
            (Some(known), Some(bucket)) if known == bucket => {}
            (None, Some(bucket)) => {
                known.bucket = Some(bucket);
                if bucket as usize >= self.partitions {
                    return internal_err!("a bucket beyond the partitions");
                }
                match self.buckets.entry(bucket) {
                    Entry::Vacant(free) => free.insert(run.to_vec()),
                    Entry::Occupied(_) => return internal_err!("a bucket came twice"),
                };
            }
            (None, None) => {}
            (Some(_), _) => return internal_err!("a run of two buckets"),
        }
        Ok(())
    }

    /// All partitions have come, each to its end.
    ///
    /// # Errors
    /// If not.
    pub fn finish(self) -> EngineResult<()> {
        if self.runs.len() == self.partitions && self.runs.values().all(|run| run.ended) {
            Ok(())
        } else {
            internal_err!("a partition is missing")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run, a number, a bucket, whether it is the last.
    type Row = (u8, u64, Option<u32>, bool);

    fn all(partitions: usize, rows: &[Row]) -> EngineResult<()> {
        let mut parts = Parts::new(partitions);
        for (run, number, bucket, last) in rows {
            parts.accept(&[*run], *number, *bucket, *last)?;
        }
        parts.finish()
    }

    #[test]
    fn each_bucket_is_taken_in_once() {
        let whole = [
            (1, 0, Some(1), false),
            (2, 0, Some(0), true),
            (1, 1, Some(1), true),
            (3, 0, None, true),
        ];
        all(3, &whole).unwrap();
        // One is missing, or the end of one.
        assert!(all(3, &whole[..3]).is_err());
        assert!(
            all(
                3,
                &[
                    (1, 0, Some(1), false),
                    (2, 0, Some(0), true),
                    (3, 0, None, true)
                ]
            )
            .is_err()
        );
        // A task ran twice, a result was sent twice, a part of it was left out.
        assert!(
            all(
                3,
                &[
                    (1, 0, Some(1), true),
                    (2, 0, Some(1), true),
                    (3, 0, None, true)
                ]
            )
            .is_err()
        );
        assert!(all(2, &[(1, 0, Some(1), true), (1, 0, Some(1), true)]).is_err());
        assert!(all(1, &[(1, 0, Some(0), false), (1, 2, Some(0), true)]).is_err());
        // Persons of another bucket under the same run; a bucket that isn't there.
        assert!(
            all(
                2,
                &[
                    (1, 0, Some(1), false),
                    (1, 1, Some(0), true),
                    (2, 0, None, true)
                ]
            )
            .is_err()
        );
        assert!(all(1, &[(1, 0, Some(1), true)]).is_err());
    }
}
