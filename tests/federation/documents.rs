//! Every configuration in the documents is one that a node takes.

use std::{fs, path::Path};

use skerry_node::config::NodeConfig;

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
        "coordinator/README.md",
        "samples/randhie/README.md",
    ] {
        let text = fs::read_to_string(root.join(document)).unwrap();
        for block in blocks(&text, "toml") {
            seen += 1;
            if let Err(error) = NodeConfig::parse(&root.join(document), block) {
                panic!("{document}: {error}\n{block}");
            }
        }
    }
    assert!(seen > 0);
}
