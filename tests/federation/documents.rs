//! Every configuration in the documents is one that is taken, and every statement one that a
//! federation answers.

use std::{fs, path::Path};

use skerry::{
    init::{InitOptions, init},
    synth::{SynthOptions, generate},
};
use skerry_coordinator::{config::CoordinatorConfig, question::Question};
use skerry_node::config::NodeConfig;

use crate::support::start_and_connect;

/// The texts of the fenced blocks of a language.
pub fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    text.split(&fence)
        .skip(1)
        .filter_map(|rest| rest.split("\n```").next())
        .collect()
}

#[test]
fn configurations_in_the_documents_parse() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seen = 0;
    for document in [
        "README.md",
        "node/README.md",
        "node/ballista/README.md",
        "coordinator/README.md",
        "samples/randhie/README.md",
    ] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for block in blocks(&text, "toml") {
            seen += 1;
            let file = root.join(document);
            let parsed = match document {
                "coordinator/README.md" => CoordinatorConfig::parse(&file, block).map(|_| ()),
                _ => NodeConfig::parse(&file, block).map(|_| ()),
            };
            if let Err(error) = parsed {
                panic!("{document}: {error}\n{block}");
            }
        }
    }
    assert!(seen > 0);
}

/// Five synthetic regions quote every example, and the rest of it is rehearsed on the quotes.
#[tokio::test(flavor = "multi_thread")]
async fn examples_of_functions_can_be_answered() {
    let folder = tempfile::tempdir().unwrap();
    let options = SynthOptions::new(folder.path(), 500);
    generate(&options, &|_| {}).unwrap();
    init(&InitOptions {
        folder: folder.path().to_owned(),
        regions: Vec::new(),
        data: None,
        unit: None,
        policy: Some(folder.path().to_owned()),
        port: 0,
    })
    .unwrap();
    let (federation, client) = start_and_connect(folder.path()).await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("coordinator/FUNCTIONS.md")).unwrap();
    let mut examples: Vec<String> = blocks(&text, "sql")
        .into_iter()
        .map(str::to_owned)
        .collect();
    assert!(examples.len() > 10);
    // A week of each standing question.
    let text = fs::read_to_string(root.join("coordinator/README.md")).unwrap();
    for block in blocks(&text, "toml") {
        let config = CoordinatorConfig::parse(&root.join("coordinator.toml"), block).unwrap();
        for question in config.standing {
            let week = "2024-05-06".parse().unwrap();
            examples.push(question.sql(week).unwrap());
        }
    }
    for example in examples {
        let question = Question {
            explain: true,
            ..Question::new(example.clone())
        };
        if let Err(refusal) = client.query(&question).await {
            panic!("{refusal:?}\n{example}");
        }
    }
    federation.stop().await;
}
