//! Vectors of several regions become one table: cells of the same group add, and so do the
//! variances of their noises.

use std::collections::HashMap;

use prost::Message as _;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use skerry_proto::{ErrorCode, Refusal, RegionId, Value, limit, wire};

use crate::{
    noise::{Noise, Sum},
    refuse::refuse,
    statistic,
    threshold::{self, RegionThreshold},
    tree,
};

mod parts;

pub(crate) use parts::RegionPart;

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

/// Bounds that hold for every region: the hull, measure by measure.
pub(crate) fn hull<'a>(
    quotes: impl IntoIterator<Item = &'a wire::Quote>,
) -> Vec<wire::MeasureFrame> {
    let mut frames: Vec<wire::MeasureFrame> = Vec::new();
    for quote in quotes {
        for (index, measure) in quote.measures.iter().enumerate() {
            let own = frame(measure);
            match frames.get_mut(index) {
                None => frames.push(own),
                Some(frame) => widen(frame, own),
            }
        }
    }
    frames
}

/// The bounds that a measure has.
pub(crate) fn frame(measure: &wire::Measure) -> wire::MeasureFrame {
    wire::MeasureFrame {
        rows: measure.rows,
        ranges: measure
            .factors
            .iter()
            .map(|factor| wire::Interval {
                low: factor.low,
                high: factor.high,
                centre: factor.centre,
            })
            .collect(),
        values: measure.values.clone(),
        total: measure.total,
    }
}

fn widen(frame: &mut wire::MeasureFrame, other: wire::MeasureFrame) {
    frame.rows = frame.rows.max(other.rows);
    for (range, other) in frame.ranges.iter_mut().zip(other.ranges) {
        range.low = range.low.min(other.low);
        range.high = range.high.max(other.high);
        if range.centre != other.centre {
            range.centre = range.low + (range.high - range.low) / 2.0;
        }
    }
    let mut values: Vec<Value> = frame
        .values
        .iter()
        .chain(&other.values)
        .map(Value::from)
        .collect();
    values.sort();
    values.dedup();
    frame.values = values.iter().map(wire::Value::from).collect();
    frame.total = frame.total.max(other.total);
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

    /// Streams of draws. They start from the released bytes: the same release gives the same
    /// draws, so that one that is used twice varies together, and a retry gets the same intervals.
    pub fn draws(&self) -> Draws<'_> {
        Draws {
            merged: self,
            streams: self
                .parts
                .iter()
                .map(|part| ChaCha8Rng::from_seed(part.seed))
                .collect(),
        }
    }
}

/// What the cells could have been, given what they are and how noise is drawn.
pub(crate) struct Draws<'a> {
    merged: &'a Merged,
    streams: Vec<ChaCha8Rng>,
}

