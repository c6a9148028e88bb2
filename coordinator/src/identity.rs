//! A function from a row's values to a number that tells rows apart, the same in every draw.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, LazyLock},
};

use datafusion::{
    arrow::{
        array::Int64Array,
        datatypes::DataType,
        row::{RowConverter, SortField},
    },
    common::Result,
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
    },
};

/// 64 bits of hash: among a million rows two meet with a probability of 3e-8.
#[derive(Debug, PartialEq, Eq, Hash)]
struct RowIdentity {
    signature: Signature,
}

static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::new_from_impl(RowIdentity {
        signature: Signature::variadic_any(Volatility::Immutable),
    }))
});

/// The identity of a row that these values make up.
pub(crate) fn identity(values: Vec<Expr>) -> Expr {
    FUNCTION.call(values)
}

impl ScalarUDFImpl for RowIdentity {
    fn name(&self) -> &'static str {
        "__row_identity"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let fields = args
            .arg_fields
            .iter()
            .map(|field| SortField::new(field.data_type().clone()))
            .collect();
        let arrays = args
            .args
            .iter()
            .map(|value| value.to_array(args.number_rows))
            .collect::<Result<Vec<_>>>()?;
        let rows = RowConverter::new(fields)?.convert_columns(&arrays)?;
        let hashes = rows.iter().map(|row| {
            let mut hasher = DefaultHasher::new();
            row.as_ref().hash(&mut hasher);
            hasher.finish().cast_signed()
        });
        Ok(ColumnarValue::Array(Arc::new(
            Int64Array::from_iter_values(hashes),
        )))
    }
}
