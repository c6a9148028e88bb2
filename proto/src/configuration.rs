//! Reading TOML so that a mistake is named with its file, its line and what was probably meant.

use std::{fmt, ops::Range, path::Path, path::PathBuf};

use crate::{ErrorCode, Refusal, nearest::suggest};
use serde::de::DeserializeOwned;

/// What is wrong in a configuration file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// Its line, from 1, and the line's text, when the mistake has a place.
    pub line: Option<(usize, String)>,
    /// What is wrong.
    pub message: String,
    /// What to write instead; empty when there is nothing to say.
    pub hint: String,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some((number, _)) = &self.line {
            write!(f, ":{number}")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some((number, text)) = &self.line
            && !text.trim().is_empty()
        {
            write!(f, "\n  {number} | {}", text.trim_end())?;
        }
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl From<ConfigError> for Refusal {
    fn from(error: ConfigError) -> Self {
        let place = match &error.line {
            Some((number, _)) => format!("{}:{number}", error.file.display()),
            None => error.file.display().to_string(),
        };
        Self::new(
            ErrorCode::Configuration,
            format!("{place}: {}", error.message),
            error.hint,
        )
    }
}

/// A configuration file's text, which can say where a byte range is.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    file: &'a Path,
    text: &'a str,
}

impl<'a> Source<'a> {
    /// `text` as read from `file`.
    #[must_use]
    pub const fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text }
    }

    /// A mistake at these bytes of the text.
    #[must_use]
    pub fn error(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let number = before.matches('\n').count() + 1;
        let text = self.text.lines().nth(number - 1).unwrap_or_default();
        ConfigError {
            file: self.file.to_owned(),
            line: Some((number, text.to_owned())),
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// A mistake that has no place of its own.
    #[must_use]
    pub fn error_anywhere(
        &self,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> ConfigError {
        ConfigError {
            file: self.file.to_owned(),
            line: None,
            message: message.into(),
            hint: hint.into(),
        }
    }

    /// Parses the text into `T`, whose structs deny unknown fields.
    ///
    /// # Errors
    /// The first mistake, with its line and the nearest known key.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        toml::from_str(self.text).map_err(|error| {
            let (message, hint) = explain(error.message());
            match error.span() {
                // Of something missing, the span is all of the table that lacks it.
                Some(span) if !(message.starts_with("missing") && span.start == 0) => {
                    self.error(span, message, hint)
                }
                _ => self.error_anywhere(message, hint),
            }
        })
    }
}

/// The text of a configuration file.
///
/// # Errors
/// If it can't be read.
pub fn read(file: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(file).map_err(|error| ConfigError {
        file: file.to_owned(),
        line: None,
        message: format!("cannot be read: {error}"),
        hint: String::new(),
    })
}

/// Serde's message in the owner's words, and a hint.
fn explain(message: &str) -> (String, String) {
    if let Some(rest) = message.strip_prefix("unknown field ") {
        let names: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
        if let Some((unknown, known)) = names.split_first() {
            return (format!("unknown key `{unknown}`"), suggest(unknown, known));
        }
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return (format!("missing key {name}"), String::new());
    }
    let mut plain = message.replacen("invalid type: ", "found ", 1);
    plain = plain.replacen("invalid value: ", "found ", 1);
    for (rust, words) in [
        ("expected a sequence", "expected a list"),
        ("expected u64", "expected a whole number, 0 or more"),
        ("expected u32", "expected a whole number, 0 or more"),
        ("expected u16", "expected a whole number, 0 or more"),
        ("expected usize", "expected a whole number, 0 or more"),
        ("expected f64", "expected a number"),
        ("expected a boolean", "expected true or false"),
        ("floating point", "number"),
        ("sequence", "list"),
        ("map", "table"),
    ] {
        plain = plain.replacen(rust, words, 1);
    }
    (plain, String::new())
}
