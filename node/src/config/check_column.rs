//! One column's declaration.

use std::{collections::BTreeSet, ops::Range};

use skerry_proto::{DataType, Value, limit};
use toml::Spanned;

use super::{ColumnConfig, ConfigError, Domain, Source, domain::parse_moment, file, show};

/// Checks a column; the one of the privacy unit declares nothing.
pub fn checked_column(
    source: Source<'_>,
    name: &Spanned<String>,
    file: &file::Column,
    is_unit: bool,
) -> Result<ColumnConfig, ConfigError> {
    let domain = match (&file.range, &file.values, &file.values_from) {
        (None, None, None) => Domain::Undeclared,
        (Some(range), None, None) => checked_range(source, range)?,
        (None, Some(values), None) => checked_values(source, values)?,
        (None, None, Some(from)) => match from.get_ref().split_once('.') {
            Some((table, column)) if !table.is_empty() && !column.is_empty() => {
                Domain::ValuesFrom {
                    table: table.to_owned(),
                    column: column.to_owned(),
                }
            }
            _ => {
                return Err(source.error(
                    from.span(),
                    "`values_from` is no column of a table",
                    "write it as in \"municipalities.code\"",
                ));
            }
        },
        _ => {
            return Err(source.error(
                name.span(),
                format!(
                    "column `{}` has more than one of `range`, `values` and `values_from`",
                    name.get_ref()
                ),
                "numbers to add up have a `range`, keys to group by have `values`",
            ));
        }
    };
    if is_unit && domain != Domain::Undeclared {
        return Err(source.error(
            name.span(),
            "the unit column has no range and no values: who is in the data is not public",
            format!("write `{} = {{}}`", name.get_ref()),
        ));
    }
    Ok(ColumnConfig {
        name: name.get_ref().clone(),
        domain,
        nulls: file.nulls.unwrap_or(true),
    })
}

fn checked_range(
    source: Source<'_>,
    range: &Spanned<Vec<Spanned<toml::Value>>>,
) -> Result<Domain, ConfigError> {
    let [low, high] = range.get_ref().as_slice() else {
        return Err(source.error(
            range.span(),
            "a range has two ends",
            "as in range = [0, 100]",
        ));
    };
    let end = |end: &Spanned<toml::Value>| {
        let value = value(source, end)?;
        match &value {
            Value::Text(text) => parse_moment(text),
            Value::Boolean(_) | Value::Null => None,
            _ => Some(value),
        }
        .ok_or_else(|| {
            source.error(
                end.span(),
                "an end of a range is a number, a date or a timestamp",
                "dates as in \"2024-12-31\"; texts have `values` instead",
            )
        })
    };
    let ends = of_one_type(source, range.span(), vec![end(low)?, end(high)?])?;
    match ends.as_slice() {
        [low, high] if low <= high => Ok(Domain::Range {
            low: low.clone(),
            high: high.clone(),
        }),
        _ => Err(source.error(
            range.span(),
            "the range's low end is above its high end",
            "",
        )),
    }
}

fn checked_values(
    source: Source<'_>,
    values: &Spanned<Vec<Spanned<toml::Value>>>,
) -> Result<Domain, ConfigError> {
    let list = values.get_ref();
    if list.is_empty() {
        return Err(source.error(
            values.span(),
            "an empty list of values",
            "leave `values` out if they are not public",
        ));
    }
    if list.len() > limit::GROUPS {
        return Err(source.error(
            values.span(),
            format!("more than {} values", limit::GROUPS),
            "",
        ));
    }
    let parsed = list
        .iter()
        .map(|item| value(source, item))
        .collect::<Result<_, _>>()?;
    let parsed = of_one_type(source, values.span(), parsed)?;
    let mut seen = BTreeSet::new();
    for (item, value) in list.iter().zip(&parsed) {
        if !seen.insert(value) {
            return Err(source.error(item.span(), format!("{} is listed twice", show(value)), ""));
        }
    }
    Ok(Domain::Values(parsed))
}

/// Whole numbers among floats are floats; else all have one type.
fn of_one_type(
    source: Source<'_>,
    span: Range<usize>,
    values: Vec<Value>,
) -> Result<Vec<Value>, ConfigError> {
    let types: BTreeSet<DataType> = values.iter().filter_map(Value::data_type).collect();
    let wanted = match types.iter().collect::<Vec<_>>().as_slice() {
        [one] => **one,
        [DataType::Integer, DataType::Float] => DataType::Float,
        _ => {
            let names: Vec<String> = types.iter().map(ToString::to_string).collect();
            return Err(source.error(
                span,
                format!("values of different types: {}", names.join(", ")),
                "a column's values have one type",
            ));
        }
    };
    match Domain::Values(values).typed(wanted) {
        Ok(Domain::Values(values)) => Ok(values),
        Ok(_) => Ok(Vec::new()),
        Err(message) => Err(source.error(span, message, "")),
    }
}

fn value(source: Source<'_>, item: &Spanned<toml::Value>) -> Result<Value, ConfigError> {
    let refused = |message: &str| Err(source.error(item.span(), message, ""));
    match item.get_ref() {
        toml::Value::Boolean(x) => Ok(Value::Boolean(*x)),
        toml::Value::Integer(x) => Ok(Value::Integer(*x)),
        toml::Value::Float(x) if x.is_finite() => Ok(Value::Float(*x)),
        toml::Value::Float(_) => refused("not a finite number"),
        toml::Value::String(text) => Ok(Value::Text(text.clone())),
        toml::Value::Datetime(moment) => match parse_moment(&moment.to_string()) {
            Some(value) => Ok(value),
            None => refused("a date or a timestamp without a zone is needed"),
        },
        toml::Value::Array(_) | toml::Value::Table(_) => refused("a single value is needed"),
    }
}
