//! By how much one person can move the vector, if the owner's declarations hold.
//!
//! The mechanism scales each person's vector to the norm computed here (see
//! [`contribution`](crate::contribution)), so the claim that the noise rests on is true for any
//! data. These formulas make the norm the least one that leaves honest data as they are.

use super::measure::{Effect, Measure};

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
/// **Statement.** Let each row add at most `a_m` units to each of `c_m` cells of row measure `m` in
/// its group, each group with a row add `d_k` units to person measure `k`, and each row set at most
/// one of the `n_v` cells of value measure `v` in its group to `e_v`. With A₁ = Σ c_m·a_m,
/// A₂ = Σ c_m·a_m², D₁ = Σ d_k, D₂ = Σ d_k², R rows, L groups (L ≤ R), t_v = min(R, L·n_v):
///
/// * L1 = R·A₁ + L·D₁ + Σ t_v·e_v;
/// * L2² = max over j in {1, L} of ((R − j + 1)² + (j − 1))·A₂ + j·D₂, plus Σ t_v·e_v².
///
/// **Proof.** L1: each row adds at most A₁, each of at most L groups D₁, and both are reached
/// together; no more than t_v cells of measure v are set. L2: with n_g rows in group g the square of
/// row and person measures is at most Σ n_g²·A₂ + j·D₂ over the j groups with rows. For fixed j,
/// Σ n_g² with n_g ≥ 1 and Σ n_g = R is convex and so greatest at a vertex (R − j + 1, 1, …, 1).
/// As a function of j the whole is a convex parabola, so its greatest value is at an end of 1..L.
/// For value measures the bound is reached where t_v doesn't hang on j, else it is above the truth. ∎
/// Tested against enumeration of all ways to place the rows.
///
/// Where bounds on a person's totals were asked for, a measure adds no more than its bound to
/// either norm; the smaller of both statements holds.
#[must_use]
pub fn sensitivity(measures: &[Measure], rows: u64, groups: u64) -> Sensitivity {
    let rows = u128::from(rows.max(1));
    let groups = u128::from(groups.max(1)).min(rows);
    let parts: Vec<Part> = measures
        .iter()
        .map(|measure| Part::of(measure, rows, groups))
        .collect();
    let sum = |of: &dyn Fn(&Part) -> u128| parts.iter().map(of).fold(0, u128::saturating_add);
    let l1 = rows
        .saturating_mul(sum(&|part| part.of_row))
        .saturating_add(groups.saturating_mul(sum(&|part| part.of_group)))
        .saturating_add(sum(&|part| part.of_values));
    let square = |j: u128| {
        let rest = rows - (j - 1);
        rest.saturating_mul(rest)
            .saturating_add(j - 1)
            .saturating_mul(sum(&|part| part.of_row_squared))
            .saturating_add(j.saturating_mul(sum(&|part| part.of_group_squared)))
            .saturating_add(sum(&|part| part.of_values_squared))
    };
    let square = square(1).max(square(groups));
    let l1 = l1.min(sum(&|part| part.total));
    let l2 = ceil_sqrt(square.min(sum(&|part| part.total_squared)));
    Sensitivity {
        l1: u64::try_from(l1).unwrap_or(u64::MAX),
        l2: u64::try_from(l2.min(l1)).unwrap_or(u64::MAX),
    }
}

/// What one measure adds to the norms.
#[derive(Default)]
struct Part {
    of_row: u128,
    of_row_squared: u128,
    of_group: u128,
    of_group_squared: u128,
    of_values: u128,
    of_values_squared: u128,
    /// By the bound on a person's total alone; without one, by rows and groups.
    total: u128,
    total_squared: u128,
}

impl Part {
    fn of(measure: &Measure, rows: u128, groups: u128) -> Self {
        let most = u128::from(measure.most_units());
        let squared = most.saturating_mul(most);
        let cells = measure.cells_of_row() as u128;
        let mut part = Self::default();
        match measure.effect() {
            Effect::Add | Effect::AddToBins => {
                part.of_row = cells.saturating_mul(most);
                part.of_row_squared = cells.saturating_mul(squared);
                part.total = rows.saturating_mul(part.of_row);
                part.total_squared = rows
                    .saturating_mul(rows)
                    .saturating_mul(part.of_row_squared);
            }
            Effect::Once => {
                part.of_group = most;
                part.of_group_squared = squared;
                part.total = groups.saturating_mul(most);
                part.total_squared = groups.saturating_mul(squared);
            }
            Effect::OnceAt => {
                let set = rows.min(groups.saturating_mul(measure.cells() as u128));
                part.of_values = set.saturating_mul(most);
                part.of_values_squared = set.saturating_mul(squared);
                part.total = part.of_values;
                part.total_squared = part.of_values_squared;
            }
        }
        if let Some(total) = measure.total {
            let bound = u128::from(measure.grid.units_up(total));
            part.total = part.total.min(bound);
            part.total_squared = part.total_squared.min(bound.saturating_mul(bound));
        }
        part
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
    use crate::{analysis::measure::Counted, question::Expression};
    use skerry_proto::{DataType, Value};

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
            if with_rows { measures.push(Measure::rows(None, rows)); }
            if with_persons { measures.push(Measure::persons(None)); }
            let of = |index: usize| u128::from(measures[index].most_units());
            let row_units = if with_rows { of(0) } else { 0 };
            let person_units = if with_persons { of(usize::from(with_rows)) } else { 0 };
            let (l1, square) = by_enumeration(rows, groups, row_units, person_units);
            let found = sensitivity(&measures, rows, groups);
            prop_assert_eq!(u128::from(found.l1), l1);
            prop_assert_eq!(u128::from(found.l2), ceil_sqrt(square));
        }

        /// A person who sets as many cells as rows and values allow is within the claim, and
        /// reaches it in L1.
        #[test]
        fn of_values_is_reached(rows in 1u64..8, groups in 1u64..5, values in 1i64..4) {
            let measure = Measure::new(Counted::Values {
                argument: Expression::Column(0),
                data_type: DataType::Integer,
                values: (0..values).map(Value::Integer).collect(),
            }, rows, None);
            let set = rows.min(groups.min(rows) * values as u64);
            let found = sensitivity(std::slice::from_ref(&measure), rows, groups);
            prop_assert_eq!(found.l1, set * measure.most_units());
            let square = u128::from(set) * u128::from(measure.most_units()).pow(2);
            prop_assert_eq!(u128::from(found.l2), ceil_sqrt(square).min(found.l1.into()));
        }

        /// With bounds on totals the norms are no greater than with rows alone, nor than the bounds.
        #[test]
        fn totals_narrow(rows in 1u64..50, groups in 1u64..5, total in 0.5..60.0f64) {
            let free = [Measure::rows(None, rows), Measure::persons(None)];
            let narrowed = [
                Measure::new(Counted::Rows { argument: None }, rows, Some(total)), free[1].clone(),
            ];
            let found = sensitivity(&narrowed, rows, groups);
            let bound = narrowed[0].grid.units_up(total);
            let persons = groups.min(rows) * free[1].most_units();
            prop_assert!(found.l1 <= bound.saturating_add(persons));
            prop_assert!(found.l2 <= found.l1);
            if total >= rows as f64 {
                prop_assert_eq!(found, sensitivity(&free, rows, groups));
            }
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
        let count = Measure::rows(None, 5);
        let found = sensitivity(&[sum.clone(), count.clone()], 5, 5);
        assert_eq!(found.l1, 5 * (sum.most_units() + count.most_units()));
    }
}
