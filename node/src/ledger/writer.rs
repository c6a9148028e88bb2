//! Trusted. The one writer: a thread that takes all that waits, decides it in order, and commits it
//! together, so that a disk that syncs a hundred times a second can serve more questions than that.
//!
//! Promise: what is said of a question is said after it is on disk; and no answer is stored before
//! the witness has its debit on disk. The witness is written after those who wait for debits are told:
//! they may read data meanwhile, but nothing leaves before [`State::record`], which comes after.

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, Sender},
    },
    thread,
};

use skerry_privacy::accounting::Budget;

use super::{
    Charge, LedgerError, Reservation, Token,
    entry::Head,
    state::{Answering, Decided, State},
    store::Spent,
};

/// What is committed together, at most.
const MOST_TOGETHER: usize = 1_024;

/// What is asked of the writer.
pub(super) enum Work {
    /// To decide what becomes of a question.
    Reserve(Box<Charge>),
    /// To store an answer.
    Record(Token, Vec<u8>),
}

/// What the writer says.
pub(super) enum Done {
    Reserved(Decided),
    Recorded(Head),
}

/// Work, and where the outcome goes.
pub(super) struct Job {
    pub work: Work,
    pub done: Sender<Result<Done, LedgerError>>,
}

/// What the writer shares with those who ask.
#[derive(Debug)]
pub(super) struct Core {
    pub budget: Budget,
    state: Mutex<State>,
    answering: Mutex<Answering>,
    /// Some question is no longer being answered.
    pub settled: Condvar,
    published: Mutex<Published>,
}

/// The state after the latest commit.
#[derive(Debug, Clone)]
pub(super) struct Published {
    pub spent: Spent,
    pub head: Head,
    pub stopped: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A writer that panicked is stopped, and the rest is changed in one step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    pub fn new(state: State, budget: Budget) -> Self {
        let published = Published {
            spent: state.spent.clone(),
            head: state.seen.head,
            stopped: false,
        };
        Self {
            budget,
            state: Mutex::new(state),
            answering: Mutex::new(Answering::default()),
            settled: Condvar::new(),
            published: Mutex::new(published),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub fn answering(&self) -> MutexGuard<'_, Answering> {
        lock(&self.answering)
    }

    pub fn published(&self) -> Result<Published, LedgerError> {
        let published = lock(&self.published);
        if published.stopped {
            return Err(LedgerError::Stopped);
        }
        Ok(published.clone())
    }

    /// After an error it is unknown what is on disk: only opening the ledger anew finds out.
    fn stop(&self, state: &mut State) {
        state.stopped = true;
        lock(&self.published).stopped = true;
    }

    /// Decides and stores, in order, and commits.
    fn together(&self, jobs: Vec<Job>) {
        let mut state = self.state();
        let mut outcomes = vec![];
        let mut failure = None;
        for job in jobs {
            if state.stopped || failure.is_some() {
                outcomes.push((job.done, Err(LedgerError::Stopped)));
                continue;
            }
            let outcome = match job.work {
                Work::Reserve(charge) => state
                    .reserve(&charge, &mut self.answering(), &self.budget)
                    .map(Done::Reserved),
                Work::Record(token, reply) => state.record(&token, reply).map(Done::Recorded),
            };
            match outcome {
                Ok(done) => outcomes.push((job.done, Ok(done))),
                Err(error) => {
                    failure = Some(error);
                    outcomes.push((job.done, Err(LedgerError::Stopped)));
                }
            }
        }
        let committed = match failure {
            None if state.stopped => Ok(None),
            None => state.commit(),
            Some(failure) => Err(failure),
        };
        let witnessed = match committed {
            Ok(witnessed) => witnessed,
            Err(error) => {
                self.stop(&mut state);
                drop(state);
                // One of them is told why; none of them is done.
                let mut error = Some(error);
                for (done, _) in outcomes {
                    let told = error.take().unwrap_or(LedgerError::Stopped);
                    let _gone = done.send(Err(told));
                }
                return;
            }
        };
        if witnessed.is_some() {
            let mut published = lock(&self.published);
            published.spent = state.spent.clone();
            published.head = state.seen.head;
        }
        for (done, outcome) in outcomes {
            // Who asked may be gone; what was decided stands.
            let _gone = done.send(outcome);
        }
        if let Some(durable) = witnessed {
            let seen = state.seen;
            if state.witness.remember(&seen, durable).is_err() {
                self.stop(&mut state);
            }
        }
    }
}

/// Works until nobody can ask any more.
pub(super) fn run(core: &Arc<Core>, jobs: &Receiver<Job>) {
    let _stops = StopsOnPanic(core);
    while let Ok(first) = jobs.recv() {
        let mut together = vec![first];
        together.extend(jobs.try_iter().take(MOST_TOGETHER - 1));
        core.together(together);
    }
}

struct StopsOnPanic<'a>(&'a Core);

impl Drop for StopsOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop(&mut self.0.state());
        }
    }
}

/// A reservation for the caller, with the token if it was charged.
pub(super) fn reservation(
    decided: Decided,
    token: impl FnOnce() -> super::Reserved,
) -> Reservation {
    match decided {
        Decided::Debited => Reservation::Debited(token()),
        Decided::Other(reservation) => reservation,
    }
}
