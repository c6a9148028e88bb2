//! Differences and ratios of rates, between regions or before and after, and their tests.

use super::{
    distribution::normal_and_laplace_tails,
    estimate::{Estimate, Z},
};

/// `rate_difference(events_a, persons_a, events_b, persons_b, per)`: per (Oa/na − Ob/nb), with
/// sampling variance per² (Oa/na² + Ob/nb²).
/// Source: Rothman, Greenland and Lash 2008, «Modern epidemiology», chapter 14.
pub(crate) fn rate_difference(a: (f64, f64), b: (f64, f64), per: f64) -> Option<Estimate> {
    if a.1 <= 0.0 || b.1 <= 0.0 || per <= 0.0 {
        return None;
    }
    let value = per * (a.0 / a.1 - b.0 / b.1);
    let variance = per * per * (a.0.max(0.0) / (a.1 * a.1) + b.0.max(0.0) / (b.1 * b.1));
    Some(Estimate::normal(value, variance))
}

/// `rate_ratio(events_a, persons_a, events_b, persons_b)`: (Oa/na) / (Ob/nb), limits on the
/// logarithm with variance 1/Oa + 1/Ob. Without events in the second there is no ratio, without
/// events in the first no limits.
/// Source: Rothman, Greenland and Lash 2008, «Modern epidemiology», chapter 14.
pub(crate) fn rate_ratio(a: (f64, f64), b: (f64, f64)) -> Option<Estimate> {
    if a.1 <= 0.0 || b.1 <= 0.0 || b.0 <= 0.0 {
        return None;
    }
    let value = (a.0 / a.1) / (b.0 / b.1);
    Some(of_logarithm(value, 1.0 / a.0 + 1.0 / b.0, a.0 > 0.0))
}

fn of_logarithm(value: f64, variance: f64, defined: bool) -> Estimate {
    if defined {
        Estimate::log_normal(value, variance)
    } else {
        Estimate::alone(value)
    }
}

/// Events and persons of the four cells of a comparison over time with a comparison group.
struct Four {
    /// Indexed by after, then by treated.
    cells: [[(f64, f64); 2]; 2],
    per: f64,
}

/// Sums the rows (events, persons, after, treated \[, per\]) by cell. Nothing where a mark is
/// neither 0 nor 1, a cell has no persons, or the unit changes.
fn four<'a>(rows: impl Iterator<Item = &'a [f64]>, default: f64) -> Option<Four> {
    let mut cells = [[(0.0, 0.0); 2]; 2];
    let mut per = None;
    for row in rows {
        let (&[events, persons, after, treated], own_per) = row.split_first_chunk::<4>()?;
        let own_per = own_per.first().copied().unwrap_or(default);
        if own_per <= 0.0 || *per.get_or_insert(own_per) != own_per {
            return None;
        }
        let mark = |mark: f64| match mark {
            0.0 => Some(0),
            1.0 => Some(1),
            _ => None,
        };
        let cell: &mut (f64, f64) = &mut cells[mark(after)?][mark(treated)?];
        cell.0 += events;
        cell.1 += persons;
    }
    let complete = cells.iter().flatten().all(|cell| cell.1 > 0.0);
    per.filter(|_| complete).map(|per| Four { cells, per })
}

/// `difference_in_differences(events, persons, after, treated [, per])`: the change of the
/// treated rate less the change of the comparison's, per (R₁₁ − R₀₁ − R₁₀ + R₀₀), with sampling
/// variance per² Σ O/n² of the four cells.
/// Source: Angrist and Pischke 2009, «Mostly harmless econometrics», chapter 5; the variance is
/// that of four independent Poisson rates.
pub(crate) fn difference_in_differences<'a>(
    rows: impl Iterator<Item = &'a [f64]>,
) -> Option<Estimate> {
    let Four {
        cells: [[b0, b1], [a0, a1]],
        per,
    } = four(rows, super::rates::PER)?;
    let rate = |cell: (f64, f64)| cell.0 / cell.1;
    let value = per * ((rate(a1) - rate(b1)) - (rate(a0) - rate(b0)));
    let variance: f64 = [b0, b1, a0, a1]
        .iter()
        .map(|cell| cell.0.max(0.0) / (cell.1 * cell.1))
        .sum();
    Some(Estimate::normal(value, per * per * variance))
}

