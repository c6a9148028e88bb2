//! Trusted. The rows of one partition, batch by batch.
//!
//! Promise: a row that is read belongs into its partition, and a partition's units never fall; a
//! file that isn't so stops the reading.

use std::{collections::VecDeque, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, RecordBatchOptions},
        datatypes::SchemaRef,
    },
    common::{Result as EngineResult, internal_datafusion_err, internal_err},
};
use parquet::{arrow::arrow_reader::ParquetRecordBatchReader, file::metadata::ParquetMetaData};

use super::{
    files::BATCH_ROWS,
    hot::{Batches, Hot, HotColumn},
    partition::Order,
    truths::Truths,
    words::Words,
};

/// The batches of these row groups, in order.
pub(super) fn batches(
    footer: &ParquetMetaData,
    row_groups: &[usize],
) -> EngineResult<VecDeque<NextBatch>> {
    let mut first = 0;
    let mut firsts = vec![];
    for row_group in footer.row_groups() {
        let rows = usize::try_from(row_group.num_rows())
            .map_err(|_| internal_datafusion_err!("a negative number of rows"))?;
        firsts.push((first, rows));
        first += rows.div_ceil(BATCH_ROWS);
    }
    let mut batches = VecDeque::new();
    for row_group in row_groups {
        let Some((first, rows)) = firsts.get(*row_group) else {
            return internal_err!("there is no row group {row_group}");
        };
        for (batch, start) in (0..*rows).step_by(BATCH_ROWS).enumerate() {
            batches.push_back(NextBatch {
                row_group: *row_group,
                index: first + batch,
                rows: BATCH_ROWS.min(rows - start),
            });
        }
    }
    Ok(batches)
}

/// What the next batch is, by the footer.
#[derive(Debug, Clone, Copy)]
pub(super) struct NextBatch {
    row_group: usize,
    /// Among all of the partition's batches.
    index: usize,
    rows: usize,
}

/// Where a column's values come from.
#[derive(Debug)]
pub(super) enum Column {
    /// From memory.
    Held(Batches),
    /// From the file, bit by bit.
    Truths {
        truths: Box<Truths>,
        to_hold: Option<ToHold>,
    },
    /// From the file.
    Read {
        /// Among the columns that are read.
        place: usize,
        words: Option<Words>,
        to_hold: Option<ToHold>,
    },
}

/// What was read so far of a column that may be held.
#[derive(Debug)]
pub(super) struct ToHold {
    pub hot: Arc<Hot>,
    pub column: HotColumn,
    pub batches: Vec<ArrayRef>,
}

/// The rows of one partition, checked.
#[derive(Debug)]
pub struct PartitionRows {
    /// Of the columns that aren't held; nothing if all are.
    pub(super) rows: Option<ParquetRecordBatchReader>,
    pub(super) order: Order,
    /// Where the unit is among `columns`.
    pub(super) unit: usize,
    /// The wanted columns, and the unit if it isn't wanted.
    pub(super) columns: Vec<Column>,
    pub(super) schema: SchemaRef,
    pub(super) partition: usize,
    pub(super) batches: VecDeque<NextBatch>,
}

impl PartitionRows {
    /// The wanted columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next_batch(&mut self, next: NextBatch) -> EngineResult<RecordBatch> {
        let read = match &mut self.rows {
            Some(rows) => match rows.next() {
                Some(batch) => Some(batch?),
                None => return internal_err!("fewer rows than the footer says"),
            },
            None => None,
        };
        if read
            .as_ref()
            .is_some_and(|read| read.num_rows() != next.rows)
        {
            return internal_err!("a batch is not one of a row group");
        }
        let mut arrays = vec![];
        for (index, column) in self.columns.iter_mut().enumerate() {
            let array = match (column, &read) {
                (Column::Held(held), _) => match held.get(next.index) {
                    Some(array) => Arc::clone(array),
                    None => return internal_err!("a held column lacks a batch"),
                },
                (
                    Column::Read {
                        place,
                        words,
                        to_hold,
                    },
                    Some(read),
                ) => {
                    let array = read.column(*place);
                    if index == self.unit {
                        // A held one was checked when it was read.
                        self.order.check(array)?;
                    }
                    let array = match words {
                        Some(words) => words.common(array, self.partition, next.row_group)?,
                        None => Arc::clone(array),
                    };
                    if let Some(to_hold) = to_hold {
                        to_hold.batches.push(Arc::clone(&array));
                    }
                    array
                }
                (Column::Truths { truths, to_hold }, _) => {
                    let array = truths.next(next.rows)?;
                    if let Some(to_hold) = to_hold {
                        to_hold.batches.push(Arc::clone(&array));
                    }
                    array
                }
                (Column::Read { .. }, None) => return internal_err!("nothing is read"),
            };
            arrays.push(array);
        }
        arrays.truncate(self.schema.fields().len());
        let options = RecordBatchOptions::new().with_row_count(Some(next.rows));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            arrays,
            &options,
        )?)
    }

    /// At the end of a partition, what was read of it may be held.
    fn hold(&mut self) {
        for column in &mut self.columns {
            if let Column::Read { to_hold, .. } | Column::Truths { to_hold, .. } = column
                && let Some(ToHold {
                    hot,
                    column,
                    batches,
                }) = to_hold.take()
            {
                hot.hold(column, self.partition, batches);
            }
        }
    }
}

impl Iterator for PartitionRows {
    type Item = EngineResult<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.batches.pop_front()?;
        let batch = self.next_batch(next);
        if batch.is_ok() && self.batches.is_empty() {
            self.hold();
        }
        Some(batch)
    }
}
