//! The tables of a node: the owner's declarations, held against the data files' schemas.
//!
//! Of private files only the schema is read here. Public tables are read whole, since their rows
//! are part of the policy.

#[cfg(test)]
mod tests;
mod view;

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::Schema},
    catalog::TableProvider,
    common::ScalarValue,
    datasource::MemTable,
    error::DataFusionError,
    execution::options::ArrowReadOptions,
    prelude::{CsvReadOptions, ParquetReadOptions, SessionContext},
};
use skerry_privacy::policy::{ColumnPolicy, Domain, Ownership, Policy, TablePolicy};
use skerry_proto::{DataType, Refusal, RegionId, Value};

use crate::{
    config::{self, ColumnConfig, NodeConfig, TableConfig},
    data_files::{DataFiles, Kind},
    plan::{
        lower::{REGION_COLUMN, plain_type, plain_value},
        rebuild::Tables,
    },
    prepared::{Prepared, PreparedError},
};

/// Rows of a public table, at most: it is held in memory, and its rows are part of each quote.
const MAX_PUBLIC_ROWS: usize = 1_000_000;

/// Why the tables can't be offered. Read by the owner alone.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// A file that can't be read, or whose schema can't.
    #[error("table {table}: {path} can't be read: {source}")]
    File {
        /// The table.
        table: String,
        /// Its path.
        path: String,
        /// What the engine says.
        source: DataFusionError,
    },
    /// Prepared tables.
    #[error(transparent)]
    Prepared(#[from] PreparedError),
    /// A declaration that doesn't fit the file.
    #[error("table {table}: {message}")]
    Declaration {
        /// The table.
        table: String,
        /// What doesn't fit, and what to write instead.
        message: String,
    },
    /// A view that can't be planned, or whose declarations don't fit what its SQL gives.
    #[error("view {view}: {refusal}")]
    View {
        /// The view.
        view: String,
        /// What doesn't fit, and what to write instead.
        refusal: Refusal,
    },
}

/// What a node offers.
#[derive(Debug)]
pub struct Catalogue {
    region: RegionId,
    persons: u64,
    policy: Policy,
    providers: HashMap<String, Arc<dyn TableProvider>>,
    prepared: Option<Prepared>,
}

impl Tables for Catalogue {
    fn provider(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.providers.get(name).map(Arc::clone)
    }
}

/// The tables for plans in which the engine exchanges rows by a hash of its own: prepared tables
/// say nothing of theirs.
#[derive(Debug)]
pub struct Exchangeable<'a>(pub &'a Catalogue);

impl Tables for Exchangeable<'_> {
    fn provider(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        let prepared = self.0.prepared.as_ref();
        prepared
            .and_then(|prepared| prepared.provider(name, false))
            .or_else(|| self.0.provider(name))
    }
}

impl Catalogue {
    /// Opens all tables of a configuration.
    ///
    /// # Errors
    /// If a file can't be read, or a declaration doesn't fit its file.
    pub async fn open(
        config: &NodeConfig,
        context: &SessionContext,
    ) -> Result<Self, CatalogueError> {
        let mut catalogue = Self::open_tables(config, context).await?;
        for view in &config.views {
            catalogue.open_view(view).await?;
        }
        Ok(catalogue)
    }

    /// Opens the tables of a configuration, and no views.
    ///
    /// # Errors
    /// If a file can't be read, or a declaration doesn't fit its file.
    pub async fn open_tables(
        config: &NodeConfig,
        context: &SessionContext,
    ) -> Result<Self, CatalogueError> {
        let mut catalogue = Self {
            region: config.region.clone(),
            persons: config.persons,
            policy: Policy::default(),
            providers: HashMap::new(),
            prepared: match &config.prepared {
                Some(folder) => Some(Prepared::open(folder, config.limits.hot_bytes())?),
                None => None,
            },
        };
        // Public tables first: a private column may take its values from one.
        let (private, public): (Vec<_>, Vec<_>) =
            config.tables.iter().partition(|table| table.is_private());
        for table in public {
            catalogue.open_public(table, context).await?;
        }
        for table in private {
            catalogue.open_private(table, context).await?;
        }
        Ok(catalogue)
    }

    /// The region.
    #[must_use]
    pub fn region(&self) -> &RegionId {
        &self.region
    }

    /// Declared and public.
    #[must_use]
    pub fn persons(&self) -> u64 {
        self.persons
    }

    /// The owner's policy.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The prepared tables, if private tables are read from them.
    #[must_use]
    pub fn prepared(&self) -> Option<&Prepared> {
        self.prepared.as_ref()
    }

