//! What a quote must be before anything is done with it, and when two regions' quotes are of one kind.

use skerry_proto::{Refusal, RegionId, limit, wire};

use super::bad;
use crate::{noise::Noise, statistic, threshold, tree};

/// Cells that a measure has in each group.
pub(crate) fn width(measure: &wire::Measure) -> usize {
    match measure.kind() {
        wire::MeasureKind::Bins => tree::levels(measure.edges.len().saturating_sub(1))
            .into_iter()
            .sum(),
        wire::MeasureKind::Values => measure.values.len(),
        wire::MeasureKind::Unspecified
        | wire::MeasureKind::Persons
        | wire::MeasureKind::Rows
        | wire::MeasureKind::Sum
        | wire::MeasureKind::Product => 1,
    }
}

/// Where each measure's cells begin within a group, and last how many cells a group has.
pub(crate) fn starts(measures: &[wire::Measure]) -> Vec<usize> {
    let mut starts = vec![0];
    let mut end = 0;
    for measure in measures {
        end += width(measure);
        starts.push(end);
    }
    starts
}

/// The noise of one cell of a quote, in cell units.
pub(crate) fn cell_noise(noise: &wire::Noise) -> Option<Noise> {
    let scale = noise.scale as f64;
    match noise.mechanism() {
        wire::Mechanism::DiscreteLaplace => Some(Noise::Laplace { scale }),
        wire::Mechanism::DiscreteGaussian => Some(Noise::Gaussian { sigma: scale }),
        wire::Mechanism::Unspecified => None,
    }
    .filter(|_| noise.scale > 0)
}

/// Whether a quote can be worked with at all. `key_count` and `aggregates` are the plan's.
pub(crate) fn check_quote(
    region: &RegionId,
    quote: &wire::Quote,
    key_count: usize,
    aggregates: usize,
) -> Result<(), Refusal> {
    let wrong = |what: &str| Err(bad(region, what));
    if quote.region != region.as_str() {
        return wrong("it is signed by another region");
    }
    let of_group: usize = quote.measures.iter().map(width).sum();
    if quote.groups.len() > limit::GROUPS
        || quote.groups.len().saturating_mul(of_group) > limit::CELLS
    {
        return wrong("too many cells");
    }
    if quote
        .groups
        .iter()
        .any(|group| group.keys.len() != key_count)
    {
        return wrong("a group with another number of keys");
    }
    if quote.threshold.is_some()
        && (threshold::persons(quote).is_none()
            || !quote.groups.is_empty()
            || quote.key_types.len() != key_count
            || key_count == 0)
    {
        return wrong("a threshold that is none");
    }
    if quote.aggregates.len() != aggregates {
        return wrong("another number of aggregates");
    }
    for aggregate in &quote.aggregates {
        let known = |index: &u32| (*index as usize) < quote.measures.len();
        if !statistic::is_made_of(aggregate.function(), aggregate.measures.len())
            || !aggregate.measures.iter().all(known)
        {
            return wrong("an aggregate that can't be finished");
        }
    }
    for measure in &quote.measures {
        let factors = match measure.kind() {
            wire::MeasureKind::Sum | wire::MeasureKind::Bins => 1,
            wire::MeasureKind::Product => 2,
            wire::MeasureKind::Unspecified
            | wire::MeasureKind::Persons
            | wire::MeasureKind::Rows
            | wire::MeasureKind::Values => 0,
        };
        let finite = measure
            .factors
            .iter()
            .flat_map(|factor| [factor.low, factor.high, factor.centre])
            .chain(measure.edges.iter().copied())
            .all(f64::is_finite);
        if !finite
            || measure.factors.len() != factors
            || !measure.step.is_finite()
            || measure.step <= 0.0
        {
            return wrong("a measure without a unit");
        }
        if (measure.kind() == wire::MeasureKind::Bins) != (measure.edges.len() >= 2)
            || !measure.edges.is_sorted()
        {
            return wrong("bins that are none");
        }
    }
    if quote.noise.as_ref().and_then(cell_noise).is_none() {
        return wrong("no noise");
    }
    Ok(())
}

/// Whether two regions measure the same: kinds, centres and bounds.
pub(crate) fn agree(a: &wire::Quote, b: &wire::Quote) -> bool {
    let without_step = |measure: &wire::Measure| wire::Measure {
        step: 0.0,
        ..measure.clone()
    };
    a.key_types == b.key_types
        && a.aggregates == b.aggregates
        && (a.clipped_weight == 0) == (b.clipped_weight == 0)
        && a.threshold.is_some() == b.threshold.is_some()
        && a.measures
            .iter()
            .map(without_step)
            .eq(b.measures.iter().map(without_step))
}
