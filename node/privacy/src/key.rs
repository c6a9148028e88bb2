//! Trusted. A group's key as bytes: what tells groups apart whose keys aren't known beforehand.
//!
//! Promise: two tuples of values have the same bytes if and only if they are equal as group keys, with NaN
//! taken for NULL as everywhere in a question.

use skerry_proto::Value;

const NULL: u8 = 0;
const FALSE: u8 = 1;
const TRUE: u8 = 2;
const INTEGER: u8 = 3;
const FLOAT: u8 = 4;
const TEXT: u8 = 5;
const DATE: u8 = 6;
const TIMESTAMP: u8 = 7;

/// A tuple of values as bytes: of each a tag, then as many bytes as the tag says; of a text its
/// length before it. So no tuple's bytes are the beginning of another's with as many values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Key(Vec<u8>);

impl Key {
    /// Without values yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Of these values.
    #[must_use]
    pub fn of(values: &[Value]) -> Self {
        let mut key = Self::new();
        for value in values {
            key.push(value);
        }
        key
    }

    /// Adds a value.
    pub fn push(&mut self, value: &Value) {
        match value {
            Value::Null => self.push_null(),
            Value::Boolean(false) => self.0.push(FALSE),
            Value::Boolean(true) => self.0.push(TRUE),
            Value::Integer(x) => self.push_bytes(INTEGER, &x.to_be_bytes()),
            Value::Float(x) if x.is_nan() => self.push_null(),
            // Both zeros are one key, as in SQL.
            Value::Float(x) => self.push_bytes(FLOAT, &(x + 0.0).to_bits().to_be_bytes()),
            Value::Text(x) => self.push_text(x),
            Value::Date(x) => self.push_bytes(DATE, &x.to_be_bytes()),
            Value::Timestamp(x) => self.push_bytes(TIMESTAMP, &x.to_be_bytes()),
        }
    }

    /// Adds a NULL.
    pub fn push_null(&mut self) {
        self.0.push(NULL);
    }

    /// Adds a text.
    pub fn push_text(&mut self, text: &str) {
        self.push_bytes(TEXT, &(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn push_bytes(&mut self, tag: u8, bytes: &[u8]) {
        self.0.push(tag);
        self.0.extend_from_slice(bytes);
    }

    /// Takes all values off; the room that they took is kept.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Of bytes that were made here.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The values; nothing if the bytes were not made here.
    #[must_use]
    pub fn values(&self) -> Option<Vec<Value>> {
        let mut rest = self.0.as_slice();
        let mut values = vec![];
        while let Some((tag, after)) = rest.split_first() {
            rest = after;
            values.push(match *tag {
                NULL => Value::Null,
                FALSE => Value::Boolean(false),
                TRUE => Value::Boolean(true),
                INTEGER => Value::Integer(i64::from_be_bytes(take(&mut rest)?)),
                FLOAT => Value::Float(f64::from_bits(u64::from_be_bytes(take(&mut rest)?))),
                TEXT => {
                    let length = usize::try_from(u64::from_be_bytes(take(&mut rest)?)).ok()?;
                    let (text, after) = rest.split_at_checked(length)?;
                    rest = after;
                    Value::Text(std::str::from_utf8(text).ok()?.to_owned())
                }
                DATE => Value::Date(i32::from_be_bytes(take(&mut rest)?)),
                TIMESTAMP => Value::Timestamp(i64::from_be_bytes(take(&mut rest)?)),
                _ => return None,
            });
        }
        Some(values)
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Boolean),
            any::<i64>().prop_map(Value::Integer),
            proptest::num::f64::ANY.prop_map(Value::Float),
            "[a-b\0]{0,3}".prop_map(Value::Text),
            any::<i32>().prop_map(Value::Date),
            any::<i64>().prop_map(Value::Timestamp),
        ]
    }

    /// As group keys: NaN is NULL.
    fn plain(values: &[Value]) -> Vec<Value> {
        values
            .iter()
            .map(|value| match value {
                Value::Float(x) if x.is_nan() => Value::Null,
                other => other.clone(),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn bytes_are_equal_if_and_only_if_keys_are(
            a in proptest::collection::vec(any_value(), 1..4),
            b in proptest::collection::vec(any_value(), 1..4),
        ) {
            prop_assert_eq!(plain(&a) == plain(&b), Key::of(&a) == Key::of(&b));
            prop_assert_eq!(Key::of(&a).values(), Some(plain(&a)));
        }
    }

    #[test]
    fn zeros_are_one_key_and_other_bytes_are_none() {
        assert_eq!(
            Key::of(&[Value::Float(0.0)]),
            Key::of(&[Value::Float(-0.0)])
        );
        for bytes in [&[9u8][..], &[3, 1], &[5, 0, 0, 0, 0, 0, 0, 0, 2, 97]] {
            assert_eq!(Key::from_bytes(bytes).values(), None);
        }
    }
}
