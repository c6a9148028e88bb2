//! The meaning of expressions on single values. It gives the image of public values under group
//! keys, and the reference that the engine's rebuilt plan is tested against.

use std::cmp::Ordering;

use skerry_proto::{DataType, Value};

use super::{Arithmetic, Comparison, Expression, Function, date};

impl Expression {
    /// The value over one row; NULL where there is none.
    #[must_use]
    pub fn evaluate(&self, row: &[Value]) -> Value {
        match self {
            Self::Column(index) => row.get(*index).cloned().unwrap_or(Value::Null),
            Self::Literal { value, .. } => value.clone(),
            Self::Not(value) => match truth(&value.evaluate(row)) {
                Some(known) => Value::Boolean(!known),
                None => Value::Null,
            },
            Self::IsNull(value) => Value::Boolean(value.evaluate(row).is_null()),
            Self::And(parts) => connect(parts, row, false),
            Self::Or(parts) => connect(parts, row, true),
            Self::Compare {
                operator,
                left,
                right,
            } => match compare(&left.evaluate(row), &right.evaluate(row)) {
                Some(order) => Value::Boolean(holds(*operator, order)),
                None => Value::Null,
            },
            Self::Arithmetic {
                operator,
                left,
                right,
            } => arithmetic(*operator, &left.evaluate(row), &right.evaluate(row)),
            Self::Case {
                branches,
                otherwise,
            } => branches
                .iter()
                .find(|(condition, _)| condition.evaluate(row) == Value::Boolean(true))
                .map(|(_, value)| value.evaluate(row))
                .or_else(|| otherwise.as_ref().map(|value| value.evaluate(row)))
                .unwrap_or(Value::Null),
            Self::In { value, list } => match value.evaluate(row) {
                Value::Null => Value::Null,
                found => Value::Boolean(list.contains(&found)),
            },
            Self::Like {
                value,
                pattern,
                ignore_case,
            } => match value.evaluate(row) {
                Value::Text(text) if *ignore_case => {
                    Value::Boolean(like(&text.to_lowercase(), &pattern.to_lowercase()))
                }
                Value::Text(text) => Value::Boolean(like(&text, pattern)),
                Value::Boolean(_)
                | Value::Integer(_)
                | Value::Float(_)
                | Value::Date(_)
                | Value::Timestamp(_)
                | Value::Null => Value::Null,
            },
            Self::Cast { value, to } => cast(&value.evaluate(row), *to),
            Self::Call {
                function,
                arguments,
            } => {
                let arguments: Vec<Value> =
                    arguments.iter().map(|part| part.evaluate(row)).collect();
                call(function, &arguments)
            }
        }
    }
}

fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Boolean(known) => Some(*known),
        Value::Integer(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Null => None,
    }
}

/// `AND` is decided by a false part, `OR` by a true one; else an unknown part makes it unknown.
fn connect(parts: &[Expression], row: &[Value], decisive: bool) -> Value {
    let mut unknown = false;
    for part in parts {
        match truth(&part.evaluate(row)) {
            Some(known) if known == decisive => return Value::Boolean(decisive),
            Some(_) => {}
            None => unknown = true,
        }
    }
    if unknown {
        Value::Null
    } else {
        Value::Boolean(!decisive)
    }
}

fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    if left.data_type().is_some() && left.data_type() == right.data_type() {
        Some(left.cmp(right))
    } else {
        None
    }
}

fn holds(operator: Comparison, order: Ordering) -> bool {
    match operator {
        Comparison::Equal => order.is_eq(),
        Comparison::NotEqual => order.is_ne(),
        Comparison::Less => order.is_lt(),
        Comparison::LessOrEqual => order.is_le(),
        Comparison::Greater => order.is_gt(),
        Comparison::GreaterOrEqual => order.is_ge(),
    }
}

fn arithmetic(operator: Arithmetic, left: &Value, right: &Value) -> Value {
    match (left, right) {
        (Value::Integer(a), Value::Integer(b)) => match operator {
            Arithmetic::Add => Value::Integer(a.wrapping_add(*b)),
            Arithmetic::Subtract => Value::Integer(a.wrapping_sub(*b)),
            Arithmetic::Multiply => Value::Integer(a.wrapping_mul(*b)),
            Arithmetic::Divide if *b != 0 => Value::Integer(a.wrapping_div(*b)),
            Arithmetic::Remainder if *b != 0 => Value::Integer(a.wrapping_rem(*b)),
            Arithmetic::Divide | Arithmetic::Remainder => Value::Null,
        },
        (Value::Float(a), Value::Float(b)) => Value::Float(match operator {
            Arithmetic::Add => a + b,
            Arithmetic::Subtract => a - b,
            Arithmetic::Multiply => a * b,
            Arithmetic::Divide => a / b,
            Arithmetic::Remainder => a % b,
        }),
        (_, _) => Value::Null,
    }
}

