//! Data files that are replaced under a running node.

use super::*;

const SQL: &str = "SELECT plan, COUNT(*) FROM visits GROUP BY plan";

/// Puts another site's data in the file's place, as an owner would: a new file, renamed.
fn replace(bench: &Bench) {
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/randhie/region=2.parquet");
    let beside = bench.folder.path().join("visits.new");
    std::fs::copy(other, &beside).unwrap();
    std::fs::rename(beside, bench.folder.path().join("visits.parquet")).unwrap();
}

fn reserved(node: &Node, id: &str, fresh: bool) -> Result<Decision, Refusal> {
    Admitted::admit(node, &question(node, SQL))
        .unwrap()
        .quote(node)
        .unwrap()
        .reserve(node, id.parse().unwrap(), fresh)
}

async fn answered(node: &Node, id: &str) -> Released {
    match reserved(node, id, false).unwrap() {
        Decision::Stored(released) => released,
        Decision::Execute(reserved) => reserved.execute(node).await.unwrap().release(node).unwrap(),
    }
}

fn spent(node: &Node) -> u64 {
    let budget = node.ledger.budget(&"tests".parse().unwrap()).unwrap();
    budget.project.epsilon_spent_nano
}

async fn restarted(bench: Bench) -> Bench {
    let Bench {
        node,
        exact,
        folder,
    } = bench;
    drop(node);
    let file = folder.path().join("node.toml");
    let config = NodeConfig::parse(&file, CONFIGURATION).unwrap();
    let node = Node::open(&config).await.unwrap();
    Bench {
        node,
        exact,
        folder,
    }
}

/// A node whose data were replaced answers nothing, charges nothing and doesn't say why; started
/// again, it has a new version, under which the same question is a new one.
#[tokio::test(flavor = "multi_thread")]
async fn replaced_data_stop_the_node_until_it_is_started_again() {
    let bench = bench().await;
    let version = bench.node.data_version;
    let first = answered(&bench.node, "a").await;
    assert!(first.charged && !answered(&bench.node, "b").await.charged);
    let before = spent(&bench.node);

    replace(&bench);
    for (id, fresh) in [("a", false), ("b", false), ("c", false), ("d", true)] {
        let refusal = reserved(&bench.node, id, fresh).unwrap_err();
        assert_eq!(refusal, answer::stopped());
        assert!(!format!("{refusal:?}").contains("file"));
    }
    assert_eq!(spent(&bench.node), before);

    let bench = restarted(bench).await;
    assert_ne!(bench.node.data_version, version);
    // One id, one answer, for ever; and a new answer for the new data.
    assert_eq!(answered(&bench.node, "a").await.bytes, first.bytes);
    let again = answered(&bench.node, "e").await;
    assert!(again.charged && again.bytes != first.bytes);
    assert_eq!(spent(&bench.node), 2 * before);
}

/// What was debited and not computed from one version alone fails, as anything does after a debit.
#[tokio::test(flavor = "multi_thread")]
async fn data_that_change_during_an_execution_are_not_answered_from() {
    let bench = bench().await;
    let node = &bench.node;
    let Decision::Execute(before) = reserved(node, "a", true).unwrap() else {
        panic!("answered before");
    };
    let executed = before.execute(node).await.unwrap();
    replace(&bench);
    assert_eq!(executed.release(node).unwrap_err(), failed());
    assert_eq!(spent(node), 1_000_000_000);
    let bench = restarted(bench).await;
    // The debit stands, and a retry of it is lost.
    assert_eq!(reserved(&bench.node, "a", true).unwrap_err(), failed());
    assert_eq!(spent(&bench.node), 1_000_000_000);
}

/// A changed policy refills nothing. The same question is a new one under it, and an answer from before
/// isn't read by the steps of today.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_refills_no_budget() {
    let bench = bench().await;
    let first = answered(&bench.node, "a").await;
    let before = spent(&bench.node);
    assert!(before > 0);
    let Bench { node, folder, .. } = bench;
    drop(node);
    for (id, from, to) in [
        ("b", "max_rows_per_unit = 5", "max_rows_per_unit = 4"),
        (
            "c",
            "mdvis  = { range = [0, 77] }",
            "mdvis  = { range = [0, 60] }",
        ),
    ] {
        let text = CONFIGURATION.replace(from, to);
        assert_ne!(text, CONFIGURATION);
        let config = NodeConfig::parse(&folder.path().join("node.toml"), &text).unwrap();
        let node = Node::open(&config).await.unwrap();
        assert!(spent(&node) >= before, "{to}");
        let refusal = reserved(&node, "a", false).unwrap_err();
        assert_eq!(refusal.code, ErrorCode::QueryIdConflict, "{to}");
        let charged = spent(&node);
        let again = answered(&node, id).await;
        assert!(again.charged && again.bytes != first.bytes, "{to}");
        assert_eq!(spent(&node), charged + before, "{to}");
    }
}

/// A public table is held from the start, so its file may be written anew at any time.
#[tokio::test(flavor = "multi_thread")]
async fn a_public_file_may_change() {
    let bench = bench().await;
    std::fs::write(
        bench.folder.path().join("plans.csv"),
        "plan,kind\n1,other\n",
    )
    .unwrap();
    assert!(answered(&bench.node, "a").await.charged);
}
