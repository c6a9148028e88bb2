//! How an expression follows from atoms with public values, whatever else it ranges over.
//!
//! A *symbol* stands for an expression over a relation's columns. **Statement.** For each row that
//! keeps the owner's declarations there is a choice of one row of each source for which every
//! symbol made so far has the value of its expression on that row. So the image of a symbol holds
//! all values of the expression.
//!
//! **Proof.** A column's own symbol has this by construction, and an expression over symbols has
//! the value of the same expression over the columns. Where that is not to be had, since a column
//! has no public values or since all combinations are too many, a part is replaced by an atom of
//! its own, whose source holds all values that the part can have: the row's value is among them,
//! and no other symbol constrains the choice. ∎
//!
//! So `CASE WHEN cost > 100 THEN 'a' ELSE 'b' END` has the image {a, b} though nothing is public
//! about `cost`. Such an image can be too large (zero groups), never too small (rows in no group).

use std::collections::BTreeSet;

use skerry_proto::{DataType, Value, limit};

use super::{
    image::{Images, Source},
    interval::interval,
    shape::Shape,
};
use crate::question::{Expression, Function};

impl Shape {
    /// The symbol of an expression: the exact one where its image can be evaluated, else one whose
    /// image holds the exact one's. Nothing where no finite image is known.
    #[must_use]
    pub fn public_symbol(
        &self,
        expression: &Expression,
        images: &mut Images,
    ) -> Option<Expression> {
        let exact = self
            .symbol(expression)
            .filter(|symbol| images.is_feasible(symbol));
        if exact.is_some() {
            return exact;
        }
        let loose = self.symbol_of_parts(expression, images);
        match loose.filter(|symbol| images.is_feasible(symbol)) {
            Some(symbol) => Some(symbol),
            None => self.atom_of_interval(expression, images),
        }
    }

    fn symbol_of_parts(&self, expression: &Expression, images: &mut Images) -> Option<Expression> {
        // Deep expressions are looked at once for each level.
        if !images.spend(expression.size_within(limit::PLAN_FIELDS)?) {
            return None;
        }
        match expression {
            Expression::Column(_)
            | Expression::Literal { .. }
            | Expression::Not(_)
            | Expression::IsNull(_)
            | Expression::And(_)
            | Expression::Or(_)
            | Expression::Compare { .. }
            | Expression::In { .. }
            | Expression::Like { .. } => None,
            Expression::Case {
                branches,
                otherwise,
            } => {
                let values = branches.iter().map(|(_, value)| value);
                let all = values.chain(otherwise.as_deref());
                self.atom_of_any(all, self.may_be_null(expression), images)
            }
            Expression::Call {
                function: Function::Coalesce | Function::Greatest | Function::Least,
                arguments,
            } => self.atom_of_any(arguments.iter(), self.may_be_null(expression), images),
            Expression::Call {
                function: Function::NullIf,
                arguments,
            } => self.atom_of_any(arguments.iter().take(1), true, images),
            // Parts of a timestamp that hang on its day alone.
            Expression::Call {
                function: function @ (Function::DatePart(_) | Function::DateTruncate(_)),
                arguments,
            } if self.type_of(arguments.first()?) == Some(DataType::Timestamp) => {
                let day = Expression::Cast {
                    value: Box::new(arguments.first()?.clone()),
                    to: DataType::Date,
                };
                Some(Expression::Call {
                    function: function.clone(),
                    arguments: vec![self.public_symbol(&day, images)?],
                })
            }
            Expression::Arithmetic { .. } | Expression::Cast { .. } | Expression::Call { .. } => {
                expression.map_children(&mut |part| self.public_symbol(part, images))
            }
        }
    }

    fn type_of(&self, expression: &Expression) -> Option<DataType> {
        expression.data_type(&self.types()).ok()
    }

