//! Plans between node, scheduler and executors: Skerry's operators beside Ballista's own.

use std::sync::Arc;

use ballista_core::serde::BallistaPhysicalExtensionCodec;
use datafusion::{
    common::Result as EngineResult, execution::TaskContext, logical_expr::ScalarUDF,
    physical_plan::ExecutionPlan,
};
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use skerry_node::RegionCodec;

/// Asks the node's codec for what is the node's, and Ballista's for all else.
#[derive(Debug, Default)]
pub struct ClusterCodec {
    region: RegionCodec,
    ballista: BallistaPhysicalExtensionCodec,
}

impl PhysicalExtensionCodec for ClusterCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        if RegionCodec::wrote(bytes) {
            self.region.try_decode(bytes, inputs, context, converter)
        } else {
            self.ballista.try_decode(bytes, inputs, context, converter)
        }
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> EngineResult<()> {
        if RegionCodec::knows(node.as_ref()) {
            self.region.try_encode(node, buffer, converter)
        } else {
            self.ballista.try_encode(node, buffer, converter)
        }
    }

    fn try_encode_udf(&self, function: &ScalarUDF, buffer: &mut Vec<u8>) -> EngineResult<()> {
        self.region.try_encode_udf(function, buffer)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> EngineResult<Arc<ScalarUDF>> {
        self.region.try_decode_udf(name, bytes)
    }
}
