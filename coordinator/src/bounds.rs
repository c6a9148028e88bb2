//! Bounds on what one person contributes: declared by the owners, given by the researcher, or found
//! with a small part of the budget.
//!
//! Declared bounds are rows × range, which nobody comes near where use is long-tailed, and the
//! noise is as large as they are. To find better ones the regions first release, for each measure,
//! persons by power-of-two bin of their own total. From those counts the bound is chosen that makes
//! noise and clipping bias together least, one for all regions. The owners' bounds stay in force:
//! no bound asked for here can widen one.

use skerry_proto::{Delta, Epsilon, ErrorCode, Refusal, wire};

use crate::{
    merge::{self, Merged},
    options::Bounds,
    tree,
};

/// This part of a release's ε and δ finds its bounds.
const SHARE: u64 = 10;
/// Declared bounds this many times one row, or ten units of a sum, are worth replacing.
const WORTH: f64 = 8.0;
/// A bias counts this many times as much as noise of its size, so that intervals keep their level.
const BIAS_WEIGHT: f64 = 4.0;
/// A range that holds zero and goes further than this is taken to have a long tail, with most
/// values near zero: money, minutes, kilometres. Ages and shares don't go so far.
const LONG_TAILED: f64 = 150.0;
/// Bins beyond the last that stands out of the noise, in which a tail may go on.
const TAIL: usize = 6;
/// A bin with a count above so many standard deviations stands out of the noise, next to one that
/// does as well.
const SIGNIFICANT: f64 = 2.5;
/// A bin by itself has to stand out so far: of dozens of empty ones noise lifts one above
/// `SIGNIFICANT` in every third search, and a bound that follows it makes the answer worthless.
const BY_ITSELF: f64 = 6.0;

/// How a release's bounds come about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Plan {
    /// As the owners declare.
    Declared,
    /// Narrower, as the researcher says.
    Given,
    /// Narrower, from persons' totals.
    Found,
}

/// Which plan fits a release.
pub(crate) fn plan(bounds: Bounds, given: &Given, measures: &[wire::Measure]) -> Plan {
    if given.rows.is_some() || given.total.is_some() {
        return Plan::Given;
    }
    match bounds {
        Bounds::Declared => Plan::Declared,
        Bounds::Found => Plan::Found,
        Bounds::Automatic if measures.iter().any(is_worth_it) => Plan::Found,
        Bounds::Automatic => Plan::Declared,
    }
}

/// Bounds that the researcher gives.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Given {
    /// `max_rows_contributed`
    pub rows: Option<u64>,
    /// `max_total_contributed`, of sums.
    pub total: Option<f64>,
}

/// The most that one row adds to a measure of numbers, as declared; 1 for one of rows or persons.
fn most_of_row(measure: &wire::Measure) -> f64 {
    match measure.kind() {
        wire::MeasureKind::Sum | wire::MeasureKind::Product => measure
            .factors
            .iter()
            .map(|factor| {
                (factor.low - factor.centre)
                    .abs()
                    .max((factor.high - factor.centre).abs())
            })
            .product(),
        // A row is counted once a level.
        wire::MeasureKind::Bins => tree::levels(measure.edges.len().saturating_sub(1)).len() as f64,
        wire::MeasureKind::Unspecified
        | wire::MeasureKind::Persons
        | wire::MeasureKind::Rows
        | wire::MeasureKind::Values => 1.0,
    }
}

/// Whether a declared bound is far above what a person usually has, as far as declarations tell.
fn is_worth_it(measure: &wire::Measure) -> bool {
    let of_row = most_of_row(measure);
    let of_row = match measure.kind() {
        wire::MeasureKind::Sum | wire::MeasureKind::Product => (of_row / 10.0).max(1.0),
        wire::MeasureKind::Unspecified
        | wire::MeasureKind::Persons
        | wire::MeasureKind::Rows
        | wire::MeasureKind::Bins
        | wire::MeasureKind::Values => 1.0,
    };
    measure.rows as f64 * of_row >= WORTH
}

