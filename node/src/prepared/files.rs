//! Trusted. The files of one prepared table, opened once: schema, footers, which columns are
//! codes. Rows come from [`TableFiles::read`] alone.
//!
//! Promise: rows are read from the files that were opened, as they were then, and the unit with them,
//! so that [`PartitionRows`] can hold each row against the layout.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::{
    arrow::datatypes::{DataType as ArrowType, Field, Schema, SchemaRef},
    common::{Result as EngineResult, internal_datafusion_err, internal_err},
};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder},
    },
    file::metadata::{PageIndexPolicy, ParquetMetaData},
};

use super::{
    file::PartitionFile,
    hot::{Batches, Hot, HotColumn},
    manifest::{Manifest, TableManifest},
    partition::{Order, Partitions},
    rows::{Column, PartitionRows, ToHold, batches},
    truths::{self, Truths},
    words::Words,
};

/// Rows that are read at a time. Row groups are a multiple of it, so that a batch has one
/// dictionary a column. Few in this crate's tests, so that persons there go on from batch to batch.
pub const BATCH_ROWS: usize = if cfg!(test) { 64 } else { 8_192 };
/// Rows of a row group.
pub const ROW_GROUP_ROWS: usize = BATCH_ROWS * 32;

/// How texts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// As texts.
    Plain,
    /// As codes of a dictionary that is the whole table's, where the files have codes; else as
    /// texts.
    Coded,
}

/// The files of a table, by partition.
#[derive(Debug)]
pub struct TableFiles {
    partitions: Partitions,
    unit: usize,
    plain: SchemaRef,
    coded: SchemaRef,
    /// Of each column that is codes.
    words: Vec<Option<Words>>,
    files: Vec<OpenFile>,
    /// Whether a column is truth values without NULLs, in all files.
    truths: Vec<bool>,
    /// Columns that are held in memory, and this table's number there.
    hot: Option<(Arc<Hot>, usize)>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    plain: ArrowReaderMetadata,
    coded: ArrowReaderMetadata,
}

impl TableFiles {
    /// Opens the files of a table; reads their footers, and how many words their dictionaries
    /// have.
    ///
    /// # Errors
    /// If a file is missing, of another size than the manifest says, or laid out otherwise.
    pub fn open(
        folder: &Path,
        manifest: &Manifest,
        name: &str,
        table: &TableManifest,
        hot: Option<(Arc<Hot>, usize)>,
    ) -> EngineResult<Self> {
        let Some(partitions) = Partitions::new(manifest.partitions) else {
            return internal_err!("{} partitions", manifest.partitions);
        };
        if table.files.len() != partitions.count() {
            return internal_err!("{} files, not one a partition", table.files.len());
        }
        let mut opened = vec![];
        for (partition, size) in table.files.iter().enumerate() {
            let path = manifest.file(folder, name, partition);
            let file = PartitionFile::open(&path)?;
            if std::fs::metadata(&path)?.len() != *size {
                return internal_err!("{} has changed since it was prepared", path.display());
            }
            // Where pages lie is known beforehand: a page is then read in one go.
            let options = ArrowReaderOptions::new()
                .with_offset_index_policy(PageIndexPolicy::Optional)
                .with_skip_arrow_metadata(true);
            let metadata = ArrowReaderMetadata::load(&file, options)?;
            opened.push((path, file, metadata));
        }
        let Some((_, _, first)) = opened.first() else {
            return internal_err!("no files");
        };
        let plain = Arc::new(Schema::new(
            first
                .schema()
                .fields()
                .iter()
                .map(|field| match field.data_type() {
                    ArrowType::Utf8 | ArrowType::LargeUtf8 => {
                        Field::new(field.name(), ArrowType::Utf8View, field.is_nullable())
                    }
                    _ => field.as_ref().clone(),
                })
                .collect::<Vec<_>>(),
        ));
        let unit = plain.index_of(&table.unit)?;
        if !matches!(
            plain.field(unit).data_type(),
            ArrowType::Int64 | ArrowType::Utf8View
        ) {
            return internal_err!("the unit is neither an integer nor a text");
        }
        let mut words = vec![];
        let mut fields = vec![];
        for (column, field) in plain.fields().iter().enumerate() {
            let text = *field.data_type() == ArrowType::Utf8View && column != unit;
            let files = opened
                .iter()
                .map(|(_, file, metadata)| (file, &**metadata.metadata()));
            let found = if text {
                Words::read(files, column)?
            } else {
                None
            };
            fields.push(match &found {
                Some(words) => Field::new(field.name(), words.data_type(), field.is_nullable()),
                None => field.as_ref().clone(),
            });
            words.push(found);
        }
        let truths = (0..plain.fields().len())
            .map(|column| {
                let mut footers = opened.iter().map(|(_, _, metadata)| metadata.metadata());
                footers.all(|footer| truths::are_bits(footer, column))
            })
            .collect();
        let coded = Arc::new(Schema::new(fields));
        let files = opened
            .into_iter()
            .map(|(path, _, metadata)| {
                let read_as = |schema: &SchemaRef| {
                    ArrowReaderMetadata::try_new(
                        Arc::clone(metadata.metadata()),
                        ArrowReaderOptions::new().with_schema(Arc::clone(schema)),
                    )
                };
                Ok(OpenFile {
                    path,
                    plain: read_as(&plain)?,
                    coded: read_as(&coded)?,
                })
            })
            .collect::<EngineResult<Vec<_>>>()?;
        Ok(Self {
            partitions,
            unit,
            plain,
            coded,
            words,
            files,
            truths,
            hot,
        })
    }

