//! Trusted. The end of a pass: each row's group and amounts, and the bounded sum of them.
//!
//! Promise: rows of a person are handed over together, whole persons at a time where it can be; a
//! row whose unit falls stops the execution.

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, AsArray, Int64Array, RecordBatch},
        datatypes::{DataType as ArrowType, Int64Type, Schema, SchemaRef},
    },
    common::{Result as EngineResult, ScalarValue, internal_err},
    execution::SessionState,
    logical_expr::Expr,
};
use skerry_privacy::contribution::{Amounts, BoundedSum, NO_GROUP as NONE};

use super::{
    evaluate::Evaluator,
    kept::{Keeping, KeptBatch},
    operator::{Operator, batch_of},
    rows::names,
    units::Units,
};
use crate::plan::rebuild::row::Groups;

/// Combinations of keys' codes for which a table is made, at most.
const MOST_COMBINATIONS: usize = 1 << 18;

/// What is found out of each row. Each thread has its own.
#[derive(Debug, Clone)]
pub struct Contributions {
    unit: usize,
    keys: Vec<Evaluator>,
    position: Position,
    amounts: Vec<Evaluator>,
    /// What amounts are made of, by place.
    made_of: Vec<usize>,
    columns: SchemaRef,
    codes: Vec<u32>,
    groups: Vec<u32>,
    ends: Vec<usize>,
}

/// From combined codes to the group's position.
#[derive(Debug, Clone)]
enum Position {
    /// There is one group, or none.
    Alone,
    /// By the combination; [`NONE`] for none.
    Table {
        radices: Vec<u32>,
        /// Nothing where a combination is its group's position.
        positions: Option<Vec<u32>>,
    },
}

impl Contributions {
    /// Over the rows of an operator; nothing where there are too many combinations of keys.
    ///
    /// # Errors
    /// If the engine refuses an expression.
    pub fn new(
        rows: &Operator,
        unit: &str,
        groups: &Groups,
        keys: &[Expr],
        amounts: &[Expr],
        state: &SessionState,
    ) -> EngineResult<Option<Self>> {
        let evaluators = |expressions: &[Expr], schema: &Schema, data_type: &ArrowType| {
            expressions
                .iter()
                .map(|value| Evaluator::new(value, schema, state)?.of_type(data_type))
                .collect::<EngineResult<Vec<_>>>()
        };
        let used: BTreeSet<&str> = amounts.iter().flat_map(names).collect();
        let made_of = used
            .into_iter()
            .map(|name| rows.position(name))
            .collect::<EngineResult<Vec<_>>>()?;
        let columns = Arc::new(rows.schema().project(&made_of)?);
        let position = if keys.is_empty() {
            Position::Alone
        } else {
            let radices: Vec<usize> = groups.radices().collect();
            let combinations = radices
                .iter()
                .try_fold(1_usize, |product, radix| product.checked_mul(*radix));
            let Some(combinations) = combinations.filter(|all| *all <= MOST_COMBINATIONS) else {
                return Ok(None);
            };
            let position = |combined: usize| groups.position(combined as u64).unwrap_or(NONE);
            let positions: Vec<u32> = (0..combinations).map(position).collect();
            let same = (0..)
                .zip(&positions)
                .all(|(own, position)| own == *position);
            Position::Table {
                radices: radices.into_iter().map(|radix| radix as u32).collect(),
                positions: (!same).then_some(positions),
            }
        };
        Ok(Some(Self {
            unit: rows.position(unit)?,
            keys: evaluators(keys, rows.schema(), &ArrowType::UInt32)?,
            position,
            amounts: evaluators(amounts, &columns, &ArrowType::Int64)?,
            made_of,
            columns,
            codes: vec![],
            groups: vec![],
            ends: vec![],
        }))
    }

    /// The columns that amounts are made of.
    #[must_use]
    pub fn columns(&self) -> &SchemaRef {
        &self.columns
    }

