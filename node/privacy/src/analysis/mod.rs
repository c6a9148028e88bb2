//! From a question and the owner's policy to a quote: which groups, which measures, how much one
//! person can contribute, which noise. No data are read.

pub mod aggregate;
pub mod bins;
mod declared;
mod frame;
mod image;
pub mod interval;
mod join;
pub mod measure;
mod nulls;
mod person;
mod public;
mod relation;
pub mod sensitivity;
pub mod shape;
mod symbol;

use skerry_proto::{DataType, Delta, Epsilon, ErrorCode, Refusal, Value, limit};

use self::{
    aggregate::{Finish, Measures},
    image::Images,
    measure::Measure,
    relation::shape,
    sensitivity::{Sensitivity, ceil_sqrt, sensitivity},
    shape::Shape,
};
pub use self::{
    frame::{Frame, Range},
    public::rows as public_rows,
};
use crate::{
    accounting::Loss,
    contribution::Norm,
    mechanism::{Mechanism, MechanismError, Noise, threshold::Threshold},
    policy::Policy,
    question::{Expression, Query},
};

pub use declared::{Known, KnownColumn, known};

/// Bins of a person's total, each a power of two of cell units: the last has all that is more.
pub const TOTAL_BINS: usize = 36;

/// What a requester asks for beside the question. Bounds may be other than the owner's, since a
/// vector is scaled to whatever norm follows from them: they decide how exact the answer is. No
/// request adds a value to those that are public, or takes a condition off the policy.
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
    /// Which groups there are.
    pub partition: Partition,
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

/// Which groups a release has.
#[derive(Debug, Clone, PartialEq)]
pub enum Partition {
    /// All these, sorted: known before any data are read.
    Public(Vec<Vec<Value>>),
    /// Those keys of the data whose persons, counted with noise, reach a threshold. All keys together make
    /// up the tuple, also those that have public values.
    Threshold(Threshold),
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
    /// Which groups.
    pub partition: PartitionOf<'a>,
    /// The measures.
    pub measures: &'a [Measure],
}

/// Which groups rows contribute to, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum PartitionOf<'a> {
    /// All groups, sorted.
    Public(&'a [Vec<Value>]),
    /// Whatever key a row has.
    Threshold(&'a Threshold),
}

impl<'a> RowsOf<'a> {
    /// The groups that are known beforehand: none where keys are released above a threshold.
    #[must_use]
    pub const fn groups(&self) -> &'a [Vec<Value>] {
        match self.partition {
            PartitionOf::Public(groups) => groups,
            PartitionOf::Threshold(_) => &[],
        }
    }
}

impl Quote {
    /// The groups of the released vector that are known beforehand: none where they are released above a
    /// threshold.
    #[must_use]
    pub fn groups(&self) -> &[Vec<Value>] {
        match &self.partition {
            Partition::Public(groups) => groups,
            Partition::Threshold(_) => &[],
        }
    }

    /// The threshold, where keys are released above one.
    #[must_use]
    pub const fn threshold(&self) -> Option<&Threshold> {
        match &self.partition {
            Partition::Public(_) => None,
            Partition::Threshold(threshold) => Some(threshold),
        }
    }

    /// What a release is charged.
    #[must_use]
    pub fn loss(&self) -> Loss {
        match &self.partition {
            Partition::Public(_) => self.noise.loss(),
            Partition::Threshold(threshold) => self.noise.loss().with_threshold(threshold.delta()),
        }
    }

