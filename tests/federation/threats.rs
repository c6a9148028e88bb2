//! Each case of the threat model that is asked in SQL or by a call, on twins: data with patient 42 and
//! without. Whatever comes of it is the same in both but for the noisy figures: status, code and
//! text of a refusal, rows, keys, record. Nothing of patient 42 is in a log.
//!
//! The cases that are no question have tests by name elsewhere, on twins as well: bytes that are no
//! honest plan in `hostile_plans.rs`, `kill -9` and a full disk in `crash.rs`, handshakes in
//! `certificates.rs`.

use std::path::Path;

use futures::future::join_all;
use skerry::federation;
use skerry_coordinator::{
    client::{Client, Credentials},
    question::Question,
};
use skerry_proto::{Epsilon, ErrorCode};

use self::twins::{
    Outcome, RUNTIME, Twin, answered, answered_at, ask_twins, figures, new_project, refused, spent,
};
use crate::{
    sites::{keys, numbers},
    twins::assert_same,
};

mod twins;

#[test]
fn a_division_by_zero_on_one_patients_row_is_null() {
    // Of the 240 others, those with a greater id divide to something above 0.
    let answers = answered_at(
        "SELECT COUNT(*) AS n FROM patients WHERE 1 / (patient_id - 42) > 0",
        20.0,
    );
    let ([with, without], sd) = figures(&answers, "n");
    assert!((with - 2.0).abs() <= 12.0 * sd + 1.0, "{with}");
    assert!((without - 2.0).abs() <= 12.0 * sd + 1.0, "{without}");
}

#[test]
fn a_division_in_a_branch_for_one_patient_is_null() {
    for zero in ["0", "(birth_year - birth_year)"] {
        let sql = format!(
            "SELECT SUM(CASE WHEN patient_id = 42 THEN 1 / {zero} ELSE 0 END) AS s FROM patients"
        );
        let answers = answered_at(&sql, 20.0);
        let ([with, without], sd) = figures(&answers, "s");
        assert!(with.abs() <= 12.0 * sd + 1.0, "{zero}: {with}");
        assert!(without.abs() <= 12.0 * sd + 1.0, "{zero}: {without}");
    }
}

#[test]
fn a_cast_of_a_text_that_is_no_number_is_null_and_not_told() {
    let answers = answered("SELECT COUNT(*) AS n FROM episodes WHERE CAST(diagnosis AS INT) > 0");
    let ([with, _], sd) = figures(&answers, "n");
    assert!(with.abs() <= 20.0 * sd);
}

#[test]
fn a_pattern_is_a_literal() {
    refused(
        "SELECT COUNT(*) AS n FROM patients WHERE sex ~ (municipality || '(')",
        ErrorCode::Unsupported,
    );
}

#[test]
fn a_sum_needs_a_range_and_the_hint_says_how() {
    let refusal = refused("SELECT SUM(paid) AS s FROM episodes", ErrorCode::NoRange);
    assert!(refusal.hint.contains("LEAST"), "{refusal:?}");
    answered("SELECT SUM(LEAST(GREATEST(paid, 0), 100)) AS s FROM episodes");
}

#[test]
fn ten_thousand_episodes_of_one_patient_count_as_five() {
    // At ε = 150 the noise of 5 rows is far below 1.
    let answers = answered_at("SELECT COUNT(*) AS n FROM episodes", 150.0);
    let ([with, without], sd) = figures(&answers, "n");
    assert!((without - 714.0).abs() <= 12.0 * sd + 1.0, "{without}");
    assert!(
        (with - without).abs() <= 5.0 + 12.0 * sd + 1.0,
        "{with} {without}"
    );
}

