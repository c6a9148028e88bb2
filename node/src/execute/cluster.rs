//! Trusted. Questions that run on a cluster of the region's own: the rebuilt plan and the bounded sum go there,
//! sums of whole persons come back.
//!
//! Promise: the plan that leaves is the one that was rebuilt from the question, with [`PersonSums`] on top, and
//! nothing of budget, noise or policy goes with it. Whatever the cluster does with its tasks (run one twice,
//! lose one, send a result again), each person is added at most once: see [`Parts`].

mod codec;
mod operator;
mod parts;

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    common::{Result as EngineResult, internal_err},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::LogicalPlan,
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::col},
    physical_plan::{
        ExecutionPlan, Partitioning, repartition::RepartitionExec, sorts::sort::SortExec,
        stream::RecordBatchStreamAdapter, streaming::PartitionStream,
    },
    prelude::{SessionConfig, SessionContext},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use skerry_privacy::{
    analysis::Quote,
    contribution::{BoundedSum, Bounding, RankingSecret},
    key::Key,
    mechanism::threshold::Threshold,
};

pub use codec::RegionCodec;
use operator::PersonSums;
use parts::{Part, Parts};

use super::{
    keyed::{self, NoisyKeys},
    sorted_by_unit,
};
use crate::plan::rebuild::UNIT;

/// An executor that is lost takes results with it that nobody has fetched yet: then the whole plan runs again.
const TRIES: usize = 3;

/// Machines that run plans.
#[async_trait]
pub trait Cluster: Debug + Send + Sync {
    /// Over how many partitions persons are spread.
    fn partitions(&self) -> usize;

    /// What plans for it need of a session.
    fn session(&self, config: SessionConfig) -> SessionConfig;

    /// Whether a plan can be told to the cluster.
    ///
    /// # Errors
    /// If it can't.
    fn carries(&self, plan: Arc<dyn ExecutionPlan>) -> EngineResult<()>;

    /// Runs all partitions of a plan. Their batches come in any order, those of one partition in its own.
    ///
    /// # Errors
    /// Whatever fails.
    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> EngineResult<SendableRecordBatchStream>;
}

/// The vector of a question whose groups are public.
pub(super) async fn by_cluster(
    rows: &LogicalPlan,
    quote: &Quote,
    cluster: &dyn Cluster,
    context: &SessionContext,
) -> EngineResult<BoundedSum> {
    tried(|| vector(rows, quote, cluster, context)).await
}

/// What comes of a run, or of another where it fails.
async fn tried<T, Run>(run: impl Fn() -> Run) -> EngineResult<T>
where
    Run: Future<Output = EngineResult<T>>,
{
    for _ in 1..TRIES {
        if let Ok(done) = run().await {
            return Ok(done);
        }
    }
    run().await
}

async fn vector(
    rows: &LogicalPlan,
    quote: &Quote,
    cluster: &dyn Cluster,
    context: &SessionContext,
) -> EngineResult<BoundedSum> {
    let mut sums = sums(rows, quote, None, cluster, context).await?;
    let mut parts = Parts::new(cluster.partitions());
    let mut total = BoundedSum::new(quote);
    while let Some(batch) = sums.next().await {
        for part in parts.of_batch(&batch?)? {
            if total.merge_totals(&part.cells).is_err() {
                return internal_err!("a part has other cells");
            }
        }
    }
    parts.finish()?;
    Ok(total)
}

/// The keys of a question that reach its threshold.
pub(super) async fn keys_by_cluster(
    threshold: &Threshold,
    rows: &LogicalPlan,
    quote: &Arc<Quote>,
    cluster: &dyn Cluster,
    context: &SessionContext,
) -> EngineResult<NoisyKeys> {
    tried(|| keys(threshold, rows, quote, cluster, context)).await
}

async fn keys(
    threshold: &Threshold,
    rows: &LogicalPlan,
    quote: &Arc<Quote>,
    cluster: &dyn Cluster,
    context: &SessionContext,
) -> EngineResult<NoisyKeys> {
    let secret = RankingSecret::fresh().map_err(keyed::failed)?;
    let sums = sums(rows, quote, Some(secret), cluster, context).await?;
    let clipped = Arc::new(Mutex::new(0));
    let received = ReceivedKeys {
        sums: Mutex::new(Some(sums)),
        partitions: cluster.partitions(),
        clipped: Arc::clone(&clipped),
        schema: keyed::sums_schema(),
    };
    let sorted = keyed::in_order(vec![Arc::new(received)])?.execute(0, context.task_ctx())?;
    let (keys, cut) = keyed::above(threshold, quote, sorted).await?;
    let clipped = keyed::noisy_clipped(quote, &clipped)?;
    Ok(NoisyKeys { keys, cut, clipped })
}

