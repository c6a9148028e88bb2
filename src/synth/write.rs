//! Streaming rows to Parquet: a buffer of some thousand rows, and one row group in the making.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    array::{ArrayRef, DictionaryArray, Int8Array, RecordBatch, StringArray},
    datatypes::{Field, Int8Type, Schema},
    error::ArrowError,
};
use parquet::{
    arrow::{ArrowWriter, arrow_writer::ArrowWriterOptions},
    basic::{Compression, Encoding},
    file::properties::WriterProperties,
    schema::types::ColumnPath,
};

use super::SynthError;

/// Rows that are turned into one Arrow batch.
const BATCH_ROWS: usize = 8_192;

/// A row of one of the tables.
pub trait Row: Sized {
    /// What the rows of one region share: the words that codes stand for.
    type Words;
    /// The table's name, and its file's.
    const TABLE: &'static str;
    /// The rows as columns, in the table's order; of no rows, the table's schema.
    ///
    /// # Errors
    /// When the columns make no batch, which would be a mistake in this module.
    fn batch(words: &Self::Words, rows: &[Self]) -> Result<RecordBatch, ArrowError>;
}

/// A column of a batch: its name, whether it can be NULL, its values.
pub type Column = (&'static str, bool, ArrayRef);

/// Columns as a batch.
///
/// # Errors
/// When they differ in length, or one has a NULL that it said it hasn't.
pub fn batch_of(columns: Vec<Column>) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, nullable, array)| Field::new(*name, array.data_type().clone(), *nullable))
        .collect();
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)
}

/// A list of at most 127 words.
pub fn words(list: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from(list.to_vec()))
}

/// A column of places in a list of [`words`]; `None` is NULL.
///
/// # Errors
/// When a place is outside the list.
pub fn coded(
    words: &ArrayRef,
    places: impl Iterator<Item = Option<usize>>,
) -> Result<ArrayRef, ArrowError> {
    let keys: Int8Array = places
        .map(|place| place.map(|place| i8::try_from(place).unwrap_or(i8::MAX)))
        .collect();
    Ok(Arc::new(DictionaryArray::<Int8Type>::try_new(
        keys,
        Arc::clone(words),
    )?))
}

/// Writes the rows of one table to one file.
pub struct TableWriter<R: Row> {
    writer: ArrowWriter<File>,
    words: R::Words,
    rows: Vec<R>,
}

impl<R: Row> TableWriter<R> {
    /// Creates `<directory>/<table>.parquet`.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn create(
        directory: &Path,
        words: R::Words,
        row_group_rows: usize,
    ) -> Result<Self, SynthError> {
        let empty = R::batch(&words, &[])?;
        let path = directory.join(format!("{}.parquet", R::TABLE));
        Ok(Self {
            writer: writer(&path, &empty, row_group_rows)?,
            words,
            rows: Vec::with_capacity(BATCH_ROWS),
        })
    }

    /// Adds a row.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn push(&mut self, row: R) -> Result<(), SynthError> {
        self.rows.push(row);
        if self.rows.len() >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    /// Adds all rows of a block, which is left empty.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn append(&mut self, block: &mut Vec<R>) -> Result<(), SynthError> {
        self.rows.append(block);
        if self.rows.len() >= BATCH_ROWS {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), SynthError> {
        self.writer.write(&R::batch(&self.words, &self.rows)?)?;
        self.rows.clear();
        Ok(())
    }

    /// Writes what is left and the file's footer.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn finish(mut self) -> Result<(), SynthError> {
        self.flush()?;
        self.writer.close()?;
        Ok(())
    }
}

/// Writes a whole small table.
///
/// # Errors
/// When the file can't be written.
pub fn write_table(directory: &Path, name: &str, columns: Vec<Column>) -> Result<(), SynthError> {
    let batch = batch_of(columns)?;
    let path = directory.join(format!("{name}.parquet"));
    let mut writer = writer(&path, &batch, 1 << 20)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}

fn writer(
    path: &Path,
    batch: &RecordBatch,
    row_group_rows: usize,
) -> Result<ArrowWriter<File>, SynthError> {
    let file = File::create(path).map_err(|source| SynthError::Write {
        path: path.to_owned(),
        source,
    })?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(row_group_rows.max(1)));
    for unique in ["patient_id", "episode_id"] {
        // Nearly every value differs: a dictionary would be built and thrown away.
        properties = properties
            .set_column_dictionary_enabled(ColumnPath::from(unique), false)
            .set_column_encoding(ColumnPath::from(unique), Encoding::DELTA_BINARY_PACKED);
    }
    // Without Arrow's own schema a reader sees plain text columns, as from any other system;
    // the dictionary stays what it is in Parquet, an encoding.
    let options = ArrowWriterOptions::new()
        .with_properties(properties.build())
        .with_skip_arrow_metadata(true);
    Ok(ArrowWriter::try_new_with_options(
        file,
        batch.schema(),
        options,
    )?)
}
