use std::{path::Path, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    datatypes::{Float64Type, Int64Type},
    util::pretty::pretty_format_batches,
};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use serde_json::Value;

use super::*;

const PEOPLE: u64 = 6_000;

fn options(directory: &Path) -> SynthOptions {
    SynthOptions {
        threads: 2,
        ..SynthOptions::new(directory, PEOPLE)
    }
}

fn federation(change: impl FnOnce(&mut SynthOptions)) -> (tempfile::TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder.path().join("federation"));
    change(&mut options);
    let summary = generate(&options, &|_| ()).unwrap();
    let text = std::fs::read_to_string(options.directory.join("truth.json")).unwrap();
    let truth: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(truth["episodes"].as_u64(), Some(summary.episodes));
    (folder, truth)
}

async fn query(folder: &Path, region: &str, sql: &str) -> Vec<RecordBatch> {
    let context = SessionContext::new();
    for (place, tables) in [
        (region, &PRIVATE_TABLES[..]),
        (
            "public",
            &["municipalities", "population", "standard_populations"][..],
        ),
    ] {
        for table in tables {
            let path = folder.join(format!("federation/{place}/{table}.parquet"));
            let path = path.to_str().unwrap().to_owned();
            context
                .register_parquet(*table, path, ParquetReadOptions::default())
                .await
                .unwrap();
        }
    }
    context.sql(sql).await.unwrap().collect().await.unwrap()
}

const PRIVATE_TABLES: [&str; 6] = [
    "patients",
    "episodes",
    "conditions",
    "inclusions",
    "pathway_steps",
    "surveys",
];

/// The rows of a query as text: what two federations are compared by.
async fn shown(folder: &Path, region: &str, sql: &str) -> String {
    pretty_format_batches(&query(folder, region, sql).await)
        .unwrap()
        .to_string()
}

/// The only number of a query's only row.
async fn number(folder: &Path, region: &str, sql: &str) -> f64 {
    let batches = query(folder, region, sql).await;
    let column: ArrayRef = Arc::clone(
        batches
            .iter()
            .find(|batch| batch.num_rows() == 1)
            .unwrap()
            .column(0),
    );
    let column = arrow::compute::cast(&column, &arrow::datatypes::DataType::Float64).unwrap();
    if column.is_null(0) {
        0.0
    } else {
        column.as_primitive::<Float64Type>().value(0)
    }
}

#[tokio::test]
async fn rows_follow_from_the_seed_alone() {
    let (first, truth) = federation(|options| options.threads = 1);
    let (second, again) = federation(|options| {
        options.threads = 5;
        options.row_group_rows = 777;
    });
    let (sorted, by_person) = federation(|options| options.sorted = true);
    let (other, differs) = federation(|options| options.seed = 2);
    assert_eq!(truth, again);
    assert_eq!(truth, by_person);
    assert_ne!(truth["regions"], differs["regions"]);
    for table in PRIVATE_TABLES {
        let all = format!("SELECT * FROM {table}");
        let region = "akershus";
        let rows = shown(first.path(), region, &all).await;
        assert!(rows.lines().count() > 10, "{table} is empty");
        // In the same order, whatever the threads and row groups.
        assert!(rows == shown(second.path(), region, &all).await, "{table}");
        assert!(rows != shown(other.path(), region, &all).await, "{table}");
    }
    let order = "SELECT * FROM episodes ORDER BY episode_id";
    let one = shown(first.path(), "nordland", order).await;
    assert!(one == shown(sorted.path(), "nordland", order).await);
}

#[tokio::test]
async fn episodes_come_in_the_order_that_was_asked_for() {
    let (scattered, _) = federation(|_| ());
    let (sorted, _) = federation(|options| options.sorted = true);
    let ids = async |folder: &Path| -> Vec<i64> {
        query(folder, "akershus", "SELECT patient_id FROM episodes")
            .await
            .iter()
            .flat_map(|batch| {
                batch
                    .column(0)
                    .as_primitive::<Int64Type>()
                    .values()
                    .to_vec()
            })
            .collect()
    };
    assert!(ids(sorted.path()).await.is_sorted());
    let ids = ids(scattered.path()).await;
    let falls = ids.windows(2).filter(|pair| pair[0] > pair[1]).count();
    assert!(falls * 3 > ids.len());
}

