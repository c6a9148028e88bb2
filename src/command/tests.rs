use clap::{CommandFactory as _, Parser as _};

use super::Cli;

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn numbers_that_are_none_reach_the_check() {
    for epsilon in ["-1", "nan", "abc"] {
        let line = ["skerry", "query", "--epsilon", epsilon, "SELECT 1"];
        assert!(Cli::try_parse_from(line).is_ok(), "{epsilon}");
    }
}
