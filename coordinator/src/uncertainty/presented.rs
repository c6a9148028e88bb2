//! What is done to an answer's figures at the very end, because the statement asked for it:
//! chance reported beside the noise, and values kept within what is possible.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, AsArray as _, Float64Array, RecordBatch},
        compute::cast,
        datatypes::{DataType, Float64Type, Int64Type},
    },
    common::Result,
    logical_expr::LogicalPlan,
};
use skerry_proto::wire;

use super::Figure;
use crate::{
    frontier::Frontier,
    merge::Merged,
    statistics::{self, Companions, together},
    taint,
};

/// What a statement may ask for beyond figures and what noise does to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Wishes {
    /// `uncertainty = 'total'`: chance beside the noise, and both together.
    pub total: bool,
    /// `clamp = true`: counts from 0, shares within 0 to 1.
    pub clamp: bool,
    /// `consistent = true`: parts add up to wholes.
    pub consistent: bool,
}

/// What chance does to a statistic, and both chance and noise. One entry per row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Total {
    /// Standard deviation of sampling.
    pub sampling_sd: Vec<Option<f64>>,
    /// Lower 95 % limits of chance and noise.
    pub low: Vec<Option<f64>>,
    /// Upper 95 % limits of chance and noise.
    pub high: Vec<Option<f64>>,
}

/// That a column's values and bounds were kept within what is possible.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Clamped {
    /// The least that is possible.
    pub low: f64,
    /// The most that is possible.
    pub high: f64,
    /// How many values were moved.
    pub rows: usize,
}

fn doubles(array: &ArrayRef) -> Result<Float64Array> {
    Ok(cast(array, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .clone())
}

/// Chance and noise together; `parts` are variance, low and high of chance.
pub(super) fn total(
    values: &ArrayRef,
    parts: [&ArrayRef; 3],
    figure: &Figure,
    companions: &Companions,
) -> Result<Total> {
    let values = doubles(values)?;
    let [variance, low, high] = parts.map(doubles);
    let (variance, low, high) = (variance?, low?, high?);
    let at = |array: &Float64Array, row: usize| array.is_valid(row).then(|| array.value(row));
    let rows = 0..values.len();
    let limit = |sampling: &Float64Array, of_noise: fn(&super::Intervals) -> &Vec<Option<f64>>| {
        rows.clone()
            .map(|row| {
                let (value, sampling) = (at(&values, row)?, at(sampling, row)?);
                if companions.includes_noise || !figure.noisy {
                    return Some(sampling);
                }
                let noise = of_noise(figure.intervals.as_ref()?)[row]?;
                Some(together(value, sampling, noise))
            })
            .collect()
    };
    Ok(Total {
        low: limit(&low, |intervals| &intervals.low),
        high: limit(&high, |intervals| &intervals.high),
        sampling_sd: rows
            .clone()
            .map(|row| at(&variance, row).map(|variance| variance.max(0.0).sqrt()))
            .collect(),
    })
}

/// What each column's values can be without noise, where that is known: of figures as released,
/// and of statistics.
pub(super) fn possible(
    plan: &LogicalPlan,
    frontiers: &[Frontier],
    merged: &[Merged],
) -> Vec<Option<(f64, f64)>> {
    let plain = taint::plain(plan, frontiers);
    (0..plan.schema().fields().len())
        .map(|at| {
            if let Some(statistic) = statistics::statistic(plan, at) {
                return Some(statistic.possible).filter(|(low, _)| low.is_finite());
            }
            let figures = plain.get(at).filter(|figures| !figures.is_empty())?;
            let ranges = figures.iter().map(|figure| {
                let merged = merged.get(figure.frontier)?;
                let aggregate = merged.aggregates.get(figure.aggregate)?;
                possible_figure(aggregate, &merged.measures)
            });
            let ranges: Vec<(f64, f64)> = ranges.collect::<Option<_>>()?;
            let widest = |a: (f64, f64), b: (f64, f64)| (a.0.min(b.0), a.1.max(b.1));
            ranges.into_iter().reduce(widest)
        })
        .collect()
}

/// What a released figure can be without noise; nothing where nothing is excluded.
fn possible_figure(aggregate: &wire::Aggregate, measures: &[wire::Measure]) -> Option<(f64, f64)> {
    use wire::AggregateFunction as Function;
    let from_zero = Some((0.0, f64::INFINITY));
    match aggregate.function() {
        Function::Count
        | Function::CountValues
        | Function::VariancePopulation
        | Function::VarianceSample
        | Function::DeviationPopulation
        | Function::DeviationSample
        | Function::SquaresX
        | Function::SquaresY => from_zero,
        Function::Sum | Function::Average => {
            let measure = measures.get(*aggregate.measures.first()? as usize)?;
            let factor = measure.factors.first()?;
            from_zero.filter(|_| factor.low >= 0.0)
        }
        Function::Correlation => Some((-1.0, 1.0)),
        Function::Determination => Some((0.0, 1.0)),
        Function::Unspecified
        | Function::CovariancePopulation
        | Function::CovarianceSample
        | Function::Slope
        | Function::Intercept
        | Function::AverageX
        | Function::AverageY
        | Function::Products
        | Function::Quantile => None,
    }
}

/// Keeps a column and its bounds within what is possible, and says how many values that moved.
pub(super) fn clamp(
    batch: &mut RecordBatch,
    at: usize,
    figure: &mut Figure,
    (low, high): (f64, f64),
) -> Result<()> {
    let array = batch.column(at);
    let within = low..=high;
    let rows = doubles(array)?
        .iter()
        .flatten()
        .filter(|value| !within.contains(value))
        .count();
    let clamped: ArrayRef = match array.data_type() {
        DataType::Int64 => {
            let kept = |value: i64| {
                if within.contains(&(value as f64)) {
                    value
                } else {
                    (value as f64).clamp(low, high) as i64
                }
            };
            let values = array.as_primitive::<Int64Type>();
            Arc::new(values.unary::<_, Int64Type>(kept))
        }
        DataType::Float64 => {
            let values = array.as_primitive::<Float64Type>();
            Arc::new(values.unary::<_, Float64Type>(|value| value.clamp(low, high)))
        }
        _ => return Ok(()),
    };
    let mut columns = batch.columns().to_vec();
    columns[at] = clamped;
    *batch = RecordBatch::try_new(batch.schema(), columns)?;
    let bounds = |bounds: &mut Vec<Option<f64>>| {
        for bound in bounds.iter_mut().flatten() {
            *bound = bound.clamp(low, high);
        }
    };
    if let Some(intervals) = &mut figure.intervals {
        bounds(&mut intervals.low);
        bounds(&mut intervals.high);
    }
    if let Some(total) = &mut figure.total {
        bounds(&mut total.low);
        bounds(&mut total.high);
    }
    figure.clamped = Some(Clamped { low, high, rows });
    Ok(())
}
