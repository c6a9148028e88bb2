//! A small file beside the ledger that has seen its latest head: an earlier copy of the ledger
//! that is put back doesn't contain that head, and is refused.
//!
//! Two slots are written in turn, each with a checksum, so a write that is cut off leaves the one before.

use std::{
    fs::{File, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use super::{LedgerError, entry::Head, private_file};

/// Slots lie this far apart, so that no sector or page holds both.
const SLOT_DISTANCE: u64 = 4096;
const NUMBER: usize = 8;
const HEAD: usize = 32;
const CHECKSUM: usize = 32;
const SLOT: usize = NUMBER + HEAD + CHECKSUM;

/// A state of the ledger: how many entries, and the hash of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    pub entries: u64,
    pub head: Head,
}

/// How long a lock that somebody holds is waited for: a process that is just ending, or a child
/// that has not yet replaced its copy of the parent's files, gives it back at once.
const PATIENCE: Duration = Duration::from_secs(1);

fn lock(file: &File) -> Result<(), LedgerError> {
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(LedgerError::File(error)),
            Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => return Err(LedgerError::InUse),
        }
    }
}

/// The open witness file.
#[derive(Debug)]
pub(super) struct Witness {
    file: File,
}

impl Witness {
    /// Opens the file, made if it isn't there, locks it against other nodes, and reads what it has seen.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<Seen>), LedgerError> {
        let mut file = private_file(path)?;
        lock(&file)?;
        let mut seen: Option<Seen> = None;
        for slot in 0..2 {
            if let Some(found) = read_slot(&mut file, slot)?
                && seen.is_none_or(|other| other.entries <= found.entries)
            {
                seen = Some(found);
            }
        }
        Ok((Self { file }, seen))
    }

    /// Remembers `seen`. `durable`: on disk when this returns. Only debits need that: forgetting a later entry
    /// can lose an answer that was paid for, and never gives budget back.
    pub(super) fn remember(&mut self, seen: &Seen, durable: bool) -> io::Result<()> {
        let mut slot = Vec::with_capacity(SLOT);
        slot.extend_from_slice(&seen.entries.to_be_bytes());
        slot.extend_from_slice(&seen.head);
        let checksum = Sha256::digest(&slot);
        slot.extend_from_slice(&checksum);
        let at = SLOT_DISTANCE * (seen.entries % 2);
        self.file.seek(SeekFrom::Start(at))?;
        self.file.write_all(&slot)?;
        if durable {
            self.file.sync_data()?;
        }
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn on(file: File) -> Self {
        Self { file }
    }
}

/// What the slot holds; nothing if it was never written, or not to its end.
fn read_slot(file: &mut File, slot: u64) -> io::Result<Option<Seen>> {
    file.seek(SeekFrom::Start(SLOT_DISTANCE * slot))?;
    let mut bytes = Vec::with_capacity(SLOT);
    file.take(SLOT as u64).read_to_end(&mut bytes)?;
    if bytes.len() != SLOT {
        return Ok(None);
    }
    let (content, checksum) = bytes.split_at(NUMBER + HEAD);
    if Sha256::digest(content).as_slice() != checksum {
        return Ok(None);
    }
    let (mut entries, mut head) = ([0; NUMBER], [0; HEAD]);
    entries.copy_from_slice(&content[..NUMBER]);
    head.copy_from_slice(&content[NUMBER..]);
    Ok(Some(Seen {
        entries: u64::from_be_bytes(entries),
        head,
    }))
}
