//! Which values a numeric expression can take, from public ranges alone.
//!
//! Privacy doesn't rest on these bounds: a person's whole vector is scaled to its norm whatever
//! they say. A bound that is too narrow clips honest data, one that is too wide adds noise.

use skerry_proto::{DataType, Value};

use crate::question::{Arithmetic, DateUnit, Expression, Function, INTEGER_TO_FLOAT_EXACT, date};

/// A closed interval; unknown ends are infinite. Dates count as days, timestamps as microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Least value.
    pub low: f64,
    /// Greatest value.
    pub high: f64,
}

impl Interval {
    /// Nothing is known.
    pub const ALL: Self = Self {
        low: f64::NEG_INFINITY,
        high: f64::INFINITY,
    };

    /// From one end to the other.
    #[must_use]
    pub fn new(low: f64, high: f64) -> Self {
        Self { low, high }
    }

    /// Whether both ends are known, and in order.
    #[must_use]
    pub fn is_bounded(self) -> bool {
        self.low.is_finite() && self.high.is_finite() && self.low <= self.high
    }

    /// Whether it holds a value.
    #[must_use]
    pub fn contains(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }

    /// The sums of one to so many of its values.
    #[must_use]
    pub fn times_up_to(self, most: f64) -> Self {
        if self.low > self.high {
            return self;
        }
        Self::new(
            self.low.min(self.low * most),
            self.high.max(self.high * most),
        )
    }

    /// The least interval that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self::new(self.low.min(other.low), self.high.max(other.high))
    }

    /// What both allow. Where that is nothing the result is one point, so that it stays usable.
    #[must_use]
    pub fn narrow(self, other: Self) -> Self {
        let low = self.low.max(other.low);
        let high = self.high.min(other.high);
        if low <= high {
            Self::new(low, high)
        } else {
            let point = low.min(self.high).max(self.low);
            Self::new(point, point)
        }
    }

    /// Over all pairs of ends; an end that is no number is unknown.
    fn of_ends(self, other: Self, operation: impl Fn(f64, f64) -> f64) -> Self {
        let ends = [
            operation(self.low, other.low),
            operation(self.low, other.high),
            operation(self.high, other.low),
            operation(self.high, other.high),
        ];
        if ends.iter().any(|end| end.is_nan()) {
            return Self::ALL;
        }
        Self::new(
            ends.iter().copied().fold(f64::INFINITY, f64::min),
            ends.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        )
    }
}

/// A public value as a number; dates as days, timestamps as microseconds.
#[must_use]
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Boolean(x) => Some(f64::from(u8::from(*x))),
        Value::Integer(x) => Some(*x as f64),
        Value::Float(x) => Some(*x).filter(|x| x.is_finite()),
        Value::Date(x) => Some(f64::from(*x)),
        Value::Timestamp(x) if x.unsigned_abs() <= INTEGER_TO_FLOAT_EXACT.unsigned_abs() => {
            Some(*x as f64)
        }
        Value::Timestamp(_) | Value::Text(_) | Value::Null => None,
    }
}

const DAY: f64 = date::MICROSECONDS_A_DAY as f64;

/// The days on which dates or timestamps lie.
fn days(of: Interval, data_type: DataType) -> Interval {
    match data_type {
        DataType::Timestamp => Interval::new((of.low / DAY).floor(), (of.high / DAY).floor()),
        DataType::Date
        | DataType::Boolean
        | DataType::Integer
        | DataType::Float
        | DataType::Text => of,
    }
}

/// A function of dates that never falls, over an interval of days.
fn of_days(days: Interval, function: impl Fn(i32) -> Option<i64>) -> Option<Interval> {
    let within = f64::from(*date::DAYS.start())..=f64::from(*date::DAYS.end());
    let at = |day: f64| {
        let day = Some(day).filter(|day| within.contains(day))?;
        function(day as i32).map(|x| x as f64)
    };
    Some(Interval::new(at(days.low)?, at(days.high)?))
}

