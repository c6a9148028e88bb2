//! A study's file, read as strictly as a configuration: what is unknown, missing or of no use is
//! refused with its line and what to write instead.

use std::{collections::BTreeMap, ops::Range, path::Path};

use serde::Deserialize;
use skerry_proto::{
    Delta, Epsilon,
    configuration::{ConfigError, Source},
    nearest::suggest,
};
use toml::Spanned;

use super::{
    Allowed, Parameter, Study, Value,
    placeholder::{is_name, placeholders},
    plot,
};

/// Values by name, each with its place. Sorted by place, they are in the file's order.
type Table<T> = BTreeMap<Spanned<String>, Spanned<T>>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    title: Spanned<String>,
    question: Spanned<String>,
    source: Spanned<String>,
    epsilon: Spanned<f64>,
    delta: Option<Spanned<f64>>,
    reading: Spanned<String>,
    sql: Spanned<String>,
    plot: Spanned<String>,
    tables: Table<Vec<String>>,
    columns: Table<String>,
    #[serde(default)]
    parameters: Table<RawParameter>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawParameter {
    meaning: Spanned<String>,
    default: Spanned<toml::Value>,
    range: Option<Spanned<[toml::Value; 2]>>,
    values: Option<Spanned<Vec<String>>>,
}

/// A message and a hint: what is wrong with a value, and what to write.
type Wrong = (String, String);

fn wrong<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Wrong> {
    Err((message.into(), hint.into()))
}

/// Checks `text` as the file of the study `name`.
pub(super) fn parse(path: &Path, name: &str, text: &str) -> Result<Study, ConfigError> {
    let source = Source::new(path, text);
    let at = |span: Range<usize>| move |(message, hint): Wrong| source.error(span, message, hint);
    if !is_name(name) {
        return Err(source.error_anywhere(
            format!("`{name}` can't be a study's name"),
            "name the file in lower case: letters, digits and _",
        ));
    }
    let file: File = source.parse()?;
    let told = |key: &str, text: &Spanned<String>| {
        let trimmed = text.get_ref().trim();
        if trimmed.is_empty() {
            let hint = format!("say in a few words what the {key} is");
            return Err(source.error(text.span(), format!("`{key}` is empty"), hint));
        }
        Ok(trimmed.to_owned())
    };
    let epsilon = Epsilon::try_from(*file.epsilon.get_ref())
        .map_err(|error| source.error(file.epsilon.span(), error.to_string(), ""))?;
    let delta = match &file.delta {
        None => None,
        Some(delta) => Some(
            Delta::try_from(*delta.get_ref())
                .map_err(|error| source.error(delta.span(), error.to_string(), ""))?,
        ),
    };
    let columns = in_order(&source, "columns", file.columns)?
        .into_iter()
        .map(|(name, meaning)| Ok((name, told("the column's meaning", &meaning)?)))
        .collect::<Result<Vec<_>, ConfigError>>()?;
    let tables = in_order(&source, "tables", file.tables)?
        .into_iter()
        .map(|(table, listed)| {
            let span = listed.span();
            let listed = listed.into_inner();
            distinct(&listed, &format!("table `{table}`")).map_err(at(span))?;
            Ok((table, listed))
        })
        .collect::<Result<Vec<_>, ConfigError>>()?;
    let parameters = in_order(&source, "", file.parameters)?
        .into_iter()
        .map(|(name, raw)| {
            let raw = raw.into_inner();
            let span = raw.default.span();
            let (default, allowed) = kind(&name, &raw).map_err(at(span))?;
            Ok(Parameter {
                meaning: told("meaning", &raw.meaning)?,
                name,
                default,
                allowed,
            })
        })
        .collect::<Result<Vec<_>, ConfigError>>()?;
    check_placeholders(file.sql.get_ref(), &parameters).map_err(at(file.sql.span()))?;
    let names: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
    let plot = plot::parse(file.plot.get_ref(), &names).map_err(at(file.plot.span()))?;
    Ok(Study {
        name: name.to_owned(),
        title: told("title", &file.title)?,
        question: told("question", &file.question)?,
        source: told("source", &file.source)?,
        epsilon,
        delta,
        reading: told("reading", &file.reading)?,
        tables,
        columns,
        parameters,
        plot,
        template: told("sql", &file.sql)?,
    })
}

/// The entries of a table as they stand in the file. One that must have some is named by `key`.
fn in_order<T>(
    source: &Source<'_>,
    key: &str,
    table: Table<T>,
) -> Result<Vec<(String, Spanned<T>)>, ConfigError> {
    if table.is_empty() && !key.is_empty() {
        return Err(source.error_anywhere(format!("[{key}] is empty"), "name at least one"));
    }
    let mut entries: Vec<_> = table.into_iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
        .into_iter()
        .map(|(name, value)| {
            if is_name(name.get_ref()) {
                return Ok((name.into_inner(), value));
            }
            Err(source.error(
                name.span(),
                format!("`{}` can't be a name", name.get_ref()),
                "write it in lower case: letters, digits and _",
            ))
        })
        .collect()
}

