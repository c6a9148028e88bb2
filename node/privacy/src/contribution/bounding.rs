//! What a sum has to know of a quote.

use serde::{Deserialize, Serialize};

use super::{Norm, Slot};
use crate::{
    analysis::{Quote, measure::Measure},
    mechanism::threshold::Threshold,
};

/// How persons are bounded: all that a sum has to know of a quote. Neither noise nor cost is in it, so it
/// is what a machine is told that does nothing but sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounding {
    pub(super) slots: Vec<Slot>,
    /// Cells of a group.
    pub(super) width: usize,
    pub(super) groups: usize,
    pub(super) ending: Ending,
    /// Keys of a person, at most, where they aren't known beforehand.
    pub(super) most_keys: Option<u64>,
}

impl Bounding {
    /// That of a quote.
    #[must_use]
    pub fn of(quote: &Quote) -> Self {
        let rows = quote.rows();
        let (slots, width) = Slot::of(rows.measures);
        let norm = quote.norm;
        let ending = if quote.asks_totals() {
            let once = Measure::persons(None).grid.units(1.0);
            Ending::Totals { norm, once }
        } else {
            let clipped = quote.clipped;
            Ending::Clip { norm, clipped }
        };
        Self {
            slots,
            width,
            groups: rows.groups().len(),
            ending,
            most_keys: quote.threshold().map(Threshold::most_keys),
        }
    }

    /// How many measures rows have amounts of.
    #[must_use]
    pub fn measures(&self) -> usize {
        self.slots.len()
    }

    /// Whether keys aren't known beforehand: their sums are those of a [`KeyedSum`](super::KeyedSum).
    #[must_use]
    pub const fn is_keyed(&self) -> bool {
        self.most_keys.is_some()
    }
}

/// What becomes of a person's vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// It is scaled to the norm; clipped persons are counted in a last cell of this weight.
    Clip { norm: Norm, clipped: Option<u64> },
    /// For each measure, its norm falls into a power-of-two bin.
    Totals { norm: Norm, once: i64 },
}
