//! Trusted. The steps of a pass, and the batches that go through them.
//!
//! Promise: each step gives a partition's rows in the order of their units, and each of its rows
//! belongs to the person of the rows that it is made of.

use std::{collections::BTreeSet, fmt::Debug, sync::Arc};

use datafusion::{
    arrow::{
        array::{BooleanArray, RecordBatch, RecordBatchOptions},
        buffer::BooleanBuffer,
        compute::FilterBuilder,
        datatypes::{Field, Schema, SchemaRef},
    },
    common::Result as EngineResult,
    execution::SessionState,
    logical_expr::Expr,
};

use super::{
    evaluate::Evaluator,
    given_up::GivenUp,
    join::{Join, RunningJoin},
    person::{PerPerson, RunningPerPerson},
    rows::{Rows, names},
    scan::{Scan, pruning},
};
use crate::prepared::{Pruning, TableFiles, Texts};

/// A step with its inputs, the same for all partitions.
#[derive(Debug)]
pub struct Operator {
    schema: SchemaRef,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Scan {
        files: Arc<TableFiles>,
        columns: Vec<usize>,
        pruning: Option<Arc<Pruning>>,
    },
    Filter {
        input: Box<Operator>,
        conditions: Vec<Evaluator>,
        /// The input's columns that are wanted above.
        keep: Vec<usize>,
    },
    Project {
        input: Box<Operator>,
        columns: Vec<Evaluator>,
    },
    Join(Box<Join>),
    PerPerson(Box<PerPerson>),
}

/// Batches of one partition after the other.
pub trait Batches: Debug + Send {
    /// Begins a partition; what is left of another one is forgotten.
    ///
    /// # Errors
    /// If a file is gone.
    fn start(&mut self, partition: usize) -> EngineResult<()>;

    /// The next batch, which has rows; nothing at the partition's end.
    ///
    /// # Errors
    /// Whatever fails.
    fn next(&mut self) -> EngineResult<Option<RecordBatch>>;
}

impl Operator {
    /// The rows with the columns of these names.
    ///
    /// # Errors
    /// If the engine refuses an expression.
    pub fn new(rows: &Rows, needed: &BTreeSet<String>, state: &SessionState) -> EngineResult<Self> {
        match rows {
            Rows::Scan {
                files,
                columns,
                conditions,
            } => {
                let all = files.schema(Texts::Coded);
                let wanted = columns.iter().filter(|(name, _)| needed.contains(name));
                let (fields, positions): (Vec<Field>, Vec<usize>) = wanted
                    .map(|(name, position)| {
                        (all.field(*position).clone().with_name(name), *position)
                    })
                    .unzip();
                Ok(Self {
                    schema: Arc::new(Schema::new(fields)),
                    step: Step::Scan {
                        files: Arc::clone(files),
                        columns: positions,
                        pruning: pruning(files, columns, conditions, state)?.map(Arc::new),
                    },
                })
            }
            Rows::Filter { input, conditions } => {
                let mut below = needed.clone();
                for condition in conditions {
                    below.extend(names(condition).into_iter().map(str::to_owned));
                }
                let input = Self::new(input, &below, state)?;
                let conditions = conditions
                    .iter()
                    .map(|condition| Evaluator::condition(condition, &input.schema, state))
                    .collect::<EngineResult<_>>()?;
                let keep: Vec<usize> = (0..input.schema.fields().len())
                    .filter(|column| needed.contains(input.schema.field(*column).name()))
                    .collect();
                Ok(Self {
                    schema: Arc::new(input.schema.project(&keep)?),
                    step: Step::Filter {
                        input: Box::new(input),
                        conditions,
                        keep,
                    },
                })
            }
            Rows::Project { input, columns } => {
                let wanted: Vec<&(String, Expr)> = columns
                    .iter()
                    .filter(|(name, _)| needed.contains(name))
                    .collect();
                let mut below = BTreeSet::new();
                for (_, value) in &wanted {
                    below.extend(names(value).into_iter().map(str::to_owned));
                }
                let input = Self::new(input, &below, state)?;
                let mut fields = vec![];
                let mut values = vec![];
                for (name, value) in wanted {
                    let evaluator = Evaluator::new(value, &input.schema, state)?;
                    // A bare column keeps its codes.
                    let data_type = match value {
                        Expr::Column(column) => {
                            input.schema.field_with_name(&column.name)?.data_type()
                        }
                        _ => evaluator.data_type(),
                    };
                    fields.push(Field::new(name, data_type.clone(), true));
                    values.push(evaluator);
                }
                Ok(Self {
                    schema: Arc::new(Schema::new(fields)),
                    step: Step::Project {
                        input: Box::new(input),
                        columns: values,
                    },
                })
            }
            Rows::Join { .. } => {
                let join = Join::new(rows, needed, state)?;
                Ok(Self {
                    schema: Arc::clone(join.schema()),
                    step: Step::Join(Box::new(join)),
                })
            }
            Rows::PerPerson { input, unit, sums } => {
                let persons = PerPerson::new(input, unit, sums, needed, state)?;
                Ok(Self {
                    schema: Arc::clone(persons.schema()),
                    step: Step::PerPerson(Box::new(persons)),
                })
            }
        }
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Where a column is.
    ///
    /// # Errors
    /// If it isn't there.
    pub fn position(&self, name: &str) -> EngineResult<usize> {
        Ok(self.schema.index_of(name)?)
    }

    /// The step at work, for one thread.
    #[must_use]
    pub fn batches(&self, given_up: &GivenUp) -> Box<dyn Batches> {
        match &self.step {
            Step::Scan {
                files,
                columns,
                pruning,
            } => Box::new(Scan {
                files: Arc::clone(files),
                columns: columns.clone(),
                pruning: pruning.clone(),
                schema: Arc::clone(&self.schema),
                rows: None,
                given_up: given_up.clone(),
            }),
            Step::Filter {
                input,
                conditions,
                keep,
            } => Box::new(Filter {
                input: input.batches(given_up),
                conditions: conditions.clone(),
                keep: keep.clone(),
                schema: Arc::clone(&self.schema),
            }),
            Step::Project { input, columns } => Box::new(Project {
                input: input.batches(given_up),
                columns: columns.clone(),
                schema: Arc::clone(&self.schema),
            }),
            Step::Join(join) => Box::new(RunningJoin::new(join, given_up)),
            Step::PerPerson(persons) => Box::new(RunningPerPerson::new(persons, given_up)),
        }
    }
}

/// A batch with these columns, which may be none.
///
/// # Errors
/// If columns and schema differ.
pub fn batch_of(
    schema: &SchemaRef,
    columns: Vec<datafusion::arrow::array::ArrayRef>,
    rows: usize,
) -> EngineResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &options,
    )?)
}

