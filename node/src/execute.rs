//! Trusted. Runs a rebuilt plan and sums what each person contributes.
//!
//! Promise: each person's rows are handed to the bounded sum together, and checked to be: the rows
//! arrive sorted by the unit, and an unsorted row stops the execution. Whatever fails is one error
//! without a cause, since a cause can hang on the data.

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
use skerry_privacy::{analysis::Quote, contribution::BoundedSum, question::Query};
use tokio::task::JoinSet;

use crate::{
    catalogue::{Catalogue, Exchangeable},
    plan::rebuild::{GROUP, Tables, UNIT, rebuild},
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

/// Runs the plan that [`rebuild`] makes of a question.
///
/// # Errors
/// One error, whatever fails.
pub async fn execute(
    query: &Query,
    quote: &Arc<Quote>,
    catalogue: &Catalogue,
    context: &SessionContext,
) -> Result<ExactVector, ExecutionFailed> {
    let sum = bounded_sum(query, quote, catalogue, context)
        .await
        .map_err(|_| ExecutionFailed)?;
    Ok(ExactVector(sum.finish()))
}

async fn bounded_sum(
    query: &Query,
    quote: &Arc<Quote>,
    catalogue: &Catalogue,
    context: &SessionContext,
) -> EngineResult<BoundedSum> {
    let sorted = plan(query, quote, catalogue, context).await?;
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
    query: &Query,
    quote: &Quote,
    catalogue: &Catalogue,
    context: &SessionContext,
) -> EngineResult<Arc<dyn ExecutionPlan>> {
    let mut state = context.state();
    let rows = |tables: &dyn Tables| rebuild(query, quote, catalogue.policy(), tables);
    let Some(prepared) = catalogue.prepared() else {
        return sorted_by_unit(rows(catalogue)?, &state).await;
    };
    let partitions = prepared.manifest().partitions;
    state.config_mut().options_mut().execution.target_partitions = partitions;
    let sorted = sorted_by_unit(rows(catalogue)?, &state).await?;
    if exchanges(&sorted) {
        // The engine takes its own exchange and the prepared tables' for the same.
        sorted_by_unit(rows(&Exchangeable(catalogue))?, &state).await
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
