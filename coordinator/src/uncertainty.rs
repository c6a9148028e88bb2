//! How sure an answer is: draws of the noise, whose distribution is known exactly, go through
//! whatever the statement does with the figures. What comes out where the answer has a number
//! is how that number could have been.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array, Float64Array, Int64Array, RecordBatch},
        compute::{cast, concat_batches},
        datatypes::{DataType, Field, Schema},
    },
    common::{Column, DataFusionError, Result},
    datasource::{MemTable, provider_as_source},
    execution::SessionState,
    logical_expr::{Expr, LogicalPlan, Projection, TableSource},
    physical_plan::collect,
};

use crate::{
    finish::{self, DRAW, Wide, column},
    frontier::{Frontier, Released},
    merge::Merged,
    taint,
    total::total,
    widen::{Leaves, widen},
};

/// The share of cases in which an interval holds the figure without noise.
pub(crate) const LEVEL: f64 = 0.95;
/// Draws of a small answer; larger ones get fewer, down to the least.
const MOST_DRAWS: usize = 4_000;
const FEWEST_DRAWS: usize = 400;
/// Rows of all leaves and draws that are computed with in one go, and altogether.
const ROWS_AT_ONCE: usize = 500_000;
const ROWS: usize = 4_000_000;

/// One column of the answer.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Its values hang on noise.
    pub noisy: bool,
    /// Its intervals, where it is a number.
    pub intervals: Option<Intervals>,
}

/// One entry per row; nothing where no bound can be given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Intervals {
    /// Lower bounds.
    pub low: Vec<Option<f64>>,
    /// Upper bounds.
    pub high: Vec<Option<f64>>,
    /// Standard deviations of the noise.
    pub sd: Vec<Option<f64>>,
}

/// Runs the upper plan on the released cells, then on draws of them. The batch has the
/// statement's own columns.
pub(crate) async fn answer(
    state: &SessionState,
    upper: &LogicalPlan,
    frontiers: &[Frontier],
    merged: &[Merged],
) -> Result<(RecordBatch, Vec<Figure>)> {
    let upper = total(upper.clone())?;
    let taint = taint::taint(&upper, frontiers);
    let plain = taint::plain(&upper, frontiers);
    let width = upper.schema().fields().len();
    let (batch, rows) = released_rows(state, &upper, frontiers, merged).await?;

    let mut figures: Vec<Figure> = taint
        .columns
        .iter()
        .map(|noisy| Figure {
            noisy: *noisy,
            intervals: None,
        })
        .collect();
    let mut drawn = Vec::new();
    for at in 0..width {
        if !figures[at].noisy || !batch.column(at).data_type().is_numeric() {
            continue;
        }
        let exact = plain[at]
            .and_then(|(frontier, aggregate)| exact(merged.get(frontier)?, aggregate, &rows));
        match exact {
            Some(intervals) => figures[at].intervals = Some(intervals),
            None => drawn.push(at),
        }
    }
    if !drawn.is_empty() && !rows.is_empty() {
        let samples = Samples::new(&rows, drawn.len());
        let found = match draw(state, &upper, frontiers, merged, &drawn, samples).await {
            Ok(found) => found,
            Err(error) => {
                // The answer stands; that its intervals are not known is said by NULLs.
                tracing::warn!(%error, "no draws");
                vec![Intervals::unknown(rows.len()); drawn.len()]
            }
        };
        for (at, intervals) in drawn.into_iter().zip(found) {
            figures[at].intervals = Some(intervals);
        }
    }
    for (figure, column) in figures.iter_mut().zip(batch.columns()) {
        if let Some(intervals) = &mut figure.intervals
            && column.data_type().is_integer()
        {
            let outwards = |bounds: &mut Vec<Option<f64>>, round: fn(f64) -> f64| {
                bounds
                    .iter_mut()
                    .flatten()
                    .for_each(|bound| *bound = round(*bound));
            };
            outwards(&mut intervals.low, f64::floor);
            outwards(&mut intervals.high, f64::ceil);
        }
    }
    Ok((batch, figures))
}

