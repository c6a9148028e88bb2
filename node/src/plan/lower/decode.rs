//! Trusted. Decodes an admitted plan message. Tables are resolved by name in the node's own policy
//! and nowhere else; functions are DataFusion's built-in ones, of which lowering knows few.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef},
    catalog::{Session, TableProvider},
    common::{Result as EngineResult, TableReference, plan_err},
    datasource::{TableType, source_as_provider},
    execution::TaskContext,
    logical_expr::{Expr, Extension, LogicalPlan, TableScan},
    physical_plan::ExecutionPlan,
    prelude::SessionContext,
};
use datafusion_proto::logical_plan::{AsLogicalPlan, LogicalExtensionCodec};
use skerry_privacy::policy::{Ownership, Policy, TablePolicy};
use skerry_proto::{ErrorCode, Refusal};

use super::types::arrow_type;
use crate::plan::gate::AdmittedPlan;

/// The column that every table of a federation has.
pub const REGION_COLUMN: &str = "region";

/// The schema of a table as the federation sees it: `region` first, then the policy's columns.
#[must_use]
pub fn table_schema(table: &TablePolicy) -> SchemaRef {
    let unit = match &table.ownership {
        Ownership::Private { unit, .. } => Some(unit),
        Ownership::Public { .. } => None,
    };
    let region = Field::new(REGION_COLUMN, ArrowType::Utf8, false);
    let columns = table.columns.iter().map(|column| {
        let nullable = unit != Some(&column.name);
        Field::new(&column.name, arrow_type(column.data_type), nullable)
    });
    Arc::new(Schema::new(
        std::iter::once(region).chain(columns).collect::<Vec<_>>(),
    ))
}

/// Decodes a plan against the policy.
///
/// # Errors
/// If the decoder refuses the message, or panics on it.
pub fn decode(
    plan: &AdmittedPlan,
    policy: &Policy,
    context: &SessionContext,
) -> Result<LogicalPlan, Refusal> {
    let codec = PolicyCodec {
        tables: policy
            .offered()
            .map(|(name, table)| (name.clone(), table_schema(table)))
            .collect(),
    };
    let task = context.task_ctx();
    let decoded = catch_unwind(AssertUnwindSafe(|| {
        plan.message().try_into_logical_plan(&task, &codec)
    }));
    match decoded {
        Ok(Ok(plan)) => Ok(plan),
        Ok(Err(error)) => Err(Refusal::new(
            ErrorCode::PlanRefused,
            format!("the plan can't be decoded: {}", error.strip_backtrace()),
            "",
        )),
        Err(_) => Err(Refusal::new(
            ErrorCode::PlanRefused,
            "the plan can't be decoded",
            "",
        )),
    }
}

/// The name of the policy's table behind a scan.
pub(super) fn table_name(scan: &TableScan) -> Result<String, Refusal> {
    source_as_provider(&scan.source)
        .ok()
        .and_then(|provider| {
            let any: &dyn std::any::Any = provider.as_ref();
            any.downcast_ref::<NamedTable>()
                .map(|table| table.name.clone())
        })
        .ok_or_else(|| {
            Refusal::new(
                ErrorCode::PlanRefused,
                "a scan names no table of the policy",
                "",
            )
        })
}

/// A name and a schema. It can't be scanned.
#[derive(Debug)]
struct NamedTable {
    name: String,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for NamedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        plan_err!("a received plan is never run")
    }
}

#[derive(Debug)]
struct PolicyCodec {
    tables: Vec<(String, SchemaRef)>,
}

impl LogicalExtensionCodec for PolicyCodec {
    fn try_decode(
        &self,
        _buf: &[u8],
        _inputs: &[LogicalPlan],
        _ctx: &TaskContext,
    ) -> EngineResult<Extension> {
        plan_err!("extension nodes can't be asked")
    }

    fn try_encode(&self, _node: &Extension, _buf: &mut Vec<u8>) -> EngineResult<()> {
        plan_err!("a node sends no plans")
    }

    fn try_decode_table_provider(
        &self,
        buf: &[u8],
        _table_ref: &TableReference,
        _schema: SchemaRef,
        _ctx: &TaskContext,
    ) -> EngineResult<Arc<dyn TableProvider>> {
        let found = self.tables.iter().find(|(name, _)| name.as_bytes() == buf);
        match found {
            Some((name, schema)) => Ok(Arc::new(NamedTable {
                name: name.clone(),
                schema: Arc::clone(schema),
            })),
            None => plan_err!("there is no table {}", String::from_utf8_lossy(buf)),
        }
    }

    fn try_encode_table_provider(
        &self,
        _table_ref: &TableReference,
        node: Arc<dyn TableProvider>,
        buf: &mut Vec<u8>,
    ) -> EngineResult<()> {
        let any: &dyn std::any::Any = node.as_ref();
        match any.downcast_ref::<NamedTable>() {
            Some(table) => buf.extend_from_slice(table.name.as_bytes()),
            None => return plan_err!("a table without a name"),
        }
        Ok(())
    }
}

/// A plan's bytes as a coordinator sends them.
#[cfg(test)]
pub(crate) fn encode(plan: &LogicalPlan) -> Vec<u8> {
    use datafusion_proto::protobuf::LogicalPlanNode;
    use prost::Message as _;
    let codec = PolicyCodec { tables: vec![] };
    LogicalPlanNode::try_from_logical_plan(plan, &codec)
        .expect("a plan that can be sent")
        .encode_to_vec()
}

/// A table that can be planned with.
pub(crate) fn named_table(name: &str, table: &TablePolicy) -> Arc<dyn TableProvider> {
    Arc::new(NamedTable {
        name: name.to_owned(),
        schema: table_schema(table),
    })
}