/// Whether a text matches a `LIKE` pattern, in time linear in the product of both lengths.
fn like(text: &str, pattern: &str) -> bool {
    enum Piece {
        Any,
        One,
        Exactly(char),
    }
    let mut pieces = vec![];
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        pieces.push(match character {
            '%' => Piece::Any,
            '_' => Piece::One,
            '\\' => Piece::Exactly(characters.next().unwrap_or('\\')),
            other => Piece::Exactly(other),
        });
    }
    // reached[i]: the text so far matches the first i pieces.
    let mut reached = vec![false; pieces.len() + 1];
    let close = |reached: &mut Vec<bool>| {
        for (index, piece) in pieces.iter().enumerate() {
            if matches!(piece, Piece::Any) && reached[index] {
                reached[index + 1] = true;
            }
        }
    };
    reached[0] = true;
    close(&mut reached);
    for character in text.chars() {
        let mut next = vec![false; pieces.len() + 1];
        for (index, piece) in pieces.iter().enumerate() {
            if reached[index] {
                match piece {
                    Piece::Any => next[index] = true,
                    Piece::One => next[index + 1] = true,
                    Piece::Exactly(wanted) => next[index + 1] |= *wanted == character,
                }
            }
        }
        close(&mut next);
        reached = next;
    }
    reached[pieces.len()]
}

fn cast(value: &Value, to: DataType) -> Value {
    match (value, to) {
        (Value::Integer(x), DataType::Float) => Value::Float(*x as f64),
        (Value::Float(x), DataType::Integer) => integer_of(*x),
        (Value::Boolean(x), DataType::Integer) => Value::Integer(i64::from(*x)),
        (Value::Boolean(x), DataType::Text) => Value::Text(x.to_string()),
        (Value::Integer(x), DataType::Boolean) => Value::Boolean(*x != 0),
        (Value::Integer(x), DataType::Text) => Value::Text(x.to_string()),
        (Value::Text(x), DataType::Integer) => x.parse().map_or(Value::Null, Value::Integer),
        (Value::Text(x), DataType::Float) => x.parse().map_or(Value::Null, Value::Float),
        (Value::Text(x), DataType::Date) => date::parse(x).map_or(Value::Null, Value::Date),
        (Value::Date(x), DataType::Text) => date::format(*x).map_or(Value::Null, Value::Text),
        (Value::Date(x), DataType::Integer) => Value::Integer(i64::from(*x)),
        (Value::Date(x), DataType::Timestamp) => i64::from(*x)
            .checked_mul(date::MICROSECONDS_A_DAY)
            .map_or(Value::Null, Value::Timestamp),
        (Value::Timestamp(x), DataType::Date) => {
            i32::try_from(x.div_euclid(date::MICROSECONDS_A_DAY)).map_or(Value::Null, Value::Date)
        }
        (known, to) if known.data_type() == Some(to) => known.clone(),
        (_, _) => Value::Null,
    }
}

/// Toward zero; NULL where no integer is.
fn integer_of(x: f64) -> Value {
    // Both bounds are exact floats; the upper one is the first that is too large.
    if x >= i64::MIN as f64 && x < -(i64::MIN as f64) {
        Value::Integer(x as i64)
    } else {
        Value::Null
    }
}

