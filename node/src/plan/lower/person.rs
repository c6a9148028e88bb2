//! Trusted. Lowers aggregation of each person's rows, below the frontier.

use datafusion::logical_expr::{
    self as logical, Expr,
    expr::{AggregateFunction, NullTreatment},
};
use skerry_privacy::question::{
    Comparison, Expression, Frame, PersonAggregate, PersonFunction, Relation, SortKey, Window,
    WindowColumn, WindowFunction,
};
use skerry_proto::{DataType, Refusal, Value};

use super::{
    Lowering, Part, PartColumn, Scope, UnitColumn, aggregate::filtered, unaliased, unit_of,
    unsupported,
};

const OF_A_PERSON: &str = "per person there are COUNT, COUNT(DISTINCT x), SUM, MIN, MAX, AVG, \
                           BOOL_OR, BOOL_AND, and FIRST_VALUE and LAST_VALUE with ORDER BY";

impl Lowering<'_> {
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
            let unit = input.unit_of(&key);
            columns.push(PartColumn { data_type, unit });
            keys.push(key);
        }
        let unit = columns.iter().map(|column| column.unit);
        let Some(of_unit) = unit.clone().position(|unit| unit == UnitColumn::Always) else {
            let found_none = unit.clone().any(|unit| unit == UnitColumn::OrNull);
            return Err(if found_none {
                unsupported(
                    "a group of all persons for whom a left join found nothing",
                    "group by the unit of the join's left side, or add WHERE … IS NOT NULL",
                )
            } else {
                unsupported(
                    "an aggregate below another that isn't grouped by the privacy unit",
                    "group the inner query by the unit, or aggregate once",
                )
            });
        };
        let mut of_rows = OfRows {
            scope: &scope,
            keys: &keys,
            windows: vec![],
        };
        // Where each column of the plan is among keys and aggregates.
        let mut places: Vec<usize> = (0..keys.len()).collect();
        let mut aggregates = vec![];
        for written in &aggregate.aggr_expr {
            let written = unaliased(written);
            let shown = written.human_display().to_string();
            let Expr::AggregateFunction(function) = written else {
                return Err(unsupported(&shown, ""));
            };
            if scope.is_own_unit(function)? {
                places.push(of_unit);
                columns.push(columns[of_unit]);
                continue;
            }
            let (found, data_type) = of_rows.aggregate(function, &shown)?;
            columns.push(PartColumn {
                data_type,
                unit: UnitColumn::No,
            });
            places.push(keys.len() + aggregates.len());
            aggregates.push(found);
        }
        let windows = of_rows.windows;
        let input = self.windowed(input.relation, windows)?;
        let all = keys.len() + aggregates.len();
        let grouped = Relation::PerPerson {
            input: Box::new(input),
            keys,
            aggregates,
        };
        let relation = if places.iter().copied().eq(0..all) {
            grouped
        } else {
            Relation::Project {
                input: Box::new(grouped),
                columns: places.into_iter().map(Expression::Column).collect(),
            }
        };
        Ok(Part {
            relation,
            columns,
            private: true,
        })
    }
}

impl Scope<'_> {
    /// Whether this is the unit of the rows that are aggregated, which is the same on all of them.
    /// `DISTINCT ON (unit)` brings that.
    fn is_own_unit(&self, function: &AggregateFunction) -> Result<bool, Refusal> {
        let params = &function.params;
        let one_of = matches!(
            function.func.name(),
            "first_value" | "last_value" | "min" | "max"
        );
        match (params.args.as_slice(), &params.filter) {
            ([argument], None) if one_of => {
                let (argument, _) = self.lower(argument)?;
                Ok(unit_of(self.columns, &argument) == UnitColumn::Always)
            }
            (_, _) => Ok(false),
        }
    }
}

/// Aggregates over each person's rows, and the windows that number those rows.
struct OfRows<'a> {
    scope: &'a Scope<'a>,
    keys: &'a [Expression],
    windows: Vec<Window>,
}

