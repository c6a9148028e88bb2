//! The data that the files ask about: a small synthetic federation, and what its regions have pooled.

use std::{fmt::Write as _, fs, path::Path};

use arrow::array::RecordBatch;
use datafusion::{
    arrow::compute::concat_batches,
    execution::SessionStateBuilder,
    prelude::{DataFrame, ParquetReadOptions, SessionConfig, SessionContext},
};
use skerry::{
    federation::{self, Federation},
    init::{InitOptions, init},
    synth::{SynthOptions, generate},
};
use skerry_coordinator::{
    answer::Answer,
    client::{Client, Credentials},
    question::Question,
};
use skerry_proto::{Epsilon, ErrorCode, Refusal};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::{
    Kind,
    answer::{kind, shown},
};

const REGIONS: usize = 3;
const PEOPLE: u64 = 4_500;
/// The most episodes of a person that are kept: the fewer one person may have, the less noise there is.
const EPISODES: u64 = 60;
const PRIVATE_TABLES: [&str; 7] = [
    "patients",
    "episodes",
    "conditions",
    "inclusions",
    "pathway_steps",
    "surveys",
    "notes",
];
const PUBLIC_TABLES: [&str; 8] = [
    "municipalities",
    "population",
    "standard_populations",
    "unit_costs",
    "targets",
    "capacity",
    "model_regions",
    "initiatives",
];
/// ε of each statement. A node may spend 1000 at most, then others take the nodes' places.
const EPSILON: f64 = 250.0;

/// The data, written once for all files of a test run.
pub struct Data {
    folder: TempDir,
    /// Over all regions' rows.
    pub exact: Exact,
}

/// The data of this run.
pub async fn data() -> &'static Data {
    static DATA: OnceCell<Data> = OnceCell::const_new();
    DATA.get_or_init(Data::write).await
}

impl Data {
    async fn write() -> Self {
        let folder = TempDir::new().unwrap();
        let options = SynthOptions {
            regions: REGIONS,
            ..SynthOptions::new(folder.path(), PEOPLE)
        };
        let summary = generate(&options, &|_| ()).unwrap();
        for (place, region) in summary.regions.iter().enumerate() {
            prepare(&folder.path().join(region), place).await;
            write_notes(&folder.path().join(region), place).await;
        }
        let exact = Exact::pool(folder.path(), &summary.regions).await;
        let policy = folder.path().join("policy.toml");
        let text = fs::read_to_string(&policy).unwrap();
        fs::write(&policy, true_policy(&text, &exact).await).unwrap();
        Self { folder, exact }
    }
}

async fn read(file: &Path) -> (SessionContext, DataFrame) {
    let context = SessionContext::new();
    let frame = context
        .read_parquet(file.to_str().unwrap(), ParquetReadOptions::default())
        .await
        .unwrap();
    (context, frame)
}

async fn collected(frame: DataFrame) -> RecordBatch {
    let schema = std::sync::Arc::clone(frame.schema().inner());
    let batches = frame.collect().await.unwrap();
    let schema = batches.first().map_or(schema, RecordBatch::schema);
    concat_batches(&schema, &batches).unwrap()
}

fn write(file: &Path, batch: &RecordBatch) {
    let file = fs::File::create(file).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
}

/// A person's id is unique within the region alone; pooled, two people would be one. Of a person's
/// rows the first ones are kept.
async fn prepare(folder: &Path, place: usize) {
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file
            .extension()
            .is_none_or(|extension| extension != "parquet")
        {
            continue;
        }
        let (context, frame) = read(&file).await;
        if frame
            .schema()
            .has_column_with_unqualified_name("patient_id")
        {
            context.register_table("t", frame.into_view()).unwrap();
            let apart = format!(
                "SELECT * EXCEPT (place) REPLACE (patient_id + {place} * 1000000 AS patient_id)
                 FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY patient_id) AS place FROM t) AS u
                 WHERE place <= {EPISODES}"
            );
            let batch = collected(context.sql(&apart).await.unwrap()).await;
            write(&file, &batch);
        }
    }
}

