//! What goes to a cluster and comes back gives the vector that this process gives, before noise. Plans are
//! written and read as for machines elsewhere, and run here.

use async_trait::async_trait;
use datafusion::{
    common::{DataFusionError, Result as EngineResult},
    execution::SendableRecordBatchStream,
    physical_plan::{ExecutionPlan, collect_partitioned, stream::RecordBatchStreamAdapter},
    prelude::SessionConfig,
};
use datafusion_proto::{physical_plan::AsExecutionPlan as _, protobuf::PhysicalPlanNode};
use futures::stream;
use prost::Message as _;

use super::*;
use crate::execute::{Cluster, RegionCodec, execute};

/// Writes plans, reads them, and runs what was read. Goes wrong as often as it is told.
#[derive(Debug, Default)]
pub(super) struct Paper {
    wrong: std::sync::Mutex<Vec<Wrong>>,
}

/// What a cluster may do that it should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    /// One task runs twice, and both results come.
    Twice,
    /// A result comes again.
    Again,
    /// A result is lost.
    Lost,
}

#[async_trait]
impl Cluster for Paper {
    fn partitions(&self) -> usize {
        5
    }

    fn session(&self, config: SessionConfig) -> SessionConfig {
        config
    }

    fn carries(&self, plan: Arc<dyn ExecutionPlan>) -> EngineResult<()> {
        let written = PhysicalPlanNode::try_from_physical_plan(plan, &RegionCodec)?;
        let read = PhysicalPlanNode::decode(written.encode_to_vec().as_slice());
        read.map(|_| ())
            .map_err(|error| DataFusionError::External(Box::new(error)))
    }

    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> EngineResult<SendableRecordBatchStream> {
        let wrong = self.wrong.lock().unwrap().pop();
        let context = SessionContext::new_with_config(config.clone()).task_ctx();
        let written = PhysicalPlanNode::try_from_physical_plan(plan, &RegionCodec)?;
        let written = PhysicalPlanNode::decode(written.encode_to_vec().as_slice()).unwrap();
        let read = || written.try_into_physical_plan(&context, &RegionCodec);
        let schema = read()?.schema();
        let run = async || collect_partitioned(read()?, Arc::clone(&context)).await;
        let mut results = run().await?;
        results.reverse();
        let partitions = results.len();
        let full = (0..partitions).find(|at| {
            let part = results[*at].first();
            part.is_some_and(|batch| batch.column_by_name("bucket").unwrap().is_valid(0))
        });
        if let (Some(wrong), Some(full)) = (wrong, full) {
            let result = results[full].clone();
            match wrong {
                Wrong::Twice => results.push(run().await?.swap_remove(partitions - 1 - full)),
                Wrong::Again => results.push(result),
                Wrong::Lost => drop(results.remove(full)),
            }
        }
        let batches: Vec<_> = results.into_iter().flatten().map(Ok).collect();
        let batches = stream::iter(batches);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// The vector of a question, here and by way of a cluster.
async fn vectors(bench: &Bench, paper: &Paper, sql: &str) -> [Result<Vec<i64>, ()>; 2] {
    let node = &bench.node;
    let admitted = Admitted::admit(node, &question(node, sql)).unwrap();
    let quoted = admitted.quote(node).unwrap();
    let (query, quote) = (&quoted.lowered.query, &quoted.quote);
    let vector = async |cluster: Option<&dyn Cluster>| {
        let run = execute(
            &quoted.ready,
            query,
            quote,
            &node.catalogue,
            &node.engine,
            cluster,
        );
        match run.await {
            Ok(Outcome::Exact(vector)) => Ok(vector.cells().to_vec()),
            Ok(Outcome::AboveThreshold(_)) => panic!("{sql}: the groups are not public"),
            Err(_) => Err(()),
        }
    };
    [vector(None).await, vector(Some(paper)).await]
}

const QUESTIONS: &[&str] = &[
    "SELECT plan, COUNT(*), SUM(mdvis), AVG(meddol) FROM visits GROUP BY plan",
    "SELECT health, COUNT(DISTINCT person_id) FROM visits WHERE totadm > 0 GROUP BY health",
    "SELECT p.kind, SUM(v.mdvis) FROM visits v JOIN plans p ON v.plan = p.plan GROUP BY p.kind",
    "SELECT COUNT(*) FROM (SELECT person_id FROM visits GROUP BY person_id HAVING SUM(mdvis) > 20) t",
    "SELECT COUNT(*) FROM visits v JOIN visits w ON v.person_id = w.person_id AND w.year > v.year AND w.mdvis > v.mdvis",
    "SELECT COUNT(*), SUM(w.mdvis) FROM visits v LEFT JOIN visits w ON v.person_id = w.person_id AND w.year > v.year",
    "SELECT COUNT(*) FROM visits v WHERE EXISTS (SELECT 1 FROM visits w WHERE w.person_id = v.person_id AND w.totadm > v.totadm)",
    "SELECT first, COUNT(*) FROM (SELECT CASE WHEN ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY year) = 1 THEN 1 ELSE 0 END AS first, person_id FROM visits) t GROUP BY first",
    "SELECT COUNT(*) FROM (SELECT person_id, mdvis FROM visits WHERE year = 1 UNION ALL SELECT person_id, mdvis FROM visits WHERE totadm > 0) t",
    "SELECT SUM(CASE WHEN age / NULLIF(mdvis, 0) > 3 THEN 1 ELSE 0 END) FROM visits WHERE health LIKE '%o%'",
    "SELECT MEDIAN(meddol) FROM visits",
    "SELECT COUNT(*) FROM visits WHERE plan = 99",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gives_the_same_vector() {
    let bench = bench().await;
    for sql in QUESTIONS {
        let [here, there] = vectors(&bench, &Paper::default(), sql).await;
        assert!(here.is_ok(), "{sql}");
        assert_eq!(here, there, "{sql}");
    }
}

/// Whatever a cluster does with its tasks, an answer counts each person once, or there is none.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_twice_or_is_lost_is_not_answered() {
    let bench = bench().await;
    for wrong in [Wrong::Twice, Wrong::Again, Wrong::Lost] {
        let paper = Paper::default();
        // Once: the question runs again. Each time: it fails.
        paper.wrong.lock().unwrap().push(wrong);
        let [here, there] = vectors(&bench, &paper, QUESTIONS[0]).await;
        assert_eq!(here, there, "{wrong:?}");
        assert!(paper.wrong.lock().unwrap().is_empty());
        paper.wrong.lock().unwrap().extend([wrong; 3]);
        let [_, there] = vectors(&bench, &paper, QUESTIONS[0]).await;
        assert_eq!(there, Err(()), "{wrong:?}");
    }
}

/// Keys that aren't known beforehand: the same ones are released, of figures that dwarf their noise.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gives_the_same_keys() {
    let bench = bench().await;
    let node = &bench.node;
    let mut asked = question(
        node,
        "SELECT inpdol, COUNT(*) FROM visits WHERE inpdol = 0 GROUP BY inpdol",
    );
    asked.delta_atto = 1_000_000_000_000;
    let quoted = Admitted::admit(node, &asked).unwrap().quote(node).unwrap();
    let (query, quote) = (&quoted.lowered.query, &quoted.quote);
    let paper = Paper::default();
    let mut found = vec![];
    for cluster in [None, Some(&paper as &dyn Cluster)] {
        let run = execute(
            &quoted.ready,
            query,
            quote,
            &node.catalogue,
            &node.engine,
            cluster,
        );
        let Outcome::AboveThreshold(keys) = run.await.unwrap() else {
            panic!("the groups are public");
        };
        let step = quote.measures[0].grid.step();
        let released: Vec<_> = keys.keys.into_iter().collect();
        assert_eq!(released.len(), 1);
        found.push((
            released[0].values.clone(),
            released[0].cells[0] as f64 * step,
        ));
    }
    assert_eq!(found[0].0, found[1].0);
    // Of some 4,000 rows, with noise of a few.
    assert!((found[0].1 - found[1].1).abs() < 500.0, "{found:?}");
    assert!(found[0].1 > 2_000.0, "{found:?}");
}
