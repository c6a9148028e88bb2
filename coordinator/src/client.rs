//! A researcher's side of the connection, which the command uses.

use std::{path::Path, time::Duration};

use arrow_flight::{
    Action, FlightClient, FlightDescriptor,
    error::FlightError,
    sql::{CommandStatementQuery, ProstMessageExt},
};
use datafusion::arrow::{array::RecordBatch, compute::concat_batches};
use futures::TryStreamExt as _;
use prost::Message as _;
use serde_json::Value as Json;
use skerry_proto::{ErrorCode, ProjectId, Refusal, limit};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::{
    answer::Answer,
    flight::{ACTION_BUDGET, ACTION_CATALOGUE},
    question::Question,
};

/// The name in every coordinator's certificate.
pub const COORDINATOR_NAME: &str = "coordinator.skerry";

/// PEM texts to connect with.
#[derive(Clone)]
pub struct Credentials {
    /// Who signs the coordinator's certificate.
    pub authority: Vec<u8>,
    /// The researcher's certificate.
    pub certificate: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
}

/// A connection to a coordinator.
pub struct Client {
    channel: Channel,
}

impl Credentials {
    /// From a folder with `federation-ca.pem`, `researcher.pem` and `researcher.key`.
    pub fn load(folder: &Path) -> Result<Self, Refusal> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| {
                Refusal::new(
                    ErrorCode::Configuration,
                    format!("{}: {error}", path.display()),
                    "The folder needs federation-ca.pem, researcher.pem and researcher.key.",
                )
            })
        };
        Ok(Self {
            authority: read("federation-ca.pem")?,
            certificate: read("researcher.pem")?,
            key: read("researcher.key")?,
        })
    }
}

impl Client {
    /// Connects to `https://host:port`.
    pub async fn connect(url: &str, credentials: &Credentials) -> Result<Self, Refusal> {
        let refused = |error: &dyn std::error::Error| {
            let mut message = format!("can't connect to {url}: {error}");
            let mut cause = error.source();
            while let Some(inner) = cause {
                message = format!("{message}: {inner}");
                cause = inner.source();
            }
            Refusal::new(
                ErrorCode::Unavailable,
                message,
                "Is the coordinator running, and are the certificates of its federation?",
            )
        };
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&credentials.authority))
            .identity(Identity::from_pem(
                &credentials.certificate,
                &credentials.key,
            ))
            .domain_name(COORDINATOR_NAME);
        let channel = Endpoint::from_shared(url.to_owned())
            .map_err(|error| refused(&error))?
            .tls_config(tls)
            .map_err(|error| refused(&error))?
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(|error| refused(&error))?;
        Ok(Self { channel })
    }

    fn flight(&self) -> FlightClient {
        let inner =
            arrow_flight::flight_service_client::FlightServiceClient::new(self.channel.clone())
                .max_decoding_message_size(limit::MESSAGE_BYTES);
        FlightClient::new_from_inner(inner)
    }

    /// Asks a question.
    pub async fn query(&self, question: &Question) -> Result<Answer, Refusal> {
        let mut flight = self.flight();
        for (name, value) in question.headers() {
            flight.add_header(name, &value).map_err(refusal)?;
        }
        let command = CommandStatementQuery {
            query: question.sql.clone(),
            transaction_id: None,
        };
        let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
        let info = flight.get_flight_info(descriptor).await.map_err(refusal)?;
        let schema = info
            .clone()
            .try_decode_schema()
            .map_err(|error| refusal(error.into()))?;
        let ticket = info
            .endpoint
            .into_iter()
            .next()
            .and_then(|endpoint| endpoint.ticket)
            .ok_or_else(|| refusal(FlightError::protocol("an answer without a ticket")))?;
        let batches: Vec<RecordBatch> = flight
            .do_get(ticket)
            .await
            .map_err(refusal)?
            .try_collect()
            .await
            .map_err(refusal)?;
        let rows = concat_batches(&schema.into(), &batches).map_err(|e| refusal(e.into()))?;
        Answer::from_rows(rows).map_err(|error| refusal(error.into()))
    }

    /// The tables of all regions.
    pub async fn catalogue(&self) -> Result<Json, Refusal> {
        self.action(ACTION_CATALOGUE, None).await
    }

    /// What a project has left in each region.
    pub async fn budget(&self, project: Option<&ProjectId>) -> Result<Json, Refusal> {
        self.action(ACTION_BUDGET, project).await
    }

    async fn action(&self, name: &str, project: Option<&ProjectId>) -> Result<Json, Refusal> {
        let mut flight = self.flight();
        let question = Question {
            project: project.cloned(),
            ..Question::default()
        };
        for (name, value) in question.headers() {
            flight.add_header(name, &value).map_err(refusal)?;
        }
        let results: Vec<bytes::Bytes> = flight
            .do_action(Action::new(name, bytes::Bytes::new()))
            .await
            .map_err(refusal)?
            .try_collect()
            .await
            .map_err(refusal)?;
        let body = results
            .first()
            .map(bytes::Bytes::as_ref)
            .unwrap_or_default();
        serde_json::from_slice(body)
            .map_err(|error| refusal(FlightError::DecodeError(error.to_string())))
    }
}

/// What went wrong on the way: the coordinator's own refusal where there is one.
fn refusal(error: FlightError) -> Refusal {
    match error {
        FlightError::Tonic(status) => Refusal::from(status.as_ref()),
        other => Refusal::new(ErrorCode::Unavailable, other.to_string(), ""),
    }
}
