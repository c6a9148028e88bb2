//! Twins: the same call on data with and without one person. Everything but the noisy figures is
//! the same: status, error text, number of rows, keys, sizes.

use std::fs::File;

use datafusion::prelude::{ParquetReadOptions, SessionContext};
use parquet::arrow::ArrowWriter;
use skerry_coordinator::{answer::Answer, question::Question};
use skerry_proto::Refusal;
use tempfile::TempDir;

use crate::sites::{Randhie, keys, start, write_federation};

/// Who is in one of the twins only: the person with the most hospital spending at site 1.
const PERSON: &str = "SELECT person_id FROM visits ORDER BY inpdol DESC LIMIT 1";

pub async fn federation_without_person() -> TempDir {
    let folder = TempDir::new().unwrap();
    write_federation(folder.path(), "1000.0");
    let file = folder.path().join("data/region=1.parquet");
    let context = SessionContext::new();
    context
        .register_parquet(
            "visits",
            file.to_str().unwrap(),
            ParquetReadOptions::default(),
        )
        .await
        .unwrap();
    let without = format!("SELECT * FROM visits WHERE person_id <> ({PERSON})");
    let batches = context
        .sql(&without)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(&file).unwrap(), batches[0].schema(), None).unwrap();
    for batch in &batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
    folder
}

/// Questions that would tell by failing, by their shape, or by what they say.
const QUESTIONS: &[&str] = &[
    "SELECT plan, COUNT(*) AS n FROM visits WHERE inpdol > 20000 GROUP BY plan",
    "SELECT COUNT(*) AS n FROM visits WHERE 1 / (mdvis - 77) > 0",
    "SELECT SUM(CASE WHEN inpdol > 30000 THEN 1 / (totadm - totadm) ELSE 0 END) AS n FROM visits",
    "SELECT COUNT(*) AS n FROM visits WHERE CAST(health AS INT) > 0",
    "SELECT SUM(inpdol) AS s, AVG(inpdol) AS m FROM visits WHERE year = 1",
    "SELECT region, COUNT(DISTINCT person_id) AS n FROM visits WHERE totadm > 5 GROUP BY region",
    "SELECT MAX(inpdol) AS m FROM visits",
    "SELECT * FROM visits",
    "SELECT inpdol, COUNT(*) AS n FROM visits GROUP BY inpdol",
    "SELECT person_id, COUNT(*) AS n FROM visits GROUP BY person_id",
    "SELECT COUNT(*) AS n FROM visits WHERE health ~ 'a.b'",
    "SELECT COUNT(*) AS n FROM (SELECT * FROM visits LIMIT 10) t",
    "SELECT COUNT(*) AS n FROM visits WHERE random() < 0.5",
    "SELECT COUNT(*) AS n FROM visits a JOIN visits b ON a.plan = b.plan",
    "SELECT COUNT(*) AS n FROM visits WHERE nothing = 1",
    "COPY visits TO '/tmp/skerry-must-not-write.csv'",
    "EXPLAIN ANALYZE SELECT COUNT(*) FROM visits",
    "SELECT COUNT(*) FROM visits; SELECT COUNT(*) FROM visits",
];

/// Asks both; all but the noisy figures must be the same.
pub async fn same_but_for_figures(with: &Randhie, without: &Randhie, sql: &str) {
    let question = Question::new(sql);
    let a = with.client.query(&question).await;
    let b = without.client.query(&question).await;
    assert_same(sql, &a, &b);
}

/// Two answers to one statement, or two refusals, that differ in noisy figures alone.
pub fn assert_same(sql: &str, a: &Result<Answer, Refusal>, b: &Result<Answer, Refusal>) {
    let sql: String = sql.chars().take(200).collect();
    match (a, b) {
        (Err(a), Err(b)) => assert_eq!(a, b, "{sql}"),
        (Ok(a), Ok(b)) => {
            assert_eq!(a.rows.schema().fields(), b.rows.schema().fields(), "{sql}");
            let exact: Vec<&str> = a
                .record
                .columns
                .iter()
                .filter(|column| !column.noisy)
                .map(|column| column.name.as_str())
                .collect();
            assert_eq!(keys(&a.rows, &exact), keys(&b.rows, &exact), "{sql}");
            let mut a = a.record.clone();
            let mut b = b.record.clone();
            let id: skerry_proto::QueryId = "same".parse().unwrap();
            (a.query_id, b.query_id) = (id.clone(), id);
            // How many were clipped, and the bounds that were found, are noisy figures.
            (a.clipping, b.clipping) = (vec![], vec![]);
            // The noise follows from these bounds, and what it costs, to a billionth.
            for charge in [&mut a, &mut b]
                .into_iter()
                .flat_map(|record| record.privacy.regions.values_mut())
            {
                for figure in ["epsilon_spent", "epsilon_left"] {
                    let exact = charge[figure].as_f64().unwrap();
                    charge[figure] = ((exact * 1e5).round() / 1e5).into();
                }
            }
            assert_eq!(format!("{a:?}"), format!("{b:?}"), "{sql}");
        }
        (a, b) => panic!("{sql}: {a:?} and {b:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_figures_differs() {
    let whole = TempDir::new().unwrap();
    write_federation(whole.path(), "1000.0");
    let with = start(whole).await;
    let without = start(federation_without_person().await).await;
    for sql in QUESTIONS {
        same_but_for_figures(&with, &without, sql).await;
    }
}
