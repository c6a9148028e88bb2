//! Parts of SQL that the parser takes in and the engine then reads over. An answer to another
//! question than the one that was asked is worse than none, so they are refused.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    GroupByExpr, Query, Select, Statement, TableFactor, Visit as _, Visitor,
};

use crate::{ErrorCode, Refusal};

/// Refuses a statement of which the engine would leave out a part.
///
/// # Errors
/// The refusal, which names the part.
pub fn refuse_unheard(statement: &Statement) -> Result<(), Refusal> {
    match statement.visit(&mut Unheard) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break((part, hint)) => Err(Refusal::new(
            ErrorCode::Unsupported,
            format!("{part} is not taken into account here, so it can't be asked"),
            hint,
        )),
    }
}

const LEAVE_OUT: &str = "Leave it out.";

struct Unheard;

/// The first of some parts that is there.
fn first(parts: &[(bool, &str, &'static str)]) -> ControlFlow<(String, &'static str)> {
    match parts.iter().find(|(there, ..)| *there) {
        Some((_, part, hint)) => ControlFlow::Break(((*part).to_owned(), hint)),
        None => ControlFlow::Continue(()),
    }
}

impl Visitor for Unheard {
    type Break = (String, &'static str);

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        first(&[
            (
                !query.locks.is_empty(),
                "FOR UPDATE or FOR SHARE",
                LEAVE_OUT,
            ),
            (
                query.for_clause.is_some(),
                "FOR XML, JSON or BROWSE",
                LEAVE_OUT,
            ),
            (query.settings.is_some(), "SETTINGS", LEAVE_OUT),
            (query.format_clause.is_some(), "FORMAT", LEAVE_OUT),
        ])
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        let modified = match &select.group_by {
            GroupByExpr::All(modifiers) | GroupByExpr::Expressions(_, modifiers) => {
                !modifiers.is_empty()
            }
        };
        first(&[
            (
                modified,
                "WITH after GROUP BY",
                "Write GROUP BY ROLLUP(…) or CUBE(…).",
            ),
            (select.prewhere.is_some(), "PREWHERE", "Write WHERE."),
            (!select.connect_by.is_empty(), "CONNECT BY", LEAVE_OUT),
            (!select.distribute_by.is_empty(), "DISTRIBUTE BY", LEAVE_OUT),
            (
                select.exclude.is_some(),
                "EXCLUDE after the columns",
                "Name the columns that are wanted.",
            ),
            (
                select.select_modifiers.is_some(),
                "a word before the columns",
                LEAVE_OUT,
            ),
            (!select.optimizer_hints.is_empty(), "a hint", LEAVE_OUT),
            (select.value_table_mode.is_some(), "SELECT AS", LEAVE_OUT),
        ])
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        let sampled = "Ask for all rows: a smaller sample would have more noise, not less.";
        match factor {
            TableFactor::Table {
                with_hints,
                version,
                with_ordinality,
                partitions,
                json_path,
                sample,
                index_hints,
                ..
            } => first(&[
                (sample.is_some(), "TABLESAMPLE", sampled),
                (
                    version.is_some(),
                    "a version of a table",
                    "Write a condition on a date.",
                ),
                (
                    !partitions.is_empty(),
                    "PARTITION of a table",
                    "Write a condition in WHERE.",
                ),
                (
                    !with_hints.is_empty() || !index_hints.is_empty(),
                    "a hint",
                    LEAVE_OUT,
                ),
                (*with_ordinality, "WITH ORDINALITY", LEAVE_OUT),
                (json_path.is_some(), "a path into a table", LEAVE_OUT),
            ]),
            TableFactor::Derived { sample, .. } => {
                first(&[(sample.is_some(), "TABLESAMPLE", sampled)])
            }
            // The engine plans no other kind of table without saying that it can't.
            _ => ControlFlow::Continue(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::{
        dialect::{Dialect, GenericDialect, MsSqlDialect},
        parser::Parser,
    };

    use super::*;

    fn refused(sql: &str) -> Option<String> {
        refused_of(sql, &GenericDialect {})
    }

    fn refused_of(sql: &str, dialect: &dyn Dialect) -> Option<String> {
        let statements = Parser::parse_sql(dialect, sql).expect(sql);
        refuse_unheard(&statements[0])
            .err()
            .map(|refusal| refusal.message)
    }

    #[test]
    fn what_would_be_left_out_is_refused_wherever_it_stands() {
        for (sql, part) in [
            (
                "SELECT COUNT(*) FROM t TABLESAMPLE SYSTEM (10)",
                "TABLESAMPLE",
            ),
            (
                "SELECT 1 WHERE EXISTS (SELECT 1 FROM t TABLESAMPLE (5 ROWS))",
                "TABLESAMPLE",
            ),
            (
                "WITH u AS (SELECT * FROM t FOR UPDATE) SELECT COUNT(*) FROM u",
                "FOR UPDATE",
            ),
            (
                "SELECT a, COUNT(*) FROM t GROUP BY a WITH ROLLUP",
                "WITH after GROUP BY",
            ),
            ("SELECT COUNT(*) FROM t PREWHERE a = 1", "PREWHERE"),
        ] {
            let message = refused(sql).unwrap_or_else(|| panic!("{sql} is let through"));
            assert!(message.starts_with(part), "{sql}: {message}");
        }
        // Words that the dialect of this system doesn't have, yet.
        for (sql, part) in [
            ("SELECT COUNT(*) FROM t WITH (NOLOCK)", "a hint"),
            (
                "SELECT COUNT(*) FROM t FOR SYSTEM_TIME AS OF '2020-01-01'",
                "a version",
            ),
        ] {
            let message = refused_of(sql, &MsSqlDialect {}).unwrap_or_default();
            assert!(message.starts_with(part), "{sql}: {message}");
        }
        for sql in [
            "SELECT a, COUNT(*) FROM t GROUP BY ROLLUP(a) ORDER BY a LIMIT 3",
            "WITH u AS (SELECT DISTINCT a FROM t) SELECT * FROM u JOIN t USING (a)",
        ] {
            assert_eq!(refused(sql), None, "{sql}");
        }
    }
}
