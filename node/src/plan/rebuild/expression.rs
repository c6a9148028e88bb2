//! Trusted. Rebuilds expressions so that they mean what the question's own evaluation says, and
//! fail on no row.

use datafusion::{
    common::{Result as EngineResult, plan_datafusion_err},
    functions::{core::expr_fn as core, expr_fn as functions},
    logical_expr::{BinaryExpr, Case, Expr, Operator, TryCast, expr::InList},
    prelude::lit,
};
use skerry_privacy::question::{Arithmetic, Comparison, Expression, Function};
use skerry_proto::{DataType, Value};

use super::{engine_type, total::total};
use crate::plan::lower::scalar;

/// The value as another type, NULL where it has none.
pub(super) fn total_cast(value: Expr, to: DataType) -> Expr {
    Expr::TryCast(TryCast::new(Box::new(value), engine_type(to)))
}

fn literal(value: &Value, data_type: DataType) -> Expr {
    Expr::Literal(scalar(value, data_type), None)
}

/// The value if it is listed, else NULL.
pub(super) fn listed(value: Expr, values: &[Value], data_type: DataType) -> EngineResult<Expr> {
    let members = values
        .iter()
        .map(|member| literal(member, data_type))
        .collect();
    let condition = Expr::InList(InList::new(Box::new(value.clone()), members, false));
    Ok(when(condition, value))
}

fn when(condition: Expr, value: Expr) -> Expr {
    Expr::Case(Case::new(
        None,
        vec![(Box::new(condition), Box::new(value))],
        None,
    ))
}

/// A float that is neither NaN nor the negative zero; NaN becomes NULL.
pub(super) fn plain_float(value: Expr) -> Expr {
    let number = Expr::Not(Box::new(functions::isnan(value.clone())));
    when(number, binary(value, Operator::Plus, lit(0.0f64)))
}

/// Rebuilds an expression over columns that are given as expressions.
pub(crate) fn rebuild_expression(
    expression: &Expression,
    columns: &[Expr],
    types: &[DataType],
) -> EngineResult<Expr> {
    let of = |part: &Expression| rebuild_expression(part, columns, types);
    let boxed =
        |part: &Expression| Ok::<_, datafusion::error::DataFusionError>(Box::new(of(part)?));
    let type_of = |part: &Expression| {
        part.data_type(types)
            .map_err(|error| plan_datafusion_err!("{error}"))
    };
    Ok(match expression {
        Expression::Column(index) => columns
            .get(*index)
            .cloned()
            .ok_or_else(|| plan_datafusion_err!("there is no column {index}"))?,
        Expression::Literal { value, data_type } => literal(value, *data_type),
        Expression::Not(value) => Expr::Not(boxed(value)?),
        Expression::IsNull(value) => Expr::IsNull(boxed(value)?),
        Expression::And(parts) => chain(parts, Operator::And, of)?,
        Expression::Or(parts) => chain(parts, Operator::Or, of)?,
        Expression::Compare {
            operator,
            left,
            right,
        } => {
            let is_key = *operator == Comparison::Equal
                && type_of(left)? == DataType::Float
                && ![left, right]
                    .iter()
                    .any(|side| matches!(***side, Expression::Literal { .. }));
            if is_key {
                // Were this a key of a join, the engine would look at NaN and the zeros in ways
                // that hang on how rows are batched, and panic.
                return Ok(total(
                    Expression::Compare {
                        operator: Comparison::Equal,
                        left: Box::new(Expression::Column(0)),
                        right: Box::new(Expression::Column(1)),
                    },
                    DataType::Boolean,
                    vec![of(left)?, of(right)?],
                ));
            }
            let operator = match operator {
                Comparison::Equal => Operator::Eq,
                Comparison::NotEqual => Operator::NotEq,
                Comparison::Less => Operator::Lt,
                Comparison::LessOrEqual => Operator::LtEq,
                Comparison::Greater => Operator::Gt,
                Comparison::GreaterOrEqual => Operator::GtEq,
            };
            binary(of(left)?, operator, of(right)?)
        }
        Expression::Arithmetic {
            operator,
            left,
            right,
        } => arithmetic(*operator, of(left)?, of(right)?, type_of(left)?),
        Expression::Case {
            branches,
            otherwise,
        } => {
            let branches = branches
                .iter()
                .map(|(condition, value)| Ok((boxed(condition)?, boxed(value)?)))
                .collect::<EngineResult<Vec<_>>>()?;
            let otherwise = match otherwise {
                Some(value) => Some(boxed(value)?),
                None => None,
            };
            Expr::Case(Case::new(None, branches, otherwise))
        }
        Expression::In { value, list } => {
            let data_type = type_of(value)?;
            let members = list
                .iter()
                .map(|member| literal(member, data_type))
                .collect();
            Expr::InList(InList::new(boxed(value)?, members, false))
        }
        Expression::Like {
            value,
            pattern,
            ignore_case,
        } => total(
            Expression::Like {
                value: Box::new(Expression::Column(0)),
                pattern: pattern.clone(),
                ignore_case: *ignore_case,
            },
            DataType::Boolean,
            vec![of(value)?],
        ),
        Expression::Cast { value, to } => rebuild_cast(of(value)?, type_of(value)?, *to),
        Expression::Call {
            function,
            arguments,
        } => {
            let rebuilt = arguments.iter().map(of).collect::<EngineResult<Vec<_>>>()?;
            let data_type = match arguments.first() {
                Some(first) => type_of(first)?,
                None => return Err(plan_datafusion_err!("a function without arguments")),
            };
            call(function, rebuilt, data_type)?
        }
    })
}

