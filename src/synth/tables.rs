//! The private tables of the common model as rows and columns.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BooleanArray, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    },
    error::ArrowError,
};

use super::{
    details::{Condition, Step, Survey},
    episodes::Episode,
    inclusion::Inclusion,
    people::Person,
    regions::Region,
    vocabulary::{
        CONDITIONS, END_REASONS, LEVELS, MODES, PATHWAYS, QUESTIONS, RESPONDENTS, RISKS, SERVICES,
        SEXES, STEPS,
    },
    write::{Row, batch_of, coded, words},
};

/// The words of one or more coded columns, in the columns' order.
pub struct Words<const N: usize>([ArrayRef; N]);

fn integers<R>(rows: &[R], value: impl Fn(&R) -> i32) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(rows.iter().map(value)))
}

fn identifiers<R>(rows: &[R], value: impl Fn(&R) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(value)))
}

fn numbers<R>(rows: &[R], value: impl Fn(&R) -> f64) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(rows.iter().map(value)))
}

fn dates<R>(rows: &[R], value: impl Fn(&R) -> i32) -> ArrayRef {
    Arc::new(Date32Array::from_iter_values(rows.iter().map(value)))
}

fn optional_dates<R>(rows: &[R], value: impl Fn(&R) -> Option<i32>) -> ArrayRef {
    Arc::new(rows.iter().map(value).collect::<Date32Array>())
}

fn truths<R>(rows: &[R], value: impl Fn(&R) -> bool) -> ArrayRef {
    Arc::new(
        rows.iter()
            .map(|row| Some(value(row)))
            .collect::<BooleanArray>(),
    )
}

impl Row for Person {
    type Words = Words<2>;
    const TABLE: &'static str = "patients";

    fn batch(words: &Words<2>, rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        let Words([municipalities, sexes]) = words;
        let municipality = rows.iter().map(|row| Some(row.municipality));
        batch_of(vec![
            ("patient_id", false, identifiers(rows, Self::id)),
            ("municipality", false, coded(municipalities, municipality)?),
            (
                "sex",
                false,
                coded(sexes, rows.iter().map(|row| Some(row.sex)))?,
            ),
            ("birth_year", false, integers(rows, |row| row.birth_year)),
            (
                "frailty",
                false,
                integers(rows, |row| i32::from(row.frailty)),
            ),
            ("nursing_home", false, truths(rows, Self::nursing_home)),
        ])
    }
}

/// The words of `patients`.
pub fn patient_words(region: &Region) -> Words<2> {
    let names: Vec<&str> = region
        .template
        .municipalities
        .iter()
        .map(|municipality| municipality.name)
        .collect();
    Words([words(&names), words(&SEXES)])
}

impl Row for Episode {
    type Words = Words<3>;
    const TABLE: &'static str = "episodes";

    fn batch(words: &Words<3>, rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        let Words([services, levels, modes]) = words;
        let service = rows.iter().map(|row| Some(row.kind.service()));
        let level = rows.iter().map(|row| Some(row.kind.level()));
        let waited: Int32Array = rows.iter().map(|row| row.waited).collect();
        let readmission = |row: &Self| row.kind == super::vocabulary::Kind::Readmission;
        batch_of(vec![
            ("patient_id", false, identifiers(rows, |row| row.patient_id)),
            ("episode_id", false, identifiers(rows, |row| row.episode_id)),
            ("service", false, coded(services, service)?),
            ("level", false, coded(levels, level)?),
            ("urgent", false, truths(rows, |row| row.kind.urgent())),
            ("readmission", false, truths(rows, readmission)),
            (
                "mode",
                false,
                coded(modes, rows.iter().map(|row| Some(row.mode)))?,
            ),
            ("start_date", false, dates(rows, |row| row.start)),
            ("days", false, integers(rows, |row| row.days)),
            ("cost", false, numbers(rows, |row| f64::from(row.cost))),
            (
                "travel_km",
                false,
                numbers(rows, |row| f64::from(row.travel) / 10.0),
            ),
            ("waited_days", true, Arc::new(waited)),
            (
                "same_clinician",
                false,
                truths(rows, |row| row.same_clinician),
            ),
        ])
    }
}

/// The words of `episodes`.
pub fn episode_words() -> Words<3> {
    Words([words(&SERVICES), words(&LEVELS), words(&MODES)])
}

/// A row of `inclusions`.
pub struct IncludedPerson(pub i64, pub Inclusion);

impl Row for IncludedPerson {
    type Words = Words<3>;
    const TABLE: &'static str = "inclusions";

    fn batch(words: &Words<3>, rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        let Words([pathways, risks, reasons]) = words;
        let pathway = rows.iter().map(|row| Some(row.1.pathway));
        let risk = rows.iter().map(|row| Some(row.1.risk));
        let reason = rows.iter().map(|row| row.1.end_reason);
        batch_of(vec![
            ("patient_id", false, identifiers(rows, |row| row.0)),
            ("pathway", false, coded(pathways, pathway)?),
            ("risk", false, coded(risks, risk)?),
            ("included_on", false, dates(rows, |row| row.1.included_on)),
            ("ended_on", true, optional_dates(rows, |row| row.1.ended_on)),
            ("end_reason", true, coded(reasons, reason)?),
        ])
    }
}

/// The words of `inclusions`.
pub fn inclusion_words() -> Words<3> {
    Words([words(&PATHWAYS), words(&RISKS), words(&END_REASONS)])
}

impl Row for Condition {
    type Words = Words<1>;
    const TABLE: &'static str = "conditions";

    fn batch(words: &Words<1>, rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        let Words([codes]) = words;
        batch_of(vec![
            ("patient_id", false, identifiers(rows, |row| row.patient_id)),
            (
                "icd10",
                false,
                coded(codes, rows.iter().map(|row| Some(row.code)))?,
            ),
            ("since", false, dates(rows, |row| row.since)),
        ])
    }
}

/// The words of `conditions`.
pub fn condition_words() -> Words<1> {
    Words([words(&CONDITIONS.map(|(code, _)| code))])
}

impl Row for Step {
    type Words = Words<1>;
    const TABLE: &'static str = "pathway_steps";

    fn batch(words: &Words<1>, rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        let Words([steps]) = words;
        batch_of(vec![
            ("patient_id", false, identifiers(rows, |row| row.patient_id)),
            (
                "step",
                false,
                coded(steps, rows.iter().map(|row| Some(row.step)))?,
            ),
            ("due_on", false, dates(rows, |row| row.due_on)),
            ("done_on", true, optional_dates(rows, |row| row.done_on)),
        ])
    }
}

/// The words of `pathway_steps`.
pub fn step_words() -> Words<1> {
    Words([words(&STEPS)])
}

impl Row for Survey {
    type Words = Words<2>;
    const TABLE: &'static str = "surveys";

    fn batch(words: &Words<2>, rows: &[Self]) -> Result<RecordBatch, ArrowError> {
        let Words([respondents, questions]) = words;
        let respondent = rows.iter().map(|row| Some(row.respondent));
        let question = rows.iter().map(|row| Some(row.question));
        batch_of(vec![
            ("patient_id", false, identifiers(rows, |row| row.patient_id)),
            ("asked_on", false, dates(rows, |row| row.asked_on)),
            ("respondent", false, coded(respondents, respondent)?),
            ("question", false, coded(questions, question)?),
            ("answer", false, integers(rows, |row| row.answer)),
        ])
    }
}

/// The words of `surveys`.
pub fn survey_words() -> Words<2> {
    Words([words(&RESPONDENTS), words(&QUESTIONS)])
}
