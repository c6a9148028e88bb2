//! Many persons' rows at once: [`BoundedSum::add_persons`].
//!
//! **Claim.** It is [`BoundedSum::add`] for each row that is in a group, and
//! [`BoundedSum::finish_person`] after each person.
//!
//! **Proof.** For answers: of a person with n rows in at most j groups, each row moves the vector by at
//! most r in L1 norm through the measures that add, and each group by at most d more through those that
//! count persons; so the vector's L1 norm, and with it its L2 norm, is at most n·r + j·d. With r as the
//! greatest of all rows' that is quickly found; where it is above the limit, n·r gives way to the sum of what
//! each of the person's rows moves. Where the norm is at most the limit, clip changes nothing and the person isn't
//! counted as clipped: no cell is beyond the limit, nor is the norm. What such persons contribute
//! together is the sum of what each row adds, and one unit for each cell in which a person is counted.
//! Sums are exact integers, so they may be added to the totals in any order. All other persons go
//! through the statement's own two steps.
//!
//! For persons' totals: see [`totals`]. ∎
//!
//! Tested against these two steps, with persons of both kinds.

mod amounts;
mod totals;

use std::ops::Range;

pub use self::amounts::Amounts;
use self::amounts::{LANES, Size};
use super::{BoundedSum, Ending, OutsideGroups, Slot, position};
use crate::analysis::measure::Effect;

/// The group of a row that is in none.
pub const NO_GROUP: u32 = u32::MAX;

/// Whole persons' rows, one person after the other.
#[derive(Debug)]
struct Persons<'a> {
    /// Where each person's rows end.
    ends: Vec<usize>,
    /// Of each row; [`NO_GROUP`] for none.
    groups: Vec<u32>,
    /// Whether each row is in a group.
    all_inside: bool,
    /// Of each measure.
    amounts: Vec<Amounts<'a>>,
    /// Of each measure's amounts.
    sizes: Vec<Size>,
}

impl<'a> Persons<'a> {
    /// The rows from `start` on. Checks that persons' ends rise, that each row has its amounts, and
    /// that its group is one of so many.
    fn new(
        start: usize,
        ends: &[usize],
        groups: &[u32],
        amounts: &[Amounts<'a>],
        most_groups: usize,
    ) -> Option<Self> {
        let end = ends.last().copied().unwrap_or(start);
        let groups = groups.get(start..end)?.to_vec();
        let inside = |group: &u32| (*group as usize) < most_groups || *group == NO_GROUP;
        // Without an early end, so that it compiles to vector instructions.
        if !groups.iter().fold(true, |all, group| all & inside(group)) {
            return None;
        }
        let all_inside = groups
            .iter()
            .fold(true, |all, group| all & (*group != NO_GROUP));
        let rise = ends.iter().zip(ends.iter().skip(1));
        let rise = rise.fold(true, |all, (one, next)| all & (one <= next));
        if !rise || ends.first().is_some_and(|first| *first < start) {
            return None;
        }
        let own = ends.iter().map(|end| end - start).collect();
        let amounts = amounts.iter().map(|amounts| amounts.within(start, end));
        let amounts: Vec<Amounts<'a>> = amounts.collect::<Option<_>>()?;
        Some(Self {
            ends: own,
            groups,
            all_inside,
            sizes: amounts.iter().map(Amounts::size).collect(),
            amounts,
        })
    }

    /// Each person's sum of a measure's amounts, also of rows in no group and of what stands where none is known;
    /// nothing if one may be below zero, or if 63 bits don't hold the sum of all. It is one sum that goes
    /// on over all rows, taken where a person ends: a person has few rows, and a loop over them has an end that
    /// the processor guesses wrong.
    fn sums(&self, measure: usize) -> Option<impl Iterator<Item = u64>> {
        let (Amounts::Rows { amounts, .. }, size) = (self.amounts[measure], self.sizes[measure])
        else {
            return None;
        };
        if size.negative || !size.fits(amounts.len()) {
            return None;
        }
        let mut up_to = Vec::with_capacity(amounts.len() + 1);
        up_to.push(0);
        let mut sum = 0;
        up_to.extend(amounts.iter().map(|amount| {
            sum += amount.unsigned_abs();
            sum
        }));
        let mut before = 0;
        Some(self.ends.iter().map(move |end| {
            let own = up_to[*end] - before;
            before = up_to[*end];
            own
        }))
    }

    /// Each person's sum as [`Persons::sums`] has it, if each row is in a group and its amount known.
    fn known_sums(&self, measure: usize) -> Option<impl Iterator<Item = u64>> {
        match self.amounts[measure] {
            Amounts::Rows { known: None, .. } if self.all_inside => self.sums(measure),
            Amounts::Rows { .. } | Amounts::Same(_) | Amounts::Nothing => None,
        }
    }

    /// Where one person's rows are.
    fn of(&self, person: usize) -> Range<usize> {
        let before = person.checked_sub(1).map_or(0, |before| self.ends[before]);
        before..self.ends[person]
    }

    /// Where each person's rows are.
    fn rows(&self) -> impl Iterator<Item = Range<usize>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| start..*end)
    }
}

