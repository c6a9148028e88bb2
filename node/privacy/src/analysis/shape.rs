//! What is public about a relation: types, ranges, values, rows a person.

use std::collections::{BTreeMap, BTreeSet};

use skerry_proto::{DataType, ErrorCode, Refusal};

use super::{
    image::Images,
    interval::{Interval, interval},
};
use crate::question::{Expression, TypeError};

/// Rows that a person may have anywhere in a question; beyond, the noise would drown everything.
pub const MAX_ROWS_PER_PERSON: u64 = 1 << 22;

/// Parts of an expression over atoms, at most; a longer one counts as not public.
const MAX_SYMBOL: usize = 2_000;

/// What is public about a relation.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Of each column.
    pub columns: Vec<ColumnShape>,
    /// Rows that a person has, at most, if the owner's declarations hold; nothing for a public
    /// relation.
    pub rows_per_person: Option<u64>,
    /// Conditions over atoms of `Images` that each row meets.
    pub constraints: Vec<Expression>,
}

/// What is public about a column.
#[derive(Debug, Clone)]
pub struct ColumnShape {
    /// Type.
    pub data_type: DataType,
    /// Values that are numbers, dates (in days) or timestamps (in microseconds).
    pub interval: Interval,
    /// Whether NULL is among the values of rows that keep the owner's declarations.
    pub nulls: bool,
    /// How the column follows from atoms with public values.
    pub symbol: Option<Expression>,
    /// Whether all rows of a person have the same value.
    pub of_person: bool,
    /// Whether this is the privacy unit.
    pub unit: bool,
    /// Whether this is computed from the privacy unit, and could so tell persons apart.
    pub of_unit: bool,
    /// Rows of one person that have the same value, at most.
    pub repeats: u64,
}

impl Shape {
    /// The columns' types.
    #[must_use]
    pub fn types(&self) -> Vec<DataType> {
        self.columns.iter().map(|column| column.data_type).collect()
    }

    /// The columns' intervals.
    #[must_use]
    pub fn intervals(&self) -> Vec<Interval> {
        self.columns.iter().map(|column| column.interval).collect()
    }

    /// The same expression over atoms, if all its columns follow from atoms.
    #[must_use]
    pub fn symbol(&self, expression: &Expression) -> Option<Expression> {
        // Projections above each other could double an expression again and again.
        let mut size = expression.size_within(MAX_SYMBOL)?;
        let mut sizes = BTreeMap::new();
        expression.visit_columns(&mut |index| {
            let of_column = *sizes.entry(index).or_insert_with(|| {
                let symbol = self.columns.get(index)?.symbol.as_ref()?;
                symbol.size_within(MAX_SYMBOL)
            });
            size = size.saturating_add(of_column.unwrap_or(0));
        });
        if size > MAX_SYMBOL {
            return None;
        }
        expression.substitute(&|index| self.columns.get(index)?.symbol.clone())
    }

    /// Whether all rows of a person have the same value of this.
    #[must_use]
    pub fn is_of_person(&self, expression: &Expression) -> bool {
        self.all_columns(expression, |column| column.of_person)
    }

    /// Whether the expression is the privacy unit: its column, or a number of it written as a text,
    /// which tells persons apart as the number does.
    fn is_unit(&self, expression: &Expression) -> bool {
        let column = |expression: &Expression| match expression {
            Expression::Column(index) => self.columns.get(*index).filter(|column| column.unit),
            _ => None,
        };
        match expression {
            Expression::Cast { value, to } => {
                *to == DataType::Text
                    && column(value).is_some_and(|column| column.data_type == DataType::Integer)
            }
            own => column(own).is_some(),
        }
    }

    /// Whether the expression names the privacy unit, or what is computed from it. Whether there is
    /// one at all says nothing about who it is.
    #[must_use]
    pub fn names_unit(&self, expression: &Expression) -> bool {
        match expression {
            Expression::IsNull(_) => false,
            Expression::Column(index) => self
                .columns
                .get(*index)
                .is_none_or(|column| column.unit || column.of_unit),
            composed => composed
                .children()
                .into_iter()
                .any(|part| self.names_unit(part)),
        }
    }

    fn all_columns(&self, expression: &Expression, holds: impl Fn(&ColumnShape) -> bool) -> bool {
        let mut used = BTreeSet::new();
        expression.collect_columns(&mut used);
        used.into_iter()
            .all(|index| self.columns.get(index).is_some_and(&holds))
    }

    /// What is public about a column computed from this relation's.
    ///
    /// # Errors
    /// If the expression is ill-typed.
    pub(super) fn derive(
        &self,
        expression: &Expression,
        images: &mut Images,
    ) -> Result<ColumnShape, Refusal> {
        let types = self.types();
        let own = if let Expression::Column(index) = expression {
            self.columns.get(*index)
        } else {
            None
        };
        Ok(ColumnShape {
            data_type: expression.data_type(&types).map_err(ill_typed)?,
            interval: interval(expression, &self.intervals(), &types),
            nulls: self.may_be_null(expression),
            symbol: self.public_symbol(expression, images),
            of_person: self.is_of_person(expression),
            unit: self.is_unit(expression),
            of_unit: self.names_unit(expression),
            repeats: own.map_or(u64::MAX, |column| column.repeats),
        })
    }

    /// With one row a person, everything is a fact of the person.
    pub(super) fn settle(mut self) -> Result<Self, Refusal> {
        if self.rows_per_person == Some(1) {
            for column in &mut self.columns {
                column.of_person = true;
            }
        }
        match self.rows_per_person {
            Some(rows) if rows > MAX_ROWS_PER_PERSON => Err(Refusal::new(
                ErrorCode::TooLarge,
                format!("a person could have {rows} rows in this question"),
                "join with tables that have fewer rows a person, or aggregate one side per person first",
            )),
            Some(_) | None => Ok(self),
        }
    }
}

pub(super) fn ill_typed(error: TypeError) -> Refusal {
    Refusal::new(ErrorCode::PlanRefused, error.to_string(), "")
}

pub(super) fn refused(message: &str) -> Refusal {
    Refusal::new(ErrorCode::PlanRefused, message, "")
}
