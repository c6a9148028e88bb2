//! Why a question is not answered, in the researcher's terms.

use std::fmt;

use serde::Serialize;

/// What kind of refusal. The text of each is part of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The SQL could not be parsed or planned.
    Syntax,
    /// A table that the catalogue doesn't have.
    UnknownTable,
    /// A column that the catalogue doesn't have.
    UnknownColumn,
    /// A part of SQL that private data cannot be asked with.
    Unsupported,
    /// The statement would show rows or values of persons.
    PrivateOutput,
    /// A bound is missing: neither the catalogue nor the query gives a range.
    NoRange,
    /// A group key without public values.
    NoPublicValues,
    /// Private tables joined on something else than the privacy unit.
    JoinNotOnUnit,
    /// A part that is too large, too deep or too many.
    TooLarge,
    /// Epsilon, delta, accuracy or an id that is not one.
    InvalidParameter,
    /// Bytes that are no plan that a node may run.
    PlanRefused,
    /// Nothing left to spend.
    BudgetExhausted,
    /// The query id was used for another question.
    QueryIdConflict,
    /// The call's certificate is not one that may ask.
    PermissionDenied,
    /// Both sides speak different versions.
    VersionMismatch,
    /// Regions disagree on what the question means.
    RegionsDisagree,
    /// A region did not answer in time.
    RegionMissing,
    /// The node can't answer now and has charged nothing.
    Unavailable,
    /// Failed after the debit. Says nothing more, since a cause can hang on the data.
    Failed,
    /// A configuration that can't be used.
    Configuration,
}

impl ErrorCode {
    /// Every code, in the order above.
    pub const ALL: [Self; 20] = [
        Self::Syntax,
        Self::UnknownTable,
        Self::UnknownColumn,
        Self::Unsupported,
        Self::PrivateOutput,
        Self::NoRange,
        Self::NoPublicValues,
        Self::JoinNotOnUnit,
        Self::TooLarge,
        Self::InvalidParameter,
        Self::PlanRefused,
        Self::BudgetExhausted,
        Self::QueryIdConflict,
        Self::PermissionDenied,
        Self::VersionMismatch,
        Self::RegionsDisagree,
        Self::RegionMissing,
        Self::Unavailable,
        Self::Failed,
        Self::Configuration,
    ];

    /// The code as it is written in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::UnknownTable => "unknown_table",
            Self::UnknownColumn => "unknown_column",
            Self::Unsupported => "unsupported",
            Self::PrivateOutput => "private_output",
            Self::NoRange => "no_range",
            Self::NoPublicValues => "no_public_values",
            Self::JoinNotOnUnit => "join_not_on_unit",
            Self::TooLarge => "too_large",
            Self::InvalidParameter => "invalid_parameter",
            Self::PlanRefused => "plan_refused",
            Self::BudgetExhausted => "budget_exhausted",
            Self::QueryIdConflict => "query_id_conflict",
            Self::PermissionDenied => "permission_denied",
            Self::VersionMismatch => "version_mismatch",
            Self::RegionsDisagree => "regions_disagree",
            Self::RegionMissing => "region_missing",
            Self::Unavailable => "unavailable",
            Self::Failed => "failed",
            Self::Configuration => "configuration",
        }
    }

    /// The code of that text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal: what is wrong, in which part, and what to write instead. It follows from the
/// question's text and the policy alone, never from data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind.
    pub code: ErrorCode,
    /// What is wrong, naming the part.
    pub message: String,
    /// What to write instead; empty when there is nothing to say.
    pub hint: String,
}

impl Refusal {
    /// A refusal with a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: hint.into(),
        }
    }
}

#[cfg(feature = "rpc")]
mod status {
    use prost::Message as _;
    use tonic::{Code, Status};

    use super::{ErrorCode, Refusal};
    use crate::wire;

    impl ErrorCode {
        /// The gRPC status that carries this code.
        #[must_use]
        pub const fn grpc(self) -> Code {
            match self {
                Self::Syntax
                | Self::UnknownTable
                | Self::UnknownColumn
                | Self::Unsupported
                | Self::PrivateOutput
                | Self::NoRange
                | Self::NoPublicValues
                | Self::JoinNotOnUnit
                | Self::TooLarge
                | Self::InvalidParameter
                | Self::PlanRefused => Code::InvalidArgument,
                Self::BudgetExhausted => Code::ResourceExhausted,
                Self::QueryIdConflict => Code::AlreadyExists,
                Self::PermissionDenied => Code::PermissionDenied,
                Self::VersionMismatch | Self::RegionsDisagree | Self::Configuration => {
                    Code::FailedPrecondition
                }
                Self::RegionMissing | Self::Unavailable => Code::Unavailable,
                Self::Failed => Code::Internal,
            }
        }
    }

    impl From<Refusal> for Status {
        fn from(refusal: Refusal) -> Self {
            let details = wire::Refusal {
                code: refusal.code.as_str().to_owned(),
                message: refusal.message.clone(),
                hint: refusal.hint.clone(),
            };
            Status::with_details(
                refusal.code.grpc(),
                refusal.message,
                details.encode_to_vec().into(),
            )
        }
    }

    impl From<&Status> for Refusal {
        /// A status without our details came from the transport: the peer could not be asked.
        fn from(status: &Status) -> Self {
            if let Ok(details) = wire::Refusal::decode(status.details())
                && let Some(code) = ErrorCode::parse(&details.code)
            {
                return Self::new(code, details.message, details.hint);
            }
            Self::new(
                ErrorCode::Unavailable,
                format!("no answer: {}", status.message()),
                "",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_one_text_each() {
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.as_str()), Some(code));
        }
    }
}
