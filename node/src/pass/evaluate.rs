//! Trusted. Expressions over the batches of a pass.
//!
//! Promise: row by row what the engine gives for the same expression. It is carried out by the engine,
//! but for parts that hang on one column alone: these may be looked up, see [`Lookup`]. What the engine
//! can't carry out is refused when it is made, whatever the rows are.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions},
        buffer::BooleanBuffer,
        compute,
        datatypes::{DataType as ArrowType, Field, Schema, SchemaRef, UInt32Type},
    },
    common::{
        Column, DFSchema, Result as EngineResult, ScalarValue, internal_err,
        tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    },
    execution::SessionState,
    logical_expr::{Expr, ExprSchemable as _},
    physical_expr::PhysicalExpr,
};

use super::lookup::{By, Lookup};

/// An expression, and what is known of its values so far. Each thread has its own.
#[derive(Debug, Clone)]
pub struct Evaluator {
    parts: Vec<Part>,
    /// Over the parts; nothing where the one part is all.
    whole: Option<(SchemaRef, Arc<dyn PhysicalExpr>)>,
    data_type: ArrowType,
}

#[derive(Debug, Clone)]
enum Part {
    /// A column as it is.
    Column(usize),
    /// A column of codes, as words.
    Words(usize),
    /// The same for all rows.
    Constant(ScalarValue),
    /// By a column's value.
    Lookup(Box<Lookup>),
}

impl Evaluator {
    /// Compiles an expression over columns of this schema. Columns of codes count as their words.
    ///
    /// # Errors
    /// If the engine refuses it, or can't carry it out.
    pub fn new(expression: &Expr, schema: &Schema, state: &SessionState) -> EngineResult<Self> {
        let evaluator = Self::compiled(expression, schema, state)?;
        // Types are the same without rows as with them.
        let no_rows = RecordBatch::new_empty(Arc::new(schema.clone()));
        let values = evaluator.clone().evaluate(&no_rows)?;
        let same = match values.data_type() {
            ArrowType::Dictionary(_, words) => **words == evaluator.data_type,
            other => *other == evaluator.data_type,
        };
        if !same || !values.is_empty() {
            return internal_err!("an expression gives other values than it says");
        }
        Ok(evaluator)
    }

    /// A condition.
    ///
    /// # Errors
    /// If the engine refuses it, or it is none.
    pub fn condition(
        expression: &Expr,
        schema: &Schema,
        state: &SessionState,
    ) -> EngineResult<Self> {
        Self::new(expression, schema, state)?.of_type(&ArrowType::Boolean)
    }

    /// The same, if its values are of this type.
    ///
    /// # Errors
    /// If they aren't.
    pub fn of_type(self, data_type: &ArrowType) -> EngineResult<Self> {
        if self.data_type != *data_type {
            return internal_err!(
                "an expression is of type {}, not {data_type}",
                self.data_type
            );
        }
        Ok(self)
    }

    fn compiled(expression: &Expr, schema: &Schema, state: &SessionState) -> EngineResult<Self> {
        let plain = plain_schema(schema);
        let names = DFSchema::try_from(Arc::clone(&plain))?;
        let data_type = expression.get_type(&names)?;
        let expression = expression.clone().unalias();
        if expression.column_refs().is_empty() {
            let row = one_row_without_columns()?;
            let value = state
                .create_physical_expr(expression, &DFSchema::empty())?
                .evaluate(&row)?
                .into_array(1)?;
            return Ok(Self {
                parts: vec![Part::Constant(ScalarValue::try_from_array(&value, 0)?)],
                whole: None,
                data_type,
            });
        }
        if let Expr::Column(column) = &expression {
            return Ok(Self {
                parts: vec![Part::Column(schema.index_of(&column.name)?)],
                whole: None,
                data_type,
            });
        }
        let mut parts: Vec<Part> = vec![];
        let mut seen: Vec<Expr> = vec![];
        let mut fields: Vec<Field> = vec![];
        let mut over_parts = expression.clone().transform_down(|part| {
            let found = match only_column(&part) {
                Some(name) => part_of(&part, schema.index_of(name)?, schema, state)?,
                None => None,
            };
            let Some(found) = found else {
                return Ok(Transformed::no(part));
            };
            let place = match seen.iter().position(|other| *other == part) {
                Some(place) => place,
                None => {
                    fields.push(Field::new(
                        format!("p{}", parts.len()),
                        part.get_type(&names)?,
                        true,
                    ));
                    parts.push(found);
                    seen.push(part);
                    parts.len() - 1
                }
            };
            let name = Expr::Column(Column::from_name(format!("p{place}")));
            Ok(Transformed::new(name, true, TreeNodeRecursion::Jump))
        })?;
        let whole = if let Expr::Column(_) = &over_parts.data {
            None
        } else {
            let schema = Arc::new(Schema::new(fields));
            let names = DFSchema::try_from(Arc::clone(&schema))?;
            let expression = std::mem::take(&mut over_parts.data);
            Some((schema, state.create_physical_expr(expression, &names)?))
        };
        Ok(Self {
            parts,
            whole,
            data_type,
        })
    }

    /// The type of its values; of a column of codes that of the words.
    #[must_use]
    pub fn data_type(&self) -> &ArrowType {
        &self.data_type
    }

