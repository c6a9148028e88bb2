//! Trusted. Expressions over one column with few values, evaluated once for each value.
//!
//! Promise: row by row what the engine gives for the same expression. Expressions are pure, so a
//! value that comes again gives the same again; and total, so a value that is in no row does no harm.

use std::{ops::Range, sync::Arc};

use datafusion::{
    arrow::{
        array::{
            Array, ArrayData, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch,
            UInt32Array, new_null_array,
        },
        buffer::{BooleanBuffer, Buffer},
        compute,
        datatypes::{
            DataType as ArrowType, Field, Int64Type, Schema, SchemaRef, UInt8Type, UInt16Type,
            UInt32Type,
        },
    },
    common::{DFSchema, Result as EngineResult, internal_err},
    execution::SessionState,
    logical_expr::Expr,
    physical_expr::PhysicalExpr,
};

/// Values of a column of numbers or dates for which a table is made, at most: from the least to
/// the greatest.
const MOST_VALUES: i64 = 1 << 14;

/// An expression over one column, and what it gives for the values seen so far.
#[derive(Debug, Clone)]
pub struct Lookup {
    column: usize,
    by: By,
    /// Over the one column, in the type in which its values are put.
    schema: SchemaRef,
    of_value: Arc<dyn PhysicalExpr>,
    known: Option<Known>,
    /// Each row's place among what is known.
    places: Vec<u32>,
}

/// How a value leads to its place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// By its code.
    Code,
    /// False, true.
    Truth,
    /// By the distance from the least value.
    Distance,
}

impl By {
    /// For a column of this type; nothing for types that have too many values.
    #[must_use]
    pub fn of_type(data_type: &ArrowType) -> Option<Self> {
        match data_type {
            ArrowType::Dictionary(_, _) => Some(Self::Code),
            ArrowType::Boolean => Some(Self::Truth),
            ArrowType::Int8
            | ArrowType::Int16
            | ArrowType::Int32
            | ArrowType::Int64
            | ArrowType::UInt8
            | ArrowType::UInt16
            | ArrowType::UInt32
            | ArrowType::Date32 => Some(Self::Distance),
            _ => None,
        }
    }
}

/// What the expression gives for some values of the column; in the last place, for NULL.
#[derive(Debug, Clone)]
struct Known {
    /// The words, held so that no others take their place in memory.
    words: Option<ArrayData>,
    /// The least value, and how many there are.
    from: i64,
    count: i64,
    results: ArrayRef,
    /// The results, where they are truth values: whether they are true.
    truths: Vec<bool>,
    /// Where they are true, if that is one range: of an equality, or of an order.
    true_within: Option<Range<u32>>,
    /// The results, where they are codes: `u32::MAX` for none.
    codes: Vec<u32>,
}

impl Lookup {
    /// An expression over the column at this place, whose codes count as words.
    ///
    /// # Errors
    /// If the engine refuses it.
    pub fn new(
        expression: &Expr,
        column: usize,
        by: By,
        plain: &Field,
        state: &SessionState,
    ) -> EngineResult<Self> {
        let field = plain.clone().with_nullable(true);
        let schema = Arc::new(Schema::new(vec![field]));
        let names = DFSchema::try_from(Arc::clone(&schema))?;
        Ok(Self {
            column,
            by,
            of_value: state.create_physical_expr(expression.clone(), &names)?,
            schema,
            known: None,
            places: vec![],
        })
    }

