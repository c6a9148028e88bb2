//! Arrow Flight SQL: the one way in for researchers.
//!
//! A statement runs once, when its FlightInfo is asked for; the ticket then gives that answer to
//! the certificate that asked, as often as it likes. Preparing a statement runs nothing.

use std::{pin::Pin, sync::Arc};

use arrow_flight::{
    Action, ActionType, FlightDescriptor, FlightEndpoint, FlightInfo, Ticket,
    encode::FlightDataEncoderBuilder,
    error::FlightError,
    flight_service_server::FlightService,
    sql::{
        ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
        ActionCreatePreparedStatementResult, CommandGetCatalogs, CommandGetDbSchemas,
        CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables, CommandPreparedStatementQuery,
        CommandStatementQuery, ProstMessageExt, SqlInfo, TicketStatementQuery,
        metadata::{SqlInfoData, SqlInfoDataBuilder},
        server::FlightSqlService,
    },
};
use datafusion::arrow::{array::RecordBatch, datatypes::SchemaRef};
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use prost::Message as _;
use skerry_proto::{
    ErrorCode, ProjectId, Refusal, limit,
    planning::{CATALOG, SCHEMA},
};
use tonic::{Request, Response, Status, metadata::MetadataMap};

use crate::{
    caller::Caller,
    question::{DEFAULT_PROJECT, Question},
    service::Coordinator,
    store::Store,
};

/// Asks for the catalogue, as JSON.
pub const ACTION_CATALOGUE: &str = "skerry.catalogue";
/// Asks what a project (header `skerry-project`) has left, as JSON.
pub const ACTION_BUDGET: &str = "skerry.budget";

/// Bytes of answers that wait to be fetched.
const WAITING_BYTES: usize = 512 * 1024 * 1024;
/// Bytes of statements that wait to be run.
const STATEMENT_BYTES: usize = 32 * 1024 * 1024;

/// The Flight SQL front of a coordinator.
pub(crate) struct Front {
    coordinator: Arc<Coordinator>,
    answers: Store<RecordBatch>,
    statements: Store<String>,
    about: SqlInfoData,
}

type DoGet = <Front as FlightService>::DoGetStream;
type DoAction = <Front as FlightService>::DoActionStream;

/// A refusal as other clients see it too: the hint in the text, and all of it in the details.
fn status(refusal: Refusal) -> Status {
    let text = format!("{}: {}. {}", refusal.code, refusal.message, refusal.hint);
    let plain = Status::from(refusal);
    Status::with_details(
        plain.code(),
        text.trim_end(),
        bytes::Bytes::copy_from_slice(plain.details()),
    )
}

fn internal(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "an answer could not be written");
    Status::internal("the answer could not be written")
}

fn gone() -> Status {
    Status::not_found("there is no such answer or statement of yours, or no longer")
}

