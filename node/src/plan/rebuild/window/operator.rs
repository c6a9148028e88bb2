//! Trusted. The operator that computes windows over the rows of each person.
//!
//! Promise: the values of a row's new columns are the question's own evaluation over all rows of
//! its person, and nothing else. The rows are exchanged by the unit and arrive sorted by it, which
//! is checked; one person's rows are held at a time.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray as _, RecordBatch, UInt64Array},
        compute::{concat_batches, take},
        datatypes::{Field, Schema, SchemaRef},
    },
    common::{Result as EngineResult, internal_err, tree_node::TreeNodeRecursion},
    execution::{
        SendableRecordBatchStream, TaskContext,
        memory_pool::{MemoryConsumer, MemoryReservation},
    },
    physical_expr::{
        Distribution, EquivalenceProperties, LexOrdering, OrderingRequirements, PhysicalExpr,
        PhysicalSortExpr, expressions::Column,
    },
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
        InputDistributionRequirements, PlanProperties, ReplaceChildrenOptions,
        execution_plan::{Boundedness, EmissionType},
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use skerry_privacy::question::Window;
use skerry_proto::{DataType, Value};

use crate::plan::rebuild::{
    engine_type,
    total::{array_of, reader},
};

/// What is computed.
#[derive(Debug)]
pub(super) struct Work {
    pub window: Window,
    /// Types of the new columns.
    pub types: Vec<DataType>,
    /// The input's columns, then the new ones.
    pub schema: SchemaRef,
}

/// What is computed, as data, beside the input.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct WindowWork {
    window: Window,
    /// Names and types of the new columns.
    columns: Vec<(String, DataType)>,
}

/// The unit is the first column.
const UNIT: usize = 0;

/// The operator.
#[derive(Debug)]
pub(crate) struct PersonWindowExec {
    input: Arc<dyn ExecutionPlan>,
    work: Arc<Work>,
    unit: PhysicalSortExpr,
    properties: Arc<PlanProperties>,
}

impl PersonWindowExec {
    /// What it computes, as data.
    pub(crate) fn written(&self) -> WindowWork {
        let Work {
            window,
            types,
            schema,
        } = &*self.work;
        let fields = schema.fields().iter();
        let names = fields.skip(schema.fields().len() - types.len());
        let names = names.map(|field| field.name().clone());
        WindowWork {
            window: window.clone(),
            columns: names.zip(types.iter().copied()).collect(),
        }
    }

    /// The operator that computes this over an input.
    pub(crate) fn reading(input: Arc<dyn ExecutionPlan>, work: WindowWork) -> EngineResult<Self> {
        let WindowWork { window, columns } = work;
        let more = columns
            .iter()
            .map(|(name, data_type)| Arc::new(Field::new(name, engine_type(*data_type), true)));
        let fields = input
            .schema()
            .fields()
            .iter()
            .cloned()
            .chain(more)
            .collect::<Vec<_>>();
        let work = Work {
            window,
            types: columns
                .into_iter()
                .map(|(_, data_type)| data_type)
                .collect(),
            schema: Arc::new(Schema::new(fields)),
        };
        Self::new(input, Arc::new(work))
    }

    pub(super) fn new(input: Arc<dyn ExecutionPlan>, work: Arc<Work>) -> EngineResult<Self> {
        let of_input = input.schema();
        if of_input.fields().len() + work.types.len() != work.schema.fields().len() {
            return internal_err!("the input of a window has other columns");
        }
        let name = of_input.field(UNIT).name();
        let unit = PhysicalSortExpr::new_default(Arc::new(Column::new(name, UNIT)));
        let properties = PlanProperties::new(
            EquivalenceProperties::new_with_orderings(Arc::clone(&work.schema), [[unit.clone()]]),
            input.output_partitioning().clone(),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            input,
            work,
            unit,
            properties: Arc::new(properties),
        })
    }
}

impl DisplayAs for PersonWindowExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("PersonWindowExec")
    }
}

impl ExecutionPlan for PersonWindowExec {
    fn name(&self) -> &'static str {
        "PersonWindowExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        let by_unit = Distribution::KeyPartitioned(vec![Arc::clone(&self.unit.expr)]);
        InputDistributionRequirements::new(vec![by_unit])
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        vec![LexOrdering::new([self.unit.clone()]).map(OrderingRequirements::from)]
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn replace_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let (Some(input), true) = (children.pop(), children.is_empty()) else {
            return internal_err!("a window has one input");
        };
        Ok(Arc::new(Self::new(input, Arc::clone(&self.work))?))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let mode = datafusion::physical_plan::ChildrenPropertiesMode::Recompute;
        self.replace_children(children, ReplaceChildrenOptions::new(mode))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let persons = Persons {
            input: Some(self.input.execute(partition, Arc::clone(&context))?),
            work: Arc::clone(&self.work),
            waiting: vec![],
            memory: MemoryConsumer::new("rows of a person").register(context.memory_pool()),
        };
        let batches = stream::try_unfold(persons, async |mut persons| {
            Ok(persons.next().await?.map(|batch| (batch, persons)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.work.schema),
            batches,
        )))
    }
}