    /// Where a private table's rows are: among the prepared tables, or in its own files.
    async fn private_rows(
        &self,
        table: &TableConfig,
        context: &SessionContext,
    ) -> Result<Arc<dyn TableProvider>, CatalogueError> {
        let refused = |message: String| {
            Err(CatalogueError::Declaration {
                table: table.name.clone(),
                message,
            })
        };
        let Some(prepared) = &self.prepared else {
            // The types of a CSV file follow from its rows, and a row that doesn't fit fails.
            if *DataFiles::of(table).kind() == Kind::Csv {
                return refused(
                    "private tables are Parquet or Arrow files, whose types are declared; convert the CSV file".into(),
                );
            }
            return read(table, context).await;
        };
        let unit = table.unit.as_ref().map(|unit| unit.column.as_str());
        let found = prepared.manifest().tables.get(&table.name);
        match (prepared.provider(&table.name, true), found) {
            (Some(provider), Some(found)) if Some(found.unit.as_str()) == unit => Ok(provider),
            (Some(_), Some(found)) => refused(format!(
                "it was prepared by {}, which isn't its unit; run `skerry ingest` again",
                found.unit
            )),
            (_, _) => {
                refused("it isn't among the prepared tables; run `skerry ingest` again".into())
            }
        }
    }

    async fn open_private(
        &mut self,
        table: &TableConfig,
        context: &SessionContext,
    ) -> Result<(), CatalogueError> {
        let refused = |message: String| CatalogueError::Declaration {
            table: table.name.clone(),
            message,
        };
        let provider = self.private_rows(table, context).await?;
        let schema = provider.schema();
        let columns = table
            .columns
            .iter()
            .map(|column| {
                let data_type = type_of(column, &schema).map_err(refused)?;
                self.declared(column, data_type).map_err(refused)
            })
            .collect::<Result<Vec<_>, CatalogueError>>()?;
        let Some(unit) = &table.unit else {
            return Err(refused("a private table needs a unit".into()));
        };
        match columns.iter().find(|column| column.name == unit.column) {
            Some(column) if matches!(column.data_type, DataType::Integer | DataType::Text) => {}
            Some(column) => {
                let found = column.data_type;
                return Err(refused(format!(
                    "the unit {} is {found}; it must be an integer or a text",
                    unit.column
                )));
            }
            None => {
                return Err(refused(format!(
                    "the unit {} is not among the columns",
                    unit.column
                )));
            }
        }
        let of_unit = |table: &TablePolicy| match &table.ownership {
            Ownership::Private { unit, .. } => table.column(unit).map(|(_, unit)| unit.data_type),
            Ownership::Public { .. } => None,
        };
        let ownership = Ownership::Private {
            unit: unit.column.clone(),
            max_rows_per_unit: unit.max_rows,
        };
        let policy = TablePolicy { ownership, columns };
        let own = of_unit(&policy);
        let mut others = self.policy.tables.iter();
        if let Some((other, _)) =
            others.find(|(_, other)| of_unit(other).is_some_and(|unit| Some(unit) != own))
        {
            return Err(refused(format!(
                "its unit has another type than that of table {other}; one person has one id"
            )));
        }
        self.insert(table, policy, provider);
        Ok(())
    }

    async fn open_public(
        &mut self,
        table: &TableConfig,
        context: &SessionContext,
    ) -> Result<(), CatalogueError> {
        let provider = read(table, context).await?;
        let schema = provider.schema();
        let refused = |message: String| CatalogueError::Declaration {
            table: table.name.clone(),
            message,
        };
        let unread = |source| CatalogueError::File {
            table: table.name.clone(),
            path: table.path.display().to_string(),
            source,
        };
        let columns = table
            .columns
            .iter()
            .map(|column| {
                Ok(ColumnPolicy {
                    name: column.name.clone(),
                    data_type: type_of(column, &schema).map_err(refused)?,
                    domain: Domain::Unknown,
                    nulls: true,
                })
            })
            .collect::<Result<Vec<_>, CatalogueError>>()?;
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        let frame = context
            .read_table(provider)
            .and_then(|frame| frame.select_columns(&names))
            .map_err(unread)?;
        let schema = Arc::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await.map_err(unread)?;
        let rows = rows(&batches).map_err(unread)?;
        if rows.len() > MAX_PUBLIC_ROWS {
            return Err(refused(format!(
                "a public table has at most {MAX_PUBLIC_ROWS} rows"
            )));
        }
        let held = MemTable::try_new(schema, vec![batches]).map_err(unread)?;
        let policy = TablePolicy {
            ownership: Ownership::Public { rows },
            columns,
        };
        self.insert(table, policy, Arc::new(held));
        Ok(())
    }

