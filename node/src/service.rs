//! The node's gRPC service: decodes, calls the domain, maps the error.

use std::sync::Arc;

use skerry_proto::{CONTRACT_VERSION, ErrorCode, ProjectId, QueryId, Refusal, wire};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::{
    answer,
    identity::is_coordinator,
    node::Node,
    pipeline::{Admitted, Decision, Quoted, Released, failed},
    quotes::QuoteKey,
};

/// Stack that is enough for a question of the greatest depth that the gate admits. Threads that have more
/// of it are used as they are; on others a question gets a stack of its own, which costs a call to the
/// system each time.
pub const STACK_BYTES: usize = 64 << 20;

/// A node behind gRPC.
#[derive(Clone)]
pub struct NodeService {
    node: Arc<Node>,
}

impl NodeService {
    /// Serves a node.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        Self { node }
    }

    /// Runs work that blocks beside the network's threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let node = Arc::clone(&self.node);
        // Questions are nested, and so are the functions that walk them.
        let deep = move || stacker::maybe_grow(STACK_BYTES, STACK_BYTES, || work(&node));
        tokio::task::spawn_blocking(deep)
            .await
            .unwrap_or_else(|_| Err(failed()))
    }

    async fn quoted(&self, question: wire::Question) -> Result<Quoted, Refusal> {
        let key = QuoteKey::of(&question);
        if let Some(quoted) = self.node.quotes.get(key) {
            return Ok(quoted);
        }
        let _turn = self
            .node
            .analysing
            .acquire()
            .await
            .map_err(|_| Refusal::new(ErrorCode::Unavailable, "the node is stopping", ""))?;
        let quoted = self
            .blocking(move |node| Admitted::admit(node, &question)?.quote(node))
            .await
            .map_err(|refusal| match refusal.code {
                // A panic in analysis comes before any debit.
                ErrorCode::Failed => {
                    Refusal::new(ErrorCode::PlanRefused, "the question can't be analysed", "")
                }
                _ => refusal,
            })?;
        quoted.can_run(&self.node).await?;
        self.node.quotes.keep(key, &quoted);
        Ok(quoted)
    }

    async fn release(&self, request: wire::ReleaseRequest) -> Result<wire::ReleaseReply, Refusal> {
        let question = request
            .question
            .ok_or_else(|| Refusal::new(ErrorCode::PlanRefused, "there is no question", ""))?;
        let query_id: QueryId =
            request
                .query_id
                .parse()
                .map_err(|error: skerry_proto::IdError| {
                    Refusal::new(ErrorCode::InvalidParameter, error.to_string(), "")
                })?;
        let quoted = self.quoted(question).await?;
        let project = quoted.project().clone();
        let fresh = request.fresh;
        let decision = self
            .blocking(move |node| quoted.reserve(node, query_id, fresh))
            .await?;
        let released = match decision {
            Decision::Stored(released) => released,
            Decision::Execute(reserved) => {
                // What waits here is paid for, and so bounded by the budget.
                let _turn = self.node.running.acquire().await.map_err(|_| failed())?;
                let executed = reserved.execute(&self.node).await?;
                self.blocking(move |node| executed.release(node)).await?
            }
        };
        self.reply(released, &project)
    }

    fn reply(
        &self,
        released: Released,
        project: &ProjectId,
    ) -> Result<wire::ReleaseReply, Refusal> {
        let status = self
            .node
            .ledger
            .budget(project)
            .map_err(answer::ledger_stopped)?;
        Ok(wire::ReleaseReply {
            released: released.bytes,
            charged: released.charged,
            budget: Some(answer::budget(&status)),
            ledger_head: released.head.map(Vec::from).unwrap_or_default(),
        })
    }
}

/// Waits for the next time at which answers leave, so that when an answer comes says little about
/// the data: at the grid's first point, else at the next doubling.
async fn on_the_grid(grid: std::time::Duration, arrived: Instant) {
    if grid.is_zero() {
        return;
    }
    let mut leave = grid;
    while leave < arrived.elapsed() {
        leave = leave.saturating_mul(2);
    }
    tokio::time::sleep_until(arrived + leave).await;
}

#[tonic::async_trait]
impl wire::node_server::Node for NodeService {
    async fn get_catalogue(
        &self,
        request: Request<wire::CatalogueRequest>,
    ) -> Result<Response<wire::Catalogue>, Status> {
        is_coordinator(&request)?;
        Ok(Response::new(answer::catalogue(&self.node)))
    }

    async fn get_quote(
        &self,
        request: Request<wire::Question>,
    ) -> Result<Response<wire::Quote>, Status> {
        is_coordinator(&request)?;
        let quoted = self.quoted(request.into_inner()).await?;
        let quote = self
            .blocking(move |node| {
                let status = node
                    .ledger
                    .budget(quoted.project())
                    .map_err(answer::ledger_stopped)?;
                let budget = answer::budget(&status);
                Ok(answer::quote(
                    node,
                    quoted.quote(),
                    quoted.request(),
                    budget,
                ))
            })
            .await?;
        Ok(Response::new(quote))
    }

    async fn release(
        &self,
        request: Request<wire::ReleaseRequest>,
    ) -> Result<Response<wire::ReleaseReply>, Status> {
        is_coordinator(&request)?;
        let arrived = Instant::now();
        // A caller who hangs up must not stop an answer that is paid for, so it runs on its own.
        let service = self.clone();
        let answered =
            tokio::spawn(async move { NodeService::release(&service, request.into_inner()).await });
        let reply = answered.await.unwrap_or_else(|_| Err(failed()));
        on_the_grid(self.node.time_grid, arrived).await;
        Ok(Response::new(reply?))
    }

    async fn get_budget(
        &self,
        request: Request<wire::BudgetRequest>,
    ) -> Result<Response<wire::Budget>, Status> {
        is_coordinator(&request)?;
        let project: ProjectId =
            request
                .into_inner()
                .project
                .parse()
                .map_err(|error: skerry_proto::IdError| {
                    Refusal::new(ErrorCode::InvalidParameter, error.to_string(), "")
                })?;
        let budget = self
            .blocking(move |node| {
                let status = node
                    .ledger
                    .budget(&project)
                    .map_err(answer::ledger_stopped)?;
                Ok(answer::budget(&status))
            })
            .await?;
        Ok(Response::new(budget))
    }

    async fn get_health(
        &self,
        request: Request<wire::HealthRequest>,
    ) -> Result<Response<wire::Health>, Status> {
        is_coordinator(&request)?;
        let ready = self
            .blocking(|node| Ok(node.ledger.head().is_ok() && node.started_with.unchanged()))
            .await
            .unwrap_or(false);
        Ok(Response::new(wire::Health {
            ready,
            region: self.node.catalogue.region().to_string(),
            contract_version: CONTRACT_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }))
    }
}
