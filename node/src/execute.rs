//! Trusted. Runs a question and sums what each person contributes: by a [`Pass`] over prepared
//! tables, or by a rebuilt plan, here or on a [`Cluster`].
//!
//! Promise: what comes of it is an exact vector that goes into the mechanism, or, where keys aren't known
//! beforehand, what the mechanism has released already: exact sums of keys are nowhere kept. Each person's rows are handed to the bounded sum together, and checked to be: the rows
//! arrive sorted by the unit, and an unsorted row stops the execution. Whatever fails is one error
//! without a cause, since a cause can hang on the data.

mod cluster;
mod conditions;
mod keyed;

pub use cluster::{Cluster, RegionCodec};
pub(crate) use conditions::rules;
pub use keyed::NoisyKeys;

use std::{num::NonZero, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, AsArray, RecordBatch, UInt32Array},
        compute,
        datatypes::{DataType as ArrowType, Int64Type, UInt32Type},
    },
    common::{Result as EngineResult, internal_err},
    execution::{SessionState, TaskContext},
    logical_expr::LogicalPlan,
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::col},
    physical_plan::{
        Distribution, ExecutionPlan, Partitioning, repartition::RepartitionExec,
        sorts::sort::SortExec,
    },
    prelude::SessionContext,
};
use futures::StreamExt as _;
use skerry_privacy::{
    analysis::{Partition, Quote},
    contribution::BoundedSum,
    question::Query,
};
use tokio::task::JoinSet;

use crate::{
    catalogue::{Catalogue, Exchangeable},
    pass::Pass,
    plan::rebuild::{GROUP, UNIT, amount_name, rebuild},
};

/// The execution failed. Why can hang on the data, so nothing more is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the question failed")]
pub struct ExecutionFailed;

/// The vector of a question, before noise.
#[derive(Debug)]
pub struct ExactVector(Vec<i64>);

impl ExactVector {
    /// The cells, group by group, for the mechanism alone.
    pub(crate) fn cells(&self) -> &[i64] {
        &self.0
    }
}

/// What came of an execution.
#[derive(Debug)]
pub enum Outcome {
    /// Of the groups that the quote names, before noise.
    Exact(ExactVector),
    /// Of keys that reached the threshold, after noise.
    AboveThreshold(NoisyKeys),
}

/// A question made ready to run, from the question, the quote and the policy alone.
#[derive(Debug)]
pub struct Ready(Way);

#[derive(Debug)]
enum Way {
    /// One pass over prepared tables.
    Pass(Arc<Pass>),
    /// The engine's own plan.
    Plan(LogicalPlan),
}

impl Ready {
    /// Makes a question ready. No data are read.
    ///
    /// # Errors
    /// If the engine refuses a part, which is a fault of this code or of the files.
    pub fn new(
        query: &Query,
        quote: &Quote,
        catalogue: &Catalogue,
        context: &SessionContext,
    ) -> EngineResult<Self> {
        let policy = catalogue.policy();
        if let Some(prepared) = catalogue.prepared() {
            // What can't be made ready for a pass has a plan.
            let pass = Pass::new(query, quote, policy, prepared, &context.state());
            if let Ok(Some(pass)) = pass {
                return Ok(Self(Way::Pass(Arc::new(pass))));
            }
        }
        let plan = rebuild(query, quote, policy, catalogue)?;
        Ok(Self(Way::Plan(plan)))
    }
}

/// Whether what was made ready can run where it is to run. No data are read.
///
/// # Errors
/// If it can't.
pub async fn can_run(
    ready: &Ready,
    quote: &Quote,
    context: &SessionContext,
    cluster: Option<&dyn Cluster>,
) -> Result<(), ExecutionFailed> {
    match (&ready.0, cluster) {
        (Way::Plan(rows), Some(cluster)) => cluster::carries(rows, quote, cluster, context)
            .await
            .map_err(|_| ExecutionFailed),
        (Way::Pass(_), _) | (Way::Plan(_), None) => Ok(()),
    }
}

