//! What was worked out last, so that it isn't worked out again while it still holds.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

/// How many are kept.
const MOST: usize = 64;

/// Values by what they were made from; the oldest make room.
pub(crate) struct Recent<K, V> {
    kept: Mutex<VecDeque<(K, V)>>,
}

impl<K: PartialEq, V: Clone> Recent<K, V> {
    /// With nothing in it.
    pub fn new() -> Self {
        Self {
            kept: Mutex::default(),
        }
    }

    /// What was made from an equal key, if it is kept.
    pub fn get<Q: PartialEq + ?Sized>(&self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
    {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = kept.iter();
        let found = kept.find(|(known, _)| known.borrow() == key);
        found.map(|(_, value)| value.clone())
    }

    /// Keeps a value.
    pub fn keep(&self, key: K, value: V) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != key);
        kept.push_back((key, value));
        if kept.len() > MOST {
            kept.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_make_room() {
        let recent: Recent<String, usize> = Recent::new();
        for value in 0..=MOST {
            recent.keep(value.to_string(), value);
        }
        assert_eq!(recent.get("0"), None);
        assert_eq!(recent.get("1"), Some(1));
        recent.keep("1".to_owned(), 7);
        assert_eq!(recent.get("1"), Some(7));
        assert_eq!(recent.get("2"), Some(2));
    }
}
