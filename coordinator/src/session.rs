//! The query engine as this coordinator runs it: no files, no settings, no table functions, one
//! partition so that an answer's order is the same each time.

use std::{collections::HashMap, sync::Arc};

use datafusion::logical_expr::LogicalPlan;
use datafusion::{
    catalog::TableProvider,
    common::{Result, TableReference},
    execution::{SessionState, SessionStateBuilder, runtime_env::RuntimeEnvBuilder},
    optimizer::{
        Optimizer, OptimizerContext, OptimizerRule,
        decorrelate_lateral_join::DecorrelateLateralJoin,
        decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        extract_equijoin_predicate::ExtractEquijoinPredicate,
        replace_distinct_aggregate::ReplaceDistinctWithAggregate,
        rewrite_set_comparison::RewriteSetComparison,
        scalar_subquery_to_join::ScalarSubqueryToJoin, simplify_expressions::SimplifyExpressions,
    },
    prelude::SessionConfig,
};

/// The name that all tables are under.
pub(crate) const CATALOG: &str = "skerry";
/// The name that all tables are under, after that of the catalogue.
pub(crate) const SCHEMA: &str = "public";
/// What the part above the frontiers may use at most.
const MEMORY_BYTES: usize = 1 << 30;

/// A session that knows the given tables.
pub(crate) fn state<'a>(
    tables: impl IntoIterator<Item = (&'a str, Arc<dyn TableProvider>)>,
) -> Result<SessionState> {
    let mut config = SessionConfig::new()
        .with_target_partitions(1)
        .with_default_catalog_and_schema(CATALOG, SCHEMA)
        .with_information_schema(false);
    let options = config.options_mut();
    options.execution.enable_recursive_ctes = false;
    options.execution.time_zone = Some("UTC".to_owned());
    options.sql_parser.map_string_types_to_utf8view = false;
    // An average without rows is no first place.
    options.sql_parser.default_null_ordering = "nulls_last".to_owned();
    // Every scalar subquery becomes a join, so that what is inside is seen by the cut.
    options
        .optimizer
        .enable_physical_uncorrelated_scalar_subquery = false;
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_limit(MEMORY_BYTES, 1.0)
        .build_arc()?;
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_table_functions(HashMap::new())
        .with_config(config)
        .with_runtime_env(runtime)
        .build();
    for (name, table) in tables {
        let reference = TableReference::bare(name);
        state
            .schema_for_ref(reference)?
            .register_table(name.to_owned(), table)?;
    }
    Ok(state)
}

/// The rewrites before the cut. The list is pinned: what a node is sent must not change with the
/// engine's defaults. They turn subqueries into joins and `DISTINCT` into aggregates, and leave
/// alone what would make the answer's shape hang on the text (`WHERE 1 = 0` stays a filter).
pub(crate) fn rewrite(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
    ];
    // Without a start time `now()` stays what it is, for the nodes to refuse.
    let context = OptimizerContext::new_with_config_options(Arc::clone(state.config_options()))
        .without_query_execution_start_time();
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}

/// The session for one run, which `now()` is the time of.
pub(crate) fn started(state: &SessionState) -> SessionState {
    let mut state = state.clone();
    state.mark_start_execution();
    state
}
