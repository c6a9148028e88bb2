//! Trusted. Types of plans and of questions.

use datafusion::{
    arrow::datatypes::{DataType as ArrowType, TimeUnit},
    common::ScalarValue,
};
use skerry_proto::{DataType, Value};

/// The question's type for an Arrow type; nothing for types that can't be asked about.
pub(crate) fn plain_type(arrow: &ArrowType) -> Option<DataType> {
    match arrow {
        ArrowType::Boolean => Some(DataType::Boolean),
        ArrowType::Int8
        | ArrowType::Int16
        | ArrowType::Int32
        | ArrowType::Int64
        | ArrowType::UInt8
        | ArrowType::UInt16
        | ArrowType::UInt32
        | ArrowType::UInt64 => Some(DataType::Integer),
        ArrowType::Float16 | ArrowType::Float32 | ArrowType::Float64 => Some(DataType::Float),
        // What adding an unsigned and a signed number makes, and how some systems write integers.
        ArrowType::Decimal32(_, 0)
        | ArrowType::Decimal64(_, 0)
        | ArrowType::Decimal128(_, 0)
        | ArrowType::Decimal256(_, 0) => Some(DataType::Integer),
        // Other decimals are read as floats, to some sixteen digits.
        ArrowType::Decimal32(_, _)
        | ArrowType::Decimal64(_, _)
        | ArrowType::Decimal128(_, _)
        | ArrowType::Decimal256(_, _) => Some(DataType::Float),
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => Some(DataType::Text),
        ArrowType::Date32 => Some(DataType::Date),
        ArrowType::Timestamp(_, None) => Some(DataType::Timestamp),
        ArrowType::Dictionary(_, values) => plain_type(values),
        _ => None,
    }
}

/// The Arrow type in which the engine computes: as announced, but texts as views, which is how
/// Parquet files are read.
pub(crate) fn engine_type(plain: DataType) -> ArrowType {
    match plain {
        DataType::Text => ArrowType::Utf8View,
        DataType::Boolean
        | DataType::Integer
        | DataType::Float
        | DataType::Date
        | DataType::Timestamp => arrow_type(plain),
    }
}

/// The Arrow type in which a question's type is announced.
pub(crate) fn arrow_type(plain: DataType) -> ArrowType {
    match plain {
        DataType::Boolean => ArrowType::Boolean,
        DataType::Integer => ArrowType::Int64,
        DataType::Float => ArrowType::Float64,
        DataType::Text => ArrowType::Utf8,
        DataType::Date => ArrowType::Date32,
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, None),
    }
}

/// A literal's value and type; nothing for types that can't be asked about.
pub(crate) fn plain_value(scalar: &ScalarValue) -> Option<(Value, DataType)> {
    let data_type = plain_type(&scalar.data_type())?;
    if scalar.is_null() {
        return Some((Value::Null, data_type));
    }
    let value = match scalar.cast_to(&arrow_type(data_type)).ok()? {
        ScalarValue::Boolean(Some(x)) => Value::Boolean(x),
        ScalarValue::Int64(Some(x)) => Value::Integer(x),
        // NaN and the infinities are no values to ask with.
        ScalarValue::Float64(Some(x)) if x.is_finite() => Value::Float(x),
        ScalarValue::Utf8(Some(x)) => Value::Text(x),
        ScalarValue::Date32(Some(x)) => Value::Date(x),
        ScalarValue::TimestampMicrosecond(Some(x), None) => Value::Timestamp(x),
        _ => return None,
    };
    Some((value, data_type))
}

/// The engine's literal for a public value.
pub(crate) fn scalar(value: &Value, data_type: DataType) -> ScalarValue {
    match (value, data_type) {
        (Value::Boolean(x), _) => ScalarValue::Boolean(Some(*x)),
        (Value::Integer(x), _) => ScalarValue::Int64(Some(*x)),
        (Value::Float(x), _) => ScalarValue::Float64(Some(*x)),
        (Value::Text(x), _) => ScalarValue::Utf8View(Some(x.clone())),
        (Value::Date(x), _) => ScalarValue::Date32(Some(*x)),
        (Value::Timestamp(x), _) => ScalarValue::TimestampMicrosecond(Some(*x), None),
        (Value::Null, DataType::Boolean) => ScalarValue::Boolean(None),
        (Value::Null, DataType::Integer) => ScalarValue::Int64(None),
        (Value::Null, DataType::Float) => ScalarValue::Float64(None),
        (Value::Null, DataType::Text) => ScalarValue::Utf8View(None),
        (Value::Null, DataType::Date) => ScalarValue::Date32(None),
        (Value::Null, DataType::Timestamp) => ScalarValue::TimestampMicrosecond(None, None),
    }
}
