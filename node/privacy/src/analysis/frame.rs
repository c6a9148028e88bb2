//! Bounds that are common to all regions, or asked for, in place of this node's own.
//!
//! Any bounds are private, since a person's vector is scaled to whatever norm follows from them;
//! they decide the accuracy only.

use skerry_proto::{DataType, ErrorCode, Refusal, Value, limit};

use super::{
    aggregate::MAX_BOUND,
    bins,
    interval::Interval,
    measure::{Counted, Factor, Measure},
    shape::MAX_ROWS_PER_PERSON,
};

/// Bounds of one measure.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Rows of a person, at most.
    pub rows: u64,
    /// Of each of the measure's factors, or of its bins, which have no centre.
    pub ranges: Vec<Range>,
    /// The values of a count of values.
    pub values: Vec<Value>,
    /// Bound on a person's own total over all cells, in the measure's unit: in L1 norm for
    /// Laplace, L2 norm for Gaussian noise. None: what follows from rows and ranges.
    pub total: Option<f64>,
}

/// Bounds of a factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Least value.
    pub low: f64,
    /// Greatest value.
    pub high: f64,
    /// Taken off each value.
    pub centre: f64,
}

fn refused(message: &str) -> Refusal {
    Refusal::new(ErrorCode::RegionsDisagree, message, "")
}

/// Puts the frame in place of the measures' own bounds; the rows of a person that follow.
pub(super) fn apply(
    measures: &mut [Measure],
    frame: &[Frame],
    own_rows: u64,
) -> Result<u64, Refusal> {
    if frame.is_empty() {
        return Ok(own_rows);
    }
    if frame.len() != measures.len() {
        return Err(refused("the frame has another number of measures"));
    }
    let mut most = None;
    for (measure, frame) in measures.iter_mut().zip(frame) {
        let persons = matches!(measure.counted, Counted::Persons { .. });
        *measure = framed(measure, frame)?;
        if !persons {
            most = most.max(Some(frame.rows));
        }
    }
    // Persons alone: the rows still say how many groups a person reaches.
    Ok(most.unwrap_or(own_rows))
}

fn framed(measure: &Measure, frame: &Frame) -> Result<Measure, Refusal> {
    if !(1..=MAX_ROWS_PER_PERSON).contains(&frame.rows) {
        return Err(refused("the frame has a number of rows that is none"));
    }
    if frame
        .total
        .is_some_and(|total| !(1e-9..=MAX_BOUND).contains(&total))
    {
        return Err(refused("the frame has a bound on totals that is none"));
    }
    let mut ranges = frame.ranges.iter();
    let mut range = || match ranges.next() {
        Some(range)
            if Interval::new(range.low, range.high).is_bounded()
                && [range.low, range.high, range.centre]
                    .iter()
                    .all(|end| end.abs() * frame.rows as f64 <= MAX_BOUND) =>
        {
            Ok(*range)
        }
        Some(_) | None => Err(refused("the frame has a range that is none")),
    };
    let mut factor = |factor: &Factor| -> Result<Factor, Refusal> {
        let Range { low, high, centre } = range()?;
        Ok(Factor {
            low,
            high,
            centre,
            ..factor.clone()
        })
    };
    let counted = match &measure.counted {
        same @ (Counted::Persons { .. } | Counted::Rows { .. }) => same.clone(),
        Counted::Sum(of) => Counted::Sum(factor(of)?),
        Counted::Product(first, second) => Counted::Product(factor(first)?, factor(second)?),
        Counted::Bins {
            argument,
            data_type,
            ..
        } => {
            let Range { low, high, .. } = range()?;
            Counted::Bins {
                argument: argument.clone(),
                data_type: *data_type,
                low,
                high,
                edges: bins::edges(low, high, *data_type == DataType::Integer),
            }
        }
        Counted::Values {
            argument,
            data_type,
            ..
        } => {
            let fits = |value: &Value| value.data_type() == Some(*data_type);
            let ascending = frame.values.windows(2).all(|pair| pair[0] < pair[1]);
            let few = frame.values.len() <= limit::LIST_LENGTH;
            if !ascending || !few || !frame.values.iter().all(fits) {
                return Err(refused("the frame has values that are none"));
            }
            Counted::Values {
                argument: argument.clone(),
                data_type: *data_type,
                values: frame.values.clone(),
            }
        }
    };
    let bound = most_of(&counted) * frame.rows as f64;
    if !bound.is_finite() || bound > MAX_BOUND {
        return Err(refused("the frame has bounds that are too large"));
    }
    Ok(Measure::new(counted, frame.rows, frame.total))
}

fn most_of(counted: &Counted) -> f64 {
    match counted {
        Counted::Persons { .. }
        | Counted::Rows { .. }
        | Counted::Bins { .. }
        | Counted::Values { .. } => 1.0,
        Counted::Sum(factor) => factor.most(),
        Counted::Product(first, second) => first.most() * second.most(),
    }
}
