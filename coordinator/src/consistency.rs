//! Figures that should add up, made to: where a statement releases a table and its margins, each
//! region's noisy cells are moved as little as their noise allows until parts sum to wholes.
//!
//! With C the matrix of sums (coarse cell − its fine cells = 0) and D the noise's variances, the
//! reconciled cells are ŷ = y − D Cᵀ (C D Cᵀ)⁻¹ C y: the weighted least squares estimate, which
//! among unbiased linear ones has the least variance, for every cell at once.
//! Sources: Hay, Rastogi, Miklau and Suciu 2010, «Boosting the accuracy of differentially private
//! histograms through consistency», PVLDB 3, 1021–1032; Stone, Champernowne and Meade 1942, «The
//! precision of national income estimates», Review of Economic Studies 9, 111–125.
//!
//! It is linear, so draws of the noise go the same way, and nothing of it costs privacy.

use std::{borrow::Cow, collections::HashMap};

mod system;

use datafusion::logical_expr::Expr;
use skerry_proto::{ErrorCode, Refusal, RegionId, Value, wire};

use crate::{
    bounds::Given,
    dispatch::Terms,
    frontier::Frontier,
    merge::{self, Merged, RegionPart},
    options::Bounds,
    refuse::refuse,
};
use system::System;

/// Cells by release, region's part, group and cell of a group, as [`Merged::parts`] has them.
pub(crate) type Cells = Vec<Vec<Vec<Vec<f64>>>>;

/// How the releases of a statement are made to add up.
#[derive(Debug, Default)]
pub(crate) struct Consistency {
    systems: Vec<System>,
    /// For each release, whether any of its cells is moved.
    moved: Vec<bool>,
}

/// One group of one region's part of one release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Place {
    release: usize,
    part: usize,
    group: usize,
}

/// Two releases of the same aggregates over the same rows, one with fewer keys.
struct Pair {
    coarse: usize,
    fine: usize,
    /// For each key of the coarse release, which key of the fine one it is.
    keys: Vec<usize>,
}

/// The terms of a statement that is made to add up: clipping narrower than the owners' declarations
/// holds for each release by itself, and what was clipped differently needn't add up.
pub(crate) fn unclipped(terms: Terms) -> Result<Terms, Refusal> {
    let narrower = terms.bounds == Bounds::Found
        || terms.given != Given::default()
        || terms.max_groups_contributed != 0;
    if narrower {
        return refuse(
            ErrorCode::InvalidParameter,
            "a table and its margins are clipped apart, so under narrower bounds than the declared \
             ones they needn't add up",
            "Leave out either consistent = true, or bounds and the most that a person contributes.",
        );
    }
    Ok(Terms {
        bounds: Bounds::Declared,
        ..terms
    })
}

impl Consistency {
    /// What adds up among the releases of a statement, and the releases made to.
    pub fn of<'a>(frontiers: &[Frontier], merged: &'a [Merged]) -> (Self, Cow<'a, [Merged]>) {
        let consistency = Self::find(frontiers, merged);
        if consistency.is_empty() {
            return (consistency, Cow::Borrowed(merged));
        }
        let own = |merged: &Merged| -> Vec<Vec<Vec<f64>>> {
            let parts = merged.parts().into_iter();
            parts.map(|part| part.cells.to_vec()).collect()
        };
        let mut cells: Cells = merged.iter().map(own).collect();
        consistency.apply_to_released(&mut cells);
        let merged = merged
            .iter()
            .zip(cells)
            .map(|(merged, cells)| merged.with_parts(cells))
            .collect();
        (consistency, Cow::Owned(merged))
    }

    /// What adds up among the releases of a statement.
    fn find(frontiers: &[Frontier], merged: &[Merged]) -> Self {
        let pairs = pairs(frontiers, merged);
        let parts: Vec<Vec<RegionPart<'_>>> = merged.iter().map(Merged::parts).collect();
        let mut regions: Vec<&RegionId> = Vec::new();
        for part in parts.iter().flatten() {
            if !regions.contains(&part.region) {
                regions.push(part.region);
            }
        }
        let mut found = Self {
            systems: Vec::new(),
            moved: vec![false; merged.len()],
        };
        for region in regions {
            found.add_region(region, &pairs, &parts, merged);
        }
        found
    }

    /// Whether nothing has to add up.
    pub fn is_empty(&self) -> bool {
        self.systems.is_empty()
    }

    /// Whether cells of a release are moved.
    pub fn moves(&self, release: usize) -> bool {
        self.moved.get(release).copied().unwrap_or(false)
    }

    fn add_region(
        &mut self,
        region: &RegionId,
        pairs: &[Pair],
        parts: &[Vec<RegionPart<'_>>],
        merged: &[Merged],
    ) {
        let part_of = |release: usize| {
            let parts = parts.get(release)?;
            let at = parts.iter().position(|part| part.region == region)?;
            Some((at, &parts[at]))
        };
        // Sums by what of a cell they hold for: all of them, or none but those of one part.
        let mut equations: Vec<(Place, Vec<Place>)> = Vec::new();
        for pair in pairs {
            let (Some((coarse_at, coarse)), Some((fine_at, fine))) =
                (part_of(pair.coarse), part_of(pair.fine))
            else {
                continue;
            };
            let mut fine_groups: HashMap<Vec<&Value>, Vec<Place>> = HashMap::new();
            for (group, of_merged) in fine.groups.iter().enumerate() {
                let keys = &merged[pair.fine].keys[*of_merged];
                let seen: Vec<&Value> = pair.keys.iter().map(|key| &keys[*key]).collect();
                fine_groups.entry(seen).or_default().push(Place {
                    release: pair.fine,
                    part: fine_at,
                    group,
                });
            }
            for (group, of_merged) in coarse.groups.iter().enumerate() {
                let keys: Vec<&Value> = merged[pair.coarse].keys[*of_merged].iter().collect();
                if let Some(places) = fine_groups.remove(&keys) {
                    let whole = Place {
                        release: pair.coarse,
                        part: coarse_at,
                        group,
                    };
                    equations.push((whole, places));
                }
            }
        }
        let Some((first, _)) = equations.first() else {
            return;
        };
        let measures = &merged[first.release].measures;
        let starts = merge::starts(measures);
        for (measure, of) in measures.iter().enumerate() {
            for cell in starts[measure]..starts[measure + 1] {
                let whole = is_whole(measure, &merged[first.release].aggregates);
                let holding = equations
                    .iter()
                    .filter(|(_, parts)| parts.len() == 1 || adds_up(of));
                let system = System::new(cell, whole, holding, parts);
                if let Some(system) = system {
                    for place in &system.places {
                        self.moved[place.release] = true;
                    }
                    self.systems.push(system);
                }
            }
        }
    }

    /// Makes noisy cells, or draws of their noise, add up.
    pub fn apply(&self, cells: &mut Cells) {
        for system in &self.systems {
            let values = system.projected(&system.read(cells));
            system.write(cells, &values);
        }
    }

    /// The same for the released cells themselves, where counts also stay whole numbers.
    fn apply_to_released(&self, cells: &mut Cells) {
        for system in &self.systems {
            let mut values = system.projected(&system.read(cells));
            if system.whole {
                system.round(&mut values);
            }
            system.write(cells, &values);
        }
    }
}

