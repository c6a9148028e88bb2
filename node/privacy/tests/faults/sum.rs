//! The sum over persons once more: plain, slow, and with faults.

use std::collections::{BTreeMap, BTreeSet};

use skerry_privacy::{
    analysis::{
        Quote, TOTAL_BINS, bins,
        measure::{Counted, Effect, Factor, Measure},
        sensitivity::ceil_sqrt,
    },
    contribution::Norm,
    question::{Query, Relation},
};
use skerry_proto::Value;

use super::Fault;
use crate::reference::{Data, Row, rows};

/// Where the faulty clip of columns has its ends: those that the policy gives the costs.
const COLUMN_RANGE: (f64, f64) = (-50.0, 200.0);

/// The vector before noise.
pub fn vector(query: &Query, quote: &Quote, data: &Data) -> Vec<i64> {
    let laid = quote.rows();
    let width = laid.measures.iter().map(Measure::cells).sum();
    let sum = Sum {
        fault: data.fault,
        quote,
        groups: groups(query, quote, data),
        width,
    };
    let cells = if quote.asks_totals() {
        TOTAL_BINS * laid.measures.len()
    } else {
        sum.groups.len() * width + usize::from(quote.clipped.is_some())
    };
    let mut totals = vec![0i128; cells];
    for members in persons(query, data) {
        let contributed = if quote.asks_totals() {
            sum.in_bins(&sum.person(query, &members).0)
        } else {
            sum.clipped(query, &members)
        };
        for (total, cell) in totals.iter_mut().zip(contributed) {
            *total += cell;
        }
    }
    let wrapped = |total: &i128| match data.fault {
        Some(Fault::WrappedTotals) => i64::from(*total as i32),
        _ => *total as i64,
    };
    totals.iter().map(wrapped).collect()
}

/// The rows of each person.
fn persons(query: &Query, data: &Data) -> Vec<Vec<Row>> {
    let by_person = |relation: &Relation| {
        let mut persons: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        for (id, row) in rows(relation, data) {
            persons.entry(id).or_default().push(row);
        }
        persons.into_values()
    };
    match (data.fault, &query.input) {
        (Some(Fault::PersonInParts), input) => {
            let mut parts: Vec<(i64, Vec<Row>)> = vec![];
            for (id, row) in rows(input, data) {
                match parts.last_mut() {
                    Some((last, members)) if *last == id => members.push(row),
                    _ => parts.push((id, vec![row])),
                }
            }
            parts.into_iter().map(|(_, members)| members).collect()
        }
        (Some(Fault::BranchesApart), Relation::Union { inputs }) => {
            inputs.iter().flat_map(by_person).collect()
        }
        (_, input) => by_person(input).collect(),
    }
}

fn key(query: &Query, row: &Row) -> Row {
    query.keys.iter().map(|key| key.evaluate(row)).collect()
}

fn groups(query: &Query, quote: &Quote, data: &Data) -> Vec<Row> {
    let all = quote.rows().groups();
    let mut named: Vec<Row> = vec![];
    if matches!(
        data.fault,
        Some(Fault::GroupsOfData | Fault::GroupsInOrderOfRows)
    ) {
        for (_, row) in rows(&query.input, data) {
            let key = key(query, &row);
            if all.contains(&key) && !named.contains(&key) {
                named.push(key);
            }
        }
    }
    match data.fault {
        Some(Fault::GroupsOfData) => {
            named.sort();
            named
        }
        Some(Fault::GroupsInOrderOfRows) => {
            let rest = all.iter().filter(|group| !named.contains(group));
            let rest: Vec<Row> = rest.cloned().collect();
            named.into_iter().chain(rest).collect()
        }
        _ => all.to_vec(),
    }
}

struct Sum<'a> {
    fault: Option<Fault>,
    quote: &'a Quote,
    groups: Vec<Row>,
    /// Cells of a group.
    width: usize,
}

