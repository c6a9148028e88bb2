//! The command `skerry`, and a whole federation in one process, which the demo, the tests and
//! the benches start.

pub mod authority;
pub mod command;
pub mod federation;
pub mod init;
pub mod output;
pub mod plot;
pub mod progress;
pub mod synth;
