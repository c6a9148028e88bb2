//! Whether an expression can be NULL, so that no group appears for a NULL that can't be.
//!
//! Where nothing is known the answer is yes: a group that can't occur is a zero, a group that is
//! left out loses its rows.

use skerry_proto::DataType;

use super::{
    interval::{Interval, interval},
    shape::Shape,
};
use crate::question::{Arithmetic, Expression, Function, date};

impl Shape {
    /// Whether NULL is among the values that an expression can have on rows that keep the owner's
    /// declarations.
    #[must_use]
    pub fn may_be_null(&self, expression: &Expression) -> bool {
        Nulls {
            shape: self,
            intervals: self.intervals(),
            types: self.types(),
        }
        .may_be(expression)
    }
}

struct Nulls<'a> {
    shape: &'a Shape,
    intervals: Vec<Interval>,
    types: Vec<DataType>,
}

impl Nulls<'_> {
    fn may_be(&self, expression: &Expression) -> bool {
        let any = |parts: &[Expression]| parts.iter().any(|part| self.may_be(part));
        match expression {
            Expression::Column(index) => self
                .shape
                .columns
                .get(*index)
                .is_none_or(|column| column.nulls),
            Expression::Literal { value, .. } => value.is_null(),
            Expression::IsNull(_) => false,
            Expression::Not(value)
            | Expression::In { value, .. }
            | Expression::Like { value, .. } => self.may_be(value),
            Expression::And(parts) | Expression::Or(parts) => any(parts),
            Expression::Compare { left, right, .. } => self.may_be(left) || self.may_be(right),
            Expression::Arithmetic {
                operator,
                left,
                right,
            } => {
                let by_zero = matches!(operator, Arithmetic::Divide | Arithmetic::Remainder)
                    && self.range(right).contains(0.0);
                by_zero || self.may_be(left) || self.may_be(right)
            }
            Expression::Case {
                branches,
                otherwise,
            } => {
                branches.iter().any(|(_, value)| self.may_be(value))
                    || otherwise.as_ref().is_none_or(|value| self.may_be(value))
            }
            Expression::Cast { value, to } => self.may_be(value) || !self.always_casts(value, *to),
            Expression::Call {
                function,
                arguments,
            } => match function {
                Function::Same => false,
                Function::NullIf => true,
                Function::Coalesce | Function::Greatest | Function::Least => {
                    arguments.iter().all(|part| self.may_be(part))
                }
                Function::Floor
                | Function::Ceiling
                | Function::Round { .. }
                | Function::Lower
                | Function::Upper
                | Function::Length
                | Function::Trim
                | Function::Substring { .. }
                | Function::DaysBetween => any(arguments),
                Function::Absolute => {
                    any(arguments) || arguments.iter().any(|part| !self.range(part).is_bounded())
                }
                Function::DatePart(_) | Function::DateTruncate(_) => {
                    any(arguments) || arguments.iter().any(|part| !self.in_calendar(part))
                }
                Function::AddToDate { .. } => any(arguments) || !self.in_calendar(expression),
            },
        }
    }

    fn range(&self, expression: &Expression) -> Interval {
        interval(expression, &self.intervals, &self.types)
    }

    /// Whether a date or timestamp is surely within the years 1 to 9999.
    fn in_calendar(&self, expression: &Expression) -> bool {
        let day = match expression.data_type(&self.types) {
            Ok(DataType::Timestamp) => date::MICROSECONDS_A_DAY as f64,
            Ok(_) | Err(_) => 1.0,
        };
        let range = self.range(expression);
        range.is_bounded()
            && range.low / day >= f64::from(*date::DAYS.start())
            && range.high / day <= f64::from(*date::DAYS.end())
    }

    /// Whether every value of one type within its range has one of another.
    fn always_casts(&self, value: &Expression, to: DataType) -> bool {
        let Ok(from) = value.data_type(&self.types) else {
            return false;
        };
        match (from, to) {
            (same, to) if same == to => true,
            (DataType::Integer, DataType::Float | DataType::Text | DataType::Boolean)
            | (DataType::Boolean, DataType::Integer | DataType::Text)
            | (DataType::Date, DataType::Integer) => true,
            (DataType::Float, DataType::Integer) => self.range(value).is_bounded(),
            (DataType::Date, DataType::Text | DataType::Timestamp)
            | (DataType::Timestamp, DataType::Date) => self.in_calendar(value),
            (
                DataType::Boolean
                | DataType::Integer
                | DataType::Float
                | DataType::Text
                | DataType::Date
                | DataType::Timestamp,
                _,
            ) => false,
        }
    }
}
