//! What the results come to, in pictures: drawn by Vega-Lite, as studies are.

use std::{fs, path::Path};

use serde_json::{Value, json};
use skerry::plot;

use crate::{
    Failure,
    results::{Asked, Results, Side},
    tables::{counts, different, find, mean, median, size},
};

/// A picture in the folder of figures.
pub struct Figure {
    /// Its file.
    pub file: &'static str,
    /// What is seen in it.
    pub title: &'static str,
}

/// Draws what there are results for.
pub fn draw(results: &Results, folder: &Path) -> Result<Vec<Figure>, Failure> {
    let asked: Vec<&Asked> = results.asked().collect();
    let mut drawn = vec![];
    for (file, title, specification, rows) in [
        (
            "ratios.svg",
            "Time as a ratio to plain DataFusion's, five regions",
            ratios(),
            ratio_rows(&asked),
        ),
        (
            "growth.svg",
            "Time by the number of episodes, five regions",
            growth(),
            growth_rows(&asked),
        ),
        (
            "regions.svg",
            "Time with all people in more regions, as a ratio to one region; black is the geometric mean",
            regions(),
            region_rows(&asked),
        ),
        (
            "at-once.svg",
            "Questions a second by how many are asked at once",
            at_once(),
            at_once_rows(&asked),
        ),
    ] {
        if rows.is_empty() {
            continue;
        }
        let mut specification = specification;
        // Where Helvetica is missing, texts are wider than Vega was told.
        specification["padding"] = json!({"left": 45, "right": 60, "top": 5, "bottom": 5});
        let picture = plot::draw(&specification, &Value::from(rows))?;
        for warning in &picture.warnings {
            println!("{file}: {warning}");
        }
        fs::create_dir_all(folder)?;
        fs::write(folder.join(file), picture.svg + "\n")?;
        drawn.push(Figure { file, title });
    }
    Ok(drawn)
}

/// Of two sides and three.
const COLOURS: [&str; 3] = ["#3b75af", "#d98e04", "#5aa469"];

fn name(side: Side) -> &'static str {
    side.name()
}

fn ratios() -> Value {
    json!({
        "width": 420, "height": {"step": 15},
        "encoding": {
            "y": {"field": "question", "type": "nominal", "title": null, "axis": {"labelLimit": 280}},
            "yOffset": {"field": "episodes", "type": "nominal"},
        },
        "layer": [
            {"mark": {"type": "bar"}, "encoding": {
                "x": {"field": "ratio", "type": "quantitative", "title": "Skerry's time / plain DataFusion's"},
                "color": {"field": "episodes", "type": "nominal", "title": "episodes",
                          "scale": {"range": ["#a9c7e3", "#5f97cb", "#2b5d91"]}}}},
            {"mark": {"type": "text", "align": "left", "dx": 3, "fontSize": 10}, "encoding": {
                "x": {"field": "ratio", "type": "quantitative"},
                "text": {"field": "ratio", "type": "quantitative", "format": ".2f"}}},
            {"mark": {"type": "rule", "color": "#444", "strokeDash": [4, 3]}, "encoding": {
                "x": {"datum": 1}, "y": null, "yOffset": null}},
        ],
    })
}

fn ratio_rows(asked: &[&Asked]) -> Vec<Value> {
    let mut rows = vec![];
    for people in sorted(
        asked
            .iter()
            .filter(|one| one.regions == 5)
            .map(|one| one.people),
    ) {
        for question in different(asked.iter().map(|one| &one.question)) {
            let time = |side| find(asked, (people, 5, 1), question, side).and_then(median);
            let (Some(own), Some(plain)) = (time(Side::Prepared), time(Side::Plain)) else {
                continue;
            };
            if counts(question) {
                let ratio = own / plain;
                rows.push(json!({"question": question, "episodes": size(people), "ratio": ratio}));
            }
        }
    }
    rows
}

fn growth() -> Value {
    json!({
        "columns": 3,
        "facet": {"field": "side", "type": "nominal", "title": null,
                  "sort": [name(Side::Plain), name(Side::Prepared), name(Side::Generic)]},
        "spec": {
            "width": 210, "height": 280,
            "encoding": {
                "x": {"field": "episodes", "type": "quantitative", "scale": {"type": "log"}, "title": "episodes",
                      "axis": {"values": [1e6, 1e7, 1e8], "format": "~s"}},
                "y": {"field": "milliseconds", "type": "quantitative", "scale": {"type": "log"}, "title": "milliseconds",
                      "axis": {"values": [1, 10, 100, 1000, 10000, 100_000], "format": "~s"}},
                "color": {"field": "question", "type": "nominal", "title": null, "scale": {"scheme": "dark2"},
                          "legend": {"labelLimit": 260}},
            },
            "layer": [
                {"mark": {"type": "line"}},
                {"mark": {"type": "point", "filled": true, "size": 30, "opacity": 1}},
            ],
        },
    })
}

