//! One entry, and the hash that chains it to the one before.

use sha2::{Digest, Sha256};
use skerry_privacy::accounting::Loss;
use skerry_proto::{ProjectId, QueryId, RegionId};

/// SHA-256 of a ledger's entry, or of its beginning.
pub type Head = [u8; 32];

/// What an entry says. The numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Charged; from now on the data may be read for this question.
    Debit = 1,
    /// The exact bytes of the answer to a debited question.
    Reply = 2,
    /// A question with the same answer as an earlier one; uncharged.
    Reuse = 3,
}

impl Kind {
    pub(super) fn of(number: i64) -> Option<Self> {
        match number {
            1 => Some(Self::Debit),
            2 => Some(Self::Reply),
            3 => Some(Self::Reuse),
            _ => None,
        }
    }
}

/// One entry. `reply` is set for a reply only, `source` for a reuse only: the number of that reply.
#[derive(Debug)]
pub(super) struct Entry {
    pub number: u64,
    pub kind: Kind,
    pub query_id: String,
    pub project: String,
    pub question_hash: [u8; 32],
    pub answer_key: [u8; 32],
    pub loss: Loss,
    pub epsilon_nano: u64,
    pub delta_atto: u64,
    pub source: u64,
    pub reply: Option<Vec<u8>>,
}

impl Entry {
    /// Of an entry about `query_id`; loss, source and reply are for the caller to fill in.
    pub(super) fn about(
        number: u64,
        kind: Kind,
        query_id: &QueryId,
        project: &ProjectId,
        question_hash: [u8; 32],
        answer_key: [u8; 32],
    ) -> Self {
        Self {
            number,
            kind,
            query_id: query_id.as_str().to_owned(),
            project: project.as_str().to_owned(),
            question_hash,
            answer_key,
            loss: Loss::ZERO,
            epsilon_nano: 0,
            delta_atto: 0,
            source: 0,
            reply: None,
        }
    }

    /// Of everything in the entry and of the entry before. Fields that vary in length come with it.
    pub(super) fn hash(&self, previous: &Head) -> Head {
        let mut hash = Sha256::new();
        hash.update(b"skerry ledger entry 1");
        hash.update(previous);
        hash.update(self.number.to_be_bytes());
        hash.update([self.kind as u8]);
        field(&mut hash, self.query_id.as_bytes());
        field(&mut hash, self.project.as_bytes());
        hash.update(self.question_hash);
        hash.update(self.answer_key);
        field(&mut hash, &self.loss.to_bytes());
        hash.update(self.epsilon_nano.to_be_bytes());
        hash.update(self.delta_atto.to_be_bytes());
        hash.update(self.source.to_be_bytes());
        match &self.reply {
            None => hash.update([0]),
            Some(reply) => {
                hash.update([1]);
                field(&mut hash, reply);
            }
        }
        hash.finalize().into()
    }
}

/// The head of an empty ledger. `identity` is random, so no two ledgers begin alike.
pub(super) fn beginning(region: &RegionId, identity: &[u8; 16]) -> Head {
    let mut hash = Sha256::new();
    hash.update(b"skerry ledger 1");
    field(&mut hash, region.as_str().as_bytes());
    hash.update(identity);
    hash.finalize().into()
}

fn field(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}
