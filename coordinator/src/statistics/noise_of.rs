//! Functions of what is known of an expression's noise.
//!
//! In a planned statement they are marks: `__noise_variance(x)` and the like can't be run. Before
//! the part above the releases runs, the noise of every x is found as that of an answer's column
//! is (`uncertainty/resolve.rs`), and the mark becomes a look-up by the row's identity, which is
//! the same in all draws.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use datafusion::{
    arrow::{
        array::{AsArray as _, Float64Array},
        datatypes::{DataType, Int64Type},
    },
    common::{Result, internal_err, plan_err},
    logical_expr::{
        ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
        TypeSignature, Volatility, expr::ScalarFunction,
    },
};

/// What can be asked of an expression's noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Aspect {
    /// Its variance.
    Variance,
    /// From the lower 95 % limit up to the value.
    Below,
    /// From the value up to the upper 95 % limit.
    Above,
}

impl Aspect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Variance, Self::Below, Self::Above];

    /// The name of the mark.
    pub const fn function(self) -> &'static str {
        match self {
            Self::Variance => "__noise_variance",
            Self::Below => "__noise_below",
            Self::Above => "__noise_above",
        }
    }
}

/// A mark: it can't be run.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Mark {
    aspect: Aspect,
    signature: Signature,
}

static MARKS: LazyLock<[Arc<ScalarUDF>; 3]> = LazyLock::new(|| {
    Aspect::ALL.map(|aspect| {
        Arc::new(ScalarUDF::new_from_impl(Mark {
            aspect,
            // Not for the simplifier to run ahead of time.
            signature: Signature::user_defined(Volatility::Volatile),
        }))
    })
});

/// All marks.
pub(crate) fn marks() -> impl Iterator<Item = Arc<ScalarUDF>> {
    MARKS.iter().cloned()
}

/// What a mark asks, and of which expression.
pub(crate) fn marked(expr: &Expr) -> Option<(Aspect, &Expr)> {
    match expr {
        Expr::ScalarFunction(call) => {
            let mark = call.func.inner().downcast_ref::<Mark>()?;
            Some((mark.aspect, call.args.first()?))
        }
        _ => None,
    }
}

impl ScalarUDFImpl for Mark {
    fn name(&self) -> &str {
        self.aspect.function()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        match given {
            [one] if one.is_numeric() || one.is_null() => Ok(vec![DataType::Float64]),
            [one] => plan_err!("only a number has noise that can be told, not {one}"),
            _ => plan_err!("the noise of one number at a time can be told"),
        }
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> Result<ColumnarValue> {
        internal_err!("the noise of an expression was not found before it was needed")
    }
}

/// What is known of the noise in one expression, by the identity of the row.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Variance, distance to the lower limit, distance to the upper limit.
    pub rows: HashMap<i64, [Option<f64>; 3]>,
}

/// A look-up that has not been told its row yet: no arguments. With its row: one.
#[derive(Debug)]
struct LookUp {
    aspect: Aspect,
    known: Arc<Known>,
    /// Tells one look-up from another.
    number: usize,
    signature: Signature,
}

impl PartialEq for LookUp {
    fn eq(&self, other: &Self) -> bool {
        (self.number, self.aspect) == (other.number, other.aspect)
    }
}

impl Eq for LookUp {}

impl Hash for LookUp {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.number, self.aspect).hash(state);
    }
}

/// The look-ups of one expression's noise, in the order of [`Aspect::ALL`].
pub(crate) fn look_ups(known: Known) -> [Arc<ScalarUDF>; 3] {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let known = Arc::new(known);
    Aspect::ALL.map(|aspect| {
        Arc::new(ScalarUDF::new_from_impl(LookUp {
            aspect,
            known: Arc::clone(&known),
            number,
            signature: Signature::one_of(
                vec![TypeSignature::Nullary, TypeSignature::Any(1)],
                Volatility::Immutable,
            ),
        }))
    })
}

/// Whether a call looks up what is known of one answer's noise.
pub(crate) fn is_look_up(call: &ScalarFunction) -> bool {
    call.func.inner().downcast_ref::<LookUp>().is_some()
}

/// Whether a call is a look-up that lacks its row.
pub(crate) fn lacks_row(call: &ScalarFunction) -> bool {
    call.args.is_empty() && is_look_up(call)
}

impl ScalarUDFImpl for LookUp {
    fn name(&self) -> &'static str {
        "__noise_of_row"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [row] = args.args.as_slice() else {
            return internal_err!("noise of no row");
        };
        let rows = row.to_array(args.number_rows)?;
        let Some(rows) = rows.as_primitive_opt::<Int64Type>() else {
            return internal_err!("a row without identity");
        };
        let at = self.aspect as usize;
        let values: Float64Array = (0..rows.len())
            .map(|row| self.known.rows.get(&rows.value(row))?[at])
            .collect();
        Ok(ColumnarValue::Array(Arc::new(values)))
    }
}
