//! What is known of a statistic: its value, and how far chance alone could have moved it.

/// The level of all limits.
pub(crate) const LEVEL: f64 = 0.95;
/// The standard normal quantile of two-sided 95 %.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// A statistic from one set of arguments. What can't be said is NaN, which SQL sees as NULL.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// The statistic, in its own unit.
    pub value: f64,
    /// Its sampling variance, in that unit squared. The noise is not in it, unless the statistic
    /// says so.
    pub variance: f64,
    /// Lower 95 % limit of sampling.
    pub low: f64,
    /// Upper 95 % limit of sampling.
    pub high: f64,
}

impl Estimate {
    /// A value of which no sampling distribution is claimed.
    pub fn alone(value: f64) -> Self {
        Self {
            value,
            variance: f64::NAN,
            low: f64::NAN,
            high: f64::NAN,
        }
    }

    /// Limits at value ± z √variance.
    pub fn normal(value: f64, variance: f64) -> Self {
        let half_width = Z * variance.sqrt();
        Self {
            value,
            variance,
            low: value - half_width,
            high: value + half_width,
        }
    }

    /// Limits at value · exp(± z √variance of the logarithm); the variance on the natural scale
    /// is by the delta method.
    pub fn log_normal(value: f64, log_variance: f64) -> Self {
        let factor = (Z * log_variance.sqrt()).exp();
        Self {
            value,
            variance: value * value * log_variance,
            low: value / factor,
            high: value * factor,
        }
    }

    /// In another unit.
    pub fn times(self, factor: f64) -> Self {
        Self {
            value: self.value * factor,
            variance: self.variance * factor * factor,
            low: self.low * factor,
            high: self.high * factor,
        }
    }

    /// One part of it.
    pub fn part(&self, part: Part) -> f64 {
        match part {
            Part::Value => self.value,
            Part::Variance => self.variance,
            Part::Low => self.low,
            Part::High => self.high,
        }
    }
}

/// The parts that SQL can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The statistic.
    Value,
    /// Its sampling variance.
    Variance,
    /// Lower limit of sampling.
    Low,
    /// Upper limit of sampling.
    High,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Value, Self::Variance, Self::Low, Self::High];

    /// The name of the function that gives this part of the statistic `name`.
    pub fn function(self, name: &str) -> String {
        match self {
            Self::Value => name.to_owned(),
            Self::Variance => format!("__variance_of_{name}"),
            Self::Low => format!("__low_of_{name}"),
            Self::High => format!("__high_of_{name}"),
        }
    }
}

/// Limits of two independent uncertainties together: the distances from the estimate to each
/// limit add as squares. Source: Zou and Donner 2008, «Construction of confidence limits about
/// effect measures: a general approach», Statistics in Medicine 27, 1693–1702 (MOVER).
pub(crate) fn together(value: f64, one: f64, other: f64) -> f64 {
    let distance = (value - one).hypot(value - other);
    if one + other < 2.0 * value {
        value - distance
    } else {
        value + distance
    }
}
