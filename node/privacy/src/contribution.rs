//! What one person contributes: the sum over rows, scaled as a whole to a known norm.
//!
//! **Claim.** Let D and D′ differ in all rows of one person. The vectors that [`BoundedSum`] gives
//! for them, before noise, differ by at most the release's sensitivity, in its norm.
//!
//! **Proof.** The vector is Σ over persons of f(v_p), where v_p is a function of p's rows alone,
//! and the terms of all other persons are equal. What f gives has at most that norm:
//!
//! * an answer: clip(v) has norm at most the limit, see [`Norm::clip`]. Where clipped persons are
//!   counted, one cell more is the weight w if clip changed v, else 0; with it the L1 norm is at
//!   most limit + w, the L2 norm at most √(limit² + w²), see [`Norm::with_cell`];
//! * totals: for each of M measures one unit in at most one cell, so the L1 norm is at most M units,
//!   the L2 norm √M units.
//!
//! Cells are clamped once at the end, which moves no two vectors apart. ∎
//!
//! Nothing here believes the analysis: with a wrong bound honest data are clipped, nothing more.

mod bounding;
mod keyed;
mod persons;

pub use bounding::Bounding;
use bounding::Ending;
pub use keyed::{KeyedSum, PartialSum, RankingSecret, clamped};
pub use persons::{Amounts, NO_GROUP};

use serde::{Deserialize, Serialize};

use crate::analysis::{
    Quote, TOTAL_BINS, bins,
    measure::{Effect, Measure},
    sensitivity::ceil_sqrt,
};

/// Cells are clamped to this magnitude, so that noise can be added without overflow.
pub const CELL_LIMIT: i64 = 1 << 61;

/// A norm and the limit to which a person's vector is scaled, in cell units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

    /// The limit of vectors that are within this norm and have one cell more, of at most `weight`.
    #[must_use]
    pub fn with_cell(self, weight: u64) -> u64 {
        match self {
            Self::L1(limit) => limit.saturating_add(weight),
            Self::L2(limit) => {
                let square = |x: u64| u128::from(x) * u128::from(x);
                let root = ceil_sqrt(square(limit).saturating_add(square(weight)));
                u64::try_from(root).unwrap_or(u64::MAX)
            }
        }
    }

    /// The norm of cells, rounded up.
    fn of(self, cells: impl Iterator<Item = i128>) -> u128 {
        let magnitudes = cells.map(i128::unsigned_abs);
        match self {
            Self::L1(_) => magnitudes.fold(0, u128::saturating_add),
            Self::L2(_) => ceil_sqrt(
                magnitudes
                    .map(|cell| cell.saturating_mul(cell))
                    .fold(0, u128::saturating_add),
            ),
        }
    }

    /// Scales a vector to the limit if its norm is greater; toward zero, so that the norm of the
    /// result is at most the limit. Whether it changed the vector.
    ///
    /// **Proof.** With n ≥ the norm (exact for L1, rounded up for L2), each cell becomes at most
    /// |v|·limit/n in magnitude, so the norm is at most norm·limit/n ≤ limit. Each cell is first
    /// clamped to ±limit; that changes the vector, but not the claim, and keeps all products
    /// within 128 bits: |v| ≤ limit < 2^62, |v|·limit < 2^124, and a sum of squares saturates
    /// only beyond 2^128, where the result is smaller still. ∎
    pub fn clip(self, cells: &mut [i128]) -> bool {
        let limit = i128::from(self.limit().min(CELL_LIMIT as u64));
        let mut norm: u128 = 0;
        let mut changed = false;
        for cell in cells.iter_mut() {
            changed |= cell.unsigned_abs() > limit.unsigned_abs();
            *cell = (*cell).clamp(-limit, limit);
            let magnitude = cell.unsigned_abs();
            norm = norm.saturating_add(match self {
                Self::L1(_) => magnitude,
                Self::L2(_) => magnitude.saturating_mul(magnitude),
            });
        }
        let saturated = norm == u128::MAX;
        let limit = limit.unsigned_abs();
        let within = match self {
            Self::L1(_) => norm <= limit,
            // Most persons are, and a root takes long. The limit is below 2^62.
            Self::L2(_) => norm <= limit * limit,
        };
        if within {
            return changed;
        }
        let norm = match self {
            Self::L1(_) => norm,
            Self::L2(_) => ceil_sqrt(norm),
        };
        if saturated {
            // Beyond any data that fit in memory; nothing is the safe contribution.
            cells.fill(0);
        } else {
            for cell in cells.iter_mut() {
                let scaled = cell.unsigned_abs() * limit / norm;
                // At most `limit`, which is below 2^62.
                *cell = cell.signum() * scaled as i128;
            }
        }
        true
    }
}

