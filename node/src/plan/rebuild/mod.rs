//! Trusted. Rebuilds a question as the plan that runs.
//!
//! Promise: the plan is a function of the closed question and the policy. Every private relation
//! carries the privacy unit in a column of its own beside the columns that the question counts,
//! joins of private relations are on it, and every row that leaves belongs to exactly one person.
//! All expressions are total: none fails on a row.

pub(crate) mod amount;
mod expression;
pub(crate) mod row;
mod total;
mod window;

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::DataType as ArrowType,
    catalog::TableProvider,
    common::{Column, JoinType, Result as EngineResult, plan_datafusion_err},
    datasource::provider_as_source,
    functions_aggregate::expr_fn as aggregate,
    logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder, TryCast},
    prelude::{col, lit},
};
use skerry_privacy::{
    analysis::{PartitionOf, Quote},
    policy::{ColumnPolicy, Domain, Ownership, Policy},
    question::{
        Comparison, Expression, JoinKind, Matching, PersonFunction, Query, Relation, Window,
    },
};
use skerry_proto::DataType;

pub(crate) use self::expression::rebuild_expression;
pub use self::window::WindowPlanner;
use self::{expression::total_cast, window::PersonWindow};
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
                let left = self.relation(left)?;
                let right = self.relation(right)?;
                let join_type = match kind {
                    JoinKind::Inner => JoinType::Inner,
                    JoinKind::Left => JoinType::Left,
                };
                let plan = join_on_unit(&left, &right, join_type, condition.as_ref())?;
                Ok(Part {
                    plan,
                    unit: left.unit,
                    columns: left.columns.into_iter().chain(right.columns).collect(),
                })
            }
            Relation::Semi {
                matching,
                left,
                right,
                condition,
            } => {
                let left = self.relation(left)?;
                let right = self.relation(right)?;
                let plan = join_on_unit(&left, &right, semi(*matching), condition.as_ref())?;
                self.matched(*matching, Part { plan, ..left })
            }
            Relation::SemiPublic {
                matching,
                private,
                public,
                on,
                condition,
            } => {
                let private = self.relation(private)?;
                let public = self.relation(public)?;
                let plan = with_public(&private, &public, on, condition.as_ref(), semi(*matching))?;
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
                let private = self.relation(private)?;
                let public = self.relation(public)?;
                self.join_public(*kind, private, public, on, condition.as_ref())
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
                let types = input.types();
                let unit = input
                    .unit
                    .clone()
                    .ok_or_else(|| plan_datafusion_err!("no privacy unit"))?;
                let unit_name = self.name();
                let mut group = vec![col(unit).alias(&unit_name)];
                let mut columns = vec![];
                for key in keys {
                    let name = self.name();
                    group.push(rebuild_expression(key, &input.expressions(), &types)?.alias(&name));
                    columns.push((name, type_of(key, &types)?));
                }
                let mut sums = vec![];
                let mut finished = vec![];
                for of_person in aggregates {
                    let argument =
                        rebuild_expression(&of_person.argument, &input.expressions(), &types)?;
                    let of_argument = type_of(&of_person.argument, &types)?;
                    let mut names = vec![];
                    for sum in sums_of(of_person.function, argument, of_argument) {
                        let name = self.name();
                        sums.push(sum.aggregate().alias(&name));
                        names.push(col(name));
                    }
                    finished.push(finish(of_person.function, &names, of_argument)?);
                }
                let plan = LogicalPlanBuilder::from(input.plan)
                    .aggregate(group, sums)?
                    .build()?;
                let keys = columns
                    .into_iter()
                    .map(|(name, data_type)| (col(name), data_type));
                self.project(plan, Some(col(unit_name)), keys.chain(finished).collect())
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

    fn join_public(
        &mut self,
        kind: JoinKind,
        private: Part,
        public: Part,
        on: &[(Expression, Expression)],
        condition: Option<&Expression>,
    ) -> EngineResult<Part> {
        let join_type = match kind {
            JoinKind::Inner => JoinType::Inner,
            JoinKind::Left => JoinType::Left,
        };
        Ok(Part {
            plan: with_public(&private, &public, on, condition, join_type)?,
            unit: private.unit,
            columns: [private.columns, public.columns].concat(),
        })
    }

    /// The left side of a semi join, with the mark among its columns if there is one.
    fn matched(&mut self, matching: Matching, left: Part) -> EngineResult<Part> {
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

    fn window(&mut self, input: Part, window: &Window) -> EngineResult<Part> {
        let types = input.types();
        let found = window
            .data_types(&types)
            .map_err(|error| plan_datafusion_err!("{error}"))?;
        // Laid out anew: the operator counts columns as the question does.
        let columns = input.columns.into_iter();
        let columns =
            columns.map(|(name, data_type)| (total_cast(col(name), data_type), data_type));
        let unit = input.unit.as_ref().map(col);
        let laid = self.project(input.plan, unit, columns.collect())?;
        let unit = laid
            .unit
            .ok_or_else(|| plan_datafusion_err!("no privacy unit"))?;
        let more: Vec<(String, DataType)> = found
            .into_iter()
            .map(|data_type| (self.name(), data_type))
            .collect();
        let plan = PersonWindow::plan(laid.plan, window.clone(), &more)?;
        Ok(Part {
            plan,
            unit: Some(unit),
            columns: [laid.columns, more].concat(),
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

fn semi(matching: Matching) -> JoinType {
    match matching {
        Matching::With => JoinType::LeftSemi,
        Matching::Without => JoinType::LeftAnti,
        Matching::Marked => JoinType::LeftMark,
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
fn with_public(
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

fn join_on_unit(
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

/// Decimals in which floats are summed: exact, so that the order of rows doesn't show.
const ROW_DECIMAL: ArrowType = ArrowType::Decimal128(28, 9);

/// A sum over one person's rows, of the rows in which the argument isn't NULL.
#[derive(Debug, Clone)]
pub(crate) enum PersonSum {
    /// How many.
    Count(Expr),
    /// How many different ones.
    CountDistinct(Expr),
    /// Their sum, of integers or of decimals, wrapping; NULL without rows.
    Sum(Expr),
    /// Their least; NULL without rows.
    Minimum(Expr),
    /// Their greatest; NULL without rows.
    Maximum(Expr),
    /// Whether all are true; NULL without rows.
    All(Expr),
    /// Whether any is true; NULL without rows.
    Any(Expr),
}

impl PersonSum {
    fn aggregate(self) -> Expr {
        match self {
            Self::Count(argument) => aggregate::count(argument),
            Self::Sum(argument) => aggregate::sum(argument),
            Self::Minimum(argument) => aggregate::min(argument),
            Self::Maximum(argument) => aggregate::max(argument),
            Self::CountDistinct(argument) => aggregate::count_distinct(argument),
            Self::All(argument) => aggregate::bool_and(argument),
            Self::Any(argument) => aggregate::bool_or(argument),
        }
    }
}

/// The sums behind an aggregate over one person's rows.
///
/// None of them depends on the order of the rows, which may hang on other persons': integers wrap,
/// floats are summed as decimals (a row that doesn't fit is NULL), NaN and the negative zero are
/// gone before a minimum or maximum is taken.
pub(crate) fn sums_of(
    function: PersonFunction,
    argument: Expr,
    of_argument: DataType,
) -> Vec<PersonSum> {
    let decimal = |value: Expr| Expr::TryCast(TryCast::new(Box::new(value), ROW_DECIMAL));
    let argument = match of_argument {
        DataType::Float => expression::plain_float(argument),
        DataType::Integer
        | DataType::Boolean
        | DataType::Text
        | DataType::Date
        | DataType::Timestamp => argument,
    };
    match function {
        PersonFunction::Count => vec![PersonSum::Count(argument)],
        PersonFunction::CountDistinct => vec![PersonSum::CountDistinct(argument)],
        PersonFunction::Sum if of_argument == DataType::Integer => vec![PersonSum::Sum(argument)],
        PersonFunction::Sum => vec![PersonSum::Sum(decimal(argument))],
        PersonFunction::Minimum if of_argument == DataType::Boolean => {
            vec![PersonSum::All(argument)]
        }
        PersonFunction::Maximum if of_argument == DataType::Boolean => {
            vec![PersonSum::Any(argument)]
        }
        PersonFunction::Minimum => vec![PersonSum::Minimum(argument)],
        PersonFunction::Maximum => vec![PersonSum::Maximum(argument)],
        PersonFunction::Average => vec![
            PersonSum::Sum(decimal(argument.clone())),
            PersonSum::Count(decimal(argument)),
        ],
    }
}

/// The aggregate from its sums.
pub(crate) fn finish(
    function: PersonFunction,
    sums: &[Expr],
    of_argument: DataType,
) -> EngineResult<(Expr, DataType)> {
    let float = |value: &Expr| total_cast(value.clone(), DataType::Float);
    Ok(match (function, sums) {
        (PersonFunction::Count | PersonFunction::CountDistinct, [count]) => {
            (count.clone(), DataType::Integer)
        }
        (PersonFunction::Sum, [sum]) if of_argument == DataType::Integer => {
            (sum.clone(), DataType::Integer)
        }
        (PersonFunction::Sum, [sum]) => (float(sum), DataType::Float),
        (PersonFunction::Minimum | PersonFunction::Maximum, [extreme]) => {
            (extreme.clone(), of_argument)
        }
        // Without rows the sum is NULL, and so is the quotient.
        (PersonFunction::Average, [sum, count]) => (float(sum) / float(count), DataType::Float),
        (_, _) => return Err(plan_datafusion_err!("an aggregate lacks a sum")),
    })
}

#[cfg(test)]
mod tests;
