//! Trusted. Operations that the engine's own versions of can fail on a row (a date beyond a
//! calendar, the least integer, a long pattern) run as the question's own evaluation, which can't:
//! engine and interpreter are then the same function.
//!
//! A failure would be a bit about one person without noise, so nothing here returns an error that
//! hangs on a value.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Array,
            StringViewArray, TimestampMicrosecondArray,
        },
        compute,
        datatypes::{
            DataType as ArrowType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type,
            Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
            TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
            UInt64Type,
        },
    },
    common::{Result as EngineResult, exec_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};
use skerry_privacy::question::Expression;
use skerry_proto::{DataType, Value};

use super::{Function, engine_type};

/// The value of an expression whose columns are these arguments.
pub(super) fn total(expression: Expression, result: DataType, arguments: Vec<Expr>) -> Expr {
    ScalarUDF::from(Total::new(expression, result)).call(arguments)
}

/// A column as it is read from a file, in the question's type. What has no value there is NULL.
pub(super) fn read_as(column: Expr, data_type: DataType) -> Expr {
    total(Expression::Column(0), data_type, vec![column])
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Total {
    expression: Expression,
    result: DataType,
    /// The engine takes calls of one name with the same arguments for the same call, so the name
    /// says the whole expression.
    name: String,
    signature: Signature,
}

impl Total {
    pub(super) fn written(&self) -> Function {
        Function::Total(self.expression.clone(), self.result)
    }

    pub(super) fn new(expression: Expression, result: DataType) -> Self {
        Self {
            name: format!("total_{expression:?}_{result}"),
            expression,
            result,
            signature: Signature::variadic_any(Volatility::Immutable),
        }
    }
}

impl Hash for Total {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Total {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[ArrowType]) -> EngineResult<ArrowType> {
        Ok(engine_type(self.result))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&arguments.args)?;
        let readers = columns
            .iter()
            .map(reader)
            .collect::<EngineResult<Vec<_>>>()?;
        let rows = columns.first().map_or(0, |column| column.len());
        let mut row = vec![Value::Null; readers.len()];
        let values = (0..rows).map(|index| {
            for (value, read) in row.iter_mut().zip(&readers) {
                *value = read(index);
            }
            self.expression.evaluate(&row)
        });
        Ok(ColumnarValue::Array(array_of(values, self.result)))
    }
}

pub(super) type Reader = Box<dyn Fn(usize) -> Value>;

/// Reads single values of a column; the type is all that can be refused.
pub(super) fn reader(column: &ArrayRef) -> EngineResult<Reader> {
    macro_rules! primitive {
        ($type:ty, $value:expr) => {{
            let column = column.as_primitive::<$type>().clone();
            Box::new(move |row| {
                if column.is_null(row) {
                    Value::Null
                } else {
                    $value(column.value(row))
                }
            })
        }};
    }
    macro_rules! text {
        ($column:expr) => {{
            let column = $column.clone();
            Box::new(move |row| {
                if column.is_null(row) {
                    Value::Null
                } else {
                    Value::Text(column.value(row).to_owned())
                }
            })
        }};
    }
    let integer = |x: i64| Value::Integer(x);
    let scaled = |x: i64, by: i64| x.checked_mul(by).map_or(Value::Null, Value::Timestamp);
    Ok(match column.data_type() {
        ArrowType::Int8 => primitive!(Int8Type, |x| integer(i64::from(x))),
        ArrowType::Int16 => primitive!(Int16Type, |x| integer(i64::from(x))),
        ArrowType::Int32 => primitive!(Int32Type, |x| integer(i64::from(x))),
        ArrowType::Int64 => primitive!(Int64Type, integer),
        ArrowType::UInt8 => primitive!(UInt8Type, |x| integer(i64::from(x))),
        ArrowType::UInt16 => primitive!(UInt16Type, |x| integer(i64::from(x))),
        ArrowType::UInt32 => primitive!(UInt32Type, |x| integer(i64::from(x))),
        ArrowType::UInt64 => primitive!(UInt64Type, |x: u64| i64::try_from(x)
            .map_or(Value::Null, Value::Integer)),
        ArrowType::Float32 => primitive!(Float32Type, |x| Value::Float(f64::from(x))),
        ArrowType::Float64 => primitive!(Float64Type, Value::Float),
        ArrowType::Date32 => primitive!(Date32Type, Value::Date),
        ArrowType::Timestamp(TimeUnit::Second, None) => {
            primitive!(TimestampSecondType, |x| scaled(x, 1_000_000))
        }
        ArrowType::Timestamp(TimeUnit::Millisecond, None) => {
            primitive!(TimestampMillisecondType, |x| scaled(x, 1_000))
        }
        ArrowType::Timestamp(TimeUnit::Microsecond, None) => {
            primitive!(TimestampMicrosecondType, Value::Timestamp)
        }
        ArrowType::Timestamp(TimeUnit::Nanosecond, None) => {
            primitive!(TimestampNanosecondType, |x: i64| Value::Timestamp(
                x.div_euclid(1_000)
            ))
        }
        ArrowType::Boolean => {
            let column = column.as_boolean().clone();
            Box::new(move |row| {
                if column.is_null(row) {
                    Value::Null
                } else {
                    Value::Boolean(column.value(row))
                }
            })
        }
        ArrowType::Utf8 => text!(column.as_string::<i32>()),
        ArrowType::LargeUtf8 => text!(column.as_string::<i64>()),
        ArrowType::Utf8View => text!(column.as_string_view()),
        ArrowType::Dictionary(_, values) => reader(&compute::cast(column, values)?)?,
        other => return exec_err!("no question has type {other}"),
    })
}

/// Values of one type as a column; a value of another type is NULL.
pub(super) fn array_of(values: impl Iterator<Item = Value>, data_type: DataType) -> ArrayRef {
    macro_rules! collect {
        ($array:ty, $variant:path) => {
            Arc::new(
                values
                    .map(|value| match value {
                        $variant(x) => Some(x),
                        _ => None,
                    })
                    .collect::<$array>(),
            )
        };
    }
    match data_type {
        DataType::Boolean => collect!(BooleanArray, Value::Boolean),
        DataType::Integer => collect!(Int64Array, Value::Integer),
        DataType::Float => collect!(Float64Array, Value::Float),
        DataType::Text => collect!(StringViewArray, Value::Text),
        DataType::Date => collect!(Date32Array, Value::Date),
        DataType::Timestamp => collect!(TimestampMicrosecondArray, Value::Timestamp),
    }
}
