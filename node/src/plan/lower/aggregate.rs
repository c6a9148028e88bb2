//! Trusted. Lowers aggregates: the frontier over persons, and aggregation of each person's rows.

use datafusion::logical_expr::{self as logical, Expr, expr::AggregateFunction};
use skerry_privacy::{
    analysis::Wording,
    question::{Aggregate, Expression, PersonAggregate, PersonFunction, Query, Relation},
};
use skerry_proto::{DataType, ErrorCode, Refusal};

use super::{Lowered, Lowering, Part, PartColumn, Scope, unaliased, unsupported};

const PLAIN_AGGREGATES: &str = "use COUNT, SUM, AVG or COUNT(DISTINCT unit)";

impl Lowering<'_> {
    pub(super) fn frontier(&self, aggregate: &logical::Aggregate) -> Result<Lowered, Refusal> {
        let input = self.relation(&aggregate.input)?;
        if !input.private {
            return Err(Refusal::new(
                ErrorCode::PlanRefused,
                "the aggregate is over public tables alone",
                "",
            ));
        }
        let scope = Scope {
            schema: aggregate.input.schema(),
            columns: &input.columns,
            repeated: &self.repeated,
        };
        let mut wording = Wording::default();
        let mut keys = vec![];
        for key in &aggregate.group_expr {
            if matches!(unaliased(key), Expr::GroupingSet(_)) {
                return Err(unsupported(
                    "GROUPING SETS, CUBE or ROLLUP",
                    "ask for each grouping",
                ));
            }
            keys.push(scope.lower(key)?.0);
            wording
                .keys
                .push(unaliased(key).human_display().to_string());
        }
        let mut aggregates = vec![];
        for written in &aggregate.aggr_expr {
            let written = unaliased(written);
            let shown = written.human_display().to_string();
            let Expr::AggregateFunction(function) = written else {
                return Err(unsupported(&shown, PLAIN_AGGREGATES));
            };
            aggregates.push(scope.over_persons(function, &shown)?);
            wording.aggregates.push(shown);
        }
        Ok(Lowered {
            query: Query {
                input: input.relation,
                keys,
                aggregates,
            },
            wording,
        })
    }

    /// An aggregate below the frontier is one over each person's rows, or it is refused.
    pub(super) fn per_person(&self, aggregate: &logical::Aggregate) -> Result<Part, Refusal> {
        let input = self.relation(&aggregate.input)?;
        let scope = Scope {
            schema: aggregate.input.schema(),
            columns: &input.columns,
            repeated: &self.repeated,
        };
        let mut keys = vec![];
        let mut columns = vec![];
        for key in &aggregate.group_expr {
            if matches!(unaliased(key), Expr::GroupingSet(_)) {
                return Err(unsupported(
                    "GROUPING SETS, CUBE or ROLLUP below an aggregate",
                    "",
                ));
            }
            let (key, data_type) = scope.lower(key)?;
            let unit = matches!(&key, Expression::Column(index) if input.columns[*index].unit);
            columns.push(PartColumn { data_type, unit });
            keys.push(key);
        }
        if !columns.iter().any(|column| column.unit) {
            return Err(unsupported(
                "an aggregate below another that isn't grouped by the privacy unit",
                "group the inner query by the unit, or aggregate once",
            ));
        }
        let mut aggregates = vec![];
        for written in &aggregate.aggr_expr {
            let written = unaliased(written);
            let shown = written.human_display().to_string();
            let Expr::AggregateFunction(function) = written else {
                return Err(unsupported(&shown, ""));
            };
            let (of_person, data_type) = scope.over_rows(function, &shown)?;
            columns.push(PartColumn {
                data_type,
                unit: false,
            });
            aggregates.push(of_person);
        }
        Ok(Part {
            relation: Relation::PerPerson {
                input: Box::new(input.relation),
                keys,
                aggregates,
            },
            columns,
            private: true,
        })
    }
}

