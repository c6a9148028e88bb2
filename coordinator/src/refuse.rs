//! From the query engine's errors to refusals in the researcher's terms.

use datafusion::{
    common::{DataFusionError, SchemaError},
    error::Result as PlanResult,
};
use skerry_proto::{ErrorCode, Refusal};

/// Shorthand for a refusal.
pub(crate) fn refuse<T>(
    code: ErrorCode,
    message: impl Into<String>,
    hint: impl Into<String>,
) -> Result<T, Refusal> {
    Err(Refusal::new(code, message, hint))
}

/// Names close enough to `wanted` to be what was meant, nearest first.
pub(crate) fn nearest<'a>(
    wanted: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    known
        .into_iter()
        .map(|name| {
            (
                name,
                strsim::damerau_levenshtein(&wanted, &name.to_lowercase()),
            )
        })
        .filter(|(name, distance)| *distance <= name.len().max(3) / 2)
        .min_by_key(|(_, distance)| *distance)
        .map(|(name, _)| name)
}

/// A refusal for a statement that could not be planned. `tables` are the known names.
pub(crate) fn planning(error: DataFusionError, tables: &[String]) -> Refusal {
    let known = || format!("The tables are {}.", tables.join(", "));
    match root(&error) {
        DataFusionError::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound {
                field,
                valid_fields,
            } => {
                let name = field.flat_name();
                let valid: Vec<String> = valid_fields.iter().map(|c| c.flat_name()).collect();
                let close = nearest(field.name(), valid_fields.iter().map(|c| c.name()));
                Refusal::new(
                    ErrorCode::UnknownColumn,
                    format!("there is no column `{name}` here"),
                    match close {
                        Some(close) => format!("Did you mean `{close}`?"),
                        None if valid.is_empty() => String::new(),
                        None => format!("The columns here are {}.", valid.join(", ")),
                    },
                )
            }
            SchemaError::AmbiguousReference { field } => Refusal::new(
                ErrorCode::UnknownColumn,
                format!(
                    "the column `{}` is in more than one table here",
                    field.flat_name()
                ),
                "Write the table's name or alias before it.",
            ),
            other => Refusal::new(ErrorCode::Syntax, first_line(&other.to_string()), ""),
        },
        DataFusionError::SQL(error, _) => {
            Refusal::new(ErrorCode::Syntax, first_line(&error.to_string()), "")
        }
        DataFusionError::NotImplemented(message) => {
            Refusal::new(ErrorCode::Unsupported, first_line(message), "")
        }
        DataFusionError::Plan(message) => {
            let missing = message
                .strip_prefix("table '")
                .and_then(|rest| rest.strip_suffix("' not found"));
            match missing {
                Some(full) => {
                    let name = full.strip_prefix("skerry.public.").unwrap_or(full);
                    Refusal::new(
                        ErrorCode::UnknownTable,
                        format!("there is no table `{name}`"),
                        match nearest(name, tables.iter().map(String::as_str)) {
                            Some(close) => format!("Did you mean `{close}`? {}", known()),
                            None => known(),
                        },
                    )
                }
                None if message.starts_with("table function") => Refusal::new(
                    ErrorCode::Unsupported,
                    "functions that make tables are not there",
                    known(),
                ),
                None => Refusal::new(ErrorCode::Syntax, first_line(message), ""),
            }
        }
        other => Refusal::new(ErrorCode::Syntax, first_line(&other.to_string()), ""),
    }
}

/// A refusal for what failed on noisy and public data, which may be told in full.
pub(crate) fn above(error: &DataFusionError) -> Refusal {
    Refusal::new(
        ErrorCode::Unsupported,
        format!(
            "the part of the statement after the noise failed: {}",
            first_line(&root(error).to_string())
        ),
        "The regions' answers are stored: the same statement with the same query id costs nothing.",
    )
}

/// The same for a whole result.
pub(crate) fn or_above<T>(result: PlanResult<T>) -> Result<T, Refusal> {
    result.map_err(|error| above(&error))
}

/// The innermost error, without context and diagnostics.
fn root(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => root(inner),
        DataFusionError::Collection(errors) => errors.first().map_or(error, root),
        DataFusionError::Shared(inner) => root(inner),
        other => other,
    }
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}
