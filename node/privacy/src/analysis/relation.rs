//! What is public about each relation, from what is public about its parts.

use skerry_proto::{DataType, ErrorCode, Refusal, Value};

use super::{
    declared::declare,
    image::{Images, Source},
    interval::{Interval, narrow_by, number},
    join::{self, PublicSide},
    person,
    shape::{ColumnShape, Shape, ill_typed, refused},
};
use crate::{
    policy::{Domain, Ownership, Policy, TablePolicy},
    question::{Expression, Relation},
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
            filter(&mut of_input, predicate, images)?;
            of_input.settle()
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
            join::on_unit(*kind, left, right, condition.as_ref(), images)
        }
        Relation::JoinPublic {
            kind,
            private,
            public,
            on,
            condition,
        } => {
            let private = shape(private, policy, images)?;
            let public = PublicSide {
                shape: shape(public, policy, images)?,
                rows: super::public::rows(public, policy)?,
            };
            join::public(*kind, private, public, on, condition.as_ref(), images)
        }
        Relation::Semi {
            matching,
            left,
            right,
            condition,
        } => {
            let left = shape(left, policy, images)?;
            let right = shape(right, policy, images)?;
            join::semi(*matching, left, &right, condition.as_ref(), images)
        }
        Relation::SemiPublic {
            matching,
            private,
            public,
            on,
            condition,
        } => {
            let private = shape(private, policy, images)?;
            let public = PublicSide {
                shape: shape(public, policy, images)?,
                rows: super::public::rows(public, policy)?,
            };
            join::semi_public(*matching, private, &public, on, condition.as_ref(), images)
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
        Relation::Window { input, window } => {
            let input = shape(input, policy, images)?;
            person::windowed(input, window, images)
        }
        Relation::PerPerson {
            input,
            keys,
            aggregates,
        } => {
            let input = shape(input, policy, images)?;
            person::aggregated(&input, keys, aggregates, images)
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
            // Who a person is is never public, whatever the owner declares.
            Ownership::Private { unit, .. } if unit == wanted => None,
            Ownership::Private { .. } => {
                Source::of_column(column).and_then(|source| images.atom(source))
            }
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
            of_unit: false,
            repeats: u64::MAX,
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

pub(super) fn need_boolean(condition: &Expression, types: &[DataType]) -> Result<(), Refusal> {
    match condition.data_type(types).map_err(ill_typed)? {
        DataType::Boolean => Ok(()),
        other => Err(refused(&format!("a condition is {other}, not boolean"))),
    }
}

/// Narrows a shape to the rows for which the predicate is true.
pub(super) fn filter(
    shape: &mut Shape,
    predicate: &Expression,
    images: &mut Images,
) -> Result<(), Refusal> {
    need_boolean(predicate, &shape.types())?;
    let narrowed = narrow_by(predicate, &shape.intervals());
    for (column, interval) in shape.columns.iter_mut().zip(narrowed) {
        column.interval = interval;
    }
    for index in predicate.known_where_true() {
        if let Some(column) = shape.columns.get_mut(index) {
            column.nulls = false;
        }
    }
    for part in predicate.conjuncts() {
        if let Some(symbol) = shape.symbol(part) {
            shape.constraints.push(symbol);
        }
    }
    // Few values, each on few rows: the first visit of each person is one row a person.
    if let Some(rows) = shape.rows_per_person {
        let fewest = shape
            .columns
            .iter()
            .filter(|column| column.repeats < rows)
            .filter_map(|column| {
                let values = images.values_of(column, &shape.constraints)?;
                Some(values.max(1).saturating_mul(column.repeats))
            })
            .min();
        shape.rows_per_person = Some(rows.min(fewest.unwrap_or(rows)));
    }
    Ok(())
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
                // Two branches may give one person two values, or one and NULL.
                of_person: branches.iter().all(|column| column.unit && !column.nulls),
                unit: branches.iter().all(|column| column.unit),
                of_unit: branches.iter().any(|column| column.unit || column.of_unit),
                repeats: branches
                    .iter()
                    .map(|column| column.repeats)
                    .fold(0, u64::saturating_add),
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
