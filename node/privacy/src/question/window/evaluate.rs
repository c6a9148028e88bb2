//! The meaning of a window: rows in order, the frame of each, and what a function sees there.

use std::{cmp::Ordering, collections::BTreeMap};

use skerry_proto::Value;

use super::{
    Bound, Frame, FrameUnit, SortKey, Window, WindowColumn, WindowFunction, aggregate::over_frames,
};
use crate::question::{Expression, date};

impl Window {
    /// The values of the new columns for each of one person's rows.
    #[must_use]
    pub fn evaluate(&self, rows: &[Vec<Value>]) -> Vec<Vec<Value>> {
        let mut parts: BTreeMap<Vec<Value>, Vec<usize>> = BTreeMap::new();
        for (index, row) in rows.iter().enumerate() {
            let keys = self.keys.iter().map(|key| key.evaluate(row)).collect();
            parts.entry(keys).or_default().push(index);
        }
        let mut found = vec![Vec::with_capacity(self.columns.len()); rows.len()];
        for members in parts.into_values() {
            let part = Ordered::new(&self.order, rows, members);
            for column in &self.columns {
                let values = part.values(rows, column);
                for (index, value) in part.rows.iter().zip(values) {
                    found[*index].push(value);
                }
            }
        }
        found
    }
}

/// By value, floats by their bits.
fn strictly(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (a, b) => a.cmp(b),
    }
}

/// Rows that see each other, in order.
struct Ordered {
    /// Positions among the person's rows.
    rows: Vec<usize>,
    /// The first expression of the order.
    first: Vec<Value>,
    /// Whether that goes down.
    descending: bool,
    /// For each row the first one that is equal in the order, and the one after the last.
    peers: Vec<(usize, usize)>,
}

impl Ordered {
    fn new(order: &[SortKey], rows: &[Vec<Value>], members: Vec<usize>) -> Self {
        type Keyed = (Vec<Value>, usize);
        let in_order = |a: &Keyed, b: &Keyed| {
            let pairs = a.0.iter().zip(&b.0).zip(order);
            pairs
                .map(|((a, b), key)| match (a.is_null(), b.is_null()) {
                    (true, true) => Ordering::Equal,
                    (true, false) if key.nulls_first => Ordering::Less,
                    (true, false) => Ordering::Greater,
                    (false, true) if key.nulls_first => Ordering::Greater,
                    (false, true) => Ordering::Less,
                    (false, false) if key.descending => b.cmp(a),
                    (false, false) => a.cmp(b),
                })
                .fold(Ordering::Equal, Ordering::then)
        };
        let mut keyed: Vec<Keyed> = members
            .into_iter()
            .map(|index| {
                let keys = order.iter().map(|key| key.by.evaluate(&rows[index]));
                (keys.collect(), index)
            })
            .collect();
        keyed.sort_by(|a, b| {
            in_order(a, b).then_with(|| {
                let pairs = rows[a.1].iter().zip(&rows[b.1]);
                pairs
                    .map(|(a, b)| strictly(a, b))
                    .find(|order| order.is_ne())
                    .unwrap_or(Ordering::Equal)
            })
        });
        let mut peers = Vec::with_capacity(keyed.len());
        for group in keyed.chunk_by(|a, b| in_order(a, b).is_eq()) {
            let start = peers.len();
            peers.resize(start + group.len(), (start, start + group.len()));
        }
        Self {
            rows: keyed.iter().map(|(_, index)| *index).collect(),
            first: keyed
                .into_iter()
                .map(|(keys, _)| keys.into_iter().next().unwrap_or(Value::Null))
                .collect(),
            descending: order.first().is_some_and(|key| key.descending),
            peers,
        }
    }

