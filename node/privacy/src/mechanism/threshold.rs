//! Trusted. Keys without public values: released where enough persons have them, as counted with noise.
//!
//! **Mechanism.** For each key that anyone has, noise is added to all its cells. The key and its
//! noisy cells are released if the noisy count of its persons is at least τ, else nothing of it is.
//!
//! **Claim.** Let a person be counted in at most L keys, with at most `once` units in a key's count of
//! persons, and let the vector of all keys' cells be within the sensitivity of the noise, so that without
//! keys that hang on the data it would have a certain loss. Let p ≥ P(once + noise ≥ τ). Then for data D
//! and D′ = D without one person, and whatever else was asked before and after, the release has this loss
//! and beside it a δ of L·p that adds up over releases.
//!
//! **Proof.** Call N the keys of D that the person alone has; there are at most L. Let M′(D) be the
//! mechanism on D that leaves out N. Keys outside N are the same in D and D′, their cells and noise
//! make up a vector with noise, and M′(D) and M(D′) are the same function of it: they are as far apart as the loss says.
//! A key of N has at most `once` units, so it passes with a chance of at most p. Noises are
//! independent, so with a chance of at least 1 − T, T = 1 − (1 − p)^L ≤ L·p, none passes, and given that, M(D) is
//! distributed as M′(D). For several releases, however each hangs on the ones before, the chances that none passes multiply, and
//! 1 − T is at least one less the sum of all L·p. If M′(D) and M(D′) are (ε, δ′)-close, both ways:
//!
//! * P(M(D) ∈ E) ≤ P(M′(D) ∈ E) + T ≤ exp(ε)·P(M(D′) ∈ E) + δ′ + T.
//! * P(M(D′) ∈ E): let q = P(M′(D) ∈ E). It is at most min(1, exp(ε)·q + δ′), while P(M(D) ∈ E) ≥ (1 − T)·q.
//!   So what is above exp(ε)·P(M(D) ∈ E) is at most min(1, exp(ε)·q + δ′) − (1 − T)·exp(ε)·q. That grows with q until
//!   exp(ε)·q = 1 − δ′, where it is 1 − (1 − T)(1 − δ′) ≤ T + δ′, and falls after that. ∎
//!
//! **Source.** Korolova, Kenthapadi, Mishra, Ntoulas 2009, *Releasing search queries and clicks privately*;
//! Wilson, Zhang, Lam, Desfontaines, Simmons-Marengo, Gipson 2020, *Differentially private SQL with bounded user contribution*
//! (L keys of a person); Desfontaines, Voss, Gipson, Mandayam 2022, *Differentially private partition selection*.

use skerry_proto::{Delta, Value, limit};

use super::{Mechanism, MechanismError, Noise, release};
use crate::{accounting::round_up, key::Key};

/// From where on keys are released.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// Which of a key's cells counts its persons.
    persons: usize,
    /// What one person adds to that cell, at most.
    once: u64,
    /// τ: the least noisy count that is released, in cell units.
    least: i64,
    /// Keys that a person is counted in, at most.
    most_keys: u64,
    /// What it costs.
    delta: Delta,
}

impl Threshold {
    /// The least threshold that costs no more than `delta`, where the cell `persons` of a key gets
    /// at most `once` units of a person, and a person is in at most `most_keys` keys.
    ///
    /// # Errors
    /// [`MechanismError::Threshold`] without a δ, or if the threshold is out of reach.
    pub fn new(
        noise: &Noise,
        persons: usize,
        once: u64,
        most_keys: u64,
        delta: Delta,
    ) -> Result<Self, MechanismError> {
        let most_keys = most_keys.max(1);
        // Rounded down: what each key may have of δ. The quotient is good to some units of 1e-16.
        let of_key = delta.to_f64() / most_keys as f64 * (1.0 - 1e-12);
        let (mut passes, mut holds) = (0_u64, HIGHEST);
        if delta == Delta::ZERO || tail(noise, holds) > of_key {
            return Err(MechanismError::Threshold);
        }
        // The bound falls as the noise grows; whichever number this ends with, it holds there.
        while holds - passes > 1 {
            let middle = passes + (holds - passes) / 2;
            if tail(noise, middle) <= of_key {
                holds = middle;
            } else {
                passes = middle;
            }
        }
        let least = once
            .checked_add(holds)
            .filter(|least| *least <= HIGHEST)
            .and_then(|least| i64::try_from(least).ok())
            .ok_or(MechanismError::Threshold)?;
        Ok(Self {
            persons,
            once,
            least,
            most_keys,
            delta,
        })
    }

    /// Which of a key's cells counts its persons.
    #[must_use]
    pub const fn persons_cell(&self) -> usize {
        self.persons
    }

    /// The least noisy count of persons that is released, in cell units.
    #[must_use]
    pub const fn least(&self) -> i64 {
        self.least
    }

    /// What one person adds to a key's count of persons, in cell units.
    #[must_use]
    pub const fn once(&self) -> u64 {
        self.once
    }

    /// Keys that a person is counted in, at most.
    #[must_use]
    pub const fn most_keys(&self) -> u64 {
        self.most_keys
    }

    /// What it costs beside the noise.
    #[must_use]
    pub const fn delta(&self) -> Delta {
        self.delta
    }
}

/// No threshold is higher: beyond, cells are clamped.
const HIGHEST: u64 = 1 << 61;

