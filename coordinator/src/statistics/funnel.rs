//! Funnel limits: how far from a target units of unequal size fall by chance, and by noise.
//! Source: Spiegelhalter 2005, «Funnel plots for comparing institutional performance»,
//! Statistics in Medicine 24, 1185–1202.

use super::estimate::Z;

/// How wide a funnel is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Width {
    /// 1.96 for 95 %, 3.09 for 99.8 %.
    pub z: f64,
    /// Overdispersion φ: 1 for none.
    pub phi: f64,
    /// Variance of the noise in the figure that is held against the funnel.
    pub noise: f64,
}

impl Width {
    /// From the optional arguments \[z \[, phi \[, noise_variance\]\]\].
    pub fn new(arguments: &[f64]) -> Option<Self> {
        let at = |index: usize, otherwise: f64| arguments.get(index).copied().unwrap_or(otherwise);
        let width = Self {
            z: at(0, Z),
            phi: at(1, 1.0),
            noise: at(2, 0.0),
        };
        (width.z > 0.0 && width.phi > 0.0 && width.noise >= 0.0).then_some(width)
    }

    fn around(self, variance: f64) -> f64 {
        self.z * (self.phi * variance + self.noise).sqrt()
    }
}

/// Limits of a share with target θ of n persons: θ ± z √(φ θ(1−θ)/n + σ²), kept within 0 to 1.
pub(crate) fn proportion(target: f64, size: f64, width: Width) -> Option<(f64, f64)> {
    if !(0.0..=1.0).contains(&target) || size <= 0.0 {
        return None;
    }
    let half_width = width.around(target * (1.0 - target) / size);
    Some((
        (target - half_width).max(0.0),
        (target + half_width).min(1.0),
    ))
}

/// Limits of a standardised ratio with E events expected: 1 ± z √(φ/E + σ²), from 0 up.
pub(crate) fn ratio(expected: f64, width: Width) -> Option<(f64, f64)> {
    if expected <= 0.0 {
        return None;
    }
    let half_width = width.around(1.0 / expected);
    Some(((1.0 - half_width).max(0.0), 1.0 + half_width))
}

/// `overdispersion(estimate, target, variance [, noise_variance])`: φ = mean of
/// ((y − θ)² − σ²) / s², s² the sampling variance under the target: 1 where units vary as chance
/// says, and on average the same with noise as without. It can come out below 1, then funnels
/// take 1.
pub(crate) fn overdispersion<'a>(rows: impl Iterator<Item = &'a [f64]>) -> Option<f64> {
    let (mut sum, mut units) = (0.0, 0.0);
    for row in rows {
        let (&[estimate, target, variance], noise) = row.split_first_chunk::<3>()?;
        let noise = noise.first().copied().unwrap_or(0.0);
        if variance <= 0.0 || noise < 0.0 {
            return None;
        }
        sum += ((estimate - target).powi(2) - noise) / variance;
        units += 1.0;
    }
    (units > 0.0).then(|| sum / units)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width(arguments: &[f64]) -> Width {
        Width::new(arguments).expect("width")
    }

    fn close(got: (f64, f64), want: (f64, f64)) {
        assert!((got.0 - want.0).abs() < 1e-9, "{got:?} {want:?}");
        assert!((got.1 - want.1).abs() < 1e-9, "{got:?} {want:?}");
    }

    /// By hand: θ = 0.1, n = 900 has √(θ(1−θ)/n) = 0.01; E = 400 has 1/√E = 0.05.
    #[test]
    fn limits_by_hand() {
        let at = |z: f64, sd: f64, middle: f64| (middle - z * sd, middle + z * sd);
        let share = |arguments: &[f64]| proportion(0.1, 900.0, width(arguments)).expect("limits");
        close(share(&[]), at(Z, 0.01, 0.1));
        close(share(&[3.09]), at(3.09, 0.01, 0.1));
        close(share(&[1.96, 4.0]), at(1.96, 0.02, 0.1));
        close(share(&[1.96, 1.0, 3e-4]), at(1.96, 0.02, 0.1));
        close(
            ratio(400.0, width(&[1.96])).expect("limits"),
            at(1.96, 0.05, 1.0),
        );
        close(
            ratio(400.0, width(&[3.09, 4.0])).expect("limits"),
            at(3.09, 0.1, 1.0),
        );
        // What can't be is not a limit.
        assert_eq!(proportion(0.01, 10.0, width(&[])).expect("limits").0, 0.0);
        assert_eq!(ratio(1.0, width(&[])).expect("limits").0, 0.0);
        assert_eq!(proportion(1.2, 10.0, width(&[])), None);
        assert_eq!(ratio(0.0, width(&[])), None);
        assert_eq!(Width::new(&[-1.0]), None);
        assert_eq!(Width::new(&[1.0, 0.0]), None);
    }

    #[test]
    fn overdispersion_leaves_the_noise_out() {
        let rows: [&[f64]; 2] = [&[3.0, 1.0, 1.0, 0.0], &[1.0, 3.0, 4.0, 2.0]];
        // (4 − 0)/1 and (4 − 2)/4.
        assert_eq!(overdispersion(rows.into_iter()), Some(2.25));
        assert_eq!(overdispersion(std::iter::empty()), None);
        let rows: [&[f64]; 1] = [&[3.0, 1.0, 0.0]];
        assert_eq!(overdispersion(rows.into_iter()), None);
    }
}
