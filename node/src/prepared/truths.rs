//! A column of truth values without NULLs: its pages hold one bit a row, as the engine does, so they
//! are taken as they are. (The general reader makes a byte of each bit, and a bit of each byte: a
//! third of the time of a question that has a condition on one.)

use std::{collections::VecDeque, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, BooleanArray, BooleanBufferBuilder},
        buffer::{BooleanBuffer, Buffer},
    },
    common::{Result as EngineResult, internal_datafusion_err, internal_err},
};
use parquet::{
    basic::{Encoding, Type},
    column::page::{Page, PageReader as _},
    file::{metadata::ParquetMetaData, serialized_reader::SerializedPageReader},
};

use super::file::PartitionFile;

/// Whether all of a column's pages are bits.
#[must_use]
pub fn are_bits(footer: &ParquetMetaData, column: usize) -> bool {
    let schema = footer.file_metadata().schema_descr();
    schema.column(column).physical_type() == Type::BOOLEAN
        && schema.column(column).max_def_level() == 0
        && footer.row_groups().iter().all(|row_group| {
            row_group
                .column(column)
                .page_encoding_stats_mask()
                .is_some_and(|mask| mask.is_only(Encoding::PLAIN))
        })
}

/// Reads such a column of some row groups.
pub struct Truths {
    file: Arc<PartitionFile>,
    footer: Arc<ParquetMetaData>,
    column: usize,
    row_groups: VecDeque<usize>,
    pages: Option<SerializedPageReader<PartitionFile>>,
    /// Bits, the place of the next one, and how many are left.
    page: Option<(Buffer, usize, usize)>,
}

impl std::fmt::Debug for Truths {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Truths")
            .field("column", &self.column)
            .finish_non_exhaustive()
    }
}

impl Truths {
    /// From the first of these row groups on.
    #[must_use]
    pub fn new(
        file: PartitionFile,
        footer: &Arc<ParquetMetaData>,
        column: usize,
        row_groups: &[usize],
    ) -> Self {
        Self {
            file: Arc::new(file),
            footer: Arc::clone(footer),
            column,
            row_groups: row_groups.iter().copied().collect(),
            pages: None,
            page: None,
        }
    }

    /// The next rows' values.
    ///
    /// # Errors
    /// If the file has fewer, or isn't laid out as its footer says.
    pub fn next(&mut self, rows: usize) -> EngineResult<ArrayRef> {
        let mut together: Option<BooleanBufferBuilder> = None;
        let mut missing = rows;
        loop {
            let (bits, place, left) = self.page_with_rows()?;
            let taken = missing.min(*left);
            if together.is_none() && taken == rows {
                let values = BooleanBuffer::new(bits.clone(), *place, rows);
                (*place, *left) = (*place + taken, *left - taken);
                return Ok(Arc::new(BooleanArray::new(values, None)));
            }
            let values = together.get_or_insert_with(|| BooleanBufferBuilder::new(rows));
            values.append_packed_range(*place..*place + taken, bits);
            (*place, *left) = (*place + taken, *left - taken);
            missing -= taken;
            if missing == 0 {
                return Ok(Arc::new(BooleanArray::new(values.finish(), None)));
            }
        }
    }

    fn page_with_rows(&mut self) -> EngineResult<(&Buffer, &mut usize, &mut usize)> {
        while self.page.as_ref().is_none_or(|(_, _, left)| *left == 0) {
            let page = match &mut self.pages {
                Some(pages) => pages.get_next_page()?,
                None => None,
            };
            match page {
                Some(Page::DataPage {
                    buf,
                    num_values,
                    encoding: Encoding::PLAIN,
                    ..
                }) => {
                    let values = num_values as usize;
                    if buf.len() * 8 < values {
                        return internal_err!("a page is cut off");
                    }
                    self.page = Some((Buffer::from(buf), 0, values));
                }
                Some(
                    Page::DataPage { .. } | Page::DataPageV2 { .. } | Page::DictionaryPage { .. },
                ) => {
                    return internal_err!("a page of truth values holds no bits");
                }
                None => {
                    let Some(row_group) = self.row_groups.pop_front() else {
                        return internal_err!("fewer rows than the footer says");
                    };
                    let of_group = self.footer.row_group(row_group);
                    let rows = usize::try_from(of_group.num_rows())
                        .map_err(|_| internal_datafusion_err!("a negative number of rows"))?;
                    self.pages = Some(SerializedPageReader::new(
                        Arc::clone(&self.file),
                        of_group.column(self.column),
                        rows,
                        None,
                    )?);
                }
            }
        }
        match &mut self.page {
            Some((bits, place, left)) => Ok((bits, place, left)),
            None => internal_err!("there is no page"),
        }
    }
}
