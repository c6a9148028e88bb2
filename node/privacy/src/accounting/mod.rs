//! What answers cost, and whether the next one may be given.
//!
//! # The guarantee
//!
//! Neighbours are two data sets of one node that differ in all rows of one person, in all tables.
//! Whoever asks, and however each question hangs on earlier answers, all answers that were ever
//! charged to an [`Allowance`] of (ε, δ) are together (ε, δ)-differentially private.
//!
//! # Why it holds
//!
//! Each release has a [`Loss`]: for each order α of a fixed set, a bound on the Rényi divergence
//! of order α between its answers on neighbours, in both directions; infinity, that is pure ε, is one
//! of the orders. The charged losses are added order by order. Write `S` for such a sum and `c`
//! for the surcharge that turns a Rényi bound at order α into an ε at δᵢ, the share of δ that the
//! allowance gives to that order for good ([`epsilon_surcharge`]; nothing at infinity, whose share is 0).
//! [`Allowance::admits`] lets a question through if afterwards *some* order has `S + c ≤ ε`.
//!
//! 1. *One order.* Let Mᵢ be the conversation up to just before the first charged question that
//!    takes order i over its limit `ε − c`. A refused question has an answer that the transcript
//!    fixes, hence loss 0, and so has a stored answer. On every transcript of Mᵢ the sum at order
//!    i is at most `ε − c`, so Mᵢ has Rényi divergence at most `ε − c` at that order (Feldman and
//!    Zrnic 2021, *Individual privacy accounting via a Rényi filter*, Theorem 3.1: with
//!    likelihood ratios rₜ and charges ρₜ, the product of rₜ^α·exp(−(α−1)ρₜ) is a
//!    supermartingale from 1, whatever the order in which questions are chosen). By the conversion
//!    Mᵢ is (ε, δᵢ)-differentially private. At infinity it is (ε, 0), pointwise.
//! 2. *All orders together.* A loss is never negative, so an order that is over its limit stays
//!    over it; and each admitted question leaves at least one order within. So at the
//!    end of every transcript some order never went over. Split the
//!    transcripts into the sets Aᵢ of those whose first such order is i. A transcript in Aᵢ
//!    is one of Mᵢ too, with the same probability, since Mᵢ never stopped early on it. For neighbours with laws P and
//!    Q, and any set E of transcripts,
//!    `P(E) = Σ P(E∩Aᵢ) ≤ Σ (exp(ε)·Q(E∩Aᵢ) + δᵢ) ≤ exp(ε)·Q(E) + Σ δᵢ`, and Σ δᵢ ≤ δ.
//!
//! The shares are fixed beforehand. Giving all of δ to whichever order turns out best would not be
//! covered by this: then Σ δᵢ would be δ times the number of orders.
//!
//! *Thresholds.* A release whose shape hangs on data (keys above a threshold) shows with a chance of at most δₜ
//! a key that one person alone has, and given that it doesn't it is distributed as one with the stated loss. Those δₜ add up, both
//! ways between neighbours (proof in `mechanism/threshold.rs`), in the half of δ that is kept for them.
//!
//! *Stopping and restarting with another allowance.* The sums are facts that never shrink. If owners change the
//! allowance, steps 1 and 2 hold for the new one from the first question that it admits, over everything ever answered,
//! provided that the change was not made because of answers.
//!
//! All amounts are integers, rounded up; limits and what is left are rounded down.

mod allowance;
mod conversion;
mod loss;

pub use allowance::{Allowance, Budget, BudgetError, RegionsFigure, across_regions};
pub use conversion::epsilon_surcharge;
pub use loss::{Loss, LossError};

pub(crate) use conversion::round_up;

#[cfg(test)]
mod tests;

/// A finite Rényi order, as a ratio of whole numbers, above 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    numerator: u64,
    denominator: u64,
}

impl Order {
    /// One plus this whole number.
    const fn one_plus(whole: u64) -> Self {
        Self {
            numerator: whole + 1,
            denominator: 1,
        }
    }

    /// The order as a float. Exact: every order here is a multiple of a half.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

/// The finite orders that are kept, 1 + 2^k: the order that is best for n Gaussian answers is
/// 1 + √(ln(1/δ)/nρ), and being off by a factor √2 in α − 1 costs at most 6 % of ε.
pub const ORDERS: [Order; 10] = [
    Order {
        numerator: 3,
        denominator: 2,
    },
    Order::one_plus(1),
    Order::one_plus(2),
    Order::one_plus(4),
    Order::one_plus(8),
    Order::one_plus(16),
    Order::one_plus(32),
    Order::one_plus(64),
    Order::one_plus(128),
    Order::one_plus(256),
];

/// Units of a Rényi loss in one nat.
pub const PICO: u64 = 1_000_000_000_000;

/// Units of [`Loss`] in one of [`skerry_proto::Epsilon`].
const PICO_PER_NANO: u64 = 1_000;
