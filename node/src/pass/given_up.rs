//! Whether anybody still waits for a pass. Its threads can't be stopped from outside.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use datafusion::common::{Result as EngineResult, internal_err};

/// Told to all steps of all threads.
#[derive(Debug, Clone, Default)]
pub struct GivenUp(Arc<AtomicBool>);

impl GivenUp {
    /// Goes on as long as somebody waits.
    ///
    /// # Errors
    /// If nobody does.
    pub fn check(&self) -> EngineResult<()> {
        if self.0.load(Ordering::Relaxed) {
            return internal_err!("nobody waits any more");
        }
        Ok(())
    }
}

/// Whoever waits. Dropped, the pass is given up.
#[derive(Debug)]
pub struct Waiting(pub GivenUp);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}
