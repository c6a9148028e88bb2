//! A question that is asked again, as it was or in other words.

use super::*;

/// One question has one answer, whatever its tables and columns are called on the way.
#[tokio::test(flavor = "multi_thread")]
async fn other_names_are_the_same_question() {
    let bench = bench().await;
    let node = &bench.node;
    let answer = async |sql: &str, id: &str| {
        let asked = question(node, sql);
        let quoted = Admitted::admit(node, &asked).unwrap().quote(node).unwrap();
        let released = match quoted.reserve(node, id.parse().unwrap(), false).unwrap() {
            Decision::Stored(released) => released,
            Decision::Execute(reserved) => {
                reserved.execute(node).await.unwrap().release(node).unwrap()
            }
        };
        (asked.plan, released)
    };
    let (plan, first) = answer("SELECT plan, COUNT(*) FROM visits GROUP BY plan", "a").await;
    let (other, again) = answer(
        "SELECT v.plan AS care, COUNT(*) AS n FROM visits AS v GROUP BY v.plan",
        "b",
    )
    .await;
    assert_ne!(plan, other);
    assert!(first.charged && !again.charged);
    assert_eq!(first.bytes, again.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_is_answered_once() {
    let bench = bench().await;
    let node = &bench.node;
    let asked = question(node, "SELECT plan, COUNT(*) FROM visits GROUP BY plan");
    let quoted = || Admitted::admit(node, &asked).unwrap().quote(node).unwrap();
    let answer = async |id: &str| match quoted().reserve(node, id.parse().unwrap(), false).unwrap()
    {
        Decision::Stored(released) => released,
        Decision::Execute(reserved) => reserved.execute(node).await.unwrap().release(node).unwrap(),
    };
    let first = answer("a").await;
    let retried = answer("a").await;
    let again = answer("b").await;
    assert!(first.charged && !retried.charged && !again.charged);
    assert_eq!(first.bytes, retried.bytes);
    assert_eq!(first.bytes, again.bytes);
    let spent = node.ledger.budget(&"tests".parse().unwrap()).unwrap();
    assert_eq!(spent.project.epsilon_spent_nano, 1_000_000_000);
    // The same words over another question are a conflict.
    let other = question(node, "SELECT COUNT(*) FROM visits");
    let conflict = Admitted::admit(node, &other)
        .unwrap()
        .quote(node)
        .unwrap()
        .reserve(node, "a".parse().unwrap(), false)
        .unwrap_err();
    assert_eq!(conflict.code, ErrorCode::QueryIdConflict);
    // Cells that were stored under other bounds would be misread.
    let mut changed = wire::Released::decode(first.bytes.as_slice()).unwrap();
    assert!(quoted().same_layout(&changed.encode_to_vec()).is_ok());
    changed.question_hash[0] ^= 1;
    let misread = quoted().same_layout(&changed.encode_to_vec()).unwrap_err();
    assert_eq!(misread.code, ErrorCode::QueryIdConflict);
}
