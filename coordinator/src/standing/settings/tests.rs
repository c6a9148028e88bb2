use std::path::Path;

use super::*;
use crate::config::CoordinatorConfig;

const BEFORE: &str =
    "listen = \"127.0.0.1:0\"\n[[region]]\nid = \"a\"\nurl = \"https://127.0.0.1:1\"\n";

const SAMPLE: &str = r#"
[[standing]]
name = "acute_alert"
project = "alerts"
epsilon = 5.2
sql = "SELECT region, COUNT(*) AS n FROM t WHERE d >= $week AND note <> '$week' GROUP BY region"
figure = "n"
group_by = ["region"]
from = "2024-01-01"
weeks = 52
[standing.alerts]
mail_dir = "mail"
mail_from = "skerry@region.example"
mail_to = ["ward@region.example"]
"#;

fn read(text: &str) -> Result<Vec<StandingQuestion>, String> {
    let text = format!("{BEFORE}{text}");
    CoordinatorConfig::parse(Path::new("/f/coordinator.toml"), &text)
        .map(|config| config.standing)
        .map_err(|error| error.to_string())
}

#[test]
fn the_sample_has_its_defaults_and_its_share_of_the_cap() {
    let question = read(SAMPLE).expect("valid").remove(0);
    assert_eq!(question.run_epsilon().map(Epsilon::nano), Ok(100_000_000));
    assert_eq!(question.timing.delay_days, 3);
    assert_eq!(question.band.history, 26);
    assert_eq!(
        question
            .alerts
            .mail
            .as_ref()
            .map(|mail| mail.folder.clone()),
        Some("/f/mail".into())
    );
    assert!(question.by_region());
    let week = "2024-02-26".parse().expect("a day");
    assert_eq!(
        question.sql(week).expect("SQL"),
        "SELECT region, COUNT(*) AS n FROM t WHERE d >= DATE '2024-02-26' AND note <> '$week' \
         GROUP BY region"
    );
    let until = SAMPLE.replace("weeks = 52", "until = \"2024-12-23\"");
    assert_eq!(
        read(&until).expect("valid").remove(0).period,
        question.period
    );
    // Rounded down: all weeks together never cost more than the cap.
    let thirds = SAMPLE.replace("5.2", "1.0").replace("52", "3");
    let share = read(&thirds).expect("valid").remove(0).run_epsilon();
    assert_eq!(share.map(Epsilon::nano), Ok(333_333_333));
}

#[test]
fn mistakes_are_told_with_their_line() {
    for (from, to, part) in [
        ("acute_alert", "Acute alert", "can't be called"),
        (
            "epsilon = 5.2",
            "epsilon = 0.00001",
            "too little for 52 weeks",
        ),
        ("epsilon = 5.2", "epsilom = 5.2", "did you mean `epsilon`?"),
        ("weeks = 52", "", "how long"),
        (
            "weeks = 52",
            "weeks = 52\nuntil = \"2024-12-23\"",
            "how long",
        ),
        (
            "weeks = 52",
            "until = \"2024-12-24\"",
            "no week that is counted",
        ),
        ("weeks = 52", "weeks = 0", "from 1 to 1044"),
        ("2024-01-01", "1 January", "is no day"),
        ("d >= $week", "d >= $wek", "`$wek` is no parameter"),
        ("d >= $week", "TRUE", "asked the same"),
        (
            "project",
            "ask_on = \"mondey\"\nproject",
            "no day of the week",
        ),
        ("project", "ask_at_hour = 24\nproject", "from 0 to 23"),
        (
            "project",
            "study = \"before_after\"\nproject",
            "one of them",
        ),
        (
            "[standing.alerts]",
            "[standing.band]\nlearning = 30\n[standing.alerts]",
            "only 26",
        ),
        (
            "[standing.alerts]",
            "[standing.band]\nfalse_alarms = 0.5\n[standing.alerts]",
            "0.1",
        ),
        ("mail_dir = \"mail\"", "", "nobody would be told"),
        (
            "ward@region.example",
            "ward@region.example\\r\\nBcc: x@y",
            "is no address",
        ),
        (
            "mail_dir",
            "webhook = \"ftp://x\"\nmail_dir",
            "no address of a web service",
        ),
        (
            "mail_dir",
            "webhook = \"https://u:p@x/\"\nmail_dir",
            "without a user's name",
        ),
    ] {
        assert!(SAMPLE.contains(from), "{from}");
        let error = read(&SAMPLE.replacen(from, to, 1)).expect_err(to);
        assert!(error.contains(part), "{to}: {error}");
    }
    let twice = format!("{SAMPLE}{SAMPLE}");
    assert!(read(&twice).expect_err("twice").contains("there twice"));
}

#[test]
fn a_study_needs_a_parameter_for_the_week() {
    let study = SAMPLE
        .lines()
        .filter(|line| !line.starts_with("sql"))
        .collect::<Vec<_>>()
        .join("\n");
    let with = |lines: &str| read(&study.replace("project = ", &format!("{lines}\nproject = ")));
    let unknown = with("study = \"before_afte\"").expect_err("no such study");
    assert!(unknown.contains("did you mean `before_after`"), "{unknown}");
    let none = with("study = \"before_after\"").expect_err("no such parameter");
    assert!(none.contains("has no parameter `week`"), "{none}");
    // What is asked of a study that has one.
    let lines = "study = \"acute_alert\"\nparameters = { weeks = 4 }\nweek_parameter = \"since\"";
    let question = with(lines).expect("valid").remove(0);
    let sql = question
        .sql("2024-03-04".parse().expect("a day"))
        .expect("SQL");
    assert!(sql.contains("DATE '2024-03-04' + INTERVAL 4 WEEK"), "{sql}");
    let given = with(&lines.replace("weeks = 4", "since = \"2024-01-01\"")).expect_err("twice");
    assert!(given.contains("given twice"), "{given}");
}
