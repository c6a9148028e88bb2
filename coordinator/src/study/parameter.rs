//! What can be chosen of a study: typed, with what is allowed.

use std::fmt;

use chrono::NaiveDate;
use skerry_proto::{ErrorCode, Refusal, nearest::nearest};

/// A parameter of a study.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// In the SQL `$name`.
    pub name: String,
    /// What it is, in a few words.
    pub meaning: String,
    /// Its value unless another is given.
    pub default: Value,
    /// The values that it may have.
    pub allowed: Allowed,
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Decimal(f64),
    /// One of the values that the file lists.
    Text(String),
    /// A day.
    Date(NaiveDate),
    /// `true` or `false`.
    Boolean(bool),
}

/// What a parameter may be; both ends are allowed.
#[derive(Debug, Clone, PartialEq)]
pub enum Allowed {
    /// Whole numbers.
    Integers(i64, i64),
    /// Finite numbers.
    Decimals(f64, f64),
    /// Texts.
    Texts(Vec<String>),
    /// Days.
    Dates(NaiveDate, NaiveDate),
    /// `true` and `false`.
    Booleans,
}

impl Value {
    /// As SQL that means this value wherever it stands: a negative number is in parentheses, a
    /// quote is doubled.
    #[must_use]
    pub fn literal(&self) -> String {
        match self {
            Self::Integer(number) if *number < 0 => format!("({number})"),
            Self::Integer(number) => number.to_string(),
            Self::Decimal(number) if number.is_sign_negative() => format!("({number:?})"),
            Self::Decimal(number) => format!("{number:?}"),
            Self::Text(text) => format!("'{}'", text.replace('\'', "''")),
            Self::Date(day) => format!("DATE '{day}'"),
            Self::Boolean(true) => "TRUE".to_owned(),
            Self::Boolean(false) => "FALSE".to_owned(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => number.fmt(f),
            Self::Decimal(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
            Self::Date(day) => day.fmt(f),
            Self::Boolean(flag) => flag.fmt(f),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integers(low, high) => write!(f, "a whole number from {low} to {high}"),
            Self::Decimals(low, high) => write!(f, "a number from {low} to {high}"),
            Self::Texts(values) => f.write_str(&values.join(", ")),
            Self::Dates(low, high) => write!(f, "a day from {low} to {high}"),
            Self::Booleans => f.write_str("true or false"),
        }
    }
}

impl Allowed {
    /// The value that a text says, if it is one of these.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<Value> {
        let value = match self {
            Self::Integers(..) => Value::Integer(text.parse().ok()?),
            Self::Decimals(..) => Value::Decimal(text.parse().ok()?),
            Self::Texts(_) => Value::Text(text.to_owned()),
            Self::Dates(..) => Value::Date(text.parse().ok()?),
            Self::Booleans => Value::Boolean(text.parse().ok()?),
        };
        self.holds(&value).then_some(value)
    }

    /// Whether a value is one of these.
    #[must_use]
    pub fn holds(&self, value: &Value) -> bool {
        match (self, value) {
            (Self::Integers(low, high), Value::Integer(number)) => (low..=high).contains(&number),
            (Self::Decimals(low, high), Value::Decimal(number)) => (low..=high).contains(&number),
            (Self::Texts(values), Value::Text(text)) => values.contains(text),
            (Self::Dates(low, high), Value::Date(day)) => (low..=high).contains(&day),
            (Self::Booleans, Value::Boolean(_)) => true,
            _ => false,
        }
    }
}

impl Parameter {
    /// The value that a text says.
    pub(super) fn read(&self, study: &str, text: &str) -> Result<Value, Refusal> {
        self.allowed.read(text).ok_or_else(|| {
            let hint = match &self.allowed {
                Allowed::Texts(values) => nearest(text, values.iter().map(String::as_str))
                    .map_or_else(
                        || format!("it is one of {}", self.allowed),
                        |near| format!("did you mean `{near}`? It is one of {}", self.allowed),
                    ),
                allowed => format!("it is {allowed}"),
            };
            Refusal::new(
                ErrorCode::InvalidParameter,
                format!(
                    "parameter `{}` of study `{study}` can't be `{text}`",
                    self.name
                ),
                hint,
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_mean_their_value_wherever_they_stand() {
        let day = NaiveDate::from_ymd_opt(2024, 2, 29).expect("a day");
        for (value, literal) in [
            (Value::Integer(365), "365"),
            (Value::Integer(-3), "(-3)"),
            (Value::Decimal(0.5), "0.5"),
            (Value::Decimal(2.0), "2.0"),
            (Value::Decimal(-2.5), "(-2.5)"),
            (Value::Text("o'clock".into()), "'o''clock'"),
            (Value::Date(day), "DATE '2024-02-29'"),
            (Value::Boolean(true), "TRUE"),
        ] {
            assert_eq!(value.literal(), literal);
        }
    }

    #[test]
    fn what_is_not_allowed_is_not_read() {
        let day = |text: &str| text.parse().expect("a day");
        for (allowed, good, bad) in [
            (
                Allowed::Integers(30, 730),
                ["30", "730"],
                ["29", "731", "30.5", "", "1e2"],
            ),
            (
                Allowed::Decimals(0.0, 1.0),
                ["0", "0.25"],
                ["1.01", "NaN", "inf", "x", "-0.1"],
            ),
            (
                Allowed::Texts(vec!["a".into(), "b".into()]),
                ["a", "b"],
                ["c", "A", "", "a b", "a'"],
            ),
            (
                Allowed::Dates(day("2024-01-01"), day("2024-12-31")),
                ["2024-01-01", "2024-12-31"],
                ["2023-12-31", "2025-01-01", "2024-02-30", "20240101", "x"],
            ),
            (
                Allowed::Booleans,
                ["true", "false"],
                ["TRUE", "1", "yes", "", "no"],
            ),
        ] {
            for text in good {
                assert!(allowed.read(text).is_some(), "{text}: {allowed}");
            }
            for text in bad {
                assert_eq!(allowed.read(text), None, "{text}: {allowed}");
            }
        }
    }
}
