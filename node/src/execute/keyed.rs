//! Trusted. Keys that aren't known beforehand: summed, and released above the threshold, without ever
//! holding all of them.
//!
//! Promise: each key goes through the mechanism once, with all its persons, and what is left
//! afterwards has reached the threshold. How many keys there are decides the time that it takes, and nothing
//! else: the sums of persons are sorted by key by the engine, which spills what doesn't fit, and no
//! key fails or is cut before the noise.

use std::sync::{Arc, Mutex, PoisonError};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, RecordBatch},
        datatypes::{
            DataType as ArrowType, Date32Type, Field, Float64Type, Int64Type, Schema, SchemaRef,
            TimestampMicrosecondType,
        },
    },
    common::{DataFusionError, Result as EngineResult, exec_err, internal_err},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::LogicalPlan,
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::col},
    physical_plan::{
        ExecutionPlan,
        sorts::{sort::SortExec, sort_preserving_merge::SortPreservingMergeExec},
        stream::RecordBatchStreamAdapter,
        streaming::{PartitionStream, StreamingTableExec},
    },
    prelude::SessionContext,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use skerry_privacy::{
    analysis::Quote,
    contribution::{KeyedSum, PartialSum, RankingSecret, clamped},
    key::Key,
    mechanism::{
        self,
        threshold::{KeySum, ReleasedKey, ReleasedKeys, Threshold, release_keys},
    },
    question::Query,
};
use skerry_proto::Value;

use super::{CurrentPerson, PersonSums, add_batch, plan};
use crate::{catalogue::Catalogue, plan::rebuild::key_name};

/// All partitions' sums together are handed on before they take more than about this.
const SUMS_BYTES: usize = 64 << 20;
/// Bytes of one batch of sums, about.
const BATCH_BYTES: usize = 1 << 20;
/// Cells that get their noise in one go.
const CELLS_AT_ONCE: usize = 1 << 15;

const KEY: &str = "key";
const CELLS: &str = "cells";

/// Keys that reached the threshold, with noise in every figure.
#[derive(Debug)]
pub struct NoisyKeys {
    /// In their own order.
    pub keys: Vec<ReleasedKey>,
    /// Whether there were more than a message holds.
    pub cut: bool,
    /// The cell of clipped persons, if they are counted.
    pub clipped: Option<i64>,
}

/// Releases the keys of a question that reach its threshold.
pub(super) async fn keys_above(
    threshold: &Threshold,
    rows: LogicalPlan,
    query: &Query,
    quote: &Arc<Quote>,
    catalogue: &Catalogue,
    context: &SessionContext,
) -> EngineResult<NoisyKeys> {
    let rows = plan(rows, query, quote, catalogue, context).await?;
    let secret = RankingSecret::fresh().map_err(failed)?;
    let clipped = Arc::new(Mutex::new(0_i128));
    let sums =
        by_key(rows, quote, &secret, &clipped, SUMS_BYTES)?.execute(0, context.task_ctx())?;
    let (keys, cut) = above(threshold, quote, sums).await?;
    let clipped = noisy_clipped(quote, &clipped)?;
    Ok(NoisyKeys { keys, cut, clipped })
}

/// The cell of clipped persons with its noise, if they are counted.
pub(super) fn noisy_clipped(quote: &Quote, clipped: &Mutex<i128>) -> EngineResult<Option<i64>> {
    if quote.clipped.is_none() {
        return Ok(None);
    }
    let exact = clamped(*clipped.lock().unwrap_or_else(PoisonError::into_inner));
    let noisy = mechanism::release(&quote.noise, &[exact]).map_err(failed)?;
    Ok(noisy.first().copied())
}

