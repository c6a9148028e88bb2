//! Finds the noise of expressions that a statement itself asks about (`noise_sd(x)`, and limits
//! that take the noise in), before the rest of it runs.
//!
//! The part below such an expression is run as a statement of its own, on the released figures
//! and on draws, and what is found is kept by row. Innermost first, so that one may be asked of
//! another.

use std::collections::HashMap;

use datafusion::{
    arrow::{
        array::{Array as _, AsArray as _},
        compute::cast,
        datatypes::{DataType, Float64Type},
    },
    common::{
        Result, internal_err, not_impl_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::{Expr, LogicalPlan, Projection, expr_rewriter::NamePreserver},
};

use super::{Noisy, Releases, found};
use crate::statistics::{Aspect, Known, look_ups, marked};

/// Marks of one statement.
const MOST: usize = 64;

/// Whether the noise of something is asked about in an expression.
fn asks(expr: &Expr) -> bool {
    expr.exists(|part| Ok(marked(part).is_some()))
        .unwrap_or(false)
}

/// The lowest part of a plan that asks.
fn lowest(plan: &LogicalPlan) -> Option<LogicalPlan> {
    let below = plan.inputs().into_iter().find_map(lowest);
    below.or_else(|| plan.expressions().iter().any(asks).then(|| plan.clone()))
}

/// What the noise is asked of, without what asks within it; each once.
fn asked(plan: &LogicalPlan) -> Result<Vec<Expr>> {
    let mut all: Vec<Expr> = Vec::new();
    for expr in plan.expressions() {
        expr.apply(|part| {
            if let Some((_, of)) = marked(part)
                && !asks(of)
                && !all.contains(of)
            {
                all.push(of.clone());
            }
            Ok(TreeNodeRecursion::Continue)
        })?;
    }
    Ok(all)
}

/// A figure that was made a double for the function's sake is still the figure.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) if *cast.field.data_type() == DataType::Float64 => &cast.expr,
        other => other,
    }
}

/// Puts what is known of the noise in the place of every question about it.
pub(super) async fn resolve(
    state: &SessionState,
    mut plan: LogicalPlan,
    releases: Releases<'_>,
    most_draws: usize,
) -> Result<LogicalPlan> {
    for _ in 0..MOST {
        let Some(node) = lowest(&plan) else {
            return Ok(plan);
        };
        let inputs = node.inputs();
        let [input] = inputs.as_slice() else {
            return not_impl_err!("the noise of a figure in the condition of a join");
        };
        let of = asked(&node)?;
        let exprs: Vec<Expr> = of
            .iter()
            .enumerate()
            .map(|(at, expr)| uncast(expr).clone().alias(format!("of{at}")))
            .collect();
        let part = LogicalPlan::Projection(Projection::try_new(exprs, (*input).clone().into())?);
        let known = noise(state, &part, releases, most_draws).await?;
        let found: Vec<_> = of
            .into_iter()
            .zip(known.into_iter().map(look_ups))
            .collect();
        plan = replaced(plan, &found)?;
    }
    internal_err!("more than {MOST} questions about noise")
}

/// Every question about one of these expressions, answered.
fn replaced(
    plan: LogicalPlan,
    found: &[(
        Expr,
        [std::sync::Arc<datafusion::logical_expr::ScalarUDF>; 3],
    )],
) -> Result<LogicalPlan> {
    let answered = |expr: Expr| {
        let Some((aspect, of)) = marked(&expr) else {
            return Ok(Transformed::no(expr));
        };
        let Some((_, functions)) = found.iter().find(|(known, _)| known == of) else {
            return Ok(Transformed::no(expr));
        };
        let function: &std::sync::Arc<_> = &functions[aspect as usize];
        Ok(Transformed::yes(function.call(Vec::new())))
    };
    let plan = plan.transform_up(|node| {
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            expr.transform_up(answered)
                .map(|expr| expr.update_data(|expr| name.restore(expr)))
        })?;
        if node.transformed {
            Ok(Transformed::yes(node.data.recompute_schema()?))
        } else {
            Ok(node)
        }
    })?;
    Ok(plan.data)
}

/// What is known of the noise in each column of a part of a statement.
async fn noise(
    state: &SessionState,
    part: &LogicalPlan,
    releases: Releases<'_>,
    most_draws: usize,
) -> Result<Vec<Known>> {
    let Noisy {
        batch,
        rows,
        figures,
    } = found(
        state,
        part,
        releases,
        part.schema().fields().len(),
        most_draws,
    )
    .await?;
    let mut known = Vec::new();
    for (array, figure) in batch.columns().iter().zip(&figures) {
        let values = cast(array, &DataType::Float64)?;
        let values = values.as_primitive::<Float64Type>();
        let mut by_row = HashMap::new();
        for (row, identity) in rows.identities.iter().enumerate() {
            let noise = match &figure.intervals {
                // Nothing but public numbers.
                None if !figure.noisy => [Some(0.0); Aspect::ALL.len()],
                None => [None; Aspect::ALL.len()],
                Some(intervals) => {
                    let value = values.is_valid(row).then(|| values.value(row));
                    [
                        intervals.sd[row].map(|sd| sd * sd),
                        value
                            .zip(intervals.low[row])
                            .map(|(value, low)| (value - low).max(0.0)),
                        value
                            .zip(intervals.high[row])
                            .map(|(value, high)| (high - value).max(0.0)),
                    ]
                }
            };
            by_row.insert(*identity, noise);
        }
        known.push(Known { rows: by_row });
    }
    Ok(known)
}
