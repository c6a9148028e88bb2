//! Trusted. What a row says: the position of its group, and its amount of each measure.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, UInt32Array, UInt32Builder},
        compute,
        datatypes::{
            DataType as ArrowType, Date32Type, Float64Type, Int64Type, TimestampMicrosecondType,
        },
    },
    common::{Result as EngineResult, exec_err, plan_datafusion_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    prelude::lit,
};
use skerry_privacy::analysis::measure::{Measure, MeasureKind};
use skerry_proto::{DataType, Value};

use super::{engine_type, expression::total_cast};

/// The position of a row's group in the quote, NULL for a row outside all groups.
pub(super) fn group(
    groups: &[Vec<Value>],
    key_types: &[DataType],
    keys: Vec<Expr>,
) -> EngineResult<Expr> {
    if keys.is_empty() {
        return Ok(lit(0u32));
    }
    let function = GroupPosition::new(groups, key_types)?;
    let typed = keys
        .into_iter()
        .zip(key_types)
        .map(|(key, data_type)| total_cast(key, *data_type))
        .collect();
    Ok(ScalarUDF::from(function).call(typed))
}

/// A row's amount of a measure in cell units, NULL for a row that doesn't contribute.
pub(super) fn amount(measure: &Measure, argument: Option<Expr>) -> Expr {
    let once = measure.grid.units(1.0);
    match (measure.kind, argument) {
        (MeasureKind::Persons | MeasureKind::Rows, None) => lit(once),
        (MeasureKind::Persons, Some(holds)) => {
            ScalarUDF::from(Amount::new(AmountKind::IfTrue(once))).call(vec![holds])
        }
        (MeasureKind::Rows, Some(value)) => {
            ScalarUDF::from(Amount::new(AmountKind::IfKnown(once))).call(vec![value])
        }
        (MeasureKind::Sum, argument) => {
            let value = total_cast(argument.unwrap_or(lit(0.0f64)), DataType::Float);
            ScalarUDF::from(Amount::new(AmountKind::Clipped(Box::new(measure.clone()))))
                .call(vec![value])
        }
    }
}

/// Position of a key's value among the values that this key has in the groups.
#[derive(Debug)]
struct KeyCodes {
    codes: HashMap<Value, u32>,
    /// Codes by position in a type's own order, for texts: looked up without making a `Value`.
    texts: HashMap<String, u32>,
}

/// From key values to the position of the group.
#[derive(Debug)]
struct GroupPosition {
    keys: Vec<KeyCodes>,
    /// Mixed-radix combination of the keys' codes to the group's position.
    positions: HashMap<u64, u32>,
    signature: Signature,
    /// What it does follows from the groups; two functions are the same if these are.
    groups: Vec<Vec<Value>>,
}

impl GroupPosition {
    fn new(groups: &[Vec<Value>], key_types: &[DataType]) -> EngineResult<Self> {
        let mut keys: Vec<KeyCodes> = key_types
            .iter()
            .map(|_| KeyCodes {
                codes: HashMap::new(),
                texts: HashMap::new(),
            })
            .collect();
        for group in groups {
            for (key, value) in keys.iter_mut().zip(group) {
                let next = key.codes.len() as u32;
                let code = *key.codes.entry(value.clone()).or_insert(next);
                if let Value::Text(text) = value {
                    key.texts.insert(text.clone(), code);
                }
            }
        }
        let mut positions = HashMap::new();
        for (position, group) in groups.iter().enumerate() {
            let codes = keys
                .iter()
                .zip(group)
                .map(|(key, value)| key.codes.get(value).copied());
            let combined =
                combine(&keys, codes).ok_or_else(|| plan_datafusion_err!("too many groups"))?;
            positions.insert(combined, position as u32);
        }
        let types = key_types
            .iter()
            .map(|data_type| engine_type(*data_type))
            .collect();
        Ok(Self {
            keys,
            positions,
            signature: Signature::exact(types, Volatility::Immutable),
            groups: groups.to_vec(),
        })
    }
}

fn combine(keys: &[KeyCodes], codes: impl Iterator<Item = Option<u32>>) -> Option<u64> {
    let mut combined = 0u64;
    for (key, code) in keys.iter().zip(codes) {
        combined = combined
            .checked_mul(key.codes.len() as u64)?
            .checked_add(u64::from(code?))?;
    }
    Some(combined)
}

impl PartialEq for GroupPosition {
    fn eq(&self, other: &Self) -> bool {
        self.groups == other.groups && self.signature == other.signature
    }
}

impl Eq for GroupPosition {}

impl Hash for GroupPosition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.groups.hash(state);
    }
}

impl KeyCodes {
    /// The code of each row's value; `u32::MAX` where the value is in no group.
    fn codes_of(&self, column: &dyn Array) -> EngineResult<Vec<u32>> {
        const NONE: u32 = u32::MAX;
        let null = self.codes.get(&Value::Null).copied().unwrap_or(NONE);
        let of = |value: Value| self.codes.get(&value).copied().unwrap_or(NONE);
        Ok(match column.data_type() {
            ArrowType::Utf8View => column
                .as_string_view()
                .iter()
                .map(|text| text.map_or(null, |text| self.texts.get(text).copied().unwrap_or(NONE)))
                .collect(),
            ArrowType::Int64 => column
                .as_primitive::<Int64Type>()
                .iter()
                .map(|x| x.map_or(null, |x| of(Value::Integer(x))))
                .collect(),
            ArrowType::Float64 => column
                .as_primitive::<Float64Type>()
                .iter()
                .map(|x| x.map_or(null, |x| of(Value::Float(x))))
                .collect(),
            ArrowType::Date32 => column
                .as_primitive::<Date32Type>()
                .iter()
                .map(|x| x.map_or(null, |x| of(Value::Date(x))))
                .collect(),
            ArrowType::Timestamp(_, None) => column
                .as_primitive::<TimestampMicrosecondType>()
                .iter()
                .map(|x| x.map_or(null, |x| of(Value::Timestamp(x))))
                .collect(),
            ArrowType::Boolean => column
                .as_boolean()
                .iter()
                .map(|x| x.map_or(null, |x| of(Value::Boolean(x))))
                .collect(),
            other => return exec_err!("no group key of type {other}"),
        })
    }
}

