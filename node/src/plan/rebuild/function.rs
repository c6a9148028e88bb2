//! Trusted. The functions of a rebuilt plan as data, for machines that run a part of it.
//!
//! Promise: what is made from the data is the function that they were taken from.

use datafusion::{common::Result as EngineResult, logical_expr::ScalarUDF};
use serde::{Deserialize, Serialize};
use skerry_privacy::{analysis::measure::Measure, question::Expression};
use skerry_proto::{DataType, Value};

use super::{amount::Amount, row::GroupPosition, total::Total};

/// A function that isn't the engine's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Function {
    /// A total expression, and its type.
    Total(Expression, DataType),
    /// A row's amount of the measure at a position.
    Amount(Measure, usize),
    /// The position of a row's group among these, of keys of these types.
    Group(Vec<Vec<Value>>, Vec<DataType>),
}

impl Function {
    /// What a function is; nothing for one of the engine's.
    pub(crate) fn of(function: &ScalarUDF) -> Option<Self> {
        let function = function.inner();
        if let Some(total) = function.downcast_ref::<Total>() {
            Some(total.written())
        } else if let Some(amount) = function.downcast_ref::<Amount>() {
            Some(amount.written())
        } else {
            let group = function.downcast_ref::<GroupPosition>()?;
            Some(group.written())
        }
    }

    /// The function.
    ///
    /// # Errors
    /// If it can't be made, as for groups that are too many.
    pub(crate) fn made(self) -> EngineResult<ScalarUDF> {
        Ok(match self {
            Self::Total(expression, result) => ScalarUDF::from(Total::new(expression, result)),
            Self::Amount(measure, position) => ScalarUDF::from(Amount::new(&measure, position)),
            Self::Group(groups, types) => ScalarUDF::from(GroupPosition::new(&groups, &types)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_made_from_what_it_is() {
        let column = || Expression::Column(0);
        let functions = [
            Function::Total(Expression::Not(Box::new(column())), DataType::Boolean),
            Function::Amount(Measure::rows(Some(column()), 7), 3),
            Function::Amount(
                Measure::sum(column(), DataType::Float, (-5.0, 9.5), 0.5, 3),
                0,
            ),
            Function::Group(
                vec![vec![Value::Text("a".into()), Value::Null]],
                vec![DataType::Text, DataType::Float],
            ),
        ];
        for function in functions {
            let made = function.clone().made().unwrap();
            assert_eq!(Function::of(&made), Some(function.clone()));
            let bytes = postcard::to_allocvec(&function).unwrap();
            assert_eq!(postcard::from_bytes::<Function>(&bytes).unwrap(), function);
        }
        assert_eq!(Function::of(&datafusion::functions::math::floor()), None);
    }
}
