//! The command as people run it.

use std::{
    path::Path,
    process::{Command, Output},
};

use serde_json::Value as Json;

use crate::support::write_randhie;

fn skerry(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_skerry"))
        .args(arguments)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_refusal_is_json_or_readable_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    write_randhie(folder.path());
    let federation = path(folder.path());
    let sql = "SELECT COUNT(*) FROM visits";
    let output = skerry(&["query", "--federation", federation, "--format", "json", sql]);
    assert!(!output.status.success());
    let json: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["error"]["code"], "unavailable", "{json}");
    let hint = json["error"]["hint"].as_str().unwrap();
    assert!(hint.contains("skerry up"), "{hint}");

    let output = skerry(&["query", "--federation", federation, sql]);
    assert!(!output.status.success());
    assert!(output.stdout.is_empty());
    let told = text(&output.stderr);
    assert!(told.starts_with("error[unavailable]: "), "{told}");

    for epsilon in ["0", "-1", "nan", "inf", "1e-320", "1e308", "much"] {
        let line = [
            "query",
            "--federation",
            federation,
            "--format",
            "json",
            "--epsilon",
            epsilon,
            sql,
        ];
        let output = skerry(&line);
        let json: Json = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(
            json["error"]["code"], "invalid_parameter",
            "{epsilon}: {json}"
        );
    }
}

#[test]
fn nothing_is_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("f");
    let line = ["init", path(&target), "--regions", "north,south"];
    let output = skerry(&line);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("skerry up"));
    let output = skerry(&line);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("error[configuration]"));
}
