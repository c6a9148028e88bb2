//! What a plan below a frontier asks, without the names in it. Planning numbers its own names
//! through a statement, and people write different ones for the same: a CTE that is used twice, or
//! an aggregate that is written twice, has other names each time.

use datafusion::{
    common::{
        Column, DFSchema,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, LogicalPlan},
};

use crate::federated_table::FederatedTable;

/// A text that two plans share if they ask the same: columns are positions, aliases are left out.
/// Nothing where a part is not known here; such a plan is the same as no other.
pub(crate) fn canonical(plan: &LogicalPlan) -> Option<String> {
    let input = |input: &LogicalPlan| canonical(input);
    match plan {
        LogicalPlan::TableScan(scan) => {
            let table = FederatedTable::of(scan)?;
            let fields = scan.projected_schema.fields();
            let columns: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            let plain = scan.filters.is_empty() && scan.fetch.is_none();
            plain.then(|| format!("scan({:?} {columns:?})", table.name))
        }
        LogicalPlan::SubqueryAlias(alias) => input(&alias.input),
        LogicalPlan::Projection(projection) => {
            let of = input(&projection.input)?;
            let schema = projection.input.schema();
            let exprs = positional(&projection.expr, schema)?;
            let all: Vec<Expr> = (0..schema.fields().len()).map(position).collect();
            if exprs == all {
                return Some(of);
            }
            Some(format!("project({exprs:?} {of})"))
        }
        LogicalPlan::Filter(filter) => {
            let predicate = one(&filter.predicate, filter.input.schema())?;
            Some(format!("filter({predicate:?} {})", input(&filter.input)?))
        }
        LogicalPlan::Aggregate(aggregate) => {
            let schema = aggregate.input.schema();
            Some(format!(
                "aggregate({:?} {:?} {})",
                positional(&aggregate.group_expr, schema)?,
                positional(&aggregate.aggr_expr, schema)?,
                input(&aggregate.input)?
            ))
        }
        LogicalPlan::Window(window) => Some(format!(
            "window({:?} {})",
            positional(&window.window_expr, window.input.schema())?,
            input(&window.input)?
        )),
        LogicalPlan::Join(join) => {
            let (left, right) = (join.left.schema(), join.right.schema());
            let on = join
                .on
                .iter()
                .map(|(l, r)| Some((one(l, left)?, one(r, right)?)))
                .collect::<Option<Vec<_>>>()?;
            let filter = match &join.filter {
                Some(filter) => Some(one(filter, &left.join(right).ok()?)?),
                None => None,
            };
            Some(format!(
                "join({:?} {:?} {} {on:?} {filter:?} {} {})",
                join.join_type,
                join.null_equality,
                join.null_aware,
                input(&join.left)?,
                input(&join.right)?
            ))
        }
        LogicalPlan::Union(union) => {
            let inputs = union.inputs.iter().map(|part| input(part));
            let inputs = inputs.collect::<Option<Vec<_>>>()?;
            Some(format!("union({})", inputs.join(" ")))
        }
        _ => None,
    }
}

fn position(at: usize) -> Expr {
    Expr::Column(Column::new_unqualified(format!("#{at}")))
}

fn positional(exprs: &[Expr], schema: &DFSchema) -> Option<Vec<Expr>> {
    exprs.iter().map(|expr| one(expr, schema)).collect()
}

/// An expression with positions for columns and without aliases.
fn one(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
    let mut known = true;
    let replaced = expr.clone().transform_up(|expr| {
        Ok(match expr {
            Expr::Column(column) => match schema.maybe_index_of_column(&column) {
                Some(at) => Transformed::yes(position(at)),
                None => {
                    known = false;
                    Transformed::no(Expr::Column(column))
                }
            },
            Expr::Alias(alias) => Transformed::yes(*alias.expr),
            Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::ScalarSubquery(_)
            | Expr::SetComparison(_)
            | Expr::OuterReferenceColumn(..) => {
                known = false;
                Transformed::no(expr)
            }
            expr => Transformed::no(expr),
        })
    });
    replaced.ok().map(|expr| expr.data).filter(|_| known)
}

#[cfg(test)]
mod tests {
    use crate::frontier::tests::planner;

    async fn releases(sql: &str) -> usize {
        planner().plan(sql).await.expect(sql).frontiers.len()
    }

