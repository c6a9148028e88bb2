//! What is true of the data of one region, counted exactly while they are written.

use serde_json::{Value, json};

use super::{
    details::Details,
    effects::{age_factor, rate_ratio, strengths},
    episodes::Episode,
    people::{LAST_YEAR, Person},
    regions::Region,
    vocabulary::{
        AGE_BANDS, END_DAY, FIRST_YEAR, Kind, MODES, PATHWAYS, QUESTIONS, RESPONDENTS, RISKS,
        SERVICES, SEXES, STEPS, YEARS, age_band, year_of_day,
    },
};

/// What before and after inclusion is counted of: the services, then three kinds of admission.
pub const MEASURES: [(&str, &str); 12] = [
    ("gp", "service = 'gp'"),
    ("home_nursing", "service = 'home_nursing'"),
    ("day_activity", "service = 'day_activity'"),
    ("outpatient", "service = 'outpatient'"),
    ("rehabilitation", "service = 'rehabilitation'"),
    ("short_term_stay", "service = 'short_term_stay'"),
    ("emergency_clinic", "service = 'emergency_clinic'"),
    ("acute_ward", "service = 'acute_ward'"),
    ("hospital_admission", "service = 'hospital_admission'"),
    (
        "acute_admission",
        "service = 'hospital_admission' AND urgent",
    ),
    (
        "elective_admission",
        "service = 'hospital_admission' AND NOT urgent",
    ),
    ("readmission", "readmission"),
];

const ACUTE: usize = 9;
const ELECTIVE: usize = 10;
const READMISSION: usize = 11;

/// Weeks from the first observed day; the last is not full.
const WEEKS: usize = 314;

/// A number of episodes and their cost in whole euros.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Use {
    episodes: u64,
    cost: i64,
}

impl Use {
    fn add(&mut self, cost: i32) {
        self.episodes += 1;
        self.cost += i64::from(cost);
    }

    fn json(self) -> Value {
        json!({"episodes": self.episodes, "cost": self.cost})
    }
}

/// Before and after, by measure.
type BothSides = [[Use; 2]; MEASURES.len()];

/// Counts over one region. Memory does not grow with its people, two bytes each apart.
#[derive(Debug, PartialEq, Eq)]
pub struct Truth {
    /// People by municipality, sex, age band and year, as an official table counts them.
    pub population: Vec<[[[u64; YEARS]; AGE_BANDS.len()]; 2]>,
    episodes_per_person: Vec<u16>,
    services: [Use; SERVICES.len()],
    municipalities: Vec<Use>,
    acute_by_age: [[[[u64; 2]; YEARS]; AGE_BANDS.len()]; 2],
    persons_with_three_acute: [u64; YEARS],
    identified: Vec<[[u64; 10]; 3]>,
    observed: Vec<[u64; 2]>,
    before_after: Vec<[BothSides; 2]>,
    steps: Vec<[[u64; 3]; STEPS.len()]>,
    active: Vec<[u64; 3]>,
    weekly_acute: Vec<u64>,
    answers: [[[u64; 5]; QUESTIONS.len()]; 2],
    modes: [[[u64; MODES.len()]; SERVICES.len()]; YEARS],
    travel: [i64; MODES.len()],
    waiting: [[u64; 366]; SERVICES.len()],
    same_clinician: [u64; SERVICES.len()],
}

impl Truth {
    /// Nothing counted yet.
    pub fn new(region: &Region) -> Self {
        let places = region.template.municipalities.len();
        let people = usize::try_from(region.persons).unwrap_or(usize::MAX);
        Self {
            population: vec![[[[0; YEARS]; AGE_BANDS.len()]; 2]; places],
            episodes_per_person: vec![0; people],
            services: Default::default(),
            municipalities: vec![Use::default(); places],
            acute_by_age: Default::default(),
            persons_with_three_acute: [0; YEARS],
            identified: vec![[[0; 10]; 3]; places],
            observed: vec![[0; 2]; places],
            before_after: vec![Default::default(); places],
            steps: vec![Default::default(); places],
            active: vec![[0; 3]; places],
            weekly_acute: vec![0; WEEKS],
            answers: Default::default(),
            modes: Default::default(),
            travel: [0; MODES.len()],
            waiting: [[0; 366]; SERVICES.len()],
            same_clinician: [0; SERVICES.len()],
        }
    }

