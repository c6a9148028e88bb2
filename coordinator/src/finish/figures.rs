//! What the table of a release has of its cells: one number for each group, the same way from what was
//! released and from each draw of it.

use std::ops::Range;

use skerry_proto::wire;

use crate::{
    merge::{self, Merged},
    noise,
    tree::Tree,
};

/// The columns of a release's table that are made of its cells.
pub(crate) struct Figures<'a> {
    merged: &'a Merged,
    /// Each measure of one cell, and where that is.
    measures: Vec<(usize, usize)>,
    /// Each aggregate over measures of many cells.
    made: Vec<(usize, Figure<'a>)>,
}

/// Those columns' numbers, of what was released or of one draw: column × group.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Of the measures of one cell.
    pub measures: Vec<Vec<f64>>,
    /// Of the figures that are made of many cells.
    pub made: Vec<Vec<Option<f64>>>,
}

impl<'a> Figures<'a> {
    /// Of a release.
    pub fn of(merged: &'a Merged) -> Self {
        let starts = merge::starts(&merged.measures);
        let measures = merged.measures.iter().enumerate();
        let aggregates = merged.aggregates.iter().enumerate();
        Self {
            merged,
            measures: measures
                .filter(|(_, measure)| !is_many(measure))
                .map(|(place, _)| (place, starts[place]))
                .collect(),
            made: aggregates
                .filter_map(|(place, aggregate)| {
                    Some((place, Figure::of(aggregate, merged, &starts)?))
                })
                .collect(),
        }
    }

    /// The release.
    pub fn merged(&self) -> &'a Merged {
        self.merged
    }

    /// The measures of one cell, by their places.
    pub fn measures(&self) -> impl Iterator<Item = usize> {
        self.measures.iter().map(|(place, _)| *place)
    }

    /// The aggregates over measures of many cells, by their places.
    pub fn aggregates(&self) -> impl Iterator<Item = usize> {
        self.made.iter().map(|(place, _)| *place)
    }

    /// From keys × cells.
    pub fn finish(&self, cells: &[Vec<f64>]) -> Finished {
        let measures = self.measures.iter();
        let made = self.made.iter();
        Finished {
            measures: measures
                .map(|(_, start)| cells.iter().map(|row| row[*start]).collect())
                .collect(),
            made: made
                .map(|(_, figure)| {
                    let groups = cells.iter().enumerate();
                    groups.map(|(group, row)| figure.from(group, row)).collect()
                })
                .collect(),
        }
    }
}

/// Whether a measure has many cells in a group.
fn is_many(measure: &wire::Measure) -> bool {
    matches!(
        measure.kind(),
        wire::MeasureKind::Bins | wire::MeasureKind::Values
    )
}

/// A figure that is made of a measure's many cells, beyond what an expression can say.
enum Figure<'a> {
    Quantile {
        cells: Range<usize>,
        tree: Tree,
        edges: &'a [f64],
        whole: bool,
        fraction: f64,
    },
    /// Values count whose persons are above what empty ones reach in one of twenty cases.
    Values {
        cells: Range<usize>,
        /// For each group.
        thresholds: Vec<f64>,
    },
}

impl<'a> Figure<'a> {
    fn of(aggregate: &wire::Aggregate, merged: &'a Merged, starts: &[usize]) -> Option<Self> {
        let measure = *aggregate.measures.first()? as usize;
        let of_measure = merged.measures.get(measure)?;
        let cells = *starts.get(measure)?..*starts.get(measure + 1)?;
        match aggregate.function() {
            wire::AggregateFunction::Quantile => {
                let edges = &of_measure.edges;
                Some(Self::Quantile {
                    tree: Tree::new(edges.len().saturating_sub(1)),
                    cells,
                    edges,
                    whole: aggregate.data_type() == wire::DataType::Integer
                        && edges.windows(2).all(|ends| ends[1] - ends[0] == 1.0),
                    fraction: aggregate.fraction_nano as f64 / 1e9,
                })
            }
            wire::AggregateFunction::CountValues => {
                let mut known: Vec<(Vec<u64>, f64)> = Vec::new();
                let thresholds = (0..merged.keys.len())
                    .map(|group| {
                        let noise = merged.noise(group, &[(cells.start, 1.0)]);
                        threshold(&noise, &mut known)
                    })
                    .collect();
                Some(Self::Values { cells, thresholds })
            }
            _ => None,
        }
    }

    fn from(&self, group: usize, row: &[f64]) -> Option<f64> {
        match self {
            Self::Quantile {
                cells,
                tree,
                edges,
                whole,
                fraction,
            } => tree.quantile(&row[cells.clone()], edges, *whole, *fraction),
            Self::Values { cells, thresholds } => {
                let threshold = thresholds.get(group).copied().unwrap_or(f64::INFINITY);
                let present = row[cells.clone()]
                    .iter()
                    .filter(|persons| **persons > threshold);
                Some(present.count() as f64)
            }
        }
    }
}

/// Persons that a value without any is below in 95 of 100 cases.
fn threshold(noise: &noise::Sum, known: &mut Vec<(Vec<u64>, f64)>) -> f64 {
    let key = noise.key();
    if let Some((_, threshold)) = known.iter().find(|(other, _)| *other == key) {
        return *threshold;
    }
    // The noise is symmetric: half of what is beyond 90 % is above.
    let threshold = noise.half_width(0.9).max(0.5);
    known.push((key, threshold));
    threshold
}
