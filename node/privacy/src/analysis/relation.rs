//! What is public about each relation, from what is public about its parts.

use std::collections::BTreeSet;

use skerry_proto::{DataType, ErrorCode, Refusal, Value};

use super::{
    declared::declare,
    image::{Images, Source},
    interval::{Interval, narrow_by, number},
    nulls::known_where_true,
    shape::{ColumnShape, Shape, ill_typed, refused},
};
use crate::{
    policy::{Domain, Ownership, Policy, TablePolicy},
    question::{Expression, JoinKind, PersonAggregate, PersonFunction, Relation},
};

/// The shape of a relation under a policy.
///
/// # Errors
/// If a name isn't in the policy, a part is ill-typed, or private and public are mixed up.
pub fn shape(relation: &Relation, policy: &Policy, images: &mut Images) -> Result<Shape, Refusal> {
    match relation {
        Relation::Table { table, columns } => {
            let Some(found) = policy.tables.get(table) else {
                return Err(Refusal::new(
                    ErrorCode::UnknownTable,
                    format!("there is no table {table}"),
                    "",
                ));
            };
            table_shape(table, found, columns, images)?.settle()
        }
        Relation::Filter { input, predicate } => {
            let mut of_input = shape(input, policy, images)?;
            filter(&mut of_input, predicate)?;
            Ok(of_input)
        }
        Relation::Project { input, columns } => {
            let of_input = shape(input, policy, images)?;
            Shape {
                columns: columns
                    .iter()
                    .map(|column| of_input.derive(column, images))
                    .collect::<Result<_, _>>()?,
                rows_per_person: of_input.rows_per_person,
                constraints: of_input.constraints,
            }
            .settle()
        }
        Relation::Join {
            kind,
            left,
            right,
            condition,
        } => {
            let left = shape(left, policy, images)?;
            let right = shape(right, policy, images)?;
            let (Some(left_rows), Some(right_rows)) = (left.rows_per_person, right.rows_per_person)
            else {
                return Err(refused("both sides of a join on the unit must be private"));
            };
            join(
                *kind,
                left,
                right,
                left_rows.saturating_mul(right_rows),
                condition.as_ref(),
                images,
            )
        }
        Relation::JoinPublic {
            kind,
            private,
            public,
            on,
            condition,
        } => {
            let private = shape(private, policy, images)?;
            let Some(rows) = private.rows_per_person else {
                return Err(refused(
                    "one side of a join with a public table must be private",
                ));
            };
            let public_shape = shape(public, policy, images)?;
            if public_shape.rows_per_person.is_some() {
                return Err(refused("a join with a public table needs one"));
            }
            let public_rows = super::public::rows(public, policy)?;
            let matches = images.join_public(&private, &public_shape, &public_rows, on, *kind)?;
            let rows = rows.saturating_mul(matches.most);
            let mut right = public_shape;
            // The keys fix the public row, unless they may match several.
            let of_person =
                matches.most <= 1 && on.iter().all(|(key, _)| private.is_of_person(key));
            for (column, symbol) in right.columns.iter_mut().zip(matches.symbols) {
                column.symbol = symbol;
                column.of_person = of_person;
                column.nulls |= *kind == JoinKind::Left;
            }
            right.constraints = vec![];
            // In a left join the public columns are NULL where nothing matches: the image has that
            // already, but for rows that match on the keys and fail the condition.
            let narrowed = match (kind, condition) {
                (JoinKind::Left, None) => JoinKind::Inner,
                (JoinKind::Left, Some(_)) => JoinKind::Left,
                (JoinKind::Inner, _) => JoinKind::Inner,
            };
            join(narrowed, private, right, rows, condition.as_ref(), images)
        }
        Relation::Semi {
            negated: _,
            left,
            right,
            condition,
        } => {
            let left = shape(left, policy, images)?;
            let right = shape(right, policy, images)?;
            if left.rows_per_person.is_none() || right.rows_per_person.is_none() {
                return Err(refused("both sides of a semi join must be private"));
            }
            if let Some(condition) = condition {
                let types = [left.types(), right.types()].concat();
                need_boolean(condition, &types)?;
            }
            Ok(left)
        }
        Relation::Union { inputs } => union(inputs, policy, images),
        Relation::Declared {
            input,
            columns,
            max_rows_per_unit,
        } => {
            let input = shape(input, policy, images)?;
            declare(input, columns, *max_rows_per_unit, images)?.settle()
        }
        Relation::PerPerson {
            input,
            keys,
            aggregates,
        } => {
            let input = shape(input, policy, images)?;
            per_person(&input, keys, aggregates, images)
        }
    }
}

