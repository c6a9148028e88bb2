//! Trusted. Expressions put into the expressions above them, so that a pass carries out no projection.
//!
//! Promise: the value of the one over the other's values; expressions are pure.

use datafusion::{
    common::{
        Column, Result as EngineResult, internal_datafusion_err, internal_err,
        tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    },
    logical_expr::Expr,
};
use skerry_privacy::question::Expression;
use skerry_proto::DataType;

use crate::plan::rebuild::rebuild_expression;

/// What an expression weighs, at most. Heavier ones are for the engine's planner, which names what is
/// used twice.
const MOST_WEIGHT: usize = 64_000;
/// What each part of an expression weighs.
const OF_A_PART: usize = 32;
/// What a literal weighs, of which lists of public values have thousands.
const OF_A_LITERAL: usize = 1;

/// An expression with those of its columns in their places.
///
/// # Errors
/// If the engine refuses it, or it weighs too much.
pub fn expression_over(
    expression: &Expression,
    columns: &[(Expr, DataType)],
) -> EngineResult<Expr> {
    // Over the columns' numbers first, and then weighed: columns may stand in many places, and so in
    // those of the next expression, until the whole is beyond all memory.
    let numbers: Vec<Expr> = (0..columns.len())
        .map(|number| Expr::Column(Column::from_name(number.to_string())))
        .collect();
    let types: Vec<DataType> = columns.iter().map(|(_, data_type)| *data_type).collect();
    let over_numbers = rebuild_expression(expression, &numbers, &types)?;
    let column = |number: &Column| {
        let found = number
            .name
            .parse()
            .ok()
            .and_then(|number: usize| columns.get(number));
        found
            .map(|(column, _)| column)
            .ok_or_else(|| internal_datafusion_err!("there is no column {number}"))
    };
    let mut weight = 0;
    over_numbers.apply(|part| {
        weight += match part {
            Expr::Column(number) => weight_of(column(number)?)?,
            Expr::Literal(_, _) => OF_A_LITERAL,
            _ => OF_A_PART,
        };
        Ok(go_on(weight))
    })?;
    light(weight)?;
    let over_columns = over_numbers.transform_down(|part| match &part {
        Expr::Column(number) => {
            let column = column(number)?.clone();
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(part)),
    })?;
    Ok(over_columns.data)
}

fn weight_of(expression: &Expr) -> EngineResult<usize> {
    let mut weight = 0;
    expression.apply(|part| {
        weight += match part {
            Expr::Literal(_, _) => OF_A_LITERAL,
            _ => OF_A_PART,
        };
        Ok(go_on(weight))
    })?;
    Ok(weight)
}

fn go_on(weight: usize) -> TreeNodeRecursion {
    if weight > MOST_WEIGHT {
        TreeNodeRecursion::Stop
    } else {
        TreeNodeRecursion::Continue
    }
}

/// Refuses expressions that weigh too much.
///
/// # Errors
/// If one does.
pub fn check_weights<'a>(mut expressions: impl Iterator<Item = &'a Expr>) -> EngineResult<()> {
    expressions.try_for_each(|expression| light(weight_of(expression)?))
}

fn light(weight: usize) -> EngineResult<()> {
    if weight > MOST_WEIGHT {
        return internal_err!("a longer expression than a pass takes");
    }
    Ok(())
}
