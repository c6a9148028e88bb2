//! Trusted. Lowers casts: each gives NULL where there is no value.

use datafusion::{arrow::datatypes::DataType as ArrowType, logical_expr::Expr};
use skerry_privacy::question::{Comparison, Expression, Function};
use skerry_proto::{DataType, Refusal, Value};

use super::{
    Scope,
    expression::{Typed, shown},
    types::plain_type,
    unsupported,
};

impl Scope<'_> {
    pub(super) fn cast(
        &self,
        value: &Expr,
        to: &ArrowType,
        whole: &Expr,
    ) -> Result<Typed, Refusal> {
        if let ArrowType::Decimal128(precision, scale) | ArrowType::Decimal256(precision, scale) =
            to
        {
            return self.decimal(value, *precision, *scale, whole);
        }
        let Some(to) = plain_type(to) else {
            return Err(unsupported(
                &shown(whole),
                "cast to BIGINT, DOUBLE, VARCHAR, BOOLEAN or DATE",
            ));
        };
        let (value, from) = self.lower(value)?;
        if from == to {
            return Ok((value, to));
        }
        let known = matches!(
            (from, to),
            (
                DataType::Integer,
                DataType::Float | DataType::Text | DataType::Boolean
            ) | (DataType::Float, DataType::Integer)
                | (DataType::Boolean, DataType::Integer | DataType::Text)
                | (
                    DataType::Text,
                    DataType::Integer | DataType::Float | DataType::Date
                )
                | (
                    DataType::Date,
                    DataType::Text | DataType::Timestamp | DataType::Integer
                )
                | (DataType::Timestamp, DataType::Date)
        );
        if known {
            Ok((
                Expression::Cast {
                    value: Box::new(value),
                    to,
                },
                to,
            ))
        } else {
            Err(unsupported(
                &shown(whole),
                &format!("there is no cast from {from} to {to}"),
            ))
        }
    }
    /// A decimal is a float that is rounded to so many digits after the point, or an integer, and
    /// NULL where it has too many before.
    fn decimal(
        &self,
        value: &Expr,
        precision: u8,
        scale: i8,
        whole: &Expr,
    ) -> Result<Typed, Refusal> {
        let (value, from) = self.lower(value)?;
        let decimals = i32::from(scale);
        let digits = i32::from(precision) - decimals;
        if from == DataType::Integer && decimals == 0 {
            // All integers have at most 19 digits.
            return match 10i64.checked_pow(digits.unsigned_abs()) {
                Some(most) => self.within(value, Value::Integer(most), DataType::Integer),
                None => Ok((value, DataType::Integer)),
            };
        }
        let float = match from {
            DataType::Float => value,
            DataType::Integer | DataType::Text => cast_to(value, DataType::Float),
            DataType::Boolean | DataType::Date | DataType::Timestamp => {
                return Err(unsupported(
                    &shown(whole),
                    &format!("there is no cast from {from} to a decimal"),
                ));
            }
        };
        // A float has no more digits than these.
        let rounded = if (0..=15).contains(&decimals) {
            call(Function::Round { decimals }, float)
        } else {
            float
        };
        let most = Value::Float(10f64.powi(digits));
        let (fitting, _) = self.within(rounded, most, DataType::Float)?;
        Ok(if decimals == 0 {
            (cast_to(fitting, DataType::Integer), DataType::Integer)
        } else {
            (fitting, DataType::Float)
        })
    }

    /// A number, NULL unless it is nearer to zero than so much.
    fn within(
        &self,
        number: Expression,
        most: Value,
        data_type: DataType,
    ) -> Result<Typed, Refusal> {
        let fits = Expression::Compare {
            operator: Comparison::Less,
            left: Box::new(call(Function::Absolute, self.again(&number)?)),
            right: Box::new(Expression::Literal {
                value: most,
                data_type,
            }),
        };
        let fitting = Expression::Case {
            branches: vec![(fits, number)],
            otherwise: None,
        };
        Ok((fitting, data_type))
    }
}

fn call(function: Function, argument: Expression) -> Expression {
    Expression::Call {
        function,
        arguments: vec![argument],
    }
}

pub(super) fn cast_to(value: Expression, to: DataType) -> Expression {
    Expression::Cast {
        value: Box::new(value),
        to,
    }
}
