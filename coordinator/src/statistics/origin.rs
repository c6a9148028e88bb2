//! Which statistic a column of an answer is, through whatever passes it on unchanged, and the
//! parts of it that the statement did not ask for.

use std::sync::Arc;

use datafusion::{
    common::{Column, Result},
    logical_expr::{
        Aggregate, Expr, Join, JoinType, LogicalPlan, Projection, SubqueryAlias,
        expr::{AggregateFunction, ScalarFunction},
    },
};

use super::{
    combined::Combined,
    estimate::Part,
    function::{Description, Function},
    udf::{RowFunction, RowsFunction, aggregate_function, scalar_function},
};
use crate::lineage::index;

/// The expression that makes a column; nothing where several do.
fn maker(plan: &LogicalPlan, at: usize) -> Option<Expr> {
    match plan {
        LogicalPlan::Projection(projection) => match unaliased(projection.expr.get(at)?) {
            Expr::Column(column) => {
                let input = &projection.input;
                maker(input, index(input.schema(), column)?)
            }
            other => Some(other.clone()),
        },
        LogicalPlan::Aggregate(aggregate) => {
            let expr = aggregate.aggr_expr.get(at.checked_sub(keys(aggregate))?)?;
            Some(unaliased(expr).clone())
        }
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_) => maker(plan.inputs().first()?, at),
        LogicalPlan::Window(window) => {
            let passed = at < window.input.schema().fields().len();
            passed.then(|| maker(&window.input, at)).flatten()
        }
        LogicalPlan::Join(join) if passes_both(join) => {
            let left = join.left.schema().fields().len();
            match at.checked_sub(left) {
                None => maker(&join.left, at),
                Some(at) => maker(&join.right, at),
            }
        }
        _ => None,
    }
}

fn keys(aggregate: &Aggregate) -> usize {
    aggregate.schema.fields().len() - aggregate.aggr_expr.len()
}

fn passes_both(join: &Join) -> bool {
    matches!(
        join.join_type,
        JoinType::Inner | JoinType::Left | JoinType::Right | JoinType::Full
    )
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// The function and its part that an expression calls.
fn called(expr: &Expr) -> Option<(Function, Part)> {
    match expr {
        Expr::ScalarFunction(call) => {
            let function = call.func.inner().downcast_ref::<RowFunction>()?;
            Some((Function::Row(function.function), function.part))
        }
        Expr::AggregateFunction(call) => {
            let function = call.func.inner().downcast_ref::<RowsFunction>()?;
            Some((Function::Rows(function.function), function.part))
        }
        _ => None,
    }
}

/// What a column is the value of.
pub(crate) fn statistic(plan: &LogicalPlan, at: usize) -> Option<Description> {
    let (function, part) = called(&maker(plan, at)?)?;
    (part == Part::Value).then(|| function.description())
}

/// Whether a column is itself a limit of an interval, of which no further one is given.
pub(crate) fn is_limit(plan: &LogicalPlan, at: usize) -> bool {
    let Some(maker) = maker(plan, at) else {
        return false;
    };
    let combined = matches!(&maker, Expr::ScalarFunction(call)
        if call.func.inner().downcast_ref::<Combined>().is_some_and(Combined::is_limit));
    combined || matches!(called(&maker), Some((_, Part::Low | Part::High)))
}

/// Where the parts of a column's statistic are in the plan that was given them.
#[derive(Debug, Clone)]
pub(crate) struct Companions {
    /// Sampling variance.
    pub variance: Column,
    /// Lower limit of sampling.
    pub low: Column,
    /// Upper limit of sampling.
    pub high: Column,
    /// Whether these have the noise in them already.
    pub includes_noise: bool,
}

/// A plan with the parts of all its statistics as further columns, after its own.
pub(crate) fn with_companions(plan: LogicalPlan) -> Result<(LogicalPlan, Vec<Option<Companions>>)> {
    let own = plan.schema().columns();
    let mut found = Vec::new();
    let mut plan = plan;
    for at in 0..own.len() {
        let described = statistic(&plan, at).filter(|described| described.sampled);
        let attached = match described {
            Some(_) => attached(&plan, at, at)?,
            None => None,
        };
        match (described, attached) {
            (Some(described), Some((wider, [variance, low, high]))) => {
                // A window puts its columns last; the statement's own come first.
                let mut columns: Vec<Column> = own.clone();
                columns.extend(found.iter().flatten().flat_map(Companions::columns));
                columns.extend([variance.clone(), low.clone(), high.clone()]);
                let exprs = columns.into_iter().map(Expr::Column).collect();
                plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(wider))?);
                found.push(Some(Companions {
                    variance,
                    low,
                    high,
                    includes_noise: described.includes_noise,
                }));
            }
            _ => found.push(None),
        }
    }
    Ok((plan, found))
}

