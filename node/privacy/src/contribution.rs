//! What one person contributes: the sum over rows, scaled as a whole to a known norm.
//!
//! **Claim.** Let D and D′ differ in all rows of one person. The vectors that [`BoundedSum`] gives
//! for them, before noise, differ by at most the norm's limit, in that norm.
//!
//! **Proof.** The vector is Σ over persons of clip(v_p), where v_p is a function of p's rows alone,
//! and the terms of all other persons are equal. clip(v) has norm at most the limit, see
//! [`Norm::clip`]. Cells are clamped once at the end, which moves no two vectors apart. ∎
//!
//! Nothing here believes the analysis: with a wrong bound honest data are clipped, nothing more.

use crate::analysis::{
    measure::{Measure, MeasureKind},
    sensitivity::ceil_sqrt,
};

/// Cells are clamped to this magnitude, so that noise can be added without overflow.
pub const CELL_LIMIT: i64 = 1 << 61;

/// A norm and the limit to which a person's vector is scaled, in cell units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norm {
    /// Sum of magnitudes, for Laplace noise.
    L1(u64),
    /// Root of the sum of squares, for Gaussian noise.
    L2(u64),
}

impl Norm {
    /// The limit in cell units.
    #[must_use]
    pub const fn limit(self) -> u64 {
        match self {
            Self::L1(limit) | Self::L2(limit) => limit,
        }
    }

    /// Scales a vector to the limit if its norm is greater; toward zero, so that the norm of the
    /// result is at most the limit.
    ///
    /// **Proof.** With n ≥ the norm (exact for L1, rounded up for L2), each cell becomes at most
    /// |v|·limit/n in magnitude, so the norm is at most norm·limit/n ≤ limit. Each cell is first
    /// clamped to ±limit; that changes the vector, but not the claim, and keeps all products
    /// within 128 bits: |v| ≤ limit < 2^62, |v|·limit < 2^124, and a sum of squares saturates
    /// only beyond 2^128, where the result is smaller still. ∎
    pub fn clip(self, cells: &mut [i128]) {
        let limit = i128::from(self.limit().min(CELL_LIMIT as u64));
        let mut norm: u128 = 0;
        for cell in cells.iter_mut() {
            *cell = (*cell).clamp(-limit, limit);
            let magnitude = cell.unsigned_abs();
            norm = norm.saturating_add(match self {
                Self::L1(_) => magnitude,
                Self::L2(_) => magnitude.saturating_mul(magnitude),
            });
        }
        let saturated = norm == u128::MAX;
        let norm = match self {
            Self::L1(_) => norm,
            Self::L2(_) => ceil_sqrt(norm),
        };
        let limit = limit.unsigned_abs();
        if saturated {
            // Beyond any data that fit in memory; nothing is the safe contribution.
            cells.fill(0);
        } else if norm > limit {
            for cell in cells.iter_mut() {
                let scaled = cell.unsigned_abs() * limit / norm;
                // At most `limit`, which is below 2^62.
                *cell = cell.signum() * scaled as i128;
            }
        }
    }
}

/// Sums persons' contributions, one person after the other.
#[derive(Debug)]
pub struct BoundedSum {
    kinds: Vec<MeasureKind>,
    once: Vec<i64>,
    norm: Norm,
    totals: Vec<i128>,
    /// Groups of the current person, in order of appearance, and their cells.
    touched: Vec<usize>,
    cells: Vec<i128>,
    /// For each group its place in `touched`, from 1; 0 for groups that the person isn't in.
    places: Vec<u32>,
}

/// A row that names a group which isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row is outside the groups of the quote")]
pub struct OutsideGroups;

impl BoundedSum {
    /// For so many groups.
    #[must_use]
    pub fn new(measures: &[Measure], groups: usize, norm: Norm) -> Self {
        Self {
            kinds: measures.iter().map(|measure| measure.kind).collect(),
            once: measures
                .iter()
                .map(|measure| measure.grid.units(1.0))
                .collect(),
            norm,
            totals: vec![0; groups * measures.len()],
            touched: vec![],
            cells: vec![],
            places: vec![0; groups],
        }
    }

    /// Adds one row of the current person. `amounts` has one entry a measure, in units; nothing
    /// for a row that doesn't contribute to it.
    ///
    /// # Errors
    /// If the group isn't there; that is a fault of the caller, not of the data.
    pub fn add(
        &mut self,
        group: usize,
        amounts: impl Iterator<Item = Option<i64>>,
    ) -> Result<(), OutsideGroups> {
        let width = self.kinds.len();
        let place = self.places.get_mut(group).ok_or(OutsideGroups)?;
        if *place == 0 {
            self.touched.push(group);
            self.cells.resize(self.touched.len() * width, 0);
            *place = self.touched.len() as u32;
        }
        let slot = *place as usize - 1;
        let cells = &mut self.cells[slot * width..(slot + 1) * width];
        for (index, (cell, amount)) in cells.iter_mut().zip(amounts).enumerate() {
            let Some(amount) = amount else { continue };
            match self.kinds[index] {
                MeasureKind::Persons => *cell = i128::from(self.once[index]),
                // 128 bits hold the sum of 2^64 rows, so it doesn't depend on their order.
                MeasureKind::Rows | MeasureKind::Sum => *cell += i128::from(amount),
            }
        }
        Ok(())
    }

