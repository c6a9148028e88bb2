//! The noise: which one, how much, what it costs, and adding it, with or without a threshold. The only
//! calls of OpenDP.
//!
//! A release is a vector of integer cells to each of which independent noise is added. Its privacy
//! rests on one fact, which the caller must keep: adding or removing all rows of one person moves
//! the vector by at most `sensitivity`, in L1 norm for Laplace and in L2 norm for Gaussian. What a release costs
//! follows from the scale and the sensitivity that are used, and from nothing else.

mod calibration;
mod sampling;
#[cfg(test)]
mod tests;
pub mod threshold;

use skerry_proto::{Delta, Epsilon};

use crate::accounting::{Loss, PICO};

pub use sampling::release;

/// Cells are clamped to this, up and down, before the noise.
pub const CELL_LIMIT: i64 = 1 << 61;

/// Largest sensitivity, in cell units.
pub const MAX_SENSITIVITY: u64 = 1 << 56;

/// Largest noise scale, in cell units. A cell within [`CELL_LIMIT`] then leaves the range of 64
/// bits with a chance below 1e-40; where it does it is clamped, which is post-processing.
pub const MAX_SCALE: u64 = 1 << 56;

/// A distribution of noise over the integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// P(x) ∝ exp(−|x|/b); pure ε = Δ1/b.
    DiscreteLaplace,
    /// P(x) ∝ exp(−x²/(2σ²)); Rényi loss αΔ2²/(2σ²).
    DiscreteGaussian,
}

/// Why there is no noise, or no noisy vector. Never depends on the cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MechanismError {
    /// One person moves nothing, or more than fits.
    #[error("a sensitivity is from 1 to {MAX_SENSITIVITY} cell units")]
    Sensitivity,
    /// No noise, or more than fits: too small an epsilon for such a sensitivity.
    #[error("a noise scale is from 1 to {MAX_SCALE} cell units")]
    Scale,
    /// No δ, or one so small that the threshold is out of reach.
    #[error("a threshold on persons needs a delta that is not too small")]
    Threshold,
    /// The library's own privacy map says more than the loss that would be charged.
    #[error("the noise does not keep its claim")]
    Claim,
    /// No randomness, or no thread.
    #[error("noise could not be drawn")]
    Sampling,
}

/// The noise of one release. Can't be none: scale and sensitivity are at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noise {
    mechanism: Mechanism,
    scale: u64,
    sensitivity: u64,
}

impl Noise {
    /// This mechanism with b or σ = `scale` and the L1 or L2 `sensitivity`, both in cell units.
    ///
    /// # Errors
    /// If one of them is 0 or above its limit.
    pub fn new(mechanism: Mechanism, scale: u64, sensitivity: u64) -> Result<Self, MechanismError> {
        if !(1..=MAX_SENSITIVITY).contains(&sensitivity) {
            return Err(MechanismError::Sensitivity);
        }
        if !(1..=MAX_SCALE).contains(&scale) {
            return Err(MechanismError::Scale);
        }
        Ok(Self {
            mechanism,
            scale,
            sensitivity,
        })
    }

    /// The noise with the smaller standard deviation that is (`epsilon`, `delta`)-differentially
    /// private, for a person's vector of at most `l1` in L1 and at most `l2` in L2 norm. With δ = 0, and when equal: Laplace.
    ///
    /// The caller clips to the norm of the [`Mechanism`] that it gets, at its [`Noise::sensitivity`].
    ///
    /// # Errors
    /// If a sensitivity is 0 or too large, or if either noise is too large.
    pub fn choose(
        l1: u64,
        l2: u64,
        epsilon: Epsilon,
        delta: Delta,
    ) -> Result<Self, MechanismError> {
        let laplace = Self::of(Mechanism::DiscreteLaplace, l1, epsilon, delta);
        if delta == Delta::ZERO {
            return laplace;
        }
        let gaussian = Self::of(Mechanism::DiscreteGaussian, l2, epsilon, delta);
        match (laplace, gaussian) {
            (Ok(laplace), Ok(gaussian)) => {
                if gaussian.standard_deviation() < laplace.standard_deviation() {
                    Ok(gaussian)
                } else {
                    Ok(laplace)
                }
            }
            (laplace, gaussian) => laplace.or(gaussian),
        }
    }

