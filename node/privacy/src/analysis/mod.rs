//! From a question and the owner's policy to a quote: which groups, which measures, how much one
//! person can contribute, which noise. No data are read.

pub mod aggregate;
pub mod bins;
mod declared;
mod frame;
mod image;
pub mod interval;
pub mod measure;
mod nulls;
mod public;
mod relation;
pub mod sensitivity;
pub mod shape;
mod symbol;

use skerry_proto::{DataType, Delta, Epsilon, ErrorCode, Refusal, Value, limit};

pub use self::frame::{Frame, Range};
use self::{
    aggregate::{Finish, Measures},
    image::Images,
    measure::Measure,
    relation::shape,
    sensitivity::{Sensitivity, ceil_sqrt, sensitivity},
    shape::Shape,
};
use crate::{
    contribution::Norm,
    mechanism::{Mechanism, MechanismError, Noise},
    policy::Policy,
    question::{Expression, Query},
};

pub use declared::{Known, KnownColumn, known};
pub use public::rows as public_rows;

/// Bins of a person's total, each a power of two of cell units: the last has all that is more.
pub const TOTAL_BINS: usize = 36;

/// What a requester asks for beside the question. All of it narrows or worsens the answer; none
/// of it can widen what the policy allows.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// ε of this release.
    pub epsilon: Epsilon,
    /// δ of this release.
    pub delta: Delta,
    /// Groups that a person contributes to, at most.
    pub max_groups: Option<u64>,
    /// Bounds of each measure, common to all regions; empty: this node's own.
    pub frame: Vec<Frame>,
    /// What is released.
    pub purpose: Purpose,
    /// Whether persons whose contribution was clipped are counted in one cell more.
    pub count_clipped: bool,
    /// The noise that is wanted; none: the one with less noise.
    pub mechanism: Option<Mechanism>,
}

/// What is released of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// The answer.
    #[default]
    Answer,
    /// For each measure, persons by power-of-two bin of their own total over all groups: from
    /// which bounds for the answer are chosen.
    Totals,
}

/// How the question's parts are written, for refusals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wording {
    /// Of each key.
    pub keys: Vec<String>,
    /// Of each aggregate.
    pub aggregates: Vec<String>,
}

/// What a release will hold and how it is protected.
#[derive(Debug, Clone, PartialEq)]
pub struct Quote {
    /// Types of the keys.
    pub key_types: Vec<DataType>,
    /// All groups, sorted.
    pub groups: Vec<Vec<Value>>,
    /// The measures; cells are groups × cells of the measures, group by group.
    pub measures: Vec<Measure>,
    /// For each aggregate of the question; none when totals are asked for.
    pub finishes: Vec<Finish>,
    /// To which each person's vector is scaled.
    pub norm: Norm,
    /// Weight of the last cell, in which clipped persons are counted, if they are.
    pub clipped: Option<u64>,
    /// The noise.
    pub noise: Noise,
    /// When totals are asked for: the groups and measures that rows contribute to. Those above are
    /// the bins, and persons for each of these measures.
    pub totals_of: Option<Rows>,
}

/// What rows contribute to.
#[derive(Debug, Clone, PartialEq)]
pub struct Rows {
    /// Types of the keys.
    pub key_types: Vec<DataType>,
    /// All groups, sorted.
    pub groups: Vec<Vec<Value>>,
    /// The measures.
    pub measures: Vec<Measure>,
}

/// What rows contribute to, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowsOf<'a> {
    /// Types of the keys.
    pub key_types: &'a [DataType],
    /// All groups, sorted.
    pub groups: &'a [Vec<Value>],
    /// The measures.
    pub measures: &'a [Measure],
}

impl Quote {
    /// Cells of the released vector.
    #[must_use]
    pub fn cells(&self) -> usize {
        let of_group: usize = self.measures.iter().map(Measure::cells).sum();
        self.groups.len() * of_group + usize::from(self.clipped.is_some())
    }

