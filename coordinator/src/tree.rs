//! Quantiles from the noisy counts of a tree of bins.
//!
//! Each level counts all rows, so the levels are reconciled first: the estimate of least variance
//! in which the bins of each level add up to those of the next (Hay, Rastogi, Miklau, Suciu 2010,
//! *Boosting the accuracy of differentially private histograms through consistency*, here for bins
//! with any number of parts). A quantile is where the cumulated counts of the finest bins first
//! reach it, from below; that is monotone in the fraction, whatever the noise.

use std::ops::Range;

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

/// A tree of bins, and how its levels are weighed. All cells have the same noise.
pub(crate) struct Tree {
    levels: Vec<Level>,
}

/// One level of a tree.
struct Level {
    /// Where its bins are among the cells.
    cells: Range<usize>,
    /// For each bin, how much its own count weighs against the sum of its parts in the best estimate
    /// from both; that is the estimate's variance too, in units of one cell's.
    weights: Vec<f64>,
    /// For each bin, its part of what the bins of its whole lack, which is by variances.
    shares: Vec<f64>,
}

impl Tree {
    /// With so many of the finest bins.
    pub fn new(leaves: usize) -> Self {
        let mut tree: Vec<Level> = Vec::new();
        let mut start = 0;
        for bins in levels(leaves) {
            let weights = match tree.last() {
                None => vec![1.0; bins],
                Some(finer) => {
                    let parts = finer.weights.chunks(BRANCHES);
                    let of_sums = parts.map(|parts| parts.iter().sum::<f64>());
                    of_sums.map(|of_sum| of_sum / (1.0 + of_sum)).collect()
                }
            };
            let shares = weights.chunks(BRANCHES).flat_map(|parts| {
                let total: f64 = parts.iter().sum();
                parts.iter().map(move |part| part / total)
            });
            tree.push(Level {
                cells: start..start + bins,
                shares: shares.collect(),
                weights,
            });
            start += bins;
        }
        Self { levels: tree }
    }

    /// The finest counts, reconciled with all coarser ones.
    fn reconciled(&self, cells: &[f64]) -> Vec<f64> {
        let mut levels = self.levels.iter();
        let Some(finest) = levels.next() else {
            return Vec::new();
        };
        // From the finest up: the best estimate of each bin from itself and all below it.
        let mut finer: Vec<Vec<f64>> = Vec::new();
        let mut estimate = cells[finest.cells.clone()].to_vec();
        for level in levels {
            let own = cells[level.cells.clone()].iter().zip(&level.weights);
            let combined = own
                .zip(estimate.chunks(BRANCHES))
                .map(|((own, weight), parts)| {
                    weight * own + (1.0 - weight) * parts.iter().sum::<f64>()
                })
                .collect();
            finer.push(std::mem::replace(&mut estimate, combined));
        }
        // And down again: what a bin's parts lack of it is given to them by their variances.
        for (mut parts, level) in finer.into_iter().zip(&self.levels).rev() {
            let of_wholes = parts.chunks_mut(BRANCHES);
            let shares = level.shares.chunks(BRANCHES);
            for ((parts, shares), whole) in of_wholes.zip(shares).zip(&estimate) {
                let lack = whole - parts.iter().sum::<f64>();
                for (part, share) in parts.iter_mut().zip(shares) {
                    *part += lack * share;
                }
            }
            estimate = parts;
        }
        estimate
    }

    /// The value at a fraction; none where no rows are left after the noise. `whole`: each bin is
    /// one whole number, else values are taken to lie evenly within their bin.
    pub fn quantile(
        &self,
        cells: &[f64],
        edges: &[f64],
        whole: bool,
        fraction: f64,
    ) -> Option<f64> {
        let counts = self.reconciled(cells);
        let total: f64 = counts.iter().sum();
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
            counts.len().checked_sub(1)?
        } else {
            counts.len()
        };
        edges.get(last).copied()
    }
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
            let found = Tree::new(leaves.len()).reconciled(&tree(&leaves));
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
            let tree = Tree::new(100);
            let found = fractions.into_iter().map(|fraction| tree.quantile(&cells, &edges, false, fraction));
            let known: Vec<f64> = found.flatten().collect();
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
            tree_error += half(&Tree::new(512).reconciled(&cells)).powi(2);
        }
        assert!(tree_error < flat / 10.0, "{tree_error} {flat}");
    }

    #[test]
    fn the_median_of_known_counts() {
        let edges: Vec<f64> = (0..=5).map(f64::from).collect();
        let cells = [0.0, 10.0, 0.0, 10.0, 0.0];
        let tree = Tree::new(5);
        let median =
            |whole| [0.5, 0.75, 1.0].map(|part| tree.quantile(&cells, &edges, whole, part));
        assert_eq!(median(true), [Some(1.0), Some(3.0), Some(3.0)]);
        assert_eq!(median(false), [Some(2.0), Some(3.5), Some(4.0)]);
        assert_eq!(tree.quantile(&[0.0; 5], &edges, true, 0.5), None);
    }
}
