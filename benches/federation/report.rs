//! The results: a table for people, a file for programs, a picture.

use std::fmt::Write as _;

use datafusion::DATAFUSION_VERSION;
use serde_json::{Value, json};

use crate::{
    Failure, Options, Setting, Side,
    measure::{Run, Summary, machine, show_memory, summary},
    questions::Wording,
};

/// The times of one question in one setting.
pub struct Measured {
    /// What was asked.
    pub wording: &'static Wording,
    /// How many at once.
    pub at_once: usize,
    /// By side; plain DataFusion first.
    pub runs: Vec<(Side, Vec<Run>)>,
    /// Why Skerry doesn't answer it.
    pub refused: Option<String>,
}

impl Measured {
    fn plain(&self) -> Option<Summary> {
        let runs = self.runs.iter().find(|(side, _)| *side == Side::Plain);
        runs.map(|(_, runs)| summary(runs))
    }

    /// Skerry's sides, each with its time as a ratio to plain DataFusion's.
    fn ratios(&self) -> Vec<(Side, Summary, f64)> {
        let Some(plain) = self.plain() else {
            return vec![];
        };
        let others = self.runs.iter().filter(|(side, _)| *side != Side::Plain);
        others
            .map(|(side, runs)| {
                let own = summary(runs);
                let ratio = own.milliseconds / plain.milliseconds;
                (*side, own, ratio)
            })
            .collect()
    }
}

/// Prints one setting's table.
pub fn print(setting: &Setting, measured: &[Measured], options: &Options) {
    let mut table = comfy_table::Table::new();
    table.set_header([
        "question",
        "at once",
        "rows",
        "plain ms",
        "side",
        "ms",
        "ratio",
        "a second",
        "plain cpu ms",
        "cpu ms",
        "peak MiB",
    ]);
    for question in measured {
        if let Some(refusal) = &question.refused {
            println!("{} is not answered: {refusal}", question.wording.name);
            continue;
        }
        let Some(plain) = question.plain() else {
            continue;
        };
        let time = |milliseconds: Option<f64>| {
            milliseconds.map_or_else(|| "unknown".to_owned(), |time| format!("{time:.1}"))
        };
        for (side, own, ratio) in question.ratios() {
            table.add_row([
                question.wording.name.to_owned(),
                question.at_once.to_string(),
                format!("{} {}", plain.rows, own.rows),
                time(Some(plain.milliseconds)),
                side.name().to_owned(),
                time(Some(own.milliseconds)),
                format!("{ratio:.2}"),
                format!("{:.1}", own.a_second),
                time(plain.processor),
                time(own.processor),
                show_memory(own.peak_bytes),
            ]);
        }
    }
    println!("{table}");
    for side in [Side::Prepared, Side::Unprepared] {
        if let Some(mean) = geometric_mean(measured, side) {
            println!("{}: geometric mean of the ratios {mean:.2}", side.name());
        }
    }
    println!(
        "{} episodes of {} people, {} regions, {} threads, {} runs, DataFusion {DATAFUSION_VERSION}\n",
        setting.episodes,
        setting.people,
        setting.regions.len(),
        setting.threads,
        options.runs
    );
}

/// Of the questions asked one at a time, but for the one that only shows the overhead.
fn geometric_mean(measured: &[Measured], side: Side) -> Option<f64> {
    let ratios: Vec<f64> = measured
        .iter()
        .filter(|question| question.at_once == 1 && !question.wording.name.starts_with("Q0"))
        .flat_map(Measured::ratios)
        .filter(|(own, _, _)| *own == side)
        .map(|(_, _, ratio)| ratio)
        .collect();
    let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (logarithms / ratios.len() as f64).exp())
}

/// One setting for the results' file.
pub fn json(setting: &Setting, measured: &[Measured]) -> Value {
    let mut questions = vec![];
    for question in measured {
        let mut sides = serde_json::Map::new();
        for (side, runs) in &question.runs {
            let all = summary(runs);
            let times: Vec<&f64> = runs.iter().flat_map(|run| &run.milliseconds).collect();
            let of_side = json!({
                "median_ms": all.milliseconds,
                "a_second": all.a_second,
                "processor_ms": all.processor,
                "peak_bytes": all.peak_bytes,
                "ms": times,
            });
            sides.insert(side.name().to_owned(), of_side);
        }
        let ratios: serde_json::Map<String, Value> = question
            .ratios()
            .into_iter()
            .map(|(side, _, ratio)| (side.name().to_owned(), json!(ratio)))
            .collect();
        questions.push(json!({
            "question": question.wording.name,
            "sql": question.wording.skerry,
            "at_once": question.at_once,
            "refused": question.refused,
            "ratios": ratios,
            "sides": sides,
        }));
    }
    json!({
        "people": setting.people,
        "episodes": setting.episodes,
        "regions": setting.regions,
        "threads": setting.threads,
        "geometric_mean": geometric_mean(measured, Side::Prepared),
        "questions": questions,
    })
}

/// Writes the file of all settings.
pub fn write(options: &Options, settings: &[Value]) -> Result<(), Failure> {
    let Some(out) = &options.out else {
        return Ok(());
    };
    let text = json!({
        "command": std::env::args().collect::<Vec<_>>(),
        "machine": machine(),
        "skerry": env!("CARGO_PKG_VERSION"),
        "datafusion": DATAFUSION_VERSION,
        "settings": settings,
    });
    std::fs::write(out, format!("{text:#}\n"))?;
    let picture = out.with_extension("svg");
    std::fs::write(picture, plot(settings))?;
    Ok(())
}

/// A bar for each question and setting: Skerry's time over prepared tables as a ratio to plain
/// DataFusion's.
fn plot(settings: &[Value]) -> String {
    const ROW: usize = 18;
    const LEFT: usize = 470;
    const UNIT: f64 = 160.0;
    const WIDEST: f64 = 4.0;
    let mut bars: Vec<(String, f64)> = vec![];
    for setting in settings {
        let regions = setting["regions"].as_array().map_or(0, Vec::len);
        for question in setting["questions"].as_array().into_iter().flatten() {
            let ratio = question["ratios"][Side::Prepared.name()].as_f64();
            let (Some(name), Some(ratio)) = (question["question"].as_str(), ratio) else {
                continue;
            };
            bars.push((
                format!(
                    "{name}, {} episodes, {regions} regions, {} at once",
                    setting["episodes"], question["at_once"]
                ),
                ratio,
            ));
        }
    }
    let width = LEFT as f64 + UNIT * WIDEST + 60.0;
    let height = (bars.len() + 2) * ROW;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n"
    );
    // Writing to a String can't fail.
    for (index, (name, ratio)) in bars.iter().enumerate() {
        let y = (index + 1) * ROW;
        let length = UNIT * ratio.min(WIDEST);
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{LEFT}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"#4a7a8c\"/>\
             <text x=\"{:.1}\" y=\"{}\">{ratio:.2}</text>",
            LEFT - 8,
            y + 12,
            ROW - 4,
            LEFT as f64 + length + 6.0,
            y + 12,
        );
    }
    let one = LEFT as f64 + UNIT;
    let _ = writeln!(
        svg,
        "<line x1=\"{one}\" y1=\"{ROW}\" x2=\"{one}\" y2=\"{height}\" stroke=\"black\"/>\
         <text x=\"{one}\" y=\"13\" text-anchor=\"middle\">as long as plain DataFusion</text>\n</svg>"
    );
    svg
}