/// A table with what the common model doesn't have: NULLs everywhere, also in place of a person,
/// negative numbers, empty and long texts, timestamps.
async fn write_notes(folder: &Path, place: usize) {
    let sql = format!(
        "SELECT CASE WHEN n % 97 = 0 THEN NULL ELSE n % 700 + 1 + {place} * 1000000 END AS patient_id,
                CASE WHEN n % 11 = 0 THEN NULL WHEN n % 5 = 0 THEN '' WHEN n % 3 = 0 THEN 'Blå'
                     ELSE 'red' END AS colour,
                CASE WHEN n % 7 = 0 THEN NULL ELSE (n * 37 % 2001 - 1000) / 10.0E0 END AS score,
                CASE WHEN n % 13 = 0 THEN NULL ELSE n * 7919 % 41 - 20 END AS points,
                CASE WHEN n % 17 = 0 THEN NULL WHEN n % 4 = 0 THEN CAST(n % 50 AS VARCHAR)
                     WHEN n % 4 = 1 THEN 'Ward ' || CAST(n % 9 AS VARCHAR)
                     ELSE '  padded_100%  ' END AS remark,
                CASE WHEN n % 19 = 0 THEN NULL ELSE DATE '2020-01-31' + CAST(n % 1200 AS INT) END AS noted_on,
                CASE WHEN n % 23 = 0 THEN NULL
                     ELSE to_timestamp_micros(1703973600000000 + n % 300 * 2220000000) END AS noted_at,
                CASE WHEN n % 29 = 0 THEN NULL ELSE n % 2 = 0 END AS signed
         FROM generate_series(1, 2000) AS t(n)"
    );
    let context = SessionContext::new();
    let batch = collected(context.sql(&sql).await.unwrap()).await;
    write(&folder.join("notes.parquet"), &batch);
}

/// The synthetic policy with bounds that are true to the data and no wider, and the notes.
async fn true_policy(text: &str, exact: &Exact) -> String {
    let mut table = String::new();
    let mut lines = vec![];
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("name = ") {
            name.trim_matches('"').clone_into(&mut table);
        }
        if line.starts_with("max_rows_per_unit") {
            lines.push(format!(
                "max_rows_per_unit = {}",
                exact.most_rows(&table).await
            ));
        } else {
            lines.push(line.to_owned());
        }
    }
    let mut text = lines.join("\n");
    let rows = exact.most_rows("notes").await;
    write!(
        text,
        r#"

[[table]]
name = "notes"
path = "{{region}}/notes.parquet"
unit = "patient_id"
max_rows_per_unit = {rows}

[table.columns]
patient_id = {{}}
colour = {{ values = ["", "Blå", "red"] }}
score = {{ range = [-100, 100] }}
points = {{ range = [-20, 20] }}
remark = {{}}
noted_on = {{ range = ["2020-01-31", "2023-05-15"] }}
noted_at = {{ range = ["2023-12-30T00:00:00", "2024-01-08T00:00:00"] }}
signed = {{}}

[budget]
project = {{ epsilon = 1000.0, delta = 1e-6 }}
total   = {{ epsilon = 1000.0, delta = 1e-6 }}
"#
    )
    .unwrap();
    text
}

/// Plain DataFusion over all regions' rows, each with its region.
pub struct Exact(SessionContext);

impl Exact {
    async fn pool(folder: &Path, regions: &[String]) -> Self {
        // What decides the meaning of SQL is as the coordinator has it.
        let mut config = SessionConfig::new().with_target_partitions(1);
        let options = config.options_mut();
        options.execution.time_zone = Some("UTC".to_owned());
        options.sql_parser.map_string_types_to_utf8view = false;
        options.sql_parser.default_null_ordering = "nulls_last".to_owned();
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_config(config)
            .build();
        let pooled = Self(SessionContext::new_with_state(state));
        for table in PRIVATE_TABLES {
            let mut branches = vec![];
            for region in regions {
                let name = format!("{table}_{region}");
                let file = folder.join(region).join(format!("{table}.parquet"));
                pooled.register(&name, &file).await;
                // Rows of nobody are not there.
                branches.push(format!(
                    "SELECT *, '{region}' AS region FROM {name} WHERE patient_id IS NOT NULL"
                ));
            }
            pooled.view(table, &branches.join(" UNION ALL ")).await;
        }
        for table in PUBLIC_TABLES {
            let file = folder.join("public").join(format!("{table}.parquet"));
            pooled.register(table, &file).await;
        }
        pooled
    }