impl ScalarUDFImpl for GroupPosition {
    fn name(&self) -> &str {
        "group_position"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[ArrowType]) -> EngineResult<ArrowType> {
        Ok(ArrowType::UInt32)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&arguments.args)?;
        let codes = self
            .keys
            .iter()
            .zip(&columns)
            .map(|(key, column)| key.codes_of(column))
            .collect::<EngineResult<Vec<_>>>()?;
        let rows = columns.first().map_or(0, |column| column.len());
        let mut positions = UInt32Builder::with_capacity(rows);
        for row in 0..rows {
            let of_row = codes
                .iter()
                .map(|codes| Some(codes[row]).filter(|code| *code != u32::MAX));
            let position = combine(&self.keys, of_row)
                .and_then(|combined| self.positions.get(&combined).copied());
            positions.append_option(position);
        }
        let positions: UInt32Array = positions.finish();
        Ok(ColumnarValue::Array(Arc::new(positions)))
    }
}

#[derive(Debug, Clone, PartialEq)]
enum AmountKind {
    /// So many units where the argument is true.
    IfTrue(i64),
    /// So many units where the argument isn't NULL.
    IfKnown(i64),
    /// The argument, clipped and centred, in units.
    Clipped(Box<Measure>),
}

#[derive(Debug, PartialEq)]
struct Amount {
    kind: AmountKind,
    /// The engine takes calls of one name with the same arguments for the same call, so the
    /// name has all that tells two amounts apart.
    name: String,
    signature: Signature,
}

impl Amount {
    fn new(kind: AmountKind) -> Self {
        let name = match &kind {
            AmountKind::IfTrue(once) => format!("amount_if_true_{once}"),
            AmountKind::IfKnown(once) => format!("amount_if_known_{once}"),
            AmountKind::Clipped(measure) => format!(
                "amount_{}_{}_{}_{:?}",
                measure.low, measure.high, measure.centre, measure.grid
            ),
        };
        Self {
            kind,
            name,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }
}

// Bounds are finite numbers, so equality is reflexive.
impl Eq for Amount {}

impl Hash for Amount {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match &self.kind {
            AmountKind::IfTrue(once) | AmountKind::IfKnown(once) => once.hash(state),
            AmountKind::Clipped(measure) => {
                measure.low.to_bits().hash(state);
                measure.high.to_bits().hash(state);
            }
        }
    }
}

impl ScalarUDFImpl for Amount {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[ArrowType]) -> EngineResult<ArrowType> {
        Ok(ArrowType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&arguments.args)?;
        let Some(column) = columns.first() else {
            return exec_err!("an amount needs an argument");
        };
        let amounts: Int64Array = match &self.kind {
            AmountKind::IfTrue(once) => {
                let Some(holds) = column.as_boolean_opt() else {
                    return exec_err!("a filter needs a boolean");
                };
                holds
                    .iter()
                    .map(|holds| (holds == Some(true)).then_some(*once))
                    .collect()
            }
            AmountKind::IfKnown(once) => {
                let known = compute::is_not_null(column)?;
                known
                    .iter()
                    .map(|known| (known == Some(true)).then_some(*once))
                    .collect()
            }
            AmountKind::Clipped(measure) => {
                let Some(values) = column.as_primitive_opt::<Float64Type>() else {
                    return exec_err!("a sum needs floats");
                };
                clipped(measure, values)
            }
        };
        Ok(ColumnarValue::Array(Arc::new(amounts) as ArrayRef))
    }
}

/// NaN contributes nothing, as NULL does.
fn clipped(measure: &Measure, values: &Float64Array) -> Int64Array {
    values
        .iter()
        .map(|value| {
            value
                .filter(|value| !value.is_nan())
                .map(|value| measure.units(value))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::StringViewArray;

    use super::*;

    #[test]
    fn values_outside_the_image_are_in_no_group() {
        let groups = vec![
            vec![Value::Text("a".into()), Value::Integer(1)],
            vec![Value::Text("a".into()), Value::Null],
            vec![Value::Text("b".into()), Value::Integer(1)],
        ];
        let position = GroupPosition::new(&groups, &[DataType::Text, DataType::Integer]).unwrap();
        let texts = StringViewArray::from(vec![Some("a"), Some("a"), Some("b"), Some("c"), None]);
        let integers = Int64Array::from(vec![Some(1), None, None, Some(1), Some(1)]);
        let codes = [
            position.keys[0].codes_of(&texts).unwrap(),
            position.keys[1].codes_of(&integers).unwrap(),
        ];
        let found: Vec<Option<u32>> = (0..5)
            .map(|row| {
                let of_row = codes
                    .iter()
                    .map(|codes| Some(codes[row]).filter(|code| *code != u32::MAX));
                combine(&position.keys, of_row)
                    .and_then(|combined| position.positions.get(&combined).copied())
            })
            .collect();
        assert_eq!(found, [Some(0), Some(1), None, None, None]);
    }
}
