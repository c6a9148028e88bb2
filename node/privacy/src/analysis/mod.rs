//! From a question and the owner's policy to a quote: which groups, which measures, how much one
//! person can contribute, which noise. No data are read.

mod declared;
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

use self::{
    image::Images,
    interval::Interval,
    measure::{Measure, MeasureKind},
    relation::shape,
    sensitivity::{Sensitivity, sensitivity},
    shape::Shape,
};
use crate::{
    contribution::Norm,
    mechanism::{Mechanism, Noise},
    policy::Policy,
    question::{Aggregate, Expression, Query},
};

pub use declared::{Known, KnownColumn, known};
pub use public::rows as public_rows;

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
}

/// Bounds of one measure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Frame {
    /// Least value of a row.
    pub low: f64,
    /// Greatest value of a row.
    pub high: f64,
    /// Rows of a person, at most.
    pub rows: u64,
}

/// How the question's parts are written, for refusals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wording {
    /// Of each key.
    pub keys: Vec<String>,
    /// Of each aggregate.
    pub aggregates: Vec<String>,
}

/// How an aggregate is finished from measures, after the noise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The count itself.
    Count {
        /// Position of the measure.
        count: usize,
    },
    /// The sum itself.
    Sum {
        /// Position of the measure.
        sum: usize,
        /// Type of the answer.
        data_type: DataType,
    },
    /// centre + sum / count.
    Average {
        /// Position of the centred sum.
        sum: usize,
        /// Position of the count.
        count: usize,
    },
}

/// What a release will hold and how it is protected.
#[derive(Debug, Clone, PartialEq)]
pub struct Quote {
    /// Types of the keys.
    pub key_types: Vec<DataType>,
    /// All groups, sorted.
    pub groups: Vec<Vec<Value>>,
    /// The measures; cells are groups × measures, group by group.
    pub measures: Vec<Measure>,
    /// For each aggregate of the question.
    pub finishes: Vec<Finish>,
    /// To which each person's vector is scaled.
    pub norm: Norm,
    /// The noise.
    pub noise: Noise,
}