/// Pairs of releases of which one is the margin of the other, with none in between.
fn pairs(frontiers: &[Frontier], merged: &[Merged]) -> Vec<Pair> {
    let keys = |at: usize| -> Vec<&Expr> {
        let aggregate = &frontiers[at].aggregate;
        aggregate.group_expr.iter().map(unaliased).collect()
    };
    let alike = |a: usize, b: usize| {
        let (one, other) = (&frontiers[a].aggregate, &frontiers[b].aggregate);
        let aggregates = |at: usize| frontiers[at].aggregate.aggr_expr.iter().map(unaliased);
        // Which keys a threshold has held back is not known, nor what they would add.
        let complete = merged[a].thresholds.is_empty() && merged[b].thresholds.is_empty();
        complete
            && one.input == other.input
            && aggregates(a).eq(aggregates(b))
            && same_measures(&merged[a].measures, &merged[b].measures)
    };
    let margin = |coarse: usize, fine: usize| -> Option<Vec<usize>> {
        if coarse == fine || !alike(coarse, fine) {
            return None;
        }
        let (few, many) = (keys(coarse), keys(fine));
        let places = few
            .iter()
            .map(|key| many.iter().position(|other| other == key));
        let places: Vec<usize> = places.collect::<Option<_>>()?;
        (few.len() < many.len()).then_some(places)
    };
    let releases = 0..frontiers.len().min(merged.len());
    let mut pairs = Vec::new();
    for coarse in releases.clone() {
        for fine in releases.clone() {
            let between = releases
                .clone()
                .any(|other| margin(coarse, other).is_some() && margin(other, fine).is_some());
            if let Some(keys) = margin(coarse, fine).filter(|_| !between) {
                pairs.push(Pair { coarse, fine, keys });
            }
        }
    }
    pairs
}

fn unaliased(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

/// Whether two releases measure the same: else their truths needn't add up.
fn same_measures(a: &[wire::Measure], b: &[wire::Measure]) -> bool {
    let without_step = |measure: &wire::Measure| wire::Measure {
        step: 0.0,
        ..measure.clone()
    };
    !a.is_empty() && a.iter().map(without_step).eq(b.iter().map(without_step))
}

/// Whether a measure of several groups sums to that of all of them. Persons don't: one who is in
/// two groups is one person in both together.
fn adds_up(measure: &wire::Measure) -> bool {
    match measure.kind() {
        wire::MeasureKind::Rows
        | wire::MeasureKind::Sum
        | wire::MeasureKind::Product
        | wire::MeasureKind::Bins => true,
        wire::MeasureKind::Persons | wire::MeasureKind::Values | wire::MeasureKind::Unspecified => {
            false
        }
    }
}

/// Whether a measure is shown as a count.
fn is_whole(measure: usize, aggregates: &[wire::Aggregate]) -> bool {
    aggregates.iter().any(|aggregate| {
        aggregate.function() == wire::AggregateFunction::Count
            && aggregate.measures.first() == u32::try_from(measure).ok().as_ref()
    })
}
