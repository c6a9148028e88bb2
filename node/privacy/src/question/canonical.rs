//! The identity of a question: the hash of its canonical form.

use std::fmt;

use sha2::{Digest, Sha256};

use super::Query;

/// SHA-256 over a question's canonical form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuestionHash([u8; 32]);

impl QuestionHash {
    /// Hashes the query and everything else that decides the answer: parts are hashed with their
    /// lengths, so that no two lists of parts run together.
    ///
    /// The form is Rust's `Debug` of the closed types: it names every variant and field, and no
    /// two different queries share it (texts are escaped and quoted, floats print exactly).
    #[must_use]
    pub fn of(query: &Query, context: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        let form = format!("{query:?}");
        for part in std::iter::once(form.as_bytes()).chain(context.iter().copied()) {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for QuestionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
