//! A region's node: its tables, its ledger, its engine.

use std::{path::PathBuf, sync::Arc, time::Duration};

use datafusion::{
    execution::{
        SessionStateBuilder,
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::FairSpillPool,
        runtime_env::RuntimeEnvBuilder,
    },
    prelude::{SessionConfig, SessionContext},
};
use skerry_privacy::accounting::{Allowance, Budget, BudgetError};
use tokio::sync::Semaphore;

use crate::{
    catalogue::{Catalogue, CatalogueError},
    config::{AllowanceConfig, EngineConfig, NodeConfig},
    data_files::StartedWith,
    data_version::DataVersion,
    execute::{self, Cluster},
    ledger::{Ledger, LedgerError},
    plan::rebuild::WindowPlanner,
    quotes::Quotes,
    statistics,
};

/// Questions that are analysed at the same time, at most: each may take some memory and seconds.
const ANALYSED_AT_ONCE: usize = 8;

/// Why a node can't start. Read by the owner alone.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The tables.
    #[error(transparent)]
    Catalogue(#[from] CatalogueError),
    /// The ledger.
    #[error("the ledger {0}: {1}")]
    Ledger(PathBuf, #[source] LedgerError),
    /// The budgets.
    #[error(transparent)]
    Budget(#[from] BudgetError),
    /// A file.
    #[error("{0}: {1}")]
    File(PathBuf, #[source] std::io::Error),
    /// The engine.
    #[error("the query engine can't start: {0}")]
    Engine(#[from] datafusion::error::DataFusionError),
    /// The network.
    #[error("can't listen on {0}: {1}")]
    Listen(std::net::SocketAddr, #[source] std::io::Error),
    /// A cluster that this program doesn't know of.
    #[error(
        "`engine` is a cluster, and this `skerry` has no part for one; build it with `--features ballista`"
    )]
    NoCluster,
    /// Keys and certificates.
    #[error("TLS: {0}")]
    Tls(#[from] tonic::transport::Error),
}

/// All that a running node holds.
pub struct Node {
    pub(crate) catalogue: Catalogue,
    pub(crate) policy_hash: [u8; 32],
    pub(crate) data_version: DataVersion,
    pub(crate) started_with: StartedWith,
    pub(crate) budget: Budget,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) engine: SessionContext,
    /// Where questions run, if not in this process.
    pub(crate) cluster: Option<Arc<dyn Cluster>>,
    pub(crate) quotes: Quotes,
    /// Questions that are analysed at the same time.
    pub(crate) analysing: Semaphore,
    /// Questions that run at the same time.
    pub(crate) running: Semaphore,
    /// Answers leave at a multiple of this; zero: at once.
    pub(crate) time_grid: Duration,
}

impl Node {
    /// Opens tables and ledger, with the embedded engine.
    ///
    /// # Errors
    /// If any part can't be used.
    pub async fn open(config: &NodeConfig) -> Result<Self, StartError> {
        Self::open_on(config, None).await
    }

    /// Opens tables and ledger, with the cluster that the configuration names.
    ///
    /// # Errors
    /// If any part can't be used.
    pub async fn open_on(
        config: &NodeConfig,
        cluster: Option<Arc<dyn Cluster>>,
    ) -> Result<Self, StartError> {
        match (&config.engine, &cluster) {
            (EngineConfig::Embedded, None) | (EngineConfig::Ballista { .. }, Some(_)) => {}
            (EngineConfig::Embedded, Some(_)) | (EngineConfig::Ballista { .. }, None) => {
                return Err(StartError::NoCluster);
            }
        }
        let budget = Budget {
            project: allowance(config.budget.project),
            total: allowance(config.budget.total),
        };
        budget.check(config.persons)?;
        let engine = engine(config)?;
        let unlisted = |error| StartError::File(config.file.clone(), error);
        // Before the files are looked into: what changes from here on is noticed.
        let own_files = match &config.prepared {
            None => Some(StartedWith::tables(&config.tables).map_err(unlisted)?),
            Some(_) => None,
        };
        let catalogue = Catalogue::open(config, &engine).await?;
        let started_with = match (own_files, &config.prepared, catalogue.prepared()) {
            (Some(own_files), _, _) => own_files,
            (None, Some(folder), Some(prepared)) => {
                StartedWith::prepared(folder, prepared.manifest()).map_err(unlisted)?
            }
            (None, _, _) => StartedWith::tables(&[]).map_err(unlisted)?,
        };
        let policy_hash = catalogue.policy().hash();
        let prepared = catalogue
            .prepared()
            .map(|prepared| prepared.manifest().version);
        let version_file = config.ledger.with_extension("data.json");
        let data_version = DataVersion::current(config, prepared, &version_file)
            .map_err(|error| StartError::File(version_file, error))?;
        let ledger = Ledger::open(&config.ledger, &config.region, budget)
            .map_err(|error| StartError::Ledger(config.ledger.clone(), error))?;
        Ok(Self {
            catalogue,
            policy_hash,
            data_version,
            started_with,
            budget,
            ledger: Arc::new(ledger),
            engine,
            cluster,
            quotes: Quotes::new(),
            analysing: Semaphore::new(ANALYSED_AT_ONCE),
            running: Semaphore::new(config.limits.concurrent),
            time_grid: config.answers.time_grid,
        })
    }
}

fn allowance(config: AllowanceConfig) -> Allowance {
    Allowance {
        epsilon: config.epsilon,
        delta: config.delta,
    }
}

/// An engine of its own for the node, with bounded memory; what doesn't fit spills beside the
/// ledger, where the owner's other private files are.
fn engine(config: &NodeConfig) -> Result<SessionContext, StartError> {
    let bytes = usize::try_from(config.limits.memory_mib)
        .unwrap_or(usize::MAX)
        .saturating_mul(1 << 20);
    let spill = config.ledger.with_extension("spill");
    std::fs::create_dir_all(&spill).map_err(|error| StartError::File(spill.clone(), error))?;
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Directories(vec![spill]));
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let session = SessionConfig::new().with_information_schema(false);
    let mut session = statistics::unused(session);
    // A hash join holds one side in memory and fails where that is too much: a failure that hangs
    // on the data. Sorts spill.
    session.options_mut().optimizer.prefer_hash_join = false;
    // Which side is held in memory is decided when the plan is rebuilt, not by sizes of data.
    session.options_mut().optimizer.join_reordering = false;
    // With a single partition the engine would take a hash join all the same.
    let partitions = &mut session.options_mut().execution.target_partitions;
    *partitions = (*partitions).max(2);
    let state = SessionStateBuilder::new()
        .with_config(session)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rules(execute::rules())
        .with_query_planner(Arc::new(WindowPlanner))
        .build();
    Ok(SessionContext::new_with_state(state))
}