/// The shares of finding and of answering.
pub(crate) fn shares(
    question: &wire::Question,
) -> Result<(wire::Question, wire::Question), Refusal> {
    let (epsilon, delta) = (question.epsilon_nano, question.delta_atto);
    let part = |whole: u64| whole / SHARE;
    let too_small = |_| {
        Refusal::new(
            ErrorCode::InvalidParameter,
            "epsilon is too small to be shared with the search for bounds",
            "Ask with a larger epsilon, or OPTIONS(bounds = 'declared').",
        )
    };
    Epsilon::from_nano(part(epsilon)).map_err(too_small)?;
    Delta::from_atto(delta).map_err(too_small)?;
    let with = |epsilon_nano, delta_atto, purpose: wire::Purpose| wire::Question {
        epsilon_nano,
        delta_atto,
        purpose: purpose.into(),
        ..question.clone()
    };
    Ok((
        with(part(epsilon), part(delta), wire::Purpose::Totals),
        with(
            epsilon - part(epsilon),
            delta - part(delta),
            wire::Purpose::Answer,
        ),
    ))
}

/// The declared bounds as a frame, narrowed by what the researcher gives.
pub(crate) fn given_frame(measures: &[wire::Measure], given: &Given) -> Vec<wire::MeasureFrame> {
    let mut frames: Vec<_> = measures.iter().map(merge::frame).collect();
    for (frame, measure) in frames.iter_mut().zip(measures) {
        if let Some(rows) = given.rows {
            frame.rows = frame.rows.min(rows);
        }
        let is_sum = measure.kind() == wire::MeasureKind::Sum;
        if let (true, Some(total)) = (is_sum, given.total) {
            frame.total = total;
        }
    }
    frames
}

/// The declared bounds as a frame in which bounds are searched. Numbers with a long tail are not
/// centred: most of them are near zero, far from the middle of their range.
pub(crate) fn search_frame(measures: &[wire::Measure]) -> Vec<wire::MeasureFrame> {
    let mut frames = given_frame(measures, &Given::default());
    for range in frames.iter_mut().flat_map(|frame| &mut frame.ranges) {
        let holds_zero = range.low <= 0.0 && range.high >= 0.0;
        if holds_zero && range.low.abs().max(range.high) > LONG_TAILED {
            range.centre = 0.0;
        }
    }
    frames
}

/// What was found for one measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FoundBound {
    /// On a person's own total, in the measure's unit; none: the declared one is kept.
    pub total: Option<f64>,
    /// By which part of the whole clipping lowers the sum of all groups, as estimated.
    pub low_by: f64,
}

/// What an answer will be like, as far as the choice of bounds needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Setting {
    /// Cells of a measure that the persons' contributions are spread over.
    pub groups: f64,
    /// Standard deviation of a cell's noise over the limit to which vectors are scaled.
    pub noise_of_limit: f64,
    /// Whether vectors are scaled in L2 norm.
    pub squared: bool,
}

impl Setting {
    /// Of the answer to a question that was quoted with declared bounds and all of ε.
    pub fn of(quotes: &[&wire::Quote]) -> Option<Self> {
        let first = quotes.first()?;
        let noise = first.noise.as_ref()?;
        let squared = noise.mechanism() == wire::Mechanism::DiscreteGaussian;
        let scale = noise.scale as f64 / noise.sensitivity.max(1) as f64;
        let keep = 1.0 - 1.0 / SHARE as f64;
        let merged: std::collections::HashSet<Vec<skerry_proto::Value>> = quotes
            .iter()
            .flat_map(|quote| &quote.groups)
            .map(|group| group.keys.iter().map(Into::into).collect())
            .collect();
        let groups = merged.len().max(1) as f64;
        let parts: usize = quotes.iter().map(|quote| quote.groups.len()).sum();
        let regions_of_group = parts as f64 / groups;
        let of_cell = if squared {
            1.0
        } else {
            std::f64::consts::SQRT_2
        };
        Some(Self {
            groups,
            noise_of_limit: of_cell * scale / keep * regions_of_group.max(1.0).sqrt(),
            squared,
        })
    }
}

/// Chooses bounds from persons by power-of-two bin of their totals, one row a bin, one column a
/// measure.
pub(crate) fn choose(
    totals: &Merged,
    measures: &[wire::Measure],
    setting: Setting,
) -> Vec<FoundBound> {
    let noise = totals.noise(0, &[(0, 1.0)]).variance().sqrt();
    let count = measures.len() as f64;
    // All measures share the limit: with each at its bound it is their sum.
    let shared = if setting.squared { count.sqrt() } else { count };
    measures
        .iter()
        .enumerate()
        .map(|(index, measure)| {
            let seen: Vec<f64> = totals.cells.iter().map(|row| row[index]).collect();
            let counts = persons(&seen, noise);
            bound_of(&counts, measure, setting, shared)
        })
        .collect()
}

