//! The upper plan with hidden columns: every row carries its identity, and when draws are wanted
//! the draw that it belongs to. All draws then go through the plan at once: whatever groups,
//! ranks, joins or limits rows does so within a draw.

use std::sync::Arc;

use datafusion::{
    common::{
        Column, DFSchema, JoinType, Result, ScalarValue, TableReference, not_impl_err,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    functions::core::expr_fn::coalesce,
    functions_window::expr_fn::row_number,
    logical_expr::{
        Aggregate, Expr, ExprFunctionExt, FetchType, Filter, Join, Limit, LogicalPlan,
        LogicalPlanBuilder, Projection, SkipType, Sort, SortExpr, SubqueryAlias, TableSource,
        Union, Window, expr_rewriter::NamePreserver, lit,
    },
};

use crate::{
    finish::{DRAW, ORIGIN, ROW, Wide, column, columns, with_column},
    frontier::Released,
    identity::identity,
    statistics::lacks_row,
};

/// What a plan is widened with.
pub(crate) trait Leaves {
    /// The leaf in the place of a release.
    fn leaf(&self, released: &Released, place: usize) -> Result<Wide>;
    /// A table of the draws' numbers, in a column `__draw`; nothing for the answer alone.
    fn draws(&self) -> Option<Arc<dyn TableSource>>;
}

/// Widens a plan. Filters, sorts and limits that only choose among the answer's rows are kept for
/// the answer and left out for draws: a draw says what the chosen rows could have been.
pub(crate) fn widen(plan: LogicalPlan, leaves: &dyn Leaves) -> Result<Wide> {
    let mut widener = Widener { leaves, places: 0 };
    widener.wide(plan, true)
}

struct Widener<'a> {
    leaves: &'a dyn Leaves,
    places: usize,
}

fn has_release(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let _ = plan.apply(|node| {
        found |= Released::of(node).is_some();
        Ok(if found {
            TreeNodeRecursion::Stop
        } else {
            TreeNodeRecursion::Continue
        })
    });
    found
}

