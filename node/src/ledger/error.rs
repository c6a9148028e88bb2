//! Why the ledger can't be used. No text here holds a path's content, a value or a row.

use std::io;

/// Why a ledger is refused, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another process has it open.
    #[error("the ledger is in use by another node")]
    InUse,
    /// Others than the owner may read or write it.
    #[error("the ledger may be read or written by others: allow its owner alone (chmod 600)")]
    Permissions,
    /// No ledger, or one of another format.
    #[error("the file is not a ledger of this version")]
    Format,
    /// The ledger of another region.
    #[error("the ledger belongs to another region")]
    OtherRegion,
    /// An entry isn't what its hash says, or the chain has a gap.
    #[error("the ledger was changed: entry {entry} does not fit the chain")]
    Changed {
        /// Number of the first entry that doesn't fit, from 1.
        entry: u64,
    },
    /// The cached sums aren't those of the entries.
    #[error("the ledger was changed: its sums are not those of its entries")]
    Sums,
    /// The witness has seen a later state than this.
    #[error("the ledger is older than its witness: an earlier copy was put back")]
    RolledBack,
    /// The ledger has entries, but its witness is gone or unreadable.
    #[error("the ledger's witness is missing or damaged")]
    WitnessMissing,
    /// There is a witness, but the ledger is gone.
    #[error("the ledger is missing, but its witness is there")]
    LedgerMissing,
    /// An earlier failure to write stopped all releases. A restart checks the ledger again.
    #[error("the ledger is stopped after a failed write; restart the node")]
    Stopped,
    /// Reading or writing failed.
    #[error("the ledger could not be read or written")]
    Storage(#[source] rusqlite::Error),
    /// Reading or writing failed.
    #[error("the ledger could not be read or written")]
    File(#[from] io::Error),
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                Self::InUse
            }
            Some(rusqlite::ErrorCode::NotADatabase) => Self::Format,
            _ => Self::Storage(error),
        }
    }
}
