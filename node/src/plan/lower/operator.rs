//! Trusted. Lowers operators: comparison, logic, arithmetic, and that of dates.

use datafusion::{
    common::ScalarValue,
    logical_expr::{BinaryExpr, Expr, ExprSchemable, Operator},
};
use skerry_privacy::question::{Arithmetic, Comparison, Expression, Function};
use skerry_proto::{DataType, Refusal};

use super::{
    Scope,
    cast::cast_to,
    expression::{Typed, not, shown},
    types::plain_type,
    unsupported,
};

impl Scope<'_> {
    pub(super) fn binary(&self, binary: &BinaryExpr, whole: &Expr) -> Result<Typed, Refusal> {
        if let Some(moved) = self.moved_date(binary)? {
            return Ok((moved, DataType::Date));
        }
        let (left, left_type) = self.lower(&binary.left)?;
        let (right, right_type) = self.lower(&binary.right)?;
        let compare = |operator| {
            if left_type == right_type {
                Ok((
                    Expression::Compare {
                        operator,
                        left: Box::new(left.clone()),
                        right: Box::new(right.clone()),
                    },
                    DataType::Boolean,
                ))
            } else {
                Err(unsupported(
                    &shown(whole),
                    &format!("it compares {left_type} with {right_type}; cast one side"),
                ))
            }
        };
        let arithmetic = |operator| {
            let number = matches!(left_type, DataType::Integer | DataType::Float);
            if left_type == right_type && number {
                Ok((
                    Expression::Arithmetic {
                        operator,
                        left: Box::new(left.clone()),
                        right: Box::new(right.clone()),
                    },
                    left_type,
                ))
            } else {
                Err(unsupported(
                    &shown(whole),
                    "arithmetic needs two integers or two floats",
                ))
            }
        };
        match binary.op {
            Operator::Eq => compare(Comparison::Equal),
            Operator::NotEq => compare(Comparison::NotEqual),
            Operator::Lt => compare(Comparison::Less),
            Operator::LtEq => compare(Comparison::LessOrEqual),
            Operator::Gt => compare(Comparison::Greater),
            Operator::GtEq => compare(Comparison::GreaterOrEqual),
            Operator::And => Ok((
                joined(
                    left,
                    right,
                    |part| match part {
                        Expression::And(parts) => Ok(parts),
                        other => Err(other),
                    },
                    Expression::And,
                ),
                DataType::Boolean,
            )),
            Operator::Or => Ok((
                joined(
                    left,
                    right,
                    |part| match part {
                        Expression::Or(parts) => Ok(parts),
                        other => Err(other),
                    },
                    Expression::Or,
                ),
                DataType::Boolean,
            )),
            Operator::Plus => arithmetic(Arithmetic::Add),
            Operator::Minus if (left_type, right_type) == (DataType::Date, DataType::Date) => {
                let days = matches!(
                    whole.get_type(self.schema).as_ref().map(plain_type),
                    Ok(Some(DataType::Integer))
                );
                if days {
                    Ok((
                        Expression::Call {
                            function: Function::DaysBetween,
                            arguments: vec![left, right],
                        },
                        DataType::Integer,
                    ))
                } else {
                    Err(unsupported(
                        &shown(whole),
                        "cast both dates to INTEGER to get days",
                    ))
                }
            }
            Operator::Minus => arithmetic(Arithmetic::Subtract),
            Operator::Multiply => arithmetic(Arithmetic::Multiply),
            Operator::Divide if self.is_decimal(whole) => Ok((
                Expression::Arithmetic {
                    operator: Arithmetic::Divide,
                    left: Box::new(as_float(left, left_type)),
                    right: Box::new(as_float(right, right_type)),
                },
                DataType::Float,
            )),
            Operator::Divide => arithmetic(Arithmetic::Divide),
            Operator::Modulo => arithmetic(Arithmetic::Remainder),
            Operator::IsDistinctFrom | Operator::IsNotDistinctFrom if left_type == right_type => {
                let same = Expression::Call {
                    function: Function::Same,
                    arguments: vec![left, right],
                };
                let distinct = binary.op == Operator::IsDistinctFrom;
                Ok((if distinct { not(same) } else { same }, DataType::Boolean))
            }
            _ => Err(unsupported(
                &shown(whole),
                "use comparisons, AND, OR, + - * / % and LIKE",
            )),
        }
    }

    /// Whether the engine would compute a decimal, of integers too.
    fn is_decimal(&self, expression: &Expr) -> bool {
        expression
            .get_type(self.schema)
            .is_ok_and(|found| found.is_decimal())
    }

    /// A date plus or minus a literal interval of months and days.
    fn moved_date(&self, binary: &BinaryExpr) -> Result<Option<Expression>, Refusal> {
        let sign = match binary.op {
            Operator::Plus => 1,
            Operator::Minus => -1,
            _ => return Ok(None),
        };
        let (date, interval) = match (
            unaliased_literal(&binary.left),
            unaliased_literal(&binary.right),
        ) {
            (_, Some(interval)) => (&binary.left, interval),
            (Some(interval), None) if sign == 1 => (&binary.right, interval),
            (_, None) => return Ok(None),
        };
        let Some((months, days, rest)) = interval_parts(interval) else {
            return Ok(None);
        };
        let (date, data_type) = self.lower(date)?;
        let moved = signed_within(months, sign, 12_000).zip(signed_within(days, sign, 400_000));
        match (data_type, moved, rest) {
            (DataType::Date, Some((months, days)), 0) => Ok(Some(Expression::Call {
                function: Function::AddToDate { months, days },
                arguments: vec![date],
            })),
            _ => Err(unsupported(
                "an interval that isn't whole months or days added to a date",
                "write date + INTERVAL '3 months'",
            )),
        }
    }
}