/// The keys that reach the threshold, from sums in the order of keys; and whether some are left out.
pub(super) async fn above(
    threshold: &Threshold,
    quote: &Arc<Quote>,
    mut sums: SendableRecordBatchStream,
) -> EngineResult<(Vec<ReleasedKey>, bool)> {
    let mut released = ReleasedKeys::default();
    let mut waiting: Vec<KeySum> = vec![];
    let mut cells = 0;
    let mut current: Option<PartialSum> = None;
    while let Some(batch) = sums.next().await {
        let batch = batch?;
        let (keys, sums) = (binary(&batch, 0)?, binary(&batch, 1)?);
        for row in 0..batch.num_rows() {
            match &mut current {
                Some((key, total)) if key.as_bytes() == keys.value(row) => {
                    add_cells(total, sums.value(row))?;
                }
                other => {
                    let (next, mut total) = (Key::from_bytes(keys.value(row)), vec![]);
                    add_cells(&mut total, sums.value(row))?;
                    if let Some((key, _)) = &*other
                        && *key > next
                    {
                        return internal_err!("the sums are not sorted by key");
                    }
                    if let Some(whole) = other.replace((next, total)) {
                        cells += whole.1.len();
                        waiting.push(KeySum::of(whole));
                    }
                }
            }
            if cells >= CELLS_AT_ONCE {
                cells = 0;
                let keys = noisy(quote, threshold, std::mem::take(&mut waiting)).await?;
                released.add(threshold, keys);
            }
        }
    }
    waiting.extend(current.map(KeySum::of));
    let keys = noisy(quote, threshold, waiting).await?;
    released.add(threshold, keys);
    Ok(released.finish(threshold))
}

/// A cause is never told.
pub(super) fn failed(_error: mechanism::MechanismError) -> DataFusionError {
    DataFusionError::Internal("no noise".to_owned())
}

/// Adding noise blocks.
async fn noisy(
    quote: &Arc<Quote>,
    threshold: &Threshold,
    sums: Vec<KeySum>,
) -> EngineResult<Vec<ReleasedKey>> {
    let (quote, threshold) = (Arc::clone(quote), *threshold);
    tokio::task::spawn_blocking(move || release_keys(&quote.noise, &threshold, sums))
        .await
        .map_err(|_| DataFusionError::Internal("no noise".to_owned()))?
        .map_err(failed)
}

/// The plan of all partitions' sums in the order of keys, handed on before they take more than about
/// so many `bytes` together. A key may come several times, one after the other.
fn by_key(
    rows: Arc<dyn ExecutionPlan>,
    quote: &Arc<Quote>,
    secret: &RankingSecret,
    clipped: &Arc<Mutex<i128>>,
    bytes: usize,
) -> EngineResult<Arc<dyn ExecutionPlan>> {
    let schema = sums_schema();
    let partitions = rows.properties().output_partitioning().partition_count();
    let sums = (0..partitions)
        .map(|partition| -> Arc<dyn PartitionStream> {
            Arc::new(PartitionSums {
                rows: Arc::clone(&rows),
                partition,
                quote: Arc::clone(quote),
                secret: secret.clone(),
                clipped: Arc::clone(clipped),
                bytes: bytes / partitions.max(1),
                schema: Arc::clone(&schema),
            })
        })
        .collect();
    in_order(sums)
}

/// Columns of sums: the key, and 16 bytes a cell.
pub(super) fn sums_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(KEY, ArrowType::Binary, false),
        Field::new(CELLS, ArrowType::Binary, false),
    ]))
}

/// The plan of sums in the order of their keys, from streams in any order.
pub(super) fn in_order(
    sums: Vec<Arc<dyn PartitionStream>>,
) -> EngineResult<Arc<dyn ExecutionPlan>> {
    let schema = sums_schema();
    let sums = StreamingTableExec::try_new(Arc::clone(&schema), sums, None, [], false, None)?;
    let order = PhysicalSortExpr::new_default(col(KEY, &schema)?);
    let Some(order) = LexOrdering::new([order]) else {
        return internal_err!("no order by key");
    };
    let sorted = SortExec::new(order.clone(), Arc::new(sums)).with_preserve_partitioning(true);
    Ok(Arc::new(SortPreservingMergeExec::new(
        order,
        Arc::new(sorted),
    )))
}

/// The sums of one partition's persons by key, in pieces.
struct PartitionSums {
    rows: Arc<dyn ExecutionPlan>,
    partition: usize,
    quote: Arc<Quote>,
    secret: RankingSecret,
    clipped: Arc<Mutex<i128>>,
    /// Sums are handed on before they take more than about this.
    bytes: usize,
    schema: SchemaRef,
}

impl std::fmt::Debug for PartitionSums {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PartitionSums {}", self.partition)
    }
}

