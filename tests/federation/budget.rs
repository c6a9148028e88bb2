//! The budget holds whatever happens at once.

use skerry_proto::{ErrorCode, Refusal, wire::ReleaseRequest};
use tokio::task::JoinSet;

use crate::{
    sites::randhie,
    wire::{as_coordinator, count_plan, question, release},
};

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_at_once_ten_are_answered() {
    let sites = randhie("10.0").await;
    let (region, address) = sites.federation.regions().remove(0);
    let client = as_coordinator(&sites.folder(), address, region.as_str()).await;
    let plan = count_plan(1).await;
    let mut calls = JoinSet::new();
    for call in 0..1_000 {
        let mut client = client.clone();
        let request = release(&format!("call{call}"), question("crowd", plan.clone()));
        calls.spawn(async move { client.release(request).await });
    }
    let mut answered = 0;
    while let Some(call) = calls.join_next().await {
        match call.unwrap() {
            Ok(reply) => {
                assert!(reply.into_inner().charged);
                answered += 1;
            }
            Err(status) => assert_eq!(Refusal::from(&status).code, ErrorCode::BudgetExhausted),
        }
    }
    assert_eq!(answered, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_gets_the_same_bytes_also_after_a_restart() {
    let mut sites = randhie("10.0").await;
    let (region, address) = sites.federation.regions().remove(0);
    let asked = || async { release("once", question("retry", count_plan(2).await)) };
    let mut client = as_coordinator(&sites.folder(), address, region.as_str()).await;
    let first = client.release(asked().await).await.unwrap().into_inner();
    let second = client.release(asked().await).await.unwrap().into_inner();
    assert_eq!(first.released, second.released);
    assert!(!second.charged);
    let other = release("once", question("retry", count_plan(3).await));
    let status = client.release(other).await.unwrap_err();
    assert_eq!(Refusal::from(&status).code, ErrorCode::QueryIdConflict);
    drop(client);
    assert!(sites.federation.stop_node(&region).await);
    let file = sites.folder().join(region.as_str()).join("node.toml");
    let config = skerry_node::config::NodeConfig::load(&file).unwrap();
    let again = skerry_node::serve(config).await.unwrap();
    let mut client = as_coordinator(&sites.folder(), again.address, region.as_str()).await;
    let third = client.release(asked().await).await.unwrap().into_inner();
    assert_eq!(first.released, third.released);
    assert_eq!(
        third.budget.unwrap().project.unwrap().epsilon_spent_nano,
        1_000_000_000
    );
    again.stop().await;
}

/// What a requester waits for at most changes nothing: the question is answered, charged and kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_changes_nothing() {
    let sites = randhie("10.0").await;
    let (region, address) = sites.federation.regions().remove(0);
    let mut client = as_coordinator(&sites.folder(), address, region.as_str()).await;
    let mut ask = async |id: &str, bound: i64, deadline_ms: u64| {
        let request = ReleaseRequest {
            deadline_ms,
            ..release(id, question("deadline", count_plan(bound).await))
        };
        client.release(request).await.unwrap().into_inner()
    };
    for (bound, deadline_ms) in [(1, 0), (2, 1), (3, 60_000), (4, u64::MAX)] {
        let id = format!("within{deadline_ms}");
        let first = ask(&id, bound, deadline_ms).await;
        assert!(first.charged, "{deadline_ms}");
        for other in [0, 1, u64::MAX] {
            let again = ask(&id, bound, other).await;
            assert_eq!(
                (again.released, again.charged),
                (first.released.clone(), false)
            );
        }
    }
    let spent = ask("last", 5, 1).await.budget.unwrap().project.unwrap();
    assert_eq!(spent.epsilon_spent_nano, 5_000_000_000);
}