/// Some texts, each once.
fn distinct(texts: &[String], of: &str) -> Result<(), Wrong> {
    if texts.is_empty() {
        return wrong(format!("{of} has an empty list"), "name at least one");
    }
    for (place, text) in texts.iter().enumerate() {
        if texts[..place].contains(text) {
            return wrong(format!("{of} names `{text}` twice"), "");
        }
    }
    Ok(())
}

/// The default and what is allowed: of the kind that the default has.
fn kind(name: &str, raw: &RawParameter) -> Result<(Value, Allowed), Wrong> {
    let range = raw.range.as_ref().map(Spanned::get_ref);
    let values = raw.values.as_ref().map(Spanned::get_ref);
    let default = raw.default.get_ref();
    let (default, allowed) = match (default, range, values) {
        (toml::Value::Boolean(flag), None, None) => (Value::Boolean(*flag), Allowed::Booleans),
        (toml::Value::Boolean(_), _, _) => {
            return wrong(
                format!("parameter `{name}` is true or false"),
                "leave `range` and `values` out",
            );
        }
        (toml::Value::Integer(number), Some(range), None) => {
            let [low, high] = ends(name, range, toml::Value::as_integer, "whole numbers")?;
            (Value::Integer(*number), Allowed::Integers(low, high))
        }
        (toml::Value::Float(number), Some(range), None) => {
            let finite = |value: &toml::Value| match value {
                toml::Value::Integer(whole) => Some(*whole as f64),
                other => other.as_float().filter(|end| end.is_finite()),
            };
            let [low, high] = ends(name, range, finite, "numbers")?;
            (Value::Decimal(*number), Allowed::Decimals(low, high))
        }
        (toml::Value::Integer(_) | toml::Value::Float(_), _, _) => {
            return wrong(
                format!("parameter `{name}` is a number"),
                "give it a `range`, as in range = [30, 730], and no `values`",
            );
        }
        (toml::Value::String(text), Some(range), None) => {
            let day = |value: &toml::Value| value.as_str()?.parse().ok();
            let what = "days as \"2024-01-31\"";
            let [low, high] = ends(name, range, day, what)?;
            let Ok(date) = text.parse() else {
                return wrong(
                    format!("the default `{text}` of parameter `{name}` is no day"),
                    "a text with a `range` is a day, as in \"2024-01-31\"; other texts have `values`",
                );
            };
            (Value::Date(date), Allowed::Dates(low, high))
        }
        (toml::Value::String(text), None, Some(values)) => {
            distinct(values, &format!("`values` of parameter `{name}`"))?;
            (Value::Text(text.clone()), Allowed::Texts(values.clone()))
        }
        (toml::Value::String(_), _, _) => {
            return wrong(
                format!("parameter `{name}` is a text"),
                "give it `values`, as in values = [\"a\", \"b\"], or, if it is a day, a `range` of two days",
            );
        }
        _ => {
            return wrong(
                format!("parameter `{name}` has a default of a kind that isn't used"),
                "write a number, true or false, or a text in quotes; also a day is in quotes",
            );
        }
    };
    if !allowed.holds(&default) {
        return wrong(
            format!("the default `{default}` of parameter `{name}` isn't allowed itself"),
            format!("it is {allowed}"),
        );
    }
    Ok((default, allowed))
}

fn ends<T: PartialOrd>(
    name: &str,
    range: &[toml::Value; 2],
    read: impl Fn(&toml::Value) -> Option<T>,
    what: &str,
) -> Result<[T; 2], Wrong> {
    match (read(&range[0]), read(&range[1])) {
        (Some(low), Some(high)) if low <= high => Ok([low, high]),
        (Some(_), Some(_)) => wrong(
            format!("the range of parameter `{name}` is empty"),
            "write the lower end first",
        ),
        _ => wrong(
            format!("the range of parameter `{name}` doesn't fit its default"),
            format!("write two {what}"),
        ),
    }
}

/// Every parameter is used, and every placeholder is a parameter.
fn check_placeholders(sql: &str, parameters: &[Parameter]) -> Result<(), Wrong> {
    let used = match placeholders(sql) {
        Ok(used) => used,
        Err(message) => return wrong(format!("sql: {message}"), ""),
    };
    let known: Vec<&str> = parameters.iter().map(|p| p.name.as_str()).collect();
    if let Some(unknown) = used.iter().find(|p| !known.contains(&p.name.as_str())) {
        let name = &unknown.name;
        return wrong(
            format!("sql has `${name}`, which is no parameter"),
            match suggest(name, &known) {
                hint if hint.is_empty() => format!("declare it as [parameters.{name}]"),
                hint => hint,
            },
        );
    }
    match known
        .iter()
        .find(|name| !used.iter().any(|p| p.name == **name))
    {
        None => Ok(()),
        Some(name) => wrong(
            format!("parameter `{name}` isn't used"),
            format!("write ${name} in sql, outside quotes and comments, or leave it out"),
        ),
    }
}
