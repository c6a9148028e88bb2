//! The command `skerry`.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    skerry::command::run(skerry::command::Cli::parse())
}
