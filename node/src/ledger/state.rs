//! What the one writer keeps and changes: each change on disk first, then in memory.

use std::collections::HashSet;

use skerry_proto::{ProjectId, QueryId};

use super::{
    Charge, LedgerError, Reservation, Reserved,
    entry::{Entry, Head, Kind},
    store::{Spent, Store},
    witness::{Seen, Witness},
};

/// All that the one writer changes.
#[derive(Debug)]
pub(super) struct State {
    pub store: Store,
    pub witness: Witness,
    pub seen: Seen,
    pub spent: Spent,
    pub answering: HashSet<QueryId>,
    pub answering_keys: HashSet<(ProjectId, [u8; 32])>,
    pub stopped: bool,
}

impl State {
    pub fn running(&self) -> Result<(), LedgerError> {
        if self.stopped {
            return Err(LedgerError::Stopped);
        }
        Ok(())
    }

    /// After an error it is unknown what is on disk: only opening the ledger anew finds out.
    pub fn stop_on_error<T>(&mut self, result: Result<T, LedgerError>) -> Result<T, LedgerError> {
        if result.is_err() {
            self.stopped = true;
        }
        result
    }

    /// What becomes of a question that is known, or being answered. None: it is to be charged.
    pub fn decide(&mut self, charge: &Charge) -> Result<Option<Reservation>, LedgerError> {
        if let Some(question) = self.store.question(&charge.query_id)? {
            let same = question.project == charge.project.as_str()
                && question.question_hash == charge.question_hash;
            if !same {
                return Ok(Some(Reservation::Conflict));
            }
            let reply = match question.kind {
                Kind::Reuse => Some(self.store.reply_at(question.source)?),
                Kind::Debit | Kind::Reply => self.store.reply(&charge.query_id)?,
            };
            return Ok(Some(match reply {
                Some(reply) => Reservation::Replay(reply),
                None if self.answering.contains(&charge.query_id) => Reservation::InProgress,
                None => Reservation::Lost,
            }));
        }
        if charge.fresh {
            return Ok(None);
        }
        if let Some((source, reply)) = self.store.answer(&charge.project, &charge.answer_key)? {
            let entry = Entry {
                source,
                ..self.entry(Kind::Reuse, charge)
            };
            self.append(&entry, None)?;
            return Ok(Some(Reservation::Reuse(reply)));
        }
        let key = (charge.project.clone(), charge.answer_key);
        Ok(self
            .answering_keys
            .contains(&key)
            .then_some(Reservation::InProgress))
    }

    pub fn debit(&mut self, charge: &Charge) -> Result<(), LedgerError> {
        let entry = Entry {
            loss: charge.loss.clone(),
            epsilon_nano: charge.epsilon_nano,
            delta_atto: charge.delta_atto,
            ..self.entry(Kind::Debit, charge)
        };
        let mut spent = self.spent.clone();
        spent.add(charge.project.as_str(), &charge.loss);
        self.append(&entry, Some(spent))?;
        self.answering.insert(charge.query_id.clone());
        self.answering_keys
            .insert((charge.project.clone(), charge.answer_key));
        Ok(())
    }

    pub fn record(&mut self, reserved: &Reserved, reply: Vec<u8>) -> Result<Head, LedgerError> {
        let mut entry = Entry::about(
            self.seen.entries + 1,
            Kind::Reply,
            &reserved.query_id,
            &reserved.project,
            reserved.question_hash,
            reserved.answer_key,
        );
        entry.reply = Some(reply);
        self.append(&entry, None)?;
        Ok(self.seen.head)
    }

    fn entry(&self, kind: Kind, charge: &Charge) -> Entry {
        Entry::about(
            self.seen.entries + 1,
            kind,
            &charge.query_id,
            &charge.project,
            charge.question_hash,
            charge.answer_key,
        )
    }

    /// Entry and new sums on disk, then in the witness, then here.
    fn append(&mut self, entry: &Entry, spent: Option<Spent>) -> Result<(), LedgerError> {
        let seen = Seen {
            entries: entry.number,
            head: entry.hash(&self.seen.head),
        };
        self.store.append(entry, &seen.head, spent.as_ref())?;
        self.witness.remember(&seen, entry.kind == Kind::Debit)?;
        self.seen = seen;
        if let Some(spent) = spent {
            self.spent = spent;
        }
        Ok(())
    }
}
