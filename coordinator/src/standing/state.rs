//! What was asked, answered, judged and told, on disk.
//!
//! SQLite with full sync, as the nodes' ledgers: figures, verdicts and the alerts that follow from
//! them are one transaction, which a file of appended lines doesn't give. It is never the only
//! thing between a week and a second charge: a week's query id follows from the question and the week,
//! so a file that was lost or is older than the last answer costs nothing but the calls.

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use chrono::{DateTime, NaiveDate, Utc};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row, params};
use serde::{Deserialize, Serialize};

use super::band::{Judged, Past, Released, Shape, Verdict};

mod alert;
mod record;

pub use record::{Alert, Channel, Figure, Run, Status, StoredFigure};

/// `Skst`.
const APPLICATION: i64 = 0x536b_7374;
const VERSION: i64 = 1;
const SCHEMA: &str = "
CREATE TABLE series (
    name TEXT NOT NULL,
    series INTEGER NOT NULL,
    identity TEXT NOT NULL,
    begun INTEGER NOT NULL,
    lasts TEXT,
    PRIMARY KEY (name, series)
) STRICT;
-- One row a week of a name, whatever the series: no week is asked twice.
CREATE TABLE run (
    name TEXT NOT NULL,
    week TEXT NOT NULL,
    series INTEGER NOT NULL,
    query_id TEXT NOT NULL UNIQUE,
    epsilon_nano INTEGER NOT NULL,
    status TEXT NOT NULL,
    planned INTEGER NOT NULL,
    failed INTEGER NOT NULL DEFAULT 0,
    next INTEGER NOT NULL,
    reason TEXT,
    PRIMARY KEY (name, week)
) STRICT;
CREATE TABLE figure (
    name TEXT NOT NULL,
    week TEXT NOT NULL,
    grouped TEXT NOT NULL,
    value REAL NOT NULL,
    low REAL NOT NULL,
    high REAL NOT NULL,
    sd REAL NOT NULL,
    shape TEXT NOT NULL,
    expected REAL,
    band_low REAL,
    band_high REAL,
    verdict TEXT NOT NULL,
    PRIMARY KEY (name, week, grouped),
    FOREIGN KEY (name, week) REFERENCES run
) STRICT;
CREATE TABLE alert (
    key TEXT NOT NULL,
    channel TEXT NOT NULL,
    name TEXT NOT NULL,
    body TEXT NOT NULL,
    raised INTEGER NOT NULL,
    failed INTEGER NOT NULL DEFAULT 0,
    next INTEGER NOT NULL,
    sent INTEGER,
    reason TEXT,
    PRIMARY KEY (key, channel)
) STRICT;
";

/// Why the file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// SQLite's reason.
    #[error("{0}")]
    Database(#[from] rusqlite::Error),
    /// The system's reason.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// Two coordinators would ask twice.
    #[error("another coordinator uses it")]
    InUse,
    /// Another program's, or of another version.
    #[error("it is not a state of standing questions that this version knows")]
    Format,
    /// What stands in it makes no sense.
    #[error("it is damaged: {0}")]
    Damaged(String),
}

/// The open file. While it is open for writing, no other process opens it so.
#[derive(Debug)]
pub struct State {
    connection: Connection,
    _lock: Option<File>,
}

/// How long a lock is waited for that a process which is just ending still holds.
const PATIENCE: Duration = Duration::from_secs(3);

impl State {
    /// Opens the file to write, made if it isn't there, and keeps others from doing so.
    pub(crate) fn open(path: &Path) -> Result<Self, StateError> {
        let lock = lock(path)?;
        // Query ids, with which a project's answers can be had again, are for the owner alone.
        drop(private().open(path)?);
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        // A rollback journal: who only reads needs no right to write beside the file.
        connection.pragma_update(None, "journal_mode", "DELETE")?;
        connection.pragma_update(None, "synchronous", "EXTRA")?;
        let transaction = connection.transaction()?;
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        if tables == 0 {
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "application_id", APPLICATION)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()?;
        Self {
            connection,
            _lock: Some(lock),
        }
        .checked()
    }

