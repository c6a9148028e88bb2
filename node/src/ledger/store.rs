//! The ledger's file: SQLite, one connection that holds its lock for as long as it is open.
//!
//! Write-ahead log with `synchronous = FULL`: a commit returns after one `fsync` of the log (SQLite's documentation,
//! *Write-Ahead Logging*, *Performance considerations*), and a power cut afterwards loses nothing.

use std::{collections::HashMap, path::Path};

use rusqlite::{Connection, OptionalExtension as _, Row, TransactionBehavior, params};
use skerry_privacy::accounting::Loss;
use skerry_proto::{ProjectId, QueryId, RegionId};

use super::{
    LedgerError,
    entry::{Entry, Head, Kind, beginning},
    witness::Seen,
};

/// Marks the file as a ledger ("Skry"), in SQLite's `application_id`.
const APPLICATION: i64 = 0x536b_7279;
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE beginning (region TEXT NOT NULL, identity BLOB NOT NULL) STRICT;
CREATE TABLE entry (
    number        INTEGER PRIMARY KEY,
    kind          INTEGER NOT NULL,  -- 1 debit, 2 reply, 3 reuse
    query_id      TEXT NOT NULL,
    project       TEXT NOT NULL,
    question_hash BLOB NOT NULL,
    answer_key    BLOB NOT NULL,
    loss          BLOB NOT NULL,
    epsilon_nano  INTEGER NOT NULL,  -- as it was asked, for people
    delta_atto    INTEGER NOT NULL,
    source        INTEGER NOT NULL,  -- of a reuse: number of the reply
    reply         BLOB,
    hash          BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX entry_question ON entry (query_id) WHERE kind <> 2;
CREATE UNIQUE INDEX entry_reply ON entry (query_id) WHERE kind = 2;
CREATE INDEX entry_answer ON entry (project, answer_key, number) WHERE kind = 2;
-- Sums of the debits' losses; project '' is all of them.
CREATE TABLE spent (project TEXT PRIMARY KEY, loss BLOB NOT NULL) STRICT;
";

/// The name under which the sum over all projects is kept. No project can have it.
const TOTAL: &str = "";

/// What was charged, by project and in total.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spent {
    pub projects: HashMap<String, Loss>,
    pub total: Loss,
}

impl Spent {
    fn nothing() -> Self {
        Self {
            projects: HashMap::new(),
            total: Loss::ZERO,
        }
    }

    pub(super) fn project(&self, project: &str) -> Loss {
        self.projects.get(project).cloned().unwrap_or(Loss::ZERO)
    }

    pub(super) fn add(&mut self, project: &str, loss: &Loss) {
        let sum = self.project(project).plus(loss);
        self.projects.insert(project.to_owned(), sum);
        self.total = self.total.plus(loss);
    }
}

