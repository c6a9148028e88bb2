//! `EXPLAIN PRIVACY`: what a statement would cost and how exact it would be, from the regions'
//! policies alone. It charges nothing.

use std::{collections::BTreeMap, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    error::ArrowError,
};
use skerry_proto::{Delta, Epsilon, ErrorCode, Refusal, RegionId, wire};

use crate::{
    answer::nano,
    bounds::Plan,
    dispatch::Quoted,
    finish,
    frontier::Frontier,
    merge::{self, cell_noise},
    noise::Sum,
    samples::LEVEL,
    threshold,
    uncertainty::Expected,
};

/// A true difference is told apart when it is found at the 5 % level in at least this part of
/// cases.
const POWER: f64 = 0.8;
/// Sums of ε are of whole 1e-9.
const HALF_A_NANO: f64 = 0.5e-9;

/// One line of the explanation.
#[derive(Default)]
struct Line {
    release: Option<i64>,
    region: String,
    aggregate: Option<String>,
    groups: Option<i64>,
    mechanism: Option<&'static str>,
    noise_sd: Option<f64>,
    noise_persons: Option<f64>,
    half_width: Option<f64>,
    smallest_difference: Option<f64>,
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

/// The noise of one aggregate in one region: of a count or a sum, which don't need figures.
fn noise(quote: &wire::Quote, aggregate: usize) -> Option<Sum> {
    let noise = cell_noise(quote.noise.as_ref()?)?;
    let weights = finish::weights(quote.aggregates.get(aggregate)?, &quote.measures)?;
    let starts = merge::starts(&quote.measures);
    let mut sum = Sum::default();
    for (cell, weight) in weights {
        let measure = starts
            .partition_point(|start| *start <= cell)
            .checked_sub(1)?;
        sum.add(noise.times(quote.measures.get(measure)?.step * weight));
    }
    Some(sum)
}

/// The most that one person can add to an aggregate of a group, in its own unit: what a noise has
/// to be held against to count it in persons.
fn most_of_a_person(quote: &wire::Quote, aggregate: usize) -> Option<f64> {
    let aggregate = quote.aggregates.get(aggregate)?;
    let measure = quote.measures.get(*aggregate.measures.first()? as usize)?;
    let rows = measure.rows.max(1) as f64;
    let most = match measure.kind() {
        wire::MeasureKind::Persons => 1.0,
        wire::MeasureKind::Rows => rows,
        wire::MeasureKind::Sum => {
            let factor = measure.factors.first()?;
            rows * factor.low.abs().max(factor.high.abs())
        }
        wire::MeasureKind::Product
        | wire::MeasureKind::Bins
        | wire::MeasureKind::Values
        | wire::MeasureKind::Unspecified => return None,
    };
    let most = if measure.total > 0.0 {
        most.min(measure.total)
    } else {
        most
    };
    (most > 0.0).then_some(most)
}

/// The smallest true difference between two figures that their noises let be told apart: found at
/// the 5 % level in 80 % of cases. It is the half width of the difference's 95 % interval, beyond
/// which it is believed, and as much again as the noise stays above in 80 %.
fn smallest_difference(one: &Sum, other: &Sum) -> f64 {
    let mut both = one.clone();
    both.merge(other);
    // Symmetric: what stays above in 80 % is what is within in 60 %.
    both.half_width(LEVEL) + both.half_width(2.0 * POWER - 1.0)
}

/// That a region has not enough left: of the project's budget or of all projects'.
fn exhausted(quote: &wire::Quote, spent: f64) -> Option<String> {
    let budget = quote.budget.as_ref()?;
    let short = |allowance: &Option<wire::Allowance>| {
        allowance
            .as_ref()
            .is_some_and(|left| nano(left.epsilon_left_nano) < spent - HALF_A_NANO)
    };
    let whose = match (short(&budget.project), short(&budget.total)) {
        (true, _) => "the project",
        (false, true) => "all projects together",
        (false, false) => return None,
    };
    let code = ErrorCode::BudgetExhausted;
    Some(format!("{code}: less is left to {whose} than this costs"))
}

/// What there is to say of bounds that are still to be found.
fn of_bounds(plan: Plan) -> Option<String> {
    match plan {
        Plan::Found => Some(
            "noise is for declared bounds: a tenth of epsilon finds narrower ones first, with less \
             noise, or a ninth more if there are none"
                .to_owned(),
        ),
        Plan::Declared | Plan::Given => None,
    }
}

/// A table of one line per release, region and aggregate; `all regions` is the noise of the sum
/// over those that quoted, `answer` that of a column of the answer in its rows. Regions that
/// refuse have a line each.
pub(crate) fn explain(
    frontiers: &[Frontier],
    quoted: &Quoted,
    plans: &[Plan],
    expected: &[Expected],
) -> Result<RecordBatch, ArrowError> {
    let mut lines = Vec::new();
    let mut spent: BTreeMap<&RegionId, f64> = BTreeMap::new();
    for (index, (frontier, (_, quotes))) in frontiers.iter().zip(&quoted.frontiers).enumerate() {
        let release = i64::try_from(index + 1).ok();
        let names: Vec<String> = frontier
            .aggregate
            .aggr_expr
            .iter()
            // The engine counts rows by counting ones.
            .map(|expr| expr.schema_name().to_string().replace("Int64(1)", "*"))
            .collect();
        for (region, quote) in quotes {
            let cost = quote.cost.unwrap_or_default();
            let epsilon = Epsilon::from_nano(cost.epsilon_nano).map_or(0.0, Epsilon::to_f64);
            let before = spent.entry(region).or_default();
            *before += epsilon;
            let left = quote
                .budget
                .as_ref()
                .and_then(|budget| budget.project.as_ref())
                .map(|left| nano(left.epsilon_left_nano) - *before);
            for (aggregate, name) in names.iter().enumerate() {
                let own = noise(quote, aggregate);
                let sd = own.as_ref().map(|own| own.variance().sqrt());
                let others = quotes.iter().filter(|(other, _)| other != region);
                let differences = others.filter_map(|(_, other)| {
                    Some(smallest_difference(
                        own.as_ref()?,
                        &noise(other, aggregate)?,
                    ))
                });
                let of_aggregate = own.is_none().then(|| of_average(quote, aggregate));
                let notes = [
                    note(quote, of_aggregate),
                    plans.get(index).copied().and_then(of_bounds),
                    exhausted(quote, *before),
                ];
                let notes: Vec<String> = notes.into_iter().flatten().collect();
                lines.push(Line {
                    release,
                    region: region.to_string(),
                    aggregate: Some(name.clone()),
                    groups: match quote.threshold {
                        None => i64::try_from(quote.groups.len()).ok(),
                        Some(_) => None,
                    },
                    mechanism: Some(mechanism(quote.noise.as_ref())),
                    noise_sd: sd,
                    noise_persons: sd
                        .zip(most_of_a_person(quote, aggregate))
                        .map(|(sd, most)| sd / most),
                    half_width: own.as_ref().map(|own| own.half_width(LEVEL)),
                    smallest_difference: differences.reduce(f64::max),
                    epsilon: Some(epsilon),
                    delta: Delta::from_atto(cost.delta_atto).ok().map(Delta::to_f64),
                    epsilon_left_after: left,
                    note: (!notes.is_empty()).then(|| notes.join("; ")),
                });
            }
        }
        for (aggregate, name) in names.iter().enumerate() {
            let all: Option<Vec<Sum>> = quotes
                .iter()
                .map(|(_, quote)| noise(quote, aggregate))
                .collect();
            let sum = all.map(|all| {
                all.iter().fold(Sum::default(), |mut sum, own| {
                    sum.merge(own);
                    sum
                })
            });
            let sum = sum.filter(|sum| sum.variance() > 0.0);
            lines.push(Line {
                release,
                region: "all regions".to_owned(),
                aggregate: Some(name.clone()),
                noise_sd: sum.as_ref().map(|sum| sum.variance().sqrt()),
                half_width: sum.as_ref().map(|sum| sum.half_width(LEVEL)),
                ..Line::default()
            });
        }
    }
    lines.extend(expected.iter().map(of_answer));
    for (region, refusal) in &quoted.missing {
        lines.push(refused(region, refusal));
    }
    batch(&lines)
}

/// A column of the answer.
fn of_answer(expected: &Expected) -> Line {
    let note = match expected.noise {
        None => Some("the noise hangs on the figures".to_owned()),
        Some([(least, most), _]) if most > 1.02 * least => {
            Some(format!("by row, noise_sd is from {least:.4} to {most:.4}"))
        }
        Some(_) => None,
    };
    Line {
        region: "answer".to_owned(),
        aggregate: Some(expected.name.clone()),
        groups: expected.rows.and_then(|rows| i64::try_from(rows).ok()),
        noise_sd: expected.noise.map(|[(_, most), _]| most),
        half_width: expected.noise.map(|[_, (_, most)]| most),
        note,
        ..Line::default()
    }
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
        ("release", whole(&|line| line.release), true),
        ("region", text(&|line| Some(line.region.clone())), true),
        ("aggregate", text(&|line| line.aggregate.clone()), true),
        ("groups", whole(&|line| line.groups), true),
        (
            "mechanism",
            text(&|line| line.mechanism.map(str::to_owned)),
            true,
        ),
        ("noise_sd", real(&|line| line.noise_sd), true),
        ("noise_persons", real(&|line| line.noise_persons), true),
        ("half_width_95", real(&|line| line.half_width), true),
        (
            "smallest_difference",
            real(&|line| line.smallest_difference),
            true,
        ),
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
