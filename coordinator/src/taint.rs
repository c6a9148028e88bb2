//! Which columns of the answer have noise in them, and which are a released figure as it is.

use datafusion::logical_expr::{Expr, JoinType, LogicalPlan};

use crate::{
    frontier::{Frontier, Released},
    lineage::index,
};

/// How noise reaches a plan's output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taint {
    /// One flag per column: its values hang on noise.
    pub columns: Vec<bool>,
    /// Which rows there are hangs on noise.
    pub rows: bool,
}

impl Taint {
    fn touches(&self, expr: &Expr, plan: &LogicalPlan) -> bool {
        expr.column_refs()
            .into_iter()
            .any(|column| index(plan.schema(), column).is_none_or(|at| self.columns[at]))
    }
}

/// Follows the noise up a plan.
pub(crate) fn taint(plan: &LogicalPlan, frontiers: &[Frontier]) -> Taint {
    let width = plan.schema().fields().len();
    if let Some(released) = Released::of(plan) {
        let keys = frontiers.get(released.frontier).map_or(0, Frontier::keys);
        return Taint {
            columns: (0..width).map(|at| at >= keys).collect(),
            rows: false,
        };
    }
    let inputs = plan.inputs();
    let below: Vec<Taint> = inputs.iter().map(|input| taint(input, frontiers)).collect();
    let rows = below.iter().any(|taint| taint.rows);
    let (Some(input), Some(first)) = (inputs.first(), below.first()) else {
        return Taint {
            columns: vec![false; width],
            rows: false,
        };
    };
    let touches = |expr: &Expr| first.touches(expr, input);
    match plan {
        LogicalPlan::Projection(projection) => Taint {
            columns: projection.expr.iter().map(touches).collect(),
            rows,
        },
        LogicalPlan::Filter(filter) => Taint {
            columns: first.columns.clone(),
            rows: rows || touches(&filter.predicate),
        },
        LogicalPlan::Sort(sort) => Taint {
            columns: first.columns.clone(),
            rows: rows || sort.fetch.is_some() && sort.expr.iter().any(|key| touches(&key.expr)),
        },
        // What comes first may hang on noise.
        LogicalPlan::Limit(_) => Taint {
            columns: first.columns.clone(),
            rows: rows || first.columns.contains(&true),
        },
        LogicalPlan::Aggregate(aggregate) => {
            let keys = width - aggregate.aggr_expr.len();
            let mut columns: Vec<bool> = aggregate.group_expr.iter().map(touches).collect();
            columns.resize(keys, columns.contains(&true));
            columns.extend(aggregate.aggr_expr.iter().map(|expr| rows || touches(expr)));
            let rows = rows || columns[..keys].contains(&true);
            Taint { columns, rows }
        }
        LogicalPlan::Window(window) => {
            let mut columns = first.columns.clone();
            columns.extend(window.window_expr.iter().map(|expr| rows || touches(expr)));
            Taint { columns, rows }
        }
        LogicalPlan::Union(_) => Taint {
            columns: (0..width)
                .map(|at| {
                    below
                        .iter()
                        .any(|taint| taint.columns.get(at).copied().unwrap_or(true))
                })
                .collect(),
            rows,
        },
        LogicalPlan::Join(join) => {
            let right = &below[1];
            let on = join
                .on
                .iter()
                .any(|(l, r)| touches(l) || right.touches(r, inputs[1]));
            let both = Taint {
                columns: first
                    .columns
                    .iter()
                    .chain(&right.columns)
                    .copied()
                    .collect(),
                rows,
            };
            let filter = join.filter.as_ref().is_some_and(|filter| {
                filter.column_refs().into_iter().any(|column| {
                    let left = index(inputs[0].schema(), column).map(|at| first.columns[at]);
                    let right = || index(inputs[1].schema(), column).map(|at| right.columns[at]);
                    left.or_else(right).unwrap_or(true)
                })
            });
            let noisy_match = on || filter;
            let mut columns = match join.join_type {
                JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                    first.columns.clone()
                }
                JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                    right.columns.clone()
                }
                _ => both.columns,
            };
            // A mark, and the NULLs of an outer join, hang on which rows match.
            columns.resize(width, noisy_match || rows);
            if join.join_type.is_outer() && (noisy_match || rows) {
                columns.fill(true);
            }
            Taint {
                columns,
                rows: rows || noisy_match,
            }
        }
        LogicalPlan::SubqueryAlias(_) => first.clone(),
        // Not met; then everything is.
        _ => Taint {
            columns: vec![below.iter().any(|t| t.rows || t.columns.contains(&true)); width],
            rows: true,
        },
    }
}

/// A released figure as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plain {
    /// Which place of a release in the plan.
    pub place: usize,
    /// Which of the statement's frontiers.
    pub frontier: usize,
    /// Which of its aggregates.
    pub aggregate: usize,
}

/// For each output column, the released figures that it is made of, as they are: one a branch of
/// a UNION. Nothing where it is something else, or computed.
pub(crate) fn plain(plan: &LogicalPlan, frontiers: &[Frontier]) -> Vec<Vec<Plain>> {
    let width = plan.schema().fields().len();
    if let Some(released) = Released::of(plan) {
        let keys = frontiers.get(released.frontier).map_or(0, Frontier::keys);
        let figure = |aggregate| Plain {
            place: released.place,
            frontier: released.frontier,
            aggregate,
        };
        let columns = (0..width).map(|at| at.checked_sub(keys).map(figure));
        return columns.map(|figure| figure.into_iter().collect()).collect();
    }
    let inputs = plan.inputs();
    let mut below = inputs.iter().map(|input| plain(input, frontiers));
    let mut found = match plan {
        LogicalPlan::Projection(projection) => {
            let below = below.next().unwrap_or_default();
            let schema = projection.input.schema();
            let of = |expr: &Expr| {
                let mut expr = expr;
                while let Expr::Alias(alias) = expr {
                    expr = alias.expr.as_ref();
                }
                match expr {
                    Expr::Column(column) => index(schema, column).map(|at| below[at].clone()),
                    _ => None,
                }
            };
            projection
                .expr
                .iter()
                .map(|expr| of(expr).unwrap_or_default())
                .collect()
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Window(_) => below.next().unwrap_or_default(),
        LogicalPlan::Join(join) => match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => {
                below.next().unwrap_or_default()
            }
            JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                below.nth(1).unwrap_or_default()
            }
            _ => below.flatten().collect(),
        },
        LogicalPlan::Union(_) => below
            .reduce(|mut all, branch| {
                for (column, more) in all.iter_mut().zip(branch) {
                    if column.is_empty() || more.is_empty() {
                        column.clear();
                    } else {
                        column.extend(more);
                    }
                }
                all
            })
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    found.resize(width, Vec::new());
    found
}