#[tokio::test]
async fn truth_is_what_the_rows_say() {
    let (folder, truth) = federation(|_| ());
    let folder = folder.path();
    for region in REGIONS {
        let truth = &truth["regions"][region];
        let same = async |what: &Value, sql: &str| {
            let found = number(folder, region, sql).await;
            assert_eq!(what.as_f64().unwrap(), found, "{region}: {sql}");
        };
        same(&truth["persons"], "SELECT COUNT(*) FROM patients").await;
        same(&truth["episodes"], "SELECT COUNT(*) FROM episodes").await;
        same(
            &truth["persons_with_episodes"],
            "SELECT COUNT(DISTINCT patient_id) FROM episodes",
        )
        .await;
        same(
            &truth["most_episodes_of_a_person"],
            "SELECT MAX(n) FROM (SELECT COUNT(*) AS n FROM episodes GROUP BY patient_id)",
        )
        .await;
        for (service, known) in truth["by_service"].as_object().unwrap() {
            let from = format!("FROM episodes WHERE service = '{service}'");
            same(&known["episodes"], &format!("SELECT COUNT(*) {from}")).await;
            same(&known["cost"], &format!("SELECT SUM(cost) {from}")).await;
        }
        same(
            &truth["persons_with_three_acute_admissions_by_year"][4],
            "SELECT COUNT(*) FROM (SELECT patient_id FROM episodes WHERE urgent
               AND service = 'hospital_admission' AND EXTRACT(YEAR FROM start_date) = 2023
               GROUP BY patient_id HAVING COUNT(*) >= 3)",
        )
        .await;
        same(
            &truth["answers"]["patient"]["overall"][4],
            "SELECT COUNT(*) FROM surveys
             WHERE respondent = 'patient' AND question = 'overall' AND answer = 5",
        )
        .await;
        same(
            &truth["access"]["outpatient"]["waited"],
            "SELECT COUNT(waited_days) FROM episodes WHERE service = 'outpatient'",
        )
        .await;
    }
}

/// Before and after as the study counts it, from the written definitions.
#[tokio::test]
async fn effects_are_in_the_rows() {
    let (folder, truth) = federation(|options| options.people = 20_000);
    let region = "akershus";
    for measure in ["gp", "acute_admission", "elective_admission", "readmission"] {
        let predicate = truth["measures"][measure].as_str().unwrap();
        for (name, window) in [
            (
                "before",
                "start_date < included_on AND start_date >= included_on - 365",
            ),
            (
                "after",
                "start_date >= included_on AND start_date < included_on + 365",
            ),
        ] {
            let known: u64 = truth["regions"][region]["before_after"]
                .as_object()
                .unwrap()
                .values()
                .map(|place| &place["integrated"]["measures"][measure][name]["episodes"])
                .filter_map(Value::as_u64)
                .sum();
            let window = window
                .replace("- 365", "- INTERVAL '365 days'")
                .replace("+ 365", "+ INTERVAL '365 days'");
            let found = number(
                folder.path(),
                region,
                &format!(
                    "SELECT COUNT(*) FROM episodes JOIN inclusions USING (patient_id)
                     WHERE {predicate} AND {window} AND pathway = 'integrated'
                       AND included_on <= DATE '2024-01-02'
                       AND (end_reason IS NULL OR end_reason NOT IN ('moved', 'died')
                            OR ended_on >= included_on + INTERVAL '365 days')"
                ),
            )
            .await;
            assert_eq!(known as f64, found, "{measure} {name}");
        }
    }
    let change = |measure: &str| {
        let total = |side: &str| -> f64 {
            let regions = truth["regions"].as_object().unwrap().values();
            regions
                .flat_map(|region| region["before_after"].as_object().unwrap().values())
                .map(|place| &place["integrated"]["measures"][measure][side]["episodes"])
                .filter_map(Value::as_f64)
                .sum()
        };
        total("after") / total("before")
    };
    assert!(change("gp") > 1.0, "{}", change("gp"));
    assert!(change("home_nursing") > 1.0, "{}", change("home_nursing"));
    assert!(
        change("acute_admission") < 1.0,
        "{}",
        change("acute_admission")
    );
    assert!(
        change("emergency_clinic") < 1.0,
        "{}",
        change("emergency_clinic")
    );
}