/// `ratio_of_rate_ratios(events, persons, after, treated)`: how many times more the treated rate
/// has changed than the comparison's, (R₁₁/R₀₁) / (R₁₀/R₀₀), limits on the logarithm with
/// variance Σ 1/O of the four cells. Source: as for a rate ratio; the four are independent.
pub(crate) fn ratio_of_rate_ratios<'a>(rows: impl Iterator<Item = &'a [f64]>) -> Option<Estimate> {
    let [[b0, b1], [a0, a1]] = four(rows, 1.0)?.cells;
    if b0.0 <= 0.0 || b1.0 <= 0.0 || a0.0 <= 0.0 {
        return None;
    }
    let rate = |cell: (f64, f64)| cell.0 / cell.1;
    let value = (rate(a1) / rate(b1)) / (rate(a0) / rate(b0));
    let variance = [b0, b1, a0, a1].iter().map(|cell| 1.0 / cell.0).sum();
    Some(of_logarithm(value, variance, a1.0 > 0.0))
}

/// What a statistic is compared with when it is tested.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Null {
    /// The value that says «no difference».
    pub value: f64,
    /// Whether it is compared on the logarithm.
    pub logarithm: bool,
}

/// A statistic and its two uncertainties, for a test. Distances are to the 95 % limits of the
/// noise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tested {
    /// The statistic.
    pub value: f64,
    /// Its sampling variance.
    pub variance: f64,
    /// From the noise's lower limit up to the statistic.
    pub below: f64,
    /// From the statistic up to the noise's upper limit.
    pub above: f64,
}

impl Tested {
    /// How far from the null, and the standard deviations of sampling and noise, all on the
    /// scale on which they are compared.
    fn scaled(self, null: Null) -> Option<(f64, f64, f64)> {
        let (distance, per) = if null.logarithm {
            if self.value <= 0.0 {
                return None;
            }
            ((self.value / null.value).ln(), self.value)
        } else {
            (self.value - null.value, 1.0)
        };
        // The side on which the null is.
        let noise = if distance > 0.0 {
            self.below
        } else {
            self.above
        };
        let known = self.variance >= 0.0 && noise >= 0.0;
        known.then(|| (distance, self.variance.sqrt() / per, noise / Z / per))
    }

    /// `z_score(…)`: (x − null) / √(sampling variance + (noise's 95 % half width / 1.96)²), so
    /// that |z| = 1.96 where the total's limit touches the null.
    pub fn z_score(self, null: Null) -> Option<f64> {
        let (distance, sampling, noise) = self.scaled(null)?;
        let sd = sampling.hypot(noise);
        (sd > 0.0).then(|| distance / sd)
    }

    /// `p_value(…)`: P(|chance + noise| ≥ |x − null|), chance normal, noise Laplace with the
    /// known 95 % half width. Of all noises that the nodes add, and their sums, a single
    /// Laplace has the heaviest tails, so below 0.05 this errs to the large side.
    pub fn p_value(self, null: Null) -> Option<f64> {
        let (distance, sampling, noise) = self.scaled(null)?;
        let scale = noise * Z / 20_f64.ln();
        let some = sampling > 0.0 || noise > 0.0;
        some.then(|| normal_and_laplace_tails(distance.abs(), sampling, scale))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Null = Null {
        value: 0.0,
        logarithm: false,
    };
    const ONE: Null = Null {
        value: 1.0,
        logarithm: true,
    };

    fn close(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance, "{got} {want}");
    }

    /// Breast cancer after repeated fluoroscopy: 41 cases in 28,010 person-years against 15 in
    /// 19,017 (Rothman and Greenland 1998, «Modern epidemiology», second edition, page 238, and
    /// the examples of R's `epitools::rateratio`): ratio 1.86, limits 1.03 and 3.35; difference
    /// 67.5 per 100,000.
    #[test]
    fn fluoroscopy_and_breast_cancer() {
        let (exposed, not) = ((41.0, 28_010.0), (15.0, 19_017.0));
        let ratio = rate_ratio(exposed, not).expect("ratio");
        close(ratio.value, 1.86, 0.005);
        close(ratio.low, 1.03, 0.005);
        close(ratio.high, 3.35, 0.005);
        let difference = rate_difference(exposed, not, 100_000.0).expect("difference");
        close(difference.value, 67.5, 0.05);
        // By hand, √(41/28010² + 15/19017²) is 30.616 per 100,000.
        close(difference.variance.sqrt(), 30.616, 0.001);
    }