#[test]
fn huge_and_undefined_costs_are_clipped_and_finite() {
    let answers = answered_at(
        "SELECT SUM(cost) AS s, SUM(days) AS d, AVG(cost) AS m FROM episodes",
        150.0,
    );
    for name in ["s", "d"] {
        let ([with, without], sd) = figures(&answers, name);
        let bound = if name == "s" { 5_000.0 } else { 500.0 };
        assert!(with.is_finite() && without.is_finite());
        assert!(
            (with - without).abs() <= bound + 12.0 * sd,
            "{name}: {with} {without}"
        );
    }
    assert!(numbers(&answers[0].rows, "m")[0].is_finite());
}

#[test]
fn private_tables_join_on_the_unit() {
    refused(
        "SELECT COUNT(*) AS n FROM patients p JOIN episodes e ON p.municipality = e.service",
        ErrorCode::JoinNotOnUnit,
    );
}

#[test]
fn a_limit_under_an_aggregate_is_refused() {
    refused(
        "SELECT COUNT(*) AS n FROM (SELECT * FROM patients LIMIT 100) AS t",
        ErrorCode::Unsupported,
    );
}

#[test]
fn a_window_over_all_rows_is_refused() {
    refused(
        "SELECT COUNT(*) AS n FROM (SELECT ROW_NUMBER() OVER (ORDER BY cost) AS r FROM episodes) AS t WHERE r = 1",
        ErrorCode::Unsupported,
    );
}

#[test]
fn rows_and_values_of_patients_are_refused_with_what_to_write() {
    for sql in [
        "SELECT * FROM episodes",
        "SELECT MIN(cost) AS m FROM episodes",
        "SELECT MAX(cost) AS m FROM episodes",
        "SELECT ARRAY_AGG(diagnosis) AS d FROM episodes",
        "SELECT FIRST_VALUE(diagnosis) AS d FROM episodes",
        "SELECT diagnosis FROM episodes WHERE patient_id = 42",
    ] {
        let refusal = refused(sql, ErrorCode::PrivateOutput);
        assert!(!refusal.hint.is_empty(), "{sql}");
    }
}

#[test]
fn a_group_of_each_patient_is_refused() {
    refused(
        "SELECT patient_id, COUNT(*) AS n FROM episodes GROUP BY patient_id",
        ErrorCode::PrivateOutput,
    );
    refused(
        "SELECT patient_id % 50 AS k, COUNT(*) AS n FROM episodes GROUP BY 1",
        ErrorCode::PrivateOutput,
    );
    refused(
        "SELECT md5(CAST(patient_id AS VARCHAR)) AS k, COUNT(*) AS n FROM episodes GROUP BY 1",
        ErrorCode::Unsupported,
    );
}

#[test]
fn a_diagnosis_that_one_patient_has_is_no_group() {
    let refusal = refused(
        "SELECT diagnosis, COUNT(*) AS n FROM episodes GROUP BY diagnosis",
        ErrorCode::NoPublicValues,
    );
    assert!(refusal.hint.contains("OPTIONS(delta = "), "{refusal:?}");
}

/// With a delta the diagnoses of many are released, each by each region. The one that patient 42 alone has
/// would be with a chance of at most 1e-6.
#[test]
fn a_diagnosis_that_one_patient_has_is_not_released() {
    let answers = answered_at(
        "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(delta = 1e-6)
                diagnosis, COUNT(*) AS n, COUNT(DISTINCT patient_id) AS persons
         FROM episodes GROUP BY diagnosis ORDER BY diagnosis",
        20.0,
    );
    for answer in &answers {
        assert_eq!(keys(&answer.rows, &["diagnosis"]), ["D0", "D1", "D2"]);
        let sd = numbers(&answer.rows, "persons_sd");
        for (persons, sd) in numbers(&answer.rows, "persons").into_iter().zip(sd) {
            // 238 or 239 others in two regions, evenly.
            assert!(
                (persons - 80.0).abs() <= 12.0 * sd + 1.0,
                "{persons} ± {sd}"
            );
        }
        let threshold = &answer.record.thresholds[0];
        assert_eq!(threshold.regions.len(), 2);
        for region in &threshold.regions {
            assert_eq!((region.keys, region.cut), (3, false));
            assert!((2.0..20.0).contains(&region.persons), "{region:?}");
        }
        assert!(
            threshold.note.contains("unknown, not zero"),
            "{threshold:?}"
        );
    }
    // What anyone may have is one key more of the tuple, and what it costs is told without asking.
    let explained = answered(
        "EXPLAIN PRIVACY SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(delta = 1e-6)
                diagnosis, service, COUNT(*) AS n FROM episodes GROUP BY diagnosis, service",
    );
    for answer in &explained {
        let notes = keys(&answer.rows, &["note"]);
        assert!(notes[0].contains("persons or more are shown"), "{notes:?}");
    }
}

