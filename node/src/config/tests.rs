use std::{path::Path, time::Duration};

use skerry_proto::{DataType, Value};

use super::{Domain, EngineConfig, NodeConfig};

const SAMPLE: &str = r#"
region = "norrbotten"
listen = "127.0.0.1:7501"
persons = 250_000

[budget]
project = { epsilon = 10.0, delta = 1e-7 }
total   = { epsilon = 30.0, delta = 4e-7 }

[[table]]
name = "visits"
path = "visits.parquet"
unit = "person_id"
max_rows_per_unit = 5

[table.columns]
person_id = {}
site      = { values = [1, 2, 3], nulls = false }
age       = { range = [0, 100.5] }
start     = { range = ["2019-01-01", "2024-12-31"] }
seen      = { range = [2019-01-01, 2024-12-31] }
diagnosis = {}
place     = { values_from = "places.code" }

[[table]]
name = "places"
path = "/data/places/*.csv"

[table.columns]
code = {}

[[view]]
name = "contacts"
sql = "SELECT person_id AS patient_id, diagnosis AS code FROM visits"
max_rows_per_unit = 4

[view.columns]
patient_id = {}
code       = { values = ["A", "B"] }
"#;

fn parse(text: &str) -> Result<NodeConfig, String> {
    NodeConfig::parse(Path::new("/etc/skerry/node.toml"), text).map_err(|error| error.to_string())
}

/// The error when `from` is replaced in the sample.
fn refused(from: &str, to: &str) -> String {
    assert!(SAMPLE.contains(from), "{from}");
    parse(&SAMPLE.replacen(from, to, 1)).expect_err(to)
}

#[test]
fn reads_the_sample() {
    let config = parse(SAMPLE).unwrap();
    assert_eq!(config.ledger, Path::new("/etc/skerry/ledger.sqlite"));
    assert_eq!(config.tls.key, Path::new("/etc/skerry/node.key"));
    assert_eq!(config.answers.time_grid, Duration::ZERO);
    let visits = config.table("visits").unwrap();
    assert_eq!(visits.path, Path::new("/etc/skerry/visits.parquet"));
    assert_eq!(visits.unit.as_ref().unwrap().max_rows, 5);
    let names: Vec<&str> = visits.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "person_id",
            "site",
            "age",
            "start",
            "seen",
            "diagnosis",
            "place"
        ]
    );
    assert!(!visits.column("site").unwrap().nulls);
    let range = Domain::Range {
        low: Value::Date(17_897),
        high: Value::Date(20_088),
    };
    assert_eq!(visits.column("start").unwrap().domain, range);
    assert_eq!(visits.column("seen").unwrap().domain, range);
    assert_eq!(
        visits.column("age").unwrap().domain,
        Domain::Range {
            low: Value::Float(0.0),
            high: Value::Float(100.5)
        }
    );
    let view = config.view("contacts").unwrap();
    assert!(view.sql.starts_with("SELECT person_id"));
    assert_eq!(view.max_rows, Some(4));
    let names: Vec<&str> = view.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["patient_id", "code"]);
    let places = config.table("places").unwrap();
    assert_eq!(places.path, Path::new("/data/places/*.csv"));
    assert!(!places.is_private());
}

#[test]
fn names_the_line_and_the_nearest_key() {
    let error = refused("max_rows_per_unit = 5", "max_rows = 5");
    assert!(
        error.contains("node.toml:14: unknown key `max_rows`"),
        "{error}"
    );
    assert!(
        error.contains("did you mean `max_rows_per_unit`?"),
        "{error}"
    );
    let error = refused("range = [0, 100.5]", "rang = [0, 100]");
    assert!(error.contains(":19: unknown key `rang`"), "{error}");
    assert!(error.contains("`range`?"), "{error}");
    let error = refused("persons = 250_000", "persons = \"many\"");
    assert!(
        error.contains(":4: found string \"many\", expected a whole number"),
        "{error}"
    );
    let error = refused("listen = \"127.0.0.1:7501\"\n", "");
    assert!(error.contains("missing key `listen`"), "{error}");
    let error = refused("unit = \"person_id\"", "unit = \"persn_id\"");
    assert!(
        error.contains(":13:") && error.contains("did you mean `person_id`?"),
        "{error}"
    );
}

