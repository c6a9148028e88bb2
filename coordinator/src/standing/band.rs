//! The band that noise and chance explain.
//!
//! A figure y of a week is a count of events, X, plus the noise that the nodes added, whose
//! distribution is known. It is held against the released figures y₁ … yₙ of the weeks before, which
//! were paid for when they were new:
//!
//! - expected: m = mean of yᵢ, not below 0;
//! - chance: c = m + 2 max(S² − s̄² − m, 0), where S² is the variance of yᵢ and s̄² the mean variance
//!   of their noise. So counts may vary more than Poisson's, and never vary less (quasi-Poisson, as in
//!   Farrington and others 1996, with the noise taken out). What they vary more is taken twice, since
//!   a few weeks seldom show the long tail of counts that do;
//! - X is Poisson with mean m, or negative binomial where c > m (Noufaily and others 2013), which
//!   keeps the tail of small counts right where a normal one would be too short;
//! - the mean itself is known up to a normal error with variance (c + s̄²)/n;
//! - this week's noise is added as it is, Laplace or normal, with this week's scale.
//!
//! The distribution of the sum is found by summing over the counts, so its tail is no approximation. c is an
//! estimate on n − 1 degrees of freedom, so distances from m are stretched by t/z, the quotient of
//! Student's and the normal quantile at the level.
//!
//! A figure is outside when so large (or so small) a one has less than the stated probability. What
//! comes of it is measured in `decisions/0010-the-band-of-noise-and-chance.md`. Seasons and trends are not in it
//! but as far as the weeks before follow them.
//!
//! Farrington, Andrews, Beale, Catchpole: A statistical algorithm for the early detection of outbreaks of
//! infectious disease. Journal of the Royal Statistical Society A 159 (1996) 547–563.
//! Noufaily, Enki, Farrington, Garthwaite, Andrews, Charlett: An improved algorithm for outbreak detection in
//! multiple surveillance systems. Statistics in Medicine 32 (2013) 1206–1222.

use serde::{Deserialize, Serialize};
use statrs::function::gamma::ln_gamma;

use crate::statistics::{normal_and_laplace_tails, student_quantile};

/// On which sides a figure can leave the band.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sides {
    /// Only figures that are too large.
    #[default]
    Above,
    /// Too small ones as well, each side with half of the probability.
    Both,
}

/// How a band is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BandTerms {
    /// At most how many weeks before are looked at.
    pub history: u32,
    /// With fewer weeks before, nothing is outside.
    pub learning: u32,
    /// The probability that a figure is outside though nothing has changed.
    pub false_alarms: f64,
    /// Where it can be outside.
    pub sides: Sides,
}

/// The distribution that a noise has, next to its standard deviation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// Or a sum in which one is Laplace: its tail is then at most as heavy.
    Laplace,
    /// Normal.
    Gaussian,
}

/// A count with its noise, as released.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Released {
    /// The count and its noise.
    pub value: f64,
    /// The noise's standard deviation, in counts.
    pub sd: f64,
    /// The noise's distribution.
    pub shape: Shape,
}

/// What a figure turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// There were too few weeks before.
    Learning,
    /// Noise and chance explain it.
    Within,
    /// Too large for that.
    Above,
    /// Too small for that.
    Below,
}

impl Verdict {
    /// Whether somebody should be told.
    #[must_use]
    pub const fn alarms(self) -> bool {
        matches!(self, Self::Above | Self::Below)
    }
}

/// A figure against the weeks before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Of the weeks before, and none while learning.
    pub expected: Option<f64>,
    /// The least that is within, if the band has a lower end.
    pub low: Option<f64>,
    /// The most that is within.
    pub high: Option<f64>,
    /// Where the figure is.
    pub verdict: Verdict,
}

/// A week before, and whether it was outside its own band.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Past {
    /// Its figure.
    pub released: Released,
    /// Whether it alarmed.
    pub alarmed: bool,
}

/// Counts above this are taken for normal: their skewness is below 0.01.
const MANY: f64 = 10_000.0;
/// Chance of more than so many times Poisson's variance is taken for normal beyond that: where the
/// noise is much larger than the counts, the estimate of it is noise itself, and has no shape.
const MOST_SKEWED: f64 = 3.0;
/// What is seen of chance beyond Poisson's is taken so many times.
const TWICE: f64 = 2.0;
/// Figures are rounded to whole numbers: the variance of a uniform error of ± ½.
const ROUNDING: f64 = 1.0 / 12.0;
/// Standard deviations of the counts that are summed over.
const SPAN: f64 = 12.0;

/// Holds a figure against the weeks before it, the latest last.
#[must_use]
pub fn judge(past: &[Past], now: Released, terms: &BandTerms) -> Judged {
    let history = baseline(past, terms);
    let Some(predicted) = Predicted::new(&history, now, terms) else {
        return Judged {
            expected: None,
            low: None,
            high: None,
            verdict: Verdict::Learning,
        };
    };
    let level = match terms.sides {
        Sides::Above => terms.false_alarms,
        Sides::Both => terms.false_alarms / 2.0,
    };
    let both = terms.sides == Sides::Both;
    let verdict = if predicted.above(now.value) < level {
        Verdict::Above
    } else if both && predicted.below(now.value) < level {
        Verdict::Below
    } else {
        Verdict::Within
    };
    Judged {
        expected: Some(predicted.expected),
        low: both.then(|| predicted.limit(level, Side::Below)),
        high: Some(predicted.limit(level, Side::Above)),
        verdict,
    }
}

