//! Trusted. Rebuilds a question as the plan that runs.
//!
//! Promise: the plan is a function of the closed question and the policy. Every private relation
//! carries the privacy unit in a column of its own beside the columns that the question counts,
//! joins of private relations are on it, and every row that leaves belongs to exactly one person.
//! All expressions are total: none fails on a row.

pub(crate) mod amount;
mod expression;
mod function;
mod join;
mod person;
pub(crate) mod row;
mod total;
mod window;

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType as ArrowType,
    catalog::TableProvider,
    common::{Column, Result as EngineResult, plan_datafusion_err},
    datasource::provider_as_source,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder},
    prelude::{col, lit},
};
use skerry_privacy::{
    analysis::{PartitionOf, Quote},
    policy::{ColumnPolicy, Domain, Ownership, Policy},
    question::{Expression, Query, Relation},
};
use skerry_proto::DataType;

pub(crate) use self::expression::rebuild_expression;
use self::expression::total_cast;
pub(crate) use self::function::Function;
pub(crate) use self::person::{PersonSum, finish, sums_of};
pub use self::window::WindowPlanner;
pub(crate) use self::window::{PersonWindowExec, WindowWork};
use super::lower::engine_type;

/// Name of the output column with the privacy unit.
pub const UNIT: &str = "unit";
/// Name of the output column with the group's position.
pub const GROUP: &str = "group";

/// Name of the output column with the key at this position, where groups aren't known beforehand.
pub fn key_name(position: usize) -> String {
    format!("key{position}")
}

/// Name of the output column with the amount of the measure at this position.
pub fn amount_name(position: usize) -> String {
    format!("amount{position}")
}

/// Where a table's rows are.
pub trait Tables {
    /// The table of that name.
    fn provider(&self, name: &str) -> Option<Arc<dyn TableProvider>>;
}

/// The plan of a question's rows: the unit, the group's position, and an amount for each measure.
/// Rows outside all groups are not there. Where groups aren't known beforehand the row's keys are in
/// the position's place.
///
/// # Errors
/// If the engine refuses a part, which is a fault of this code or of the files.
pub fn rebuild(
    query: &Query,
    quote: &Quote,
    policy: &Policy,
    tables: &dyn Tables,
) -> EngineResult<LogicalPlan> {
    let mut rebuilding = Rebuilding {
        policy,
        tables,
        names: 0,
    };
    let input = rebuilding.relation(&query.input)?;
    let unit = input
        .unit
        .clone()
        .ok_or_else(|| plan_datafusion_err!("no privacy unit"))?;
    let types = input.types();
    let expressions = |parts: &[Expression]| -> EngineResult<Vec<Expr>> {
        parts
            .iter()
            .map(|part| rebuild_expression(part, &input.expressions(), &types))
            .collect()
    };
    let rows = quote.rows();
    let keys = expressions(&query.keys)?;
    let mut columns = vec![col(&unit).alias(UNIT)];
    let grouped = match rows.partition {
        PartitionOf::Public(groups) => {
            columns.push(row::group(groups, rows.key_types, keys)?.alias(GROUP));
            true
        }
        PartitionOf::Threshold(_) => {
            for (index, key) in row::keys(rows.key_types, keys)?.into_iter().enumerate() {
                columns.push(key.alias(key_name(index)));
            }
            false
        }
    };
    for (index, measure) in rows.measures.iter().enumerate() {
        let arguments = measure.arguments().into_iter().cloned().collect::<Vec<_>>();
        let amount = amount::amount(measure, index, expressions(&arguments)?)?;
        columns.push(amount.alias(amount_name(index)));
    }
    let plan = LogicalPlanBuilder::from(input.plan).project(columns)?;
    if grouped {
        plan.filter(col(GROUP).is_not_null())?.build()
    } else {
        plan.build()
    }
}

/// A rebuilt relation: its plan, the column of the unit, and the columns that the question counts.
/// All names are unique within the whole plan.
struct Part {
    plan: LogicalPlan,
    unit: Option<String>,
    columns: Vec<(String, DataType)>,
}

