//! One question's weeks: which is asked next, and what becomes of its answer.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use sha2::{Digest as _, Sha256};
use skerry_proto::{Epsilon, IdError, QueryId, Refusal};

use super::{
    band::judge,
    figures::figures,
    message::Message,
    schedule::again,
    settings::StandingQuestion,
    state::{Alert, Channel, Run, State, StateError, Status, StoredFigure},
};
use crate::{answer::Answer, question::Question, service::Coordinator};

/// A standing question that is asked.
pub(super) struct Asked {
    /// Its settings.
    pub question: StandingQuestion,
    /// Of each week.
    pub epsilon: Epsilon,
    /// What the nodes are asked: any change of it would be another question to them.
    asks: [u8; 32],
}

/// Why a question can't be put on the schedule.
#[derive(Debug, thiserror::Error)]
pub(super) enum BeginError {
    /// The file of the state.
    #[error("{0}")]
    State(#[from] StateError),
    /// The question itself.
    #[error("{0}")]
    Question(String),
}

impl Asked {
    /// A question, held against the series that its name has already.
    pub fn begin(
        question: StandingQuestion,
        state: &mut State,
        now: DateTime<Utc>,
    ) -> Result<Self, BeginError> {
        let wrong = |error: &dyn std::fmt::Display| BeginError::Question(error.to_string());
        let epsilon = question.run_epsilon().map_err(|error| wrong(&error))?;
        // Its text for one day: so the text of a study counts, not only its name.
        let sql = question
            .sql(question.period.first)
            .map_err(|error| wrong(&error))?;
        let template = sql.replace(&question.period.first.to_string(), "");
        let asks = hash(&[
            "a standing question",
            &question.name,
            question.project.as_str(),
            &epsilon.nano().to_string(),
            &template,
        ]);
        let watches = hash(&[
            &question.figure,
            &question.group_by.join("\0"),
            question.week_column.as_deref().unwrap_or_default(),
        ]);
        let identity = format!("{}:{}", hex::encode(asks), hex::encode(watches));
        let same_question = |before: &str| before.split(':').next() == identity.split(':').next();
        match state.latest_series(&question.name)? {
            Some((series, _)) if series > question.series => {
                return Err(BeginError::Question(format!(
                    "standing question `{}` has begun series {series} already: `series` can't go \
                     back to {}",
                    question.name, question.series
                )));
            }
            Some((series, before)) if series == question.series && before != identity => {
                let read = state.figures(&question.name)?;
                let runs = state.runs(&question.name)?;
                let of_series = |week: NaiveDate| {
                    runs.iter()
                        .any(|run| run.week == week && run.series == series)
                };
                let unread = !read.iter().any(|stored| of_series(stored.week));
                // Nothing was read yet: a wrong name of a column can be put right.
                if !(same_question(&before) && unread) {
                    return Err(BeginError::Question(format!(
                        "standing question `{}` is not what it was when series {series} began: put \
                         it back, or begin another with `series = {}`, which asks the weeks that were \
                         not asked yet",
                        question.name,
                        series + 1
                    )));
                }
                state.rename_series(&question.name, series, &identity)?;
            }
            Some((series, _)) if series == question.series => {}
            Some(_) | None => {
                state.begin_series(&question.name, question.series, &identity, now)?;
            }
        }
        Ok(Self {
            question,
            epsilon,
            asks,
        })
    }

    /// The query id of a week: the same after every restart, also without the state's file, and
    /// another one when anything about the question is.
    fn query_id(&self, week: NaiveDate) -> Result<QueryId, IdError> {
        let mut hash = Sha256::new();
        hash.update(self.asks);
        hash.update(week.to_string());
        let hash = hex::encode(&hash.finalize()[..8]);
        format!("{}.{week}.{hash}", self.question.name).parse()
    }

    /// The weeks that are not asked yet.
    pub fn left(&self, runs: &[Run]) -> Vec<NaiveDate> {
        let asked = |week: &NaiveDate| runs.iter().any(|run| overlap(run.week, *week));
        self.question
            .period
            .all()
            .filter(|week| !asked(week))
            .collect()
    }

    /// The week to ask now: one that was begun, or else the earliest that is due. Written down
    /// before it is asked.
    pub fn next(&self, state: &mut State, now: DateTime<Utc>) -> Result<Option<Run>, StateError> {
        let runs = state.runs(&self.question.name)?;
        let open = |run: &&Run| self.is_open(run) && run.next <= now;
        if let Some(run) = runs.iter().find(open) {
            return Ok(Some(run.clone()));
        }
        let due = |week: &NaiveDate| self.question.timing.due(*week) <= now;
        let Some(week) = self.left(&runs).into_iter().find(due) else {
            return Ok(None);
        };
        let spent: u64 = runs
            .iter()
            .filter(|run| run.series == self.question.series)
            .map(|run| run.epsilon_nano)
            .sum();
        if spent + self.epsilon.nano() > self.question.epsilon.nano() {
            // The period is as long as the cap lasts; it was longer, or the cap higher.
            return Ok(None);
        }
        let query_id = self
            .query_id(week)
            .map_err(|error| StateError::Damaged(error.to_string()))?;
        let run = Run {
            week,
            series: self.question.series,
            query_id: query_id.to_string(),
            epsilon_nano: self.epsilon.nano(),
            status: Status::Planned,
            planned: now,
            failed: 0,
            next: now,
            reason: None,
        };
        state.plan(&self.question.name, &run)?;
        Ok(Some(run))
    }

