//! Trusted. Aggregates over one person's rows.
//!
//! Promise: an aggregate hangs on the values of the person's rows, not on their order, and its rows
//! keep the person's unit.

use datafusion::{
    arrow::datatypes::DataType as ArrowType,
    common::{Result as EngineResult, plan_datafusion_err},
    functions_aggregate::expr_fn as aggregate,
    logical_expr::{Expr, LogicalPlanBuilder, TryCast},
    prelude::col,
};
use skerry_privacy::question::{Expression, PersonAggregate, PersonFunction};
use skerry_proto::DataType;

use super::{
    Part, Rebuilding,
    expression::{plain_float, rebuild_expression, total_cast},
    type_of,
};

impl Rebuilding<'_> {
    /// A row for each person and each of a person's own keys.
    pub(super) fn per_person(
        &mut self,
        input: Part,
        keys: &[Expression],
        aggregates: &[PersonAggregate],
    ) -> EngineResult<Part> {
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
            let argument = rebuild_expression(&of_person.argument, &input.expressions(), &types)?;
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
        DataType::Float => plain_float(argument),
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