/// The values of an expression, given those of the input's columns.
#[must_use]
pub fn interval(expression: &Expression, columns: &[Interval], types: &[DataType]) -> Interval {
    let of = |part: &Expression| interval(part, columns, types);
    let integer = expression.data_type(types) == Ok(DataType::Integer);
    let found = match expression {
        Expression::Column(index) => columns.get(*index).copied().unwrap_or(Interval::ALL),
        Expression::Literal { value, .. } => match number(value) {
            Some(x) => Interval::new(x, x),
            // NULL contributes nothing and so widens nothing.
            None if value.is_null() => Interval::new(f64::INFINITY, f64::NEG_INFINITY),
            None => Interval::ALL,
        },
        Expression::Not(_)
        | Expression::IsNull(_)
        | Expression::And(_)
        | Expression::Or(_)
        | Expression::Compare { .. }
        | Expression::In { .. }
        | Expression::Like { .. } => Interval::new(0.0, 1.0),
        Expression::Arithmetic {
            operator,
            left,
            right,
        } => arithmetic(*operator, of(left), of(right), integer),
        Expression::Case {
            branches,
            otherwise,
        } => branches
            .iter()
            .map(|(condition, value)| {
                let narrowed = narrow_by(condition, columns);
                interval(value, &narrowed, types)
            })
            .chain(otherwise.iter().map(|value| of(value)))
            .reduce(Interval::hull)
            .unwrap_or(Interval::ALL),
        Expression::Cast { value, to } => {
            let from = value.data_type(types);
            cast(of(value), from.unwrap_or(DataType::Text), *to)
        }
        Expression::Call {
            function,
            arguments,
        } => {
            let parts: Vec<Interval> = arguments.iter().map(of).collect();
            let first = arguments.first().map(|first| first.data_type(types));
            call(function, &parts, first.and_then(Result::ok))
        }
    };
    // Beyond these an integer wraps around, so nothing is known.
    let wraps = integer && (found.low < i64::MIN as f64 || found.high >= -(i64::MIN as f64));
    if wraps && found.low <= found.high {
        Interval::ALL
    } else {
        found
    }
}

fn arithmetic(operator: Arithmetic, left: Interval, right: Interval, integer: bool) -> Interval {
    match operator {
        Arithmetic::Add => Interval::new(left.low + right.low, left.high + right.high),
        Arithmetic::Subtract => Interval::new(left.low - right.high, left.high - right.low),
        Arithmetic::Multiply => left.of_ends(right, |a, b| a * b),
        Arithmetic::Divide if integer => {
            // The least divisor that is not zero has magnitude one.
            if right.low > 0.0 || right.high < 0.0 {
                let exact = left.of_ends(right, |a, b| a / b);
                Interval::new(exact.low.trunc(), exact.high.trunc())
            } else {
                let most = left.low.abs().max(left.high.abs());
                Interval::new(-most, most)
            }
        }
        Arithmetic::Divide => {
            if right.low > 0.0 || right.high < 0.0 {
                left.of_ends(right, |a, b| a / b)
            } else {
                Interval::ALL
            }
        }
        Arithmetic::Remainder => {
            let most = right.low.abs().max(right.high.abs());
            let low = if left.low >= 0.0 { 0.0 } else { -most };
            let high = if left.high <= 0.0 { 0.0 } else { most };
            Interval::new(low.max(left.low.min(0.0)), high.min(left.high.max(0.0)))
        }
    }
}

fn cast(of: Interval, from: DataType, to: DataType) -> Interval {
    match (from, to) {
        // Of a text nothing is known.
        (DataType::Text, _) | (_, DataType::Text) => Interval::ALL,
        (_, DataType::Boolean) => Interval::new(0.0, 1.0),
        (_, DataType::Date) => days(of, from),
        (DataType::Date, DataType::Timestamp) => Interval::new(of.low * DAY, of.high * DAY),
        (_, DataType::Integer) => Interval::new(of.low.trunc(), of.high.trunc()),
        (_, DataType::Float | DataType::Timestamp) => of,
    }
}

