//! The functions as the query engine calls them, one for each part of each statistic.

use std::{
    hash::{Hash, Hasher},
    mem::size_of,
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, AsArray as _, Float64Array},
        datatypes::{DataType, Field, FieldRef, Float64Type},
    },
    common::{Result, ScalarValue, exec_err, plan_err},
    logical_expr::{
        Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, ScalarFunctionArgs, ScalarUDF,
        ScalarUDFImpl, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
        utils::format_state_name,
    },
};

use super::{
    estimate::{Estimate, Part},
    function::{Description, Function, OfRow, OfRows},
};

/// All functions of one row.
pub(crate) fn scalar_functions() -> Vec<Arc<ScalarUDF>> {
    let mut functions = Vec::new();
    for function in Function::ALL {
        if let Function::Row(of_row) = function {
            for part in parts(&function.description()) {
                functions.push(Arc::new(ScalarUDF::new_from_impl(RowFunction::new(
                    of_row, part,
                ))));
            }
        }
    }
    functions
}

/// All functions of several rows.
pub(crate) fn aggregate_functions() -> Vec<Arc<AggregateUDF>> {
    let mut functions = Vec::new();
    for function in Function::ALL {
        if let Function::Rows(of_rows) = function {
            for part in parts(&function.description()) {
                functions.push(aggregate_function(of_rows, part));
            }
        }
    }
    functions
}

/// One part of a function of several rows.
pub(crate) fn aggregate_function(function: OfRows, part: Part) -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::new_from_impl(RowsFunction::new(
        function, part,
    )))
}

/// One part of a function of one row.
pub(crate) fn scalar_function(function: OfRow, part: Part) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(RowFunction::new(function, part)))
}

fn parts(described: &Description) -> Vec<Part> {
    if described.sampled {
        Part::ALL.to_vec()
    } else {
        vec![Part::Value]
    }
}

/// All arguments as doubles; a text is refused by name.
fn coerced(function: Function, given: &[DataType]) -> Result<Vec<DataType>> {
    let described = function.description();
    if given.len() < described.required || given.len() > described.arguments.len() {
        return plan_err!(
            "{} can't take {} arguments",
            function.signature(),
            given.len()
        );
    }
    for (argument, data_type) in described.arguments.iter().zip(given) {
        if !(data_type.is_numeric() || matches!(data_type, DataType::Boolean | DataType::Null)) {
            return plan_err!(
                "{}: `{}` must be a number, not {data_type}",
                function.signature(),
                argument.name
            );
        }
    }
    Ok(vec![DataType::Float64; given.len()])
}

/// What is not known is NULL.
fn known(estimate: Option<Estimate>, part: Part) -> Option<f64> {
    estimate
        .map(|estimate| estimate.part(part))
        .filter(|value| value.is_finite())
}

/// A part of a statistic of one row.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowFunction {
    /// Which statistic.
    pub function: OfRow,
    /// Which part of it.
    pub part: Part,
    name: String,
    signature: Signature,
}

impl RowFunction {
    fn new(function: OfRow, part: Part) -> Self {
        Self {
            function,
            part,
            name: part.function(Function::Row(function).description().name),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

/// Columns of doubles, all as long.
pub(crate) fn doubles(args: &ScalarFunctionArgs) -> Result<Vec<Float64Array>> {
    args.args
        .iter()
        .map(|value| {
            let array = value.to_array(args.number_rows)?;
            match array.as_primitive_opt::<Float64Type>() {
                Some(doubles) => Ok(doubles.clone()),
                None => exec_err!("a number that was not made a double"),
            }
        })
        .collect()
}

impl ScalarUDFImpl for RowFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerced(Function::Row(self.function), given)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = doubles(&args)?;
        let mut row = Vec::with_capacity(columns.len());
        let values = (0..args.number_rows).map(|at| {
            row.clear();
            row.extend(
                columns
                    .iter()
                    .filter(|c| c.is_valid(at))
                    .map(|c| c.value(at)),
            );
            let complete = row.len() == columns.len();
            known(self.function.estimate(&row).filter(|_| complete), self.part)
        });
        let values: Float64Array = values.collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}

/// A part of a statistic of several rows.
#[derive(Debug)]
pub(crate) struct RowsFunction {
    /// Which statistic.
    pub function: OfRows,
    /// Which part of it.
    pub part: Part,
    name: String,
    signature: Signature,
}

impl PartialEq for RowsFunction {
    fn eq(&self, other: &Self) -> bool {
        (self.function, self.part) == (other.function, other.part)
    }
}

impl Eq for RowsFunction {}

impl Hash for RowsFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.function, self.part).hash(state);
    }
}

impl RowsFunction {
    fn new(function: OfRows, part: Part) -> Self {
        Self {
            function,
            part,
            name: part.function(Function::Rows(function).description().name),
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for RowsFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        coerced(Function::Rows(self.function), given)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if args.is_distinct {
            return plan_err!("{} can't be of DISTINCT rows", self.name);
        }
        Ok(Box::new(Rows {
            function: self.function,
            part: self.part,
            width: args.exprs.len(),
            values: Vec::new(),
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let name = format_state_name(args.name, "rows");
        let field = Field::new_list(name, Field::new_list_field(DataType::Float64, true), true);
        Ok(vec![Arc::new(field)])
    }
}

/// The rows of one group, as they come: there are few, one a band or region.
#[derive(Debug)]
struct Rows {
    function: OfRows,
    part: Part,
    width: usize,
    /// Row by row; NaN for NULL, which makes the whole unknown.
    values: Vec<f64>,
}

impl Accumulator for Rows {
    fn update_batch(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let columns: Vec<&Float64Array> = columns
            .iter()
            .filter_map(|column| column.as_primitive_opt::<Float64Type>())
            .collect();
        if columns.len() != self.width {
            return exec_err!("a number that was not made a double");
        }
        let rows = columns.first().map_or(0, |column| column.len());
        self.values.reserve(rows * self.width);
        for row in 0..rows {
            let value = |column: &&Float64Array| {
                if column.is_valid(row) {
                    column.value(row)
                } else {
                    f64::NAN
                }
            };
            self.values.extend(columns.iter().map(value));
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let complete = self.values.iter().all(|value| value.is_finite());
        let estimate = complete
            .then(|| self.function.estimate(self.values.chunks_exact(self.width)))
            .flatten();
        Ok(ScalarValue::Float64(known(estimate, self.part)))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.values.capacity() * size_of::<f64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values: Vec<ScalarValue> = self
            .values
            .iter()
            .map(|value| ScalarValue::Float64(Some(*value)))
            .collect();
        let list = ScalarValue::new_list_nullable(&values, &DataType::Float64);
        Ok(vec![ScalarValue::List(list)])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let Some(lists) = states.first().and_then(|state| state.as_list_opt::<i32>()) else {
            return exec_err!("rows that are no list");
        };
        for rows in lists.iter().flatten() {
            match rows.as_primitive_opt::<Float64Type>() {
                Some(values) => self.values.extend(values.values().iter()),
                None => return exec_err!("a number that was not made a double"),
            }
        }
        Ok(())
    }
}
