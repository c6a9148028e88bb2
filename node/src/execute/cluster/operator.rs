//! Trusted. The operator at the top of a plan that runs on a cluster: it sums what each person contributes,
//! where the rows are.
//!
//! Promise: what leaves are sums of clipped vectors of whole persons: of each once, all of one bucket of the
//! engine's hash of the unit, see [`Parts`](super::parts::Parts).

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, BinaryArray, BooleanArray, RecordBatch, UInt32Array, UInt64Array},
        datatypes::{DataType as ArrowType, Field, Schema, SchemaRef},
    },
    common::{
        Result as EngineResult, hash_utils::create_hashes, internal_err,
        tree_node::TreeNodeRecursion,
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{
        EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr, PhysicalSortExpr,
        expressions::col,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, ExecutionPlanProperties as _,
        InputDistributionRequirements, Partitioning, PlanProperties,
        execution_plan::{
            Boundedness, ChildrenPropertiesMode, EmissionType, ReplaceChildrenOptions,
        },
        repartition::REPARTITION_RANDOM_STATE,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use skerry_privacy::contribution::{BoundedSum, Bounding, KeyedSum, RankingSecret};
use uuid::Uuid;

use super::parts::{BUCKET, CELLS, KEY, LAST, NUMBER, RUN};
use crate::{
    execute::{CurrentPerson, add_batch, keyed::OfKeys},
    plan::rebuild::UNIT,
};

/// Sums of keys are handed on before they take more than about this.
const SUMS_BYTES: usize = 16 << 20;
/// Parts in one batch, at most.
const PARTS_AT_ONCE: usize = 4_096;

/// What is summed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Work {
    bounding: Bounding,
    /// Where keys aren't known beforehand.
    secret: Option<RankingSecret>,
    /// Of the whole plan; a task may have some of them.
    partitions: usize,
}

/// The operator.
#[derive(Debug)]
pub(super) struct PersonSums {
    rows: Arc<dyn ExecutionPlan>,
    work: Arc<Work>,
    unit: PhysicalSortExpr,
    properties: Arc<PlanProperties>,
}

impl PersonSums {
    pub(super) fn new(
        rows: Arc<dyn ExecutionPlan>,
        bounding: Bounding,
        secret: Option<RankingSecret>,
        partitions: usize,
    ) -> EngineResult<Self> {
        if bounding.is_keyed() != secret.is_some() {
            return internal_err!("keys are ranked where they aren't known beforehand");
        }
        let work = Work {
            bounding,
            secret,
            partitions,
        };
        Self::over(rows, Arc::new(work))
    }

    pub(super) fn over(rows: Arc<dyn ExecutionPlan>, work: Arc<Work>) -> EngineResult<Self> {
        let unit = PhysicalSortExpr::new_default(col(UNIT, &rows.schema())?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema()),
            Partitioning::UnknownPartitioning(rows.output_partitioning().partition_count()),
            EmissionType::Final,
            Boundedness::Bounded,
        );
        Ok(Self {
            rows,
            work,
            unit,
            properties: Arc::new(properties),
        })
    }

    pub(super) fn work(&self) -> &Work {
        &self.work
    }
}

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new(RUN, ArrowType::Binary, false),
        Field::new(NUMBER, ArrowType::UInt64, false),
        Field::new(BUCKET, ArrowType::UInt32, true),
        Field::new(KEY, ArrowType::Binary, true),
        Field::new(CELLS, ArrowType::Binary, false),
        Field::new(LAST, ArrowType::Boolean, false),
    ]))
}

impl DisplayAs for PersonSums {
    fn fmt_as(&self, _: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("PersonSums")
    }
}

impl ExecutionPlan for PersonSums {
    fn name(&self) -> &'static str {
        "PersonSums"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.rows]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let by_unit = Distribution::KeyPartitioned(vec![Arc::clone(&self.unit.expr)]);
        InputDistributionRequirements::new(vec![by_unit])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![LexOrdering::new([self.unit.clone()]).map(OrderingRequirements::from)]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let (Some(rows), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("sums have one input");
        };
        Ok(Arc::new(Self::over(rows, Arc::clone(&self.work))?))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let mode = ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(mode))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let run = Run {
            rows: self.rows.execute(partition, context)?,
            sums: Some(Sums::new(&self.work)?),
            measures: self.work.bounding.measures(),
            person: CurrentPerson::None,
            partitions: self.work.partitions,
            id: *Uuid::new_v4().as_bytes(),
            number: 0,
            bucket: None,
            waiting: vec![],
            ended: false,
        };
        let batches = stream::try_unfold(run, async |mut run| {
            Ok(run.next().await?.map(|batch| (batch, run)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema(), batches)))
    }
}

