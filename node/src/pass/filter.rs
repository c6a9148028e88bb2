//! Trusted. Conditions, each part of them as far down as its columns are.
//!
//! Promise: the rows for which all parts are true, as if they stood at the top. Expressions are
//! total and pure, so a part may be asked of more rows, and earlier; below a left, semi or anti join
//! it goes to the left side alone, whose rows it speaks of.

use std::collections::BTreeSet;

use datafusion::{
    common::Result as EngineResult,
    logical_expr::{
        Expr,
        utils::{conjunction, split_conjunction_owned},
    },
};

use super::rows::{Kind, Rows, names};

/// Puts a condition over rows, each part of it as far down as its columns are.
///
/// # Errors
/// If the engine refuses a part.
pub fn filtered(rows: Rows, condition: Expr) -> EngineResult<Rows> {
    let parts = split_conjunction_owned(condition);
    parts.into_iter().try_fold(rows, filtered_by_part)
}

fn filtered_by_part(rows: Rows, condition: Expr) -> EngineResult<Rows> {
    Ok(match rows {
        Rows::Join {
            kind,
            mut left,
            mut right,
            units,
            condition: own,
        } => {
            let used: BTreeSet<&str> = names(&condition);
            let within = |rows: &Rows| -> EngineResult<bool> {
                let of = rows.names();
                Ok(!used.is_empty() && used.iter().all(|name| of.contains(*name)))
            };
            if within(&left)? {
                left = Box::new(filtered_by_part(*left, condition)?);
            } else if kind == Kind::Inner && within(&right)? {
                right = Box::new(filtered_by_part(*right, condition)?);
            } else if kind == Kind::Inner {
                let both: Vec<Expr> = own.into_iter().chain([condition]).collect();
                return Ok(Rows::Join {
                    kind,
                    left,
                    right,
                    units,
                    condition: conjunction(both),
                });
            } else {
                return Ok(Rows::Filter {
                    input: Box::new(Rows::Join {
                        kind,
                        left,
                        right,
                        units,
                        condition: own,
                    }),
                    conditions: vec![condition],
                });
            }
            Rows::Join {
                kind,
                left,
                right,
                units,
                condition: own,
            }
        }
        Rows::Filter {
            input,
            mut conditions,
        } => match *input {
            // What stands over a join may have parts that go further down.
            join @ Rows::Join { .. } => {
                let over = filtered_by_part(join, condition)?;
                Rows::Filter {
                    input: Box::new(over),
                    conditions,
                }
            }
            other => {
                conditions.push(condition);
                Rows::Filter {
                    input: Box::new(with_pruning(other, &conditions)),
                    conditions,
                }
            }
        },
        other => {
            let conditions = vec![condition];
            Rows::Filter {
                input: Box::new(with_pruning(other, &conditions)),
                conditions,
            }
        }
    })
}

/// A table's reader knows the conditions over it, to leave out what they can't hold for.
fn with_pruning(rows: Rows, conditions: &[Expr]) -> Rows {
    match rows {
        Rows::Scan { files, columns, .. } => Rows::Scan {
            files,
            columns,
            conditions: conditions.to_vec(),
        },
        other @ (Rows::Filter { .. }
        | Rows::Project { .. }
        | Rows::Join { .. }
        | Rows::PerPerson { .. }) => other,
    }
}