#[derive(Debug)]
struct Filter {
    input: Box<dyn Batches>,
    conditions: Vec<Evaluator>,
    keep: Vec<usize>,
    schema: SchemaRef,
}

impl Filter {
    fn kept(&mut self, batch: &RecordBatch) -> EngineResult<Option<BooleanBuffer>> {
        let mut kept: Option<BooleanBuffer> = None;
        for condition in &mut self.conditions {
            let truths = condition.truths(batch)?;
            let both = match &kept {
                Some(kept) => kept & &truths,
                None => truths,
            };
            if both.count_set_bits() == 0 {
                return Ok(None);
            }
            kept = Some(both);
        }
        Ok(kept)
    }
}

impl Batches for Filter {
    fn start(&mut self, partition: usize) -> EngineResult<()> {
        self.input.start(partition)
    }

    fn next(&mut self) -> EngineResult<Option<RecordBatch>> {
        while let Some(batch) = self.input.next()? {
            let Some(kept) = self.kept(&batch)? else {
                continue;
            };
            let rows = kept.count_set_bits();
            if rows == batch.num_rows() {
                let columns = self
                    .keep
                    .iter()
                    .map(|index| Arc::clone(batch.column(*index)));
                return Ok(Some(batch_of(&self.schema, columns.collect(), rows)?));
            }
            let kept = FilterBuilder::new(&BooleanArray::new(kept, None))
                .optimize()
                .build();
            let columns = self
                .keep
                .iter()
                .map(|index| Ok(kept.filter(batch.column(*index))?))
                .collect::<EngineResult<_>>()?;
            return Ok(Some(batch_of(&self.schema, columns, rows)?));
        }
        Ok(None)
    }
}

#[derive(Debug)]
struct Project {
    input: Box<dyn Batches>,
    columns: Vec<Evaluator>,
    schema: SchemaRef,
}

impl Batches for Project {
    fn start(&mut self, partition: usize) -> EngineResult<()> {
        self.input.start(partition)
    }

    fn next(&mut self) -> EngineResult<Option<RecordBatch>> {
        let Some(batch) = self.input.next()? else {
            return Ok(None);
        };
        let columns = self
            .columns
            .iter_mut()
            .map(|column| column.evaluate(&batch))
            .collect::<EngineResult<_>>()?;
        Ok(Some(batch_of(&self.schema, columns, batch.num_rows())?))
    }
}