fn call(function: &Function, parts: &[Interval], of_first: Option<DataType>) -> Interval {
    let of_first = of_first.unwrap_or(DataType::Text);
    let first = parts.first().copied().unwrap_or(Interval::ALL);
    match function {
        Function::Absolute => {
            let most = first.low.abs().max(first.high.abs());
            if first.low >= 0.0 {
                first
            } else if first.high <= 0.0 {
                Interval::new(-first.high, -first.low)
            } else {
                Interval::new(0.0, most)
            }
        }
        Function::Floor => Interval::new(first.low.floor(), first.high.floor()),
        Function::Ceiling => Interval::new(first.low.ceil(), first.high.ceil()),
        Function::Round { decimals } => {
            let half = 0.5 * 10f64.powi(-decimals);
            Interval::new(first.low - half, first.high + half)
        }
        Function::Coalesce => parts
            .iter()
            .copied()
            .reduce(Interval::hull)
            .unwrap_or(Interval::ALL),
        // An argument that is NULL is passed over, so an end holds only if the others' can't
        // undercut it.
        Function::Greatest => Interval::new(
            parts
                .iter()
                .map(|part| part.low)
                .fold(f64::INFINITY, f64::min),
            parts
                .iter()
                .map(|part| part.high)
                .fold(f64::NEG_INFINITY, f64::max),
        )
        .narrow_low(literal_floor(parts)),
        Function::Least => Interval::new(
            parts
                .iter()
                .map(|part| part.low)
                .fold(f64::INFINITY, f64::min),
            parts
                .iter()
                .map(|part| part.high)
                .fold(f64::NEG_INFINITY, f64::max),
        )
        .narrow_high(literal_ceiling(parts)),
        Function::NullIf => first,
        Function::Same => Interval::new(0.0, 1.0),
        // Never negative; the upper end only says that no integer wraps, and is too far to sum to.
        Function::Length => Interval::new(0.0, f64::from(2).powi(62)),
        Function::DatePart(unit) => match unit {
            DateUnit::Year => of_days(days(first, of_first), |day| date::part(*unit, day))
                .unwrap_or(Interval::new(1.0, 9_999.0)),
            DateUnit::Quarter => Interval::new(1.0, 4.0),
            DateUnit::Month => Interval::new(1.0, 12.0),
            DateUnit::Week => Interval::new(1.0, 53.0),
            DateUnit::Day => Interval::new(1.0, 31.0),
            DateUnit::DayOfWeek => Interval::new(0.0, 6.0),
            DateUnit::DayOfYear => Interval::new(1.0, 366.0),
        },
        Function::AddToDate { months, days } => {
            let (months, days) = (f64::from(*months), f64::from(*days));
            let (few, many) = (months * 28.0, months * 31.0);
            Interval::new(
                first.low + few.min(many) + days,
                first.high + few.max(many) + days,
            )
        }
        Function::DaysBetween => match parts {
            [later, earlier] => Interval::new(later.low - earlier.high, later.high - earlier.low),
            _ => Interval::ALL,
        },
        Function::Lower | Function::Upper | Function::Trim | Function::Substring { .. } => {
            Interval::ALL
        }
        Function::DateTruncate(unit) => of_days(days(first, of_first), |day| {
            date::truncate(*unit, day).map(date::midnight)
        })
        .unwrap_or(Interval::ALL),
    }
}

/// `GREATEST(x, 0)` is never below 0: a point among the arguments is there on every row.
fn literal_floor(parts: &[Interval]) -> f64 {
    let points = parts.iter().filter(|part| part.low == part.high);
    points
        .map(|part| part.low)
        .fold(f64::NEG_INFINITY, f64::max)
}

fn literal_ceiling(parts: &[Interval]) -> f64 {
    let points = parts.iter().filter(|part| part.low == part.high);
    points.map(|part| part.low).fold(f64::INFINITY, f64::min)
}

impl Interval {
    fn narrow_low(self, floor: f64) -> Self {
        Self::new(self.low.max(floor), self.high.max(floor))
    }

    fn narrow_high(self, ceiling: f64) -> Self {
        Self::new(self.low.min(ceiling), self.high.min(ceiling))
    }
}

/// The columns' intervals where a condition is true.
#[must_use]
pub fn narrow_by(condition: &Expression, columns: &[Interval]) -> Vec<Interval> {
    let mut narrowed = columns.to_vec();
    narrow_into(condition, &mut narrowed);
    narrowed
}