fn growth_rows(asked: &[&Asked]) -> Vec<Value> {
    let here = || {
        asked
            .iter()
            .filter(|one| one.regions == 5 && one.at_once == 1)
    };
    let sizes = different(here().map(|one| one.people));
    if sizes.len() < 2 {
        return vec![];
    }
    let mut rows = vec![];
    for people in sizes {
        for question in different(here().map(|one| &one.question)) {
            for side in [Side::Plain, Side::Prepared, Side::Generic] {
                let found = find(asked, (people, 5, 1), question, side);
                let Some((one, time)) = found.and_then(|one| Some((one, median(one)?))) else {
                    continue;
                };
                rows.push(json!({
                    "question": question, "side": name(side), "episodes": one.episodes,
                    "milliseconds": time,
                }));
            }
        }
    }
    rows
}

fn regions() -> Value {
    json!({
        "facet": {"field": "episodes", "type": "nominal", "title": "episodes"},
        "spec": {
            "width": 240, "height": 260,
            "layer": [
                {"transform": [{"filter": "datum.question != 'mean'"}],
                 "mark": {"type": "line", "opacity": 0.75, "point": {"size": 18}},
                 "encoding": {
                    "x": {"field": "regions", "type": "quantitative", "scale": {"type": "log", "base": 2},
                          "title": "regions on one machine", "axis": {"values": [1, 2, 5, 8, 16, 32], "format": "d"}},
                    "y": {"field": "ratio", "type": "quantitative", "title": "time / time with one region"},
                    "color": {"field": "question", "type": "nominal", "title": null, "scale": {"scheme": "dark2"},
                              "legend": {"labelLimit": 260}}}},
                {"transform": [{"filter": "datum.question == 'mean'"}],
                 "mark": {"type": "line", "color": "black", "strokeWidth": 3},
                 "encoding": {
                    "x": {"field": "regions", "type": "quantitative"},
                    "y": {"field": "ratio", "type": "quantitative"}}},
            ],
        },
    })
}

fn region_rows(asked: &[&Asked]) -> Vec<Value> {
    let mut rows = vec![];
    for people in sorted(asked.iter().map(|one| one.people)) {
        let own = asked
            .iter()
            .filter(|one| one.people == people && one.at_once == 1 && one.side == Side::Prepared);
        let all = sorted(own.map(|one| one.regions));
        if all.len() < 2 || all[0] != 1 {
            continue;
        }
        for regions in all {
            let mut ratios = vec![];
            for question in different(asked.iter().map(|one| &one.question)) {
                let time = |count| {
                    find(asked, (people, count, 1), question, Side::Prepared).and_then(median)
                };
                let (Some(one), Some(time)) = (time(1), time(regions)) else {
                    continue;
                };
                if counts(question) {
                    ratios.push(time / one);
                    rows.push(json!({
                        "question": question, "episodes": size(people), "regions": regions,
                        "ratio": time / one,
                    }));
                }
            }
            if let Some(ratio) = mean(&ratios) {
                rows.push(json!({
                    "question": "mean", "episodes": size(people), "regions": regions,
                    "ratio": ratio,
                }));
            }
        }
    }
    rows
}

fn at_once() -> Value {
    json!({
        "columns": 4,
        "facet": {"field": "question", "type": "nominal", "title": null},
        "spec": {
            "width": 175, "height": 150,
            "encoding": {
                "x": {"field": "at_once", "type": "quantitative", "scale": {"type": "log", "base": 2}, "title": "at once",
                      "axis": {"values": [1, 4, 16, 64], "format": "d"}},
                "y": {"field": "a_second", "type": "quantitative", "title": "questions a second"},
                "color": {"field": "side", "type": "nominal", "title": null,
                          "scale": {"domain": [name(Side::Plain), name(Side::Prepared)], "range": [COLOURS[1], COLOURS[0]]},
                          "legend": {"orient": "top"}},
            },
            "layer": [
                {"mark": {"type": "line"}},
                {"mark": {"type": "point", "filled": true, "size": 30, "opacity": 1}},
            ],
        },
        "resolve": {"scale": {"y": "independent"}},
    })
}

/// Of the setting in which most are asked at once, the first of them.
fn at_once_rows(asked: &[&Asked]) -> Vec<Value> {
    let many = asked.iter().filter(|one| one.at_once > 1);
    let Some(setting) = many.map(|one| (one.people, one.regions)).next() else {
        return vec![];
    };
    let here: Vec<&Asked> = asked
        .iter()
        .copied()
        .filter(|one| (one.people, one.regions) == setting)
        .collect();
    let mut rows = vec![];
    for question in different(here.iter().map(|one| &one.question)) {
        for at_once in sorted(here.iter().map(|one| one.at_once)) {
            for side in [Side::Plain, Side::Prepared] {
                let place = (setting.0, setting.1, at_once);
                let found = find(&here, place, question, side).and_then(Asked::summary);
                if let Some(all) = found {
                    rows.push(json!({
                        "question": question, "side": name(side), "at_once": at_once,
                        "a_second": all.a_second,
                    }));
                }
            }
        }
    }
    rows
}

fn sorted<T: Ord>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut all: Vec<T> = values.collect();
    all.sort_unstable();
    all.dedup();
    all
}
