//! Trusted. Lowers scalar expressions. Functions and casts that aren't named here don't exist.

use datafusion::{
    common::ScalarValue,
    logical_expr::{
        Between, BinaryExpr, Case, Expr, ExprSchemable, Like, Operator,
        expr::{InList, ScalarFunction},
    },
};
use skerry_privacy::question::{Arithmetic, Comparison, DateUnit, Expression, Function};
use skerry_proto::{DataType, ErrorCode, Refusal, Value, limit};

use super::{
    Scope,
    types::{plain_type, plain_value},
    unsupported,
};

type Typed = (Expression, DataType);

fn shown(expression: &Expr) -> String {
    expression.human_display().to_string()
}

impl Scope<'_> {
    /// Lowers an expression over this scope's columns.
    pub(super) fn lower(&self, expression: &Expr) -> Result<Typed, Refusal> {
        let boolean = |expression| Ok((expression, DataType::Boolean));
        match expression {
            Expr::Alias(alias) => self.lower(&alias.expr),
            Expr::Column(column) => {
                let (index, found) = self.find(column)?;
                Ok((Expression::Column(index), found.data_type))
            }
            Expr::Literal(scalar, _) => {
                let (value, data_type) = plain_value(scalar).ok_or_else(|| {
                    unsupported(
                        &shown(expression),
                        "cast decimals to DOUBLE; intervals are added to dates",
                    )
                })?;
                Ok((Expression::Literal { value, data_type }, data_type))
            }
            Expr::BinaryExpr(binary) => self.binary(binary, expression),
            Expr::Not(inner) => boolean(Expression::Not(self.boxed(inner)?)),
            Expr::IsNull(inner) | Expr::IsUnknown(inner) => {
                boolean(Expression::IsNull(self.boxed(inner)?))
            }
            Expr::IsNotNull(inner) | Expr::IsNotUnknown(inner) => {
                boolean(not(Expression::IsNull(self.boxed(inner)?)))
            }
            Expr::IsTrue(inner) => boolean(known(self.lower(inner)?.0)),
            Expr::IsNotTrue(inner) => boolean(not(known(self.lower(inner)?.0))),
            Expr::IsFalse(inner) => boolean(known(not(self.lower(inner)?.0))),
            Expr::IsNotFalse(inner) => boolean(not(known(not(self.lower(inner)?.0)))),
            Expr::Negative(inner) => {
                let (inner, data_type) = self.lower(inner)?;
                let zero = match data_type {
                    DataType::Integer => Value::Integer(0),
                    DataType::Float => Value::Float(0.0),
                    DataType::Boolean | DataType::Text | DataType::Date | DataType::Timestamp => {
                        return Err(unsupported(&shown(expression), ""));
                    }
                };
                Ok((
                    Expression::Arithmetic {
                        operator: Arithmetic::Subtract,
                        left: Box::new(Expression::Literal {
                            value: zero,
                            data_type,
                        }),
                        right: Box::new(inner),
                    },
                    data_type,
                ))
            }
            Expr::Between(between) => self.between(between),
            Expr::Case(case) => self.case(case, expression),
            Expr::Cast(cast) => self.cast(&cast.expr, cast.field.data_type(), expression),
            Expr::TryCast(cast) => self.cast(&cast.expr, cast.field.data_type(), expression),
            Expr::InList(list) => self.in_list(list),
            Expr::Like(like) => self.like(like, expression),
            Expr::ScalarFunction(function) => self.function(function, expression),
            Expr::SimilarTo(_) => Err(unsupported(&shown(expression), "use LIKE")),
            Expr::AggregateFunction(_) | Expr::WindowFunction(_) => {
                Err(unsupported(&shown(expression), ""))
            }
            Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_)
            | Expr::ScalarSubquery(_)
            | Expr::OuterReferenceColumn(_, _) => Err(unsupported(
                "a subquery in this place",
                "ask for the inner figure first and write it as a number",
            )),
            Expr::ScalarVariable(_, _)
            | Expr::GroupingSet(_)
            | Expr::Placeholder(_)
            | Expr::Unnest(_)
            | Expr::HigherOrderFunction(_)
            | Expr::Lambda(_)
            | Expr::LambdaVariable(_) => Err(unsupported(&shown(expression), "")),
            // `Wildcard` is deprecated, and stands for columns that planning has already named.
            #[expect(deprecated, reason = "an exhaustive match has to name it")]
            Expr::Wildcard { .. } => Err(unsupported("*", "name the columns")),
        }
    }

    fn boxed(&self, expression: &Expr) -> Result<Box<Expression>, Refusal> {
        Ok(Box::new(self.lower(expression)?.0))
    }

    fn binary(&self, binary: &BinaryExpr, whole: &Expr) -> Result<Typed, Refusal> {
        if let Some(moved) = self.moved_date(binary)? {
            return Ok((moved, DataType::Date));
        }
        let (left, left_type) = self.lower(&binary.left)?;
        let (right, right_type) = self.lower(&binary.right)?;
        let compare = |operator| {
            if left_type == right_type {
                Ok((
                    Expression::Compare {
                        operator,
                        left: Box::new(left.clone()),
                        right: Box::new(right.clone()),
                    },
                    DataType::Boolean,
                ))
            } else {
                Err(unsupported(
                    &shown(whole),
                    &format!("it compares {left_type} with {right_type}; cast one side"),
                ))
            }
        };
        let arithmetic = |operator| {
            let number = matches!(left_type, DataType::Integer | DataType::Float);
            if left_type == right_type && number {
                Ok((
                    Expression::Arithmetic {
                        operator,
                        left: Box::new(left.clone()),
                        right: Box::new(right.clone()),
                    },
                    left_type,
                ))
            } else {
                Err(unsupported(
                    &shown(whole),
                    "arithmetic needs two integers or two floats",
                ))
            }
        };
        match binary.op {
            Operator::Eq => compare(Comparison::Equal),
            Operator::NotEq => compare(Comparison::NotEqual),
            Operator::Lt => compare(Comparison::Less),
            Operator::LtEq => compare(Comparison::LessOrEqual),
            Operator::Gt => compare(Comparison::Greater),
            Operator::GtEq => compare(Comparison::GreaterOrEqual),
            Operator::And => Ok((
                joined(
                    left,
                    right,
                    |part| match part {
                        Expression::And(parts) => Ok(parts),
                        other => Err(other),
                    },
                    Expression::And,
                ),
                DataType::Boolean,
            )),
            Operator::Or => Ok((
                joined(
                    left,
                    right,
                    |part| match part {
                        Expression::Or(parts) => Ok(parts),
                        other => Err(other),
                    },
                    Expression::Or,
                ),
                DataType::Boolean,
            )),
            Operator::Plus => arithmetic(Arithmetic::Add),
            Operator::Minus if (left_type, right_type) == (DataType::Date, DataType::Date) => {
                let days = matches!(
                    whole.get_type(self.schema).as_ref().map(plain_type),
                    Ok(Some(DataType::Integer))
                );
                if days {
                    Ok((
                        Expression::Call {
                            function: Function::DaysBetween,
                            arguments: vec![left, right],
                        },
                        DataType::Integer,
                    ))
                } else {
                    Err(unsupported(
                        &shown(whole),
                        "cast both dates to INTEGER to get days",
                    ))
                }
            }
            Operator::Minus => arithmetic(Arithmetic::Subtract),
            Operator::Multiply => arithmetic(Arithmetic::Multiply),
            Operator::Divide => arithmetic(Arithmetic::Divide),
            Operator::Modulo => arithmetic(Arithmetic::Remainder),
            Operator::IsDistinctFrom | Operator::IsNotDistinctFrom if left_type == right_type => {
                let same = Expression::Call {
                    function: Function::Same,
                    arguments: vec![left, right],
                };
                let distinct = binary.op == Operator::IsDistinctFrom;
                Ok((if distinct { not(same) } else { same }, DataType::Boolean))
            }
            _ => Err(unsupported(
                &shown(whole),
                "use comparisons, AND, OR, + - * / % and LIKE",
            )),
        }
    }

    /// A date plus or minus a literal interval of months and days.
    fn moved_date(&self, binary: &BinaryExpr) -> Result<Option<Expression>, Refusal> {
        let sign = match binary.op {
            Operator::Plus => 1,
            Operator::Minus => -1,
            _ => return Ok(None),
        };
        let (date, interval) = match (
            unaliased_literal(&binary.left),
            unaliased_literal(&binary.right),
        ) {
            (_, Some(interval)) => (&binary.left, interval),
            (Some(interval), None) if sign == 1 => (&binary.right, interval),
            (_, None) => return Ok(None),
        };
        let parts = match interval {
            ScalarValue::IntervalYearMonth(Some(months)) => (*months, 0, 0),
            ScalarValue::IntervalDayTime(Some(x)) => (0, x.days, i64::from(x.milliseconds)),
            ScalarValue::IntervalMonthDayNano(Some(x)) => (x.months, x.days, x.nanoseconds),
            _ => return Ok(None),
        };
        let (date, data_type) = self.lower(date)?;
        let (months, days, rest) = parts;
        let moved = signed_within(months, sign, 12_000).zip(signed_within(days, sign, 400_000));
        match (data_type, moved, rest) {
            (DataType::Date, Some((months, days)), 0) => Ok(Some(Expression::Call {
                function: Function::AddToDate { months, days },
                arguments: vec![date],
            })),
            _ => Err(unsupported(
                "an interval that isn't whole months or days added to a date",
                "write date + INTERVAL '3 months'",
            )),
        }
    }

    fn between(&self, between: &Between) -> Result<Typed, Refusal> {
        let (value, of_value) = self.lower(&between.expr)?;
        let (low, of_low) = self.lower(&between.low)?;
        let (high, of_high) = self.lower(&between.high)?;
        if of_low != of_value || of_high != of_value {
            return Err(unsupported(
                &format!("BETWEEN of {of_value}, {of_low} and {of_high}"),
                "cast them to one type",
            ));
        }
        let again = self.again(&value)?;
        let compare = |operator, value, bound| Expression::Compare {
            operator,
            left: Box::new(value),
            right: Box::new(bound),
        };
        let within = Expression::And(vec![
            compare(Comparison::GreaterOrEqual, value, low),
            compare(Comparison::LessOrEqual, again, high),
        ]);
        Ok((
            if between.negated { not(within) } else { within },
            DataType::Boolean,
        ))
    }

    fn case(&self, case: &Case, whole: &Expr) -> Result<Typed, Refusal> {
        let base = match &case.expr {
            Some(base) => Some(self.lower(base)?),
            None => None,
        };
        let mut types = vec![];
        let mut branches = vec![];
        for (when, then) in &case.when_then_expr {
            let (when, of_when) = self.lower(when)?;
            let condition = match &base {
                None => when,
                Some((base, of_base)) if *of_base == of_when => Expression::Compare {
                    operator: Comparison::Equal,
                    left: Box::new(self.again(base)?),
                    right: Box::new(when),
                },
                Some(_) => return Err(unsupported(&shown(whole), "cast both to one type")),
            };
            let (then, of_then) = self.lower(then)?;
            types.push(of_then);
            branches.push((condition, then));
        }
        let otherwise = match &case.else_expr {
            Some(otherwise) => {
                let (otherwise, data_type) = self.lower(otherwise)?;
                types.push(data_type);
                Some(Box::new(otherwise))
            }
            None => None,
        };
        match types.split_first() {
            Some((first, rest)) if rest.iter().all(|other| other == first) => Ok((
                Expression::Case {
                    branches,
                    otherwise,
                },
                *first,
            )),
            _ => Err(unsupported(&shown(whole), "give all branches one type")),
        }
    }

    fn cast(
        &self,
        value: &Expr,
        to: &datafusion::arrow::datatypes::DataType,
        whole: &Expr,
    ) -> Result<Typed, Refusal> {
        let Some(to) = plain_type(to) else {
            return Err(unsupported(
                &shown(whole),
                "cast to BIGINT, DOUBLE, VARCHAR, BOOLEAN or DATE",
            ));
        };
        let (value, from) = self.lower(value)?;
        if from == to {
            return Ok((value, to));
        }
        let known = matches!(
            (from, to),
            (
                DataType::Integer,
                DataType::Float | DataType::Text | DataType::Boolean
            ) | (DataType::Float, DataType::Integer)
                | (DataType::Boolean, DataType::Integer | DataType::Text)
                | (
                    DataType::Text,
                    DataType::Integer | DataType::Float | DataType::Date
                )
                | (
                    DataType::Date,
                    DataType::Text | DataType::Timestamp | DataType::Integer
                )
                | (DataType::Timestamp, DataType::Date)
        );
        if known {
            Ok((
                Expression::Cast {
                    value: Box::new(value),
                    to,
                },
                to,
            ))
        } else {
            Err(unsupported(
                &shown(whole),
                &format!("there is no cast from {from} to {to}"),
            ))
        }
    }

    fn in_list(&self, list: &InList) -> Result<Typed, Refusal> {
        if list.list.len() > limit::LIST_LENGTH {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!("an IN list has more than {} members", limit::LIST_LENGTH),
                "use a range, or a public table",
            ));
        }
        let (value, data_type) = self.lower(&list.expr)?;
        let mut members = vec![];
        for member in &list.list {
            match self.lower(member)? {
                (Expression::Literal { value, .. }, found)
                    if found == data_type && !value.is_null() =>
                {
                    members.push(value);
                }
                _ => {
                    return Err(unsupported(
                        &format!("IN with {}", shown(member)),
                        "list literals of the same type, without NULL",
                    ));
                }
            }
        }
        members.sort();
        members.dedup();
        let found = Expression::In {
            value: Box::new(value),
            list: members,
        };
        Ok((
            if list.negated { not(found) } else { found },
            DataType::Boolean,
        ))
    }

    fn like(&self, like: &Like, whole: &Expr) -> Result<Typed, Refusal> {
        let (value, of_value) = self.lower(&like.expr)?;
        let (pattern, _) = self.lower(&like.pattern)?;
        let (
            Expression::Literal {
                value: Value::Text(pattern),
                ..
            },
            DataType::Text,
            None,
        ) = (
            pattern,
            of_value,
            like.escape_char.filter(|escape| *escape != '\\'),
        )
        else {
            return Err(unsupported(
                &shown(whole),
                "LIKE needs a text and a literal pattern",
            ));
        };
        if pattern.chars().count() > limit::PATTERN_LENGTH {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!(
                    "a LIKE pattern has more than {} characters",
                    limit::PATTERN_LENGTH
                ),
                "use a shorter pattern",
            ));
        }
        let found = Expression::Like {
            value: Box::new(value),
            pattern,
            ignore_case: like.case_insensitive,
        };
        Ok((
            if like.negated { not(found) } else { found },
            DataType::Boolean,
        ))
    }

    fn function(&self, function: &ScalarFunction, whole: &Expr) -> Result<Typed, Refusal> {
        let arguments = function
            .args
            .iter()
            .map(|argument| self.lower(argument))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut arguments, types): (Vec<Expression>, Vec<DataType>) =
            arguments.into_iter().unzip();
        let integer = |argument: Option<&Expression>| match argument {
            Some(Expression::Literal {
                value: Value::Integer(x),
                ..
            }) => i32::try_from(*x).ok(),
            _ => None,
        };
        let unit = |argument: Option<&Expression>| match argument {
            Some(Expression::Literal {
                value: Value::Text(unit),
                ..
            }) => date_unit(unit),
            _ => None,
        };
        let known = match function.name() {
            "abs" => Some(Function::Absolute),
            "floor" => Some(Function::Floor),
            "ceil" => Some(Function::Ceiling),
            "round" if arguments.len() == 1 => Some(Function::Round { decimals: 0 }),
            "round" => {
                let decimals = integer(arguments.get(1)).filter(|x| (-15..=15).contains(x));
                arguments.truncate(1);
                decimals.map(|decimals| Function::Round { decimals })
            }
            "coalesce" => Some(Function::Coalesce),
            "nullif" => Some(Function::NullIf),
            "greatest" => Some(Function::Greatest),
            "least" => Some(Function::Least),
            "lower" => Some(Function::Lower),
            "upper" => Some(Function::Upper),
            "character_length" => Some(Function::Length),
            "btrim" if arguments.len() == 1 => Some(Function::Trim),
            "substr" => {
                let start = integer(arguments.get(1)).and_then(|x| u32::try_from(x).ok());
                let length = integer(arguments.get(2)).and_then(|x| u32::try_from(x).ok());
                let whole = arguments.len() == 2 || length.is_some();
                arguments.truncate(1);
                start
                    .filter(|start| *start >= 1 && whole)
                    .map(|start| Function::Substring { start, length })
            }
            "date_part" => {
                let unit = unit(arguments.first());
                arguments = arguments.split_off(1.min(arguments.len()));
                unit.map(Function::DatePart)
            }
            "date_trunc" => {
                let unit = unit(arguments.first())
                    .filter(|unit| !matches!(unit, DateUnit::DayOfWeek | DateUnit::DayOfYear));
                arguments = arguments.split_off(1.min(arguments.len()));
                unit.map(Function::DateTruncate)
            }
            _ => None,
        };
        let Some(known) = known else {
            return Err(unsupported(
                &shown(whole),
                "the functions are abs, floor, ceil, round, coalesce, nullif, greatest, least, lower, upper, length, trim, substr, date_part and date_trunc, with literal units and digits",
            ));
        };
        let call = Expression::Call {
            function: known,
            arguments,
        };
        // The types of the arguments stand where the call's columns would.
        let placeholders: Vec<DataType> =
            self.columns.iter().map(|column| column.data_type).collect();
        let data_type = call.data_type(&placeholders).map_err(|error| {
            let of: Vec<String> = types.iter().map(ToString::to_string).collect();
            unsupported(
                &shown(whole),
                &format!("{error}; here it has {}", of.join(", ")),
            )
        })?;
        Ok((call, data_type))
    }
}