impl PartitionStream for PartitionSums {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let reading = self.rows.execute(self.partition, context).and_then(|rows| {
            let Some(sum) = KeyedSum::new(&self.quote, self.secret.clone()) else {
                return internal_err!("the groups are public");
            };
            Ok(Reading {
                rows,
                sum: OfKeys::new(sum),
                person: CurrentPerson::None,
                measures: self.quote.measures.len(),
                keys: self.quote.key_types.len(),
                bytes: self.bytes,
                clipped: Arc::clone(&self.clipped),
                done: false,
            })
        });
        let pieces = match reading {
            Ok(reading) => stream::try_unfold(reading, Reading::next).boxed(),
            Err(error) => stream::iter([Err(error)]).boxed(),
        };
        let of_pieces = Arc::clone(&schema);
        let batches = pieces
            .map_ok(move |sums| stream::iter(batches(&of_pieces, sums)))
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(schema, batches))
    }
}

/// A partition that is being read.
struct Reading {
    rows: SendableRecordBatchStream,
    sum: OfKeys,
    person: CurrentPerson,
    measures: usize,
    keys: usize,
    bytes: usize,
    clipped: Arc<Mutex<i128>>,
    done: bool,
}

impl Reading {
    /// The sums so far, when they take enough or the rows are at their end.
    async fn next(mut self) -> EngineResult<Option<(Vec<PartialSum>, Self)>> {
        if self.done {
            return Ok(None);
        }
        while self.sum.sum.bytes() < self.bytes {
            let Some(batch) = self.rows.next().await else {
                self.done = true;
                self.sum.sum.finish_person();
                *self.clipped.lock().unwrap_or_else(PoisonError::into_inner) +=
                    self.sum.sum.clipped();
                break;
            };
            let batch = batch?;
            if batch.num_columns() != 1 + self.keys + self.measures {
                return internal_err!("the plan has other columns");
            }
            add_batch(&batch, self.measures, &mut self.sum, &mut self.person)?;
            // A long run must not keep other questions waiting.
            tokio::task::yield_now().await;
        }
        Ok(Some((self.sum.sum.take(), self)))
    }
}

/// The sums, and room for a row's key.
pub(super) struct OfKeys {
    pub(super) sum: KeyedSum,
    key: Key,
}

impl OfKeys {
    pub(super) fn new(sum: KeyedSum) -> Self {
        let key = Key::new();
        Self { sum, key }
    }
}

impl PersonSums for OfKeys {
    type Groups<'a> = Vec<&'a ArrayRef>;

    fn groups<'a>(&self, batch: &'a RecordBatch) -> EngineResult<Self::Groups<'a>> {
        let mut keys = vec![];
        while let Some(column) = batch.column_by_name(&key_name(keys.len())) {
            keys.push(column);
        }
        Ok(keys)
    }

    fn start_person(&mut self, person: &CurrentPerson) {
        match person {
            CurrentPerson::None => self.sum.start_person(&[]),
            CurrentPerson::Integer(unit) => self.sum.start_person(&unit.to_be_bytes()),
            CurrentPerson::Text(unit) => self.sum.start_person(unit.as_bytes()),
        }
    }

    fn add_row(
        &mut self,
        keys: &Self::Groups<'_>,
        row: usize,
        amounts: impl Iterator<Item = Option<i64>>,
    ) -> EngineResult<()> {
        self.key.clear();
        for column in keys {
            push(&mut self.key, column, row)?;
        }
        match self.sum.add(&self.key, amounts) {
            Ok(()) => Ok(()),
            Err(_) => internal_err!("a row is outside the cells"),
        }
    }
}

