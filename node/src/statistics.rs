//! Trusted. Files' statistics, which the engine isn't to use.
//!
//! Promise: what is read of a row doesn't hang on the rows beside it, which are other persons'. The least
//! and greatest value of a column leave NaN out, which the engine compares as the greatest. By them it
//! would pass a row with NaN over or not, or put in its place the one value that all others have.

use datafusion::prelude::SessionConfig;

/// The same, without use of statistics.
#[must_use]
pub fn unused(mut session: SessionConfig) -> SessionConfig {
    let execution = &mut session.options_mut().execution;
    execution.collect_statistics = false;
    execution.parquet.pruning = false;
    execution.parquet.enable_page_index = false;
    session
}
