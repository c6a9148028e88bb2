//! A small reference for relations, which follows the meaning of the closed question and nothing
//! else: neither DataFusion nor the node takes part. The node's own tests hold the plan that runs
//! against it.

#![allow(dead_code, reason = "each test uses its own part")]

pub mod generate;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Deref, DerefMut},
};

use skerry_privacy::{
    policy::{ColumnPolicy, Domain},
    question::{Expression, JoinKind, Matching, PersonAggregate, PersonFunction, Relation},
};
use skerry_proto::{DataType, Value};

use super::Fault;

pub type Row = Vec<Value>;

/// The tables by name. The first column of a private one is the unit.
pub type Tables = BTreeMap<&'static str, Table>;

/// Tables, and what is wrong with whoever evaluates questions over them.
#[derive(Debug, Clone)]
pub struct Data {
    pub tables: Tables,
    pub fault: Option<Fault>,
}

impl Deref for Data {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl DerefMut for Data {
    fn deref_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }
}

/// One table.
#[derive(Debug, Clone)]
pub struct Table {
    pub columns: &'static [(&'static str, DataType)],
    pub private: bool,
    pub rows: Vec<Row>,
}

/// A private relation's rows, each with its person.
pub fn rows(relation: &Relation, data: &Data) -> Vec<(i64, Row)> {
    data.fault
        .and_then(|fault| fault.rows(relation, data))
        .unwrap_or_else(|| honest_rows(relation, data))
}

/// The same where the topmost node has no fault.
pub fn honest_rows(relation: &Relation, data: &Data) -> Vec<(i64, Row)> {
    match relation {
        Relation::Table { table, .. } => data[table.as_str()]
            .rows
            .iter()
            .filter_map(|row| match row[0] {
                Value::Integer(id) => Some((id, columns(relation, data, row))),
                _ => None,
            })
            .collect(),
        Relation::Filter { input, predicate } => rows(input, data)
            .into_iter()
            .filter(|(_, row)| holds(Some(predicate), row))
            .collect(),
        Relation::Project { input, columns } => rows(input, data)
            .into_iter()
            .map(|(id, row)| (id, project(columns, &row)))
            .collect(),
        Relation::Join {
            kind,
            left,
            right,
            condition,
        } => {
            let others = rows(right, data);
            let mut joined = vec![];
            for (id, row) in rows(left, data) {
                let matches = others
                    .iter()
                    .filter(|(other, _)| *other == id)
                    .map(|(_, other)| [row.clone(), other.clone()].concat())
                    .filter(|both| holds(condition.as_ref(), both));
                keep(*kind, id, &row, width(right), matches, &mut joined);
            }
            joined
        }
        Relation::JoinPublic {
            kind,
            private,
            public,
            on,
            condition,
        } => {
            let others = public_rows(public, data);
            let mut joined = vec![];
            for (id, row) in rows(private, data) {
                let matches = others
                    .iter()
                    .filter(|other| same(on, &row, other))
                    .map(|other| [row.clone(), other.clone()].concat())
                    .filter(|both| holds(condition.as_ref(), both));
                keep(*kind, id, &row, width(public), matches, &mut joined);
            }
            joined
        }
        Relation::Semi {
            matching,
            left,
            right,
            condition,
        } => {
            let others = rows(right, data);
            let found = |id: i64, row: &Row| {
                others.iter().any(|(other, theirs)| {
                    *other == id
                        && holds(condition.as_ref(), &[row.clone(), theirs.clone()].concat())
                })
            };
            by_match(*matching, rows(left, data), found)
        }
        Relation::SemiPublic {
            matching,
            private,
            public,
            on,
            condition,
        } => {
            let others = public_rows(public, data);
            let found = |_: i64, row: &Row| {
                others.iter().any(|other| {
                    same(on, row, other)
                        && holds(condition.as_ref(), &[row.clone(), other.clone()].concat())
                })
            };
            by_match(*matching, rows(private, data), found)
        }
        Relation::Union { inputs } => inputs.iter().flat_map(|input| rows(input, data)).collect(),
        Relation::Declared { input, columns, .. } => rows(input, data)
            .into_iter()
            .map(|(id, row)| (id, declared(row, columns)))
            .collect(),
        Relation::Window { input, window } => {
            let mut of_persons: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
            for (id, row) in rows(input, data) {
                of_persons.entry(id).or_default().push(row);
            }
            let mut found = vec![];
            for (id, members) in of_persons {
                let more = window.evaluate(&members);
                found.extend(
                    members
                        .into_iter()
                        .zip(more)
                        .map(|(row, more)| (id, [row, more].concat())),
                );
            }
            found
        }
        Relation::PerPerson {
            input,
            keys,
            aggregates,
        } => {
            let mut groups: BTreeMap<(i64, Row), Vec<Row>> = BTreeMap::new();
            for (id, row) in rows(input, data) {
                groups
                    .entry((id, project(keys, &row)))
                    .or_default()
                    .push(row);
            }
            groups
                .into_iter()
                .map(|((id, key), members)| {
                    let figures = aggregates.iter().map(|figure| of_person(figure, &members));
                    (id, key.into_iter().chain(figures).collect())
                })
                .collect()
        }
    }
}

