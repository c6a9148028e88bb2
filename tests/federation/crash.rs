//! `kill -9` at any instant: the debit stands, and a retry gets one answer or none, for ever.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use skerry_proto::{ErrorCode, Refusal, wire};
use tempfile::TempDir;

use crate::{
    sites::write_federation,
    wire::{NodeClient, as_coordinator, count_plan, question, release},
};

/// A node in a process of its own, on a free port.
struct Process {
    child: Child,
    address: std::net::SocketAddr,
}

impl Process {
    fn start(folder: &Path, region: &str) -> Self {
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
        let child = Command::new(env!("CARGO_BIN_EXE_skerry"))
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

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_never_draws_twice() {
    let place = TempDir::new().unwrap();
    write_federation(place.path(), "100.0");
    let folder = place.path().join("federation");
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