/// A bound on P(noise ≥ t), rounded up; falls with t ≥ 1.
///
/// Laplace, q = exp(−1/b): Σ over x ≥ t of q^x·(1 − q)/(1 + q) = q^t/(1 + q).
/// Gaussian: P(noise ≥ t) ≤ P(N(0, σ²) ≥ t − 1) (Canonne, Kamath, Steinke 2020, Proposition 25), and with
/// x = (t − 1)/(σ√2) that is at most exp(−x²)/(√π·(x + √(x² + 4/π))) (Abramowitz and Stegun, 7.1.13).
#[must_use]
pub fn tail(noise: &Noise, t: u64) -> f64 {
    let scale = noise.scale() as f64;
    let bound = match noise.mechanism() {
        Mechanism::DiscreteLaplace => (-(t as f64) / scale).exp() / (1.0 + (-1.0 / scale).exp()),
        Mechanism::DiscreteGaussian => {
            let x = t.saturating_sub(1) as f64 / (scale * std::f64::consts::SQRT_2);
            let root = (x * x + 4.0 / std::f64::consts::PI).sqrt();
            (-x * x).exp() / (std::f64::consts::PI.sqrt() * (x + root))
        }
    };
    round_up(bound)
}

/// A key's cells before noise: the sum over all its persons, clamped as the noise needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeySum {
    /// Which.
    pub key: Key,
    /// As many as the measures have.
    pub cells: Vec<i64>,
}

/// A key that may leave, with its noisy cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasedKey {
    /// The values.
    pub values: Vec<Value>,
    /// With noise.
    pub cells: Vec<i64>,
    /// Bytes of the key.
    size: usize,
}

/// The keys of these that reach the threshold, with their noisy cells. Each key of a release goes
/// through here once, with all its persons.
///
/// The noise of a key's other cells is drawn if it passes; as it is independent of whether it does, that is the
/// same as drawing it before.
///
/// # Errors
/// As those of [`release`], and if a key is none or lacks its cells, a fault of the caller.
pub fn release_keys(
    noise: &Noise,
    threshold: &Threshold,
    sums: Vec<KeySum>,
) -> Result<Vec<ReleasedKey>, MechanismError> {
    let width = sums.first().map_or(0, |sum| sum.cells.len());
    let persons = sums
        .iter()
        .map(|sum| {
            let cell = sum.cells.get(threshold.persons);
            cell.copied().filter(|_| sum.cells.len() == width)
        })
        .collect::<Option<Vec<i64>>>()
        .ok_or(MechanismError::Sampling)?;
    let persons = release(noise, &persons)?;
    let passed: Vec<(KeySum, i64)> = sums
        .into_iter()
        .zip(persons)
        .filter(|(_, persons)| *persons >= threshold.least)
        .collect();
    let exact: Vec<i64> = passed
        .iter()
        .flat_map(|(sum, _)| &sum.cells)
        .copied()
        .collect();
    let mut cells = release(noise, &exact)?;
    passed
        .iter()
        .zip(cells.chunks_mut(width.max(1)))
        .map(|((sum, persons), cells)| {
            // One noise a cell: the persons were drawn already.
            cells[threshold.persons] = *persons;
            Ok(ReleasedKey {
                values: sum.key.values().ok_or(MechanismError::Sampling)?,
                cells: cells.to_vec(),
                size: sum.key.as_bytes().len(),
            })
        })
        .collect()
}

/// Released keys, no more than one message holds: of more those with the most persons, as counted
/// with noise. That is a choice among figures that may leave, so it costs nothing.
#[derive(Debug, Default)]
pub struct ReleasedKeys {
    keys: Vec<ReleasedKey>,
    bytes: usize,
    cut: bool,
}

impl ReleasedKeys {
    /// Adds more.
    pub fn add(&mut self, threshold: &Threshold, keys: Vec<ReleasedKey>) {
        for key in keys {
            self.bytes = self.bytes.saturating_add(key.size);
            self.keys.push(key);
        }
        if self.keys.len() > 2 * limit::GROUPS || self.bytes > 2 * limit::KEY_BYTES {
            self.cut(threshold);
        }
    }

    /// The keys in their own order, and whether some are left out.
    #[must_use]
    pub fn finish(mut self, threshold: &Threshold) -> (Vec<ReleasedKey>, bool) {
        self.cut(threshold);
        self.keys.sort_by(|a, b| a.values.cmp(&b.values));
        (self.keys, self.cut)
    }

    /// The longest beginning, by persons, that is within all limits. What isn't in it for some of the
    /// keys isn't in it for all of them.
    fn cut(&mut self, threshold: &Threshold) {
        let persons = |key: &ReleasedKey| key.cells.get(threshold.persons).copied();
        self.keys.sort_by(|a, b| {
            let more = persons(b).cmp(&persons(a));
            more.then_with(|| a.values.cmp(&b.values))
        });
        let (mut cells, mut bytes, mut kept) = (0_usize, 0_usize, 0_usize);
        for key in self.keys.iter().take(limit::GROUPS) {
            let with = (cells + key.cells.len(), bytes + key.size);
            // One cell is left for clipped persons.
            if with.0 >= limit::CELLS || with.1 > limit::KEY_BYTES {
                break;
            }
            (cells, bytes) = with;
            kept += 1;
        }
        self.cut |= kept < self.keys.len();
        self.keys.truncate(kept);
        self.bytes = bytes;
    }
}

#[cfg(test)]
mod tests;
