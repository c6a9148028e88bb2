//! Calls to the regions' nodes: gRPC over mutual TLS, one kept connection a region.

use std::{fs, path::Path, time::Duration};

use async_trait::async_trait;
use skerry_proto::{
    CONTRACT_VERSION, ErrorCode, ProjectId, Refusal, RegionId, limit,
    wire::{self, node_client::NodeClient},
};
use tonic::{
    Code, Request, Response, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::{config::CoordinatorConfig, refuse::refuse, server::StartError};

/// Before a call is made again.
const PAUSE: Duration = Duration::from_millis(100);

/// What can be asked of one region. The real one is [`GrpcNode`].
#[async_trait]
pub(crate) trait Node: Send + Sync {
    /// The owner's policy.
    async fn catalogue(&self, deadline: Duration) -> Result<wire::Catalogue, Refusal>;
    /// What a question would release and cost.
    async fn quote(
        &self,
        question: wire::Question,
        deadline: Duration,
    ) -> Result<wire::Quote, Refusal>;
    /// One noisy vector.
    async fn release(
        &self,
        request: wire::ReleaseRequest,
        deadline: Duration,
    ) -> Result<wire::ReleaseReply, Refusal>;
    /// What a project has left.
    async fn budget(
        &self,
        project: &ProjectId,
        deadline: Duration,
    ) -> Result<wire::Budget, Refusal>;
}

/// One region and the way to it.
pub(crate) struct Region {
    /// Its name, as configured and as its certificate says.
    pub id: RegionId,
    /// The way to its node.
    pub node: Box<dyn Node>,
}

/// A node behind a TLS connection that is made when it is first needed, and again when it broke.
pub(crate) struct GrpcNode {
    id: RegionId,
    client: NodeClient<Channel>,
}

/// Reads a PEM file, naming it when that fails.
pub(crate) fn read_pem(path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|error| StartError(format!("{}: {error}", path.display())))
}

/// Clients of all configured regions. Nothing is connected yet.
pub(crate) fn connect(config: &CoordinatorConfig) -> Result<Vec<Region>, StartError> {
    let authority = Certificate::from_pem(read_pem(&config.tls.node_authority)?);
    let identity = Identity::from_pem(
        read_pem(&config.tls.certificate)?,
        read_pem(&config.tls.key)?,
    );
    config
        .regions
        .iter()
        .map(|region| {
            let wrong = |error: tonic::transport::Error| {
                StartError(format!(
                    "region `{}`, url `{}`: {error}",
                    region.id, region.url
                ))
            };
            // The certificate must be this very region's, whatever host the address names.
            let tls = ClientTlsConfig::new()
                .ca_certificate(authority.clone())
                .identity(identity.clone())
                .domain_name(format!("{}.node.skerry", region.id));
            let channel = Endpoint::from_shared(region.url.clone())
                .map_err(wrong)?
                .tls_config(tls)
                .map_err(wrong)?
                .connect_timeout(Duration::from_secs(5))
                .tcp_nodelay(true)
                .http2_keep_alive_interval(Duration::from_secs(30))
                .connect_lazy();
            let client = NodeClient::new(channel)
                .max_decoding_message_size(limit::MESSAGE_BYTES)
                .max_encoding_message_size(limit::MESSAGE_BYTES);
            Ok(Region {
                id: region.id.clone(),
                node: Box::new(GrpcNode {
                    id: region.id.clone(),
                    client,
                }),
            })
        })
        .collect()
}

impl GrpcNode {
    /// Makes a call, until the deadline. Every call can be made again: a release is known by its
    /// query id. So a connection that broke since the last call is made again, once.
    async fn call<M, T, F>(
        &self,
        message: M,
        deadline: Duration,
        call: impl Fn(NodeClient<Channel>, Request<M>) -> F,
    ) -> Result<T, Refusal>
    where
        M: Clone,
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let calls = async {
            let first = call(self.client.clone(), Request::new(message.clone())).await;
            match first {
                Err(status)
                    if status.code() == Code::Unavailable && status.details().is_empty() =>
                {
                    tokio::time::sleep(PAUSE).await;
                    call(self.client.clone(), Request::new(message)).await
                }
                other => other,
            }
        };
        match tokio::time::timeout(deadline, calls).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => {
                let refusal = Refusal::from(&status);
                if refusal.code == ErrorCode::Unavailable {
                    tracing::warn!(region = %self.id, message = %status.message(), "no answer");
                }
                Err(refusal)
            }
            Err(_) => refuse(
                ErrorCode::RegionMissing,
                format!("no answer within {} ms", deadline.as_millis()),
                "",
            ),
        }
    }
}

#[async_trait]
impl Node for GrpcNode {
    async fn catalogue(&self, deadline: Duration) -> Result<wire::Catalogue, Refusal> {
        let call = |mut client: NodeClient<Channel>, request| async move {
            client.get_catalogue(request).await
        };
        let catalogue = self.call(wire::CatalogueRequest {}, deadline, call).await?;
        if catalogue.contract_version != CONTRACT_VERSION {
            return refuse(
                ErrorCode::VersionMismatch,
                format!(
                    "region `{}` speaks version {} of the contract, the coordinator {CONTRACT_VERSION}",
                    self.id, catalogue.contract_version
                ),
                "Run the same release on both sides.",
            );
        }
        if catalogue.region != self.id.as_str() {
            return refuse(
                ErrorCode::Configuration,
                format!(
                    "the node at the address of region `{}` says that it is `{}`",
                    self.id, catalogue.region
                ),
                "",
            );
        }
        Ok(catalogue)
    }

    async fn quote(
        &self,
        question: wire::Question,
        deadline: Duration,
    ) -> Result<wire::Quote, Refusal> {
        let call = |mut client: NodeClient<Channel>, request| async move {
            client.get_quote(request).await
        };
        self.call(question, deadline, call).await
    }

    async fn release(
        &self,
        request: wire::ReleaseRequest,
        deadline: Duration,
    ) -> Result<wire::ReleaseReply, Refusal> {
        let call =
            |mut client: NodeClient<Channel>, request| async move { client.release(request).await };
        self.call(request, deadline, call).await
    }

    async fn budget(
        &self,
        project: &ProjectId,
        deadline: Duration,
    ) -> Result<wire::Budget, Refusal> {
        let request = wire::BudgetRequest {
            project: project.to_string(),
        };
        let call = |mut client: NodeClient<Channel>, request| async move {
            client.get_budget(request).await
        };
        self.call(request, deadline, call).await
    }
}
