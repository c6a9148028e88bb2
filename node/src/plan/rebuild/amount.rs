//! Trusted. What a row says to a measure: its amount, or the position of its cell.
//!
//! Promise: [`Measure::amount`] of the same values, for any values.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, AsArray, Float64Array, Int64Array},
        buffer::{BooleanBuffer, NullBuffer},
        compute,
        datatypes::{DataType as ArrowType, Float64Type},
    },
    common::{Result as EngineResult, exec_err, plan_datafusion_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
    prelude::lit,
};
use skerry_privacy::analysis::{
    bins,
    measure::{Counted, Factor, Grid, Measure},
};
use skerry_proto::DataType;

use super::{Function, expression::total_cast, row::KeyCodes};

/// A row's amount of the measure at this position in the quote, NULL for a row that doesn't
/// contribute. `arguments` are those of [`Measure::arguments`].
pub(crate) fn amount(
    measure: &Measure,
    position: usize,
    arguments: Vec<Expr>,
) -> EngineResult<Expr> {
    if arguments.len() != measure.arguments().len() {
        return Err(plan_datafusion_err!("a measure lacks an argument"));
    }
    if arguments.is_empty() {
        return Ok(lit(measure.grid.units(1.0)));
    }
    let typed = match &measure.counted {
        Counted::Persons { .. } | Counted::Rows { .. } => arguments,
        Counted::Sum(_) | Counted::Product(_, _) | Counted::Bins { .. } => arguments
            .into_iter()
            .map(|argument| total_cast(argument, DataType::Float))
            .collect(),
        Counted::Values { data_type, .. } => arguments
            .into_iter()
            .map(|argument| total_cast(argument, *data_type))
            .collect(),
    };
    Ok(ScalarUDF::from(Amount::new(measure, position)).call(typed))
}

#[derive(Debug)]
pub(super) struct Amount {
    measure: Measure,
    position: usize,
    /// Of the values of a count of values.
    codes: Option<KeyCodes>,
    /// The engine takes calls of one name with the same arguments for the same call.
    name: String,
    signature: Signature,
}

impl Amount {
    pub(super) fn written(&self) -> Function {
        Function::Amount(self.measure.clone(), self.position)
    }

    pub(super) fn new(measure: &Measure, position: usize) -> Self {
        Self {
            measure: measure.clone(),
            position,
            codes: match &measure.counted {
                Counted::Values { values, .. } => Some(KeyCodes::new(values.iter())),
                Counted::Persons { .. }
                | Counted::Rows { .. }
                | Counted::Sum(_)
                | Counted::Product(_, _)
                | Counted::Bins { .. } => None,
            },
            name: format!("amount_{position}"),
            signature: Signature::any(measure.arguments().len(), Volatility::Immutable),
        }
    }

    fn of(&self, columns: &[ArrayRef]) -> EngineResult<Int64Array> {
        let once = self.measure.grid.units(1.0);
        let column = |index: usize| match columns.get(index) {
            Some(column) => Ok(column),
            None => exec_err!("an amount needs an argument"),
        };
        let numbers = |index: usize| -> EngineResult<&Float64Array> {
            match column(index)?.as_primitive_opt::<Float64Type>() {
                Some(numbers) => Ok(numbers),
                None => exec_err!("an amount needs floats"),
            }
        };
        Ok(match &self.measure.counted {
            Counted::Persons { .. } => {
                let Some(holds) = column(0)?.as_boolean_opt() else {
                    return exec_err!("a filter needs a boolean");
                };
                holds
                    .iter()
                    .map(|holds| (holds == Some(true)).then_some(once))
                    .collect()
            }
            Counted::Rows { .. } => {
                let known = compute::is_not_null(column(0)?)?;
                known
                    .iter()
                    .map(|known| (known == Some(true)).then_some(once))
                    .collect()
            }
            Counted::Sum(factor) => summed(numbers(0)?, factor, self.measure.grid),
            Counted::Product(first, second) => numbers(0)?
                .iter()
                .zip(numbers(1)?)
                .map(|(x, y)| {
                    let product = first.value(x?)? * second.value(y?)?;
                    Some(self.measure.grid.units(product))
                })
                .collect(),
            Counted::Bins { edges, .. } => {
                let numbers = numbers(0)?;
                match bins::positions(edges, numbers.values()) {
                    Some(positions) => Int64Array::new(positions.into(), known(numbers)),
                    None => Int64Array::new_null(numbers.len()),
                }
            }
            Counted::Values { .. } => {
                let Some(codes) = &self.codes else {
                    return exec_err!("a count of values needs them");
                };
                codes
                    .codes_of(column(0)?)?
                    .into_iter()
                    .map(|code| (code != u32::MAX).then_some(i64::from(code)))
                    .collect()
            }
        })
    }
}

