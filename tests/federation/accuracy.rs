//! An accuracy in place of an ε, asked of nodes with real data.

use serde_json::Value as Json;
use skerry::output::answer_json;
use skerry_coordinator::{client::Client, question::Question};
use skerry_proto::{Delta, Epsilon};

use crate::support::{start_and_connect, write_randhie};

async fn rows(client: &Client, question: &Question) -> (Vec<Json>, Json) {
    let answer = client.query(question).await;
    let answer = answer.unwrap_or_else(|refusal| panic!("{refusal:?}: {}", question.sql));
    let json = answer_json(&answer).unwrap();
    (json["rows"].as_array().unwrap().clone(), json)
}

/// What a statement would cost, and the widest half interval of the figures that it shows.
async fn explained(client: &Client, question: Question) -> (f64, f64) {
    let by_region = question.sql.contains("GROUP BY region");
    let question = Question {
        explain: true,
        ..question
    };
    let (rows, _) = rows(client, &question).await;
    let epsilon = rows[0]["epsilon"].as_f64().unwrap();
    let shown = rows
        .iter()
        .filter(|row| row["release"].is_number() && (row["region"] == "all regions") != by_region);
    let widths = shown.map(|row| row["half_width_95"].as_f64().unwrap());
    (epsilon, widths.fold(0.0, f64::max))
}

/// With five per cent less ε it wouldn't have been accurate enough, as the nodes themselves quote.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_is_spent_than_the_accuracy_takes() {
    let folder = tempfile::tempdir().unwrap();
    write_randhie(folder.path());
    let (federation, client) = start_and_connect(folder.path()).await;
    let by_region = "SELECT region, COUNT(*) AS n FROM visits GROUP BY region";
    let by_plan = "SELECT year, plan, COUNT(*) AS n FROM visits GROUP BY year, plan";
    for (sql, accuracy, target, delta) in [
        (by_region, "±25", 25.0, 0.0),
        (by_region, "±2", 2.0, 0.0),
        (by_region, "±25", 25.0, 1e-7),
        ("SELECT COUNT(*) AS n FROM visits", "±60", 60.0, 0.0),
        (by_plan, "±90", 90.0, 1e-7),
        (by_plan, "±20", 20.0, 1e-7),
        (
            "SELECT SUM(LEAST(mdvis, 20)) AS visits FROM visits",
            "±5% of 30000",
            1_500.0,
            0.0,
        ),
    ] {
        let question = Question {
            delta: Delta::try_from(delta).ok(),
            ..Question::new(sql)
        };
        let sought = Question {
            accuracy: Some(accuracy.parse().unwrap()),
            ..question.clone()
        };
        let (epsilon, half_width) = explained(&client, sought).await;
        assert!(half_width <= target, "{sql} {accuracy}: {half_width}");
        let less = Question {
            epsilon: Some(Epsilon::try_from(epsilon * 0.95).unwrap()),
            ..question
        };
        let (_, half_width) = explained(&client, less).await;
        assert!(half_width > target, "{sql} {accuracy}: {half_width}");
    }
    federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accuracy_is_answered_and_charged_as_told() {
    let folder = tempfile::tempdir().unwrap();
    write_randhie(folder.path());
    let (federation, client) = start_and_connect(folder.path()).await;
    let by_region = "SELECT region, COUNT(*) AS n FROM visits GROUP BY region";
    for accuracy in ["±25", "±5%"] {
        let question = Question {
            accuracy: Some(accuracy.parse().unwrap()),
            ..Question::new(by_region)
        };
        let (rows, json) = rows(&client, &question).await;
        assert_eq!(rows.len(), 6);
        let of = |row: &Json, name: &str| row[name].as_f64().unwrap();
        let smallest = rows
            .iter()
            .map(|row| of(row, "n"))
            .fold(f64::INFINITY, f64::min);
        for row in &rows {
            // Bounds of whole numbers are rounded outwards. The smallest figure's size is known
            // to half of itself when ±5 % of it is planned for.
            let target = if accuracy == "±5%" {
                0.05 * 1.5 * smallest
            } else {
                25.0
            };
            let width = of(row, "n_high") - of(row, "n_low");
            assert!(width <= 2.0 * target + 2.0, "{accuracy}: {row}");
        }
        let privacy = &json["privacy"];
        let told = privacy["epsilon"].as_f64().unwrap();
        for region in ["1", "2", "3", "4", "5", "6"] {
            let charged = privacy["regions"][region]["epsilon"].as_f64().unwrap();
            assert!((charged - told).abs() < 1e-6, "{accuracy}: {privacy}");
        }
    }
    // A project's cap is 20.
    let question = Question {
        accuracy: Some("±0.2".parse().unwrap()),
        ..Question::new(by_region)
    };
    let refusal = client.query(&question).await.unwrap_err();
    assert!(refusal.message.contains("is reachable"), "{refusal:?}");
    federation.stop().await;
}
