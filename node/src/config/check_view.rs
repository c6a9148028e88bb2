//! One view's declaration. Its SQL is planned when the tables are open.

use super::{
    ConfigError, Source, ViewConfig,
    check::{MOST_ROWS, checked_columns, checked_name, own_region, region_column, within},
    file,
};

/// Bytes of a view's SQL, at most.
const LONGEST_SQL: usize = 64 * 1024;

/// Checks a view, but for its SQL.
pub fn view(source: Source<'_>, file: &file::View) -> Result<ViewConfig, ConfigError> {
    let name = checked_name(source, &file.name)?;
    let sql = file.sql.get_ref();
    if sql.trim().is_empty() || sql.len() > LONGEST_SQL {
        return Err(source.error(
            file.sql.span(),
            format!("view `{name}` needs a SELECT of up to {LONGEST_SQL} bytes"),
            "as in sql = \"SELECT pid AS patient_id FROM besok\"",
        ));
    }
    let columns = checked_columns(source, &file.name, &file.columns, None)?;
    if let Some(region) = region_column(&file.columns) {
        return Err(own_region(source, region));
    }
    let max_rows = match &file.max_rows_per_unit {
        None => None,
        rows => Some(within(
            source,
            "max_rows_per_unit",
            rows.as_ref(),
            1,
            1..=MOST_ROWS,
        )?),
    };
    Ok(ViewConfig {
        name,
        sql: sql.clone(),
        max_rows,
        hidden: file.hidden,
        columns,
    })
}
