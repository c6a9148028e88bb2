//! How large figures are that an accuracy is a part of. Small releases of the whole statement tell.

use skerry_proto::{Epsilon, ErrorCode, Refusal};

use super::{
    figures,
    search::{self, Search},
};
use crate::{
    dispatch::{self, Asked, Terms},
    plan::Planned,
    refuse::refuse,
    regions::Region,
};

/// The ε of the first release that sizes are looked for with, in 1e-9, and how many times more
/// each following one takes.
const FIRST_LOOK: u64 = Epsilon::UNIT / 1_000;
const NEXT_LOOK: u64 = 4;
/// How close a look at a size has to come, as a part of it.
const LOOKED: f64 = 0.5;
/// The largest part of what may be spent that one look takes.
const LARGEST_PART: f64 = 0.25;

/// What was found out about the sizes of figures, and what that cost.
#[derive(Debug)]
pub(crate) struct Looked {
    /// Half the interval that is asked for.
    pub target: f64,
    /// The releases, which were charged.
    pub asked: Vec<Asked>,
    /// Their ε.
    pub epsilon: f64,
    /// Their δ.
    pub delta: f64,
}

/// Looks how large the smallest plain figure is, so that ± `percent` of it becomes a number.
///
/// Releases of the whole statement at a small ε, each with four times more than the one before,
/// until the noise is at most half of the smallest figure. That takes 2 × `percent` / 100 of the ε
/// that the answer itself will take, or up to four times that: so where that is beyond what is
/// left, it is refused then, and not looked for further.
pub(super) async fn look(
    regions: &[Region],
    planned: &Planned,
    terms: &Terms,
    percent: f64,
    cap: Option<Epsilon>,
) -> Result<Looked, Refusal> {
    let mut looked = Looked {
        target: 0.0,
        asked: Vec::new(),
        epsilon: 0.0,
        delta: 0.0,
    };
    let mut nano = FIRST_LOOK;
    loop {
        let number = looked.asked.len() + 1;
        let terms = Terms {
            query_id: dispatch::derived_id(&terms.query_id, &format!("look{number}"))?,
            ..terms.clone()
        };
        let search = Search {
            regions,
            planned,
            terms: &terms,
        };
        let tried = search.at(nano).await?;
        let all = || tried.quoted.frontiers.iter().flat_map(|(_, quotes)| quotes);
        if all().any(|(_, quote)| quote.threshold.is_some()) {
            return refuse(
                ErrorCode::InvalidParameter,
                format!(
                    "±{percent}% of figures can't be promised where the keys aren't known beforehand"
                ),
                format!("Say of which size, as in '±{percent}% of 2000'."),
            );
        }
        let left = search::payable(&tried.quoted).map(|(left, _)| left);
        // What a retry finds stored was paid from the same budget.
        let most = left.map(|left| left.saturating_add((looked.epsilon * 1e9) as u64));
        let caps = [most, cap.map(Epsilon::nano)].into_iter().flatten();
        // With this ε a figure that is just small enough to be missed takes all that may be spent.
        let part = (percent / 100.0 / LOOKED).min(LARGEST_PART);
        if caps
            .min()
            .is_some_and(|most| nano as f64 > most as f64 * part)
        {
            return refuse(
                ErrorCode::BudgetExhausted,
                format!("the smallest figure is too small for ±{percent}% with what may be spent"),
                format!(
                    "Looking at its size took an epsilon of {:.3}. Ask for fewer groups, or say \
                     ±{percent}% of a size, as in '±{percent}% of 2000'.",
                    looked.epsilon
                ),
            );
        }
        let asked = dispatch::release(regions, tried.quoted, &terms).await?;
        let smallest = figures::smallest(planned, &asked)?;
        looked.asked.push(asked);
        looked.epsilon += tried.epsilon.to_f64();
        looked.delta += terms.delta.to_f64();
        if let Some((size, half_width)) = smallest
            && half_width <= LOOKED * size
        {
            looked.target = percent / 100.0 * size * cushion(half_width / size);
            return Ok(looked);
        }
        nano *= NEXT_LOOK;
    }
}

/// By how much less than a size that is known to ± `relative` of itself the answer has to be
/// planned for, so that over both noises it is within its promise in 95 of 100 cases: the c with
/// 20^(−1/c) / (1 − (relative/c)²) = 1/20, both noises Laplace. (The answer's noise is planned
/// for c times the looked-at size; the true one differs from that by the first noise.)
fn cushion(relative: f64) -> f64 {
    let missed = |c: f64| 20_f64.powf(-1.0 / c) / (1.0 - (relative / c).powi(2));
    let (mut low, mut high) = (0.75, 1.0);
    for _ in 0..60 {
        let middle = (low + high) / 2.0;
        if missed(middle) > 0.05 {
            high = middle;
        } else {
            low = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_that_is_hardly_known_is_taken_for_smaller() {
        assert!((cushion(0.0) - 1.0).abs() < 1e-6);
        let at = |relative: f64| cushion(relative);
        assert!(at(0.5) < at(0.25) && at(0.25) < 1.0);
        for relative in [0.1, 0.25, 0.5_f64] {
            let c = at(relative);
            let missed = 20_f64.powf(-1.0 / c) / (1.0 - (relative / c).powi(2));
            assert!((missed - 0.05).abs() < 1e-6, "{relative}: {c} {missed}");
        }
    }
}
