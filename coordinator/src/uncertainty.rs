//! How sure an answer is: draws of the noise, whose distribution is known exactly, go through
//! whatever the statement does with the figures. What comes out where the answer has a number
//! is how that number could have been.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, Int64Array, RecordBatch},
        compute::concat_batches,
    },
    common::{Column, DataFusionError, Result, plan_err},
    execution::SessionState,
    logical_expr::{Expr, LogicalPlan, Projection, TableSource},
    physical_plan::collect,
};

use crate::{
    consistency::Consistency,
    finish::{self, Figures, Wide, column},
    frontier::{Frontier, Released},
    merge::Merged,
    optimized::physical_plan,
    samples::{Intervals, LEVEL, Samples, int64},
    session::started,
    statistics::{Companions, is_limit, with_companions},
    taint::{self, Plain},
    total::total,
    widen::{Leaves, widen},
};

/// One column of the answer.
#[derive(Debug)]
pub(crate) struct Figure {
    /// Its values hang on noise.
    pub noisy: bool,
    /// Its intervals, where it is a number.
    pub intervals: Option<Intervals>,
    /// What chance does to it, where that was asked for and is known.
    pub total: Option<Total>,
    /// That it was kept within what is possible, where that was asked for.
    pub clamped: Option<Clamped>,
}

impl Figure {
    /// Of which no more is known.
    pub fn alone(noisy: bool) -> Self {
        Self {
            noisy,
            intervals: None,
            total: None,
            clamped: None,
        }
    }
}

/// Runs the upper plan on the released cells, then on draws of them. The batch has the
/// statement's own columns.
pub(crate) async fn answer(
    state: &SessionState,
    upper: &LogicalPlan,
    frontiers: &[Frontier],
    merged: &[Merged],
    wishes: Wishes,
) -> Result<(RecordBatch, Vec<Figure>)> {
    let state = &started(state);
    let own = upper.schema().fields().len();
    let possible = presented::possible(upper, frontiers, merged);
    let (consistency, merged) = consistent(frontiers, merged, wishes);
    let releases = Releases {
        frontiers,
        merged: &merged,
        consistency: &consistency,
    };
    let (upper, companions) = asked_for(upper, wishes)?;
    let upper = resolve(state, upper, releases, MOST_DRAWS).await?;
    let Noisy {
        mut batch,
        mut figures,
        ..
    } = found(state, &upper, releases, own, MOST_DRAWS).await?;
    for (at, companions) in companions.iter().enumerate() {
        if let Some(companions) = companions {
            let part = |column: &Column| -> Result<&ArrayRef> {
                Ok(batch.column(upper.schema().index_of_column(column)?))
            };
            let parts = [
                part(&companions.variance)?,
                part(&companions.low)?,
                part(&companions.high)?,
            ];
            let total = presented::total(batch.column(at), parts, &figures[at], companions)?;
            figures[at].total = Some(total);
        }
    }
    let kept: Vec<usize> = (0..own).collect();
    batch = batch.project(&kept)?;
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
    if wishes.clamp {
        for (at, possible) in possible.into_iter().enumerate() {
            if let Some(possible) = possible
                && figures[at].noisy
            {
                presented::clamp(&mut batch, at, &mut figures[at], possible)?;
            }
        }
    }
    Ok((batch, figures))
}

/// What the figures are made of, and how what was released adds up where that was asked for.
#[derive(Clone, Copy)]
struct Releases<'a> {
    frontiers: &'a [Frontier],
    merged: &'a [Merged],
    consistency: &'a Consistency,
}

/// The releases as they are, or made to add up.
fn consistent<'a>(
    frontiers: &[Frontier],
    merged: &'a [Merged],
    wishes: Wishes,
) -> (Consistency, Cow<'a, [Merged]>) {
    if wishes.consistent {
        Consistency::of(frontiers, merged)
    } else {
        (Consistency::default(), Cow::Borrowed(merged))
    }
}

/// The plan made total, with what was asked for beyond its own columns.
fn asked_for(
    upper: &LogicalPlan,
    wishes: Wishes,
) -> Result<(LogicalPlan, Vec<Option<Companions>>)> {
    let (upper, companions) = if wishes.total {
        with_companions(upper.clone())?
    } else {
        (upper.clone(), Vec::new())
    };
    Ok((total(upper)?, companions))
}

/// Rows, where they come from, and how sure their numbers are.
struct Noisy {
    batch: RecordBatch,
    rows: Rows,
    figures: Vec<Figure>,
}

/// The first `width` figures of a plan that asks nothing more about noise.
async fn found(
    state: &SessionState,
    upper: &LogicalPlan,
    releases: Releases<'_>,
    width: usize,
    most_draws: usize,
) -> Result<Noisy> {
    let taint = taint::taint(upper, releases.frontiers);
    let plain = taint::plain(upper, releases.frontiers);
    let (batch, rows) = released_rows(state, upper, releases).await?;

    let noisy = taint.columns.iter().take(width);
    let mut figures: Vec<Figure> = noisy.map(|noisy| Figure::alone(*noisy)).collect();
    let mut drawn = Vec::new();
    for at in 0..width {
        let number = batch.column(at).data_type().is_numeric();
        // A limit of an interval has none of its own.
        if !figures[at].noisy || !number || is_limit(upper, at) {
            continue;
        }
        let exact = exact(releases, &plain[at], &rows);
        match exact {
            Some(intervals) => figures[at].intervals = Some(intervals),
            None => drawn.push(at),
        }
    }
    if !drawn.is_empty() && !rows.identities.is_empty() {
        let draws = Draws::within(most_draws, releases.merged);
        let samples = Samples::new(&rows.identities, drawn.len());
        let found = match draw(state, upper, releases, &drawn, draws, samples).await {
            Ok(found) => found,
            Err(error) => {
                // The answer stands; that its intervals are not known is said by NULLs.
                tracing::warn!(%error, "no draws");
                vec![Intervals::unknown(rows.identities.len()); drawn.len()]
            }
        };
        for (at, intervals) in drawn.into_iter().zip(found) {
            figures[at].intervals = Some(intervals);
        }
    }
    Ok(Noisy {
        batch,
        rows,
        figures,
    })
}

