//! Trusted. Runs a rebuilt plan and sums what each person contributes.
//!
//! Promise: each person's rows are handed to the bounded sum together, and checked to be: the rows
//! arrive sorted by the unit, and an unsorted row stops the execution. Whatever fails is one error
//! without a cause, since a cause can hang on the data.

use std::sync::Arc;

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
        ExecutionPlan, Partitioning, repartition::RepartitionExec, sorts::sort::SortExec,
    },
    prelude::SessionContext,
};
use futures::StreamExt as _;
use skerry_privacy::{analysis::Quote, contribution::BoundedSum};
use tokio::task::JoinSet;

use crate::plan::rebuild::{GROUP, UNIT};

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

/// Runs a plan made by [`rebuild`](crate::plan::rebuild::rebuild).
///
/// # Errors
/// One error, whatever fails.
pub async fn execute(
    plan: LogicalPlan,
    quote: &Arc<Quote>,
    context: &SessionContext,
) -> Result<ExactVector, ExecutionFailed> {
    let sum = bounded_sum(plan, quote, context)
        .await
        .map_err(|_| ExecutionFailed)?;
    Ok(ExactVector(sum.finish()))
}

async fn bounded_sum(
    plan: LogicalPlan,
    quote: &Arc<Quote>,
    context: &SessionContext,
) -> EngineResult<BoundedSum> {
    let state = context.state();
    let sorted = sorted_by_unit(plan, &state).await?;
    let task = context.task_ctx();
    let partitions = sorted.properties().output_partitioning().partition_count();
    let mut tasks = JoinSet::new();
    for partition in 0..partitions {
        let work = sum_partition(
            Arc::clone(&sorted),
            partition,
            Arc::clone(&task),
            Arc::clone(quote),
        );
        tasks.spawn(work);
    }
    let mut total = empty_sum(quote);
    while let Some(finished) = tasks.join_next().await {
        match finished {
            Ok(sum) => total.merge(sum?),
            Err(_) => return internal_err!("a partition panicked"),
        }
    }
    Ok(total)
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
    let partitions = state.config().target_partitions();
    let exchanged = RepartitionExec::try_new(
        rows,
        Partitioning::Hash(vec![Arc::clone(&unit)], partitions),
    )?;
    let Some(order) = LexOrdering::new([PhysicalSortExpr::new_default(unit)]) else {
        return internal_err!("no order by the unit");
    };
    Ok(Arc::new(
        SortExec::new(order, Arc::new(exchanged)).with_preserve_partitioning(true),
    ))
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
        add_batch(&batch?, &mut sum, &mut person)?;
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

fn add_batch(
    batch: &RecordBatch,
    sum: &mut BoundedSum,
    person: &mut CurrentPerson,
) -> EngineResult<()> {
    let (Some(unit), Some(group)) = (batch.column_by_name(UNIT), batch.column_by_name(GROUP))
    else {
        return internal_err!("the plan lacks its own columns");
    };
    let groups: &UInt32Array = group.as_primitive::<UInt32Type>();
    let amounts: Vec<_> = batch
        .columns()
        .iter()
        .skip(2)
        .map(|column| column.as_primitive::<Int64Type>())
        .collect();
    let integer = unit.data_type().is_integer();
    let unit = compute::cast(
        unit,
        if integer {
            &ArrowType::Int64
        } else {
            &ArrowType::Utf8
        },
    )?;
    if unit.null_count() > 0 || groups.null_count() > 0 {
        return internal_err!("a row belongs to nobody, or to no group");
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
            sum.finish_person();
            *person = next;
        }
        let of_row = amounts
            .iter()
            .map(|amounts| amounts.is_valid(row).then(|| amounts.value(row)));
        if sum.add(groups.value(row) as usize, of_row).is_err() {
            return internal_err!("a row is outside the groups");
        }
    }
    Ok(())
}
