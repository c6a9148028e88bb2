//! `GROUPING SETS`, `ROLLUP` and `CUBE`: one aggregate for each set, joined by UNION ALL. A node
//! answers plain groups only, and each set is a release of its own.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType,
    common::{
        Column, DFSchema, DataFusionError, Result as PlanResult, ScalarValue, TableReference,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Aggregate, Expr, GroupingSet, LogicalPlan, Projection, Union, lit},
};
use skerry_proto::{ErrorCode, Refusal, planning};

use crate::{frontier::FRONTIERS, frontier::private_table, refuse::refuse};

/// Writes every aggregate over several sets of keys as a union of plain ones. Its schema stays: the keys,
/// NULL where a set doesn't have them, `__grouping_id`, the aggregates.
///
/// Aggregates over public tables alone stay as they are, and so do those that only ask which values occur,
/// which is refused later.
pub(crate) fn expand(plan: LogicalPlan) -> Result<LogicalPlan, Refusal> {
    let mut refusal = None;
    let expanded = plan.transform_up(|node| match node {
        LogicalPlan::Aggregate(aggregate)
            if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)])
                && !aggregate.aggr_expr.is_empty()
                && private_table(&aggregate.input).is_some() =>
        {
            match sets(&aggregate.group_expr) {
                Ok(sets) => union(&aggregate, &sets).map(Transformed::yes),
                Err(too_many) => {
                    refusal = Some(too_many);
                    Err(DataFusionError::Plan("refused".to_owned()))
                }
            }
        }
        node => Ok(Transformed::no(node)),
    });
    match (refusal, expanded) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(plan)) => Ok(plan.data),
        (None, Err(error)) => Err(planning::refusal(&error, &[])),
    }
}

/// All keys in the order of the aggregate's schema, and of each set which keys it has.
struct Sets {
    keys: Vec<Expr>,
    members: Vec<Vec<bool>>,
}

fn sets(group_expr: &[Expr]) -> Result<Sets, Refusal> {
    let [Expr::GroupingSet(set)] = group_expr else {
        return refuse(ErrorCode::Unsupported, "these grouping sets", "");
    };
    let keys: Vec<Expr> = set.distinct_expr().into_iter().cloned().collect();
    let width = keys.len();
    let too_many = |count: Option<usize>| count.is_none_or(|count| count > FRONTIERS);
    let count = match set {
        GroupingSet::Rollup(_) => Some(width + 1),
        GroupingSet::Cube(_) => 1_usize.checked_shl(u32::try_from(width).unwrap_or(u32::MAX)),
        GroupingSet::GroupingSets(sets) => Some(sets.len()),
    };
    if too_many(count) {
        return refuse(
            ErrorCode::TooLarge,
            format!("more than {FRONTIERS} grouping sets, each a release of its own"),
            "Name the sets that are wanted: GROUP BY GROUPING SETS ((a, b), (a), ()).",
        );
    }
    let members = match set {
        GroupingSet::Rollup(_) => (0..=width)
            .rev()
            .map(|first| (0..width).map(|key| key < first).collect())
            .collect(),
        GroupingSet::Cube(_) => (0..1_usize << width)
            .map(|left_out| {
                (0..width)
                    .map(|key| left_out >> (width - 1 - key) & 1 == 0)
                    .collect()
            })
            .collect(),
        GroupingSet::GroupingSets(sets) => sets
            .iter()
            .map(|set| keys.iter().map(|key| set.contains(key)).collect())
            .collect(),
    };
    Ok(Sets { keys, members })
}

fn union(aggregate: &Aggregate, sets: &Sets) -> PlanResult<LogicalPlan> {
    let mut branches = Vec::with_capacity(sets.members.len());
    for (at, members) in sets.members.iter().enumerate() {
        // The same set again has the next number, so that its rows are told apart.
        let before = sets.members[..at].iter().filter(|other| *other == members);
        let branch = branch(aggregate, &sets.keys, members, before.count())?;
        branches.push(Arc::new(branch));
    }
    let all = match branches.len() {
        1 => branches.remove(0),
        _ => Arc::new(LogicalPlan::Union(Union::try_new(branches)?)),
    };
    let exprs = aggregate
        .schema
        .iter()
        .enumerate()
        .map(|(at, (relation, field))| {
            let column = Expr::Column(Column::new_unqualified(hidden(at)));
            column.alias_qualified(relation.cloned(), field.name())
        })
        .collect();
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, all)?))
}

/// The columns' names within the union, where qualifiers would get lost.
fn hidden(at: usize) -> String {
    format!("__set_{at}")
}

/// One set's aggregate, with the columns of all.
fn branch(
    aggregate: &Aggregate,
    keys: &[Expr],
    members: &[bool],
    before: usize,
) -> PlanResult<LogicalPlan> {
    let own: Vec<Expr> = keys
        .iter()
        .zip(members)
        .filter(|(_, member)| **member)
        .map(|(key, _)| key.clone())
        .collect();
    let plain = Aggregate::try_new(
        Arc::clone(&aggregate.input),
        own,
        aggregate.aggr_expr.clone(),
    )?;
    let mut columns = columns(&plain.schema).into_iter();
    let mut next = || {
        let missing = || DataFusionError::Internal("a grouping set without its column".to_owned());
        columns.next().ok_or_else(missing)
    };
    let mut exprs = Vec::with_capacity(aggregate.schema.fields().len());
    for (field, member) in aggregate.schema.fields().iter().zip(members) {
        exprs.push(if *member {
            next()?
        } else {
            lit(ScalarValue::try_from(field.data_type())?)
        });
    }
    let id = aggregate.schema.field(keys.len());
    debug_assert_eq!(id.name(), Aggregate::INTERNAL_GROUPING_ID);
    exprs.push(lit(grouping_id(members, before, id.data_type())?));
    for _ in &aggregate.aggr_expr {
        exprs.push(next()?);
    }
    let exprs = exprs
        .into_iter()
        .enumerate()
        .map(|(at, expr)| expr.alias_qualified(None::<TableReference>, hidden(at)))
        .collect();
    let plain = Arc::new(LogicalPlan::Aggregate(plain));
    Ok(LogicalPlan::Projection(Projection::try_new(exprs, plain)?))
}

fn columns(schema: &DFSchema) -> Vec<Expr> {
    schema.columns().into_iter().map(Expr::Column).collect()
}

/// What `GROUPING(…)` is computed from: a bit for each key, set where it is left out, the last key lowest;
/// above them how many equal sets came before.
fn grouping_id(members: &[bool], before: usize, data_type: &DataType) -> PlanResult<ScalarValue> {
    let left_out = members
        .iter()
        .fold(0_u64, |bits, member| bits << 1 | u64::from(!member));
    let number = match before {
        0 => 0,
        before => u32::try_from(members.len())
            .ok()
            .and_then(|width| (before as u64).checked_shl(width))
            .ok_or_else(|| DataFusionError::Plan("too many grouping columns".to_owned()))?,
    };
    ScalarValue::UInt64(Some(left_out | number)).cast_to(data_type)
}