/// Adds a column's value to a row's key.
fn push(key: &mut Key, column: &ArrayRef, row: usize) -> EngineResult<()> {
    if column.is_null(row) {
        key.push_null();
        return Ok(());
    }
    match column.data_type() {
        ArrowType::Utf8View => key.push_text(column.as_string_view().value(row)),
        ArrowType::Int64 => {
            key.push(&Value::Integer(
                column.as_primitive::<Int64Type>().value(row),
            ));
        }
        ArrowType::Float64 => {
            key.push(&Value::Float(
                column.as_primitive::<Float64Type>().value(row),
            ));
        }
        ArrowType::Date32 => {
            key.push(&Value::Date(column.as_primitive::<Date32Type>().value(row)));
        }
        ArrowType::Timestamp(_, None) => {
            let stamps = column.as_primitive_opt::<TimestampMicrosecondType>();
            match stamps {
                Some(stamps) => key.push(&Value::Timestamp(stamps.value(row))),
                None => return exec_err!("no group key of another precision"),
            }
        }
        ArrowType::Boolean => key.push(&Value::Boolean(column.as_boolean().value(row))),
        other => return exec_err!("no group key of type {other}"),
    }
    Ok(())
}

/// Sums as batches of a bounded size: their bytes are addressed with 32 bits.
pub(super) fn batches(schema: &SchemaRef, sums: Vec<PartialSum>) -> Vec<EngineResult<RecordBatch>> {
    let mut batches = vec![];
    let (mut keys, mut cells) = (BinaryBuilder::new(), BinaryBuilder::new());
    let mut bytes = 0;
    let mut rest = sums.into_iter().peekable();
    while let Some((key, sum)) = rest.next() {
        let sum: Vec<u8> = sum.iter().flat_map(|cell| cell.to_le_bytes()).collect();
        bytes += key.as_bytes().len() + sum.len();
        keys.append_value(key.as_bytes());
        cells.append_value(&sum);
        if bytes >= BATCH_BYTES || rest.peek().is_none() {
            bytes = 0;
            let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish()), Arc::new(cells.finish())];
            let batch = RecordBatch::try_new(Arc::clone(schema), columns);
            batches.push(batch.map_err(DataFusionError::from));
        }
    }
    batches
}

fn binary(batch: &RecordBatch, column: usize) -> EngineResult<&BinaryArray> {
    match batch
        .columns()
        .get(column)
        .and_then(|c| c.as_binary_opt::<i32>())
    {
        Some(bytes) => Ok(bytes),
        None => internal_err!("the sums lack a column"),
    }
}

