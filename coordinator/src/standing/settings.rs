//! What a standing question is set to.

use std::path::PathBuf;

use chrono::NaiveDate;
use hyper::Uri;
use skerry_proto::{Epsilon, ProjectId, Refusal};

use super::{
    band::BandTerms,
    schedule::{Period, Timing},
};
use crate::study::{self, Given};

mod file;

pub(crate) use file::{Raw, check};

/// A question that the coordinator asks by itself, once for each week.
#[derive(Debug, Clone, PartialEq)]
pub struct StandingQuestion {
    /// What it is called.
    pub name: String,
    /// Counted up by the owner of the file when the question changes.
    pub series: u32,
    /// What is asked.
    pub asks: Asks,
    /// What stands for the week's first day in it.
    pub week_parameter: String,
    /// Whose budget.
    pub project: ProjectId,
    /// The cap: of all weeks of the period together.
    pub epsilon: Epsilon,
    /// The column that is watched, a count.
    pub figure: String,
    /// The columns that name a group, each of which is watched by itself.
    pub group_by: Vec<String>,
    /// The column with a row's first day, where an answer has more weeks than the one that is asked.
    pub week_column: Option<String>,
    /// Its weeks.
    pub period: Period,
    /// When a week is asked.
    pub timing: Timing,
    /// What is outside.
    pub band: BandTerms,
    /// Who is told.
    pub alerts: Alerts,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Asks {
    /// SQL in which `$week` stands for the week's first day.
    Sql(String),
    /// A study, one of whose parameters is the week's first day.
    Study(String, Given),
}

/// Who is told, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alerts {
    /// A week that ended more days ago is judged, but nobody is told.
    pub within_days: u32,
    /// Called with a POST.
    pub webhook: Option<Webhook>,
    /// Where mails are put.
    pub mail: Option<Mail>,
}

/// A place that takes alerts by HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// `http` or `https`, with a host.
    pub url: Uri,
    /// A PEM file: who signs its certificate, for `https`.
    pub authority: PathBuf,
}

/// A folder from which a mail server takes files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The folder.
    pub folder: PathBuf,
    /// `From:`
    pub from: String,
    /// `To:`
    pub to: Vec<String>,
}

impl StandingQuestion {
    /// ε of one week: the cap over the number of weeks, rounded down to a billionth.
    ///
    /// # Errors
    /// When that is too little for an ε.
    pub fn run_epsilon(&self) -> Result<Epsilon, skerry_proto::ParameterError> {
        Epsilon::from_nano(self.epsilon.nano() / u64::from(self.period.weeks))
    }

    /// What is asked of a week.
    ///
    /// # Errors
    /// A parameter that can't be.
    pub fn sql(&self, week: NaiveDate) -> Result<String, Refusal> {
        match &self.asks {
            Asks::Sql(sql) => study::fill(sql, |name| {
                (name == self.week_parameter).then_some(study::Value::Date(week))
            }),
            Asks::Study(name, given) => {
                let mut given = given.clone();
                given.add(&self.week_parameter, &week.to_string())?;
                study::find(name)?.sql(&given)
            }
        }
    }

    /// Whether a group lies in one region, so that a region which is missing takes nothing away
    /// from another's figures.
    #[must_use]
    pub fn by_region(&self) -> bool {
        self.group_by.iter().any(|column| column == REGION)
    }
}

/// The column that says where a figure is from.
pub(super) const REGION: &str = "region";

#[cfg(test)]
mod tests;