/// Runs a question that was made ready.
///
/// # Errors
/// One error, whatever fails.
pub async fn execute(
    ready: &Ready,
    query: &Query,
    quote: &Arc<Quote>,
    catalogue: &Catalogue,
    context: &SessionContext,
    cluster: Option<&dyn Cluster>,
) -> Result<Outcome, ExecutionFailed> {
    let exact = |sum: BoundedSum| Outcome::Exact(ExactVector(sum.finish()));
    match (&ready.0, &quote.partition, cluster) {
        (Way::Pass(pass), _, _) => pass.run(quote).await.map(exact),
        (Way::Plan(rows), Partition::Public(_), Some(cluster)) => {
            cluster::by_cluster(rows, quote, cluster, context)
                .await
                .map(exact)
        }
        (Way::Plan(rows), Partition::Threshold(threshold), Some(cluster)) => {
            cluster::keys_by_cluster(threshold, rows, quote, cluster, context)
                .await
                .map(Outcome::AboveThreshold)
        }
        (Way::Plan(rows), Partition::Public(_), None) => {
            by_plan(rows.clone(), query, quote, catalogue, context)
                .await
                .map(exact)
        }
        (Way::Plan(rows), Partition::Threshold(threshold), None) => {
            keyed::keys_above(threshold, rows.clone(), query, quote, catalogue, context)
                .await
                .map(Outcome::AboveThreshold)
        }
    }
    .map_err(|_| ExecutionFailed)
}

/// The vector by the engine's own plan.
pub(crate) async fn by_plan(
    rows: LogicalPlan,
    query: &Query,
    quote: &Arc<Quote>,
    catalogue: &Catalogue,
    context: &SessionContext,
) -> EngineResult<BoundedSum> {
    let sorted = plan(rows, query, quote, catalogue, context).await?;
    // Partitions between which rows are exchanged wait for each other; others can take turns.
    let at_once = if exchanges(&sorted) {
        usize::MAX
    } else {
        std::thread::available_parallelism().map_or(1, NonZero::get)
    };
    let task = context.task_ctx();
    let mut waiting = 0..sorted.properties().output_partitioning().partition_count();
    let mut tasks = JoinSet::new();
    let mut total = empty_sum(quote);
    loop {
        while tasks.len() < at_once
            && let Some(partition) = waiting.next()
        {
            let (plan, task, quote) = (Arc::clone(&sorted), Arc::clone(&task), Arc::clone(quote));
            tasks.spawn(sum_partition(plan, partition, task, quote));
        }
        match tasks.join_next().await {
            Some(Ok(sum)) => total.merge(sum?),
            Some(Err(_)) => return internal_err!("a partition panicked"),
            None => return Ok(total),
        }
    }
}

/// The plan of a question's rows, those of each person together.
pub(crate) async fn plan(
    rows: LogicalPlan,
    query: &Query,
    quote: &Quote,
    catalogue: &Catalogue,
    context: &SessionContext,
) -> EngineResult<Arc<dyn ExecutionPlan>> {
    let mut state = context.state();
    let Some(prepared) = catalogue.prepared() else {
        return sorted_by_unit(rows, &state).await;
    };
    // With a single partition the engine would take hash joins; see `engine`.
    let partitions = prepared.manifest().partitions.max(2);
    state.config_mut().options_mut().execution.target_partitions = partitions;
    let sorted = sorted_by_unit(rows, &state).await?;
    if exchanges(&sorted) {
        // The engine takes its own exchange and the prepared tables' for the same.
        let tables = Exchangeable(catalogue);
        let rows = rebuild(query, quote, catalogue.policy(), &tables)?;
        sorted_by_unit(rows, &state).await
    } else {
        Ok(sorted)
    }
}

fn empty_sum(quote: &Quote) -> BoundedSum {
    BoundedSum::new(quote)
}

/// All rows of a person in one partition, and next to each other within it.
async fn sorted_by_unit(
    plan: LogicalPlan,
    state: &SessionState,
) -> EngineResult<Arc<dyn ExecutionPlan>> {
    let rows = state.create_physical_plan(&plan).await?;
    let unit = col(UNIT, &rows.schema())?;
    let order = PhysicalSortExpr::new_default(Arc::clone(&unit));
    let properties = rows.properties();
    let equivalence = properties.equivalence_properties();
    let by_unit = Distribution::KeyPartitioned(vec![Arc::clone(&unit)]);
    let together = properties
        .output_partitioning()
        .satisfaction(&by_unit, equivalence, false)
        .is_satisfied();
    let exchanged = if together {
        rows
    } else {
        let partitions = state.config().target_partitions();
        let by_unit = Partitioning::Hash(vec![unit], partitions);
        Arc::new(RepartitionExec::try_new(rows, by_unit)?)
    };
    let equivalence = exchanged.properties().equivalence_properties();
    if equivalence.ordering_satisfy([order.clone()])? {
        return Ok(exchanged);
    }
    let Some(order) = LexOrdering::new([order]) else {
        return internal_err!("no order by the unit");
    };
    Ok(Arc::new(
        SortExec::new(order, exchanged).with_preserve_partitioning(true),
    ))
}

/// Whether the engine sends rows from partition to partition by a hash.
fn exchanges(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let exchanges = plan
        .downcast_ref::<RepartitionExec>()
        .is_some_and(|exchange| matches!(exchange.partitioning(), Partitioning::Hash(_, _)));
    exchanges || plan.children().into_iter().any(self::exchanges)
}