/// Of each number that is one.
fn summed(numbers: &Float64Array, factor: &Factor, grid: Grid) -> Int64Array {
    let all: &[f64] = numbers.values();
    let units = match grid {
        Grid::Multiply(units) if factor.most() * units as f64 <= MOST_AT_ONCE => Some(units),
        Grid::Multiply(_) | Grid::Divide(_) => None,
    };
    let amounts: Vec<i64> = match units {
        Some(units) => in_units(all, factor, units as f64),
        None => all
            .iter()
            .map(|x| factor.value(*x).map_or(0, |value| grid.units(value)))
            .collect(),
    };
    Int64Array::new(amounts.into(), known(numbers))
}

/// Which of them are there, and are numbers.
fn known(numbers: &Float64Array) -> Option<NullBuffer> {
    let all: &[f64] = numbers.values();
    if all.iter().fold(false, |some, x| some | x.is_nan()) {
        let numbers_alone = BooleanBuffer::collect_bool(all.len(), |row| !all[row].is_nan());
        NullBuffer::union(numbers.nulls(), Some(&NullBuffer::new(numbers_alone)))
    } else {
        numbers.nulls().cloned()
    }
}

/// 1.5 · 2^52. From half of it to double of it floats are the whole numbers, so that one of at most
/// [`MOST_AT_ONCE`] in magnitude stands in the sum's last bits.
pub(crate) const WHOLE: f64 = 6_755_399_441_055_744.0;
/// 2^51, less one for what rounding adds.
const MOST_AT_ONCE: f64 = 2_251_799_813_685_247.0;

/// [`Grid::units`] of [`Factor::value`], 0 for what is no number, where no value gives more than [`MOST_AT_ONCE`].
///
/// Numbers are converted by adding and taking off, since the processor that every build is for converts them one
/// by one, and checks each. It is compiled for newer ones as well, which add eight at once; which one it
/// is for is seen when it runs.
#[multiversion::multiversion(targets(
    "x86_64+avx512f+avx512dq+avx512vl",
    "x86_64+avx2",
    "x86_64+sse4.1"
))]
fn in_units(numbers: &[f64], factor: &Factor, units: f64) -> Vec<i64> {
    let (low, high, centre) = (factor.low, factor.high, factor.centre);
    let amount = |x: &f64| {
        let exact = (x.max(low).min(high) - centre) * units;
        let known = if x.is_nan() { 0.0 } else { exact };
        let shifted = known.trunc() + WHOLE;
        (shifted.to_bits() as i64).wrapping_sub(WHOLE.to_bits() as i64)
    };
    numbers.iter().map(amount).collect()
}

// The name has the position, and one plan has one measure at each.
impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.measure == other.measure
    }
}

// Bounds are finite numbers, so equality is reflexive.
impl Eq for Amount {}

impl Hash for Amount {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for Amount {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[ArrowType]) -> EngineResult<ArrowType> {
        Ok(ArrowType::Int64)
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> EngineResult<ColumnarValue> {
        let columns = ColumnarValue::values_to_arrays(&arguments.args)?;
        let amounts = self.of(&columns)?;
        Ok(ColumnarValue::Array(Arc::new(amounts) as ArrayRef))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use skerry_privacy::question::Expression;
    use skerry_proto::Value;

    use super::*;

    fn measures(low: f64, high: f64, rows: u64, total: Option<f64>) -> Vec<Measure> {
        let factor = Factor {
            argument: Expression::Column(0),
            data_type: DataType::Float,
            low,
            high,
            centre: low + (high - low) / 2.0,
        };
        let counted = [
            Counted::Rows {
                argument: Some(Expression::Column(0)),
            },
            Counted::Sum(factor.clone()),
            Counted::Product(factor.clone(), factor),
            Counted::Bins {
                argument: Expression::Column(0),
                data_type: DataType::Float,
                low,
                high,
                edges: bins::edges(low, high, false),
            },
            Counted::Values {
                argument: Expression::Column(0),
                data_type: DataType::Float,
                values: vec![Value::Float(-1.0), Value::Float(0.5), Value::Float(7.0)],
            },
        ];
        counted
            .into_iter()
            .map(|counted| Measure::new(counted, rows, total))
            .collect()
    }

    proptest! {
        #[test]
        fn amounts_mean_what_the_measure_says(
            low in -1e6..1e6f64, width in 0.0..1e6f64, rows in 1u64..1_000,
            total in proptest::option::of(1e-3..1e9f64),
            values in proptest::collection::vec(proptest::option::of(prop_oneof![
                proptest::num::f64::ANY, -10.0..10.0f64, Just(0.5), Just(7.0),
            ]), 1..20),
        ) {
            for (position, measure) in measures(low, low + width, rows, total).iter().enumerate() {
                let column: ArrayRef = Arc::new(Float64Array::from(values.clone()));
                let columns = vec![column; measure.arguments().len()];
                let found = Amount::new(measure, position).of(&columns).unwrap();
                for (value, found) in values.iter().zip(&found) {
                    let value = value.map_or(Value::Null, Value::Float);
                    let arguments = vec![value; measure.arguments().len()];
                    prop_assert_eq!(found, measure.amount(&arguments), "{:?}", measure.counted);
                }
            }
        }
    }
}