impl Widener<'_> {
    fn place(&mut self) -> usize {
        self.places += 1;
        self.places
    }

    fn drawing(&self) -> bool {
        self.leaves.draws().is_some()
    }

    /// A public part, its rows numbered by what they hold.
    fn number(&mut self, plan: LogicalPlan) -> Result<Wide> {
        let name = format!("{ROW}_{}", self.place());
        let plan = match columns(&plan) {
            none if none.is_empty() => with_column(plan, lit(0_i64), &name)?,
            all => with_column(plan, identity(all), &name)?,
        };
        Ok(Wide {
            plan,
            draw: None,
            row: Column::new_unqualified(name),
            origins: Vec::new(),
        })
    }

    /// A public part, once for every draw.
    fn spread(&mut self, plan: LogicalPlan) -> Result<Wide> {
        let numbered = self.number(plan)?;
        let Some((draws, draw)) = self.scan_draws()? else {
            return Ok(numbered);
        };
        let plan = LogicalPlanBuilder::from(draws)
            .cross_join(numbered.plan)?
            .build()?;
        Ok(Wide {
            plan,
            draw: Some(draw),
            row: numbered.row,
            origins: Vec::new(),
        })
    }

    fn scan_draws(&mut self) -> Result<Option<(LogicalPlan, Column)>> {
        let Some(draws) = self.leaves.draws() else {
            return Ok(None);
        };
        let name = format!("__draws_{}", self.place());
        let plan = LogicalPlanBuilder::scan(TableReference::bare(name.clone()), draws, None)?;
        Ok(Some((plan.build()?, Column::new(Some(name), DRAW))))
    }

    /// Widens a part; `top` says that nothing above it looks at more than one row at a time.
    fn wide(&mut self, plan: LogicalPlan, top: bool) -> Result<Wide> {
        if !has_release(&plan) {
            return self.spread(plan);
        }
        if let Some(released) = Released::of(&plan) {
            let place = self.place();
            return self.leaves.leaf(released, place);
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                let below = self.wide(own(projection.input), top)?;
                let mut exprs = of_rows(projection.expr, &below.row)?;
                exprs.push(column(&below.row));
                exprs.extend(below.draw.as_ref().map(column));
                exprs.extend(below.origins.iter().map(|(_, origin)| column(origin)));
                let plan = Projection::try_new(exprs, Arc::new(below.plan))?;
                Ok(Wide {
                    plan: LogicalPlan::Projection(plan),
                    ..below
                })
            }
            LogicalPlan::Filter(filter) => {
                let below = self.wide(own(filter.input), top)?;
                if top && self.drawing() {
                    return Ok(below);
                }
                let predicate = of_row(filter.predicate, &below.row)?;
                let plan = Filter::try_new(predicate, Arc::new(below.plan))?;
                Ok(Wide {
                    plan: LogicalPlan::Filter(plan),
                    ..below
                })
            }
            LogicalPlan::SubqueryAlias(alias) => {
                let below = self.wide(own(alias.input), top)?;
                let renamed = |column: Column| Column::new(Some(alias.alias.clone()), column.name);
                let plan = SubqueryAlias::try_new(Arc::new(below.plan), alias.alias.clone())?;
                Ok(Wide {
                    plan: LogicalPlan::SubqueryAlias(plan),
                    draw: below.draw.map(renamed),
                    row: renamed(below.row),
                    origins: below
                        .origins
                        .into_iter()
                        .map(|(at, c)| (at, renamed(c)))
                        .collect(),
                })
            }
            LogicalPlan::Sort(sort) => self.sort(sort, top),
            LogicalPlan::Limit(limit) => self.limit(limit, top),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Union(union) => self.union(union, top),
            LogicalPlan::Join(join) => self.join(join, top),
            other => not_impl_err!("{} with noisy figures", other.display()),
        }
    }

    fn sort(&mut self, sort: Sort, top: bool) -> Result<Wide> {
        let below = self.wide(own(sort.input), top)?;
        let order = order_of_rows(sort.expr, &below.row)?;
        if self.drawing() {
            return match sort.fetch {
                Some(fetch) if !top => self.first_of_each(below, &order, 0, Some(fetch)),
                _ => Ok(below),
            };
        }
        let plan = LogicalPlan::Sort(Sort {
            input: Arc::new(below.plan),
            expr: order,
            fetch: sort.fetch,
        });
        Ok(Wide { plan, ..below })
    }

    fn limit(&mut self, limit: Limit, top: bool) -> Result<Wide> {
        if !self.drawing() {
            let below = self.wide(own(limit.input), top)?;
            let plan = LogicalPlan::Limit(Limit {
                input: Arc::new(below.plan),
                ..limit
            });
            return Ok(Wide { plan, ..below });
        }
        if top {
            return self.wide(own(limit.input), top);
        }
        let (SkipType::Literal(skip), FetchType::Literal(fetch)) =
            (limit.get_skip_type()?, limit.get_fetch_type()?)
        else {
            return not_impl_err!("LIMIT of an expression");
        };
        let order = match limit.input.as_ref() {
            LogicalPlan::Sort(sort) => sort.expr.clone(),
            _ => Vec::new(),
        };
        let below = self.wide(own(limit.input), false)?;
        let order = order_of_rows(order, &below.row)?;
        self.first_of_each(below, &order, skip, fetch)
    }

    /// LIMIT within each draw.
    fn first_of_each(
        &mut self,
        below: Wide,
        order: &[SortExpr],
        skip: usize,
        fetch: Option<usize>,
    ) -> Result<Wide> {
        let Some(draw) = &below.draw else {
            return Ok(below);
        };
        let kept = columns(&below.plan);
        let name = format!("__rank_{}", self.place());
        let mut order = order.to_vec();
        // Ties fall the same way in every draw.
        order.push(column(&below.row).sort(true, false));
        let rank = row_number()
            .partition_by(vec![column(draw)])
            .order_by(order)
            .build()?
            .alias(&name);
        let ranked = column(&Column::new_unqualified(&name));
        let mut wanted = ranked.clone().gt(lit(skip as u64));
        if let Some(fetch) = fetch {
            wanted = wanted.and(ranked.lt_eq(lit(skip.saturating_add(fetch) as u64)));
        }
        let plan = LogicalPlanBuilder::from(below.plan)
            .window(vec![rank])?
            .filter(wanted)?
            .project(kept)?
            .build()?;
        Ok(Wide { plan, ..below })
    }

    fn window(&mut self, window: Window) -> Result<Wide> {
        let below = self.wide(own(window.input), false)?;
        let exprs = of_rows(window.window_expr, &below.row)?
            .into_iter()
            .map(|expr| partitioned(expr, below.draw.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        let plan = Window::try_new(exprs, Arc::new(below.plan))?;
        Ok(Wide {
            plan: LogicalPlan::Window(plan),
            ..below
        })
    }

    fn aggregate(&mut self, aggregate: Aggregate) -> Result<Wide> {
        if matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]) {
            return not_impl_err!(
                "ROLLUP, CUBE and GROUPING SETS of noisy figures without an aggregate"
            );
        }
        let below = self.wide(own(aggregate.input), false)?;
        let original: Vec<Column> = aggregate.schema.columns();
        let keys = original.len() - aggregate.aggr_expr.len();
        let mut group = of_rows(aggregate.group_expr, &below.row)?;
        group.extend(below.draw.as_ref().map(column));
        let aggregated = of_rows(aggregate.aggr_expr.clone(), &below.row)?;
        let plan = Aggregate::try_new(Arc::new(below.plan), group, aggregated)?;
        let mut plan = LogicalPlan::Aggregate(plan);
        let mut draw = below.draw;
        let mut exprs: Vec<Expr> = original.iter().map(column).collect();
        // One row even of no rows: a draw that has none must not lose it.
        if keys == 0
            && let Some(inner) = draw.take()
            && let Some((draws, all)) = self.scan_draws()?
        {
            plan = LogicalPlanBuilder::from(draws)
                .join_on(plan, JoinType::Left, [column(&all).eq(column(&inner))])?
                .build()?;
            for (expr, aggregated) in exprs.iter_mut().zip(&aggregate.aggr_expr) {
                if is_count(aggregated) {
                    let name = expr.schema_name().to_string();
                    *expr = coalesce(vec![expr.clone(), lit(0_i64)]).alias(name);
                }
            }
            draw = Some(all);
        }
        let row = format!("{ROW}_{}", self.place());
        let identity = match original.get(..keys) {
            Some([]) | None => lit(0_i64),
            Some(keys) => identity(keys.iter().map(column).collect()),
        };
        exprs.push(identity.alias(&row));
        exprs.extend(draw.as_ref().map(column));
        Ok(Wide {
            plan: LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?),
            draw,
            row: Column::new_unqualified(row),
            origins: Vec::new(),
        })
    }

    fn union(&mut self, union: Union, top: bool) -> Result<Wide> {
        let row = format!("{ROW}_{}", self.place());
        let draw = self.drawing().then(|| format!("{DRAW}_{}", self.place()));
        let mut branches = Vec::new();
        for input in union.inputs {
            let original = columns(&input);
            branches.push((original, self.wide(own(input), top)?));
        }
        let places: Vec<usize> = branches
            .iter()
            .flat_map(|(_, branch)| branch.origins.iter().map(|(place, _)| *place))
            .collect();
        let origin = |place: usize| format!("{ORIGIN}_{row}_{place}");
        let mut inputs = Vec::new();
        for (number, (mut exprs, branch)) in branches.into_iter().enumerate() {
            let number = lit(i64::try_from(number).unwrap_or_default());
            exprs.push(identity(vec![number, column(&branch.row)]).alias(&row));
            if let (Some(name), Some(inner)) = (&draw, &branch.draw) {
                exprs.push(column(inner).alias(name));
            }
            // Rows of one branch come from none of the other's releases.
            exprs.extend(places.iter().map(|place| {
                let own = branch.origins.iter().find(|(at, _)| at == place);
                let value = own.map_or(lit(ScalarValue::Int64(None)), |(_, own)| column(own));
                value.alias(origin(*place))
            }));
            let plan = Projection::try_new(exprs, Arc::new(branch.plan))?;
            inputs.push(Arc::new(LogicalPlan::Projection(plan)));
        }
        // The union's own columns have the union's own names; the hidden ones come after.
        let mut fields: Vec<_> = union
            .schema
            .iter()
            .map(|(relation, field)| (relation.cloned(), Arc::clone(field)))
            .collect();
        if let Some(first) = inputs.first() {
            let hidden = first.schema().iter().skip(fields.len());
            fields.extend(hidden.map(|(relation, field)| (relation.cloned(), Arc::clone(field))));
        }
        let schema = DFSchema::new_with_metadata(fields, union.schema.metadata().clone())?;
        Ok(Wide {
            plan: LogicalPlan::Union(Union {
                inputs,
                schema: Arc::new(schema),
            }),
            draw: draw.map(Column::new_unqualified),
            origins: places
                .iter()
                .map(|place| (*place, Column::new_unqualified(origin(*place))))
                .collect(),
            row: Column::new_unqualified(row),
        })
    }

    fn join(&mut self, join: Join, top: bool) -> Result<Wide> {
        use JoinType::{
            Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi,
        };
        let original: Vec<Column> = join.schema.columns();
        let top = top && join.join_type == Inner;
        // A public side whose rows come out even unmatched has to be there in every draw.
        let keeps_left = matches!(join.join_type, Left | Full | LeftSemi | LeftAnti | LeftMark);
        let keeps_right = matches!(
            join.join_type,
            Right | Full | RightSemi | RightAnti | RightMark
        );
        let mut side = |plan: Arc<LogicalPlan>, kept: bool| {
            if has_release(&plan) {
                self.wide(own(plan), top)
            } else if kept {
                self.spread(own(plan))
            } else {
                self.number(own(plan))
            }
        };
        let left = side(join.left, keeps_left)?;
        let right = side(join.right, keeps_right)?;
        let mut on = join.on;
        if let (Some(l), Some(r)) = (&left.draw, &right.draw) {
            on.push((column(l), column(r)));
        }
        let plan = LogicalPlan::Join(Join::try_new(
            Arc::new(left.plan),
            Arc::new(right.plan),
            on,
            join.filter,
            join.join_type,
            join.join_constraint,
            join.null_equality,
            join.null_aware,
        )?);
        let one_sided = match join.join_type {
            LeftSemi | LeftAnti | LeftMark => Some((&left.draw, &left.row, &left.origins)),
            RightSemi | RightAnti | RightMark => Some((&right.draw, &right.row, &right.origins)),
            _ => None,
        };
        if let Some((draw, row, origins)) = one_sided {
            return Ok(Wide {
                plan,
                draw: draw.clone(),
                row: row.clone(),
                origins: origins.clone(),
            });
        }
        let origins: Vec<_> = left.origins.into_iter().chain(right.origins).collect();
        let name = format!("{ROW}_{}", self.place());
        let mut exprs: Vec<Expr> = original.iter().map(column).collect();
        exprs.push(identity(vec![column(&left.row), column(&right.row)]).alias(&name));
        exprs.extend(origins.iter().map(|(_, origin)| column(origin)));
        let draw = match (join.join_type, left.draw, right.draw) {
            (Full, Some(l), Some(r)) => {
                let name = format!("{DRAW}_{}", self.place());
                exprs.push(coalesce(vec![column(&l), column(&r)]).alias(&name));
                Some(Column::new_unqualified(name))
            }
            (Right, _, Some(draw)) | (_, Some(draw), _) | (_, None, Some(draw)) => {
                exprs.push(column(&draw));
                Some(draw)
            }
            (_, None, None) => None,
        };
        Ok(Wide {
            plan: LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?),
            draw,
            row: Column::new_unqualified(name),
            origins,
        })
    }
}

