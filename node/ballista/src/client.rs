//! The node's side: hands a rebuilt plan to the scheduler and fetches the sums.

use std::sync::Arc;

use async_trait::async_trait;
use ballista_core::{
    execution_plans::execute_physical_plan,
    extension::{SessionConfigExt as _, SessionConfigHelperExt as _},
};
use datafusion::{
    common::{DataFusionError, Result as EngineResult},
    execution::SendableRecordBatchStream,
    physical_plan::{ExecutionPlan, coalesce_partitions::CoalescePartitionsExec},
    prelude::SessionConfig,
};
use datafusion_proto::{physical_plan::AsExecutionPlan as _, protobuf::PhysicalPlanNode};
use prost::Message as _;
use skerry_node::Cluster;
use uuid::Uuid;

use crate::codec::ClusterCodec;

/// The most that one message between node and scheduler holds: a plan, not data.
const MESSAGE_BYTES: usize = 64 << 20;
/// More operators than the scheduler puts around a plan or a stage of it.
const ROUND_ABOUT: usize = 4;

/// A Ballista cluster, known by its scheduler.
#[derive(Debug, Clone)]
pub struct BallistaCluster {
    scheduler: String,
    partitions: usize,
}

impl BallistaCluster {
    /// The cluster of the scheduler at this host and port, which isn't called yet.
    #[must_use]
    pub fn new(scheduler: &str, partitions: usize) -> Self {
        Self {
            scheduler: format!("http://{scheduler}"),
            partitions,
        }
    }
}

#[async_trait]
impl Cluster for BallistaCluster {
    fn partitions(&self) -> usize {
        self.partitions
    }

    fn session(&self, config: SessionConfig) -> SessionConfig {
        config
            .upgrade_for_ballista()
            .ballista_restricted_configuration()
            .with_ballista_physical_extension_codec(Arc::new(ClusterCodec::default()))
            .with_ballista_grpc_client_max_message_size(MESSAGE_BYTES)
            // Which way a join goes must not hang on how many rows there are, and partitions stay as they are
            // hashed.
            .with_ballista_broadcast_join_threshold_bytes(0)
            .with_ballista_broadcast_join_threshold_rows(0)
            .with_ballista_adaptive_query_planner(false)
            .with_ballista_coalesce_enabled(false)
    }

    fn carries(&self, plan: Arc<dyn ExecutionPlan>) -> EngineResult<()> {
        let within = (0..ROUND_ABOUT).fold(plan, |plan, _| {
            Arc::new(CoalescePartitionsExec::new(plan)) as Arc<dyn ExecutionPlan>
        });
        let message = PhysicalPlanNode::try_from_physical_plan(within, &ClusterCodec::default())?;
        // What is nested too deeply is written, and can't be read.
        PhysicalPlanNode::decode(message.encode_to_vec().as_slice())
            .map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(())
    }

    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> EngineResult<SendableRecordBatchStream> {
        execute_physical_plan::<PhysicalPlanNode>(
            self.scheduler.clone(),
            &config.ballista_config(),
            plan,
            &ClusterCodec::default(),
            Uuid::new_v4().to_string(),
            config.clone(),
        )
        .await
    }
}
