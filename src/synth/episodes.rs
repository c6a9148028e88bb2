//! What one person does in one calendar year.
//!
//! Use is a Poisson process whose rate follows age, frailty, the person's own level and the
//! effect of inclusion; it has no memory, so years are drawn by themselves, in any order. Only a
//! readmission looks back, at the stay of the same year that it follows.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;

use super::{
    effects::{HIGHEST_RATE, MOST_A_YEAR, MOST_SPONTANEOUS_A_YEAR, Mix, age_factor, frailty_class},
    people::Person,
    regions::{Region, choose},
    vocabulary::{FIRST_YEAR, Kind, YEAR_STARTS},
};

/// The most days of a stay.
pub const MOST_DAYS: i32 = 60;
/// The highest cost of an episode, in euros.
pub const HIGHEST_COST: i32 = 60_000;
/// The longest way of an episode, in tenths of a kilometre, there and back.
pub const LONGEST_TRAVEL: i32 = 8_000;
/// The longest wait, in days.
pub const LONGEST_WAIT: i32 = 365;

/// Share of contacts in each year, relative to 2024, that are distance-spanning.
pub const REMOTE_BY_YEAR: [f64; 6] = [0.25, 0.80, 0.90, 0.85, 0.92, 1.0];

/// A row of `episodes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Episode {
    /// Whose.
    pub patient_id: i64,
    /// Unique within the region.
    pub episode_id: i64,
    /// What.
    pub kind: Kind,
    /// The place in `MODES`.
    pub mode: usize,
    /// First day, as days since 1970-01-01.
    pub start: i32,
    /// Days in a bed; 0 for a contact.
    pub days: i32,
    /// Whole euros.
    pub cost: i32,
    /// Tenths of a kilometre, there and back.
    pub travel: i32,
    /// Days from referral to contact, for what is planned.
    pub waited: Option<i32>,
    /// Whether the person met the same clinician as the time before.
    pub same_clinician: bool,
}

/// Euros for a contact or an admission, and for each day of a stay, by kind.
pub const UNIT_COSTS: [(i32, i32); 11] = [
    (62, 0),
    (74, 0),
    (95, 0),
    (260, 0),
    (120, 215),
    (80, 290),
    (185, 0),
    (150, 640),
    (1_500, 1_150),
    (1_900, 1_050),
    (1_350, 1_150),
];

/// Adds the episodes of a person in a year (its place, from 0) to `out`.
pub fn draw_year(region: &Region, person: &Person, year: usize, out: &mut Vec<Episode>) {
    let calendar = FIRST_YEAR + year as i32;
    let begin = YEAR_STARTS[year];
    let end = YEAR_STARTS[year + 1].min(person.seen_until());
    if person.birth_year > calendar || end <= begin {
        return;
    }
    let mixes = &region.mixes[frailty_class(person.frailty)];
    let home = if person.nursing_home_before { 0.5 } else { 1.0 };
    let wanted = person.activity * home * age_factor(person.age_in(calendar));
    let level = wanted.min(HIGHEST_RATE / mixes[0].total);

    let mut draws = Draws {
        region,
        person,
        year,
        first: out.len(),
        end,
        stream: region.stream(person.place, 1 + year as u64),
        out,
    };
    let Some(inclusion) = &person.inclusion else {
        draws.segment(begin, end, level, &mixes[0]);
        return;
    };
    let from = inclusion.included_on.clamp(begin, end);
    let until = inclusion.effective_until().clamp(from, end);
    draws.segment(begin, from, level, &mixes[0]);
    draws.segment(from, until, level, &mixes[1 + inclusion.pathway]);
    draws.segment(until, end, level, &mixes[0]);
}

struct Draws<'a> {
    region: &'a Region,
    person: &'a Person,
    year: usize,
    /// Where this person's year begins in `out`.
    first: usize,
    /// The first day after this person's year.
    end: i32,
    stream: ChaCha8Rng,
    out: &'a mut Vec<Episode>,
}