/// Where a measure's cells are within a group, and what a row does to them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Slot {
    start: usize,
    effect: Effect,
    once: i64,
    /// Cells of each level of bins; one level for every other measure.
    levels: Vec<usize>,
}

impl Slot {
    /// Of each of these measures, and the cells of a group.
    fn of(measures: &[Measure]) -> (Vec<Self>, usize) {
        let mut width = 0;
        let slots = measures
            .iter()
            .map(|measure| {
                let slot = Self {
                    start: width,
                    effect: measure.effect(),
                    once: measure.grid.units(1.0),
                    levels: match measure.effect() {
                        Effect::AddToBins => bins::levels(measure.leaves()),
                        Effect::Once | Effect::Add | Effect::OnceAt => vec![measure.cells()],
                    },
                };
                width += measure.cells();
                slot
            })
            .collect();
        (slots, width)
    }

    /// What a row with this amount does to its group's cells.
    fn add(
        &self,
        group: &mut (impl GroupCells + ?Sized),
        amount: i64,
    ) -> Result<(), OutsideGroups> {
        // 128 bits hold the sum of 2^64 rows, so it doesn't depend on their order.
        match self.effect {
            Effect::Once => *group.at(self.start)? = i128::from(self.once),
            Effect::Add => *group.at(self.start)? += i128::from(amount),
            Effect::OnceAt => {
                let position = position(self.levels.first(), amount)?;
                *group.at(self.start + position)? = i128::from(self.once);
            }
            Effect::AddToBins => {
                let mut bin = amount;
                let mut start = self.start;
                for level in &self.levels {
                    *group.at(start + position(Some(level), bin)?)? += i128::from(self.once);
                    start += level;
                    bin /= bins::BRANCHES as i64;
                }
            }
        }
        Ok(())
    }
}

/// The cells of one group.
trait GroupCells {
    /// A cell by its place within the group.
    fn at(&mut self, place: usize) -> Result<&mut i128, OutsideGroups>;
}

impl GroupCells for [i128] {
    fn at(&mut self, place: usize) -> Result<&mut i128, OutsideGroups> {
        self.get_mut(place).ok_or(OutsideGroups)
    }
}

/// A person's vector: the cells that rows have touched. All others are zero, which neither adds to
/// the norm nor is changed by scaling.
#[derive(Debug)]
struct Vector {
    /// Which cells, in order of appearance, and of which measure each is.
    touched: Vec<(usize, usize)>,
    cells: Vec<i128>,
    /// For each cell of all groups its place in `touched`, from 1; 0 for those not in it.
    places: Vec<u32>,
}

/// The cells that one measure has in a group, from the group's first cell on.
struct OfMeasure<'a> {
    vector: &'a mut Vector,
    first: usize,
    measure: usize,
}

impl GroupCells for OfMeasure<'_> {
    fn at(&mut self, place: usize) -> Result<&mut i128, OutsideGroups> {
        let cell = self.first + place;
        let vector = &mut *self.vector;
        let known = vector.places.get_mut(cell).ok_or(OutsideGroups)?;
        if *known == 0 {
            vector.touched.push((cell, self.measure));
            vector.cells.push(0);
            *known = vector.touched.len() as u32;
        }
        vector
            .cells
            .get_mut(*known as usize - 1)
            .ok_or(OutsideGroups)
    }
}

