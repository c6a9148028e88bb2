//! Trusted. Joins on more than equal keys, kept from three faults of the engine's sort-merge join.
//!
//! Promise: a join's condition reads the columns that it names, and fails on no row; rows leave in the
//! order that the join says.
//!
//! - The engine evaluates the condition of a left join on rows without a partner, too, with NULL on the
//!   right, but takes the right columns to be declared as they are in their table. One that is declared
//!   without NULLs then fails the execution, and whether it does hangs on who is in which table:
//!   <https://github.com/apache/datafusion/issues/21197>, mended there for mark joins alone. What the
//!   condition says of such a row changes nothing: the row stays, with NULL on the right.
//! - The engine pushes a projection below a join and leaves the condition as it was, which then reads
//!   what is now at the old places, or fails if nothing is:
//!   <https://github.com/apache/datafusion/issues/24414>, mended in later releases.
//! - The engine hands on the last batch of a left join before earlier ones that still wait to be put
//!   together. What comes after relies on the order, and our own sums fail without it, if enough of the
//!   rows fall out: <https://github.com/apache/datafusion/pull/24573>, mended in later releases.

use std::{fmt, sync::Arc};

use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::SortOptions,
        datatypes::Schema,
        row::{OwnedRow, RowConverter, SortField},
    },
    common::{
        JoinType, Result as EngineResult,
        config::ConfigOptions,
        not_impl_err,
        tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    },
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{OrderingRequirements, PhysicalExpr},
    physical_optimizer::{PhysicalOptimizerRule, optimizer::PhysicalOptimizer},
    physical_plan::{
        DisplayAs, DisplayFormatType, Distribution, ExecutionPlan, InputDistributionRequirements,
        PlanProperties,
        execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions},
        joins::{SortMergeJoinExec, utils::JoinFilter},
        metrics::MetricsSet,
        stream::RecordBatchStreamAdapter,
    },
};
use futures::{StreamExt as _, stream};

/// The engine's rules, with [`KeepConditions`] before those that move projections.
pub(crate) fn rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    let first = rules
        .iter()
        .position(|rule| rule.name() == "ProjectionPushdown");
    rules.insert(first.unwrap_or(rules.len()), Arc::new(KeepConditions));
    rules
}

/// Puts a [`ConditionedJoin`] in the place of each sort-merge join with a condition.
#[derive(Debug)]
struct KeepConditions;

impl PhysicalOptimizerRule for KeepConditions {
    fn name(&self) -> &'static str {
        "KeepConditions"
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let kept = plan.transform_up(|node| {
            let join = node.downcast_ref::<SortMergeJoinExec>();
            let conditioned = match join.and_then(|join| Some((join, join.filter.as_ref()?))) {
                Some((join, condition)) => ConditionedJoin::new(join, condition)?,
                None => return Ok(Transformed::no(node)),
            };
            Ok(Transformed::yes(Arc::new(conditioned) as _))
        })?;
        Ok(kept.data)
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// A sort-merge join whose condition takes any column to be NULL on some rows, through which no
/// projection is pushed, and whose batches are in order. All else is the join's own.
#[derive(Debug)]
pub(super) struct ConditionedJoin {
    join: Arc<dyn ExecutionPlan>,
    /// Of a left join: the left keys, by which its rows are in order. They come first among the columns.
    order: Option<Vec<Key>>,
}

/// An expression by which rows are ordered.
type Key = (Arc<dyn PhysicalExpr>, SortOptions);

impl ConditionedJoin {
    /// The engine's own join.
    pub(super) fn join(&self) -> &Arc<dyn ExecutionPlan> {
        &self.join
    }

    pub(super) fn new(join: &SortMergeJoinExec, condition: &JoinFilter) -> EngineResult<Self> {
        let order = match join.join_type {
            // Their rows leave as they come, and none is padded.
            JoinType::Inner
            | JoinType::LeftSemi
            | JoinType::LeftAnti
            | JoinType::LeftMark
            | JoinType::RightSemi
            | JoinType::RightAnti
            | JoinType::RightMark => None,
            JoinType::Left => {
                let keys = join.on.iter().map(|(left, _)| Arc::clone(left));
                Some(keys.zip(join.sort_options.iter().copied()).collect())
            }
            JoinType::Right | JoinType::Full => {
                return not_impl_err!("no question has a right or a full join");
            }
        };
        let fields = condition.schema().fields().iter();
        let nullable: Vec<_> = fields
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect();
        let condition = JoinFilter::new(
            Arc::clone(condition.expression()),
            condition.column_indices().to_vec(),
            Arc::new(Schema::new(nullable)),
        );
        let join = SortMergeJoinExec::try_new(
            Arc::clone(&join.left),
            Arc::clone(&join.right),
            join.on.clone(),
            Some(condition),
            join.join_type,
            join.sort_options.clone(),
            join.null_equality,
        )?;
        Ok(Self {
            join: Arc::new(join),
            order,
        })
    }
}

/// A left join's batches, of which the last may come too early.
struct InOrder {
    rows: SendableRecordBatchStream,
    keys: Vec<Key>,
    converter: RowConverter,
    /// The batch that may be the last, with the key of its last row.
    held: Option<(RecordBatch, OwnedRow)>,
}

impl InOrder {
    fn new(rows: SendableRecordBatchStream, keys: Vec<Key>) -> EngineResult<Self> {
        let schema = rows.schema();
        let fields = keys
            .iter()
            .map(|(key, options)| {
                let data_type = key.data_type(&schema)?;
                Ok(SortField::new_with_options(data_type, *options))
            })
            .collect::<EngineResult<_>>()?;
        Ok(Self {
            rows,
            keys,
            converter: RowConverter::new(fields)?,
            held: None,
        })
    }

