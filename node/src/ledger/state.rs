//! What the one writer keeps and changes. Changes are made in memory and in an open transaction, and
//! count once that is committed; if it can't be, nothing here counts any more.

use std::collections::HashSet;

use skerry_privacy::accounting::Budget;
use skerry_proto::{ProjectId, QueryId};

use super::{
    Charge, LedgerError, Limit, Reservation, Token,
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
    pub stopped: bool,
    /// What the open transaction holds.
    open: Option<Open>,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    debits: bool,
}

/// Questions that are being answered.
#[derive(Debug, Default)]
pub(super) struct Answering {
    pub ids: HashSet<QueryId>,
    pub keys: HashSet<(ProjectId, [u8; 32])>,
}

/// What became of a question, before a token is made of it.
#[derive(Debug)]
pub(super) enum Decided {
    /// Charged.
    Debited,
    /// Something else.
    Other(Reservation),
}

impl State {
    pub fn new(store: Store, witness: Witness, seen: Seen, spent: Spent) -> Self {
        Self {
            store,
            witness,
            seen,
            spent,
            stopped: false,
            open: None,
        }
    }

    /// Decides what becomes of a question, and if it is to be answered anew, charges it.
    pub fn reserve(
        &mut self,
        charge: &Charge,
        answering: &mut Answering,
        budget: &Budget,
    ) -> Result<Decided, LedgerError> {
        if let Some(reservation) = self.decide(charge, answering)? {
            return Ok(Decided::Other(reservation));
        }
        let project = self.spent.project(charge.project.as_str());
        let fits_project = budget.project.admits(&project, &charge.loss);
        if !fits_project || !budget.total.admits(&self.spent.total, &charge.loss) {
            return Ok(Decided::Other(Reservation::Exhausted {
                limit: if fits_project {
                    Limit::Total
                } else {
                    Limit::Project
                },
                budget: super::status(budget, &self.spent, &charge.project),
            }));
        }
        self.debit(charge)?;
        answering.ids.insert(charge.query_id.clone());
        answering
            .keys
            .insert((charge.project.clone(), charge.answer_key));
        Ok(Decided::Debited)
    }

    /// What becomes of a question that is known, or being answered. None: it is to be charged.
    fn decide(
        &mut self,
        charge: &Charge,
        answering: &Answering,
    ) -> Result<Option<Reservation>, LedgerError> {
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
                None if answering.ids.contains(&charge.query_id) => Reservation::InProgress,
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
        Ok(answering
            .keys
            .contains(&key)
            .then_some(Reservation::InProgress))
    }

    fn debit(&mut self, charge: &Charge) -> Result<(), LedgerError> {
        let entry = Entry {
            loss: charge.loss.clone(),
            epsilon_nano: charge.epsilon_nano,
            delta_atto: charge.delta_atto,
            ..self.entry(Kind::Debit, charge)
        };
        let mut spent = self.spent.clone();
        spent.add(charge.project.as_str(), &charge.loss);
        self.append(&entry, Some(spent))
    }

    /// Stores an answer; the head after it.
    pub fn record(&mut self, token: &Token, reply: Vec<u8>) -> Result<Head, LedgerError> {
        let mut entry = Entry::about(
            self.seen.entries + 1,
            Kind::Reply,
            &token.query_id,
            &token.project,
            token.question_hash,
            token.answer_key,
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

    /// Adds entry and new sums to the open transaction, and to what is here.
    fn append(&mut self, entry: &Entry, spent: Option<Spent>) -> Result<(), LedgerError> {
        let seen = Seen {
            entries: entry.number,
            head: entry.hash(&self.seen.head),
        };
        if self.open.is_none() {
            self.store.begin()?;
        }
        let debits = self.open.is_some_and(|open| open.debits);
        self.open = Some(Open {
            debits: debits || entry.kind == Kind::Debit,
        });
        self.store.append(entry, &seen.head, spent.as_ref())?;
        self.seen = seen;
        if let Some(spent) = spent {
            self.spent = spent;
        }
        Ok(())
    }

    /// All that was appended is on disk when this returns. Whether the witness has to see it, and
    /// if so, whether for good.
    pub fn commit(&mut self) -> Result<Option<bool>, LedgerError> {
        match self.open.take() {
            Some(open) => {
                self.store.commit()?;
                Ok(Some(open.debits))
            }
            None => Ok(None),
        }
    }
}
