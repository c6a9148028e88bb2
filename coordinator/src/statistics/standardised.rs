//! The directly standardised rate.

use super::{
    estimate::Estimate,
    rates::{PER, byar_high, byar_low},
};

/// `direct_rate(events, persons, weight [, per])` over age bands: (per/W) Σ wᵢ Oᵢ/nᵢ, with
/// sampling variance (per/W)² Σ wᵢ² Oᵢ/nᵢ², limits by Dobson: Byar's limits of all events,
/// scaled to the rate's variance. Bands of weight 0 are left out, as the standard does.
///
/// Nothing where a band of the standard has no persons, a weight is negative, or all are 0: a
/// standard population with a band missing is another standard.
///
/// Sources: Dobson, Kuulasmaa, Eberle and Scherer 1991, Statistics in Medicine 10, 457–462;
/// APHO Technical Briefing 3, 2008. Of no events Dobson has no scale; the largest wᵢ/nᵢ is
/// taken, as Fay and Feuer 1997 (Statistics in Medicine 16, 791–801) do.
pub(crate) fn direct_rate<'a>(rows: impl Iterator<Item = &'a [f64]>) -> Option<Estimate> {
    let (mut weights, mut rate, mut variance, mut events) = (0.0, 0.0, 0.0, 0.0);
    let mut heaviest = 0.0_f64;
    let mut per = None;
    for row in rows {
        let (&[count, persons, weight], own_per) = row.split_first_chunk::<3>()?;
        let own_per = own_per.first().copied().unwrap_or(PER);
        // A unit that changes from band to band is none.
        if own_per <= 0.0 || *per.get_or_insert(own_per) != own_per || weight < 0.0 {
            return None;
        }
        if weight == 0.0 {
            continue;
        }
        if persons <= 0.0 {
            return None;
        }
        let per_person = weight / persons;
        weights += weight;
        rate += per_person * count;
        variance += per_person * per_person * count;
        events += count;
        heaviest = heaviest.max(per_person);
    }
    let unit = per? / weights;
    if !unit.is_finite() {
        return None;
    }
    let value = unit * rate;
    let variance = unit * unit * variance.max(0.0);
    let possible = events.max(0.0);
    let scale = if possible > 0.0 && variance > 0.0 {
        (variance / possible).sqrt()
    } else {
        unit * heaviest
    };
    Some(Estimate {
        value,
        variance,
        low: value - scale * (possible - byar_low(possible)),
        high: value + scale * (byar_high(possible) - possible),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows: &[Vec<f64>]) -> Option<Estimate> {
        direct_rate(rows.iter().map(Vec::as_slice))
    }

    fn rows(events: &[f64], persons: &[f64], weights: &[f64]) -> Vec<Vec<f64>> {
        let both = events.iter().zip(persons).zip(weights);
        both.map(|((e, n), w)| vec![*e, *n, *w]).collect()
    }

    /// Public Health England's package `phe_stats` for Python, its test of `phe_dsr`; its upper
    /// limit by Byar is a little less than the formula's (see `rates.rs`), and so this one.
    #[test]
    fn as_public_health_england_computes_it() {
        let events = [
            50., 55., 55., 55., 60., 60., 65., 70., 70., 70., 70., 65., 60., 55., 50., 40., 25.,
            15., 10.,
        ];
        let persons = [
            509., 559., 559., 559., 609., 609., 659., 709., 709., 709., 709., 659., 609., 559.,
            509., 409., 259., 159., 109.,
        ];
        let european = [
            5000., 5500., 5500., 5500., 6000., 6000., 6500., 7000., 7000., 7000., 7000., 6500.,
            6000., 5500., 5000., 4000., 2500., 1500., 1000.,
        ];
        let rate = of(&rows(&events, &persons, &european)).expect("rate");
        assert!((rate.value - 9_832.763_039_564_017).abs() < 1e-6);
        assert!((rate.low - 9_232.668_299_548_477).abs() < 1e-6);
        assert!((rate.high - 10_461.617_599_552_04).abs() < 0.004);
    }

    /// Down's syndrome by mother's age, births of order 5 and later, Michigan 1950–1964 (Stark
    /// and Mantel 1966; Fleiss 1981, table 14.4; Fay and Feuer 1997). The figures are those of
    /// the vignette of the R package `dsrTest` 1.0: the rate, its normal limits (which give the
    /// variance), and Dobson's limits with exact Poisson limits where Byar's are here.
    #[test]
    fn fleiss_table_14_4() {
        let cases = [0., 8., 63., 112., 262., 295.];
        let births = [327., 30_666., 123_419., 149_919., 104_088., 34_392.];
        let standard = [319_933., 931_318., 786_511., 488_235., 237_863., 61_313.];
        let rate = of(&rows(&cases, &births, &standard)).expect("rate");
        assert!((rate.value - 75.529_01).abs() < 1e-5);
        let sd = (83.568_95 - 67.489_07) / (2.0 * super::super::estimate::Z);
        assert!((rate.variance.sqrt() - sd).abs() < 1e-5);
        assert!((rate.low - 67.632_84).abs() < 0.005, "{}", rate.low);
        assert!((rate.high - 83.867_03).abs() < 0.005, "{}", rate.high);
        // The unit is a factor.
        let per_million: Vec<Vec<f64>> = rows(&cases, &births, &standard)
            .into_iter()
            .map(|mut row| {
                row.push(1e6);
                row
            })
            .collect();
        let per_million = of(&per_million).expect("rate");
        assert!((per_million.value / rate.value - 10.0).abs() < 1e-9);
        assert!((per_million.high / rate.high - 10.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_standard_gives_nothing() {
        let (events, persons) = ([1.0, 2.0], [10.0, 20.0]);
        assert!(of(&rows(&events, &persons, &[1.0, 1.0])).is_some());
        assert!(of(&rows(&events, &persons, &[0.0, 0.0])).is_none());
        assert!(of(&rows(&events, &persons, &[2.0, -1.0])).is_none());
        assert!(of(&rows(&events, &[10.0, 0.0], &[1.0, 1.0])).is_none());
        assert!(of(&rows(&events, &[10.0, 0.0], &[1.0, 0.0])).is_some());
        assert!(of(&[vec![1.0, 10.0, 1.0, 100.0], vec![1.0, 10.0, 1.0, 1000.0]]).is_none());
        assert!(of(&[]).is_none());
        // No events: a rate of 0, and an upper limit that is not 0.
        let none = of(&rows(&[0.0, 0.0], &persons, &[1.0, 1.0])).expect("rate");
        assert_eq!((none.value, none.low), (0.0, 0.0));
        assert!(none.high > 0.0);
    }
}
