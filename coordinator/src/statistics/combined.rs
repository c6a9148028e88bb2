//! Functions that put what chance and what noise do to a statistic together. SQL reaches them
//! through words like `total_low(…)`, which `words.rs` spells out.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array as _, Float64Array},
        datatypes::DataType,
    },
    common::Result,
    logical_expr::{
        ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

use super::{
    comparison::{Null, Tested},
    estimate::together,
    udf::doubles,
};

/// What is made of a statistic and its uncertainties.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Combination {
    /// Of value, limit of sampling, limit of noise: the limit of both.
    Limit,
    /// Of value, sampling variance, noise below, noise above, null, whether on the logarithm.
    ZScore,
    /// Of the same.
    PValue,
}

impl Combination {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Limit, Self::ZScore, Self::PValue];

    /// The function's name.
    pub const fn function(self) -> &'static str {
        match self {
            Self::Limit => "__total_limit",
            Self::ZScore => "__z_score",
            Self::PValue => "__p_value",
        }
    }

    const fn arguments(self) -> usize {
        match self {
            Self::Limit => 3,
            Self::ZScore | Self::PValue => 6,
        }
    }

    fn of(self, arguments: &[f64]) -> Option<f64> {
        match (self, arguments) {
            (Self::Limit, [value, sampling, noise]) => Some(together(*value, *sampling, *noise)),
            (Self::ZScore | Self::PValue, [value, variance, below, above, null, logarithm]) => {
                let tested = Tested {
                    value: *value,
                    variance: *variance,
                    below: *below,
                    above: *above,
                };
                let null = Null {
                    value: *null,
                    logarithm: *logarithm != 0.0,
                };
                if self == Self::ZScore {
                    tested.z_score(null)
                } else {
                    tested.p_value(null)
                }
            }
            _ => None,
        }
    }
}

/// All of them.
pub(crate) fn combinations() -> impl Iterator<Item = Arc<ScalarUDF>> {
    Combination::ALL.into_iter().map(|combination| {
        Arc::new(ScalarUDF::new_from_impl(Combined {
            combination,
            signature: Signature::exact(
                vec![DataType::Float64; combination.arguments()],
                Volatility::Immutable,
            ),
        }))
    })
}

/// One of them, as the query engine calls it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Combined {
    combination: Combination,
    signature: Signature,
}

impl Combined {
    /// Whether it is a limit.
    pub fn is_limit(&self) -> bool {
        self.combination == Combination::Limit
    }
}

impl ScalarUDFImpl for Combined {
    fn name(&self) -> &str {
        self.combination.function()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns = doubles(&args)?;
        let values: Float64Array = (0..args.number_rows)
            .map(|at| {
                let row: Vec<f64> = columns
                    .iter()
                    .map(|column| column.is_valid(at).then(|| column.value(at)))
                    .collect::<Option<_>>()?;
                self.combination.of(&row).filter(|value| value.is_finite())
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}
