//! Federations with patient 42 and without, and how both are asked.

use std::{
    fs,
    io::{self, Write},
    path::Path,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use datafusion::{arrow::compute::concat_batches, prelude::SessionContext};
use parquet::arrow::ArrowWriter;
use skerry::{
    federation::{self, Federation},
    init::{InitOptions, init},
};
use skerry_coordinator::{
    answer::Answer,
    client::{Client, Credentials},
    question::Question,
};
use skerry_proto::{Epsilon, ErrorCode, ProjectId, Refusal};
use tempfile::TempDir;
use tokio::{runtime::Runtime, sync::OnceCell};
use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{sites::numbers, twins::assert_same};

/// What only patient 42 has, in a column and in no other place.
pub(super) const SECRET: &str = "Q42-secret";

/// All that nodes and coordinators log, as far as they ever do.
pub(super) static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// The twins outlive each test, and so must what runs them.
pub(super) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let filter = EnvFilter::new(
        "info,skerry=trace,skerry_node=trace,skerry_privacy=trace,skerry_coordinator=trace,datafusion=debug",
    );
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Log)
        .init();
    Runtime::new().unwrap()
});

pub(super) const POLICY: &str = r#"
persons = 200

[[table]]
name = "patients"
path = "{region}/patients.parquet"
unit = "patient_id"
max_rows_per_unit = 1
[table.columns]
patient_id = {}
municipality = { values = ["A", "B", "C", "D"], nulls = false }
sex = { values = ["f", "m"], nulls = false }
birth_year = { range = [1920, 2024] }

[[table]]
name = "episodes"
path = "{region}/episodes.parquet"
unit = "patient_id"
max_rows_per_unit = 5
[table.columns]
patient_id = {}
episode_id = {}
service = { values = ["gp", "ward"], nulls = false }
start_date = { range = ["2019-01-01", "2024-12-31"] }
days = { range = [0, 100] }
cost = { range = [0, 1000] }
paid = {}
diagnosis = {}

[[table]]
name = "inclusions"
path = "{region}/inclusions.parquet"
unit = "patient_id"
max_rows_per_unit = 1
[table.columns]
patient_id = {}
included_on = { range = ["2019-01-01", "2024-12-31"] }

[budget]
project = { epsilon = 1000.0, delta = 1e-4 }
total   = { epsilon = 1000.0, delta = 1e-4 }
"#;

/// Rows of 120 patients, of whom number 42 has all that is strange.
pub(super) const TABLES: [(&str, &str); 3] = [
    (
        "patients",
        "SELECT n AS patient_id, CASE WHEN n = 42 THEN 'C' WHEN n % 2 = 0 THEN 'A' ELSE 'B' END AS municipality,
                CASE WHEN n % 3 = 0 THEN 'f' ELSE 'm' END AS sex, 1930 + n % 80 AS birth_year
         FROM generate_series(1, 120) AS t(n)",
    ),
    (
        "episodes",
        "SELECT n % 120 + 1 AS patient_id, n AS episode_id,
                CASE WHEN n % 4 = 0 THEN 'ward' ELSE 'gp' END AS service,
                DATE '2020-01-01' + CAST(n % 1000 AS INT) AS start_date, n % 9 AS days,
                n % 500 * 1.0E0 AS cost, n % 500 * 1.0E0 AS paid, 'D' || CAST(n % 3 AS VARCHAR) AS diagnosis
         FROM generate_series(1, 360) AS t(n) WHERE n % 120 + 1 <> 42
         UNION ALL
         SELECT 42, 1000 + n, 'gp', DATE '2024-12-31', 4611686018427387904,
                CASE n % 5 WHEN 0 THEN 4.6E18 WHEN 1 THEN CAST('NaN' AS DOUBLE)
                     WHEN 2 THEN CAST('Infinity' AS DOUBLE) WHEN 3 THEN CAST('-Infinity' AS DOUBLE) END,
                1.0E18, 'Q' || CAST(n - n + 42 AS VARCHAR) || '-secret'
         FROM generate_series(1, 10000) AS t(n)",
    ),
    (
        "inclusions",
        "SELECT n AS patient_id, DATE '2022-01-01' + CAST(n AS INT) AS included_on
         FROM generate_series(1, 120) AS t(n) WHERE n % 2 = 0",
    ),
];

pub(super) fn lock_log() -> MutexGuard<'static, Vec<u8>> {
    LOG.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
pub(super) struct Log;

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        lock_log().extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

pub(super) struct Twin {
    pub client: Client,
    pub _federation: Federation,
    pub _folder: TempDir,
}

pub(super) struct Twins {
    pub with: Twin,
    pub without: Twin,
}

/// What came of a statement, the same in both twins.
pub(super) enum Outcome {
    Refused(Refusal),
    Answered(Box<[Answer; 2]>),
}

