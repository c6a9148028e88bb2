//! How plans name tables on the wire.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::TableProvider,
    common::{Result as EngineResult, TableReference, not_impl_err},
    execution::TaskContext,
    logical_expr::{Extension, LogicalPlan},
};
use datafusion_proto::logical_plan::LogicalExtensionCodec;

/// Writes the table's name where the node's codec looks for it.
#[derive(Debug)]
pub struct NameCodec;

impl LogicalExtensionCodec for NameCodec {
    fn try_decode(
        &self,
        _buf: &[u8],
        _inputs: &[LogicalPlan],
        _ctx: &TaskContext,
    ) -> EngineResult<Extension> {
        not_impl_err!("the test decodes nothing")
    }

    fn try_encode(&self, _node: &Extension, _buf: &mut Vec<u8>) -> EngineResult<()> {
        not_impl_err!("the test has no extensions")
    }

    fn try_decode_table_provider(
        &self,
        _buf: &[u8],
        _table_ref: &TableReference,
        _schema: SchemaRef,
        _ctx: &TaskContext,
    ) -> EngineResult<Arc<dyn TableProvider>> {
        not_impl_err!("the test decodes nothing")
    }

    fn try_encode_table_provider(
        &self,
        table_ref: &TableReference,
        _node: Arc<dyn TableProvider>,
        buf: &mut Vec<u8>,
    ) -> EngineResult<()> {
        buf.extend_from_slice(table_ref.table().as_bytes());
        Ok(())
    }
}