/// Sums of keys as they come from the cluster.
struct ReceivedKeys {
    /// Taken once.
    sums: Mutex<Option<SendableRecordBatchStream>>,
    partitions: usize,
    clipped: Arc<Mutex<i128>>,
    schema: SchemaRef,
}

impl Debug for ReceivedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReceivedKeys")
    }
}

impl PartitionStream for ReceivedKeys {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let taken = self
            .sums
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let clipped = Arc::clone(&self.clipped);
        let state = (taken, Parts::new(self.partitions));
        let sums = stream::try_unfold(state, move |(sums, mut parts)| {
            let clipped = Arc::clone(&clipped);
            async move {
                let Some(mut sums) = sums else {
                    return internal_err!("sums are read once");
                };
                let Some(batch) = sums.next().await else {
                    return parts.finish().map(|()| None);
                };
                let mut of_keys = vec![];
                for Part { key, cells } in parts.of_batch(&batch?)? {
                    match key {
                        Some(key) => of_keys.push((Key::from_bytes(&key), cells)),
                        None => {
                            let more: i128 = cells.iter().sum();
                            *clipped.lock().unwrap_or_else(PoisonError::into_inner) += more;
                        }
                    }
                }
                Ok(Some((of_keys, (Some(sums), parts))))
            }
        });
        let schema = Arc::clone(&self.schema);
        let batches = sums
            .map_ok(move |sums| stream::iter(keyed::batches(&schema, sums)))
            .try_flatten();
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.schema),
            batches,
        ))
    }
}

/// Whether a question can be told to the cluster. Nothing is sent.
pub(super) async fn carries(
    rows: &LogicalPlan,
    quote: &Quote,
    cluster: &dyn Cluster,
    context: &SessionContext,
) -> EngineResult<()> {
    let secret = match quote.threshold() {
        Some(_) => Some(RankingSecret::fresh().map_err(keyed::failed)?),
        None => None,
    };
    let (plan, _) = planned(rows, quote, secret, cluster, context).await?;
    cluster.carries(plan)
}

/// The sums of all persons, in parts.
async fn sums(
    rows: &LogicalPlan,
    quote: &Quote,
    secret: Option<RankingSecret>,
    cluster: &dyn Cluster,
    context: &SessionContext,
) -> EngineResult<SendableRecordBatchStream> {
    let (plan, config) = planned(rows, quote, secret, cluster, context).await?;
    cluster.run(plan, &config).await
}

/// The plan that leaves, and the session's part of it.
async fn planned(
    rows: &LogicalPlan,
    quote: &Quote,
    secret: Option<RankingSecret>,
    cluster: &dyn Cluster,
    context: &SessionContext,
) -> EngineResult<(Arc<dyn ExecutionPlan>, SessionConfig)> {
    let mut state = context.state();
    let config = cluster.session(state.config().clone());
    *state.config_mut() = config.with_target_partitions(cluster.partitions());
    let sorted = sorted_by_unit(rows.clone(), &state).await?;
    let unit = col(UNIT, &sorted.schema())?;
    let wanted = Partitioning::Hash(vec![Arc::clone(&unit)], cluster.partitions());
    // Parts are told apart by the hash of the unit itself, see `Parts`.
    let sorted = if *sorted.properties().output_partitioning() == wanted {
        sorted
    } else {
        let exchanged = RepartitionExec::try_new(sorted, wanted)?;
        let Some(order) = LexOrdering::new([PhysicalSortExpr::new_default(unit)]) else {
            return internal_err!("no order by the unit");
        };
        Arc::new(SortExec::new(order, Arc::new(exchanged)).with_preserve_partitioning(true))
    };
    let sums = PersonSums::new(sorted, Bounding::of(quote), secret, cluster.partitions())?;
    Ok((Arc::new(sums), state.config().clone()))
}