    /// The value, if it is the same for all rows.
    #[must_use]
    pub fn constant(&self) -> Option<&ScalarValue> {
        match (&*self.parts, &self.whole) {
            ([Part::Constant(value)], None) => Some(value),
            (_, _) => None,
        }
    }

    /// Its values, with words in place of codes but for a bare column, which stays as it is.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn evaluate(&mut self, batch: &RecordBatch) -> EngineResult<ArrayRef> {
        let rows = batch.num_rows();
        let Some((schema, whole)) = &self.whole else {
            let Some(part) = self.parts.first_mut() else {
                return internal_err!("an expression without parts");
            };
            return part.evaluate(batch);
        };
        let columns = self
            .parts
            .iter_mut()
            .map(|part| part.evaluate(batch))
            .collect::<EngineResult<Vec<_>>>()?;
        let parts = RecordBatch::try_new(Arc::clone(schema), columns)?;
        whole.evaluate(&parts)?.into_array(rows)
    }

    /// The rows for which it is true.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn truths(&mut self, batch: &RecordBatch) -> EngineResult<BooleanBuffer> {
        if let (None, [Part::Lookup(lookup)]) = (&self.whole, &mut *self.parts)
            && let Some(truths) = lookup.truths(batch)?
        {
            return Ok(truths);
        }
        let values = self.evaluate(batch)?;
        let Some(values) = values.as_boolean_opt() else {
            return internal_err!("a condition is not boolean");
        };
        Ok(match values.nulls() {
            None => values.values().clone(),
            Some(nulls) => values.values() & nulls.inner(),
        })
    }

    /// Its values as codes, `u32::MAX` for NULL, written over `codes`.
    ///
    /// # Errors
    /// If the engine fails, or its values are no codes.
    pub fn codes(&mut self, batch: &RecordBatch, codes: &mut Vec<u32>) -> EngineResult<()> {
        codes.clear();
        if let (None, [Part::Lookup(lookup)]) = (&self.whole, &mut *self.parts)
            && lookup.codes(batch, codes)?
        {
            return Ok(());
        }
        let values = self.evaluate(batch)?;
        let Some(values) = values.as_primitive_opt::<UInt32Type>() else {
            return internal_err!("a key's code is not one");
        };
        if values.null_count() == 0 {
            codes.extend_from_slice(values.values());
        } else {
            codes.extend(values.iter().map(|code| code.unwrap_or(u32::MAX)));
        }
        Ok(())
    }
}

/// The name of the one column that an expression names.
fn only_column(expression: &Expr) -> Option<&str> {
    let mut columns = expression.column_refs().into_iter();
    match (columns.next(), columns.next()) {
        (Some(column), None) => Some(&column.name),
        (_, _) => None,
    }
}

/// Columns of codes as columns of words.
pub fn plain_schema(schema: &Schema) -> SchemaRef {
    let plain = |field: &Arc<Field>| match field.data_type() {
        ArrowType::Dictionary(_, words) => {
            Field::new(field.name(), words.as_ref().clone(), field.is_nullable())
        }
        _ => field.as_ref().clone(),
    };
    Arc::new(Schema::new(
        schema.fields().iter().map(plain).collect::<Vec<_>>(),
    ))
}

fn one_row_without_columns() -> EngineResult<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::empty()),
        vec![],
        &options,
    )?)
}

/// How a part that names one column is had; nothing if its own parts are to be looked at.
fn part_of(
    part: &Expr,
    column: usize,
    schema: &Schema,
    state: &SessionState,
) -> EngineResult<Option<Part>> {
    let Some(by) = By::of_type(schema.field(column).data_type()) else {
        let bare = matches!(part, Expr::Column(_));
        return Ok(bare.then_some(Part::Column(column)));
    };
    match (by, part) {
        (By::Code, Expr::Column(_)) => return Ok(Some(Part::Words(column))),
        (By::Truth | By::Distance, Expr::Column(_)) => return Ok(Some(Part::Column(column))),
        // The engine compares columns of these types faster than a table is looked up.
        (By::Truth | By::Distance, part) if !is_dear(part)? => return Ok(None),
        (By::Code | By::Truth | By::Distance, _) => {}
    }
    let plain = plain_schema(schema);
    let lookup = Lookup::new(part, column, by, plain.field(column), state)?;
    Ok(Some(Part::Lookup(Box::new(lookup))))
}

/// Whether evaluating it takes longer than looking it up.
fn is_dear(part: &Expr) -> EngineResult<bool> {
    part.exists(|part| {
        Ok(matches!(
            part,
            Expr::ScalarFunction(_) | Expr::Case(_) | Expr::InList(_) | Expr::Like(_)
        ))
    })
}

impl Part {
    fn evaluate(&mut self, batch: &RecordBatch) -> EngineResult<ArrayRef> {
        match self {
            Self::Column(index) => Ok(Arc::clone(batch.column(*index))),
            Self::Words(index) => {
                let column = batch.column(*index);
                let Some(codes) = column.as_any_dictionary_opt() else {
                    return internal_err!("a column is not codes");
                };
                Ok(compute::take(codes.values(), codes.keys(), None)?)
            }
            Self::Constant(value) => value.to_array_of_size(batch.num_rows()),
            Self::Lookup(lookup) => lookup.evaluate(batch),
        }
    }
}
