//! Bins of a number's declared range, in levels: a tree, from whose noisy counts quantiles are found.
//!
//! Bins follow from the range alone. All edges come from additions, multiplications and divisions
//! of floats, which every machine rounds alike, so that all regions have the same bins.

/// Bins of one level that make one of the next.
///
/// Source: Qardaji, Yang, Li 2013, *Understanding hierarchical methods for differentially private
/// histograms*: with consistency the error is flat around 8 to 16.
pub const BRANCHES: usize = 8;

/// Bins of the finest level, at most: three levels of [`BRANCHES`].
const LEAVES: u32 = 512;

/// The range is so many doublings of the finest bins' width apart, where it isn't whole numbers.
const OCTAVES: u32 = 12;

/// Ends of the finest bins over a range, one more than there are bins.
///
/// Whole numbers of a small range have a bin each. Else bins are narrow near zero (or near the
/// range's end that is nearer to zero) and grow with the distance from it, so that money and
/// waiting times are as exact, relatively, for small as for large values: from `max / 2^12` on,
/// each doubling has the same number of bins.
#[must_use]
pub fn edges(low: f64, high: f64, whole: bool) -> Vec<f64> {
    if whole && high - low < f64::from(LEAVES) {
        let (first, last) = (low.floor(), high.ceil());
        let count = (last - first) as u32 + 1;
        (0..=count).map(|index| first + f64::from(index)).collect()
    } else {
        growing(low, high)
    }
}

/// How many bins each level has, the finest first: each level joins [`BRANCHES`] bins of the one
/// before, and the last has at most so many.
#[must_use]
pub fn levels(leaves: usize) -> Vec<usize> {
    let mut levels = vec![leaves];
    let mut last = leaves;
    while last > BRANCHES {
        last = last.div_ceil(BRANCHES);
        levels.push(last);
    }
    levels
}

/// Ends of bins that grow with the distance from the origin.
fn growing(low: f64, high: f64) -> Vec<f64> {
    let origin = 0.0f64.clamp(low, high);
    let (below, above) = (origin - low, high - origin);
    let sides = if below > 0.0 && above > 0.0 { 2 } else { 1 };
    let of_octave = LEAVES / (OCTAVES + 1) / sides;
    let finest = below.max(above) / f64::from(1u32 << OCTAVES);
    let distances: Vec<f64> = (1..of_octave * (OCTAVES + 1))
        .map(|index| {
            let (octave, part) = (index / of_octave, index % of_octave);
            let part = f64::from(part) / f64::from(of_octave);
            match octave.checked_sub(1) {
                None => finest * part,
                Some(octave) => finest * f64::from(1u32 << octave) * (1.0 + part),
            }
        })
        .collect();
    let mut edges = vec![low];
    let below = distances.iter().rev().map(|distance| origin - distance);
    let above = distances.iter().map(|distance| origin + distance);
    edges.extend(
        below
            .chain(std::iter::once(origin))
            .chain(above)
            .filter(|edge| low < *edge && *edge < high),
    );
    // A range of one value has one bin.
    edges.push(high);
    edges.dedup();
    if edges.len() == 1 {
        edges.push(high);
    }
    edges
}

/// The bin of a value; beyond the ends the first or last. None for NaN.
#[must_use]
pub fn position(edges: &[f64], value: f64) -> Option<i64> {
    let last = edges.len().checked_sub(2)?;
    if value.is_nan() {
        return None;
    }
    let above = edges.partition_point(|edge| *edge <= value);
    Some(above.saturating_sub(1).min(last) as i64)
}

/// Values whose bins are looked for together: each search waits for its own last step alone.
const TOGETHER: usize = 8;

/// [`position`] of each value, and 0 for NaN; nothing if there are no bins.
#[must_use]
pub fn positions(edges: &[f64], values: &[f64]) -> Option<Vec<i64>> {
    let last = edges.len().checked_sub(2)?;
    // A number of edges with which each step halves what is left. An infinite value may count those beyond
    // the last, which changes nothing.
    let mut table = edges.to_vec();
    table.resize((edges.len() + 1).next_power_of_two(), f64::INFINITY);
    let mut positions = Vec::with_capacity(values.len());
    for values in values.chunks(TOGETHER) {
        let mut above = [0; TOGETHER];
        let mut half = table.len() / 2;
        while half > 0 {
            for (above, value) in above.iter_mut().zip(values) {
                let more = *above + half;
                // Without a branch, for it would be guessed wrong every other time.
                *above = if table[more - 1] <= *value {
                    more
                } else {
                    *above
                };
            }
            half /= 2;
        }
        let found = above.iter().take(values.len());
        positions.extend(found.map(|above: &usize| above.saturating_sub(1).min(last) as i64));
    }
    Some(positions)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn many_values_have_the_bins_that_each_has(
            low in -1e9..1e9f64, width in 0.0..1e9f64, whole: bool,
            values in proptest::collection::vec(prop_oneof![
                proptest::num::f64::ANY,
                -2e9..2e9f64,
                Just(f64::INFINITY),
                Just(f64::NEG_INFINITY),
                Just(f64::NAN),
            ], 0..30),
            exact in proptest::collection::vec(any::<proptest::sample::Index>(), 0..30),
        ) {
            let (low, width) = if whole { (low.round(), (width / 1e6).round()) } else { (low, width) };
            let edges = edges(low, low + width, whole);
            let on_edges = exact.iter().map(|index| edges[index.index(edges.len())]);
            let values: Vec<f64> = values.into_iter().chain(on_edges).collect();
            let each = values.iter().map(|value| position(&edges, *value).unwrap_or(0));
            prop_assert_eq!(positions(&edges, &values), Some(each.collect()));
            prop_assert_eq!(positions(&edges[..1], &values), None);
        }

        #[test]
        fn every_number_has_a_bin_that_holds_it(
            low in -1e9..1e9f64, width in 0.0..1e9f64, whole: bool, value in proptest::num::f64::ANY,
        ) {
            let (low, width) = if whole { (low.round(), (width / 1e6).round()) } else { (low, width) };
            let edges = edges(low, low + width, whole);
            prop_assert!((2..=LEAVES as usize + 1).contains(&edges.len()));
            prop_assert!(edges.is_sorted());
            let bin = position(&edges, value);
            prop_assert_eq!(bin.is_none(), value.is_nan());
            if let Some(bin) = bin {
                let inside = value.clamp(low, low + width);
                prop_assert!(edges[bin as usize] <= inside && inside <= edges[bin as usize + 1]);
            }
        }
    }

    #[test]
    fn whole_numbers_have_a_bin_each() {
        let edges = edges(1.0, 5.0, true);
        assert_eq!(edges, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(position(&edges, 5.0), Some(4));
    }

    #[test]
    fn levels_end_with_a_few_bins() {
        assert_eq!(levels(5), [5]);
        assert_eq!(levels(512), [512, 64, 8]);
        assert_eq!(levels(9), [9, 2]);
    }

    #[test]
    fn long_tails_keep_a_relative_width() {
        let edges = edges(0.0, 1_000_000.0, false);
        for value in [1_000.0, 30_000.0, 900_000.0] {
            let bin = position(&edges, value).unwrap() as usize;
            assert!((edges[bin + 1] - edges[bin]) / value < 0.03, "{value}");
        }
    }
}
