//! What a researcher asks, and its way through call headers.

use skerry_proto::{Delta, Epsilon, ErrorCode, ProjectId, QueryId, Refusal, nearest::nearest};
use tonic::metadata::{KeyAndValueRef, MetadataMap};

use crate::{
    accuracy::{Accuracy, AccuracyError},
    refuse::refuse,
};

const EPSILON: &str = "skerry-epsilon";
const DELTA: &str = "skerry-delta";
const PROJECT: &str = "skerry-project";
const QUERY_ID: &str = "skerry-query-id";
const FRESH: &str = "skerry-fresh";
const ALLOW_MISSING: &str = "skerry-allow-missing";
const EXPLAIN: &str = "skerry-explain";
const ACCURACY: &str = "skerry-accuracy";
const NAMES: [&str; 8] = [
    EPSILON,
    DELTA,
    ACCURACY,
    PROJECT,
    QUERY_ID,
    FRESH,
    ALLOW_MISSING,
    EXPLAIN,
];

/// The project that is charged when none is named.
pub const DEFAULT_PROJECT: &str = "default";

/// A statement and what it may cost. What is left out has its default: ε = 1, δ = 0, the project
/// `default`, a new query id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Question {
    /// One SELECT.
    pub sql: String,
    /// ε of the whole statement.
    pub epsilon: Option<Epsilon>,
    /// δ of the whole statement.
    pub delta: Option<Delta>,
    /// In place of ε: the least that is this accurate is spent, and at most `epsilon`.
    pub accuracy: Option<Accuracy>,
    /// Whose budget.
    pub project: Option<ProjectId>,
    /// One id, one answer.
    pub query_id: Option<QueryId>,
    /// A new draw is wanted, and paid for, though the same was answered before.
    pub fresh: bool,
    /// An answer is wanted even if some regions are missing in it.
    pub allow_missing: bool,
    /// The cost is wanted, not the answer.
    pub explain: bool,
}

impl Question {
    /// A statement with defaults.
    pub fn new(sql: impl Into<String>) -> Self {
        Self {
            sql: sql.into(),
            ..Self::default()
        }
    }

    /// The call headers: names and values.
    #[must_use]
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::new();
        let mut add = |name, value: Option<String>| {
            if let Some(value) = value {
                headers.push((name, value));
            }
        };
        let flag = |set: bool| set.then(|| "true".to_owned());
        add(EPSILON, self.epsilon.map(|e| e.to_string()));
        add(DELTA, self.delta.map(|d| d.to_string()));
        add(ACCURACY, self.accuracy.map(|a| a.to_string()));
        add(PROJECT, self.project.as_ref().map(ToString::to_string));
        add(QUERY_ID, self.query_id.as_ref().map(ToString::to_string));
        add(FRESH, flag(self.fresh));
        add(ALLOW_MISSING, flag(self.allow_missing));
        add(EXPLAIN, flag(self.explain));
        headers
    }

    /// From a call. A header of ours that is not known is refused, so that no wish is overheard.
    pub(crate) fn from_headers(sql: String, headers: &MetadataMap) -> Result<Self, Refusal> {
        let mut question = Self::new(sql);
        for header in headers.iter() {
            let (name, value) = match header {
                KeyAndValueRef::Ascii(name, value) => (name.as_str(), value.to_str().ok()),
                KeyAndValueRef::Binary(name, _) => (name.as_str(), None),
            };
            if !name.starts_with("skerry-") {
                continue;
            }
            let Some(value) = value else {
                return refuse(
                    ErrorCode::InvalidParameter,
                    format!("the header `{name}` is not text"),
                    "",
                );
            };
            question.set(name, value)?;
        }
        Ok(question)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Refusal> {
        let bad =
            |why: String| Refusal::new(ErrorCode::InvalidParameter, format!("`{name}`: {why}"), "");
        let real = || {
            value
                .parse::<f64>()
                .map_err(|_| bad(format!("`{value}` is no number")))
        };
        let flag = || match value {
            "true" | "1" => Ok(true),
            "false" | "0" => Ok(false),
            _ => Err(bad(format!("`{value}` is neither true nor false"))),
        };
        match name {
            EPSILON => {
                let epsilon = Epsilon::try_from(real()?).map_err(|e| bad(e.to_string()))?;
                self.epsilon = Some(epsilon);
            }
            DELTA => {
                let delta = Delta::try_from(real()?).map_err(|e| bad(e.to_string()))?;
                self.delta = Some(delta);
            }
            ACCURACY => {
                let accuracy = value
                    .parse()
                    .map_err(|e: AccuracyError| bad(e.to_string()))?;
                self.accuracy = Some(accuracy);
            }
            PROJECT => self.project = Some(value.parse().map_err(|e| bad(format!("{e}")))?),
            QUERY_ID => self.query_id = Some(value.parse().map_err(|e| bad(format!("{e}")))?),
            FRESH => self.fresh = flag()?,
            ALLOW_MISSING => self.allow_missing = flag()?,
            EXPLAIN => self.explain = flag()?,
            other => {
                return refuse(
                    ErrorCode::InvalidParameter,
                    format!("there is no header `{other}`"),
                    match nearest(other, NAMES) {
                        Some(close) => format!("Did you mean `{close}`?"),
                        None => format!("The headers are {}.", NAMES.join(", ")),
                    },
                );
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_go_there_and_back() {
        let question = Question {
            sql: "SELECT 1".into(),
            epsilon: Epsilon::try_from(0.3).ok(),
            delta: Delta::try_from(1e-7).ok(),
            accuracy: "±5% of 2000".parse().ok(),
            project: "p".parse().ok(),
            query_id: "q-1".parse().ok(),
            fresh: true,
            allow_missing: false,
            explain: true,
        };
        let mut metadata = MetadataMap::new();
        for (name, value) in question.headers() {
            metadata.insert(name, value.parse().expect("header"));
        }
        metadata.insert("user-agent", "x".parse().expect("header"));
        assert_eq!(
            Question::from_headers("SELECT 1".into(), &metadata),
            Ok(question)
        );
    }

    #[test]
    fn wrong_headers_are_refused() {
        for (name, value) in [
            ("skerry-epsilon", "0"),
            ("skerry-epsilon", "NaN"),
            ("skerry-delta", "1"),
            ("skerry-accuracy", "very"),
            ("skerry-project", "../x"),
            ("skerry-fresh", "maybe"),
            ("skerry-epsilom", "1"),
        ] {
            let mut metadata = MetadataMap::new();
            metadata.insert(name, value.parse().expect("header"));
            let refusal = Question::from_headers(String::new(), &metadata).expect_err(value);
            assert_eq!(refusal.code, ErrorCode::InvalidParameter);
            assert!(refusal.message.contains("skerry-"), "{refusal}");
        }
    }
}
