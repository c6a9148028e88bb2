//! The statistics that the field expects, as functions of SQL over released figures and public
//! numbers. `FUNCTIONS.md` has them all, with formulas, sources and examples.
//!
//! Each statistic is computed once, as an [`estimate::Estimate`]: its value, its sampling
//! variance and the limits of chance. SQL calls its value by name; the rest is reached through
//! words that are spelled out before planning ([`words`]). What the noise does is not computed
//! here at all: draws of it go through these functions as through all others.

mod combined;
mod comparison;
mod distribution;
mod estimate;
mod function;
mod funnel;
mod noise_of;
mod origin;
mod pooling;
mod rates;
mod standardised;
mod udf;
mod words;

pub(crate) use distribution::{normal_and_laplace_tails, student_quantile};

use datafusion::{
    common::{
        Result,
        tree_node::{TreeNode as _, TreeNodeRecursion},
    },
    execution::{FunctionRegistry as _, SessionState},
    logical_expr::{Expr, LogicalPlan},
};
use skerry_proto::{ErrorCode, Refusal};

use udf::{RowFunction, RowsFunction};

pub(crate) use estimate::together;
pub(crate) use noise_of::{Aspect, Known, is_look_up, lacks_row, look_ups, marked};
pub(crate) use origin::{Companions, is_limit, statistic, with_companions};
pub(crate) use words::spell_out;

/// Makes the functions known to a session.
pub(crate) fn register(state: &mut SessionState) -> Result<()> {
    let scalars = udf::scalar_functions();
    let combined = combined::combinations();
    for function in scalars.into_iter().chain(combined).chain(noise_of::marks()) {
        state.register_udf(function)?;
    }
    for function in udf::aggregate_functions() {
        state.register_udaf(function)?;
    }
    Ok(())
}

/// The name by which a researcher called one of these functions, where an expression is one.
fn called(expr: &Expr) -> Option<&'static str> {
    if marked(expr).is_some() {
        return Some("noise_variance");
    }
    match expr {
        Expr::ScalarFunction(call) => {
            let function = call.func.inner().downcast_ref::<RowFunction>()?.function;
            Some(function::Function::Row(function).description().name)
        }
        Expr::AggregateFunction(call) => {
            let function = call.func.inner().downcast_ref::<RowsFunction>()?.function;
            Some(function::Function::Rows(function).description().name)
        }
        _ => None,
    }
}

/// Refuses these functions below a release, where there are rows of persons and no figures.
pub(crate) fn check_below(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut found = None;
    let _ = plan.apply_with_subqueries(|node| {
        for expr in node.expressions() {
            let _ = expr.apply(|part| {
                found = found.or(called(part));
                Ok(TreeNodeRecursion::Continue)
            });
        }
        Ok(match found {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    match found {
        None => Ok(()),
        Some(name) => Err(Refusal::new(
            ErrorCode::Unsupported,
            format!("`{name}` computes with figures, not with rows of persons"),
            format!(
                "Aggregate in a subquery first: SELECT {name}(…) FROM (SELECT age_band, \
                 COUNT(*) AS events FROM … GROUP BY age_band) AS figures JOIN …"
            ),
        )),
    }
}

#[cfg(test)]
mod tests;
