//! Trusted. Lowers scalar expressions. What isn't named here, or beside this file, doesn't exist.

use datafusion::logical_expr::{Between, Case, Expr, Like, expr::InList};
use skerry_privacy::question::{Arithmetic, Comparison, Expression};
use skerry_proto::{DataType, ErrorCode, Refusal, Value, limit};

use super::{Scope, types::plain_value, unsupported};

pub(super) type Typed = (Expression, DataType);

pub(super) fn shown(expression: &Expr) -> String {
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
                    unsupported(&shown(expression), "intervals are added to dates")
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
}

pub(super) fn not(expression: Expression) -> Expression {
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
