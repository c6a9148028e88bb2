//! Trusted. One pass over prepared tables: rows of all tables meet person by person, and what each
//! person contributes is added as the rows go by. Nothing is exchanged, sorted or hashed, and no
//! plan is made beyond the question's own relation.
//!
//! Promise: the vector that the engine's plan of the same question gives (see
//! [`execute`](crate::execute)), before noise, held by tests on generated tables and questions. A
//! question of which some part isn't here is left to that plan.

mod evaluate;
mod filter;
mod given_up;
mod inline;
mod join;
mod lookup;
mod meet;
mod operator;
mod person;
mod relation;
mod rows;
mod scan;
mod sum;
mod units;

use std::{
    collections::BTreeSet,
    num::NonZero,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use datafusion::{
    common::{Result as EngineResult, internal_err},
    execution::SessionState,
    logical_expr::Expr,
};
use skerry_privacy::{
    analysis::{PartitionOf, Quote},
    contribution::BoundedSum,
    policy::Policy,
    question::Query,
};
use tokio::task::JoinSet;

use self::{
    given_up::{GivenUp, Waiting},
    operator::Operator,
    relation::Compiling,
    sum::{Contributions, Last},
};
use crate::{
    plan::rebuild::{amount, row::Groups},
    prepared::Prepared,
};

/// Of a thread: enough for the largest expressions that a pass has.
const STACK_BYTES: usize = 64 << 20;

/// A question made ready for one pass.
#[derive(Debug)]
pub struct Pass {
    rows: Operator,
    contributions: Contributions,
    partitions: usize,
}

impl Pass {
    /// Makes a question ready; nothing if a part of it isn't for a pass.
    ///
    /// # Errors
    /// If the engine refuses an expression.
    pub fn new(
        query: &Query,
        quote: &Quote,
        policy: &Policy,
        prepared: &Prepared,
        state: &SessionState,
    ) -> EngineResult<Option<Self>> {
        let Some(input) = Compiling::new(policy, prepared, state).relation(&query.input)? else {
            return Ok(None);
        };
        let rows = quote.rows();
        let PartitionOf::Public(groups) = rows.partition else {
            // Keys above a threshold are sorted by the engine.
            return Ok(None);
        };
        let groups = Groups::new(groups, rows.key_types)?;
        let keys = query
            .keys
            .iter()
            .enumerate()
            .map(|(key, value)| groups.code(key, input.expression(value)?))
            .collect::<EngineResult<Vec<Expr>>>()?;
        let amounts = rows
            .measures
            .iter()
            .enumerate()
            .map(|(index, measure)| {
                let arguments = measure
                    .arguments()
                    .into_iter()
                    .map(|argument| input.expression(argument))
                    .collect::<EngineResult<_>>()?;
                amount::amount(measure, index, arguments)
            })
            .collect::<EngineResult<Vec<Expr>>>()?;
        let mut needed = BTreeSet::from([input.unit.clone()]);
        for expression in keys.iter().chain(&amounts) {
            needed.extend(rows::names(expression).into_iter().map(str::to_owned));
        }
        let operator = Operator::new(&input.rows, &needed, state)?;
        let contributions =
            Contributions::new(&operator, &input.unit, &groups, &keys, &amounts, state)?;
        Ok(contributions.map(|contributions| Self {
            rows: operator,
            contributions,
            partitions: prepared.manifest().partitions,
        }))
    }

    /// Goes through all partitions, several at a time.
    ///
    /// # Errors
    /// Whatever fails.
    pub async fn run(self: &Arc<Self>, quote: &Arc<Quote>) -> EngineResult<BoundedSum> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let next = Arc::new(AtomicUsize::new(0));
        let waiting = Waiting(GivenUp::default());
        let mut workers = JoinSet::new();
        for _ in 0..threads.min(self.partitions) {
            let (pass, quote) = (Arc::clone(self), Arc::clone(quote));
            let (next, given_up) = (Arc::clone(&next), waiting.0.clone());
            workers.spawn_blocking(move || {
                // Expressions are nested, and so are the functions that carry them out.
                stacker::grow(STACK_BYTES, || pass.partitions(&quote, &next, &given_up))
            });
        }
        let mut total = BoundedSum::new(quote);
        while let Some(finished) = workers.join_next().await {
            match finished {
                Ok(sum) => total.merge(sum?),
                Err(_) => return internal_err!("a partition panicked"),
            }
        }
        Ok(total)
    }

    /// Takes the next partition until there is none.
    fn partitions(
        &self,
        quote: &Quote,
        next: &AtomicUsize,
        given_up: &GivenUp,
    ) -> EngineResult<BoundedSum> {
        let mut batches = self.rows.batches(given_up);
        let mut contributions = self.contributions.clone();
        let mut sum = BoundedSum::new(quote);
        loop {
            let partition = next.fetch_add(1, Ordering::Relaxed);
            if partition >= self.partitions {
                return Ok(sum);
            }
            let mut person = Last::default();
            batches.start(partition)?;
            while let Some(batch) = batches.next()? {
                contributions.add(&batch, &mut sum, &mut person)?;
            }
            // All rows of a person are in one partition.
            sum.finish_person();
        }
    }
}
