//! The studies, as the command lists, shows, runs and draws them over a synthetic federation.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value as Json;
use skerry::{
    federation::{self, Federation},
    init::{InitOptions, init},
    output::rows_json,
    plot,
    synth::{SynthOptions, generate},
};
use skerry_coordinator::{
    client::{Client, Credentials},
    study::{self, Given},
};
use tempfile::TempDir;

use crate::support::write_randhie;

/// Five regions with so many people in all.
const PEOPLE: u64 = 5_000;

fn skerry(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skerry"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A synthetic federation that can pay for all studies, several times; it isn't started.
fn written() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    generate(&SynthOptions::new(&data, PEOPLE), &|_| {}).unwrap();
    let policy = data.join("policy.toml");
    let budget = "epsilon = 1000.0, delta = 1e-6";
    let text = fs::read_to_string(&policy).unwrap()
        + &format!("\n[budget]\nproject = {{ {budget} }}\ntotal = {{ {budget} }}\n");
    fs::write(&policy, text).unwrap();
    let place = folder.path().join("federation");
    init(&InitOptions {
        folder: place.clone(),
        regions: Vec::new(),
        data: None,
        unit: None,
        policy: Some(policy),
        port: 0,
    })
    .unwrap();
    (folder, place)
}

async fn started(place: &Path) -> (Federation, Client) {
    let federation = federation::start(place).await.unwrap();
    let credentials = Credentials::load(&place.join("researcher")).unwrap();
    let client = Client::connect(&federation.url(), &credentials).await;
    (federation, client.unwrap())
}