    /// Ends the current person: scales the person's vector and adds it to the totals.
    pub fn finish_person(&mut self) {
        let width = self.kinds.len();
        self.norm.clip(&mut self.cells);
        for (slot, group) in self.touched.drain(..).enumerate() {
            self.places[group] = 0;
            for index in 0..width {
                self.totals[group * width + index] += self.cells[slot * width + index];
            }
        }
        self.cells.clear();
    }

    /// Adds the totals of other persons.
    pub fn merge(&mut self, mut other: Self) {
        other.finish_person();
        for (total, more) in self.totals.iter_mut().zip(other.totals) {
            *total += more;
        }
    }

    /// The vector before noise: cells in units, group by group.
    #[must_use]
    pub fn finish(mut self) -> Vec<i64> {
        self.finish_person();
        let limit = i128::from(CELL_LIMIT);
        self.totals
            .iter()
            .map(|total| (*total).clamp(-limit, limit) as i64)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::question::Expression;
    use skerry_proto::DataType;

    fn norm_of(norm: Norm, cells: &[i128]) -> u128 {
        let magnitudes = cells.iter().map(|cell| cell.unsigned_abs());
        match norm {
            Norm::L1(_) => magnitudes.sum(),
            Norm::L2(_) => ceil_sqrt(magnitudes.map(|cell| cell * cell).sum()),
        }
    }

    fn any_norm() -> impl Strategy<Value = Norm> {
        (1u64..1 << 40, any::<bool>()).prop_map(|(limit, first)| {
            if first {
                Norm::L1(limit)
            } else {
                Norm::L2(limit)
            }
        })
    }

    type Row = (usize, Option<i64>, Option<i64>);

    fn measures() -> Vec<Measure> {
        vec![
            Measure::persons(None),
            Measure::sum(Expression::Column(0), DataType::Float, (-5.0, 9.0), 0.0, 3),
        ]
    }

    fn vector(persons: &[Vec<Row>], norm: Norm) -> Vec<i64> {
        let mut sum = BoundedSum::new(&measures(), 4, norm);
        for person in persons {
            for (group, first, second) in person {
                sum.add(*group, [*first, *second].into_iter()).unwrap();
            }
            sum.finish_person();
        }
        sum.finish()
    }

    fn any_person() -> impl Strategy<Value = Vec<Row>> {
        proptest::collection::vec(
            (0usize..4, any::<Option<i64>>(), any::<Option<i64>>()),
            0..12,
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn clipped_vectors_keep_the_norm(
            mut cells in proptest::collection::vec(any::<i128>(), 0..20), norm in any_norm(),
        ) {
            norm.clip(&mut cells);
            prop_assert!(norm_of(norm, &cells) <= u128::from(norm.limit()));
        }

        #[test]
        fn vectors_within_the_norm_stay(
            cells in proptest::collection::vec(-1000i128..1000, 0..20),
        ) {
            let mut clipped = cells.clone();
            Norm::L1(20_000).clip(&mut clipped);
            prop_assert_eq!(clipped, cells);
        }

        /// Taking a person away moves the vector by at most the limit, whatever the rows hold.
        #[test]
        fn removing_a_person_moves_the_vector_by_at_most_the_limit(
            persons in proptest::collection::vec(any_person(), 1..6),
            who in any::<proptest::sample::Index>(),
            norm in any_norm(),
        ) {
            let mut without = persons.clone();
            without.remove(who.index(persons.len()));
            let moved: Vec<i128> = vector(&persons, norm)
                .iter()
                .zip(vector(&without, norm))
                .map(|(a, b)| i128::from(*a) - i128::from(b))
                .collect();
            prop_assert!(norm_of(norm, &moved) <= u128::from(norm.limit()));
        }

        #[test]
        fn the_order_of_rows_and_persons_does_not_matter(
            mut persons in proptest::collection::vec(any_person(), 1..5), norm in any_norm(),
        ) {
            let forward = vector(&persons, norm);
            persons.reverse();
            persons.iter_mut().for_each(|person| person.reverse());
            prop_assert_eq!(vector(&persons, norm), forward);
        }
    }

    #[test]
    fn a_person_with_a_hundred_times_the_rows_keeps_the_shape() {
        // 500 rows over 100 groups scaled to 5 rows: integers would all become 0.
        let rows = Measure::rows(None, None, 5);
        let limit = 5 * rows.most_units();
        let mut sum = BoundedSum::new(std::slice::from_ref(&rows), 100, Norm::L1(limit));
        for row in 0..500 {
            let unit = rows.grid.units(1.0);
            sum.add(row % 100, std::iter::once(Some(unit))).unwrap();
        }
        let cells = sum.finish();
        let total: f64 = cells
            .iter()
            .map(|cell| *cell as f64 * rows.grid.step())
            .sum();
        assert!((total - 5.0).abs() < 1e-5, "{total}");
    }
}