/// The answer itself, and the identity of each of its rows.
async fn released_rows(
    state: &SessionState,
    upper: &LogicalPlan,
    frontiers: &[Frontier],
    merged: &[Merged],
) -> Result<(RecordBatch, Vec<i64>)> {
    let tables = frontiers
        .iter()
        .zip(merged)
        .map(|(frontier, merged)| finish::table(frontier, merged, &[(0, merged.cells.clone())]))
        .collect::<Result<Vec<_>>>()?;
    let leaves = Cells {
        merged,
        tables,
        draws: None,
    };
    let visible = upper.schema().columns();
    let wide = widen(upper.clone(), &leaves)?;
    let mut exprs = renamed(visible.iter());
    exprs.push(column(&wide.row).alias("row"));
    let batch = run(state, exprs, wide.plan).await?;
    let rows = int64(&batch, visible.len())?.values().to_vec();
    let kept: Vec<usize> = (0..visible.len()).collect();
    Ok((batch.project(&kept)?, rows))
}

/// Columns under names that can't clash.
fn renamed<'a>(columns: impl Iterator<Item = &'a Column>) -> Vec<Expr> {
    columns
        .enumerate()
        .map(|(at, name)| column(name).alias(format!("c{at}")))
        .collect()
}

async fn run(state: &SessionState, exprs: Vec<Expr>, plan: LogicalPlan) -> Result<RecordBatch> {
    let plan = LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(plan))?);
    let physical = state.create_physical_plan(&plan).await?;
    let schema = physical.schema();
    let batches = collect(physical, state.task_ctx()).await?;
    Ok(concat_batches(&schema, &batches)?)
}

fn int64(batch: &RecordBatch, at: usize) -> Result<&Int64Array> {
    batch
        .column(at)
        .as_any()
        .downcast_ref::<Int64Array>()
        .ok_or_else(|| DataFusionError::Internal("a row without identity".to_owned()))
}

/// Exact intervals of plain figures; a row's identity is then its place in the release.
fn exact(merged: &Merged, aggregate: usize, rows: &[i64]) -> Option<Intervals> {
    let weights = finish::weights(merged.aggregates.get(aggregate)?, &merged.measures)?;
    let mut known: HashMap<Vec<u64>, f64> = HashMap::new();
    let mut intervals = Intervals::default();
    for row in rows {
        let group = usize::try_from(*row).ok()?;
        let cells = merged.cells.get(group)?;
        let value: f64 = weights
            .iter()
            .map(|(measure, weight)| cells[*measure] * weight)
            .sum();
        let noise = merged.noise(group, &weights);
        let half_width = *known
            .entry(noise.key())
            .or_insert_with(|| noise.half_width(LEVEL));
        intervals.low.push(Some(value - half_width));
        intervals.high.push(Some(value + half_width));
        intervals.sd.push(Some(noise.variance().sqrt()));
    }
    Some(intervals)
}

/// Where the leaves of a run come from.
struct Cells<'a> {
    merged: &'a [Merged],
    tables: Vec<Arc<dyn TableSource>>,
    draws: Option<Arc<dyn TableSource>>,
}

impl Leaves for Cells<'_> {
    fn leaf(&self, released: &Released, place: usize) -> Result<Wide> {
        match (
            self.merged.get(released.frontier),
            self.tables.get(released.frontier),
        ) {
            (Some(merged), Some(table)) => {
                let table = Arc::clone(table);
                finish::leaf(released, merged, table, place, self.draws.is_some())
            }
            _ => Err(DataFusionError::Internal("no such release".to_owned())),
        }
    }

    fn draws(&self) -> Option<Arc<dyn TableSource>> {
        self.draws.clone()
    }
}

/// Runs the upper plan on draws, some at a time, and takes the percentiles of `wanted` columns.
async fn draw(
    state: &SessionState,
    upper: &LogicalPlan,
    frontiers: &[Frontier],
    merged: &[Merged],
    wanted: &[usize],
    mut samples: Samples,
) -> Result<Vec<Intervals>> {
    let groups = merged.iter().map(|m| m.keys.len()).sum::<usize>().max(1);
    let draws = (ROWS / groups).clamp(FEWEST_DRAWS, MOST_DRAWS);
    let at_once = (ROWS_AT_ONCE / groups).clamp(1, draws);
    let mut streams: Vec<_> = merged.iter().map(Merged::draws).collect();
    let mut done = 0;
    while done < draws {
        let now = at_once.min(draws - done);
        let numbers: Vec<i64> = (0..now as i64).collect();
        let tables = frontiers
            .iter()
            .zip(merged)
            .zip(&mut streams)
            .map(|((frontier, merged), stream)| {
                let cells: Vec<_> = numbers.iter().map(|n| (*n, stream.next())).collect();
                finish::table(frontier, merged, &cells)
            })
            .collect::<Result<Vec<_>>>()?;
        let leaves = Cells {
            merged,
            tables,
            draws: Some(numbered(numbers)?),
        };
        let visible = upper.schema().columns();
        let wide = widen(upper.clone(), &leaves)?;
        let mut exprs = renamed(wanted.iter().map(|at| &visible[*at]));
        exprs.push(column(&wide.row).alias("row"));
        let batch = run(state, exprs, wide.plan).await?;
        samples.add(&batch)?;
        done += now;
    }
    Ok(samples.intervals(draws))
}

