//! A running coordinator.

use std::{net::SocketAddr, sync::Arc};

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming};

use crate::{
    config::CoordinatorConfig,
    flight::{Front, MESSAGE_BYTES},
    local,
    regions::{self, read_pem},
    service::Coordinator,
    standing::{self, Clock, system_clock},
};

/// Why a coordinator can't start: a file or an address, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StartError(pub String);

/// A coordinator that answers. It stops when this is dropped.
pub struct RunningCoordinator {
    /// Where it listens; the real port if the configured one was 0.
    pub address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    standing: Option<standing::Running>,
}

impl RunningCoordinator {
    /// Stops taking calls, waits for those that run, and ends.
    pub async fn shutdown(mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.serving).await;
        if let Some(standing) = self.standing.take() {
            standing.stop().await;
        }
    }

    /// Waits until it ends by itself, which it does only when something is wrong.
    pub async fn finished(&mut self) -> String {
        match (&mut self.serving).await {
            Ok(Ok(())) => "stopped".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        }
    }
}

/// Starts a coordinator: binds its address, reads its tables, and answers from then on. Nodes
/// are connected to when they are first needed.
pub async fn serve(config: CoordinatorConfig) -> Result<RunningCoordinator, StartError> {
    serve_at(config, system_clock()).await
}

/// As [`serve`], with a clock that tells when standing questions are due.
pub async fn serve_at(
    config: CoordinatorConfig,
    clock: Clock,
) -> Result<RunningCoordinator, StartError> {
    let listen = config.listen;
    let wrong = |error: &dyn std::fmt::Display| StartError(format!("listen `{listen}`: {error}"));
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(
            read_pem(&config.tls.certificate)?,
            read_pem(&config.tls.key)?,
        ))
        .client_ca_root(Certificate::from_pem(read_pem(
            &config.tls.researcher_authority,
        )?))
        .client_auth_optional(false);
    let regions = regions::connect(&config)?;
    let tables = local::load(&config.tables).await?;
    let coordinator = Arc::new(Coordinator::new(
        regions,
        tables,
        config.regions_per_person,
        config.deadline,
    ));
    let front =
        Front::new(Arc::clone(&coordinator)).map_err(|error| StartError(error.to_string()))?;

    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| wrong(&error))?;
    let address = listener.local_addr().map_err(|error| wrong(&error))?;
    let mut server = Server::builder()
        .tls_config(tls)
        .map_err(|error| StartError(format!("keys and certificates: {error}")))?;
    // An answer is several small writes, of which each would wait for the one before it to arrive.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let service = FlightServiceServer::new(front)
        .max_decoding_message_size(1024 * 1024)
        .max_encoding_message_size(MESSAGE_BYTES);
    let standing = match config.standing {
        questions if questions.is_empty() => None,
        questions => {
            let file = &config.standing_state;
            Some(standing::start(coordinator, questions, file, clock)?)
        }
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(async move {
        server
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, async {
                // A dropped sender stops it as well.
                let _ = stopped.await;
            })
            .await
    });
    tracing::info!(%address, "the coordinator answers");
    Ok(RunningCoordinator {
        address,
        stop: Some(stop),
        serving,
        standing,
    })
}
