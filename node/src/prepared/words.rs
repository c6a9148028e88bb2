//! The words of a column of codes: one dictionary for all of a table's files.
//!
//! Each row group of a file has a dictionary of its own. Codes are carried over into the table's
//! as they are read, so that what hangs on a word is found out once a question, and rows of two
//! row groups can be put together.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{Array as _, ArrayRef, AsArray as _, DictionaryArray, StringArray},
        datatypes::{ArrowDictionaryKeyType, DataType as ArrowType, UInt8Type, UInt16Type},
    },
    common::{Result as EngineResult, internal_datafusion_err, internal_err},
};
use parquet::{
    basic::Encoding,
    column::page::{Page, PageReader as _},
    file::{metadata::ParquetMetaData, serialized_reader::SerializedPageReader},
};

use super::file::PartitionFile;

/// More words than this are not codes: no question takes a look at each beforehand.
const MOST_WORDS: usize = u16::MAX as usize - 1;

/// The words of one column.
#[derive(Debug, Clone)]
pub struct Words {
    words: ArrayRef,
    /// By partition and row group: from the row group's codes to the table's.
    common: Arc<Vec<Vec<Vec<u16>>>>,
}

impl Words {
    /// The words of a column of these files; nothing if some page of it isn't codes, or there are
    /// too many words.
    ///
    /// # Errors
    /// If a dictionary can't be read.
    pub fn read<'a>(
        files: impl Iterator<Item = (&'a PartitionFile, &'a ParquetMetaData)>,
        column: usize,
    ) -> EngineResult<Option<Self>> {
        let mut codes: HashMap<String, u16> = HashMap::new();
        let mut words = vec![];
        let mut common = vec![];
        for (file, metadata) in files {
            let mut of_file = vec![];
            for row_group in 0..metadata.num_row_groups() {
                let Some(own) = dictionary(file, metadata, row_group, column)? else {
                    return Ok(None);
                };
                let mut of_row_group = vec![];
                for word in own {
                    let next = codes.len();
                    if next > MOST_WORDS {
                        return Ok(None);
                    }
                    let code = *codes.entry(word.clone()).or_insert_with(|| {
                        words.push(word);
                        next as u16
                    });
                    of_row_group.push(code);
                }
                of_file.push(of_row_group);
            }
            common.push(of_file);
        }
        Ok(Some(Self {
            words: Arc::new(StringArray::from_iter_values(words)),
            common: Arc::new(common),
        }))
    }

    /// Codes as narrow as the number of words allows.
    #[must_use]
    pub fn data_type(&self) -> ArrowType {
        // Readers compare codes with the number of words in the code's own type.
        let code = if self.words.len() < usize::from(u8::MAX) {
            ArrowType::UInt8
        } else {
            ArrowType::UInt16
        };
        ArrowType::Dictionary(Box::new(code), Box::new(ArrowType::Utf8))
    }

    /// The table's codes in place of the row group's.
    ///
    /// # Errors
    /// If the column has other codes than its row group's dictionary.
    pub fn common(
        &self,
        column: &ArrayRef,
        partition: usize,
        row_group: usize,
    ) -> EngineResult<ArrayRef> {
        let of_row_group = self.common.get(partition).and_then(|of| of.get(row_group));
        let Some(of_row_group) = of_row_group else {
            return internal_err!("a row group has no words");
        };
        match column.data_type() {
            ArrowType::Dictionary(code, _) if **code == ArrowType::UInt8 => {
                // Every code of a byte has a place, so that none has to be looked at twice.
                let mut table = [0_u8; 256];
                for (entry, code) in table.iter_mut().zip(of_row_group) {
                    *entry = u8::try_from(*code)
                        .map_err(|_| internal_datafusion_err!("a code needs two bytes"))?;
                }
                self.with::<UInt8Type>(column, |code| table[usize::from(code)])
            }
            ArrowType::Dictionary(code, _) if **code == ArrowType::UInt16 => {
                self.with::<UInt16Type>(column, |code| {
                    // The slot of a NULL may hold any code.
                    of_row_group.get(usize::from(code)).copied().unwrap_or(0)
                })
            }
            _ => internal_err!("a column of codes was read as something else"),
        }
    }

    fn with<K: ArrowDictionaryKeyType>(
        &self,
        column: &ArrayRef,
        common: impl Fn(K::Native) -> K::Native,
    ) -> EngineResult<ArrayRef> {
        let codes = column.as_dictionary::<K>().keys().unary::<_, K>(common);
        Ok(Arc::new(DictionaryArray::<K>::try_new(
            codes,
            Arc::clone(&self.words),
        )?))
    }
}

/// The dictionary of a column's part in one row group; nothing if not all its pages are codes.
fn dictionary(
    file: &PartitionFile,
    metadata: &ParquetMetaData,
    row_group: usize,
    column: usize,
) -> EngineResult<Option<Vec<String>>> {
    let of_group = metadata.row_group(row_group);
    let of_column = of_group.column(column);
    let only_codes = of_column
        .page_encoding_stats_mask()
        .is_some_and(|mask| mask.is_only(Encoding::RLE_DICTIONARY));
    if !only_codes {
        return Ok(None);
    }
    let rows = usize::try_from(of_group.num_rows())
        .map_err(|_| internal_datafusion_err!("a negative number of rows"))?;
    let mut pages = SerializedPageReader::new(Arc::new(file.clone()), of_column, rows, None)?;
    let Some(Page::DictionaryPage {
        buf, num_values, ..
    }) = pages.get_next_page()?
    else {
        return Ok(None);
    };
    // Each word is its length in four bytes, and its own bytes.
    let cut = || internal_datafusion_err!("a dictionary is cut off");
    let mut rest: &[u8] = &buf;
    let mut words = vec![];
    for _ in 0..num_values {
        let (length, after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (word, after) = after.split_at_checked(length).ok_or_else(cut)?;
        let word = std::str::from_utf8(word)
            .map_err(|_| internal_datafusion_err!("a dictionary holds no text"))?;
        words.push(word.to_owned());
        rest = after;
    }
    Ok(Some(words))
}
