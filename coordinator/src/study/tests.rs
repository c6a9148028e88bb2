mod reads;

use std::{collections::BTreeSet, fs};

use super::*;

const SAMPLE: &str = r#"
title = "A sample"
question = "How many?"
source = "nowhere"
epsilon = 0.5
delta = 1e-8
reading = "Read them."
sql = '''
SELECT region, COUNT(*) AS people -- not $this
FROM patients
WHERE frailty >= $frailty AND sex = $sex AND seen >= $since AND share < $share AND home = $home
GROUP BY region
'''
plot = '{"mark": "bar", "encoding": {"x": {"field": "region"}, "y": {"field": "people_low"}}}'

[tables]
patients = ["patient_id", "frailty", "sex"]

[columns]
region = "the region"
people = "people"

[parameters.frailty]
meaning = "from this frailty on"
default = 4
range = [-1, 9]

[parameters.sex]
meaning = "of this sex"
default = "female"
values = ["female", "male", "o'ther"]

[parameters.since]
meaning = "seen from this day on"
default = "2024-01-01"
range = ["2019-01-01", "2024-12-31"]

[parameters.share]
meaning = "below this share"
default = 0.5
range = [0, 1]

[parameters.home]
meaning = "at home"
default = true
"#;

fn sample() -> Study {
    Study::parse("sample", SAMPLE).expect("valid")
}

fn given(pairs: &[&str]) -> Given {
    Given::parse(pairs).expect("pairs")
}

#[test]
fn every_study_that_comes_along_is_right() {
    for study in all().expect("valid files") {
        let sql = study.sql(&Given::default()).expect("defaults are allowed");
        assert!(!sql.contains('$'), "{}: {sql}", study.name);
        assert_eq!(find(&study.name).expect("found"), study);
    }
}

#[test]
fn every_file_comes_along() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("studies");
    let files: BTreeSet<String> = fs::read_dir(folder)
        .expect("folder")
        .map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .into_string()
                .expect("name")
        })
        .filter_map(|file| Some(file.strip_suffix(".toml")?.to_owned()))
        .collect();
    assert!(names().is_sorted());
    assert_eq!(files, names().map(str::to_owned).collect());
}

#[test]
fn order_is_that_of_the_file() {
    let study = sample();
    let order: Vec<&str> = study.parameters.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(order, ["frailty", "sex", "since", "share", "home"]);
    assert_eq!(study.columns[0].0, "region");
    assert_eq!(study.columns[1].0, "people");
}

#[test]
fn values_stand_in_the_sql_as_literals() {
    let study = sample();
    let sql = study.sql(&Given::default()).expect("defaults");
    assert!(sql.contains(
        "frailty >= 4 AND sex = 'female' AND seen >= DATE '2024-01-01' AND share < 0.5 AND home = TRUE"
    ));
    assert!(sql.contains("-- not $this"));
    let other = given(&["frailty=-1", "sex=o'ther", "share=1", "home = false"]);
    let sql = study.sql(&other).expect("allowed");
    assert!(sql.contains("frailty >= (-1) AND sex = 'o''ther'"), "{sql}");
    assert!(sql.contains("share < 1.0 AND home = FALSE"), "{sql}");
    let question = study.ask(&other).expect("allowed");
    assert_eq!(question.epsilon, Epsilon::try_from(0.5).ok());
    assert_eq!(question.delta, Delta::try_from(1e-8).ok());
}

#[test]
fn what_is_not_allowed_is_refused_with_what_is() {
    let study = sample();
    for (pair, message, hint) in [
        (
            "frailty=10",
            "parameter `frailty` of study `sample` can't be `10`",
            "it is a whole number from -1 to 9",
        ),
        (
            "sex=femal",
            "can't be `femal`",
            "did you mean `female`? It is one of female, male, o'ther",
        ),
        (
            "since=2018-12-31",
            "can't be",
            "it is a day from 2019-01-01 to 2024-12-31",
        ),
        ("share=1.5", "can't be", "it is a number from 0 to 1"),
        ("home=maybe", "can't be", "it is true or false"),
        (
            "frail=4",
            "study `sample` has no parameter `frail`",
            "did you mean `frailty`?",
        ),
    ] {
        let refusal = study.sql(&given(&[pair])).expect_err(pair);
        assert_eq!(refusal.code, ErrorCode::InvalidParameter);
        assert!(refusal.message.contains(message), "{refusal}");
        assert_eq!(refusal.hint, hint);
    }
    assert!(Given::parse(&["frailty"]).is_err());
    assert!(Given::parse(&["a=1", "a=2"]).is_err());
    let refusal = find("befor_after").expect_err("unknown");
    assert_eq!(refusal.hint, "did you mean `before_after`?");
}

