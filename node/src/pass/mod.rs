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
mod kept;
mod lookup;
mod meet;
mod narrow;
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
    execution::{SessionState, memory_pool::MemoryPool},
    logical_expr::Expr,
};
use skerry_privacy::{
    analysis::{PartitionOf, Quote},
    contribution::BoundedSum,
    policy::Policy,
    question::Query,
};
use tokio::task::JoinSet;

pub use self::kept::Kept;
use self::{
    given_up::{GivenUp, Waiting},
    kept::{Keeping, KeptBatch, KeptRows, Source},
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
    kept: Arc<Kept>,
    source: Source,
    memory: Arc<dyn MemoryPool>,
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
        let PartitionOf::Public(values) = rows.partition else {
            // Keys above a threshold are sorted by the engine.
            return Ok(None);
        };
        let groups = Groups::new(values, rows.key_types)?;
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
            source: Source::new(query, values, contributions.columns()),
            contributions,
            partitions: prepared.manifest().partitions,
            kept: Arc::clone(prepared.kept()),
            memory: Arc::clone(&state.runtime_env().memory_pool),
        }))
    }

    /// The vector before noise.
    ///
    /// # Errors
    /// Whatever fails.
    pub async fn run(self: &Arc<Self>, quote: &Arc<Quote>) -> EngineResult<BoundedSum> {
        if quote.asks_totals() {
            return self.search(quote).await;
        }
        let rows = match self.kept.take(&self.source) {
            Some(rows) => Arc::new(rows),
            None => return self.read(quote, None).await.map(|(sum, _)| sum),
        };
        self.over_threads(quote, rows.threads.len(), move |pass, quote, thread| {
            Ok((pass.again(quote, &rows, thread)?, ()))
        })
        .await
        .map(|(sum, _)| sum)
    }

    /// A search for bounds, whose rows are kept for the answer.
    async fn search(self: &Arc<Self>, quote: &Arc<Quote>) -> EngineResult<BoundedSum> {
        let groups = quote.rows().groups().len();
        let keeping = Arc::new(Keeping::new(&self.kept, &self.memory, groups));
        let (sum, threads) = self.read(quote, Some(Arc::clone(&keeping))).await?;
        // All threads have ended.
        if let Some(rows) = Arc::into_inner(keeping).and_then(|keeping| keeping.finish(threads)) {
            self.kept.keep(self.source.clone(), rows);
        }
        Ok(sum)
    }

    /// Goes through all partitions, several at a time.
    async fn read(
        self: &Arc<Self>,
        quote: &Arc<Quote>,
        keeping: Option<Arc<Keeping>>,
    ) -> EngineResult<(BoundedSum, Vec<Vec<KeptBatch>>)> {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        let next = AtomicUsize::new(0);
        let waiting = Waiting(GivenUp::default());
        let given_up = waiting.0.clone();
        self.over_threads(
            quote,
            threads.min(self.partitions),
            move |pass, quote, _| {
                let mut kept = vec![];
                let keep = keeping.as_deref().map(|keeping| (keeping, &mut kept));
                let sum = pass.partitions(quote, &next, &given_up, keep)?;
                Ok((sum, kept))
            },
        )
        .await
    }

    /// The sum of what threads find, and what else they have.
    async fn over_threads<T: Send + 'static>(
        self: &Arc<Self>,
        quote: &Arc<Quote>,
        threads: usize,
        work: impl Fn(&Self, &Quote, usize) -> EngineResult<(BoundedSum, T)> + Send + Sync + 'static,
    ) -> EngineResult<(BoundedSum, Vec<T>)> {
        let work = Arc::new(work);
        let mut workers = JoinSet::new();
        for thread in 0..threads {
            let (pass, quote, work) = (Arc::clone(self), Arc::clone(quote), Arc::clone(&work));
            workers.spawn_blocking(move || {
                // Expressions are nested, and so are the functions that carry them out.
                stacker::maybe_grow(STACK_BYTES, STACK_BYTES, || work(&pass, &quote, thread))
            });
        }
        drop(work);
        let mut total = BoundedSum::new(quote);
        let mut others = vec![];
        while let Some(finished) = workers.join_next().await {
            match finished {
                Ok(found) => {
                    let (sum, other) = found?;
                    total.merge(sum);
                    others.push(other);
                }
                Err(_) => return internal_err!("a partition panicked"),
            }
        }
        Ok((total, others))
    }

    /// Takes the next partition until there is none.
    fn partitions(
        &self,
        quote: &Quote,
        next: &AtomicUsize,
        given_up: &GivenUp,
        mut keep: Option<(&Keeping, &mut Vec<KeptBatch>)>,
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
                let keep = keep.as_mut().map(|(keeping, kept)| (*keeping, &mut **kept));
                contributions.add(&batch, &mut sum, &mut person, keep)?;
            }
            // All rows of a person are in one partition.
            sum.finish_person();
        }
    }

    /// What a thread found before, once more.
    fn again(&self, quote: &Quote, rows: &KeptRows, thread: usize) -> EngineResult<BoundedSum> {
        let mut contributions = self.contributions.clone();
        let mut sum = BoundedSum::new(quote);
        for batch in rows.threads.get(thread).into_iter().flatten() {
            contributions.add_kept(batch, &mut sum)?;
        }
        Ok(sum)
    }
}