impl OfRows<'_> {
    fn aggregate(
        &mut self,
        function: &AggregateFunction,
        shown: &str,
    ) -> Result<(PersonAggregate, DataType), Refusal> {
        let params = &function.params;
        let [argument] = params.args.as_slice() else {
            return Err(unsupported(shown, OF_A_PERSON));
        };
        let (argument, data_type) = self.scope.lower(argument)?;
        let filter = match &params.filter {
            Some(filter) => Some(self.scope.lower(filter)?.0),
            None => None,
        };
        let name = function.func.name();
        if matches!(name, "first_value" | "last_value") {
            let argument = self.first(function, argument, filter, shown)?;
            let function = PersonFunction::Maximum;
            return Ok((PersonAggregate { function, argument }, data_type));
        }
        if !params.order_by.is_empty() || params.null_treatment.is_some() {
            return Err(unsupported(shown, "leave ORDER BY and null treatment out"));
        }
        let truth = data_type == DataType::Boolean;
        let function = match (name, params.distinct) {
            ("count", false) => PersonFunction::Count,
            ("count", true) => PersonFunction::CountDistinct,
            ("sum", false) => PersonFunction::Sum,
            ("avg", false) => PersonFunction::Average,
            ("min", _) => PersonFunction::Minimum,
            ("max", _) => PersonFunction::Maximum,
            ("bool_and", _) if truth => PersonFunction::Minimum,
            ("bool_or", _) if truth => PersonFunction::Maximum,
            _ => return Err(unsupported(shown, OF_A_PERSON)),
        };
        let result = function
            .data_type(data_type)
            .map_err(|_| unsupported(shown, OF_A_PERSON))?;
        let argument = filtered(argument, filter);
        Ok((PersonAggregate { function, argument }, result))
    }

    /// The argument on the one row that comes first, else NULL: the greatest of these is the value
    /// on that row. Which row that is among equal ones is decided by all columns.
    fn first(
        &mut self,
        function: &AggregateFunction,
        argument: Expression,
        filter: Option<Expression>,
        shown: &str,
    ) -> Result<Expression, Refusal> {
        let params = &function.params;
        if params.order_by.is_empty() {
            return Err(unsupported(
                &format!("{shown} without an order"),
                "say which comes first: FIRST_VALUE(x ORDER BY date), DISTINCT ON with ORDER BY, \
                 or MIN and MAX",
            ));
        }
        let mut order = vec![];
        // Rows outside the filter, and NULLs where they are ignored, come after all others.
        if let Some(filter) = &filter {
            order.push(SortKey {
                by: filtered(Expression::truth(), Some(self.scope.again(filter)?)),
                descending: false,
                nulls_first: false,
            });
        }
        if params.null_treatment == Some(NullTreatment::IgnoreNulls) {
            order.push(SortKey {
                by: Expression::IsNull(Box::new(self.scope.again(&argument)?)),
                descending: false,
                nulls_first: false,
            });
        }
        let last = function.func.name() == "last_value";
        for key in self.scope.order(&params.order_by)? {
            order.push(SortKey {
                descending: key.descending != last,
                nulls_first: key.nulls_first != last,
                ..key
            });
        }
        let numbered = Window {
            keys: self
                .keys
                .iter()
                .filter(|key| unit_of(self.scope.columns, key) != UnitColumn::Always)
                .map(|key| self.scope.again(key))
                .collect::<Result<_, _>>()?,
            order,
            columns: vec![WindowColumn {
                function: WindowFunction::RowNumber,
                frame: Frame::WHOLE,
            }],
        };
        let known = self.windows.iter().position(|window| *window == numbered);
        let place = known.unwrap_or(self.windows.len());
        if known.is_none() {
            self.windows.push(numbered);
        }
        let is_first = Expression::Compare {
            operator: Comparison::Equal,
            left: Box::new(Expression::Column(self.scope.columns.len() + place)),
            right: Box::new(Expression::Literal {
                value: Value::Integer(1),
                data_type: DataType::Integer,
            }),
        };
        Ok(filtered(
            argument,
            Some(match filter {
                Some(filter) => Expression::And(vec![is_first, filter]),
                None => is_first,
            }),
        ))
    }
}