    /// An atom that can have each value of each of these, with NULL or without.
    fn atom_of_any<'a>(
        &self,
        parts: impl Iterator<Item = &'a Expression>,
        null: bool,
        images: &mut Images,
    ) -> Option<Expression> {
        let mut values = BTreeSet::new();
        for part in parts {
            if let Expression::Literal { value, .. } = part {
                values.insert(value.clone());
                continue;
            }
            let symbol = self.public_symbol(part, images)?;
            let image = images.groups(&[symbol], &self.constraints).ok()?;
            values.extend(image.into_iter().flatten());
            if values.len() > limit::GROUPS {
                return None;
            }
        }
        if null {
            values.insert(Value::Null);
        } else {
            values.remove(&Value::Null);
        }
        images.atom(Source::of_values(values))
    }

    /// An atom that can have each value within the expression's interval.
    fn atom_of_interval(&self, expression: &Expression, images: &mut Images) -> Option<Expression> {
        let data_type = self.type_of(expression)?;
        // A group for each person is not what anybody may ask for, so what is computed from the
        // unit has no public values.
        if self.names_unit(expression) {
            return None;
        }
        let within = interval(expression, &self.intervals(), &self.types());
        let null = self.may_be_null(expression);
        images.atom(Source::of_interval(data_type, within, null)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        analysis::{interval::Interval, shape::ColumnShape},
        question::{Comparison, DateUnit},
    };

    /// Columns: an integer and a float of which nothing is public, two dates with thousands of
    /// days, a kind out of two, a timestamp in one year.
    fn shape(images: &mut Images) -> Shape {
        let dates = Interval::new(0.0, 3_000.0);
        let kinds = ["x", "y"].map(|text| Value::Text(text.into()));
        let kinds = images.atom(Source::of_values(kinds));
        let mut column = |data_type, interval, nulls, symbol: Option<Expression>| ColumnShape {
            data_type,
            interval,
            nulls,
            symbol: symbol
                .or_else(|| images.atom(Source::of_interval(data_type, interval, nulls)?)),
            of_person: false,
            unit: false,
            of_unit: false,
            repeats: u64::MAX,
        };
        let day = 86_400_000_000.0;
        Shape {
            columns: vec![
                column(DataType::Integer, Interval::ALL, true, None),
                column(DataType::Float, Interval::ALL, true, None),
                column(DataType::Date, dates, false, None),
                column(DataType::Date, dates, false, None),
                column(DataType::Text, Interval::ALL, false, kinds),
                column(
                    DataType::Timestamp,
                    Interval::new(0.0, 364.5 * day),
                    false,
                    None,
                ),
            ],
            rows_per_person: Some(5),
            constraints: vec![],
        }
    }

    fn image(key: &Expression) -> Option<Vec<Value>> {
        let mut images = Images::default();
        let shape = shape(&mut images);
        let symbol = shape.public_symbol(key, &mut images)?;
        let groups = images.groups(&[symbol], &[]).unwrap();
        Some(groups.into_iter().flatten().collect())
    }

    fn compare(left: Expression, right: Expression) -> Expression {
        Expression::Compare {
            operator: Comparison::Less,
            left: left.into(),
            right: right.into(),
        }
    }

    fn text(value: &str) -> Expression {
        Expression::Literal {
            value: Value::Text(value.into()),
            data_type: DataType::Text,
        }
    }

    fn integer(value: i64) -> Expression {
        Expression::Literal {
            value: Value::Integer(value),
            data_type: DataType::Integer,
        }
    }

    fn texts(values: &[&str]) -> Vec<Value> {
        values
            .iter()
            .map(|text| Value::Text((*text).into()))
            .collect()
    }

    #[test]
    fn bands_over_anything_are_public() {
        let unknown = compare(Expression::Column(0), integer(65));
        let dates = compare(Expression::Column(2), Expression::Column(3));
        for condition in [unknown, dates] {
            let case = |otherwise: Option<Expression>| Expression::Case {
                branches: vec![(condition.clone(), text("a"))],
                otherwise: otherwise.map(Box::new),
            };
            assert_eq!(image(&case(Some(text("b")))).unwrap(), texts(&["a", "b"]));
            let or_kind = image(&case(Some(Expression::Column(4)))).unwrap();
            assert_eq!(or_kind, texts(&["a", "x", "y"]));
            let or_nothing = image(&case(None)).unwrap();
            assert_eq!(or_nothing, [texts(&["a"]), vec![Value::Null]].concat());
            let upper = Expression::Call {
                function: Function::Upper,
                arguments: vec![case(Some(text("b")))],
            };
            assert_eq!(image(&upper).unwrap(), texts(&["A", "B"]));
            let coalesced = Expression::Call {
                function: Function::Coalesce,
                arguments: vec![case(None), text("c")],
            };
            assert_eq!(image(&coalesced).unwrap(), texts(&["a", "c"]));
            // Of what a branch says nothing may be missing.
            let open = case(Some(Expression::Cast {
                value: Expression::Column(0).into(),
                to: DataType::Text,
            }));
            assert_eq!(image(&open), None);
        }
    }

    #[test]
    fn conditions_are_true_false_and_where_they_can_be_null() {
        let known = [Value::Boolean(false), Value::Boolean(true)];
        let dates = compare(Expression::Column(2), Expression::Column(3));
        assert_eq!(image(&dates).unwrap(), known);
        let unknown = compare(Expression::Column(0), integer(65));
        let with_null = [known.as_slice(), &[Value::Null]].concat();
        assert_eq!(image(&unknown).unwrap(), with_null);
        assert_eq!(image(&Expression::IsNull(unknown.into())).unwrap(), known);
    }

    #[test]
    fn whole_numbers_and_days_within_bounds_are_listed() {
        assert_eq!(image(&Expression::Column(0)), None);
        let days = Expression::Call {
            function: Function::DaysBetween,
            arguments: vec![Expression::Column(2), Expression::Column(3)],
        };
        assert_eq!(image(&days).unwrap().len(), 6_001);
        let months = Expression::Call {
            function: Function::DateTruncate(DateUnit::Month),
            arguments: vec![Expression::Column(5)],
        };
        assert_eq!(image(&months).unwrap().len(), 12);
        let year = Expression::Call {
            function: Function::DatePart(DateUnit::Year),
            arguments: vec![Expression::Column(5)],
        };
        assert_eq!(image(&year).unwrap(), [Value::Integer(1970)]);
        assert_eq!(image(&Expression::Column(5)), None);
    }
}
