//! Trusted. The files of one prepared table, opened once: schema, footers, which columns are
//! codes. Rows come from [`TableFiles::read`] alone.
//!
//! Promise: a row that is read belongs into its partition, and a partition's units never fall; a
//! file that isn't so stops the reading.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch},
        compute,
        datatypes::{DataType as ArrowType, Field, Schema, SchemaRef},
    },
    common::{DataFusionError, Result as EngineResult, internal_datafusion_err, internal_err},
};
use parquet::{
    arrow::{
        ProjectionMask,
        arrow_reader::{
            ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
            ParquetRecordBatchReaderBuilder,
        },
    },
    basic::Encoding,
    column::page::{Page, PageReader as _},
    file::{
        metadata::{PageIndexPolicy, ParquetMetaData},
        serialized_reader::SerializedPageReader,
    },
};

use super::{
    file::PartitionFile,
    manifest::{Manifest, TableManifest},
    partition::{Order, Partitions},
};

/// Rows that are read at a time. Row groups are a multiple of it, so that a batch has one
/// dictionary a column.
pub const BATCH_ROWS: usize = 8_192;
/// Rows of a row group.
pub const ROW_GROUP_ROWS: usize = BATCH_ROWS * 32;

/// How texts are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Texts {
    /// As texts.
    Plain,
    /// As codes and a dictionary where the files have them so, else as texts.
    Coded,
}

/// The files of a table, by partition.
#[derive(Debug)]
pub struct TableFiles {
    partitions: Partitions,
    unit: usize,
    plain: SchemaRef,
    coded: SchemaRef,
    files: Vec<OpenFile>,
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
        let mut fields = vec![];
        for (column, field) in plain.fields().iter().enumerate() {
            let coded = *field.data_type() == ArrowType::Utf8View && column != unit;
            let mut words = coded.then_some(0);
            for (_, file, metadata) in &opened {
                words = match words {
                    Some(words) => most_words(file, metadata.metadata(), column)?
                        .map(|of_file| of_file.max(words)),
                    None => None,
                };
            }
            fields.push(match words {
                Some(words) => {
                    let dictionary = ArrowType::Dictionary(
                        Box::new(code_type(words)),
                        Box::new(ArrowType::Utf8),
                    );
                    Field::new(field.name(), dictionary, field.is_nullable())
                }
                None => field.as_ref().clone(),
            });
        }
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
            files,
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
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(
            PartitionFile::open(&file.path)?,
            metadata.clone(),
        );
        // The unit is read whether it is wanted or not, for the order is held against it.
        let mut read: Vec<usize> = columns.to_vec();
        read.push(self.unit);
        read.sort_unstable();
        read.dedup();
        let mask = ProjectionMask::roots(builder.parquet_schema(), read.iter().copied());
        let place = |column: usize| {
            read.binary_search(&column)
                .map_err(|_| internal_datafusion_err!("there is no column {column}"))
        };
        let mut builder = builder.with_batch_size(BATCH_ROWS).with_projection(mask);
        if let Some(row_groups) = row_groups {
            builder = builder.with_row_groups(row_groups);
        }
        Ok(PartitionRows {
            rows: builder.build()?,
            order: Order::new(self.partitions, partition),
            unit: place(self.unit)?,
            places: columns
                .iter()
                .map(|column| place(*column))
                .collect::<EngineResult<_>>()?,
            schema: Arc::new(self.schema(texts).project(columns)?),
        })
    }
}

/// The rows of one partition, checked.
#[derive(Debug)]
pub struct PartitionRows {
    rows: ParquetRecordBatchReader,
    order: Order,
    unit: usize,
    places: Vec<usize>,
    schema: SchemaRef,
}

impl PartitionRows {
    /// The wanted columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn checked(&mut self, batch: &RecordBatch) -> EngineResult<RecordBatch> {
        self.order.check(batch.column(self.unit))?;
        let columns = self
            .places
            .iter()
            .zip(self.schema.fields())
            .map(|(place, field)| as_declared(batch.column(*place), field.data_type()))
            .collect::<EngineResult<Vec<_>>>()?;
        let options = datafusion::arrow::record_batch::RecordBatchOptions::new()
            .with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(
            Arc::clone(&self.schema),
            columns,
            &options,
        )?)
    }
}

impl Iterator for PartitionRows {
    type Item = EngineResult<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.rows.next()?;
        Some(
            batch
                .map_err(DataFusionError::from)
                .and_then(|batch| self.checked(&batch)),
        )
    }
}

fn as_declared(column: &ArrayRef, data_type: &ArrowType) -> EngineResult<ArrayRef> {
    if column.data_type() == data_type {
        Ok(Arc::clone(column))
    } else {
        Ok(compute::cast(column, data_type)?)
    }
}

/// The narrowest code for so many words.
fn code_type(words: usize) -> ArrowType {
    // One less than fits: readers compare with the number of words in the code's own type.
    if words < usize::from(u8::MAX) {
        ArrowType::UInt8
    } else if words < usize::from(u16::MAX) {
        ArrowType::UInt16
    } else {
        ArrowType::Int32
    }
}

/// The most words that a column's dictionary has in one of a file's row groups; nothing if some
/// page isn't codes.
fn most_words(
    file: &PartitionFile,
    metadata: &ParquetMetaData,
    column: usize,
) -> EngineResult<Option<usize>> {
    let mut most = 0;
    for row_group in metadata.row_groups() {
        let of_column = row_group.column(column);
        let only_codes = of_column
            .page_encoding_stats_mask()
            .is_some_and(|mask| mask.is_only(Encoding::RLE_DICTIONARY));
        if !only_codes {
            return Ok(None);
        }
        let rows = usize::try_from(row_group.num_rows())
            .map_err(|_| internal_datafusion_err!("a negative number of rows"))?;
        let mut pages = SerializedPageReader::new(Arc::new(file.clone()), of_column, rows, None)?;
        match pages.get_next_page()? {
            Some(Page::DictionaryPage { num_values, .. }) => most = most.max(num_values as usize),
            Some(Page::DataPage { .. } | Page::DataPageV2 { .. }) | None => return Ok(None),
        }
    }
    Ok(Some(most))
}
