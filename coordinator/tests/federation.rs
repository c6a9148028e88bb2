//! Two real nodes, a coordinator and researchers, over mutual TLS on this machine.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{fmt::Write as _, fs, path::Path};

use arrow::{
    array::{AsArray as _, RecordBatch},
    datatypes::{Float64Type, Int64Type},
};
use arrow_flight::{
    FlightClient, FlightDescriptor, Ticket,
    sql::{CommandStatementQuery, ProstMessageExt as _},
};
use datafusion::{
    dataframe::DataFrameWriteOptions,
    prelude::{CsvReadOptions, SessionContext},
};
use futures::TryStreamExt as _;
use prost::Message as _;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use skerry_coordinator::{
    RunningCoordinator,
    answer::Answer,
    client::{COORDINATOR_NAME, Client, Credentials},
    config::CoordinatorConfig,
    question::Question,
    serve,
};
use skerry_node::{RunningNode, config::NodeConfig};
use skerry_proto::ErrorCode;
use tempfile::TempDir;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("key")).expect("authority")
}

/// Writes `NAME.pem` and `NAME.key`, signed by `authority`.
fn identity(folder: &Path, name: &str, common: &str, hosts: &[&str], authority: &Authority) {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, common);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate().expect("key");
    let certificate = params.signed_by(&key, authority).expect("certificate");
    fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("write");
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("write");
}

/// Persons of one region: two visits each, at sites 1 and 2, of cost 10 and 30; a third has one
/// more at site 2.
const PERSONS: i64 = 3_000;

struct Federation {
    folder: TempDir,
    nodes: Vec<RunningNode>,
    coordinator: RunningCoordinator,
    researchers: Authority,
}

const NODE: &str = r#"
listen = "127.0.0.1:0"
persons = 3_000

[budget]
project = { epsilon = 100.0, delta = 1e-7 }
total   = { epsilon = 300.0, delta = 4e-7 }

[[table]]
name = "visits"
path = "visits.parquet"
unit = "person_id"
max_rows_per_unit = 3

[table.columns]
person_id = {}
site = { values = [1, 2], nulls = false }
cost = { range = [0, HIGH] }

[[table]]
name = "patients"
path = "patients.parquet"
unit = "person_id"
max_rows_per_unit = 1

[table.columns]
person_id = {}
sex = { values = ["f", "m"], nulls = false }

[[table]]
name = "sites"
path = "../sites.csv"

[table.columns]
site = {}
label = {}
"#;

/// Writes `NAME.parquet` of a text in CSV, whose numbers make the types.
async fn write_parquet(folder: &Path, name: &str, text: String) {
    let source = folder.join(format!("{name}.csv"));
    fs::write(&source, text).expect("write");
    let target = folder.join(format!("{name}.parquet"));
    SessionContext::new()
        .read_csv(source.to_string_lossy().into_owned(), CsvReadOptions::new())
        .await
        .expect("read")
        .write_parquet(
            &target.to_string_lossy(),
            DataFrameWriteOptions::new().with_single_file_output(true),
            None,
        )
        .await
        .expect("write");
}