    /// What rows contribute to.
    #[must_use]
    pub fn rows(&self) -> RowsOf<'_> {
        match &self.totals_of {
            None => RowsOf {
                key_types: &self.key_types,
                groups: &self.groups,
                measures: &self.measures,
            },
            Some(rows) => RowsOf {
                key_types: &rows.key_types,
                groups: &rows.groups,
                measures: &rows.measures,
            },
        }
    }

    /// Whether this is a release of totals.
    #[must_use]
    pub fn asks_totals(&self) -> bool {
        self.totals_of.is_some()
    }

    /// The quote of the totals of this answer's measures, but for the noise.
    ///
    /// A person adds one unit to at most one cell of each of M measures: the L1 norm is at most M
    /// units, the L2 norm √M units.
    #[must_use]
    pub fn of_totals(self) -> Self {
        let persons = Measure::persons(None);
        let unit = persons.grid.units(1.0).unsigned_abs();
        let count = self.measures.len().max(1) as u64;
        let norm = match self.norm {
            Norm::L1(_) => Norm::L1(count.saturating_mul(unit)),
            Norm::L2(_) => {
                let square = u128::from(count) * u128::from(unit) * u128::from(unit);
                Norm::L2(u64::try_from(ceil_sqrt(square)).unwrap_or(u64::MAX))
            }
        };
        Self {
            key_types: vec![DataType::Integer],
            groups: (0..TOTAL_BINS as i64)
                .map(|bin| vec![Value::Integer(bin)])
                .collect(),
            measures: vec![persons; self.measures.len()],
            finishes: vec![],
            norm,
            clipped: None,
            noise: self.noise,
            totals_of: Some(Rows {
                key_types: self.key_types,
                groups: self.groups,
                measures: self.measures,
            }),
        }
    }
}