#[test]
fn every_municipality_is_there_in_a_fixed_order() {
    // Of C there is patient 42 alone, of D nobody.
    let answers =
        answered("SELECT municipality, COUNT(*) AS n FROM patients GROUP BY municipality");
    for answer in &answers {
        assert_eq!(keys(&answer.rows, &["municipality"]), ["A", "B", "C", "D"]);
    }
}

#[test]
fn having_and_limit_work_on_noisy_figures_alone() {
    let answers = answered_at(
        "SELECT municipality, COUNT(*) AS n FROM patients GROUP BY municipality HAVING COUNT(*) > 10 ORDER BY n DESC LIMIT 3",
        50.0,
    );
    for answer in &answers {
        assert_eq!(keys(&answer.rows, &["municipality"]), ["B", "A"]);
    }
}

#[test]
fn what_differs_from_run_to_run_is_refused() {
    for sql in [
        "SELECT COUNT(*) AS n FROM patients WHERE random() < 0.5",
        "SELECT COUNT(*) AS n FROM episodes WHERE start_date < now()",
        "SELECT COUNT(*) AS n FROM patients TABLESAMPLE BERNOULLI (50)",
    ] {
        refused(sql, ErrorCode::Unsupported);
    }
}

#[test]
fn other_statements_and_files_are_refused() {
    for sql in [
        "EXPLAIN ANALYZE SELECT COUNT(*) FROM patients",
        "COPY patients TO '/tmp/skerry-must-not-write.csv'",
        "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        "SET datafusion.execution.batch_size = 1",
        "SELECT COUNT(*) FROM patients; SELECT COUNT(*) FROM episodes",
    ] {
        refused(sql, ErrorCode::Unsupported);
    }
    refused(
        "SELECT COUNT(*) AS n FROM 'some/file.parquet'",
        ErrorCode::UnknownTable,
    );
    assert!(!Path::new("/tmp/skerry-must-not-write.csv").exists());
}

#[test]
fn too_much_at_once_is_refused_and_all_live_on() {
    let sum = vec!["birth_year"; 20_000].join(" + ");
    let any: Vec<String> = (0..1_000)
        .map(|n| format!("birth_year + {n} = municipality"))
        .collect();
    let nested = format!("{}birth_year{}", "abs(".repeat(1_000), ")".repeat(1_000));
    for condition in [
        format!("{sum} > 0"),
        any.join(" OR "),
        format!("{nested} > 0"),
        format!("municipality = '{}'", "x".repeat(1_000_000)),
    ] {
        let sql = format!("SELECT COUNT(*) AS n FROM patients WHERE {condition}");
        RUNTIME.block_on(async {
            match ask_twins(&Question::new(&sql)).await {
                Outcome::Refused(_) => {}
                Outcome::Answered(_) => panic!("{} bytes were answered", sql.len()),
            }
        });
    }
    answered("SELECT COUNT(*) AS n FROM patients WHERE birth_year > 1");
}

