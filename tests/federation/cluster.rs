//! Nodes whose questions run on a Ballista cluster: a scheduler and two executors, each a process of its own.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use datafusion::{
    arrow::{
        array::{Array as _, AsArray as _, RecordBatch},
        datatypes::Schema,
    },
    common::Result as EngineResult,
    execution::SendableRecordBatchStream,
    physical_plan::{ExecutionPlan, collect_partitioned, stream::RecordBatchStreamAdapter},
    prelude::{SessionConfig, SessionContext},
};
use futures::{TryStreamExt as _, stream};
use skerry::federation::{self, cluster};
use skerry_coordinator::{
    client::{Client, Credentials},
    question::Question,
    standing::system_clock,
};
use skerry_node::Cluster;
use skerry_proto::{Delta, Epsilon, ErrorCode};
use tempfile::TempDir;

use crate::support::write_randhie;

/// A part of a cluster, killed with the test.
struct Part(Child);

impl Part {
    fn start(arguments: &[&str]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_skerry"))
            .arg("cluster")
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// As when its machine loses power.
    fn kill(&mut self) {
        // SIGKILL, and already gone is fine.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A port that was free a moment ago, and the next one too.
fn free() -> SocketAddr {
    loop {
        let one = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = one.local_addr().unwrap();
        let next = SocketAddr::new(address.ip(), address.port().saturating_add(1));
        if std::net::TcpListener::bind(next).is_ok() {
            return address;
        }
    }
}

async fn listens(address: SocketAddr) {
    for _ in 0..600 {
        if tokio::net::TcpStream::connect(address).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("nobody listens at {address}");
}

/// A scheduler and executors.
struct Machines {
    address: SocketAddr,
    _scheduler: Part,
    folder: TempDir,
}

impl Machines {
    async fn start() -> Self {
        let address = free();
        let at = address.to_string();
        let scheduler = Part::start(&["scheduler", "--listen", &at, "--executor-timeout", "4"]);
        listens(address).await;
        Self {
            address,
            _scheduler: scheduler,
            folder: TempDir::new().unwrap(),
        }
    }

    async fn executor(&self) -> Part {
        let address = free();
        let folder = self.folder.path().join(address.port().to_string());
        let (scheduler, at) = (self.address.to_string(), address.to_string());
        let executor = Part::start(&[
            "executor",
            "--scheduler",
            &scheduler,
            "--listen",
            &at,
            "--tasks",
            "2",
            "--memory-mib",
            "512",
            "--heartbeat",
            "1",
            "--work",
            folder.to_str().unwrap(),
        ]);
        listens(address).await;
        executor
    }
}

/// Has each site's node use the cluster.
fn use_cluster(folder: &Path, scheduler: SocketAddr) {
    for site in 1..=6 {
        let file = folder.join(site.to_string()).join("node.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let engine = format!(
            "engine = {{ kind = \"ballista\", scheduler = \"df://{scheduler}\", partitions = 4 }}\nlisten = "
        );
        std::fs::write(&file, text.replacen("listen = ", &engine, 1)).unwrap();
    }
}

/// Runs each plan on the cluster and in this process, from the same plan and so with the same secrets, and
/// holds the exact sums against each other: with the same noise the vectors that are released are then equal.
#[derive(Debug)]
struct Both {
    cluster: Arc<dyn Cluster>,
    compared: Arc<AtomicUsize>,
    different: Arc<Mutex<Vec<String>>>,
}

/// Sums by key, over all parts.
fn sums(batches: &[RecordBatch]) -> BTreeMap<Option<Vec<u8>>, Vec<i128>> {
    let mut sums: BTreeMap<_, Vec<i128>> = BTreeMap::new();
    for batch in batches {
        let column = |name| batch.column_by_name(name).unwrap();
        let (keys, cells) = (
            column("key").as_binary::<i32>(),
            column("cells").as_binary::<i32>(),
        );
        for row in 0..batch.num_rows() {
            let key = keys.is_valid(row).then(|| keys.value(row).to_vec());
            let cells: Vec<i128> = cells
                .value(row)
                .chunks(16)
                .map(|cell| i128::from_le_bytes(cell.try_into().unwrap()))
                .collect();
            let total = sums.entry(key).or_default();
            total.resize(cells.len(), 0);
            total
                .iter_mut()
                .zip(cells)
                .for_each(|(total, cell)| *total += cell);
        }
    }
    sums
}

/// How many partitions have come to their end.
fn ends(batches: &[RecordBatch]) -> usize {
    let last = |batch: &RecordBatch| {
        let column = batch.column_by_name("last").unwrap();
        column.as_boolean().true_count()
    };
    batches.iter().map(last).sum()
}

#[async_trait]
impl Cluster for Both {
    fn partitions(&self) -> usize {
        self.cluster.partitions()
    }

    fn session(&self, config: SessionConfig) -> SessionConfig {
        self.cluster.session(config)
    }

    fn carries(&self, plan: Arc<dyn ExecutionPlan>) -> EngineResult<()> {
        self.cluster.carries(plan)
    }

    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> EngineResult<SendableRecordBatchStream> {
        let context = SessionContext::new_with_config(config.clone()).task_ctx();
        let there = self.cluster.run(Arc::clone(&plan), config).await?;
        let there: Vec<RecordBatch> = there.try_collect().await?;
        let here = collect_partitioned(Arc::clone(&plan), context)
            .await?
            .concat();
        // When an executor is lost, Ballista's result can lack a part. The node notices, and asks again.
        let whole = ends(&there) == self.partitions();
        self.compared
            .fetch_add(usize::from(whole), Ordering::Relaxed);
        if whole && sums(&here) != sums(&there) {
            let text = datafusion::physical_plan::displayable(plan.as_ref()).indent(false);
            self.different.lock().unwrap().push(text.to_string());
        }
        let schema = there
            .first()
            .map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let batches = stream::iter(there.into_iter().map(Ok));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, batches)))
    }
}

/// Questions that need exchanges, joins with conditions, windows, public tables, aggregates of a person, keys
/// that aren't known beforehand, a search for bounds.
const QUESTIONS: &[&str] = &[
    "SELECT plan, COUNT(*) AS n, SUM(LEAST(mdvis, 20)) AS visits FROM visits GROUP BY plan",
    "SELECT health, COUNT(DISTINCT person_id) AS n FROM visits WHERE totadm > 0 GROUP BY health",
    "SELECT region, SUM(meddol) AS dollars FROM visits GROUP BY region",
    "SELECT COUNT(*) AS n FROM (SELECT person_id FROM visits GROUP BY person_id HAVING SUM(mdvis) > 20) t",
    "SELECT COUNT(*) AS n FROM visits v JOIN visits w ON v.person_id = w.person_id AND w.year > v.year AND w.mdvis > v.mdvis",
    "SELECT COUNT(*) AS n FROM visits v WHERE NOT EXISTS (SELECT 1 FROM visits w WHERE w.person_id = v.person_id AND w.year > v.year)",
    "SELECT first, COUNT(*) AS n FROM (SELECT CASE WHEN ROW_NUMBER() OVER (PARTITION BY person_id ORDER BY year) = 1 THEN 1 ELSE 0 END AS first, person_id FROM visits) t GROUP BY first",
    "SELECT MEDIAN(meddol) AS dollars FROM visits",
];

async fn ask(client: &Client, sql: &str) -> Vec<RecordBatch> {
    let mut question = Question::new(sql);
    question.epsilon = Some(Epsilon::try_from(0.2).unwrap());
    question.delta = Some(Delta::try_from(1e-9).unwrap());
    question.fresh = true;
    let answer = client.query(&question).await;
    vec![
        answer
            .unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"))
            .rows,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gives_the_vector_that_the_node_gives() {
    let machines = Machines::start().await;
    let mut executors = vec![machines.executor().await, machines.executor().await];
    let folder = TempDir::new().unwrap();
    write_randhie(folder.path());
    use_cluster(folder.path(), machines.address);
    let (compared, different) = (Arc::default(), Arc::default());
    let both = |config: &_| -> Option<Arc<dyn Cluster>> {
        Some(Arc::new(Both {
            cluster: cluster(config)?,
            compared: Arc::clone(&compared),
            different: Arc::clone(&different),
        }))
    };
    let federation = federation::start_on(folder.path(), system_clock(), both)
        .await
        .unwrap();
    let credentials = Credentials::load(&folder.path().join("researcher")).unwrap();
    let client = Client::connect(&federation.url(), &credentials)
        .await
        .unwrap();
    let none: &[String] = &[];
    for sql in QUESTIONS {
        let rows = ask(&client, sql).await;
        assert!(rows[0].num_rows() > 0, "{sql}");
        assert_eq!(*different.lock().unwrap(), none, "{sql}");
    }
    // Each region ran each question there, some of them with a search for bounds first.
    assert!(compared.load(Ordering::Relaxed) >= 6 * QUESTIONS.len());
    // An executor is lost in the middle of it: what it had is done again by the other, and nothing is different.
    for (turn, after) in [5, 40, 150].into_iter().enumerate() {
        let before = compared.load(Ordering::Relaxed);
        let asked = ask(&client, QUESTIONS[turn]);
        let killed = async {
            tokio::time::sleep(Duration::from_millis(after)).await;
            executors.remove(0).kill();
        };
        let (rows, ()) = tokio::join!(asked, killed);
        assert!(rows[0].num_rows() > 0);
        assert!(compared.load(Ordering::Relaxed) >= before + 6);
        assert_eq!(*different.lock().unwrap(), none, "{after} ms");
        executors.push(machines.executor().await);
    }
    federation.stop().await;
}

/// What a cluster can't be told is refused before it is charged: nobody has to be there for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_nested_too_deeply_costs_nothing() {
    let folder = TempDir::new().unwrap();
    write_randhie(folder.path());
    use_cluster(folder.path(), free());
    let federation = federation::start(folder.path()).await.unwrap();
    let credentials = Credentials::load(&folder.path().join("researcher")).unwrap();
    let client = Client::connect(&federation.url(), &credentials)
        .await
        .unwrap();
    let before = client.budget(None).await.unwrap();
    let mut refused = None;
    for depth in 1..100 {
        let later: String = (0..depth)
            .map(|i| {
                format!(
                    " AND EXISTS (SELECT 1 FROM visits w{i} WHERE w{i}.person_id = v.person_id \
                     AND w{i}.mdvis > v.mdvis + {i})"
                )
            })
            .collect();
        let sql = format!("SELECT COUNT(*) AS n FROM visits v WHERE v.year > 0{later}");
        let mut question = Question::new(sql);
        question.explain = true;
        if let Err(refusal) = client.query(&question).await {
            refused = Some((depth, refusal));
            break;
        }
    }
    let (depth, refusal) = refused.unwrap();
    assert_eq!(refusal.code, ErrorCode::TooLarge, "{depth}: {refusal:?}");
    assert!(refusal.to_string().contains("cluster"), "{refusal}");
    assert_eq!(client.budget(None).await.unwrap(), before);
    federation.stop().await;
}

/// Without the cluster there is no answer, and the node says so as of any failure: charged, without a cause.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_scheduler_there_is_no_answer() {
    let folder = TempDir::new().unwrap();
    write_randhie(folder.path());
    use_cluster(folder.path(), free());
    let federation = federation::start(folder.path()).await.unwrap();
    let credentials = Credentials::load(&folder.path().join("researcher")).unwrap();
    let client = Client::connect(&federation.url(), &credentials)
        .await
        .unwrap();
    let refusal = client
        .query(&Question::new(QUESTIONS[1]))
        .await
        .unwrap_err();
    assert!(!refusal.to_string().contains("http"), "{refusal}");
    federation.stop().await;
}
