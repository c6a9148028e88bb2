//! How SQL becomes a plan that a node can be asked with. Both sides plan: the coordinator what
//! researchers write, a node the views in its owner's file. What a statement means, and the form
//! in which a node gets it, must be the same for both.

mod refusal;
mod unheard;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use datafusion::{
    common::{Result, alias::AliasGenerator, config::ConfigOptions},
    execution::{FunctionRegistry, SessionState},
    logical_expr::LogicalPlan,
    optimizer::{
        Optimizer, OptimizerConfig, OptimizerRule,
        decorrelate_lateral_join::DecorrelateLateralJoin,
        decorrelate_predicate_subquery::DecorrelatePredicateSubquery,
        eliminate_cross_join::EliminateCrossJoin,
        extract_equijoin_predicate::ExtractEquijoinPredicate,
        replace_distinct_aggregate::ReplaceDistinctWithAggregate,
        rewrite_set_comparison::RewriteSetComparison,
        scalar_subquery_to_join::ScalarSubqueryToJoin, simplify_expressions::SimplifyExpressions,
    },
    prelude::SessionConfig,
};

pub use refusal::{first_line, innermost, refusal};
pub use unheard::refuse_unheard;

/// The name that all tables are under.
pub const CATALOG: &str = "skerry";
/// The name that all tables are under, after that of the catalogue.
pub const SCHEMA: &str = "public";

/// The settings that decide what a statement means.
#[must_use]
pub fn session() -> SessionConfig {
    let mut config = SessionConfig::new()
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
    config
}

/// The rewrites of a plan before any of it is lowered. The list is pinned: what a node gets must not change with the
/// engine's defaults. They turn subqueries into joins and `DISTINCT` into aggregates, and leave
/// alone what would make the answer's shape hang on the text (`WHERE 1 = 0` stays a filter).
///
/// # Errors
/// If the engine can't rewrite a part.
pub fn rewrite(state: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = vec![
        Arc::new(RewriteSetComparison::new()),
        Arc::new(SimplifyExpressions::new()),
        Arc::new(ReplaceDistinctWithAggregate::new()),
        Arc::new(DecorrelatePredicateSubquery::new()),
        Arc::new(ScalarSubqueryToJoin::new()),
        Arc::new(DecorrelateLateralJoin::new()),
        Arc::new(ExtractEquijoinPredicate::new()),
        // `FROM a, b WHERE a.x = b.x` is a join on x.
        Arc::new(EliminateCrossJoin::new()),
    ];
    let context = Rewriting {
        options: Arc::clone(state.config_options()),
        aliases: Arc::default(),
        functions: state,
    };
    Optimizer::with_rules(rules).optimize(plan, &context, |_, _| {})
}

/// What the rewrites know.
struct Rewriting<'a> {
    options: Arc<ConfigOptions>,
    /// Counted anew for each statement.
    aliases: Arc<AliasGenerator>,
    /// `DISTINCT ON` becomes `FIRST_VALUE`, which is looked up by name.
    functions: &'a SessionState,
}

impl OptimizerConfig for Rewriting<'_> {
    /// None, so that `now()` stays what it is, for the nodes to refuse.
    fn query_execution_start_time(&self) -> Option<DateTime<Utc>> {
        None
    }

    fn alias_generator(&self) -> &Arc<AliasGenerator> {
        &self.aliases
    }

    fn options(&self) -> Arc<ConfigOptions> {
        Arc::clone(&self.options)
    }

    fn function_registry(&self) -> Option<&dyn FunctionRegistry> {
        Some(self.functions)
    }
}
