//! Keys without public values: a region shows those that enough persons have, as counted with noise. What
//! isn't shown is not known, and an answer says so.

use serde::{Deserialize, Serialize};
use skerry_proto::{RegionId, wire};

use crate::merge::Merged;

/// What is not in one release of a statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ThresholdRecord {
    /// Which of the statement's releases, from 1.
    pub release: usize,
    /// Each region's own threshold.
    pub regions: Vec<RegionThreshold>,
    /// What that means, for people.
    pub note: String,
}

/// From where on a region shows keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegionThreshold {
    /// Who.
    pub region: RegionId,
    /// A key is shown if at least so many persons have it, as counted with noise.
    pub persons: f64,
    /// A person is counted in at most so many keys.
    pub most_keys: u64,
    /// Keys that the region shows.
    pub keys: usize,
    /// Whether more keys reached the threshold than one message holds: those with fewer persons are left
    /// out.
    pub cut: bool,
}

impl RegionThreshold {
    /// Of one region's release; nothing where its groups are public.
    pub(crate) fn of(
        region: &RegionId,
        quote: &wire::Quote,
        released: &wire::Released,
    ) -> Option<Self> {
        Some(Self {
            region: region.clone(),
            persons: persons(quote)?,
            most_keys: quote.threshold.as_ref()?.most_keys,
            keys: released.groups.len(),
            cut: released.cut,
        })
    }
}

/// The threshold of a quote in persons, if there is one and it is of a count of persons.
pub(crate) fn persons(quote: &wire::Quote) -> Option<f64> {
    let threshold = quote.threshold.as_ref()?;
    let measure = quote.measures.get(threshold.measure as usize)?;
    let counts = measure.kind() == wire::MeasureKind::Persons && threshold.least > 0;
    counts.then_some(threshold.least as f64 * measure.step)
}

/// What a quote's threshold means, for people.
pub(crate) fn explained(quote: &wire::Quote) -> Option<String> {
    let most_keys = quote.threshold.as_ref()?.most_keys;
    Some(format!(
        "keys of about {:.0} persons or more are shown; a person counts in at most {most_keys}",
        persons(quote)?.ceil()
    ))
}

/// One record for each release whose keys are released above a threshold.
pub(crate) fn records(merged: &[Merged]) -> Vec<ThresholdRecord> {
    let mut records = Vec::new();
    for (index, merged) in merged.iter().enumerate() {
        let persons = merged.thresholds.iter().map(|region| region.persons);
        let Some(most) = persons.reduce(f64::max) else {
            continue;
        };
        let mut note = format!(
            "keys of fewer than about {:.0} persons in a region are not shown there: their figures are \
             unknown, not zero",
            most.ceil()
        );
        if merged.thresholds.len() > 1 {
            note.push_str(", and totals over regions leave them out, so they are low");
        }
        if merged.thresholds.iter().any(|region| region.cut) {
            note.push_str("; there were more keys than one answer holds");
        }
        records.push(ThresholdRecord {
            release: index + 1,
            regions: merged.thresholds.clone(),
            note,
        });
    }
    records
}
