//! Which regions a release is not asked of: those for which its `WHERE region …` is false,
//! whatever the data.

use std::sync::Arc;

use datafusion::{
    common::{
        DFSchema, ScalarValue,
        tree_node::{Transformed, TreeNode},
    },
    logical_expr::{Expr, JoinType, LogicalPlan, lit, simplify::SimplifyContext},
    optimizer::simplify_expressions::ExprSimplifier,
};
use skerry_proto::RegionId;

use crate::{
    federated_table::{FederatedTable, REGION},
    lineage::{carried, index},
};

/// Whether no row of `region` can reach the top of this plan. Only conditions on `region` count:
/// what other conditions leave empty is a figure like any other.
pub(crate) fn never(plan: &LogicalPlan, region: &RegionId) -> bool {
    let below = || plan.inputs().iter().any(|input| never(input, region));
    match plan {
        LogicalPlan::Filter(filter) => {
            is_false(&filter.predicate, &filter.input, region) || below()
        }
        LogicalPlan::Union(union) => union.inputs.iter().all(|input| never(input, region)),
        LogicalPlan::Join(join) => {
            let (left, right) = (never(&join.left, region), never(&join.right, region));
            match join.join_type {
                JoinType::Inner | JoinType::LeftSemi | JoinType::RightSemi => left || right,
                JoinType::Left | JoinType::LeftAnti | JoinType::LeftMark => left,
                JoinType::Right | JoinType::RightAnti | JoinType::RightMark => right,
                JoinType::Full => left && right,
            }
        }
        // Without keys an aggregate has a row even of nothing; only the release's own may go.
        LogicalPlan::Aggregate(_)
        | LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_) => below(),
        _ => false,
    }
}

fn is_false(predicate: &Expr, input: &LogicalPlan, region: &RegionId) -> bool {
    let named = |table: &FederatedTable| table.is_private().then(|| REGION.to_owned());
    let regions = carried(input, &named);
    let schema: &Arc<DFSchema> = input.schema();
    let literal = predicate.clone().transform(|expr| match &expr {
        Expr::Column(column) if index(schema, column).is_some_and(|at| regions[at]) => {
            Ok(Transformed::yes(lit(region.as_str())))
        }
        _ => Ok(Transformed::no(expr)),
    });
    let Ok(literal) = literal else { return false };
    if !literal.transformed {
        return false;
    }
    let context = SimplifyContext::builder()
        .with_schema(Arc::clone(schema))
        .build();
    let simple = ExprSimplifier::new(context).simplify(literal.data);
    matches!(
        simple,
        Ok(Expr::Literal(
            ScalarValue::Boolean(Some(false) | None) | ScalarValue::Null,
            _
        ))
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frontier::tests::planner;

    #[tokio::test]
    async fn only_regions_that_can_answer_are_asked() {
        let planner = planner();
        for (sql, asked) in [
            ("SELECT COUNT(*) FROM visits", "ab"),
            ("SELECT COUNT(*) FROM visits WHERE region = 'a'", "a"),
            (
                "SELECT region, COUNT(*) FROM visits WHERE region IN ('b', 'c') GROUP BY region",
                "b",
            ),
            (
                "SELECT COUNT(*) FROM visits WHERE region <> 'b' AND site = 1",
                "a",
            ),
            (
                "SELECT COUNT(*) FROM visits WHERE region = 'a' OR site = 1",
                "ab",
            ),
            ("SELECT COUNT(*) FROM visits WHERE region = 'nowhere'", ""),
            ("SELECT COUNT(*) FROM visits WHERE 1 = 0", "ab"),
            (
                "SELECT COUNT(*) FROM visits WHERE upper(region) LIKE 'B%'",
                "b",
            ),
            (
                "SELECT COUNT(*) FROM (SELECT person_id p, region r FROM visits) t WHERE r = 'a'",
                "a",
            ),
            (
                "SELECT COUNT(*) FROM visits v JOIN patients p ON v.person_id = p.person_id WHERE p.region = 'a'",
                "a",
            ),
            (
                "SELECT COUNT(*) FROM patients p WHERE EXISTS (SELECT 1 FROM visits v WHERE v.person_id = p.person_id AND v.region = 'a')",
                "a",
            ),
            (
                "SELECT COUNT(*) FROM patients p WHERE NOT EXISTS (SELECT 1 FROM visits v WHERE v.person_id = p.person_id AND v.region = 'a')",
                "ab",
            ),
            // Of a row without a match the other side's region is NULL.
            (
                "SELECT COUNT(*) FROM patients p LEFT JOIN visits v ON v.person_id = p.person_id WHERE v.region IS NULL",
                "ab",
            ),
            (
                "SELECT COUNT(*) FROM patients p LEFT JOIN visits v ON v.person_id = p.person_id WHERE p.region = 'b'",
                "b",
            ),
            (
                "SELECT COUNT(*) FROM (SELECT person_id FROM visits WHERE region = 'a' UNION ALL SELECT person_id FROM patients WHERE region = 'b') t",
                "ab",
            ),
        ] {
            let planned = planner.plan(sql).await.expect(sql);
            let plan = LogicalPlan::Aggregate(planned.frontiers[0].aggregate.clone());
            let found: String = ["a", "b"]
                .into_iter()
                .filter(|region| !never(&plan, &region.parse().expect("region")))
                .collect();
            assert_eq!(found, asked, "{sql}");
        }
    }
}
