//! Vectors of several regions become one table: cells of the same group add, and so do the
//! variances of their noises.

use std::collections::HashMap;

use prost::Message as _;
use sha2::{Digest, Sha256};
use skerry_proto::{ErrorCode, Refusal, RegionId, Value, limit, wire};

use crate::{
    noise::{Noise, Sum},
    refuse::refuse,
    threshold::RegionThreshold,
};

mod draws;
mod frame;
mod parts;
mod quote;

pub(crate) use self::{
    draws::{Block, DRAWS_OF_BLOCK},
    frame::{frame, hull},
    parts::RegionPart,
    quote::{agree, cell_noise, check_quote, starts, width},
};

/// What one region answered to one question.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// Who.
    pub region: RegionId,
    /// What was promised.
    pub quote: wire::Quote,
    /// The released vector's exact bytes.
    pub released: Vec<u8>,
    /// Whether it was paid for now.
    pub charged: bool,
    /// What is left.
    pub budget: Option<wire::Budget>,
}

/// One release over all regions that answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Merged {
    /// Key tuples, in the order in which the regions' quotes first list them.
    pub keys: Vec<Vec<Value>>,
    /// What each measure is; empty when no region was asked.
    pub measures: Vec<wire::Measure>,
    /// How each aggregate is made of the measures.
    pub aggregates: Vec<wire::Aggregate>,
    /// keys × cells of the measures, in the measures' units.
    pub cells: Vec<Vec<f64>>,
    /// Persons whose contribution was clipped, with the noise of that figure; none where they
    /// weren't counted.
    pub clipped: Option<Clipped>,
    /// By region, where keys were released above a threshold; empty where groups are public.
    pub thresholds: Vec<RegionThreshold>,
    parts: Vec<Part>,
}

/// Persons whose contribution was clipped, over all regions.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Clipped {
    /// With noise, so it can be negative.
    pub persons: f64,
    /// Its noise.
    pub noise: Sum,
}

/// One region's part.
#[derive(Debug, Clone)]
struct Part {
    region: RegionId,
    /// Its own groups × cells, in the measures' units.
    cells: Vec<Vec<f64>>,
    /// Of each cell of a group, in its measure's unit.
    noise: Vec<Noise>,
    /// Where each merged group is in this region's vector.
    position: Vec<Option<usize>>,
    groups: usize,
    seed: [u8; 32],
}

/// A key that a region's quote lists twice, a vector of another length and the like.
fn bad(region: &RegionId, what: &str) -> Refusal {
    Refusal::new(
        ErrorCode::RegionsDisagree,
        format!("the answer of region `{region}` is not what its quote says: {what}"),
        "Nothing was added up. The region's owner has to look at the node.",
    )
}

/// Groups as plain values.
fn keys(groups: &[wire::Group]) -> Vec<Vec<Value>> {
    groups
        .iter()
        .map(|group| group.keys.iter().map(Value::from).collect())
        .collect()
}

/// The groups of a release: those of the quote, or those that reached its threshold.
fn groups_of<'a>(
    region: &RegionId,
    quote: &'a wire::Quote,
    released: &'a wire::Released,
) -> Result<&'a [wire::Group], Refusal> {
    if quote.threshold.is_none() {
        return match released.groups.is_empty() && !released.cut {
            true => Ok(&quote.groups),
            false => Err(bad(region, "groups of its own")),
        };
    }
    if released.groups.len() > limit::GROUPS {
        return Err(bad(region, "too many groups"));
    }
    let fits = |group: &wire::Group| {
        group.keys.len() == quote.key_types.len()
            && group.keys.iter().zip(&quote.key_types).all(|(key, of)| {
                let own = Value::from(key).data_type();
                own.is_none_or(|own| i32::from(wire::DataType::from(own)) == *of)
            })
    };
    match released.groups.iter().all(fits) {
        true => Ok(&released.groups),
        false => Err(bad(region, "a group with other keys")),
    }
}