/// The sums of a partition, either kind.
enum Sums {
    Groups(BoundedSum),
    Keys(OfKeys),
}

impl Sums {
    fn new(work: &Work) -> EngineResult<Self> {
        let Some(secret) = &work.secret else {
            return Ok(Self::Groups(BoundedSum::of(&work.bounding)));
        };
        match KeyedSum::of(&work.bounding, secret.clone()) {
            Some(sum) => Ok(Self::Keys(OfKeys::new(sum))),
            None => internal_err!("the groups are public"),
        }
    }
}

/// One part: the key's bytes, if it is of a key, and cells.
type Waiting = (Option<Vec<u8>>, Vec<u8>);

/// A partition on its way.
struct Run {
    rows: SendableRecordBatchStream,
    /// Nothing once they are handed on.
    sums: Option<Sums>,
    measures: usize,
    person: CurrentPerson,
    partitions: usize,
    id: [u8; 16],
    number: u64,
    bucket: Option<u32>,
    waiting: Vec<Waiting>,
    ended: bool,
}

impl Run {
    /// The next parts.
    async fn next(&mut self) -> EngineResult<Option<RecordBatch>> {
        loop {
            // The last part of all is known to be that only at the end.
            if self.waiting.len() > PARTS_AT_ONCE || self.ended && !self.waiting.is_empty() {
                let taken = self.waiting.len().min(PARTS_AT_ONCE);
                let parts = self.waiting.drain(..taken).collect();
                return self.batch(parts).map(Some);
            }
            if self.ended {
                return Ok(None);
            }
            match self.rows.next().await {
                Some(batch) => self.add(&batch?)?,
                None => self.end(),
            }
            // A long run must not keep other tasks waiting.
            tokio::task::yield_now().await;
        }
    }

    fn add(&mut self, batch: &RecordBatch) -> EngineResult<()> {
        self.of_one_bucket(batch)?;
        match &mut self.sums {
            None => internal_err!("rows after the end"),
            Some(Sums::Groups(sum)) => add_batch(batch, self.measures, sum, &mut self.person),
            Some(Sums::Keys(of_keys)) => {
                add_batch(batch, self.measures, of_keys, &mut self.person)?;
                if of_keys.sum.bytes() >= SUMS_BYTES {
                    self.waiting.extend(keys(of_keys));
                }
                Ok(())
            }
        }
    }

    /// All rows are of persons of one bucket.
    fn of_one_bucket(&mut self, batch: &RecordBatch) -> EngineResult<()> {
        let Some(unit) = batch.column_by_name(UNIT) else {
            return internal_err!("the plan lacks its own columns");
        };
        let mut hashes = vec![0; batch.num_rows()];
        create_hashes([unit], REPARTITION_RANDOM_STATE.random_state(), &mut hashes)?;
        for hash in hashes {
            let bucket = (hash % self.partitions.max(1) as u64) as u32;
            if *self.bucket.get_or_insert(bucket) != bucket {
                return internal_err!("a partition has persons of another");
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.ended = true;
        match self.sums.take() {
            None => {}
            Some(Sums::Groups(sum)) => self.waiting.push((None, bytes(&sum.into_totals()))),
            Some(Sums::Keys(mut of_keys)) => {
                of_keys.sum.finish_person();
                self.waiting.extend(keys(&mut of_keys));
                self.waiting.push((None, bytes(&[of_keys.sum.clipped()])));
            }
        }
    }

    fn batch(&mut self, parts: Vec<Waiting>) -> EngineResult<RecordBatch> {
        let count = parts.len();
        let first = self.number;
        self.number += count as u64;
        let last = self.ended && self.waiting.is_empty();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(BinaryArray::from_iter_values(vec![self.id; count])),
            Arc::new(UInt64Array::from_iter_values(first..self.number)),
            Arc::new(UInt32Array::from(vec![self.bucket; count])),
            Arc::new(
                parts
                    .iter()
                    .map(|(key, _)| key.as_deref())
                    .collect::<BinaryArray>(),
            ),
            Arc::new(BinaryArray::from_iter_values(
                parts.iter().map(|(_, cells)| cells),
            )),
            Arc::new(
                (1..=count)
                    .map(|part| Some(last && part == count))
                    .collect::<BooleanArray>(),
            ),
        ];
        Ok(RecordBatch::try_new(schema(), columns)?)
    }
}

/// The sums of keys so far.
fn keys(of_keys: &mut OfKeys) -> impl Iterator<Item = Waiting> + use<> {
    let sums = of_keys.sum.take().into_iter();
    sums.map(|(key, cells)| (Some(key.as_bytes().to_vec()), bytes(&cells)))
}

fn bytes(cells: &[i128]) -> Vec<u8> {
    cells.iter().flat_map(|cell| cell.to_le_bytes()).collect()
}
