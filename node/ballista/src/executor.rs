//! A Ballista executor that knows the plans of nodes.

use std::{
    fs::DirBuilder,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ballista_core::config::TaskSchedulingPolicy;
use ballista_executor::{
    executor_process::{ExecutorProcessConfig, start_executor_process},
    metrics::ExecutorMetricCollectionPolicy,
};

use crate::{ClusterError, codec::ClusterCodec, scheduler::session};

/// How an executor runs.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// Host and port of the scheduler.
    pub scheduler: String,
    /// Where nodes and other executors fetch results; the port after it is the scheduler's.
    pub listen: SocketAddr,
    /// Where what is exchanged between tasks is written: private data, on a disk of the owner's.
    pub work: PathBuf,
    /// Tasks at once.
    pub tasks: usize,
    /// Memory of all tasks together, in MiB; what doesn't fit spills into the folder.
    pub memory_mib: u64,
    /// How often the scheduler hears of it, in seconds.
    pub heartbeat_seconds: u64,
}

/// Runs an executor until the process is told to stop.
///
/// # Errors
/// If it can't listen, or finds no scheduler.
pub async fn run_executor(options: ExecutorOptions) -> Result<(), ClusterError> {
    private_folder(&options.work)
        .map_err(|error| ClusterError::Folder(options.work.clone(), error))?;
    let no_address = || ClusterError::Address(options.scheduler.clone());
    let (host, port) = options.scheduler.rsplit_once(':').ok_or_else(no_address)?;
    let config = ExecutorProcessConfig {
        bind_host: options.listen.ip().to_string(),
        external_host: Some(options.listen.ip().to_string()),
        port: options.listen.port(),
        grpc_port: options.listen.port().saturating_add(1),
        scheduler_host: host.to_owned(),
        scheduler_port: port.parse().map_err(|_| no_address())?,
        scheduler_connect_timeout_seconds: 30,
        vcores: options.tasks,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(options.work.display().to_string()),
        job_data_ttl_seconds: 3_600,
        job_data_clean_up_interval_seconds: 600,
        executor_heartbeat_interval_seconds: options.heartbeat_seconds,
        // Rows of tasks are counts of persons' rows.
        metric_collection_policy: ExecutorMetricCollectionPolicy::Off,
        memory_pool_size: Some(options.memory_mib << 20),
        override_physical_codec: Some(Arc::new(ClusterCodec::default())),
        override_config_producer: Some(Arc::new(session)),
        ..ExecutorProcessConfig::default()
    };
    start_executor_process(Arc::new(config)).await?;
    Ok(())
}

/// Makes a folder that only its owner can look into, unless it is there.
fn private_folder(path: &Path) -> io::Result<()> {
    let mut folder = DirBuilder::new();
    folder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
    folder.create(path)
}