    /// The noise of this mechanism that is (`epsilon`, `delta`)-differentially private for a
    /// `sensitivity` in its norm; Laplace noise needs no δ.
    ///
    /// # Errors
    /// If the sensitivity is 0 or too large, if the noise is too large, or if Gaussian noise is
    /// wanted without a δ.
    pub fn of(
        mechanism: Mechanism,
        sensitivity: u64,
        epsilon: Epsilon,
        delta: Delta,
    ) -> Result<Self, MechanismError> {
        let scale = match mechanism {
            Mechanism::DiscreteLaplace => calibration::laplace_scale(sensitivity, epsilon)?,
            Mechanism::DiscreteGaussian if delta == Delta::ZERO => {
                return Err(MechanismError::Scale);
            }
            Mechanism::DiscreteGaussian => {
                calibration::gaussian_scale(sensitivity, epsilon, delta)?
            }
        };
        Self::new(mechanism, scale, sensitivity)
    }

    /// Which distribution.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// b of Laplace, σ of Gaussian, in cell units.
    #[must_use]
    pub const fn scale(&self) -> u64 {
        self.scale
    }

    /// What one person moves the vector by at most, in cell units: L1 norm for Laplace, L2 for Gaussian.
    #[must_use]
    pub const fn sensitivity(&self) -> u64 {
        self.sensitivity
    }

    /// Of one cell's noise, in cell units.
    ///
    /// Laplace: the variance is 2p/(1−p)² with p = exp(−1/b), which is 1/(2·sinh²(1/(2b))). Gaussian: at most σ
    /// (Canonne, Kamath, Steinke 2020, Corollary 9), and within 1e-8 of it for σ ≥ 1.
    #[must_use]
    pub fn standard_deviation(&self) -> f64 {
        let scale = self.scale as f64;
        match self.mechanism {
            Mechanism::DiscreteLaplace => std::f64::consts::FRAC_1_SQRT_2 / (0.5 / scale).sinh(),
            Mechanism::DiscreteGaussian => scale,
        }
    }

    /// What a release with this noise is charged, from scale and sensitivity alone.
    #[must_use]
    pub fn loss(&self) -> Loss {
        match self.mechanism {
            Mechanism::DiscreteLaplace => Loss::of_pure(self.laplace_epsilon_nano()),
            Mechanism::DiscreteGaussian => Loss::of_gaussian(self.sensitivity, self.scale),
        }
    }

    /// The ε, in units of 1e-9 rounded up, with which one release is (ε, `delta`)-differentially private; for
    /// Laplace with any δ, so with 0. `u64::MAX`: none, as for Gaussian noise with δ = 0.
    #[must_use]
    pub fn epsilon_nano(&self, delta: Delta) -> u64 {
        match self.mechanism {
            Mechanism::DiscreteLaplace => self.laplace_epsilon_nano(),
            Mechanism::DiscreteGaussian => {
                calibration::gaussian_epsilon_nano(self.sensitivity, self.scale, delta)
            }
        }
    }

    /// Δ1/b in units of 1e-9, rounded up. Source: Ghosh, Roughgarden, Sundararajan 2012 (one cell);
    /// the ratio of two probabilities is a product over cells of exp(±|vᵢ − v′ᵢ|/b).
    fn laplace_epsilon_nano(&self) -> u64 {
        let dividend = u128::from(self.sensitivity) * u128::from(Epsilon::UNIT);
        u64::try_from(dividend.div_ceil(u128::from(self.scale))).unwrap_or(u64::MAX)
    }

    /// The charged bound on what OpenDP's privacy map must not exceed: pure ε for Laplace, and for
    /// Gaussian ρ, as the finite orders' losses over their orders; in nats.
    fn claimed(&self) -> f64 {
        let loss = self.loss();
        match self.mechanism {
            Mechanism::DiscreteLaplace => loss.pure().map_or(0.0, |pure| pure as f64 / PICO as f64),
            Mechanism::DiscreteGaussian => crate::accounting::ORDERS
                .iter()
                .zip(loss.orders())
                .map(|(order, loss)| *loss as f64 / PICO as f64 / order.to_f64())
                .fold(f64::INFINITY, f64::min),
        }
    }
}