impl Front {
    /// A front for a coordinator.
    pub fn new(coordinator: Arc<Coordinator>) -> Result<Self, FlightError> {
        let mut about = SqlInfoDataBuilder::new();
        about.append(SqlInfo::FlightSqlServerName, "Skerry");
        about.append(SqlInfo::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
        about.append(SqlInfo::FlightSqlServerArrowVersion, "1.3");
        about.append(SqlInfo::FlightSqlServerReadOnly, true);
        Ok(Self {
            coordinator,
            answers: Store::new(WAITING_BYTES),
            statements: Store::new(STATEMENT_BYTES),
            about: about.build()?,
        })
    }

    async fn run(
        &self,
        sql: String,
        caller: &Caller,
        headers: &MetadataMap,
        descriptor: FlightDescriptor,
    ) -> Result<Response<FlightInfo>, Status> {
        let question = Question::from_headers(sql, headers).map_err(status)?;
        let answer = match self.coordinator.answer(&question).await {
            Ok(answer) => answer,
            Err(refusal) => {
                tracing::info!(researcher = %caller.name, code = %refusal.code, "refused");
                return Err(status(refusal));
            }
        };
        tracing::info!(
            researcher = %caller.name,
            query_id = %answer.record.query_id,
            epsilon = answer.record.privacy.epsilon,
            "answered"
        );
        let rows = answer.rows;
        let schema = rows.schema();
        let (records, bytes) = (rows.num_rows(), rows.get_array_memory_size());
        let handle = self.answers.put(caller, bytes, rows);
        let ticket = Ticket::new(
            TicketStatementQuery {
                statement_handle: handle.into(),
            }
            .as_any()
            .encode_to_vec(),
        );
        Ok(Response::new(
            FlightInfo::new()
                .try_with_schema(&schema)
                .map_err(internal)?
                .with_descriptor(descriptor)
                .with_endpoint(FlightEndpoint::new().with_ticket(ticket))
                .with_total_records(i64::try_from(records).unwrap_or(-1))
                .with_total_bytes(i64::try_from(bytes).unwrap_or(-1))
                .with_ordered(true),
        ))
    }
}

/// A batch as a stream of Flight messages, schema first.
fn streamed(schema: SchemaRef, batch: RecordBatch) -> Response<DoGet> {
    let messages = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .build(stream::iter([Ok(batch)]))
        .map_err(Status::from);
    Response::new(Box::pin(messages) as DoGet)
}

/// A FlightInfo whose ticket is the command itself.
fn metadata_info(
    command: &impl ProstMessageExt,
    schema: &SchemaRef,
    descriptor: FlightDescriptor,
) -> Result<Response<FlightInfo>, Status> {
    let ticket = Ticket::new(command.as_any().encode_to_vec());
    Ok(Response::new(
        FlightInfo::new()
            .try_with_schema(schema)
            .map_err(internal)?
            .with_descriptor(descriptor)
            .with_endpoint(FlightEndpoint::new().with_ticket(ticket)),
    ))
}

#[tonic::async_trait]
impl FlightSqlService for Front {
    type FlightService = Self;

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = Caller::of(&request)?;
        let headers = request.metadata().clone();
        self.run(query.query, &caller, &headers, request.into_inner())
            .await
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        let caller = Caller::of(&request)?;
        let rows = self
            .answers
            .get(&caller, &ticket.statement_handle)
            .ok_or_else(gone)?;
        Ok(streamed(rows.schema(), rows))
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let caller = Caller::of(&request)?;
        let bytes = query.query.len();
        let handle = self.statements.put(&caller, bytes, query.query);
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: handle.into(),
            dataset_schema: bytes::Bytes::new(),
            parameter_schema: bytes::Bytes::new(),
        })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let caller = Caller::of(&request)?;
        let sql = self
            .statements
            .get(&caller, &query.prepared_statement_handle)
            .ok_or_else(gone)?;
        let headers = request.metadata().clone();
        self.run(sql, &caller, &headers, request.into_inner()).await
    }

    async fn do_action_close_prepared_statement(
        &self,
        query: ActionClosePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<(), Status> {
        let caller = Caller::of(&request)?;
        self.statements
            .remove(&caller, &query.prepared_statement_handle);
        Ok(())
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Caller::of(&request)?;
        let schema = query.into_builder().schema();
        metadata_info(&query, &schema, request.into_inner())
    }

    async fn do_get_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        Caller::of(&request)?;
        let mut builder = query.into_builder();
        builder.append(CATALOG);
        Ok(streamed(
            builder.schema(),
            builder.build().map_err(internal)?,
        ))
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Caller::of(&request)?;
        let schema = query.clone().into_builder().schema();
        metadata_info(&query, &schema, request.into_inner())
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        Caller::of(&request)?;
        let mut builder = query.into_builder();
        builder.append(CATALOG, SCHEMA);
        let schema = builder.schema();
        Ok(streamed(schema, builder.build().map_err(internal)?))
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Caller::of(&request)?;
        let schema = query.clone().into_builder().schema();
        metadata_info(&query, &schema, request.into_inner())
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        Caller::of(&request)?;
        let catalogue = self.coordinator.tables().await.map_err(status)?;
        let mut builder = query.into_builder();
        for (name, table) in &catalogue.tables {
            builder
                .append(CATALOG, SCHEMA, name, "TABLE", &table.schema)
                .map_err(Status::from)?;
        }
        let schema = builder.schema();
        Ok(streamed(schema, builder.build().map_err(internal)?))
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Caller::of(&request)?;
        let schema = query.into_builder().schema();
        metadata_info(&query, &schema, request.into_inner())
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        Caller::of(&request)?;
        let mut builder = query.into_builder();
        builder.append("TABLE");
        let schema = builder.schema();
        Ok(streamed(schema, builder.build().map_err(internal)?))
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Caller::of(&request)?;
        let schema = query.clone().into_builder(&self.about).schema();
        metadata_info(&query, &schema, request.into_inner())
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Result<Response<DoGet>, Status> {
        Caller::of(&request)?;
        let builder = query.into_builder(&self.about);
        let schema = builder.schema();
        Ok(streamed(schema, builder.build().map_err(internal)?))
    }

    async fn list_custom_actions(&self) -> Option<Vec<Result<ActionType, Status>>> {
        let action = |name: &str, description: &str| {
            Ok(ActionType {
                r#type: name.to_owned(),
                description: description.to_owned(),
            })
        };
        Some(vec![
            action(ACTION_CATALOGUE, "The tables of all regions, as JSON"),
            action(
                ACTION_BUDGET,
                "What a project has left in each region, as JSON",
            ),
        ])
    }

    async fn do_action_fallback(
        &self,
        request: Request<Action>,
    ) -> Result<Response<DoAction>, Status> {
        Caller::of(&request)?;
        let told = match request.get_ref().r#type.as_str() {
            ACTION_CATALOGUE => self.coordinator.catalogue().await.map_err(status)?,
            ACTION_BUDGET => {
                let project = project(request.metadata()).map_err(status)?;
                self.coordinator.budget(&project).await.map_err(status)?
            }
            other => {
                return Err(Status::unimplemented(format!(
                    "there is no action `{other}`"
                )));
            }
        };
        let result = arrow_flight::Result {
            body: told.to_string().into_bytes().into(),
        };
        let results: Pin<Box<dyn Stream<Item = _> + Send>> = stream::iter([Ok(result)]).boxed();
        Ok(Response::new(results))
    }

    async fn register_sql_info(&self, _id: i32, _result: &SqlInfo) {}
}

fn project(headers: &MetadataMap) -> Result<ProjectId, Refusal> {
    match Question::from_headers(String::new(), headers)?.project {
        Some(project) => Ok(project),
        None => DEFAULT_PROJECT
            .parse()
            .map_err(|error: skerry_proto::IdError| {
                Refusal::new(ErrorCode::InvalidParameter, error.to_string(), "")
            }),
    }
}

/// Bytes of one Flight message.
pub(crate) const MESSAGE_BYTES: usize = limit::MESSAGE_BYTES;