#[test]
fn refuses_what_cannot_be_meant() {
    for (from, to, part) in [
        ("persons = 250_000", "persons = 0", ":4: `persons`"),
        ("persons = 250_000", "persons = -3", ":4: "),
        (
            "persons = 250_000",
            "persons = 300_000",
            "3.3e-7 for 300000 persons",
        ),
        ("epsilon = 10.0", "epsilon = nan", ":7: epsilon must be"),
        ("epsilon = 30.0", "epsilon = inf", ":8: epsilon must be"),
        ("epsilon = 10.0", "epsilon = 31.0", "over the total ε"),
        ("delta = 1e-7", "delta = 5e-7", "over the total δ"),
        (
            "max_rows_per_unit = 5",
            "max_rows_per_unit = 0",
            "must be from 1",
        ),
        ("max_rows_per_unit = 5", "", "no `max_rows_per_unit`"),
        ("unit = \"person_id\"", "", "would be public"),
        (
            "path = \"/data/places/*.csv\"",
            "path = \"/data/places/*.csv\"\nunit_space = \"hospital number\"",
            "`unit_space` without `unit`",
        ),
        (
            "path = \"/data/places/*.csv\"\n\n[table.columns]",
            "path = \"places.parquet\"\nunit = \"code\"\nunit_space = \"hospital number\"\n\
             max_rows_per_unit = 1\n\n[table.columns]",
            "`visits` and `places` don't number persons alike",
        ),
        ("[0, 100.5]", "[100, 0]", "above its high end"),
        ("[0, 100.5]", "[0, inf]", "not a finite number"),
        ("[0, 100.5]", "[0]", "two ends"),
        ("[0, 100.5]", "[\"a\", \"b\"]", "an end of a range"),
        (
            "[0, 100.5]",
            "[0, \"2020-01-01\"]",
            "different types: integer, date",
        ),
        ("\"2019-01-01\"", "\"2019-02-30\"", "an end of a range"),
        ("[1, 2, 3]", "[1, \"2\"]", "different types: integer, text"),
        ("[1, 2, 3]", "[1, 2, 1]", "1 is listed twice"),
        ("[1, 2, 3]", "[]", "an empty list"),
        ("[1, 2, 3]", "[nan]", "not a finite number"),
        (
            "person_id = {}",
            "person_id = { values = [1] }",
            "who is in the data",
        ),
        (
            "diagnosis = {}",
            "region = {}",
            "column of every private table",
        ),
        ("places.code", "place.code", "did you mean `places`?"),
        ("places.code", "places.cod", "did you mean `code`?"),
        ("places.code", "visits.diagnosis", "is private"),
        ("name = \"places\"", "name = \"Visits\"", "a second table"),
        ("name = \"places\"", "name = \"a/b\"", "not a table's name"),
        (
            "name = \"contacts\"",
            "name = \"Places\"",
            "a second table or view",
        ),
        (
            "name = \"contacts\"",
            "name = \"a b\"",
            "not a table's name",
        ),
        ("sql = \"SELECT", "query = \"SELECT", "unknown key `query`"),
        (
            "sql = \"SELECT person_id AS patient_id, diagnosis AS code FROM visits\"",
            "sql = \" \"",
            "needs a SELECT",
        ),
        (
            "max_rows_per_unit = 4",
            "max_rows_per_unit = 0",
            "must be from 1",
        ),
        (
            "max_rows_per_unit = 4",
            "path = \"x.parquet\"",
            "unknown key `path`",
        ),
        (
            "code       = {",
            "region     = {",
            "column of every private table",
        ),
        (
            "{ values = [\"A\", \"B\"] }",
            "{ values_from = \"visits.site\" }",
            "is private",
        ),
        (
            "[view.columns]\npatient_id = {}\ncode       = { values = [\"A\", \"B\"] }\n",
            "",
            "has no columns",
        ),
        (
            "region = \"norrbotten\"",
            "region = \"../x\"",
            "is not valid",
        ),
        ("\"127.0.0.1:7501\"", "\"7501\"", "no address"),
    ] {
        let error = refused(from, to);
        assert!(error.contains(part), "{to}: {error}");
    }
}

#[test]
fn domains_take_the_columns_type() {
    let dates = Domain::Range {
        low: Value::Date(0),
        high: Value::Date(0),
    };
    assert_eq!(
        dates.typed(DataType::Timestamp),
        Ok(Domain::Range {
            low: Value::Timestamp(0),
            high: Value::Timestamp(86_400_000_000 - 1),
        })
    );
    let texts = Domain::Values(vec![Value::Text("1970-01-02".into())]);
    assert_eq!(
        texts.typed(DataType::Date),
        Ok(Domain::Values(vec![Value::Date(1)]))
    );
    assert!(texts.typed(DataType::Integer).is_err());
    assert_eq!(
        Domain::Values(vec![Value::Float(2.0)]).typed(DataType::Integer),
        Ok(Domain::Values(vec![Value::Integer(2)]))
    );
    assert!(
        Domain::Values(vec![Value::Float(2.5)])
            .typed(DataType::Integer)
            .is_err()
    );
}

#[test]
fn an_engine_is_embedded_or_a_cluster() {
    let with = |engine: &str| SAMPLE.replacen("persons", &format!("engine = {engine}\npersons"), 1);
    assert_eq!(parse(SAMPLE).unwrap().engine, EngineConfig::Embedded);
    let embedded = with("{ kind = \"embedded\" }");
    assert_eq!(parse(&embedded).unwrap().engine, EngineConfig::Embedded);
    let cluster = with("{ kind = \"ballista\", scheduler = \"df://10.0.0.1:50050\" }");
    let expected = EngineConfig::Ballista {
        scheduler: "10.0.0.1:50050".into(),
        partitions: 16,
    };
    assert_eq!(parse(&cluster).unwrap().engine, expected);
    for (engine, error) in [
        ("{ kind = \"balista\" }", "did you mean `ballista`?"),
        ("{ kind = \"ballista\" }", "scheduler = \"df://"),
        (
            "{ kind = \"ballista\", scheduler = \"10.0.0.1:50050\" }",
            "no address of a Ballista",
        ),
        (
            "{ kind = \"ballista\", scheduler = \"df://10.0.0.1\" }",
            "no address of a Ballista",
        ),
        (
            "{ kind = \"ballista\", scheduler = \"df://a:1\", partitions = 1 }",
            "partitions",
        ),
        (
            "{ kind = \"embedded\", partitions = 4 }",
            "neither a scheduler nor partitions",
        ),
    ] {
        let found = parse(&with(engine)).expect_err(engine);
        assert!(found.contains(error), "{engine}: {found}");
    }
    let both = with("{ kind = \"ballista\", scheduler = \"df://a:1\" }\nprepared = \"prepared\"");
    assert!(parse(&both).unwrap_err().contains("embedded engine alone"));
}