/// A change of the sample's text, and what is said of it.
#[test]
fn a_mistake_in_a_file_is_named_with_what_to_write() {
    for (old, new, message, hint) in [
        (
            "title =",
            "titel =",
            "unknown key `titel`",
            "did you mean `title`?",
        ),
        ("title = \"A sample\"", "", "missing key `title`", ""),
        (
            "\"How many?\"",
            "\" \"",
            "`question` is empty",
            "say in a few words",
        ),
        ("epsilon = 0.5", "epsilon = 0", "epsilon must be", ""),
        (
            "default = 4",
            "default = 14",
            "the default `14` of parameter `frailty`",
            "it is a whole number from -1 to 9",
        ),
        (
            "range = [-1, 9]",
            "",
            "parameter `frailty` is a number",
            "give it a `range`",
        ),
        (
            "range = [-1, 9]",
            "range = [9, -1]",
            "is empty",
            "the lower end first",
        ),
        (
            "range = [-1, 9]",
            "range = [0.5, 9]",
            "doesn't fit its default",
            "two whole numbers",
        ),
        (
            "range = [0, 1]",
            "range = [0, inf]",
            "doesn't fit its default",
            "two numbers",
        ),
        (
            "values = [\"female\", \"male\", \"o'ther\"]",
            "",
            "parameter `sex` is a text",
            "give it `values`",
        ),
        (
            "values = [\"female\", \"male\",",
            "values = [\"male\", \"male\",",
            "names `male` twice",
            "",
        ),
        (
            "default = \"2024-01-01\"",
            "default = \"2024-13-01\"",
            "is no day",
            "a text with a `range` is a day",
        ),
        (
            "default = \"2024-01-01\"",
            "default = 2024-01-01",
            "of a kind that isn't used",
            "also a day is in quotes",
        ),
        (
            "default = true",
            "default = true\nrange = [0, 1]",
            "true or false",
            "leave",
        ),
        (
            "$home",
            "$hom",
            "sql has `$hom`, which is no parameter",
            "did you mean `home`?",
        ),
        (
            "home = $home",
            "home",
            "parameter `home` isn't used",
            "write $home in sql",
        ),
        ("people_low", "persons", "draws `persons`", "region, people"),
        (
            "[\"patient_id\", \"frailty\", \"sex\"]",
            "[]",
            "has an empty list",
            "",
        ),
        (
            "people = \"people\"",
            "People = \"people\"",
            "`People` can't be a name",
            "lower case",
        ),
        (
            "meaning = \"at home\"",
            "meaning = \"at home\"\nvalue = 1",
            "unknown key `value`",
            "did you mean `values`?",
        ),
    ] {
        let text = SAMPLE.replacen(old, new, 1);
        assert_ne!(text, SAMPLE, "{old}");
        let error = Study::parse("sample", &text).expect_err(new);
        assert!(error.message.contains(message), "{new}: {error}");
        assert!(error.hint.contains(hint), "{new}: {error}");
        assert!(error.to_string().starts_with("sample.toml"), "{error}");
    }
    let error = Study::parse("Sample", SAMPLE).expect_err("a name");
    assert!(error.message.contains("can't be a study's name"));
}

#[test]
fn what_data_lack_is_told_by_table_and_column() {
    let study = sample();
    let offered = |tables: &[(&str, &[&str])]| {
        let tables = tables.iter().map(|(table, columns)| {
            let columns = columns.iter().map(|column| (*column).to_owned());
            ((*table).to_owned(), columns.collect())
        });
        study.lacks(&tables.collect())
    };
    assert_eq!(offered(&[]), [Lack::Table("patients".into())]);
    let some = offered(&[("patients", &["patient_id", "age"])]);
    assert_eq!(some.len(), 1);
    assert_eq!(some[0].to_string(), "frailty, sex of patients");
    let all = ["patient_id", "frailty", "sex", "age"];
    assert_eq!(offered(&[("patients", &all), ("other", &[])]), []);
}
