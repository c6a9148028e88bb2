//! Tables with their margins, made to add up over nodes with real data.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use skerry::output::answer_json;
use skerry_coordinator::{client::Client, question::Question};

use crate::support::{start_and_connect, write_randhie};

type Key = (Option<String>, Option<i64>);

/// Each count with its bounds, by region and year.
async fn table(client: &Client, options: &str) -> BTreeMap<Key, [i64; 3]> {
    let sql = format!(
        "SELECT {options} region, year, COUNT(*) AS n FROM visits GROUP BY ROLLUP(region, year)"
    );
    let answer = client.query(&Question::new(sql)).await;
    let json = answer_json(&answer.unwrap_or_else(|refusal| panic!("{refusal:?}"))).unwrap();
    let rows = json["rows"].as_array().unwrap();
    let number = |row: &Json, name: &str| row[name].as_i64().unwrap();
    rows.iter()
        .map(|row| {
            let key = (
                row["region"].as_str().map(str::to_owned),
                row["year"].as_i64(),
            );
            let [n, low, high] = ["n", "n_low", "n_high"].map(|name| number(row, name));
            (key, [n, low, high])
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn years_add_up_to_sites_and_sites_to_all() {
    let folder = tempfile::tempdir().unwrap();
    write_randhie(folder.path());
    let (federation, client) = start_and_connect(folder.path()).await;
    let free = table(&client, "").await;
    let options = "WITH DIFFERENTIAL_PRIVACY OPTIONS(consistent = true)";
    // The same releases, which the nodes have stored.
    let counts = table(&client, options).await;
    assert_eq!(counts.len(), 6 * 5 + 6 + 1);
    assert!(counts.keys().eq(free.keys()));
    let sum = |wanted: &dyn Fn(&Key) -> bool| -> i64 {
        let cells = counts.iter().filter(|(key, _)| wanted(key));
        cells.map(|(_, [n, ..])| n).sum()
    };
    for site in ["1", "2", "3", "4", "5", "6"] {
        let of_site = |key: &Key| key.0.as_deref() == Some(site);
        assert_eq!(
            sum(&|key| of_site(key) && key.1.is_some()),
            sum(&|key| of_site(key) && key.1.is_none())
        );
    }
    let all = sum(&|key| *key == (None, None));
    assert_eq!(sum(&|key| key.0.is_some() && key.1.is_none()), all);
    // As published; a total of all is known three times.
    let width = |table: &BTreeMap<Key, [i64; 3]>, key: &Key| table[key][2] - table[key][1];
    let total = (None, None);
    assert!((all - 20_190).abs() < 2 * width(&counts, &total), "{all}");
    for key in counts.keys() {
        assert!(width(&counts, key) < width(&free, key), "{key:?}");
    }
    federation.stop().await;
}