impl Part {
    fn types(&self) -> Vec<DataType> {
        self.columns
            .iter()
            .map(|(_, data_type)| *data_type)
            .collect()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.columns.iter().map(|(name, _)| col(name)).collect()
    }
}

struct Rebuilding<'a> {
    policy: &'a Policy,
    tables: &'a dyn Tables,
    names: usize,
}

impl Rebuilding<'_> {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    /// Puts expressions over `input` in place of its columns, the unit kept.
    fn project(
        &mut self,
        input: LogicalPlan,
        unit: Option<Expr>,
        columns: Vec<(Expr, DataType)>,
    ) -> EngineResult<Part> {
        let unit_name = unit.as_ref().map(|_| self.name());
        let mut expressions = vec![];
        if let (Some(unit), Some(name)) = (unit, &unit_name) {
            expressions.push(unit.alias(name));
        }
        let mut named = vec![];
        for (expression, data_type) in columns {
            let name = self.name();
            expressions.push(expression.alias(&name));
            named.push((name, data_type));
        }
        if expressions.is_empty() {
            // A public relation of which no column is used still has rows.
            expressions.push(lit(true).alias(self.name()));
        }
        Ok(Part {
            plan: LogicalPlanBuilder::from(input)
                .project(expressions)?
                .build()?,
            unit: unit_name,
            columns: named,
        })
    }

    fn relation(&mut self, relation: &Relation) -> EngineResult<Part> {
        match relation {
            Relation::Table { table, columns } => self.table(table, columns),
            Relation::Filter { input, predicate } => {
                let input = self.relation(input)?;
                let predicate =
                    rebuild_expression(predicate, &input.expressions(), &input.types())?;
                Ok(Part {
                    plan: LogicalPlanBuilder::from(input.plan)
                        .filter(predicate)?
                        .build()?,
                    ..input
                })
            }
            Relation::Project { input, columns } => {
                let input = self.relation(input)?;
                let types = input.types();
                let columns = columns
                    .iter()
                    .map(|column| {
                        Ok((
                            rebuild_expression(column, &input.expressions(), &types)?,
                            type_of(column, &types)?,
                        ))
                    })
                    .collect::<EngineResult<_>>()?;
                let unit = input.unit.as_ref().map(col);
                self.project(input.plan, unit, columns)
            }
            Relation::Join {
                kind,
                left,
                right,
                condition,
            } => {
                let [left, right] = [self.relation(left)?, self.relation(right)?];
                let kind = join::joined(*kind);
                let plan = join::on_unit(&left, &right, kind, condition.as_ref())?;
                Ok(join::both(plan, left, right))
            }
            Relation::Semi {
                matching,
                left,
                right,
                condition,
            } => {
                let [left, right] = [self.relation(left)?, self.relation(right)?];
                let plan = join::on_unit(&left, &right, join::semi(*matching), condition.as_ref())?;
                self.matched(*matching, Part { plan, ..left })
            }
            Relation::SemiPublic {
                matching,
                private,
                public,
                on,
                condition,
            } => {
                let [private, public] = [self.relation(private)?, self.relation(public)?];
                let kind = join::semi(*matching);
                let plan = join::with_public(&private, &public, on, condition.as_ref(), kind)?;
                self.matched(*matching, Part { plan, ..private })
            }
            Relation::Window { input, window } => {
                let input = self.relation(input)?;
                self.window(input, window)
            }
            Relation::JoinPublic {
                kind,
                private,
                public,
                on,
                condition,
            } => {
                let [private, public] = [self.relation(private)?, self.relation(public)?];
                let kind = join::joined(*kind);
                let plan = join::with_public(&private, &public, on, condition.as_ref(), kind)?;
                Ok(join::both(plan, private, public))
            }
            Relation::Union { inputs } => self.union(inputs),
            Relation::Declared { input, columns, .. } => {
                let input = self.relation(input)?;
                let found = input.types();
                if !columns.iter().map(|column| column.data_type).eq(found) {
                    return Err(plan_datafusion_err!("declarations of other columns"));
                }
                let values = input
                    .expressions()
                    .into_iter()
                    .zip(columns)
                    .map(|(value, column)| Ok((enforced(value, column)?, column.data_type)))
                    .collect::<EngineResult<_>>()?;
                let unit = input.unit.as_ref().map(col);
                self.project(input.plan, unit, values)
            }
            Relation::PerPerson {
                input,
                keys,
                aggregates,
            } => {
                let input = self.relation(input)?;
                self.per_person(input, keys, aggregates)
            }
        }
    }

    fn table(&mut self, name: &str, columns: &[String]) -> EngineResult<Part> {
        let (Some(policy), Some(provider)) =
            (self.policy.tables.get(name), self.tables.provider(name))
        else {
            return Err(plan_datafusion_err!("there is no table {name}"));
        };
        let schema = provider.schema();
        let scan = LogicalPlanBuilder::scan(name, provider_as_source(provider), None)?.build()?;
        let read = |column: &ColumnPolicy| -> EngineResult<Expr> {
            let stored = schema.field_with_name(&column.name)?.data_type();
            let source = Expr::Column(Column::new(Some(name), &column.name));
            Ok(as_read(source, stored, column.data_type))
        };
        let mut expressions = vec![];
        for wanted in columns {
            let Some((_, column)) = policy.column(wanted) else {
                return Err(plan_datafusion_err!("there is no column {wanted}"));
            };
            let read = read(column)?;
            let value = match &policy.ownership {
                Ownership::Private { .. } => enforced(read, column)?,
                Ownership::Public { .. } => read,
            };
            expressions.push((value, column.data_type));
        }
        let Ownership::Private { unit, .. } = &policy.ownership else {
            return self.project(scan, None, expressions);
        };
        let Some((_, unit)) = policy.column(unit) else {
            return Err(plan_datafusion_err!("there is no column {unit}"));
        };
        let part = self.project(scan, Some(read(unit)?), expressions)?;
        let Some(unit) = &part.unit else {
            return Err(plan_datafusion_err!("no privacy unit"));
        };
        // A row without a unit belongs to nobody. What can't be read as one is NULL, too.
        Ok(Part {
            plan: LogicalPlanBuilder::from(part.plan)
                .filter(col(unit).is_not_null())?
                .build()?,
            ..part
        })
    }

    fn union(&mut self, inputs: &[Relation]) -> EngineResult<Part> {
        // Each branch is laid out anew: its plan may carry more than the columns that the question
        // counts, and a union goes by position.
        let mut parts = inputs.iter().map(|input| {
            let part = self.relation(input)?;
            let columns = part
                .columns
                .iter()
                .map(|(name, data_type)| (total_cast(col(name), *data_type), *data_type))
                .collect();
            let unit = part.unit.as_ref().map(col);
            self.project(part.plan, unit, columns)
        });
        let first = parts
            .next()
            .ok_or_else(|| plan_datafusion_err!("an empty union"))??;
        let mut builder = LogicalPlanBuilder::from(first.plan);
        for part in parts {
            builder = builder.union(part?.plan)?;
        }
        // A union takes the names of its first branch.
        Ok(Part {
            plan: builder.build()?,
            unit: first.unit,
            columns: first.columns,
        })
    }
}

/// What the owner declares, enforced: a value that isn't listed is NULL before any expression sees
/// it.
pub(crate) fn enforced(value: Expr, column: &ColumnPolicy) -> EngineResult<Expr> {
    match &column.domain {
        Domain::Values(values) => expression::listed(value, values, column.data_type),
        Domain::Range(_, _) | Domain::Unknown => Ok(value),
    }
}

/// A stored column in the question's type. Only casts that can't fail are left to the engine.
pub(crate) fn as_read(source: Expr, stored: &ArrowType, data_type: DataType) -> Expr {
    let wanted = engine_type(data_type);
    match stored {
        same if *same == wanted => source,
        ArrowType::UInt64 | ArrowType::Timestamp(_, _) => total::read_as(source, data_type),
        _ => total_cast(source, data_type),
    }
}

pub(crate) fn type_of(expression: &Expression, types: &[DataType]) -> EngineResult<DataType> {
    expression
        .data_type(types)
        .map_err(|error| plan_datafusion_err!("{error}"))
}

#[cfg(test)]
mod tests;
