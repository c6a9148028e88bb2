//! A person's conditions, and of the included the steps of the pathway and the answers to
//! surveys.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{
    people::{LAST_YEAR, Person},
    regions::{Region, choose},
    vocabulary::{CONDITIONS, END_DAY, QUESTIONS, STEPS, YEAR_STARTS},
};

/// Of a person's random numbers, the stream of these tables.
const DETAILS: u64 = 7;

/// The most evaluations in one pathway: one each half year.
const MOST_EVALUATIONS: i32 = 9;

/// The earliest day since when a condition is recorded: 2000-01-01.
pub const FIRST_CONDITION: i32 = 10_957;

/// A row of `conditions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Whose.
    pub patient_id: i64,
    /// The place in `CONDITIONS`.
    pub code: usize,
    /// The day of its first record, as days since 1970-01-01.
    pub since: i32,
}

/// A row of `pathway_steps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Whose.
    pub patient_id: i64,
    /// The place in `STEPS`.
    pub step: usize,
    /// The day by which it should be done.
    pub due_on: i32,
    /// The day on which it was, if it was.
    pub done_on: Option<i32>,
}

/// A row of `surveys`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Survey {
    /// Whom the answer is about.
    pub patient_id: i64,
    /// The day of the question.
    pub asked_on: i32,
    /// The place in `RESPONDENTS`.
    pub respondent: usize,
    /// The place in `QUESTIONS`.
    pub question: usize,
    /// 1, very discontent, to 5, very content.
    pub answer: i32,
}

/// What these tables say of one person.
#[derive(Debug, Default)]
pub struct Details {
    /// Different conditions.
    pub conditions: Vec<Condition>,
    /// Steps of the pathway, in time.
    pub steps: Vec<Step>,
    /// Answers.
    pub surveys: Vec<Survey>,
}

impl Details {
    /// Draws the details of a person; what `self` held is dropped, its memory is used again.
    pub fn draw(&mut self, region: &Region, person: &Person, condition_shares: &[f64]) {
        self.conditions.clear();
        self.steps.clear();
        self.surveys.clear();
        if person.conditions == 0 && person.inclusion.is_none() {
            return;
        }
        let mut stream = region.stream(person.place, DETAILS);
        self.draw_conditions(person, condition_shares, &mut stream);
        self.draw_steps(region, person, &mut stream);
        self.draw_surveys(region, person, &mut stream);
    }

    fn draw_conditions(&mut self, person: &Person, shares: &[f64], stream: &mut ChaCha8Rng) {
        let born = YEAR_STARTS[0] + (person.birth_year - 2019) * 365;
        // Conditions that matter for inclusion are there before it can happen.
        let last = YEAR_STARTS[1].max(born + 1);
        let first = FIRST_CONDITION.max(last - 15 * 365).max(born);
        for _ in 0..person.conditions {
            let mut code = choose(shares, stream.random());
            while self
                .conditions
                .iter()
                .any(|condition| condition.code == code)
            {
                code = (code + 1) % CONDITIONS.len();
            }
            self.conditions.push(Condition {
                patient_id: person.id(),
                code,
                since: stream.random_range(first..last.min(END_DAY).max(first + 1)),
            });
        }
    }

    fn draw_steps(&mut self, region: &Region, person: &Person, stream: &mut ChaCha8Rng) {
        let Some(inclusion) = &person.inclusion else {
            return;
        };
        // Steps, each with its deadline in days from inclusion; then half-yearly evaluations.
        let deadlines: &[(usize, i32)] = if inclusion.pathway == 0 {
            &[(0, 0), (1, 7), (2, 14), (3, 30)]
        } else {
            &[(0, 0), (1, 2), (2, 5)]
        };
        let evaluations = if inclusion.pathway == 0 {
            MOST_EVALUATIONS
        } else {
            0
        };
        let all = deadlines
            .iter()
            .copied()
            .chain((1..=evaluations).map(|half_year| (4, half_year * 182)));
        let until = inclusion.ended_on.unwrap_or(END_DAY);
        // Municipalities differ in how much they manage; which ones is no secret.
        let diligence = 0.72 + 0.05 * ((person.municipality * 7 + region.id.len()) % 5) as f64;
        for (step, after) in all {
            let due_on = inclusion.included_on + after;
            if due_on >= until {
                break;
            }
            let easier = if STEPS[step] == "evaluation" {
                0.85
            } else {
                1.08
            };
            let in_time = stream.random::<f64>() < (diligence * easier).min(0.98);
            let slack: f64 = stream.random();
            let done = if in_time {
                due_on - (slack * f64::from(after.min(14))) as i32
            } else {
                due_on + 1 + (-20.0 * (1.0 - slack).ln()) as i32
            };
            // Of what is late, a part is never done.
            let never = !in_time && stream.random::<f64>() < 0.25;
            self.steps.push(Step {
                patient_id: person.id(),
                step,
                due_on,
                done_on: (!never && done < until).then_some(done),
            });
        }
    }

    fn draw_surveys(&mut self, region: &Region, person: &Person, stream: &mut ChaCha8Rng) {
        let Some(inclusion) = &person.inclusion else {
            return;
        };
        let asked_on = inclusion.included_on + 90;
        if asked_on >= person.seen_until() {
            return;
        }
        for (respondent, answering) in [(0, 0.45), (1, 0.30)] {
            if stream.random::<f64>() >= answering {
                continue;
            }
            for question in 0..QUESTIONS.len() {
                // About as at the hospital that the model comes from: three in five very
                // content, a third content, few others.
                let shift = region.template.continuity - 0.5 - 0.03 * question as f64;
                let draw = stream.random::<f64>() + 0.4 * shift;
                let answer = match draw {
                    ..0.02 => 1,
                    0.02..0.05 => 2,
                    0.05..0.12 => 3,
                    0.12..0.45 => 4,
                    _ => 5,
                };
                self.surveys.push(Survey {
                    patient_id: person.id(),
                    asked_on,
                    respondent,
                    question,
                    answer,
                });
            }
        }
    }
}

/// The range of `conditions.since`, as days since 1970-01-01.
pub const CONDITION_DAYS: (i32, i32) = (FIRST_CONDITION, YEAR_STARTS[5] + 366);

/// The range of `birth_year`.
pub const BIRTH_YEARS: (i32, i32) = (LAST_YEAR - super::regions::OLDEST, LAST_YEAR);
