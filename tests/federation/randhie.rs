//! Real data of six sites, asked through the whole way.

use skerry::output::answer_json;
use skerry_coordinator::question::Question;

use crate::support::{start_and_connect, write_randhie};

#[tokio::test(flavor = "multi_thread")]
async fn six_sites_answer_with_intervals_and_what_it_cost() {
    let folder = tempfile::tempdir().unwrap();
    write_randhie(folder.path());
    let (federation, client) = start_and_connect(folder.path()).await;

    let question = Question::new(
        "SELECT region, COUNT(DISTINCT person_id) AS persons FROM visits GROUP BY region ORDER BY region",
    );
    let answer = answer_json(&client.query(&question).await.unwrap()).unwrap();
    let rows = answer["rows"].as_array().unwrap();
    let published = [1164.0, 1232.0, 735.0, 905.0, 786.0, 1090.0];
    assert_eq!(rows.len(), published.len());
    for (row, published) in rows.iter().zip(published) {
        let persons = row["persons"].as_f64().unwrap();
        // Discrete Laplace at ε = 1: past 25 with a chance of 2e-11.
        assert!((persons - published).abs() < 25.0, "{row}");
        assert!(row["persons_low"].as_f64() <= Some(persons), "{row}");
        assert!(row["persons_high"].as_f64() >= Some(persons), "{row}");
    }
    let charge = &answer["privacy"]["regions"]["3"];
    assert_eq!(charge["mechanism"], "discrete Laplace", "{answer:#}");
    assert_eq!(charge["charged"], true);
    assert_eq!(answer["regions"]["missing"].as_array().unwrap().len(), 0);

    // The same question again is the same answer, and free.
    let again = answer_json(&client.query(&question).await.unwrap()).unwrap();
    assert_eq!(again["rows"], answer["rows"]);
    assert_eq!(again["privacy"]["regions"]["3"]["charged"], false);

    let total = Question::new("SELECT SUM(mdvis) AS visits FROM visits");
    let total = answer_json(&client.query(&total).await.unwrap()).unwrap();
    let row = &total["rows"][0];
    let (visits, sd) = (
        row["visits"].as_f64().unwrap(),
        row["visits_sd"].as_f64().unwrap(),
    );
    assert!((visits - 57_752.0).abs() < 12.0 * sd, "{row}");

    let refused = client
        .query(&Question::new("SELECT person_id FROM visits"))
        .await;
    assert!(refused.is_err());
    federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_region_is_named_and_left_out_only_if_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    write_randhie(folder.path());
    let (mut federation, client) = start_and_connect(folder.path()).await;
    assert!(federation.stop_node(&"4".parse().unwrap()).await);

    let mut question = Question::new("SELECT COUNT(*) AS n FROM visits");
    let refusal = client.query(&question).await.unwrap_err();
    assert!(refusal.message.contains('4'), "{refusal}");
    question.allow_missing = true;
    let answer = answer_json(&client.query(&question).await.unwrap()).unwrap();
    assert_eq!(answer["regions"]["missing"][0], "4");
    federation.stop().await;
}
