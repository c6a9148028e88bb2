//! Answers for people: aligned, each noisy figure beside its interval.

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _},
    compute::cast,
    datatypes::{DataType, Float64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde_json::Value as Json;
use skerry_coordinator::answer::Answer;

use super::figure::{exact, short, with_spread};

/// One column of the statement, with its bounds when it is a noisy number.
struct Column<'a> {
    name: &'a str,
    values: &'a ArrayRef,
    noisy: bool,
    bounds: Option<Bounds>,
    /// Of chance and noise together, where that was asked for.
    total: Option<Bounds>,
}

struct Bounds {
    low: ArrayRef,
    high: ArrayRef,
}

/// One cell of an answer as people read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What stands there.
    pub text: String,
    /// Whether it stands to the right, as numbers do.
    pub right: bool,
    /// Whether it is the interval of the number to its left.
    pub interval: bool,
}

/// The names above an answer's columns, and its rows. Of each noisy number the interval stands beside
/// it; its standard deviation is left to the other formats.
#[must_use]
pub fn shown(answer: &Answer) -> (Vec<Shown>, Vec<Vec<Shown>>) {
    let columns = columns(answer);
    let figure = |column: &Column<'_>, text: String| Shown {
        text,
        right: column.values.data_type().is_numeric(),
        interval: false,
    };
    let beside = |text: String| Shown {
        text,
        right: false,
        interval: true,
    };
    let mut header = Vec::new();
    for column in &columns {
        header.push(figure(column, column.name.to_owned()));
        if column.bounds.is_some() {
            header.push(beside("95 %".to_owned()));
        }
        if column.total.is_some() {
            header.push(beside("with chance".to_owned()));
        }
    }
    let rows = (0..answer.rows.num_rows()).map(|row| {
        let mut cells = Vec::new();
        for column in &columns {
            cells.push(figure(column, value(column, row)));
            for bounds in column.bounds.iter().chain(&column.total) {
                cells.push(beside(interval(column, bounds, row)));
            }
        }
        cells
    });
    let rows = rows.collect();
    (header, rows)
}

/// The rows as an aligned table.
#[must_use]
pub fn answer_table(answer: &Answer, colours: bool) -> String {
    let (header, rows) = shown(answer);
    let mut table = empty(colours);
    let header = header
        .into_iter()
        .map(|name| aligned(name.text, name.right))
        .collect();
    set_header(&mut table, header, colours);
    for row in rows {
        let cells = row.into_iter().map(|shown| {
            let cell = aligned(shown.text, shown.right);
            if colours && shown.interval {
                cell.fg(Color::DarkGrey)
            } else {
                cell
            }
        });
        table.add_row(cells);
    }
    trimmed(&table)
}

/// Rows of texts as a table; columns whose name is in `right` are aligned to the right.
#[must_use]
pub fn plain_table(header: &[&str], rows: &[Vec<String>], right: &[&str], colours: bool) -> String {
    let mut table = empty(colours);
    let names = header
        .iter()
        .map(|name| aligned((*name).to_owned(), right.contains(name)));
    set_header(&mut table, names.collect(), colours);
    for row in rows {
        let cells = row
            .iter()
            .zip(header)
            .map(|(text, name)| aligned(text.clone(), right.contains(name)));
        table.add_row(cells);
    }
    trimmed(&table)
}

/// What the answer cost, region by region, and who is missing.
#[must_use]
pub fn privacy_lines(answer: &Answer) -> String {
    let record = &answer.record;
    let mut rows = Vec::new();
    for (region, charge) in &record.privacy.regions {
        let number = |key: &str| charge.get(key).and_then(Json::as_f64).unwrap_or_default();
        let charged = charge
            .get("charged")
            .and_then(Json::as_bool)
            .unwrap_or(true);
        rows.push(vec![
            region.clone(),
            charge
                .get("mechanism")
                .and_then(Json::as_str)
                .unwrap_or("")
                .to_owned(),
            if charged {
                short(number("epsilon"))
            } else {
                "0 (asked before)".to_owned()
            },
            short(number("epsilon_left")),
        ]);
    }
    let mut text = String::new();
    if !rows.is_empty() {
        let header = ["region", "noise", "ε charged", "ε left"];
        text.push_str(&plain_table(
            &header,
            &rows,
            &["ε charged", "ε left"],
            false,
        ));
        text.push('\n');
    }
    for clipping in &record.clipping {
        for bound in &clipping.bounds {
            text.push_str(&format!(
                "clipped: {} counts up to {} of a person{}\n",
                bound.aggregate,
                short(bound.most_of_a_person),
                bound.low_by.map_or(String::new(), |low| format!(
                    "; it may be low by about {} %",
                    short(low * 100.0)
                )),
            ));
        }
        text.push_str(&format!(
            "clipped: {} to {} persons had more\n",
            short(clipping.persons_low),
            short(clipping.persons_high)
        ));
    }
    for threshold in &record.thresholds {
        text.push_str(&format!("threshold: {}\n", threshold.note));
    }
    let privacy = &record.privacy;
    text.push_str(&format!(
        "query {} · ε {}, δ {} for a person in one region",
        record.query_id,
        short(privacy.epsilon),
        short(privacy.delta)
    ));
    if privacy.regions_per_person > 1 {
        text.push_str(&format!(
            "; ε {}, δ {} in {}",
            short(privacy.epsilon_for_a_person_in_k_regions),
            short(privacy.delta_for_a_person_in_k_regions),
            privacy.regions_per_person
        ));
    }
    text.push('\n');
    for column in &record.columns {
        if let Some(clamped) = &column.clamped {
            let range = match clamped.high {
                Some(high) => format!("{} to {}", short(clamped.low), short(high)),
                None => format!("{} or more", short(clamped.low)),
            };
            text.push_str(&format!(
                "{}: kept at {range} as asked, which moved {} of its values; sums of them are biased\n",
                column.name, clamped.rows
            ));
        }
    }
    if !record.regions.missing.is_empty() {
        let missing: Vec<&str> = record
            .regions
            .missing
            .iter()
            .map(|id| id.as_str())
            .collect();
        text.push_str(&format!("NOT in this answer: {}\n", missing.join(", ")));
    }
    text
}

