//! Columns of prepared tables that are held in memory, as questions read them: those that are asked
//! for most, within a limit of the owner's.
//!
//! What is held was checked when it was read: see [`TableFiles`](super::TableFiles). It says
//! nothing that the files don't, and how often a column was asked for is no secret.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use datafusion::arrow::array::{Array as _, ArrayRef, AsArray as _};

/// A column of one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HotColumn {
    /// The table, by number.
    pub table: usize,
    /// The column, by its place.
    pub column: usize,
}

/// A column's part in one partition, batch by batch.
pub type Batches = Arc<Vec<ArrayRef>>;

/// Held columns.
#[derive(Debug)]
pub struct Hot {
    most_bytes: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    parts: HashMap<(HotColumn, usize), (Batches, usize)>,
    bytes: usize,
    /// How often each column was asked for.
    asked: HashMap<HotColumn, u64>,
}

impl Hot {
    /// Holds at most so many bytes.
    #[must_use]
    pub fn new(most_bytes: usize) -> Self {
        Self {
            most_bytes,
            held: Mutex::default(),
        }
    }

    /// A column's part in a partition, if it is held. Counts as asking for it.
    #[must_use]
    pub fn get(&self, column: HotColumn, partition: usize) -> Option<Batches> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        *held.asked.entry(column).or_default() += 1;
        let (batches, _) = held.parts.get(&(column, partition))?;
        Some(Arc::clone(batches))
    }

    /// Holds what was read, if there is room, or room can be made where columns are that were asked
    /// for less.
    pub fn hold(&self, column: HotColumn, partition: usize, batches: Vec<ArrayRef>) {
        let bytes: usize = batches.iter().map(bytes_of).sum();
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.parts.contains_key(&(column, partition)) {
            return;
        }
        let asked = |held: &Held, column| held.asked.get(&column).copied().unwrap_or(0);
        let own = asked(&held, column);
        let over = (held.bytes + bytes).saturating_sub(self.most_bytes);
        if over > 0 {
            let mut colder: Vec<(u64, (HotColumn, usize), usize)> = held
                .parts
                .iter()
                .map(|(part, (_, bytes))| (asked(&held, part.0), *part, *bytes))
                // By half, so that two columns asked for alike don't take turns.
                .filter(|(asked, _, _)| *asked < own / 2)
                .collect();
            if colder.iter().map(|(_, _, bytes)| bytes).sum::<usize>() < over {
                return;
            }
            colder.sort_by_key(|(asked, _, _)| *asked);
            let mut freed = 0;
            for (_, part, bytes) in colder {
                if freed >= over {
                    break;
                }
                held.parts.remove(&part);
                freed += bytes;
            }
            held.bytes -= freed;
        }
        held.bytes += bytes;
        held.parts
            .insert((column, partition), (Arc::new(batches), bytes));
    }

    /// Bytes that are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.held
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .bytes
    }
}

/// The bytes of an array. Words are shared by all batches, and by whoever doesn't hold them.
pub fn bytes_of(array: &ArrayRef) -> usize {
    match array.as_any_dictionary_opt() {
        Some(codes) => codes.keys().get_buffer_memory_size(),
        None => array.get_buffer_memory_size(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::Int64Array;

    use super::*;

    fn batches() -> Vec<ArrayRef> {
        vec![Arc::new(Int64Array::from(vec![7; 128]))]
    }

    const COLUMN: HotColumn = HotColumn {
        table: 0,
        column: 0,
    };
    const OTHER: HotColumn = HotColumn {
        table: 0,
        column: 1,
    };

    #[test]
    fn what_is_asked_for_most_stays_within_the_limit() {
        let hot = Hot::new(2_500);
        assert!(hot.get(COLUMN, 0).is_none());
        for partition in 0..3 {
            hot.hold(COLUMN, partition, batches());
        }
        assert_eq!(hot.bytes(), 2_048);
        assert!(hot.get(COLUMN, 1).is_some());
        assert!(hot.get(COLUMN, 2).is_none(), "there was no room");
        // Asked for as often: it doesn't take the other's place.
        for _ in 0..3 {
            assert!(hot.get(OTHER, 0).is_none());
        }
        hot.hold(OTHER, 0, batches());
        assert!(hot.get(OTHER, 0).is_none());
        for _ in 0..10 {
            assert!(hot.get(OTHER, 0).is_none());
        }
        hot.hold(OTHER, 0, batches());
        assert!(hot.get(OTHER, 0).is_some());
        assert_eq!(hot.bytes(), 2_048);
    }
}