/// What stands for figures in a picture: bars, points, rules, texts, but no axes, titles and legends.
fn marks(svg: &str) -> usize {
    let symbols = svg.split("role=\"graphics-symbol\" aria-roledescription=\"");
    let around = ["axis\"", "title\"", "legend\""];
    symbols
        .skip(1)
        .filter(|symbol| !around.iter().any(|word| symbol.starts_with(word)))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_study_is_answered_and_drawn() {
    let (_folder, place) = written();
    let (federation, client) = started(&place).await;
    for study in study::all().unwrap() {
        let name = &study.name;
        let question = study.ask(&Given::default()).unwrap();
        let answer = client.query(&question).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}\n{}", error.hint));
        let record = &answer.record.columns;
        let columns: Vec<&str> = record.iter().map(|column| column.name.as_str()).collect();
        let said: Vec<&str> = study
            .columns
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(columns, said, "{name}: the answer's columns, and [columns]");
        assert!(answer.rows.num_rows() > 0, "{name}");
        let rows = rows_json(&answer.rows).unwrap();
        let picture = plot::draw(&study.plot, &rows).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(picture.warnings, Vec::<String>::new(), "{name}");
        assert!(marks(&picture.svg) > 0, "{name}");
        assert!(!picture.svg.contains("NaN"), "{name}: {}", picture.svg);
    }
    drop(client);
    federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_study_is_run_and_drawn_by_the_command() {
    let (folder, place) = written();
    let (federation, client) = started(&place).await;
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (svg, html) = (file("plot.svg"), file("page.html"));
    let (url, identity) = (federation.url(), place.join("researcher"));
    let run = |more: &[&str]| {
        let identity = identity.to_str().unwrap();
        let line = [
            "study",
            "run",
            "identification",
            "--url",
            &url,
            "--identity",
            identity,
        ];
        skerry(&[&line, more].concat())
    };
    let output = run(&["--format", "json", "--svg", &svg, "--html", &html]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer: Json = serde_json::from_slice(&output.stdout).unwrap();
    let svg = fs::read_to_string(&svg).unwrap();
    assert!(svg.starts_with("<svg ") && marks(&svg) > 0);

    let page = fs::read_to_string(&html).unwrap();
    let study = study::find("identification").unwrap();
    assert!(page.contains(&svg), "the picture stands in the page");
    for part in [&study.title, &study.parameters[0].name, &study.columns[0].1] {
        assert!(page.contains(part.as_str()), "{part}");
    }
    assert!(page.contains("Synthetic data") && page.contains("ε charged"));
    for outside in ["<script", "<link", "src=", "href=", "@import", "url(h"] {
        assert!(!page.contains(outside), "{outside}");
    }

    // What it costs is free to ask, and changes nothing.
    let left = |answer: &Json| answer["privacy"]["regions"]["norrbotten"]["epsilon_left"].clone();
    let output = run(&["--explain", "--format", "json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = run(&["--format", "json"]);
    let again: Json = serde_json::from_slice(&again.stdout).unwrap();
    assert_eq!(
        again["rows"], answer["rows"],
        "the same question has the same answer"
    );
    assert_eq!(left(&again), left(&answer));
    let output = run(&["--explain", "--svg", "x.svg"]);
    assert!(!output.status.success(), "nothing to draw");

    // A file of one's own is a study too.
    let own = folder.path().join("people.toml");
    fs::write(
        &own,
        "title = \"People\"\nquestion = \"How many?\"\nsource = \"-\"\nepsilon = 1.0\nreading = \"-\"\n\
         sql = \"SELECT region, COUNT(*) AS people FROM patients WHERE birth_year <= $born GROUP BY region\"\n\
         plot = '{\"mark\": \"bar\", \"encoding\": {\"x\": {\"field\": \"region\"}, \"y\": {\"field\": \"people\", \"type\": \"quantitative\"}}}'\n\
         [tables]\npatients = [\"birth_year\"]\n[columns]\nregion = \"r\"\npeople = \"p\"\n\
         [parameters.born]\nmeaning = \"born until\"\ndefault = 1950\nrange = [1900, 2024]\n",
    )
    .unwrap();
    let svg = file("people.svg");
    let line = [
        "study",
        "run",
        own.to_str().unwrap(),
        "--url",
        &url,
        "--svg",
        &svg,
    ];
    let more = [
        "--identity",
        identity.to_str().unwrap(),
        "--param",
        "born=1980",
        "--format",
        "json",
    ];
    let output = skerry(&[&line[..], &more].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let answer: Json = serde_json::from_slice(&output.stdout).unwrap();
    let svg = fs::read_to_string(svg).unwrap();
    assert_eq!(marks(&svg), 5, "a bar for each region");
    for row in answer["rows"].as_array().unwrap() {
        let label = format!(
            "region: {}; people: {}\"",
            row["region"].as_str().unwrap(),
            row["people"]
        );
        assert!(svg.contains(&label), "{label}");
    }
    drop(client);
    federation.stop().await;
}

#[test]
fn studies_are_listed_and_shown() {
    let output = skerry(&["study", "list"]);
    let list = text(&output.stdout);
    for study in study::all().unwrap() {
        let line = list
            .lines()
            .find(|line| line.starts_with(&study.name))
            .unwrap();
        assert!(line.contains(&study.title), "{line}");
        let output = skerry(&["study", "show", &study.name]);
        let shown = text(&output.stdout);
        assert!(output.status.success());
        let mut parts = vec![study.question.clone(), study.source.clone()];
        for parameter in &study.parameters {
            parts.push(parameter.name.clone());
            parts.push(parameter.allowed.to_string());
        }
        parts.extend(study.columns.iter().map(|(_, meaning)| meaning.clone()));
        parts.extend(study.template().lines().map(|line| line.trim().to_owned()));
        for part in parts {
            assert!(shown.contains(&part), "{}: {part}", study.name);
        }
    }
    let output = skerry(&["study", "show", "identificaton"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("did you mean `identification`?"));
}

/// Refused before a federation is even looked for.
#[test]
fn parameters_that_are_not_allowed_cost_nothing() {
    let study = study::find("before_after").unwrap();
    let days = study.parameters.iter().find(|p| p.name == "days").unwrap();
    for (pair, part) in [
        ("days=100000", days.allowed.to_string()),
        ("days=many", days.allowed.to_string()),
        ("day=30", "did you mean `days`?".to_owned()),
        ("days", "write name=value".to_owned()),
    ] {
        let line = ["study", "run", "before_after", "--federation", "/nowhere"];
        let output = skerry(&[&line[..], &["--format", "json", "--param", pair]].concat());
        assert!(!output.status.success());
        let json: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["error"]["code"], "invalid_parameter", "{json}");
        assert!(
            json["error"]["hint"].as_str().unwrap().contains(&part),
            "{json}"
        );
    }
}

#[test]
fn the_doctor_says_which_studies_data_can_serve() {
    let all = study::names().count();
    let (_folder, place) = written();
    let node = place.join("norrbotten/node.toml");
    let looked = skerry(&["doctor", node.to_str().unwrap()]);
    let told = text(&looked.stdout);
    assert!(looked.status.success(), "{told}");
    assert!(
        told.contains(&format!("can serve: {all} of {all}.")),
        "{told}"
    );

    // Without a column, and with the public tables at the coordinator alone.
    let config = fs::read_to_string(&node).unwrap();
    let lines = config
        .lines()
        .filter(|line| !line.starts_with("birth_year"));
    fs::write(&node, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let told = text(&skerry(&["doctor", node.to_str().unwrap()]).stdout);
    let line = told.lines().find(|line| line.starts_with("identification"));
    assert!(
        line.unwrap().contains("lacks birth_year of patients"),
        "{told}"
    );

    let folder = tempfile::tempdir().unwrap();
    write_randhie(folder.path());
    let told = text(
        &skerry(&[
            "doctor",
            folder.path().join("1/node.toml").to_str().unwrap(),
        ])
        .stdout,
    );
    assert!(told.contains(&format!("can serve: 0 of {all}.")), "{told}");
    let line = told.lines().find(|line| line.starts_with("before_after"));
    assert!(line.unwrap().contains("lacks table "), "{told}");
}