/// What is known of a row's noise, looked up by the row's identity. Names stay as they are.
fn of_row(expr: Expr, row: &Column) -> Result<Expr> {
    let name = NamePreserver::new_for_projection().save(&expr);
    let told = expr.transform_up(|part| match part {
        Expr::ScalarFunction(mut call) if lacks_row(&call) => {
            call.args.push(column(row));
            Ok(Transformed::yes(Expr::ScalarFunction(call)))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(if told.transformed {
        name.restore(told.data)
    } else {
        told.data
    })
}

fn of_rows(exprs: Vec<Expr>, row: &Column) -> Result<Vec<Expr>> {
    exprs.into_iter().map(|expr| of_row(expr, row)).collect()
}

fn order_of_rows(order: Vec<SortExpr>, row: &Column) -> Result<Vec<SortExpr>> {
    let told = |key: SortExpr| {
        Ok(SortExpr {
            expr: of_row(key.expr, row)?,
            ..key
        })
    };
    order.into_iter().map(told).collect()
}

fn own(plan: Arc<LogicalPlan>) -> LogicalPlan {
    Arc::unwrap_or_clone(plan)
}

/// The window within each draw, under its old name.
fn partitioned(expr: Expr, draw: Option<&Column>) -> Result<Expr> {
    let Some(draw) = draw else {
        return Ok(expr);
    };
    let name = expr.schema_name().to_string();
    let mut inner = expr;
    while let Expr::Alias(alias) = inner {
        inner = *alias.expr;
    }
    match inner {
        Expr::WindowFunction(mut window) => {
            window.params.partition_by.push(column(draw));
            Ok(Expr::WindowFunction(window).alias(name))
        }
        other => not_impl_err!("{other} as a window"),
    }
}

fn is_count(expr: &Expr) -> bool {
    match expr {
        Expr::Alias(alias) => is_count(&alias.expr),
        Expr::AggregateFunction(function) => function.func.name() == "count",
        _ => false,
    }
}
