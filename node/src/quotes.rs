//! The quotes that were made last. A coordinator asks for a quote and then for the release of the
//! same question: it is analysed once.
//!
//! A quote hangs on the question, the policy and the data's version alone, which don't change while
//! a node runs, so a kept one is the one that would be made anew.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use prost::Message as _;
use sha2::{Digest as _, Sha256};
use skerry_proto::wire;

use crate::pipeline::Quoted;

/// How many are kept, and how many groups they have together, at most.
const MOST: usize = 64;
const MOST_GROUPS: usize = 1 << 17;

/// By a hash of the whole question as it came.
pub struct Quotes {
    kept: Mutex<VecDeque<([u8; 32], Quoted)>>,
}

/// What a question's quote is kept under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuoteKey([u8; 32]);

impl QuoteKey {
    /// Of all that was asked.
    #[must_use]
    pub fn of(question: &wire::Question) -> Self {
        Self(Sha256::digest(question.encode_to_vec()).into())
    }
}

impl Quotes {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            kept: Mutex::new(VecDeque::new()),
        }
    }

    /// The question's quote, if it is kept.
    #[must_use]
    pub fn get(&self, key: QuoteKey) -> Option<Quoted> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(known, _)| *known == key.0);
        found.map(|(_, quoted)| quoted.clone())
    }

    /// Keeps a quote; the oldest go.
    pub fn keep(&self, key: QuoteKey, quoted: &Quoted) {
        let size = |quoted: &Quoted| quoted.quote().rows().groups().len();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(known, _)| *known != key.0);
        kept.push_back((key.0, quoted.clone()));
        let mut groups: usize = kept.iter().map(|(_, quoted)| size(quoted)).sum();
        while kept.len() > MOST || groups > MOST_GROUPS {
            let Some((_, oldest)) = kept.pop_front() else {
                break;
            };
            groups -= size(&oldest);
        }
    }
}
