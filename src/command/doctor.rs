//! `skerry doctor`

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use skerry_node::doctor::{Verdict, doctor};

use super::block_on;
use crate::output::{Format, colours, print, print_refusal};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The node's configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints what is right and what is wrong; the exit code is 1 when anything is wrong.
pub fn run(arguments: &Arguments) -> ExitCode {
    match block_on(async { Ok(doctor(&arguments.file).await) }) {
        Err(refusal) => {
            print_refusal(&refusal, Format::Table);
            ExitCode::FAILURE
        }
        Ok(findings) => {
            let colours = colours();
            for finding in &findings {
                let (word, colour) = match finding.verdict {
                    Verdict::Right => ("ok   ", "\u{1b}[32m"),
                    Verdict::Doubtful => ("look ", "\u{1b}[33m"),
                    Verdict::Wrong => ("WRONG", "\u{1b}[1;31m"),
                };
                let word = if colours {
                    format!("{colour}{word}\u{1b}[0m")
                } else {
                    word.to_owned()
                };
                let message = finding.message.replace('\n', "\n      ");
                let mut text = format!("{word} {}: {message}", finding.subject);
                if !finding.advice.is_empty() {
                    text.push_str(&format!("\n      {}", finding.advice));
                }
                if print(&text).is_err() {
                    return ExitCode::FAILURE;
                }
            }
            if findings
                .iter()
                .any(|finding| finding.verdict == Verdict::Wrong)
            {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}