impl Draws<'_> {
    /// The next draw of all noise: by region's part, in the order of the region's own vector,
    /// whatever other regions have.
    pub fn noises(&mut self) -> Vec<Vec<Vec<f64>>> {
        let parts = self.merged.parts.iter().zip(&mut self.streams);
        parts
            .map(|(part, stream)| {
                let mut cells = || part.noise.iter().map(|noise| noise.draw(stream)).collect();
                (0..part.groups).map(|_| cells()).collect()
            })
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A count per key, and its reply.
    pub(crate) fn reply(region: &str, keys: &[i64], cells: &[i64], scale: u64) -> Reply {
        let noise = wire::Noise {
            mechanism: wire::Mechanism::DiscreteLaplace.into(),
            scale,
            sensitivity: 1,
        };
        let quote = wire::Quote {
            region: region.into(),
            key_types: vec![wire::DataType::Integer.into()],
            groups: keys
                .iter()
                .map(|key| wire::Group {
                    keys: vec![wire::Value::from(&Value::Integer(*key))],
                })
                .collect(),
            measures: vec![wire::Measure {
                kind: wire::MeasureKind::Persons.into(),
                step: 0.5,
                rows: 1,
                ..wire::Measure::default()
            }],
            aggregates: vec![wire::Aggregate {
                function: wire::AggregateFunction::Count.into(),
                measures: vec![0],
                data_type: wire::DataType::Integer.into(),
                fraction_nano: 0,
            }],
            noise: Some(noise),
            ..wire::Quote::default()
        };
        Reply {
            region: region.parse().expect("region"),
            released: wire::Released {
                region: region.into(),
                question_hash: vec![],
                cells: cells.to_vec(),
                noise: Some(noise),
                ..wire::Released::default()
            }
            .encode_to_vec(),
            quote,
            charged: true,
            budget: None,
        }
    }

    #[test]
    fn groups_unite_and_cells_and_variances_add() {
        let merged = Merged::new(&[
            reply("a", &[1, 2], &[10, 20], 4),
            reply("b", &[3, 2], &[30, 200], 2),
        ])
        .expect("merged");
        let keys: Vec<_> = merged.keys.iter().map(|key| key[0].clone()).collect();
        assert_eq!(keys, [1, 2, 3].map(Value::Integer));
        assert_eq!(merged.cells, [[5.0], [110.0], [15.0]]);
        // Variance of Laplace in units of half a count: 2 (b/2)².
        let variance = |group| merged.noise(group, &[(0, 1.0)]).variance();
        assert_eq!([variance(0), variance(1), variance(2)], [8.0, 10.0, 2.0]);
    }

    /// The same reply from a region that releases keys above a threshold of 5 persons.
    fn above_threshold(region: &str, keys: &[i64], cells: &[i64], scale: u64) -> Reply {
        let mut reply = reply(region, keys, cells, scale);
        let mut released = wire::Released::decode(reply.released.as_slice()).expect("bytes");
        released.groups = std::mem::take(&mut reply.quote.groups);
        reply.released = released.encode_to_vec();
        reply.quote.threshold = Some(wire::Threshold {
            measure: 0,
            least: 10,
            most_keys: 3,
            delta_atto: 1_000,
        });
        reply
    }

    #[test]
    fn a_key_that_a_region_did_not_release_adds_neither_persons_nor_noise() {
        let replies = [
            above_threshold("a", &[1, 2], &[10, 20], 4),
            above_threshold("b", &[2, 3], &[200, 30], 2),
            above_threshold("c", &[], &[], 8),
        ];
        let merged = Merged::new(&replies).expect("merged");
        let keys: Vec<_> = merged.keys.iter().map(|key| key[0].clone()).collect();
        assert_eq!(keys, [1, 2, 3].map(Value::Integer));
        assert_eq!(merged.cells, [[5.0], [110.0], [15.0]]);
        let variance = |group| merged.noise(group, &[(0, 1.0)]).variance();
        assert_eq!([variance(0), variance(1), variance(2)], [8.0, 10.0, 2.0]);
        assert_eq!(merged.less(&merged.draws().noises()).len(), 3);
        let told: Vec<(f64, usize)> = merged
            .thresholds
            .iter()
            .map(|region| (region.persons, region.keys))
            .collect();
        assert_eq!(told, [(5.0, 2), (5.0, 2), (5.0, 0)]);
        // What the quotes promise can be worked with before any key is known.
        let quotes = replies.map(|reply| (reply.region, reply.quote));
        for (region, quote) in &quotes {
            assert!(check_quote(region, quote, 1, 1).is_ok());
        }
        let made_up = Merged::rehearsal(&quotes).expect("rehearsal");
        assert_eq!(made_up.keys, [[Value::Null]]);
    }

    #[test]
    fn public_groups_and_keys_above_a_threshold_are_not_mixed() {
        let (public, above) = (
            reply("a", &[1], &[10], 4),
            above_threshold("b", &[1], &[10], 4),
        );
        assert!(!agree(&public.quote, &above.quote));
        assert!(Merged::new(&[public.clone(), above.clone()]).is_err());
        let with = |reply: &Reply, change: &dyn Fn(&mut wire::Released)| {
            let mut reply = reply.clone();
            let mut released = wire::Released::decode(reply.released.as_slice()).expect("bytes");
            change(&mut released);
            reply.released = released.encode_to_vec();
            Merged::new(&[reply])
        };
        let group = |keys: Vec<Value>| wire::Group {
            keys: keys.iter().map(wire::Value::from).collect(),
        };
        let one = group(vec![Value::Integer(1)]);
        assert!(with(&above, &|_| {}).is_ok());
        assert!(with(&public, &|r| r.groups = vec![one.clone()]).is_err());
        assert!(with(&above, &|r| r.groups.clear()).is_err());
        assert!(with(&above, &|r| r.groups = vec![group(vec![])]).is_err());
        let text = || group(vec![Value::Text("1".into())]);
        assert!(with(&above, &|r| r.groups = vec![text()]).is_err());
        let region: RegionId = "b".parse().expect("region");
        let mut other = above.quote.clone();
        other.groups = vec![one];
        assert!(check_quote(&region, &other, 1, 1).is_err());
        let mut other = above.quote;
        if let Some(threshold) = &mut other.threshold {
            threshold.measure = 1;
        }
        assert!(check_quote(&region, &other, 1, 1).is_err());
    }

    /// Cells that were counted between other bounds, from another centre or of other values are no
    /// parts of one figure.
    #[test]
    fn quotes_that_measure_differently_do_not_agree() {
        let quote = wire::Quote {
            measures: vec![wire::Measure {
                kind: wire::MeasureKind::Sum.into(),
                step: 0.5,
                rows: 3,
                factors: vec![wire::Factor {
                    low: 0.0,
                    high: 10.0,
                    centre: 5.0,
                }],
                edges: vec![0.0, 10.0],
                values: vec![wire::Value::from(&Value::Integer(1))],
                total: 7.0,
            }],
            ..reply("a", &[1], &[10], 4).quote
        };
        let agrees_after = |change: &dyn Fn(&mut wire::Quote)| {
            let mut other = quote.clone();
            change(&mut other);
            agree(&quote, &other) || agree(&other, &quote)
        };
        assert!(agrees_after(&|_| {}));
        // Each region's own.
        assert!(agrees_after(&|other| other.region = "b".into()));
        assert!(agrees_after(&|other| other.groups.clear()));
        let changes: [&dyn Fn(&mut wire::Quote); 14] = [
            &|other| other.key_types = vec![wire::DataType::Text.into()],
            &|other| other.key_types.clear(),
            &|other| other.measures.clear(),
            &|other| other.measures[0].kind = wire::MeasureKind::Rows.into(),
            &|other| other.measures[0].rows = 4,
            &|other| other.measures[0].factors[0].low = -1.0,
            &|other| other.measures[0].factors[0].high = 11.0,
            &|other| other.measures[0].factors[0].centre = 4.0,
            &|other| other.measures[0].edges[1] = 11.0,
            &|other| other.measures[0].values.clear(),
            &|other| other.measures[0].total = 8.0,
            &|other| other.aggregates[0].measures = vec![1],
            &|other| other.aggregates[0].function = wire::AggregateFunction::Sum.into(),
            &|other| other.clipped_weight = 1,
        ];
        for (place, change) in changes.into_iter().enumerate() {
            assert!(!agrees_after(change), "change {place}");
        }
    }

    #[test]
    fn draws_have_the_noise_and_repeat() {
        let merged =
            Merged::new(&[reply("a", &[1], &[10], 4), reply("b", &[1], &[30], 2)]).expect("merged");
        let take = |n: usize| {
            let mut draws = merged.draws();
            (0..n)
                .map(|_| merged.less(&draws.noises())[0][0])
                .collect::<Vec<f64>>()
        };
        let draws = take(100_000);
        let n = draws.len() as f64;
        let mean = draws.iter().sum::<f64>() / n;
        let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
        assert!((mean - 20.0).abs() < 0.05, "{mean}");
        assert!((variance / 10.0 - 1.0).abs() < 0.05, "{variance}");
        assert_eq!(take(5), draws[..5]);
    }

    #[test]
    fn a_vector_that_is_not_as_quoted_is_refused() {
        let good = reply("a", &[1], &[10], 4);
        let with = |change: &dyn Fn(&mut wire::Released)| {
            let mut reply = good.clone();
            let mut released = wire::Released::decode(reply.released.as_slice()).expect("bytes");
            change(&mut released);
            reply.released = released.encode_to_vec();
            Merged::new(&[reply])
        };
        assert!(with(&|_| {}).is_ok());
        assert!(with(&|r| r.cells.push(1)).is_err());
        assert!(with(&|r| r.region = "b".into()).is_err());
        assert!(with(&|r| r.noise = None).is_err());
        assert!(Merged::new(&[reply("a", &[1, 1], &[1, 2], 4)]).is_err());
        let mut other = reply("b", &[1], &[10], 4);
        other.quote.measures[0].rows = 3;
        assert!(Merged::new(&[good.clone(), other]).is_err());
        let mut none = good.quote.clone();
        none.noise = None;
        let a: RegionId = "a".parse().expect("region");
        assert!(check_quote(&a, &good.quote, 1, 1).is_ok());
        assert!(check_quote(&a, &none, 1, 1).is_err());
        assert!(check_quote(&a, &good.quote, 2, 1).is_err());
        assert!(check_quote(&a, &good.quote, 1, 2).is_err());
    }
}