/// A count with its sign, if its magnitude is at most so much. The least integer has none.
fn signed_within(count: i32, sign: i32, most: u32) -> Option<i32> {
    count
        .checked_mul(sign)
        .filter(|count| count.unsigned_abs() <= most)
}

/// Months, days, and what is left of an interval, which isn't zero only where that is less than a
/// day.
pub(super) fn interval_parts(interval: &ScalarValue) -> Option<(i32, i32, i64)> {
    match interval {
        ScalarValue::IntervalYearMonth(Some(months)) => Some((*months, 0, 0)),
        ScalarValue::IntervalDayTime(Some(x)) => Some((0, x.days, i64::from(x.milliseconds))),
        ScalarValue::IntervalMonthDayNano(Some(x)) => Some((x.months, x.days, x.nanoseconds)),
        _ => None,
    }
}

fn as_float(number: Expression, data_type: DataType) -> Expression {
    if data_type == DataType::Integer {
        cast_to(number, DataType::Float)
    } else {
        number
    }
}

fn unaliased_literal(expression: &Expr) -> Option<&ScalarValue> {
    match expression {
        Expr::Literal(scalar, _) => Some(scalar),
        _ => None,
    }
}

/// Chains of one connective become one list, so that their nesting doesn't matter.
fn joined(
    left: Expression,
    right: Expression,
    split: impl Fn(Expression) -> Result<Vec<Expression>, Expression>,
    join: impl Fn(Vec<Expression>) -> Expression,
) -> Expression {
    let mut parts = vec![];
    for side in [left, right] {
        match split(side) {
            Ok(more) => parts.extend(more),
            Err(single) => parts.push(single),
        }
    }
    join(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_the_least_integer_is_too_long() {
        assert_eq!(signed_within(i32::MIN, 1, 400_000), None);
        assert_eq!(signed_within(i32::MIN, -1, 400_000), None);
        assert_eq!(signed_within(400_000, -1, 400_000), Some(-400_000));
    }
}
