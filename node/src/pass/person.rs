//! Trusted. One row a person: sums over each person's rows.
//!
//! Promise: what the engine's own aggregates give for the same rows, grouped by the unit. No sum
//! hangs on the order of a person's rows (see [`PersonSum`]).

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{
            Array, ArrayRef, AsArray, Decimal128Array, Int64Array, PrimitiveArray, RecordBatch,
            UInt32Array,
        },
        buffer::NullBuffer,
        compute,
        datatypes::{
            ArrowPrimitiveType, DataType as ArrowType, Date32Type, Decimal128Type, Field,
            Float64Type, Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
        },
    },
    common::{Result as EngineResult, internal_err},
    execution::SessionState,
};

use super::{
    evaluate::Evaluator,
    given_up::GivenUp,
    operator::{Batches, Operator, batch_of},
    rows::{Rows, names},
    units::Units,
};
use crate::plan::rebuild::PersonSum;

/// One row a person, the same for all partitions.
#[derive(Debug)]
pub struct PerPerson {
    input: Operator,
    unit: usize,
    sums: Vec<Sum>,
    schema: SchemaRef,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Count,
    Sum,
    Minimum,
    Maximum,
}

#[derive(Debug, Clone)]
struct Sum {
    kind: Kind,
    argument: Evaluator,
    data_type: ArrowType,
}

impl PerPerson {
    /// The unit, and those of the sums that are wanted.
    ///
    /// # Errors
    /// If the engine refuses an expression.
    pub fn new(
        input: &Rows,
        unit: &(String, String),
        sums: &[(String, PersonSum)],
        needed: &BTreeSet<String>,
        state: &SessionState,
    ) -> EngineResult<Self> {
        let wanted: Vec<_> = sums
            .iter()
            .filter(|(name, _)| needed.contains(name))
            .map(|(name, sum)| match sum {
                PersonSum::Count(argument) => Ok((name, sum, Kind::Count, argument)),
                PersonSum::Sum(argument) => Ok((name, sum, Kind::Sum, argument)),
                PersonSum::Minimum(argument) | PersonSum::All(argument) => {
                    Ok((name, sum, Kind::Minimum, argument))
                }
                PersonSum::Maximum(argument) | PersonSum::Any(argument) => {
                    Ok((name, sum, Kind::Maximum, argument))
                }
                PersonSum::CountDistinct(_) => internal_err!("values are told apart by the engine"),
            })
            .collect::<EngineResult<_>>()?;
        let mut below = BTreeSet::from([unit.0.clone()]);
        for (_, _, _, argument) in &wanted {
            below.extend(names(argument).into_iter().map(str::to_owned));
        }
        let input = Operator::new(input, &below, state)?;
        let place = input.position(&unit.0)?;
        let mut fields = vec![input.schema().field(place).clone().with_name(&unit.1)];
        let mut sums = vec![];
        for (name, sum, kind, argument) in wanted {
            let argument = Evaluator::new(argument, input.schema(), state)?;
            let data_type = sum_type(sum, argument.data_type());
            fields.push(Field::new(name, data_type.clone(), true));
            let sum = Sum {
                kind,
                argument,
                data_type,
            };
            // Types are the same without rows as with them.
            let no_rows = RecordBatch::new_empty(Arc::clone(input.schema()));
            if *sum.clone().of_persons(&no_rows, &[])?.data_type() != sum.data_type {
                return internal_err!("a person's sum gives other values than it says");
            }
            sums.push(sum);
        }
        Ok(Self {
            input,
            unit: place,
            sums,
            schema: Arc::new(Schema::new(fields)),
        })
    }

    /// The unit, then the sums.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// Persons' sums at work.
#[derive(Debug)]
pub struct RunningPerPerson {
    input: Box<dyn Batches>,
    unit: usize,
    sums: Vec<Sum>,
    schema: SchemaRef,
    /// Rows of the last person so far: there may be more of them.
    open: Option<RecordBatch>,
    ended: bool,
    ends: Vec<usize>,
}

impl RunningPerPerson {
    /// For one thread.
    #[must_use]
    pub fn new(persons: &PerPerson, given_up: &GivenUp) -> Self {
        Self {
            input: persons.input.batches(given_up),
            unit: persons.unit,
            sums: persons.sums.clone(),
            schema: Arc::clone(&persons.schema),
            open: None,
            ended: true,
            ends: vec![],
        }
    }

    /// Rows of whole persons.
    fn whole_persons(&mut self) -> EngineResult<Option<RecordBatch>> {
        while !self.ended {
            let Some(next) = self.input.next()? else {
                self.ended = true;
                break;
            };
            let together = match self.open.take() {
                Some(open) => compute::concat_batches(&next.schema(), [&open, &next])?,
                None => next,
            };
            let units = Units::of(together.column(self.unit))?;
            if !units.rise() {
                return internal_err!("rows are not sorted by the unit");
            }
            let Some(last) = units.len().checked_sub(1) else {
                continue;
            };
            let whole = units.not_before(0, units, last);
            self.open = Some(together.slice(whole, together.num_rows() - whole));
            if whole > 0 {
                return Ok(Some(together.slice(0, whole)));
            }
        }
        Ok(self.open.take())
    }
}

impl Batches for RunningPerPerson {
    fn start(&mut self, partition: usize) -> EngineResult<()> {
        self.open = None;
        self.ended = false;
        self.input.start(partition)
    }

