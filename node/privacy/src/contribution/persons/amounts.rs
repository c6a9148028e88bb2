//! What some rows contribute to a measure.

/// Sums of each group while rows are added. A person's rows are often in one group, and each addition to a
/// sum waits for the one before.
pub(super) const LANES: usize = 4;

/// Amounts of one measure, for some rows.
#[derive(Debug, Clone, Copy)]
pub enum Amounts<'a> {
    /// No row contributes.
    Nothing,
    /// Each row contributes the same.
    Same(i64),
    /// Each row its own, if that is known.
    Rows {
        /// One a row.
        amounts: &'a [i64],
        /// Whether the row contributes; nothing: all do.
        known: Option<&'a [bool]>,
    },
}

impl<'a> Amounts<'a> {
    /// A row's amount.
    #[must_use]
    pub fn of(&self, row: usize) -> Option<i64> {
        match self {
            Self::Nothing => None,
            Self::Same(amount) => Some(*amount),
            Self::Rows { amounts, known } => {
                let known = known.is_none_or(|known| known.get(row) == Some(&true));
                amounts.get(row).copied().filter(|_| known)
            }
        }
    }

    /// Those of the rows from `start` to before `end`; nothing if there are fewer.
    pub(super) fn within(&self, start: usize, end: usize) -> Option<Self> {
        Some(match self {
            Self::Nothing => Self::Nothing,
            Self::Same(amount) => Self::Same(*amount),
            Self::Rows { amounts, known } => Self::Rows {
                amounts: amounts.get(start..end)?,
                known: match known {
                    Some(known) => Some(known.get(start..end)?),
                    None => None,
                },
            },
        })
    }

    /// How large they are at most, and whether one is below zero. What stands where none is known counts too.
    pub(super) fn size(&self) -> Size {
        match self {
            Self::Nothing => Size::of(0, false),
            Self::Same(amount) => Size::of(amount.unsigned_abs(), *amount < 0),
            Self::Rows { amounts, .. } => {
                // A number is at most the one of all its bits and others', which is below double of the greatest.
                let bits = amounts.iter().fold(0, |bits, amount| bits | *amount);
                let most = match u64::try_from(bits) {
                    Ok(bits) => bits,
                    Err(_) => amounts
                        .iter()
                        .fold(0, |bits, amount| bits | amount.unsigned_abs()),
                };
                Size::of(most, bits < 0)
            }
        }
    }

    /// Adds them to sums by group, of which the last is for rows in no group. Each group has
    /// [`LANES`] sums, which rows take in turns.
    pub(super) fn add_by_group(&self, groups: &[u32], sums: &mut [i64]) {
        let Some(last) = (sums.len() / LANES).checked_sub(1) else {
            return;
        };
        let mut add = |(row, group): (usize, &u32), amount: i64| {
            sums[(*group as usize).min(last) * LANES + row % LANES] += amount;
        };
        let rows = groups.iter().enumerate();
        match self {
            Self::Nothing => {}
            Self::Same(amount) => rows.for_each(|row| add(row, *amount)),
            Self::Rows {
                amounts,
                known: None,
            } => rows
                .zip(*amounts)
                .for_each(|(row, amount)| add(row, *amount)),
            Self::Rows {
                amounts,
                known: Some(known),
            } => {
                for ((row, amount), known) in rows.zip(*amounts).zip(*known) {
                    add(row, if *known { *amount } else { 0 });
                }
            }
        }
    }
}

/// What is known of amounts without looking at each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    /// No amount is greater in magnitude.
    pub most: u64,
    /// Whether one may be below zero.
    pub negative: bool,
}

impl Size {
    pub const fn of(most: u64, negative: bool) -> Self {
        Self { most, negative }
    }

    /// Whether 63 bits hold the magnitudes of so many.
    pub fn fits(self, rows: usize) -> bool {
        u128::from(self.most) * rows as u128 <= i64::MAX as u128
    }
}