    /// Opens the file to read, also while a coordinator runs; none if it isn't there.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StateError> {
        if !path.exists() {
            return Ok(None);
        }
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(10))?;
        Self {
            connection,
            _lock: None,
        }
        .checked()
        .map(Some)
    }

    fn checked(self) -> Result<Self, StateError> {
        let pragma = |name| {
            self.connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
        };
        if (pragma("application_id")?, pragma("user_version")?) == (APPLICATION, VERSION) {
            Ok(self)
        } else {
            Err(StateError::Format)
        }
    }

    /// The latest series of a name: its number and its identity.
    pub(crate) fn latest_series(&self, name: &str) -> Result<Option<(u32, String)>, StateError> {
        let found = self.connection.query_row(
            "SELECT series, identity FROM series WHERE name = ?1 ORDER BY series DESC LIMIT 1",
            [name],
            |row| Ok((row.get(0)?, row.get(1)?)),
        );
        Ok(found.optional()?)
    }

    /// Begins a series.
    pub(crate) fn begin_series(
        &mut self,
        name: &str,
        series: u32,
        identity: &str,
        now: DateTime<Utc>,
    ) -> Result<(), StateError> {
        self.connection.execute(
            "INSERT INTO series (name, series, identity, begun) VALUES (?1, ?2, ?3, ?4)",
            params![name, series, identity, now.timestamp()],
        )?;
        Ok(())
    }

    /// Gives a series another identity.
    pub(crate) fn rename_series(
        &mut self,
        name: &str,
        series: u32,
        identity: &str,
    ) -> Result<(), StateError> {
        self.connection.execute(
            "UPDATE series SET identity = ?3 WHERE name = ?1 AND series = ?2",
            params![name, series, identity],
        )?;
        Ok(())
    }

    /// Keeps what was found out on whether budgets last.
    pub(crate) fn set_lasts(
        &mut self,
        name: &str,
        series: u32,
        lasts: &str,
    ) -> Result<(), StateError> {
        self.connection.execute(
            "UPDATE series SET lasts = ?3 WHERE name = ?1 AND series = ?2",
            params![name, series, lasts],
        )?;
        Ok(())
    }

    /// What was found out on whether budgets last.
    pub(crate) fn lasts(&self, name: &str, series: u32) -> Result<Option<String>, StateError> {
        let found = self.connection.query_row(
            "SELECT lasts FROM series WHERE name = ?1 AND series = ?2",
            params![name, series],
            |row| row.get(0),
        );
        Ok(found.optional()?.flatten())
    }

    /// All weeks of a name, of all its series, the earliest first.
    pub(crate) fn runs(&self, name: &str) -> Result<Vec<Run>, StateError> {
        let mut statement = self.connection.prepare(
            "SELECT week, series, query_id, epsilon_nano, status, planned, failed, next, reason
             FROM run WHERE name = ?1 ORDER BY week",
        )?;
        let mut rows = statement.query([name])?;
        let mut runs = Vec::new();
        while let Some(row) = rows.next()? {
            runs.push(Run {
                week: day(row, 0)?,
                series: row.get(1)?,
                query_id: row.get(2)?,
                epsilon_nano: u64::try_from(row.get::<_, i64>(3)?)
                    .map_err(|error| StateError::Damaged(error.to_string()))?,
                status: word(row, 4)?,
                planned: moment(row.get(5)?)?,
                failed: row.get(6)?,
                next: moment(row.get(7)?)?,
                reason: row.get(8)?,
            });
        }
        Ok(runs)
    }

    /// Writes down that a week is going to be asked, before it is.
    pub(crate) fn plan(&mut self, name: &str, run: &Run) -> Result<(), StateError> {
        self.connection.execute(
            "INSERT INTO run (name, week, series, query_id, epsilon_nano, status, planned, next)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                name,
                run.week.to_string(),
                run.series,
                run.query_id,
                i64::try_from(run.epsilon_nano)
                    .map_err(|error| StateError::Damaged(error.to_string()))?,
                written(&run.status)?,
                run.planned.timestamp(),
                run.next.timestamp(),
            ],
        )?;
        Ok(())
    }

    /// Writes down that a week couldn't be asked.
    pub(crate) fn fail(
        &mut self,
        name: &str,
        week: NaiveDate,
        status: Status,
        reason: &str,
        next: DateTime<Utc>,
    ) -> Result<(), StateError> {
        self.connection.execute(
            "UPDATE run SET failed = failed + 1, status = ?3, reason = ?4, next = ?5
             WHERE name = ?1 AND week = ?2",
            params![
                name,
                week.to_string(),
                written(&status)?,
                reason,
                next.timestamp()
            ],
        )?;
        Ok(())
    }

    /// The groups of a week whose figures are stored.
    pub(crate) fn groups(&self, name: &str, week: NaiveDate) -> Result<Vec<String>, StateError> {
        let mut statement = self
            .connection
            .prepare("SELECT grouped FROM figure WHERE name = ?1 AND week = ?2")?;
        let groups = statement.query_map(params![name, week.to_string()], |row| row.get(0))?;
        Ok(groups.collect::<Result<_, _>>()?)
    }

    /// The figures of a group in this series before a week, the latest last, at most so many.
    pub(crate) fn past(
        &self,
        name: &str,
        series: u32,
        group: &str,
        before: NaiveDate,
        most: u32,
    ) -> Result<Vec<Past>, StateError> {
        let mut statement = self.connection.prepare(
            "SELECT figure.value, figure.sd, figure.shape, figure.verdict
             FROM figure JOIN run USING (name, week)
             WHERE name = ?1 AND series = ?2 AND grouped = ?3 AND week < ?4
             ORDER BY week DESC LIMIT ?5",
        )?;
        let before = before.to_string();
        let mut rows = statement.query(params![name, series, group, before, most])?;
        let mut past = Vec::new();
        while let Some(row) = rows.next()? {
            past.push(Past {
                released: Released {
                    value: row.get(0)?,
                    sd: row.get(1)?,
                    shape: word::<Shape>(row, 2)?,
                },
                alarmed: word::<Verdict>(row, 3)?.alarms(),
            });
        }
        past.reverse();
        Ok(past)
    }

    /// Keeps a week's new figures with the alerts that follow, all or nothing.
    pub(crate) fn answer(
        &mut self,
        name: &str,
        run: &Run,
        figures: &[StoredFigure],
        alerts: &[Alert],
    ) -> Result<(), StateError> {
        let transaction = self.connection.transaction()?;
        for StoredFigure { figure, judged, .. } in figures {
            transaction.execute(
                "INSERT INTO figure (name, week, grouped, value, low, high, sd, shape,
                     expected, band_low, band_high, verdict)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
                params![
                    name,
                    run.week.to_string(),
                    figure.group,
                    figure.released.value,
                    figure.low,
                    figure.high,
                    figure.released.sd,
                    written(&figure.released.shape)?,
                    judged.expected,
                    judged.low,
                    judged.high,
                    written(&judged.verdict)?,
                ],
            )?;
        }
        for alert in alerts {
            transaction.execute(
                "INSERT INTO alert (key, channel, name, body, raised, next)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
                params![
                    alert.key,
                    written(&alert.channel)?,
                    alert.name,
                    alert.body,
                    alert.raised.timestamp(),
                ],
            )?;
        }
        transaction.execute(
            "UPDATE run SET status = ?3, reason = ?4, next = ?5, failed = ?6
             WHERE name = ?1 AND week = ?2",
            params![
                name,
                run.week.to_string(),
                written(&run.status)?,
                run.reason,
                run.next.timestamp(),
                run.failed,
            ],
        )?;
        transaction.commit()?;
        Ok(())
    }

    /// All figures of a name, the earliest week first.
    pub(crate) fn figures(&self, name: &str) -> Result<Vec<StoredFigure>, StateError> {
        let mut statement = self.connection.prepare(
            "SELECT week, grouped, value, low, high, sd, shape, expected, band_low, band_high,
                 verdict
             FROM figure WHERE name = ?1 ORDER BY week, grouped",
        )?;
        let mut rows = statement.query([name])?;
        let mut figures = Vec::new();
        while let Some(row) = rows.next()? {
            figures.push(StoredFigure {
                week: day(row, 0)?,
                figure: Figure {
                    group: row.get(1)?,
                    released: Released {
                        value: row.get(2)?,
                        sd: row.get(5)?,
                        shape: word(row, 6)?,
                    },
                    low: row.get(3)?,
                    high: row.get(4)?,
                },
                judged: Judged {
                    expected: row.get(7)?,
                    low: row.get(8)?,
                    high: row.get(9)?,
                    verdict: word(row, 10)?,
                },
            });
        }
        Ok(figures)
    }
}

