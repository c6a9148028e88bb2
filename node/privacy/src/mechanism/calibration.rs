//! How much noise an (ε, δ) needs.

use skerry_proto::{Delta, Epsilon};

use super::MechanismError;
use crate::accounting::{epsilon_surcharge, round_up};

/// Room between calibrating and judging, relative: what is chosen for (ε, δ) is then also seen to keep it.
const MARGIN: f64 = 1e-9;

/// The least b with Δ1/b ≤ ε: Δ1/ε rounded up, in exact integers.
pub(super) fn laplace_scale(l1: u64, epsilon: Epsilon) -> Result<u64, MechanismError> {
    let dividend = u128::from(l1) * u128::from(Epsilon::UNIT);
    u64::try_from(dividend.div_ceil(u128::from(epsilon.nano())))
        .map_err(|_too_large| MechanismError::Scale)
}

/// Orders to try, α − 1 = 2^(j/16) from 1/16 to 2^32. Each order proves its own guarantee, so how many are tried decides only how
/// little noise is found: the best is missed by at most 2 % in α − 1, and the noise by 0.02 %.
fn orders() -> impl Iterator<Item = f64> {
    (-64..=512).map(|step| 1.0 + (f64::from(step) / 16.0).exp2())
}

/// A small integer σ that is (ε, δ)-differentially private for an L2 sensitivity of `l2`.
///
/// At order α the loss is αΔ²/(2σ²) (`Loss::of_gaussian`) and the guarantee is that plus
/// `epsilon_surcharge`. So σ = Δ·√(α/(2(ε − surcharge))) is enough, for any α; the least is
/// taken, rounded up.
pub(super) fn gaussian_scale(
    l2: u64,
    epsilon: Epsilon,
    delta: Delta,
) -> Result<u64, MechanismError> {
    let (epsilon, delta) = (epsilon.to_f64(), delta.to_f64());
    let squared_ratio = orders()
        .filter_map(|order| {
            let for_noise = epsilon - epsilon_surcharge(order, delta);
            (for_noise > 0.0).then(|| order / (2.0 * for_noise))
        })
        .fold(f64::INFINITY, f64::min);
    let scale = l2 as f64 * squared_ratio.sqrt() * (1.0 + MARGIN);
    // Refused by the caller if too large; a float converts to an integer saturating.
    Ok((scale.ceil() as u64).max(1))
}

/// The ε of noise σ at δ, in units of 1e-9, rounded up: the least over the same orders.
pub(super) fn gaussian_epsilon_nano(l2: u64, scale: u64, delta: Delta) -> u64 {
    let ratio = l2 as f64 / scale as f64;
    let delta = delta.to_f64();
    let epsilon = orders()
        .map(|order| round_up(order * ratio * ratio / 2.0) + epsilon_surcharge(order, delta))
        .fold(f64::INFINITY, f64::min);
    (epsilon * Epsilon::UNIT as f64).ceil() as u64
}