    /// A file as a table, its columns in the types that Skerry has.
    async fn register(&self, name: &str, file: &Path) {
        let (context, frame) = read(file).await;
        let columns: Vec<String> = frame
            .schema()
            .fields()
            .iter()
            .map(|field| {
                let column = field.name();
                match kind(field.data_type()) {
                    Kind::Integer => format!("CAST({column} AS BIGINT) AS {column}"),
                    Kind::Real => format!("CAST({column} AS DOUBLE) AS {column}"),
                    Kind::Timestamp => {
                        format!("arrow_cast({column}, 'Timestamp(Microsecond, None)') AS {column}")
                    }
                    Kind::Text | Kind::Other => {
                        format!("arrow_cast({column}, 'Utf8') AS {column}")
                    }
                    Kind::Boolean | Kind::Date => column.clone(),
                }
            })
            .collect();
        context.register_table("t", frame.into_view()).unwrap();
        let sql = format!("SELECT {} FROM t", columns.join(", "));
        let batch = collected(context.sql(&sql).await.unwrap()).await;
        self.0.register_batch(name, batch).unwrap();
    }

    async fn view(&self, name: &str, sql: &str) {
        let batch = collected(self.0.sql(sql).await.unwrap()).await;
        self.0.register_batch(name, batch).unwrap();
    }

    async fn most_rows(&self, table: &str) -> u64 {
        let sql = format!(
            "SELECT MAX(n) FROM (SELECT COUNT(*) AS n FROM {table} GROUP BY patient_id) AS t"
        );
        let batch = collected(self.0.sql(&sql).await.unwrap()).await;
        shown(batch.column(0))[0].parse().unwrap()
    }

    /// A query's kinds of columns, and its rows as texts.
    pub async fn rows(&self, sql: &str) -> Result<(Vec<Kind>, Vec<Vec<String>>), String> {
        let told = |error: datafusion::error::DataFusionError| {
            format!("the exact engine: {}", error.strip_backtrace())
        };
        let frame = self.0.sql(sql).await.map_err(told)?;
        let schema = std::sync::Arc::clone(frame.schema().inner());
        let batches = frame.collect().await.map_err(told)?;
        let schema = batches.first().map_or(schema, RecordBatch::schema);
        let batch = concat_batches(&schema, &batches).unwrap();
        let kinds = batch
            .columns()
            .iter()
            .map(|c| kind(c.data_type()))
            .collect();
        let columns: Vec<Vec<String>> = batch.columns().iter().map(shown).collect();
        let rows = (0..batch.num_rows())
            .map(|row| columns.iter().map(|column| column[row].clone()).collect())
            .collect();
        Ok((kinds, rows))
    }
}

/// Skerry over the same rows: a node for each region, a coordinator, a researcher.
pub struct Private<'a> {
    data: &'a Data,
    running: Running,
}

struct Running {
    folder: TempDir,
    federation: Federation,
    client: Client,
}

impl Running {
    async fn start(data: &Data) -> Self {
        let folder = TempDir::new().unwrap();
        let place = folder.path().join("federation");
        init(&InitOptions {
            folder: place.clone(),
            regions: vec![],
            data: None,
            unit: None,
            policy: Some(data.folder.path().join("policy.toml")),
            port: 0,
        })
        .unwrap();
        let federation = federation::start(&place).await.unwrap();
        let credentials = Credentials::load(&place.join("researcher")).unwrap();
        let client = Client::connect(&federation.url(), &credentials)
            .await
            .unwrap();
        Self {
            folder,
            federation,
            client,
        }
    }

    async fn stop(self) {
        drop(self.client);
        self.federation.stop().await;
        self.folder.close().unwrap();
    }
}

impl<'a> Private<'a> {
    pub async fn new(data: &'a Data) -> Self {
        Self {
            data,
            running: Running::start(data).await,
        }
    }

    /// Asks a statement with the owners' bounds, which are the data's own here: bounds that are found
    /// clip a little, for less noise.
    pub async fn answer(&mut self, sql: &str) -> Result<Answer, Refusal> {
        let options = if sql.contains("DIFFERENTIAL_PRIVACY") {
            ""
        } else {
            "WITH DIFFERENTIAL_PRIVACY OPTIONS(bounds = 'declared') "
        };
        self.ask(&format!("{options}{sql}")).await
    }

    /// Asks a statement, and once more of fresh nodes when these have nothing left to spend.
    pub async fn ask(&mut self, sql: &str) -> Result<Answer, Refusal> {
        let mut question = Question::new(sql);
        if !sql.contains("epsilon") {
            question.epsilon = Some(Epsilon::try_from(EPSILON).unwrap());
        }
        match self.running.client.query(&question).await {
            Err(refusal) if refusal.code == ErrorCode::BudgetExhausted => {
                let fresh = Running::start(self.data).await;
                std::mem::replace(&mut self.running, fresh).stop().await;
                self.running.client.query(&question).await
            }
            answer => answer,
        }
    }

    pub async fn stop(self) {
        self.running.stop().await;
    }
}
