//! Trusted. How the operators and functions of rebuilt plans are written for the machines of a cluster, and
//! read there.
//!
//! Promise: what is read is the operator or function that was written: the same type, made from the same
//! question. Who reads has the same version, or reads nothing.

use std::{any::Any, sync::Arc};

use datafusion::{
    common::{Result as EngineResult, exec_err, internal_err, not_impl_err},
    execution::TaskContext,
    logical_expr::ScalarUDF,
    physical_plan::{
        ExecutionPlan,
        empty::EmptyExec,
        execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions},
        joins::SortMergeJoinExec,
    },
};
use datafusion_proto::{
    physical_plan::{
        AsExecutionPlan as _, PhysicalExtensionCodec, PhysicalProtoConverterExtension,
    },
    protobuf::PhysicalPlanNode,
};
use prost::Message as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::operator::{PersonSums, Work};
use crate::{
    execute::conditions::ConditionedJoin,
    plan::rebuild::{Function, PersonWindowExec, WindowWork},
};

/// What is read by the version alone that wrote it.
const MARK: &str = concat!("skerry ", env!("CARGO_PKG_VERSION"), " ");

/// Writes and reads what rebuilt plans have beside the engine's own operators and functions.
#[derive(Debug, Clone, Copy, Default)]
pub struct RegionCodec;

/// An operator without its inputs.
#[derive(Serialize, Deserialize)]
enum Operator {
    Sums(Work),
    Window(WindowWork),
    /// The sort-merge join, over inputs without rows, as the engine writes it.
    Join(Vec<u8>),
}

impl RegionCodec {
    /// Whether bytes were written by a codec of this kind, of whichever version.
    #[must_use]
    pub fn wrote(bytes: &[u8]) -> bool {
        bytes.starts_with(b"skerry ")
    }

    /// Whether a plan's operator is one that this codec writes.
    #[must_use]
    pub fn knows(node: &dyn ExecutionPlan) -> bool {
        let node: &dyn Any = node;
        node.is::<PersonSums>() || node.is::<PersonWindowExec>() || node.is::<ConditionedJoin>()
    }
}

fn write(value: &impl Serialize, buffer: &mut Vec<u8>) -> EngineResult<()> {
    buffer.extend_from_slice(MARK.as_bytes());
    match postcard::to_extend(value, std::mem::take(buffer)) {
        Ok(written) => {
            *buffer = written;
            Ok(())
        }
        Err(_) => internal_err!("a part of a plan can't be written"),
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> EngineResult<T> {
    let Some(bytes) = bytes.strip_prefix(MARK.as_bytes()) else {
        return exec_err!("a plan of another version of Skerry: node and cluster need the same");
    };
    match postcard::from_bytes(bytes) {
        Ok(value) => Ok(value),
        Err(_) => exec_err!("a part of a plan can't be read"),
    }
}

impl PhysicalExtensionCodec for RegionCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let only = || match inputs {
            [input] => Ok(Arc::clone(input)),
            [] | [_, _, ..] => internal_err!("an operator has one input"),
        };
        Ok(match read(bytes)? {
            Operator::Sums(work) => Arc::new(PersonSums::over(only()?, Arc::new(work))?),
            Operator::Window(work) => Arc::new(PersonWindowExec::reading(only()?, work)?),
            Operator::Join(bytes) => {
                let written = match PhysicalPlanNode::decode(bytes.as_slice()) {
                    Ok(written) => written,
                    Err(_) => return exec_err!("a join can't be read"),
                };
                let join = written.try_into_physical_plan(context, self)?;
                let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
                let join = join.replace_children(inputs.to_vec(), recompute)?;
                match join.downcast_ref::<SortMergeJoinExec>() {
                    Some(join) => match &join.filter {
                        Some(condition) => Arc::new(ConditionedJoin::new(join, condition)?),
                        None => return exec_err!("a join lacks its condition"),
                    },
                    None => return exec_err!("a join is something else"),
                }
            }
        })
    }

    fn try_encode(
        &self,
        node: Arc<dyn ExecutionPlan>,
        buffer: &mut Vec<u8>,
        _: &dyn PhysicalProtoConverterExtension,
    ) -> EngineResult<()> {
        let operator = if let Some(sums) = node.downcast_ref::<PersonSums>() {
            Operator::Sums(sums.work().clone())
        } else if let Some(window) = node.downcast_ref::<PersonWindowExec>() {
            Operator::Window(window.written())
        } else if let Some(join) = node.downcast_ref::<ConditionedJoin>() {
            let empty = join
                .children()
                .into_iter()
                .map(|child| Arc::new(EmptyExec::new(child.schema())) as Arc<dyn ExecutionPlan>)
                .collect();
            let recompute = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
            let alone = Arc::clone(join.join()).replace_children(empty, recompute)?;
            let written = PhysicalPlanNode::try_from_physical_plan(alone, self)?;
            Operator::Join(written.encode_to_vec())
        } else {
            return not_impl_err!("no question has a {}", node.name());
        };
        write(&operator, buffer)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, buffer: &mut Vec<u8>) -> EngineResult<()> {
        match Function::of(function) {
            Some(own) => write(&own, buffer),
            // The engine's own are known by their names.
            None => Ok(()),
        }
    }

    fn try_decode_udf(&self, _: &str, bytes: &[u8]) -> EngineResult<Arc<ScalarUDF>> {
        Ok(Arc::new(read::<Function>(bytes)?.made()?))
    }
}
