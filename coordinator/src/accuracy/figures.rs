//! The figures of an answer that an accuracy is of: counts and sums as they are released.

use skerry_proto::Refusal;

use crate::{
    dispatch::{Asked, Quoted},
    finish,
    merge::Merged,
    plan::Planned,
    samples::LEVEL,
    taint,
};

/// Where in the releases the plain figures of an answer are.
fn plain_figures(planned: &Planned) -> Vec<taint::Plain> {
    let columns = taint::plain(&planned.upper, &planned.frontiers);
    let types = planned.upper.schema().fields().iter();
    columns
        .into_iter()
        .zip(types)
        .filter(|(_, field)| field.data_type().is_numeric())
        .flat_map(|(figures, _)| figures)
        .collect()
}

/// The largest half width of the 95 % interval of any plain figure; nothing when there is none.
pub(super) fn widest(planned: &Planned, quoted: &Quoted) -> Result<Option<f64>, Refusal> {
    let mut widest: Option<f64> = None;
    for (merged, group, weights) in figures(planned, &merged(quoted)?) {
        let half_width = merged.noise(group, &weights).half_width(LEVEL);
        widest = Some(widest.map_or(half_width, |other| other.max(half_width)));
    }
    Ok(widest)
}

fn merged(quoted: &Quoted) -> Result<Vec<Merged>, Refusal> {
    quoted
        .frontiers
        .iter()
        .map(|(_, quotes)| Merged::rehearsal(quotes))
        .collect()
}

/// A release, a group of it, and the weights of the cells that make a figure.
type FigureOf<'a> = (&'a Merged, usize, Vec<(usize, f64)>);

/// One group for every noise that differs, of every plain figure.
fn figures<'a>(planned: &Planned, merged: &'a [Merged]) -> Vec<FigureOf<'a>> {
    let mut seen: Vec<(usize, usize)> = Vec::new();
    let mut found: Vec<FigureOf<'a>> = Vec::new();
    for figure in plain_figures(planned) {
        let place = (figure.frontier, figure.aggregate);
        if seen.contains(&place) {
            continue;
        }
        seen.push(place);
        let Some(merged) = merged.get(figure.frontier) else {
            continue;
        };
        let weights = merged
            .aggregates
            .get(figure.aggregate)
            .and_then(|aggregate| finish::weights(aggregate, &merged.measures));
        let Some(weights) = weights else {
            continue;
        };
        let mut keys: Vec<Vec<u64>> = Vec::new();
        for group in 0..merged.keys.len() {
            let key = merged.noise(group, &weights).key();
            if !keys.contains(&key) {
                keys.push(key);
                found.push((merged, group, weights.clone()));
            }
        }
    }
    found
}

/// The smallest plain figure, by its size, and half its interval.
pub(super) fn smallest(planned: &Planned, asked: &Asked) -> Result<Option<(f64, f64)>, Refusal> {
    let merged = asked
        .replies
        .iter()
        .map(|replies| Merged::new(replies))
        .collect::<Result<Vec<_>, _>>()?;
    let mut smallest: Option<(f64, f64)> = None;
    for figure in plain_figures(planned) {
        let Some(merged) = merged.get(figure.frontier) else {
            continue;
        };
        let weights = merged
            .aggregates
            .get(figure.aggregate)
            .and_then(|aggregate| finish::weights(aggregate, &merged.measures));
        for (group, cells) in merged.cells.iter().enumerate() {
            let Some(weights) = &weights else {
                continue;
            };
            let value: f64 = weights.iter().map(|(cell, by)| cells[*cell] * by).sum();
            if smallest.is_none_or(|(size, _)| value.abs() < size) {
                let noise = merged.noise(group, weights);
                smallest = Some((value.abs(), noise.half_width(LEVEL)));
            }
        }
    }
    Ok(smallest)
}
