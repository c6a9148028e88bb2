//! `kill -9` at any instant, and a disk that takes no more: the debit stands, and a retry gets one
//! answer or none, for ever. On twins, data with one person and without, it is the same.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use skerry_proto::{ErrorCode, Refusal, wire};
use tempfile::TempDir;

use crate::{
    sites::write_federation,
    twins::federation_without_person,
    wire::{NodeClient, as_coordinator, count_plan, question, release},
};

/// A node in a process of its own, on a free port.
struct Process {
    child: Child,
    address: std::net::SocketAddr,
}

impl Process {
    fn start(folder: &Path, region: &str) -> Self {
        Self::start_as(folder, region, Command::new(env!("CARGO_BIN_EXE_skerry")))
    }

    /// No file of it can become larger than so many kibibytes: a write then fails as on a full
    /// disk.
    fn start_with_little_room(folder: &Path, region: &str, kibibytes: u32) -> Self {
        let mut shell = Command::new("sh");
        // In blocks of 512 bytes; without the trap the signal would end the process.
        let limited = format!(
            "trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"",
            2 * kibibytes
        );
        shell.args(["-c", &limited, env!("CARGO_BIN_EXE_skerry")]);
        Self::start_as(folder, region, shell)
    }

    fn start_as(folder: &Path, region: &str, mut command: Command) -> Self {
        // A port that was free a moment ago.
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let file = folder.join(region).join("node.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                if line.starts_with("listen") {
                    format!("listen = \"{address}\"")
                } else {
                    line.to_owned()
                }
            })
            .collect();
        std::fs::write(&file, lines.join("\n")).unwrap();
        let child = command
            .args(["node", "--config"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, address }
    }

    async fn client(&self, folder: &Path, region: &str) -> NodeClient {
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(self.address).await.is_ok() {
                return as_coordinator(folder, self.address, region).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the node did not come up")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // SIGKILL, and already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Federations with the person and without.
async fn twins() -> [TempDir; 2] {
    let with = TempDir::new().unwrap();
    write_federation(with.path(), "1000.0");
    [with, federation_without_person().await]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_never_draws_twice() {
    let [with, without] = twins().await;
    tokio::join!(kill_and_retry(with.path()), kill_and_retry(without.path()));
}

async fn kill_and_retry(place: &Path) {
    let folder = place.join("federation");
    let region = "1";
    let plan = count_plan(1).await;
    let mut seen: Vec<(String, Vec<u8>)> = vec![];
    let mut asked = 0u64;
    for (round, delay) in [0u64, 1, 2, 4, 7, 11, 20, 60].into_iter().enumerate() {
        let process = Process::start(&folder, region);
        let mut client = process.client(&folder, region).await;
        // What was answered before is answered with the same bytes.
        for (id, bytes) in &seen {
            let reply = client
                .release(release(id, question("crash", plan.clone())))
                .await
                .unwrap()
                .into_inner();
            assert_eq!(reply.released, *bytes);
        }
        let id = format!("round{round}");
        asked += 1;
        let call = tokio::spawn({
            let request = release(&id, question("crash", plan.clone()));
            let mut client = client.clone();
            async move { client.release(request).await }
        });
        tokio::time::sleep(Duration::from_millis(delay)).await;
        drop(process);
        let before = call
            .await
            .unwrap()
            .ok()
            .map(|reply| reply.into_inner().released);
        let process = Process::start(&folder, region);
        let mut client = process.client(&folder, region).await;
        let retried = client
            .release(release(&id, question("crash", plan.clone())))
            .await;
        match (before, retried) {
            (Some(before), retried) => {
                assert_eq!(before, retried.unwrap().into_inner().released);
                seen.push((id, before));
            }
            // Killed before the debit: this is the first draw. Killed after the answer was
            // stored: these are its bytes. Nobody else has seen others.
            (None, Ok(reply)) => seen.push((id, reply.into_inner().released)),
            (None, Err(status)) => {
                let refusal = Refusal::from(&status);
                assert_eq!(refusal.code, ErrorCode::Failed, "{refusal:?}");
                let again = client
                    .release(release(&id, question("crash", plan.clone())))
                    .await
                    .unwrap_err();
                assert_eq!(Refusal::from(&again).code, ErrorCode::Failed);
            }
        }
        let budget = client
            .get_budget(wire::BudgetRequest {
                project: "crash".into(),
            })
            .await
            .unwrap()
            .into_inner();
        // Each id is debited exactly once, answered or not.
        assert_eq!(
            budget.project.unwrap().epsilon_spent_nano,
            asked * 1_000_000_000
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_ends_all_answers() {
    let [with, without] = twins().await;
    let (with, without) = tokio::join!(fill_the_disk(with.path()), fill_the_disk(without.path()));
    assert_eq!(with, without);
}

/// Asks until the ledger can't be written; what is told then, and what is told of the next question.
async fn fill_the_disk(place: &Path) -> [Refusal; 2] {
    let folder = place.join("federation");
    let region = "1";
    let plan = count_plan(1).await;
    let process = Process::start_with_little_room(&folder, region, 256);
    let mut client = process.client(&folder, region).await;
    let mut answered: Vec<(String, Vec<u8>)> = vec![];
    let ask = async |client: &mut NodeClient, id: &str| {
        let asked = release(id, question("full", plan.clone()));
        match client.release(asked).await {
            Ok(reply) => Ok(reply.into_inner().released),
            Err(status) => Err(Refusal::from(&status)),
        }
    };
    let first = loop {
        let id = format!("question{:03}", answered.len());
        match ask(&mut client, &id).await {
            Ok(bytes) => answered.push((id, bytes)),
            Err(refusal) => break refusal,
        }
        assert!(answered.len() < 500, "the disk never filled");
    };
    assert!(!answered.is_empty(), "no room from the start");
    let next = ask(&mut client, "another").await.unwrap_err();
    drop(process);
    // With room again: each answer as it was, and each of them paid for.
    let process = Process::start(&folder, region);
    let mut client = process.client(&folder, region).await;
    for (id, bytes) in &answered {
        assert_eq!(&ask(&mut client, id).await.unwrap(), bytes);
    }
    let budget = client
        .get_budget(wire::BudgetRequest {
            project: "full".into(),
        })
        .await
        .unwrap()
        .into_inner();
    let debits = budget.project.unwrap().epsilon_spent_nano / 1_000_000_000;
    let paid = answered.len() as u64;
    assert!((paid..=paid + 1).contains(&debits), "{debits} for {paid}");
    [first, next]
}
