//! From SQL to a plan with its releases cut out.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    catalog::TableProvider,
    common::{DataFusionError, TableReference},
    config::Dialect,
    execution::{SessionState, context::SQLOptions},
    logical_expr::LogicalPlan,
    sql::{
        parser::{DFParserBuilder, Statement},
        sqlparser::{ast, dialect::GenericDialect},
    },
};
use skerry_proto::{ErrorCode, Refusal, planning};

use crate::{
    catalogue::Catalogue,
    frontier::{self, Frontier},
    grouping_sets,
    recent::Recent,
    refuse::refuse,
    session, statistics,
};

/// Characters of a statement that a refusal still writes anew.
const LONGEST_REWRITTEN: usize = 1_000;
/// Characters of a statement whose plan is kept.
const LONGEST_KEPT: usize = 16_384;

/// A statement, planned.
#[derive(Debug)]
pub(crate) struct Planned {
    /// What is done with the released figures. Each release is a leaf of its own kind.
    pub upper: LogicalPlan,
    /// What is asked of the regions.
    pub frontiers: Vec<Frontier>,
}

/// Plans statements over one state of the catalogue.
pub(crate) struct Planner {
    state: SessionState,
    catalogue: Arc<Catalogue>,
    names: Vec<String>,
    /// Plans hang on the statement and this planner alone.
    planned: Recent<String, Arc<Planned>>,
}

impl Planner {
    /// A planner over the nodes' tables and the coordinator's own.
    pub fn new(
        catalogue: Arc<Catalogue>,
        local: &BTreeMap<String, Arc<dyn TableProvider>>,
    ) -> Result<Self, Refusal> {
        let mut tables = local.clone();
        for name in catalogue.conflicts.keys() {
            tables.remove(name);
        }
        for (name, table) in &catalogue.tables {
            let table: Arc<dyn TableProvider> =
                Arc::<crate::federated_table::FederatedTable>::clone(table);
            tables.insert(name.clone(), table);
        }
        let names: Vec<String> = tables.keys().cloned().collect();
        let state = session::state(
            tables
                .iter()
                .map(|(name, table)| (name.as_str(), Arc::clone(table))),
        )
        .map_err(|error| planning::refusal(&error, &names))?;
        Ok(Self {
            state,
            catalogue,
            names,
            planned: Recent::new(),
        })
    }

    /// The session, for what runs after the releases.
    pub fn state(&self) -> &SessionState {
        &self.state
    }

    /// Plans one SELECT and cuts it. `sql` is without our own words. A refusal names the query that
    /// would be answered, where there is one.
    pub async fn plan(&self, sql: &str) -> Result<Arc<Planned>, Refusal> {
        if let Some(planned) = self.planned.get(sql) {
            return Ok(planned);
        }
        let refusal = match self.cut(sql).await {
            Ok(planned) => {
                let planned = Arc::new(planned);
                if sql.len() <= LONGEST_KEPT {
                    self.planned.keep(sql.to_owned(), Arc::clone(&planned));
                }
                return Ok(planned);
            }
            Err(refusal) => refusal,
        };
        let written = sql.trim().trim_end_matches(';');
        if !refusal.hint.contains(frontier::AROUND) || written.len() > LONGEST_REWRITTEN {
            return Err(refusal);
        }
        let rewritten = frontier::AROUND.replace('…', written);
        match self.cut(&rewritten).await {
            Ok(_) => Err(Refusal {
                hint: refusal.hint.replace(frontier::AROUND, &rewritten),
                ..refusal
            }),
            Err(_) => Err(refusal),
        }
    }

    async fn cut(&self, sql: &str) -> Result<Planned, Refusal> {
        let mut statement = self.parse(sql)?;
        if let Statement::Statement(inner) = &mut statement {
            statistics::spell_out(inner)?;
        }
        self.check_tables(&statement)?;
        let told = |error: DataFusionError| planning::refusal(&error, &self.names);
        let plan = self
            .state
            .statement_to_plan(statement)
            .await
            .map_err(told)?;
        SQLOptions::new()
            .with_allow_ddl(false)
            .with_allow_dml(false)
            .with_allow_statements(false)
            .verify_plan(&plan)
            .map_err(|_| only_select("this statement"))?;
        let plan = self
            .state
            .analyzer()
            .execute_and_check(plan, self.state.config_options(), |_, _| {})
            .map_err(told)?;
        let plan = planning::rewrite(&self.state, plan).map_err(told)?;
        let planned = frontier::cut(grouping_sets::expand(plan)?)?;
        for frontier in &planned.frontiers {
            statistics::check_below(&LogicalPlan::Aggregate(frontier.aggregate.clone()))?;
        }
        Ok(planned)
    }

    fn parse(&self, sql: &str) -> Result<Statement, Refusal> {
        let parser = &self.state.config_options().sql_parser;
        debug_assert!(matches!(parser.dialect, Dialect::Generic));
        let mut statements = DFParserBuilder::new(sql)
            .with_dialect(&GenericDialect {})
            .with_recursion_limit(parser.recursion_limit.get())
            .build()
            .and_then(|mut parser| parser.parse_statements())
            .map_err(|error| planning::refusal(&error, &self.names))?;
        let (Some(statement), None) = (statements.pop_front(), statements.pop_front()) else {
            return refuse(
                ErrorCode::Unsupported,
                "one statement at a time, please: this is none or more than one",
                "Ask one SELECT; several can be joined with UNION ALL.",
            );
        };
        match &statement {
            Statement::Statement(inner) => match inner.as_ref() {
                ast::Statement::Query(_) => {
                    planning::refuse_unheard(inner)?;
                    Ok(statement)
                }
                ast::Statement::Explain { .. } => refuse(
                    ErrorCode::Unsupported,
                    "EXPLAIN of a plan is not for private tables",
                    "EXPLAIN PRIVACY SELECT … says what a question would release and cost.",
                ),
                other => Err(only_select(
                    other
                        .to_string()
                        .split_whitespace()
                        .next()
                        .unwrap_or("this"),
                )),
            },
            Statement::Explain(_) => refuse(
                ErrorCode::Unsupported,
                "EXPLAIN of a plan is not for private tables",
                "EXPLAIN PRIVACY SELECT … says what a question would release and cost.",
            ),
            other => Err(only_select(
                other
                    .to_string()
                    .split_whitespace()
                    .next()
                    .unwrap_or("this"),
            )),
        }
    }

    /// Names that the regions mean different things by are refused with the reason.
    fn check_tables(&self, statement: &Statement) -> Result<(), Refusal> {
        let references = self
            .state
            .resolve_table_references(statement)
            .map_err(|error| planning::refusal(&error, &self.names))?;
        for reference in references {
            let name = match &reference {
                TableReference::Bare { table } => table,
                _ => continue,
            };
            if let Some(conflict) = self.catalogue.conflicts.get(name.as_ref()) {
                return refuse(
                    ErrorCode::RegionsDisagree,
                    conflict.clone(),
                    "The owners have to agree on it before it can be asked across regions.",
                );
            }
        }
        Ok(())
    }
}

fn only_select(what: &str) -> Refusal {
    Refusal::new(
        ErrorCode::Unsupported,
        format!("only SELECT is answered, not `{what}`"),
        "Ask an aggregate: SELECT COUNT(*) FROM …",
    )
}