pub(super) async fn twins() -> &'static Twins {
    static TWINS: OnceCell<Twins> = OnceCell::const_new();
    TWINS
        .get_or_init(|| async {
            Twins {
                with: Twin::start("true").await,
                without: Twin::start("patient_id <> 42").await,
            }
        })
        .await
}

impl Twin {
    pub async fn start(kept: &str) -> Self {
        let folder = TempDir::new().unwrap();
        for region in ["north", "south"] {
            let place = folder.path().join(region);
            fs::create_dir_all(&place).unwrap();
            // Patient 42 lives in the north.
            let kept = if region == "north" {
                kept
            } else {
                "patient_id <> 42"
            };
            for (table, rows) in TABLES {
                let sql = format!("SELECT * FROM ({rows}) AS t WHERE {kept}");
                write(&place.join(format!("{table}.parquet")), &sql).await;
            }
        }
        let policy = folder.path().join("policy.toml");
        fs::write(&policy, POLICY).unwrap();
        let place = folder.path().join("federation");
        init(&InitOptions {
            folder: place.clone(),
            regions: vec![],
            data: None,
            unit: None,
            policy: Some(policy),
            port: 0,
        })
        .unwrap();
        let federation = federation::start(&place).await.unwrap();
        let credentials = Credentials::load(&place.join("researcher")).unwrap();
        let client = Client::connect(&federation.url(), &credentials)
            .await
            .unwrap();
        Self {
            client,
            _federation: federation,
            _folder: folder,
        }
    }
}

pub(super) async fn write(file: &Path, sql: &str) {
    let frame = SessionContext::new().sql(sql).await.unwrap();
    let batches = frame.collect().await.unwrap();
    let batch = concat_batches(&batches[0].schema(), &batches).unwrap();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(file).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

pub(super) async fn ask_twins(question: &Question) -> Outcome {
    let twins = twins().await;
    let with = twins.with.client.query(question).await;
    let without = twins.without.client.query(question).await;
    assert_same(&question.sql, &with, &without);
    let log = lock_log().clone();
    let holds = |text: &str| log.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(holds("the node is up"), "nothing is logged");
    let told = holds(SECRET);
    assert!(!told, "{}: the log has it", question.sql);
    match (with, without) {
        (Ok(with), Ok(without)) => Outcome::Answered(Box::new([with, without])),
        (Err(refusal), _) | (_, Err(refusal)) => Outcome::Refused(refusal),
    }
}

/// A project that nobody else in this run asks for.
pub(super) fn new_project() -> ProjectId {
    static PROJECTS: AtomicUsize = AtomicUsize::new(0);
    let number = PROJECTS.fetch_add(1, Ordering::SeqCst);
    format!("project-{number}").parse().unwrap()
}

/// A statement that is refused, before data are read and for nothing.
pub(super) fn refused(sql: &str, code: ErrorCode) -> Refusal {
    RUNTIME.block_on(async {
        let mut question = Question::new(sql);
        question.project = Some(new_project());
        match ask_twins(&question).await {
            Outcome::Refused(refusal) => {
                assert_eq!(refusal.code, code, "{sql}: {refusal:?}");
                assert!(!refusal.message.contains(SECRET), "{refusal:?}");
                assert_eq!(spent(question.project.as_ref()).await, 0.0, "{sql}");
                refusal
            }
            Outcome::Answered(answers) => panic!("{sql}: answered {:?}", answers[0].rows),
        }
    })
}

/// A statement that is answered, in both twins; their answers, at this ε.
pub(super) fn answered_at(sql: &str, epsilon: f64) -> [Answer; 2] {
    RUNTIME.block_on(async {
        let mut question = Question::new(sql);
        question.project = Some(new_project());
        question.epsilon = Some(Epsilon::try_from(epsilon).unwrap());
        match ask_twins(&question).await {
            Outcome::Answered(answers) => *answers,
            Outcome::Refused(refusal) => panic!("{sql}: {refusal:?}"),
        }
    })
}

pub(super) fn answered(sql: &str) -> [Answer; 2] {
    answered_at(sql, 1.0)
}

/// One figure of each twin, and both noises' standard deviations together.
pub(super) fn figures(answers: &[Answer; 2], name: &str) -> ([f64; 2], f64) {
    let value = |answer: &Answer| numbers(&answer.rows, name)[0];
    let sd = |answer: &Answer| numbers(&answer.rows, &format!("{name}_sd"))[0];
    let [with, without] = answers;
    ([value(with), value(without)], sd(with).hypot(sd(without)))
}

/// What a project has spent in the north.
pub(super) async fn spent(project: Option<&ProjectId>) -> f64 {
    let budget = twins().await.with.client.budget(project).await.unwrap();
    budget["regions"]["north"]["project"]["epsilon_spent"]
        .as_f64()
        .unwrap()
}
