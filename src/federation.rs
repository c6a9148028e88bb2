//! A whole federation in one process, over the same mutual TLS as apart.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use skerry_coordinator::{
    RunningCoordinator,
    config::CoordinatorConfig,
    standing::{Clock, system_clock},
};
#[cfg(feature = "ballista")]
use skerry_node::config::EngineConfig;
use skerry_node::{Cluster, RunningNode, config::NodeConfig};
use skerry_proto::{ErrorCode, Refusal, RegionId};

/// What makes a folder a federation.
pub const COORDINATOR_FILE: &str = "coordinator.toml";
/// Where a running federation says which addresses it has.
const RUNNING_FILE: &str = "running.json";

/// A federation that is running.
pub struct Federation {
    coordinator: RunningCoordinator,
    nodes: Vec<(RegionId, RunningNode)>,
    running: RunningFile,
}

/// What stands in the file of a running federation.
#[derive(Serialize, Deserialize)]
struct Running {
    coordinator: SocketAddr,
    process: u32,
}

/// Removed when the federation ends, however it does short of being killed.
struct RunningFile(PathBuf);

impl Drop for RunningFile {
    fn drop(&mut self) {
        // What can't be removed is found out by whoever connects.
        let _ = fs::remove_file(&self.0);
    }
}

/// Starts the coordinator and all nodes of `folder`. Where a port is 0, a free one is taken.
///
/// # Errors
/// When a configuration, key or data file can't be used, or an address is taken.
pub async fn start(folder: &Path) -> Result<Federation, Refusal> {
    start_at(folder, system_clock()).await
}

/// As [`start`], with a clock that tells when standing questions are due.
///
/// # Errors
/// As for [`start`].
pub async fn start_at(folder: &Path, clock: Clock) -> Result<Federation, Refusal> {
    start_on(folder, clock, cluster).await
}

/// As [`start_at`], with the cluster on which each node's questions run.
///
/// # Errors
/// As for [`start`].
pub async fn start_on(
    folder: &Path,
    clock: Clock,
    cluster: impl Fn(&NodeConfig) -> Option<Arc<dyn Cluster>>,
) -> Result<Federation, Refusal> {
    let mut config = load_coordinator(&folder.join(COORDINATOR_FILE))?;
    let mut nodes = Vec::with_capacity(config.regions.len());
    for region in &mut config.regions {
        let file = folder.join(region.id.as_str()).join("node.toml");
        let node = NodeConfig::load(&file)?;
        let cluster = cluster(&node);
        let node = start_node_on(node, cluster).await?;
        region.url = format!("https://{}", reachable(node.address));
        nodes.push((region.id.clone(), node));
    }
    let coordinator = start_coordinator_at(config, clock).await?;
    let running = RunningFile(folder.join(RUNNING_FILE));
    let text = serde_json::to_string(&Running {
        coordinator: reachable(coordinator.address),
        process: std::process::id(),
    });
    text.map_err(std::io::Error::from)
        .and_then(|text| fs::write(&running.0, text))
        .map_err(|error| {
            Refusal::new(
                ErrorCode::Configuration,
                format!("{}: {error}", running.0.display()),
                "",
            )
        })?;
    Ok(Federation {
        coordinator,
        nodes,
        running,
    })
}

impl Federation {
    /// Where researchers connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", reachable(self.coordinator.address))
    }

    /// Each region with its node's address, in the configuration's order.
    #[must_use]
    pub fn regions(&self) -> Vec<(RegionId, SocketAddr)> {
        let address = |node: &RunningNode| reachable(node.address);
        self.nodes
            .iter()
            .map(|(region, node)| (region.clone(), address(node)))
            .collect()
    }

    /// Ends one region's node, as if its machine were off; false when there is none.
    pub async fn stop_node(&mut self, region: &RegionId) -> bool {
        match self.nodes.iter().position(|(id, _)| id == region) {
            Some(place) => {
                self.nodes.remove(place).1.stop().await;
                true
            }
            None => false,
        }
    }

    /// Ends all parts, the coordinator first.
    pub async fn stop(self) {
        self.coordinator.shutdown().await;
        for (_, node) in self.nodes {
            node.stop().await;
        }
        drop(self.running);
    }
}

