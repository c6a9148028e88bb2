//! Two regions that keep their episodes in different systems answer one SQL, by views.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{
        ArrayRef, Date32Array, Float64Array, Int16Array, Int64Array, RecordBatch, StringArray,
        TimestampMillisecondArray,
    },
    datatypes::Schema,
};
use parquet::arrow::ArrowWriter;
use skerry::init::{InitOptions, init};
use skerry_coordinator::question::Question;
use skerry_node::doctor::{Verdict, doctor};
use skerry_proto::{Epsilon, ErrorCode};
use tempfile::TempDir;

use crate::{
    documents::blocks,
    sites::{Randhie, keys, numbers, start},
    twins::same_but_for_figures,
};

/// What both regions mean, however they write it down.
struct Episode {
    person: i64,
    service: &'static str,
    /// Days since 1970-01-01.
    day: i32,
    cost: f64,
}

const SERVICES: [&str; 3] = ["acute_admission", "gp_visit", "emergency_clinic"];

/// Persons of one region with up to six episodes each, the same in every run.
fn episodes(first_person: i64) -> Vec<Episode> {
    let mut state = first_person as u64;
    let mut next = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % below
    };
    let mut episodes = vec![];
    for person in first_person..first_person + 300 {
        for _ in 0..next(7) {
            episodes.push(Episode {
                person,
                service: SERVICES[next(3) as usize],
                day: 17_897 + next(2_190) as i32,
                cost: next(4_000) as f64 / 4.0,
            });
        }
    }
    episodes
}