/// Persons as they come. All that waits are rows of one person, of whom more may come.
struct Persons {
    input: Option<SendableRecordBatchStream>,
    work: Arc<Work>,
    waiting: Vec<RecordBatch>,
    memory: MemoryReservation,
}

impl Persons {
    async fn next(&mut self) -> EngineResult<Option<RecordBatch>> {
        loop {
            let Some(input) = &mut self.input else {
                return Ok(None);
            };
            let whole = match input.next().await {
                Some(batch) => self.add(batch?)?,
                None => {
                    self.input = None;
                    std::mem::take(&mut self.waiting)
                }
            };
            if let Some(first) = whole.first() {
                let rows = concat_batches(&first.schema(), &whole)?;
                return Ok(Some(self.work.over(&rows)?));
            }
        }
    }

    /// Takes in rows; gives back those of persons of whom no more can come.
    fn add(&mut self, batch: RecordBatch) -> EngineResult<Vec<RecordBatch>> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(vec![]);
        }
        let unit = reader(batch.column(UNIT))?;
        let last = unit(rows - 1);
        let of_last = (0..rows).rev().take_while(|row| unit(*row) == last).count();
        let waits_for_more = match self.waiting.first() {
            Some(waiting) => reader(waiting.column(UNIT))?(0) == last && of_last == rows,
            None => of_last == rows,
        };
        let whole = if waits_for_more {
            self.waiting.push(batch);
            vec![]
        } else {
            let rest = compact(&batch.slice(rows - of_last, of_last));
            let mut whole = std::mem::replace(&mut self.waiting, vec![rest]);
            whole.push(batch.slice(0, rows - of_last));
            whole
        };
        // Told, not asked for: a refusal would hang on how many rows a person has.
        let held = self.waiting.iter();
        self.memory
            .resize(held.map(RecordBatch::get_array_memory_size).sum());
        Ok(whole)
    }
}

/// The same rows without the buffers that a slice shares with those that are left behind.
fn compact(rows: &RecordBatch) -> RecordBatch {
    let all = UInt64Array::from_iter_values(0..rows.num_rows() as u64);
    let taken = rows
        .columns()
        .iter()
        .map(|column| match column.as_string_view_opt() {
            Some(texts) => Ok(Arc::new(texts.gc()) as ArrayRef),
            None => take(column, &all, None),
        })
        .collect::<Result<Vec<_>, _>>();
    taken
        .and_then(|columns| RecordBatch::try_new(rows.schema(), columns))
        .unwrap_or_else(|_| rows.clone())
}

impl Work {
    /// The same rows, of whole persons, with the new columns.
    fn over(&self, batch: &RecordBatch) -> EngineResult<RecordBatch> {
        let readers = batch
            .columns()
            .iter()
            .map(reader)
            .collect::<EngineResult<Vec<_>>>()?;
        let Some((unit, columns)) = readers.split_first() else {
            return internal_err!("a window has no unit");
        };
        let mut values: Vec<Vec<Value>> =
            vec![Vec::with_capacity(batch.num_rows()); self.types.len()];
        let mut of_person = |rows: &[Vec<Value>]| {
            for found in self.window.evaluate(rows) {
                for (column, value) in values.iter_mut().zip(found) {
                    column.push(value);
                }
            }
        };
        let mut person = Value::Null;
        let mut rows: Vec<Vec<Value>> = vec![];
        for row in 0..batch.num_rows() {
            let next = unit(row);
            if next.is_null() {
                return internal_err!("a row belongs to nobody");
            }
            if next != person {
                // NULL comes last, so the first person is before it.
                if !person.is_null() && next < person {
                    return internal_err!("the rows are not sorted by the unit");
                }
                of_person(&rows);
                rows.clear();
                person = next;
            }
            rows.push(columns.iter().map(|read| read(row)).collect());
        }
        of_person(&rows);
        let more = values
            .into_iter()
            .zip(&self.types)
            .map(|(values, of)| array_of(values.into_iter(), *of));
        let columns: Vec<ArrayRef> = batch.columns().iter().cloned().chain(more).collect();
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}
