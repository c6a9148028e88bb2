//! A study's answer as one page: the picture, the table, how to read it, what it cost. It has no
//! scripts and asks for nothing outside itself.

use std::fmt::Write as _;

use skerry_coordinator::{
    answer::Answer,
    study::{Study, Value},
};

use super::{
    privacy_lines,
    table::{Shown, shown},
};

/// What a page shows.
#[derive(Debug)]
pub struct Page<'a> {
    /// The study that was run.
    pub study: &'a Study,
    /// Its parameters, with the values that they had.
    pub values: &'a [(&'a str, Value)],
    /// The SQL that was asked.
    pub sql: &'a str,
    /// What came of it.
    pub answer: &'a Answer,
    /// The picture: an `<svg>` element.
    pub svg: &'a str,
    /// Whether the federation says of its data that no person in them is real.
    pub synthetic: bool,
}

const STYLE: &str = "\
body{font:16px/1.5 Helvetica,Arial,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#222}\
h1{font-size:1.6rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}.lead{font-size:1.15rem;margin:.5rem 0}\
figure{margin:1.5rem 0;overflow-x:auto}table{border-collapse:collapse;font-size:.9rem}\
td,th{padding:.2rem .8rem;border-bottom:1px solid #ddd;text-align:left;font-variant-numeric:tabular-nums}\
.right{text-align:right}.interval{color:#666}pre{background:#f6f6f6;padding:1rem;overflow-x:auto;font-size:.85rem}\
.scroll{overflow-x:auto}.note{color:#666;font-size:.9rem}\
.synthetic{background:#fff3cd;border:1px solid #e0c35c;padding:.4rem .8rem;display:inline-block;margin:.5rem 0}";

/// The page as HTML.
#[must_use]
pub fn page(page: &Page<'_>) -> String {
    let study = page.study;
    let title = escaped(&study.title);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p class=\"lead\">{}</p>\n",
        escaped(&study.question)
    );
    if page.synthetic {
        html.push_str("<p class=\"synthetic\">Synthetic data: no person in them is real.</p>\n");
    }
    // Writing to a String can't fail.
    let _ = write!(
        html,
        "<figure>{}</figure>\n<h2>How to read it</h2>\n",
        page.svg
    );
    for paragraph in study.reading.split("\n\n") {
        let _ = writeln!(html, "<p>{}</p>", escaped(paragraph.trim()));
    }
    table(&mut html, page.answer);
    pairs(
        &mut html,
        "Columns",
        study
            .columns
            .iter()
            .map(|(name, meaning)| [name.clone(), meaning.clone()]),
    );
    pairs(
        &mut html,
        "Parameters",
        study
            .parameters
            .iter()
            .zip(page.values)
            .map(|(parameter, (name, value))| {
                let meaning = format!("{value}: {}", parameter.meaning);
                [(*name).to_owned(), meaning]
            }),
    );
    let _ = write!(
        html,
        "<h2>What it cost</h2>\n<pre>{}</pre>\n<h2>The question in SQL</h2>\n<pre>{}</pre>\n\
         <p class=\"note\">Study <code>{}</code>. From: {}.</p>\n</body>\n</html>\n",
        escaped(privacy_lines(page.answer).trim_end()),
        escaped(page.sql.trim()),
        escaped(&study.name),
        escaped(study.source.trim_end_matches('.')),
    );
    html
}

fn table(html: &mut String, answer: &Answer) {
    let (header, rows) = shown(answer);
    html.push_str("<h2>Figures</h2>\n<div class=\"scroll\"><table>\n<thead>");
    row(html, "th", &header);
    html.push_str("</thead>\n<tbody>\n");
    for cells in &rows {
        row(html, "td", cells);
    }
    html.push_str(
        "</tbody>\n</table></div>\n<p class=\"note\">Beside each figure that hangs on noise: the \
         interval that holds the figure without noise in 95 of 100 cases.</p>\n",
    );
}

fn row(html: &mut String, element: &str, cells: &[Shown]) {
    html.push_str("<tr>");
    for cell in cells {
        let class = match (cell.interval, cell.right) {
            (true, _) => " class=\"interval\"",
            (false, true) => " class=\"right\"",
            (false, false) => "",
        };
        let text = escaped(&cell.text);
        let _ = write!(html, "<{element}{class}>{text}</{element}>");
    }
    html.push_str("</tr>\n");
}

fn pairs(html: &mut String, title: &str, rows: impl Iterator<Item = [String; 2]>) {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return;
    }
    let _ = write!(
        html,
        "<h2>{title}</h2>\n<div class=\"scroll\"><table>\n<tbody>\n"
    );
    for [name, meaning] in rows {
        let (name, meaning) = (escaped(&name), escaped(&meaning));
        let _ = writeln!(html, "<tr><th>{name}</th><td>{meaning}</td></tr>");
    }
    html.push_str("</tbody>\n</table></div>\n");
}

/// A text that means itself, between tags and in attributes.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}
