//! What is public about joins: the bounds multiply as they must, and only as they must.

use std::collections::BTreeSet;

use skerry_proto::{Refusal, Value, limit};

use super::{
    image::{Images, Source},
    interval::Interval,
    relation::{filter, need_boolean},
    shape::{ColumnShape, Shape, ill_typed, refused},
};
use crate::question::{Comparison, Expression, JoinKind, Matching};

/// The public side of a join.
pub struct PublicSide {
    /// What its columns are.
    pub shape: Shape,
    /// Its rows.
    pub rows: Vec<Vec<Value>>,
}

/// Rows of the other side that one row matches, at most.
#[derive(Debug, Clone, Copy)]
struct Matches {
    of_left: u64,
    of_right: u64,
}

/// A join of two private relations on the unit.
///
/// **Rows.** A row of the left side matches at most the person's rows on the right. Where the
/// condition wants a column of the right side to equal something of the left's, it matches no more
/// than the rows on which that column has one value. The same the other way round.
pub fn on_unit(
    kind: JoinKind,
    left: Shape,
    right: Shape,
    condition: Option<&Expression>,
    images: &mut Images,
) -> Result<Shape, Refusal> {
    let (Some(left_rows), Some(right_rows)) = (left.rows_per_person, right.rows_per_person) else {
        return Err(refused("both sides of a join on the unit must be private"));
    };
    let mut matches = Matches {
        of_left: right_rows,
        of_right: left_rows,
    };
    let offset = left.columns.len();
    for part in condition.into_iter().flat_map(Expression::conjuncts) {
        let Expression::Compare {
            operator: Comparison::Equal,
            left: a,
            right: b,
        } = part
        else {
            continue;
        };
        for (column, other) in [(a, b), (b, a)] {
            let Expression::Column(index) = **column else {
                continue;
            };
            match index.checked_sub(offset) {
                Some(index) if within(other, 0..offset) => {
                    matches.of_left = matches.of_left.min(right.columns[index].repeats);
                }
                None if within(other, offset..usize::MAX) => {
                    matches.of_right = matches.of_right.min(left.columns[index].repeats);
                }
                Some(_) | None => {}
            }
        }
    }
    let rows = left_rows.saturating_mul(matches.of_left);
    let rows = match kind {
        JoinKind::Inner => rows.min(right_rows.saturating_mul(matches.of_right)),
        JoinKind::Left => rows.max(left_rows),
    };
    joined(kind, left, right, rows, matches, condition, images)
}

/// A join of a private relation with a public one.
pub fn public(
    kind: JoinKind,
    private: Shape,
    public: PublicSide,
    on: &[(Expression, Expression)],
    condition: Option<&Expression>,
    images: &mut Images,
) -> Result<Shape, Refusal> {
    let Some(rows) = private.rows_per_person else {
        return Err(refused(
            "one side of a join with a public table must be private",
        ));
    };
    if public.shape.rows_per_person.is_some() {
        return Err(refused("a join with a public table needs one"));
    }
    need_pairs(&private, &public.shape, on)?;
    let found = images.join_public(&private, &public.shape, &public.rows, on, kind)?;
    let matches = Matches {
        of_left: found.most,
        of_right: rows,
    };
    let rows = rows.saturating_mul(found.most);
    let mut right = public.shape;
    // The keys fix the public row, unless they may match several.
    let of_person = found.most <= 1 && on.iter().all(|(key, _)| private.is_of_person(key));
    for (column, symbol) in right.columns.iter_mut().zip(found.symbols) {
        column.symbol = symbol;
        column.of_person = of_person;
        column.nulls |= kind == JoinKind::Left;
    }
    right.constraints = vec![];
    // In a left join the public columns are NULL where nothing matches: the image has that
    // already, but for rows that match on the keys and fail the condition.
    let narrowed = match (kind, condition) {
        (JoinKind::Left, None) => JoinKind::Inner,
        (JoinKind::Left, Some(_)) => JoinKind::Left,
        (JoinKind::Inner, _) => JoinKind::Inner,
    };
    joined(narrowed, private, right, rows, matches, condition, images)
}

