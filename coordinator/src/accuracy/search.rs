//! The search for the least ε whose noise is narrow enough. It hangs on quotes alone, not on what is
//! left of a budget, so that a statement asked again with its query id finds the same ε.

use skerry_proto::{Epsilon, ErrorCode, Refusal, RegionId};

use super::figures;
use crate::{
    bounding,
    dispatch::{self, Quoted, Terms},
    plan::Planned,
    refuse::refuse,
    regions::Region,
};

/// How close the ε that is taken comes to the least: within this part of it.
const CLOSE: f64 = 0.01;
/// Quotes that a search may ask each region for. Noise is nearly in inverse proportion to ε, so
/// two to five are the rule.
const QUOTES: usize = 24;
/// The least ε of one release, in 1e-9.
const LEAST: u64 = 1_000;
/// The most that an ε can be, in 1e-9.
const MOST: u64 = 1_000 * Epsilon::UNIT;

/// A quote at some ε, and how wide its widest interval is.
pub(super) struct Tried {
    pub epsilon: Epsilon,
    /// Half of the 95 % interval.
    pub half_width: f64,
    pub quoted: Quoted,
}

/// The least ε that is accurate enough.
pub(super) struct Least {
    pub epsilon: Epsilon,
    pub quoted: Quoted,
    /// Where a region has less left: what is said if it has no stored answer either.
    pub beyond: Option<Refusal>,
}

/// A search for the least ε of one statement.
pub(super) struct Search<'a> {
    pub regions: &'a [Region],
    pub planned: &'a Planned,
    pub terms: &'a Terms,
}

/// The ε of a whole statement that every region could still pay, in 1e-9, and the region that could
/// pay least. A region pays for those releases of a statement that it has rows for.
pub(super) fn payable(quoted: &Quoted) -> Option<(u64, RegionId)> {
    let all = || quoted.frontiers.iter().flat_map(|(_, quotes)| quotes);
    let releases = quoted.frontiers.len() as u64;
    let payable = all().filter_map(|(region, quote)| {
        let budget = quote.budget.as_ref()?;
        let left = [budget.project.as_ref(), budget.total.as_ref()]
            .into_iter()
            .flatten()
            .map(|allowance| allowance.epsilon_left_nano)
            .min()?;
        let own = all().filter(|(other, _)| other == region).count() as u64;
        Some(((left / own.max(1)).saturating_mul(releases), region.clone()))
    });
    payable.min_by_key(|(nano, _)| *nano)
}

