//! Trusted. Joins.
//!
//! Promise: private relations are joined on the unit, whatever else is asked, so a row that comes out
//! belongs to the person of the rows that went in. A join with a public relation keeps the private
//! side's unit.

use datafusion::{
    common::{JoinType, Result as EngineResult, plan_datafusion_err},
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder},
    prelude::{col, lit},
};
use skerry_privacy::question::{Comparison, Expression, JoinKind, Matching};
use skerry_proto::DataType;

use super::{Part, Rebuilding, expression::rebuild_expression, type_of};

/// The engine's name for it.
pub(super) fn joined(kind: JoinKind) -> JoinType {
    match kind {
        JoinKind::Inner => JoinType::Inner,
        JoinKind::Left => JoinType::Left,
    }
}

/// The engine's name for it.
pub(super) fn semi(matching: Matching) -> JoinType {
    match matching {
        Matching::With => JoinType::LeftSemi,
        Matching::Without => JoinType::LeftAnti,
        Matching::Marked => JoinType::LeftMark,
    }
}

/// What comes of a join: the left side's unit, the columns of both.
pub(super) fn both(plan: LogicalPlan, left: Part, right: Part) -> Part {
    Part {
        plan,
        unit: left.unit,
        columns: [left.columns, right.columns].concat(),
    }
}

impl Rebuilding<'_> {
    /// The left side of a semi join, with the mark among its columns if there is one.
    pub(super) fn matched(&mut self, matching: Matching, left: Part) -> EngineResult<Part> {
        match matching {
            Matching::With | Matching::Without => Ok(left),
            Matching::Marked => {
                // The engine calls all marks the same.
                let own = left.columns.into_iter();
                let columns = own
                    .map(|(name, data_type)| (col(name), data_type))
                    .chain([(col("mark"), DataType::Boolean)])
                    .collect();
                self.project(left.plan, left.unit.map(col), columns)
            }
        }
    }
}

/// What must hold for a row of the private and one of the public side to belong together.
fn public_conditions(
    private: &Part,
    public: &Part,
    on: &[(Expression, Expression)],
    condition: Option<&Expression>,
) -> EngineResult<Vec<Expr>> {
    let expressions = [private.expressions(), public.expressions()].concat();
    let types = [private.types(), public.types()].concat();
    let mut conditions = vec![];
    for (of_private, of_public) in on {
        let behind = |index| Some(Expression::Column(index + private.columns.len()));
        let of_public = of_public
            .substitute(&behind)
            .ok_or_else(|| plan_datafusion_err!("a key without columns"))?;
        let equal = Expression::Compare {
            operator: Comparison::Equal,
            left: Box::new(of_private.clone()),
            right: Box::new(of_public),
        };
        conditions.push(rebuild_expression(&equal, &expressions, &types)?);
    }
    if let Some(condition) = condition {
        conditions.push(rebuild_expression(condition, &expressions, &types)?);
    }
    if conditions.is_empty() {
        conditions.push(lit(true));
    }
    Ok(conditions)
}

/// The plan of a join of a private relation, on its left, with a public one.
///
/// Without an equal pair to sort by the engine holds the left side in memory, and joins otherwise
/// where that is too much. What is held is then the public side, so that nothing hangs on how much
/// there is of the private one.
pub(super) fn with_public(
    private: &Part,
    public: &Part,
    on: &[(Expression, Expression)],
    condition: Option<&Expression>,
    join_type: JoinType,
) -> EngineResult<LogicalPlan> {
    let conditions = public_conditions(private, public, on, condition)?;
    let types = public.types();
    let mut is_sorted_by = false;
    for (_, of_public) in on {
        is_sorted_by |= type_of(of_public, &types)? != DataType::Float;
    }
    let (left, right, join_type) = if is_sorted_by {
        (private, public, join_type)
    } else {
        (public, private, join_type.swap())
    };
    LogicalPlanBuilder::from(left.plan.clone())
        .join_on(right.plan.clone(), join_type, conditions)?
        .build()
}

/// The plan of a join of two private relations, always of rows of one person.
pub(super) fn on_unit(
    left: &Part,
    right: &Part,
    join_type: JoinType,
    condition: Option<&Expression>,
) -> EngineResult<LogicalPlan> {
    let (Some(left_unit), Some(right_unit)) = (&left.unit, &right.unit) else {
        return Err(plan_datafusion_err!("no privacy unit"));
    };
    let mut conditions = vec![col(left_unit).eq(col(right_unit))];
    if let Some(condition) = condition {
        let expressions = [left.expressions(), right.expressions()].concat();
        let types = [left.types(), right.types()].concat();
        conditions.push(rebuild_expression(condition, &expressions, &types)?);
    }
    LogicalPlanBuilder::from(left.plan.clone())
        .join_on(right.plan.clone(), join_type, conditions)?
        .build()
}
