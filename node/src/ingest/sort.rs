//! The second pass: a partition's rows sorted by person, checked, and written as they stay.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{DataType as ArrowType, Field, Schema, SchemaRef},
    },
    common::Result as EngineResult,
    execution::options::ArrowReadOptions,
    logical_expr::ident,
    prelude::SessionContext,
};
use futures::StreamExt as _;
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding},
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};

use super::check::{Check, Found};
use crate::prepared::{ROW_GROUP_ROWS, manifest::private_file};

/// Rows of a page at most: a page is what is read at once.
const PAGE_ROWS: usize = 1 << 16;

/// Sorts a partition's rows within the context's memory (what is more spills), and writes them.
///
/// # Errors
/// If rows can't be read, sorted or written.
pub async fn sort(
    context: &SessionContext,
    exchanged: &Path,
    unit: &str,
    nullable: &[String],
    file: &Path,
    check: impl FnOnce(&SchemaRef) -> EngineResult<Check>,
    progress: &AtomicU64,
) -> EngineResult<Found> {
    let frame = context
        .read_arrow(exchanged.display().to_string(), ArrowReadOptions::default())
        .await?
        .sort(vec![ident(unit).sort(true, false)])?;
    let fields: Vec<Field> = frame
        .schema()
        .as_arrow()
        .fields()
        .iter()
        .map(|field| {
            let nulls = nullable.contains(field.name());
            Field::new(field.name(), field.data_type().clone(), nulls)
        })
        .collect();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let place = schema.index_of(unit)?;
    let mut check = check(&schema)?;
    // Without Arrow's own schema in the file it reads as one of any other system does.
    let options = ArrowWriterOptions::new()
        .with_properties(properties(&schema, unit))
        .with_skip_arrow_metadata(true);
    let open = private_file(file)?;
    let mut writer =
        ArrowWriter::try_new_with_options(open.try_clone()?, Arc::clone(&schema), options)?;
    let mut rows = frame.execute_stream().await?;
    while let Some(batch) = rows.next().await {
        let batch = RecordBatch::try_new(Arc::clone(&schema), batch?.columns().to_vec())?;
        check.add(&batch, batch.column(place))?;
        writer.write(&batch)?;
        progress.fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
    }
    writer.close()?;
    open.sync_all()?;
    Ok(check.finish())
}

/// How columns are stored: measured in `decisions/0003`.
fn properties(schema: &Schema, unit: &str) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        // Codes and differences are small already; a question's time is that of reading them.
        .set_compression(Compression::UNCOMPRESSED)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS)
        // The limit of rows is looked at after each batch of this many.
        .set_write_batch_size(8_192)
        .set_statistics_enabled(EnabledStatistics::Chunk);
    if let Ok(field) = schema.field_with_name(unit)
        && *field.data_type() == ArrowType::Int64
    {
        let unit = ColumnPath::from(unit);
        properties = properties
            .set_column_dictionary_enabled(unit.clone(), false)
            .set_column_encoding(unit, Encoding::DELTA_BINARY_PACKED);
    }
    properties.build()
}