fn table_shape(
    name: &str,
    table: &TablePolicy,
    columns: &[String],
    images: &mut Images,
) -> Result<Shape, Refusal> {
    let mut shapes = vec![];
    let (unit, rows_per_person) = match &table.ownership {
        Ownership::Private {
            unit,
            max_rows_per_unit,
        } => (Some(unit), Some(*max_rows_per_unit)),
        Ownership::Public { .. } => (None, None),
    };
    for wanted in columns {
        let Some((index, column)) = table.column(wanted) else {
            return Err(Refusal::new(
                ErrorCode::UnknownColumn,
                format!("table {name} has no column {wanted}"),
                "",
            ));
        };
        let known = match (&column.domain, &table.ownership) {
            (_, Ownership::Public { rows }) => {
                hull_of(rows.iter().filter_map(|row| row.get(index)))
            }
            (domain, Ownership::Private { .. }) => of_domain(domain),
        };
        let symbol = match &table.ownership {
            Ownership::Public { .. } => None,
            Ownership::Private { .. } => Source::of_column(column)
                .and_then(|source| images.add(source).into_iter().next())
                .map(Expression::Column),
        };
        shapes.push(ColumnShape {
            data_type: column.data_type,
            interval: if column.data_type == DataType::Boolean {
                Interval::new(0.0, 1.0)
            } else {
                known
            },
            nulls: match &table.ownership {
                Ownership::Private { unit, .. } => column.nulls && unit != wanted,
                Ownership::Public { rows } => rows
                    .iter()
                    .any(|row| row.get(index).is_none_or(Value::is_null)),
            },
            symbol,
            of_person: unit == Some(wanted),
            unit: unit == Some(wanted),
        });
    }
    Ok(Shape {
        columns: shapes,
        rows_per_person,
        constraints: vec![],
    })
}

/// The numbers that a declaration allows.
pub(super) fn of_domain(domain: &Domain) -> Interval {
    match domain {
        Domain::Unknown => Interval::ALL,
        Domain::Range(low, high) => match (number(low), number(high)) {
            (Some(low), Some(high)) => Interval::new(low, high),
            (_, _) => Interval::ALL,
        },
        Domain::Values(values) => hull_of(values.iter()),
    }
}

fn hull_of<'a>(values: impl Iterator<Item = &'a Value>) -> Interval {
    let mut hull: Option<Interval> = None;
    for value in values.filter(|value| !value.is_null()) {
        let Some(x) = number(value) else {
            return Interval::ALL;
        };
        let point = Interval::new(x, x);
        hull = Some(hull.map_or(point, |hull| hull.hull(point)));
    }
    hull.unwrap_or(Interval::ALL)
}

fn need_boolean(condition: &Expression, types: &[DataType]) -> Result<(), Refusal> {
    match condition.data_type(types).map_err(ill_typed)? {
        DataType::Boolean => Ok(()),
        other => Err(refused(&format!("a condition is {other}, not boolean"))),
    }
}

/// Narrows a shape to the rows for which the predicate is true.
fn filter(shape: &mut Shape, predicate: &Expression) -> Result<(), Refusal> {
    need_boolean(predicate, &shape.types())?;
    let narrowed = narrow_by(predicate, &shape.intervals());
    for (column, interval) in shape.columns.iter_mut().zip(narrowed) {
        column.interval = interval;
    }
    for index in known_where_true(predicate) {
        if let Some(column) = shape.columns.get_mut(index) {
            column.nulls = false;
        }
    }
    let parts = match predicate {
        Expression::And(parts) => parts.as_slice(),
        single => std::slice::from_ref(single),
    };
    for part in parts {
        if let Some(symbol) = shape.symbol(part) {
            shape.constraints.push(symbol);
        }
    }
    Ok(())
}

