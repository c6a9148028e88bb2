//! Prepared tables from the command to the answer.

use std::{fs, path::Path, process::Command};

use skerry_coordinator::question::Question;
use skerry_node::doctor::{Verdict, doctor};
use skerry_proto::Epsilon;

use crate::support::{start_and_connect, write_randhie};

const SITES: [&str; 6] = ["1", "2", "3", "4", "5", "6"];

fn ingest(folder: &Path) -> String {
    let files = SITES.map(|site| folder.join(site).join("node.toml"));
    let output = Command::new(env!("CARGO_BIN_EXE_skerry"))
        .arg("ingest")
        .args(files)
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

async fn visits(folder: &Path) -> Vec<f64> {
    let (federation, client) = start_and_connect(folder).await;
    let sql = "SELECT region, plan, COUNT(*) AS n FROM visits GROUP BY 1, 2 ORDER BY 1, 2";
    let mut question = Question::new(sql);
    question.fresh = true;
    question.epsilon = Some(Epsilon::try_from(3.0).unwrap());
    let answer = client.query(&question).await.unwrap();
    federation.stop().await;
    let json = skerry::output::answer_json(&answer).unwrap();
    let rows = json["rows"].as_array().unwrap();
    rows.iter().map(|row| row["n"].as_f64().unwrap()).collect()
}

#[tokio::test]
async fn prepared_tables_answer_alike() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    write_randhie(place);
    let raw = visits(place).await;

    let told = ingest(place);
    assert!(told.contains("These figures are exact"), "{told}");
    assert!(told.contains("prepared = "), "{told}");
    for site in SITES {
        let file = place.join(site).join("node.toml");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(
            &file,
            text.replacen("listen = ", "prepared = \"prepared\"\nlisten = ", 1),
        )
        .unwrap();
        let wrong: Vec<_> = doctor(&file)
            .await
            .into_iter()
            .filter(|finding| finding.verdict != Verdict::Right)
            .collect();
        assert_eq!(wrong, []);
    }
    assert!(
        !ingest(place).contains("prepared = "),
        "the files say so already"
    );
    let prepared = visits(place).await;
    assert_eq!(prepared.len(), raw.len());
    // Two draws of the noise, of a standard deviation of 2.4 visits each.
    let far = prepared
        .iter()
        .zip(&raw)
        .filter(|(one, other)| (*one - *other).abs() > 50.0);
    assert_eq!(far.count(), 0, "{prepared:?} {raw:?}");

    // The files have changed since: answers are about the data as they were.
    let file = place.join("1/node.toml");
    let findings = doctor(&file).await;
    let of_prepared = |findings: &[skerry_node::doctor::Finding]| {
        let mut of = findings
            .iter()
            .filter(|finding| finding.subject == "prepared tables");
        let finding = of.next().unwrap();
        (finding.verdict, finding.message.clone())
    };
    assert_eq!(of_prepared(&findings).0, Verdict::Right);
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("region=1.parquet", "region=2.parquet")).unwrap();
    let (verdict, message) = of_prepared(&doctor(&file).await);
    assert_eq!(verdict, Verdict::Doubtful);
    assert!(message.contains("have changed"), "{message}");
    fs::remove_file(place.join("1/prepared/manifest.json")).unwrap();
    assert_eq!(of_prepared(&doctor(&file).await).0, Verdict::Wrong);
    let refused = skerry::federation::start(place)
        .await
        .map(drop)
        .unwrap_err();
    assert!(refused.message.contains("skerry ingest"), "{refused}");
}
