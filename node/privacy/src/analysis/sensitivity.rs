//! By how much one person can move the vector, if the owner's declarations hold.
//!
//! The mechanism scales each person's vector to the norm computed here (see
//! [`contribution`](crate::contribution)), so the claim that the noise rests on is true for any
//! data. These formulas make the norm the least one that leaves honest data as they are.

use super::measure::{Measure, MeasureKind};

/// Norms of one person's whole vector, in cell units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sensitivity {
    /// Sum of magnitudes.
    pub l1: u64,
    /// Root of the sum of squares, rounded up.
    pub l2: u64,
}

/// The greatest norms of a person with at most `rows` rows, each in one group, and rows in at most
/// `groups` groups.
///
/// **Statement.** Let each row add at most `a_m` units to row measure `m` of its group, and each
/// group with a row add `d_k` units to person measure `k`. With A₁ = Σ a_m, A₂ = Σ a_m², D₁ = Σ d_k,
/// D₂ = Σ d_k², R rows and L groups (L ≤ R):
///
/// * L1 = R·A₁ + L·D₁;
/// * L2² = max over j in {1, L} of ((R − j + 1)² + (j − 1))·A₂ + j·D₂.
///
/// **Proof.** L1: each row adds at most A₁, each of at most L groups D₁, and both are reached
/// together. L2: with n_g rows in group g the square is at most Σ n_g²·A₂ + j·D₂ over the j groups
/// with rows. For fixed j, Σ n_g² with n_g ≥ 1 and Σ n_g = R is convex and so greatest at a vertex
/// (R − j + 1, 1, …, 1). As a function of j the whole is a convex parabola, so its greatest value
/// is at an end of 1..L. ∎ Tested against enumeration of all ways to place the rows.
#[must_use]
pub fn sensitivity(measures: &[Measure], rows: u64, groups: u64) -> Sensitivity {
    let rows = u128::from(rows.max(1));
    let groups = u128::from(groups.max(1)).min(rows);
    let total = |kinds: &[MeasureKind], power: u32| -> u128 {
        measures
            .iter()
            .filter(|measure| kinds.contains(&measure.kind))
            .map(|measure| u128::from(measure.most_units()).saturating_pow(power))
            .fold(0, u128::saturating_add)
    };
    let of_rows = [MeasureKind::Rows, MeasureKind::Sum];
    let of_persons = [MeasureKind::Persons];
    let l1 = rows
        .saturating_mul(total(&of_rows, 1))
        .saturating_add(groups.saturating_mul(total(&of_persons, 1)));
    let square = |j: u128| {
        let rest = rows - (j - 1);
        rest.saturating_mul(rest)
            .saturating_add(j - 1)
            .saturating_mul(total(&of_rows, 2))
            .saturating_add(j.saturating_mul(total(&of_persons, 2)))
    };
    let l2 = ceil_sqrt(square(1).max(square(groups)));
    Sensitivity {
        l1: u64::try_from(l1).unwrap_or(u64::MAX),
        l2: u64::try_from(l2.min(l1)).unwrap_or(u64::MAX),
    }
}

/// The least integer whose square is at least `x`.
#[must_use]
pub fn ceil_sqrt(x: u128) -> u128 {
    let root = x.isqrt();
    if root * root == x { root } else { root + 1 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::question::Expression;
    use skerry_proto::DataType;

    /// Greatest L1 and square of L2 over all ways to place up to `rows` rows in `groups` groups.
    fn by_enumeration(rows: u64, groups: u64, row_units: u128, person_units: u128) -> (u128, u128) {
        fn place(left: u64, groups: u64, placed: &mut Vec<u64>, visit: &mut impl FnMut(&[u64])) {
            if groups == 0 {
                return visit(placed);
            }
            for here in 0..=left {
                placed.push(here);
                place(left - here, groups - 1, placed, visit);
                placed.pop();
            }
        }
        let mut most = (0, 0);
        place(rows, groups, &mut vec![], &mut |placed| {
            let cells: Vec<u128> = placed
                .iter()
                .flat_map(|here| {
                    let touched = u128::from(*here > 0);
                    [u128::from(*here) * row_units, touched * person_units]
                })
                .collect();
            most.0 = most.0.max(cells.iter().sum());
            most.1 = most.1.max(cells.iter().map(|cell| cell * cell).sum());
        });
        most
    }

    proptest! {
        #[test]
        fn is_exact(rows in 1u64..8, groups in 1u64..5, with_rows: bool, with_persons: bool) {
            prop_assume!(with_rows || with_persons);
            let mut measures = vec![];
            if with_rows { measures.push(Measure::rows(None, None, rows)); }
            if with_persons { measures.push(Measure::persons(None)); }
            let of = |index: usize| u128::from(measures[index].most_units());
            let row_units = if with_rows { of(0) } else { 0 };
            let person_units = if with_persons { of(usize::from(with_rows)) } else { 0 };
            let (l1, square) = by_enumeration(rows, groups, row_units, person_units);
            let found = sensitivity(&measures, rows, groups);
            prop_assert_eq!(u128::from(found.l1), l1);
            prop_assert_eq!(u128::from(found.l2), ceil_sqrt(square));
        }

        #[test]
        fn root_is_rounded_up(x: u128) {
            let root = ceil_sqrt(x / 2);
            prop_assert!(root * root >= x / 2);
            prop_assert!(root == 0 || (root - 1) * (root - 1) < x / 2);
        }
    }

    #[test]
    fn several_measures_share_one_norm() {
        let sum = Measure::sum(
            Expression::Column(0),
            DataType::Integer,
            (0.0, 77.0),
            0.0,
            5,
        );
        let count = Measure::rows(None, None, 5);
        let found = sensitivity(&[sum.clone(), count.clone()], 5, 5);
        assert_eq!(found.l1, 5 * (sum.most_units() + count.most_units()));
    }
}
