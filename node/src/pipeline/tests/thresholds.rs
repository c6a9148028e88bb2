//! Keys without public values.

use super::*;

/// A question about keys without public values, asked with so much δ.
fn with_delta(node: &Node, sql: &str, delta_atto: u64) -> wire::Question {
    wire::Question {
        epsilon_nano: 100_000_000_000,
        delta_atto,
        ..question(node, sql)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_without_public_values_are_released_above_a_threshold() {
    let bench = bench().await;
    let node = &bench.node;
    let sql = "SELECT educdec, COUNT(*), COUNT(DISTINCT person_id) FROM visits WHERE educdec IS NOT NULL GROUP BY educdec";
    let quoted = |delta_atto| {
        Admitted::admit(node, &with_delta(node, sql, delta_atto))
            .and_then(|admitted| admitted.quote(node))
    };
    assert_eq!(
        quoted(0).expect_err(sql).code,
        ErrorCode::NoPublicValues,
        "no delta"
    );
    let delta = 100_000_000_000;
    let asked = quoted(delta).unwrap();
    let threshold = *asked.quote().threshold().unwrap();
    assert_eq!(threshold.most_keys(), 5);
    assert!(asked.quote().groups().is_empty());
    assert_eq!(asked.quote().loss().threshold_delta_atto(), delta);
    // The count of persons is asked for, so it is not there a second time.
    assert_eq!(asked.quote().measures.len(), 2);
    let id: QueryId = "threshold".parse().unwrap();
    let Decision::Execute(reserved) = asked.reserve(node, id.clone(), false).unwrap() else {
        panic!("answered before");
    };
    let released = reserved.execute(node).await.unwrap().release(node).unwrap();
    let message = wire::Released::decode(released.bytes.as_slice()).unwrap();
    assert_eq!(message.cost.map(|cost| cost.delta_atto), Some(delta));
    assert_eq!(message.cells.len(), 2 * message.groups.len());
    let keys: Vec<Value> = message
        .groups
        .iter()
        .map(|group| Value::from(&group.keys[0]))
        .collect();
    assert!(keys.is_sorted_by(|a, b| a < b), "{keys:?}");
    let unit = threshold.once() as f64;
    let least = threshold.least() as f64 / unit;
    let rows = quoted(delta).unwrap().quote().measures[0].grid.step();
    let exact = exactly(&bench, sql, 1).await;
    let mut few = 0;
    for (key, figures) in exact {
        let number: f64 = key[0].parse().unwrap();
        let place = keys.iter().position(|key| match key {
            Value::Integer(key) => *key as f64 == number,
            Value::Float(key) => *key == number,
            other => panic!("{other:?}"),
        });
        let Some(place) = place else {
            few += 1;
            assert!(
                figures[1] < least + 5.0,
                "{key:?} of {figures:?} is not there"
            );
            continue;
        };
        assert!(figures[1] > least - 5.0, "{key:?} of {figures:?} is there");
        assert!((message.cells[2 * place] as f64 * rows - figures[0]).abs() < 5.0);
        assert!((message.cells[2 * place + 1] as f64 / unit - figures[1]).abs() < 5.0);
    }
    assert!(few < keys.len() && keys.len() > 5, "{few} {keys:?}");
    // The same bytes again, for nothing.
    let Decision::Stored(again) = quoted(delta).unwrap().reserve(node, id, false).unwrap() else {
        panic!("not stored");
    };
    assert_eq!((again.bytes, again.charged), (released.bytes, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fact_of_the_person_is_one_key_and_persons_are_counted_unasked() {
    let bench = bench().await;
    let node = &bench.node;
    let quote = |sql: &str| {
        Admitted::admit(node, &with_delta(node, sql, 1_000_000_000))
            .and_then(|admitted| admitted.quote(node))
            .unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"))
    };
    let facts = quote(
        "SELECT e, COUNT(*) FROM (SELECT person_id, MAX(educdec) AS e FROM visits GROUP BY person_id) t GROUP BY e",
    );
    assert_eq!(facts.quote().threshold().map(|t| t.most_keys()), Some(1));
    let with_public =
        quote("SELECT educdec, health, SUM(mdvis) FROM visits GROUP BY educdec, health");
    let measures = &with_public.quote().measures;
    assert!(matches!(
        measures.last().map(|measure| &measure.counted),
        Some(Counted::Persons { condition: None })
    ));
    assert_eq!(measures.len(), 2);
    assert_eq!(
        with_public.quote().threshold().map(|t| t.persons_cell()),
        Some(1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn thresholds_take_half_of_a_budgets_delta_at_most() {
    let bench = bench().await;
    let node = &bench.node;
    let sql = "SELECT educdec, COUNT(*) FROM visits GROUP BY educdec";
    let ask = |delta_atto| {
        let id: QueryId = uuid::Uuid::new_v4().to_string().parse().unwrap();
        Admitted::admit(node, &with_delta(node, sql, delta_atto))
            .and_then(|admitted| admitted.quote(node))
            .and_then(|quoted| quoted.reserve(node, id, true))
    };
    assert!(ask(400_000_000_000).is_ok());
    let refusal = ask(200_000_000_000).expect_err("more than half");
    assert_eq!(refusal.code, ErrorCode::BudgetExhausted);
    assert!(refusal.message.contains("delta 2e-7"), "{refusal:?}");
    assert!(ask(100_000_000_000).is_ok());
}
