//! `skerry query`

use std::io::{IsTerminal as _, Read as _};

use clap::Args;
use skerry_coordinator::question::Question;
use skerry_proto::{ErrorCode, Refusal};

use super::{
    asking::{Asking, ask},
    block_on,
};
use crate::output::{check_terminal, write_answer};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    pub asking: Asking,
    /// The question; `-` reads it from standard input
    #[arg(value_name = "SQL")]
    sql: String,
}

/// Asks, and writes the answer.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    let asking = &arguments.asking;
    check_terminal(asking.format)?;
    let question = asking.question(Question::new(sql(&arguments.sql)?))?;
    let answer = block_on(async {
        let client = asking.connection.open().await?;
        ask(&client, &question).await
    })?;
    write_answer(&answer, asking.format)
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
