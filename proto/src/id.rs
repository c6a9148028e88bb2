//! Names that cross the wire: short, printable, safe in file names and logs.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} `{shown}` is not valid: use 1 to {max} of a-z, A-Z, 0-9, `-`, `_` and `.`, starting with a letter or digit"
)]
pub struct IdError {
    kind: &'static str,
    shown: String,
    max: usize,
}

const MAX_LENGTH: usize = 64;

fn check(kind: &'static str, text: &str) -> Result<String, IdError> {
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric());
    let only = text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
    if starts && only && text.len() <= MAX_LENGTH {
        Ok(text.to_owned())
    } else {
        Err(IdError {
            kind,
            shown: text
                .chars()
                .take(MAX_LENGTH)
                .flat_map(char::escape_default)
                .collect(),
            max: MAX_LENGTH,
        })
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check($kind, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id!(
    /// A region of the federation, as its node's configuration names it.
    RegionId,
    "region"
);
id!(
    /// A project: whose budget a question is charged to.
    ProjectId,
    "project"
);
id!(
    /// One question, once: a retry with the same id gets the same bytes.
    QueryId,
    "query id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_and_refuses_paths() {
        assert!("norrbotten".parse::<RegionId>().is_ok());
        assert!("2026-11-22.a_b".parse::<QueryId>().is_ok());
        for bad in ["", ".", "../x", "a/b", "a b", "å", "-x", &"x".repeat(65)] {
            assert!(bad.parse::<ProjectId>().is_err(), "{bad:?}");
        }
    }
}