/// The weeks that a figure is held against: the last ones without those that alarmed, so that an
/// outbreak doesn't hide the next (Farrington's weights, made 0 or 1). Where too few are left,
/// all count again: what has lasted that long is the new level.
fn baseline(past: &[Past], terms: &BandTerms) -> Vec<Released> {
    let window = past.len().saturating_sub(terms.history as usize);
    let window = past.get(window..).unwrap_or_default();
    let calm: Vec<Released> = window
        .iter()
        .filter(|past| !past.alarmed)
        .map(|past| past.released)
        .collect();
    if calm.len() >= terms.learning as usize {
        calm
    } else {
        window.iter().map(|past| past.released).collect()
    }
}

/// What this week's figure would be if nothing had changed.
struct Predicted {
    /// m.
    expected: f64,
    /// The first count of `chance`.
    first: f64,
    /// Probabilities of counts from `first` on. They add up to 1.
    chance: Vec<f64>,
    /// Of all that is normal.
    normal_sd: f64,
    /// Of the Laplace noise; 0 if there is none.
    laplace_scale: f64,
    /// t/z.
    stretch: f64,
}

impl Predicted {
    /// None where there are too few weeks.
    fn new(history: &[Released], now: Released, terms: &BandTerms) -> Option<Self> {
        let n = history.len();
        if n < 2 || n < terms.learning as usize {
            return None;
        }
        let weeks = n as f64;
        let mean = history.iter().map(|week| week.value).sum::<f64>() / weeks;
        let spread = history.iter().map(|week| (week.value - mean).powi(2));
        let spread = spread.sum::<f64>() / (weeks - 1.0);
        let noise = history.iter().map(|week| week.sd * week.sd).sum::<f64>() / weeks;
        let expected = mean.max(0.0);
        let chance = expected + TWICE * (spread - noise - expected).max(0.0);
        let skewed = if expected > MANY {
            0.0
        } else {
            chance.min(MOST_SKEWED * expected)
        };
        let (gaussian, laplace_scale) = match now.shape {
            Shape::Gaussian => (now.sd * now.sd, 0.0),
            Shape::Laplace => (0.0, now.sd / std::f64::consts::SQRT_2),
        };
        let normal = ROUNDING + gaussian + (chance - skewed) + (chance + noise) / weeks;
        let (first, probabilities) = counts(expected, skewed);
        Some(Self {
            expected,
            first,
            chance: probabilities,
            normal_sd: normal.sqrt(),
            laplace_scale,
            stretch: stretch(terms, weeks),
        })
    }

    /// P(a figure ≥ `value`).
    fn above(&self, value: f64) -> f64 {
        self.sum(
            |count, unstretched| self.noise_above(unstretched - count),
            value,
        )
    }

    /// P(a figure ≤ `value`).
    fn below(&self, value: f64) -> f64 {
        self.sum(
            |count, unstretched| self.noise_above(count - unstretched),
            value,
        )
    }

    fn sum(&self, tail: impl Fn(f64, f64) -> f64, value: f64) -> f64 {
        let unstretched = self.expected + (value - self.expected) / self.stretch;
        let terms = self.chance.iter().enumerate();
        terms
            .map(|(place, probability)| probability * tail(self.first + place as f64, unstretched))
            .sum()
    }

    /// P(noise and error of the mean > `x`).
    fn noise_above(&self, x: f64) -> f64 {
        let tails = normal_and_laplace_tails(x.abs(), self.normal_sd, self.laplace_scale) / 2.0;
        if x >= 0.0 { tails } else { 1.0 - tails }
    }

    /// The figure at which the tail falls to `level`.
    fn limit(&self, level: f64, side: Side) -> f64 {
        let tail = |distance: f64| match side {
            Side::Above => self.above(self.expected + distance),
            Side::Below => self.below(self.expected - distance),
        };
        let (mut near, mut far) = (0.0, self.stretch * (1.0 + self.normal_sd));
        while tail(far) > level {
            near = far;
            far *= 2.0;
        }
        for _ in 0..50 {
            let middle = (near + far) / 2.0;
            if tail(middle) > level {
                near = middle;
            } else {
                far = middle;
            }
        }
        match side {
            Side::Above => self.expected + far,
            Side::Below => self.expected - far,
        }
    }
}

#[derive(Clone, Copy)]
enum Side {
    Above,
    Below,
}

/// t/z at the band's level.
fn stretch(terms: &BandTerms, weeks: f64) -> f64 {
    let within = match terms.sides {
        Sides::Above => 1.0 - 2.0 * terms.false_alarms,
        Sides::Both => 1.0 - terms.false_alarms,
    };
    student_quantile(within, weeks - 1.0) / student_quantile(within, f64::MAX)
}

/// A first count, and probabilities of it and the following ones: Poisson or negative binomial with
/// this mean and variance, or one point if the variance is 0.
fn counts(mean: f64, variance: f64) -> (f64, Vec<f64>) {
    if variance <= 0.0 || mean <= 0.0 {
        return (mean, vec![1.0]);
    }
    let reach = SPAN * variance.sqrt() + SPAN;
    let first = (mean - reach).floor().max(0.0);
    let last = (mean + reach).ceil();
    // More variance than the mean by less than this is no more.
    let excess = variance - mean;
    let size = mean * mean / excess;
    let log = |count: f64| {
        if excess <= 1e-6 * mean {
            count * mean.ln() - mean - ln_gamma(count + 1.0)
        } else {
            ln_gamma(count + size) - ln_gamma(size) - ln_gamma(count + 1.0)
                + size * (size / (size + mean)).ln()
                + count * (mean / (size + mean)).ln()
        }
    };
    let mut probabilities: Vec<f64> = (0..=(last - first) as u64)
        .map(|place| log(first + place as f64).exp())
        .collect();
    let sum: f64 = probabilities.iter().sum();
    for probability in &mut probabilities {
        *probability /= sum;
    }
    (first, probabilities)
}

#[cfg(test)]
mod tests;