fn columns(answer: &Answer) -> Vec<Column<'_>> {
    let rows = &answer.rows;
    let noisy = |name: &str| {
        let columns = &answer.record.columns;
        columns
            .iter()
            .any(|column| column.name == name && column.noisy)
    };
    let schema = rows.schema_ref();
    // What is known of a column follows it, up to the next one of the statement.
    let number = |column: usize, role: &str| {
        let following = schema.fields().iter().enumerate().skip(column + 1);
        let (index, _) = following
            .take_while(|(_, field)| Answer::role(field) != "value")
            .find(|(_, field)| Answer::role(field) == role)?;
        cast(rows.column(index), &DataType::Float64).ok()
    };
    let bounds = |column: usize, low: &str, high: &str| {
        let (low, high) = number(column, low).zip(number(column, high))?;
        Some(Bounds { low, high })
    };
    let mut columns = Vec::new();
    for (index, field) in schema.fields().iter().enumerate() {
        if Answer::role(field) != "value" {
            continue;
        }
        columns.push(Column {
            name: field.name(),
            values: rows.column(index),
            noisy: noisy(field.name()),
            bounds: bounds(index, "low", "high"),
            total: bounds(index, "total_low", "total_high"),
        });
    }
    columns
}

fn at(array: &ArrayRef, row: usize) -> Option<f64> {
    let numbers = array.as_primitive_opt::<Float64Type>()?;
    numbers.is_valid(row).then(|| numbers.value(row))
}

impl Bounds {
    fn at(&self, row: usize) -> Option<(f64, f64)> {
        Some((at(&self.low, row)?, at(&self.high, row)?))
    }
}

fn value(column: &Column<'_>, row: usize) -> String {
    if column.values.is_null(row) {
        return "NULL".to_owned();
    }
    if column.values.data_type().is_floating()
        && let Ok(numbers) = cast(column.values, &DataType::Float64)
        && let Some(number) = at(&numbers, row)
    {
        return match column.bounds.as_ref().and_then(|bounds| bounds.at(row)) {
            Some((low, high)) => with_spread(number, (high - low) / 2.0),
            // Noisy by an unknown amount: a third digit would say too much.
            None if column.noisy => with_spread(number, number.abs()),
            None => exact(number),
        };
    }
    let options = FormatOptions::default();
    ArrayFormatter::try_new(column.values, &options)
        .map_or_else(|_| "?".to_owned(), |format| format.value(row).to_string())
}

fn interval(column: &Column<'_>, bounds: &Bounds, row: usize) -> String {
    let whole = column.values.data_type().is_integer();
    let show = |bound: f64, spread: f64| {
        if whole && bound.fract() == 0.0 {
            format!("{bound:.0}")
        } else {
            with_spread(bound, spread)
        }
    };
    match (at(&bounds.low, row), at(&bounds.high, row)) {
        (Some(low), Some(high)) => {
            let spread = (high - low) / 2.0;
            format!("{} … {}", show(low, spread), show(high, spread))
        }
        // Of a ratio whose noise reaches zero below the line, nothing can be said on that side.
        (Some(low), None) => format!("from {}", show(low, low.abs())),
        (None, Some(high)) => format!("to {}", show(high, high.abs())),
        (None, None) if column.values.is_null(row) => String::new(),
        (None, None) => "unknown".to_owned(),
    }
}

fn empty(colours: bool) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    if colours {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
}

fn set_header(table: &mut Table, names: Vec<Cell>, colours: bool) {
    let bold = |cell: Cell| {
        if colours {
            cell.add_attribute(Attribute::Bold)
        } else {
            cell
        }
    };
    table.set_header(names.into_iter().map(bold));
}

fn aligned(text: String, right: bool) -> Cell {
    let alignment = if right {
        CellAlignment::Right
    } else {
        CellAlignment::Left
    };
    Cell::new(text).set_alignment(alignment)
}

/// Without the blank that pads the first column, and without blanks at the ends of lines.
fn trimmed(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        let line = line.strip_prefix(' ').unwrap_or(&line);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