    /// In the order of `self.rows`.
    fn values(&self, rows: &[Vec<Value>], column: &WindowColumn) -> Vec<Value> {
        let places = 0..self.rows.len();
        let integer = |x: usize| i64::try_from(x).map_or(Value::Null, Value::Integer);
        let of = |argument: &Expression| -> Vec<Value> {
            let rows = self.rows.iter().map(|index| &rows[*index]);
            rows.map(|row| argument.evaluate(row)).collect()
        };
        match &column.function {
            WindowFunction::RowNumber => places.map(|place| integer(place + 1)).collect(),
            WindowFunction::Rank => self
                .peers
                .iter()
                .map(|(start, _)| integer(start + 1))
                .collect(),
            WindowFunction::DenseRank => {
                let mut different = 0;
                let numbers = self.peers.iter().enumerate().map(|(place, (start, _))| {
                    different += usize::from(place == *start);
                    integer(different)
                });
                numbers.collect()
            }
            WindowFunction::Shift {
                argument,
                earlier,
                otherwise,
            } => {
                let values = of(argument);
                let other = |place: usize| {
                    let other = i64::try_from(place).ok()?.checked_sub(*earlier)?;
                    values.get(usize::try_from(other).ok()?).cloned()
                };
                places
                    .map(|place| other(place).unwrap_or_else(|| otherwise.clone()))
                    .collect()
            }
            WindowFunction::First { argument, known } => {
                let values = of(argument);
                // For each place the first from there on that counts.
                let mut next = vec![values.len(); values.len() + 1];
                for place in places.rev() {
                    let counts = !known || !values[place].is_null();
                    next[place] = if counts { place } else { next[place + 1] };
                }
                let frames = self.frames(&column.frame).into_iter();
                frames
                    .map(|(start, end)| {
                        let first = Some(next[start]).filter(|first| *first < end);
                        first.map_or(Value::Null, |first| values[first].clone())
                    })
                    .collect()
            }
            WindowFunction::Last { argument, known } => {
                let values = of(argument);
                // For each place one more than the last before it that counts.
                let mut last = vec![0; values.len() + 1];
                for place in places {
                    let counts = !known || !values[place].is_null();
                    last[place + 1] = if counts { place + 1 } else { last[place] };
                }
                let frames = self.frames(&column.frame).into_iter();
                frames
                    .map(|(start, end)| {
                        let last = Some(last[end]).filter(|last| *last > start);
                        last.map_or(Value::Null, |last| values[last - 1].clone())
                    })
                    .collect()
            }
            WindowFunction::Aggregate { function, argument } => {
                over_frames(*function, of(argument), &self.frames(&column.frame))
            }
        }
    }

    /// For each place the first row of its frame, and the one after the last. Neither ever goes
    /// back from one place to the next.
    fn frames(&self, frame: &Frame) -> Vec<(usize, usize)> {
        let length = self.rows.len();
        let mut reached = (0, 0);
        (0..length)
            .map(|place| {
                let (start, end) = match frame.unit {
                    FrameUnit::Rows => {
                        let further = |bound, unbounded, current: usize| match bound {
                            Bound::Unbounded => unbounded,
                            Bound::Current | Bound::Calendar { .. } => current,
                            Bound::Number(further) => {
                                let found = i64::try_from(current)
                                    .unwrap_or(i64::MAX)
                                    .saturating_add(further);
                                usize::try_from(found).unwrap_or(0).min(length)
                            }
                        };
                        let start = further(frame.start, 0, place);
                        (start, further(frame.end, length, place + 1))
                    }
                    FrameUnit::Range => {
                        let peers = self.peers[place];
                        let start = match frame.start {
                            Bound::Unbounded => 0,
                            Bound::Current => peers.0,
                            further => self.reaches(place, further, false),
                        };
                        let end = match frame.end {
                            Bound::Unbounded => length,
                            Bound::Current => peers.1,
                            further => self.reaches(place, further, true),
                        };
                        (start, end)
                    }
                };
                reached = (start.max(reached.0), end.max(reached.1));
                (reached.0, reached.1.max(reached.0))
            })
            .collect()
    }

    /// The first place whose value is at least so much further on than this one's, or beyond it
    /// (`after`). NULLs are their own peers and nobody else's.
    fn reaches(&self, place: usize, further: Bound, after: bool) -> usize {
        let nulls_first = self.first.first().is_some_and(Value::is_null);
        let start = if nulls_first {
            self.first.partition_point(Value::is_null)
        } else {
            0
        };
        let known = self.first[start..].partition_point(|value| !value.is_null());
        let values = &self.first[start..start + known];
        let sign = if self.descending { -1 } else { 1 };
        let found = match (&self.first[place], further) {
            (Value::Integer(x), Bound::Number(further)) => {
                i128::from(*x) + i128::from(further) * i128::from(sign)
            }
            (Value::Date(day), Bound::Calendar { months, days }) => {
                let (months, days) = (months.saturating_mul(sign), days.saturating_mul(sign));
                match date::add(*day, months, days) {
                    Some(day) => i128::from(day),
                    // Beyond the calendar all months have 31 days.
                    None => i128::from(*day) + i128::from(months) * 31 + i128::from(days),
                }
            }
            (_, _) => {
                let (first, end) = self.peers[place];
                return if after { end } else { first };
            }
        };
        start
            + values.partition_point(|value| {
                let order = number(value).cmp(&found);
                let order = if self.descending {
                    order.reverse()
                } else {
                    order
                };
                order.is_lt() || (after && order.is_eq())
            })
    }
}

/// A whole number, or a date as its day.
fn number(value: &Value) -> i128 {
    match value {
        Value::Integer(x) => i128::from(*x),
        Value::Date(day) => i128::from(*day),
        Value::Boolean(_)
        | Value::Float(_)
        | Value::Text(_)
        | Value::Timestamp(_)
        | Value::Null => 0,
    }
}