fn call(function: &Function, arguments: &[Value]) -> Value {
    let extreme = |wanted: Ordering| {
        let known = arguments.iter().filter(|value| !value.is_null());
        known
            .reduce(|best, next| if next.cmp(best) == wanted { next } else { best })
            .cloned()
            .unwrap_or(Value::Null)
    };
    match function {
        Function::Coalesce => {
            return arguments
                .iter()
                .find(|value| !value.is_null())
                .cloned()
                .unwrap_or(Value::Null);
        }
        Function::Same => {
            return Value::Boolean(matches!(arguments, [left, right] if left == right));
        }
        Function::Greatest => return extreme(Ordering::Greater),
        Function::Least => return extreme(Ordering::Less),
        Function::Absolute
        | Function::Floor
        | Function::Ceiling
        | Function::Round { .. }
        | Function::NullIf
        | Function::Lower
        | Function::Upper
        | Function::Length
        | Function::Trim
        | Function::Substring { .. }
        | Function::DatePart(_)
        | Function::DateTruncate(_)
        | Function::AddToDate { .. }
        | Function::DaysBetween => {}
    }
    match (function, arguments) {
        (Function::NullIf, [value, other]) => {
            if compare(value, other) == Some(Ordering::Equal) {
                Value::Null
            } else {
                value.clone()
            }
        }
        (Function::Absolute, [Value::Integer(x)]) => {
            x.checked_abs().map_or(Value::Null, Value::Integer)
        }
        (Function::Absolute, [Value::Float(x)]) => Value::Float(x.abs()),
        (Function::Floor, [Value::Float(x)]) => Value::Float(x.floor()),
        (Function::Ceiling, [Value::Float(x)]) => Value::Float(x.ceil()),
        (Function::Round { decimals }, [Value::Float(x)]) => Value::Float(round(*x, *decimals)),
        (Function::Lower, [Value::Text(x)]) => Value::Text(x.to_lowercase()),
        (Function::Upper, [Value::Text(x)]) => Value::Text(x.to_uppercase()),
        (Function::Trim, [Value::Text(x)]) => Value::Text(x.trim_matches(' ').to_owned()),
        (Function::Length, [Value::Text(x)]) => {
            i64::try_from(x.chars().count()).map_or(Value::Null, Value::Integer)
        }
        (Function::Substring { start, length }, [Value::Text(x)]) => {
            let from = x.chars().skip(start.saturating_sub(1) as usize);
            Value::Text(match length {
                Some(length) => from.take(*length as usize).collect(),
                None => from.collect(),
            })
        }
        (Function::DatePart(unit), [Value::Date(day)]) => {
            date::part(*unit, *day).map_or(Value::Null, Value::Integer)
        }
        (Function::DatePart(unit), [Value::Timestamp(moment)]) => date::day_of(*moment)
            .and_then(|day| date::part(*unit, day))
            .map_or(Value::Null, Value::Integer),
        (Function::DateTruncate(unit), [Value::Date(day)]) => date::truncate(*unit, *day)
            .map_or(Value::Null, |day| Value::Timestamp(date::midnight(day))),
        (Function::DateTruncate(unit), [Value::Timestamp(moment)]) => date::day_of(*moment)
            .and_then(|day| date::truncate(*unit, day))
            .map_or(Value::Null, |day| Value::Timestamp(date::midnight(day))),
        (Function::AddToDate { months, days }, [Value::Date(day)]) => {
            date::add(*day, *months, *days).map_or(Value::Null, Value::Date)
        }
        (Function::DaysBetween, [Value::Date(later), Value::Date(earlier)]) => {
            Value::Integer(i64::from(*later) - i64::from(*earlier))
        }
        (_, _) => Value::Null,
    }
}

fn round(x: f64, decimals: i32) -> f64 {
    let factor = 10f64.powi(decimals);
    (x * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn integer(x: i64) -> Expression {
        Expression::Literal {
            value: Value::Integer(x),
            data_type: DataType::Integer,
        }
    }

    fn divide(left: Expression, right: Expression) -> Expression {
        Expression::Arithmetic {
            operator: Arithmetic::Divide,
            left: left.into(),
            right: right.into(),
        }
    }

    #[test]
    fn division_is_total() {
        assert_eq!(divide(integer(7), integer(0)).evaluate(&[]), Value::Null);
        assert_eq!(
            divide(integer(i64::MIN), integer(-1)).evaluate(&[]),
            Value::Integer(i64::MIN)
        );
        assert_eq!(
            divide(integer(-7), integer(2)).evaluate(&[]),
            Value::Integer(-3)
        );
    }

    #[test]
    fn casts_give_null_where_there_is_no_value() {
        assert_eq!(
            cast(&Value::Text("x".into()), DataType::Integer),
            Value::Null
        );
        assert_eq!(
            cast(&Value::Float(f64::NAN), DataType::Integer),
            Value::Null
        );
        assert_eq!(cast(&Value::Float(1e300), DataType::Integer), Value::Null);
        assert_eq!(
            cast(&Value::Float(-2.9), DataType::Integer),
            Value::Integer(-2)
        );
    }

    #[test]
    fn like_knows_wildcards_and_escapes() {
        assert!(like("abc", "a%"));
        assert!(like("abc", "_b_"));
        assert!(like("a%c", "a\\%c"));
        assert!(!like("abc", "a\\%c"));
        assert!(like("", "%%"));
        assert!(!like("abc", "ab"));
        // Backtracking matchers take exponential time here.
        assert!(!like(
            &"a".repeat(2_000),
            &"%a".repeat(500).replace("%a%a", "%a%b")
        ));
    }

    #[test]
    fn three_valued_logic() {
        let null = Expression::Literal {
            value: Value::Null,
            data_type: DataType::Boolean,
        };
        let yes = Expression::truth();
        let no = Expression::Not(yes.clone().into());
        let and = |a: &Expression, b: &Expression| {
            Expression::And(vec![a.clone(), b.clone()]).evaluate(&[])
        };
        assert_eq!(and(&null, &no), Value::Boolean(false));
        assert_eq!(and(&null, &yes), Value::Null);
        assert_eq!(
            Expression::Or(vec![null, yes]).evaluate(&[]),
            Value::Boolean(true)
        );
    }
}
