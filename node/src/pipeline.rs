//! Trusted. The stages of an answer, in order, as types that can't be used out of order.
//!
//! ```text
//! bytes ─► Admitted ─► Quoted ─► Reserved ─► Executed ─► Released ─► bytes
//!          gate,       no data    debit on    exact       noise,
//!          lower       is read    disk        vector      recorded
//! ```
//!
//! Promise: data are read for a [`Reserved`] question alone, which exists only after its debit is
//! on disk; only a [`Released`] answer becomes bytes, and it exists only after those bytes are on
//! disk. What is released under a version of the data was computed from that version alone.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use sha2::{Digest, Sha256};
use skerry_privacy::{
    analysis::{self, Quote, Request},
    mechanism,
    question::QuestionHash,
};
use skerry_proto::{CONTRACT_VERSION, Delta, ErrorCode, ProjectId, QueryId, Refusal, wire};

use crate::{
    answer,
    execute::{NoisyKeys, Outcome, Ready, can_run, execute},
    ledger::{self, Charge, Head, Reservation},
    node::Node,
    plan::{
        gate,
        lower::{self, Lowered},
    },
};

/// An execution that takes longer is given up.
const LONGEST_RUN: Duration = Duration::from_secs(1_800);

/// A question that is understood.
#[derive(Debug)]
pub struct Admitted {
    lowered: Lowered,
    project: ProjectId,
    request: Request,
}

/// A question with its price, and ready to run. No data were read: it hangs on the question, the
/// policy and the data's version alone.
#[derive(Debug, Clone)]
pub struct Quoted {
    lowered: Arc<Lowered>,
    project: ProjectId,
    request: Request,
    quote: Arc<Quote>,
    ready: Arc<Ready>,
    request_hash: QuestionHash,
    layout_hash: QuestionHash,
    answer_key: QuestionHash,
}

/// A question that is paid for.
#[derive(Debug)]
pub struct Reserved {
    quoted: Quoted,
    token: ledger::Reserved,
}

/// A question whose exact vector is there, which goes nowhere but into the mechanism; or of whose keys
/// the mechanism has released those above the threshold.
#[derive(Debug)]
pub struct Executed {
    quoted: Quoted,
    token: ledger::Reserved,
    outcome: Outcome,
}

/// An answer that is on disk and may leave.
#[derive(Debug)]
pub struct Released {
    /// The exact bytes of a `wire::Released`.
    pub bytes: Vec<u8>,
    /// Whether it was paid for just now.
    pub charged: bool,
    /// Head of the ledger's chain after this answer's own entry. A stored answer has none: the
    /// ledger's latest head would tell when other questions are answered.
    pub head: Option<Head>,
}

/// What a reservation came to.
#[derive(Debug)]
pub enum Decision {
    /// Paid for; to be executed.
    Execute(Box<Reserved>),
    /// Answered before.
    Stored(Released),
}

impl Admitted {
    /// Gate and lowering.
    ///
    /// # Errors
    /// A refusal that names the part. Nothing was charged.
    pub fn admit(node: &Node, question: &wire::Question) -> Result<Self, Refusal> {
        if question.contract_version != CONTRACT_VERSION {
            return Err(Refusal::new(
                ErrorCode::VersionMismatch,
                format!(
                    "the question has contract version {}, this node {CONTRACT_VERSION}",
                    question.contract_version
                ),
                "use the same version of Skerry at all regions and the coordinator",
            ));
        }
        let project: ProjectId = question.project.parse().map_err(invalid)?;
        let request = answer::request(question)?;
        let policy = node.catalogue.policy();
        let admitted = gate::admit(&question.plan)?;
        let plan = lower::decode(&admitted, policy, &node.engine)?;
        let lowered = lower::lower(&plan, policy, node.catalogue.region())?;
        Ok(Self {
            lowered,
            project,
            request,
        })
    }