    /// What rows contribute to.
    #[must_use]
    pub fn rows(&self) -> RowsOf<'_> {
        match &self.totals_of {
            None => RowsOf {
                key_types: &self.key_types,
                partition: match &self.partition {
                    Partition::Public(groups) => PartitionOf::Public(groups),
                    Partition::Threshold(threshold) => PartitionOf::Threshold(threshold),
                },
                measures: &self.measures,
            },
            Some(rows) => RowsOf {
                key_types: &rows.key_types,
                partition: PartitionOf::Public(&rows.groups),
                measures: &rows.measures,
            },
        }
    }

    /// Whether this is a release of totals.
    #[must_use]
    pub fn asks_totals(&self) -> bool {
        self.totals_of.is_some()
    }

    /// The quote of the totals of this answer's measures, but for the noise; nothing where keys are
    /// released above a threshold.
    ///
    /// A person adds one unit to at most one cell of each of M measures: the L1 norm is at most M
    /// units, the L2 norm √M units.
    #[must_use]
    pub fn of_totals(self) -> Option<Self> {
        let Partition::Public(groups) = self.partition else {
            return None;
        };
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
        Some(Self {
            key_types: vec![DataType::Integer],
            partition: Partition::Public(
                (0..TOTAL_BINS as i64)
                    .map(|bin| vec![Value::Integer(bin)])
                    .collect(),
            ),
            measures: vec![persons; self.measures.len()],
            finishes: vec![],
            norm,
            clipped: None,
            noise: self.noise,
            totals_of: Some(Rows {
                key_types: self.key_types,
                groups,
                measures: self.measures,
            }),
        })
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
    // Without public values of one key, all of them are released above a threshold.
    let groups = match symbols.iter().cloned().collect::<Option<Vec<_>>>() {
        Some(symbols) => Some(images.groups(&symbols, &shape.constraints)?),
        None => {
            needs_delta(wording, &symbols, request)?;
            None
        }
    };
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
    let persons = groups.is_none().then(|| found.persons());
    let mut measures = found.found;
    let rows = frame::apply(&mut measures, &request.frame, rows)?;
    let of_group: usize = measures.iter().map(Measure::cells).sum();
    if groups.as_ref().map_or(1, Vec::len).saturating_mul(of_group) > limit::CELLS {
        return Err(Refusal::new(
            ErrorCode::TooLarge,
            format!("the answer has more than {} cells", limit::CELLS),
            "ask for fewer groups or fewer aggregates",
        ));
    }
    let reachable = reachable_groups(query, &shape, &images, &symbols, groups.as_deref(), rows);
    let reachable = reachable.min(request.max_groups.unwrap_or(u64::MAX)).max(1);
    let bounds = sensitivity(&measures, rows, reachable);
    let split = Split::of(request.delta, groups.is_some());
    let (noise, norm, clipped) = protect(bounds, request, split.of_noise).map_err(no_noise)?;
    let partition = match (groups, persons) {
        (Some(groups), _) => Partition::Public(groups),
        (None, None) => return Err(shape::refused("keys without a count of persons")),
        (None, Some(persons)) => {
            let cell = measures.iter().take(persons).map(Measure::cells).sum();
            let once = measures.get(persons).map_or(0, Measure::most_units);
            let delta = split.of_threshold(noise.mechanism());
            let threshold = Threshold::new(&noise, cell, once, reachable, delta);
            Partition::Threshold(threshold.map_err(no_noise)?)
        }
    };
    let quote = Quote {
        key_types: query
            .keys
            .iter()
            .map(|key| key.data_type(&types).map_err(shape::ill_typed))
            .collect::<Result<_, _>>()?,
        partition,
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
            let Some(mut totals) = quote.of_totals() else {
                return Err(Refusal::new(
                    ErrorCode::InvalidParameter,
                    "bounds are not searched for where keys are released above a threshold",
                    "ask with OPTIONS(bounds = 'declared'), or give bounds",
                ));
            };
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

/// What noise and threshold may have of δ.
#[derive(Debug, Clone, Copy)]
struct Split {
    whole: Delta,
    /// For Gaussian noise; Laplace noise needs none.
    of_noise: Delta,
}

impl Split {
    /// All of it for the noise where groups are public, else half of it, rounded down.
    fn of(whole: Delta, public: bool) -> Self {
        let half = Delta::from_atto(whole.atto() / 2).unwrap_or(Delta::ZERO);
        Self {
            whole,
            of_noise: if public { whole } else { half },
        }
    }

    /// What this noise leaves, rounded down.
    fn of_threshold(self, noise: Mechanism) -> Delta {
        match noise {
            Mechanism::DiscreteLaplace => self.whole,
            Mechanism::DiscreteGaussian => self.of_noise,
        }
    }
}

fn no_noise(error: MechanismError) -> Refusal {
    let hint = match error {
        MechanismError::Threshold => "ask with a larger delta",
        MechanismError::Sensitivity
        | MechanismError::Scale
        | MechanismError::Claim
        | MechanismError::Sampling => "ask with a larger epsilon",
    };
    Refusal::new(ErrorCode::InvalidParameter, error.to_string(), hint)
}

/// The noise, the norm to which persons' vectors are scaled, and the weight of the cell that counts
/// those that are.
///
/// That cell is part of the vector that the noise must cover. Its weight takes 1/16 more noise in
/// L1 norm and, as 1/4 of the limit, √(1 + 1/16) as much in L2 norm.
fn protect(
    Sensitivity { l1, l2 }: Sensitivity,
    request: &Request,
    delta: Delta,
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
        None => Noise::choose(covered(l1), covered(l2), request.epsilon, delta)?,
        Some(mechanism) => {
            let norm = match mechanism {
                Mechanism::DiscreteLaplace => l1,
                Mechanism::DiscreteGaussian => l2,
            };
            Noise::of(mechanism, covered(norm), request.epsilon, delta)?
        }
    };
    let norm = match noise.mechanism() {
        Mechanism::DiscreteLaplace => l1,
        Mechanism::DiscreteGaussian => l2,
    };
    Ok((noise, norm, request.count_clipped.then(|| weight(norm))))
}

/// How each key follows from atoms with public values; nothing for one that doesn't.
fn key_symbols(
    query: &Query,
    wording: &Wording,
    shape: &Shape,
    images: &mut Images,
) -> Result<Vec<Option<Expression>>, Refusal> {
    let mut symbols = vec![];
    for (index, key) in query.keys.iter().enumerate() {
        let symbol = shape.public_symbol(key, images);
        if shape.names_unit(key) {
            let written = written_key(wording, index);
            return Err(Refusal::new(
                ErrorCode::PrivateOutput,
                format!("GROUP BY {written} would make a group of each person"),
                "group by the unit in a subquery, and aggregate over persons outside it",
            ));
        }
        symbols.push(symbol);
    }
    Ok(symbols)
}

fn written_key(wording: &Wording, index: usize) -> &str {
    wording.keys.get(index).map_or("the key", String::as_str)
}

/// Refuses keys without public values where no δ is asked with.
fn needs_delta(
    wording: &Wording,
    symbols: &[Option<Expression>],
    request: &Request,
) -> Result<(), Refusal> {
    if request.delta > Delta::ZERO {
        return Ok(());
    }
    let index = symbols.iter().position(Option::is_none).unwrap_or(0);
    let written = written_key(wording, index);
    Err(Refusal::new(
        ErrorCode::NoPublicValues,
        format!("GROUP BY {written}: the catalogue gives no public values for it"),
        "ask with a delta, OPTIONS(delta = 1e-8), for the keys that enough persons have; or group by a column with public values, map it to bands with CASE, or use it in WHERE",
    ))
}

/// How many groups one person can reach: one when all keys are facts of the person; else no more
/// than there are rows, or public values of the keys that aren't facts.
fn reachable_groups(
    query: &Query,
    shape: &Shape,
    images: &Images,
    symbols: &[Option<Expression>],
    groups: Option<&[Vec<Value>]>,
    rows: u64,
) -> u64 {
    let varying: Option<Vec<Expression>> = query
        .keys
        .iter()
        .zip(symbols)
        .filter(|(key, _)| !shape.is_of_person(key))
        .map(|(_, symbol)| symbol.clone())
        .collect();
    let Some(varying) = varying else {
        return rows;
    };
    if varying.is_empty() {
        return 1;
    }
    match images.groups(&varying, &shape.constraints) {
        Ok(image) => rows.min(image.len().max(1) as u64),
        Err(_) => rows.min(groups.map_or(u64::MAX, |groups| groups.len().max(1) as u64)),
    }
}