/// Persons in each bin as they probably are: bins that stand out of the noise as they were seen,
/// and beyond the last of them what a tail that falls as it did before would have there, weighed
/// with what was seen.
fn persons(seen: &[f64], noise: f64) -> Vec<f64> {
    let Some(last) = last_of(seen, noise) else {
        return vec![0.0; seen.len()];
    };
    let mut counts: Vec<f64> = seen
        .iter()
        .take(last + 1)
        .map(|count| if *count > noise { *count } else { 0.0 })
        .collect();
    let before = last.checked_sub(1).map_or(0.0, |before| counts[before]);
    let falls = if before > 0.0 {
        (counts[last] / before).clamp(0.1, 0.6)
    } else {
        0.5
    };
    for (distance, count) in (1..).zip(&seen[last + 1..]) {
        let expected = counts[last] * f64::powi(falls, distance);
        if distance as usize > TAIL || expected < 0.5 {
            counts.push(0.0);
            continue;
        }
        let (of_seen, of_expected) = (1.0 / (noise * noise), 1.0 / (expected * expected));
        let both = (count * of_seen + expected * of_expected) / (of_seen + of_expected);
        counts.push(both.max(0.0));
    }
    counts
}

/// The last bin with persons in it, as far as noise lets one see: one that stands out by itself, or
/// where there is none the fullest, and those that follow it without a gap.
fn last_of(seen: &[f64], noise: f64) -> Option<usize> {
    let by_itself = seen.iter().rposition(|count| *count > BY_ITSELF * noise);
    let start = by_itself.or_else(|| {
        let fullest = (0..seen.len()).max_by(|a, b| seen[*a].total_cmp(&seen[*b]))?;
        (seen[fullest] > SIGNIFICANT * noise).then_some(fullest)
    })?;
    let following = seen[start + 1..]
        .iter()
        .take_while(|count| **count > SIGNIFICANT * noise);
    Some(start + following.count())
}

/// The bound with the least error: candidates are the bins' ends and middles.
fn bound_of(counts: &[f64], measure: &wire::Measure, setting: Setting, shared: f64) -> FoundBound {
    let whole: f64 = (0..)
        .zip(counts)
        .map(|(bin, count)| count * mean(bin))
        .sum();
    let Some(last) = counts.iter().rposition(|count| *count > 0.0) else {
        return FoundBound {
            total: None,
            low_by: 0.0,
        };
    };
    // With the declared bound itself nobody is clipped who keeps it.
    let declared = match measure.kind() {
        // How many groups a person can reach is not on the wire.
        wire::MeasureKind::Persons => f64::INFINITY,
        _ => most_of_row(measure) * measure.rows as f64 / measure.step,
    };
    let candidates = (0..=last as i32)
        .flat_map(|bin| {
            let end = f64::powi(2.0, bin + 1);
            [0.75 * end, end]
        })
        .filter(|bound| *bound < declared)
        .chain([declared]);
    let mut best: Option<(f64, f64, f64)> = None;
    for bound in candidates {
        let lost: f64 = if bound < declared {
            let lost_in = |(bin, count): (i32, &f64)| count * excess(bin, bound);
            (0..).zip(counts).map(lost_in).sum()
        } else {
            0.0
        };
        let bias = BIAS_WEIGHT * lost / setting.groups;
        let noise = setting.noise_of_limit * shared * bound;
        let error = bias * bias + noise * noise;
        if best.is_none_or(|(least, _, _)| error < least) {
            best = Some((error, bound, lost));
        }
    }
    match best {
        Some((_, bound, lost)) => FoundBound {
            total: (bound < declared).then_some(bound * measure.step),
            low_by: if whole > 0.0 { lost / whole } else { 0.0 },
        },
        None => FoundBound {
            total: None,
            low_by: 0.0,
        },
    }
}

/// The mean total of persons in a bin, in units: totals are taken to lie evenly on a logarithmic
/// scale from 2^bin to 2^(bin + 1).
fn mean(bin: i32) -> f64 {
    f64::powi(2.0, bin) / std::f64::consts::LN_2
}