    /// Counts a person, once.
    pub fn count_person(&mut self, person: &Person, details: &Details) {
        for year in 0..YEARS {
            if person.counted_in(year) {
                let band = age_band(person.age_in(FIRST_YEAR + year as i32));
                self.population[person.municipality][person.sex][band][year] += 1;
            }
        }
        if let Some(inclusion) = &person.inclusion {
            if inclusion.observed_on_both_sides() {
                self.observed[person.municipality][inclusion.pathway] += 1;
            }
            if inclusion.ended_on.is_none() && inclusion.pathway == 0 {
                self.active[person.municipality][inclusion.risk] += 1;
            }
        }
        for step in &details.steps {
            let counts = &mut self.steps[person.municipality][step.step];
            counts[0] += 1;
            counts[1] += u64::from(step.done_on.is_some());
            counts[2] += u64::from(step.done_on.is_some_and(|done| done <= step.due_on));
        }
        for survey in &details.surveys {
            let answer = usize::try_from(survey.answer - 1).unwrap_or(0).min(4);
            self.answers[survey.respondent][survey.question][answer] += 1;
        }
    }

    /// Counts the episodes that [`super::episodes::draw_year`] drew for a person and year.
    pub fn count_year(&mut self, person: &Person, year: usize, episodes: &[Episode]) {
        let mut acute = 0;
        if let Some(count) = usize::try_from(person.place)
            .ok()
            .and_then(|place| self.episodes_per_person.get_mut(place))
        {
            *count += u16::try_from(episodes.len()).unwrap_or(u16::MAX);
        }
        for episode in episodes {
            self.count_episode(person, episode);
            let is_acute = matches!(episode.kind, Kind::AcuteAdmission | Kind::Readmission);
            acute += usize::from(is_acute);
        }
        self.persons_with_three_acute[year] += u64::from(acute >= 3);
        let old = person.age_in(LAST_YEAR) >= 65;
        if year + 1 == YEARS && old && person.conditions >= 2 && !person.nursing_home() {
            for count in 0..acute.min(3) {
                self.identified[person.municipality][count][usize::from(person.frailty)] += 1;
            }
        }
    }

    fn count_episode(&mut self, person: &Person, episode: &Episode) {
        let service = episode.kind.service();
        let Some(year) = year_of_day(episode.start) else {
            return;
        };
        self.services[service].add(episode.cost);
        self.municipalities[person.municipality].add(episode.cost);
        self.modes[year][service][episode.mode] += 1;
        self.travel[episode.mode] += i64::from(episode.travel);
        self.same_clinician[service] += u64::from(episode.same_clinician);
        if let Some(place) = episode.waited.and_then(|days| usize::try_from(days).ok()) {
            self.waiting[service][place.min(365)] += 1;
        }
        let acute = matches!(episode.kind, Kind::AcuteAdmission | Kind::Readmission);
        let readmission = episode.kind == Kind::Readmission;
        if acute {
            let band = age_band(person.age_in(FIRST_YEAR + year as i32));
            let counts = &mut self.acute_by_age[person.sex][band][year];
            counts[0] += 1;
            counts[1] += u64::from(readmission);
        }
        let Some(inclusion) = &person.inclusion else {
            return;
        };
        let until = inclusion.ended_on.unwrap_or(END_DAY);
        if acute && (inclusion.included_on..until).contains(&episode.start) {
            let week = (episode.start - super::vocabulary::FIRST_DAY) / 7;
            if let Some(count) = usize::try_from(week)
                .ok()
                .and_then(|week| self.weekly_acute.get_mut(week))
            {
                *count += 1;
            }
        }
        if !inclusion.observed_on_both_sides() {
            return;
        }
        if let Some(side) = inclusion.side(episode.start) {
            let both = &mut self.before_after[person.municipality][inclusion.pathway];
            both[service][side].add(episode.cost);
            if acute {
                both[ACUTE][side].add(episode.cost);
            } else if episode.kind == Kind::ElectiveAdmission {
                both[ELECTIVE][side].add(episode.cost);
            }
            if readmission {
                both[READMISSION][side].add(episode.cost);
            }
        }
    }

    /// The number of people with at least one episode.
    pub fn persons_with_episodes(&self) -> u64 {
        self.episodes_per_person
            .iter()
            .filter(|&&count| count > 0)
            .count() as u64
    }

    /// The number of episodes.
    pub fn episodes(&self) -> u64 {
        self.services.iter().map(|service| service.episodes).sum()
    }

    /// Share of all episodes that the twentieth of people with the most of them have.
    pub fn share_of_top_twentieth(&self) -> f64 {
        let most = self.episodes_per_person.iter().copied().max().unwrap_or(0);
        let mut people_with = vec![0_u64; usize::from(most) + 1];
        for &count in &self.episodes_per_person {
            people_with[usize::from(count)] += 1;
        }
        let mut room = self.episodes_per_person.len() as u64 / 20;
        let mut episodes = 0;
        for (count, &people) in people_with.iter().enumerate().rev() {
            let taken = people.min(room);
            episodes += taken * count as u64;
            room -= taken;
        }
        episodes as f64 / (self.episodes().max(1)) as f64
    }

