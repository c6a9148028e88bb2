//! Trusted. Rebuilds expressions so that they mean what the question's own evaluation says, and
//! fail on no row.

use datafusion::{
    arrow::datatypes::{DataType as ArrowType, IntervalMonthDayNano},
    common::{Result as EngineResult, ScalarValue, plan_datafusion_err},
    functions::{core::expr_fn as core, datetime::expr_fn as dates, expr_fn as functions},
    logical_expr::{BinaryExpr, Case, Expr, Like, Operator, TryCast, expr::InList},
    prelude::lit,
};
use skerry_privacy::question::{Arithmetic, Comparison, DateUnit, Expression, Function};
use skerry_proto::{DataType, Value};

use crate::plan::lower::{engine_type, scalar};

/// The value as another type, NULL where it has none.
pub(super) fn total_cast(value: Expr, to: DataType) -> Expr {
    try_cast(value, engine_type(to))
}

fn try_cast(value: Expr, to: ArrowType) -> Expr {
    Expr::TryCast(TryCast::new(Box::new(value), to))
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
pub(super) fn rebuild_expression(
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
        } => Expr::Like(Like::new(
            false,
            boxed(value)?,
            Box::new(lit(pattern.as_str())),
            None,
            *ignore_case,
        )),
        Expression::Cast { value, to } => total_cast(of(value)?, *to),
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
    let divisor = |right: &Expr, also_minus_one: bool| {
        // The engine fails on division by zero, and on the least integer divided by -1.
        let mut never = vec![lit(0i64)];
        if also_minus_one {
            never.push(lit(-1i64));
        }
        when(
            Expr::InList(InList::new(Box::new(right.clone()), never, true)),
            right.clone(),
        )
    };
    match (operator, data_type) {
        (Arithmetic::Divide, DataType::Integer) => {
            let negated = binary(lit(0i64), Operator::Minus, left.clone());
            let quotient = binary(left, Operator::Divide, divisor(&right, true));
            Expr::Case(Case::new(
                None,
                vec![(
                    Box::new(binary(right, Operator::Eq, lit(-1i64))),
                    Box::new(negated),
                )],
                Some(Box::new(quotient)),
            ))
        }
        (Arithmetic::Remainder, DataType::Integer) => {
            // x % -1 is 0 for every x, and x % 1 too.
            let safe = Expr::Case(Case::new(
                None,
                vec![(
                    Box::new(binary(right.clone(), Operator::Eq, lit(-1i64))),
                    Box::new(lit(1i64)),
                )],
                Some(Box::new(divisor(&right, false))),
            ));
            binary(left, Operator::Modulo, safe)
        }
        (Arithmetic::Add, _) => binary(left, Operator::Plus, right),
        (Arithmetic::Subtract, _) => binary(left, Operator::Minus, right),
        (Arithmetic::Multiply, _) => binary(left, Operator::Multiply, right),
        (Arithmetic::Divide, _) => binary(left, Operator::Divide, right),
        (Arithmetic::Remainder, _) => binary(left, Operator::Modulo, right),
    }
}

fn unit_name(unit: DateUnit) -> &'static str {
    match unit {
        DateUnit::Year => "year",
        DateUnit::Quarter => "quarter",
        DateUnit::Month => "month",
        DateUnit::Week => "week",
        DateUnit::Day => "day",
        DateUnit::DayOfWeek => "dow",
        DateUnit::DayOfYear => "doy",
    }
}

fn call(function: &Function, arguments: Vec<Expr>, data_type: DataType) -> EngineResult<Expr> {
    let mut each = arguments.clone().into_iter();
    let mut next = || {
        each.next()
            .ok_or_else(|| plan_datafusion_err!("an argument is missing"))
    };
    Ok(match function {
        Function::Absolute => {
            let value = next()?;
            if data_type == DataType::Integer {
                // The least integer has no absolute value.
                let fits = binary(value.clone(), Operator::NotEq, lit(i64::MIN));
                functions::abs(when(fits, value))
            } else {
                functions::abs(value)
            }
        }
        Function::Floor => functions::floor(next()?),
        Function::Ceiling => functions::ceil(next()?),
        Function::Round { decimals } => functions::round(vec![next()?, lit(*decimals)]),
        Function::Coalesce => core::coalesce(arguments),
        Function::NullIf => core::nullif(next()?, next()?),
        Function::Greatest => core::greatest(arguments),
        Function::Least => core::least(arguments),
        Function::Lower => functions::lower(next()?),
        Function::Upper => functions::upper(next()?),
        Function::Trim => functions::btrim(vec![next()?]),
        Function::Length => total_cast(functions::character_length(next()?), DataType::Integer),
        Function::Substring { start, length } => {
            let start = lit(i64::from(*start));
            match length {
                Some(length) => functions::substring(next()?, start, lit(i64::from(*length))),
                None => functions::substr(next()?, start),
            }
        }
        Function::DatePart(unit) => total_cast(
            dates::date_part(lit(unit_name(*unit)), within_years(next()?, data_type)),
            DataType::Integer,
        ),
        Function::DateTruncate(unit) => {
            let moment = total_cast(within_years(next()?, data_type), DataType::Timestamp);
            total_cast(
                dates::date_trunc(lit(unit_name(*unit)), moment),
                DataType::Timestamp,
            )
        }
        Function::AddToDate { months, days } => {
            let interval = ScalarValue::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(
                *months, *days, 0,
            )));
            // Lowering keeps intervals short enough for the engine's calendar.
            let moved = binary(
                within_years(next()?, data_type),
                Operator::Plus,
                Expr::Literal(interval, None),
            );
            within_years(moved, data_type)
        }
        Function::DaysBetween => {
            let days = |value: Expr| try_cast(try_cast(value, ArrowType::Int32), ArrowType::Int64);
            let (later, earlier) = (next()?, next()?);
            binary(days(later), Operator::Minus, days(earlier))
        }
    })
}

/// A date or moment of the years 1 to 9999, else NULL: calendars end somewhere.
fn within_years(value: Expr, data_type: DataType) -> Expr {
    let (low, high) = match data_type {
        DataType::Timestamp => (
            ScalarValue::TimestampMicrosecond(Some(-62_135_596_800_000_000), None),
            ScalarValue::TimestampMicrosecond(Some(253_402_300_799_999_999), None),
        ),
        DataType::Date
        | DataType::Boolean
        | DataType::Integer
        | DataType::Float
        | DataType::Text => (
            ScalarValue::Date32(Some(-719_162)),
            ScalarValue::Date32(Some(2_932_896)),
        ),
    };
    let from = binary(value.clone(), Operator::GtEq, Expr::Literal(low, None));
    let until = binary(value.clone(), Operator::LtEq, Expr::Literal(high, None));
    when(binary(from, Operator::And, until), value)
}
