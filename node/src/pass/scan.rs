//! Trusted. A pass's reading of a prepared table.
//!
//! Promise: all rows of a partition but those of row groups for which the conditions above can't
//! be true.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType as ArrowType, SchemaRef},
    },
    common::{
        Column, DFSchema, Result as EngineResult, internal_datafusion_err,
        tree_node::{Transformed, TreeNode as _},
    },
    execution::SessionState,
    logical_expr::{Expr, utils::conjunction},
};

use super::{
    given_up::GivenUp,
    operator::{Batches, batch_of},
    rows::names,
};
use crate::prepared::{PartitionRows, Pruning, TableFiles, Texts};

/// A scan at work, for one thread.
#[derive(Debug)]
pub struct Scan {
    pub files: Arc<TableFiles>,
    /// By position.
    pub columns: Vec<usize>,
    /// What is left out.
    pub pruning: Option<Arc<Pruning>>,
    /// The columns, by the pass's names.
    pub schema: SchemaRef,
    /// Of the partition that is read.
    pub rows: Option<PartitionRows>,
    pub given_up: GivenUp,
}

impl Batches for Scan {
    fn start(&mut self, partition: usize) -> EngineResult<()> {
        let row_groups = match &self.pruning {
            Some(pruning) => Some(pruning.row_groups(&self.files, partition)?),
            None => None,
        };
        let rows = self
            .files
            .read(partition, &self.columns, Texts::Coded, row_groups)?;
        self.rows = Some(rows);
        Ok(())
    }

    fn next(&mut self) -> EngineResult<Option<RecordBatch>> {
        self.given_up.check()?;
        let Some(rows) = &mut self.rows else {
            return Ok(None);
        };
        let Some(batch) = rows.next().transpose()? else {
            return Ok(None);
        };
        let (rows, columns) = (batch.num_rows(), batch.columns().to_vec());
        Ok(Some(batch_of(&self.schema, columns, rows)?))
    }
}

/// By the conditions on numbers and dates that stand as they are in the file.
///
/// # Errors
/// If the engine refuses a condition.
pub fn pruning(
    files: &TableFiles,
    columns: &[(String, usize)],
    conditions: &[Expr],
    state: &SessionState,
) -> EngineResult<Option<Pruning>> {
    let schema = files.schema(Texts::Plain);
    let position = |name: &str| {
        let found = columns.iter().find(|(own, _)| own == name);
        found
            .map(|(_, position)| *position)
            .ok_or_else(|| internal_datafusion_err!("there is no column {name}"))
    };
    let mut helpful = vec![];
    for condition in conditions {
        let mut helps = true;
        for name in names(condition) {
            let field = schema.field(position(name)?);
            helps &= !matches!(
                field.data_type(),
                ArrowType::Boolean | ArrowType::Utf8 | ArrowType::Utf8View
            );
        }
        if helps {
            let stored = condition.clone().transform(|part| match part {
                Expr::Column(column) => {
                    let stored = schema.field(position(&column.name)?).name();
                    Ok(Transformed::yes(Expr::Column(Column::from_name(stored))))
                }
                other => Ok(Transformed::no(other)),
            })?;
            helpful.push(stored.data);
        }
    }
    Ok(match conjunction(helpful) {
        Some(condition) => {
            let names = DFSchema::try_from(Arc::clone(schema))?;
            Pruning::new(files, state.create_physical_expr(condition, &names)?)
        }
        None => None,
    })
}