    /// Everything, for `truth.json`.
    pub fn json(&self, region: &Region) -> Value {
        let names: Vec<&str> = region
            .template
            .municipalities
            .iter()
            .map(|municipality| municipality.name)
            .collect();
        let by_name = |value: &dyn Fn(usize) -> Value| -> Value {
            names
                .iter()
                .enumerate()
                .map(|(place, name)| ((*name).to_owned(), value(place)))
                .collect()
        };
        json!({
            "label": region.template.label,
            "persons": region.persons,
            "parameters": parameters(region),
            "episodes": self.episodes(),
            "persons_with_episodes": self.persons_with_episodes(),
            "most_episodes_of_a_person": self.episodes_per_person.iter().max(),
            "share_of_top_twentieth": self.share_of_top_twentieth(),
            "by_service": named(&SERVICES, |service| self.services[service].json()),
            "by_municipality": by_name(&|place| self.municipalities[place].json()),
            "acute_admissions_and_readmissions_by_sex_age_year": named(&SEXES, |sex| {
                AGE_BANDS
                    .iter()
                    .zip(&self.acute_by_age[sex])
                    .map(|((band, _), years)| ((*band).to_owned(), json!(years)))
                    .collect()
            }),
            "persons_with_three_acute_admissions_by_year": self.persons_with_three_acute,
            "identified_2024_by_least_admissions_and_frailty":
                by_name(&|place| json!(self.identified[place])),
            "before_after": by_name(&|place| self.before_after_json(place)),
            "pathway_steps_due_done_in_time":
                by_name(&|place| named(&STEPS, |step| json!(self.steps[place][step]))),
            "active_at_end": by_name(&|place| named(&RISKS, |risk| json!(self.active[place][risk]))),
            "weekly_acute_admissions_of_included": self.weekly_acute,
            "answers": named(&RESPONDENTS, |respondent| {
                named(&QUESTIONS, |question| json!(self.answers[respondent][question]))
            }),
            "modes_by_year": (0..YEARS).map(|year| {
                named(&SERVICES, |service| named(&MODES, |mode| json!(self.modes[year][service][mode])))
            }).collect::<Vec<_>>(),
            "travel_km": self.travel.iter().map(|tenths| *tenths as f64 / 10.0).collect::<Vec<_>>(),
            "access": named(&SERVICES, |service| self.access_json(service, region)),
        })
    }

    fn before_after_json(&self, place: usize) -> Value {
        named(&PATHWAYS, |pathway| {
            let measures = MEASURES.map(|(name, _)| name);
            json!({
                "persons": self.observed[place][pathway],
                "measures": named(&measures, |measure| {
                    let [before, after] = self.before_after[place][pathway][measure];
                    json!({"before": before.json(), "after": after.json()})
                }),
            })
        })
    }

    fn access_json(&self, service: usize, region: &Region) -> Value {
        let waits = &self.waiting[service];
        let waited: u64 = waits.iter().sum();
        let within = usize::try_from(region.template.guarantee_days).unwrap_or(0);
        let mut below = 0;
        let median = waits.iter().position(|&count| {
            below += count;
            waited > 0 && 2 * below >= waited
        });
        json!({
            "waited": waited,
            "median_days": median,
            "within_guarantee": waits.iter().take(within + 1).sum::<u64>(),
            "same_clinician": self.same_clinician[service],
        })
    }
}

fn named(names: &[&str], value: impl Fn(usize) -> Value) -> Value {
    names
        .iter()
        .enumerate()
        .map(|(place, name)| ((*name).to_owned(), value(place)))
        .collect()
}

fn parameters(region: &Region) -> Value {
    let template = region.template;
    let ratios = |strength: f64| -> Value {
        Kind::ALL
            .iter()
            .map(|kind| (kind.name().to_owned(), json!(rate_ratio(*kind, strength))))
            .collect()
    };
    let strengths = strengths(template);
    json!({
        "use_level": template.use_level,
        "price_level": template.price_level,
        "waiting_level": template.waiting_level,
        "remote_share_2024": template.remote_share,
        "continuity_before_inclusion": template.continuity,
        "readmission_of_frailty_3": template.readmission,
        "share_of_eligible_included": template.inclusion,
        "guarantee_days": template.guarantee_days,
        "age_factor_at_80_in_last_year": age_factor(80),
        "last_year": LAST_YEAR,
        "rate_ratios": {PATHWAYS[0]: ratios(strengths[1]), PATHWAYS[1]: ratios(strengths[2])},
    })
}