fn joined(
    kind: JoinKind,
    mut left: Shape,
    mut right: Shape,
    rows: u64,
    matches: Matches,
    condition: Option<&Expression>,
    images: &mut Images,
) -> Result<Shape, Refusal> {
    for column in &mut left.columns {
        column.repeats = column.repeats.saturating_mul(matches.of_left.max(1));
    }
    for column in &mut right.columns {
        column.repeats = column.repeats.saturating_mul(matches.of_right.max(1));
    }
    let mut constraints = left.constraints.clone();
    match kind {
        JoinKind::Inner => constraints.append(&mut right.constraints),
        JoinKind::Left => {
            // A row without a match has NULLs on the right, whatever the right side's own
            // conditions say. Whether it has one is a fact of the person if the condition is: the
            // unit alone finds a match for all of a person's rows or for none.
            let of_person = condition.is_none_or(|condition| {
                columns_of(condition).into_iter().all(|index| {
                    let column = match index.checked_sub(left.columns.len()) {
                        Some(index) => right.columns.get(index),
                        None => left.columns.get(index),
                    };
                    column.is_some_and(|column| column.of_person)
                })
            });
            for column in &mut right.columns {
                column.nulls = true;
                column.of_person &= of_person;
                column.repeats = u64::MAX;
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
            JoinKind::Inner => filter(&mut joined, condition, images)?,
            JoinKind::Left => need_boolean(condition, &joined.types())?,
        }
    }
    joined.settle()
}

/// Rows of one private relation by whether the person has such a row in another. They stay what
/// they are: nothing multiplies.
pub fn semi(
    matching: Matching,
    left: Shape,
    right: &Shape,
    condition: Option<&Expression>,
    images: &mut Images,
) -> Result<Shape, Refusal> {
    if left.rows_per_person.is_none() || right.rows_per_person.is_none() {
        return Err(refused("both sides of a semi join must be private"));
    }
    check_condition(&left, right, condition)?;
    // The person's rows on the right are the same for all of the person's rows on the left.
    let of_person = is_of_person(&left, condition);
    match matching {
        Matching::With | Matching::Without => Ok(left),
        Matching::Marked => marked(left, of_person, None, images),
    }
}

/// Rows of a private relation by whether there is such a row in a public one.
pub fn semi_public(
    matching: Matching,
    mut private: Shape,
    public: &PublicSide,
    on: &[(Expression, Expression)],
    condition: Option<&Expression>,
    images: &mut Images,
) -> Result<Shape, Refusal> {
    if private.rows_per_person.is_none() || public.shape.rows_per_person.is_some() {
        return Err(refused("a semi join with a public table needs one"));
    }
    need_pairs(&private, &public.shape, on)?;
    check_condition(&private, &public.shape, condition)?;
    let of_person =
        is_of_person(&private, condition) && on.iter().all(|(key, _)| private.is_of_person(key));
    // Which values of a single key have a match is public.
    let listed = match on {
        [(key, of_public)] => private.symbol(key).and_then(|symbol| {
            let values = public.rows.iter().map(|row| of_public.evaluate(row));
            let list: BTreeSet<Value> = values.filter(|value| !value.is_null()).collect();
            (list.len() <= limit::LIST_LENGTH).then(|| Expression::In {
                value: Box::new(symbol),
                list: list.into_iter().collect(),
            })
        }),
        _ => None,
    };
    match (matching, listed) {
        (Matching::With, listed) => {
            private.constraints.extend(listed);
            Ok(private)
        }
        // A row without a match may still meet the key and fail the condition; NULL meets nothing.
        (Matching::Without, Some(listed)) if condition.is_none() => {
            let unlisted = Expression::Not(Box::new(Expression::Call {
                function: crate::question::Function::Same,
                arguments: vec![listed, Expression::truth()],
            }));
            private.constraints.push(unlisted);
            Ok(private)
        }
        (Matching::Without, _) => Ok(private),
        (Matching::Marked, listed) => {
            let exact = listed.filter(|_| condition.is_none());
            marked(private, of_person, exact, images)
        }
    }
}

/// With a column more: whether there is a match.
fn marked(
    mut shape: Shape,
    of_person: bool,
    listed: Option<Expression>,
    images: &mut Images,
) -> Result<Shape, Refusal> {
    let interval = Interval::new(0.0, 1.0);
    let data_type = skerry_proto::DataType::Boolean;
    let symbol = match listed {
        // NULL is in no list.
        Some(listed) => Some(Expression::Call {
            function: crate::question::Function::Same,
            arguments: vec![listed, Expression::truth()],
        }),
        None => Source::of_interval(data_type, interval, false).and_then(|of| images.atom(of)),
    };
    shape.columns.push(ColumnShape {
        data_type,
        interval,
        nulls: false,
        symbol,
        of_person,
        unit: false,
        of_unit: false,
        repeats: u64::MAX,
    });
    shape.settle()
}

/// Each pair of keys is of one type.
fn need_pairs(
    private: &Shape,
    public: &Shape,
    on: &[(Expression, Expression)],
) -> Result<(), Refusal> {
    for (of_private, of_public) in on {
        let left = of_private.data_type(&private.types()).map_err(ill_typed)?;
        let right = of_public.data_type(&public.types()).map_err(ill_typed)?;
        if left != right {
            return Err(refused("a join of two types"));
        }
    }
    Ok(())
}

fn check_condition(
    left: &Shape,
    right: &Shape,
    condition: Option<&Expression>,
) -> Result<(), Refusal> {
    match condition {
        Some(condition) => need_boolean(condition, &[left.types(), right.types()].concat()),
        None => Ok(()),
    }
}

fn columns_of(expression: &Expression) -> BTreeSet<usize> {
    let mut used = BTreeSet::new();
    expression.collect_columns(&mut used);
    used
}

fn within(expression: &Expression, columns: std::ops::Range<usize>) -> bool {
    let used = columns_of(expression);
    used.into_iter().all(|index| columns.contains(&index))
}

/// Whether what a condition says about the left side is the same for all rows of a person.
fn is_of_person(left: &Shape, condition: Option<&Expression>) -> bool {
    let used = condition.map(columns_of).unwrap_or_default();
    used.into_iter()
        .filter_map(|index| left.columns.get(index))
        .all(|column| column.of_person)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use skerry_proto::DataType;

    use super::*;
    use crate::{
        analysis::relation::shape,
        policy::{ColumnPolicy, Domain, Ownership, Policy, TablePolicy},
        question::Relation,
    };

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
        let is_priced = |private_key: Expression, public_key: Expression| {
            let on = vec![(private_key, public_key)];
            let joined = Relation::JoinPublic {
                kind: JoinKind::Inner,
                private: table("visits", ["unit", "place"]),
                public: table("places", ["place", "size"]),
                on: on.clone(),
                condition: None,
            };
            let matched = Relation::SemiPublic {
                matching: Matching::With,
                private: table("visits", ["unit", "place"]),
                public: table("places", ["place", "size"]),
                on,
                condition: None,
            };
            let [joined, matched] = [joined, matched]
                .map(|relation| shape(&relation, &policy, &mut Images::default()).is_ok());
            assert_eq!(joined, matched);
            joined
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