impl Federation {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let root = folder.path();
        let federation = authority("federation");
        let researchers = authority("researchers");
        fs::write(root.join("federation-ca.pem"), federation.pem()).expect("write");
        fs::write(root.join("researchers-ca.pem"), researchers.pem()).expect("write");
        identity(
            root,
            "coordinator",
            "coordinator.skerry",
            &["coordinator.skerry", "localhost"],
            &federation,
        );
        fs::write(
            root.join("sites.csv"),
            "site,label\n1,one\n2,two\n3,three\n",
        )
        .expect("write");
        let mut text = "listen = \"127.0.0.1:0\"\nregions_per_person = 2\n".to_owned();
        let mut nodes = Vec::new();
        for (region, high) in [("north", 40), ("south", 100)] {
            let place = root.join(region);
            fs::create_dir(&place).expect("folder");
            let name = format!("{region}.node.skerry");
            identity(&place, "node", &name, &[&name, "localhost"], &federation);
            fs::write(place.join("federation-ca.pem"), federation.pem()).expect("write");
            let mut visits = "person_id,site,cost\n".to_owned();
            let mut patients = "person_id,sex\n".to_owned();
            for person in 0..PERSONS {
                let _ = writeln!(visits, "{person},1,10.0\n{person},2,30.0");
                if person % 3 == 0 {
                    let _ = writeln!(visits, "{person},2,30.0");
                }
                let _ = writeln!(
                    patients,
                    "{person},{}",
                    if person % 2 == 0 { "f" } else { "m" }
                );
            }
            write_parquet(&place, "visits", visits).await;
            write_parquet(&place, "patients", patients).await;
            let config = format!(
                "region = \"{region}\"\n{}",
                NODE.replace("HIGH", &high.to_string())
            );
            let file = place.join("node.toml");
            fs::write(&file, config).expect("write");
            let config = NodeConfig::load(&file).expect("configuration");
            let node = skerry_node::serve(config).await.expect("node");
            let _ = writeln!(
                text,
                "[[region]]\nid = \"{region}\"\nurl = \"https://{}\"",
                node.address
            );
            nodes.push(node);
        }
        text.push_str("[[table]]\nname = \"sites\"\npath = \"sites.csv\"\n");
        // Nodes silence panics in their process; a test's own should be heard.
        std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
        let config =
            CoordinatorConfig::parse(&root.join("coordinator.toml"), &text).expect("configuration");
        let coordinator = serve(config).await.expect("coordinator");
        Self {
            folder,
            nodes,
            coordinator,
            researchers,
        }
    }

    async fn researcher(&self, name: &str) -> Client {
        let credentials = self.credentials(name);
        let url = format!("https://{}", self.coordinator.address);
        Client::connect(&url, &credentials)
            .await
            .expect("connection")
    }

    /// A researcher who comes with any Flight SQL client.
    async fn flight(&self, name: &str) -> FlightClient {
        let credentials = self.credentials(name);
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&credentials.authority))
            .identity(Identity::from_pem(
                &credentials.certificate,
                &credentials.key,
            ))
            .domain_name(COORDINATOR_NAME);
        let channel = Endpoint::from_shared(format!("https://{}", self.coordinator.address))
            .expect("address")
            .tls_config(tls)
            .expect("certificates")
            .connect()
            .await
            .expect("connection");
        FlightClient::new(channel)
    }

    /// A certificate for a researcher of this name, new each time.
    fn credentials(&self, name: &str) -> Credentials {
        let place = self.folder.path().join(name);
        fs::create_dir_all(&place).expect("folder");
        identity(&place, "researcher", name, &[], &self.researchers);
        fs::copy(
            self.folder.path().join("federation-ca.pem"),
            place.join("federation-ca.pem"),
        )
        .expect("copy");
        Credentials::load(&place).expect("credentials")
    }
}

fn whole(answer: &Answer, name: &str) -> Vec<i64> {
    let column = answer.rows.column_by_name(name).expect(name);
    column.as_primitive::<Int64Type>().values().to_vec()
}

fn real(answer: &Answer, name: &str) -> Vec<f64> {
    let column = answer.rows.column_by_name(name).expect(name);
    column.as_primitive::<Float64Type>().values().to_vec()
}

