//! Which columns are not NULL where a condition is true: `x > 3` says that there is an x.

use std::collections::BTreeSet;

use super::{Expression, Function};

impl Expression {
    /// The columns that are surely not NULL on a row for which this, a condition, is true.
    #[must_use]
    pub fn known_where_true(&self) -> BTreeSet<usize> {
        match self {
            Self::And(parts) => parts.iter().flat_map(Self::known_where_true).collect(),
            Self::Or(parts) => parts
                .iter()
                .map(Self::known_where_true)
                .reduce(|a, b| a.intersection(&b).copied().collect())
                .unwrap_or_default(),
            Self::Not(inner) => match &**inner {
                Self::IsNull(value) => known_where_known(value),
                other => known_where_known(other),
            },
            other => known_where_known(other),
        }
    }
}

/// The columns that are surely not NULL on a row for which the expression isn't: NULL in any of
/// them gives NULL.
fn known_where_known(expression: &Expression) -> BTreeSet<usize> {
    match expression {
        Expression::Column(index) => BTreeSet::from([*index]),
        Expression::Compare { left, right, .. } | Expression::Arithmetic { left, right, .. } => {
            let mut known = known_where_known(left);
            known.append(&mut known_where_known(right));
            known
        }
        Expression::Not(value)
        | Expression::In { value, .. }
        | Expression::Like { value, .. }
        | Expression::Cast { value, .. } => known_where_known(value),
        Expression::Call {
            function,
            arguments,
        } => match function {
            Function::Coalesce | Function::Greatest | Function::Least | Function::Same => {
                BTreeSet::new()
            }
            Function::NullIf => arguments.first().map(known_where_known).unwrap_or_default(),
            Function::Absolute
            | Function::Floor
            | Function::Ceiling
            | Function::Round { .. }
            | Function::Lower
            | Function::Upper
            | Function::Length
            | Function::Trim
            | Function::Substring { .. }
            | Function::DatePart(_)
            | Function::DateTruncate(_)
            | Function::AddToDate { .. }
            | Function::DaysBetween => arguments.iter().flat_map(known_where_known).collect(),
        },
        Expression::Literal { .. }
        | Expression::IsNull(_)
        | Expression::And(_)
        | Expression::Or(_)
        | Expression::Case { .. } => BTreeSet::new(),
    }
}