impl Companions {
    fn columns(&self) -> [Column; 3] {
        [self.variance.clone(), self.low.clone(), self.high.clone()]
    }
}

const PARTS: [Part; 3] = [Part::Variance, Part::Low, Part::High];

fn part_name(part: Part, number: usize) -> String {
    format!("__{part:?}_{number}")
}

type Attached = Option<(LogicalPlan, [Column; 3])>;

/// The plan with the parts of the statistic that column `at` is the value of.
fn attached(plan: &LogicalPlan, at: usize, number: usize) -> Result<Attached> {
    let unqualified = || PARTS.map(|part| Column::new_unqualified(part_name(part, number)));
    match plan {
        LogicalPlan::Projection(projection) => {
            let mut exprs = projection.expr.clone();
            let (input, columns) = match exprs.get(at).map(unaliased) {
                Some(Expr::Column(column)) => {
                    let Some(below) = index(projection.input.schema(), column) else {
                        return Ok(None);
                    };
                    let Some((input, columns)) = attached(&projection.input, below, number)? else {
                        return Ok(None);
                    };
                    exprs.extend(columns.iter().cloned().map(Expr::Column));
                    (Arc::new(input), columns)
                }
                Some(Expr::ScalarFunction(call)) => {
                    let Some(function) = call.func.inner().downcast_ref::<RowFunction>() else {
                        return Ok(None);
                    };
                    let parts = PARTS.map(|part| {
                        let func = scalar_function(function.function, part);
                        let args = call.args.clone();
                        Expr::ScalarFunction(ScalarFunction::new_udf(func, args))
                            .alias(part_name(part, number))
                    });
                    exprs.extend(parts);
                    (Arc::clone(&projection.input), unqualified())
                }
                _ => return Ok(None),
            };
            let plan = LogicalPlan::Projection(Projection::try_new(exprs, input)?);
            Ok(Some((plan, columns)))
        }
        LogicalPlan::Aggregate(aggregate) => {
            let call = at
                .checked_sub(keys(aggregate))
                .and_then(|at| aggregate.aggr_expr.get(at))
                .map(unaliased);
            let Some(Expr::AggregateFunction(call)) = call else {
                return Ok(None);
            };
            let Some(function) = call.func.inner().downcast_ref::<RowsFunction>() else {
                return Ok(None);
            };
            let mut exprs = aggregate.aggr_expr.clone();
            exprs.extend(PARTS.map(|part| {
                let call = AggregateFunction {
                    func: aggregate_function(function.function, part),
                    params: call.params.clone(),
                };
                Expr::AggregateFunction(call).alias(part_name(part, number))
            }));
            let input = Arc::clone(&aggregate.input);
            let aggregate = Aggregate::try_new(input, aggregate.group_expr.clone(), exprs)?;
            Ok(Some((LogicalPlan::Aggregate(aggregate), unqualified())))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let Some((input, columns)) = attached(&alias.input, at, number)? else {
                return Ok(None);
            };
            let columns = columns.map(|column| Column::new(Some(alias.alias.clone()), column.name));
            let alias = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
            Ok(Some((LogicalPlan::SubqueryAlias(alias), columns)))
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Window(_) => {
            let Some(input) = plan.inputs().first().copied() else {
                return Ok(None);
            };
            if at >= input.schema().fields().len() {
                return Ok(None);
            }
            let Some((input, columns)) = attached(input, at, number)? else {
                return Ok(None);
            };
            let plan = plan.with_new_exprs(plan.expressions(), vec![input])?;
            Ok(Some((plan, columns)))
        }
        LogicalPlan::Join(join) if passes_both(join) => {
            let left_width = join.left.schema().fields().len();
            let (mut left, mut right) = (Arc::clone(&join.left), Arc::clone(&join.right));
            let (side, at) = match at.checked_sub(left_width) {
                None => (&mut left, at),
                Some(at) => (&mut right, at),
            };
            let Some((wider, columns)) = attached(side, at, number)? else {
                return Ok(None);
            };
            *side = Arc::new(wider);
            let join = Join::try_new(
                left,
                right,
                join.on.clone(),
                join.filter.clone(),
                join.join_type,
                join.join_constraint,
                join.null_equality,
                join.null_aware,
            )?;
            Ok(Some((LogicalPlan::Join(join), columns)))
        }
        _ => Ok(None),
    }
}
