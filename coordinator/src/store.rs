//! Answers that wait to be fetched, and statements that wait to be run. Each belongs to the
//! certificate that it was made for, for a while.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::caller::Caller;

/// How long something waits.
const AGE: Duration = Duration::from_secs(600);
/// How many wait.
const ENTRIES: usize = 1_000;

/// Things of callers, by handles that can't be guessed.
pub(crate) struct Store<T> {
    entries: Mutex<HashMap<String, Entry<T>>>,
    /// Of all entries together, as `put` is told.
    bytes: usize,
}

struct Entry<T> {
    owner: [u8; 32],
    since: Instant,
    bytes: usize,
    value: T,
}

impl<T: Clone> Store<T> {
    /// A store that holds at most so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            entries: Mutex::default(),
            bytes,
        }
    }

    /// Keeps something for its owner; the oldest make room.
    pub fn put(&self, owner: &Caller, bytes: usize, value: T) -> String {
        let handle = uuid::Uuid::new_v4().to_string();
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, entry| entry.since.elapsed() < AGE);
        while !entries.is_empty()
            && (entries.len() >= ENTRIES
                || entries.values().map(|entry| entry.bytes).sum::<usize>() + bytes > self.bytes)
        {
            let oldest = entries
                .iter()
                .min_by_key(|(_, entry)| entry.since)
                .map(|(handle, _)| handle.clone());
            oldest.map(|handle| entries.remove(&handle));
        }
        entries.insert(
            handle.clone(),
            Entry {
                owner: owner.fingerprint,
                since: Instant::now(),
                bytes,
                value,
            },
        );
        handle
    }

    /// What a handle stands for, for its owner. To anybody else it isn't there.
    pub fn get(&self, owner: &Caller, handle: &[u8]) -> Option<T> {
        let handle = std::str::from_utf8(handle).ok()?;
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries
            .get(handle)
            .filter(|entry| entry.owner == owner.fingerprint && entry.since.elapsed() < AGE)
            .map(|entry| entry.value.clone())
    }

    /// Forgets something of its owner.
    pub fn remove(&self, owner: &Caller, handle: &[u8]) {
        if self.get(owner, handle).is_some()
            && let Ok(handle) = std::str::from_utf8(handle)
        {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            entries.remove(handle);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(byte: u8) -> Caller {
        Caller {
            fingerprint: [byte; 32],
            name: "r".into(),
        }
    }

    #[test]
    fn only_the_owner_gets_it_and_room_is_made() {
        let store = Store::new(100);
        let first = store.put(&caller(1), 60, "first");
        assert_eq!(store.get(&caller(1), first.as_bytes()), Some("first"));
        assert_eq!(store.get(&caller(2), first.as_bytes()), None);
        store.remove(&caller(2), first.as_bytes());
        assert_eq!(store.get(&caller(1), first.as_bytes()), Some("first"));
        let second = store.put(&caller(1), 60, "second");
        assert_eq!(store.get(&caller(1), first.as_bytes()), None);
        assert_eq!(store.get(&caller(1), second.as_bytes()), Some("second"));
        store.remove(&caller(1), second.as_bytes());
        assert_eq!(store.get(&caller(1), second.as_bytes()), None);
    }
}