/// Whether a figure is the truth within ten times its interval's half-width.
fn near(answer: &Answer, name: &str, truth: &[f64]) {
    let values: Vec<f64> = match answer.rows.column_by_name(name).expect(name).data_type() {
        arrow::datatypes::DataType::Int64 => {
            whole(answer, name).iter().map(|x| *x as f64).collect()
        }
        _ => real(answer, name),
    };
    let sd = real(answer, &format!("{name}_sd"));
    assert_eq!(values.len(), truth.len(), "{name}");
    for ((value, truth), sd) in values.iter().zip(truth).zip(sd) {
        assert!(sd > 0.0, "{name} has no noise");
        assert!(
            (value - truth).abs() < 20.0 * sd,
            "{name}: {value}, not {truth} ± {sd}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_federation_answers() {
    let mut federation = Federation::start().await;
    let client = federation.researcher("ada").await;
    let ask = |sql: &str| {
        let question = Question::new(sql);
        let client = &client;
        async move { client.query(&question).await }
    };

    // Totals, by group, in the hull of two ranges.
    let answer = ask(
        "SELECT site, COUNT(*) AS n, SUM(cost) AS s, AVG(cost) AS c FROM visits \
                      GROUP BY site ORDER BY site",
    )
    .await
    .expect("answer");
    assert_eq!(whole(&answer, "site"), [1, 2]);
    near(&answer, "n", &[6_000.0, 8_000.0]);
    near(&answer, "s", &[60_000.0, 240_000.0]);
    near(&answer, "c", &[10.0, 30.0]);
    assert_eq!(answer.record.regions.answered.len(), 2);
    assert_eq!(answer.record.privacy.epsilon_for_a_person_in_k_regions, 2.0);

    // By region, a join of private tables, a ratio of two releases, public tables on both sides.
    let answer = ask("SELECT region, COUNT(DISTINCT person_id) AS p FROM visits \
                      GROUP BY region ORDER BY region DESC")
    .await
    .expect("answer");
    near(&answer, "p", &[3_000.0, 3_000.0]);
    let answer = ask("SELECT p.sex, SUM(v.cost) AS s FROM patients p \
                      JOIN visits v ON p.person_id = v.person_id GROUP BY p.sex ORDER BY p.sex")
    .await
    .expect("answer");
    near(&answer, "s", &[150_000.0, 150_000.0]);
    let answer = ask(
        "SELECT (SELECT COUNT(*) FROM visits WHERE site = 2) * 1.0 / \
                      (SELECT COUNT(*) FROM patients) AS a_person",
    )
    .await
    .expect("answer");
    near(&answer, "a_person", &[8_000.0 / 6_000.0]);
    let answer = ask("SELECT s.label, t.n FROM sites s JOIN \
                      (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t \
                      ON s.site = t.site ORDER BY s.label")
    .await
    .expect("answer");
    near(&answer, "n", &[6_000.0, 8_000.0]);

    // One id, one answer; the same question is answered from the store.
    let mut question = Question::new("SELECT COUNT(*) AS n FROM patients WHERE sex = 'f'");
    question.query_id = "once".parse().ok();
    let first = client.query(&question).await.expect("answer");
    let second = client.query(&question).await.expect("answer");
    assert_eq!(first.rows.columns(), second.rows.columns());
    assert_eq!(second.record.privacy.regions["north"]["charged"], false);

    // Catalogue, budget, explanation.
    let catalogue = client.catalogue().await.expect("catalogue");
    assert_eq!(catalogue["missing"].as_array().map(Vec::len), Some(0));
    let explained = client
        .query(&Question::new(
            "EXPLAIN PRIVACY SELECT site, COUNT(*) FROM visits GROUP BY site",
        ))
        .await
        .expect("explained");
    let before = client.budget(None).await.expect("budget");
    assert!(explained.rows.num_rows() >= 2);
    assert_eq!(before, client.budget(None).await.expect("budget"));

    // Refusals reach the researcher whole.
    for (sql, code) in [
        ("SELECT * FROM visits", ErrorCode::PrivateOutput),
        ("SELECT COUNT(*) FROM visit", ErrorCode::UnknownTable),
        (
            "SELECT COUNT(*) FROM visits WHERE sight = 1",
            ErrorCode::UnknownColumn,
        ),
        ("SELECT MIN(cost) FROM visits", ErrorCode::PrivateOutput),
        (
            "SELECT cost, COUNT(*) FROM visits GROUP BY cost",
            ErrorCode::NoPublicValues,
        ),
    ] {
        let refusal = ask(sql).await.expect_err(sql);
        assert_eq!(refusal.code, code, "{sql}: {refusal}");
        assert!(!refusal.hint.is_empty(), "{sql}: {refusal:?}");
    }
    assert_eq!(before, client.budget(None).await.expect("budget"));

    // A node that is down.
    federation.nodes.remove(1).stop().await;
    let refusal = client
        .query(&Question::new(
            "SELECT COUNT(*) AS m FROM visits WHERE site = 1",
        ))
        .await
        .expect_err("missing");
    assert_eq!(refusal.code, ErrorCode::RegionMissing, "{refusal:?}");
    assert!(refusal.message.contains("south"), "{refusal:?}");
    let mut question = Question::new("SELECT COUNT(*) AS m FROM visits WHERE site = 1");
    question.allow_missing = true;
    let answer = client.query(&question).await.expect("answer");
    near(&answer, "m", &[3_000.0]);
    assert_eq!(answer.record.regions.missing.len(), 1);
    federation.coordinator.shutdown().await;
}

async fn fetched(client: &mut FlightClient, ticket: &Ticket) -> Option<Vec<RecordBatch>> {
    let rows = client.do_get(ticket.clone()).await.ok()?;
    rows.try_collect().await.ok()
}

/// A statement runs once, when its FlightInfo is asked for. Its ticket gives that answer as often as it
/// is shown, with the schema that was announced, to the nullability and the privacy record in it;
/// and to nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_replays_one_answer_to_its_own_caller() {
    let federation = Federation::start().await;
    let watcher = federation.researcher("watcher").await;
    let mut ada = federation.flight("ada").await;
    let before = watcher.budget(None).await.expect("budget");
    let command = CommandStatementQuery {
        query: "SELECT site, COUNT(*) AS n, AVG(cost) AS c FROM visits GROUP BY site".into(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let info = ada.get_flight_info(descriptor).await.expect("info");
    let charged = watcher.budget(None).await.expect("budget");
    assert_ne!(charged, before, "nothing was run");
    let ticket = info.endpoint[0].ticket.clone().expect("ticket");
    let announced = info.try_decode_schema().expect("schema");
    assert!(!announced.metadata().is_empty(), "no privacy record");
    let first = fetched(&mut ada, &ticket).await.expect("rows");
    assert_eq!(first.iter().map(RecordBatch::num_rows).sum::<usize>(), 2);
    for batch in &first {
        assert_eq!(*batch.schema(), announced);
    }
    assert_eq!(fetched(&mut ada, &ticket).await.expect("rows"), first);
    let mut bob = federation.flight("bob").await;
    assert!(fetched(&mut bob, &ticket).await.is_none());
    let mut forged = ticket.ticket.to_vec();
    if let Some(last) = forged.last_mut() {
        *last ^= 1;
    }
    let forged = Ticket::new(forged);
    assert!(fetched(&mut ada, &forged).await.is_none());
    assert_eq!(watcher.budget(None).await.expect("budget"), charged);
    federation.coordinator.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_no_connection() {
    let federation = Federation::start().await;
    let url = format!("https://{}", federation.coordinator.address);
    let root = federation.folder.path();
    let stranger = authority("stranger");
    let place = root.join("stranger");
    fs::create_dir(&place).expect("folder");
    identity(&place, "researcher", "eve", &[], &stranger);
    fs::copy(
        root.join("federation-ca.pem"),
        place.join("federation-ca.pem"),
    )
    .expect("copy");
    let mut credentials = Credentials::load(&place).expect("credentials");
    let refused = match Client::connect(&url, &credentials).await {
        // TLS 1.3: the client learns of it with its first call.
        Ok(client) => client.catalogue().await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    // A server that the researcher's authority didn't sign.
    credentials.authority = stranger.pem().into_bytes();
    assert!(Client::connect(&url, &credentials).await.is_err());
}
