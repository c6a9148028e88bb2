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

/// Many threads take and give back memory, small questions in small pieces and large ones as much again each
/// time: the system's allocator takes longer for both.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
