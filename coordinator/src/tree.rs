//! Quantiles from the noisy counts of a tree of bins.
//!
//! Each level counts all rows, so the levels are reconciled first: the estimate of least variance
//! in which the bins of each level add up to those of the next (Hay, Rastogi, Miklau, Suciu 2010,
//! *Boosting the accuracy of differentially private histograms through consistency*, here for bins
//! with any number of parts). A quantile is where the cumulated counts of the finest bins first
//! reach it, from below; that is monotone in the fraction, whatever the noise.

/// Bins of one level that make one of the next; the nodes' own number.
const BRANCHES: usize = 8;

/// How many bins each level has, the finest first.
pub(crate) fn levels(leaves: usize) -> Vec<usize> {
    let mut levels = vec![leaves];
    let mut last = leaves;
    while last > BRANCHES {
        last = last.div_ceil(BRANCHES);
        levels.push(last);
    }
    levels
}

/// The finest counts, reconciled with all coarser ones. All cells have the same noise.
fn reconciled(cells: &[f64], leaves: usize) -> Vec<f64> {
    let levels = levels(leaves);
    let mut starts = vec![0];
    for level in &levels {
        starts.push(starts[starts.len() - 1] + level);
    }
    // From the finest up: the best estimate of each bin from itself and all below it, and its
    // variance in units of one cell's.
    let mut estimate: Vec<Vec<f64>> = vec![cells[..leaves].to_vec()];
    let mut variance: Vec<Vec<f64>> = vec![vec![1.0; leaves]];
    for level in 1..levels.len() {
        let own = &cells[starts[level]..starts[level + 1]];
        let (below, of_below) = (&estimate[level - 1], &variance[level - 1]);
        let parts = |values: &[f64]| -> Vec<f64> {
            values
                .chunks(BRANCHES)
                .map(|part| part.iter().sum())
                .collect()
        };
        let (sums, variances) = (parts(below), parts(of_below));
        let mut combined = Vec::with_capacity(own.len());
        let mut left = Vec::with_capacity(own.len());
        for ((own, sum), of_sum) in own.iter().zip(sums).zip(variances) {
            let weight = of_sum / (1.0 + of_sum);
            combined.push(weight * own + (1.0 - weight) * sum);
            left.push(weight);
        }
        estimate.push(combined);
        variance.push(left);
    }
    // And down again: what a bin's parts lack of it is given to them by their variances.
    for level in (1..levels.len()).rev() {
        let (finer, coarser) = estimate.split_at_mut(level);
        let parts = finer[level - 1].chunks_mut(BRANCHES);
        let of_parts = variance[level - 1].chunks(BRANCHES);
        for ((parts, of_parts), whole) in parts.zip(of_parts).zip(&coarser[0]) {
            let lack = whole - parts.iter().sum::<f64>();
            let total: f64 = of_parts.iter().sum();
            for (part, of_part) in parts.iter_mut().zip(of_parts) {
                *part += lack * of_part / total;
            }
        }
    }
    estimate.swap_remove(0)
}

/// The value at each of the fractions; none where no rows are left after the noise. `whole`: each
/// bin is one whole number, else values are taken to lie evenly within their bin.
pub(crate) fn quantiles(
    cells: &[f64],
    edges: &[f64],
    whole: bool,
    fractions: &[f64],
) -> Vec<Option<f64>> {
    let leaves = edges.len().saturating_sub(1);
    let counts = reconciled(cells, leaves);
    let total: f64 = counts.iter().sum();
    fractions
        .iter()
        .map(|fraction| {
            if total <= 0.0 {
                return None;
            }
            let wanted = fraction * total;
            let mut below = 0.0;
            for (bin, count) in counts.iter().enumerate() {
                let reached = below + count;
                if reached >= wanted && reached > 0.0 {
                    let part = if *count > 0.0 {
                        ((wanted - below) / count).clamp(0.0, 1.0)
                    } else {
                        0.0
                    };
                    let width = if whole {
                        0.0
                    } else {
                        edges[bin + 1] - edges[bin]
                    };
                    return Some(edges[bin] + part * width);
                }
                below = reached;
            }
            let last = if whole {
                leaves.checked_sub(1)?
            } else {
                leaves
            };
            edges.get(last).copied()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All levels' exact counts of leaves' counts.
    fn tree(leaves: &[f64]) -> Vec<f64> {
        let mut cells = leaves.to_vec();
        let mut level = leaves.to_vec();
        while level.len() > BRANCHES {
            level = level
                .chunks(BRANCHES)
                .map(|part| part.iter().sum())
                .collect();
            cells.extend(&level);
        }
        cells
    }

    proptest! {
        #[test]
        fn exact_counts_stay(leaves in proptest::collection::vec(0u32..50, 1..520)) {
            let leaves: Vec<f64> = leaves.into_iter().map(f64::from).collect();
            let found = reconciled(&tree(&leaves), leaves.len());
            for (found, exact) in found.iter().zip(&leaves) {
                prop_assert!((found - exact).abs() < 1e-9);
            }
        }

        #[test]
        fn quantiles_are_monotone_whatever_the_noise(
            noise in proptest::collection::vec(-30.0..30.0f64, 100 + 13 + 2),
        ) {
            let edges: Vec<f64> = (0..=100).map(f64::from).collect();
            let cells: Vec<f64> = tree(&[3.0; 100]).iter().zip(&noise).map(|(a, b)| a + b).collect();
            let fractions: Vec<f64> = (0..=20).map(|part| f64::from(part) / 20.0).collect();
            let found = quantiles(&cells, &edges, false, &fractions);
            let known: Vec<f64> = found.into_iter().flatten().collect();
            prop_assert!(known.is_sorted());
        }
    }

    #[test]
    fn reconciling_makes_prefixes_more_exact() {
        // A made noise with mean 0: the estimate of the first half from the tree varies less.
        use rand::{Rng as _, SeedableRng as _};
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(7);
        let (mut flat, mut tree_error) = (0.0, 0.0);
        for _ in 0..200 {
            let cells: Vec<f64> = tree(&[10.0; 512])
                .iter()
                .map(|cell| cell + random.random_range(-5.0..5.0))
                .collect();
            let half = |counts: &[f64]| counts[..256].iter().sum::<f64>() - 2_560.0;
            flat += half(&cells).powi(2);
            tree_error += half(&reconciled(&cells, 512)).powi(2);
        }
        assert!(tree_error < flat / 10.0, "{tree_error} {flat}");
    }

    #[test]
    fn the_median_of_known_counts() {
        let edges: Vec<f64> = (0..=5).map(f64::from).collect();
        let cells = [0.0, 10.0, 0.0, 10.0, 0.0];
        let median = |whole| quantiles(&cells, &edges, whole, &[0.5, 0.75, 1.0]);
        assert_eq!(median(true), [Some(1.0), Some(3.0), Some(3.0)]);
        assert_eq!(median(false), [Some(2.0), Some(3.5), Some(4.0)]);
        assert_eq!(quantiles(&[0.0; 5], &edges, true, &[0.5]), [None]);
    }
}