    #[test]
    fn rates_without_persons_or_events() {
        assert!(rate_difference((1.0, 0.0), (1.0, 1.0), 1.0).is_none());
        assert!(rate_ratio((1.0, 1.0), (0.0, 1.0)).is_none());
        let none = rate_ratio((0.0, 1.0), (5.0, 1.0)).expect("ratio");
        assert_eq!(none.value, 0.0);
        assert!(none.low.is_nan());
    }

    /// Card and Krueger 1994 (American Economic Review 84, 772–793, table 3): full-time
    /// equivalents per store, New Jersey 20.44 to 21.03 and Pennsylvania 23.33 to 21.17; the
    /// change differs by 2.76 (2.75 of the rounded means).
    #[test]
    fn minimum_wages_and_employment() {
        let rows = [
            [20.44, 1.0, 0.0, 1.0, 1.0],
            [21.03, 1.0, 1.0, 1.0, 1.0],
            [23.33, 1.0, 0.0, 0.0, 1.0],
            [21.17, 1.0, 1.0, 0.0, 1.0],
        ];
        let found = difference_in_differences(rows.iter().map(<[f64; 5]>::as_slice));
        close(found.expect("four cells").value, 2.75, 1e-9);
        let three = rows.iter().take(3).map(<[f64; 5]>::as_slice);
        assert!(difference_in_differences(three).is_none());
        let odd = [[1.0, 1.0, 2.0, 0.0]];
        assert!(difference_in_differences(odd.iter().map(<[f64; 4]>::as_slice)).is_none());
    }

    #[test]
    fn four_cells_are_sums_and_their_variances_add() {
        let rows = [
            [30.0, 1_000.0, 0.0, 0.0],
            [10.0, 1_000.0, 0.0, 0.0],
            [50.0, 2_000.0, 1.0, 0.0],
            [60.0, 1_500.0, 0.0, 1.0],
            [45.0, 1_500.0, 1.0, 1.0],
        ];
        let rows = || rows.iter().map(<[f64; 4]>::as_slice);
        let difference = difference_in_differences(rows()).expect("four cells");
        // (0.03 − 0.04) − (0.025 − 0.02) = −0.015 per person.
        close(difference.value, -1_500.0, 1e-9);
        let variance = 40.0 / 4e6 + 50.0 / 4e6 + 60.0 / 2.25e6 + 45.0 / 2.25e6;
        close(difference.variance, variance * 1e10, 1e-3);
        let ratio = ratio_of_rate_ratios(rows()).expect("four cells");
        close(ratio.value, (0.03 / 0.04) / (0.025 / 0.02), 1e-12);
        let sd = (1.0 / 40.0 + 1.0 / 50.0 + 1.0 / 60.0 + 1.0 / 45.0_f64).sqrt();
        close((ratio.high / ratio.value).ln(), Z * sd, 1e-12);
    }

    #[test]
    fn tests_take_the_noise_in() {
        let quiet = Tested {
            value: 1.959_963_984_540_054,
            variance: 1.0,
            below: 0.0,
            above: 0.0,
        };
        close(quiet.z_score(ZERO).expect("z"), Z, 1e-12);
        close(quiet.p_value(ZERO).expect("p"), 0.05, 1e-9);
        // Noise alone, at its own 95 % limit.
        let noisy = Tested {
            value: -3.0,
            variance: 0.0,
            below: 1.0,
            above: 3.0,
        };
        close(noisy.z_score(ZERO).expect("z"), -Z, 1e-12);
        close(noisy.p_value(ZERO).expect("p"), 0.05, 1e-12);
        let both = Tested {
            value: 3.0,
            variance: 1.0,
            below: 2.0,
            above: 2.0,
        };
        let (z, p) = (both.z_score(ZERO), both.p_value(ZERO));
        assert!(z < quiet.z_score(ZERO).map(|z| z * 3.0 / Z) && p > Some(0.0));
        // On the logarithm: exp(1.96 · 0.1) with sd 0.1 of the logarithm.
        let value = (Z * 0.1).exp();
        let ratio = Tested {
            value,
            variance: (0.1 * value).powi(2),
            below: 0.0,
            above: 0.0,
        };
        close(ratio.z_score(ONE).expect("z"), Z, 1e-9);
        assert_eq!(
            Tested {
                value: -1.0,
                ..ratio
            }
            .z_score(ONE),
            None
        );
        let unknown = Tested {
            variance: f64::NAN,
            ..quiet
        };
        assert_eq!(unknown.p_value(ZERO), None);
    }
}