/// Starts one region's node.
///
/// # Errors
/// When a key, the ledger or a data file can't be used, or the address is taken.
pub async fn start_node(config: NodeConfig) -> Result<RunningNode, Refusal> {
    let cluster = cluster(&config);
    start_node_on(config, cluster).await
}

async fn start_node_on(
    config: NodeConfig,
    cluster: Option<Arc<dyn Cluster>>,
) -> Result<RunningNode, Refusal> {
    let region = config.region.clone();
    let file = config.file.display().to_string();
    skerry_node::serve_on(config, cluster)
        .await
        .map_err(|error| {
            Refusal::new(
                ErrorCode::Configuration,
                format!("the node of `{region}` can't start: {error}"),
                format!("find out more with: skerry doctor {file}"),
            )
        })
}

/// The cluster on which a node's questions run, if its file names one.
#[cfg(feature = "ballista")]
#[must_use]
pub fn cluster(config: &NodeConfig) -> Option<Arc<dyn Cluster>> {
    match &config.engine {
        EngineConfig::Embedded => None,
        EngineConfig::Ballista {
            scheduler,
            partitions,
        } => {
            let cluster = skerry_ballista::BallistaCluster::new(scheduler, *partitions);
            Some(Arc::new(cluster))
        }
    }
}

/// Without the feature there is none, and a node whose file names one is refused.
#[cfg(not(feature = "ballista"))]
#[must_use]
pub fn cluster(_: &NodeConfig) -> Option<Arc<dyn Cluster>> {
    None
}

/// Starts a coordinator.
///
/// # Errors
/// When a key can't be used, or the address is taken.
pub async fn start_coordinator(config: CoordinatorConfig) -> Result<RunningCoordinator, Refusal> {
    start_coordinator_at(config, system_clock()).await
}

/// As [`start_coordinator`], with a clock that tells when standing questions are due.
///
/// # Errors
/// As for [`start_coordinator`].
pub async fn start_coordinator_at(
    config: CoordinatorConfig,
    clock: Clock,
) -> Result<RunningCoordinator, Refusal> {
    let listen = config.listen;
    skerry_coordinator::serve_at(config, clock)
        .await
        .map_err(|error| {
            Refusal::new(
                ErrorCode::Configuration,
                format!("the coordinator can't start at {listen}: {error}"),
                "",
            )
        })
}

/// Reads a coordinator's configuration.
///
/// # Errors
/// The first mistake in it.
pub fn load_coordinator(file: &Path) -> Result<CoordinatorConfig, Refusal> {
    CoordinatorConfig::load(file)
        .map_err(|error| Refusal::new(ErrorCode::Configuration, error.to_string(), ""))
}

/// Where the coordinator of a federation is: as it runs, or else as it is configured.
///
/// # Errors
/// When neither is known.
pub fn address(folder: &Path) -> Result<SocketAddr, Refusal> {
    let running = fs::read_to_string(folder.join(RUNNING_FILE))
        .ok()
        .and_then(|text| serde_json::from_str::<Running>(&text).ok());
    if let Some(running) = running {
        return Ok(running.coordinator);
    }
    let listen = load_coordinator(&folder.join(COORDINATOR_FILE))?.listen;
    if listen.port() == 0 {
        return Err(Refusal::new(
            ErrorCode::Unavailable,
            format!("the federation in {} is not running", folder.display()),
            format!("start it with: skerry up {}", folder.display()),
        ));
    }
    Ok(reachable(listen))
}

/// An address to connect to, for one to listen at: that of this machine when it is any.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        ip if !ip.is_unspecified() => address,
        IpAddr::V4(_) => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), address.port()),
        IpAddr::V6(_) => SocketAddr::new(std::net::Ipv6Addr::LOCALHOST.into(), address.port()),
    }
}