impl Merged {
    /// Adds up. A group that one region doesn't have is exactly zero there, by its policy; but where keys
    /// are released above a threshold it is not known there, and left out.
    pub fn new(replies: &[Reply]) -> Result<Self, Refusal> {
        let Some(first) = replies.first() else {
            return Ok(Self::default());
        };
        let mut merged = Self {
            measures: first.quote.measures.clone(),
            aggregates: first.quote.aggregates.clone(),
            ..Self::default()
        };
        let starts = starts(&merged.measures);
        let width = starts.last().copied().unwrap_or(0);
        // For each cell of a group, its measure.
        let measure_of: Vec<usize> = starts
            .windows(2)
            .enumerate()
            .flat_map(|(measure, ends)| vec![measure; ends[1] - ends[0]])
            .collect();
        let mut index: HashMap<Vec<Value>, usize> = HashMap::new();
        // Whole cells, while all regions count in the same steps; they stay exact.
        let mut whole: Vec<Vec<i128>> = Vec::new();
        let mut same_steps = true;
        for reply in replies {
            let (region, quote) = (&reply.region, &reply.quote);
            if !agree(&first.quote, quote) {
                return refuse(
                    ErrorCode::RegionsDisagree,
                    format!(
                        "regions `{}` and `{region}` measure differently",
                        first.region
                    ),
                    "Ask by region: GROUP BY region.",
                );
            }
            let released = wire::Released::decode(reply.released.as_slice())
                .map_err(|_| bad(region, "bytes that can't be read"))?;
            if released.region != region.as_str() {
                return Err(bad(region, "it is signed by another region"));
            }
            let groups = keys(groups_of(region, quote, &released)?);
            let of_region = groups.len();
            merged
                .thresholds
                .extend(RegionThreshold::of(region, quote, &released));
            let counts_clipped = quote.clipped_weight > 0;
            if released.cells.len() != groups.len() * width + usize::from(counts_clipped) {
                return Err(bad(region, "another number of cells"));
            }
            let noise = released
                .noise
                .as_ref()
                .filter(|noise| Some(*noise) == quote.noise.as_ref());
            let Some(noise) = noise.and_then(cell_noise) else {
                return Err(bad(region, "other noise"));
            };
            if counts_clipped && let Some(last) = released.cells.last() {
                let step = 1.0 / quote.clipped_weight as f64;
                let clipped = merged.clipped.get_or_insert_default();
                clipped.persons += *last as f64 * step;
                clipped.noise.add(noise.times(step));
            }
            let steps = measure_of
                .iter()
                .map(|measure| quote.measures[*measure].step);
            same_steps &= steps.clone().eq(measure_of
                .iter()
                .map(|measure| merged.measures[*measure].step));
            let mut position = vec![None; merged.keys.len()];
            let mut own = Vec::with_capacity(groups.len());
            for (row, key) in groups.into_iter().enumerate() {
                let at = *index.entry(key).or_insert_with_key(|key| {
                    merged.keys.push(key.clone());
                    merged.cells.push(vec![0.0; width]);
                    whole.push(vec![0; width]);
                    position.push(None);
                    merged.keys.len() - 1
                });
                if position[at].replace(row).is_some() {
                    return Err(bad(region, "a group twice"));
                }
                let mut of_row = Vec::with_capacity(width);
                for (index, step) in steps.clone().enumerate() {
                    let cell = released.cells[row * width + index];
                    of_row.push(cell as f64 * step);
                    merged.cells[at][index] += cell as f64 * step;
                    whole[at][index] += i128::from(cell);
                }
                own.push(of_row);
            }
            merged.parts.push(Part {
                region: region.clone(),
                cells: own,
                noise: steps.map(|step| noise.times(step)).collect(),
                position,
                groups: of_region,
                seed: Sha256::digest(&reply.released).into(),
            });
        }
        for part in &mut merged.parts {
            part.position.resize(merged.keys.len(), None);
        }
        if same_steps {
            for (cells, whole) in merged.cells.iter_mut().zip(whole) {
                for ((cell, whole), measure) in cells.iter_mut().zip(whole).zip(&measure_of) {
                    *cell = whole as f64 * merged.measures[*measure].step;
                }
            }
        }
        Ok(merged)
    }

    /// What the quotes promise, with no figures in it.
    pub fn rehearsal(quotes: &[(RegionId, wire::Quote)]) -> Result<Self, Refusal> {
        let replies: Vec<Reply> = quotes
            .iter()
            .map(|(region, quote)| Reply {
                region: region.clone(),
                released: Self::made_up(region, quote).encode_to_vec(),
                quote: quote.clone(),
                charged: false,
                budget: None,
            })
            .collect();
        Self::new(&replies)
    }

    /// A release of zeros; where keys aren't known beforehand, of one key of NULLs.
    fn made_up(region: &RegionId, quote: &wire::Quote) -> wire::Released {
        let groups = match quote.threshold {
            None => vec![],
            Some(_) => vec![wire::Group {
                keys: vec![wire::Value::default(); quote.key_types.len()],
            }],
        };
        let of_group: usize = quote.measures.iter().map(width).sum();
        let cells = (quote.groups.len() + groups.len()) * of_group;
        wire::Released {
            region: region.to_string(),
            cells: vec![0; cells + usize::from(quote.clipped_weight > 0)],
            noise: quote.noise,
            groups,
            ..wire::Released::default()
        }
    }

    /// The noise in a weighted sum of one group's cells.
    pub fn noise(&self, group: usize, weights: &[(usize, f64)]) -> Sum {
        let mut sum = Sum::default();
        for part in &self.parts {
            if part.position.get(group).copied().flatten().is_some() {
                for (cell, weight) in weights {
                    sum.add(part.noise[*cell].times(*weight));
                }
            }
        }
        sum
    }

    /// How many noises are in it.
    pub fn noises(&self) -> usize {
        let of_part = |part: &Part| part.groups * part.noise.len();
        self.parts.iter().map(of_part).sum()
    }
}

#[cfg(test)]
pub(crate) mod tests;