/// A public relation's rows.
fn public_rows(relation: &Relation, data: &Data) -> Vec<Row> {
    match relation {
        Relation::Table { table, .. } => {
            let rows = data[table.as_str()].rows.iter();
            rows.map(|row| columns(relation, data, row)).collect()
        }
        Relation::Filter { input, predicate } => public_rows(input, data)
            .into_iter()
            .filter(|row| holds(Some(predicate), row))
            .collect(),
        other => panic!("the tests join with no {other:?}"),
    }
}

/// What the declared lists leave of a row.
pub fn declared(row: Row, columns: &[ColumnPolicy]) -> Row {
    row.into_iter()
        .zip(columns)
        .map(|(value, column)| match &column.domain {
            Domain::Values(values) if !values.contains(&value) => Value::Null,
            Domain::Values(_) | Domain::Range(..) | Domain::Unknown => value,
        })
        .collect()
}

/// The columns of a table that a relation names.
pub fn columns(relation: &Relation, data: &Data, row: &Row) -> Row {
    let Relation::Table { table, columns } = relation else {
        panic!("not a table: {relation:?}")
    };
    let of_table = data[table.as_str()].columns;
    let position = |wanted: &String| of_table.iter().position(|(name, _)| name == wanted);
    columns
        .iter()
        .map(|wanted| row[position(wanted).expect("a column")].clone())
        .collect()
}

fn project(expressions: &[Expression], row: &Row) -> Row {
    expressions.iter().map(|part| part.evaluate(row)).collect()
}

fn same(on: &[(Expression, Expression)], left: &Row, right: &Row) -> bool {
    on.iter().all(|(a, b)| {
        let (a, b) = (a.evaluate(left), b.evaluate(right));
        !a.is_null() && a == b
    })
}

/// The matches of a row, or the row itself where a left join finds none.
fn keep(
    kind: JoinKind,
    id: i64,
    row: &Row,
    width: usize,
    matches: impl Iterator<Item = Row>,
    joined: &mut Vec<(i64, Row)>,
) {
    let before = joined.len();
    joined.extend(matches.map(|both| (id, both)));
    if joined.len() == before && kind == JoinKind::Left {
        joined.push((id, [row.clone(), vec![Value::Null; width]].concat()));
    }
}

fn by_match(
    matching: Matching,
    rows: Vec<(i64, Row)>,
    found: impl Fn(i64, &Row) -> bool,
) -> Vec<(i64, Row)> {
    rows.into_iter()
        .filter_map(|(id, mut row)| {
            let found = found(id, &row);
            match matching {
                Matching::With => found.then_some((id, row)),
                Matching::Without => (!found).then_some((id, row)),
                Matching::Marked => {
                    row.push(Value::Boolean(found));
                    Some((id, row))
                }
            }
        })
        .collect()
}

pub fn width(relation: &Relation) -> usize {
    let marks = |matching: &Matching| usize::from(*matching == Matching::Marked);
    match relation {
        Relation::Table { columns, .. } => columns.len(),
        Relation::Project { columns, .. } => columns.len(),
        Relation::Filter { input, .. } => width(input),
        Relation::Declared { columns, .. } => columns.len(),
        Relation::Semi { left, matching, .. } => width(left) + marks(matching),
        Relation::SemiPublic {
            private, matching, ..
        } => width(private) + marks(matching),
        Relation::Join { left, right, .. } => width(left) + width(right),
        Relation::JoinPublic {
            private, public, ..
        } => width(private) + width(public),
        Relation::Union { inputs } => inputs.first().map_or(0, width),
        Relation::Window { input, window } => width(input) + window.columns.len(),
        Relation::PerPerson {
            keys, aggregates, ..
        } => keys.len() + aggregates.len(),
    }
}

pub fn holds(condition: Option<&Expression>, row: &[Value]) -> bool {
    condition.is_none_or(|condition| condition.evaluate(row) == Value::Boolean(true))
}

pub fn of_person(figure: &PersonAggregate, members: &[Row]) -> Value {
    let known: Vec<Value> = members
        .iter()
        .map(|row| figure.argument.evaluate(row))
        .filter(|value| !value.is_null() && !matches!(value, Value::Float(x) if x.is_nan()))
        .collect();
    // As the engine's decimals: 28 digits, 9 of them after the point; what doesn't fit is NULL.
    let billionths = |value: &Value| match value {
        Value::Integer(x) => Some(i128::from(*x) * 1_000_000_000),
        Value::Float(x) => (x.abs() < 1e19).then_some((x * 1e9).round() as i128),
        _ => None,
    };
    let numbers: Vec<i128> = known.iter().filter_map(billionths).collect();
    let sum = numbers.iter().sum::<i128>() as f64 / 1e9;
    match figure.function {
        PersonFunction::Count => Value::Integer(known.len() as i64),
        PersonFunction::CountDistinct => {
            Value::Integer(known.iter().collect::<BTreeSet<_>>().len() as i64)
        }
        PersonFunction::Maximum => known.into_iter().max().unwrap_or(Value::Null),
        PersonFunction::Minimum => known.into_iter().min().unwrap_or(Value::Null),
        PersonFunction::Sum | PersonFunction::Average if numbers.is_empty() => Value::Null,
        PersonFunction::Sum => match known.first() {
            Some(Value::Integer(_)) => Value::Integer(known.iter().fold(0, |sum, x| match x {
                Value::Integer(x) => sum.wrapping_add(*x),
                other => panic!("{other} is no integer"),
            })),
            _ => Value::Float(sum),
        },
        PersonFunction::Average => Value::Float(sum / numbers.len() as f64),
    }
}