fn binary(left: Expr, operator: Operator, right: Expr) -> Expr {
    Expr::BinaryExpr(BinaryExpr::new(Box::new(left), operator, Box::new(right)))
}

fn chain(
    parts: &[Expression],
    operator: Operator,
    of: impl Fn(&Expression) -> EngineResult<Expr>,
) -> EngineResult<Expr> {
    let mut rebuilt = parts.iter().map(of);
    let first = rebuilt
        .next()
        .ok_or_else(|| plan_datafusion_err!("an empty list"))??;
    rebuilt.try_fold(first, |left, right| Ok(binary(left, operator, right?)))
}

fn arithmetic(operator: Arithmetic, left: Expr, right: Expr, data_type: DataType) -> Expr {
    let native = match (operator, data_type) {
        // The engine fails on division by zero, and on the least integer divided by -1.
        (Arithmetic::Divide | Arithmetic::Remainder, DataType::Integer) => {
            let columns = Expression::Arithmetic {
                operator,
                left: Box::new(Expression::Column(0)),
                right: Box::new(Expression::Column(1)),
            };
            return total(columns, DataType::Integer, vec![left, right]);
        }
        // Integers wrap, floats follow IEEE.
        (Arithmetic::Add, _) => Operator::Plus,
        (Arithmetic::Subtract, _) => Operator::Minus,
        (Arithmetic::Multiply, _) => Operator::Multiply,
        (Arithmetic::Divide, _) => Operator::Divide,
        (Arithmetic::Remainder, _) => Operator::Modulo,
    };
    binary(left, native, right)
}

/// Between numbers, truth values and texts the engine's casts give NULL where there is no value;
/// those of dates and moments can fail.
fn rebuild_cast(value: Expr, from: DataType, to: DataType) -> Expr {
    let calendar = [DataType::Date, DataType::Timestamp];
    if calendar.contains(&from) || calendar.contains(&to) {
        let columns = Expression::Cast {
            value: Box::new(Expression::Column(0)),
            to,
        };
        total(columns, to, vec![value])
    } else {
        total_cast(value, to)
    }
}

fn call(function: &Function, arguments: Vec<Expr>, data_type: DataType) -> EngineResult<Expr> {
    let missing = || plan_datafusion_err!("an argument is missing");
    let first = || arguments.first().cloned().ok_or_else(missing);
    let second = || arguments.get(1).cloned().ok_or_else(missing);
    let own = |result: DataType| {
        let columns = (0..arguments.len()).map(Expression::Column).collect();
        let call = Expression::Call {
            function: function.clone(),
            arguments: columns,
        };
        total(call, result, arguments.clone())
    };
    Ok(match function {
        Function::Floor => functions::floor(first()?),
        Function::Ceiling => functions::ceil(first()?),
        Function::Round { decimals } => functions::round(vec![first()?, lit(*decimals)]),
        Function::Coalesce => core::coalesce(arguments),
        Function::NullIf => core::nullif(first()?, second()?),
        Function::Same => binary(first()?, Operator::IsNotDistinctFrom, second()?),
        Function::Greatest => core::greatest(arguments),
        Function::Least => core::least(arguments),
        Function::Lower => functions::lower(first()?),
        Function::Upper => functions::upper(first()?),
        Function::Absolute => own(data_type),
        Function::Trim | Function::Substring { .. } => own(DataType::Text),
        Function::Length | Function::DatePart(_) | Function::DaysBetween => own(DataType::Integer),
        Function::DateTruncate(_) => own(DataType::Timestamp),
        Function::AddToDate { .. } => own(DataType::Date),
    })
}
