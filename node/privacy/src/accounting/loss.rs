//! The Rényi loss of releases, one number an order.

use dashu::integer::UBig;
use skerry_proto::{Delta, Epsilon};

use super::{ORDERS, PICO, PICO_PER_NANO, conversion};

/// No bound at this order. Adding to it leaves it.
const UNBOUNDED: u64 = u64::MAX;

/// Stored size: each finite order, infinity, and the δ of thresholds, eight bytes each.
const BYTES: usize = 8 * (ORDERS.len() + 2);

/// Bytes that are no stored [`Loss`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a stored privacy loss")]
pub struct LossError;

/// Bounds on what releases tell about one person: at each order of [`ORDERS`] and at infinity the
/// Rényi divergence between neighbours, in units of 1e-12, rounded up; and the δ that thresholds took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    orders: [u64; ORDERS.len()],
    pure: u64,
    threshold_delta_atto: u64,
}

impl Loss {
    /// Nothing released.
    pub const ZERO: Self = Self {
        orders: [0; ORDERS.len()],
        pure: 0,
        threshold_delta_atto: 0,
    };

    /// Of a release that is ε-differentially private, with ε in units of 1e-9.
    ///
    /// Source of the finite orders: Bun and Steinke 2016, see `pure_to_renyi`.
    #[must_use]
    pub fn of_pure(epsilon_nano: u64) -> Self {
        let epsilon = epsilon_nano as f64 / Epsilon::UNIT as f64;
        let pure = epsilon_nano.saturating_mul(PICO_PER_NANO);
        Self {
            // A float converts to an integer saturating: what is too large ends as no bound.
            orders: ORDERS.map(|order| {
                let bound = conversion::pure_to_renyi(order.to_f64(), epsilon);
                ((bound * PICO as f64).ceil() as u64).min(pure)
            }),
            pure,
            threshold_delta_atto: 0,
        }
    }

    /// Of adding independent discrete Gaussian noise with parameter σ = `scale` to every cell of an
    /// integer vector of which one person changes at most `sensitivity` in L2 norm (same units).
    ///
    /// The divergence of order α is at most αΔ²/(2σ²). Source: Canonne, Kamath, Steinke 2020,
    /// Theorem 14 (the multivariate discrete Gaussian, from Proposition 5). No bound at infinity. Computed in exact integers.
    #[must_use]
    pub fn of_gaussian(sensitivity: u64, scale: u64) -> Self {
        let square = |value: u64| UBig::from(value) * UBig::from(value);
        let dividend = square(sensitivity) * UBig::from(PICO);
        let divisor = square(scale) * UBig::from(2u8);
        Self {
            orders: ORDERS.map(|order| {
                let dividend = &dividend * UBig::from(order.numerator);
                let divisor = &divisor * UBig::from(order.denominator);
                divide_up(dividend, divisor)
            }),
            pure: UNBOUNDED,
            threshold_delta_atto: 0,
        }
    }

    /// The same with a δ that a threshold on group keys spends beside it.
    #[must_use]
    pub fn with_threshold(mut self, delta: Delta) -> Self {
        self.threshold_delta_atto = self.threshold_delta_atto.saturating_add(delta.atto());
        self
    }

    /// Of this and another release together, whichever way the later hung on the earlier.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        for (mine, theirs) in sum.orders.iter_mut().zip(other.orders) {
            *mine = mine.saturating_add(theirs);
        }
        sum.pure = sum.pure.saturating_add(other.pure);
        sum.threshold_delta_atto = sum
            .threshold_delta_atto
            .saturating_add(other.threshold_delta_atto);
        sum
    }

    /// At the finite orders, in the order of [`ORDERS`], in units of 1e-12.
    #[must_use]
    pub const fn orders(&self) -> &[u64; ORDERS.len()] {
        &self.orders
    }

    /// At order infinity: pure ε in units of 1e-12. None: no bound.
    #[must_use]
    pub fn pure(&self) -> Option<u64> {
        (self.pure != UNBOUNDED).then_some(self.pure)
    }

    /// What thresholds took of δ, in units of 1e-18.
    #[must_use]
    pub const fn threshold_delta_atto(&self) -> u64 {
        self.threshold_delta_atto
    }

    /// As stored: big-endian, the finite orders, infinity, thresholds.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        for order in self.orders {
            bytes.extend_from_slice(&order.to_be_bytes());
        }
        bytes.extend_from_slice(&self.pure.to_be_bytes());
        bytes.extend_from_slice(&self.threshold_delta_atto.to_be_bytes());
        bytes
    }

    /// Of stored bytes.
    ///
    /// # Errors
    /// If the length is not that of a stored loss.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LossError> {
        if bytes.len() != BYTES {
            return Err(LossError);
        }
        let mut words = bytes.chunks_exact(8).map(|chunk| {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            u64::from_be_bytes(word)
        });
        let mut loss = Self::ZERO;
        for order in &mut loss.orders {
            *order = words.next().ok_or(LossError)?;
        }
        loss.pure = words.next().ok_or(LossError)?;
        loss.threshold_delta_atto = words.next().ok_or(LossError)?;
        Ok(loss)
    }
}

/// The quotient rounded up; no bound if it doesn't fit or the divisor is 0.
fn divide_up(dividend: UBig, divisor: UBig) -> u64 {
    if divisor.is_zero() {
        return UNBOUNDED;
    }
    let quotient = (dividend + &divisor - UBig::ONE) / divisor;
    u64::try_from(quotient).unwrap_or(UNBOUNDED)
}
