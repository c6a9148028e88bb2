//! The first pass over a table: each row goes to the partition of its person.

use std::{
    fs::File,
    io::BufWriter,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, RecordBatch, UInt32Array},
        compute,
        datatypes::{DataType as ArrowType, Field, Schema, SchemaRef},
        ipc::writer::FileWriter,
    },
    common::{Result as EngineResult, internal_datafusion_err},
    dataframe::DataFrame,
    logical_expr::{Expr, cast, ident},
};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use skerry_privacy::policy::TablePolicy;
use tokio::task::JoinSet;

use crate::{
    plan::{lower::engine_type, rebuild::as_read},
    prepared::{Partitions, manifest::private_file},
};

/// What the first pass came to; kept beside its files, so that it isn't done again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchanged {
    /// Rows with a unit.
    pub rows: u64,
    /// Rows without one, which are left out.
    pub without_unit: u64,
    /// Columns that have NULLs.
    pub nullable: Vec<String>,
}

/// Where a partition's rows are between the passes.
pub fn partition_file(folder: &Path, partition: usize) -> PathBuf {
    folder.join(format!("{partition:04}.arrow"))
}

/// The columns of the policy, the unit as questions read it and the others as they are stored.
///
/// # Errors
/// If a column isn't there.
pub fn columns(frame: DataFrame, policy: &TablePolicy, unit: &str) -> EngineResult<DataFrame> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let mut expressions: Vec<Expr> = vec![];
    for column in &policy.columns {
        let stored = schema.field_with_name(&column.name)?.data_type();
        let source = ident(&column.name);
        let value = if column.name == unit {
            let read = as_read(source, stored, column.data_type);
            stored_text(read, &engine_type(column.data_type))
        } else {
            let plain = match stored {
                ArrowType::Dictionary(_, values) => values.as_ref(),
                other => other,
            };
            if plain == stored {
                stored_text(source, plain)
            } else {
                stored_text(cast(source, plain.clone()), plain)
            }
        };
        expressions.push(value.alias(&column.name));
    }
    frame.select(expressions)
}

/// Views are for reading; what is written has its texts one after the other.
fn stored_text(value: Expr, data_type: &ArrowType) -> Expr {
    match data_type {
        ArrowType::Utf8View | ArrowType::LargeUtf8 => cast(value, ArrowType::Utf8),
        _ => value,
    }
}

/// Writes each row to the file of its partition, in `folder`. Holds about `buffered` bytes.
///
/// # Errors
/// If rows can't be read or written.
pub async fn exchange(
    frame: DataFrame,
    unit: &str,
    partitions: Partitions,
    folder: &Path,
    buffered: usize,
    progress: Arc<AtomicU64>,
) -> EngineResult<Exchanged> {
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let unit = schema.index_of(unit)?;
    let shared = Arc::new(Exchange {
        partitions,
        unit,
        schema: Arc::new(without_metadata(&schema)),
        writers: (0..partitions.count())
            .map(|partition| {
                Ok(Mutex::new(Writer::new(
                    &partition_file(folder, partition),
                    &without_metadata(&schema),
                    buffered / partitions.count(),
                )?))
            })
            .collect::<EngineResult<_>>()?,
        without_unit: AtomicU64::new(0),
        rows: progress,
        nulls: schema.fields().iter().map(|_| AtomicU64::new(0)).collect(),
    });
    let mut readers: JoinSet<EngineResult<()>> = JoinSet::new();
    for mut rows in frame.execute_stream_partitioned().await? {
        let shared = Arc::clone(&shared);
        readers.spawn(async move {
            while let Some(batch) = rows.next().await {
                shared.add(&batch?)?;
            }
            Ok(())
        });
    }
    while let Some(done) = readers.join_next().await {
        done.map_err(|error| internal_datafusion_err!("{error}"))??;
    }
    let Some(shared) = Arc::into_inner(shared) else {
        return Err(internal_datafusion_err!("a reader is still at work"));
    };
    for writer in shared.writers {
        writer
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
            .finish()?;
    }
    Ok(Exchanged {
        rows: shared.rows.load(Ordering::Relaxed),
        without_unit: shared.without_unit.into_inner(),
        nullable: schema
            .fields()
            .iter()
            .zip(shared.nulls)
            .filter(|(_, nulls)| nulls.load(Ordering::Relaxed) > 0)
            .map(|(field, _)| field.name().clone())
            .collect(),
    })
}

fn without_metadata(schema: &Schema) -> Schema {
    Schema::new(
        schema
            .fields()
            .iter()
            .map(|field| Field::new(field.name(), field.data_type().clone(), true))
            .collect::<Vec<_>>(),
    )
}

struct Exchange {
    partitions: Partitions,
    unit: usize,
    schema: SchemaRef,
    writers: Vec<Mutex<Writer>>,
    without_unit: AtomicU64,
    rows: Arc<AtomicU64>,
    /// By column.
    nulls: Vec<AtomicU64>,
}

impl Exchange {
    fn add(&self, batch: &RecordBatch) -> EngineResult<()> {
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), batch.columns().to_vec())?;
        let known = compute::is_not_null(batch.column(self.unit))?;
        let batch = if known.true_count() == batch.num_rows() {
            batch
        } else {
            let missing = batch.num_rows() - known.true_count();
            self.without_unit
                .fetch_add(missing as u64, Ordering::Relaxed);
            compute::filter_record_batch(&batch, &known)?
        };
        for (column, nulls) in batch.columns().iter().zip(&self.nulls) {
            nulls.fetch_add(column.null_count() as u64, Ordering::Relaxed);
        }
        let mut rows_of: Vec<Vec<u32>> = vec![vec![]; self.partitions.count()];
        let units: ArrayRef = match batch.column(self.unit).data_type() {
            ArrowType::Utf8 => compute::cast(batch.column(self.unit), &ArrowType::Utf8View)?,
            _ => Arc::clone(batch.column(self.unit)),
        };
        for (row, partition) in self.partitions.of_column(&units)?.iter().enumerate() {
            rows_of[*partition as usize].push(row as u32);
        }
        for (writer, rows) in self.writers.iter().zip(rows_of) {
            if rows.is_empty() {
                continue;
            }
            let part = compute::take_record_batch(&batch, &UInt32Array::from(rows))?;
            let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
            writer.add(part)?;
        }
        self.rows
            .fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
        Ok(())
    }
}

/// One partition's file, and rows that wait to be written together.
struct Writer {
    file: FileWriter<BufWriter<File>>,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    most_bytes: usize,
}

impl Writer {
    fn new(path: &Path, schema: &Schema, most_bytes: usize) -> EngineResult<Self> {
        Ok(Self {
            file: FileWriter::try_new_buffered(private_file(path)?, schema)?,
            waiting: vec![],
            waiting_bytes: 0,
            most_bytes,
        })
    }

    fn add(&mut self, batch: RecordBatch) -> EngineResult<()> {
        self.waiting_bytes += batch.get_array_memory_size();
        self.waiting.push(batch);
        if self.waiting_bytes >= self.most_bytes {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> EngineResult<()> {
        if let Some(first) = self.waiting.first() {
            let together = compute::concat_batches(&first.schema(), &self.waiting)?;
            self.file.write(&together)?;
            self.waiting.clear();
            self.waiting_bytes = 0;
        }
        Ok(())
    }

    fn finish(mut self) -> EngineResult<()> {
        self.flush()?;
        self.file.finish()?;
        Ok(())
    }
}