/// A file of the owner's, made if it isn't there.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.mode(0o600);
    }
    options
}

fn lock(path: &Path) -> Result<File, StateError> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".lock");
    let file = private().open(PathBuf::from(beside))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::Error(error)) => return Err(error.into()),
            Err(std::fs::TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(std::fs::TryLockError::WouldBlock) => return Err(StateError::InUse),
        }
    }
}

fn moment(seconds: i64) -> Result<DateTime<Utc>, StateError> {
    DateTime::from_timestamp(seconds, 0)
        .ok_or_else(|| StateError::Damaged(format!("`{seconds}` is no time")))
}

fn day(row: &Row<'_>, place: usize) -> Result<NaiveDate, StateError> {
    let text: String = row.get(place)?;
    text.parse()
        .map_err(|_| StateError::Damaged(format!("`{text}` is no day")))
}

/// One of an enumeration's words.
fn word<T: for<'de> Deserialize<'de>>(row: &Row<'_>, place: usize) -> Result<T, StateError> {
    let text: String = row.get(place)?;
    serde_json::from_value(serde_json::Value::String(text))
        .map_err(|error| StateError::Damaged(error.to_string()))
}

fn written<T: Serialize>(value: &T) -> Result<String, StateError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => Ok(word),
        Ok(other) => Err(StateError::Damaged(format!("`{other}` is no word"))),
        Err(error) => Err(StateError::Damaged(error.to_string())),
    }
}

#[cfg(test)]
mod tests;
