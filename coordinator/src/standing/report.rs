//! How a standing question stands, for people: from its state's file, also while it runs.

use std::path::Path;

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value as Json};
use skerry_proto::Epsilon;

use super::{
    band::Verdict,
    settings::StandingQuestion,
    state::{Channel, Run, State, StateError, Status},
};

/// A standing question and all that became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What it is called.
    pub name: String,
    /// The series that is configured.
    pub series: u32,
    /// Whose budget.
    pub project: String,
    /// The cap.
    pub epsilon: f64,
    /// Of each week.
    pub epsilon_per_week: f64,
    /// At most, in each region: ε of the weeks of this series that were asked.
    pub epsilon_spent: f64,
    /// The watched column.
    pub figure: String,
    /// The columns that name a group.
    pub group_by: Vec<String>,
    /// Of the period.
    pub weeks_in_all: u32,
    /// Of the period, which were not asked yet.
    pub weeks_left: usize,
    /// When the next is asked.
    #[serde(serialize_with = "moment")]
    pub next: Option<DateTime<Utc>>,
    /// Whether budgets last, as found out when the coordinator started.
    pub lasts: Option<String>,
    /// The weeks that were asked, of all series.
    pub weeks: Vec<WeekReport>,
    /// Alerts that were not told yet.
    pub untold: Vec<UntoldReport>,
}

/// One week.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WeekReport {
    /// Its first day.
    #[serde(serialize_with = "day")]
    pub week: NaiveDate,
    /// In which series.
    pub series: u32,
    /// How far it is.
    pub status: Status,
    /// Of the question to the nodes: with it the answer can be had again.
    pub query_id: String,
    /// Attempts that failed since it last went further.
    pub failed: u32,
    /// Why the last one failed.
    pub reason: Option<String>,
    /// When it is tried again.
    #[serde(serialize_with = "moment")]
    pub again: Option<DateTime<Utc>>,
    /// The figures of its groups.
    pub figures: Vec<FigureReport>,
}

/// A figure and its band.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FigureReport {
    /// Columns and values.
    pub group: Map<String, Json>,
    /// As released.
    pub figure: f64,
    /// Of its 95 % interval.
    pub low: f64,
    /// Of its 95 % interval.
    pub high: f64,
    /// Of its noise.
    pub sd: f64,
    /// The mean of the weeks before.
    pub expected: Option<f64>,
    /// Of the band, if it has a lower end.
    pub band_low: Option<f64>,
    /// Of the band.
    pub band_high: Option<f64>,
    /// Where the figure is.
    pub verdict: Verdict,
}

/// An alert that was not told yet.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UntoldReport {
    /// Its id.
    pub id: String,
    /// Which way.
    pub channel: Channel,
    /// Attempts that failed.
    pub failed: u32,
    /// Why the last one failed.
    pub reason: Option<String>,
}

fn day<S: Serializer>(day: &NaiveDate, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(day)
}

fn moment<S: Serializer>(moment: &Option<DateTime<Utc>>, to: S) -> Result<S::Ok, S::Error> {
    moment.map(|moment| moment.to_rfc3339()).serialize(to)
}

/// How questions stand. Where there is no file, nothing was asked yet.
///
/// # Errors
/// When the file can't be read.
pub fn reports(file: &Path, questions: &[StandingQuestion]) -> Result<Vec<Report>, StateError> {
    let state = State::read(file)?;
    questions
        .iter()
        .map(|question| report(state.as_ref(), question))
        .collect()
}

fn report(state: Option<&State>, question: &StandingQuestion) -> Result<Report, StateError> {
    let name = question.name.as_str();
    let (runs, figures, untold, lasts) = match state {
        None => (Vec::new(), Vec::new(), Vec::new(), None),
        Some(state) => (
            state.runs(name)?,
            state.figures(name)?,
            state.untold(None)?,
            state.lasts(name, question.series)?,
        ),
    };
    let asked = |week: NaiveDate| runs.iter().any(|run| run.week == week);
    let left: Vec<NaiveDate> = question.period.all().filter(|week| !asked(*week)).collect();
    let spent: u64 = runs
        .iter()
        .filter(|run| run.series == question.series)
        .map(|run| run.epsilon_nano)
        .sum();
    let weeks = runs
        .iter()
        .map(|run| {
            let of_week = figures.iter().filter(|stored| stored.week == run.week);
            week(run, of_week.map(figure).collect())
        })
        .collect();
    Ok(Report {
        name: name.to_owned(),
        series: question.series,
        project: question.project.to_string(),
        epsilon: question.epsilon.to_f64(),
        epsilon_per_week: question.run_epsilon().map_or(0.0, Epsilon::to_f64),
        epsilon_spent: spent as f64 / Epsilon::UNIT as f64,
        figure: question.figure.clone(),
        group_by: question.group_by.clone(),
        weeks_in_all: question.period.weeks,
        weeks_left: left.len(),
        next: left.first().map(|week| question.timing.due(*week)),
        lasts,
        weeks,
        untold: untold
            .into_iter()
            .filter(|alert| alert.name == name)
            .map(|alert| UntoldReport {
                id: alert.key,
                channel: alert.channel,
                failed: alert.failed,
                reason: alert.reason,
            })
            .collect(),
    })
}

fn week(run: &Run, figures: Vec<FigureReport>) -> WeekReport {
    let open = matches!(run.status, Status::Planned | Status::Partial);
    WeekReport {
        week: run.week,
        series: run.series,
        status: run.status,
        query_id: run.query_id.clone(),
        failed: run.failed,
        reason: run.reason.clone(),
        again: open.then_some(run.next),
        figures,
    }
}

fn figure(stored: &super::state::StoredFigure) -> FigureReport {
    let (figure, judged) = (&stored.figure, &stored.judged);
    FigureReport {
        group: serde_json::from_str(&figure.group).unwrap_or_default(),
        figure: figure.released.value,
        low: figure.low,
        high: figure.high,
        sd: figure.released.sd,
        expected: judged.expected,
        band_low: judged.low,
        band_high: judged.high,
        verdict: judged.verdict,
    }
}
