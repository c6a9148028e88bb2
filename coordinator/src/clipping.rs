//! What clipping did to an answer: whose contributions were scaled down, and by how much figures
//! may be low. The intervals hold for figures after clipping; this is what they don't hold.

use serde::{Deserialize, Serialize};

use crate::{
    bounds::FoundBound,
    frontier::Frontier,
    merge::{Clipped, Merged},
    samples::LEVEL,
};

/// Clipping in one release of a statement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClippingRecord {
    /// Which of the statement's releases, from 1.
    pub release: usize,
    /// Persons whose contribution was scaled down, with noise; never below 0.
    pub persons: f64,
    /// Lower end of its interval.
    pub persons_low: f64,
    /// Upper end of its interval.
    pub persons_high: f64,
    /// The bounds that hold, by aggregate.
    pub bounds: Vec<BoundRecord>,
}

/// A bound on what one person contributes to an aggregate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoundRecord {
    /// As the statement has it.
    pub aggregate: String,
    /// On a person's own total over all groups, in the aggregate's unit.
    pub most_of_a_person: f64,
    /// By which part clipping lowers the sum over all groups, as estimated when the bound was
    /// found; none where the researcher gave the bound.
    pub low_by: Option<f64>,
}

/// One record for each release in which clipped persons were counted.
pub(crate) fn records(
    frontiers: &[Frontier],
    merged: &[Merged],
    found: &[Option<Vec<FoundBound>>],
) -> Vec<ClippingRecord> {
    let mut records = Vec::new();
    for (index, (frontier, merged)) in frontiers.iter().zip(merged).enumerate() {
        let Some(Clipped { persons, noise }) = &merged.clipped else {
            continue;
        };
        let half = noise.half_width(LEVEL);
        let found = found.get(index).and_then(Option::as_ref);
        let mut bounds = Vec::new();
        for (written, aggregate) in frontier.aggregate.aggr_expr.iter().zip(&merged.aggregates) {
            // The engine counts rows by counting ones.
            let name = written.schema_name().to_string().replace("Int64(1)", "*");
            // The first measure is what the aggregate itself is in the unit of.
            let Some(measure) = aggregate.measures.first().map(|index| *index as usize) else {
                continue;
            };
            if let Some(bound) = merged
                .measures
                .get(measure)
                .filter(|bound| bound.total > 0.0)
            {
                bounds.push(BoundRecord {
                    aggregate: name,
                    most_of_a_person: bound.total,
                    low_by: found.and_then(|found| Some(found.get(measure)?.low_by)),
                });
            }
        }
        records.push(ClippingRecord {
            release: index + 1,
            persons: persons.max(0.0).round(),
            persons_low: (persons - half).max(0.0).round(),
            persons_high: (persons + half).max(0.0).round(),
            bounds,
        });
    }
    records
}