    /// A row's key.
    fn key(&self, batch: &RecordBatch, row: usize) -> EngineResult<OwnedRow> {
        let one = batch.slice(row, 1);
        let columns = self
            .keys
            .iter()
            .map(|(key, _)| key.evaluate(&one)?.into_array(1))
            .collect::<EngineResult<Vec<_>>>()?;
        Ok(self.converter.convert_columns(&columns)?.row(0).owned())
    }

    async fn next(mut self) -> EngineResult<Option<(RecordBatch, Self)>> {
        while let Some(batch) = self.rows.next().await.transpose()? {
            let Some(last) = batch.num_rows().checked_sub(1) else {
                continue;
            };
            let first = self.key(&batch, 0)?;
            if self.held.as_ref().is_some_and(|(_, held)| first < *held) {
                return Ok(Some((batch, self)));
            }
            let last = self.key(&batch, last)?;
            if let Some((held, _)) = self.held.replace((batch, last)) {
                return Ok(Some((held, self)));
            }
        }
        Ok(self.held.take().map(|(held, _)| (held, self)))
    }
}

impl DisplayAs for ConditionedJoin {
    fn fmt_as(&self, format: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.join.fmt_as(format, out)
    }
}

impl ExecutionPlan for ConditionedJoin {
    fn name(&self) -> &'static str {
        "ConditionedJoin"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.join.properties()
    }