    /// Analysis: groups, measures, noise, cost. Reads the policy alone.
    ///
    /// # Errors
    /// A refusal that names the part. Nothing was charged.
    pub fn quote(self, node: &Node) -> Result<Quoted, Refusal> {
        // Where a budget has no δ, nothing that needs one could ever be paid for.
        let mut request = self.request.clone();
        if node.budget.project.delta == Delta::ZERO || node.budget.total.delta == Delta::ZERO {
            request.delta = Delta::ZERO;
        }
        let quote = analysis::quote(
            &self.lowered.query,
            &self.lowered.wording,
            node.catalogue.policy(),
            &request,
        )?;
        // What would run is made here, so that what can't be made is not charged.
        let ready = Ready::new(&self.lowered.query, &quote, &node.catalogue, &node.engine)
            .map_err(|_| {
                Refusal::new(ErrorCode::PlanRefused, "the question can't be planned", "")
            })?;
        let project = self.project.as_str().as_bytes();
        // What was asked, so that a retry is known after the policy or the data have changed.
        let asked = format!("{:?}", self.request);
        let request_hash = QuestionHash::of(&self.lowered.query, &[asked.as_bytes(), project]);
        // How the cells are to be read. Floats are told apart by `Debug`.
        let bounds = match quote.threshold() {
            None => format!("{:?} {:?} {:?}", quote.noise, quote.norm, quote.measures),
            Some(threshold) => format!(
                "{:?} {:?} {:?} {threshold:?}",
                quote.noise, quote.norm, quote.measures
            ),
        };
        let layout_hash = QuestionHash::of(
            &self.lowered.query,
            &[
                asked.as_bytes(),
                bounds.as_bytes(),
                &node.policy_hash,
                project,
            ],
        );
        // All that decides the answer.
        let answer_key = QuestionHash::of(
            &self.lowered.query,
            &[
                asked.as_bytes(),
                bounds.as_bytes(),
                &node.policy_hash,
                node.data_version.as_bytes(),
                project,
            ],
        );
        Ok(Quoted {
            lowered: Arc::new(self.lowered),
            project: self.project,
            request: self.request,
            quote: Arc::new(quote),
            ready: Arc::new(ready),
            request_hash,
            layout_hash,
            answer_key,
        })
    }
}

impl Quoted {
    /// Whether it can run on this node's cluster, where there is one: what can't is not charged.
    ///
    /// # Errors
    /// A refusal. Nothing was charged.
    pub async fn can_run(&self, node: &Node) -> Result<(), Refusal> {
        let cluster = node.cluster.as_deref();
        can_run(&self.ready, &self.quote, &node.engine, cluster)
            .await
            .map_err(|_| {
                Refusal::new(
                    ErrorCode::TooLarge,
                    "the region's cluster can't be told the question: most likely it is nested too deeply",
                    "use fewer subqueries and joins within each other, or ask in several statements",
                )
            })
    }

    /// The price.
    #[must_use]
    pub fn quote(&self) -> &Quote {
        &self.quote
    }

    /// What was asked beside the question.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whose question it is.
    #[must_use]
    pub fn project(&self) -> &ProjectId {
        &self.project
    }

    /// Stored cells are read with this quote's steps and centres, so after a change of the policy
    /// an old answer would be misread.
    fn same_layout(&self, bytes: &[u8]) -> Result<(), Refusal> {
        let stored = wire::Released::decode(bytes).map_err(|_| failed())?;
        if stored.question_hash == self.layout_hash.as_bytes() {
            Ok(())
        } else {
            Err(Refusal::new(
                ErrorCode::QueryIdConflict,
                "this query id was answered under another policy",
                "leave the query id out to ask under the policy of today",
            ))
        }
    }

