//! Trusted. Lowers the frontier: aggregates over persons.

use datafusion::logical_expr::{self as logical, Expr, expr::AggregateFunction};
use skerry_privacy::{
    analysis::Wording,
    question::{Aggregate, Expression, Pair, Query, Spread},
};
use skerry_proto::{DataType, ErrorCode, Refusal, Value};

use super::{Lowered, Lowering, Scope, UnitColumn, unaliased, unit_of, unsupported};

const PLAIN_AGGREGATES: &str =
    "use COUNT, SUM, AVG, MEDIAN, VAR, STDDEV, CORR, REGR or COUNT(DISTINCT unit)";

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
}

/// The argument where the filter is true, else NULL.
pub(super) fn filtered(argument: Expression, filter: Option<Expression>) -> Expression {
    match filter {
        None => argument,
        Some(condition) => Expression::Case {
            branches: vec![(condition, argument)],
            otherwise: None,
        },
    }
}

/// The statistic of pairs with this name.
fn pair(name: &str) -> Option<Pair> {
    Some(match name {
        "covar_pop" => Pair::CovariancePopulation,
        "covar_samp" => Pair::CovarianceSample,
        "corr" => Pair::Correlation,
        "regr_slope" => Pair::Slope,
        "regr_intercept" => Pair::Intercept,
        "regr_r2" => Pair::Determination,
        "regr_count" => Pair::Count,
        "regr_avgx" => Pair::AverageX,
        "regr_avgy" => Pair::AverageY,
        "regr_sxx" => Pair::SquaresX,
        "regr_syy" => Pair::SquaresY,
        "regr_sxy" => Pair::Products,
        _ => return None,
    })
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
        let name = function.func.name();
        let distinct = function.params.distinct;
        if let Some(statistic) = pair(name) {
            return self.of_pair(statistic, function, shown);
        }
        if matches!(
            name,
            "median" | "approx_median" | "percentile_cont" | "approx_percentile_cont"
        ) {
            return self.quantile(function, shown);
        }
        let (argument, filter) = self.function_parts(function, shown)?;
        match (name, distinct) {
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
            ("count", true) | ("approx_distinct", _) => {
                let (argument, _) = self.lower(argument)?;
                Ok(match unit_of(self.columns, &argument) {
                    UnitColumn::Always => Aggregate::CountPersons(filter),
                    // Where a left join found nobody there is nobody to count.
                    UnitColumn::OrNull => {
                        let there = argument.is_known();
                        Aggregate::CountPersons(Some(match filter {
                            Some(filter) => Expression::And(vec![there, filter]),
                            None => there,
                        }))
                    }
                    UnitColumn::No => Aggregate::CountValues(filtered(argument, filter)),
                })
            }
            ("sum", false) => Ok(Aggregate::Sum(filtered(self.lower(argument)?.0, filter))),
            ("avg", false) => Ok(Aggregate::Average(filtered(
                self.lower(argument)?.0,
                filter,
            ))),
            ("var" | "var_pop" | "stddev" | "stddev_pop", false) => Ok(Aggregate::Spread {
                statistic: match name {
                    "var" => Spread::VarianceSample,
                    "var_pop" => Spread::VariancePopulation,
                    "stddev" => Spread::DeviationSample,
                    _ => Spread::DeviationPopulation,
                },
                argument: filtered(self.lower(argument)?.0, filter),
            }),
            ("sum" | "avg" | "var" | "var_pop" | "stddev" | "stddev_pop", true) => {
                Err(unsupported(
                    shown,
                    "which values are distinct hangs on all persons; leave DISTINCT out",
                ))
            }
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

    fn filter_of(&self, function: &AggregateFunction) -> Result<Option<Expression>, Refusal> {
        let filter = function.params.filter.as_ref();
        filter.map(|filter| Ok(self.lower(filter)?.0)).transpose()
    }

    fn of_pair(
        &self,
        statistic: Pair,
        function: &AggregateFunction,
        shown: &str,
    ) -> Result<Aggregate, Refusal> {
        let params = &function.params;
        let ([y, x], false, [], None) = (
            params.args.as_slice(),
            params.distinct,
            params.order_by.as_slice(),
            params.null_treatment,
        ) else {
            return Err(unsupported(shown, "give it two numbers and nothing else"));
        };
        // A row outside the filter lacks y, and so is no complete pair.
        Ok(Aggregate::Pair {
            statistic,
            y: filtered(self.lower(y)?.0, self.filter_of(function)?),
            x: self.lower(x)?.0,
        })
    }

    /// The median, or the quantile of a literal fraction: `f(x, fraction)`, or
    /// `f(fraction) WITHIN GROUP (ORDER BY x)`, which arrives as `f(x, fraction ORDER BY x)`.
    fn quantile(&self, function: &AggregateFunction, shown: &str) -> Result<Aggregate, Refusal> {
        let params = &function.params;
        let refused = || {
            unsupported(
                shown,
                "write MEDIAN(x), or APPROX_PERCENTILE_CONT(0.9) WITHIN GROUP (ORDER BY x) with a \
                 literal fraction from 0 to 1",
            )
        };
        if params.distinct || params.null_treatment.is_some() {
            return Err(refused());
        }
        let (argument, fraction) = match (function.func.name(), params.args.as_slice()) {
            ("median" | "approx_median", [argument]) => (argument, 0.5),
            // What comes third is how finely an exact engine would work.
            ("percentile_cont" | "approx_percentile_cont", [argument, fraction, ..]) => {
                let fraction = match self.lower(fraction)?.0 {
                    Expression::Literal {
                        value: Value::Float(x),
                        ..
                    } => x,
                    Expression::Literal {
                        value: Value::Integer(x),
                        ..
                    } => x as f64,
                    _ => return Err(refused()),
                };
                (argument, fraction)
            }
            _ => return Err(refused()),
        };
        let argument = self.of_bins(argument)?;
        let fraction = match params.order_by.as_slice() {
            [] => fraction,
            [order] if self.of_bins(&order.expr)? == argument => {
                if order.asc {
                    fraction
                } else {
                    1.0 - fraction
                }
            }
            _ => return Err(refused()),
        };
        if !(0.0..=1.0).contains(&fraction) {
            return Err(refused());
        }
        Ok(Aggregate::Quantile {
            argument: filtered(argument, self.filter_of(function)?),
            fraction_nano: (fraction * 1e9).round() as u64,
        })
    }

    /// What a quantile is of. The engine takes quantiles of floats; whole numbers have bins of their
    /// own, and exact ones.
    fn of_bins(&self, argument: &Expr) -> Result<Expression, Refusal> {
        Ok(match self.lower(argument)?.0 {
            Expression::Cast {
                value,
                to: DataType::Float,
            } if self.type_of(&value) == Some(DataType::Integer) => *value,
            argument => argument,
        })
    }

    fn type_of(&self, expression: &Expression) -> Option<DataType> {
        let types: Vec<DataType> = self.columns.iter().map(|column| column.data_type).collect();
        expression.data_type(&types).ok()
    }
}
