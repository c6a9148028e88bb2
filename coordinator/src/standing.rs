//! Standing questions: asked by the coordinator itself, once for each week that is over, and held
//! against the weeks before. Somebody is told when a figure leaves the band that noise and chance explain.
//!
//! What keeps a week from being charged twice, in this order: it is written down before it is asked;
//! it has one query id for ever, for which the nodes have one answer; and only one coordinator can have
//! the state's file open. See `decisions/0009-a-week-has-one-query-id.md`.

pub mod band;
pub mod report;
pub mod schedule;
pub mod settings;

mod deliver;
mod figures;
mod lasting;
mod message;
mod run;
mod state;

pub use state::{Channel, StateError, Status};

use std::{path::Path, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::{sync::oneshot, task::JoinHandle};

use self::{
    message::Message,
    run::Asked,
    schedule::again,
    settings::StandingQuestion,
    state::{Alert, State},
};
use crate::{server::StartError, service::Coordinator};

/// What time it is. Tests have clocks of their own.
pub type Clock = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// The system's clock.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(Utc::now)
}

/// How often the clock is looked at: it may be put forward, or the machine asleep.
const LOOK: Duration = Duration::from_millis(500);
/// How long alerts are tried to be told.
const TRIED: TimeDelta = TimeDelta::days(14);
/// Before the budgets are asked for again.
const ASK_AGAIN: TimeDelta = TimeDelta::minutes(10);

/// The standing questions of a coordinator, with their state.
struct Standing {
    coordinator: Arc<Coordinator>,
    questions: Vec<Asked>,
    state: State,
    /// When it is asked whether budgets last; of questions of which that isn't known.
    lasting: Vec<(usize, DateTime<Utc>)>,
}

/// A schedule that runs. It stops when this is dropped, in the middle of a question if need be.
pub(crate) struct Running {
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops, and gives the state's file back.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = self.task.await;
    }
}

/// Opens the state's file and starts asking.
pub(crate) fn start(
    coordinator: Arc<Coordinator>,
    questions: Vec<StandingQuestion>,
    file: &Path,
    clock: Clock,
) -> Result<Running, StartError> {
    let wrong = |error: &dyn std::fmt::Display| StartError(format!("{}: {error}", file.display()));
    for question in &questions {
        if let Some(webhook) = &question.alerts.webhook {
            deliver::check(webhook)
                .map_err(|error| StartError(format!("`webhook_authority`: {error}")))?;
        }
    }
    let mut state = State::open(file).map_err(|error| wrong(&error))?;
    let now = clock();
    let questions = questions
        .into_iter()
        .map(|question| Asked::begin(question, &mut state, now))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| wrong(&error))?;
    let mut standing = Standing {
        lasting: (0..questions.len()).map(|place| (place, now)).collect(),
        coordinator,
        questions,
        state,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        tokio::select! {
            () = standing.run(&clock) => {}
            // A dropped sender stops it as well.
            _ = stopped => {}
        }
    });
    Ok(Running {
        stop: Some(stop),
        task,
    })
}

impl Standing {
    async fn run(&mut self, clock: &Clock) {
        let mut failed = 0;
        loop {
            self.lasting(clock()).await;
            let next = match self.step(clock).await {
                Ok(next) => {
                    failed = 0;
                    next
                }
                Err(error) => {
                    // Without the state nothing may be asked.
                    tracing::error!(%error, "the state of standing questions can't be used");
                    failed += 1;
                    Some(again(failed, clock()))
                }
            };
            let next = next
                .into_iter()
                .chain(self.lasting.iter().map(|(_, at)| *at));
            let next = next.min().unwrap_or(DateTime::<Utc>::MAX_UTC);
            while clock() < next {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Does all that is due, and says when there is something again.
    async fn step(&mut self, clock: &Clock) -> Result<Option<DateTime<Utc>>, StateError> {
        for asked in &self.questions {
            while let Some(run) = asked.next(&mut self.state, clock())? {
                asked
                    .ask(&self.coordinator, &mut self.state, run, clock())
                    .await?;
                deliver(&self.questions, &mut self.state, clock()).await?;
            }
        }
        deliver(&self.questions, &mut self.state, clock()).await?;
        let mut wakes = self.state.next_alert()?;
        for asked in &self.questions {
            let next = asked.wakes(&self.state)?;
            wakes = [wakes, next].into_iter().flatten().min();
        }
        Ok(wakes)
    }

    /// Says for each question whether the budgets last, once that can be found out.
    async fn lasting(&mut self, now: DateTime<Utc>) {
        let mut later = Vec::new();
        for (place, at) in std::mem::take(&mut self.lasting) {
            let Some(asked) = self.questions.get(place) else {
                continue;
            };
            if at > now {
                later.push((place, at));
                continue;
            }
            let name = asked.question.name.as_str();
            let left = match self.state.runs(name) {
                Ok(runs) => asked.left(&runs).len(),
                Err(_) => asked.question.period.weeks as usize,
            };
            let found =
                lasting::lasting(&self.coordinator, &asked.question, asked.epsilon, left).await;
            let text = match found {
                Ok(found) => {
                    if found.sure {
                        tracing::info!(standing = name, "{}", found.text);
                    } else {
                        tracing::warn!(standing = name, "{}", found.text);
                    }
                    found.text
                }
                Err(refusal) => {
                    tracing::warn!(standing = name, %refusal, "it can't be asked now");
                    later.push((place, now + ASK_AGAIN));
                    format!("{}: {}", refusal.code, refusal.message)
                }
            };
            if let Err(error) = self.state.set_lasts(name, asked.question.series, &text) {
                tracing::error!(%error, "the state of standing questions can't be written");
            }
        }
        self.lasting = later;
    }
}

/// Tells of all alerts whose time has come.
async fn deliver(
    questions: &[Asked],
    state: &mut State,
    now: DateTime<Utc>,
) -> Result<(), StateError> {
    for alert in state.untold(Some(now))? {
        match tell(questions, &alert).await {
            Ok(()) => state.told(&alert, now)?,
            Err(reason) => {
                tracing::warn!(alert = alert.key, channel = ?alert.channel, reason, "not told");
                let next = (now.signed_duration_since(alert.raised) < TRIED)
                    .then(|| again(alert.failed + 1, now));
                state.not_told(&alert, &reason, next)?;
            }
        }
    }
    Ok(())
}

async fn tell(questions: &[Asked], alert: &Alert) -> Result<(), String> {
    let message: Message = serde_json::from_str(&alert.body).map_err(|error| error.to_string())?;
    let asked = questions
        .iter()
        .find(|asked| asked.question.name == alert.name)
        .ok_or("the question is not configured any more")?;
    match alert.channel {
        Channel::Webhook => {
            let webhook = asked.question.alerts.webhook.as_ref();
            deliver::call(
                webhook.ok_or("no webhook is configured any more")?,
                &message,
            )
            .await
        }
        Channel::Mail => {
            let mail = asked.question.alerts.mail.as_ref();
            let mail = mail.ok_or("no folder for mails is configured any more")?;
            deliver::write(mail, &message, alert.raised)
        }
    }
}
