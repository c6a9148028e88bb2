//! What an owner declares public about a column: its range, or its values.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime};
use skerry_proto::{DataType, Value};

/// What is public about a column. The file doesn't name types, so that a date may still be a
/// [`Value::Text`] here; [`Domain::typed`] settles it once the data file's schema is known.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// Nothing but the column's name and type.
    Undeclared,
    /// All values lie between the two, both included. Numbers, dates or timestamps.
    Range {
        /// The least value.
        low: Value,
        /// The greatest value.
        high: Value,
    },
    /// The values are of this list, which has no duplicates.
    Values(Vec<Value>),
    /// The values are those of a public table's column.
    ValuesFrom {
        /// The public table, of the same file.
        table: String,
        /// Its column.
        column: String,
    },
}

impl Domain {
    /// The same domain, each value of the column's type.
    ///
    /// # Errors
    /// The reason, for people, when a declared value is none of that type.
    pub fn typed(&self, data_type: DataType) -> Result<Self, String> {
        match self {
            Self::Undeclared | Self::ValuesFrom { .. } => Ok(self.clone()),
            Self::Range { low, high } => {
                if matches!(data_type, DataType::Text | DataType::Boolean) {
                    return Err(format!(
                        "a {data_type} column has no range; declare its `values`"
                    ));
                }
                Ok(Self::Range {
                    low: typed(low, data_type, NaiveTime::MIN)?,
                    high: typed(high, data_type, last_of_day())?,
                })
            }
            Self::Values(values) => values
                .iter()
                .map(|value| typed(value, data_type, NaiveTime::MIN))
                .collect::<Result<_, _>>()
                .map(Self::Values),
        }
    }
}

/// The last microsecond of a day: a range of timestamps that ends with a date holds that day.
fn last_of_day() -> NaiveTime {
    NaiveTime::from_hms_micro_opt(23, 59, 59, 999_999).unwrap_or(NaiveTime::MIN)
}

/// Integers that a double holds exactly lie within.
const EXACT: i64 = 1 << 53;

fn typed(value: &Value, data_type: DataType, time_of_day: NaiveTime) -> Result<Value, String> {
    let refused = || format!("{} is no {data_type}", show(value));
    Ok(match (value, data_type) {
        (Value::Integer(x), DataType::Float) if (-EXACT..=EXACT).contains(x) => {
            Value::Float(*x as f64)
        }
        (Value::Float(x), DataType::Integer) if x.fract() == 0.0 && x.abs() <= EXACT as f64 => {
            Value::Integer(*x as i64)
        }
        (Value::Text(text), DataType::Date | DataType::Timestamp) => {
            let moment = parse_moment(text).ok_or_else(refused)?;
            typed(&moment, data_type, time_of_day)?
        }
        (Value::Date(days), DataType::Timestamp) => {
            let date = NaiveDate::from_epoch_days(*days).ok_or_else(refused)?;
            Value::Timestamp(date.and_time(time_of_day).and_utc().timestamp_micros())
        }
        (same, wanted) if same.data_type() == Some(wanted) => same.clone(),
        _ => return Err(refused()),
    })
}

/// A date (`2024-12-31`) or a timestamp without a zone (`2024-12-31T23:59:59.5`, or with a
/// space), or nothing.
#[must_use]
pub fn parse_moment(text: &str) -> Option<Value> {
    if let Ok(date) = text.parse::<NaiveDate>() {
        return Some(Value::Date(date.to_epoch_days()));
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|moment| Value::Timestamp(moment.and_utc().timestamp_micros()))
}

/// A date or timestamp as ISO text; other values as SQL writes them.
#[must_use]
pub fn show(value: &Value) -> String {
    match value {
        Value::Date(days) => NaiveDate::from_epoch_days(*days)
            .map_or_else(|| value.to_string(), |date| date.to_string()),
        Value::Timestamp(micros) => DateTime::from_timestamp_micros(*micros).map_or_else(
            || value.to_string(),
            |moment| moment.format("%Y-%m-%dT%H:%M:%S%.f").to_string(),
        ),
        _ => value.to_string(),
    }
}
