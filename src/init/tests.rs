use std::{fs, path::Path, sync::Arc};

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use skerry_coordinator::config::CoordinatorConfig;
use skerry_node::config::NodeConfig;

use super::{InitOptions, init};

fn options(folder: &Path) -> InitOptions {
    InitOptions {
        folder: folder.to_owned(),
        regions: Vec::new(),
        data: None,
        unit: None,
        policy: None,
        port: 7500,
    }
}

#[test]
fn writes_a_federation_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.regions = vec!["north".parse().unwrap(), "south".parse().unwrap()];
    init(&options).unwrap();
    let node = NodeConfig::load(&folder.path().join("south/node.toml")).unwrap();
    assert_eq!(node.listen.port(), 7502);
    assert!(node.tables.is_empty());
    for file in [
        "north/node.pem",
        "north/federation-ca.pem",
        "researcher/researcher.pem",
        "researcher/federation-ca.pem",
        "federation-ca.pem",
        "researchers-ca.pem",
        "coordinator.pem",
    ] {
        let text = fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(text.starts_with("-----BEGIN CERTIFICATE-----"), "{file}");
    }
    #[cfg(unix)]
    for file in [
        "north/node.key",
        "researcher/researcher.key",
        "coordinator.key",
        "authority/federation-ca.key",
        "authority/researchers-ca.key",
    ] {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = fs::metadata(folder.path().join(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let again = init(&options).unwrap_err();
    assert!(again.message.contains("already"), "{again}");
}

#[test]
fn refuses_names_that_no_certificate_can_carry() {
    let folder = tempfile::tempdir().unwrap();
    for bad in ["Nord", "a.b", "a-", "authority"] {
        let mut options = options(folder.path());
        options.regions = vec![bad.parse().unwrap()];
        assert!(init(&options).is_err(), "{bad}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_draft_lists_columns_and_reads_no_values() {
    let folder = tempfile::tempdir().unwrap();
    let visits = folder.path().join("data/visits");
    fs::create_dir_all(&visits).unwrap();
    let rows = RecordBatch::try_from_iter([
        (
            "person_id",
            Arc::new(Int64Array::from(vec![77_123])) as ArrayRef,
        ),
        (
            "site code",
            Arc::new(StringArray::from(vec!["99"])) as ArrayRef,
        ),
        ("cost", Arc::new(Float64Array::from(vec![99.5])) as ArrayRef),
    ])
    .unwrap();
    let file = fs::File::create(visits.join("region=north.parquet")).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows).unwrap();
    writer.close().unwrap();
    let notes = folder.path().join("data/notes");
    fs::create_dir_all(&notes).unwrap();
    fs::write(notes.join("region=north.csv"), "person_id,x\n77123,4\n").unwrap();
    let places = folder.path().join("data/places");
    fs::create_dir_all(&places).unwrap();
    fs::write(places.join("region=north.csv"), "code,name\n4,Bodø\n").unwrap();
    let mut options = options(&folder.path().join("federation"));
    options.data = Some(folder.path().join("data"));
    options.unit = Some("person_id".into());
    let written = init(&options).unwrap();
    assert_eq!(written.regions.len(), 1);
    let file = options.folder.join("north/node.toml");
    let text = fs::read_to_string(&file).unwrap();
    for private in ["77123", "99", "Bodø"] {
        assert!(!text.contains(private), "{private}");
    }
    // Without the unit, or without types, a table waits for its owner.
    assert!(text.contains("# name = \"places\""), "{text}");
    assert!(text.contains("# name = \"notes\""), "{text}");
    assert!(text.contains("cost        = {}  # float"), "{text}");
    let node = NodeConfig::load(&file).unwrap();
    assert_eq!(node.tables.len(), 1);
    let names: Vec<&str> = node.tables[0]
        .columns
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(names, ["person_id", "site code", "cost"]);
}

#[test]
fn one_policy_serves_every_region() {
    let folder = tempfile::tempdir().unwrap();
    for region in ["a", "b"] {
        let file = folder.path().join(format!("region={region}.csv"));
        fs::write(file, "person_id,x\n1,2\n").unwrap();
    }
    let policy = folder.path().join("policy.toml");
    let text = "persons = 900\n\n[[table]]\nname = \"t\"\npath = \"region={region}.csv\"\n\
                unit = \"person_id\"\nmax_rows_per_unit = 2\n[table.columns]\nperson_id = {}\n\
                x = { range = [0, 9] } # kept\n";
    fs::write(&policy, text).unwrap();
    let mut options = options(&folder.path().join("federation"));
    options.policy = Some(policy.clone());
    init(&options).unwrap();
    let file = options.folder.join("b/node.toml");
    assert!(fs::read_to_string(&file).unwrap().contains("# kept"));
    let node = NodeConfig::load(&file).unwrap();
    assert_eq!(node.persons, 900);
    assert!(node.tables[0].path.ends_with("region=b.csv"));

    fs::write(&policy, text.replace("range", "rang")).unwrap();
    options.folder = folder.path().join("other");
    let error = init(&options).unwrap_err();
    assert!(
        error.message.contains("policy.toml:10: unknown key `rang`"),
        "{error}"
    );
    assert!(!options.folder.exists());
}

#[test]
fn each_region_can_have_a_policy_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let public = folder.path().join("public");
    fs::create_dir_all(&public).unwrap();
    fs::write(public.join("places.csv"), "code\n1\n").unwrap();
    for (region, persons) in [("a", 900), ("b", 5_000_000)] {
        let text = format!(
            "persons = {persons}\n[[table]]\nname = \"places\"\npath = \"../public/places.csv\"\n\
             [table.columns]\ncode = {{}}\n"
        );
        fs::create_dir_all(folder.path().join(region)).unwrap();
        fs::write(folder.path().join(region).join("policy.toml"), text).unwrap();
    }
    let mut options = options(folder.path());
    options.policy = Some(folder.path().to_owned());
    init(&options).unwrap();
    let node = NodeConfig::load(&folder.path().join("b/node.toml")).unwrap();
    assert_eq!(node.persons, 5_000_000);
    assert!(node.tables[0].path.exists());
}

#[test]
fn the_example_of_a_standing_question_is_one_when_its_marks_are_taken_off() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.regions = vec!["a".parse().unwrap()];
    init(&options).unwrap();
    let file = folder.path().join("coordinator.toml");
    let config = CoordinatorConfig::load(&file).unwrap();
    assert!(config.standing.is_empty());
    let text = fs::read_to_string(&file).unwrap();
    let (before, example) = text.split_once("# [[standing]]").unwrap();
    let example: Vec<&str> = example
        .lines()
        .map(|line| line.strip_prefix("# ").unwrap_or_default())
        .collect();
    let text = format!("{before}[[standing]]{}", example.join("\n"));
    let config = CoordinatorConfig::parse(&file, &text).unwrap();
    let question = &config.standing[0];
    assert_eq!(question.run_epsilon().unwrap().to_f64(), 0.1);
    assert!(question.alerts.webhook.is_some() && question.alerts.mail.is_some());
}
