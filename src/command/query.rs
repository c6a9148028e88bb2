//! `skerry query`

use std::io::{IsTerminal as _, Read as _};

use clap::Args;
use skerry_coordinator::{accuracy::AccuracyError, question::Question};
use skerry_proto::{Delta, Epsilon, ErrorCode, ParameterError, ProjectId, QueryId, Refusal};

use super::{block_on, connection::Connection};
use crate::{
    output::{Format, check_terminal, write_answer},
    progress::waiting,
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// Whose budget it is charged to
    #[arg(long, default_value = "default", value_name = "NAME")]
    project: String,
    /// The privacy loss to spend: more of it, less noise [default: 1, or what the SQL says]
    #[arg(long, value_name = "E", allow_hyphen_values = true)]
    epsilon: Option<String>,
    /// The δ to spend: with it, questions on many groups have less noise [default: 0, or what the
    /// SQL says]
    #[arg(long, value_name = "D", allow_hyphen_values = true)]
    delta: Option<String>,
    /// In place of an epsilon, the half of the 95 % interval that every count and sum of the answer
    /// may have at most: `±25`, `±5% of 2000`, or `±5%`, for which first a small part of the budget
    /// tells how large the figures are. The least epsilon that does is spent, and --epsilon at most
    #[arg(long, value_name = "A", allow_hyphen_values = true)]
    accuracy: Option<String>,
    /// Say what it would cost, how precise it would be, and ask nothing; free
    #[arg(long)]
    explain: bool,
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
    /// The question; `-` reads it from standard input
    #[arg(value_name = "SQL")]
    sql: String,
}

/// Asks, and writes the answer.
pub fn run(arguments: Arguments) -> Result<(), Refusal> {
    check_terminal(arguments.format)?;
    let question = Question {
        sql: sql(&arguments.sql)?,
        project: Some(identifier::<ProjectId, _>(&arguments.project)?),
        epsilon: arguments
            .epsilon
            .as_deref()
            .map(|text| parameter(text, ParameterError::Epsilon, Epsilon::try_from))
            .transpose()?,
        delta: arguments
            .delta
            .as_deref()
            .map(|text| parameter(text, ParameterError::Delta, Delta::try_from))
            .transpose()?,
        accuracy: arguments
            .accuracy
            .as_deref()
            .map(|text| {
                text.parse().map_err(|error: AccuracyError| {
                    Refusal::new(
                        ErrorCode::InvalidParameter,
                        format!("`{text}`: {error}"),
                        "",
                    )
                })
            })
            .transpose()?,
        query_id: arguments
            .query_id
            .as_deref()
            .map(identifier::<QueryId, _>)
            .transpose()?,
        fresh: arguments.fresh,
        allow_missing: arguments.allow_missing,
        explain: arguments.explain,
    };
    let answer = block_on(async {
        let client = arguments.connection.open().await?;
        let waiting = waiting("the regions are answering");
        let answer = client.query(&question).await;
        waiting.finish_and_clear();
        answer
    })?;
    write_answer(&answer, arguments.format)
}

fn sql(given: &str) -> Result<String, Refusal> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    let mut input = std::io::stdin().lock();
    if input.is_terminal() {
        eprintln!("SQL, then Ctrl-D:");
    }
    input.read_to_string(&mut text).map_err(|error| {
        Refusal::new(
            ErrorCode::Syntax,
            format!("standard input cannot be read: {error}"),
            "",
        )
    })?;
    Ok(text)
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
