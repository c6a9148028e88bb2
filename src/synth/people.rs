//! A person: everything about them that does not change from day to day.

use rand::Rng;
use rand_distr::StandardNormal;

use super::{
    inclusion::Inclusion,
    regions::{OLDEST, Region, choose},
    vocabulary::{AGE_BANDS, END_DAY, END_REASONS, FIRST_YEAR, YEAR_STARTS, YEARS},
};

/// The last calendar year that is observed.
pub const LAST_YEAR: i32 = FIRST_YEAR + YEARS as i32 - 1;

/// Standard deviation of the logarithm of how much people use: what makes the tail long.
pub const ACTIVITY_SPREAD: f64 = 0.9;

/// Brings the mean number of episodes a person to about 10 in six years.
const CALIBRATION: f64 = 0.98;

/// The most conditions that a person has.
pub const MOST_CONDITIONS: u32 = 8;

/// Of a person's random numbers, the stream that says who they are.
const WHO: u64 = 0;

/// A synthetic person.
#[derive(Debug, Clone, PartialEq)]
pub struct Person {
    /// The place in the region, from 0; the id is one more.
    pub place: u64,
    /// The place in the region's list of municipalities.
    pub municipality: usize,
    /// The place in `SEXES`.
    pub sex: usize,
    /// Year of birth.
    pub birth_year: i32,
    /// Clinical Frailty Scale, 1 to 9.
    pub frailty: u8,
    /// Whether the person lived in a nursing home before any inclusion.
    pub nursing_home_before: bool,
    /// How many times the usual use of their age and frailty this person has.
    pub activity: f64,
    /// How many chronic conditions.
    pub conditions: u32,
    /// The pathway they are or were on.
    pub inclusion: Option<Inclusion>,
}

impl Person {
    /// Draws the person at a place of a region.
    pub fn draw(region: &Region, place: u64) -> Self {
        let mut stream = region.stream(place, WHO);
        let municipality = choose(&region.municipality_shares, stream.random());
        let sex = usize::from(stream.random::<f64>() >= 0.505);
        let band = choose(&region.age_shares, stream.random());
        let youngest = AGE_BANDS[band].1;
        let after = AGE_BANDS.get(band + 1).map_or(OLDEST + 1, |next| next.1);
        let age = stream.random_range(youngest..after);
        let frailty = draw_frailty(age, stream.sample(StandardNormal));
        let nursing_home_before =
            age >= 72 && frailty >= 6 && stream.random::<f64>() < 0.15 * f64::from(frailty - 5);
        let normal: f64 = stream.sample(StandardNormal);
        let activity = (ACTIVITY_SPREAD * (normal - ACTIVITY_SPREAD / 2.0)).exp()
            * region.template.use_level
            * CALIBRATION;
        let conditions = draw_conditions(age, frailty, stream.random());
        let mut person = Self {
            place,
            municipality,
            sex,
            birth_year: LAST_YEAR - age,
            frailty,
            nursing_home_before,
            activity,
            conditions,
            inclusion: None,
        };
        person.inclusion = Inclusion::draw(region, &person, &mut stream);
        person
    }

    /// The id, unique within the region.
    pub fn id(&self) -> i64 {
        i64::try_from(self.place).map_or(i64::MAX, |place| place.saturating_add(1))
    }

    /// Age in full years at the end of a calendar year; negative before birth.
    pub fn age_in(&self, year: i32) -> i32 {
        year - self.birth_year
    }

    /// The first day on which the person is no longer seen: they died, moved, or the data end.
    pub fn seen_until(&self) -> i32 {
        self.inclusion
            .as_ref()
            .filter(|inclusion| inclusion.gone())
            .and_then(|inclusion| inclusion.ended_on)
            .unwrap_or(END_DAY)
    }

    /// Whether the person lives in a nursing home when the data end.
    pub fn nursing_home(&self) -> bool {
        self.nursing_home_before
            || self
                .inclusion
                .as_ref()
                .and_then(|inclusion| inclusion.end_reason)
                .is_some_and(|reason| END_REASONS[reason] == "nursing_home")
    }

    /// Whether the person is in the population tables of the place of a year: born by then, and
    /// still there on its first of January.
    pub fn counted_in(&self, year: usize) -> bool {
        let calendar = FIRST_YEAR + year as i32;
        self.birth_year <= calendar && self.seen_until() > YEAR_STARTS[year]
    }
}

/// Clinical Frailty Scale, which rises with age.
fn draw_frailty(age: i32, normal: f64) -> u8 {
    let (middle, spread) = match age {
        ..=39 => (1.1, 0.6),
        40..=64 => (1.6, 0.8),
        65..=74 => (2.5, 1.1),
        75..=84 => (3.5, 1.3),
        _ => (4.8, 1.4),
    };
    // Within 1 to 9 after the clamp.
    (middle + spread * normal).round().clamp(1.0, 9.0) as u8
}

/// How many chronic conditions: geometric, more for the old and the frail.
fn draw_conditions(age: i32, frailty: u8, draw: f64) -> u32 {
    let mean = match age {
        ..=39 => 0.15,
        40..=64 => 0.7,
        65..=79 => 1.6,
        _ => 2.2,
    } * (0.7 + 0.25 * f64::from(frailty.min(7)));
    let again = mean / (1.0 + mean);
    let count = (1.0 - draw).ln() / again.ln();
    (count as u32).min(MOST_CONDITIONS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_plausible() {
        let region = Region::new(3, 20_000, 7);
        let people: Vec<Person> = (0..20_000)
            .map(|place| Person::draw(&region, place))
            .collect();
        let share = |test: &dyn Fn(&Person) -> bool| {
            people.iter().filter(|person| test(person)).count() as f64 / 20_000.0
        };
        assert!((0.49..0.52).contains(&share(&|person| person.sex == 0)));
        let old = share(&|person| person.age_in(LAST_YEAR) >= 65);
        assert!((0.18..0.30).contains(&old), "{old}");
        assert!(share(&|person| person.frailty <= 2) > 0.6);
        let included = share(&|person| person.inclusion.is_some());
        assert!((0.008..0.05).contains(&included), "{included}");
        for person in &people {
            assert!((1..=9).contains(&person.frailty));
            assert!((1920..=LAST_YEAR).contains(&person.birth_year));
        }
    }

    #[test]
    fn the_old_and_frail_have_more_conditions() {
        let mean = |age, frailty| {
            (0..1000)
                .map(|draw| draw_conditions(age, frailty, f64::from(draw) / 1000.0))
                .sum::<u32>()
        };
        assert!(mean(30, 1) < mean(50, 2));
        assert!(mean(50, 2) < mean(85, 6));
    }
}
