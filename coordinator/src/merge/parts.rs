//! A release region by region: what each of them sent, other cells in their place, and draws of the
//! noise of each.

use skerry_proto::RegionId;

use super::Merged;
use crate::noise::Noise;

/// One region's part of a release, by itself.
#[derive(Debug, Clone)]
pub(crate) struct RegionPart<'a> {
    /// Whose.
    pub region: &'a RegionId,
    /// For each of its groups, which merged group it is.
    pub groups: Vec<usize>,
    /// Its groups × cells, in the measures' units.
    pub cells: &'a [Vec<f64>],
    /// The noise of each cell of a group, in its measure's unit.
    pub noise: &'a [Noise],
}

impl Merged {
    /// What each region released, by itself.
    pub fn parts(&self) -> Vec<RegionPart<'_>> {
        self.parts
            .iter()
            .map(|part| {
                let mut groups = vec![0; part.groups];
                for (merged, own) in part.position.iter().enumerate() {
                    if let Some(own) = own {
                        groups[*own] = merged;
                    }
                }
                RegionPart {
                    region: &part.region,
                    groups,
                    cells: &part.cells,
                    noise: &part.noise,
                }
            })
            .collect()
    }

    /// The same release with other cells, by region's part and its groups.
    pub fn with_parts(&self, cells: Vec<Vec<Vec<f64>>>) -> Self {
        let mut merged = self.clone();
        for row in &mut merged.cells {
            row.fill(0.0);
        }
        for (part, cells) in merged.parts.iter_mut().zip(cells) {
            for (row, position) in merged.cells.iter_mut().zip(&part.position) {
                if let Some(position) = position {
                    for (cell, own) in row.iter_mut().zip(&cells[*position]) {
                        *cell += own;
                    }
                }
            }
            part.cells = cells;
        }
        merged
    }

    /// The cells less noise, which is by region's part and its groups.
    pub fn less(&self, noises: &[Vec<Vec<f64>>]) -> Vec<Vec<f64>> {
        let mut cells = self.cells.clone();
        for (part, noises) in self.parts.iter().zip(noises) {
            for (row, position) in cells.iter_mut().zip(&part.position) {
                if let Some(position) = position {
                    for (cell, noise) in row.iter_mut().zip(&noises[*position]) {
                        // The truth is what was released less the noise.
                        *cell -= noise;
                    }
                }
            }
        }
        cells
    }
}
