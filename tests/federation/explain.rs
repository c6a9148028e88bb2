//! What is told before anything is paid, held against what is answered then.

use serde_json::Value as Json;
use skerry::output::answer_json;
use skerry_coordinator::{client::Client, question::Question};

use crate::support::{start_and_connect, write_randhie};

async fn ask(client: &Client, question: &Question) -> Json {
    let answer = client.query(question).await;
    let answer = answer.unwrap_or_else(|refusal| panic!("{refusal:?}: {}", question.sql));
    answer_json(&answer).unwrap()
}

fn real(row: &Json, name: &str) -> f64 {
    let value = row[name].as_f64();
    value.unwrap_or_else(|| panic!("{name} in {row}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explanation_comes_true() {
    let folder = tempfile::tempdir().unwrap();
    write_randhie(folder.path());
    let (federation, client) = start_and_connect(folder.path()).await;
    for (options, rows_of_a_person) in [
        ("", 5.0),
        (
            "WITH DIFFERENTIAL_PRIVACY OPTIONS(max_rows_contributed = 2)",
            2.0,
        ),
    ] {
        let sql = format!(
            "SELECT {options} region, COUNT(*) AS n, 2 * COUNT(*) AS twice FROM visits \
             GROUP BY region ORDER BY region"
        );
        let question = Question {
            explain: true,
            ..Question::new(sql.clone())
        };
        let explained = ask(&client, &question).await;
        let told = explained["rows"].as_array().unwrap();
        let again = ask(&client, &question).await;
        assert_eq!(again["rows"], explained["rows"], "it costs nothing");
        let answer = ask(&client, &Question::new(sql)).await;
        let rows = answer["rows"].as_array().unwrap();
        let of_answer = |name: &str| {
            let line = told
                .iter()
                .find(|line| line["region"] == "answer" && line["aggregate"] == name);
            line.unwrap_or_else(|| panic!("{name} in {told:?}"))
        };
        for row in rows {
            let region = row["region"].as_str().unwrap();
            let line = told.iter().find(|line| line["region"] == region).unwrap();
            let expected = real(line, "half_width_95");
            // Bounds of whole numbers are rounded outwards.
            for (name, times) in [("n", 1.0), ("twice", 2.0)] {
                let width = real(row, &format!("{name}_high")) - real(row, &format!("{name}_low"));
                let of_answer = real(of_answer(name), "half_width_95");
                let slack = 2.0 + 0.35 * times * expected * (times - 1.0);
                assert!((of_answer - times * expected).abs() < slack, "{told:?}");
                assert!(
                    (width / 2.0 - times * expected).abs() < slack,
                    "{row} {line}"
                );
            }
            let sd = real(line, "noise_sd");
            assert!((real(row, "n_sd") / sd - 1.0).abs() < 0.01, "{row} {line}");
            let persons = real(line, "noise_persons");
            assert!(
                (persons * rows_of_a_person / sd - 1.0).abs() < 0.01,
                "{line}"
            );
            // Between the half width of a difference, and twice that.
            let difference = real(line, "smallest_difference");
            assert!(
                difference > 1.3 * expected && difference < 2.6 * expected,
                "{line}"
            );
            let charge = &answer["privacy"]["regions"][region];
            assert!((real(charge, "epsilon") - real(line, "epsilon")).abs() < 1e-9);
            let left = real(charge, "epsilon_left");
            assert!(
                (left - real(line, "epsilon_left_after")).abs() < 1e-6,
                "{line}"
            );
        }
    }
    federation.stop().await;
}

/// Bounds that are still to be found, and what a project can't pay.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_known_or_not_affordable_is_told() {
    let folder = tempfile::tempdir().unwrap();
    write_randhie(folder.path());
    let (federation, client) = start_and_connect(folder.path()).await;
    let notes = async |sql: &str| -> Vec<String> {
        let explained = ask(&client, &Question::new(sql)).await;
        let rows = explained["rows"].as_array().unwrap();
        let notes = rows.iter().filter_map(|row| row["note"].as_str());
        notes.map(str::to_owned).collect()
    };
    let found = notes("EXPLAIN PRIVACY SELECT SUM(meddol) AS s FROM visits").await;
    let told = |notes: &[String], text: &str| notes.iter().any(|note| note.contains(text));
    assert!(
        told(&found, "a tenth of epsilon finds narrower ones"),
        "{found:?}"
    );
    let dear = notes(
        "EXPLAIN PRIVACY SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 30) COUNT(*) AS n \
         FROM visits",
    )
    .await;
    assert!(
        told(&dear, "budget_exhausted: less is left to the project"),
        "{dear:?}"
    );
    federation.stop().await;
}