impl Vector {
    fn of(cells: usize) -> Self {
        Self {
            touched: vec![],
            cells: vec![],
            places: vec![0; cells],
        }
    }

    /// The cells of one measure.
    fn of_measure(&self, measure: usize) -> impl Iterator<Item = i128> {
        let own = self.touched.iter().zip(&self.cells);
        own.filter(move |((_, of), _)| *of == measure)
            .map(|(_, cell)| *cell)
    }

    /// Begins the next person.
    fn clear(&mut self) {
        for (cell, _) in self.touched.drain(..) {
            self.places[cell] = 0;
        }
        self.cells.clear();
    }
}

/// Sums persons' contributions, one person after the other.
#[derive(Debug)]
pub struct BoundedSum {
    slots: Vec<Slot>,
    /// Cells of a group.
    width: usize,
    ending: Ending,
    totals: Vec<i128>,
    groups: usize,
    /// The current person's.
    vector: Vector,
    /// For each cell of all groups the last person, by number, who was seen in it at once with others.
    stamps: Vec<u64>,
    stamp: u64,
    /// Amounts by group; kept for the next time.
    sums: Vec<i64>,
}

/// A row that names a group or a cell which isn't there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a row is outside the groups of the quote")]
pub struct OutsideGroups;

impl BoundedSum {
    /// For the vector of a quote. One whose keys aren't known beforehand has no groups, and no row
    /// can be added: [`KeyedSum`] is for those.
    #[must_use]
    pub fn new(quote: &Quote) -> Self {
        Self::of(&Bounding::of(quote))
    }

    /// For the vector of a quote with this bounding.
    #[must_use]
    pub fn of(bounding: &Bounding) -> Self {
        let Bounding {
            slots,
            width,
            groups,
            ending,
            most_keys: _,
        } = bounding.clone();
        let of_groups = groups * width;
        let cells = match ending {
            Ending::Clip { clipped, .. } => of_groups + usize::from(clipped.is_some()),
            Ending::Totals { .. } => TOTAL_BINS * slots.len(),
        };
        Self {
            slots,
            width,
            ending,
            totals: vec![0; cells],
            groups,
            vector: Vector::of(of_groups),
            stamps: vec![],
            stamp: 0,
            sums: vec![],
        }
    }

    /// Adds one row of the current person. `amounts` has one entry a measure, as
    /// [`Measure::amount`] gives it; nothing for a row that doesn't contribute to it.
    ///
    /// # Errors
    /// If the group or cell isn't there; that is a fault of the caller, not of the data.
    pub fn add(
        &mut self,
        group: usize,
        amounts: impl Iterator<Item = Option<i64>>,
    ) -> Result<(), OutsideGroups> {
        if group >= self.groups {
            return Err(OutsideGroups);
        }
        for (measure, (slot, amount)) in self.slots.iter().zip(amounts).enumerate() {
            let Some(amount) = amount else { continue };
            let mut cells = OfMeasure {
                vector: &mut self.vector,
                first: group * self.width,
                measure,
            };
            slot.add(&mut cells, amount)?;
        }
        Ok(())
    }

    /// Ends the current person: adds to the totals what the person contributes.
    pub fn finish_person(&mut self) {
        let vector = &mut self.vector;
        match self.ending {
            Ending::Clip { norm, clipped } => {
                let changed = norm.clip(&mut vector.cells);
                for ((at, _), cell) in vector.touched.iter().zip(&vector.cells) {
                    self.totals[*at] += cell;
                }
                if let (true, Some(weight), Some(last)) = (changed, clipped, self.totals.last_mut())
                {
                    *last += i128::from(weight);
                }
            }
            Ending::Totals { norm, once } => {
                let measures = self.slots.len();
                for measure in 0..measures {
                    if let Some(bin) = bin_of(norm.of(vector.of_measure(measure))) {
                        self.totals[bin * measures + measure] += i128::from(once);
                    }
                }
            }
        }
        vector.clear();
    }

