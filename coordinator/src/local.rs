//! The coordinator's own public tables, read once at the start.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::RecordBatch,
        compute::cast,
        datatypes::{DataType as ArrowType, Field, Schema},
    },
    catalog::TableProvider,
    common::{DataFusionError, Result},
    datasource::MemTable,
    prelude::{CsvReadOptions, ParquetReadOptions, SessionContext},
};
use skerry_proto::DataType;

use crate::{
    config::{CoordinatorConfig, PublicTable},
    federated_table::arrow_type,
    server::StartError,
    standards,
};

/// Reads the tables into memory; standard populations are there in any case.
pub(crate) async fn load(
    tables: &[PublicTable],
) -> std::result::Result<BTreeMap<String, Arc<dyn TableProvider>>, StartError> {
    let mut loaded: BTreeMap<String, Arc<dyn TableProvider>> = BTreeMap::new();
    let standards = standards::table()
        .map_err(|error| StartError(format!("table `{}`: {error}", standards::TABLE)))?;
    loaded.insert(standards::TABLE.to_owned(), standards);
    for table in tables {
        let read = read(table).await.map_err(|error| {
            StartError(format!(
                "table `{}`, {}: {}",
                table.name,
                table.path.display(),
                error.strip_backtrace()
            ))
        })?;
        loaded.insert(table.name.clone(), read);
    }
    Ok(loaded)
}

/// The columns of a coordinator's public tables, standard populations among them.
///
/// # Errors
/// A file that can't be read.
pub async fn public_columns(
    config: &CoordinatorConfig,
) -> std::result::Result<BTreeMap<String, BTreeSet<String>>, StartError> {
    let tables = load(&config.tables).await?;
    let columns = tables.into_iter().map(|(name, table)| {
        let schema = table.schema();
        let columns = schema.fields().iter().map(|field| field.name().clone());
        (name, columns.collect())
    });
    Ok(columns.collect())
}

async fn read(table: &PublicTable) -> Result<Arc<dyn TableProvider>> {
    let context = SessionContext::new();
    let path = table.path.to_string_lossy().into_owned();
    let kind = table
        .path
        .extension()
        .and_then(|extension| extension.to_str());
    let frame = match kind {
        Some("csv") => context.read_csv(path, CsvReadOptions::new()).await?,
        Some("parquet") => {
            context
                .read_parquet(path, ParquetReadOptions::default())
                .await?
        }
        _ => {
            return Err(DataFusionError::Configuration(
                "a public table is a .csv or .parquet file".to_owned(),
            ));
        }
    };
    let batches = frame.collect().await?;
    let Some(first) = batches.first() else {
        return Err(DataFusionError::Configuration(
            "the file has no rows".to_owned(),
        ));
    };
    let fields = first
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let data_type = widened(field.data_type()).ok_or_else(|| {
                DataFusionError::Configuration(format!(
                    "column `{}` is {}, which is not used here",
                    field.name(),
                    field.data_type()
                ))
            })?;
            Ok(Field::new(field.name(), arrow_type(data_type), true))
        })
        .collect::<Result<Vec<_>>>()?;
    let schema = Arc::new(Schema::new(fields));
    let batches = batches
        .iter()
        .map(|batch| {
            let columns = batch
                .columns()
                .iter()
                .zip(schema.fields())
                .map(|(column, field)| cast(column, field.data_type()))
                .collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?)
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(MemTable::try_new(schema, vec![batches])?))
}

/// The type that a file's type is read as, as nodes do it.
fn widened(data_type: &ArrowType) -> Option<DataType> {
    match data_type {
        ArrowType::Boolean => Some(DataType::Boolean),
        t if t.is_integer() => Some(DataType::Integer),
        t if t.is_floating() || t.is_decimal() => Some(DataType::Float),
        ArrowType::Utf8 | ArrowType::LargeUtf8 | ArrowType::Utf8View => Some(DataType::Text),
        ArrowType::Dictionary(_, inner) => widened(inner),
        ArrowType::Date32 | ArrowType::Date64 => Some(DataType::Date),
        ArrowType::Timestamp(..) => Some(DataType::Timestamp),
        _ => None,
    }
}
