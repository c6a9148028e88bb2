//! Faults in what rows a relation has, or whose they are.

use std::collections::BTreeMap;

use skerry_privacy::question::{JoinKind, Matching, Relation};
use skerry_proto::Value;

use super::Fault;
use crate::reference::{Data, Row, columns, holds, honest_rows, of_person, rows, width};

/// Rows that a faulty LIMIT keeps.
const KEPT: usize = 3;

impl Fault {
    /// The rows of a relation whose topmost node is faulty; nothing where it isn't.
    pub fn rows(self, relation: &Relation, data: &Data) -> Option<Vec<(i64, Row)>> {
        match (self, relation) {
            (
                Self::JoinOffUnit,
                Relation::Join {
                    kind,
                    left,
                    right,
                    condition,
                },
            ) => {
                let others = rows(right, data);
                let mut joined = vec![];
                for (id, row) in rows(left, data) {
                    let before = joined.len();
                    joined.extend(
                        others
                            .iter()
                            .map(|(_, other)| [row.clone(), other.clone()].concat())
                            .filter(|both| holds(condition.as_ref(), both))
                            .map(|both| (id, both)),
                    );
                    if joined.len() == before && *kind == JoinKind::Left {
                        let nulls = vec![Value::Null; width(right)];
                        joined.push((id, [row, nulls].concat()));
                    }
                }
                Some(joined)
            }
            (
                Self::SemiOverAll,
                Relation::Semi {
                    matching: matching @ (Matching::With | Matching::Without),
                    left,
                    right,
                    condition,
                },
            ) => {
                let others = rows(right, data);
                let found = |row: &Row| {
                    others.iter().any(|(_, theirs)| {
                        holds(condition.as_ref(), &[row.clone(), theirs.clone()].concat())
                    })
                };
                let mut kept = rows(left, data);
                kept.retain(|(_, row)| found(row) == (*matching == Matching::With));
                Some(kept)
            }
            (
                Self::GroupedOverAll,
                Relation::PerPerson {
                    input,
                    keys,
                    aggregates,
                },
            ) => {
                // The first key is the unit, which is what was forgotten.
                let mut groups: BTreeMap<Row, (i64, Row, Vec<Row>)> = BTreeMap::new();
                for (id, row) in rows(input, data) {
                    let key: Row = keys.iter().map(|key| key.evaluate(&row)).collect();
                    let (_, _, members) = groups
                        .entry(key[1..].to_vec())
                        .or_insert_with(|| (id, key, vec![]));
                    members.push(row);
                }
                let grouped = groups.into_values().map(|(id, key, members)| {
                    let figures = aggregates.iter().map(|figure| of_person(figure, &members));
                    (id, key.into_iter().chain(figures).collect())
                });
                Some(grouped.collect())
            }
            (Self::LimitOverAll, Relation::Filter { .. }) => {
                let mut kept = honest_rows(relation, data);
                kept.truncate(KEPT);
                Some(kept)
            }
            (Self::JoinTwice, Relation::Join { .. }) => {
                let once = honest_rows(relation, data);
                Some(once.iter().chain(&once).cloned().collect())
            }
            (Self::NobodyCounted, Relation::Table { table, .. }) => Some(
                data[table.as_str()]
                    .rows
                    .iter()
                    .map(|row| match row[0] {
                        Value::Integer(id) => (id, columns(relation, data, row)),
                        _ => (0, columns(relation, data, row)),
                    })
                    .collect(),
            ),
            (Self::ListsBelieved, Relation::Declared { input, .. }) => Some(rows(input, data)),
            _ => None,
        }
    }
}
