//! How long a release's noise takes.

use std::time::Instant;

use clap::Args;
use skerry_privacy::mechanism::{Mechanism, Noise, release};

use crate::{
    Failure,
    measure::{Meter, since},
    results::Drawn,
};

/// What is drawn.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Cells of a release
    #[arg(long, default_value_t = 10_000)]
    cells: usize,
    /// Releases with each noise, after one that doesn't count; the median counts
    #[arg(long, default_value_t = 15)]
    runs: usize,
    /// Scales of the noise, as powers of two: b of Laplace, σ of Gaussian noise, in cell units. Counts
    /// have small ones, sums of floats on a fine grid large ones
    #[arg(long, value_delimiter = ',', default_value = "4,20,33,46")]
    scales: Vec<u32>,
}

impl Options {
    /// Draws all of it, by as many threads as a node's release has: one for each core.
    pub fn measure(&self) -> Result<Vec<Drawn>, Failure> {
        let cells: Vec<i64> = (0..self.cells as i64).collect();
        let mut all = vec![];
        for (mechanism, name) in [
            (Mechanism::DiscreteLaplace, "discrete Laplace"),
            (Mechanism::DiscreteGaussian, "discrete Gaussian"),
        ] {
            for power in &self.scales {
                let scale = 1_u64.checked_shl(*power).ok_or("too large a scale")?;
                let noise = Noise::new(mechanism, scale, 1)?;
                release(&noise, &cells)?;
                let (meter, mut times) = (Meter::start(), vec![]);
                for _ in 0..self.runs {
                    let began = Instant::now();
                    release(&noise, &cells)?;
                    times.push(since(began));
                }
                all.push(Drawn {
                    mechanism: name.to_owned(),
                    scale,
                    cells: self.cells,
                    run: meter.stop(times, self.cells),
                });
            }
        }
        Ok(all)
    }
}