fn join(
    kind: JoinKind,
    left: Shape,
    mut right: Shape,
    rows: u64,
    condition: Option<&Expression>,
    images: &mut Images,
) -> Result<Shape, Refusal> {
    let mut constraints = left.constraints;
    match kind {
        JoinKind::Inner => constraints.append(&mut right.constraints),
        JoinKind::Left => {
            // A row without a match has NULLs on the right, whatever the right side's own
            // conditions say. Whether it has one is a fact of the person if the condition is: the
            // unit alone finds a match for all of a person's rows or for none.
            let offset = left.columns.len();
            let of_person = condition.is_none_or(|condition| {
                let mut used = BTreeSet::new();
                condition.collect_columns(&mut used);
                used.into_iter().all(|index| {
                    let (of, index) = match index.checked_sub(offset) {
                        Some(index) => (&right.columns, index),
                        None => (&left.columns, index),
                    };
                    of.get(index).is_some_and(|column| column.of_person)
                })
            });
            for column in &mut right.columns {
                column.nulls = true;
                column.of_person &= of_person;
                column.symbol = column
                    .symbol
                    .take()
                    .and_then(|symbol| images.or_null(&symbol));
            }
        }
    }
    let mut joined = Shape {
        columns: left.columns.into_iter().chain(right.columns).collect(),
        rows_per_person: Some(rows),
        constraints,
    };
    if let Some(condition) = condition {
        match kind {
            JoinKind::Inner => filter(&mut joined, condition)?,
            JoinKind::Left => need_boolean(condition, &joined.types())?,
        }
    }
    joined.settle()
}

fn union(inputs: &[Relation], policy: &Policy, images: &mut Images) -> Result<Shape, Refusal> {
    let shapes = inputs
        .iter()
        .map(|input| shape(input, policy, images))
        .collect::<Result<Vec<_>, _>>()?;
    let Some((first, rest)) = shapes.split_first() else {
        return Err(refused("a union without branches"));
    };
    if rest.iter().any(|other| {
        other.types() != first.types()
            || other.rows_per_person.is_some() != first.rows_per_person.is_some()
    }) {
        return Err(refused("the branches of a union differ"));
    }
    let columns = (0..first.columns.len())
        .map(|index| {
            let branches: Vec<&ColumnShape> =
                shapes.iter().map(|shape| &shape.columns[index]).collect();
            let symbols: Option<Vec<(&Expression, &[Expression])>> = shapes
                .iter()
                .map(|shape| Some((shape.columns[index].symbol.as_ref()?, &*shape.constraints)))
                .collect();
            ColumnShape {
                data_type: branches[0].data_type,
                interval: branches
                    .iter()
                    .map(|column| column.interval)
                    .fold(branches[0].interval, Interval::hull),
                nulls: branches.iter().any(|column| column.nulls),
                symbol: symbols.and_then(|symbols| images.union(&symbols)),
                // Two branches may give one person two values.
                of_person: branches.iter().all(|column| column.unit),
                unit: branches.iter().all(|column| column.unit),
            }
        })
        .collect();
    let rows_per_person = shapes
        .iter()
        .map(|shape| shape.rows_per_person)
        .try_fold(0u64, |sum, rows| Some(sum.saturating_add(rows?)));
    Shape {
        columns,
        rows_per_person,
        constraints: vec![],
    }
    .settle()
}

fn per_person(
    input: &Shape,
    keys: &[Expression],
    aggregates: &[PersonAggregate],
    images: &mut Images,
) -> Result<Shape, Refusal> {
    let Some(rows) = input.rows_per_person else {
        return Err(refused("aggregation per person needs a private relation"));
    };
    let mut columns = keys
        .iter()
        .map(|key| input.derive(key, images))
        .collect::<Result<Vec<_>, _>>()?;
    for aggregate in aggregates {
        columns.push(of_rows(input, rows, aggregate, images)?);
    }
    let of_person = keys.iter().all(|key| input.is_of_person(key));
    let reachable = if of_person {
        1
    } else {
        let symbols = columns.iter().take(keys.len());
        let symbols: Option<Vec<Expression>> =
            symbols.map(|column| column.symbol.clone()).collect();
        symbols
            .and_then(|symbols| images.groups(&symbols, &input.constraints).ok())
            .map_or(rows, |groups| rows.min(groups.len().max(1) as u64))
    };
    Shape {
        columns,
        rows_per_person: Some(reachable),
        constraints: input.constraints.clone(),
    }
    .settle()
}