    fn required_input_distribution(&self) -> Vec<Distribution> {
        self.input_distribution_requirements().into_per_child()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.join.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.join.required_input_ordering()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.join.maintains_input_order()
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        self.join.benefits_from_input_partitioning()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.join.children()
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> EngineResult<TreeNodeRecursion>,
    ) -> EngineResult<TreeNodeRecursion> {
        self.join.apply_expressions(visit)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let join = Arc::clone(&self.join).replace_children(children, options)?;
        Ok(Arc::new(Self {
            join,
            order: self.order.clone(),
        }))
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> EngineResult<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> EngineResult<SendableRecordBatchStream> {
        let rows = self.join.execute(partition, context)?;
        let Some(keys) = &self.order else {
            return Ok(rows);
        };
        let schema = rows.schema();
        let in_order = stream::try_unfold(InOrder::new(rows, keys.clone())?, InOrder::next);
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, in_order)))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.join.metrics()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::{
        arrow::{
            array::{ArrayRef, AsArray as _, Int64Array},
            datatypes::{DataType as ArrowType, Field, Int64Type},
            util::pretty::pretty_format_batches,
        },
        datasource::MemTable,
        execution::SessionStateBuilder,
        prelude::{SessionConfig, SessionContext},
    };

    use super::*;

    /// A table whose columns are declared without NULLs.
    fn table(context: &SessionContext, name: &str, columns: &[(&str, &[i64])]) {
        let fields: Vec<Field> = columns
            .iter()
            .map(|(name, _)| Field::new(*name, ArrowType::Int64, false))
            .collect();
        let values = columns
            .iter()
            .map(|(_, values)| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef)
            .collect();
        let schema = Arc::new(Schema::new(fields));
        let batch = RecordBatch::try_new(Arc::clone(&schema), values).unwrap();
        let table = MemTable::try_new(schema, vec![vec![batch]]).unwrap();
        context.register_table(name, Arc::new(table)).unwrap();
    }

    fn context(
        sort_merge: bool,
        batch_rows: usize,
        rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
    ) -> SessionContext {
        let mut config = SessionConfig::new()
            .with_target_partitions(2)
            .with_batch_size(batch_rows);
        config.options_mut().optimizer.prefer_hash_join = !sort_merge;
        let state = SessionStateBuilder::new()
            .with_config(config)
            .with_default_features()
            .with_physical_optimizer_rules(rules)
            .build();
        let context = SessionContext::new_with_state(state);
        let of_row = |of: fn(i64) -> i64| (1..=40).map(of).collect::<Vec<_>>();
        table(
            &context,
            "visits",
            &[
                ("day", &of_row(|row| 7 * row % 30)),
                ("unit", &of_row(|row| row % 25)),
                ("ward", &of_row(|row| row % 3)),
            ],
        );
        table(
            &context,
            "inclusions",
            &[
                ("unit", &[3, 4, 9, 14, 15, 22, 40]),
                ("included", &[12, 3, 28, 15, 6, 20, 9]),
                ("risk", &[0, 1, 1, 0, 2, 2, 0]),
            ],
        );
        table(
            &context,
            "persons",
            &[
                ("unit", &(0..25).collect::<Vec<_>>()),
                ("born", &(1950..1975).collect::<Vec<_>>()),
            ],
        );
        table(
            &context,
            "calls",
            &[
                ("unit", &(0..60).map(|row| row / 10).collect::<Vec<_>>()),
                ("year", &[0; 60]),
            ],
        );
        context
    }

    async fn rows(context: &SessionContext, sql: &str) -> EngineResult<Vec<String>> {
        let batches = context.sql(sql).await?.collect().await?;
        let text = pretty_format_batches(&batches)?.to_string();
        let mut rows: Vec<String> = text.lines().map(str::to_owned).collect();
        rows.sort();
        Ok(rows)
    }

    const PADDED: &str = "SELECT v.unit, v.day, i.risk FROM visits v \
         LEFT JOIN inclusions i ON v.unit = i.unit AND i.included > v.day";

    #[tokio::test]
    async fn a_condition_on_rows_without_a_partner_fails_nothing() {
        // So the engine itself does: when it no longer fails, this part of the rule can go.
        let plain = context(true, 8192, PhysicalOptimizer::new().rules);
        let failed = rows(&plain, PADDED).await.unwrap_err().to_string();
        assert!(failed.contains("declared as non-nullable"), "{failed}");
    }

    #[tokio::test]
    async fn conditions_say_what_they_say_in_a_hash_join() {
        let kept = [8, 8192].map(|rows| context(true, rows, rules()));
        let hashed = context(false, 8192, PhysicalOptimizer::new().rules);
        let statements = [
            PADDED,
            "SELECT v.unit, i.risk FROM visits v \
             JOIN inclusions i ON v.unit = i.unit AND v.day > i.included",
            "SELECT v.unit, i.unit FROM visits v \
             LEFT JOIN inclusions i ON v.unit = i.unit AND v.day > i.included",
            "SELECT v.ward, i.risk, COUNT(*) FROM visits v \
             JOIN inclusions i ON v.unit = i.unit AND i.included > v.day \
             JOIN persons p ON p.unit = v.unit AND p.born > 1950 + i.risk GROUP BY 1, 2",
            "SELECT p.born, v.ward, i.risk FROM persons p LEFT JOIN visits v \
             ON v.unit = p.unit AND v.day + 1950 > p.born \
             LEFT JOIN inclusions i ON i.unit = v.unit AND i.included > v.day AND i.risk < v.ward",
            "SELECT i.risk, n.n FROM inclusions i LEFT JOIN \
             (SELECT unit, COUNT(*) AS n FROM visits GROUP BY unit) n \
             ON n.unit = i.unit AND n.n > i.risk",
            "SELECT p.born FROM persons p WHERE EXISTS \
             (SELECT 1 FROM visits v WHERE v.unit = p.unit AND v.day + 1950 > p.born)",
        ];
        for sql in statements {
            let expected = rows(&hashed, sql).await.unwrap();
            assert!(expected.len() > 5, "{sql}");
            for kept in &kept {
                assert_eq!(rows(kept, sql).await.unwrap(), expected, "{sql}");
            }
        }
    }

    /// Persons 0 to 5 have ten calls each, of which none is late enough, 6 to 8 have none.
    async fn units(rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>) -> Vec<Vec<i64>> {
        let sql = "SELECT p.unit, c.year FROM persons p \
             LEFT JOIN calls c ON c.unit = p.unit AND c.year > p.born WHERE p.unit < 9";
        let frame = context(true, 8, rules).sql(sql).await.unwrap();
        let partitions = frame.collect_partitioned().await.unwrap();
        let of_batch = |batch: &RecordBatch| {
            let units = batch.column(0).as_primitive::<Int64Type>();
            units.values().to_vec()
        };
        let of_partition = |batches: &Vec<RecordBatch>| batches.iter().flat_map(of_batch).collect();
        partitions.iter().map(of_partition).collect()
    }

    #[tokio::test]
    async fn the_last_batch_leaves_last() {
        // So the engine itself does: when it no longer does, this part of the rule can go.
        let plain = units(PhysicalOptimizer::new().rules).await;
        assert!(!plain.iter().all(|units| units.is_sorted()), "{plain:?}");
        let kept = units(rules()).await;
        assert!(kept.iter().all(|units| units.is_sorted()), "{kept:?}");
        let mut all = kept.concat();
        all.sort_unstable();
        assert_eq!(all, (0..9).collect::<Vec<_>>());
    }
}
