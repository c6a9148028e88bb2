//! Many persons' totals at once.
//!
//! **Claim.** [`BoundedSum::add_totals`] adds what [`BoundedSum::add`] for each row in a group and
//! [`BoundedSum::finish_person`] after each person would add, or nothing.
//!
//! **Proof.** A person's total of a measure is the L1 norm of the cells that the measure has in all groups.
//! Where amounts are added that is the sum over groups of the magnitudes of the group's sums; it is between
//! the magnitude of the amounts' sum and the sum of their magnitudes, so it is both where these are equal, such as where no amount is below zero. In one group it is the magnitude of the amounts' sum. Of bins each row adds one unit to a cell on
//! each level, and nothing is ever taken off. Of counts of persons each cell that a row names has one
//! unit. All sums are of 64 bits where the greatest amount times the rows is within 63. Everything
//! else, and the L2 norm, is left to the two steps. ∎
//!
//! Tested together with [`BoundedSum::add_persons`].

use super::{Amounts, BoundedSum, NO_GROUP, OutsideGroups, Persons, Range, Size, in_one_group};
use crate::{
    analysis::{TOTAL_BINS, measure::Effect},
    contribution::{Norm, position},
};

impl BoundedSum {
    /// Adds persons to the bins of their totals; false if it did nothing.
    pub(super) fn add_totals(
        &mut self,
        persons: &Persons<'_>,
        norm: Norm,
        once: i64,
    ) -> Result<bool, OutsideGroups> {
        let rows = persons.groups.len();
        let fits = |(slot, size): (&super::Slot, &Size)| match slot.effect {
            Effect::Add => size.fits(rows),
            Effect::Once | Effect::OnceAt => Size::of(slot.once.unsigned_abs(), false).fits(rows),
            Effect::AddToBins => {
                Size::of(slot.once.unsigned_abs(), false).fits(rows * slot.levels.len())
            }
        };
        let all_fit = self.slots.iter().zip(&persons.sizes).all(fits);
        if matches!(norm, Norm::L2(_)) || !all_fit {
            return Ok(false);
        }
        let measures = self.slots.len();
        for measure in 0..measures {
            let mut counts = [0_i64; TOTAL_BINS];
            let mut count = |total: u64| {
                if let Some(bin) = total.checked_ilog2() {
                    let bin = (bin as usize).min(TOTAL_BINS - 1);
                    counts[bin] += 1;
                }
            };
            let added = matches!(self.slots[measure].effect, Effect::Add);
            match added.then(|| persons.known_sums(measure)).flatten() {
                Some(sums) => sums.for_each(count),
                None => {
                    for rows in persons.rows() {
                        count(self.total(measure, persons, rows)?);
                    }
                }
            }
            for (bin, count) in counts.into_iter().enumerate() {
                self.totals[bin * measures + measure] += i128::from(once) * i128::from(count);
            }
        }
        Ok(true)
    }

    /// A person's total of one measure, in L1 norm.
    fn total(
        &mut self,
        measure: usize,
        persons: &Persons<'_>,
        rows: Range<usize>,
    ) -> Result<u64, OutsideGroups> {
        let amounts = &persons.amounts[measure];
        let slot = &self.slots[measure];
        let once = slot.once.unsigned_abs();
        let groups = &persons.groups[rows.clone()];
        let all = groups.len() as u64;
        match (slot.effect, amounts) {
            (Effect::Add, Amounts::Same(amount)) if persons.all_inside => {
                return Ok(all * amount.unsigned_abs());
            }
            (
                Effect::Add,
                Amounts::Rows {
                    amounts,
                    known: None,
                },
            ) if persons.all_inside => {
                let own = &amounts[rows.clone()];
                let sum = own.iter().sum::<i64>().unsigned_abs();
                let magnitudes = || own.iter().map(|amount| amount.unsigned_abs()).sum::<u64>();
                if !persons.sizes[measure].negative || magnitudes() == sum || in_one_group(groups) {
                    return Ok(sum);
                }
            }
            (Effect::Add | Effect::Once | Effect::OnceAt | Effect::AddToBins, _) => {}
        }
        let inside = rows
            .zip(groups)
            .filter(|(_, group)| **group != NO_GROUP)
            .filter_map(|(row, group)| Some((*group as usize, amounts.of(row)?)));
        Ok(match slot.effect {
            Effect::Add => self.by_group(inside),
            Effect::AddToBins => {
                let mut count = 0;
                for (_, bin) in inside {
                    position(slot.levels.first(), bin)?;
                    count += 1;
                }
                count * once * slot.levels.len() as u64
            }
            Effect::Once | Effect::OnceAt => {
                let mut count = 0;
                self.stamp += 1;
                self.stamps.resize(self.groups * self.width, 0);
                for (group, amount) in inside {
                    let place = match slot.effect {
                        Effect::OnceAt => position(slot.levels.first(), amount)?,
                        Effect::Once | Effect::Add | Effect::AddToBins => 0,
                    };
                    let stamp = &mut self.stamps[group * self.width + slot.start + place];
                    count += u64::from(*stamp != self.stamp);
                    *stamp = self.stamp;
                }
                count * once
            }
        })
    }

    /// The magnitudes of the groups' sums.
    fn by_group(&mut self, rows: impl Iterator<Item = (usize, i64)> + Clone) -> u64 {
        self.sums.resize(self.groups.max(self.sums.len()), 0);
        for (group, _) in rows.clone() {
            self.sums[group] = 0;
        }
        for (group, amount) in rows.clone() {
            self.sums[group] += amount;
        }
        // A group that comes again is taken once.
        rows.map(|(group, _)| std::mem::take(&mut self.sums[group]).unsigned_abs())
            .sum()
    }
}
