//! The distribution of the noise in a figure: a sum of independent Laplace and Gaussian noises,
//! one per region and measure, in the figure's own unit.
//!
//! The nodes' noises are discrete, with scales of many cell units; a cell unit is so much smaller
//! than the noise that the continuous distributions are used here.

use std::f64::consts::PI;

use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Exp1, StandardNormal};

/// How many digits of probability quantiles are computed to.
const TOLERANCE: f64 = 1e-7;

/// One noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Noise {
    /// Laplace: density exp(−|x| / b) / 2b.
    Laplace {
        /// b.
        scale: f64,
    },
    /// Normal.
    Gaussian {
        /// Standard deviation.
        sigma: f64,
    },
}

impl Noise {
    /// The same noise in another unit.
    pub fn times(self, factor: f64) -> Self {
        let factor = factor.abs();
        match self {
            Self::Laplace { scale } => Self::Laplace {
                scale: scale * factor,
            },
            Self::Gaussian { sigma } => Self::Gaussian {
                sigma: sigma * factor,
            },
        }
    }
}

#[cfg(test)]
impl Noise {
    /// One draw by the inverse of the distribution, for tests: they hold [`Stream`] against it.
    pub fn draw(self, random: &mut impl rand::Rng) -> f64 {
        // In (0, 1): the logarithms stay finite.
        let mut uniform = || random.random::<f64>().max(f64::MIN_POSITIVE);
        match self {
            Self::Laplace { scale } => {
                let sign = if uniform() < 0.5 { -1.0 } else { 1.0 };
                sign * -scale * uniform().ln()
            }
            Self::Gaussian { sigma } => {
                sigma * (-2.0 * uniform().ln()).sqrt() * (2.0 * PI * uniform()).cos()
            }
        }
    }
}

/// Draws of noises, one after the other. The same seed and number give the same.
#[derive(Debug)]
pub(crate) struct Stream {
    random: ChaCha8Rng,
    /// Random bits for signs, and how many of them are left.
    signs: u64,
    left: u32,
}

impl Stream {
    /// One of a seed's streams, which are independent of each other.
    pub fn new(seed: [u8; 32], number: u64) -> Self {
        let mut random = ChaCha8Rng::from_seed(seed);
        random.set_stream(number);
        Self {
            random,
            signs: 0,
            left: 0,
        }
    }

    /// One draw.
    pub fn draw(&mut self, noise: Noise) -> f64 {
        match noise {
            Noise::Laplace { scale } => {
                let magnitude: f64 = Exp1.sample(&mut self.random);
                scale * magnitude * self.sign()
            }
            Noise::Gaussian { sigma } => {
                let standard: f64 = StandardNormal.sample(&mut self.random);
                sigma * standard
            }
        }
    }

    fn sign(&mut self) -> f64 {
        if self.left == 0 {
            self.signs = self.random.next_u64();
            self.left = u64::BITS;
        }
        self.left -= 1;
        let bit = self.signs & 1;
        self.signs >>= 1;
        1.0 - 2.0 * bit as f64
    }
}

/// A sum of independent noises.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Sum {
    laplace: Vec<f64>,
    gaussian_variance: f64,
}

impl Sum {
    /// Adds one more.
    pub fn add(&mut self, noise: Noise) {
        match noise {
            Noise::Laplace { scale: 0.0 } => {}
            Noise::Laplace { scale } => self.laplace.push(scale),
            Noise::Gaussian { sigma } => self.gaussian_variance += sigma * sigma,
        }
    }

    /// Adds another sum, independent of this one; a difference has the same noise.
    pub fn merge(&mut self, other: &Self) {
        self.laplace.extend(&other.laplace);
        self.gaussian_variance += other.gaussian_variance;
    }

    /// Variances add.
    pub fn variance(&self) -> f64 {
        self.gaussian_variance + self.laplace.iter().map(|b| 2.0 * b * b).sum::<f64>()
    }

    /// Bits that tell one distribution from another, for keeping quantiles.
    pub fn key(&self) -> Vec<u64> {
        let mut bits: Vec<u64> = self.laplace.iter().map(|b| b.to_bits()).collect();
        bits.sort_unstable();
        bits.push(self.gaussian_variance.to_bits());
        bits
    }

