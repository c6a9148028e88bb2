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
//! One thread writes, and commits together what waits together. After a failed write nothing is released
//! until a restart: whether the entry is on disk is then unknown, and opening finds out. See `decisions/0001-ledger.md`.

mod entry;
mod error;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod witness;
mod writer;

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    sync::{
        Arc, PoisonError,
        mpsc::{self, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use skerry_privacy::accounting::{Allowance, Budget, Loss};
use skerry_proto::{ProjectId, QueryId, RegionId};

pub use entry::Head;
pub use error::LedgerError;

use state::State;
use store::{Spent, Store};
use witness::Witness;
use writer::{Core, Done, Job, Work};

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

/// What an answer is stored under.
#[derive(Debug, Clone)]
struct Token {
    query_id: QueryId,
    project: ProjectId,
    question_hash: [u8; 32],
    answer_key: [u8; 32],
}

/// The right to answer one question, once: made by [`Ledger::reserve`] after the debit is on disk, used
/// up by [`Ledger::record`]. Dropped, the debit stays and the answer is lost.
#[derive(Debug)]
pub struct Reserved {
    shared: Arc<Shared>,
    token: Token,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut answering = self.shared.core.answering();
        answering.ids.remove(&self.token.query_id);
        let key = (self.token.project.clone(), self.token.answer_key);
        answering.keys.remove(&key);
        drop(answering);
        self.shared.core.settled.notify_all();
    }
}

/// The writer, and the way to it. The last one who holds it waits for the writer's end.
#[derive(Debug)]
struct Shared {
    core: Arc<Core>,
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Nobody can ask any more, so the writer ends, and with it the hold on the files.
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _panicked = writer.join();
        }
    }
}

impl Shared {
    /// Has the writer do something, and waits until it is on disk.
    fn ask(&self, work: Work) -> Result<Done, LedgerError> {
        let (done, told) = mpsc::channel();
        let jobs = self.jobs.as_ref().ok_or(LedgerError::Stopped)?;
        jobs.send(Job { work, done })
            .map_err(|_writer_is_gone| LedgerError::Stopped)?;
        told.recv()
            .unwrap_or_else(|_writer_panicked| Err(LedgerError::Stopped))
    }

    #[cfg(test)]
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.core.state()
    }
}

/// The open ledger of one region. Calls block on the disk; share it between threads.
#[derive(Debug)]
pub struct Ledger {
    shared: Arc<Shared>,
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
        let mut state = State::new(store, witness, seen, spent);
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
        let core = Arc::new(Core::new(state, budget));
        let (jobs, work) = mpsc::channel();
        let writer = {
            let core = Arc::clone(&core);
            thread::Builder::new()
                .name("ledger".to_owned())
                .spawn(move || writer::run(&core, &work))?
        };
        Ok(Self {
            shared: Arc::new(Shared {
                core,
                jobs: Some(jobs),
                writer: Some(writer),
            }),
        })
    }

    /// Decides what becomes of a question, and if it is to be answered anew, charges it: the debit is
    /// on disk when this returns [`Reservation::Debited`].
    ///
    /// # Errors
    /// If reading or writing fails, now or earlier. Then nothing more is released.
    pub fn reserve(&self, charge: &Charge) -> Result<Reservation, LedgerError> {
        let decided = match self.shared.ask(Work::Reserve(Box::new(charge.clone())))? {
            Done::Reserved(decided) => decided,
            Done::Recorded(_) => return Err(LedgerError::Stopped),
        };
        Ok(writer::reservation(decided, || Reserved {
            shared: Arc::clone(&self.shared),
            token: Token {
                query_id: charge.query_id.clone(),
                project: charge.project.clone(),
                question_hash: charge.question_hash,
                answer_key: charge.answer_key,
            },
        }))
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
        let core = &self.shared.core;
        let key = (charge.project.clone(), charge.answer_key);
        loop {
            let reservation = self.reserve(charge)?;
            let left = patience.saturating_sub(start.elapsed());
            if !matches!(reservation, Reservation::InProgress) || left.is_zero() {
                return Ok(reservation);
            }
            let answering = core.answering();
            // It may have settled since it was decided.
            if answering.ids.contains(&charge.query_id) || answering.keys.contains(&key) {
                drop(
                    core.settled
                        .wait_timeout(answering, left)
                        .unwrap_or_else(PoisonError::into_inner),
                );
            }
        }
    }

    /// Stores the exact bytes of an answer; they may leave when this has returned. Gives the head after it.
    ///
    /// # Errors
    /// If writing fails, now or earlier. Then the bytes must not leave, and nothing more is released.
    pub fn record(&self, reserved: Reserved, reply: Vec<u8>) -> Result<Head, LedgerError> {
        match self
            .shared
            .ask(Work::Record(reserved.token.clone(), reply))?
        {
            Done::Recorded(head) => Ok(head),
            Done::Reserved(_) => Err(LedgerError::Stopped),
        }
    }

    /// What a project has spent and has left.
    ///
    /// # Errors
    /// If the ledger is stopped.
    pub fn budget(&self, project: &ProjectId) -> Result<BudgetStatus, LedgerError> {
        let published = self.shared.core.published()?;
        Ok(status(&self.shared.core.budget, &published.spent, project))
    }

    /// Hash of the latest entry, which stands for all before it.
    ///
    /// # Errors
    /// If the ledger is stopped.
    pub fn head(&self) -> Result<Head, LedgerError> {
        Ok(self.shared.core.published()?.head)
    }
}

fn status(budget: &Budget, spent: &Spent, project: &ProjectId) -> BudgetStatus {
    let status = |allowance: Allowance, spent: &Loss| AllowanceStatus {
        allowance,
        epsilon_spent_nano: allowance.epsilon_spent_nano(spent),
        epsilon_left_nano: allowance.epsilon_left_nano(spent),
    };
    BudgetStatus {
        project: status(budget.project, &spent.project(project.as_str())),
        total: status(budget.total, &spent.total),
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