/// What one row, and one group, can move a person's vector by; and by how much it may be moved. What
/// doesn't fit in 64 bits is as good as the greatest number, which is above any limit.
#[derive(Debug, Clone, Copy)]
struct Bound {
    row: u64,
    group: u64,
    limit: u64,
}

impl Bound {
    /// Whether a person with these rows is within the limit, if each row moves as much as any.
    fn keeps(self, groups: &[u32]) -> bool {
        let rows = groups.len() as u64;
        let by_rows = rows.saturating_mul(self.row);
        if by_rows.saturating_add(rows.saturating_mul(self.group)) <= self.limit {
            return true;
        }
        by_rows.saturating_add(self.group) <= self.limit && in_one_group(groups)
    }
}

fn in_one_group(groups: &[u32]) -> bool {
    groups.iter().all(|group| groups.first() == Some(group))
}

impl BoundedSum {
    /// Adds all rows of some persons: the first one's from `start` to before `ends[0]`, the next
    /// one's from there to before `ends[1]`, and so on. A row whose group is [`NO_GROUP`] is none.
    /// The person before them is finished first.
    ///
    /// # Errors
    /// If a group, cell, row or measure isn't there; that is a fault of the caller, not of the data.
    pub fn add_persons(
        &mut self,
        start: usize,
        ends: &[usize],
        groups: &[u32],
        amounts: &[Amounts<'_>],
    ) -> Result<(), OutsideGroups> {
        self.finish_person();
        let mut persons = Persons::new(start, ends, groups, amounts, self.groups)
            .filter(|persons| persons.amounts.len() == self.slots.len())
            .ok_or(OutsideGroups)?;
        match self.ending {
            Ending::Clip { norm, .. } => {
                let bound = self.bound(norm.limit(), &persons.sizes);
                let beyond: Vec<Range<usize>> = match self.moved_by_each(&persons) {
                    Some(moved) => {
                        let mut beyond = vec![];
                        for (person, moved) in moved.into_iter().enumerate() {
                            if moved > bound.limit {
                                beyond.push(persons.of(person));
                            }
                        }
                        beyond
                    }
                    None => persons
                        .rows()
                        .filter(|rows| {
                            !bound.keeps(&persons.groups[rows.clone()])
                                && self.moved(&persons, rows.clone()) > bound.limit
                        })
                        .collect(),
                };
                for rows in beyond {
                    self.add_one_by_one(&persons, rows.clone())?;
                    // What was added is in no group for those who are added together.
                    persons.groups[rows].fill(NO_GROUP);
                    persons.all_inside = false;
                }
                self.add_unclipped(&persons)
            }
            Ending::Totals { norm, once } => {
                if self.add_totals(&persons, norm, once)? {
                    return Ok(());
                }
                for rows in persons.rows() {
                    self.add_one_by_one(&persons, rows)?;
                }
                Ok(())
            }
        }
    }

    /// Adds a person row by row.
    fn add_one_by_one(
        &mut self,
        persons: &Persons<'_>,
        rows: Range<usize>,
    ) -> Result<(), OutsideGroups> {
        for row in rows {
            let group = persons.groups[row];
            if group != NO_GROUP {
                let of_row = persons.amounts.iter().map(|amounts| amounts.of(row));
                self.add(group as usize, of_row)?;
            }
        }
        self.finish_person();
        Ok(())
    }

    /// By how much rows with these amounts can move a vector.
    fn bound(&self, limit: u64, sizes: &[Size]) -> Bound {
        let mut bound = Bound {
            row: 0,
            group: 0,
            // As far as `clip` lets a single cell be.
            limit: limit.min(super::CELL_LIMIT as u64),
        };
        for (slot, size) in self.slots.iter().zip(sizes) {
            let once = slot.once.unsigned_abs();
            let of = match slot.effect {
                Effect::Once => &mut bound.group,
                Effect::Add | Effect::OnceAt | Effect::AddToBins => &mut bound.row,
            };
            *of = of.saturating_add(match slot.effect {
                Effect::Add => size.most,
                Effect::Once | Effect::OnceAt => once,
                Effect::AddToBins => once.saturating_mul(slot.levels.len() as u64),
            });
        }
        bound
    }

    /// By how much each person's own rows can move the vector; nothing where [`BoundedSum::moved`] has to look at
    /// each.
    fn moved_by_each(&self, persons: &Persons<'_>) -> Option<Vec<u64>> {
        let mut moved = vec![0_u64; persons.ends.len()];
        for (index, slot) in self.slots.iter().enumerate() {
            match (slot.effect, persons.amounts[index]) {
                (Effect::Add, Amounts::Nothing) => {}
                (Effect::Add, Amounts::Same(amount)) if persons.all_inside => {
                    for (moved, rows) in moved.iter_mut().zip(persons.rows()) {
                        let own = (rows.len() as u64).saturating_mul(amount.unsigned_abs());
                        *moved = moved.saturating_add(own);
                    }
                }
                (Effect::Add, Amounts::Rows { .. }) => {
                    for (moved, sum) in moved.iter_mut().zip(persons.sums(index)?) {
                        *moved = moved.saturating_add(sum);
                    }
                }
                (Effect::Add | Effect::Once | Effect::OnceAt | Effect::AddToBins, _) => {
                    return None;
                }
            }
        }
        Some(moved)
    }

    /// By how much a person's own rows can move the vector.
    fn moved(&self, persons: &Persons<'_>, rows: Range<usize>) -> u64 {
        let groups = &persons.groups[rows.clone()];
        let count = if persons.all_inside {
            groups.len() as u64
        } else {
            groups.iter().filter(|group| **group != NO_GROUP).count() as u64
        };
        let of_groups = || match in_one_group(groups) {
            true => count.min(1),
            false => count,
        };
        let of_slot = |((slot, amounts), size): ((&Slot, &Amounts<'_>), &Size)| -> u64 {
            let once = slot.once.unsigned_abs();
            match slot.effect {
                Effect::Add => match amounts {
                    Amounts::Nothing => 0,
                    Amounts::Same(amount) => count.saturating_mul(amount.unsigned_abs()),
                    // What stands where none is known counts too, and rows in no group.
                    Amounts::Rows { amounts, .. } => {
                        let own = amounts[rows.clone()].iter();
                        if size.fits(own.len()) {
                            own.map(|amount| amount.unsigned_abs()).sum()
                        } else {
                            own.fold(0, |sum, amount| sum.saturating_add(amount.unsigned_abs()))
                        }
                    }
                },
                Effect::Once => of_groups().saturating_mul(once),
                Effect::OnceAt => count.saturating_mul(once),
                Effect::AddToBins => count
                    .saturating_mul(once)
                    .saturating_mul(slot.levels.len() as u64),
            }
        };
        let slots = self.slots.iter().zip(&persons.amounts);
        let all = slots.zip(&persons.sizes).map(of_slot);
        all.fold(0, u64::saturating_add)
    }

    /// Adds the rows of persons whom clipping doesn't change.
    fn add_unclipped(&mut self, persons: &Persons<'_>) -> Result<(), OutsideGroups> {
        for index in 0..self.slots.len() {
            let amounts = persons.amounts[index];
            match self.slots[index].effect {
                Effect::Add => self.add_amounts(index, persons)?,
                Effect::AddToBins => self.add_rows(index, &persons.groups, amounts)?,
                Effect::Once | Effect::OnceAt => self.count_persons(index, persons)?,
            }
        }
        Ok(())
    }

    /// Adds amounts: in 64 bits first, which is faster, where they hold the sum.
    fn add_amounts(&mut self, index: usize, persons: &Persons<'_>) -> Result<(), OutsideGroups> {
        let (groups, amounts) = (&persons.groups, persons.amounts[index]);
        let count = self.groups;
        if !persons.sizes[index].fits(groups.len()) || count * LANES > groups.len() {
            return self.add_rows(index, groups, amounts);
        }
        self.sums.clear();
        self.sums.resize((count + 1) * LANES, 0);
        amounts.add_by_group(groups, &mut self.sums);
        let first = self.slots[index].start;
        let totals = self.totals.iter_mut().skip(first).step_by(self.width);
        for (total, sums) in totals.take(count).zip(self.sums.chunks_exact(LANES)) {
            *total += i128::from(sums.iter().sum::<i64>());
        }
        Ok(())
    }

    /// Adds what each row says, as [`BoundedSum::add`] does, to the totals.
    fn add_rows(
        &mut self,
        index: usize,
        groups: &[u32],
        amounts: Amounts<'_>,
    ) -> Result<(), OutsideGroups> {
        for (row, group) in groups.iter().enumerate() {
            if let (Some(amount), true) = (amounts.of(row), *group != NO_GROUP) {
                let first = *group as usize * self.width;
                let cells = &mut self.totals[first..first + self.width];
                self.slots[index].add(cells, amount)?;
            }
        }
        Ok(())
    }

    /// Counts each person once in each cell.
    fn count_persons(&mut self, index: usize, persons: &Persons<'_>) -> Result<(), OutsideGroups> {
        let Slot {
            start,
            effect,
            once,
            levels,
        } = &self.slots[index];
        let amounts = persons.amounts[index];
        self.stamps.resize(self.totals.len(), 0);
        for rows in persons.rows() {
            self.stamp += 1;
            for row in rows {
                let (group, Some(amount)) = (persons.groups[row], amounts.of(row)) else {
                    continue;
                };
                if group == NO_GROUP {
                    continue;
                }
                let at = match effect {
                    Effect::OnceAt => position(levels.first(), amount)?,
                    Effect::Once | Effect::Add | Effect::AddToBins => 0,
                };
                let cell = group as usize * self.width + start + at;
                if self.stamps[cell] != self.stamp {
                    self.stamps[cell] = self.stamp;
                    self.totals[cell] += i128::from(*once);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