    /// Its values.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn evaluate(&mut self, batch: &RecordBatch) -> EngineResult<ArrayRef> {
        if !self.prepare(batch)? {
            return self.of(Arc::clone(batch.column(self.column)));
        }
        let Some(known) = &self.known else {
            return internal_err!("nothing is known");
        };
        let places = UInt32Array::from(std::mem::take(&mut self.places));
        Ok(compute::take(&known.results, &places, None)?)
    }

    /// The rows for which it is true; nothing if they aren't to be looked up.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn truths(&mut self, batch: &RecordBatch) -> EngineResult<Option<BooleanBuffer>> {
        if let Some(column) = self.as_it_is(batch) {
            return Ok(Some(column));
        }
        if !self.prepare(batch)? {
            return Ok(None);
        }
        let Some(known) = &self.known else {
            return internal_err!("nothing is known");
        };
        let (truths, places) = (&known.truths, &self.places);
        if truths.is_empty() {
            return internal_err!("a condition is not boolean");
        }
        Ok(Some(match &known.true_within {
            Some(range) => within(places, range),
            None => BooleanBuffer::collect_bool(places.len(), |row| truths[places[row] as usize]),
        }))
    }

    /// Adds its values as codes, `u32::MAX` for NULL. False if they aren't to be looked up.
    ///
    /// # Errors
    /// If the engine fails.
    pub fn codes(&mut self, batch: &RecordBatch, codes: &mut Vec<u32>) -> EngineResult<bool> {
        if !self.prepare(batch)? {
            return Ok(false);
        }
        let Some(known) = &self.known else {
            return internal_err!("nothing is known");
        };
        let table = &known.codes;
        if table.is_empty() {
            return internal_err!("a key's code is not one");
        }
        codes.extend(self.places.iter().map(|place| table[*place as usize]));
        Ok(true)
    }

    /// A column of truth values for which the expression gives what is there.
    fn as_it_is(&self, batch: &RecordBatch) -> Option<BooleanBuffer> {
        let known = self.known.as_ref().filter(|_| self.by == By::Truth)?;
        let column = batch.column(self.column).as_boolean();
        (known.truths == [false, true, false] && column.null_count() == 0)
            .then(|| column.values().clone())
    }

    /// Finds each row's place in the table; the table is made, or made larger, before. False if
    /// the column has too many values.
    fn prepare(&mut self, batch: &RecordBatch) -> EngineResult<bool> {
        let column = batch.column(self.column);
        self.places.clear();
        match self.by {
            By::Code => self.by_code(column)?,
            By::Truth => {
                if self.known.is_none() {
                    let values: ArrayRef = Arc::new(BooleanArray::from(vec![false, true]));
                    self.know(&values, None, 0)?;
                }
                let column = column.as_boolean();
                self.places.extend(column.iter().map(|value| match value {
                    Some(false) => 0,
                    Some(true) => 1,
                    None => 2,
                }));
            }
            By::Distance => return self.by_distance(column),
        }
        Ok(true)
    }

    fn by_code(&mut self, column: &ArrayRef) -> EngineResult<()> {
        let Some(codes) = column.as_any_dictionary_opt() else {
            return internal_err!("a column is not codes");
        };
        let words = codes.values();
        let own = words.to_data();
        let known = self.known.as_ref().and_then(|known| known.words.as_ref());
        if !known.is_some_and(|known| known.ptr_eq(&own)) {
            self.know(words, Some(own), 0)?;
        }
        let null = words.len() as u32;
        let keys = codes.keys();
        let nulls = keys.nulls();
        match keys.data_type() {
            ArrowType::UInt8 => {
                let keys = keys.as_primitive::<UInt8Type>().values().iter();
                self.places.extend(keys.map(|code| u32::from(*code)));
            }
            ArrowType::UInt16 => {
                let keys = keys.as_primitive::<UInt16Type>().values().iter();
                self.places.extend(keys.map(|code| u32::from(*code)));
            }
            _ => return internal_err!("codes of another type"),
        }
        if let Some(nulls) = nulls {
            for (place, known) in self.places.iter_mut().zip(nulls) {
                if !known {
                    *place = null;
                }
            }
        }
        Ok(())
    }

    fn by_distance(&mut self, column: &ArrayRef) -> EngineResult<bool> {
        let whole = whole_numbers(column)?;
        let values = whole.as_primitive::<Int64Type>();
        if let (Some(least), Some(greatest)) = (compute::min(values), compute::max(values)) {
            let known = self.known.as_ref().filter(|known| known.count > 0);
            let fits = known.is_some_and(|known| {
                known.from <= least && greatest < known.from.saturating_add(known.count)
            });
            if !fits {
                let (from, to) = match known {
                    Some(known) => (
                        known.from.min(least),
                        greatest.max(known.from.saturating_add(known.count - 1)),
                    ),
                    None => (least, greatest),
                };
                if to.saturating_sub(from) >= MOST_VALUES {
                    return Ok(false);
                }
                let all: ArrayRef = Arc::new(Int64Array::from_iter_values(from..=to));
                let all = from_whole_numbers(&all, column.data_type())?;
                self.know(&all, None, from)?;
            }
        } else if self.known.is_none() {
            self.know(&column.slice(0, 0), None, 0)?;
        }
        let Some(known) = &self.known else {
            return internal_err!("nothing is known");
        };
        let null = known.count as u32;
        let from = known.from;
        self.places.reserve(values.len());
        match values.nulls() {
            None => {
                let places = values.values().iter();
                self.places
                    .extend(places.map(|value| value.wrapping_sub(from) as u32));
            }
            Some(_) => self.places.extend(
                values
                    .iter()
                    .map(|value| value.map_or(null, |value| value.wrapping_sub(from) as u32)),
            ),
        }
        Ok(true)
    }

    /// Evaluates the expression for these values and for NULL.
    fn know(&mut self, values: &ArrayRef, words: Option<ArrayData>, from: i64) -> EngineResult<()> {
        let null = new_null_array(values.data_type(), 1);
        let values = compute::concat(&[values.as_ref(), null.as_ref()])?;
        let count = values.len();
        let results = self.of(values)?;
        if results.len() != count {
            return internal_err!("an expression gives more or less than a value a row");
        }
        let truths: Vec<bool> = match results.as_boolean_opt() {
            Some(truths) => truths.iter().map(|truth| truth == Some(true)).collect(),
            None => vec![],
        };
        let first = truths.iter().position(|truth| *truth).unwrap_or(0);
        let after = first + truths.iter().filter(|truth| **truth).count();
        let together = truths[first..after].iter().all(|truth| *truth);
        let codes = match results.as_primitive_opt::<UInt32Type>() {
            Some(codes) => codes.iter().map(|code| code.unwrap_or(u32::MAX)).collect(),
            None => vec![],
        };
        self.known = Some(Known {
            words,
            from,
            count: count as i64 - 1,
            results,
            truths,
            true_within: together.then_some(first as u32..after as u32),
            codes,
        });
        Ok(())
    }

    fn of(&self, values: ArrayRef) -> EngineResult<ArrayRef> {
        let rows = values.len();
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), vec![values])?;
        self.of_value.evaluate(&batch)?.into_array(rows)
    }
}

