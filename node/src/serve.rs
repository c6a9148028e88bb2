//! Runs a node: opens it, listens, serves gRPC over mutual TLS until told to stop.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Once},
    time::Duration,
};

use skerry_proto::{limit, wire::node_server::NodeServer};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming};

use crate::{
    config::NodeConfig,
    execute::Cluster,
    node::{Node, StartError},
    service::NodeService,
};

/// A node that is up. Dropped, it stops without waiting; see [`RunningNode::stop`].
#[derive(Debug)]
pub struct RunningNode {
    /// Where it listens.
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl RunningNode {
    /// Lets questions that run finish, then stops.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // The receiver is gone only if the server has ended by itself.
            let _ = stop.send(());
        }
        if let Ok(Err(error)) = (&mut self.served).await {
            tracing::error!(%error, "the node's server ended with an error");
        }
    }
}

/// Opens a node and serves it.
///
/// # Errors
/// If a part can't be opened, or the address is taken.
pub async fn serve(config: NodeConfig) -> Result<RunningNode, StartError> {
    serve_on(config, None).await
}

/// Opens a node whose questions run on a cluster, if there is one, and serves it.
///
/// # Errors
/// As for [`serve`].
pub async fn serve_on(
    config: NodeConfig,
    cluster: Option<Arc<dyn Cluster>>,
) -> Result<RunningNode, StartError> {
    let read =
        |path: &Path| fs::read(path).map_err(|error| StartError::File(path.to_owned(), error));
    let identity = Identity::from_pem(read(&config.tls.certificate)?, read(&config.tls.key)?);
    let clients = Certificate::from_pem(read(&config.tls.client_authority)?);
    let tls = ServerTlsConfig::new()
        .identity(identity)
        .client_ca_root(clients);
    let node = Arc::new(Node::open_on(&config, cluster).await?);
    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|error| StartError::Listen(config.listen, error))?;
    let address = listener
        .local_addr()
        .map_err(|error| StartError::Listen(config.listen, error))?;
    let service = NodeServer::new(NodeService::new(node))
        .max_decoding_message_size(2 * limit::PLAN_BYTES)
        .max_encoding_message_size(limit::MESSAGE_BYTES);
    // An answer is several small writes, of which each would wait for the one before it to arrive.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = Server::builder()
        .tls_config(tls)?
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, async {
            // A dropped sender stops the server too.
            let _ = stopped.await;
        });
    let served = tokio::spawn(server);
    tracing::info!(region = %config.region, %address, "the node is up");
    Ok(RunningNode {
        address,
        stop: Some(stop),
        served,
    })
}

/// Makes the process say of a panic only where it was: its message can quote a value. Every
/// process that serves a node calls this first.
pub fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            tracing::error!(place, "a part of the program failed");
        }));
    });
}