async fn sum_partition(
    plan: Arc<dyn ExecutionPlan>,
    partition: usize,
    task: Arc<TaskContext>,
    quote: Arc<Quote>,
) -> EngineResult<BoundedSum> {
    let mut rows = plan.execute(partition, task)?;
    let mut sum = empty_sum(&quote);
    let mut person = CurrentPerson::None;
    while let Some(batch) = rows.next().await {
        add_batch(&batch?, quote.rows().measures.len(), &mut sum, &mut person)?;
        // A long run must not keep other questions waiting.
        tokio::task::yield_now().await;
    }
    Ok(sum)
}

/// The person whose rows are being added.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CurrentPerson {
    None,
    Integer(i64),
    Text(String),
}

/// What takes persons' rows, one person after the other.
trait PersonSums {
    /// A batch's groups.
    type Groups<'a>;

    /// Reads a batch's groups.
    fn groups<'a>(&self, batch: &'a RecordBatch) -> EngineResult<Self::Groups<'a>>;

    /// Ends the last person, if there is one, and begins this.
    fn start_person(&mut self, person: &CurrentPerson);

    /// Adds a row of the current person.
    fn add_row(
        &mut self,
        groups: &Self::Groups<'_>,
        row: usize,
        amounts: impl Iterator<Item = Option<i64>>,
    ) -> EngineResult<()>;
}

impl PersonSums for BoundedSum {
    type Groups<'a> = &'a UInt32Array;

    fn groups<'a>(&self, batch: &'a RecordBatch) -> EngineResult<Self::Groups<'a>> {
        let groups = batch
            .column_by_name(GROUP)
            .and_then(|group| group.as_primitive_opt::<UInt32Type>());
        match groups {
            Some(groups) if groups.null_count() == 0 => Ok(groups),
            Some(_) | None => internal_err!("a row belongs to no group"),
        }
    }

    fn start_person(&mut self, _person: &CurrentPerson) {
        self.finish_person();
    }

    fn add_row(
        &mut self,
        groups: &Self::Groups<'_>,
        row: usize,
        amounts: impl Iterator<Item = Option<i64>>,
    ) -> EngineResult<()> {
        match self.add(groups.value(row) as usize, amounts) {
            Ok(()) => Ok(()),
            Err(_) => internal_err!("a row is outside the groups"),
        }
    }
}

fn add_batch<S: PersonSums>(
    batch: &RecordBatch,
    measures: usize,
    sum: &mut S,
    person: &mut CurrentPerson,
) -> EngineResult<()> {
    let Some(unit) = batch.column_by_name(UNIT) else {
        return internal_err!("the plan lacks its own columns");
    };
    let groups = sum.groups(batch)?;
    let mut amounts = Vec::with_capacity(measures);
    for measure in 0..measures {
        let amount = batch
            .column_by_name(&amount_name(measure))
            .and_then(|amount| amount.as_primitive_opt::<Int64Type>());
        match amount {
            Some(amount) => amounts.push(amount),
            None => return internal_err!("the plan lacks its own columns"),
        }
    }
    let integer = unit.data_type().is_integer();
    let unit = compute::cast(
        unit,
        if integer {
            &ArrowType::Int64
        } else {
            &ArrowType::Utf8
        },
    )?;
    if unit.null_count() > 0 {
        return internal_err!("a row belongs to nobody");
    }
    let integers = unit.as_primitive_opt::<Int64Type>();
    let texts = unit.as_string_opt::<i32>();
    for row in 0..batch.num_rows() {
        let same = match (&*person, integers, texts) {
            (CurrentPerson::Integer(current), Some(units), _) => *current == units.value(row),
            (CurrentPerson::Text(current), _, Some(units)) => current == units.value(row),
            (CurrentPerson::None | CurrentPerson::Integer(_) | CurrentPerson::Text(_), _, _) => {
                false
            }
        };
        if !same {
            let next = match (integers, texts) {
                (Some(units), _) => CurrentPerson::Integer(units.value(row)),
                (None, Some(units)) => CurrentPerson::Text(units.value(row).to_owned()),
                (None, None) => return internal_err!("the unit is neither integer nor text"),
            };
            if next < *person {
                return internal_err!("the rows are not sorted by the unit");
            }
            sum.start_person(&next);
            *person = next;
        }
        let of_row = amounts
            .iter()
            .map(|amounts| amounts.is_valid(row).then(|| amounts.value(row)));
        sum.add_row(&groups, row, of_row)?;
    }
    Ok(())
}
