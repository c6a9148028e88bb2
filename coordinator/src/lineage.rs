//! Which output columns of a plan are a given column of a federated table, unchanged.

use std::sync::Arc;

use datafusion::{
    common::{Column, DFSchema},
    logical_expr::{Expr, JoinType, LogicalPlan},
};

use crate::federated_table::FederatedTable;

/// One flag per output column of `plan`: whether it carries, unchanged, the column that
/// `wanted` names for the table that it comes from.
pub(crate) fn carried(
    plan: &LogicalPlan,
    wanted: &dyn Fn(&FederatedTable) -> Option<String>,
) -> Vec<bool> {
    found(plan, wanted, false)
}

/// The same, also where the column is NULL because an outer join found no match.
pub(crate) fn carried_or_null(
    plan: &LogicalPlan,
    wanted: &dyn Fn(&FederatedTable) -> Option<String>,
) -> Vec<bool> {
    found(plan, wanted, true)
}

fn found(
    plan: &LogicalPlan,
    wanted: &dyn Fn(&FederatedTable) -> Option<String>,
    or_null: bool,
) -> Vec<bool> {
    let carried = |plan: &LogicalPlan, wanted| found(plan, wanted, or_null);
    let width = plan.schema().fields().len();
    match plan {
        LogicalPlan::TableScan(scan) => {
            let name = FederatedTable::of(scan).and_then(|table| wanted(&table));
            let fields = scan.projected_schema.fields();
            fields
                .iter()
                .map(|field| Some(field.name()) == name.as_ref())
                .collect()
        }
        LogicalPlan::Projection(projection) => {
            let below = carried(&projection.input, wanted);
            let schema = projection.input.schema();
            projection
                .expr
                .iter()
                .map(|expr| is_carried(expr, schema, &below))
                .collect()
        }
        LogicalPlan::Aggregate(aggregate) => {
            let below = carried(&aggregate.input, wanted);
            let schema = aggregate.input.schema();
            // A column that is the same on all rows of a group is any of its values; `DISTINCT ON`
            // brings that.
            let keys: Vec<&Expr> = aggregate.group_expr.iter().collect();
            let one_of = |expr: &Expr| match expr {
                Expr::AggregateFunction(function) => {
                    let of_any = matches!(
                        function.func.name(),
                        "first_value" | "last_value" | "min" | "max"
                    );
                    let own = |argument: &Expr| keys.contains(&argument);
                    of_any
                        && function.params.filter.is_none()
                        && matches!(function.params.args.as_slice(), [argument]
                            if own(argument) && is_carried(argument, schema, &below))
                }
                _ => false,
            };
            let of_keys = aggregate.group_expr.iter();
            let mut flags: Vec<bool> = of_keys
                .map(|expr| is_carried(expr, schema, &below))
                .collect();
            // Grouping sets have columns of their own.
            flags.resize(width - aggregate.aggr_expr.len(), false);
            flags.extend(aggregate.aggr_expr.iter().map(one_of));
            flags
        }
        LogicalPlan::Window(window) => padded(carried(&window.input, wanted), width),
        LogicalPlan::Join(join) => {
            let left = || carried(&join.left, wanted);
            let right = || carried(&join.right, wanted);
            let none = |flags: Vec<bool>| flags.into_iter().map(|flag| flag && or_null).collect();
            let flags = match join.join_type {
                JoinType::Left => [left(), none(right())].concat(),
                JoinType::Right => [none(left()), right()].concat(),
                JoinType::Full => [none(left()), none(right())].concat(),
                JoinType::Inner => [left(), right()].concat(),
                JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => left(),
                JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => right(),
            };
            padded(flags, width)
        }
        LogicalPlan::Union(union) => union
            .inputs
            .iter()
            .map(|input| carried(input, wanted))
            .reduce(|a, b| a.into_iter().zip(b).map(|(a, b)| a && b).collect())
            .map_or_else(|| vec![false; width], |flags| padded(flags, width)),
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Distinct(_) => match plan.inputs().first() {
            Some(input) => padded(carried(input, wanted), width),
            None => vec![false; width],
        },
        _ => vec![false; width],
    }
}

fn padded(mut flags: Vec<bool>, width: usize) -> Vec<bool> {
    flags.resize(width, false);
    flags
}

/// Whether an expression is nothing but a carried column.
pub(crate) fn is_carried(expr: &Expr, schema: &Arc<DFSchema>, below: &[bool]) -> bool {
    match expr {
        Expr::Column(column) => index(schema, column).is_some_and(|at| below[at]),
        Expr::Alias(alias) => is_carried(&alias.expr, schema, below),
        _ => false,
    }
}

/// Where a column is in a schema.
pub(crate) fn index(schema: &DFSchema, column: &Column) -> Option<usize> {
    schema.maybe_index_of_column(column)
}

/// The unit's column of a private table.
pub(crate) fn unit(table: &FederatedTable) -> Option<String> {
    table.unit.clone()
}
