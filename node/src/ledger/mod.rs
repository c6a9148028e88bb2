//! Trusted. Promise: no answer leaves without a debit that is on disk before any data are read; the
//! debits never exceed the owner's allowances; one query id has one answer for ever.
//!
//! Every question passes through [`Ledger::reserve`] before data are read, and every answer through
//! [`Ledger::record`] before it leaves. Each entry carries the hash of the one before. What was spent is a fact
//! of the entries: a configuration with other limits is compared with it and refills nothing, and
//! no clock does.
//!
//! What opening finds out: any changed, missing or added entry; sums that aren't those of the
//! entries; an earlier copy put back under a later witness; a ledger that was begun anew under an old witness; another
//! region's. What it cannot find out: ledger *and* witness put back together, or both
//! rewritten by whoever owns the machine. For that the head leaves with every answer: who keeps heads can
//! hold them against the ledger.
//!
//! After a failed write nothing is released until a restart: whether the entry is on disk is then
//! unknown, and opening finds out. See `decisions/0001-ledger.md`.

mod entry;
mod error;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod witness;

use std::{
    collections::HashSet,
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use skerry_privacy::accounting::{Allowance, Budget, Loss};
use skerry_proto::{ProjectId, QueryId, RegionId};

pub use entry::Head;
pub use error::LedgerError;

use state::State;
use store::Store;
use witness::Witness;

/// What a question is known by, and what it costs.
#[derive(Debug, Clone)]
pub struct Charge {
    /// One question, once.
    pub query_id: QueryId,
    /// Whose allowance is charged.
    pub project: ProjectId,
    /// SHA-256 of the exact request. The same id with another one is a conflict.
    pub question_hash: [u8; 32],
    /// SHA-256 of the canonical question. Equal ones of one project have one answer.
    pub answer_key: [u8; 32],
    /// What is charged, if the question is not answered from the store.
    pub loss: Loss,
    /// ε as it was asked, in units of 1e-9; kept for people to read.
    pub epsilon_nano: u64,
    /// δ as it was asked, in units of 1e-18; kept for people to read.
    pub delta_atto: u64,
    /// A new draw is wanted and paid for, whatever is stored.
    pub fresh: bool,
}

/// An allowance, and what is spent of it. In units of 1e-9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AllowanceStatus {
    /// The limit, as configured now.
    pub allowance: Allowance,
    /// Spent at the allowance's δ, rounded up.
    pub epsilon_spent_nano: u64,
    /// Left, rounded down.
    pub epsilon_left_nano: u64,
}

/// Both allowances that a project's questions are charged to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetStatus {
    /// Of the project.
    pub project: AllowanceStatus,
    /// Of all projects together.
    pub total: AllowanceStatus,
}

/// Which allowance a question does not fit in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The project's own.
    Project,
    /// That of all projects together.
    Total,
}

/// What became of a question.
#[derive(Debug)]
#[must_use]
pub enum Reservation {
    /// Charged. Answer it, then [`Ledger::record`] the answer.
    Debited(Reserved),
    /// The same request was answered before: those bytes. Nothing charged.
    Replay(Vec<u8>),
    /// The project asked the same before: that answer, now this id's answer too. Nothing charged.
    Reuse(Vec<u8>),
    /// The id was used for another request. Nothing charged.
    Conflict,
    /// It doesn't fit. Nothing charged.
    Exhausted {
        /// In which allowance; the project's, if in neither.
        limit: Limit,
        /// What is spent and left.
        budget: BudgetStatus,
    },
    /// The id was charged, and its answer was lost before it was recorded. There is none, for ever: a second
    /// draw would be a second release.
    Lost,
    /// The same request, or one with the same answer, is being answered right now. Nothing charged.
    InProgress,
}

/// The right to answer one question, once: made by [`Ledger::reserve`] after the debit is on disk, used
/// up by [`Ledger::record`]. Dropped, the debit stays and the answer is lost.
#[derive(Debug)]
pub struct Reserved {
    shared: Arc<Shared>,
    query_id: QueryId,
    project: ProjectId,
    question_hash: [u8; 32],
    answer_key: [u8; 32],
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.answering.remove(&self.query_id);
        state
            .answering_keys
            .remove(&(self.project.clone(), self.answer_key));
        drop(state);
        self.shared.settled.notify_all();
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Some question is no longer being answered.
    settled: Condvar,
}

impl Shared {
    /// A thread that panicked with the lock had its transaction rolled back, and changes here follow commits.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open ledger of one region. Calls block on the disk; share it between threads.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
    budget: Budget,
}