/// A count with its sign, if its magnitude is at most so much. The least integer has none.
fn signed_within(count: i32, sign: i32, most: u32) -> Option<i32> {
    count
        .checked_mul(sign)
        .filter(|count| count.unsigned_abs() <= most)
}

fn unaliased_literal(expression: &Expr) -> Option<&ScalarValue> {
    match expression {
        Expr::Literal(scalar, _) => Some(scalar),
        _ => None,
    }
}

fn not(expression: Expression) -> Expression {
    match expression {
        Expression::Not(inner) => *inner,
        other => Expression::Not(Box::new(other)),
    }
}

/// True where the condition is, false where it is false or unknown.
fn known(condition: Expression) -> Expression {
    Expression::Case {
        branches: vec![(condition, Expression::truth())],
        otherwise: Some(Box::new(Expression::Not(Box::new(Expression::truth())))),
    }
}

/// Chains of one connective become one list, so that their nesting doesn't matter.
fn joined(
    left: Expression,
    right: Expression,
    split: impl Fn(Expression) -> Result<Vec<Expression>, Expression>,
    join: impl Fn(Vec<Expression>) -> Expression,
) -> Expression {
    let mut parts = vec![];
    for side in [left, right] {
        match split(side) {
            Ok(more) => parts.extend(more),
            Err(single) => parts.push(single),
        }
    }
    join(parts)
}

fn date_unit(text: &str) -> Option<DateUnit> {
    Some(match text.to_lowercase().as_str() {
        "year" => DateUnit::Year,
        "quarter" => DateUnit::Quarter,
        "month" => DateUnit::Month,
        "week" => DateUnit::Week,
        "day" => DateUnit::Day,
        "dow" => DateUnit::DayOfWeek,
        "doy" => DateUnit::DayOfYear,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interval_of_the_least_integer_is_too_long() {
        assert_eq!(signed_within(i32::MIN, 1, 400_000), None);
        assert_eq!(signed_within(i32::MIN, -1, 400_000), None);
        assert_eq!(signed_within(400_000, -1, 400_000), Some(-400_000));
    }
}