/// Where the answer's rows come from.
struct Rows {
    identities: Vec<i64>,
    /// For each place of a release, the number of the release's row, if there is one.
    origins: HashMap<usize, Int64Array>,
}

/// The answer itself, and where its rows come from.
async fn released_rows(
    state: &SessionState,
    upper: &LogicalPlan,
    releases: Releases<'_>,
) -> Result<(RecordBatch, Rows)> {
    let Releases {
        frontiers, merged, ..
    } = releases;
    let tables = frontiers
        .iter()
        .zip(merged)
        .map(|(frontier, merged)| {
            let figures = Figures::of(merged);
            finish::table(frontier, &figures, &[figures.finish(&merged.cells)])
        })
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
    for (place, origin) in &wide.origins {
        exprs.push(column(origin).alias(format!("origin{place}")));
    }
    let batch = run(state, exprs, wide.plan).await?;
    let mut rows = Rows {
        identities: int64(&batch, visible.len())?.values().to_vec(),
        origins: HashMap::new(),
    };
    for (at, (place, _)) in wide.origins.iter().enumerate() {
        let origins = int64(&batch, visible.len() + 1 + at)?.clone();
        rows.origins.insert(*place, origins);
    }
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
    let physical = physical_plan(state, &plan).await?;
    let schema = physical.schema();
    let batches = collect(physical, state.task_ctx()).await?;
    Ok(concat_batches(&schema, &batches)?)
}

/// Exact intervals of plain figures; nothing when the column is not made of such alone.
fn exact(releases: Releases<'_>, figures: &[Plain], rows: &Rows) -> Option<Intervals> {
    let mut sources = Vec::new();
    for figure in figures {
        if releases.consistency.moves(figure.frontier) {
            return None;
        }
        let merged = releases.merged.get(figure.frontier)?;
        let aggregate = merged.aggregates.get(figure.aggregate)?;
        let weights = finish::weights(aggregate, &merged.measures)?;
        sources.push((merged, weights, rows.origins.get(&figure.place)?));
    }
    if sources.is_empty() {
        return None;
    }
    let mut known: HashMap<Vec<u64>, f64> = HashMap::new();
    let mut intervals = Intervals::default();
    for row in 0..rows.identities.len() {
        let source = sources.iter().find(|(_, _, origins)| origins.is_valid(row));
        // The NULL of an outer join comes from no release, and has no bounds.
        let Some((merged, weights, origins)) = source else {
            intervals.push(None, None, None);
            continue;
        };
        let group = usize::try_from(origins.value(row)).ok()?;
        let cells = merged.cells.get(group)?;
        let value: f64 = weights
            .iter()
            .map(|(measure, weight)| cells[*measure] * weight)
            .sum();
        let noise = merged.noise(group, weights);
        let half_width = *known
            .entry(noise.key())
            .or_insert_with(|| noise.half_width(LEVEL));
        intervals.push(
            Some(value - half_width),
            Some(value + half_width),
            Some(noise.variance().sqrt()),
        );
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

/// Whether the upper plan can be run, on the answer and on draws.
pub(crate) async fn rehearse(
    state: &SessionState,
    upper: &LogicalPlan,
    frontiers: &[Frontier],
    merged: &[Merged],
    wishes: Wishes,
) -> Result<()> {
    let state = &started(state);
    let (consistency, merged) = consistent(frontiers, merged, wishes);
    if wishes.consistent && consistency.is_empty() {
        return plan_err!(
            "nothing in this statement adds up to something else in it, so nothing can be made \
             consistent: ask a table with its margins, as GROUP BY ROLLUP(region, municipality)"
        );
    }
    let releases = Releases {
        frontiers,
        merged: &merged,
        consistency: &consistency,
    };
    let (upper, _) = asked_for(upper, wishes)?;
    let upper = resolve(state, upper, releases, 2).await?;
    let noisy = taint::taint(&upper, frontiers).columns;
    let (batch, rows) = released_rows(state, &upper, releases).await?;
    let drawn: Vec<usize> = (0..noisy.len())
        .filter(|at| noisy[*at] && batch.column(*at).data_type().is_numeric())
        .collect();
    let samples = Samples::new(&rows.identities, drawn.len());
    let draws = Draws::within(2, &merged);
    draw(state, &upper, releases, &drawn, draws, samples).await?;
    Ok(())
}

mod draws;
mod expected;
mod presented;
mod resolve;

use draws::{Draws, MOST_DRAWS, draw};
pub(crate) use expected::{Expected, expected};
pub(crate) use presented::{Clamped, Total, Wishes};
use resolve::resolve;

#[cfg(test)]
mod tests;