/// What the first entry about a query id says.
#[derive(Debug)]
pub(super) struct Question {
    pub kind: Kind,
    pub project: String,
    pub question_hash: Vec<u8>,
    pub source: u64,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the file, which must exist and may be empty, and takes its lock. A new ledger begins with `identity`.
    pub(super) fn open(
        path: &Path,
        region: &RegionId,
        identity: &[u8; 16],
    ) -> Result<(Self, Head), LedgerError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(std::time::Duration::ZERO)?;
        // Before the log is first touched: the lock is then never given back, and no shared
        // memory file is made.
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "cell_size_check", true)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;

        let transaction = connection.transaction_with_behavior(TransactionBehavior::Exclusive)?;
        let application: i64 =
            transaction.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version: i64 =
            transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if (application, version, tables) == (0, 0, 0) {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
            transaction.execute(
                "INSERT INTO beginning (region, identity) VALUES (?1, ?2)",
                params![region.as_str(), identity],
            )?;
        } else if (application, version) != (APPLICATION, VERSION) {
            return Err(LedgerError::Format);
        }
        let (owner, identity): (String, Vec<u8>) =
            transaction.query_row("SELECT region, identity FROM beginning", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        transaction.commit()?;

        if owner != region.as_str() {
            return Err(LedgerError::OtherRegion);
        }
        let identity = identity.try_into().map_err(|_length| LedgerError::Format)?;
        Ok((Self { connection }, beginning(region, &identity)))
    }

    /// Reads every entry: recomputes the chain from `first` and the sums, and compares both with what is
    /// stored. Gives the present state, and whether `witnessed` is part of the chain.
    pub(super) fn verify(
        &self,
        first: Head,
        witnessed: Option<&Seen>,
    ) -> Result<(Seen, Spent, bool), LedgerError> {
        let mut seen = Seen {
            entries: 0,
            head: first,
        };
        let mut spent = Spent::nothing();
        let mut contained = witnessed == Some(&seen);
        let mut statement = self
            .connection
            .prepare("SELECT * FROM entry ORDER BY number")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let number = seen.entries + 1;
            let changed = || LedgerError::Changed { entry: number };
            let (entry, stored) = read_entry(row).map_err(|_unreadable| changed())?;
            let hash = entry.hash(&seen.head);
            if entry.number != number || stored != hash {
                return Err(changed());
            }
            if entry.kind == Kind::Debit {
                spent.add(&entry.project, &entry.loss);
            }
            seen = Seen {
                entries: number,
                head: hash,
            };
            contained |= witnessed == Some(&seen);
        }
        if self.stored_sums()? != spent {
            return Err(LedgerError::Sums);
        }
        Ok((seen, spent, contained))
    }

    fn stored_sums(&self) -> Result<Spent, LedgerError> {
        let mut sums = Spent::nothing();
        let mut statement = self.connection.prepare("SELECT project, loss FROM spent")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let project: String = row.get(0)?;
            let loss = Loss::from_bytes(&row.get::<_, Vec<u8>>(1)?)
                .map_err(|_not_a_loss| LedgerError::Sums)?;
            if project == TOTAL {
                sums.total = loss;
            } else {
                sums.projects.insert(project, loss);
            }
        }
        Ok(sums)
    }

    /// Begins a transaction: entries are on disk, all of them or none, when [`Store::commit`] returns.
    pub(super) fn begin(&self) -> Result<(), rusqlite::Error> {
        self.connection.execute_batch("BEGIN IMMEDIATE")
    }

    /// Ends a transaction.
    pub(super) fn commit(&self) -> Result<(), rusqlite::Error> {
        self.connection.execute_batch("COMMIT")
    }

    /// Appends one entry, and for a debit the sums after it, within a transaction.
    pub(super) fn append(
        &self,
        entry: &Entry,
        hash: &Head,
        sums: Option<&Spent>,
    ) -> Result<(), rusqlite::Error> {
        self.connection
            .prepare_cached(
                "INSERT INTO entry VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
            )?
            .execute(params![
                signed(entry.number),
                entry.kind as i64,
                entry.query_id,
                entry.project,
                entry.question_hash,
                entry.answer_key,
                entry.loss.to_bytes(),
                signed(entry.epsilon_nano),
                signed(entry.delta_atto),
                signed(entry.source),
                entry.reply,
                hash,
            ])?;
        if let Some(sums) = sums {
            let mut statement = self
                .connection
                .prepare_cached("INSERT OR REPLACE INTO spent VALUES (?1, ?2)")?;
            let project = sums.project(&entry.project);
            statement.execute(params![entry.project, project.to_bytes()])?;
            statement.execute(params![TOTAL, sums.total.to_bytes()])?;
        }
        Ok(())
    }

    /// The question that a query id was first used for.
    pub(super) fn question(&self, query_id: &QueryId) -> Result<Option<Question>, LedgerError> {
        self.connection
            .prepare_cached(
                "SELECT kind, project, question_hash, source FROM entry
                 WHERE query_id = ?1 AND kind <> 2",
            )?
            .query_row([query_id.as_str()], |row| {
                Ok(Question {
                    kind: kind(row, 0)?,
                    project: row.get(1)?,
                    question_hash: row.get(2)?,
                    source: unsigned(row, 3)?,
                })
            })
            .optional()
            .map_err(LedgerError::from)
    }

    /// The reply to a debited query id.
    pub(super) fn reply(&self, query_id: &QueryId) -> Result<Option<Vec<u8>>, LedgerError> {
        self.connection
            .prepare_cached("SELECT reply FROM entry WHERE query_id = ?1 AND kind = 2")?
            .query_row([query_id.as_str()], |row| row.get(0))
            .optional()
            .map_err(LedgerError::from)
    }

    /// The reply that is entry `number`.
    pub(super) fn reply_at(&self, number: u64) -> Result<Vec<u8>, LedgerError> {
        self.connection
            .prepare_cached("SELECT reply FROM entry WHERE number = ?1 AND kind = 2")?
            .query_row([signed(number)], |row| row.get(0))
            .map_err(LedgerError::from)
    }

    /// The latest reply to the same canonical question of the same project: its entry's number, and it.
    pub(super) fn answer(
        &self,
        project: &ProjectId,
        answer_key: &[u8; 32],
    ) -> Result<Option<(u64, Vec<u8>)>, LedgerError> {
        self.connection
            .prepare_cached(
                "SELECT number, reply FROM entry
                 WHERE project = ?1 AND answer_key = ?2 AND kind = 2
                 ORDER BY number DESC LIMIT 1",
            )?
            .query_row(params![project.as_str(), answer_key], |row| {
                Ok((unsigned(row, 0)?, row.get(1)?))
            })
            .optional()
            .map_err(LedgerError::from)
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

/// SQLite's integers are signed; ours stay far below the limit, and the hash covers our own form.
fn signed(number: u64) -> i64 {
    number.cast_signed()
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<Kind> {
    Kind::of(row.get(column)?).ok_or(rusqlite::Error::InvalidQuery)
}

/// An entry and its stored hash.
fn read_entry(row: &Row<'_>) -> rusqlite::Result<(Entry, Head)> {
    let loss: Vec<u8> = row.get("loss")?;
    let entry = Entry {
        number: unsigned(row, 0)?,
        kind: kind(row, 1)?,
        query_id: row.get("query_id")?,
        project: row.get("project")?,
        question_hash: row.get("question_hash")?,
        answer_key: row.get("answer_key")?,
        loss: Loss::from_bytes(&loss).map_err(|_not_a_loss| rusqlite::Error::InvalidQuery)?,
        epsilon_nano: unsigned(row, 7)?,
        delta_atto: unsigned(row, 8)?,
        source: unsigned(row, 9)?,
        reply: row.get("reply")?,
    };
    Ok((entry, row.get("hash")?))
}