/// By how much such a person's total is above the bound, on average: the integral of
/// (x − bound)/(x·ln 2) over the part of the bin that is above it.
fn excess(bin: i32, bound: f64) -> f64 {
    let end = f64::powi(2.0, bin + 1);
    let start = f64::powi(2.0, bin).max(bound);
    if start >= end {
        0.0
    } else {
        ((end - start) - bound * (end / start).ln()) / std::f64::consts::LN_2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTING: Setting = Setting {
        groups: 10.0,
        noise_of_limit: 1.5,
        squared: false,
    };

    fn measure() -> wire::Measure {
        wire::Measure {
            kind: wire::MeasureKind::Rows.into(),
            step: 0.25,
            rows: 1_000,
            ..wire::Measure::default()
        }
    }

    #[test]
    fn the_mean_and_the_excess_are_those_of_the_distribution() {
        // Numerically, over a grid of x = 2^(3 + u).
        let steps = 100_000;
        let over = |f: &dyn Fn(f64) -> f64| {
            (0..steps)
                .map(|step| {
                    f(f64::powf(
                        2.0,
                        3.0 + (f64::from(step) + 0.5) / f64::from(steps),
                    ))
                })
                .sum::<f64>()
                / f64::from(steps)
        };
        assert!((over(&|x| x) - mean(3)).abs() < 1e-6);
        for bound in [4.0, 8.0, 11.0, 16.0, 20.0] {
            let exact = over(&|x| (x - bound).max(0.0));
            assert!((exact - excess(3, bound)).abs() < 1e-6, "{bound}");
        }
    }

    /// In 36 bins some are lifted by noise; they are not taken for persons with large totals.
    #[test]
    fn a_bin_that_noise_lifts_moves_no_bound() {
        let mut seen = vec![0.0; 36];
        for (bin, count) in [(2, 50_000.0), (3, 80_000.0), (4, 20_000.0), (5, 300.0)] {
            seen[bin] = count;
        }
        let bound = |seen: &[f64]| bound_of(&persons(seen, 60.0), &measure(), SETTING, 1.0);
        let found = bound(&seen);
        seen[9] = 200.0;
        assert_eq!(bound(&seen), found);
        // So many are persons; without a bound of its own the declared one holds.
        seen[9] = 400.0;
        let larger = bound(&seen).total;
        assert!(larger.is_none_or(|larger| Some(larger) > found.total));
        // Of few persons the fullest bin counts, and what follows it.
        let mut few = vec![0.0; 36];
        (few[3], few[4], few[5], few[20]) = (40.0, 250.0, 170.0, 180.0);
        assert_eq!(last_of(&few, 60.0), Some(5));
        assert_eq!(last_of(&[100.0, 20.0], 60.0), None);
    }

    #[test]
    fn a_long_tail_is_cut_where_noise_and_bias_balance() {
        let mut counts = vec![0.0; 36];
        for (bin, count) in [
            (2, 50_000.0),
            (3, 80_000.0),
            (4, 20_000.0),
            (5, 300.0),
            (9, 2.0),
        ] {
            counts[bin] = count;
        }
        let found = bound_of(&counts, &measure(), SETTING, 1.0);
        // Units are quarters: a bound of 48 to 256 units.
        let total = found.total.expect("a bound");
        assert!((12.0..=64.0).contains(&total), "{total}");
        assert!(found.low_by < 0.01, "{}", found.low_by);
        // With much more noise less is kept, with much less more.
        let with = |noise_of_limit| {
            let setting = Setting {
                noise_of_limit,
                ..SETTING
            };
            bound_of(&counts, &measure(), setting, 1.0)
                .total
                .expect("a bound")
        };
        assert!(with(1e4) < total && with(1e-3) > total);
    }

    #[test]
    fn a_declared_bound_is_kept_where_nothing_narrower_is_better() {
        let few = wire::Measure {
            rows: 3,
            ..measure()
        };
        let mut counts = vec![0.0; 36];
        (counts[2], counts[3], counts[9]) = (900.0, 4_000.0, 50.0);
        let found = bound_of(&counts, &few, SETTING, 1.0);
        assert_eq!((found.total, found.low_by), (None, 0.0));
    }

    #[test]
    fn noise_alone_is_no_tail() {
        let mut seen = vec![-20.0, 15.0, 5_000.0, 900.0, 40.0, -3.0, 12.0, -9.0, 25.0];
        seen.resize(36, 10.0);
        let counts = persons(&seen, 20.0);
        assert_eq!(&counts[..4], [0.0, 0.0, 5_000.0, 900.0]);
        assert!(counts[4] > 30.0 && counts[5] < 60.0, "{counts:?}");
        assert!(counts[11..].iter().all(|count| *count == 0.0));
        assert_eq!(persons(&[30.0; 36], 20.0), [0.0; 36]);
        let nothing = bound_of(&[0.0; 36], &measure(), SETTING, 1.0);
        assert_eq!(nothing.total, None);
    }
}
