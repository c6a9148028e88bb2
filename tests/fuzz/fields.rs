//! Messages without their schema: fields with numbers, some of which are messages themselves.

use rand::{Rng, seq::IndexedRandom as _};

/// Deeper than the decoder goes.
const DEPTH: usize = 110;

/// Numbers at which something is likely to change.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    7,
    63,
    127,
    128,
    255,
    65_536,
    i32::MAX as u64,
    u32::MAX as u64,
    i64::MAX as u64,
    i64::MIN as u64,
    u64::MAX,
];

#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    Number(u64),
    Eight([u8; 8]),
    Four([u8; 4]),
    Message(Vec<Field>),
    Bytes(Vec<u8>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub number: u64,
    pub payload: Payload,
}

/// The fields of a message; nothing for bytes that are none.
pub fn parse(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = vec![];
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let payload = match tag & 7 {
            0 => Payload::Number(varint(&mut bytes)?),
            1 => Payload::Eight(take(&mut bytes, 8)?.try_into().ok()?),
            5 => Payload::Four(take(&mut bytes, 4)?.try_into().ok()?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let inner = take(&mut bytes, length)?;
                let is_text = inner.iter().all(|byte| (b' '..=b'~').contains(byte));
                let message = match depth {
                    0 => None,
                    _ if is_text => None,
                    _ => parse(inner, depth - 1),
                };
                message.map_or_else(|| Payload::Bytes(inner.to_vec()), Payload::Message)
            }
            _ => return None,
        };
        if tag < 8 {
            return None;
        }
        fields.push(Field {
            number: tag >> 3,
            payload,
        });
    }
    Some(fields)
}

/// The fields of a corpus plan.
pub fn of_plan(bytes: &[u8]) -> Vec<Field> {
    parse(bytes, DEPTH).unwrap_or_default()
}

pub fn write(fields: &[Field]) -> Vec<u8> {
    let mut bytes = vec![];
    for field in fields {
        let tag = |kind: u64| (field.number << 3) | kind;
        match &field.payload {
            Payload::Number(number) => {
                push(&mut bytes, tag(0));
                push(&mut bytes, *number);
            }
            Payload::Eight(eight) => {
                push(&mut bytes, tag(1));
                bytes.extend(eight);
            }
            Payload::Four(four) => {
                push(&mut bytes, tag(5));
                bytes.extend(four);
            }
            Payload::Message(fields) => {
                let inner = write(fields);
                push(&mut bytes, tag(2));
                push(&mut bytes, inner.len() as u64);
                bytes.extend(inner);
            }
            Payload::Bytes(inner) => {
                push(&mut bytes, tag(2));
                push(&mut bytes, inner.len() as u64);
                bytes.extend(inner);
            }
        }
    }
    bytes
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in 0..10 {
        let byte = take(bytes, 1)?[0];
        value |= u64::from(byte & 0x7f).checked_shl(shift * 7)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn push(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// Calls for each list of fields, the outer before the inner.
pub fn each_list(fields: &mut Vec<Field>, call: &mut dyn FnMut(&mut Vec<Field>)) {
    call(fields);
    for field in fields {
        if let Payload::Message(inner) = &mut field.payload {
            each_list(inner, call);
        }
    }
}

/// All texts in these fields.
pub fn texts(fields: &[Field], found: &mut Vec<Vec<u8>>) {
    for field in fields {
        match &field.payload {
            Payload::Bytes(bytes) => found.push(bytes.clone()),
            Payload::Message(inner) => texts(inner, found),
            Payload::Number(_) | Payload::Eight(_) | Payload::Four(_) => {}
        }
    }
}

/// Changes one field somewhere, with parts of another message.
pub fn mutate(fields: &mut Vec<Field>, other: &[Field], words: &[Vec<u8>], rng: &mut impl Rng) {
    let mut all = 0usize;
    each_list(fields, &mut |list| all += list.len());
    if all == 0 {
        return;
    }
    let chosen = rng.random_range(0..all);
    let donor = any_field(other, rng);
    let (mut seen, mut done) = (0, false);
    each_list(fields, &mut |list| {
        if !done && chosen < seen + list.len() {
            done = true;
            change(list, chosen - seen, donor.as_ref(), words, rng);
        }
        seen += list.len();
    });
}

fn any_field(fields: &[Field], rng: &mut impl Rng) -> Option<Field> {
    let field = fields.choose(rng)?;
    match &field.payload {
        Payload::Message(inner) if rng.random_ratio(3, 4) => {
            any_field(inner, rng).or_else(|| Some(field.clone()))
        }
        _ => Some(field.clone()),
    }
}

fn change(
    list: &mut Vec<Field>,
    at: usize,
    donor: Option<&Field>,
    words: &[Vec<u8>],
    rng: &mut impl Rng,
) {
    match rng.random_range(0..16) {
        0 => {
            list.remove(at);
        }
        1 => {
            let copy = list[at].clone();
            list.insert(rng.random_range(0..=list.len()), copy);
        }
        2 => {
            let other = rng.random_range(0..list.len());
            list.swap(at, other);
        }
        3 => list[at].number = rng.random_range(1..64),
        4 => {
            if let Some(donor) = donor {
                list[at] = donor.clone();
            }
        }
        5 => {
            if let Some(donor) = donor {
                list[at].payload = donor.payload.clone();
            }
        }
        6 => {
            if let Some(donor) = donor {
                list.insert(at, donor.clone());
            }
        }
        7 => {
            // A field within itself, many times.
            for _ in 0..rng.random_range(1..120) {
                let inner = list[at].clone();
                list[at].payload = Payload::Message(vec![inner]);
            }
        }
        8 => {
            // A list made long, of what is small itself.
            let copy = list[at].clone();
            if write(std::slice::from_ref(&copy)).len() > 4_096 {
                return;
            }
            for _ in 0..rng.random_range(1..300) {
                list.insert(at, copy.clone());
            }
        }
        _ => match &mut list[at].payload {
            Payload::Number(number) => {
                *number = match rng.random_range(0..3) {
                    0 => number.wrapping_add(1),
                    1 => rng.random_range(0..40),
                    _ => *NUMBERS.choose(rng).unwrap_or(&0),
                };
            }
            Payload::Eight(eight) => {
                let numbers = [
                    0.0,
                    -0.0,
                    1e-300,
                    1e300,
                    f64::NAN,
                    f64::INFINITY,
                    f64::NEG_INFINITY,
                    0.5,
                    -1.0,
                    9e15,
                ];
                *eight = numbers.choose(rng).unwrap_or(&0.0).to_le_bytes();
            }
            Payload::Four(four) => *four = rng.random(),
            Payload::Bytes(bytes) => match words.choose(rng) {
                Some(word) if rng.random_ratio(7, 8) => bytes.clone_from(word),
                _ => {
                    let more = rng.random_range(0..2_000);
                    bytes.resize(more, b'%');
                }
            },
            Payload::Message(inner) => {
                if let Some(donor) = donor {
                    inner.push(donor.clone());
                }
            }
        },
    }
}