impl Search<'_> {
    /// The least ε that the statement's releases can share, in 1e-9.
    fn bottom(&self) -> u64 {
        LEAST.saturating_mul(self.planned.frontiers.len().max(1) as u64)
    }

    /// Quotes at an ε of so many 1e-9.
    pub async fn at(&self, nano: u64) -> Result<Tried, Refusal> {
        let epsilon = Epsilon::from_nano(nano.clamp(self.bottom(), MOST))
            .map_err(|error| Refusal::new(ErrorCode::InvalidParameter, error.to_string(), ""))?;
        let terms = Terms {
            epsilon,
            ..self.terms.clone()
        };
        let frontiers = &self.planned.frontiers;
        let quoted = dispatch::quote(self.regions, frontiers, &terms).await?;
        // Bounds that the statement gives make for less noise. None are looked for: that costs.
        let quoted = bounding::bound(self.regions, frontiers, quoted, &terms)
            .await?
            .quoted;
        match figures::widest(self.planned, &quoted)? {
            Some(half_width) => Ok(Tried {
                epsilon,
                half_width,
                quoted,
            }),
            None => refuse(
                ErrorCode::InvalidParameter,
                "no column of the answer is a figure as released, so no accuracy can be promised",
                "Give an epsilon, or ask for the counts and sums themselves: an accuracy is of \
                 those.",
            ),
        }
    }

    /// The least ε, to 1 %, at which no plain figure's interval is wider than ± `target`. `cap` is
    /// what the researcher would spend at most.
    pub async fn least(&self, target: f64, cap: Option<Epsilon>) -> Result<Least, Refusal> {
        // Too wide below, narrow enough above.
        let (mut wide, mut narrow): (Option<Tried>, Option<Tried>) = (None, None);
        let mut tried = self.at(Epsilon::UNIT).await?;
        for _ in 0..QUOTES {
            // In proportion; a hair above, so that it is narrow enough.
            let guess =
                tried.epsilon.nano() as f64 * tried.half_width / target * (1.0 + CLOSE / 4.0);
            let so = if tried.half_width <= target {
                &mut narrow
            } else {
                &mut wide
            };
            *so = Some(tried);
            let guess = match (&wide, &narrow) {
                (wide, Some(narrow)) if self.is_enough(wide.as_ref(), narrow, target) => break,
                (Some(wide), None) if wide.epsilon.nano() >= MOST => break,
                (Some(wide), Some(narrow)) => {
                    let (low, high) = (wide.epsilon.nano() as f64, narrow.epsilon.nano() as f64);
                    if low < guess && guess < high {
                        guess
                    } else {
                        (low * high).sqrt()
                    }
                }
                _ => guess,
            };
            tried = self.at(guess.min(MOST as f64).ceil() as u64).await?;
        }
        let payable = narrow
            .as_ref()
            .or(wide.as_ref())
            .and_then(|tried| payable(&tried.quoted));
        let left = payable.as_ref().map(|(left, _)| *left);
        let region = payable.as_ref().map(|(_, region)| region);
        let Some(narrow) = narrow else {
            return Err(self.unreachable(None, target, cap, left, region).await?);
        };
        let needed = Some(narrow.epsilon);
        if cap.is_some_and(|cap| cap < narrow.epsilon) {
            return Err(self.unreachable(needed, target, cap, left, region).await?);
        }
        let beyond = if left.is_some_and(|left| left < narrow.epsilon.nano()) {
            Some(self.unreachable(needed, target, cap, left, region).await?)
        } else {
            None
        };
        Ok(Least {
            epsilon: narrow.epsilon,
            quoted: narrow.quoted,
            beyond,
        })
    }

    /// Whether an ε is as good as the least. Noise falls at least as fast as 1/√ε (Gaussian at a large
    /// ε; Laplace as 1/ε), so an interval within half a per cent of what is allowed takes at most one
    /// per cent more than the least.
    fn is_enough(&self, wide: Option<&Tried>, narrow: &Tried, target: f64) -> bool {
        let close = |wide: &Tried| {
            narrow.epsilon.nano() as f64 <= wide.epsilon.nano() as f64 * (1.0 + CLOSE)
        };
        narrow.half_width >= target * (1.0 - CLOSE / 2.0)
            || wide.is_some_and(close)
            || narrow.epsilon.nano() <= self.bottom()
    }

    /// What can't be had, what it would take, and what can be had.
    async fn unreachable(
        &self,
        needed: Option<Epsilon>,
        target: f64,
        cap: Option<Epsilon>,
        left: Option<u64>,
        region: Option<&RegionId>,
    ) -> Result<Refusal, Refusal> {
        let capped = cap.map_or(MOST, Epsilon::nano);
        let most = left.map_or(capped, |left| left.min(capped)).min(MOST);
        let allowed = most as f64 / Epsilon::UNIT as f64;
        let who = match region {
            Some(region) if left == Some(most) => {
                format!("what region `{region}` has left allows {allowed}")
            }
            _ => format!("at most {allowed} may be spent"),
        };
        let takes = match needed {
            Some(needed) => format!("an epsilon of {}", short(needed.to_f64())),
            None => "more than any epsilon".to_owned(),
        };
        let reachable = if most < self.bottom() {
            "nothing is reachable".to_owned()
        } else {
            let half_width = self.at(most).await?.half_width;
            format!("±{} is reachable", short(half_width))
        };
        Ok(Refusal::new(
            ErrorCode::BudgetExhausted,
            format!("±{} takes {takes}, and {who}: {reachable}", short(target)),
            "Nothing was charged. Ask for less accuracy, for fewer groups or columns at once, or with \
             a delta where a person reaches many groups.",
        ))
    }
}

/// Three digits, rounded up so that what is called reachable is.
fn short(value: f64) -> String {
    if value <= 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let unit = 10_f64.powf(value.log10().floor() - 2.0);
    let rounded = (value / unit - 1e-9).ceil() * unit;
    let digits = (2.0 - value.log10().floor()).max(0.0) as usize;
    format!("{rounded:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reachable_is_rounded_up() {
        assert_eq!(short(71.23), "71.3");
        assert_eq!(short(25.0), "25.0");
        assert_eq!(short(0.012_345), "0.0124");
        assert_eq!(short(12_345.0), "12400");
    }
}