    fn next(&mut self) -> EngineResult<Option<RecordBatch>> {
        let Some(rows) = self.whole_persons()? else {
            return Ok(None);
        };
        let unit = rows.column(self.unit);
        Units::of(unit)?.ends(&mut self.ends);
        let last = self.ends.iter().map(|end| (*end - 1) as u32);
        let units = compute::take(unit, &UInt32Array::from_iter_values(last), None)?;
        let mut columns = vec![units];
        for sum in &mut self.sums {
            columns.push(sum.of_persons(&rows, &self.ends)?);
        }
        Ok(Some(batch_of(&self.schema, columns, self.ends.len())?))
    }
}

impl Sum {
    fn of_persons(&mut self, rows: &RecordBatch, ends: &[usize]) -> EngineResult<ArrayRef> {
        let values = self.argument.evaluate(rows)?;
        let nulls = compute::is_not_null(&values)?;
        let known = nulls.values();
        let persons = Persons { ends };
        Ok(match self.kind {
            Kind::Count => {
                let counts = persons.map(|rows| {
                    let count = known.slice(rows.start, rows.len()).count_set_bits();
                    count as i64
                });
                Arc::new(Int64Array::from_iter_values(counts))
            }
            Kind::Sum => match values.data_type() {
                ArrowType::Int64 => {
                    let sums: PrimitiveArray<Int64Type> =
                        sums(values.as_primitive(), ends, i64::wrapping_add, 0);
                    Arc::new(sums)
                }
                ArrowType::Decimal128(_, _) => {
                    let sums: Decimal128Array = sums(
                        values.as_primitive::<Decimal128Type>(),
                        ends,
                        i128::wrapping_add,
                        0,
                    );
                    Arc::new(sums.with_data_type(self.data_type.clone()))
                }
                _ => return internal_err!("a person's sum is of no numbers"),
            },
            Kind::Minimum | Kind::Maximum => {
                let rows = extremes(&values, ends, self.kind == Kind::Maximum)?;
                compute::take(&values, &rows, None)?
            }
        })
    }
}

/// The rows of one person after the other.
struct Persons<'a> {
    ends: &'a [usize],
}

impl Persons<'_> {
    fn map<'a, T>(
        &'a self,
        of: impl Fn(std::ops::Range<usize>) -> T + 'a,
    ) -> impl Iterator<Item = T> + 'a {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(self.ends)
            .map(move |(start, end)| of(start..*end))
    }
}

/// Sums of what isn't NULL; NULL for a person without.
fn sums<T: ArrowPrimitiveType>(
    values: &PrimitiveArray<T>,
    ends: &[usize],
    add: impl Fn(T::Native, T::Native) -> T::Native,
    zero: T::Native,
) -> PrimitiveArray<T> {
    let persons = Persons { ends };
    let of = |rows: std::ops::Range<usize>| match values.nulls() {
        None => Some(
            values.values()[rows]
                .iter()
                .fold(zero, |sum, value| add(sum, *value)),
        ),
        Some(nulls) => rows
            .filter(|row| nulls.is_valid(*row))
            .map(|row| values.value(row))
            .reduce(&add),
    };
    let sums: Vec<Option<T::Native>> = persons.map(of).collect();
    let known: NullBuffer = sums
        .iter()
        .map(Option::is_some)
        .collect::<Vec<bool>>()
        .into();
    let values: Vec<T::Native> = sums.into_iter().map(|sum| sum.unwrap_or(zero)).collect();
    PrimitiveArray::new(values.into(), Some(known))
}

/// The row of each person's least or greatest value; NULL for a person without.
fn extremes(values: &ArrayRef, ends: &[usize], greatest: bool) -> EngineResult<UInt32Array> {
    macro_rules! by {
        ($column:expr) => {{
            let column = $column;
            of_rows(values, ends, |one: usize, best: usize| {
                let (one, best) = (column.value(one), column.value(best));
                if greatest { one > best } else { one < best }
            })
        }};
    }
    Ok(match values.data_type() {
        ArrowType::Int64 => by!(values.as_primitive::<Int64Type>()),
        ArrowType::Float64 => by!(values.as_primitive::<Float64Type>()),
        ArrowType::Date32 => by!(values.as_primitive::<Date32Type>()),
        ArrowType::Timestamp(TimeUnit::Microsecond, None) => {
            by!(values.as_primitive::<TimestampMicrosecondType>())
        }
        ArrowType::Boolean => by!(values.as_boolean()),
        ArrowType::Utf8 => by!(values.as_string::<i32>()),
        ArrowType::Utf8View => by!(values.as_string_view()),
        other => return internal_err!("no extremes of type {other}"),
    })
}

fn of_rows(
    values: &ArrayRef,
    ends: &[usize],
    better: impl Fn(usize, usize) -> bool,
) -> UInt32Array {
    let persons = Persons { ends };
    let best = persons.map(|rows| {
        rows.filter(|row| values.is_valid(*row))
            .reduce(|best, row| if better(row, best) { row } else { best })
            .map(|row| row as u32)
    });
    best.collect()
}

/// The type of a person's sum.
fn sum_type(sum: &PersonSum, of_argument: &ArrowType) -> ArrowType {
    match sum {
        PersonSum::Count(_) | PersonSum::CountDistinct(_) => ArrowType::Int64,
        PersonSum::Sum(_) => match of_argument {
            // As the engine adds decimals.
            ArrowType::Decimal128(digits, decimals) => {
                ArrowType::Decimal128((digits + 10).min(38), *decimals)
            }
            other => other.clone(),
        },
        PersonSum::Minimum(_) | PersonSum::Maximum(_) | PersonSum::All(_) | PersonSum::Any(_) => {
            of_argument.clone()
        }
    }
}