impl Quote {
    /// Groups times measures.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.groups.len() * self.measures.len()
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
    let mut measures = vec![];
    let finishes = query
        .aggregates
        .iter()
        .enumerate()
        .map(|(index, aggregate)| {
            let written = wording
                .aggregates
                .get(index)
                .map_or("the aggregate", String::as_str);
            measures_of(aggregate, written, &shape, &types, rows, &mut measures)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let rows = frame(&mut measures, &request.frame, rows)?;
    if groups.len().saturating_mul(measures.len()) > limit::CELLS {
        return Err(Refusal::new(
            ErrorCode::TooLarge,
            format!("the answer has more than {} cells", limit::CELLS),
            "ask for fewer groups or fewer aggregates",
        ));
    }
    let reachable = reachable_groups(query, &shape, &images, &symbols, groups.len(), rows);
    let reachable = reachable.min(request.max_groups.unwrap_or(u64::MAX)).max(1);
    let Sensitivity { l1, l2 } = sensitivity(&measures, rows, reachable);
    let noise = Noise::choose(l1, l2, request.epsilon, request.delta).map_err(|error| {
        Refusal::new(
            ErrorCode::InvalidParameter,
            error.to_string(),
            "ask with a larger epsilon",
        )
    })?;
    let norm = match noise.mechanism() {
        Mechanism::DiscreteLaplace => Norm::L1(noise.sensitivity()),
        Mechanism::DiscreteGaussian => Norm::L2(noise.sensitivity()),
    };
    Ok(Quote {
        key_types: query
            .keys
            .iter()
            .map(|key| key.data_type(&types).map_err(shape::ill_typed))
            .collect::<Result<_, _>>()?,
        groups,
        measures,
        finishes,
        norm,
        noise,
    })
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

/// The position of a measure, added if it isn't there yet.
fn position(measures: &mut Vec<Measure>, measure: Measure) -> usize {
    match measures.iter().position(|known| *known == measure) {
        Some(index) => index,
        None => {
            measures.push(measure);
            measures.len() - 1
        }
    }
}

fn measures_of(
    aggregate: &Aggregate,
    written: &str,
    shape: &Shape,
    types: &[DataType],
    rows: u64,
    measures: &mut Vec<Measure>,
) -> Result<Finish, Refusal> {
    let typed = |argument: &Expression| argument.data_type(types).map_err(shape::ill_typed);
    let range = |argument: &Expression| -> Result<(DataType, Interval), Refusal> {
        let data_type = typed(argument)?;
        if !matches!(data_type, DataType::Integer | DataType::Float) {
            return Err(Refusal::new(
                ErrorCode::Unsupported,
                format!("{written}: a {data_type} can't be summed"),
                "",
            ));
        }
        let found = interval::interval(argument, &shape.intervals(), types);
        // An argument that is always NULL has the empty interval.
        let found = if found.low > found.high {
            Interval::new(0.0, 0.0)
        } else {
            found
        };
        if found.is_bounded() && found.low.abs().max(found.high.abs()) * rows as f64 <= 1e18 {
            Ok((data_type, found))
        } else {
            Err(Refusal::new(
                ErrorCode::NoRange,
                format!("{written}: the catalogue gives no range for its argument"),
                "bound it in the query, for example LEAST(GREATEST(x, 0), 1000)",
            ))
        }
    };
    match aggregate {
        Aggregate::CountRows(argument) => {
            let data_type = argument.as_ref().map(typed).transpose()?;
            let measure = Measure::rows(argument.clone(), data_type, rows);
            Ok(Finish::Count {
                count: position(measures, measure),
            })
        }
        Aggregate::CountPersons(argument) => {
            if let Some(argument) = argument
                && typed(argument)? != DataType::Boolean
            {
                return Err(Refusal::new(
                    ErrorCode::PlanRefused,
                    format!("{written}: the filter isn't boolean"),
                    "",
                ));
            }
            let measure = Measure::persons(argument.clone());
            Ok(Finish::Count {
                count: position(measures, measure),
            })
        }
        Aggregate::Sum(argument) => {
            let (data_type, Interval { low, high }) = range(argument)?;
            let measure = Measure::sum(argument.clone(), data_type, (low, high), 0.0, rows);
            Ok(Finish::Sum {
                sum: position(measures, measure),
                data_type,
            })
        }
        Aggregate::Average(argument) => {
            let (data_type, Interval { low, high }) = range(argument)?;
            // Centred values are half as large, and so is the noise that they need.
            let centre = low + (high - low) / 2.0;
            let sum = Measure::sum(argument.clone(), data_type, (low, high), centre, rows);
            let count = Measure::rows(Some(argument.clone()), Some(data_type), rows);
            Ok(Finish::Average {
                sum: position(measures, sum),
                count: position(measures, count),
            })
        }
    }
}

/// Puts the federation's common bounds in place of this node's own. Any bounds are private, since
/// a person's vector is scaled to whatever norm follows from them; they decide the accuracy only.
fn frame(measures: &mut [Measure], frame: &[Frame], own_rows: u64) -> Result<u64, Refusal> {
    if frame.is_empty() {
        return Ok(own_rows);
    }
    let refused = |message: &str| Err(Refusal::new(ErrorCode::RegionsDisagree, message, ""));
    if frame.len() != measures.len() {
        return refused("the frame has another number of measures");
    }
    let mut most = 1;
    for (measure, frame) in measures.iter_mut().zip(frame) {
        let Frame { low, high, rows } = *frame;
        let bounded = Interval::new(low, high).is_bounded();
        let rows_fit = (1..=shape::MAX_ROWS_PER_PERSON).contains(&rows);
        if !bounded || !rows_fit || low.abs().max(high.abs()) * rows as f64 > 1e18 {
            return refused("the frame has bounds that are none");
        }
        *measure = match measure.kind {
            MeasureKind::Persons => Measure::persons(measure.argument.take()),
            MeasureKind::Rows => Measure::rows(measure.argument.take(), measure.data_type, rows),
            MeasureKind::Sum => {
                let Some((argument, data_type)) = measure.argument.take().zip(measure.data_type)
                else {
                    return refused("a sum without an argument");
                };
                let centre = if measure.centre == 0.0 {
                    0.0
                } else {
                    low + (high - low) / 2.0
                };
                Measure::sum(argument, data_type, (low, high), centre, rows)
            }
        };
        if measure.kind != MeasureKind::Persons {
            most = most.max(rows);
        }
    }
    // Persons alone: the rows still say how many groups a person reaches.
    let persons_only = measures
        .iter()
        .all(|measure| measure.kind == MeasureKind::Persons);
    Ok(if persons_only { own_rows } else { most })
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
