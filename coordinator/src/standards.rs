//! Standard populations: their age bands, each with its first age and its weight per 100,000.
//! They are a public table of every coordinator, `standard_populations`, that nobody needs to
//! configure.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Int64Array, RecordBatch, StringArray},
        datatypes::{DataType, Field, Schema},
    },
    catalog::TableProvider,
    common::Result,
    datasource::MemTable,
};

/// The table's name in SQL.
pub(crate) const TABLE: &str = "standard_populations";

/// European Standard Population 2013. Source: Eurostat, *Revision of the European Standard
/// Population*, KS-RA-13-028, 2013.
pub const EUROPEAN_2013: [(&str, i32, i64); 21] = [
    ("0", 0, 1000),
    ("1-4", 1, 4000),
    ("5-9", 5, 5500),
    ("10-14", 10, 5500),
    ("15-19", 15, 5500),
    ("20-24", 20, 6000),
    ("25-29", 25, 6000),
    ("30-34", 30, 6500),
    ("35-39", 35, 7000),
    ("40-44", 40, 7000),
    ("45-49", 45, 7000),
    ("50-54", 50, 7000),
    ("55-59", 55, 6500),
    ("60-64", 60, 6000),
    ("65-69", 65, 5500),
    ("70-74", 70, 5000),
    ("75-79", 75, 4000),
    ("80-84", 80, 2500),
    ("85-89", 85, 1500),
    ("90-94", 90, 800),
    ("95+", 95, 200),
];

/// Nordic standard population of 2000. Source: NORDCAN.
pub const NORDIC_2000: [(&str, i32, i64); 18] = [
    ("0-4", 0, 5900),
    ("5-9", 5, 6600),
    ("10-14", 10, 6200),
    ("15-19", 15, 5800),
    ("20-24", 20, 6100),
    ("25-29", 25, 6800),
    ("30-34", 30, 7300),
    ("35-39", 35, 7300),
    ("40-44", 40, 7000),
    ("45-49", 45, 6900),
    ("50-54", 50, 7400),
    ("55-59", 55, 6100),
    ("60-64", 60, 4800),
    ("65-69", 65, 4100),
    ("70-74", 70, 3900),
    ("75-79", 75, 3500),
    ("80-84", 80, 2400),
    ("85+", 85, 1900),
];

/// The table: `standard`, `age_band`, `first_age`, `weight`, a row for each band.
pub(crate) fn table() -> Result<Arc<dyn TableProvider>> {
    let european = EUROPEAN_2013.iter().map(|band| ("ESP 2013", band));
    let nordic = NORDIC_2000.iter().map(|band| ("Nordic 2000", band));
    let rows: Vec<_> = european.chain(nordic).collect();
    let schema = Arc::new(Schema::new(vec![
        Field::new("standard", DataType::Utf8, true),
        Field::new("age_band", DataType::Utf8, true),
        Field::new("first_age", DataType::Int64, true),
        Field::new("weight", DataType::Int64, true),
    ]));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|(standard, _)| standard),
        )),
        Arc::new(StringArray::from_iter_values(
            rows.iter().map(|(_, band)| band.0),
        )),
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|(_, band)| i64::from(band.1)),
        )),
        Arc::new(Int64Array::from_iter_values(
            rows.iter().map(|(_, band)| band.2),
        )),
    ];
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standards_add_up_to_100_000() {
        let european: i64 = EUROPEAN_2013.iter().map(|row| row.2).sum();
        let nordic: i64 = NORDIC_2000.iter().map(|row| row.2).sum();
        assert_eq!((european, nordic), (100_000, 100_000));
    }

    #[test]
    fn a_band_begins_at_the_age_that_its_name_says() {
        for (band, first, _) in EUROPEAN_2013.iter().chain(&NORDIC_2000) {
            let digits: String = band.chars().take_while(char::is_ascii_digit).collect();
            assert_eq!(digits, first.to_string());
        }
    }
}