    fn insert(
        &mut self,
        table: &TableConfig,
        policy: TablePolicy,
        provider: Arc<dyn TableProvider>,
    ) {
        if table.hidden {
            self.policy.hidden.insert(table.name.clone());
        }
        self.policy.tables.insert(table.name.clone(), policy);
        self.providers.insert(table.name.clone(), provider);
    }

    /// What the owner declares of a column of that type.
    fn declared(&self, column: &ColumnConfig, data_type: DataType) -> Result<ColumnPolicy, String> {
        let domain = column
            .domain
            .typed(data_type)
            .map_err(|reason| format!("column {}: {reason}", column.name))?;
        Ok(ColumnPolicy {
            name: column.name.clone(),
            data_type,
            domain: self.domain(domain, data_type)?,
            nulls: column.nulls,
        })
    }

    fn domain(&self, domain: config::Domain, data_type: DataType) -> Result<Domain, String> {
        Ok(match domain {
            config::Domain::Undeclared => Domain::Unknown,
            config::Domain::Range { low, high } => Domain::Range(low, high),
            config::Domain::Values(values) => Domain::Values(values),
            config::Domain::ValuesFrom { table, column } => {
                let found = self.policy.tables.get(&table);
                let Some((found, Ownership::Public { rows })) =
                    found.map(|found| (found, &found.ownership))
                else {
                    return Err(format!(
                        "values_from names {table}, which is no public table"
                    ));
                };
                let Some((index, of_column)) = found.column(&column) else {
                    return Err(format!(
                        "values_from names {table}.{column}, which isn't there"
                    ));
                };
                if of_column.data_type != data_type {
                    return Err(format!(
                        "values_from names {table}.{column}, which is {} and not {data_type}",
                        of_column.data_type
                    ));
                }
                let mut values: Vec<Value> = rows
                    .iter()
                    .map(|row| row[index].clone())
                    .filter(|value| !value.is_null())
                    .collect();
                values.sort();
                values.dedup();
                Domain::Values(values)
            }
        })
    }
}

fn type_of(column: &ColumnConfig, schema: &Schema) -> Result<DataType, String> {
    if column.name == REGION_COLUMN {
        return Err(format!(
            "{REGION_COLUMN} is the federation's own column; leave it out"
        ));
    }
    let Ok(field) = schema.field_with_name(&column.name) else {
        let names: Vec<&str> = schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
            .collect();
        return Err(format!(
            "the file has no column {}; {}",
            column.name,
            config::suggest(&column.name, &names)
        ));
    };
    plain_type(field.data_type()).ok_or_else(|| {
        format!(
            "column {} has type {}, which can't be asked about; leave it out or convert the file",
            column.name,
            field.data_type()
        )
    })
}

/// The table in a file, a folder or a glob; its kind follows from the name.
async fn read(
    table: &TableConfig,
    context: &SessionContext,
) -> Result<Arc<dyn TableProvider>, CatalogueError> {
    let path = table.path.display().to_string();
    let unread = |source| CatalogueError::File {
        table: table.name.clone(),
        path: path.clone(),
        source,
    };
    let files = DataFiles::of(table);
    let frame = match files.kind() {
        Kind::Csv => context.read_csv(&path, CsvReadOptions::new()).await,
        Kind::Arrow => {
            let options = ArrowReadOptions {
                file_extension: files.ending(),
                ..ArrowReadOptions::default()
            };
            context.read_arrow(&path, options).await
        }
        Kind::Parquet => {
            context
                .read_parquet(&path, ParquetReadOptions::default())
                .await
        }
    };
    Ok(frame.map_err(unread)?.into_view())
}

fn rows(batches: &[RecordBatch]) -> Result<Vec<Vec<Value>>, DataFusionError> {
    let mut rows = vec![];
    for batch in batches {
        for row in 0..batch.num_rows() {
            let values = batch
                .columns()
                .iter()
                .map(|column| {
                    let scalar = ScalarValue::try_from_array(column, row)?;
                    Ok(plain_value(&scalar).map_or(Value::Null, |(value, _)| value))
                })
                .collect::<Result<Vec<_>, DataFusionError>>()?;
            rows.push(values);
        }
    }
    Ok(rows)
}