fn narrow_into(condition: &Expression, columns: &mut [Interval]) {
    use crate::question::Comparison as C;
    match condition {
        Expression::And(parts) => {
            for part in parts {
                narrow_into(part, columns);
            }
        }
        Expression::Compare {
            operator,
            left,
            right,
        } => {
            let (column, bound, operator) = match (column_of(left), column_of(right)) {
                (Some(column), None) => (column, point_of(right), *operator),
                (None, Some(column)) => {
                    let mirrored = match operator {
                        C::Less => C::Greater,
                        C::LessOrEqual => C::GreaterOrEqual,
                        C::Greater => C::Less,
                        C::GreaterOrEqual => C::LessOrEqual,
                        C::Equal => C::Equal,
                        C::NotEqual => C::NotEqual,
                    };
                    (column, point_of(left), mirrored)
                }
                (Some(_), Some(_)) | (None, None) => return,
            };
            let (Some(bound), Some(known)) = (bound, columns.get_mut(column)) else {
                return;
            };
            *known = match operator {
                C::Equal => known.narrow(Interval::new(bound, bound)),
                C::Less | C::LessOrEqual => known.narrow(Interval::new(f64::NEG_INFINITY, bound)),
                C::Greater | C::GreaterOrEqual => known.narrow(Interval::new(bound, f64::INFINITY)),
                C::NotEqual => *known,
            };
        }
        Expression::In { value, list } => {
            let members: Option<Vec<f64>> = list.iter().map(number).collect();
            if let (Some(column), Some(members)) = (column_of(value), members)
                && let Some(known) = columns.get_mut(column)
                && !members.is_empty()
            {
                *known = known.narrow(Interval::new(
                    members.iter().copied().fold(f64::INFINITY, f64::min),
                    members.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                ));
            }
        }
        Expression::Column(_)
        | Expression::Literal { .. }
        | Expression::Not(_)
        | Expression::IsNull(_)
        | Expression::Or(_)
        | Expression::Arithmetic { .. }
        | Expression::Case { .. }
        | Expression::Like { .. }
        | Expression::Cast { .. }
        | Expression::Call { .. } => {}
    }
}

/// A column, also behind the cast from integer to float that comparing with a float brings.
fn column_of(expression: &Expression) -> Option<usize> {
    match expression {
        Expression::Column(index) => Some(*index),
        Expression::Cast {
            value,
            to: DataType::Float,
        } => column_of(value),
        Expression::Cast { .. }
        | Expression::Literal { .. }
        | Expression::Not(_)
        | Expression::IsNull(_)
        | Expression::And(_)
        | Expression::Or(_)
        | Expression::Compare { .. }
        | Expression::Arithmetic { .. }
        | Expression::Case { .. }
        | Expression::In { .. }
        | Expression::Like { .. }
        | Expression::Call { .. } => None,
    }
}

fn point_of(expression: &Expression) -> Option<f64> {
    let mut columns = std::collections::BTreeSet::new();
    expression.collect_columns(&mut columns);
    if columns.is_empty() {
        number(&expression.evaluate(&[]))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::question::Comparison;

    fn float(x: f64) -> Expression {
        Expression::Literal {
            value: Value::Float(x),
            data_type: DataType::Float,
        }
    }

    fn call_of(function: Function, arguments: Vec<Expression>) -> Expression {
        Expression::Call {
            function,
            arguments,
        }
    }

    #[test]
    fn clamping_by_hand_gives_a_range_to_a_column_without_one() {
        let clamped = call_of(
            Function::Least,
            vec![
                call_of(Function::Greatest, vec![Expression::Column(0), float(0.0)]),
                float(200_000.0),
            ],
        );
        let found = interval(&clamped, &[Interval::ALL], &[DataType::Float]);
        assert_eq!(found, Interval::new(0.0, 200_000.0));
    }

    #[test]
    fn a_condition_narrows_the_branch_behind_it() {
        let condition = Expression::Compare {
            operator: Comparison::LessOrEqual,
            left: Expression::Column(0).into(),
            right: float(10.0).into(),
        };
        let case = Expression::Case {
            branches: vec![(condition, Expression::Column(0))],
            otherwise: Some(float(10.0).into()),
        };
        let found = interval(&case, &[Interval::new(0.0, 99.0)], &[DataType::Float]);
        assert_eq!(found, Interval::new(0.0, 10.0));
    }

    #[test]
    fn what_may_wrap_around_is_unknown() {
        let product = Expression::Arithmetic {
            operator: Arithmetic::Multiply,
            left: Expression::Column(0).into(),
            right: Expression::Column(0).into(),
        };
        let found = interval(&product, &[Interval::new(0.0, 1e10)], &[DataType::Integer]);
        assert_eq!(found, Interval::ALL);
    }
}
