//! Which row groups can hold rows that a condition is true for, by their statistics.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, BooleanArray, UInt64Array},
        datatypes::SchemaRef,
    },
    common::{Column, Result as EngineResult, ScalarValue, pruning::PruningStatistics},
    physical_expr::PhysicalExpr,
    physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder},
};
use parquet::{
    arrow::arrow_reader::statistics::StatisticsConverter, file::metadata::ParquetMetaData,
};

use super::files::{TableFiles, Texts};

/// Skips what a condition on a table's columns rules out.
#[derive(Debug)]
pub struct Pruning {
    predicate: Arc<PruningPredicate>,
    schema: SchemaRef,
}

impl Pruning {
    /// By a condition over the table's plain columns; nothing if statistics can't help.
    #[must_use]
    pub fn new(files: &TableFiles, condition: Arc<dyn PhysicalExpr>) -> Option<Self> {
        let schema = Arc::clone(files.schema(Texts::Plain));
        let predicate = PruningPredicateBuilder::new()
            .with_file_schema(Arc::clone(&schema))
            .build(condition)?;
        Some(Self { predicate, schema })
    }

    /// The row groups of a partition that may hold such rows.
    ///
    /// # Errors
    /// If the statistics can't be compared.
    pub fn row_groups(&self, files: &TableFiles, partition: usize) -> EngineResult<Vec<usize>> {
        let Some(metadata) = files.metadata(partition) else {
            return Ok(vec![]);
        };
        let kept = self.predicate.prune(&Statistics {
            metadata,
            schema: &self.schema,
        })?;
        Ok(kept
            .into_iter()
            .enumerate()
            .filter_map(|(row_group, kept)| kept.then_some(row_group))
            .collect())
    }
}

struct Statistics<'a> {
    metadata: &'a ParquetMetaData,
    schema: &'a SchemaRef,
}

impl Statistics<'_> {
    /// Nothing for floats: their least and greatest leave NaN out, which the engine compares as the
    /// greatest. Whether a row with it is there would hang on the rows beside it, other persons' too.
    fn converter(&self, column: &Column) -> Option<StatisticsConverter<'_>> {
        let field = self.schema.field_with_name(&column.name).ok()?;
        if field.data_type().is_floating() {
            return None;
        }
        let parquet = self.metadata.file_metadata().schema_descr();
        StatisticsConverter::try_new(&column.name, self.schema, parquet).ok()
    }
}

impl PruningStatistics for Statistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        let groups = self.metadata.row_groups();
        self.converter(column)?.row_group_mins(groups).ok()
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        let groups = self.metadata.row_groups();
        self.converter(column)?.row_group_maxes(groups).ok()
    }

    fn num_containers(&self) -> usize {
        self.metadata.num_row_groups()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let groups = self.metadata.row_groups();
        let counts = self.converter(column)?.row_group_null_counts(groups).ok()?;
        Some(Arc::new(counts))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let groups = self.metadata.row_groups();
        let rows = groups
            .iter()
            .map(|group| u64::try_from(group.num_rows()).ok());
        Some(Arc::new(rows.collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
