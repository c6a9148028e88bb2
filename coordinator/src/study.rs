//! Studies: questions that regions ask again and again, each in one file with its SQL, its
//! parameters, what its figures mean and how they are drawn. Nothing about a single study is
//! written in Rust; `coordinator/studies/README.md` tells what a file holds.

mod file;
mod lack;
mod parameter;
mod placeholder;
mod plot;

use std::{collections::BTreeMap, path::Path};

use serde_json::Value as Json;
use skerry_proto::{Delta, Epsilon, ErrorCode, Refusal, configuration::read, nearest::suggest};

use crate::{question::Question, refuse::refuse};

pub use lack::Lack;
pub use parameter::{Allowed, Parameter, Value};
pub use skerry_proto::configuration::ConfigError;

macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../studies/", $name, ".toml")))),*]
    };
}

/// The studies that come with the command: names, and the texts of their files.
const EMBEDDED: &[(&str, &str)] = embedded![
    "access",
    "acute_alert",
    "before_after",
    "caseload",
    "cost_before_after",
    "distance_spanning",
    "experience",
    "identification",
    "initiatives",
    "model_regions",
    "pathway_deadlines",
    "standardised_rates",
];

/// A study, as its file says; checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Its file's name without `.toml`.
    pub name: String,
    /// What it is called.
    pub title: String,
    /// What it answers.
    pub question: String,
    /// Where the question comes from.
    pub source: String,
    /// ε that is spent unless the researcher says otherwise.
    pub epsilon: Epsilon,
    /// δ, for keys without public values.
    pub delta: Option<Delta>,
    /// How its figures are to be read, and what they can't tell.
    pub reading: String,
    /// The tables that it reads and their columns, without `region`.
    pub tables: Vec<(String, Vec<String>)>,
    /// What each column of the answer means, in the answer's order.
    pub columns: Vec<(String, String)>,
    /// What can be chosen, in the file's order.
    pub parameters: Vec<Parameter>,
    /// A Vega-Lite specification without data, as it stands in the file.
    pub plot: Json,
    /// SQL with `$name` for each parameter.
    template: String,
}

/// The parameters that a study is run with, as they were given; the others have their defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given(BTreeMap<String, String>);

impl Given {
    /// From texts as `days=180`.
    ///
    /// # Errors
    /// One without `=`, or a name that is there twice.
    pub fn parse<T: AsRef<str>>(pairs: &[T]) -> Result<Self, Refusal> {
        let mut given = Self::default();
        for pair in pairs {
            let pair = pair.as_ref();
            let Some((name, value)) = pair.split_once('=') else {
                return refuse(
                    ErrorCode::InvalidParameter,
                    format!("`{pair}` is no parameter"),
                    "write name=value, as in --param days=180",
                );
            };
            given.add(name.trim(), value.trim())?;
        }
        Ok(given)
    }

    /// One more.
    ///
    /// # Errors
    /// If it is there already.
    pub fn add(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        match self.0.insert(name.to_owned(), value.to_owned()) {
            None => Ok(()),
            Some(_) => refuse(
                ErrorCode::InvalidParameter,
                format!("parameter `{name}` is given twice"),
                "",
            ),
        }
    }
}

/// The names of the studies that come with the command, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    EMBEDDED.iter().map(|(name, _)| *name)
}

/// All studies that come with the command, in alphabetical order.
///
/// # Errors
/// A mistake in a file; a test holds that there is none.
pub fn all() -> Result<Vec<Study>, ConfigError> {
    let parsed = EMBEDDED.iter().map(|(name, text)| Study::parse(name, text));
    parsed.collect()
}

/// A study that comes with the command.
///
/// # Errors
/// No such study: with the nearest name.
pub fn find(name: &str) -> Result<Study, Refusal> {
    match EMBEDDED.iter().find(|(known, _)| *known == name) {
        Some((name, text)) => Ok(Study::parse(name, text)?),
        None => {
            let known: Vec<&str> = names().collect();
            refuse(
                ErrorCode::InvalidParameter,
                format!("there is no study `{name}`"),
                suggest(name, &known),
            )
        }
    }
}

/// The names of the placeholders in SQL, each as often as it stands there.
///
/// # Errors
/// Text that is no SQL, or a placeholder of another form.
pub(crate) fn placeholders(sql: &str) -> Result<Vec<String>, String> {
    let found = placeholder::placeholders(sql)?;
    Ok(found.into_iter().map(|found| found.name).collect())
}

/// SQL with values in the places of its placeholders.
///
/// # Errors
/// A placeholder that has no value.
pub(crate) fn fill(sql: &str, value: impl Fn(&str) -> Option<Value>) -> Result<String, Refusal> {
    placeholder::replace(sql, |name| value(name).map(|value| value.literal()))
        .map_err(|message| Refusal::new(ErrorCode::Syntax, message, ""))
}

impl Study {
    /// Reads a study's file, one that doesn't come with the command.
    ///
    /// # Errors
    /// The first mistake, with its line and what to write instead.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = read(path)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        file::parse(path, &stem, &text)
    }

    /// Reads the text of a study's file.
    ///
    /// # Errors
    /// The first mistake, with its line and what to write instead.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        file::parse(Path::new(&format!("{name}.toml")), name, text)
    }

    /// The SQL as it stands in the file, with `$name` for each parameter.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Each parameter with its value, in the file's order.
    ///
    /// # Errors
    /// A parameter that the study doesn't have, or a value that isn't allowed.
    pub fn values(&self, given: &Given) -> Result<Vec<(&str, Value)>, Refusal> {
        for name in given.0.keys() {
            if !self.parameters.iter().any(|known| known.name == *name) {
                let known: Vec<&str> = self.parameters.iter().map(|p| p.name.as_str()).collect();
                let hint = match known.as_slice() {
                    [] => "it has none".to_owned(),
                    known => suggest(name, known),
                };
                return refuse(
                    ErrorCode::InvalidParameter,
                    format!("study `{}` has no parameter `{name}`", self.name),
                    hint,
                );
            }
        }
        let values = self.parameters.iter().map(|parameter| {
            let value = match given.0.get(&parameter.name) {
                Some(text) => parameter.read(&self.name, text)?,
                None => parameter.default.clone(),
            };
            Ok((parameter.name.as_str(), value))
        });
        values.collect()
    }

    /// The SQL with the parameters' values in it.
    ///
    /// # Errors
    /// A parameter that the study doesn't have, or a value that isn't allowed.
    pub fn sql(&self, given: &Given) -> Result<String, Refusal> {
        let values = self.values(given)?;
        fill(&self.template, |name| {
            let (_, value) = values.iter().find(|(known, _)| *known == name)?;
            Some(value.clone())
        })
    }

    /// What to ask the federation, at the study's own ε and δ.
    ///
    /// # Errors
    /// As for [`Study::sql`].
    pub fn ask(&self, given: &Given) -> Result<Question, Refusal> {
        Ok(Question {
            epsilon: Some(self.epsilon),
            delta: self.delta,
            ..Question::new(self.sql(given)?)
        })
    }
}

#[cfg(test)]
mod tests;
