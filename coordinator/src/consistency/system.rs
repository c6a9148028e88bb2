//! The sums that hold for one cell of every group of a region, and the nearest cells for which they do.

use std::collections::HashMap;

use super::{Cells, Place};
use crate::{merge::RegionPart, noise};

/// Where the squared error has fallen by this much, nothing is left that is shown.
const TOLERANCE: f64 = 1e-22;

/// The sums that have to hold for one cell of every group, in one region.
#[derive(Debug)]
pub(super) struct System {
    cell: usize,
    /// A count of whole things, which stays whole where sums have no more than one parent.
    pub whole: bool,
    pub places: Vec<Place>,
    /// Of the noise, of each place.
    variances: Vec<f64>,
    sums: Vec<Equation>,
}

/// A coarse cell and its fine ones, as indices of places.
#[derive(Debug, Clone)]
struct Equation {
    whole: usize,
    parts: Vec<usize>,
}

impl System {
    pub fn new<'a>(
        cell: usize,
        whole: bool,
        equations: impl Iterator<Item = &'a (Place, Vec<Place>)>,
        parts: &[Vec<RegionPart<'_>>],
    ) -> Option<Self> {
        let mut system = Self {
            cell,
            whole,
            places: Vec::new(),
            variances: Vec::new(),
            sums: Vec::new(),
        };
        let mut index: HashMap<Place, usize> = HashMap::new();
        for (whole, of) in equations {
            let mut at = |place: &Place| {
                *index.entry(*place).or_insert_with(|| {
                    let noise = parts[place.release][place.part].noise[cell];
                    let mut alone = noise::Sum::default();
                    alone.add(noise);
                    system.places.push(*place);
                    system.variances.push(alone.variance());
                    system.places.len() - 1
                })
            };
            let whole = at(whole);
            let parts = of.iter().map(at).collect();
            system.sums.push(Equation { whole, parts });
        }
        (!system.sums.is_empty()).then_some(system)
    }

    pub fn read(&self, cells: &Cells) -> Vec<f64> {
        let value = |at: &Place| cells[at.release][at.part][at.group][self.cell];
        self.places.iter().map(value).collect()
    }

    pub fn write(&self, cells: &mut Cells, values: &[f64]) {
        for (at, value) in self.places.iter().zip(values) {
            cells[at.release][at.part][at.group][self.cell] = *value;
        }
    }

    /// C y.
    fn gaps(&self, values: &[f64]) -> Vec<f64> {
        let gap = |sum: &Equation| {
            values[sum.whole] - sum.parts.iter().map(|part| values[*part]).sum::<f64>()
        };
        self.sums.iter().map(gap).collect()
    }

    /// The most that rounding adds to the squared gaps. What is left below it isn't in the image of
    /// C D Cᵀ where sums follow from others, and must not be looked for there.
    fn rounding(&self, values: &[f64]) -> f64 {
        let of_sum = |sum: &Equation| {
            let parts: f64 = sum.parts.iter().map(|part| values[*part].abs()).sum();
            let terms = sum.parts.len() as f64 + 1.0;
            (f64::EPSILON * terms * (values[sum.whole].abs() + parts)).powi(2)
        };
        self.sums.iter().map(of_sum).sum()
    }

    /// D Cᵀ λ.
    fn spread(&self, multipliers: &[f64]) -> Vec<f64> {
        let mut values = vec![0.0; self.places.len()];
        for (sum, multiplier) in self.sums.iter().zip(multipliers) {
            values[sum.whole] += multiplier;
            for part in &sum.parts {
                values[*part] -= multiplier;
            }
        }
        for (value, variance) in values.iter_mut().zip(&self.variances) {
            *value *= variance;
        }
        values
    }

    /// The nearest cells that add up. λ of C D Cᵀ λ = C y by conjugate gradients, which take sums
    /// that follow from others (a total of rows and of columns) as they come.
    pub fn projected(&self, values: &[f64]) -> Vec<f64> {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let mut residual = self.gaps(values);
        let mut multipliers = vec![0.0; residual.len()];
        let mut direction = residual.clone();
        let mut square = dot(&residual, &residual);
        let enough = (square * TOLERANCE).max(self.rounding(values));
        for _ in 0..2 * self.sums.len() + 20 {
            if square <= enough {
                break;
            }
            let image = self.gaps(&self.spread(&direction));
            let curvature = dot(&direction, &image);
            if curvature <= 0.0 {
                break;
            }
            let step = square / curvature;
            for (multiplier, direction) in multipliers.iter_mut().zip(&direction) {
                *multiplier += step * direction;
            }
            for (residual, image) in residual.iter_mut().zip(&image) {
                *residual -= step * image;
            }
            let next = dot(&residual, &residual);
            for (direction, residual) in direction.iter_mut().zip(&residual) {
                *direction = residual + next / square * *direction;
            }
            square = next;
        }
        let moves = self.spread(&multipliers);
        values
            .iter()
            .zip(moves)
            .map(|(value, by)| value - by)
            .collect()
    }

