//! Trusted. A prepared table for the engine's planner: it says how the rows are laid out, so that
//! plans need neither exchanges nor sorts.
//!
//! Promise: what is said of the layout is held against each row as it is read (see
//! [`TableFiles`]). Whether this layout is another operator's is for the caller to see: see
//! [`PreparedTable`].

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use datafusion::{
    arrow::datatypes::SchemaRef,
    catalog::{Session, TableProvider},
    common::{DFSchema, Result as EngineResult, tree_node::TreeNodeRecursion},
    execution::{SendableRecordBatchStream, TaskContext},
    logical_expr::{Expr, TableProviderFilterPushDown, TableType, utils::conjunction},
    physical_expr::{
        EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr, expressions,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        execution_plan::{Boundedness, EmissionType, ReplaceChildrenOptions},
        stream::RecordBatchReceiverStreamBuilder,
    },
};

use super::{
    files::{TableFiles, Texts},
    prune::Pruning,
};

/// Batches that are read ahead of whoever takes them.
const AHEAD: usize = 2;

/// A prepared table.
///
/// Its partitions are those of a hash of the unit, but of our own hash. The engine takes any two
/// partitionings by the hash of one column for the same, so a plan with this table must hold no
/// exchange of the engine's own: a provider that is not `co_partitioned` says nothing about
/// partitions, only about order.
#[derive(Debug, Clone)]
pub struct PreparedTable {
    files: Arc<TableFiles>,
    co_partitioned: bool,
}

impl PreparedTable {
    /// For plans that hold no exchange, or for all.
    #[must_use]
    pub fn new(files: Arc<TableFiles>, co_partitioned: bool) -> Self {
        Self {
            files,
            co_partitioned,
        }
    }
}

#[async_trait]
impl TableProvider for PreparedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(self.files.schema(Texts::Plain))
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> EngineResult<Vec<TableProviderFilterPushDown>> {
        // Row groups are skipped, rows are not.
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let schema = self.schema();
        let columns = projection
            .cloned()
            .unwrap_or_else(|| (0..schema.fields().len()).collect());
        let pruning = match conjunction(filters.to_vec()) {
            Some(condition) => {
                let names = DFSchema::try_from(Arc::clone(&schema))?;
                let condition = state.create_physical_expr(condition, &names)?;
                Pruning::new(&self.files, condition)
            }
            None => None,
        };
        let scan = PreparedScan::new(self, columns, pruning.map(Arc::new))?;
        Ok(Arc::new(scan))
    }
}

/// Reads a prepared table.
#[derive(Debug)]
pub struct PreparedScan {
    files: Arc<TableFiles>,
    columns: Vec<usize>,
    pruning: Option<Arc<Pruning>>,
    properties: Arc<PlanProperties>,
}

impl PreparedScan {
    fn new(
        table: &PreparedTable,
        columns: Vec<usize>,
        pruning: Option<Arc<Pruning>>,
    ) -> EngineResult<Self> {
        let files = Arc::clone(&table.files);
        let schema = Arc::new(files.schema(Texts::Plain).project(&columns)?);
        let count = files.partitions().count();
        let name = files.schema(Texts::Plain).field(files.unit()).name();
        let unit: Option<Arc<dyn PhysicalExpr>> = expressions::col(name, &schema).ok();
        let (orders, partitioning) = match unit {
            Some(unit) => (
                vec![vec![PhysicalSortExpr::new_default(Arc::clone(&unit))]],
                if table.co_partitioned {
                    Partitioning::Hash(vec![unit], count)
                } else {
                    Partitioning::UnknownPartitioning(count)
                },
            ),
            None => (vec![], Partitioning::UnknownPartitioning(count)),
        };
        let equivalence = EquivalenceProperties::new_with_orderings(schema, orders);
        let properties = PlanProperties::new(
            equivalence,
            partitioning,
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            files,
            columns,
            pruning,
            properties: Arc::new(properties),
        })
    }
}

impl DisplayAs for PreparedScan {
    fn fmt_as(&self, _: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self
            .properties
            .equivalence_properties()
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        write!(out, "PreparedScan: columns=[{}]", names.join(", "))?;
        if self.pruning.is_some() {
            write!(out, ", pruned")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for PreparedScan {
    fn name(&self) -> &'static str {
        "PreparedScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        _: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let row_groups = match &self.pruning {
            Some(pruning) => Some(pruning.row_groups(&self.files, partition)?),
            None => None,
        };
        let rows = self
            .files
            .read(partition, &self.columns, Texts::Plain, row_groups)?;
        let mut builder = RecordBatchReceiverStreamBuilder::new(self.schema(), AHEAD);
        let taken = builder.tx();
        builder.spawn_blocking(move || {
            for batch in rows {
                if taken.blocking_send(batch).is_err() {
                    // Nobody waits for more.
                    break;
                }
            }
            Ok(())
        });
        Ok(builder.build())
    }
}