/// The argument where the filter is true, else NULL.
fn filtered(argument: Expression, filter: Option<Expression>) -> Expression {
    match filter {
        None => argument,
        Some(condition) => Expression::Case {
            branches: vec![(condition, argument)],
            otherwise: None,
        },
    }
}

impl Scope<'_> {
    fn function_parts<'a>(
        &self,
        function: &'a AggregateFunction,
        shown: &str,
    ) -> Result<(&'a Expr, Option<Expression>), Refusal> {
        let params = &function.params;
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Err(unsupported(shown, "leave ORDER BY and null treatment out"));
        }
        let filter = match &params.filter {
            Some(filter) => Some(self.lower(filter)?.0),
            None => None,
        };
        match params.args.as_slice() {
            [argument] => Ok((argument, filter)),
            _ => Err(unsupported(shown, PLAIN_AGGREGATES)),
        }
    }

    fn over_persons(
        &self,
        function: &AggregateFunction,
        shown: &str,
    ) -> Result<Aggregate, Refusal> {
        let (argument, filter) = self.function_parts(function, shown)?;
        let distinct = function.params.distinct;
        match (function.func.name(), distinct) {
            ("count", false) => {
                let (argument, _) = self.lower(argument)?;
                // COUNT(*) arrives as the count of a literal.
                let counts_all = matches!(
                    &argument,
                    Expression::Literal { value, .. } if !value.is_null()
                );
                Ok(Aggregate::CountRows(match (counts_all, filter) {
                    (true, None) => None,
                    (true, Some(filter)) => Some(filtered(Expression::truth(), Some(filter))),
                    (false, filter) => Some(filtered(argument, filter)),
                }))
            }
            ("count", true) => {
                let (argument, _) = self.lower(argument)?;
                let unit =
                    matches!(&argument, Expression::Column(index) if self.columns[*index].unit);
                if unit {
                    Ok(Aggregate::CountPersons(filter))
                } else {
                    Err(unsupported(
                        shown,
                        "distinct values can't be counted yet; COUNT(DISTINCT unit) counts persons",
                    ))
                }
            }
            ("sum", false) => Ok(Aggregate::Sum(filtered(self.lower(argument)?.0, filter))),
            ("avg", false) => Ok(Aggregate::Average(filtered(
                self.lower(argument)?.0,
                filter,
            ))),
            ("sum" | "avg", true) => Err(unsupported(
                shown,
                "which values are distinct hangs on all persons; leave DISTINCT out",
            )),
            ("min" | "max" | "first_value" | "last_value" | "array_agg" | "string_agg", _) => {
                Err(Refusal::new(
                    ErrorCode::PrivateOutput,
                    format!("{shown} would show a value of one person"),
                    PLAIN_AGGREGATES,
                ))
            }
            _ => Err(unsupported(shown, PLAIN_AGGREGATES)),
        }
    }

    fn over_rows(
        &self,
        function: &AggregateFunction,
        shown: &str,
    ) -> Result<(PersonAggregate, DataType), Refusal> {
        let (argument, filter) = self.function_parts(function, shown)?;
        let (argument, data_type) = self.lower(argument)?;
        let numeric = matches!(data_type, DataType::Integer | DataType::Float);
        let (function, result) = match (function.func.name(), function.params.distinct) {
            ("count", false) => (PersonFunction::Count, DataType::Integer),
            ("sum", false) if numeric => (PersonFunction::Sum, data_type),
            ("min", _) => (PersonFunction::Minimum, data_type),
            ("max", _) => (PersonFunction::Maximum, data_type),
            ("avg", false) if numeric => (PersonFunction::Average, DataType::Float),
            _ => {
                return Err(unsupported(
                    shown,
                    "per person there are COUNT, SUM, MIN, MAX and AVG",
                ));
            }
        };
        Ok((
            PersonAggregate {
                function,
                argument: filtered(argument, filter),
            },
            result,
        ))
    }
}
