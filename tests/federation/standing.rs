//! Standing questions: asked once for each week whatever happens between, and told of when the
//! data really have a surge.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use arrow::array::{ArrayRef, Date32Array, Int64Array, RecordBatch};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use parquet::arrow::ArrowWriter;
use serde_json::Value as Json;
use skerry::{
    federation::{self, Federation},
    init::{InitOptions, init},
};
use skerry_coordinator::{
    client::{Client, Credentials},
    config::CoordinatorConfig,
    standing::{
        Clock, Status,
        band::Verdict,
        report::{Report, reports},
    },
};
use skerry_node::config::NodeConfig;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const REGIONS: [&str; 2] = ["north", "south"];
const WEEKS: i32 = 16;
/// In the south, thrice as many persons as else.
const SURGE: i32 = 12;
/// 2024-01-01, a Monday.
const FIRST_DAY: i32 = 19_723;

fn first() -> NaiveDate {
    "2024-01-01".parse().unwrap()
}

/// Admissions of a week, one a person.
fn admissions(region: &str, week: i32) -> i64 {
    let usual = i64::from(20 + (week * 7) % 5);
    if region == "south" && week == SURGE {
        3 * usual
    } else {
        usual
    }
}

/// A federation of two regions, with a standing question at the end of the coordinator's file.
fn write(standing: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    for region in REGIONS {
        let place = data.join(region);
        fs::create_dir_all(&place).unwrap();
        let days: Vec<i32> = (0..WEEKS)
            .flat_map(|week| {
                (0..admissions(region, week)).map(move |n| FIRST_DAY + 7 * week + n as i32 % 7)
            })
            .collect();
        let columns: [(&str, ArrayRef); 2] = [
            (
                "person_id",
                Arc::new(Int64Array::from_iter_values(0..days.len() as i64)),
            ),
            ("start_date", Arc::new(Date32Array::from(days))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let file = File::create(place.join("episodes.parquet")).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let policy = "persons = 1000\n\n[budget]\nproject = { epsilon = 50.0, delta = 0.0 }\n\
             total = { epsilon = 50.0, delta = 0.0 }\n\n[[table]]\nname = \"episodes\"\n\
             path = \"episodes.parquet\"\nunit = \"person_id\"\nmax_rows_per_unit = 1\n\n\
             [table.columns]\nperson_id = {}\n\
             start_date = { range = [\"2019-01-01\", \"2026-12-31\"] }\n";
        fs::write(place.join("policy.toml"), policy).unwrap();
    }
    let place = folder.path().join("federation");
    init(&InitOptions {
        folder: place.clone(),
        regions: vec![],
        data: None,
        unit: None,
        policy: Some(data),
        port: 0,
    })
    .unwrap();
    let file = place.join("coordinator.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text + standing).unwrap();
    folder
}

fn question(series: u32, epsilon: &str, hook: &str) -> String {
    format!(
        r#"
[[standing]]
name = "surge"
series = {series}
project = "alerts"
epsilon = {epsilon}
sql = """
SELECT region, COUNT(*) AS admissions FROM episodes
WHERE start_date >= $week AND start_date < $week + INTERVAL '7 days' GROUP BY region"""
figure = "admissions"
group_by = ["region"]
from = "2024-01-01"
weeks = {WEEKS}
delay_days = 0
ask_at_hour = 6
[standing.alerts]
webhook = "{hook}"
mail_dir = "mail"
mail_from = "skerry@region.example"
mail_to = ["ward@region.example"]
"#
    )
}

/// A clock that stands until it is set.
#[derive(Clone)]
struct Hands(Arc<AtomicI64>);

impl Hands {
    fn new() -> Self {
        let hands = Self(Arc::default());
        hands.set(0, TimeDelta::zero());
        hands
    }

    /// To the moment at which so many weeks are due, and a while after.
    fn set(&self, weeks: i64, after: TimeDelta) {
        let midnight = first().and_hms_opt(6, 0, 0).unwrap().and_utc();
        let now = midnight + TimeDelta::weeks(weeks) + after;
        self.0.store(now.timestamp(), Ordering::SeqCst);
    }

    fn clock(&self) -> Clock {
        let hands = Arc::clone(&self.0);
        Arc::new(move || DateTime::<Utc>::from_timestamp(hands.load(Ordering::SeqCst), 0).unwrap())
    }
}

fn place(folder: &TempDir) -> PathBuf {
    folder.path().join("federation")
}

fn report(folder: &TempDir) -> Report {
    let config = CoordinatorConfig::load(&place(folder).join("coordinator.toml")).unwrap();
    let mut reports = reports(&config.standing_state, &config.standing).unwrap();
    reports.remove(0)
}

/// Waits until it is so.
async fn until(folder: &TempDir, what: impl Fn(&Report) -> bool) -> Report {
    for _ in 0..600 {
        let report = report(folder);
        if what(&report) {
            return report;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{:#?}", report(folder))
}

fn answered(weeks: usize) -> impl Fn(&Report) -> bool {
    move |report| {
        let done = |status| status == Status::Answered;
        report.weeks.len() == weeks && report.weeks.iter().all(|week| done(week.status))
    }
}

/// What the project has spent in each region, as the nodes say.
async fn spent(folder: &TempDir, federation: &Federation) -> Vec<f64> {
    let credentials = Credentials::load(&place(folder).join("researcher")).unwrap();
    let client = Client::connect(&federation.url(), &credentials)
        .await
        .unwrap();
    let budget = client
        .budget(Some(&"alerts".parse().unwrap()))
        .await
        .unwrap();
    REGIONS
        .iter()
        .map(|region| {
            let spent = &budget["regions"][region]["project"]["epsilon_spent"];
            spent.as_f64().unwrap()
        })
        .collect()
}

fn figures(report: &Report) -> Vec<f64> {
    let weeks = report.weeks.iter();
    weeks
        .flat_map(|week| week.figures.iter().map(|figure| figure.figure))
        .collect()
}

/// A web service that refuses the first call and keeps all.
async fn listener() -> (String, Arc<Mutex<Vec<(String, Json)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/alerts?of=skerry", listener.local_addr().unwrap());
    let calls = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&calls);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = Vec::new();
            let (head, body) = loop {
                let mut part = [0; 4096];
                let read = stream.read(&mut part).await.unwrap();
                assert!(read > 0, "the call ended early");
                bytes.extend_from_slice(&part[..read]);
                let text = String::from_utf8(bytes.clone()).unwrap();
                let Some((head, body)) = text.split_once("\r\n\r\n") else {
                    continue;
                };
                let length = head
                    .lines()
                    .find_map(|line| {
                        line.to_lowercase()
                            .strip_prefix("content-length: ")?
                            .parse::<usize>()
                            .ok()
                    })
                    .unwrap();
                if body.len() == length {
                    break (head.to_owned(), serde_json::from_str(body).unwrap());
                }
            };
            let status = {
                let mut kept = kept.lock().unwrap();
                kept.push((head, body));
                if kept.len() == 1 {
                    "503 Not now"
                } else {
                    "204 Thanks"
                }
            };
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, calls)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_week_is_asked_once_and_a_surge_is_told() {
    let (hook, calls) = listener().await;
    let folder = write(&question(1, "16.0", &hook));
    let place = place(&folder);
    let state = place.join("standing.sqlite");
    let hands = Hands::new();
    let start = || federation::start_at(&place, hands.clock());

    // Nothing is asked before it is due.
    let federation = start().await.unwrap();
    let found = until(&folder, |report| report.lasts.is_some()).await;
    assert_eq!(
        found.lasts.unwrap(),
        "16 weeks at ε = 1 need at most ε = 16 in each region, and all have it"
    );
    hands.set(1, TimeDelta::seconds(-1));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(report(&folder).weeks.is_empty());

    // Weeks that were missed are asked one after the other, each once.
    hands.set(9, TimeDelta::zero());
    until(&folder, answered(9)).await;
    hands.set(9, TimeDelta::days(3));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(spent(&folder, &federation).await, [9.0, 9.0]);
    // Nobody else asks from the same file.
    let config = CoordinatorConfig::load(&place.join("coordinator.toml")).unwrap();
    let second = federation::start_coordinator_at(config, hands.clock()).await;
    assert!(
        second
            .err()
            .unwrap()
            .message
            .contains("another coordinator")
    );

    // A region that is away: the week waits, and costs nothing.
    let mut federation = federation;
    assert!(federation.stop_node(&"south".parse().unwrap()).await);
    hands.set(10, TimeDelta::zero());
    let waiting = until(&folder, |report| {
        report.weeks.last().is_some_and(|week| week.failed > 0)
    })
    .await;
    let week = waiting.weeks.last().unwrap();
    assert_eq!(week.status, Status::Planned);
    assert!(week.reason.as_ref().unwrap().contains("south"), "{week:?}");
    federation.stop().await;
    // As a coordinator leaves its state that is killed before it stored the answer.
    let killed = fs::read(&state).unwrap();

    hands.set(10, TimeDelta::hours(7));
    let federation = start().await.unwrap();
    let before = until(&folder, answered(10)).await;
    assert_eq!(spent(&folder, &federation).await, [10.0, 10.0]);
    federation.stop().await;

    fs::write(&state, &killed).unwrap();
    let federation = start().await.unwrap();
    let after = until(&folder, answered(10)).await;
    assert_eq!(figures(&after), figures(&before));
    assert_eq!(spent(&folder, &federation).await, [10.0, 10.0]);
    federation.stop().await;

    // Also a state that is lost altogether.
    fs::remove_file(&state).unwrap();
    let federation = start().await.unwrap();
    let after = until(&folder, answered(10)).await;
    assert_eq!(figures(&after), figures(&before));
    assert_eq!(spent(&folder, &federation).await, [10.0, 10.0]);
    assert!(calls.lock().unwrap().is_empty());
    assert!(!place.join("mail").exists());

    // The surge: one alert, told again until it is heard, and one mail.
    hands.set(13, TimeDelta::zero());
    let report = until(&folder, |report| {
        answered(13)(report) && report.untold.iter().any(|alert| alert.failed == 1)
    })
    .await;
    let alarms: Vec<(NaiveDate, &Json, Verdict)> = report
        .weeks
        .iter()
        .flat_map(|week| week.figures.iter().map(|figure| (week.week, figure)))
        .filter(|(_, figure)| figure.verdict.alarms())
        .map(|(week, figure)| (week, &figure.group["region"], figure.verdict))
        .collect();
    let surge = first() + TimeDelta::weeks(SURGE.into());
    assert_eq!(alarms, [(surge, &Json::from("south"), Verdict::Above)]);
    hands.set(13, TimeDelta::minutes(2));
    until(&folder, |report| report.untold.is_empty()).await;
    let calls = calls.lock().unwrap().clone();
    assert_eq!(calls.len(), 2);
    let [(first_head, first_body), (head, body)] = calls.as_slice() else {
        unreachable!()
    };
    assert_eq!(first_body, body);
    assert!(head.starts_with("POST /alerts?of=skerry HTTP/1.1"));
    let id = body["id"].as_str().unwrap();
    assert!(head.contains(id) && first_head.contains(id));
    let keys: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "id",
            "standing",
            "week",
            "group",
            "column",
            "figure",
            "figure_low",
            "figure_high",
            "expected",
            "band_low",
            "band_high",
            "verdict"
        ]
    );
    assert_eq!(body["week"], Json::from(surge.to_string()));
    assert_eq!(body["group"], serde_json::json!({"region": "south"}));
    let mails: Vec<PathBuf> = fs::read_dir(place.join("mail"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(mails, [place.join("mail").join(format!("{id}.eml"))]);
    let mail = fs::read_to_string(&mails[0]).unwrap();
    assert!(mail.contains("region: south\r\n"), "{mail}");

    // The period ends, and with it all asking.
    hands.set(500, TimeDelta::zero());
    let report = until(&folder, answered(16)).await;
    assert_eq!((report.weeks_left, report.epsilon_spent), (0, 16.0));
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(spent(&folder, &federation).await, [16.0, 16.0]);
    federation.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_question_is_another_series_and_asks_no_week_again() {
    let hook = "http://127.0.0.1:9/";
    let folder = write(&question(1, "16.0", hook));
    let place = place(&folder);
    let file = place.join("coordinator.toml");
    let hands = Hands::new();
    hands.set(3, TimeDelta::zero());
    let federation = federation::start_at(&place, hands.clock()).await.unwrap();
    until(&folder, answered(3)).await;
    federation.stop().await;

    // Half the ε: refused as the same series, begun as the next.
    let text = fs::read_to_string(&file).unwrap();
    let half = text.replace("epsilon = 16.0", "epsilon = 8.0");
    fs::write(&file, &half).unwrap();
    let refused = federation::start_at(&place, hands.clock()).await;
    let message = refused.err().unwrap().message;
    assert!(message.contains("series = 2"), "{message}");
    fs::write(&file, half.replace("series = 1", "series = 2")).unwrap();
    let federation = federation::start_at(&place, hands.clock()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(spent(&folder, &federation).await, [3.0, 3.0]);
    hands.set(4, TimeDelta::zero());
    let report = until(&folder, answered(4)).await;
    assert_eq!(spent(&folder, &federation).await, [3.5, 3.5]);
    let series: Vec<u32> = report.weeks.iter().map(|week| week.series).collect();
    assert_eq!(series, [1, 1, 1, 2]);
    assert_eq!((report.weeks_left, report.epsilon_spent), (12, 0.5));

    // After a day without one of the regions the other's figures are taken, and the missing ones later.
    let mut federation = federation;
    assert!(federation.stop_node(&"south".parse().unwrap()).await);
    hands.set(5, TimeDelta::zero());
    until(&folder, |report| report.weeks.len() == 5).await;
    hands.set(5, TimeDelta::hours(25));
    let partial = until(&folder, |report| {
        report
            .weeks
            .last()
            .is_some_and(|week| week.status == Status::Partial)
    })
    .await;
    let week = partial.weeks.last().unwrap();
    assert_eq!(week.figures.len(), 1);
    assert_eq!(week.figures[0].group["region"], Json::from("north"));
    federation.stop().await;
    hands.set(5, TimeDelta::hours(32));
    let federation = federation::start_at(&place, hands.clock()).await.unwrap();
    let whole = until(&folder, answered(5)).await;
    let figures = &whole.weeks.last().unwrap().figures;
    assert_eq!(figures[0], week.figures[0]);
    assert_eq!(figures.len(), 2);
    assert_eq!(spent(&folder, &federation).await, [4.0, 4.0]);
    federation.stop().await;
}

/// A coordinator's process is killed again and again while it asks for weeks long past.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_coordinator_asks_no_week_twice() {
    let folder = write(&question(1, "16.0", "http://127.0.0.1:9/"));
    let place = place(&folder);
    let file = place.join("coordinator.toml");
    let mut text = fs::read_to_string(&file).unwrap();
    let mut nodes = vec![];
    for region in REGIONS {
        let config = NodeConfig::load(&place.join(region).join("node.toml")).unwrap();
        let node = federation::start_node(config).await.unwrap();
        let id = format!("id = \"{region}\"\nurl = \"https://127.0.0.1:0\"");
        assert!(text.contains(&id), "{text}");
        text = text.replace(
            &id,
            &format!("id = \"{region}\"\nurl = \"https://{}\"", node.address),
        );
        nodes.push(node);
    }
    fs::write(&file, text).unwrap();
    let coordinator = |file: &Path| {
        Command::new(env!("CARGO_BIN_EXE_skerry"))
            .args(["coordinator", "--config"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    };
    let mut kills = 0;
    // Each a little later than the one before, so that all stages are met.
    for delay in (0..).map(|round| 300 + 37 * round) {
        let mut process = coordinator(&file);
        tokio::time::sleep(Duration::from_millis(delay)).await;
        process.kill().unwrap();
        process.wait().unwrap();
        kills += 1;
        let state = place.join("standing.sqlite");
        if state.exists() && fs::metadata(&state).unwrap().len() > 0 && is_over(&folder) {
            break;
        }
        assert!(kills < 100, "{:#?}", report(&folder));
    }
    assert!(kills > 1);
    let config = CoordinatorConfig::load(&file).unwrap();
    let hands = Hands::new();
    let running = federation::start_coordinator_at(config, hands.clock())
        .await
        .unwrap();
    let credentials = Credentials::load(&place.join("researcher")).unwrap();
    let client = Client::connect(&format!("https://{}", running.address), &credentials)
        .await
        .unwrap();
    let budget = client
        .budget(Some(&"alerts".parse().unwrap()))
        .await
        .unwrap();
    for region in REGIONS {
        let spent = &budget["regions"][region]["project"]["epsilon_spent"];
        assert_eq!(
            spent.as_f64(),
            Some(f64::from(WEEKS)),
            "{region}, {kills} kills"
        );
    }
    running.shutdown().await;
    for node in nodes {
        node.stop().await;
    }
}

/// What a killed process left in the middle of a write is only put right by who writes next.
fn is_over(folder: &TempDir) -> bool {
    let config = CoordinatorConfig::load(&place(folder).join("coordinator.toml")).unwrap();
    match reports(&config.standing_state, &config.standing) {
        Ok(reports) => answered(WEEKS as usize)(&reports[0]),
        Err(_) => false,
    }
}
