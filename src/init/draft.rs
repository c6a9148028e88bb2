//! A first policy for an owner to fill in: names and types of the columns from the files' own
//! schema. Ranges, values and row counts are not looked at: a draft must not show what is private.

use std::{fmt::Write as _, fs::File, io::BufReader, path::Path, path::PathBuf};

use arrow::datatypes::{DataType, Schema};
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use skerry_proto::{Refusal, RegionId};

use super::{
    layout::{Layout, list},
    refusal,
    text::quoted,
    unreadable,
};

/// The `[[table]]` entries of one region's node.
///
/// # Errors
/// When a file has no readable schema, or the region has no files.
pub fn tables(layout: &Layout, region: &RegionId, unit: &str) -> Result<String, Refusal> {
    let mut text = String::new();
    for (name, path) in layout.tables(region) {
        let schema = schema(path)?;
        table(&mut text, name, path, &schema, unit);
    }
    if text.is_empty() {
        return Err(refusal(
            format!("no data file of region `{region}`"),
            "leave --regions out to take the regions of the files",
        ));
    }
    Ok(text)
}

fn table(text: &mut String, name: &str, path: &Path, schema: &Schema, unit: &str) {
    let private = schema.field_with_name(unit).is_ok();
    let untyped = schema
        .fields()
        .iter()
        .all(|field| field.data_type() == &DataType::Null);
    let live = private && !untyped;
    // Whether a table without the unit is public is for the owner to say: until then, it is not
    // there.
    let comment = if live { "" } else { "# " };
    if !private {
        let _ = writeln!(
            text,
            "# `{name}` has no column `{unit}`. If it is public, take the `# ` off; if not, name\n\
             # its `unit` and `max_rows_per_unit` too."
        );
    } else if untyped {
        let _ = writeln!(
            text,
            "# `{name}` is a CSV file, which has no types: a private table needs Parquet or Arrow.\n\
             # Convert it, then take the `# ` off."
        );
    }
    let _ = writeln!(text, "{comment}[[table]]");
    let _ = writeln!(text, "{comment}name = {}", quoted(name));
    let _ = writeln!(
        text,
        "{comment}path = {}",
        quoted(&path.display().to_string())
    );
    if private {
        let _ = writeln!(text, "{comment}unit = {}", quoted(unit));
        let _ = writeln!(
            text,
            "# TO FILL IN: how many rows one person has at most. Rows above it are scaled down,\n\
             # which costs accuracy, not privacy; a number far too high costs accuracy as well.\n\
             {comment}max_rows_per_unit = 100"
        );
    }
    let _ = writeln!(text, "\n{comment}[table.columns]");
    let width = schema
        .fields()
        .iter()
        .map(|field| key(field.name()).len())
        .max()
        .unwrap_or(0);
    for field in schema.fields() {
        let name = key(field.name());
        match type_name(field.data_type()) {
            Some(data_type) => {
                let _ = writeln!(text, "{comment}{name:width$} = {{}}  # {data_type}");
            }
            None => {
                let shown = field.data_type();
                let _ = writeln!(text, "# {name} cannot be used: its type is {shown}");
            }
        }
    }
    text.push('\n');
}

/// A key as TOML writes it: bare where it can be.
fn key(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if bare { name.to_owned() } else { quoted(name) }
}

/// What questions call a type of the file, or nothing when they have no such type.
fn type_name(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Boolean => "boolean",
        data_type if data_type.is_integer() => "integer",
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "float",
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal128(..) => "float",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Dictionary(_, values) => return type_name(values),
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Timestamp(..) => "timestamp",
        // A CSV file's columns: their types follow from rows, which a draft doesn't read.
        DataType::Null => "type unknown",
        _ => return None,
    })
}

/// The schema of a data file, or of the first one in a folder. No row is read; a CSV file, which
/// has no types, gives the names in its first line.
///
/// # Errors
/// When there is none, or it can't be read.
pub fn schema(path: &Path) -> Result<Schema, Refusal> {
    let path = first_file(path)?;
    let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("parquet") => ArrowReaderMetadata::load(&file, Default::default())
            .map(|metadata| metadata.schema().as_ref().clone())
            .map_err(|error| unreadable(&path, &error)),
        Some("arrow") => arrow::ipc::reader::FileReader::try_new(BufReader::new(file), None)
            .map(|reader| reader.schema().as_ref().clone())
            .map_err(|error| unreadable(&path, &error)),
        Some("csv") => arrow::csv::reader::Format::default()
            .with_header(true)
            .infer_schema(file, Some(0))
            .map(|(schema, _)| schema)
            .map_err(|error| unreadable(&path, &error)),
        _ => Err(refusal(
            format!("{} is no Parquet, CSV or Arrow file", path.display()),
            "its name ends in .parquet, .csv or .arrow",
        )),
    }
}

fn first_file(path: &Path) -> Result<PathBuf, Refusal> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    list(path)?
        .into_iter()
        .find(|path| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            matches!(ending, Some("parquet" | "csv" | "arrow"))
        })
        .ok_or_else(|| refusal(format!("{} has no data file", path.display()), ""))
}