    /// Statements that ask one thing in two places.
    #[tokio::test]
    async fn what_is_asked_twice_is_released_once() {
        for sql in [
            // As it is, under other names, and through subqueries that only rename.
            "SELECT (SELECT COUNT(*) FROM visits) - (SELECT COUNT(*) FROM visits) AS n",
            "SELECT (SELECT COUNT(*) FROM visits v) - (SELECT COUNT(*) AS m FROM visits w) AS n",
            "SELECT (SELECT COUNT(*) FROM visits WHERE cost > 1) / (SELECT COUNT(*) FROM (SELECT * FROM visits) AS t WHERE t.cost > 1) AS n",
            "WITH t AS (SELECT site AS s, cost AS c FROM visits) SELECT a.m / b.m AS n FROM (SELECT s, SUM(c) AS m FROM t GROUP BY s) AS a JOIN (SELECT site, SUM(c) AS m FROM (SELECT site, cost AS c FROM visits) AS u GROUP BY site) AS b ON a.s = b.site",
            // Names that planning makes up: __correlated_sq_1 and _2, __scalar_sq_1 and _2.
            "WITH t AS (SELECT sex, COUNT(*) AS n FROM patients p WHERE EXISTS (SELECT 1 FROM visits v WHERE v.person_id = p.person_id) GROUP BY sex) SELECT a.n - b.n AS d FROM t a JOIN t b ON a.sex = b.sex",
            "WITH t AS (SELECT sex, COUNT(*) AS n FROM patients p WHERE person_id IN (SELECT person_id FROM visits WHERE site = 1) GROUP BY sex) SELECT a.n - b.n AS d FROM t a JOIN t b ON a.sex = b.sex",
            "WITH t AS (SELECT COUNT(*) AS n FROM patients p WHERE (SELECT COUNT(*) FROM visits v WHERE v.person_id = p.person_id) > 2) SELECT a.n - b.n AS d FROM t a CROSS JOIN t b",
            "WITH t AS (SELECT COUNT(*) AS n FROM (SELECT DISTINCT person_id, site FROM visits) AS d) SELECT a.n + b.n AS d FROM t a CROSS JOIN t b",
            "SELECT 'a' AS k, COUNT(*) AS n FROM patients p JOIN visits v ON p.person_id = v.person_id UNION ALL SELECT 'b', COUNT(*) FROM patients q JOIN visits w USING (person_id)",
        ] {
            assert_eq!(releases(sql).await, 1, "{sql}");
        }
    }

    /// Statements that look alike and ask two things.
    #[tokio::test]
    async fn what_differs_is_released_apart() {
        for sql in [
            "SELECT (SELECT COUNT(*) FROM visits) - (SELECT COUNT(*) FROM patients) AS n",
            "SELECT (SELECT COUNT(*) FROM visits) - (SELECT COUNT(site) FROM visits) AS n",
            "SELECT (SELECT COUNT(site) FROM visits) - (SELECT COUNT(cost) FROM visits) AS n",
            "SELECT (SELECT COUNT(*) FROM visits WHERE site = 1) - (SELECT COUNT(*) FROM visits WHERE site = 2) AS n",
            "SELECT (SELECT COUNT(*) FROM visits WHERE kind = '1') - (SELECT COUNT(*) FROM visits WHERE site = 1) AS n",
            // The same names mean other columns.
            "SELECT (SELECT SUM(a) FROM (SELECT cost AS a, site AS b FROM visits) AS t) - (SELECT SUM(a) FROM (SELECT site AS a, cost AS b FROM visits) AS t) AS n",
            "SELECT (SELECT SUM(v.site) FROM visits v JOIN visits w ON v.person_id = w.person_id WHERE v.cost > 1) - (SELECT SUM(w.site) FROM visits v JOIN visits w ON v.person_id = w.person_id WHERE v.cost > 1) AS n",
            "SELECT (SELECT COUNT(*) FROM patients p LEFT JOIN visits v ON p.person_id = v.person_id) - (SELECT COUNT(*) FROM patients p JOIN visits v ON p.person_id = v.person_id) AS n",
            "SELECT (SELECT COUNT(*) FROM patients p WHERE EXISTS (SELECT 1 FROM visits v WHERE v.person_id = p.person_id)) - (SELECT COUNT(*) FROM patients p WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.person_id = p.person_id)) AS n",
            "SELECT (SELECT COUNT(DISTINCT person_id) FROM visits) - (SELECT COUNT(person_id) FROM visits) AS n",
            "SELECT (SELECT COUNT(*) FILTER (WHERE site = 1) FROM visits) - (SELECT COUNT(*) FROM visits) AS n",
            "SELECT a.site, a.n, b.n AS m FROM (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) AS a JOIN (SELECT site + 1 AS site, COUNT(*) AS n FROM visits GROUP BY site + 1) AS b ON a.site = b.site",
        ] {
            assert_eq!(releases(sql).await, 2, "{sql}");
        }
    }
}
