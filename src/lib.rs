//! The command `skerry`, and a whole federation in one process, which the demo, the tests and
//! the benches start.

pub mod authority;
pub mod init;
pub mod synth;
