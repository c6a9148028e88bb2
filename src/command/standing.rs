//! `skerry standing`

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value as Json, json};
use skerry_coordinator::{
    config::CoordinatorConfig,
    standing::{
        Status,
        band::Verdict,
        report::{FigureReport, Report, WeekReport, reports},
    },
};
use skerry_proto::{ErrorCode, Refusal, nearest::suggest};

use super::connection::ListFormat;
use crate::{
    federation::{COORDINATOR_FILE, load_coordinator},
    output::{colours, plain_table, print, print_json, short},
};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    what: What,
    /// The coordinator's configuration
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        conflicts_with = "federation"
    )]
    config: Option<PathBuf>,
    /// A federation's folder; left out: this folder
    #[arg(long, global = true, value_name = "DIR")]
    federation: Option<PathBuf>,
    /// How it is written
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub format: ListFormat,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What is asked by itself, how far it is and what it costs
    List,
    /// The weeks of one standing question: figures, bands, alarms
    Show {
        /// What it is called
        name: String,
    },
}

/// Shows standing questions, from the files of the coordinator on this machine.
pub fn run(arguments: &Arguments) -> Result<(), Refusal> {
    let config = match (&arguments.config, &arguments.federation) {
        (Some(file), _) => load_coordinator(file)?,
        (None, Some(folder)) => load_coordinator(&folder.join(COORDINATOR_FILE))?,
        (None, None) => load_coordinator(COORDINATOR_FILE.as_ref())?,
    };
    let reports = read(&config)?;
    let json = arguments.format == ListFormat::Json;
    match &arguments.what {
        What::List if json => print_json(&json!({ "standing": written(&reports)? })),
        What::List if reports.is_empty() => {
            print("no [[standing]] in the coordinator's configuration")
        }
        What::List => print(&list(&reports)),
        What::Show { name } => {
            let Some(report) = reports.iter().find(|report| report.name == *name) else {
                let known: Vec<&str> = reports.iter().map(|report| report.name.as_str()).collect();
                return Err(Refusal::new(
                    ErrorCode::InvalidParameter,
                    format!("there is no standing question `{name}`"),
                    suggest(name, &known),
                ));
            };
            if json {
                return print_json(&written(report)?);
            }
            print(&show(report))
        }
    }
}

fn read(config: &CoordinatorConfig) -> Result<Vec<Report>, Refusal> {
    reports(&config.standing_state, &config.standing).map_err(|error| {
        Refusal::new(
            ErrorCode::Configuration,
            format!("{}: {error}", config.standing_state.display()),
            "",
        )
    })
}

fn written(value: &impl serde::Serialize) -> Result<Json, Refusal> {
    serde_json::to_value(value)
        .map_err(|error| Refusal::new(ErrorCode::Unsupported, error.to_string(), ""))
}

fn list(reports: &[Report]) -> String {
    let rows: Vec<Vec<String>> = reports
        .iter()
        .map(|report| {
            let alarmed = report.weeks.iter().filter(|week| alarms(week));
            vec![
                report.name.clone(),
                report.project.clone(),
                format!("{} of {}", report.weeks.len(), report.weeks_in_all),
                alarmed.count().to_string(),
                next(report),
                short(report.epsilon_per_week),
                short(report.epsilon_spent),
                short(report.epsilon),
            ]
        })
        .collect();
    let header = [
        "standing question",
        "project",
        "weeks asked",
        "alarms",
        "next",
        "ε a week",
        "ε spent",
        "ε in all",
    ];
    let right = ["weeks asked", "alarms", "ε a week", "ε spent", "ε in all"];
    let mut text = plain_table(&header, &rows, &right, colours());
    for report in reports {
        if let Some(lasts) = &report.lasts {
            text.push_str(&format!("{}: {lasts}\n", report.name));
        }
    }
    text.trim_end().to_owned()
}

fn alarms(week: &WeekReport) -> bool {
    week.figures.iter().any(|figure| figure.verdict.alarms())
}

fn next(report: &Report) -> String {
    report.next.map_or_else(
        || "over".to_owned(),
        |next| next.format("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

fn show(report: &Report) -> String {
    let mut rows = Vec::new();
    for week in &report.weeks {
        if week.figures.is_empty() {
            let mut row = vec![week.week.to_string()];
            row.resize(report.group_by.len() + 5, String::new());
            row.push(progress(week).to_owned());
            rows.push(row);
        }
        for figure in &week.figures {
            rows.push(figure_row(report, week, figure));
        }
    }
    let mut header = vec!["week"];
    header.extend(report.group_by.iter().map(String::as_str));
    let interval = "95 % of noise";
    header.extend([&report.figure, interval, "expected", "band", ""]);
    let right = [&report.figure, interval, "expected", "band"];
    let mut text = plain_table(&header, &rows, &right, colours());
    text.push_str(&format!(
        "ε {} a week, {} spent of {}; {} weeks left, next {}\n",
        short(report.epsilon_per_week),
        short(report.epsilon_spent),
        short(report.epsilon),
        report.weeks_left,
        next(report),
    ));
    if let Some(lasts) = &report.lasts {
        text.push_str(&format!("{lasts}\n"));
    }
    for week in &report.weeks {
        if let Some(reason) = &week.reason {
            let again = week.again.map_or_else(String::new, |again| {
                format!("; again {}", again.format("%Y-%m-%d %H:%M UTC"))
            });
            text.push_str(&format!("week {}: {reason}{again}\n", week.week));
        }
    }
    for alert in &report.untold {
        text.push_str(&format!(
            "alert {} is not told: {}\n",
            alert.id,
            alert.reason.as_deref().unwrap_or("not tried yet")
        ));
    }
    text.trim_end().to_owned()
}

fn progress(week: &WeekReport) -> &'static str {
    match week.status {
        Status::Planned => "is asked",
        Status::Partial => "regions are missing",
        Status::Answered => "answered",
        Status::GivenUp => "given up",
    }
}

fn figure_row(report: &Report, week: &WeekReport, figure: &FigureReport) -> Vec<String> {
    let mut row = vec![week.week.to_string()];
    row.extend(report.group_by.iter().map(|name| {
        let value = figure.group.get(name).and_then(Json::as_str);
        value.unwrap_or("").to_owned()
    }));
    let tenths = |number: f64| short((number * 10.0).round() / 10.0);
    let or_dash = |number: Option<f64>| number.map_or_else(|| "–".to_owned(), tenths);
    row.push(short(figure.figure));
    row.push(format!("{} to {}", short(figure.low), short(figure.high)));
    row.push(or_dash(figure.expected));
    row.push(match (figure.band_low, figure.band_high) {
        (Some(low), Some(high)) => format!("{} to {}", tenths(low), tenths(high)),
        (_, high) => or_dash(high),
    });
    let verdict = match figure.verdict {
        Verdict::Learning => "learning",
        Verdict::Within => "",
        Verdict::Above => "ABOVE",
        Verdict::Below => "BELOW",
    };
    row.push(verdict.to_owned());
    row
}
