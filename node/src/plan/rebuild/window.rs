//! Trusted. Windows over the rows of each person, as a part of the plan.
//!
//! Promise: what runs is the question's own window over the columns that the question counts.
//!
//! The engine's own windows would do, but for this: they hold all rows where a frame reaches the
//! end, sums of floats show in which order rows came, and their ties are anybody's.

mod operator;

use std::{cmp::Ordering, collections::HashMap, fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::Field,
    common::{DFSchema, DFSchemaRef, Result as EngineResult, internal_err, plan_datafusion_err},
    execution::context::QueryPlanner,
    logical_expr::{
        Expr, Extension, LogicalPlan, UserDefinedLogicalNode, UserDefinedLogicalNodeCore,
        physical_planning_context::PhysicalPlanningContext,
    },
    physical_plan::ExecutionPlan,
    physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner},
    prelude::col,
};
use skerry_privacy::question::Window;
use skerry_proto::DataType;

use self::operator::Work;
pub(crate) use self::operator::{PersonWindowExec, WindowWork};
use super::{Part, Rebuilding, engine_type, expression::total_cast};

impl Rebuilding<'_> {
    pub(super) fn window(&mut self, input: Part, window: &Window) -> EngineResult<Part> {
        let types = input.types();
        let found = window
            .data_types(&types)
            .map_err(|error| plan_datafusion_err!("{error}"))?;
        // Laid out anew: the operator counts columns as the question does.
        let columns = input.columns.into_iter();
        let columns =
            columns.map(|(name, data_type)| (total_cast(col(name), data_type), data_type));
        let unit = input.unit.as_ref().map(col);
        let laid = self.project(input.plan, unit, columns.collect())?;
        let unit = laid
            .unit
            .ok_or_else(|| plan_datafusion_err!("no privacy unit"))?;
        let more: Vec<(String, DataType)> = found
            .into_iter()
            .map(|data_type| (self.name(), data_type))
            .collect();
        let plan = PersonWindow::plan(laid.plan, window.clone(), &more)?;
        Ok(Part {
            plan,
            unit: Some(unit),
            columns: [laid.columns, more].concat(),
        })
    }
}

/// A window in a plan. The input's columns are the unit, and then those that the question counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PersonWindow {
    input: LogicalPlan,
    window: Window,
    /// Names and types of the new columns.
    columns: Vec<(String, DataType)>,
    /// The input's columns, then the new ones.
    schema: DFSchemaRef,
}

impl PersonWindow {
    /// The plan of a window over an input.
    fn plan(
        input: LogicalPlan,
        window: Window,
        columns: &[(String, DataType)],
    ) -> EngineResult<LogicalPlan> {
        let node = Self::new(input, window, columns.to_vec())?;
        Ok(LogicalPlan::Extension(Extension {
            node: Arc::new(node),
        }))
    }

    fn new(
        input: LogicalPlan,
        window: Window,
        columns: Vec<(String, DataType)>,
    ) -> EngineResult<Self> {
        let own = input.schema();
        let more = columns.iter().map(|(name, data_type)| {
            let field = Field::new(name, engine_type(*data_type), true);
            (None, Arc::new(field))
        });
        let fields = own
            .iter()
            .map(|(table, field)| (table.cloned(), Arc::clone(field)));
        let schema = DFSchema::new_with_metadata(fields.chain(more).collect(), HashMap::new())?;
        Ok(Self {
            schema: Arc::new(schema),
            input,
            window,
            columns,
        })
    }
}

impl PartialOrd for PersonWindow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for PersonWindow {
    fn name(&self) -> &'static str {
        "PersonWindow"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("PersonWindow")
    }

    fn with_exprs_and_inputs(
        &self,
        _: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> EngineResult<Self> {
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return internal_err!("a window has one input");
        };
        // All columns are looked at, by position.
        let same = input.schema().field_names() == self.input.schema().field_names();
        if !same {
            return internal_err!("the input of a window has other columns");
        }
        Self::new(input, self.window.clone(), self.columns.clone())
    }
}

/// The engine's planner, which knows windows over a person's rows.
#[derive(Debug, Default)]
pub struct WindowPlanner;

#[async_trait]
impl QueryPlanner for WindowPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn datafusion::catalog::Session,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(Self)])
            .create_physical_plan(plan, session)
            .await
    }
}

#[async_trait]
impl ExtensionPlanner for WindowPlanner {
    async fn plan_extension(
        &self,
        _planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        _session: &dyn datafusion::catalog::Session,
        _context: &PhysicalPlanningContext,
    ) -> EngineResult<Option<Arc<dyn ExecutionPlan>>> {
        let Some(node) = node.as_any().downcast_ref::<PersonWindow>() else {
            return Ok(None);
        };
        let [input] = physical_inputs else {
            return internal_err!("a window has one input");
        };
        let work = Work {
            window: node.window.clone(),
            types: node.columns.iter().map(|(_, of)| *of).collect(),
            schema: Arc::new(node.schema.as_arrow().clone()),
        };
        let exec = PersonWindowExec::new(Arc::clone(input), Arc::new(work))?;
        Ok(Some(Arc::new(exec)))
    }
}