    /// The x with P(|noise| ≤ x) = `level`, 0 < `level` < 1.
    ///
    /// One Laplace has a closed form. Else the characteristic function
    /// exp(−σ²t²/2) Π 1/(1 + b²t²) is inverted (Gil-Pelaez 1951) by the trapezoid rule, whose
    /// error on such a function is the probability beyond the period 2π/h, and bisected.
    pub fn half_width(&self, level: f64) -> f64 {
        if let ([scale], true) = (self.laplace.as_slice(), self.gaussian_variance == 0.0) {
            return -scale * (1.0 - level).ln();
        }
        let sd = self.variance().sqrt();
        if sd == 0.0 {
            return 0.0;
        }
        // Chebyshev: the quantile is not beyond this many standard deviations.
        let furthest = (1.0 / (1.0 - level)).sqrt();
        let step = 2.0 * PI / (furthest + 30.0);
        let transformed = |t: f64| {
            let product: f64 = self
                .laplace
                .iter()
                .map(|b| 1.0 + (b / sd * t).powi(2))
                .product();
            (-0.5 * self.gaussian_variance / (sd * sd) * t * t).exp() / product
        };
        let mut terms = Vec::new();
        loop {
            let t = step * (terms.len() + 1) as f64;
            let value = transformed(t);
            if value < TOLERANCE || terms.len() > 200_000 {
                break;
            }
            terms.push(value / t);
        }
        let within = |x: f64| {
            let series: f64 = terms
                .iter()
                .enumerate()
                .map(|(k, term)| term * (step * (k + 1) as f64 * x).sin())
                .sum();
            2.0 / PI * step * (x / 2.0 + series)
        };
        let (mut low, mut high) = (0.0, furthest);
        for _ in 0..45 {
            let middle = (low + high) / 2.0;
            if within(middle) < level {
                low = middle;
            } else {
                high = middle;
            }
        }
        high * sd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(noises: &[Noise]) -> Sum {
        let mut sum = Sum::default();
        for noise in noises {
            sum.add(*noise);
        }
        sum
    }

    fn laplace(scale: f64) -> Noise {
        Noise::Laplace { scale }
    }

    fn gaussian(sigma: f64) -> Noise {
        Noise::Gaussian { sigma }
    }

    #[test]
    fn known_quantiles() {
        let close = |got: f64, want: f64| assert!((got / want - 1.0).abs() < 1e-4, "{got} {want}");
        close(sum(&[laplace(2.0)]).half_width(0.95), 2.0 * 20_f64.ln());
        close(sum(&[gaussian(3.0)]).half_width(0.95), 3.0 * 1.959_963_985);
        // Two equal Laplace: P(|X| > x) = (1 + x / 2b) exp(−x / b).
        let x = sum(&[laplace(1.0), laplace(1.0)]).half_width(0.95);
        close((1.0 + x / 2.0) * (-x).exp(), 0.05);
        // Two different: P(|X| > x) = (a² exp(−x/a) − b² exp(−x/b)) / (a² − b²).
        let x = sum(&[laplace(3.0), laplace(1.0)]).half_width(0.9);
        close((9.0 * (-x / 3.0).exp() - (-x).exp()) / 8.0, 0.1);
        // One that drowns the other.
        let x = sum(&[laplace(1.0), laplace(1e-6)]).half_width(0.95);
        close(x, 20_f64.ln());
        // Many: close to normal.
        let x = sum(&vec![laplace(1.0); 400]).half_width(0.95);
        assert!((x / (800_f64.sqrt() * 1.96) - 1.0).abs() < 0.002, "{x}");
    }

    #[test]
    fn quantiles_cover_the_draws() {
        let mut stream = Stream::new([1; 32], 0);
        for noises in [
            vec![laplace(5.0)],
            vec![gaussian(5.0)],
            vec![laplace(1.0), laplace(2.0), laplace(0.1), gaussian(1.5)],
            vec![laplace(4.0); 5],
        ] {
            let sum = sum(&noises);
            let half_width = sum.half_width(0.95);
            let (n, mut inside, mut square) = (200_000, 0, 0.0);
            for _ in 0..n {
                let x: f64 = noises.iter().map(|noise| stream.draw(*noise)).sum();
                inside += usize::from(x.abs() <= half_width);
                square += x * x;
            }
            let rate = inside as f64 / f64::from(n);
            // Four standard errors of a share of 0.95 among 200,000.
            assert!((rate - 0.95).abs() < 0.002, "{noises:?}: {rate}");
            let variance = square / f64::from(n);
            assert!((variance / sum.variance() - 1.0).abs() < 0.03, "{noises:?}");
        }
    }
}