/// Analyses a question under a policy.
///
/// # Errors
/// A refusal that names the part and says what to write instead.
pub fn quote(
    query: &Query,
    wording: &Wording,
    policy: &Policy,
    request: &Request,
) -> Result<Quote, Refusal> {
    let mut images = Images::default();
    let shape = shape(&query.input, policy, &mut images)?;
    let Some(rows) = shape.rows_per_person else {
        return Err(Refusal::new(
            ErrorCode::PlanRefused,
            "the question names no private table",
            "",
        ));
    };
    if query.aggregates.len() > limit::AGGREGATES {
        return Err(Refusal::new(
            ErrorCode::TooLarge,
            format!(
                "the question has more than {} aggregates",
                limit::AGGREGATES
            ),
            "ask for some of them in another question",
        ));
    }
    let symbols = key_symbols(query, wording, &shape, &mut images)?;
    let groups = images.groups(&symbols, &shape.constraints)?;
    let types = shape.types();
    let mut found = Measures {
        shape: &shape,
        types: types.clone(),
        images: &mut images,
        rows,
        found: vec![],
    };
    let finishes = query
        .aggregates
        .iter()
        .enumerate()
        .map(|(index, aggregate)| {
            let written = wording.aggregates.get(index);
            found.of(aggregate, written.map_or("the aggregate", String::as_str))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut measures = found.found;
    let rows = frame::apply(&mut measures, &request.frame, rows)?;
    let of_group: usize = measures.iter().map(Measure::cells).sum();
    if groups.len().saturating_mul(of_group) > limit::CELLS {
        return Err(Refusal::new(
            ErrorCode::TooLarge,
            format!("the answer has more than {} cells", limit::CELLS),
            "ask for fewer groups or fewer aggregates",
        ));
    }
    let reachable = reachable_groups(query, &shape, &images, &symbols, groups.len(), rows);
    let reachable = reachable.min(request.max_groups.unwrap_or(u64::MAX)).max(1);
    let bounds = sensitivity(&measures, rows, reachable);
    let (noise, norm, clipped) = protect(bounds, request).map_err(no_noise)?;
    let quote = Quote {
        key_types: query
            .keys
            .iter()
            .map(|key| key.data_type(&types).map_err(shape::ill_typed))
            .collect::<Result<_, _>>()?,
        groups,
        measures,
        finishes,
        norm,
        clipped,
        noise,
        totals_of: None,
    };
    match request.purpose {
        Purpose::Answer => Ok(quote),
        Purpose::Totals => {
            let mut totals = quote.of_totals();
            totals.noise = Noise::of(
                noise.mechanism(),
                totals.norm.limit(),
                request.epsilon,
                request.delta,
            )
            .map_err(no_noise)?;
            Ok(totals)
        }
    }
}

fn no_noise(error: MechanismError) -> Refusal {
    Refusal::new(
        ErrorCode::InvalidParameter,
        error.to_string(),
        "ask with a larger epsilon",
    )
}

/// The noise, the norm to which persons' vectors are scaled, and the weight of the cell that counts
/// those that are.
///
/// That cell is part of the vector that the noise must cover. Its weight takes 1/16 more noise in
/// L1 norm and, as 1/4 of the limit, √(1 + 1/16) as much in L2 norm.
fn protect(
    Sensitivity { l1, l2 }: Sensitivity,
    request: &Request,
) -> Result<(Noise, Norm, Option<u64>), MechanismError> {
    let weight = |norm: Norm| match norm {
        Norm::L1(limit) => limit.div_ceil(16),
        Norm::L2(limit) => limit.div_ceil(4),
    };
    let covered = |norm: Norm| match request.count_clipped {
        true => norm.with_cell(weight(norm)),
        false => norm.limit(),
    };
    let (l1, l2) = (Norm::L1(l1), Norm::L2(l2));
    let noise = match request.mechanism {
        None => Noise::choose(covered(l1), covered(l2), request.epsilon, request.delta)?,
        Some(mechanism) => {
            let norm = match mechanism {
                Mechanism::DiscreteLaplace => l1,
                Mechanism::DiscreteGaussian => l2,
            };
            Noise::of(mechanism, covered(norm), request.epsilon, request.delta)?
        }
    };
    let norm = match noise.mechanism() {
        Mechanism::DiscreteLaplace => l1,
        Mechanism::DiscreteGaussian => l2,
    };
    Ok((noise, norm, request.count_clipped.then(|| weight(norm))))
}

fn key_symbols(
    query: &Query,
    wording: &Wording,
    shape: &Shape,
    images: &mut Images,
) -> Result<Vec<Expression>, Refusal> {
    let mut symbols = vec![];
    for (index, key) in query.keys.iter().enumerate() {
        let written = wording.keys.get(index).map_or("the key", String::as_str);
        if shape.names_unit(key) {
            return Err(Refusal::new(
                ErrorCode::PrivateOutput,
                format!("GROUP BY {written} would make a group of each person"),
                "group by the unit in a subquery, and aggregate over persons outside it",
            ));
        }
        match shape.public_symbol(key, images) {
            Some(symbol) => symbols.push(symbol),
            None => {
                return Err(Refusal::new(
                    ErrorCode::NoPublicValues,
                    format!("GROUP BY {written}: the catalogue gives no public values for it"),
                    "group by a column with public values, map it to bands with CASE, or use it in WHERE",
                ));
            }
        }
    }
    Ok(symbols)
}

/// How many groups one person can reach: one when all keys are facts of the person; else no more
/// than there are rows, or values of the keys that aren't facts.
fn reachable_groups(
    query: &Query,
    shape: &Shape,
    images: &Images,
    symbols: &[Expression],
    groups: usize,
    rows: u64,
) -> u64 {
    let varying: Vec<Expression> = query
        .keys
        .iter()
        .zip(symbols)
        .filter(|(key, _)| !shape.is_of_person(key))
        .map(|(_, symbol)| symbol.clone())
        .collect();
    if varying.is_empty() {
        return 1;
    }
    let combinations = images
        .groups(&varying, &shape.constraints)
        .map_or(groups, |image| image.len());
    rows.min(combinations.max(1) as u64)
}