    /// Adds the totals of other persons.
    pub fn merge(&mut self, mut other: Self) {
        other.finish_person();
        for (total, more) in self.totals.iter_mut().zip(other.totals) {
            *total += more;
        }
    }

    /// The totals so far, of the current person too: exact, for a sum of other persons elsewhere.
    #[must_use]
    pub fn into_totals(mut self) -> Vec<i128> {
        self.finish_person();
        self.totals
    }

    /// Adds [totals](Self::into_totals) of other persons.
    ///
    /// # Errors
    /// If they have other cells.
    pub fn merge_totals(&mut self, others: &[i128]) -> Result<(), OutsideGroups> {
        if others.len() != self.totals.len() {
            return Err(OutsideGroups);
        }
        for (total, more) in self.totals.iter_mut().zip(others) {
            // 128 bits hold the sums of 2^64 persons.
            *total = total.saturating_add(*more);
        }
        Ok(())
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

/// The cell that a row names, of so many.
fn position(count: Option<&usize>, amount: i64) -> Result<usize, OutsideGroups> {
    let position = usize::try_from(amount).map_err(|_| OutsideGroups)?;
    match count {
        Some(count) if position < *count => Ok(position),
        Some(_) | None => Err(OutsideGroups),
    }
}

/// The power-of-two bin of a norm. Who contributes nothing is in no bin.
fn bin_of(norm: u128) -> Option<usize> {
    let bin = norm.checked_ilog2()? as usize;
    Some(bin.min(TOTAL_BINS - 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        analysis::{Partition, measure::Counted},
        mechanism::{Mechanism, Noise},
        question::Expression,
    };
    use skerry_proto::{DataType, Value};

    /// A quote for so many groups, with noise that is beside the point here.
    fn quote(measures: Vec<Measure>, groups: i64, norm: Norm, clipped: Option<u64>) -> Quote {
        Quote {
            key_types: vec![DataType::Integer],
            partition: Partition::Public(
                (0..groups)
                    .map(|group| vec![Value::Integer(group)])
                    .collect(),
            ),
            measures,
            finishes: vec![],
            norm,
            clipped,
            noise: Noise::new(Mechanism::DiscreteLaplace, 1, 1).unwrap(),
            totals_of: None,
        }
    }

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

    pub(super) type Row = (usize, [Option<i64>; 4]);

    fn measures() -> Vec<Measure> {
        vec![
            Measure::persons(None),
            Measure::sum(Expression::Column(0), DataType::Float, (-5.0, 9.0), 0.0, 3),
            Measure::new(
                Counted::Bins {
                    argument: Expression::Column(0),
                    data_type: DataType::Integer,
                    low: 0.0,
                    high: 19.0,
                    edges: bins::edges(0.0, 19.0, true),
                },
                3,
                None,
            ),
            Measure::new(
                Counted::Values {
                    argument: Expression::Column(0),
                    data_type: DataType::Integer,
                    values: (0..4).map(Value::Integer).collect(),
                },
                3,
                None,
            ),
        ]
    }

    fn vector(persons: &[Vec<Row>], quote: &Quote) -> Vec<i64> {
        let mut sum = BoundedSum::new(quote);
        for person in persons {
            for (group, amounts) in person {
                sum.add(*group, amounts.iter().copied()).unwrap();
            }
            sum.finish_person();
        }
        sum.finish()
    }

    pub(super) fn any_person() -> impl Strategy<Value = Vec<Row>> {
        let row = (
            any::<Option<i64>>(),
            any::<Option<i64>>(),
            proptest::option::of(0i64..20),
            proptest::option::of(0i64..4),
        )
            .prop_map(|(a, b, c, d)| [a, b, c, d]);
        proptest::collection::vec((0usize..4, row), 0..12)
    }

    /// Four measures over four groups.
    pub(super) fn some_quote() -> Quote {
        quote(measures(), 4, Norm::L1(1 << 40), None)
    }

    /// An answer with or without the cell of clipped persons, or the totals, and its sensitivity.
    pub(super) fn any_quote() -> impl Strategy<Value = (Quote, Norm)> {
        any_quote_of(measures)
    }

    /// Two sums over four groups.
    pub(super) fn any_quote_of_sums() -> impl Strategy<Value = (Quote, Norm)> {
        let sum = |column, bounds| {
            Measure::sum(Expression::Column(column), DataType::Float, bounds, 0.0, 3)
        };
        any_quote_of(move || vec![sum(0, (0.0, 9.0)), sum(1, (-5.0, 9.0))])
    }

    fn any_quote_of(measures: impl Fn() -> Vec<Measure>) -> impl Strategy<Value = (Quote, Norm)> {
        (
            any_norm(),
            proptest::option::of(1u64..1 << 40),
            any::<bool>(),
        )
            .prop_map(move |(norm, clipped, totals)| {
                let answer = quote(measures(), 4, norm, clipped.filter(|_| !totals));
                if totals {
                    let totals = answer.of_totals().unwrap();
                    let sensitivity = totals.norm;
                    (totals, sensitivity)
                } else {
                    let limit = clipped.map_or(norm.limit(), |weight| norm.with_cell(weight));
                    let sensitivity = match norm {
                        Norm::L1(_) => Norm::L1(limit),
                        Norm::L2(_) => Norm::L2(limit),
                    };
                    (answer, sensitivity)
                }
            })
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

        /// Taking a person away moves the vector by at most the sensitivity, whatever the rows hold.
        #[test]
        fn removing_a_person_moves_the_vector_by_at_most_the_sensitivity(
            persons in proptest::collection::vec(any_person(), 1..6),
            who in any::<proptest::sample::Index>(),
            (quote, sensitivity) in any_quote(),
        ) {
            let mut without = persons.clone();
            without.remove(who.index(persons.len()));
            let moved: Vec<i128> = vector(&persons, &quote)
                .iter()
                .zip(vector(&without, &quote))
                .map(|(a, b)| i128::from(*a) - i128::from(b))
                .collect();
            prop_assert!(norm_of(sensitivity, &moved) <= u128::from(sensitivity.limit()));
        }

        /// Sums of some persons each, made elsewhere from the bounding alone, add up to the sum of all.
        #[test]
        fn sums_of_some_add_up(
            persons in proptest::collection::vec(any_person(), 1..6), parts in 1usize..4,
            (quote, _) in any_quote(),
        ) {
            let mut total = BoundedSum::new(&quote);
            for part in 0..parts {
                let mut sum = BoundedSum::of(&Bounding::of(&quote));
                for person in persons.iter().skip(part).step_by(parts) {
                    for (group, amounts) in person {
                        sum.add(*group, amounts.iter().copied()).unwrap();
                    }
                    sum.finish_person();
                }
                total.merge_totals(&sum.into_totals()).unwrap();
            }
            prop_assert_eq!(total.finish(), vector(&persons, &quote));
        }

        #[test]
        fn the_order_of_rows_and_persons_does_not_matter(
            mut persons in proptest::collection::vec(any_person(), 1..5),
            (quote, _) in any_quote(),
        ) {
            let forward = vector(&persons, &quote);
            persons.reverse();
            persons.iter_mut().for_each(|person| person.reverse());
            prop_assert_eq!(vector(&persons, &quote), forward);
        }

        /// Each level of bins counts each row once.
        #[test]
        fn levels_of_bins_agree(bins in proptest::collection::vec(0i64..20, 0..30)) {
            let tree = measures().remove(2);
            let quote = quote(vec![tree.clone()], 1, Norm::L1(1 << 50), None);
            let mut sum = BoundedSum::new(&quote);
            for bin in &bins {
                sum.add(0, std::iter::once(Some(*bin))).unwrap();
            }
            let cells = sum.finish();
            prop_assert_eq!(cells.len(), 20 + 3);
            for (coarse, fine) in cells[20..].iter().zip(cells[..20].chunks(8)) {
                prop_assert_eq!(*coarse, fine.iter().sum::<i64>());
            }
            let rows = bins.len() as i64 * tree.grid.units(1.0);
            prop_assert_eq!(cells[..20].iter().sum::<i64>(), rows);
        }
    }

    #[test]
    fn totals_count_each_person_once_by_power_of_two() {
        let rows = Measure::rows(None, 1 << 20);
        let answer = quote(vec![rows.clone()], 3, Norm::L1(1 << 33), None);
        let totals = answer.of_totals().unwrap();
        let mut sum = BoundedSum::new(&totals);
        let unit = rows.grid.units(1.0);
        // 1, 5 and 5 rows, in several groups; one person has none.
        for count in [1usize, 5, 5, 0] {
            for row in 0..count {
                sum.add(row % 3, std::iter::once(Some(unit))).unwrap();
            }
            sum.finish_person();
        }
        let cells = sum.finish();
        let person = Measure::persons(None).grid.units(1.0);
        let counts: Vec<(u32, i64)> = (0u32..)
            .zip(&cells)
            .filter(|(_, cell)| **cell != 0)
            .map(|(bin, cell)| (bin, *cell / person))
            .collect();
        let (one, five) = (unit.ilog2(), (5 * unit).ilog2());
        assert_eq!(counts, [(one, 1), (five, 2)]);
    }

    /// Only the total is clamped, and once: the person who is beyond it moves it no further.
    #[test]
    fn totals_are_clamped_once_and_never_wrap() {
        let most = Norm::L1(CELL_LIMIT as u64);
        let total = |persons: &[i64]| {
            let mut sum = BoundedSum::new(&quote(vec![Measure::rows(None, 1)], 1, most, None));
            for amount in persons {
                sum.add(0, std::iter::once(Some(*amount))).unwrap();
                sum.finish_person();
            }
            sum.finish()
        };
        let (up, down) = (CELL_LIMIT, -CELL_LIMIT);
        assert_eq!(total(&[up; 9]), [up]);
        assert_eq!(total(&[down; 9]), [down]);
        // What goes beyond on the way comes back.
        assert_eq!(total(&[up, up, up, down, down, down, 7]), [7]);
        // Rows of one person that would wrap.
        let mut sum = BoundedSum::new(&quote(vec![Measure::rows(None, 1)], 1, most, None));
        for _ in 0..9 {
            sum.add(0, std::iter::once(Some(i64::MAX))).unwrap();
        }
        assert_eq!(sum.finish(), [up]);
    }

    #[test]
    fn clipped_persons_are_counted() {
        let rows = Measure::rows(None, 10);
        let unit = rows.grid.units(1.0);
        let limit = 3 * unit.unsigned_abs();
        let mut sum = BoundedSum::new(&quote(vec![rows], 1, Norm::L1(limit), Some(7)));
        for count in [1, 3, 4, 9] {
            for _ in 0..count {
                sum.add(0, std::iter::once(Some(unit))).unwrap();
            }
            sum.finish_person();
        }
        assert_eq!(sum.finish(), [10 * unit, 2 * 7]);
    }

    #[test]
    fn a_person_with_a_hundred_times_the_rows_keeps_the_shape() {
        // 500 rows over 100 groups scaled to 5 rows: integers would all become 0.
        let rows = Measure::rows(None, 5);
        let limit = 5 * rows.most_units();
        let mut sum = BoundedSum::new(&quote(vec![rows.clone()], 100, Norm::L1(limit), None));
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
