//! What `skerry query` and `skerry study run` have in common: how a question is paid for, asked and
//! answered.

use clap::Args;
use skerry_coordinator::{
    accuracy::AccuracyError, answer::Answer, client::Client, question::Question,
};
use skerry_proto::{Delta, Epsilon, ErrorCode, ParameterError, ProjectId, QueryId, Refusal};

use super::connection::Connection;
use crate::{output::Format, progress::waiting};

#[derive(Debug, Args)]
pub struct Asking {
    #[command(flatten)]
    pub connection: Connection,
    /// Whose budget it is charged to
    #[arg(long, default_value = "default", value_name = "NAME")]
    project: String,
    /// The privacy loss to spend: more of it, less noise [default: what the SQL or the study says,
    /// else 1]
    #[arg(long, value_name = "E", allow_hyphen_values = true)]
    epsilon: Option<String>,
    /// The δ to spend: with it, questions on many groups have less noise [default: what the SQL or
    /// the study says, else 0]
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    delta: Option<String>,
    /// In place of an epsilon, the half of the 95 % interval that every count and sum of the answer
    /// may have at most: `±25`, `±5% of 2000`, or `±5%`, for which first a small part of the budget
    /// tells how large the figures are. The least epsilon that does is spent, and --epsilon at most
    #[arg(long, value_name = "A", allow_hyphen_values = true)]
    accuracy: Option<String>,
    /// Say what it would cost, how precise it would be, and ask nothing; free
    #[arg(long)]
    pub explain: bool,
    /// Draw new noise, and pay, even if the same question was answered before
    #[arg(long)]
    fresh: bool,
    /// An id of your own: a retry with it gets the same answer, and never pays twice
    #[arg(long, value_name = "ID")]
    query_id: Option<String>,
    /// Answer without the regions that can't be reached
    #[arg(long)]
    allow_missing: bool,
    /// How the answer is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

impl Asking {
    /// The question as it is asked. What isn't given here stays as `question` has it, but that an
    /// accuracy takes the place of its ε.
    pub fn question(&self, question: Question) -> Result<Question, Refusal> {
        let epsilon = self
            .epsilon
            .as_deref()
            .map(|text| parameter(text, ParameterError::Epsilon, Epsilon::try_from))
            .transpose()?;
        let delta = self
            .delta
            .as_deref()
            .map(|text| parameter(text, ParameterError::Delta, Delta::try_from))
            .transpose()?;
        let accuracy = self
            .accuracy
            .as_deref()
            .map(|text| {
                text.parse().map_err(|error: AccuracyError| {
                    let message = format!("`{text}`: {error}");
                    Refusal::new(ErrorCode::InvalidParameter, message, "")
                })
            })
            .transpose()?;
        let query_id = self
            .query_id
            .as_deref()
            .map(identifier::<QueryId, _>)
            .transpose()?;
        Ok(Question {
            sql: question.sql,
            project: Some(identifier::<ProjectId, _>(&self.project)?),
            epsilon: match accuracy {
                Some(_) => epsilon,
                None => epsilon.or(question.epsilon),
            },
            delta: delta.or(question.delta),
            accuracy,
            query_id,
            fresh: self.fresh,
            allow_missing: self.allow_missing,
            explain: self.explain,
        })
    }
}

/// Asks, and waits for the answer.
pub async fn ask(client: &Client, question: &Question) -> Result<Answer, Refusal> {
    let waiting = waiting("the regions are answering");
    let answer = client.query(question).await;
    waiting.finish_and_clear();
    answer
}

/// A text that is no number is refused as a number out of range is.
pub fn parameter<T>(
    text: &str,
    otherwise: ParameterError,
    check: impl Fn(f64) -> Result<T, ParameterError>,
) -> Result<T, Refusal> {
    text.parse::<f64>()
        .map_err(|_| otherwise)
        .and_then(check)
        .map_err(|error| {
            Refusal::new(
                ErrorCode::InvalidParameter,
                format!("`{text}`: {error}"),
                "",
            )
        })
}

/// A project or a query id.
pub fn identifier<T, E>(text: &str) -> Result<T, Refusal>
where
    T: std::str::FromStr<Err = E>,
    E: std::error::Error,
{
    text.parse()
        .map_err(|error: E| Refusal::new(ErrorCode::InvalidParameter, error.to_string(), ""))
}
