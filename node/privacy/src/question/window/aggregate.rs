//! Aggregates over frames whose ends never go back: each value is looked at a few times only.

use std::collections::{BTreeMap, VecDeque};

use skerry_proto::Value;

use crate::question::PersonFunction;

/// Floats are summed as whole billionths, exactly, so that the order of rows doesn't show. What
/// doesn't fit doesn't count.
const BILLION: f64 = 1e9;
const MOST_BILLIONTHS: f64 = 1e28;

/// A value as whole units of a sum.
fn units(value: &Value) -> Option<i128> {
    match value {
        Value::Integer(x) => Some(i128::from(*x)),
        Value::Float(x) => {
            let billionths = (x * BILLION).round();
            (billionths.abs() < MOST_BILLIONTHS).then_some(billionths as i128)
        }
        Value::Boolean(_) | Value::Text(_) | Value::Date(_) | Value::Timestamp(_) | Value::Null => {
            None
        }
    }
}

/// An aggregate over each of many frames, whose ends never go back.
pub(super) fn over_frames(
    function: PersonFunction,
    values: Vec<Value>,
    frames: &[(usize, usize)],
) -> Vec<Value> {
    let floats = values.iter().any(|value| matches!(value, Value::Float(_)));
    // NaN counts as NULL, and there is one zero.
    let values: Vec<Value> = values
        .into_iter()
        .map(|value| match value {
            Value::Float(x) if x.is_nan() => Value::Null,
            Value::Float(x) => Value::Float(x + 0.0),
            other => other,
        })
        .collect();
    match function {
        PersonFunction::Count => {
            let before = sums(values.iter().map(|value| i128::from(!value.is_null())));
            let count = |(start, end): &(usize, usize)| before[*end] - before[*start];
            frames
                .iter()
                .map(|frame| i64::try_from(count(frame)).map_or(Value::Null, Value::Integer))
                .collect()
        }
        PersonFunction::Sum | PersonFunction::Average => {
            let units: Vec<Option<i128>> = values.iter().map(units).collect();
            let count = sums(units.iter().map(|units| i128::from(units.is_some())));
            let sum = sums(units.iter().map(|units| units.unwrap_or(0)));
            let of = |before: &[i128], (start, end): (usize, usize)| {
                before[end].wrapping_sub(before[start])
            };
            let number = |units: i128| units as f64 / if floats { BILLION } else { 1.0 };
            let finished = |frame: (usize, usize)| match (of(&count, frame), of(&sum, frame)) {
                (0, _) => Value::Null,
                (_, sum) if function == PersonFunction::Sum && !floats => {
                    Value::Integer(sum as i64)
                }
                (_, sum) if function == PersonFunction::Sum => Value::Float(number(sum)),
                (count, sum) => Value::Float(number(sum) / count as f64),
            };
            frames.iter().map(|frame| finished(*frame)).collect()
        }
        PersonFunction::CountDistinct => {
            let mut members: BTreeMap<&Value, usize> = BTreeMap::new();
            let (mut first, mut next) = (0, 0);
            let count = |(start, end): &(usize, usize)| {
                while next < *end {
                    *members.entry(&values[next]).or_insert(0) += 1;
                    next += 1;
                }
                while first < (*start).min(next) {
                    if let Some(copies) = members.get_mut(&values[first]) {
                        *copies -= 1;
                        if *copies == 0 {
                            members.remove(&values[first]);
                        }
                    }
                    first += 1;
                }
                first = first.max(*start);
                next = next.max(first);
                let known = members.len() - usize::from(members.contains_key(&Value::Null));
                i64::try_from(known).map_or(Value::Null, Value::Integer)
            };
            frames.iter().map(count).collect()
        }
        PersonFunction::Minimum | PersonFunction::Maximum => {
            let beats = |a: &Value, b: &Value| match function {
                PersonFunction::Minimum => a <= b,
                PersonFunction::Maximum
                | PersonFunction::Count
                | PersonFunction::CountDistinct
                | PersonFunction::Sum
                | PersonFunction::Average => a >= b,
            };
            // Places whose value may still be the extreme of a later frame, the best first.
            let mut candidates: VecDeque<usize> = VecDeque::new();
            let mut next = 0;
            let extreme = |(start, end): &(usize, usize)| {
                while next < *end {
                    if !values[next].is_null() {
                        while let Some(last) = candidates.back()
                            && beats(&values[next], &values[*last])
                        {
                            candidates.pop_back();
                        }
                        candidates.push_back(next);
                    }
                    next += 1;
                }
                while candidates.front().is_some_and(|first| first < start) {
                    candidates.pop_front();
                }
                let found = candidates.front().filter(|first| *first < end);
                found.map_or(Value::Null, |first| values[*first].clone())
            };
            frames.iter().map(extreme).collect()
        }
    }
}

/// The sum of what comes before each place, and of all.
fn sums(units: impl Iterator<Item = i128>) -> Vec<i128> {
    let mut total = 0i128;
    let mut before = vec![0];
    before.extend(units.map(|units| {
        total = total.wrapping_add(units);
        total
    }));
    before
}
