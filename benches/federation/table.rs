//! A table for people, on the terminal and in Markdown.

use comfy_table::{CellAlignment, Table as Drawn, presets};

/// What stands in rows and columns.
#[derive(Debug)]
pub struct Table {
    /// What it is about.
    pub title: String,
    /// The columns' names.
    pub columns: Vec<String>,
    /// As many texts each as there are columns; the first is the row's name.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// With no rows yet.
    pub fn new<T: Into<String>>(
        title: impl Into<String>,
        columns: impl IntoIterator<Item = T>,
    ) -> Self {
        Self {
            title: title.into(),
            columns: columns.into_iter().map(Into::into).collect(),
            rows: vec![],
        }
    }

    /// For the terminal.
    pub fn print(&self) {
        let mut table = Drawn::new();
        table.load_preset(presets::UTF8_FULL_CONDENSED);
        table.set_header(&self.columns);
        for row in &self.rows {
            table.add_row(row);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{}\n{table}\n", self.title);
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = format!("**{}**\n\n{}", self.title, line(&self.columns));
        let rules = self.columns.iter().enumerate();
        let rules: Vec<String> = rules
            .map(|(place, _)| if place == 0 { "---" } else { "--:" }.to_owned())
            .collect();
        text.push_str(&line(&rules));
        for row in &self.rows {
            text.push_str(&line(row));
        }
        text
    }
}

/// Three digits, or all before the point.
pub fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// A number that may not be known.
pub fn known(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), number)
}

/// Memory in MiB.
pub fn mebibytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "–".to_owned(), |bytes| (bytes >> 20).to_string())
}

/// With a space between thousands.
pub fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}