    /// Whole numbers that add up, each less than one from its value: from the top down, what is
    /// left after rounding down goes to the largest fractions. Where a cell is in two sums, as in
    /// a table with both margins, there may be none, and values stay as they are.
    pub fn round(&self, values: &mut [f64]) {
        let mut parent: Vec<Option<usize>> = vec![None; values.len()];
        for (index, sum) in self.sums.iter().enumerate() {
            for part in &sum.parts {
                if parent[*part].replace(index).is_some() {
                    return;
                }
            }
        }
        let mut of_whole: Vec<Vec<usize>> = vec![Vec::new(); values.len()];
        for (index, sum) in self.sums.iter().enumerate() {
            of_whole[sum.whole].push(index);
        }
        // A whole that is split in two ways is met once for each.
        let mut open: Vec<usize> = (0..values.len())
            .filter(|at| parent[*at].is_none())
            .collect();
        for top in &open {
            values[*top] = values[*top].round();
        }
        while let Some(whole) = open.pop() {
            for sum in &of_whole[whole] {
                let parts = &self.sums[*sum].parts;
                let floors: f64 = parts.iter().map(|part| values[*part].floor()).sum();
                // Between 0 and the number of parts: the whole is less than one from their sum.
                let left = (values[whole] - floors).round().max(0.0) as usize;
                let mut by_fraction = parts.clone();
                by_fraction.sort_by(|a, b| {
                    let fraction = |at: &usize| values[*at] - values[*at].floor();
                    fraction(b).total_cmp(&fraction(a)).then(a.cmp(b))
                });
                for (rank, part) in by_fraction.into_iter().enumerate() {
                    values[part] = values[part].floor() + f64::from(u8::from(rank < left));
                }
                open.extend(parts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::noise::Noise;

    /// Two rows of three cells, their sums by row, and the total; with sums by column if wanted.
    fn table(columns: bool, variances: [f64; 4]) -> System {
        let [cells, rows, total, by_column] = variances;
        let mut system = System {
            cell: 0,
            whole: true,
            places: (0..12)
                .map(|group| Place {
                    release: 0,
                    part: 0,
                    group,
                })
                .collect(),
            variances: [
                vec![cells; 6],
                vec![rows; 2],
                vec![total],
                vec![by_column; 3],
            ]
            .concat(),
            sums: vec![
                Equation {
                    whole: 6,
                    parts: vec![0, 1, 2],
                },
                Equation {
                    whole: 7,
                    parts: vec![3, 4, 5],
                },
                Equation {
                    whole: 8,
                    parts: vec![6, 7],
                },
            ],
        };
        if columns {
            for column in 0..3 {
                system.sums.push(Equation {
                    whole: 9 + column,
                    parts: vec![column, column + 3],
                });
            }
            // It follows from the others.
            system.sums.push(Equation {
                whole: 8,
                parts: vec![9, 10, 11],
            });
        }
        system
    }

    fn truth() -> Vec<f64> {
        vec![
            10.0, 20.0, 30.0, 4.0, 5.0, 6.0, 60.0, 15.0, 75.0, 14.0, 25.0, 36.0,
        ]
    }

    #[test]
    fn parts_add_up_and_what_adds_up_is_left_alone() {
        for columns in [false, true] {
            let system = table(columns, [1.0, 2.0, 4.0, 0.5]);
            let noisy: Vec<f64> = truth()
                .iter()
                .enumerate()
                .map(|(at, value)| value + (at as f64 * 1.7).sin() * 5.0)
                .collect();
            let reconciled = system.projected(&noisy);
            assert!(system.gaps(&reconciled).iter().all(|gap| gap.abs() < 1e-8));
            let again = system.projected(&reconciled);
            assert!(
                again
                    .iter()
                    .zip(&reconciled)
                    .all(|(a, b)| (a - b).abs() < 1e-8)
            );
            let same = system.projected(&truth());
            assert!(same.iter().zip(truth()).all(|(a, b)| (a - b).abs() < 1e-9));
        }
    }

    /// Thirty rows of forty cells with both margins, of millions, and one sum that follows from others.
    #[test]
    fn large_tables_add_up_to_the_last_digits() {
        let (rows, columns) = (30, 40);
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let noise = Noise::Laplace { scale: 50.0 };
        let cell = |row: usize, column: usize| row * columns + column;
        let by_row = |row: usize| rows * columns + row;
        let by_column = |column: usize| rows * columns + rows + column;
        let total = rows * columns + rows + columns;
        let sum = |whole: usize, parts: Vec<usize>| Equation { whole, parts };
        let mut system = table(false, [1.0; 4]);
        system.places = (0..=total)
            .map(|group| Place {
                release: 0,
                part: 0,
                group,
            })
            .collect();
        system.variances = (0..=total).map(|at| 1.0 + (at % 7) as f64).collect();
        system.sums = (0..rows)
            .map(|row| sum(by_row(row), (0..columns).map(|at| cell(row, at)).collect()))
            .chain((0..columns).map(|column| {
                sum(
                    by_column(column),
                    (0..rows).map(|at| cell(at, column)).collect(),
                )
            }))
            .chain([
                sum(total, (0..rows).map(by_row).collect()),
                sum(total, (0..columns).map(by_column).collect()),
            ])
            .collect();
        let mut values: Vec<f64> = (0..rows * columns)
            .map(|at| ((at * 7919) % 1_000_003) as f64)
            .collect();
        let of = |values: &[f64], parts: &[usize]| parts.iter().map(|at| values[*at]).sum::<f64>();
        values.resize(total + 1, 0.0);
        for Equation { whole, parts } in &system.sums {
            values[*whole] = of(&values, parts);
        }
        for value in &mut values {
            *value += noise.draw(&mut rng);
        }
        let reconciled = system.projected(&values);
        assert!(system.gaps(&reconciled).iter().all(|gap| gap.abs() < 1e-4));
        let again = system.projected(&reconciled);
        let same = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-4;
        assert!(again.iter().zip(&reconciled).all(same));
    }

    /// One whole of two parts, all with the same noise, by hand: each moves a third of the gap.
    /// With a whole that has no noise the parts take half each.
    #[test]
    fn a_sum_of_two_by_hand() {
        let mut system = table(false, [1.0; 4]);
        system.sums = vec![Equation {
            whole: 0,
            parts: vec![1, 2],
        }];
        let mut values = vec![0.0; 12];
        values[..3].copy_from_slice(&[13.0, 4.0, 6.0]);
        assert_eq!(system.projected(&values)[..3], [12.0, 5.0, 7.0]);
        system.variances[0] = 0.0;
        assert_eq!(system.projected(&values)[..3], [13.0, 5.5, 7.5]);
    }

    /// Least squares is unbiased, and no cell's variance is larger than before.
    #[test]
    fn reconciled_cells_are_unbiased_and_closer() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let variances = [8.0, 8.0, 8.0, 8.0];
        for columns in [false, true] {
            let system = table(columns, variances);
            let noise = Noise::Laplace { scale: 2.0 };
            let (mut mean, mut square) = (vec![0.0; 12], vec![0.0; 12]);
            let repeats = 20_000;
            for _ in 0..repeats {
                let noisy: Vec<f64> = truth()
                    .iter()
                    .map(|value| value + noise.draw(&mut rng))
                    .collect();
                for (at, value) in system.projected(&noisy).into_iter().enumerate() {
                    mean[at] += (value - truth()[at]) / f64::from(repeats);
                    square[at] += (value - truth()[at]).powi(2) / f64::from(repeats);
                }
            }
            let used = if columns { 12 } else { 9 };
            for at in 0..used {
                assert!(mean[at].abs() < 0.1, "{at}: {}", mean[at]);
                assert!(square[at] < 8.0, "{at}: {}", square[at]);
            }
            // The total gains the most: with X from the six inner cells to all, its variance is the
            // sum over (XᵀX)⁻¹, 6/10 of a cell's, with both margins 6/12.
            let exact = if columns { 4.0 } else { 4.8 };
            assert!((square[8] / exact - 1.0).abs() < 0.05, "{}", square[8]);
        }
    }

    #[test]
    fn whole_numbers_add_up_from_the_top_down() {
        let system = table(false, [1.0; 4]);
        let mut values = vec![
            0.4, 0.4, 0.4, -1.5, 2.25, 3.75, 1.2, 4.5, 5.7, 0.0, 0.0, 0.0,
        ];
        let before = values.clone();
        system.round(&mut values);
        assert!(
            system.gaps(&values).iter().all(|gap| *gap == 0.0),
            "{values:?}"
        );
        for (value, before) in values.iter().zip(before) {
            assert!(
                value.fract() == 0.0 && (value - before).abs() < 1.0,
                "{values:?}"
            );
        }
        // Both margins: left as they are.
        let mut values = vec![0.5; 12];
        table(true, [1.0; 4]).round(&mut values);
        assert_eq!(values, vec![0.5; 12]);
    }
}
