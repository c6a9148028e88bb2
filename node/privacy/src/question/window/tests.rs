//! The fast evaluation against the definition, row by row.

use std::{cmp::Ordering, collections::BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::question::date;

type Row = Vec<Value>;

/// Columns: an integer, a float, a text, a date.
const TYPES: [DataType; 4] = [
    DataType::Integer,
    DataType::Float,
    DataType::Text,
    DataType::Date,
];

fn any_row() -> impl Strategy<Value = Row> {
    let integer = prop_oneof![
        6 => (-3i64..4).prop_map(Value::Integer),
        1 => Just(Value::Null),
        1 => prop_oneof![Just(i64::MAX), Just(i64::MIN)].prop_map(Value::Integer),
    ];
    let float = prop_oneof![
        6 => (-3i32..4).prop_map(|x| Value::Float(f64::from(x) / 2.0)),
        1 => Just(Value::Null),
        1 => prop_oneof![
            Just(f64::NAN), Just(-f64::NAN), Just(-0.0), Just(f64::INFINITY), Just(1e300), Just(1e-12),
        ].prop_map(Value::Float),
    ];
    let text = prop_oneof![Just(Value::Null), "[ab]".prop_map(Value::Text)];
    let date = prop_oneof![
        6 => (19_700i32..19_800).prop_map(Value::Date),
        1 => prop_oneof![Just(i32::MAX), Just(i32::MIN), Just(2_932_890), Just(-719_160)]
            .prop_map(Value::Date),
        1 => Just(Value::Null),
    ];
    (integer, float, text, date).prop_map(|(a, b, c, d)| vec![a, b, c, d])
}

fn any_bound() -> impl Strategy<Value = Bound> {
    prop_oneof![
        Just(Bound::Unbounded),
        Just(Bound::Current),
        (-3i64..4).prop_map(Bound::Number),
        Just(Bound::Number(i64::MAX)),
        ((-2i32..3), (-40i32..40)).prop_map(|(months, days)| Bound::Calendar { months, days }),
    ]
}

fn any_window() -> impl Strategy<Value = Window> {
    let key =
        (0usize..4, any::<bool>(), any::<bool>()).prop_map(|(column, descending, nulls_first)| {
            SortKey {
                by: Expression::Column(column),
                descending,
                nulls_first,
            }
        });
    let keys = prop_oneof![Just(vec![]), Just(vec![Expression::Column(2)])];
    let order = proptest::collection::vec(key, 0..3);
    let function = prop_oneof![
        Just(PersonFunction::Count),
        Just(PersonFunction::CountDistinct),
        Just(PersonFunction::Sum),
        Just(PersonFunction::Minimum),
        Just(PersonFunction::Maximum),
        Just(PersonFunction::Average),
    ];
    let argument = || (0usize..4).prop_map(Expression::Column);
    let function = prop_oneof![
        Just(WindowFunction::RowNumber),
        Just(WindowFunction::Rank),
        Just(WindowFunction::DenseRank),
        (argument(), -3i64..4).prop_map(|(argument, earlier)| WindowFunction::Shift {
            argument,
            earlier,
            otherwise: Value::Null,
        }),
        (argument(), any::<bool>())
            .prop_map(|(argument, known)| WindowFunction::First { argument, known }),
        (argument(), any::<bool>())
            .prop_map(|(argument, known)| WindowFunction::Last { argument, known }),
        (function, argument())
            .prop_map(|(function, argument)| WindowFunction::Aggregate { function, argument }),
    ];
    let unit = prop_oneof![Just(FrameUnit::Rows), Just(FrameUnit::Range)];
    let frame =
        (unit, any_bound(), any_bound()).prop_map(|(unit, start, end)| Frame { unit, start, end });
    let column = (function, frame).prop_map(|(function, frame)| WindowColumn { function, frame });
    (keys, order, proptest::collection::vec(column, 1..4)).prop_map(|(keys, order, columns)| {
        Window {
            keys,
            order,
            columns,
        }
    })
}

/// Whether a row is before another in the order, its peer, or after it.
fn place(order: &[SortKey], a: &Row, b: &Row) -> Ordering {
    let of_key = |key: &SortKey| {
        let (x, y) = (key.by.evaluate(a), key.by.evaluate(b));
        match (x.is_null(), y.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) if key.nulls_first => Ordering::Less,
            (true, false) => Ordering::Greater,
            (false, true) if key.nulls_first => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) if key.descending => y.cmp(&x),
            (false, false) => x.cmp(&y),
        }
    };
    order
        .iter()
        .map(of_key)
        .find(|found| found.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// Whether the other row is not before the start of the own row's range, or not after its end.
fn in_range(order: &[SortKey], own: &Row, other: &Row, bound: Bound, start: bool) -> bool {
    let place = place(order, other, own);
    let reached = if start { place.is_ge() } else { place.is_le() };
    let Some(key) = order.first() else {
        return true;
    };
    let (x, y) = (key.by.evaluate(own), key.by.evaluate(other));
    let sign = if key.descending { -1 } else { 1 };
    let (limit, y) = match (bound, x, y) {
        (Bound::Unbounded, _, _) => return true,
        // NULLs are each other's peers, and out of reach for others.
        (Bound::Current, _, _) | (_, Value::Null, _) | (_, _, Value::Null) => return reached,
        (Bound::Number(further), Value::Integer(x), Value::Integer(y)) => (
            i128::from(x) + i128::from(further) * i128::from(sign),
            i128::from(y),
        ),
        (Bound::Calendar { months, days }, Value::Date(x), Value::Date(y)) => {
            let (months, days) = (months * sign, days * sign);
            // Beyond the calendar all months have 31 days.
            let far = i128::from(x) + i128::from(months * 31 + days);
            let limit = date::add(x, months, days).map_or(far, i128::from);
            (limit, i128::from(y))
        }
        other => panic!("{other:?}"),
    };
    let order = y.cmp(&limit);
    let order = if key.descending {
        order.reverse()
    } else {
        order
    };
    if start { order.is_ge() } else { order.is_le() }
}

/// In whole billionths; what doesn't fit doesn't count.
fn billionths(value: &Value) -> Option<i128> {
    match value {
        Value::Integer(x) => Some(i128::from(*x) * 1_000_000_000),
        Value::Float(x) => (x.abs() < 1e19).then_some((x * 1e9).round() as i128),
        _ => None,
    }
}

fn naive(function: PersonFunction, values: &[Value]) -> Value {
    let known: Vec<Value> = values
        .iter()
        .filter(|value| !value.is_null() && !matches!(value, Value::Float(x) if x.is_nan()))
        .cloned()
        .collect();
    let numbers: Vec<i128> = values.iter().filter_map(billionths).collect();
    let sum = numbers.iter().sum::<i128>() as f64 / 1e9;
    match function {
        PersonFunction::Count => Value::Integer(known.len() as i64),
        PersonFunction::CountDistinct => {
            Value::Integer(known.iter().collect::<BTreeSet<_>>().len() as i64)
        }
        PersonFunction::Minimum => known.into_iter().min().unwrap_or(Value::Null),
        PersonFunction::Maximum => known.into_iter().max().unwrap_or(Value::Null),
        PersonFunction::Sum | PersonFunction::Average if numbers.is_empty() => Value::Null,
        PersonFunction::Sum => match known.first() {
            Some(Value::Integer(_)) => Value::Integer(known.iter().fold(0i64, |sum, x| {
                let Value::Integer(x) = x else {
                    panic!("{x:?}")
                };
                sum.wrapping_add(*x)
            })),
            _ => Value::Float(sum),
        },
        PersonFunction::Average => Value::Float(sum / numbers.len() as f64),
    }
}

fn near(a: &Value, b: &Value) -> bool {
    match (a, b) {
        // Exact in billionths here, in halves there.
        (Value::Float(a), Value::Float(b)) if a.is_finite() && b.is_finite() => {
            (a - b).abs() <= 1e-6 * b.abs().max(1.0)
        }
        (a, b) => a == b,
    }
}

/// By value, floats by their bits, so that a zero's sign shows.
fn bits(rows: &[Row], found: &[Vec<Value>]) -> Vec<String> {
    let mut all: Vec<String> = rows
        .iter()
        .zip(found)
        .map(|(row, found)| {
            let exact = |value: &Value| match value {
                Value::Float(x) => format!("{:x}", x.to_bits()),
                other => format!("{other:?}"),
            };
            row.iter()
                .chain(found)
                .map(exact)
                .collect::<Vec<_>>()
                .join(",")
        })
        .collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        max_global_rejects: 100_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn frames_and_functions_are_as_defined(
        window in any_window(), rows in proptest::collection::vec(any_row(), 0..9),
    ) {
        prop_assume!(window.data_types(&TYPES).is_ok());
        let found = window.evaluate(&rows);
        for (own, found) in rows.iter().zip(&found) {
            let key = |row: &Row| -> Row {
                window.keys.iter().map(|key| key.evaluate(row)).collect()
            };
            let mut part: Vec<&Row> = rows.iter().filter(|row| key(row) == key(own)).collect();
            part.sort_by(|a, b| place(&window.order, a, b));
            for (column, found) in window.columns.iter().zip(found) {
                let before = part.iter().filter(|row| place(&window.order, row, own).is_lt());
                let peers = part.iter().filter(|row| place(&window.order, row, own).is_eq());
                let (before, peers) = (before.count() as i64, peers.count() as i64);
                match (&column.function, found) {
                    (WindowFunction::Rank, Value::Integer(x)) => prop_assert_eq!(*x, before + 1),
                    (WindowFunction::RowNumber, Value::Integer(x)) => {
                        prop_assert!((before + 1..=before + peers).contains(x));
                    }
                    (WindowFunction::Aggregate { function, argument }, found)
                        if column.frame.unit == FrameUnit::Range =>
                    {
                        let seen: Vec<Value> = part
                            .iter()
                            .filter(|row| {
                                in_range(&window.order, own, row, column.frame.start, true)
                                    && in_range(&window.order, own, row, column.frame.end, false)
                            })
                            .map(|row| argument.evaluate(row))
                            .collect();
                        let expected = naive(*function, &seen);
                        prop_assert!(near(found, &expected), "{found:?} is not {expected:?}");
                    }
                    _ => {}
                }
            }
        }
    }

    /// What is computed hangs on the rows, not on how they arrive, to the last bit.
    #[test]
    fn the_order_of_arrival_does_not_show(
        window in any_window(),
        (rows, shuffled) in proptest::collection::vec(any_row(), 0..9)
            .prop_flat_map(|rows| (Just(rows.clone()), Just(rows).prop_shuffle())),
    ) {
        prop_assume!(window.data_types(&TYPES).is_ok());
        let found = bits(&rows, &window.evaluate(&rows));
        prop_assert_eq!(found, bits(&shuffled, &window.evaluate(&shuffled)));
    }
}

/// Frames in rows, over rows that are all different, by hand.
#[test]
fn frames_in_rows() {
    let rows: Vec<Row> = (1..=5).map(|x| vec![Value::Integer(x)]).collect();
    let of = |function: PersonFunction, start, end| {
        let window = Window {
            keys: vec![],
            order: vec![SortKey {
                by: Expression::Column(0),
                descending: true,
                nulls_first: true,
            }],
            columns: vec![WindowColumn {
                function: WindowFunction::Aggregate {
                    function,
                    argument: Expression::Column(0),
                },
                frame: Frame {
                    unit: FrameUnit::Rows,
                    start,
                    end,
                },
            }],
        };
        let found = window.evaluate(&rows).into_iter().flatten();
        found
            .map(|value| match value {
                Value::Integer(x) => Some(x),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    let (sum, most) = (PersonFunction::Sum, PersonFunction::Maximum);
    assert_eq!(
        of(sum, Bound::Number(-1), Bound::Current),
        [3, 5, 7, 9, 5].map(Some)
    );
    assert_eq!(
        of(sum, Bound::Unbounded, Bound::Current),
        [15, 14, 12, 9, 5].map(Some)
    );
    assert_eq!(
        of(most, Bound::Number(-2), Bound::Number(-1)),
        [Some(3), Some(4), Some(5), Some(5), None]
    );
    assert_eq!(
        of(most, Bound::Number(1), Bound::Number(2)),
        [None, Some(1), Some(2), Some(3), Some(4)]
    );
    assert_eq!(
        of(
            PersonFunction::Count,
            Bound::Number(i64::MAX),
            Bound::Unbounded
        ),
        [0; 5].map(Some)
    );
}

/// A person with very many rows costs no more than sorting them.
#[test]
fn many_rows_are_no_square() {
    let rows: Vec<Row> = (0..200_000).map(|x| vec![Value::Integer(x)]).collect();
    let order = vec![SortKey {
        by: Expression::Column(0),
        descending: false,
        nulls_first: false,
    }];
    let functions = [
        PersonFunction::Sum,
        PersonFunction::Maximum,
        PersonFunction::CountDistinct,
    ];
    let window = Window {
        keys: vec![],
        order,
        columns: functions
            .into_iter()
            .map(|function| WindowColumn {
                function: WindowFunction::Aggregate {
                    function,
                    argument: Expression::Column(0),
                },
                frame: Frame {
                    unit: FrameUnit::Range,
                    start: Bound::Number(-100_000),
                    end: Bound::Number(100_000),
                },
            })
            .collect(),
    };
    let started = std::time::Instant::now();
    assert_eq!(window.evaluate(&rows).len(), 200_000);
    assert!(started.elapsed().as_secs() < 60);
}
