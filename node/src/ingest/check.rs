//! Holds rows against the owner's declarations, to tell the owner what answers will clip.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch},
        datatypes::{DataType as ArrowType, Int64Type, SchemaRef},
    },
    common::{DFSchema, Result as EngineResult, internal_err},
    logical_expr::{Expr, ident, lit},
    physical_expr::PhysicalExpr,
    prelude::SessionContext,
};
use serde::{Deserialize, Serialize};
use skerry_privacy::policy::{Domain, TablePolicy};
use skerry_proto::{DataType, Value};

use crate::plan::{lower::scalar, rebuild::as_read};

/// What was found in some rows. For the owner alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Rows.
    pub rows: u64,
    /// Persons.
    pub persons: u64,
    /// Persons with more rows than declared.
    pub persons_over: u64,
    /// Rows of these persons beyond the declared number.
    pub rows_over: u64,
    /// The most rows that a person has.
    pub most_rows: u64,
    /// Values outside the declared range or list, by column.
    pub outside: BTreeMap<String, u64>,
}

impl Found {
    /// Adds what was found in another partition.
    pub fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.persons += other.persons;
        self.persons_over += other.persons_over;
        self.rows_over += other.rows_over;
        self.most_rows = self.most_rows.max(other.most_rows);
        for (column, outside) in &other.outside {
            *self.outside.entry(column.clone()).or_default() += outside;
        }
    }
}

/// Checks the rows of one partition, which come sorted by the unit.
pub struct Check {
    most: u64,
    conditions: Vec<(String, Arc<dyn PhysicalExpr>)>,
    person: Option<Person>,
    rows_of_person: u64,
    found: Found,
}

#[derive(PartialEq)]
enum Person {
    Integer(i64),
    Text(String),
}

impl Check {
    /// For rows of this schema.
    ///
    /// # Errors
    /// If a declaration can't be compared with its column.
    pub fn new(
        policy: &TablePolicy,
        most: u64,
        schema: &SchemaRef,
        context: &SessionContext,
    ) -> EngineResult<Self> {
        let names = DFSchema::try_from(Arc::clone(schema))?;
        let mut conditions = vec![];
        for column in &policy.columns {
            let stored = schema.field_with_name(&column.name)?.data_type();
            let value = as_read(ident(&column.name), stored, column.data_type);
            let literal = |bound: &Value| match (bound, column.data_type) {
                (Value::Integer(whole), DataType::Float) => lit(*whole as f64),
                (bound, data_type) => Expr::Literal(scalar(bound, data_type), None),
            };
            let outside = match &column.domain {
                Domain::Unknown => continue,
                Domain::Range(low, high) => {
                    value.clone().lt(literal(low)).or(value.gt(literal(high)))
                }
                Domain::Values(values) => value.in_list(values.iter().map(literal).collect(), true),
            };
            let condition = context.create_physical_expr(outside, &names)?;
            conditions.push((column.name.clone(), condition));
        }
        Ok(Self {
            most,
            conditions,
            person: None,
            rows_of_person: 0,
            found: Found::default(),
        })
    }

    /// The next rows, and the column of their unit.
    ///
    /// # Errors
    /// If the engine fails, or the unit has another type.
    pub fn add(&mut self, batch: &RecordBatch, unit: &ArrayRef) -> EngineResult<()> {
        self.found.rows += batch.num_rows() as u64;
        match unit.data_type() {
            ArrowType::Int64 => {
                for unit in unit.as_primitive::<Int64Type>().values() {
                    self.row(
                        |person| matches!(person, Person::Integer(same) if same == unit),
                        || Person::Integer(*unit),
                    );
                }
            }
            ArrowType::Utf8 => {
                let units = unit.as_string::<i32>();
                for row in 0..units.len() {
                    let unit = units.value(row);
                    self.row(
                        |person| matches!(person, Person::Text(same) if same == unit),
                        || Person::Text(unit.to_owned()),
                    );
                }
            }
            _ => return internal_err!("the unit is neither an integer nor a text"),
        }
        for (column, condition) in &self.conditions {
            let outside = condition.evaluate(batch)?.into_array(batch.num_rows())?;
            let count = outside.as_boolean().true_count() as u64;
            if count > 0 {
                *self.found.outside.entry(column.clone()).or_default() += count;
            }
        }
        Ok(())
    }

    fn row(&mut self, same: impl Fn(&Person) -> bool, next: impl Fn() -> Person) {
        if !self.person.as_ref().is_some_and(same) {
            self.finish_person();
            self.person = Some(next());
        }
        self.rows_of_person += 1;
    }

    fn finish_person(&mut self) {
        if self.person.is_none() {
            return;
        }
        self.found.persons += 1;
        self.found.most_rows = self.found.most_rows.max(self.rows_of_person);
        if self.rows_of_person > self.most {
            self.found.persons_over += 1;
            self.found.rows_over += self.rows_of_person - self.most;
        }
        self.rows_of_person = 0;
    }

    /// What was found.
    #[must_use]
    pub fn finish(mut self) -> Found {
        self.finish_person();
        self.found
    }
}
