//! Views: the owner's declarations over a relation, and what follows where nothing is declared.

use skerry_proto::{DataType, Refusal, Value};

use super::{
    image::{Images, Source},
    interval::Interval,
    relation::{of_domain, shape},
    shape::{Shape, refused},
};
use crate::{
    policy::{ColumnPolicy, Domain, Policy},
    question::{Expression, Relation},
};

/// A list of successive days or whole numbers, or of floats, that is longer is told as a range.
const LONG_LIST: usize = 50;

/// The shape of a relation under declarations. They narrow what follows from the relation itself;
/// where values or a finite range are declared, those are the column's public values.
pub(super) fn declare(
    mut shape: Shape,
    columns: &[ColumnPolicy],
    max_rows_per_unit: u64,
    images: &mut Images,
) -> Result<Shape, Refusal> {
    let Some(rows) = shape.rows_per_person else {
        return Err(refused("a view of public tables is a table"));
    };
    let types = columns.iter().map(|column| column.data_type);
    if shape.types() != types.collect::<Vec<_>>() {
        return Err(refused("a view's declarations don't fit its columns"));
    }
    shape.rows_per_person = Some(rows.min(max_rows_per_unit));
    for (column, declared) in shape.columns.iter_mut().zip(columns) {
        let inherited = column.symbol.take();
        // A value that isn't listed becomes NULL; one outside a range stays.
        let nulls = match declared.domain {
            Domain::Values(_) => declared.nulls,
            Domain::Range(..) | Domain::Unknown => declared.nulls && column.nulls,
        };
        if declared.domain == Domain::Unknown {
            column.symbol = match inherited {
                Some(symbol) if column.nulls && !nulls => known_values(&symbol, images),
                other => other,
            };
        } else {
            column.interval = column.interval.narrow(of_domain(&declared.domain));
            let source = Source::of_column(&ColumnPolicy {
                nulls,
                ..declared.clone()
            });
            // A range of floats is no list; then what follows from the relation holds.
            column.symbol = source.and_then(|source| images.atom(source)).or(inherited);
            // The owner says what is public about it, whatever it is computed from.
            column.of_unit = false;
        }
        if matches!(declared.domain, Domain::Values(_)) {
            // Values that aren't listed become one, NULL.
            column.repeats = u64::MAX;
        }
        column.nulls = nulls;
    }
    Ok(shape)
}

/// The values of a symbol without NULL.
fn known_values(symbol: &Expression, images: &mut Images) -> Option<Expression> {
    let null = Expression::IsNull(Box::new(symbol.clone()));
    images.union(&[(symbol, &[Expression::Not(Box::new(null))])])
}

/// What is public about a private relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Rows that a person has, at most.
    pub rows_per_person: u64,
    /// Of each column.
    pub columns: Vec<KnownColumn>,
}

/// What is public about a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownColumn {
    /// Whether this is the privacy unit.
    pub unit: bool,
    /// Values or range.
    pub domain: Domain,
    /// Whether NULL is a group of its own.
    pub nulls: bool,
}

/// What is public about a private relation under a policy.
///
/// # Errors
/// If a part is ill-typed, unknown or too large, or the relation is public.
pub fn known(relation: &Relation, policy: &Policy) -> Result<Known, Refusal> {
    let mut images = Images::default();
    let shape = shape(relation, policy, &mut images)?;
    let Some(rows_per_person) = shape.rows_per_person else {
        return Err(refused("the relation is public"));
    };
    let columns = shape
        .columns
        .iter()
        .map(|column| {
            let values = column.symbol.as_ref().and_then(|symbol| {
                images
                    .groups(std::slice::from_ref(symbol), &shape.constraints)
                    .ok()
            });
            let values: Option<Vec<Value>> =
                values.map(|groups| groups.into_iter().flatten().collect());
            KnownColumn {
                unit: column.unit,
                domain: values
                    .and_then(listed)
                    .or_else(|| ranged(column.interval, column.data_type))
                    .unwrap_or(Domain::Unknown),
                nulls: column.nulls,
            }
        })
        .collect();
    Ok(Known {
        rows_per_person,
        columns,
    })
}

/// Sorted values as a domain; nothing where there are none.
fn listed(mut values: Vec<Value>) -> Option<Domain> {
    values.retain(|value| !value.is_null());
    let ends = values.first().cloned().zip(values.last().cloned());
    let (low, high) = ends?;
    let last = i64::try_from(values.len() - 1).ok()?;
    let dense = match (&low, &high) {
        (Value::Integer(low), Value::Integer(high)) => high.checked_sub(*low) == Some(last),
        (Value::Date(low), Value::Date(high)) => i64::from(*high) - i64::from(*low) == last,
        (Value::Float(_), Value::Float(_)) => true,
        (_, _) => false,
    };
    Some(if dense && values.len() > LONG_LIST {
        Domain::Range(low, high)
    } else {
        Domain::Values(values)
    })
}

/// A bounded interval as a domain of that type.
fn ranged(interval: Interval, data_type: DataType) -> Option<Domain> {
    let Interval { low, high } = interval;
    if !interval.is_bounded() {
        return None;
    }
    let ends = match data_type {
        DataType::Integer => [low.ceil(), high.floor()].map(|end| Value::Integer(end as i64)),
        DataType::Date => [low.ceil(), high.floor()].map(|end| Value::Date(end as i32)),
        DataType::Float => [low, high].map(Value::Float),
        DataType::Timestamp => [low.ceil(), high.floor()].map(|end| Value::Timestamp(end as i64)),
        DataType::Boolean | DataType::Text => return None,
    };
    let [low, high] = ends;
    Some(Domain::Range(low, high))
}
