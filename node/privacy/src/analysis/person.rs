//! What is public about what is computed over the rows of one person: aggregates and windows.

use skerry_proto::{DataType, ErrorCode, Refusal};

use super::{
    image::{Images, Source},
    interval::Interval,
    shape::{ColumnShape, Shape, ill_typed, refused},
};
use crate::question::{Expression, PersonAggregate, PersonFunction, Window, WindowFunction};

/// One row for each person and key.
pub fn aggregated(
    input: &Shape,
    keys: &[Expression],
    aggregates: &[PersonAggregate],
    images: &mut Images,
) -> Result<Shape, Refusal> {
    let Some(rows) = input.rows_per_person else {
        return Err(refused("aggregation per person needs a private relation"));
    };
    let mut columns = keys
        .iter()
        .map(|key| input.derive(key, images))
        .collect::<Result<Vec<_>, _>>()?;
    let reachable = reachable(&columns, rows, input, images);
    // With a single key that varies, each of its values is on one row.
    let varying = columns.iter().filter(|column| !column.of_person).count();
    for column in &mut columns {
        column.repeats = if varying == 1 && !column.of_person {
            1
        } else {
            u64::MAX
        };
    }
    for PersonAggregate { function, argument } in aggregates {
        columns.push(over_rows(*function, argument, input, 1, rows, images)?);
    }
    Shape {
        columns,
        rows_per_person: Some(reachable),
        constraints: input.constraints.clone(),
    }
    .settle()
}

/// How many values of these keys together one person's rows can have: one when all are facts of
/// the person; else no more than there are rows, or values.
fn reachable(keys: &[ColumnShape], rows: u64, input: &Shape, images: &Images) -> u64 {
    let varying: Option<Vec<Expression>> = keys
        .iter()
        .filter(|key| !key.of_person)
        .map(|key| key.symbol.clone())
        .collect();
    match varying {
        Some(varying) if varying.is_empty() => 1,
        Some(varying) => images
            .groups(&varying, &input.constraints)
            .map_or(rows, |groups| rows.min(groups.len().max(1) as u64)),
        None => rows,
    }
}

/// The same rows with a window's columns more.
pub fn windowed(mut input: Shape, window: &Window, images: &mut Images) -> Result<Shape, Refusal> {
    let Some(rows) = input.rows_per_person else {
        return Err(refused("a window needs a private relation"));
    };
    let types = window.data_types(&input.types()).map_err(ill_typed)?;
    let keys = window
        .keys
        .iter()
        .map(|key| input.derive(key, images))
        .collect::<Result<Vec<_>, _>>()?;
    let partitions = reachable(&keys, rows, &input, images);
    let mut columns = vec![];
    for (column, data_type) in window.columns.iter().zip(types) {
        let place = |repeats| ColumnShape {
            data_type,
            interval: Interval::new(1.0, rows as f64),
            nulls: false,
            symbol: None,
            of_person: false,
            unit: false,
            of_unit: false,
            repeats,
        };
        let full = column.frame.holds_own_row();
        let mut found = match &column.function {
            // Each number once for each part that the person's rows fall into.
            WindowFunction::RowNumber => place(partitions),
            WindowFunction::Rank | WindowFunction::DenseRank => place(u64::MAX),
            WindowFunction::Shift {
                argument,
                otherwise,
                ..
            } => {
                let own = input.derive(argument, images)?;
                let literal = Expression::Literal {
                    value: otherwise.clone(),
                    data_type,
                };
                let instead = input.derive(&literal, images)?;
                let symbol = own.symbol.as_ref().and_then(|symbol| {
                    images.union(&[(symbol, &input.constraints), (&literal, &[])])
                });
                ColumnShape {
                    interval: own.interval.hull(instead.interval),
                    nulls: own.nulls || instead.nulls,
                    symbol,
                    of_person: false,
                    unit: false,
                    repeats: u64::MAX,
                    ..own
                }
            }
            WindowFunction::First { argument, .. } | WindowFunction::Last { argument, .. } => {
                let mut found = one_of(&input, argument, images)?;
                if !full {
                    found.nulls = true;
                    found.symbol = found.symbol.and_then(|symbol| images.or_null(&symbol));
                }
                found
            }
            WindowFunction::Aggregate { function, argument } => {
                over_rows(*function, argument, &input, u64::from(full), rows, images)?
            }
        };
        let framed = !matches!(
            column.function,
            WindowFunction::RowNumber
                | WindowFunction::Rank
                | WindowFunction::DenseRank
                | WindowFunction::Shift { .. }
        );
        // Over all of a person's rows the value is the same on each of them.
        found.of_person = framed && column.frame.is_whole() && keys.iter().all(|key| key.of_person);
        if found.symbol.is_none() && data_type == DataType::Text {
            // A long text would stand once for each of the person's rows.
            return Err(Refusal::new(
                ErrorCode::Unsupported,
                "a window function over a text: the catalogue gives no public values for it",
                "map it to a few texts with CASE, or number the rows and keep the one that you want",
            ));
        }
        if found.symbol.is_none() && !found.of_unit {
            found.symbol = Source::of_interval(data_type, found.interval, found.nulls)
                .and_then(|source| images.atom(source));
        }
        columns.push(found);
    }
    input.columns.append(&mut columns);
    input.settle()
}

/// A value that an expression has on one of the rows.
fn one_of(
    input: &Shape,
    argument: &Expression,
    images: &mut Images,
) -> Result<ColumnShape, Refusal> {
    let own = input.derive(argument, images)?;
    let symbol = own.symbol.as_ref();
    Ok(ColumnShape {
        symbol: symbol.and_then(|symbol| images.union(&[(symbol, &input.constraints)])),
        of_person: false,
        unit: false,
        repeats: u64::MAX,
        ..own
    })
}

/// An aggregate over rows of one person, at least and at most so many.
fn over_rows(
    function: PersonFunction,
    argument: &Expression,
    input: &Shape,
    least: u64,
    most: u64,
    images: &mut Images,
) -> Result<ColumnShape, Refusal> {
    let of_argument = input.derive(argument, images)?;
    let data_type = function
        .data_type(of_argument.data_type)
        .map_err(ill_typed)?;
    let many = most as f64;
    let missing = least == 0 || of_argument.nulls;
    let interval = match function {
        PersonFunction::Count | PersonFunction::CountDistinct => {
            Interval::new(if missing { 0.0 } else { 1.0 }, many)
        }
        PersonFunction::Sum => of_argument.interval.times_up_to(many),
        PersonFunction::Minimum | PersonFunction::Maximum | PersonFunction::Average => {
            of_argument.interval
        }
    };
    let counts = matches!(
        function,
        PersonFunction::Count | PersonFunction::CountDistinct
    );
    let nulls = missing && !counts;
    let mut symbol = None;
    if matches!(function, PersonFunction::Minimum | PersonFunction::Maximum) {
        symbol = one_of(input, argument, images)?.symbol;
        if least == 0 {
            symbol = symbol.and_then(|symbol| images.or_null(&symbol));
        }
    }
    let of_unit = of_argument.of_unit && !counts;
    let symbol = symbol.or_else(|| {
        let source = Source::of_interval(data_type, interval, nulls)?;
        images.atom(source).filter(|_| !of_unit)
    });
    Ok(ColumnShape {
        data_type,
        interval,
        nulls,
        symbol,
        of_person: false,
        unit: false,
        of_unit,
        repeats: u64::MAX,
    })
}
