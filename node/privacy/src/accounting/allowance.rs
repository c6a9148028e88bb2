//! What may be spent, and what is left of it.

use serde::{Deserialize, Serialize};
use skerry_proto::{Delta, Epsilon};

use super::{Loss, ORDERS, PICO, PICO_PER_NANO, epsilon_surcharge};

/// The part of δ that is kept for thresholds on group keys: one in so many.
const THRESHOLD_PART: u64 = 2;

/// An owner's limit over the life of the data: everything charged to it is together
/// (ε, δ)-differentially private. See the module for why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Allowance {
    /// ε.
    pub epsilon: Epsilon,
    /// δ; with 0 only pure ε counts, and Gaussian noise is never admitted.
    #[serde(default)]
    pub delta: Delta,
}

impl Allowance {
    /// δ for thresholds, in units of 1e-18.
    const fn threshold_share_atto(self) -> u64 {
        self.delta.atto() / THRESHOLD_PART
    }

    /// δ of each finite order. Fixed by the allowance, whatever was asked: the proof needs that.
    fn order_share(self) -> f64 {
        let shared = self.delta.atto() - self.threshold_share_atto();
        // Rounded down to whole units, so the sum over orders is at most what is shared.
        (shared / ORDERS.len() as u64) as f64 / Delta::UNIT as f64
    }

    /// The least ε for which all that was `spent` is (ε, δ)-differentially private, by the order
    /// that says least; in units of 1e-12, rounded up. `u64::MAX`: no order bounds it.
    fn epsilon_spent_pico(self, spent: &Loss) -> u64 {
        let share = self.order_share();
        let finite = ORDERS
            .iter()
            .zip(spent.orders())
            .map(|(order, loss)| {
                let surcharge = epsilon_surcharge(order.to_f64(), share) * PICO as f64;
                // A float converts saturating: no guarantee stays none.
                loss.saturating_add(surcharge.ceil() as u64)
            })
            .min();
        finite
            .unwrap_or(u64::MAX)
            .min(spent.pure().unwrap_or(u64::MAX))
    }

    /// Whether a release that loses `next` may follow all that was `spent`.
    #[must_use]
    pub fn admits(self, spent: &Loss, next: &Loss) -> bool {
        let after = spent.plus(next);
        after.threshold_delta_atto() <= self.threshold_share_atto()
            && self.epsilon_spent_pico(&after) <= self.epsilon.nano() * PICO_PER_NANO
    }

    /// ε that is spent at this allowance's δ, in units of 1e-9, rounded up.
    #[must_use]
    pub fn epsilon_spent_nano(self, spent: &Loss) -> u64 {
        self.epsilon_spent_pico(spent).div_ceil(PICO_PER_NANO)
    }

    /// ε that is left, in units of 1e-9; 0 if more is spent than is allowed.
    #[must_use]
    pub fn epsilon_left_nano(self, spent: &Loss) -> u64 {
        self.epsilon
            .nano()
            .saturating_sub(self.epsilon_spent_nano(spent))
    }
}

/// Why limits can't be used.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// The total δ is more than one in ten persons.
    #[error(
        "the total delta is {total}; for {persons} persons it is at most 1/(10 × persons), {most:e}"
    )]
    Delta {
        /// The total δ as configured.
        total: Delta,
        /// Persons, as declared.
        persons: u64,
        /// The largest that can be used.
        most: f64,
    },
}

/// A node's limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Of each project.
    pub project: Allowance,
    /// Of all projects together.
    pub total: Allowance,
}

impl Budget {
    /// Checks the limits against the declared number of persons: δ bounds the chance that
    /// somebody's data are shown outright, so over all persons it stays below one in ten.
    ///
    /// # Errors
    /// If the total δ is above 1/(10 × persons).
    pub fn check(&self, persons: u64) -> Result<(), BudgetError> {
        let chance = u128::from(self.total.delta.atto()) * 10 * u128::from(persons);
        if chance <= u128::from(Delta::UNIT) {
            return Ok(());
        }
        Err(BudgetError::Delta {
            total: self.total.delta,
            persons,
            most: 0.1 / persons as f64,
        })
    }
}

/// (ε, δ) for a person who is known to several regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RegionsFigure {
    /// In units of 1e-9.
    pub epsilon_nano: u64,
    /// In units of 1e-18.
    pub delta_atto: u64,
}

/// The guarantee of the whole federation for a person who is known to at most `regions` regions, if
/// each region keeps (ε, δ).
///
/// Questions to one region may hang on another's answers, so this is concurrent composition of
/// interactive mechanisms; for (ε, δ) it is no worse than the sequential kind (Vadhan and Zhang 2023,
/// *Concurrent composition theorems for differential privacy*), whose simple form gives (k·ε, k·δ). It is composition, not
/// group privacy: at each node only one person's rows change, so δ gets no exponential factor.
#[must_use]
pub fn across_regions(regions: u64, epsilon_nano: u64, delta_atto: u64) -> RegionsFigure {
    RegionsFigure {
        epsilon_nano: epsilon_nano.saturating_mul(regions),
        delta_atto: delta_atto.saturating_mul(regions),
    }
}
