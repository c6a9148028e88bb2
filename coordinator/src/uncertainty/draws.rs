//! The statement run on draws of the noise. They are made by all cores, a block of draws at a time; which of
//! them makes a block changes nothing of it.

use std::{num::NonZero, ops::Range, sync::Arc, thread};

use datafusion::{
    arrow::{
        array::{Int64Array, RecordBatch},
        datatypes::{DataType, Field, Schema},
    },
    common::{DataFusionError, Result},
    datasource::{MemTable, provider_as_source},
    execution::SessionState,
    logical_expr::{LogicalPlan, TableSource},
};

use super::{Cells, Releases, renamed, run};
use crate::{
    finish::{self, DRAW, Figures, Finished, column},
    merge::{Block, DRAWS_OF_BLOCK, Merged},
    samples::{Intervals, Samples},
    widen::widen,
};

/// Draws of a small answer; larger ones get fewer, down to the least.
pub(super) const MOST_DRAWS: usize = 4_000;
const FEWEST_DRAWS: usize = 400;
/// Rows of all leaves and draws that are computed with in one go, and altogether.
const ROWS_AT_ONCE: usize = 500_000;
const ROWS: usize = 4_000_000;
/// Noises in all draws: a median has hundreds of cells in each region.
const NOISES: usize = 4_000_000;
/// So many noises are drawn sooner than a thread is begun.
const NOISES_OF_THREAD: usize = 20_000;

/// How many draws are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Draws {
    draws: usize,
    /// Whole blocks.
    at_once: usize,
}

impl Draws {
    /// As many as `most`, and as the releases' size allows.
    pub fn within(most: usize, merged: &[Merged]) -> Self {
        let groups = merged.iter().map(|m| m.keys.len()).sum::<usize>().max(1);
        let draws = (ROWS / groups).min(NOISES / noises(merged));
        let blocks = (ROWS_AT_ONCE / groups / DRAWS_OF_BLOCK).max(1);
        Self {
            draws: draws.clamp(FEWEST_DRAWS, MOST_DRAWS).min(most),
            at_once: blocks * DRAWS_OF_BLOCK,
        }
    }
}

/// In one draw of all releases.
fn noises(merged: &[Merged]) -> usize {
    merged.iter().map(Merged::noises).sum::<usize>().max(1)
}

/// Runs the upper plan on draws, some at a time, and takes the percentiles of `wanted` columns.
pub(super) async fn draw(
    state: &SessionState,
    upper: &LogicalPlan,
    releases: Releases<'_>,
    wanted: &[usize],
    draws: Draws,
    mut samples: Samples,
) -> Result<Vec<Intervals>> {
    let Draws { draws, at_once } = draws;
    let Releases {
        frontiers, merged, ..
    } = releases;
    let figures: Vec<Figures<'_>> = merged.iter().map(Figures::of).collect();
    let mut done = 0;
    while done < draws {
        let now = at_once.min(draws - done);
        let drawn = in_threads(releases, &figures, done..done + now)?;
        let tables = frontiers
            .iter()
            .zip(&figures)
            .zip(&drawn)
            .map(|((frontier, figures), drawn)| finish::table(frontier, figures, drawn))
            .collect::<Result<Vec<_>>>()?;
        let leaves = Cells {
            merged,
            tables,
            draws: Some(numbered(now)?),
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

/// These draws of each release, from a block's first on.
fn in_threads(
    releases: Releases<'_>,
    figures: &[Figures<'_>],
    draws: Range<usize>,
) -> Result<Vec<Vec<Finished>>> {
    let blocks = draws.start / DRAWS_OF_BLOCK..draws.end.div_ceil(DRAWS_OF_BLOCK);
    let blocks: Vec<usize> = blocks.collect();
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let worth = draws.len() * noises(releases.merged) / NOISES_OF_THREAD;
    let of_thread = blocks.len().div_ceil(worth.clamp(1, cores)).max(1);
    let end = draws.end;
    let made = thread::scope(|scope| {
        let mut parts = blocks.chunks(of_thread);
        let own = parts.next().unwrap_or_default();
        let others: Vec<_> = parts
            .map(|part| scope.spawn(move || of_blocks(releases, figures, part, end)))
            .collect();
        let mut made = of_blocks(releases, figures, own, end);
        for other in others {
            let Ok(more) = other.join() else {
                return Err(DataFusionError::Internal("draws failed".to_owned()));
            };
            for (made, more) in made.iter_mut().zip(more) {
                made.extend(more);
            }
        }
        Ok(made)
    })?;
    Ok(made)
}

/// The draws of some blocks, before the one with the number `end`, of each release.
fn of_blocks(
    releases: Releases<'_>,
    figures: &[Figures<'_>],
    blocks: &[usize],
    end: usize,
) -> Vec<Vec<Finished>> {
    let Releases {
        merged,
        consistency,
        ..
    } = releases;
    let mut made: Vec<Vec<Finished>> = merged.iter().map(|_| Vec::new()).collect();
    for block in blocks {
        let first = block * DRAWS_OF_BLOCK;
        let mut streams: Vec<Block<'_>> = merged.iter().map(|m| m.draws(*block as u64)).collect();
        for _ in first..end.min(first + DRAWS_OF_BLOCK) {
            // All releases of one draw together: what adds up does so across them.
            let mut noises: Vec<_> = streams.iter_mut().map(Block::noises).collect();
            consistency.apply(&mut noises);
            for ((made, figures), noises) in made.iter_mut().zip(figures).zip(&noises) {
                made.push(figures.finish(&figures.merged().less(noises)));
            }
        }
    }
    made
}

fn numbered(draws: usize) -> Result<Arc<dyn TableSource>> {
    let schema = Arc::new(Schema::new(vec![Field::new(DRAW, DataType::Int64, false)]));
    let column = Arc::new(Int64Array::from_iter_values(0..draws as i64));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![column])?;
    Ok(provider_as_source(Arc::new(MemTable::try_new(
        schema,
        vec![vec![batch]],
    )?)))
}
