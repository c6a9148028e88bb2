//! Refusals of the coordinator's own.

use datafusion::{common::DataFusionError, error::Result as PlanResult};
use skerry_proto::{
    ErrorCode, Refusal,
    planning::{first_line, innermost},
};

/// Shorthand for a refusal.
pub(crate) fn refuse<T>(
    code: ErrorCode,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal::new(code, message, hint))
}

/// A refusal for what failed on noisy and public data, which may be told in full.
pub(crate) fn above(error: &DataFusionError) -> Refusal {
    Refusal::new(
        ErrorCode::Unsupported,
        format!(
            "the part of the statement after the noise failed: {}",
            first_line(&innermost(error).to_string())
        ),
        "The regions' answers are stored: the same statement with the same query id costs nothing.",
    )
}

/// The same for a whole result.
pub(crate) fn or_above<T>(result: PlanResult<T>) -> Result<T, Refusal> {
    result.map_err(|error| above(&error))
}