/// Which places are in the range; compiled as [`rise`](crate::prepared) is. `collect_bool` asks for each row by its number,
/// whose check keeps it from vector instructions.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2", "x86_64+sse4.2"))]
fn within(places: &[u32], range: &Range<u32>) -> BooleanBuffer {
    let (from, count) = (range.start, range.end - range.start);
    let word = |places: &[u32]| {
        places.iter().enumerate().fold(0_u64, |word, (bit, place)| {
            word | u64::from(place.wrapping_sub(from) < count) << bit
        })
    };
    let (whole, rest) = places.as_chunks::<{ u64::BITS as usize }>();
    let mut words: Vec<u64> = Vec::with_capacity(whole.len() + 1);
    words.extend(whole.iter().map(|places| word(places)));
    if !rest.is_empty() {
        words.push(word(rest));
    }
    BooleanBuffer::new(Buffer::from_vec(words), 0, places.len())
}

fn whole_numbers(column: &ArrayRef) -> EngineResult<ArrayRef> {
    Ok(match column.data_type() {
        ArrowType::Int64 => Arc::clone(column),
        // A date counts as its days.
        ArrowType::Date32 => compute::cast(
            &compute::cast(column, &ArrowType::Int32)?,
            &ArrowType::Int64,
        )?,
        _ => compute::cast(column, &ArrowType::Int64)?,
    })
}

fn from_whole_numbers(numbers: &ArrayRef, data_type: &ArrowType) -> EngineResult<ArrayRef> {
    Ok(match data_type {
        ArrowType::Date32 => compute::cast(&compute::cast(numbers, &ArrowType::Int32)?, data_type)?,
        _ => compute::cast(numbers, data_type)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn places_in_a_range_are_found(
            places in proptest::collection::vec(0_u32..12, 0..300), from in 0_u32..12, count in 0_u32..12,
        ) {
            let range = from..from + count;
            let found: Vec<bool> = within(&places, &range).iter().collect();
            let expected: Vec<bool> = places.iter().map(|place| range.contains(place)).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
