//! Who is taken into an integrated service, when, and how it ends.
//!
//! Eligible, as at the hospital that the model comes from: 65 or older, several chronic
//! conditions, frailty 4 to 7, not in a nursing home, living in a participating municipality.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    effects::RETURN_HOME_DAYS,
    people::Person,
    regions::Region,
    vocabulary::{END_DAY, END_REASONS, FIRST_YEAR, YEAR_STARTS, year_of_day},
};

/// The first day of inclusion: 2020-01-01, so that the year before is always observed.
pub const FIRST_INCLUSION: i32 = YEAR_STARTS[1];

/// The first day on which nobody is included any more: 2024-07-01.
pub const LAST_INCLUSION: i32 = YEAR_STARTS[5] + 182;

/// Share of the included who follow "enhanced return home".
pub const RETURN_HOME_SHARE: f64 = 0.3;

/// Mean years in the integrated service before it ends for any reason.
const MEAN_YEARS: f64 = 3.2;

/// Cumulative shares of the reasons for which the integrated service ends, as in `END_REASONS`.
const REASON_SHARES: [f64; 5] = [0.08, 0.34, 0.50, 0.62, 1.0];

/// A person's time on a pathway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inclusion {
    /// The place in `PATHWAYS`: 0 integrated, 1 enhanced return home.
    pub pathway: usize,
    /// The place in `RISKS`.
    pub risk: usize,
    /// The day of inclusion, as days since 1970-01-01.
    pub included_on: i32,
    /// The day on which it ended, if it has.
    pub ended_on: Option<i32>,
    /// The place in `END_REASONS`, if it has ended.
    pub end_reason: Option<usize>,
}

impl Inclusion {
    /// Draws whether and how a person is included.
    pub fn draw(region: &Region, person: &Person, stream: &mut ChaCha8Rng) -> Option<Self> {
        let municipality = &region.template.municipalities[person.municipality];
        let eligible = municipality.participating
            && person.conditions >= 2
            && (4..=7).contains(&person.frailty)
            && !person.nursing_home_before;
        // Those who use more are found more easily. Their use is as high before as it would be
        // after, so that a before-and-after picture shows the effect and no return to the mean.
        let found = (person.activity / region.template.use_level).clamp(0.4, 1.6);
        if !eligible || stream.random::<f64>() >= region.template.inclusion * found {
            return None;
        }
        let included_on = stream.random_range(FIRST_INCLUSION..LAST_INCLUSION);
        let year = year_of_day(included_on).map_or(FIRST_YEAR, |year| FIRST_YEAR + year as i32);
        if person.age_in(year) < 65 {
            return None;
        }
        let pathway = usize::from(stream.random::<f64>() < RETURN_HOME_SHARE);
        let risk = match (person.frailty, person.activity > region.template.use_level) {
            (..=4, false) => 0,
            (..=4, true) | (5, false) => 1,
            _ => 2,
        };
        let (ended, reason) = if pathway == 0 {
            let years = -MEAN_YEARS * (1.0 - stream.random::<f64>()).ln();
            let reason = super::regions::choose(&REASON_SHARES, stream.random());
            (included_on + 7 + (years * 365.25) as i32, reason)
        } else {
            let reason = if stream.random::<f64>() < 0.04 { 4 } else { 5 };
            (included_on + stream.random_range(7..=42), reason)
        };
        let over = ended < END_DAY;
        Some(Self {
            pathway,
            risk,
            included_on,
            ended_on: over.then_some(ended),
            end_reason: over.then_some(reason),
        })
    }

    /// Whether the person is no longer seen after the end: moved or died.
    pub fn gone(&self) -> bool {
        self.end_reason
            .is_some_and(|reason| matches!(END_REASONS[reason], "moved" | "died"))
    }

    /// The first day without the effect on use.
    pub fn effective_until(&self) -> i32 {
        if self.pathway == 0 {
            self.ended_on.unwrap_or(END_DAY)
        } else {
            self.included_on + RETURN_HOME_DAYS
        }
    }

    /// Whether the 365 days before and the 365 days from inclusion are both observed.
    pub fn observed_on_both_sides(&self) -> bool {
        let gone_on = self.ended_on.filter(|_| self.gone()).unwrap_or(END_DAY);
        self.included_on + 365 <= gone_on.min(END_DAY)
    }

    /// 0 for a day within the 365 days before inclusion, 1 for one within the 365 days from it.
    pub fn side(&self, day: i32) -> Option<usize> {
        match day - self.included_on {
            -365..=-1 => Some(0),
            0..=364 => Some(1),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::synth::vocabulary::FIRST_DAY;

    #[test]
    fn inclusions_keep_the_rules() {
        let region = Region::new(2, 30_000, 3);
        let included: Vec<(Person, Inclusion)> = (0..30_000)
            .map(|place| Person::draw(&region, place))
            .filter_map(|person| person.inclusion.map(|inclusion| (person, inclusion)))
            .collect();
        assert!(included.len() > 100, "{}", included.len());
        let mut both = 0;
        for (person, inclusion) in &included {
            assert!(inclusion.included_on - 365 >= FIRST_DAY);
            assert!(
                inclusion
                    .ended_on
                    .is_none_or(|day| day > inclusion.included_on)
            );
            assert_eq!(inclusion.ended_on.is_some(), inclusion.end_reason.is_some());
            let year = FIRST_YEAR + year_of_day(inclusion.included_on).unwrap() as i32;
            assert!(person.age_in(year) >= 65 && person.conditions >= 2);
            assert!(region.template.municipalities[person.municipality].participating);
            both += usize::from(inclusion.observed_on_both_sides());
        }
        assert!(both * 2 > included.len());
    }

    #[test]
    fn windows_have_365_days_each() {
        let inclusion = Inclusion {
            pathway: 0,
            risk: 0,
            included_on: 19_000,
            ended_on: None,
            end_reason: None,
        };
        let days = |side| {
            (18_000..20_000)
                .filter(|&day| inclusion.side(day) == Some(side))
                .count()
        };
        assert_eq!((days(0), days(1)), (365, 365));
    }
}
