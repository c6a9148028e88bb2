//! `EXPLAIN PRIVACY`: what a statement would cost and how exact it would be, from the regions'
//! policies alone. It charges nothing.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    error::ArrowError,
};
use skerry_proto::{Delta, Epsilon, Refusal, RegionId, wire};

use crate::{
    answer::nano,
    dispatch::Quoted,
    finish,
    frontier::Frontier,
    merge::{self, cell_noise},
    noise::Sum,
    samples::LEVEL,
    threshold,
};

/// One line of the explanation.
#[derive(Default)]
struct Line {
    release: i64,
    region: String,
    aggregate: Option<String>,
    groups: Option<i64>,
    mechanism: Option<&'static str>,
    noise_sd: Option<f64>,
    half_width: Option<f64>,
    epsilon: Option<f64>,
    delta: Option<f64>,
    epsilon_left_after: Option<f64>,
    note: Option<String>,
}

/// The name of a mechanism, for people.
pub(crate) fn mechanism(noise: Option<&wire::Noise>) -> &'static str {
    match noise.map(wire::Noise::mechanism) {
        Some(wire::Mechanism::DiscreteLaplace) => "discrete Laplace",
        Some(wire::Mechanism::DiscreteGaussian) => "discrete Gaussian",
        _ => "unknown",
    }
}

/// A table of one line per release, region and aggregate; `all regions` is the noise of the
/// sum over those that quoted. An average's noise hangs on the count, and is left out.
pub(crate) fn explain(frontiers: &[Frontier], quoted: &Quoted) -> Result<RecordBatch, ArrowError> {
    let mut lines = Vec::new();
    let mut spent: BTreeMap<&RegionId, f64> = BTreeMap::new();
    for (index, (frontier, (_, quotes))) in frontiers.iter().zip(&quoted.frontiers).enumerate() {
        let release = i64::try_from(index + 1).unwrap_or(i64::MAX);
        let names: Vec<String> = frontier
            .aggregate
            .aggr_expr
            .iter()
            // The engine counts rows by counting ones.
            .map(|expr| expr.schema_name().to_string().replace("Int64(1)", "*"))
            .collect();
        let mut sums: Vec<Option<Sum>> = vec![Some(Sum::default()); names.len()];
        for (region, quote) in quotes {
            let cost = quote.cost.unwrap_or_default();
            let epsilon = Epsilon::from_nano(cost.epsilon_nano).map_or(0.0, Epsilon::to_f64);
            let before = spent.entry(region).or_default();
            *before += epsilon;
            let left = quote
                .budget
                .as_ref()
                .and_then(|budget| budget.project.as_ref());
            for (aggregate, name) in names.iter().enumerate() {
                let noise = quote.noise.as_ref().and_then(cell_noise);
                let weights = quote
                    .aggregates
                    .get(aggregate)
                    .and_then(|aggregate| finish::weights(aggregate, &quote.measures));
                let own = noise.zip(weights).map(|(noise, weights)| {
                    let mut own = Sum::default();
                    let starts = merge::starts(&quote.measures);
                    for (cell, weight) in weights {
                        let measure = starts.partition_point(|start| *start <= cell) - 1;
                        let step = quote.measures.get(measure).map_or(0.0, |m| m.step);
                        own.add(noise.times(step * weight));
                        if let Some(sum) = &mut sums[aggregate] {
                            sum.add(noise.times(step * weight));
                        }
                    }
                    own
                });
                if own.is_none() {
                    sums[aggregate] = None;
                }
                lines.push(Line {
                    release,
                    region: region.to_string(),
                    aggregate: Some(name.clone()),
                    groups: match quote.threshold {
                        None => i64::try_from(quote.groups.len()).ok(),
                        Some(_) => None,
                    },
                    mechanism: Some(mechanism(quote.noise.as_ref())),
                    noise_sd: own.as_ref().map(|own| own.variance().sqrt()),
                    half_width: own.as_ref().map(|own| own.half_width(LEVEL)),
                    epsilon: Some(epsilon),
                    delta: Delta::from_atto(cost.delta_atto).ok().map(Delta::to_f64),
                    epsilon_left_after: left.map(|left| nano(left.epsilon_left_nano) - *before),
                    note: note(quote, own.is_none().then(|| of_average(quote, aggregate))),
                });
            }
        }
        for (name, sum) in names.iter().zip(sums) {
            let noise = sum.filter(|sum| sum.variance() > 0.0);
            lines.push(Line {
                release,
                region: "all regions".to_owned(),
                aggregate: Some(name.clone()),
                noise_sd: noise.as_ref().map(|sum| sum.variance().sqrt()),
                half_width: noise.as_ref().map(|sum| sum.half_width(LEVEL)),
                ..Line::default()
            });
        }
    }
    for (region, refusal) in &quoted.missing {
        lines.push(refused(region, refusal));
    }
    batch(&lines)
}

/// What else there is to say: of the aggregate, and of keys that aren't known beforehand.
fn note(quote: &wire::Quote, of_aggregate: Option<String>) -> Option<String> {
    let notes: Vec<String> = [threshold::explained(quote), of_aggregate]
        .into_iter()
        .flatten()
        .filter(|note| !note.is_empty())
        .collect();
    (!notes.is_empty()).then(|| notes.join("; "))
}

/// What can be said of an average before its count is known.
fn of_average(quote: &wire::Quote, aggregate: usize) -> String {
    let sd = |measure: Option<&u32>| -> Option<f64> {
        let measure = quote.measures.get(*measure? as usize)?;
        let mut sum = Sum::default();
        sum.add(cell_noise(quote.noise.as_ref()?)?.times(measure.step));
        Some(sum.variance().sqrt())
    };
    let measures = quote
        .aggregates
        .get(aggregate)
        .map(|aggregate| &aggregate.measures);
    match measures.and_then(|measures| sd(measures.first())) {
        Some(sd) => format!("noise_sd of an average: {sd:.4} divided by the rows it is over"),
        None => String::new(),
    }
}

fn refused(region: &RegionId, refusal: &Refusal) -> Line {
    Line {
        region: region.to_string(),
        note: Some(format!("{}: {}", refusal.code, refusal.message)),
        ..Line::default()
    }
}

fn batch(lines: &[Line]) -> Result<RecordBatch, ArrowError> {
    let text = |of: &dyn Fn(&Line) -> Option<String>| -> ArrayRef {
        Arc::new(lines.iter().map(of).collect::<StringArray>())
    };
    let whole = |of: &dyn Fn(&Line) -> Option<i64>| -> ArrayRef {
        Arc::new(lines.iter().map(of).collect::<Int64Array>())
    };
    let real = |of: &dyn Fn(&Line) -> Option<f64>| -> ArrayRef {
        Arc::new(lines.iter().map(of).collect::<Float64Array>())
    };
    RecordBatch::try_from_iter_with_nullable([
        ("release", whole(&|line| Some(line.release)), true),
        ("region", text(&|line| Some(line.region.clone())), true),
        ("aggregate", text(&|line| line.aggregate.clone()), true),
        ("groups", whole(&|line| line.groups), true),
        (
            "mechanism",
            text(&|line| line.mechanism.map(str::to_owned)),
            true,
        ),
        ("noise_sd", real(&|line| line.noise_sd), true),
        ("half_width_95", real(&|line| line.half_width), true),
        ("epsilon", real(&|line| line.epsilon), true),
        ("delta", real(&|line| line.delta), true),
        (
            "epsilon_left_after",
            real(&|line| line.epsilon_left_after),
            true,
        ),
        ("note", text(&|line| line.note.clone()), true),
    ])
}