/// An aggregate over so many rows of one person, at least one.
fn of_rows(
    input: &Shape,
    rows: u64,
    aggregate: &PersonAggregate,
    images: &mut Images,
) -> Result<ColumnShape, Refusal> {
    let argument = input.derive(&aggregate.argument, images)?;
    let many = rows as f64;
    let (data_type, interval) = match aggregate.function {
        PersonFunction::Count => {
            let least = if argument.nulls { 0.0 } else { 1.0 };
            (DataType::Integer, Interval::new(least, many))
        }
        // One row or many: the ends are those of one row where that is further out.
        PersonFunction::Sum => {
            let Interval { low, high } = argument.interval;
            let interval = if low > high {
                argument.interval
            } else {
                Interval::new(low.min(low * many), high.max(high * many))
            };
            (argument.data_type, interval)
        }
        PersonFunction::Minimum | PersonFunction::Maximum => {
            (argument.data_type, argument.interval)
        }
        PersonFunction::Average => (DataType::Float, argument.interval),
    };
    let nulls = match aggregate.function {
        PersonFunction::Count => false,
        PersonFunction::Sum
        | PersonFunction::Minimum
        | PersonFunction::Maximum
        | PersonFunction::Average => argument.nulls,
    };
    let of_argument = match aggregate.function {
        // One of the argument's own values.
        PersonFunction::Minimum | PersonFunction::Maximum => argument
            .symbol
            .and_then(|symbol| images.union(&[(&symbol, &input.constraints)])),
        PersonFunction::Count | PersonFunction::Sum | PersonFunction::Average => None,
    };
    let symbol = of_argument.or_else(|| {
        let source = Source::of_interval(data_type, interval, nulls)?;
        images.atom(source)
    });
    Ok(ColumnShape {
        data_type,
        interval,
        nulls,
        symbol,
        of_person: false,
        unit: false,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::policy::ColumnPolicy;

    /// What an ill-typed key would be charged for and then fail on.
    #[test]
    fn keys_of_a_join_with_a_public_table_are_typed() {
        let column = |name: &str, data_type| ColumnPolicy {
            name: name.into(),
            data_type,
            domain: Domain::Unknown,
            nulls: true,
        };
        let private = TablePolicy {
            ownership: Ownership::Private {
                unit: "unit".into(),
                max_rows_per_unit: 2,
            },
            columns: vec![
                column("unit", DataType::Integer),
                column("place", DataType::Text),
            ],
        };
        let public = TablePolicy {
            ownership: Ownership::Public {
                rows: vec![vec![Value::Text("a".into()), Value::Integer(1)]],
            },
            columns: vec![
                column("place", DataType::Text),
                column("size", DataType::Integer),
            ],
        };
        let policy = Policy {
            tables: BTreeMap::from([("visits".into(), private), ("places".into(), public)]),
            ..Policy::default()
        };
        let table = |table: &str, columns: [&str; 2]| {
            Box::new(Relation::Table {
                table: table.into(),
                columns: columns.map(str::to_owned).to_vec(),
            })
        };
        let is_priced = |private_key, public_key| {
            let joined = Relation::JoinPublic {
                kind: JoinKind::Inner,
                private: table("visits", ["unit", "place"]),
                public: table("places", ["place", "size"]),
                on: vec![(private_key, public_key)],
                condition: None,
            };
            shape(&joined, &policy, &mut Images::default()).is_ok()
        };
        let place = || Expression::Column(1);
        let of_places = Expression::Column;
        assert!(is_priced(place(), of_places(0)));
        assert!(!is_priced(place(), of_places(1)), "two types");
        assert!(!is_priced(place(), of_places(2)), "no column");
        let known = Expression::IsNull(Box::new(place()));
        let not = |column| Expression::Not(Box::new(of_places(column)));
        assert!(!is_priced(known, not(0)), "NOT of a text");
    }
}
