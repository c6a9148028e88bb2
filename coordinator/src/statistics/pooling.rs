//! Pooling estimates of several regions, and what they differ by beyond chance and noise.
//!
//! Each row is (estimate y, sampling variance s², noise variance σ²). Both variances are known
//! and independent, so an estimate's own variance is v = s² + σ², and what the estimates differ
//! by beyond Σ v is real: the noise is not taken for heterogeneity.

use super::{
    distribution::{chi_squared_tail, student_quantile},
    estimate::{Estimate, LEVEL},
};

/// The estimates of one pool; nothing where a variance is not positive or something is unknown.
pub(crate) struct Pool {
    /// (y, v, s²).
    estimates: Vec<(f64, f64, f64)>,
}

/// A sum over estimates with their weights 1/(v + τ²).
struct Weighted {
    weights: f64,
    mean: f64,
    /// Σ w (y − mean)².
    spread: f64,
}

impl Pool {
    /// From rows (y, s²\[, σ²\]).
    pub fn new<'a>(rows: impl Iterator<Item = &'a [f64]>) -> Option<Self> {
        let estimates = rows
            .map(|row| {
                let (&[y, sampling], noise) = row.split_first_chunk::<2>()?;
                let noise = noise.first().copied().unwrap_or(0.0);
                let v = sampling + noise;
                let fits = y.is_finite() && sampling >= 0.0 && noise >= 0.0 && v > 0.0;
                (fits && v.is_finite()).then_some((y, v, sampling))
            })
            .collect::<Option<Vec<_>>>()?;
        (!estimates.is_empty()).then_some(Self { estimates })
    }

    fn degrees(&self) -> f64 {
        self.estimates.len() as f64 - 1.0
    }

    fn weighted(&self, tau_squared: f64) -> Weighted {
        let terms = || {
            self.estimates
                .iter()
                .map(|(y, v, _)| (*y, 1.0 / (v + tau_squared)))
        };
        let weights: f64 = terms().map(|(_, w)| w).sum();
        let mean = terms().map(|(y, w)| w * y).sum::<f64>() / weights;
        Weighted {
            weights,
            mean,
            spread: terms().map(|(y, w)| w * (y - mean).powi(2)).sum(),
        }
    }

    /// Cochran's Q = Σ (y − ȳ)²/v around the fixed-effect mean. Source: Cochran 1954,
    /// Biometrics 10, 101–129.
    pub fn q(&self) -> Option<f64> {
        (self.degrees() > 0.0).then(|| self.weighted(0.0).spread)
    }

    /// P(χ²ₖ₋₁ > Q): that estimates of the same thing differ this much by chance and noise.
    pub fn q_tail(&self) -> Option<f64> {
        Some(chi_squared_tail(self.q()?, self.degrees()))
    }

    /// τ² = max(0, (Q − (k−1)) / (Σw − Σw²/Σw)), the variance between regions without noise.
    /// Source: DerSimonian and Laird 1986, Controlled Clinical Trials 7, 177–188.
    pub fn tau_squared(&self) -> Option<f64> {
        let weights = || self.estimates.iter().map(|(_, v, _)| 1.0 / v);
        let sum: f64 = weights().sum();
        let squares: f64 = weights().map(|w| w * w).sum();
        Some(((self.q()? - self.degrees()) / (sum - squares / sum)).max(0.0))
    }

    /// I² = τ² / (τ² + s̃²), the share of the variance between estimates that is real, had there
    /// been no noise; s̃² = (k−1)Σw / ((Σw)² − Σw²) with w = 1/s² is the typical sampling
    /// variance. Without noise this is (Q − (k−1))/Q.
    /// Source: Higgins and Thompson 2002, Statistics in Medicine 21, 1539–1558.
    pub fn i_squared(&self) -> Option<f64> {
        let weights = || self.estimates.iter().map(|(_, _, s)| 1.0 / s);
        let sum: f64 = weights().sum();
        let squares: f64 = weights().map(|w| w * w).sum();
        let typical = self.degrees() * sum / (sum * sum - squares);
        let tau_squared = self.tau_squared()?;
        Some(tau_squared / (tau_squared + typical))
    }

    /// Σ y/v / Σ 1/v with variance 1/Σ 1/v, for regions that measure the same thing.
    /// Source: Borenstein and others 2009, «Introduction to meta-analysis», chapter 11.
    pub fn fixed(&self) -> Estimate {
        let pooled = self.weighted(0.0);
        Estimate::normal(pooled.mean, 1.0 / pooled.weights)
    }

    /// The mean with weights 1/(v + τ²). Limits by Hartung and Knapp: t with k − 1 degrees of
    /// freedom times √(max(1, q) / Σw), q = Σ w (y − mean)² / (k − 1). The floor of 1 keeps
    /// regions that happen to agree from looking surer than their own variances allow.
    /// Sources: Hartung and Knapp 2001, Statistics in Medicine 20, 3875–3889; the floor: Röver,
    /// Knapp and Friede 2015, BMC Medical Research Methodology 15:99.
    pub fn random(&self) -> Option<Estimate> {
        Some(self.random_with(self.tau_squared()?))
    }

    fn random_with(&self, tau_squared: f64) -> Estimate {
        let pooled = self.weighted(tau_squared);
        let degrees = self.degrees();
        let variance = (pooled.spread / degrees).max(1.0) / pooled.weights;
        let half_width = student_quantile(LEVEL, degrees) * variance.sqrt();
        Estimate {
            value: pooled.mean,
            variance,
            low: pooled.mean - half_width,
            high: pooled.mean + half_width,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance, "{got} {want}");
    }

    /// Logarithms of risk ratios and their variances 1/a − 1/(a+b) + 1/c − 1/(c+d).
    fn bcg() -> Vec<Vec<f64>> {
        // Colditz and others 1994, JAMA 271, 698–702: tuberculosis and not, with vaccine and
        // without, in 13 trials.
        const TRIALS: [[f64; 4]; 13] = [
            [4., 119., 11., 128.],
            [6., 300., 29., 274.],
            [3., 228., 11., 209.],
            [62., 13_536., 248., 12_619.],
            [33., 5_036., 47., 5_761.],
            [180., 1_361., 372., 1_079.],
            [8., 2_537., 10., 619.],
            [505., 87_886., 499., 87_892.],
            [29., 7_470., 45., 7_232.],
            [17., 1_699., 65., 1_600.],
            [186., 50_448., 141., 27_197.],
            [5., 2_493., 3., 2_338.],
            [27., 16_886., 29., 17_825.],
        ];
        TRIALS
            .iter()
            .map(|[a, b, c, d]| {
                let y = ((a / (a + b)) / (c / (c + d))).ln();
                vec![y, 1.0 / a - 1.0 / (a + b) + 1.0 / c - 1.0 / (c + d)]
            })
            .collect()
    }

    fn pool(rows: &[Vec<f64>]) -> Option<Pool> {
        Pool::new(rows.iter().map(Vec::as_slice))
    }

    /// Figures: the tests of R's `metafor` («rma.uni() against metan with dat.bcg»), there
    /// checked against Stata's metan; for Hartung and Knapp `rma(yi, vi, test = "knha")`, whose
    /// τ² is by REML, 0.3132.
    #[test]
    fn the_bcg_trials_pool_as_metafor_and_stata_do() {
        let pool = pool(&bcg()).expect("pool");
        let fixed = pool.fixed();
        close(fixed.value, -0.4303, 5e-5);
        close(fixed.low, -0.5097, 5e-5);
        close(fixed.high, -0.3509, 5e-5);
        close(pool.q().expect("q"), 152.2330, 5e-5);
        assert!(pool.q_tail().expect("p") < 1e-4);
        close(pool.tau_squared().expect("τ²"), 0.3088, 5e-5);
        close(pool.i_squared().expect("I²"), 0.921_173, 5e-7);
        close(pool.random().expect("pooled").value, -0.7141, 5e-5);
        let knapp = pool.random_with(0.3132);
        close(knapp.value, -0.7145, 5e-5);
        close(knapp.variance.sqrt(), 0.1808, 5e-5);
        close(knapp.low, -1.1084, 1e-4);
        close(knapp.high, -0.3206, 1e-4);
    }

    /// Noise of a known variance, added to estimates, moves τ² and I² on average not at all, and
    /// a lot when it is not told.
    #[test]
    fn noise_is_not_taken_for_heterogeneity() {
        use rand::{Rng as _, SeedableRng as _};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(3);
        let mut normal = |sd: f64| {
            let (u, v): (f64, f64) = (rng.random::<f64>().max(1e-300), rng.random());
            sd * (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
        };
        let (mut told, mut untold, mut silent) = (0.0, 0.0, 0.0);
        let repeats = 4_000;
        for _ in 0..repeats {
            // τ = 2, s = 1, σ = 3, twenty regions.
            let clean: Vec<Vec<f64>> = (0..20)
                .map(|_| vec![normal(2.0) + normal(1.0), 1.0])
                .collect();
            let noisy: Vec<Vec<f64>> = clean
                .iter()
                .map(|row| vec![row[0] + normal(3.0), 1.0, 9.0])
                .collect();
            let forgotten: Vec<Vec<f64>> = noisy.iter().map(|row| row[..2].to_vec()).collect();
            let tau = |rows: &[Vec<f64>]| {
                // Without the floor at 0, which would bias the mean of small ones.
                let pool = pool(rows).expect("pool");
                let v = pool.estimates[0].1;
                (pool.q().expect("q") - pool.degrees()) / pool.degrees() * v
            };
            silent += tau(&clean) / f64::from(repeats);
            told += tau(&noisy) / f64::from(repeats);
            untold += tau(&forgotten) / f64::from(repeats);
        }
        close(silent, 4.0, 0.15);
        close(told, 4.0, 0.3);
        close(untold, 13.0, 0.3);
    }

    #[test]
    fn pools_that_are_none() {
        let one = pool(&[vec![2.0, 1.0]]).expect("pool");
        assert_eq!(one.fixed().value, 2.0);
        assert!(one.random().is_none() && one.tau_squared().is_none() && one.q_tail().is_none());
        assert!(pool(&[]).is_none());
        assert!(pool(&[vec![1.0, 0.0]]).is_none());
        assert!(pool(&[vec![1.0, -1.0, 2.0]]).is_none());
        assert!(pool(&[vec![f64::NAN, 1.0]]).is_none());
        // No sampling variance, only noise: the share that is real can't be said.
        let noise = pool(&[vec![1.0, 0.0, 1.0], vec![2.0, 0.0, 1.0]]).expect("pool");
        assert!(!noise.i_squared().expect("NaN").is_finite() || noise.tau_squared() == Some(0.0));
        // Two alike: the floor keeps the limits as wide as the variances say.
        let alike = pool(&[vec![1.0, 1.0], vec![1.0, 1.0]]).expect("pool");
        close(alike.random().expect("pooled").variance, 0.5, 1e-12);
    }
}
