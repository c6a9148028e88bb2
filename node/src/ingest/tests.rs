use std::{fs, path::Path};

use datafusion::{
    arrow::{
        array::{
            Array as _, ArrayRef, AsArray as _, Date32Array, Float64Array, Int32Array, Int64Array,
            RecordBatch, StringArray,
        },
        datatypes::{Int64Type, Schema},
        ipc::writer::FileWriter,
    },
    physical_plan::displayable,
};
use parquet::arrow::ArrowWriter;
use skerry_privacy::policy::Ownership;
use tempfile::TempDir;

use super::*;
use crate::prepared::{Prepared, Texts};

const CONFIGURATION: &str = r#"
region = "north"
listen = "127.0.0.1:0"
persons = 1000

[budget]
project = { epsilon = 10.0, delta = 0.0 }
total   = { epsilon = 10.0, delta = 0.0 }

[[table]]
name = "episodes"
path = "episodes.parquet"
unit = "person_id"
max_rows_per_unit = 3

[table.columns]
person_id = {}
service = { values = ["a", "b", "c"] }
cost = { range = [0, 100] }
day = { range = ["2019-01-01", "2024-12-31"] }

[[table]]
name = "patients"
path = "patients.parquet"
unit = "person_id"
max_rows_per_unit = 1

[table.columns]
person_id = {}
"#;

fn write(file: &Path, columns: Vec<(&str, ArrayRef)>) {
    let batch =
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| {
            let nulls = column.null_count() > 0;
            (name, column, nulls)
        }))
        .unwrap();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(file).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// 2,000 rows of 500 persons in no order, two of them without a person.
fn federation() -> (TempDir, NodeConfig, IngestOptions) {
    let folder = TempDir::new().unwrap();
    let rows = 0..2_000_i64;
    let person = rows
        .clone()
        .map(|row| (row > 1).then_some(row * 7_919 % 500));
    let words = ["a", "b", "c", "d"];
    let service = rows.clone().map(|row| words[(row % 100 % 4) as usize]);
    write(
        &folder.path().join("episodes.parquet"),
        vec![
            (
                "secret",
                Arc::new(Int32Array::from_iter_values(rows.clone().map(|_| 1))),
            ),
            (
                "person_id",
                Arc::new(
                    person
                        .map(|unit| unit.map(|unit| unit as i32))
                        .collect::<Int32Array>(),
                ),
            ),
            ("service", Arc::new(StringArray::from_iter_values(service))),
            (
                "cost",
                Arc::new(Float64Array::from_iter_values(
                    rows.clone().map(|row| (row % 102) as f64),
                )),
            ),
            (
                "day",
                Arc::new(Date32Array::from_iter_values(
                    rows.map(|row| 18_000 + row as i32 % 100),
                )),
            ),
        ],
    );
    let persons: ArrayRef = Arc::new(Int64Array::from_iter_values((0..500).rev()));
    write(
        &folder.path().join("patients.parquet"),
        vec![("person_id", persons)],
    );
    let config = NodeConfig::parse(&folder.path().join("node.toml"), CONFIGURATION).unwrap();
    let options = IngestOptions {
        folder: folder.path().join("prepared"),
        memory_mib: 64,
        partitions: None,
        threads: Some(2),
    };
    (folder, config, options)
}