    fn is_open(&self, run: &Run) -> bool {
        // What an earlier series has begun was another question, which is not known any more.
        run.series == self.question.series
            && matches!(run.status, Status::Planned | Status::Partial)
    }

    /// When there is something to do, if nothing happens.
    pub fn wakes(&self, state: &State) -> Result<Option<DateTime<Utc>>, StateError> {
        let runs = state.runs(&self.question.name)?;
        let open = runs
            .iter()
            .filter(|run| self.is_open(run))
            .map(|run| run.next);
        let due = self.left(&runs).into_iter().next();
        let due = due.map(|week| self.question.timing.due(week));
        Ok(open.chain(due).min())
    }

    /// Asks a week and keeps what comes of it.
    pub async fn ask(
        &self,
        coordinator: &Coordinator,
        state: &mut State,
        run: Run,
        now: DateTime<Utc>,
    ) -> Result<(), StateError> {
        let timing = &self.question.timing;
        let impatient = timing.impatient(run.planned, now) && self.question.by_region();
        let answer = match self.asked(&run, impatient) {
            Ok(question) => coordinator.answer(&question).await,
            Err(refusal) => Err(refusal),
        };
        let name = self.question.name.as_str();
        let reason = match answer {
            Ok(answer) => match figures(&answer, &self.question, run.week) {
                Ok(figures) => {
                    return self.answered(state, run, &answer, figures, now);
                }
                Err(reason) => reason,
            },
            Err(refusal) => format!("{}: {}", refusal.code, refusal.message),
        };
        let (status, next) = if timing.gives_up(run.planned, now) {
            (Status::GivenUp, run.next)
        } else {
            (run.status, again(run.failed + 1, now))
        };
        tracing::warn!(standing = name, week = %run.week, reason, "a week could not be asked");
        state.fail(name, run.week, status, &reason, next)
    }

    /// A question of the same id each time.
    fn asked(&self, run: &Run, allow_missing: bool) -> Result<Question, Refusal> {
        let query_id = run.query_id.parse().map_err(|error: IdError| {
            Refusal::new(
                skerry_proto::ErrorCode::InvalidParameter,
                error.to_string(),
                "",
            )
        })?;
        Ok(Question {
            project: Some(self.question.project.clone()),
            epsilon: Some(self.epsilon),
            query_id: Some(query_id),
            allow_missing,
            ..Question::new(self.question.sql(run.week)?)
        })
    }

    /// Judges the figures that are new, and keeps them with their alerts.
    fn answered(
        &self,
        state: &mut State,
        mut run: Run,
        answer: &Answer,
        figures: Vec<super::state::Figure>,
        now: DateTime<Utc>,
    ) -> Result<(), StateError> {
        let question = &self.question;
        let name = question.name.as_str();
        let known = state.groups(name, run.week)?;
        let mut stored = Vec::new();
        for figure in figures
            .into_iter()
            .filter(|figure| !known.contains(&figure.group))
        {
            let history = question.band.history;
            let past = state.past(name, run.series, &figure.group, run.week, history)?;
            let judged = judge(&past, figure.released, &question.band);
            stored.push(StoredFigure {
                week: run.week,
                figure,
                judged,
            });
        }
        let missing: Vec<&str> = answer
            .record
            .regions
            .missing
            .iter()
            .map(|region| region.as_str())
            .collect();
        if missing.is_empty() {
            run.status = Status::Answered;
            run.reason = None;
            run.failed = 0;
        } else {
            let gives_up = question.timing.gives_up(run.planned, now);
            run.status = if gives_up {
                Status::GivenUp
            } else {
                Status::Partial
            };
            run.failed += 1;
            run.reason = Some(format!("no answer from {}", missing.join(", ")));
            run.next = again(run.failed, now);
        }
        let mut alerts = Vec::new();
        if self.is_recent(run.week, now) {
            for stored in &stored {
                alerts.extend(self.alerts(stored, now)?);
            }
        }
        tracing::info!(
            standing = name,
            week = %run.week,
            query_id = run.query_id,
            epsilon = self.epsilon.to_f64(),
            alerts = alerts.len(),
            missing = missing.join(","),
            "a week was asked"
        );
        state.answer(name, &run, &stored, &alerts)
    }

    fn is_recent(&self, week: NaiveDate, now: DateTime<Utc>) -> bool {
        let end = week.checked_add_days(Days::new(7)).unwrap_or(week);
        let age = now.date_naive().signed_duration_since(end);
        age <= TimeDelta::days(self.question.alerts.within_days.into())
    }

    fn alerts(&self, stored: &StoredFigure, now: DateTime<Utc>) -> Result<Vec<Alert>, StateError> {
        let question = &self.question;
        let Some(message) = Message::of(&question.name, &question.figure, stored) else {
            return Ok(Vec::new());
        };
        let body = serde_json::to_string(&message)
            .map_err(|error| StateError::Damaged(error.to_string()))?;
        let channels = [
            question.alerts.webhook.as_ref().map(|_| Channel::Webhook),
            question.alerts.mail.as_ref().map(|_| Channel::Mail),
        ];
        let alert = |channel| Alert {
            key: message.id.clone(),
            channel,
            name: question.name.clone(),
            body: body.clone(),
            raised: now,
            failed: 0,
            reason: None,
        };
        Ok(channels.into_iter().flatten().map(alert).collect())
    }
}

/// Whether two weeks share a day: a series may begin its weeks on another day than the one before.
fn overlap(one: NaiveDate, other: NaiveDate) -> bool {
    one.signed_duration_since(other).num_days().abs() < 7
}

/// Of parts that can't run into each other.
fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
