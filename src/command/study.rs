//! `skerry study`

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use skerry_coordinator::{
    answer::Answer,
    client::Client,
    question::Question,
    study::{self, Given, Study},
};
use skerry_proto::{ErrorCode, Refusal};

use super::{
    asking::{Asking, ask},
    block_on,
};
use crate::{
    output::{
        Format, Page, check_terminal, colours, page, plain_table, print, rows_json, write_answer,
    },
    plot::{self, PlotError},
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the studies
    List,
    /// Show a study: its question, parameters, columns, SQL, and how to read it
    Show(ShowArguments),
    /// Run a study: ask its question, print the table, draw the plot
    Run(Box<RunArguments>),
}

#[derive(Debug, Args)]
struct ShowArguments {
    /// A study's name, or a file of your own that ends in .toml
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// A study's name, or a file of your own that ends in .toml
    #[arg(value_name = "NAME")]
    name: String,
    /// A parameter in place of its default, as in days=180; `skerry study show NAME` tells them
    #[arg(long = "param", value_name = "K=V")]
    parameters: Vec<String>,
    /// Write a page with the plot, the table, and how to read them
    #[arg(long, value_name = "FILE", conflicts_with = "explain")]
    html: Option<PathBuf>,
    /// Write the plot
    #[arg(long, value_name = "FILE", conflicts_with = "explain")]
    svg: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

/// A public table says of the data whether they are synthetic; of no cost where it exists, and
/// where it doesn't.
const SYNTHETIC: &str =
    "SELECT MIN(CASE WHEN synthetic THEN 1 ELSE 0 END) AS synthetic FROM municipalities";

impl Arguments {
    /// How a refusal is told of.
    pub fn format(&self) -> Format {
        match &self.action {
            Action::Run(arguments) => arguments.asking.format,
            Action::List | Action::Show(_) => Format::Table,
        }
    }
}

/// Lists, shows or runs.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    match &arguments.action {
        Action::List => print(list(&study::all()?, colours()).trim_end()),
        Action::Show(arguments) => print(shown(&named(&arguments.name)?).trim_end()),
        Action::Run(arguments) => run_study(arguments),
    }
}

/// The study of that name, or in that file.
fn named(name: &str) -> Result<Study, Refusal> {
    if name.ends_with(".toml") {
        return Ok(Study::load(Path::new(name))?);
    }
    study::find(name)
}

fn list(studies: &[Study], colours: bool) -> String {
    let rows: Vec<Vec<String>> = studies
        .iter()
        .map(|study| {
            let tables: Vec<&str> = study.tables.iter().map(|(name, _)| name.as_str()).collect();
            vec![study.name.clone(), study.title.clone(), tables.join(", ")]
        })
        .collect();
    plain_table(&["name", "title", "tables"], &rows, &[], colours)
}

fn shown(study: &Study) -> String {
    let mut text = format!(
        "{}: {}\n\n{}\n\nFrom: {}\nCosts: ε {}{}\n",
        study.name,
        study.title,
        study.question,
        study.source,
        study.epsilon,
        study
            .delta
            .map_or_else(String::new, |delta| format!(", δ {delta}")),
    );
    let indented = |text: &str| {
        let lines = text.trim_end().lines().map(|line| match line {
            "" => String::new(),
            line => format!("  {line}"),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    if !study.parameters.is_empty() {
        let rows: Vec<Vec<String>> = study
            .parameters
            .iter()
            .map(|parameter| {
                vec![
                    parameter.name.clone(),
                    parameter.default.to_string(),
                    parameter.allowed.to_string(),
                    parameter.meaning.clone(),
                ]
            })
            .collect();
        let table = plain_table(
            &["name", "default", "allowed", "meaning"],
            &rows,
            &[],
            false,
        );
        // Writing to a String can't fail.
        let _ = write!(text, "\nParameters\n\n{}\n", indented(&table));
    }
    let pairs = |pairs: Vec<Vec<String>>, names: [&str; 2]| {
        indented(&plain_table(&names, &pairs, &[], false))
    };
    let columns = study.columns.iter();
    let columns = columns.map(|(name, meaning)| vec![name.clone(), meaning.clone()]);
    let columns = pairs(columns.collect(), ["name", "meaning"]);
    let _ = write!(text, "\nColumns of the answer\n\n{columns}\n");
    let tables = study.tables.iter();
    let tables = tables.map(|(name, columns)| vec![name.clone(), columns.join(", ")]);
    let tables = pairs(tables.collect(), ["table", "columns"]);
    let _ = write!(text, "\nWhat it reads\n\n{tables}\n");
    let _ = write!(
        text,
        "\nHow to read it\n\n{}\n\nSQL\n\n{}\n",
        indented(&study.reading),
        indented(study.template())
    );
    text
}

fn run_study(arguments: &RunArguments) -> Result<(), Refusal> {
    let asking = &arguments.asking;
    check_terminal(asking.format)?;
    let study = named(&arguments.name)?;
    let given = Given::parse(&arguments.parameters)?;
    let question = asking.question(study.ask(&given)?)?;
    let (answer, synthetic) = block_on(async {
        let client = asking.connection.open().await?;
        let answer = ask(&client, &question).await?;
        let synthetic = arguments.html.is_some() && is_synthetic(&client).await;
        Ok((answer, synthetic))
    })?;
    write_answer(&answer, asking.format)?;
    if arguments.html.is_none() && arguments.svg.is_none() {
        return Ok(());
    }
    let svg = drawn(&study, &answer)?;
    if let Some(file) = &arguments.svg {
        write(file, &svg)?;
    }
    if let Some(file) = &arguments.html {
        let html = page(&Page {
            study: &study,
            values: &study.values(&given)?,
            sql: &question.sql,
            answer: &answer,
            svg: &svg,
            synthetic,
        });
        write(file, &html)?;
    }
    Ok(())
}

/// Whether the federation's public tables say that the data are synthetic. Where they don't say, no.
async fn is_synthetic(client: &Client) -> bool {
    let Ok(answer) = client.query(&Question::new(SYNTHETIC)).await else {
        return false;
    };
    rows_json(&answer.rows).is_ok_and(|rows| rows[0]["synthetic"] == 1)
}

fn drawn(study: &Study, answer: &Answer) -> Result<String, Refusal> {
    let picture = plot::draw(&study.plot, &rows_json(&answer.rows)?).map_err(|error| {
        let hint = match &error {
            PlotError::Specification(_) => {
                format!("look at `plot` in the file of study `{}`", study.name)
            }
            PlotError::Engine(_) => String::new(),
        };
        Refusal::new(ErrorCode::Failed, error.to_string(), hint)
    })?;
    for warning in &picture.warnings {
        tracing::warn!("the plot of study {}: {warning}", study.name);
    }
    Ok(picture.svg)
}

fn write(file: &Path, text: &str) -> Result<(), Refusal> {
    fs::write(file, text).map_err(|error| {
        Refusal::new(
            ErrorCode::Failed,
            format!("{} can't be written: {error}", file.display()),
            "the same study again is answered from the store, and costs nothing",
        )
    })
}