impl Ledger {
    /// Opens or begins the ledger at `path`, with its witness beside it (`<path>.head`), both for their owner
    /// alone, and verifies all of it. Holds it for this process until dropped.
    ///
    /// # Errors
    /// If it is in use, not a ledger, another region's, changed, or older than its witness.
    pub fn open(path: &Path, region: &RegionId, budget: Budget) -> Result<Self, LedgerError> {
        // The witness is locked first: closing a second handle of SQLite's file would give up the first one's lock.
        let (witness, witnessed) = Witness::open(&witness_path(path))?;
        if witnessed.is_some() && !path.try_exists()? {
            return Err(LedgerError::LedgerMissing);
        }
        drop(private_file(path)?);
        let identity = uuid::Uuid::new_v4().into_bytes();
        let (store, first) = Store::open(path, region, &identity)?;
        let (seen, spent, contained) = store.verify(first, witnessed.as_ref())?;
        match witnessed {
            Some(_) if !contained => return Err(LedgerError::RolledBack),
            // Begun, and cut off before the witness was first written: nothing was released.
            None if seen.entries > 0 => return Err(LedgerError::WitnessMissing),
            _ => {}
        }
        let mut state = State {
            store,
            witness,
            seen,
            spent,
            answering: HashSet::new(),
            answering_keys: HashSet::new(),
            stopped: false,
        };
        state.witness.remember(&seen, true)?;
        // The names of both files are on disk too.
        if let Some(folder) = path.parent() {
            let folder = if folder.as_os_str().is_empty() {
                Path::new(".")
            } else {
                folder
            };
            File::open(folder)?.sync_all()?;
        }
        Ok(Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                settled: Condvar::new(),
            }),
            budget,
        })
    }

    /// Decides what becomes of a question, and if it is to be answered anew, charges it: the debit is
    /// on disk when this returns [`Reservation::Debited`].
    ///
    /// # Errors
    /// If reading or writing fails, now or earlier. Then nothing more is released.
    pub fn reserve(&self, charge: &Charge) -> Result<Reservation, LedgerError> {
        self.reserve_in(&mut self.shared.lock(), charge)
    }

    /// The same, but waits up to `patience` while the answer is being made by another call.
    ///
    /// # Errors
    /// As [`Ledger::reserve`].
    pub fn reserve_within(
        &self,
        charge: &Charge,
        patience: Duration,
    ) -> Result<Reservation, LedgerError> {
        let start = Instant::now();
        let mut state = self.shared.lock();
        loop {
            let reservation = self.reserve_in(&mut state, charge)?;
            let left = patience.saturating_sub(start.elapsed());
            if !matches!(reservation, Reservation::InProgress) || left.is_zero() {
                return Ok(reservation);
            }
            (state, _) = self
                .shared
                .settled
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn reserve_in(&self, state: &mut State, charge: &Charge) -> Result<Reservation, LedgerError> {
        state.running()?;
        let decided = state.decide(charge);
        let decided = state.stop_on_error(decided)?;
        if let Some(reservation) = decided {
            return Ok(reservation);
        }
        let project = state.spent.project(charge.project.as_str());
        let fits_project = self.budget.project.admits(&project, &charge.loss);
        if !fits_project || !self.budget.total.admits(&state.spent.total, &charge.loss) {
            return Ok(Reservation::Exhausted {
                limit: if fits_project {
                    Limit::Total
                } else {
                    Limit::Project
                },
                budget: self.status(state, &charge.project),
            });
        }
        let debited = state.debit(charge);
        state.stop_on_error(debited)?;
        Ok(Reservation::Debited(Reserved {
            shared: Arc::clone(&self.shared),
            query_id: charge.query_id.clone(),
            project: charge.project.clone(),
            question_hash: charge.question_hash,
            answer_key: charge.answer_key,
        }))
    }

    /// Stores the exact bytes of an answer; they may leave when this has returned. Gives the head after it.
    ///
    /// # Errors
    /// If writing fails, now or earlier. Then the bytes must not leave, and nothing more is released.
    pub fn record(&self, reserved: Reserved, reply: Vec<u8>) -> Result<Head, LedgerError> {
        let mut state = self.shared.lock();
        state.running()?;
        let recorded = state.record(&reserved, reply);
        let head = state.stop_on_error(recorded)?;
        // `reserved` takes the lock when it is dropped.
        drop(state);
        drop(reserved);
        Ok(head)
    }

    /// What a project has spent and has left.
    ///
    /// # Errors
    /// If the ledger is stopped.
    pub fn budget(&self, project: &ProjectId) -> Result<BudgetStatus, LedgerError> {
        let state = self.shared.lock();
        state.running()?;
        Ok(self.status(&state, project))
    }

    /// Hash of the latest entry, which stands for all before it.
    ///
    /// # Errors
    /// If the ledger is stopped.
    pub fn head(&self) -> Result<Head, LedgerError> {
        let state = self.shared.lock();
        state.running()?;
        Ok(state.seen.head)
    }

    fn status(&self, state: &State, project: &ProjectId) -> BudgetStatus {
        let status = |allowance: Allowance, spent: &Loss| AllowanceStatus {
            allowance,
            epsilon_spent_nano: allowance.epsilon_spent_nano(spent),
            epsilon_left_nano: allowance.epsilon_left_nano(spent),
        };
        BudgetStatus {
            project: status(self.budget.project, &state.spent.project(project.as_str())),
            total: status(self.budget.total, &state.spent.total),
        }
    }
}

/// `<path>.head`
fn witness_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".head");
    name.into()
}

/// Opens a file for reading and writing, made for its owner alone if it isn't there.
fn private_file(path: &Path) -> Result<File, LedgerError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&file.metadata()?.permissions()) & 0o077 != 0 {
        return Err(LedgerError::Permissions);
    }
    Ok(file)
}