#[tokio::test]
async fn every_row_keeps_the_declarations() {
    let (folder, truth) = federation(|_| ());
    assert!(truth["regions"]["nordland"]["most_episodes_of_a_person"].as_u64() < Some(400));
    for region in ["akershus", "north_jutland"] {
        let path = folder
            .path()
            .join(format!("federation/{region}/policy.toml"));
        let policy: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
        for table in policy["table"].as_array().unwrap() {
            let name = table["name"].as_str().unwrap();
            let Some(most) = table.get("max_rows_per_unit") else {
                continue;
            };
            let rows = format!(
                "SELECT MAX(n) FROM (SELECT COUNT(*) AS n FROM {name} GROUP BY patient_id)"
            );
            let rows = number(folder.path(), region, &rows).await;
            assert!(
                rows > 0.0 && rows <= most.as_integer().unwrap() as f64,
                "{name}: {rows}"
            );
            for (column, domain) in table["columns"].as_table().unwrap() {
                let Some(test) = outside(column, domain) else {
                    continue;
                };
                let sql = format!("SELECT COUNT(*) FROM {name} WHERE {test}");
                assert_eq!(number(folder.path(), region, &sql).await, 0.0, "{sql}");
            }
        }
    }
}

/// The condition of a row that a declaration rules out.
fn outside(column: &str, domain: &toml::Value) -> Option<String> {
    let literal = |value: &toml::Value| value.to_string().replace('"', "'");
    if let Some(range) = domain.get("range") {
        let cast = if range[0].is_str() { "DATE " } else { "" };
        let (low, high) = (literal(&range[0]), literal(&range[1]));
        return Some(format!("{column} NOT BETWEEN {cast}{low} AND {cast}{high}"));
    }
    let values = domain.get("values")?.as_array().unwrap();
    let values: Vec<String> = values.iter().map(literal).collect();
    let nulls = domain.get("nulls").and_then(toml::Value::as_bool) == Some(false);
    let null = if nulls {
        format!(" OR {column} IS NULL")
    } else {
        String::new()
    };
    Some(format!("{column} NOT IN ({}){null}", values.join(", ")))
}

#[tokio::test]
async fn use_is_long_tailed_and_about_ten_a_person() {
    let (_folder, truth) = federation(|options| options.people = 20_000);
    let mean = truth["episodes"].as_f64().unwrap() / 20_000.0;
    assert!((9.3..10.7).contains(&mean), "{mean}");
    for region in REGIONS {
        let share = truth["regions"][region]["share_of_top_twentieth"]
            .as_f64()
            .unwrap();
        assert!((0.30..0.60).contains(&share), "{region}: {share}");
    }
    let most = |region: &str| truth["regions"][region]["most_episodes_of_a_person"].as_u64();
    assert!(REGIONS.iter().filter_map(|region| most(region)).max() > Some(150));
}

#[tokio::test]
async fn the_population_table_is_the_people() {
    let (folder, _) = federation(|_| ());
    for region in REGIONS {
        let born = "SELECT COUNT(*) FROM patients LEFT JOIN inclusions USING (patient_id)
            WHERE municipality = (SELECT MIN(municipality) FROM patients) AND birth_year <= 2022
              AND NOT COALESCE(end_reason IN ('moved', 'died')
                               AND ended_on <= DATE '2022-01-01', false)";
        let counted = format!(
            "SELECT SUM(persons) FROM population WHERE region = '{region}' AND year = 2022
               AND municipality = (SELECT MIN(municipality) FROM patients)"
        );
        assert_eq!(
            number(folder.path(), region, born).await,
            number(folder.path(), region, &counted).await,
            "{region}"
        );
    }
}

#[test]
fn a_federation_is_never_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = SynthOptions::new(folder.path(), 500);
    let heard = AtomicU64::new(0);
    let summary = generate(&options, &|progress| {
        heard.fetch_max(progress.episodes, Ordering::Relaxed);
    })
    .unwrap();
    assert_eq!(summary.episodes, heard.into_inner());
    assert_eq!(summary.regions, REGIONS);
    let again = generate(&options, &|_| ());
    assert!(matches!(again, Err(SynthError::Exists(_))));
    options.people = 10;
    assert!(matches!(
        generate(&options, &|_| ()),
        Err(SynthError::Option(_))
    ));
}

/// What `skerry init --policy` makes of the policies, a node opens.
#[tokio::test]
async fn nodes_open_the_policies() {
    let (folder, _) = federation(|_| ());
    let data = folder.path().join("federation");
    for (name, policy) in [("all", data.join("policy.toml")), ("each", data.clone())] {
        let options = crate::init::InitOptions {
            folder: folder.path().join(name),
            regions: REGIONS.iter().map(|id| id.parse().unwrap()).collect(),
            data: None,
            unit: None,
            policy: Some(policy),
            port: 0,
        };
        let written = crate::init::init(&options).unwrap();
        assert_eq!(written.regions.len(), REGIONS.len());
        for region in REGIONS {
            let file = options.folder.join(region).join("node.toml");
            let config = skerry_node::config::NodeConfig::load(&file).unwrap();
            skerry_node::Node::open(&config).await.unwrap();
        }
    }
}