/// Adds the cells that these bytes are to a total, which has as many or none yet.
fn add_cells(total: &mut Vec<i128>, bytes: &[u8]) -> EngineResult<()> {
    let (cells, rest) = bytes.as_chunks::<16>();
    if total.is_empty() {
        total.resize(cells.len(), 0);
    }
    if !rest.is_empty() || total.len() != cells.len() {
        return internal_err!("a sum with other cells");
    }
    for (total, cell) in total.iter_mut().zip(cells) {
        *total += i128::from_le_bytes(*cell);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::{
        arrow::array::{Int64Array, StringViewArray},
        datasource::MemTable,
        execution::{memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder},
        prelude::SessionConfig,
    };
    use skerry_privacy::{
        analysis::{Partition, measure::Measure},
        contribution::Norm,
        mechanism::{Mechanism, Noise},
    };
    use skerry_proto::{DataType, Delta};

    use super::*;
    use crate::plan::rebuild::{UNIT, amount_name};

    /// Persons of a key, with noise of one of 2^32 units: nobody would see it in a person.
    fn quote(most_keys: u64) -> Quote {
        let persons = Measure::persons(None);
        let noise = Noise::new(Mechanism::DiscreteLaplace, 1, 1).unwrap();
        let delta = Delta::try_from(1e-9).unwrap();
        let threshold = Threshold::new(&noise, 0, persons.most_units(), most_keys, delta).unwrap();
        Quote {
            key_types: vec![DataType::Text, DataType::Integer],
            partition: Partition::Threshold(threshold),
            measures: vec![persons],
            finishes: vec![],
            norm: Norm::L1(1 << 50),
            clipped: Some(1 << 32),
            noise,
            totals_of: None,
        }
    }

    /// In each of three partitions a hundred persons with a row for each of so many keys.
    async fn rows(context: &SessionContext, keys: i64) -> Arc<dyn ExecutionPlan> {
        let schema = Arc::new(Schema::new(vec![
            Field::new(UNIT, ArrowType::Int64, false),
            Field::new(key_name(0), ArrowType::Utf8View, true),
            Field::new(key_name(1), ArrowType::Int64, true),
            Field::new(amount_name(0), ArrowType::Int64, true),
        ]));
        let once = Measure::persons(None).grid.units(1.0);
        let partitions = (0..3)
            .map(|partition| {
                (0..100)
                    .map(|person| {
                        let all = 0..keys;
                        let columns: Vec<ArrayRef> = vec![
                            Arc::new(Int64Array::from_iter_values(
                                all.clone().map(|_| partition * 100 + person),
                            )),
                            Arc::new(StringViewArray::from_iter(
                                all.clone()
                                    .map(|key| (key % 7 > 0).then(|| format!("k{}", key % 7))),
                            )),
                            Arc::new(Int64Array::from_iter_values(all.clone().map(|key| key / 7))),
                            Arc::new(Int64Array::from_iter_values(all.map(|_| once))),
                        ];
                        RecordBatch::try_new(Arc::clone(&schema), columns).unwrap()
                    })
                    .collect()
            })
            .collect();
        let table = MemTable::try_new(schema, partitions).unwrap();
        let frame = context.read_table(Arc::new(table)).unwrap();
        frame.create_physical_plan().await.unwrap()
    }

    async fn released(
        context: &SessionContext,
        quote: &Arc<Quote>,
        keys: i64,
        bytes: usize,
    ) -> (Vec<ReleasedKey>, i128) {
        let secret = RankingSecret::fresh().unwrap();
        let clipped = Arc::new(Mutex::new(0));
        let rows = rows(context, keys).await;
        let plan = by_key(rows, quote, &secret, &clipped, bytes).unwrap();
        let sums = plan.execute(0, context.task_ctx()).unwrap();
        let threshold = *quote.threshold().unwrap();
        let (keys, cut) = above(&threshold, quote, sums).await.unwrap();
        assert!(!cut);
        let clipped = *clipped.lock().unwrap();
        (keys, clipped)
    }

    fn persons(key: &ReleasedKey) -> i64 {
        (key.cells[0] as f64 / f64::from(u32::MAX)).round() as i64
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn sums_in_pieces_come_to_the_same() {
        let context = SessionContext::new();
        let quote = Arc::new(quote(50));
        for bytes in [0, 3_000, usize::MAX] {
            let bytes = bytes.max(3);
            let (keys, clipped) = released(&context, &quote, 50, bytes).await;
            assert_eq!((keys.len(), clipped), (50, 0));
            assert!(keys.iter().all(|key| persons(key) == 300));
            assert!(keys.is_sorted_by(|a, b| a.values < b.values));
            assert_eq!(keys[49].values, [Value::Null, Value::Integer(7)]);
        }
        // With fewer keys of a person all are clipped, and each key has some of them.
        let few = Arc::new(self::quote(10));
        let (keys, clipped) = released(&context, &few, 50, 3_000).await;
        assert_eq!((keys.len(), clipped), (50, 300 << 32));
        assert_eq!(keys.iter().map(persons).sum::<i64>(), 3_000);
        assert!(keys.iter().all(|key| (20..110).contains(&persons(key))));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn many_keys_spill() {
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(40 << 20)))
            .build_arc()
            .unwrap();
        let config = SessionConfig::new()
            .with_target_partitions(1)
            .with_sort_spill_reservation_bytes(6 << 20);
        let context = SessionContext::new_with_config_rt(config, runtime);
        let keys = 3_000;
        let quote = Arc::new(quote(keys as u64));
        let secret = RankingSecret::fresh().unwrap();
        let clipped = Arc::new(Mutex::new(0));
        let rows = rows(&context, keys).await;
        // Each batch's sums are handed on: 900,000 of them, more than the pool holds.
        let plan = by_key(rows, &quote, &secret, &clipped, 3).unwrap();
        let sums = Arc::clone(&plan).execute(0, context.task_ctx()).unwrap();
        let threshold = *quote.threshold().unwrap();
        let (found, _) = above(&threshold, &quote, sums).await.unwrap();
        assert_eq!(found.len() as i64, keys);
        assert!(found.iter().all(|key| persons(key) == 300));
        let spilled: usize = plan
            .children()
            .iter()
            .filter_map(|sort| sort.metrics()?.spill_count())
            .sum();
        assert!(spilled > 0, "nothing spilled");
    }
}
