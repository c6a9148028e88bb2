//! The rows of a public relation, which are part of the policy and so may be read beforehand.

use skerry_proto::{ErrorCode, Refusal, Value};

use crate::{
    policy::{Ownership, Policy},
    question::Relation,
};

/// Rows of a public relation, at most.
const MAX_ROWS: usize = 2_000_000;

/// The rows of a public relation.
///
/// # Errors
/// If a part of it is private, unknown, or can't stand on the public side of a join.
pub fn rows(relation: &Relation, policy: &Policy) -> Result<Vec<Vec<Value>>, Refusal> {
    match relation {
        Relation::Table { table, columns } => {
            let found = policy.tables.get(table);
            let Some((found, Ownership::Public { rows })) =
                found.map(|found| (found, &found.ownership))
            else {
                return Err(refused());
            };
            let positions: Vec<usize> = columns
                .iter()
                .filter_map(|name| found.column(name).map(|(index, _)| index))
                .collect();
            Ok(rows
                .iter()
                .map(|row| positions.iter().map(|index| row[*index].clone()).collect())
                .collect())
        }
        Relation::Filter { input, predicate } => {
            let mut rows = rows(input, policy)?;
            rows.retain(|row| predicate.evaluate(row) == Value::Boolean(true));
            Ok(rows)
        }
        Relation::Project { input, columns } => Ok(rows(input, policy)?
            .iter()
            .map(|row| columns.iter().map(|column| column.evaluate(row)).collect())
            .collect()),
        Relation::Union { inputs } => {
            let mut all = vec![];
            for input in inputs {
                all.extend(rows(input, policy)?);
                if all.len() > MAX_ROWS {
                    return Err(Refusal::new(
                        ErrorCode::TooLarge,
                        "the public side of a join has too many rows",
                        "join with fewer public tables at once",
                    ));
                }
            }
            Ok(all)
        }
        Relation::Join { .. }
        | Relation::JoinPublic { .. }
        | Relation::Semi { .. }
        | Relation::Declared { .. }
        | Relation::SemiPublic { .. }
        | Relation::Window { .. }
        | Relation::PerPerson { .. } => Err(refused()),
    }
}

fn refused() -> Refusal {
    Refusal::new(
        ErrorCode::Unsupported,
        "the public side of a join is more than a table with a filter and columns",
        "join with the public table itself",
    )
}
