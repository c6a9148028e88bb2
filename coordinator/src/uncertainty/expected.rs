//! How exact an answer's columns would be, before anything is released: the statement is run on
//! two sets of made-up figures. Where the noise that comes out is the same, it doesn't hang on
//! the figures, and is what will be.

use datafusion::{common::Result, execution::SessionState, logical_expr::LogicalPlan};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use super::{MOST_DRAWS, Noisy, Releases, Wishes, asked_for, consistent, found, resolve::resolve};
use crate::{frontier::Frontier, merge::Merged, session::started, taint};

/// How much two results from draws may differ and still be the same: they share their draws, so
/// all that differs is where whole numbers are rounded.
const SAME: f64 = 0.02;

/// Made-up figures are so many times their noise, so that none is near zero, where much hangs on.
const FAR: f64 = 1_000.0;
/// Made-up figures above this are whole numbers.
const WHOLE: f64 = 100.0;

/// The noise to expect in one column of an answer.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expected {
    /// The column, in the answer's order.
    pub name: String,
    /// Rows of the answer; nothing where which there are hangs on noise.
    pub rows: Option<usize>,
    /// Least and most of the noise's standard deviation over the rows, and of half its 95 %
    /// interval; nothing where they hang on the figures.
    pub noise: Option<[(f64, f64); 2]>,
}

/// What is expected of every noisy number of an answer. `merged` has no figures in it.
pub(crate) async fn expected(
    state: &SessionState,
    upper: &LogicalPlan,
    frontiers: &[Frontier],
    merged: &[Merged],
    wishes: Wishes,
) -> Result<Vec<Expected>> {
    let state = &started(state);
    let width = upper.schema().fields().len();
    let (upper, _) = asked_for(upper, wishes)?;
    let noisy_rows = taint::taint(&upper, frontiers).rows;
    let mut results = Vec::new();
    for seed in [1, 2] {
        let made_up: Vec<Merged> = merged.iter().map(|merged| filled(merged, seed)).collect();
        let (consistency, made_up) = consistent(frontiers, &made_up, wishes);
        let releases = Releases {
            frontiers,
            merged: &made_up,
            consistency: &consistency,
        };
        let upper = resolve(state, upper.clone(), releases, MOST_DRAWS / 4).await?;
        results.push(found(state, &upper, releases, width, MOST_DRAWS / 4).await?);
    }
    let [one, other] = results.as_slice() else {
        return Ok(Vec::new());
    };
    let fields = upper.schema().fields();
    let columns = (0..width)
        .filter(|at| one.figures[*at].noisy && one.batch.column(*at).data_type().is_numeric());
    Ok(columns
        .filter_map(|at| {
            Some(Expected {
                name: fields.get(at)?.name().clone(),
                rows: (!noisy_rows).then(|| one.batch.num_rows()),
                noise: same_noise(one, other, at),
            })
        })
        .collect())
}

/// The noise of a column, where both results have the same.
fn same_noise(one: &Noisy, other: &Noisy, at: usize) -> Option<[(f64, f64); 2]> {
    let of = |result: &Noisy| -> Option<Vec<[f64; 2]>> {
        let intervals = result.figures[at].intervals.as_ref()?;
        let rows = intervals.low.iter().zip(&intervals.high).zip(&intervals.sd);
        rows.map(|((low, high), sd)| Some([(*sd)?, ((*high)? - (*low)?) / 2.0]))
            .collect()
    };
    if one.rows.identities != other.rows.identities {
        return None;
    }
    let (one, other) = (of(one)?, of(other)?);
    let same = |a: f64, b: f64| (a - b).abs() <= SAME * a.abs().max(b.abs());
    let alike = one
        .iter()
        .zip(&other)
        .all(|(a, b)| same(a[0], b[0]) && same(a[1], b[1]));
    // None at all is what is left where the figures drown it, as in a quotient of whole numbers.
    if !alike || one.iter().all(|row| row[0] == 0.0) {
        return None;
    }
    let range = |of: usize| {
        let values = one.iter().map(|row| row[of]);
        values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        })
    };
    Some([range(0), range(1)])
}

/// The same release with figures far above its noise, all different.
fn filled(merged: &Merged, seed: u64) -> Merged {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let cells = merged
        .parts()
        .into_iter()
        .map(|part| {
            let mut row = || {
                let mut figure = |noise: &crate::noise::Noise| {
                    let mut alone = crate::noise::Sum::default();
                    alone.add(*noise);
                    let figure = alone.variance().sqrt() * FAR * random.random_range(1.0..9.0);
                    // Counts are rounded when they are finished: of whole ones all draws are
                    // rounded alike.
                    if figure > WHOLE {
                        figure.round()
                    } else {
                        figure
                    }
                };
                part.noise.iter().map(&mut figure).collect::<Vec<f64>>()
            };
            (0..part.cells.len()).map(|_| row()).collect()
        })
        .collect();
    merged.with_parts(cells)
}
