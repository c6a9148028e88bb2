//! How often people use each service, and what inclusion changes.

use super::{regions::cumulative, templates::Template, vocabulary::Kind};

/// Episodes a year by class of frailty (1–2, 3, 4–5, 6–7, 8–9) and [`Kind`], before factors of
/// age, person and region.
const RATES: [[f64; Kind::SPONTANEOUS]; 5] = [
    [
        0.55, 0.01, 0.003, 0.30, 0.010, 0.001, 0.10, 0.004, 0.04, 0.025,
    ],
    [1.00, 0.10, 0.02, 0.55, 0.03, 0.01, 0.15, 0.01, 0.08, 0.04],
    [2.40, 2.00, 0.50, 1.20, 0.15, 0.15, 0.40, 0.08, 0.28, 0.12],
    [3.20, 6.00, 1.20, 1.40, 0.25, 0.50, 0.70, 0.20, 0.60, 0.15],
    [3.00, 9.00, 0.80, 0.80, 0.10, 0.80, 0.70, 0.25, 0.70, 0.10],
];

/// The ratio of rates that full inclusion has on each [`Kind`], readmissions last: theirs is on
/// the probability after a stay in hospital.
const RATE_RATIOS: [f64; 11] = [
    1.15, 1.35, 1.60, 1.10, 1.25, 0.75, 0.70, 0.72, 0.70, 1.00, 0.78,
];

/// Strength of the effect of the pathway "enhanced return home" beside the integrated service.
pub const RETURN_HOME_STRENGTH: f64 = 0.5;

/// Days for which "enhanced return home" has its effect, from inclusion.
pub const RETURN_HOME_DAYS: i32 = 182;

/// The most episodes that one person has in one calendar year, readmissions included; six years
/// stay below the 400 rows that the policy declares.
pub const MOST_A_YEAR: usize = 66;

/// The most that come about by themselves, so that there is room for readmissions.
pub const MOST_SPONTANEOUS_A_YEAR: usize = 60;

/// The highest rate a year that a person has.
pub const HIGHEST_RATE: f64 = 34.0;

/// Episodes a year and which they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    /// Episodes a year.
    pub total: f64,
    /// Cumulative shares by [`Kind`]; the last is 1.
    pub shares: [f64; Kind::SPONTANEOUS],
    /// Factor on the probability of readmission.
    pub readmission: f64,
}

/// The ratio of rates for a kind and an effect's strength.
pub fn rate_ratio(kind: Kind, strength: f64) -> f64 {
    RATE_RATIOS[kind as usize].powf(strength)
}

/// The strength of the effect in a region: of nothing, of the integrated service, of "enhanced
/// return home".
pub fn strengths(template: &Template) -> [f64; 3] {
    [0.0, template.effect, template.effect * RETURN_HOME_STRENGTH]
}

/// Use by class of frailty and by [`strengths`].
pub fn mixes(template: &Template) -> [[Mix; 3]; 5] {
    RATES.map(|rates| {
        strengths(template).map(|strength| {
            let mut with_effect = rates;
            for (rate, kind) in with_effect.iter_mut().zip(Kind::ALL) {
                *rate *= rate_ratio(kind, strength);
            }
            let mut shares = [0.0; Kind::SPONTANEOUS];
            for (place, share) in shares.iter_mut().zip(cumulative(&with_effect)) {
                *place = share;
            }
            Mix {
                total: with_effect.iter().sum(),
                shares,
                readmission: rate_ratio(Kind::Readmission, strength),
            }
        })
    })
}

/// The place in the tables above of a frailty from 1 to 9.
pub fn frailty_class(frailty: u8) -> usize {
    match frailty {
        ..=2 => 0,
        3 => 1,
        4..=5 => 2,
        6..=7 => 3,
        _ => 4,
    }
}

/// How much more or less people of an age use than their frailty says.
pub fn age_factor(age: i32) -> f64 {
    match age {
        ..=0 => 1.6,
        1..=17 => 0.7,
        18..=44 => 0.8,
        45..=64 => 1.0,
        65..=79 => 1.2,
        _ => 1.35,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::templates::TEMPLATES;

    #[test]
    fn inclusion_lowers_reactive_and_raises_preventive_services() {
        for kind in Kind::ALL {
            let ratio = rate_ratio(kind, 1.0);
            match kind {
                Kind::ElectiveAdmission => assert!((ratio - 1.0).abs() < 1e-12),
                Kind::Gp
                | Kind::HomeNursing
                | Kind::DayActivity
                | Kind::Outpatient
                | Kind::Rehabilitation => assert!(ratio > 1.0),
                _ => assert!(ratio < 1.0),
            }
        }
    }

    #[test]
    fn the_mix_of_no_effect_is_the_table() {
        let mixes = mixes(&TEMPLATES[0]);
        assert!((mixes[1][0].total - 1.99).abs() < 1e-9);
        assert!((mixes[1][0].shares[0] - 1.0 / 1.99).abs() < 1e-9);
    }
}
