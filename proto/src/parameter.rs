//! ε and δ as exact integers, so that noise and charge follow from the very same number.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a number is not a privacy parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// ε outside its range.
    #[error("epsilon must be a number from 0.000001 to 1000")]
    Epsilon,
    /// δ outside its range.
    #[error("delta must be 0, or a number from 1e-15 to below 0.01")]
    Delta,
}

/// ε in units of 1e-9, from 1e-6 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Epsilon(u64);

impl Epsilon {
    /// Units in one.
    pub const UNIT: u64 = 1_000_000_000;
    const MIN: u64 = 1_000;
    const MAX: u64 = 1_000 * Self::UNIT;

    /// From units of 1e-9.
    pub fn from_nano(nano: u64) -> Result<Self, ParameterError> {
        if (Self::MIN..=Self::MAX).contains(&nano) {
            Ok(Self(nano))
        } else {
            Err(ParameterError::Epsilon)
        }
    }

    /// Units of 1e-9.
    #[must_use]
    pub const fn nano(self) -> u64 {
        self.0
    }

    /// As a float, for people and for formulas that round outwards themselves.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::UNIT as f64
    }
}

impl TryFrom<f64> for Epsilon {
    type Error = ParameterError;
    fn try_from(value: f64) -> Result<Self, ParameterError> {
        // The comparison is false for NaN, which is thereby refused.
        if !(1e-6..=1e3).contains(&value) {
            return Err(ParameterError::Epsilon);
        }
        Self::from_nano((value * Self::UNIT as f64).round() as u64)
    }
}

impl From<Epsilon> for f64 {
    fn from(epsilon: Epsilon) -> f64 {
        epsilon.to_f64()
    }
}

impl fmt::Display for Epsilon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_f64().fmt(f)
    }
}

/// δ in units of 1e-18, 0 or from 1e-15 to below 0.01.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "f64", into = "f64")]
pub struct Delta(u64);

impl Delta {
    /// No δ: pure differential privacy.
    pub const ZERO: Self = Self(0);
    /// Units in one.
    pub const UNIT: u64 = 1_000_000_000_000_000_000;
    const MIN: u64 = 1_000;
    const END: u64 = Self::UNIT / 100;

    /// From units of 1e-18.
    pub fn from_atto(atto: u64) -> Result<Self, ParameterError> {
        if atto == 0 || (Self::MIN..Self::END).contains(&atto) {
            Ok(Self(atto))
        } else {
            Err(ParameterError::Delta)
        }
    }

    /// Units of 1e-18.
    #[must_use]
    pub const fn atto(self) -> u64 {
        self.0
    }

    /// As a float, for people and for formulas that round outwards themselves.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::UNIT as f64
    }
}

impl TryFrom<f64> for Delta {
    type Error = ParameterError;
    fn try_from(value: f64) -> Result<Self, ParameterError> {
        if value == 0.0 {
            return Ok(Self::ZERO);
        }
        if !(1e-15..0.01).contains(&value) {
            return Err(ParameterError::Delta);
        }
        Self::from_atto((value * Self::UNIT as f64).round() as u64)
    }
}

impl From<Delta> for f64 {
    fn from(delta: Delta) -> f64 {
        delta.to_f64()
    }
}

impl fmt::Display for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            f.write_str("0")
        } else {
            write!(f, "{:e}", self.to_f64())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_parameter() {
        for bad in [
            0.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            1e-320,
            1e308,
            1e-7,
            1001.0,
        ] {
            assert_eq!(
                Epsilon::try_from(bad),
                Err(ParameterError::Epsilon),
                "{bad}"
            );
        }
        for bad in [-1e-9, f64::NAN, f64::INFINITY, 1e-320, 1e-16, 0.01, 1.0] {
            assert_eq!(Delta::try_from(bad), Err(ParameterError::Delta), "{bad}");
        }
    }

    #[test]
    fn decimal_parameters_are_exact() {
        assert_eq!(Epsilon::try_from(0.1).map(Epsilon::nano), Ok(100_000_000));
        assert_eq!(Delta::try_from(1e-7).map(Delta::atto), Ok(100_000_000_000));
    }
}
