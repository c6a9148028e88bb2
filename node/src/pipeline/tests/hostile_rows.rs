//! Rows and values that were made to make an execution fail.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_rows_fail_nothing() {
    let bench = bench().await;
    for sql in [
        "SELECT COUNT(*) FROM visits WHERE 1 / (person_id - 125024) > 0",
        "SELECT SUM(CASE WHEN person_id = 125024 THEN 1 / (mdvis - mdvis) ELSE 0 END) FROM visits",
        "SELECT COUNT(*) FROM visits WHERE CAST(health AS INT) > 0",
        "SELECT COUNT(*) FROM visits WHERE 9223372036854775807 + mdvis > 0",
    ] {
        through_the_node(&bench, sql).await;
    }
}

/// Nothing in a question can fail on a row, whatever its literals and the data are: a failure
/// would be a bit about one person without noise. Each expression is put behind a condition, so
/// that only some rows meet it.
#[tokio::test(flavor = "multi_thread")]
async fn extreme_values_never_fail() {
    let bench = bench().await;
    let behind = |then: &str, otherwise: &str| {
        format!("CASE WHEN mdvis > 3 AND health = 'poor' THEN {then} ELSE {otherwise} END")
    };
    let date = |literal: &str| behind(&format!("DATE '{literal}'"), "DATE '2020-01-01'");
    let far = "CAST(CAST(2147483647 AS INTEGER) AS DATE)";
    let pattern = format!("{}%", "_".repeat(200));
    let minimum = "(0 - 9223372036854775807 - 1)";
    let mut conditions = vec![
        format!("health LIKE '{pattern}'"),
        format!("health ILIKE '%{pattern}'"),
        format!("{} / (mdvis - mdvis - 1) > 0", behind(minimum, "1")),
        format!("{} % (mdvis - mdvis - 1) > 0", behind(minimum, "1")),
        format!("abs({}) > 0", behind(minimum, "1")),
        format!("{minimum} - mdvis > 0"),
        format!("CAST({} AS BIGINT) > 0", behind("1e300", "1.0")),
        format!("ROUND({}, 15) > 0", behind("1e308", "1.0")),
        format!("meddol / (meddol - meddol) > 0"),
        format!("SUBSTR(health, 2147483647, 2147483647) = ''"),
        format!("CAST(health AS DATE) IS NULL AND CAST(health AS DOUBLE) IS NULL"),
    ];
    for day in ["0001-01-01", "9999-12-31", "1677-01-01", "2262-12-31"] {
        let day = date(day);
        for unit in ["year", "quarter", "month", "week", "day"] {
            conditions.push(format!("date_trunc('{unit}', {day}) IS NOT NULL"));
            conditions.push(format!("date_part('{unit}', {day}) > 0"));
        }
        conditions.push(format!("CAST({day} AS VARCHAR) LIKE '9%'"));
        conditions.push(format!("{day} + INTERVAL '900 years' > DATE '2000-01-01'"));
        conditions.push(format!(
            "{day} - INTERVAL '300000 days' > DATE '2000-01-01'"
        ));
        conditions.push(format!(
            "CAST(CAST({day} AS TIMESTAMP) AS DATE) > DATE '2000-01-01'"
        ));
    }
    conditions.push(format!(
        "CAST({} AS VARCHAR) = ''",
        behind(far, "DATE '2020-01-01'")
    ));
    let mut answered = 0;
    for condition in conditions {
        let sql = format!("SELECT COUNT(*) FROM visits WHERE {condition}");
        let node = &bench.node;
        let Some(plan) = try_question(node, &sql) else {
            continue;
        };
        // Refused beforehand is fine; failing on data is not.
        let Ok(quoted) = Admitted::admit(node, &plan).and_then(|admitted| admitted.quote(node))
        else {
            continue;
        };
        let id: QueryId = uuid::Uuid::new_v4().to_string().parse().unwrap();
        let Decision::Execute(reserved) = quoted.reserve(node, id, true).unwrap() else {
            panic!("answered before");
        };
        assert!(reserved.execute(node).await.is_ok(), "{sql}");
        answered += 1;
    }
    assert!(answered >= 25, "{answered}");
}
