//! Trusted. The position of a row's group.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array, AsArray, UInt32Array, UInt32Builder},
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
use skerry_proto::{DataType, Value};

use super::{Function, engine_type, expression::total_cast};

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

/// The keys of a row, in their own types: where groups aren't known beforehand.
pub(super) fn keys(key_types: &[DataType], keys: Vec<Expr>) -> EngineResult<Vec<Expr>> {
    if keys.len() != key_types.len() {
        return Err(plan_datafusion_err!("a key lacks its type"));
    }
    Ok(keys
        .into_iter()
        .zip(key_types)
        .map(|(key, data_type)| total_cast(key, *data_type))
        .collect())
}

/// Position of a value among the values that a key has in the groups.
#[derive(Debug)]
pub(super) struct KeyCodes {
    codes: HashMap<Value, u32>,
    /// Codes by position in a type's own order, for texts: looked up without making a `Value`.
    texts: HashMap<String, u32>,
}

/// The groups of a quote, by the codes of their keys.
#[derive(Debug)]
pub(crate) struct Groups {
    keys: Vec<Arc<KeyCodes>>,
    types: Vec<DataType>,
    /// Mixed-radix combination of the keys' codes to the group's position.
    positions: HashMap<u64, u32>,
}

impl Groups {
    pub(crate) fn new(groups: &[Vec<Value>], key_types: &[DataType]) -> EngineResult<Self> {
        let keys: Vec<Arc<KeyCodes>> = (0..key_types.len())
            .map(|key| {
                let values = groups.iter().filter_map(|group| group.get(key));
                Arc::new(KeyCodes::new(values))
            })
            .collect();
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
        Ok(Self {
            keys,
            types: key_types.to_vec(),
            positions,
        })
    }

    /// How many codes each key has. A group's codes are combined with these as radices, the first
    /// key's code being the highest digit.
    pub(crate) fn radices(&self) -> impl Iterator<Item = usize> {
        self.keys.iter().map(|key| key.codes.len())
    }

    /// The position of the group with these codes; nothing if there is none.
    pub(crate) fn position(&self, combined: u64) -> Option<u32> {
        self.positions.get(&combined).copied()
    }

    /// The code of a key's value, NULL for a value that is in no group.
    pub(crate) fn code(&self, key: usize, value: Expr) -> EngineResult<Expr> {
        let (Some(codes), Some(data_type)) = (self.keys.get(key), self.types.get(key)) else {
            return Err(plan_datafusion_err!("there is no key {key}"));
        };
        let function = KeyCode {
            codes: Arc::clone(codes),
            name: format!("code_of_key_{key}"),
            signature: Signature::exact(vec![engine_type(*data_type)], Volatility::Immutable),
        };
        Ok(ScalarUDF::from(function).call(vec![total_cast(value, *data_type)]))
    }
}

/// From one key's value to its code.
#[derive(Debug)]
struct KeyCode {
    codes: Arc<KeyCodes>,
    /// One plan has one key at each position.
    name: String,
    signature: Signature,
}

impl PartialEq for KeyCode {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && Arc::ptr_eq(&self.codes, &other.codes)
    }
}

impl Eq for KeyCode {}

impl Hash for KeyCode {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for KeyCode {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[ArrowType]) -> EngineResult<ArrowType> {
        Ok(ArrowType::UInt32)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let Some(value) = arguments.args.first() else {
            return exec_err!("a key needs a value");
        };
        let column = value.to_array(arguments.number_rows)?;
        let codes = self.codes.codes_of(&column)?.into_iter();
        let codes: UInt32Array = codes
            .map(|code| (code != u32::MAX).then_some(code))
            .collect();
        Ok(ColumnarValue::Array(Arc::new(codes)))
    }
}

/// From key values to the position of the group.
#[derive(Debug)]
pub(super) struct GroupPosition {
    groups: Groups,
    signature: Signature,
    /// What it does follows from the groups; two functions are the same if these are.
    values: Vec<Vec<Value>>,
}

impl GroupPosition {
    pub(super) fn written(&self) -> Function {
        Function::Group(self.values.clone(), self.groups.types.clone())
    }

    pub(super) fn new(groups: &[Vec<Value>], key_types: &[DataType]) -> EngineResult<Self> {
        let types = key_types
            .iter()
            .map(|data_type| engine_type(*data_type))
            .collect();
        Ok(Self {
            groups: Groups::new(groups, key_types)?,
            signature: Signature::exact(types, Volatility::Immutable),
            values: groups.to_vec(),
        })
    }
}

fn combine(keys: &[Arc<KeyCodes>], codes: impl Iterator<Item = Option<u32>>) -> Option<u64> {
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
        self.values == other.values && self.signature == other.signature
    }
}

impl Eq for GroupPosition {}

impl Hash for GroupPosition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.values.hash(state);
    }
}

impl KeyCodes {
    /// Values are numbered as they first appear.
    pub(super) fn new<'a>(values: impl Iterator<Item = &'a Value>) -> Self {
        let mut key = Self {
            codes: HashMap::new(),
            texts: HashMap::new(),
        };
        for value in values {
            let next = key.codes.len() as u32;
            let code = *key.codes.entry(value.clone()).or_insert(next);
            if let Value::Text(text) = value {
                key.texts.insert(text.clone(), code);
            }
        }
        key
    }

    /// The code of each row's value; `u32::MAX` where the value is none of them.
    pub(super) fn codes_of(&self, column: &dyn Array) -> EngineResult<Vec<u32>> {
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
            .groups
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
            let position = combine(&self.groups.keys, of_row)
                .and_then(|combined| self.groups.position(combined));
            positions.append_option(position);
        }
        let positions: UInt32Array = positions.finish();
        Ok(ColumnarValue::Array(Arc::new(positions)))
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringViewArray};

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
            position.groups.keys[0].codes_of(&texts).unwrap(),
            position.groups.keys[1].codes_of(&integers).unwrap(),
        ];
        let found: Vec<Option<u32>> = (0..5)
            .map(|row| {
                let of_row = codes
                    .iter()
                    .map(|codes| Some(codes[row]).filter(|code| *code != u32::MAX));
                combine(&position.groups.keys, of_row)
                    .and_then(|combined| position.groups.position(combined))
            })
            .collect();
        assert_eq!(found, [Some(0), Some(1), None, None, None]);
    }
}
