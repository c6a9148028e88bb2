//! Public values: literals, members of declared lists, group keys.

use std::{cmp::Ordering, fmt, hash};

use serde::{Deserialize, Serialize};

/// The types that a question knows. Narrower types of a file are widened when it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// True or false.
    Boolean,
    /// 64 bits, signed.
    Integer,
    /// IEEE double.
    Float,
    /// UTF-8.
    Text,
    /// Days since 1970-01-01.
    Date,
    /// Microseconds since 1970-01-01T00:00:00, without a zone.
    Timestamp,
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Boolean => "boolean",
            Self::Integer => "integer",
            Self::Float => "float",
            Self::Text => "text",
            Self::Date => "date",
            Self::Timestamp => "timestamp",
        })
    }
}

/// One value, or NULL. Ordered within a type, NULL last; floats by total order with one zero,
/// so that a value can be a group key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Value {
    /// True or false.
    Boolean(bool),
    /// 64 bits, signed.
    Integer(i64),
    /// IEEE double.
    Float(f64),
    /// UTF-8.
    Text(String),
    /// Days since 1970-01-01.
    Date(i32),
    /// Microseconds since 1970-01-01T00:00:00.
    Timestamp(i64),
    /// SQL's NULL, of any type.
    Null,
}

impl Value {
    /// The type, or nothing for NULL.
    #[must_use]
    pub fn data_type(&self) -> Option<DataType> {
        match self {
            Self::Boolean(_) => Some(DataType::Boolean),
            Self::Integer(_) => Some(DataType::Integer),
            Self::Float(_) => Some(DataType::Float),
            Self::Text(_) => Some(DataType::Text),
            Self::Date(_) => Some(DataType::Date),
            Self::Timestamp(_) => Some(DataType::Timestamp),
            Self::Null => None,
        }
    }

    /// Whether this is NULL.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Boolean(_) => 0,
            Self::Integer(_) => 1,
            Self::Float(_) => 2,
            Self::Text(_) => 3,
            Self::Date(_) => 4,
            Self::Timestamp(_) => 5,
            Self::Null => 6,
        }
    }
}

/// Both zeros are one key, as in SQL.
fn one_zero(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Boolean(a), Self::Boolean(b)) => a.cmp(b),
            (Self::Integer(a), Self::Integer(b)) | (Self::Timestamp(a), Self::Timestamp(b)) => {
                a.cmp(b)
            }
            (Self::Float(a), Self::Float(b)) => one_zero(*a).total_cmp(&one_zero(*b)),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Date(a), Self::Date(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

impl hash::Hash for Value {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.rank().hash(state);
        match self {
            Self::Boolean(x) => x.hash(state),
            Self::Integer(x) | Self::Timestamp(x) => x.hash(state),
            Self::Float(x) => one_zero(*x).to_bits().hash(state),
            Self::Text(x) => x.hash(state),
            Self::Date(x) => x.hash(state),
            Self::Null => {}
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Boolean(x) => x.fmt(f),
            Self::Integer(x) => x.fmt(f),
            Self::Float(x) => x.fmt(f),
            Self::Text(x) => write!(f, "'{}'", x.replace('\'', "''")),
            Self::Date(x) => write!(f, "date {x}"),
            Self::Timestamp(x) => write!(f, "timestamp {x}"),
            Self::Null => f.write_str("NULL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_zeros_are_one_key_and_null_comes_last() {
        assert_eq!(Value::Float(0.0), Value::Float(-0.0));
        assert!(Value::Integer(i64::MAX) < Value::Null);
        assert_eq!(Value::Null, Value::Null);
    }
}
