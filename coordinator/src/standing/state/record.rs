//! What is kept of weeks, figures and alerts.

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};

use super::super::band::{Judged, Released};

/// How far a week has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It may have been asked, and the answer isn't stored.
    Planned,
    /// Some regions are still missing.
    Partial,
    /// All figures are there.
    Answered,
    /// It is not tried any more; some regions' figures may be there.
    GivenUp,
}

/// One week of a standing question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its first day.
    pub week: NaiveDate,
    /// The series that it belongs to.
    pub series: u32,
    /// Of all its attempts.
    pub query_id: String,
    /// What it costs in each region, at most once.
    pub epsilon_nano: u64,
    /// How far it is.
    pub status: Status,
    /// When it was first asked.
    pub planned: DateTime<Utc>,
    /// Attempts that failed.
    pub failed: u32,
    /// When it is asked again, if it is.
    pub next: DateTime<Utc>,
    /// Of the last failure.
    pub reason: Option<String>,
}

/// A group's figure of a week.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// The values of the columns that name the group, in their order, as JSON.
    pub group: String,
    /// The noisy count.
    pub released: Released,
    /// Of its 95 % interval.
    pub low: f64,
    /// Of its 95 % interval.
    pub high: f64,
}

/// A group's figure and what it was held to be.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredFigure {
    /// Of which week.
    pub week: NaiveDate,
    /// The figure.
    pub figure: Figure,
    /// Its band and verdict.
    pub judged: Judged,
}

/// An alert that is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alert {
    /// The same at each attempt.
    pub key: String,
    /// Which way.
    pub channel: Channel,
    /// Of which question.
    pub name: String,
    /// What is told, as JSON.
    pub body: String,
    /// When it came up.
    pub raised: DateTime<Utc>,
    /// Attempts that failed.
    pub failed: u32,
    /// The reason of the last.
    pub reason: Option<String>,
}

/// A way to tell somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channel {
    /// A POST.
    Webhook,
    /// A file.
    Mail,
}
