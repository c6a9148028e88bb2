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

/// Shared out in small pieces by many threads: by the system's allocator that is a fifth of a small question's time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
