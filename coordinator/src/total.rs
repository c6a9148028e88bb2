//! Noise makes zeros and worse where nobody expects them, and the figures are paid for. So above
//! the releases a whole-number division by zero, and a cast of a number that doesn't fit, give
//! NULL and not an error.

use datafusion::{
    common::{
        DFSchema, Result,
        tree_node::{Transformed, TreeNode},
    },
    functions::core::expr_fn::nullif,
    logical_expr::{
        BinaryExpr, Expr, ExprSchemable, LogicalPlan, Operator, TryCast,
        expr_rewriter::NamePreserver, lit,
    },
};

/// Makes the expressions of an upper plan total. Names stay as they are.
pub(crate) fn total(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up(|node| {
        let mut schema = DFSchema::empty();
        for input in node.inputs() {
            schema.merge(input.schema());
        }
        let names = NamePreserver::new(&node);
        let node = node.map_expressions(|expr| {
            let name = names.save(&expr);
            expr.transform_up(|expr| Ok(total_expr(expr, &schema)))
                .map(|expr| expr.update_data(|expr| name.restore(expr)))
        })?;
        if node.transformed {
            Ok(Transformed::yes(node.data.recompute_schema()?))
        } else {
            Ok(node)
        }
    })?;
    Ok(plan.data)
}

fn total_expr(expr: Expr, schema: &DFSchema) -> Transformed<Expr> {
    match expr {
        Expr::BinaryExpr(BinaryExpr {
            left,
            op: op @ (Operator::Divide | Operator::Modulo),
            right,
        }) if !matches!(right.as_ref(), Expr::Literal(..)) => {
            let whole = right
                .get_type(schema)
                .is_ok_and(|t| t.is_integer() || t.is_decimal());
            let right = if whole {
                Box::new(nullif(*right, lit(0_i64)))
            } else {
                right
            };
            let expr = Expr::BinaryExpr(BinaryExpr { left, op, right });
            if whole {
                Transformed::yes(expr)
            } else {
                Transformed::no(expr)
            }
        }
        Expr::Cast(cast) if !cast.field.data_type().is_floating() => {
            let narrow = cast.expr.get_type(schema).is_ok_and(|t| t.is_floating());
            if narrow {
                Transformed::yes(Expr::TryCast(TryCast {
                    expr: cast.expr,
                    field: cast.field,
                }))
            } else {
                Transformed::no(Expr::Cast(cast))
            }
        }
        expr => Transformed::no(expr),
    }
}
