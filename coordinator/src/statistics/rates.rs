//! Counts, crude rates, shares, standardised ratios and means.

use super::{
    distribution::student_quantile,
    estimate::{Estimate, LEVEL, Z},
};

/// What rates are per, where nothing else is said: 100,000 persons or person-years.
pub(crate) const PER: f64 = 100_000.0;

/// Byar's lower limit of a Poisson count, O (1 − 1/(9O) − z/(3√O))³; 0 of nothing.
/// Source: Breslow and Day 1987, «Statistical methods in cancer research», volume II, IARC 82.
pub(crate) fn byar_low(count: f64) -> f64 {
    if count <= 0.0 {
        return 0.0;
    }
    let root = 1.0 - 1.0 / (9.0 * count) - Z / (3.0 * count.sqrt());
    count * root.max(0.0).powi(3)
}

/// Byar's upper limit of a Poisson count, (O+1) (1 − 1/(9(O+1)) + z/(3√(O+1)))³.
/// A count below 0, which only noise makes, is taken for 0.
pub(crate) fn byar_high(count: f64) -> f64 {
    let next = count.max(0.0) + 1.0;
    next * (1.0 - 1.0 / (9.0 * next) + Z / (3.0 * next.sqrt())).powi(3)
}

/// `event_count(events)`: a Poisson count with Byar's limits. The limits of a count that the
/// noise has made negative are those of 0, moved along with it.
pub(crate) fn event_count(events: f64) -> Estimate {
    let possible = events.max(0.0);
    Estimate {
        value: events,
        variance: possible,
        low: events - (possible - byar_low(possible)),
        high: events + (byar_high(possible) - possible),
    }
}

/// `crude_rate(events, persons, per)`: per · O/n, limits by Byar. Nothing without persons.
pub(crate) fn crude_rate(events: f64, persons: f64, per: f64) -> Option<Estimate> {
    let fits = persons > 0.0 && per > 0.0;
    fits.then(|| event_count(events).times(per / persons))
}

/// `standardised_ratio(observed, expected)`: O/E, limits by Byar. Nothing where nothing is
/// expected. Source: Breslow and Day 1987, chapter 2.
pub(crate) fn standardised_ratio(observed: f64, expected: f64) -> Option<Estimate> {
    (expected > 0.0).then(|| event_count(observed).times(1.0 / expected))
}

/// `share(part, whole)`: p = x/n, limits by Wilson's score method, which stay in 0 to 1.
/// Sources: Wilson 1927, JASA 22, 209–212; APHO Technical Briefing 3, 2008.
pub(crate) fn share(part: f64, whole: f64) -> Option<Estimate> {
    if whole <= 0.0 {
        return None;
    }
    let value = part / whole;
    let possible = value.clamp(0.0, 1.0);
    let variance = possible * (1.0 - possible) / whole;
    let middle = possible + Z * Z / (2.0 * whole);
    let half_width = Z * (variance + Z * Z / (4.0 * whole * whole)).sqrt();
    let scale = 1.0 + Z * Z / whole;
    let low = (middle - half_width) / scale;
    let high = (middle + half_width) / scale;
    Some(Estimate {
        value,
        variance,
        // As with counts: a value that noise has put outside takes its limits along.
        low: value - (possible - low).max(0.0),
        high: value + (high - possible).max(0.0),
    })
}

/// `sample_mean(average, variance, rows)`: limits average ± t s/√n with n − 1 degrees of
/// freedom. Nothing of fewer than two rows. Source: APHO Technical Briefing 3, 2008.
pub(crate) fn sample_mean(average: f64, variance: f64, rows: f64) -> Option<Estimate> {
    if rows < 2.0 {
        return None;
    }
    let variance = variance.max(0.0) / rows;
    let half_width = student_quantile(LEVEL, rows - 1.0) * variance.sqrt();
    Some(Estimate {
        value: average,
        variance,
        low: average - half_width,
        high: average + half_width,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64) {
        assert!(
            (got - want).abs() <= 1e-9 * want.abs().max(1.0),
            "{got} {want}"
        );
    }

    /// Public Health England's package `phe_stats` for Python, its tests: `byars(100)`,
    /// `phe_rate(100, 10000, 100000)`, `wilson(100, 10000)` (in percent there). Its upper limit
    /// by Byar is 121.6246, less by 0.003 than the formula that it cites gives; the Ruby package
    /// `byar` documents 121.628347 at z = 1.96, which is the formula's.
    #[test]
    fn as_public_health_england_computes_them() {
        close(byar_low(100.0), 81.362_105_490_527_88);
        assert!((byar_high(100.0) - 121.624_587_555).abs() < 0.004);
        assert!((byar_high(100.0) - 121.628_347_272).abs() < 0.000_5);
        let rate = crude_rate(100.0, 10_000.0, 100_000.0).expect("rate");
        close(rate.value, 1_000.0);
        close(rate.low, 813.621_054_905_278_9);
        close(rate.high, byar_high(100.0) * 10.0);
        let share = share(100.0, 10_000.0).expect("share");
        close(100.0 * share.low, 0.822_933_614_814_841_7);
        close(100.0 * share.high, 1.214_698_225_511_464_7);
        // phe_proportion(100, 1000).
        let share = super::share(100.0, 1_000.0).expect("share");
        close(100.0 * share.low, 8.290_944_359_309_57);
        close(100.0 * share.high, 12.015_196_319_534_84);
    }

    /// R package `epitools`, `pois.byar`'s companion `pois.exact`: the exact limits of 10 are
    /// 4.795389 and 18.39036 (Garwood 1936), of 100 81.36398 and 121.6270; Byar comes within 1 %.
    #[test]
    fn byar_is_close_to_exact() {
        for (count, low, high) in [(10.0, 4.795_389, 18.390_36), (100.0, 81.363_98, 121.627_0)] {
            assert!((byar_low(count) / low - 1.0).abs() < 0.01);
            assert!((byar_high(count) / high - 1.0).abs() < 0.01);
        }
        assert_eq!(byar_low(0.0), 0.0);
        assert_eq!(byar_low(0.05), 0.0);
    }

    #[test]
    fn what_noise_makes_impossible_keeps_its_place_and_has_limits_around_it() {
        for estimate in [event_count(-7.0), share(-7.0, 100.0).expect("share")] {
            assert!(estimate.low <= estimate.value && estimate.value < estimate.high);
        }
        let over = share(103.0, 100.0).expect("share");
        assert_eq!(over.value, 1.03);
        assert!(over.low < over.value && over.value <= over.high);
        assert_eq!(crude_rate(5.0, 0.0, PER), None);
        assert_eq!(crude_rate(5.0, 10.0, -1.0), None);
        assert_eq!(standardised_ratio(5.0, 0.0), None);
        assert_eq!(share(1.0, -2.0), None);
        assert_eq!(sample_mean(5.0, 1.0, 1.0), None);
    }

    /// APHO Technical Briefing 3: a mean's limits are by Student's t, here t with 4 degrees of
    /// freedom, 2.776445 (R: `t.test(1:5)$conf.int` gives 1.036757 and 4.963243).
    #[test]
    fn a_mean_of_five() {
        let mean = sample_mean(3.0, 2.5, 5.0).expect("mean");
        assert!((mean.low - 1.036_757).abs() < 1e-6);
        assert!((mean.high - 4.963_243).abs() < 1e-6);
    }
}