fn units(prepared: &Prepared, table: &str, partition: usize) -> Vec<i64> {
    let files = prepared.table(table).unwrap();
    let mut units = vec![];
    for batch in files
        .read(partition, &[files.unit()], Texts::Coded, None)
        .unwrap()
    {
        units.extend_from_slice(
            batch
                .unwrap()
                .column(0)
                .as_primitive::<Int64Type>()
                .values(),
        );
    }
    units
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_a_person_are_adjacent_and_at_one_place_in_all_tables() {
    let (_folder, config, options) = federation();
    let report = ingest(&config, &options, &|_| ()).await.unwrap();
    let episodes = &report.tables["episodes"];
    assert_eq!(episodes.without_unit, 2);
    assert_eq!(
        episodes.found,
        Found {
            rows: 1_998,
            persons: 500,
            persons_over: 498,
            rows_over: 498,
            most_rows: 4,
            outside: [("cost".to_owned(), 19), ("service".to_owned(), 500)].into(),
        }
    );
    assert_eq!(report.tables["patients"].found.rows, 500);

    let prepared = Prepared::open(&options.folder, 0).unwrap();
    let partitions = prepared.manifest().partitions;
    assert_eq!(partitions, LEAST_PARTITIONS);
    let mut rows = 0;
    for partition in 0..partitions {
        let mut episodes = units(&prepared, "episodes", partition);
        rows += episodes.len();
        assert!(episodes.is_sorted());
        episodes.dedup();
        assert_eq!(episodes, units(&prepared, "patients", partition));
    }
    assert_eq!(rows, 1_998);

    let files = prepared.table("episodes").unwrap();
    let names = |schema: &Schema| -> Vec<String> {
        schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), field.data_type()))
            .collect()
    };
    // What the policy doesn't name is not copied; texts are codes.
    assert_eq!(
        names(files.schema(Texts::Coded)),
        [
            "person_id Int64",
            "service Dictionary(UInt8, Utf8)",
            "cost Float64",
            "day Date32"
        ]
    );
    assert_eq!(names(files.schema(Texts::Plain))[1], "service Utf8View");
    // Nothing but the version and the manifest is left.
    let mut left: Vec<String> = fs::read_dir(&options.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    left.sort();
    let mut expected = vec![
        report.version.to_string(),
        LOCK.into(),
        "manifest.json".into(),
    ];
    expected.sort();
    assert_eq!(left, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_finished_is_not_done_again() {
    let (_folder, config, options) = federation();
    ingest(&config, &options, &|_| ()).await.unwrap();
    // As if it had been cut off in the second table's second partition.
    let first = Prepared::open(&options.folder, 0).unwrap();
    let version = first.manifest().version;
    fs::remove_file(options.folder.join("manifest.json")).unwrap();
    let own = options.folder.join(version.to_string());
    let mut raw = config.clone();
    raw.prepared = None;
    let mut of = Sha256::new();
    for table in &config.tables {
        let files = DataFiles::of(table).described().unwrap();
        of.update(format!("{table:?} {files:?}\n"));
    }
    let unfinished = Unfinished {
        format: FORMAT,
        version,
        partitions: first.manifest().partitions,
        of: hex::encode(of.finalize()),
    };
    let file = options.folder.join(UNFINISHED);
    write_whole(&file, &serde_json::to_vec(&unfinished).unwrap()).unwrap();
    for table in ["episodes", "patients"] {
        let found = Found {
            rows: 7,
            ..Found::default()
        };
        for partition in 0..first.manifest().partitions {
            let report = own
                .join(table)
                .join(partition_file(partition))
                .with_extension("json");
            write_whole(&report, &serde_json::to_vec(&found).unwrap()).unwrap();
        }
        let exchanged = Exchanged {
            rows: 28,
            without_unit: 0,
            nullable: vec![],
        };
        write_whole(
            &own.join(table).join("exchanged.json"),
            &serde_json::to_vec(&exchanged).unwrap(),
        )
        .unwrap();
    }
    let changed = |partition| {
        fs::metadata(
            first
                .manifest()
                .file(&options.folder, "episodes", partition),
        )
        .unwrap()
        .modified()
        .unwrap()
    };
    let before = changed(0);
    let again = ingest(&config, &options, &|_| ()).await.unwrap();
    assert_eq!(again.version, version, "it went on");
    assert_eq!(
        again.tables["episodes"].found.rows, 28,
        "from the reports that were there"
    );
    assert_eq!(changed(0), before);

    // A finished one is done anew: the data are asked about as they are now.
    let anew = ingest(&config, &options, &|_| ()).await.unwrap();
    assert_ne!(anew.version, version);
    assert_eq!(anew.tables["episodes"].found.rows, 1_998);
    assert!(own.exists(), "the version before stays");
    ingest(&config, &options, &|_| ()).await.unwrap();
    assert!(!own.exists(), "and goes with the next");
}

#[tokio::test(flavor = "multi_thread")]
async fn other_work_is_not_gone_on_with() {
    let (folder, config, options) = federation();
    let unfinished = Unfinished {
        format: FORMAT,
        version: Uuid::new_v4(),
        partitions: 4,
        of: "other data".into(),
    };
    fs::create_dir_all(options.folder.join(unfinished.version.to_string())).unwrap();
    let file = options.folder.join(UNFINISHED);
    write_whole(&file, &serde_json::to_vec(&unfinished).unwrap()).unwrap();
    let report = ingest(&config, &options, &|_| ()).await.unwrap();
    assert_ne!(report.version, unfinished.version);
    assert!(!options.folder.join(unfinished.version.to_string()).exists());

    let odd = IngestOptions {
        partitions: Some(3),
        ..options.clone()
    };
    assert!(matches!(
        ingest(&config, &odd, &|_| ()).await,
        Err(IngestError::Partitions)
    ));
    let lock = private_file(&options.folder.join(LOCK)).unwrap();
    lock.lock().unwrap();
    assert!(matches!(
        ingest(&config, &options, &|_| ()).await,
        Err(IngestError::InUse(_))
    ));
    drop(lock);

    fs::write(folder.path().join("episodes.parquet"), "no parquet").unwrap();
    assert!(ingest(&config, &options, &|_| ()).await.is_err());
    assert!(
        Prepared::open(&options.folder, 0).is_ok(),
        "what was there stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_what_the_layout_says_stops_the_reading() {
    let (_folder, config, options) = federation();
    ingest(&config, &options, &|_| ()).await.unwrap();
    let manifest = Manifest::load(&options.folder).unwrap();
    // Another partition's rows: right in order, in the wrong place.
    let (from, to) = (
        manifest.file(&options.folder, "patients", 1),
        manifest.file(&options.folder, "patients", 0),
    );
    fs::copy(from, to).unwrap();
    let mut moved = manifest.clone();
    let files = &mut moved.tables.get_mut("patients").unwrap().files;
    files[0] = files[1];
    moved.store(&options.folder).unwrap();
    let prepared = Prepared::open(&options.folder, 0).unwrap();
    let files = prepared.table("patients").unwrap();
    let mut rows = files.read(0, &[0], Texts::Plain, None).unwrap();
    assert!(rows.next().unwrap().is_err());

    // A size that isn't the manifest's.
    moved.tables.get_mut("patients").unwrap().files[2] += 1;
    moved.store(&options.folder).unwrap();
    assert!(Prepared::open(&options.folder, 0).is_err());
}

/// A partition that is larger than its memory: 16 MB of rows, and 12 MiB for them.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_in_memory_is_sorted_over_the_disk() {
    const ROWS: i64 = 300_000;
    let folder = TempDir::new().unwrap();
    let exchanged = folder.path().join("rows.arrow");
    let units: ArrayRef = Arc::new(Int64Array::from_iter_values(
        (0..ROWS).map(|row| row * 7_919 % 60_000),
    ));
    let notes: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..ROWS).map(|row| format!("{row:040}")),
    ));
    let batch = RecordBatch::try_from_iter([("unit", units), ("note", notes)]).unwrap();
    let mut writer =
        FileWriter::try_new(fs::File::create(&exchanged).unwrap(), &batch.schema()).unwrap();
    for start in (0..ROWS as usize).step_by(10_000) {
        writer.write(&batch.slice(start, 10_000)).unwrap();
    }
    writer.finish().unwrap();
    let bytes = 12 << 20;
    let policy = TablePolicy {
        ownership: Ownership::Private {
            unit: "unit".into(),
            max_rows_per_unit: 5,
        },
        columns: vec![],
    };
    let sort = async |context: &SessionContext| {
        let file = folder.path().join("rows.parquet");
        let check = |schema: &_| Check::new(&policy, 5, schema, context);
        sort::sort(
            context,
            &exchanged,
            "unit",
            &[],
            &file,
            check,
            &AtomicU64::new(0),
        )
        .await
    };
    let disk = context(folder.path(), bytes, 1, crate::prepared::BATCH_ROWS).unwrap();
    let found = sort(&disk).await.unwrap();
    assert_eq!(
        (found.rows, found.persons, found.most_rows),
        (ROWS as u64, 60_000, 5)
    );

    let no_disk = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(bytes)))
        .with_disk_manager_builder(
            DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled),
        )
        .build_arc()
        .unwrap();
    let no_disk = SessionContext::new_with_config_rt(SessionConfig::new(), no_disk);
    assert!(sort(&no_disk).await.is_err(), "it fits into memory");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_groups_are_skipped_by_their_statistics() {
    let (_folder, config, options) = federation();
    ingest(&config, &options, &|_| ()).await.unwrap();
    let prepared = Prepared::open(&options.folder, 0).unwrap();
    let context = SessionContext::new();
    let plan = async |sql: &str| {
        let provider = prepared.provider("episodes", true).unwrap();
        context.deregister_table("episodes").unwrap();
        context.register_table("episodes", provider).unwrap();
        let frame = context.sql(sql).await.unwrap();
        let plan = frame.clone().create_physical_plan().await.unwrap();
        let rows: usize = frame
            .collect()
            .await
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum();
        (displayable(&*plan).indent(false).to_string(), rows)
    };
    let (text, rows) = plan("SELECT person_id FROM episodes WHERE day > DATE '2030-01-01'").await;
    assert!(text.contains("pruned"), "{text}");
    assert_eq!(rows, 0);
    // The 51st day of a hundred.
    let (text, rows) = plan("SELECT person_id FROM episodes WHERE day >= DATE '2019-06-03'").await;
    assert!(text.contains("pruned"), "{text}");
    assert_eq!(rows, 20 * 50);
    let (_, rows) = plan("SELECT person_id FROM episodes WHERE cost > 50").await;
    assert_eq!(rows, 2_000 / 102 * 51 + (2_000 % 102 - 51));
}