fn write(file: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let schema: Arc<Schema> = batch.schema();
    let mut writer = ArrowWriter::try_new(File::create(file).unwrap(), schema, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// The documented system: letters, moments, hundredths. Codes that no view knows are NULL.
fn write_nordland(folder: &Path, episodes: &[Episode]) {
    let letter = |service: &str| match service {
        "acute_admission" => "A",
        "gp_visit" => "G",
        _ => "L",
    };
    let millis = |day: i32| i64::from(day) * 86_400_000 + 3_600_000;
    write(
        &folder.join("besok.parquet"),
        vec![
            (
                "pid",
                Arc::new(
                    episodes
                        .iter()
                        .map(|e| Some(e.person))
                        .collect::<Int64Array>(),
                ),
            ),
            (
                "kode",
                Arc::new(
                    episodes
                        .iter()
                        .map(|e| Some(letter(e.service)))
                        .collect::<StringArray>(),
                ),
            ),
            (
                "start",
                Arc::new(
                    episodes
                        .iter()
                        .map(|e| Some(millis(e.day)))
                        .collect::<TimestampMillisecondArray>(),
                ),
            ),
            (
                "pris",
                Arc::new(
                    episodes
                        .iter()
                        .map(|e| Some((e.cost * 100.0) as i64))
                        .collect::<Int64Array>(),
                ),
            ),
        ],
    );
}

/// Another system: hospital and primary care apart, whole numbers for kinds, dates, a register of
/// who is still listed.
fn write_norrbotten(folder: &Path, episodes: &[Episode]) {
    let table = |name: &str, hospital: bool| {
        let rows: Vec<&Episode> = episodes
            .iter()
            .filter(|e| (e.service == "acute_admission") == hospital)
            .collect();
        let kind = |service: &str| if service == "gp_visit" { 1 } else { 2 };
        write(
            &folder.join(name),
            vec![
                (
                    "person",
                    Arc::new(rows.iter().map(|e| Some(e.person)).collect::<Int64Array>()),
                ),
                (
                    "typ",
                    Arc::new(
                        rows.iter()
                            .map(|e| Some(kind(e.service)))
                            .collect::<Int16Array>(),
                    ),
                ),
                (
                    "datum",
                    Arc::new(rows.iter().map(|e| Some(e.day)).collect::<Date32Array>()),
                ),
                (
                    "kostnad",
                    Arc::new(rows.iter().map(|e| Some(e.cost)).collect::<Float64Array>()),
                ),
            ],
        );
    };
    table("slutenvard.parquet", true);
    table("primarvard.parquet", false);
    // Who isn't listed any more has no episodes that count.
    let persons: Vec<i64> = (0..300)
        .map(|n| 5_000 + n)
        .filter(|p| p % 10 != 0)
        .collect();
    write(
        &folder.join("listade.parquet"),
        vec![("person", Arc::new(Int64Array::from(persons)))],
    );
}

const NORRBOTTEN: &str = r#"
persons = 250_000

[budget]
project = { epsilon = 1000.0, delta = 1e-7 }
total   = { epsilon = 1000.0, delta = 4e-7 }

[[table]]
name = "slutenvard"
path = "slutenvard.parquet"
unit = "person"
max_rows_per_unit = 10
hidden = true

[table.columns]
person = {}
datum = { range = ["2019-01-01", "2024-12-31"] }
kostnad = { range = [0, 50_000] }

[[table]]
name = "primarvard"
path = "primarvard.parquet"
unit = "person"
max_rows_per_unit = 10
hidden = true

[table.columns]
person = {}
typ = { values = [1, 2] }
datum = { range = ["2019-01-01", "2024-12-31"] }
kostnad = { range = [0, 50_000] }

[[table]]
name = "listade"
path = "listade.parquet"
unit = "person"
max_rows_per_unit = 1
hidden = true

[table.columns]
person = {}

[[view]]
name = "alla"
hidden = true
sql = """
SELECT person, 'acute_admission' AS service, datum, kostnad FROM slutenvard
UNION ALL
SELECT person, CASE typ WHEN 1 THEN 'gp_visit' WHEN 2 THEN 'emergency_clinic' END, datum, kostnad FROM primarvard"""

[view.columns]
person = {}
service = {}
datum = {}
kostnad = {}

[[view]]
name = "episodes"
sql = """
SELECT person AS patient_id, service, datum AS start_date, kostnad AS cost
FROM alla WHERE EXISTS (SELECT 1 FROM listade WHERE listade.person = alla.person)"""
max_rows_per_unit = 10

[view.columns]
patient_id = {}
service = { values = ["acute_admission", "gp_visit", "emergency_clinic", "home_nursing"], nulls = false }
start_date = { range = ["2019-01-01", "2024-12-31"] }
cost = { range = [0, 50_000] }
"#;

/// The sample of the node's README, with a larger budget and fewer rows a person.
fn nordland() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("node/README.md");
    let text = fs::read_to_string(file).unwrap();
    let block = blocks(&text, "toml")
        .into_iter()
        .find(|block| block.contains("[[view]]"))
        .unwrap();
    let kept: Vec<&str> = block
        .lines()
        .filter(|line| !line.starts_with("region =") && !line.starts_with("listen ="))
        .collect();
    kept.join("\n")
        .replace("epsilon = 10.0", "epsilon = 1000.0")
        .replace("epsilon = 30.0", "epsilon = 1000.0")
        .replace("max_rows_per_unit = 400", "max_rows_per_unit = 10")
}

/// Writes the two regions; without the person, if any, in the first.
fn write_regions(without: Option<i64>) -> TempDir {
    let folder = TempDir::new().unwrap();
    for region in ["nordland", "norrbotten"] {
        fs::create_dir_all(folder.path().join("data").join(region)).unwrap();
    }
    let data = folder.path().join("data");
    let mut first = episodes(1_000);
    first.retain(|episode| Some(episode.person) != without);
    write_nordland(&data.join("nordland"), &first);
    fs::write(data.join("nordland/policy.toml"), nordland()).unwrap();
    write_norrbotten(&data.join("norrbotten"), &episodes(5_000));
    fs::write(data.join("norrbotten/policy.toml"), NORRBOTTEN).unwrap();
    init(&InitOptions {
        folder: folder.path().join("federation"),
        regions: vec![],
        data: None,
        unit: None,
        policy: Some(data),
        port: 0,
    })
    .unwrap();
    folder
}

async fn ask(regions: &Randhie, sql: &str) -> RecordBatch {
    let question = Question {
        epsilon: Some(Epsilon::try_from(200.0).unwrap()),
        ..Question::new(sql)
    };
    regions.client.query(&question).await.unwrap().rows
}

#[tokio::test(flavor = "multi_thread")]
async fn different_systems_answer_one_sql_alike() {
    let regions = start(write_regions(None)).await;
    let listed = |episode: &&Episode| episode.person < 5_000 || episode.person % 10 != 0;
    let all: Vec<(&str, Vec<Episode>)> = vec![
        ("nordland", episodes(1_000)),
        ("norrbotten", episodes(5_000)),
    ];
    let since = 19_358;

    let rows = ask(
        &regions,
        "SELECT region, service, COUNT(*) AS n, COUNT(DISTINCT patient_id) AS persons, \
         SUM(LEAST(cost, 1000)) AS cost FROM episodes WHERE start_date >= '2023-01-01' \
         GROUP BY region, service ORDER BY region, service",
    )
    .await;
    let names = keys(&rows, &["region", "service"]);
    assert_eq!(names.len(), 8, "{names:?}");
    for (row, name) in names.iter().enumerate() {
        let (region, service) = name.split_once('/').unwrap();
        let (_, of_region) = all.iter().find(|(name, _)| *name == region).unwrap();
        let meant: Vec<&Episode> = of_region
            .iter()
            .filter(listed)
            .filter(|episode| episode.service == service && episode.day >= since)
            .collect();
        let mut persons: Vec<i64> = meant.iter().map(|episode| episode.person).collect();
        persons.dedup();
        let cost: f64 = meant.iter().map(|episode| episode.cost).sum();
        for (column, truth) in [
            ("n", meant.len() as f64),
            ("persons", persons.len() as f64),
            ("cost", cost),
        ] {
            let figure = numbers(&rows, column)[row];
            let sd = numbers(&rows, &format!("{column}_sd"))[row];
            assert!(
                (figure - truth).abs() <= 12.0 * sd + 0.51,
                "{name} {column}: {figure} {truth}"
            );
            // So little noise that another mapping would show.
            assert!(
                meant.is_empty() || sd < 0.02 * truth.max(50.0),
                "{name} {column}: {sd} of {truth}"
            );
        }
        assert_eq!(service == "home_nursing", meant.is_empty());
    }

    // Persons with two or more admissions, over both regions at once.
    let rows = ask(
        &regions,
        "SELECT COUNT(*) AS n FROM (SELECT patient_id, COUNT(*) AS times FROM episodes \
         WHERE service = 'acute_admission' GROUP BY patient_id) t WHERE times >= 2",
    )
    .await;
    let mut times: BTreeMap<i64, usize> = BTreeMap::new();
    for episode in all.iter().flat_map(|(_, episodes)| episodes).filter(listed) {
        if episode.service == "acute_admission" {
            *times.entry(episode.person).or_default() += 1;
        }
    }
    let truth = times.values().filter(|times| **times >= 2).count() as f64;
    assert!((numbers(&rows, "n")[0] - truth).abs() <= 1.0, "{truth}");

    // The common table is there, what it is made of isn't.
    let catalogue = regions.client.catalogue().await.unwrap();
    let tables: Vec<&str> = catalogue["tables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|table| table["name"].as_str().unwrap())
        .collect();
    assert_eq!(tables, ["episodes"], "{catalogue}");
    let refusal = regions
        .client
        .query(&Question::new("SELECT COUNT(*) FROM besok"))
        .await
        .unwrap_err();
    assert_eq!(refusal.code, ErrorCode::UnknownTable);
}

/// Through a view nothing but the figures differs either, with or without one person.
#[tokio::test(flavor = "multi_thread")]
async fn twins_are_alike_through_views() {
    let person = episodes(1_000)[0].person;
    let with = start(write_regions(None)).await;
    let without = start(write_regions(Some(person))).await;
    for sql in [
        "SELECT service, COUNT(*) AS n, SUM(cost) AS c FROM episodes GROUP BY service",
        "SELECT region, COUNT(DISTINCT patient_id) AS n FROM episodes WHERE cost > 990 GROUP BY region",
        "SELECT AVG(cost) AS m FROM episodes WHERE 1 / CAST(cost - 999.75 AS BIGINT) > 0",
        "SELECT COUNT(*) AS n FROM episodes a JOIN episodes b ON a.patient_id = b.patient_id AND a.start_date < b.start_date",
        "SELECT date_trunc('year', start_date) AS y, COUNT(*) AS n FROM episodes GROUP BY 1",
        "SELECT MAX(cost) AS m FROM episodes",
        "SELECT * FROM episodes",
        "SELECT cost, COUNT(*) AS n FROM episodes GROUP BY cost",
        "SELECT patient_id, COUNT(*) AS n FROM episodes GROUP BY patient_id",
        "SELECT COUNT(*) AS n FROM besok",
    ] {
        same_but_for_figures(&with, &without, sql).await;
    }
}

#[tokio::test]
async fn the_doctor_explains_a_faulty_view() {
    let folder = write_regions(None);
    let file = folder.path().join("federation/norrbotten/node.toml");
    let text = fs::read_to_string(&file).unwrap();
    let of_views = async || -> Vec<(String, Verdict, String)> {
        let mut findings = doctor(&file).await;
        findings.retain(|finding| finding.subject.starts_with("view "));
        findings
            .into_iter()
            .map(|found| {
                (
                    found.subject,
                    found.verdict,
                    format!("{} {}", found.message, found.advice),
                )
            })
            .collect()
    };
    let right = of_views().await;
    assert_eq!(right.len(), 2, "{right:?}");
    assert!(
        right
            .iter()
            .all(|(_, verdict, _)| *verdict == Verdict::Right),
        "{right:?}"
    );
    assert!(
        right[1]
            .2
            .contains("one person is a patient_id, at most 10 rows each"),
        "{right:?}"
    );
    for (from, to, subject, part) in [
        (
            "FROM slutenvard",
            "FROM slutenvord",
            "view alla",
            "Did you mean `slutenvard`?",
        ),
        (
            "CASE typ WHEN",
            "CASE typen WHEN",
            "view alla",
            "Did you mean `typ`?",
        ),
        (
            "kostnad AS cost",
            "kostnad AS kost",
            "view episodes",
            "did you mean `kost`?",
        ),
        (
            "kostnad AS cost",
            "median(kostnad) AS cost",
            "view episodes",
            "",
        ),
        (
            "start_date = { range",
            "service2 = {}\nstart_date = { range",
            "view episodes",
            "gives no column service2",
        ),
        (
            "cost = { range = [0, 50_000] }",
            "cost = { values = [\"x\"] }",
            "view episodes",
            "'x' is no float",
        ),
    ] {
        assert!(text.contains(from), "{from}");
        fs::write(&file, text.replacen(from, to, 1)).unwrap();
        let found = of_views().await;
        let wrong: Vec<_> = found
            .iter()
            .filter(|(_, verdict, _)| *verdict == Verdict::Wrong)
            .collect();
        assert_eq!(wrong.len(), 1, "{to}: {found:?}");
        assert_eq!(wrong[0].0, subject, "{found:?}");
        assert!(wrong[0].2.contains(part), "{to}: {found:?}");
    }
}
