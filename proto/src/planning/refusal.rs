//! From the query engine's errors to refusals in the words of who wrote the SQL.

use datafusion::common::{DataFusionError, SchemaError};

use super::{CATALOG, SCHEMA};
use crate::{ErrorCode, Refusal, nearest::nearest};

/// A refusal for a statement that could not be planned. `tables` are the known names.
#[must_use]
pub fn refusal(error: &DataFusionError, tables: &[String]) -> Refusal {
    let known = || format!("The tables are {}.", tables.join(", "));
    match innermost(error) {
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
                    let prefix = format!("{CATALOG}.{SCHEMA}.");
                    let name = full.strip_prefix(&prefix).unwrap_or(full);
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

/// The innermost error, without context and diagnostics.
#[must_use]
pub fn innermost(error: &DataFusionError) -> &DataFusionError {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            innermost(inner)
        }
        DataFusionError::Collection(errors) => errors.first().map_or(error, innermost),
        DataFusionError::Shared(inner) => innermost(inner),
        other => other,
    }
}

/// The first line of an engine's message; what follows are traces and candidates.
#[must_use]
pub fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().trim().to_owned()
}