    /// How many partitions.
    #[must_use]
    pub fn partitions(&self) -> Partitions {
        self.partitions
    }

    /// The position of the privacy unit.
    #[must_use]
    pub fn unit(&self) -> usize {
        self.unit
    }

    /// All columns.
    #[must_use]
    pub fn schema(&self, texts: Texts) -> &SchemaRef {
        match texts {
            Texts::Plain => &self.plain,
            Texts::Coded => &self.coded,
        }
    }

    /// A partition's footer.
    pub(super) fn metadata(&self, partition: usize) -> Option<&Arc<ParquetMetaData>> {
        Some(self.files.get(partition)?.plain.metadata())
    }

    /// Reads columns of a partition, in this order; of these row groups, or of all.
    ///
    /// # Errors
    /// If there is no such partition or column, or its file is gone.
    pub fn read(
        &self,
        partition: usize,
        columns: &[usize],
        texts: Texts,
        row_groups: Option<Vec<usize>>,
    ) -> EngineResult<PartitionRows> {
        let Some(file) = self.files.get(partition) else {
            return internal_err!("there is no partition {partition}");
        };
        let metadata = match texts {
            Texts::Plain => &file.plain,
            Texts::Coded => &file.coded,
        };
        let hot = self.hot.as_ref().filter(|_| texts == Texts::Coded);
        // The unit is read whether it is wanted or not, for the order is held against it.
        let mut wanted: Vec<usize> = columns.to_vec();
        if !columns.contains(&self.unit) {
            wanted.push(self.unit);
        }
        let mut sources: Vec<(usize, Option<Batches>)> = vec![];
        for column in wanted {
            let held = hot.and_then(|(hot, table)| {
                let column = HotColumn {
                    table: *table,
                    column,
                };
                hot.get(column, partition)
            });
            sources.push((column, held));
        }
        let mut cold: Vec<usize> = sources
            .iter()
            .filter(|(column, held)| held.is_none() && !self.truths[*column])
            .map(|(column, _)| *column)
            .collect();
        cold.sort_unstable();
        cold.dedup();
        let all = row_groups.is_none();
        let footer = metadata.metadata();
        let row_groups =
            row_groups.unwrap_or_else(|| (0..footer.num_row_groups()).collect::<Vec<_>>());
        let open = || PartitionFile::open(&file.path);
        let rows = if cold.is_empty() {
            None
        } else {
            let builder =
                ParquetRecordBatchReaderBuilder::new_with_metadata(open()?, metadata.clone());
            let mask = ProjectionMask::roots(builder.parquet_schema(), cold.iter().copied());
            let builder = builder
                .with_batch_size(BATCH_ROWS)
                .with_projection(mask)
                .with_row_groups(row_groups.clone());
            Some(builder.build()?)
        };
        let read = sources
            .into_iter()
            .map(|(column, held)| {
                let words = match texts {
                    Texts::Plain => None,
                    Texts::Coded => self.words.get(column).cloned().flatten(),
                };
                // A part of a partition would be taken for the whole.
                let to_hold = hot.filter(|_| all).map(|(hot, table)| ToHold {
                    hot: Arc::clone(hot),
                    column: HotColumn {
                        table: *table,
                        column,
                    },
                    batches: vec![],
                });
                Ok(match held {
                    Some(held) => Column::Held(held),
                    None if self.truths[column] => Column::Truths {
                        truths: Box::new(Truths::new(open()?, footer, column, &row_groups)),
                        to_hold,
                    },
                    None => Column::Read {
                        place: cold
                            .binary_search(&column)
                            .map_err(|_| internal_datafusion_err!("no column {column}"))?,
                        words,
                        to_hold,
                    },
                })
            })
            .collect::<EngineResult<Vec<_>>>()?;
        let unit = columns
            .iter()
            .position(|column| *column == self.unit)
            .unwrap_or(columns.len());
        Ok(PartitionRows {
            rows,
            order: Order::new(self.partitions, partition),
            unit,
            columns: read,
            schema: Arc::new(self.schema(texts).project(columns)?),
            partition,
            batches: batches(footer, &row_groups)?,
        })
    }
}
