//! What is told of views that can't be used.

use std::path::Path;

use datafusion::prelude::SessionContext;

use super::{Catalogue, CatalogueError};
use crate::config::NodeConfig;

const TABLES: &str = r#"
region = "site1"
listen = "127.0.0.1:0"
persons = 1200

[budget]
project = { epsilon = 1.0, delta = 0 }
total   = { epsilon = 1.0, delta = 0 }

[[table]]
name = "visits"
path = "region=1.parquet"
unit = "person_id"
max_rows_per_unit = 5
hidden = true

[table.columns]
person_id = {}
plan   = { values = [1, 2, 3] }
mdvis  = { range = [0, 77] }
health = {}
"#;

/// The refusal of a view.
async fn refused(sql: &str, rest: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/randhie");
    let sql = format!("\"\"\"{sql}\"\"\"");
    let text = format!("{TABLES}\n[[view]]\nname = \"v\"\nsql = {sql}\n{rest}");
    let config = NodeConfig::parse(&folder.join("node.toml"), &text).unwrap();
    match Catalogue::open(&config, &SessionContext::new()).await {
        Ok(_) => panic!("{sql} was opened"),
        Err(CatalogueError::View { view, refusal }) => {
            assert_eq!(view, "v");
            format!("{} | {}", refusal.message, refusal.hint)
        }
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_faulty_view_is_explained() {
    let columns = "[view.columns]\nperson_id = {}\nplan = {}\n";
    for (sql, parts) in [
        (
            "SELECT person_id, plan FROM vists",
            ["no table `vists`", "Did you mean `visits`?"],
        ),
        (
            "SELECT person_id, pln AS plan FROM visits",
            ["no column `pln`", "Did you mean `plan`?"],
        ),
        (
            "SELECT person_id, plan AS paln FROM visits",
            ["its SQL gives no column plan", "did you mean `paln`?"],
        ),
        (
            "SELECT person_id, plan FROM visits LIMIT 10",
            ["LIMIT", "hang on other persons"],
        ),
        (
            "SELECT person_id, CAST(random() AS BIGINT) AS plan FROM visits",
            ["random()", "the functions are"],
        ),
        (
            "SELECT plan, COUNT(*) AS person_id FROM visits GROUP BY plan",
            [
                "grouped by the privacy unit",
                "group the inner query by the unit",
            ],
        ),
        (
            "SELECT a.person_id, b.plan FROM visits a JOIN visits b ON a.plan = b.plan",
            ["something else than the privacy unit", "ON a.unit = b.unit"],
        ),
        (
            "SELECT mdvis AS person_id, plan FROM visits",
            [
                "none of its columns is the privacy unit",
                "unit column as it is",
            ],
        ),
        (
            "SELECT person_id, person_id AS plan FROM visits",
            [
                "person_id and plan are both the privacy unit",
                "declare one",
            ],
        ),
        ("SELECT person_id, plan FROM", ["", ""]),
        ("DROP TABLE visits", ["one SELECT", "as in SELECT"]),
        (
            "SELECT person_id FROM visits; SELECT 1",
            ["single SQL statement", ""],
        ),
        (
            "SELECT a.person_id, a.plan, b.plan FROM visits a JOIN visits b ON a.person_id = b.person_id",
            ["gives two columns plan", "name each with AS"],
        ),
        (
            "SELECT b.person_id AS person_id, a.plan FROM visits a LEFT JOIN (SELECT * FROM visits WHERE mdvis > 3) b ON a.person_id = b.person_id",
            ["is nobody where a left join finds nothing", "left side"],
        ),
    ] {
        let told = refused(sql, columns).await;
        for part in parts {
            assert!(told.contains(part), "{sql}: {told}");
        }
    }
}

#[tokio::test]
async fn declarations_that_dont_fit_are_explained() {
    let sql = "SELECT person_id, plan, mdvis / 2.0 AS half, health FROM visits";
    for (columns, part) in [
        (
            "plan = { values = [\"A\"] }",
            "column plan: 'A' is no integer",
        ),
        (
            "half = { range = [\"2019-01-01\", \"2020-01-01\"] }",
            "is no float",
        ),
        ("health = { range = [1, 2] }", "a text column has no range"),
        ("service = { values = [1] }", "gives no column service"),
    ] {
        let told = refused(
            sql,
            &format!("[view.columns]\nperson_id = {{}}\n{columns}\n"),
        )
        .await;
        assert!(told.contains(part), "{columns}: {told}");
    }
    let told = refused(sql, "[view.columns]\nperson_id = { values = [1] }\n").await;
    assert!(told.contains("who is in the data is not public"), "{told}");
}

/// A person has one id in all tables of a node: ids of two kinds are not told apart by a join.
#[tokio::test]
async fn units_of_two_kinds_are_refused() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/randhie");
    let open = async |unit: &str| {
        let text = format!(
            "{TABLES}\n[[table]]\nname = \"others\"\npath = \"region=1.parquet\"\n\
             unit = \"{unit}\"\nmax_rows_per_unit = 5\n\n[table.columns]\n{unit} = {{}}\n"
        );
        let config = NodeConfig::parse(&folder.join("node.toml"), &text).unwrap();
        let opened = Catalogue::open(&config, &SessionContext::new()).await;
        opened.map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(open("person_id").await, Ok(()));
    let told = open("health").await.unwrap_err();
    assert!(
        told.contains("table others") && told.contains("another type than that of table visits"),
        "{told}"
    );
}
