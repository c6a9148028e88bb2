//! What the engine's optimizer made of the last plans, so that a statement that is asked again only has its
//! tables put in. Most of a small statement's time would be the optimizer's.
//!
//! What it makes of a plan hangs on the plan alone, not on what its tables hold: plans are told apart with all their
//! expressions and columns, and one that asks for the time, or for noise, is made anew each time.

use std::{collections::HashMap, fmt, sync::Arc};

use datafusion::{
    common::{
        Result, TableReference,
        tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    },
    datasource::source_as_provider,
    execution::SessionState,
    logical_expr::{Expr, LogicalPlan, LogicalTableSource, TableSource, Volatility},
    physical_plan::ExecutionPlan,
};

use crate::{recent::Recent, statistics::is_look_up};

/// Plans that were optimized, by what they were before. It is an extension of a session, whose tables and
/// functions they hang on.
pub(crate) struct Optimized(Recent<LogicalPlan, LogicalPlan>);

impl Optimized {
    /// With nothing in it.
    pub fn new() -> Self {
        Self(Recent::new())
    }
}

impl fmt::Debug for Optimized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Optimized")
    }
}

/// The physical plan that the session makes of a plan.
pub(crate) async fn physical_plan(
    state: &SessionState,
    plan: &LogicalPlan,
) -> Result<Arc<dyn ExecutionPlan>> {
    let known = state.config().get_extension::<Optimized>();
    let (Some(Optimized(known)), Some(sources)) = (known.as_deref(), sources(plan)?) else {
        return state.create_physical_plan(plan).await;
    };
    let optimized = match known.get(plan) {
        Some(optimized) => over(optimized, &sources)?,
        None => {
            let optimized = state.optimize(plan)?;
            // What is kept holds no figures.
            let bare = bare(&sources);
            known.keep(over(plan.clone(), &bare)?, over(optimized.clone(), &bare)?);
            optimized
        }
    };
    let planner = Arc::clone(state.query_planner());
    planner.create_physical_plan(&optimized, state).await
}

type Sources = HashMap<TableReference, Arc<dyn TableSource>>;

/// The plan's tables by name; nothing if a name stands for two, or the plan isn't the same each time.
fn sources(plan: &LogicalPlan) -> Result<Option<Sources>> {
    let mut sources = Sources::new();
    let mut always = true;
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(before) = sources.insert(scan.table_name.clone(), Arc::clone(&scan.source))
        {
            let (before, own) = (
                source_as_provider(&before)?,
                source_as_provider(&scan.source)?,
            );
            always &= Arc::ptr_eq(&before, &own);
        }
        node.apply_expressions(|expr| {
            always &= !expr.exists(|part| Ok(changes(part)))?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(if always {
            TreeNodeRecursion::Continue
        } else {
            TreeNodeRecursion::Stop
        })
    })?;
    Ok(always.then_some(sources))
}

/// Tables of the same names and columns that hold nothing.
fn bare(sources: &Sources) -> Sources {
    let bare = |source: &Arc<dyn TableSource>| -> Arc<dyn TableSource> {
        Arc::new(LogicalTableSource::new(source.schema()))
    };
    let named = sources.iter();
    named
        .map(|(name, source)| (name.clone(), bare(source)))
        .collect()
}

/// Whether the optimizer may make something else of an expression another time.
fn changes(expr: &Expr) -> bool {
    match expr {
        Expr::ScalarFunction(call) => {
            call.func.signature().volatility != Volatility::Immutable || is_look_up(call)
        }
        _ => false,
    }
}

/// The same plan over these tables.
fn over(plan: LogicalPlan, sources: &Sources) -> Result<LogicalPlan> {
    let replaced = plan.transform_up_with_subqueries(|node| {
        Ok(match node {
            LogicalPlan::TableScan(mut scan) => match sources.get(&scan.table_name) {
                Some(source) => {
                    scan.source = Arc::clone(source);
                    Transformed::yes(LogicalPlan::TableScan(scan))
                }
                None => Transformed::no(LogicalPlan::TableScan(scan)),
            },
            other => Transformed::no(other),
        })
    })?;
    Ok(replaced.data)
}

#[cfg(test)]
mod tests {
    use datafusion::{
        arrow::{
            array::{ArrayRef, Int64Array, RecordBatch},
            util::pretty::pretty_format_batches,
        },
        datasource::MemTable,
        physical_plan::collect,
        prelude::SessionContext,
    };

    use super::*;

    /// The answer where `t` has these numbers, and whether the plan was known.
    async fn answer(state: &SessionState, sql: &str, numbers: &[i64]) -> (String, bool) {
        let state = &crate::session::started(state);
        let column: ArrayRef = Arc::new(Int64Array::from(numbers.to_vec()));
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let table = MemTable::try_new(batch.schema(), vec![vec![batch]]).unwrap();
        let context = SessionContext::new_with_state(state.clone());
        context.deregister_table("t").unwrap();
        context.register_table("t", Arc::new(table)).unwrap();
        let plan = context.state().create_logical_plan(sql).await.unwrap();
        let optimized = state.config().get_extension::<Optimized>().unwrap();
        let known = optimized.0.get(&plan).is_some();
        let physical = physical_plan(state, &plan).await.unwrap();
        let batches = collect(physical, state.task_ctx()).await.unwrap();
        (pretty_format_batches(&batches).unwrap().to_string(), known)
    }

    #[tokio::test]
    async fn a_known_plan_reads_the_tables_that_it_is_given() {
        let state = crate::session::state([]).unwrap();
        let fresh = || crate::session::state([]).unwrap();
        let statements = [
            "SELECT SUM(x) AS s, COUNT(*) AS n FROM t WHERE x > 1",
            "SELECT x, (SELECT MAX(x) FROM t) AS most FROM t ORDER BY x",
            "SELECT a.x FROM t AS a JOIN t AS b ON a.x = b.x + 1 ORDER BY a.x",
            "SELECT x FROM t WHERE x IN (SELECT x + 1 FROM t) ORDER BY x LIMIT 2",
        ];
        for sql in statements {
            for (round, numbers) in [vec![1, 2, 3], vec![7, 8], vec![]].iter().enumerate() {
                let (found, known) = answer(&state, sql, numbers).await;
                assert_eq!(known, round > 0, "{sql}");
                assert_eq!(found, answer(&fresh(), sql, numbers).await.0, "{sql}");
            }
        }
    }

    #[tokio::test]
    async fn what_may_change_is_made_anew() {
        let state = crate::session::state([]).unwrap();
        for sql in [
            "SELECT x FROM t WHERE now() > to_timestamp(x)",
            "SELECT random() FROM t",
        ] {
            for _ in 0..2 {
                assert!(!answer(&state, sql, &[1]).await.1, "{sql}");
            }
        }
    }
}
