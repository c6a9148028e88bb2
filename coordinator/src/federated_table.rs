//! A table that is somewhere else: it can be planned with, never read. What is sent to a node
//! names it, and nothing more.

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef, TimeUnit},
    catalog::{Session, TableProvider},
    common::{DataFusionError, Result, TableReference, not_impl_err},
    datasource::source_as_provider,
    execution::TaskContext,
    logical_expr::{Expr, Extension, LogicalPlan, TableScan, TableType},
    physical_plan::ExecutionPlan,
};
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use skerry_proto::{DataType, RegionId};

/// The column that every private table has: the region that the row belongs to.
pub const REGION: &str = "region";

/// A table of the nodes, as SQL sees it.
pub(crate) struct FederatedTable {
    /// The name, the same in every region.
    pub name: String,
    /// The privacy unit's column; nothing for a public table.
    pub unit: Option<String>,
    /// Columns in order; a private table has `region` last, and so has a public one of which the
    /// coordinator has a copy with it.
    pub schema: SchemaRef,
    /// Who has it.
    pub regions: BTreeSet<RegionId>,
    /// The coordinator's own copy of a public table, for use with noisy figures.
    pub local: Option<Arc<dyn TableProvider>>,
}

impl fmt::Debug for FederatedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FederatedTable")
            .field("name", &self.name)
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}

impl FederatedTable {
    /// Whether rows of it belong to persons.
    pub fn is_private(&self) -> bool {
        self.unit.is_some()
    }

    /// The federated table behind a scan, or nothing for a table of the coordinator.
    pub fn of(scan: &TableScan) -> Option<Arc<Self>> {
        let provider = source_as_provider(&scan.source).ok()?;
        let any: Arc<dyn std::any::Any + Send + Sync> = provider;
        any.downcast::<Self>().ok()
    }
}

/// The Arrow type that a column is announced with.
pub(crate) fn arrow_type(data_type: DataType) -> ArrowType {
    match data_type {
        DataType::Boolean => ArrowType::Boolean,
        DataType::Integer => ArrowType::Int64,
        DataType::Float => ArrowType::Float64,
        DataType::Text => ArrowType::Utf8,
        DataType::Date => ArrowType::Date32,
        DataType::Timestamp => ArrowType::Timestamp(TimeUnit::Microsecond, None),
    }
}

/// The schema of a table: the unit is never NULL, since nodes leave out rows without it.
pub(crate) fn schema(columns: &[(String, DataType)], unit: Option<&str>) -> SchemaRef {
    let mut fields: Vec<Field> = columns
        .iter()
        .map(|(name, data_type)| {
            Field::new(name, arrow_type(*data_type), unit != Some(name.as_str()))
        })
        .collect();
    if unit.is_some() {
        fields.push(Field::new(REGION, ArrowType::Utf8, false));
    }
    Arc::new(Schema::new(fields))
}

#[async_trait]
impl TableProvider for FederatedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Always an error: a cut that missed a table ends here, not at data.
    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::Plan(format!(
            "the rows of `{}` are in the regions and can't be read here",
            self.name
        )))
    }
}

/// Writes federated tables as their names. It decodes nothing: nodes send no plans.
#[derive(Debug)]
pub(crate) struct NameCodec;

impl LogicalExtensionCodec for NameCodec {
    fn try_decode(
        &self,
        _buf: &[u8],
        _inputs: &[LogicalPlan],
        _ctx: &TaskContext,
    ) -> Result<Extension> {
        not_impl_err!("plans are only sent")
    }

    fn try_encode(&self, _node: &Extension, _buf: &mut Vec<u8>) -> Result<()> {
        not_impl_err!("extension nodes are not sent")
    }

    fn try_decode_table_provider(
        &self,
        _buf: &[u8],
        _table_ref: &TableReference,
        _schema: SchemaRef,
        _ctx: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        not_impl_err!("plans are only sent")
    }

    fn try_encode_table_provider(
        &self,
        table_ref: &TableReference,
        node: Arc<dyn TableProvider>,
        buf: &mut Vec<u8>,
    ) -> Result<()> {
        let any: Arc<dyn std::any::Any + Send + Sync> = node;
        let Ok(table) = any.downcast::<FederatedTable>() else {
            return Err(DataFusionError::Plan(format!(
                "`{table_ref}` is not in the regions"
            )));
        };
        buf.extend_from_slice(table.name.as_bytes());
        Ok(())
    }
}
