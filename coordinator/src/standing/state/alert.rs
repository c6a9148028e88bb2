//! Alerts: kept until they are told, and after.

use chrono::{DateTime, Utc};
use rusqlite::params;

use super::{Alert, State, StateError, moment, word, written};

/// The time of what is not tried again.
const NEVER: i64 = 253_402_300_799;

impl State {
    /// Alerts that are not told yet, the oldest first; those whose time is come, if one is given.
    pub(crate) fn untold(&self, until: Option<DateTime<Utc>>) -> Result<Vec<Alert>, StateError> {
        let mut statement = self.connection.prepare(
            "SELECT key, channel, name, body, raised, failed, reason FROM alert
             WHERE sent IS NULL AND next <= ?1 ORDER BY raised, key, channel",
        )?;
        let until = until.map_or(i64::MAX, |until| until.timestamp());
        let mut rows = statement.query([until])?;
        let mut alerts = Vec::new();
        while let Some(row) = rows.next()? {
            alerts.push(Alert {
                key: row.get(0)?,
                channel: word(row, 1)?,
                name: row.get(2)?,
                body: row.get(3)?,
                raised: moment(row.get(4)?)?,
                failed: row.get(5)?,
                reason: row.get(6)?,
            });
        }
        Ok(alerts)
    }

    /// When the next alert is tried again.
    pub(crate) fn next_alert(&self) -> Result<Option<DateTime<Utc>>, StateError> {
        let next: Option<i64> = self.connection.query_row(
            "SELECT min(next) FROM alert WHERE sent IS NULL AND next < ?1",
            [NEVER],
            |row| row.get(0),
        )?;
        next.map(moment).transpose()
    }

    /// Writes down that an alert was told.
    pub(crate) fn told(&mut self, alert: &Alert, now: DateTime<Utc>) -> Result<(), StateError> {
        self.connection.execute(
            "UPDATE alert SET sent = ?3 WHERE key = ?1 AND channel = ?2",
            params![alert.key, written(&alert.channel)?, now.timestamp()],
        )?;
        Ok(())
    }

    /// Writes down that an alert couldn't be told; without a next time it isn't tried again.
    pub(crate) fn not_told(
        &mut self,
        alert: &Alert,
        reason: &str,
        next: Option<DateTime<Utc>>,
    ) -> Result<(), StateError> {
        self.connection.execute(
            "UPDATE alert SET failed = failed + 1, reason = ?3, next = ?4
             WHERE key = ?1 AND channel = ?2",
            params![
                alert.key,
                written(&alert.channel)?,
                reason,
                next.map_or(NEVER, |next| next.timestamp()),
            ],
        )?;
        Ok(())
    }
}