#[test]
fn an_epsilon_that_is_none_is_refused() {
    for epsilon in ["0", "-1", "1e-320", "1e308", "NaN", "Infinity"] {
        refused(
            &format!(
                "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = {epsilon}) COUNT(*) AS n FROM patients"
            ),
            ErrorCode::InvalidParameter,
        );
    }
}

#[test]
fn the_same_request_again_is_the_same_answer_and_free() {
    RUNTIME.block_on(async {
        let mut question =
            Question::new("SELECT SUM(days) AS s FROM episodes WHERE service = 'ward'");
        question.query_id = "again".parse().ok();
        question.project = Some(new_project());
        let Outcome::Answered(first) = ask_twins(&question).await else {
            panic!("refused");
        };
        let before = spent(question.project.as_ref()).await;
        let Outcome::Answered(second) = ask_twins(&question).await else {
            panic!("refused the second time");
        };
        for (first, second) in first.iter().zip(second.iter()) {
            assert_eq!(first.rows.columns(), second.rows.columns());
            assert_eq!(second.record.privacy.regions["north"]["charged"], false);
        }
        assert_eq!(spent(question.project.as_ref()).await, before);
        // The same id with another question is a conflict, whoever is in the data.
        question.sql = "SELECT SUM(days) AS s FROM episodes WHERE service = 'gp'".into();
        match ask_twins(&question).await {
            Outcome::Refused(refusal) => assert_eq!(refusal.code, ErrorCode::QueryIdConflict),
            Outcome::Answered(_) => panic!("answered under another question's id"),
        }
    });
}

/// The same request after a restart of all parts, with patient 42 in the data and without.
#[test]
fn the_same_request_after_a_restart_is_the_same_answer_and_free() {
    RUNTIME.block_on(async {
        let mut question = Question::new("SELECT SUM(days) AS s FROM episodes");
        question.query_id = "restarted".parse().ok();
        let mut answers = vec![];
        for kept in ["true", "patient_id <> 42"] {
            let Twin {
                client,
                _federation: running,
                _folder: folder,
            } = Twin::start(kept).await;
            let first = client.query(&question).await.unwrap();
            drop(client);
            running.stop().await;
            let place = folder.path().join("federation");
            let running = federation::start(&place).await.unwrap();
            let credentials = Credentials::load(&place.join("researcher")).unwrap();
            let client = Client::connect(&running.url(), &credentials).await.unwrap();
            let second = client.query(&question).await.unwrap();
            assert_eq!(first.rows.columns(), second.rows.columns(), "{kept}");
            for charge in second.record.privacy.regions.values() {
                assert_eq!(charge["charged"], false, "{kept}");
            }
            answers.push((Ok(first), Ok(second)));
            running.stop().await;
        }
        let [(first, second), (first_without, second_without)] = answers.as_slice() else {
            panic!("two twins");
        };
        assert_same(&question.sql, first, first_without);
        assert_same(&question.sql, second, second_without);
    });
}

#[test]
fn of_a_crowd_as_many_are_answered_as_the_budget_allows() {
    RUNTIME.block_on(async {
        for kept in ["true", "patient_id <> 42"] {
            let twin = Twin::start(kept).await;
            let ask = |least: i32, epsilon: f64| {
                // Of one region: with two, a question can get the one's last ε and not the other's.
                let sql = format!(
                    "SELECT COUNT(*) AS n FROM patients WHERE birth_year > {least} AND region = 'north'"
                );
                let mut question = Question::new(sql);
                question.epsilon = Epsilon::try_from(epsilon).ok();
                let client = &twin.client;
                async move { client.query(&question).await }
            };
            ask(1, 990.0).await.unwrap();
            let crowd = join_all((100..130).map(|least| ask(least, 1.0))).await;
            let refusals: Vec<ErrorCode> = crowd
                .iter()
                .filter_map(|answer| answer.as_ref().err().map(|refusal| refusal.code))
                .collect();
            assert_eq!(refusals, [ErrorCode::BudgetExhausted; 20], "{kept}");
        }
    });
}