    /// Debits the ledger, on disk. Blocks.
    ///
    /// # Errors
    /// If the budget or the id doesn't allow it, or the ledger can't write. Nothing was charged.
    pub fn reserve(self, node: &Node, query_id: QueryId, fresh: bool) -> Result<Decision, Refusal> {
        if !node.started_with.unchanged() {
            return Err(answer::stopped());
        }
        let mut exact = Sha256::new();
        exact.update(self.request_hash.as_bytes());
        exact.update([u8::from(fresh)]);
        let charge = Charge {
            query_id,
            project: self.project.clone(),
            question_hash: exact.finalize().into(),
            answer_key: *self.answer_key.as_bytes(),
            loss: self.quote.loss(),
            epsilon_nano: self.request.epsilon.nano(),
            delta_atto: self.request.delta.atto(),
            fresh,
        };
        let reservation = node
            .ledger
            .reserve_within(&charge, answer::PATIENCE)
            .map_err(answer::ledger_stopped)?;
        match reservation {
            Reservation::Debited(token) => Ok(Decision::Execute(Box::new(Reserved {
                quoted: self,
                token,
            }))),
            Reservation::Replay(bytes) | Reservation::Reuse(bytes) => {
                self.same_layout(&bytes)?;
                Ok(Decision::Stored(Released {
                    bytes,
                    charged: false,
                    head: None,
                }))
            }
            Reservation::Conflict => Err(Refusal::new(
                ErrorCode::QueryIdConflict,
                "this query id was used for another question",
                "leave the query id out, or choose a new one",
            )),
            Reservation::Exhausted { limit, budget } => {
                Err(answer::exhausted(limit, &budget, &self.request))
            }
            // Final: a second draw would be a second release.
            Reservation::Lost => Err(failed()),
            Reservation::InProgress => Err(Refusal::new(
                ErrorCode::Unavailable,
                "the same question is being answered right now",
                "ask again with the same query id",
            )),
        }
    }
}

impl Reserved {
    /// Runs what was made ready from the question.
    ///
    /// # Errors
    /// One refusal without a cause, whatever fails. The debit stands.
    pub async fn execute(self, node: &Node) -> Result<Executed, Refusal> {
        let Self { quoted, token } = self;
        let run = execute(
            &quoted.ready,
            &quoted.lowered.query,
            &quoted.quote,
            &node.catalogue,
            &node.engine,
            node.cluster.as_deref(),
        );
        // That a run is longer than this constant tells of the data's volume, coarsely; the
        // README says so among what isn't protected.
        let outcome = tokio::time::timeout(LONGEST_RUN, run)
            .await
            .map_err(|_| failed())?
            .map_err(|_| failed())?;
        Ok(Executed {
            quoted,
            token,
            outcome,
        })
    }
}

impl Executed {
    /// Adds the noise and stores the exact bytes of the answer. Blocks.
    ///
    /// # Errors
    /// One refusal without a cause, whatever fails. The debit stands.
    pub fn release(self, node: &Node) -> Result<Released, Refusal> {
        let Self {
            quoted,
            token,
            outcome,
        } = self;
        // Part of the vector may be from other files than the answer would be stored under.
        if !node.started_with.unchanged() {
            return Err(failed());
        }
        let noise = &quoted.quote.noise;
        let (cells, groups, cut) = match outcome {
            Outcome::Exact(vector) => {
                let cells = mechanism::release(noise, vector.cells()).map_err(|_| failed())?;
                (cells, vec![], false)
            }
            Outcome::AboveThreshold(NoisyKeys { keys, cut, clipped }) => {
                let groups = keys.iter().map(|key| answer::group(&key.values)).collect();
                let cells = keys.into_iter().flat_map(|key| key.cells);
                (cells.chain(clipped).collect(), groups, cut)
            }
        };
        let bytes = wire::Released {
            region: node.catalogue.region().to_string(),
            question_hash: quoted.layout_hash.as_bytes().to_vec(),
            cells,
            noise: Some(answer::noise(noise)),
            cost: Some(answer::cost(&quoted.quote, &quoted.request)),
            groups,
            cut,
        }
        .encode_to_vec();
        let head = node
            .ledger
            .record(token, bytes.clone())
            .map_err(|_| failed())?;
        Ok(Released {
            bytes,
            charged: true,
            head: Some(head),
        })
    }
}

fn invalid(error: skerry_proto::IdError) -> Refusal {
    Refusal::new(ErrorCode::InvalidParameter, error.to_string(), "")
}

/// The one refusal after a debit.
pub(crate) fn failed() -> Refusal {
    Refusal::new(
        ErrorCode::Failed,
        "the question was charged and could not be answered",
        "nothing more is said, since the cause could hang on the data; ask the region's owner",
    )
}

#[cfg(test)]
mod tests;