fn numbered(numbers: Vec<i64>) -> Result<Arc<dyn TableSource>> {
    let schema = Arc::new(Schema::new(vec![Field::new(DRAW, DataType::Int64, false)]));
    let column = Arc::new(Int64Array::from(numbers));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column])?;
    Ok(provider_as_source(Arc::new(MemTable::try_new(
        schema,
        vec![vec![batch]],
    )?)))
}

/// Values of the wanted columns for each of the answer's rows.
struct Samples {
    /// From a row's identity to the answer's rows that have it. Two rows that no value but the
    /// noise tells apart share one, and their draws.
    slots: HashMap<i64, usize>,
    slot_of_row: Vec<usize>,
    sharing: Vec<usize>,
    /// slot × column.
    values: Vec<Vec<Vec<f64>>>,
}

impl Samples {
    fn new(rows: &[i64], columns: usize) -> Self {
        let mut slots = HashMap::new();
        let mut sharing = Vec::new();
        let slot_of_row = rows
            .iter()
            .map(|row| {
                let slot = *slots.entry(*row).or_insert_with(|| {
                    sharing.push(0);
                    sharing.len() - 1
                });
                sharing[slot] += 1;
                slot
            })
            .collect();
        Self {
            slots,
            slot_of_row,
            values: vec![vec![Vec::new(); columns]; sharing.len()],
            sharing,
        }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let columns = batch.num_columns() - 1;
        let ids = int64(batch, columns)?;
        let numbers = (0..columns)
            .map(|at| cast(batch.column(at), &DataType::Float64))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        for (at, number) in numbers.iter().enumerate() {
            let Some(number) = number.as_any().downcast_ref::<Float64Array>() else {
                continue;
            };
            for (row, value) in number.iter().enumerate() {
                // An undefined draw is not a value; it is counted when bounds are taken.
                if let (Some(slot), Some(value)) = (self.slots.get(&ids.value(row)), value)
                    && value.is_finite()
                {
                    self.values[*slot][at].push(value);
                }
            }
        }
        Ok(())
    }

    fn intervals(mut self, draws: usize) -> Vec<Intervals> {
        let columns = self.values.first().map_or(0, Vec::len);
        let mut found = vec![Intervals::default(); columns];
        let mut bounds = Vec::new();
        for (slot, values) in self.values.iter_mut().enumerate() {
            let expected = draws * self.sharing[slot];
            bounds.push(
                values
                    .iter_mut()
                    .map(|v| interval(v, expected))
                    .collect::<Vec<_>>(),
            );
        }
        for slot in self.slot_of_row {
            for (intervals, (low, high, sd)) in found.iter_mut().zip(&bounds[slot]) {
                intervals.low.push(*low);
                intervals.high.push(*high);
                intervals.sd.push(*sd);
            }
        }
        found
    }
}

impl Intervals {
    fn unknown(rows: usize) -> Self {
        Self {
            low: vec![None; rows],
            high: vec![None; rows],
            sd: vec![None; rows],
        }
    }
}

/// Low, high and standard deviation of what was drawn. Draws that gave no number could be
/// anything: they count at both ends, and where they reach a bound there is none.
fn interval(values: &mut [f64], expected: usize) -> (Option<f64>, Option<f64>, Option<f64>) {
    values.sort_unstable_by(f64::total_cmp);
    let undefined = expected.saturating_sub(values.len());
    let tail = (((1.0 - LEVEL) / 2.0) * (expected + 1) as f64).floor() as usize;
    // The tail-th from either end, counting the undefined ones first.
    let inside = tail.max(1).checked_sub(undefined + 1);
    let low = inside.and_then(|at| values.get(at)).copied();
    let high = inside
        .and_then(|at| values.len().checked_sub(at + 1))
        .and_then(|at| values.get(at))
        .copied();
    let n = values.len() as f64;
    let sd = (low.is_some() && values.len() > 1).then(|| {
        let mean = values.iter().sum::<f64>() / n;
        (values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt()
    });
    (low, high, sd)
}

#[cfg(test)]
mod tests;
