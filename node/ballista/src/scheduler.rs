//! A Ballista scheduler that knows the plans of nodes.

use std::{net::SocketAddr, sync::Arc};

use ballista_core::{config::TaskSchedulingPolicy, extension::SessionConfigExt as _};
use ballista_scheduler::{
    cluster::BallistaCluster, config::SchedulerConfig, scheduler_process::start_server,
};
use datafusion::prelude::SessionConfig;

use crate::{ClusterError, codec::ClusterCodec};

/// How a scheduler runs.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// An executor that isn't heard of for so many seconds is taken for lost, and its tasks run elsewhere.
    pub executor_timeout_seconds: u64,
}

/// Runs a scheduler until the process is told to stop.
///
/// # Errors
/// If it can't listen.
pub async fn run_scheduler(options: SchedulerOptions) -> Result<(), ClusterError> {
    let config = SchedulerConfig {
        bind_host: options.listen.ip().to_string(),
        external_host: options.listen.ip().to_string(),
        bind_port: options.listen.port(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        executor_timeout_seconds: options.executor_timeout_seconds,
        expire_dead_executor_interval_seconds: (options.executor_timeout_seconds / 3).max(1),
        // Results are sums, fetched at once; nothing of them stays longer than it must.
        finished_job_data_clean_up_interval_seconds: 60,
        finished_job_state_clean_up_interval_seconds: 60,
        override_physical_codec: Some(Arc::new(ClusterCodec::default())),
        override_config_producer: Some(Arc::new(session)),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_from_config(&config).await?;
    start_server(cluster, options.listen, Arc::new(config)).await?;
    Ok(())
}

/// What a session begins with; a node's own settings come with its plan.
pub(crate) fn session() -> SessionConfig {
    SessionConfig::new_with_ballista()
        .with_ballista_physical_extension_codec(Arc::new(ClusterCodec::default()))
}
