//! Drawing the noise, with OpenDP's proven samplers and its cryptographic generator.

use std::{num::NonZero, thread};

use dashu::{integer::IBig, rational::RBig};
use opendp::{
    core::{Measure, Measurement, Metric, MetricSpace},
    domains::{AtomDomain, VectorDomain},
    error::Fallible,
    measurements::{MakeNoise, ZExpFamily},
    measures::{MaxDivergence, ZeroConcentratedDivergence},
    metrics::{L1Distance, L2Distance},
};

use super::{CELL_LIMIT, Mechanism, MechanismError, Noise};

/// Vectors of whole numbers of any size.
type Cells = VectorDomain<AtomDomain<IBig>>;

/// Fewer cells than this are not worth a thread.
const CELLS_PER_THREAD: usize = 512;

/// Roundings between the library's bound and ours, relative: both are floats near the same exact number.
const ROUNDING: f64 = 1e-14;

/// The cells, clamped to ±[`CELL_LIMIT`], each plus its own independent noise; clamped to 64 bits.
///
/// Privacy: if one person moves `cells` by at most `noise.sensitivity()` in the mechanism's norm,
/// the result loses at most `noise.loss()`. Clamping a cell never moves two vectors further apart. The
/// noise is independent from cell to cell, so parts drawn in threads of their own are one draw.
///
/// # Errors
/// [`MechanismError::Claim`] if OpenDP's privacy map says more than the loss, before any noise is
/// drawn; [`MechanismError::Sampling`] without randomness or threads. Never because of the cells.
pub fn release(noise: &Noise, cells: &[i64]) -> Result<Vec<i64>, MechanismError> {
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let length = cells.len().div_ceil(threads).max(CELLS_PER_THREAD);
    if cells.len() <= length {
        return release_part(noise, cells);
    }
    thread::scope(|scope| {
        let mut parts = Vec::with_capacity(threads);
        for part in cells.chunks(length) {
            let handle = thread::Builder::new()
                .name("noise".to_owned())
                .spawn_scoped(scope, move || release_part(noise, part))
                .map_err(|_no_thread| MechanismError::Sampling)?;
            parts.push(handle);
        }
        let mut released = Vec::with_capacity(cells.len());
        for part in parts {
            let part = part.join().map_err(|_panic| MechanismError::Sampling)?;
            released.extend(part?);
        }
        Ok(released)
    })
}

/// One part, in this thread: a measurement can't be sent to another.
fn release_part(noise: &Noise, cells: &[i64]) -> Result<Vec<i64>, MechanismError> {
    let cells = cells
        .iter()
        .map(|cell| IBig::from((*cell).clamp(-CELL_LIMIT, CELL_LIMIT)))
        .collect();
    let scale = RBig::from(noise.scale);
    let domain = VectorDomain::new(AtomDomain::<IBig>::default());
    let noisy = match noise.mechanism {
        Mechanism::DiscreteLaplace => {
            let measurement: Fallible<Measurement<_, _, MaxDivergence, _>> =
                ZExpFamily::<1> { scale }.make_noise((domain, L1Distance::<RBig>::default()));
            invoke(measurement, noise, &cells)
        }
        Mechanism::DiscreteGaussian => {
            let measurement: Fallible<Measurement<_, _, ZeroConcentratedDivergence, _>> =
                ZExpFamily::<2> { scale }.make_noise((domain, L2Distance::<RBig>::default()));
            invoke(measurement, noise, &cells)
        }
    }?;
    Ok(noisy.iter().map(saturate).collect())
}

/// Draws, once the library's own privacy map agrees with what is charged.
fn invoke<MI, MO>(
    measurement: Fallible<Measurement<Cells, MI, MO, Vec<IBig>>>,
    noise: &Noise,
    cells: &Vec<IBig>,
) -> Result<Vec<IBig>, MechanismError>
where
    MI: Metric<Distance = RBig> + 'static,
    MO: Measure<Distance = f64> + 'static,
    (Cells, MI): MetricSpace,
{
    // The library's errors are dropped: all that may be said is that there is no answer.
    let measurement = measurement.map_err(|_refused| MechanismError::Claim)?;
    let bound = measurement
        .map(&RBig::from(noise.sensitivity))
        .map_err(|_no_bound| MechanismError::Claim)?;
    if bound > noise.claimed() * (1.0 + ROUNDING) {
        return Err(MechanismError::Claim);
    }
    measurement
        .invoke(cells)
        .map_err(|_no_randomness| MechanismError::Sampling)
}

/// The nearest number of 64 bits.
fn saturate(value: &IBig) -> i64 {
    i64::try_from(value).unwrap_or(if *value < IBig::ZERO {
        i64::MIN
    } else {
        i64::MAX
    })
}