impl Draws<'_> {
    /// Draws what begins in a run of days with one rate.
    fn segment(&mut self, begin: i32, end: i32, level: f64, mix: &Mix) {
        if end <= begin {
            return;
        }
        let mean = level * mix.total * f64::from(end - begin) / 365.25;
        for _ in 0..poisson(mean, self.stream.random()) {
            if self.out.len() - self.first >= MOST_SPONTANEOUS_A_YEAR {
                return;
            }
            let kind = Kind::ALL[choose(&mix.shares, self.stream.random())];
            let start = self.stream.random_range(begin..end);
            let days = self.add(kind, start);
            if matches!(kind, Kind::AcuteAdmission | Kind::ElectiveAdmission) {
                self.maybe_readmission(start + days);
            }
        }
    }

    /// A stay in hospital is followed by another within 30 days, now and then.
    fn maybe_readmission(&mut self, discharged: i32) {
        let draw: f64 = self.stream.random();
        let start = discharged + self.stream.random_range(1..30);
        let template = self.region.template;
        let frailer = 1.0 + 0.08 * (f64::from(self.person.frailty) - 3.0);
        let effect = match &self.person.inclusion {
            Some(inclusion)
                if (inclusion.included_on..inclusion.effective_until()).contains(&start) =>
            {
                let class = frailty_class(self.person.frailty);
                self.region.mixes[class][1 + inclusion.pathway].readmission
            }
            _ => 1.0,
        };
        // One that would fall into the next year is left out, so that years stay independent.
        if start < self.end
            && draw < template.readmission * frailer * effect
            && self.out.len() - self.first < MOST_A_YEAR
        {
            self.add(Kind::Readmission, start);
        }
    }

    /// Adds an episode; returns its days.
    fn add(&mut self, kind: Kind, start: i32) -> i32 {
        let template = self.region.template;
        let place = self.out.len() - self.first;
        let mode = self.mode(kind);
        let days = self.days(kind);
        let included = self.person.inclusion.as_ref().is_some_and(|inclusion| {
            (inclusion.included_on..inclusion.effective_until()).contains(&start)
        });
        let (fixed, daily) = UNIT_COSTS[kind as usize];
        let normal: f64 = self.stream.sample(StandardNormal);
        let remote = if mode == 0 { 1.0 } else { 0.6 };
        let cost = f64::from(fixed + daily * days)
            * template.price_level
            * remote
            * (0.22 * normal - 0.0242).exp();
        let municipality = &template.municipalities[self.person.municipality];
        let one_way = if kind.level() == 1 {
            municipality.hospital_km
        } else {
            municipality.centre_km
        };
        let travel = if mode == 0 {
            one_way * 20.0 * (0.6 + 0.8 * self.stream.random::<f64>())
        } else {
            0.0
        };
        let continuity = template.continuity + if included { 0.15 } else { 0.0 };
        let waited = self.wait(kind);
        let episode = Episode {
            patient_id: self.person.id(),
            // Room for 100 a year, more than MOST_A_YEAR.
            episode_id: self.person.id() * 1000 + (self.year * 100 + place) as i64,
            kind,
            mode,
            start,
            days,
            cost: (cost.round() as i32).min(HIGHEST_COST),
            travel: (travel.round() as i32).min(LONGEST_TRAVEL),
            waited,
            same_clinician: self.stream.random::<f64>() < continuity,
        };
        self.out.push(episode);
        days
    }

    fn mode(&mut self, kind: Kind) -> usize {
        // Cumulative shares of video and phone among what is distance-spanning; the rest is
        // monitoring at home.
        let (possible, video, phone) = match kind {
            Kind::Gp => (1.0, 0.35, 1.0),
            Kind::Outpatient => (0.8, 0.55, 0.9),
            Kind::HomeNursing => (0.5, 0.3, 0.3),
            Kind::Rehabilitation => (0.3, 0.7, 0.8),
            _ => return 0,
        };
        let share = self.region.template.remote_share * possible * REMOTE_BY_YEAR[self.year];
        if self.stream.random::<f64>() >= share {
            return 0;
        }
        let draw: f64 = self.stream.random();
        if draw < video {
            1
        } else if draw < phone {
            2
        } else {
            3
        }
    }

    fn days(&mut self, kind: Kind) -> i32 {
        let (least, mean) = match kind {
            Kind::Rehabilitation => (7, 9.0),
            Kind::ShortTermStay => (3, 13.0),
            Kind::AcuteWard => (1, 1.8),
            Kind::AcuteAdmission => (1, 3.6),
            Kind::ElectiveAdmission => (1, 2.4),
            Kind::Readmission => (1, 4.4),
            _ => return 0,
        };
        (least + self.exponential(mean)).min(MOST_DAYS)
    }

    fn wait(&mut self, kind: Kind) -> Option<i32> {
        let mean = match kind {
            Kind::Gp => 5.0,
            Kind::Outpatient => 42.0,
            Kind::ElectiveAdmission => 65.0,
            Kind::Rehabilitation => 21.0,
            _ => return None,
        };
        Some(
            self.exponential(mean * self.region.template.waiting_level)
                .min(LONGEST_WAIT),
        )
    }

    /// Whole days, exponentially distributed around a mean.
    fn exponential(&mut self, mean: f64) -> i32 {
        (-mean * (1.0 - self.stream.random::<f64>()).ln()).round() as i32
    }
}

/// The Poisson quantile of a draw from 0 to 1; for means up to a few hundred.
fn poisson(mean: f64, draw: f64) -> usize {
    let mut term = (-mean).exp();
    let mut sum = term;
    let mut count = 0;
    while draw >= sum && count < 4 * MOST_A_YEAR {
        count += 1;
        term *= mean / count as f64;
        sum += term;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poisson_quantiles() {
        // Of the distribution with mean 2: P(0) = 0.1353, P(≤ 1) = 0.4060, P(≤ 2) = 0.6767.
        assert_eq!(poisson(2.0, 0.135), 0);
        assert_eq!(poisson(2.0, 0.136), 1);
        assert_eq!(poisson(2.0, 0.5), 2);
        assert_eq!(poisson(0.0, 0.999), 0);
        let mean = (0..10_000)
            .map(|draw| poisson(9.5, f64::from(draw) / 10_000.0))
            .sum::<usize>();
        assert!((94_000..96_000).contains(&mean), "{mean}");
    }

    #[test]
    fn a_year_has_a_limit_and_ids_differ() {
        let region = Region::new(0, 2_000, 11);
        let mut rows = Vec::new();
        for place in 0..2_000 {
            let mut person = Person::draw(&region, place);
            person.activity *= 40.0;
            let before = rows.len();
            draw_year(&region, &person, 3, &mut rows);
            assert!(rows.len() - before <= MOST_A_YEAR);
        }
        let mut ids: Vec<i64> = rows.iter().map(|row| row.episode_id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), rows.len());
    }
}
