//! `skerry catalog`

use clap::Args;
use serde_json::Value as Json;
use skerry_proto::Refusal;

use super::{
    block_on,
    connection::{Connection, ListFormat},
};
use crate::output::{colours, plain_table, print, print_json};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// How it is written
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: ListFormat,
    /// One table, with its values in full; left out: all
    #[arg(value_name = "TABLE")]
    table: Option<String>,
}

/// Shows what may be asked about.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    let catalogue = block_on(async { arguments.connection.open().await?.catalogue().await })?;
    if arguments.format == ListFormat::Json {
        return print_json(&catalogue);
    }
    print(&text(&catalogue, arguments.table.as_deref()))
}

/// The catalogue for people: each table once, with its columns as the regions declare them.
fn text(catalogue: &Json, only: Option<&str>) -> String {
    let mut text = String::new();
    for table in list(catalogue, "tables") {
        let name = string(table, "name");
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let regions: Vec<&str> = list(table, "regions")
            .iter()
            .filter_map(Json::as_str)
            .collect();
        let unit = table.get("unit").and_then(Json::as_str).unwrap_or_default();
        text.push_str(&match unit {
            "" => format!("{name}: public"),
            unit => format!("{name}: private, one person is a {unit}"),
        });
        if !regions.is_empty() {
            text.push_str(&format!(" ({})", regions.join(", ")));
        }
        text.push('\n');
        let rows: Vec<Vec<String>> = list(table, "columns")
            .iter()
            .map(|column| {
                let column_name = string(column, "name");
                vec![
                    format!("  {column_name}"),
                    string(column, "type").to_owned(),
                    declared(catalogue, name, column_name, only.is_some()),
                ]
            })
            .collect();
        text.push_str(&plain_table(
            &["  column", "type", "public"],
            &rows,
            &[],
            colours(),
        ));
        text.push('\n');
    }
    for conflict in list(catalogue, "conflicts") {
        text.push_str(&format!("conflict: {conflict}\n"));
    }
    for region in list(catalogue, "missing") {
        text.push_str(&format!(
            "no answer from: {}\n",
            region.as_str().unwrap_or_default()
        ));
    }
    if text.is_empty() {
        text.push_str("no such table");
    }
    text.trim_end().to_owned()
}

/// What regions declare of a column: once when they agree, else the first one's and the number.
fn declared(catalogue: &Json, table: &str, column: &str, full: bool) -> String {
    let mut all: Vec<String> = Vec::new();
    for region in list(catalogue, "regions") {
        let found = list(region, "tables")
            .iter()
            .filter(|declared| string(declared, "name") == table)
            .flat_map(|declared| list(declared, "columns"))
            .find(|declared| string(declared, "name") == column);
        if let Some(found) = found {
            let shown = domain(found, full);
            if !all.contains(&shown) {
                all.push(shown);
            }
        }
    }
    match all.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [first, others @ ..] => format!("{first} (and {} other by region)", others.len()),
    }
}

fn domain(column: &Json, full: bool) -> String {
    const SHOWN: usize = 6;
    if let Some(range) = column.get("range").filter(|range| !range.is_null()) {
        let end = |key: &str, index: usize| {
            range
                .get(key)
                .or_else(|| range.get(index))
                .map(plain)
                .unwrap_or_default()
        };
        return format!("{} to {}", end("low", 0), end("high", 1));
    }
    let values = list(column, "values");
    if values.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = values
        .iter()
        .take(if full { usize::MAX } else { SHOWN })
        .map(plain)
        .collect();
    let more = values.len() - shown.len();
    let rest = if more > 0 {
        format!(", … {more} more")
    } else {
        String::new()
    };
    format!("{}{rest}", shown.join(", "))
}

fn plain(value: &Json) -> String {
    let shown = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    match shown.strip_suffix(".0") {
        Some(whole) if value.is_number() => whole.to_owned(),
        _ => shown,
    }
}

fn list<'a>(value: &'a Json, key: &str) -> &'a [Json] {
    value
        .get(key)
        .and_then(Json::as_array)
        .map_or(&[], Vec::as_slice)
}

fn string<'a>(value: &'a Json, key: &str) -> &'a str {
    value.get(key).and_then(Json::as_str).unwrap_or_default()
}