    /// Adds rows that go on where those before ended; what is found out of them may be kept.
    ///
    /// # Errors
    /// If they don't, or the engine fails.
    pub fn add(
        &mut self,
        batch: &RecordBatch,
        sum: &mut BoundedSum,
        person: &mut Last,
        keep: Option<(&Keeping, &mut Vec<KeptBatch>)>,
    ) -> EngineResult<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.find_groups(batch)?;
        let units = Units::of(batch.column(self.unit))?;
        if !units.rise() || !person.goes_on(units) {
            return internal_err!("the rows are not sorted by the unit");
        }
        units.ends(&mut self.ends);
        let goes_on = person.is(units, 0);
        person.set(units, units.len() - 1);
        let columns = self.made_of.iter().map(|at| Arc::clone(batch.column(*at)));
        let columns = batch_of(&self.columns, columns.collect(), batch.num_rows())?;
        if let Some((keeping, kept)) = keep {
            keeping.add(kept, &self.groups, &self.ends, goes_on, &columns);
        }
        self.add_found(&columns, goes_on, sum)
    }

    /// Adds rows of which everything was found out before.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn add_kept(&mut self, batch: &KeptBatch, sum: &mut BoundedSum) -> EngineResult<()> {
        batch.write(&mut self.groups, &mut self.ends);
        let columns = batch.columns(&self.columns)?;
        self.add_found(&columns, batch.goes_on, sum)
    }

    /// Adds rows of these groups and persons. The first person goes on from the rows before, or not.
    fn add_found(
        &mut self,
        batch: &RecordBatch,
        goes_on: bool,
        sum: &mut BoundedSum,
    ) -> EngineResult<()> {
        let values = self
            .amounts
            .iter_mut()
            .map(|amount| match amount.constant() {
                Some(ScalarValue::Int64(amount)) => Ok(Value::Same(*amount)),
                Some(_) => internal_err!("an amount is no integer"),
                None => {
                    let values = amount.evaluate(batch)?;
                    match values.as_primitive_opt::<Int64Type>() {
                        Some(values) => Ok(Value::Rows(values.clone())),
                        None => internal_err!("an amount is no integer"),
                    }
                }
            })
            .collect::<EngineResult<Vec<_>>>()?;
        let nulls: Vec<Option<Vec<bool>>> = values.iter().map(Value::known).collect();
        let amounts: Vec<Amounts<'_>> = values
            .iter()
            .zip(&nulls)
            .map(|(value, known)| match value {
                Value::Same(None) => Amounts::Nothing,
                Value::Same(Some(amount)) => Amounts::Same(*amount),
                Value::Rows(values) => Amounts::Rows {
                    amounts: values.values(),
                    known: known.as_deref(),
                },
            })
            .collect();
        if !goes_on {
            sum.finish_person();
        }
        let rows = batch.num_rows();
        // The first person may have begun before, and the last may go on: these are added row by
        // row, and those between as a whole.
        let (Some(last), Some(first_end)) = (self.ends.len().checked_sub(2), self.ends.first())
        else {
            // One person alone.
            return add_rows(sum, 0..rows, &self.groups, &amounts);
        };
        let first_end = *first_end;
        add_rows(sum, 0..first_end, &self.groups, &amounts)?;
        sum.finish_person();
        if sum
            .add_persons(first_end, &self.ends[1..=last], &self.groups, &amounts)
            .is_err()
        {
            return internal_err!("a row is outside the groups");
        }
        add_rows(sum, self.ends[last]..rows, &self.groups, &amounts)
    }

    /// Each row's group over `groups`.
    fn find_groups(&mut self, batch: &RecordBatch) -> EngineResult<()> {
        let rows = batch.num_rows();
        self.groups.clear();
        let Position::Table { radices, positions } = &self.position else {
            self.groups.resize(rows, 0);
            return Ok(());
        };
        for (key, (evaluator, radix)) in self.keys.iter_mut().zip(radices).enumerate() {
            evaluator.codes(batch, &mut self.codes)?;
            if key == 0 {
                std::mem::swap(&mut self.groups, &mut self.codes);
                continue;
            }
            for (combined, code) in self.groups.iter_mut().zip(&self.codes) {
                *combined = if *combined == NONE || *code == NONE {
                    NONE
                } else {
                    // At most the number of combinations.
                    *combined * radix + code
                };
            }
        }
        if let Some(positions) = positions {
            for group in &mut self.groups {
                *group = positions.get(*group as usize).copied().unwrap_or(NONE);
            }
        }
        Ok(())
    }
}

enum Value {
    Same(Option<i64>),
    Rows(Int64Array),
}

impl Value {
    fn known(&self) -> Option<Vec<bool>> {
        match self {
            Self::Same(_) => None,
            Self::Rows(values) => values
                .nulls()
                .filter(|nulls| nulls.null_count() > 0)
                .map(|nulls| nulls.iter().collect()),
        }
    }
}

/// The person of the row before.
#[derive(Debug, Default)]
pub enum Last {
    /// There was none.
    #[default]
    Nobody,
    /// Known by an integer.
    Integer(i64),
    /// Known by a text.
    Text(String),
}

impl Last {
    /// Whether rows with these units may come next.
    #[must_use]
    pub fn goes_on(&self, units: Units<'_>) -> bool {
        match (self, units) {
            (Self::Nobody, _) => true,
            (Self::Integer(last), Units::Integers(units)) => {
                units.first().is_none_or(|first| last <= first)
            }
            (Self::Text(last), Units::Texts(units)) => {
                units.is_empty() || last.as_str() <= units.value(0)
            }
            (Self::Integer(_), Units::Texts(_)) | (Self::Text(_), Units::Integers(_)) => false,
        }
    }

    fn is(&self, units: Units<'_>, row: usize) -> bool {
        match (self, units) {
            (Self::Integer(last), Units::Integers(units)) => *last == units[row],
            (Self::Text(last), Units::Texts(units)) => last == units.value(row),
            (Self::Nobody, _)
            | (Self::Integer(_), Units::Texts(_))
            | (Self::Text(_), Units::Integers(_)) => false,
        }
    }

    /// The person of this row.
    pub fn set(&mut self, units: Units<'_>, row: usize) {
        *self = match units {
            Units::Integers(units) => Self::Integer(units[row]),
            Units::Texts(units) => Self::Text(units.value(row).to_owned()),
        };
    }
}

/// Adds rows of the current person one by one.
fn add_rows(
    sum: &mut BoundedSum,
    rows: std::ops::Range<usize>,
    groups: &[u32],
    amounts: &[Amounts<'_>],
) -> EngineResult<()> {
    for row in rows {
        if groups[row] == NONE {
            continue;
        }
        let of_row = amounts.iter().map(|amounts| amounts.of(row));
        if sum.add(groups[row] as usize, of_row).is_err() {
            return internal_err!("a row is outside the groups");
        }
    }
    Ok(())
}
