//! Answers in every format, and refusals.

mod figure;
mod page;
mod table;

use std::io::{self, IsTerminal as _, Write};

use arrow::{
    array::RecordBatch,
    csv::WriterBuilder as CsvWriter,
    ipc::writer::FileWriter,
    json::{WriterBuilder as JsonWriter, writer::JsonArray},
};
use clap::ValueEnum;
use parquet::arrow::ArrowWriter;
use serde_json::{Value as Json, json};
use skerry_coordinator::answer::Answer;
use skerry_proto::{ErrorCode, Refusal};

pub use figure::short;
pub use page::{Page, page};
pub use table::{answer_table, plain_table, privacy_lines};

/// How an answer is written to standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Aligned, with intervals, for people.
    #[default]
    Table,
    /// One object with rows, bounds and the privacy record.
    Json,
    /// Rows with bounds.
    Csv,
    /// An Arrow IPC file; the privacy record is in the schema's metadata.
    Arrow,
    /// A Parquet file; the privacy record is in the schema's metadata.
    Parquet,
}

impl Format {
    /// Whether the bytes are of no use on a terminal.
    const fn is_binary(self) -> bool {
        matches!(self, Self::Arrow | Self::Parquet)
    }
}

/// Refuses to fill a terminal with bytes.
///
/// # Errors
/// When the format is binary and standard output is a terminal.
pub fn check_terminal(format: Format) -> Result<(), Refusal> {
    if format.is_binary() && io::stdout().is_terminal() {
        return Err(Refusal::new(
            ErrorCode::InvalidParameter,
            "this format is not for a terminal",
            "send it to a file: skerry query … > answer.file",
        ));
    }
    Ok(())
}

/// Writes an answer to standard output.
///
/// # Errors
/// When standard output is closed, or a row can't be written in the format.
pub fn write_answer(answer: &Answer, format: Format) -> Result<(), Refusal> {
    let bytes = match format {
        Format::Table => {
            let colours = colours();
            let table = answer_table(answer, colours);
            format!("{table}\n{}", privacy_lines(answer)).into_bytes()
        }
        Format::Json => json_bytes(answer)?,
        Format::Csv => csv(&answer.rows).map_err(|error| failed(&error))?,
        Format::Arrow => arrow_file(&answer.rows).map_err(|error| failed(&error))?,
        Format::Parquet => parquet_file(&answer.rows).map_err(|error| failed(&error))?,
    };
    print_bytes(&bytes)
}

/// Writes bytes to standard output. A reader that has gone away is no failure.
///
/// # Errors
/// When they can't be written.
pub fn print_bytes(bytes: &[u8]) -> Result<(), Refusal> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(failed(&error)),
        _ => Ok(()),
    }
}

/// Writes a text and the end of its line to standard output.
///
/// # Errors
/// When it can't be written.
pub fn print(text: &str) -> Result<(), Refusal> {
    print_bytes(format!("{text}\n").as_bytes())
}

/// Writes a JSON value to standard output.
///
/// # Errors
/// When it can't be written.
pub fn print_json(value: &Json) -> Result<(), Refusal> {
    print(&format!("{value:#}"))
}

/// Tells of a refusal: as one JSON object on standard output, or for people on standard error.
pub fn print_refusal(refusal: &Refusal, format: Format) {
    if format == Format::Table {
        let (red, plain) = if io::stderr().is_terminal() && colours_wanted() {
            ("\u{1b}[1;31m", "\u{1b}[0m")
        } else {
            ("", "")
        };
        eprintln!("{red}error[{}]{plain}: {}", refusal.code, refusal.message);
        if !refusal.hint.is_empty() {
            eprintln!("  hint: {}", refusal.hint);
        }
    } else {
        // A closed standard output can't be told of.
        let _ = print_json(&json!({ "error": refusal }));
    }
}

/// Whether standard output may have colours.
#[must_use]
pub fn colours() -> bool {
    io::stdout().is_terminal() && colours_wanted()
}

fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

fn failed(error: &dyn std::error::Error) -> Refusal {
    Refusal::new(
        ErrorCode::Failed,
        format!("the answer can't be written: {error}"),
        "",
    )
}

/// The rows as a list of objects, bounds with them; what is NULL or no number is null.
///
/// # Errors
/// When a value has no JSON.
pub fn rows_json(rows: &RecordBatch) -> Result<Json, Refusal> {
    let mut writer = JsonWriter::new()
        .with_explicit_nulls(true)
        .build::<_, JsonArray>(Vec::new());
    let written = writer.write(rows).and_then(|()| writer.finish());
    written.map_err(|error| failed(&error))?;
    let bytes = writer.into_inner();
    if bytes.is_empty() {
        return Ok(json!([]));
    }
    serde_json::from_slice(&bytes).map_err(|error| failed(&error))
}

/// The answer as one JSON object: id, columns, rows, privacy, regions.
///
/// # Errors
/// When a value has no JSON.
pub fn answer_json(answer: &Answer) -> Result<Json, Refusal> {
    let rows = rows_json(&answer.rows)?;
    let record = &answer.record;
    Ok(json!({
        "query_id": record.query_id,
        "columns": record.columns,
        "rows": rows,
        "privacy": record.privacy,
        "regions": record.regions,
    }))
}

fn json_bytes(answer: &Answer) -> Result<Vec<u8>, Refusal> {
    Ok(format!("{:#}\n", answer_json(answer)?).into_bytes())
}

fn csv(rows: &RecordBatch) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let mut bytes = Vec::new();
    CsvWriter::new().build(&mut bytes).write(rows)?;
    Ok(bytes)
}

fn arrow_file(rows: &RecordBatch) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let mut writer = FileWriter::try_new(Vec::new(), &rows.schema())?;
    writer.write(rows)?;
    writer.finish()?;
    writer.into_inner()
}

fn parquet_file(rows: &RecordBatch) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), None)?;
    writer.write(rows)?;
    writer.close()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