impl Sum<'_> {
    /// A person's cells, and those of them that a NaN is in.
    fn person(&self, query: &Query, members: &[Row]) -> (Vec<i128>, BTreeSet<usize>) {
        let mut cells = vec![0; self.groups.len() * self.width];
        let mut nan = BTreeSet::new();
        for row in members {
            let key = key(query, row);
            let Some(group) = self.groups.iter().position(|group| *group == key) else {
                continue;
            };
            let mut start = group * self.width;
            let apart = self.fault == Some(Fault::ClipEachRow);
            let mut of_row = vec![0; if apart { cells.len() } else { 0 }];
            for measure in self.quote.rows().measures {
                let into = if apart { &mut of_row } else { &mut cells };
                if let Some(amount) = self.amount(measure, row) {
                    add(&mut into[start..], measure, amount);
                }
                if is_nan(measure, row) {
                    nan.insert(start);
                }
                start += measure.cells();
            }
            self.quote.norm.clip(&mut of_row);
            for (cell, more) in cells.iter_mut().zip(of_row) {
                *cell += more;
            }
        }
        if self.fault == Some(Fault::WrappedCells) {
            for cell in &mut cells {
                *cell = i128::from(*cell as i32);
            }
        }
        (cells, nan)
    }

    fn amount(&self, measure: &Measure, row: &Row) -> Option<i64> {
        let evaluated = |row: &Row| -> Row {
            let arguments = measure.arguments().into_iter();
            arguments.map(|argument| argument.evaluate(row)).collect()
        };
        let unclipped = |factor: &Factor, row: &Row| {
            let value = match factor.argument.evaluate(row) {
                Value::Float(x) if !x.is_nan() => x,
                Value::Integer(x) => x as f64,
                _ => return None,
            };
            Some(measure.grid.units(value - factor.centre))
        };
        match (self.fault, &measure.counted) {
            (Some(Fault::NullClippedToBound), Counted::Sum(factor)) => {
                let arguments = evaluated(row);
                if arguments[0].is_null() {
                    Some(measure.grid.units(factor.low - factor.centre))
                } else {
                    measure.amount(&arguments)
                }
            }
            (Some(Fault::RangeForgotten), Counted::Sum(factor)) => unclipped(factor, row),
            (Some(Fault::ClipBeforeExpression), Counted::Sum(factor)) => {
                let (low, high) = COLUMN_RANGE;
                let clipped = row.iter().map(|value| match value {
                    Value::Float(x) => Value::Float(x.clamp(low, high)),
                    other => other.clone(),
                });
                unclipped(factor, &clipped.collect())
            }
            _ => measure.amount(&evaluated(row)),
        }
    }

    /// What a person adds to the totals of an answer.
    fn clipped(&self, query: &Query, members: &[Row]) -> Vec<i128> {
        let (mut cells, nan) = self.person(query, members);
        let norm = self.quote.norm;
        let changed = match (self.fault, norm) {
            (Some(Fault::NoClip | Fault::ClipEachRow), _) => false,
            (Some(Fault::ClipEachCell), _) => {
                let limit = i128::from(norm.limit());
                let before = cells.clone();
                for cell in &mut cells {
                    *cell = (*cell).clamp(-limit, limit);
                }
                before != cells
            }
            (Some(Fault::ClipEachGroup), _) => cells
                .chunks_mut(self.width.max(1))
                .map(|group| norm.clip(group))
                .fold(false, std::ops::BitOr::bitor),
            (Some(Fault::ClipOtherNorm), Norm::L1(limit)) => Norm::L2(limit).clip(&mut cells),
            (Some(Fault::WrappedNorm), Norm::L2(limit)) => {
                let squares = cells
                    .iter()
                    .map(|cell| (*cell as u64).wrapping_mul(*cell as u64));
                let norm = squares.fold(0, u64::wrapping_add).isqrt();
                scale(&mut cells, limit, norm.into(), false)
            }
            (Some(Fault::ScaledUp), _) => {
                let found = norm_of(norm, &cells);
                scale(&mut cells, norm.limit(), found, true)
            }
            (Some(Fault::NanPassesClip), _) if !nan.is_empty() => {
                // A cell of NaN becomes 0 when it is made an integer.
                for cell in nan {
                    cells[cell] = 0;
                }
                false
            }
            _ => norm.clip(&mut cells),
        };
        if let Some(weight) = self.quote.clipped {
            cells.push(if changed { i128::from(weight) } else { 0 });
        }
        cells
    }

    /// What a person adds to the totals of measures.
    fn in_bins(&self, cells: &[i128]) -> Vec<i128> {
        let measures = self.quote.rows().measures;
        let once = i128::from(Measure::persons(None).grid.units(1.0));
        let mut bins = vec![0; TOTAL_BINS * measures.len()];
        let mut start = 0;
        for (index, measure) in measures.iter().enumerate() {
            let end = start + measure.cells();
            let own: Vec<i128> = cells
                .chunks(self.width.max(1))
                .flat_map(|group| group[start..end].to_vec())
                .collect();
            if let Some(bin) = norm_of(self.quote.norm, &own).checked_ilog2() {
                let bin = (bin as usize).min(TOTAL_BINS - 1);
                bins[bin * measures.len() + index] += once;
                if self.fault == Some(Fault::TotalsInTwoBins) && bin > 0 {
                    bins[(bin - 1) * measures.len() + index] += once;
                }
            }
            start = end;
        }
        bins
    }
}

fn is_nan(measure: &Measure, row: &Row) -> bool {
    let is = |value: Value| matches!(value, Value::Float(x) if x.is_nan());
    matches!(measure.counted, Counted::Sum(_) | Counted::Product(_, _))
        && measure
            .arguments()
            .into_iter()
            .any(|argument| is(argument.evaluate(row)))
}

/// One row's amount, or position, in the cells of a measure that begin here.
fn add(cells: &mut [i128], measure: &Measure, amount: i64) {
    let once = i128::from(measure.grid.units(1.0));
    match measure.effect() {
        Effect::Once => cells[0] = once,
        Effect::Add => cells[0] += i128::from(amount),
        Effect::OnceAt => cells[amount as usize] = once,
        Effect::AddToBins => {
            let (mut first, mut bin) = (0, amount as usize);
            for level in bins::levels(measure.leaves()) {
                cells[first + bin] += once;
                first += level;
                bin /= bins::BRANCHES;
            }
        }
    }
}

/// Rounded up.
fn norm_of(norm: Norm, cells: &[i128]) -> u128 {
    let magnitudes = cells.iter().map(|cell| cell.unsigned_abs());
    match norm {
        Norm::L1(_) => magnitudes.sum(),
        Norm::L2(_) => ceil_sqrt(
            magnitudes
                .map(|cell| cell.saturating_mul(cell))
                .fold(0, u128::saturating_add),
        ),
    }
}

fn scale(cells: &mut [i128], limit: u64, norm: u128, up: bool) -> bool {
    let limit = u128::from(limit);
    if norm <= limit {
        return false;
    }
    for cell in cells {
        let scaled = cell.unsigned_abs() * limit;
        let scaled = if up {
            scaled.div_ceil(norm)
        } else {
            scaled / norm
        };
        *cell = cell.signum() * scaled as i128;
    }
    true
}
