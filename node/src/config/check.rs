//! From the file's shape to a configuration that can be relied on.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::Duration,
};

use skerry_proto::{Delta, Epsilon};
use toml::Spanned;

use super::{
    AllowanceConfig, AnswersConfig, BudgetConfig, ColumnConfig, ConfigError, LimitsConfig,
    NodeConfig, Source, TableConfig, TlsConfig, UnitConfig, check_column::checked_column,
    check_engine, check_view, file, suggest,
};

/// Declarations of columns, by name.
type Columns = BTreeMap<Spanned<String>, file::Column>;

const DEFAULT_MEMORY_MIB: u64 = 1024;
const LEAST_MEMORY_MIB: u64 = 64;
const DEFAULT_CONCURRENT: usize = 4;
const MOST_CONCURRENT: usize = 1024;
/// An hour: what is longer is a typing mistake.
const LONGEST_GRID_MS: u64 = 3_600_000;
/// Far above what one person has; what is more is a typing mistake.
pub(super) const MOST_ROWS: u64 = 1_000_000_000;

/// Checks a node's file. `path` is where relative paths start from.
pub fn node(source: Source<'_>, path: &Path, file: file::Node) -> Result<NodeConfig, ConfigError> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let region = file
        .region
        .get_ref()
        .parse()
        .map_err(|error| source.error(file.region.span(), format!("{error}"), String::new()))?;
    let listen = file.listen.get_ref().parse().map_err(|_| {
        source.error(
            file.listen.span(),
            "`listen` is no address with a port",
            "write it as in \"127.0.0.1:7501\" or \"[::]:7501\"",
        )
    })?;
    let persons = *file.persons.get_ref();
    if persons == 0 {
        return Err(source.error(
            file.persons.span(),
            "`persons` must be at least 1",
            "declare a round number of the persons in the data; it is public",
        ));
    }
    let mut names = BTreeSet::new();
    let mut tables = Vec::with_capacity(file.tables.len());
    for declared in &file.tables {
        let table = table(source, folder, declared)?;
        if !names.insert(table.name.to_lowercase()) {
            return Err(source.error(
                declared.get_ref().name.span(),
                format!("a second table `{}`", table.name),
                "",
            ));
        }
        tables.push(table);
    }
    one_unit_space(source, &file.tables)?;
    for declared in &file.tables {
        sources_of_values(source, &declared.get_ref().columns, &tables)?;
    }
    let mut views = Vec::with_capacity(file.views.len());
    for declared in &file.views {
        let view = check_view::view(source, declared)?;
        if !names.insert(view.name.to_lowercase()) {
            return Err(source.error(
                declared.name.span(),
                format!("a second table or view `{}`", view.name),
                "",
            ));
        }
        sources_of_values(source, &declared.columns, &tables)?;
        views.push(view);
    }
    Ok(NodeConfig {
        file: path.to_owned(),
        region,
        listen,
        persons,
        budget: budget(source, &file.budget, persons)?,
        ledger: folder.join(file.ledger),
        engine: check_engine::engine(source, file.engine.as_ref(), file.prepared.is_some())?,
        prepared: file.prepared.map(|prepared| folder.join(prepared)),
        tls: TlsConfig {
            certificate: folder.join(file.tls.certificate),
            key: folder.join(file.tls.key),
            client_authority: folder.join(file.tls.client_authority),
        },
        limits: limits(source, &file.limits)?,
        answers: answers(source, &file.answers)?,
        tables,
        views,
    })
}

fn budget(
    source: Source<'_>,
    declared: &Spanned<file::Budget>,
    persons: u64,
) -> Result<BudgetConfig, ConfigError> {
    let file = declared.get_ref();
    let project = allowance(source, &file.project)?;
    let total = allowance(source, &file.total)?;
    let most_delta = Delta::UNIT / 10 / persons;
    if total.delta.atto() > most_delta {
        return Err(source.error(
            file.total.delta.span(),
            format!(
                "the total δ is over 1/(10 × persons), which is {:.1e} for {persons} persons",
                most_delta as f64 / Delta::UNIT as f64
            ),
            "a larger δ could mean that some person's rows are shown as they are",
        ));
    }
    if project.epsilon > total.epsilon {
        return Err(source.error(
            file.project.epsilon.span(),
            "a project's ε is over the total ε of all projects",
            "",
        ));
    }
    if project.delta > total.delta {
        return Err(source.error(
            file.project.delta.span(),
            "a project's δ is over the total δ of all projects",
            "",
        ));
    }
    Ok(BudgetConfig { project, total })
}

fn allowance(source: Source<'_>, file: &file::Allowance) -> Result<AllowanceConfig, ConfigError> {
    let epsilon = Epsilon::try_from(*file.epsilon.get_ref())
        .map_err(|error| source.error(file.epsilon.span(), error.to_string(), ""))?;
    let delta = Delta::try_from(*file.delta.get_ref())
        .map_err(|error| source.error(file.delta.span(), error.to_string(), ""))?;
    Ok(AllowanceConfig { epsilon, delta })
}

fn limits(source: Source<'_>, file: &file::Limits) -> Result<LimitsConfig, ConfigError> {
    let memory_mib = within(
        source,
        "memory_mib",
        file.memory_mib.as_ref(),
        DEFAULT_MEMORY_MIB,
        LEAST_MEMORY_MIB..=u64::MAX >> 20,
    )?;
    let concurrent = within(
        source,
        "concurrent",
        file.concurrent.as_ref(),
        DEFAULT_CONCURRENT,
        1..=MOST_CONCURRENT,
    )?;
    let hot_mib = within(
        source,
        "hot_mib",
        file.hot_mib.as_ref(),
        0,
        0..=u64::MAX >> 20,
    )?;
    Ok(LimitsConfig {
        memory_mib,
        concurrent,
        hot_mib,
    })
}

fn answers(source: Source<'_>, file: &file::Answers) -> Result<AnswersConfig, ConfigError> {
    let grid = within(
        source,
        "time_grid_ms",
        file.time_grid_ms.as_ref(),
        0,
        0..=LONGEST_GRID_MS,
    )?;
    Ok(AnswersConfig {
        time_grid: Duration::from_millis(grid),
    })
}

pub(super) fn within<T: Copy + PartialOrd + std::fmt::Display>(
    source: Source<'_>,
    key: &str,
    declared: Option<&Spanned<T>>,
    default: T,
    allowed: std::ops::RangeInclusive<T>,
) -> Result<T, ConfigError> {
    match declared {
        None => Ok(default),
        Some(value) if allowed.contains(value.get_ref()) => Ok(*value.get_ref()),
        Some(value) => Err(source.error(
            value.span(),
            format!(
                "`{key}` must be from {} to {}",
                allowed.start(),
                allowed.end()
            ),
            "",
        )),
    }
}

/// All private tables of a node number their persons alike: with two numberings one person would be
/// two, and could move figures by twice what the noise is for.
fn one_unit_space(source: Source<'_>, tables: &[Spanned<file::Table>]) -> Result<(), ConfigError> {
    let private = tables
        .iter()
        .map(Spanned::get_ref)
        .filter(|table| table.unit.is_some());
    let space = |table: &file::Table| {
        table
            .unit_space
            .as_ref()
            .map(|space| space.get_ref().clone())
    };
    let mut first: Option<&file::Table> = None;
    for table in private {
        let Some(first) = first else {
            first = Some(table);
            continue;
        };
        if space(first) != space(table) {
            let (one, other) = (first.name.get_ref(), table.name.get_ref());
            return Err(source.error(
                table.unit_space.as_ref().unwrap_or(&table.name).span(),
                format!("`unit_space`: tables `{one}` and `{other}` don't number persons alike"),
                "bring them to one numbering before, or run a node for each; one person has one id",
            ));
        }
    }
    Ok(())
}

fn table(
    source: Source<'_>,
    folder: &Path,
    declared: &Spanned<file::Table>,
) -> Result<TableConfig, ConfigError> {
    let file = declared.get_ref();
    let name = checked_name(source, &file.name)?;
    if file.path == PathBuf::new() {
        return Err(source.error(declared.span(), format!("table `{name}` has no path"), ""));
    }
    let unit = match (&file.unit, &file.max_rows_per_unit) {
        (None, None) if file.unit_space.is_some() => {
            return Err(source.error(
                declared.span(),
                format!("`unit_space` without `unit`: table `{name}` would be public"),
                "add `unit = \"…\"`, the column that says whose row it is",
            ));
        }
        (None, None) => None,
        (None, Some(rows)) => {
            return Err(source.error(
                rows.span(),
                format!("`max_rows_per_unit` without `unit`: table `{name}` would be public"),
                "add `unit = \"…\"`, the column that says whose row it is",
            ));
        }
        (Some(unit), None) => {
            return Err(source.error(
                unit.span(),
                format!("private table `{name}` has no `max_rows_per_unit`"),
                "say how many rows one person has at most",
            ));
        }
        (Some(unit), Some(rows)) => Some(UnitConfig {
            column: unit_column(source, file, unit)?,
            max_rows: within(source, "max_rows_per_unit", Some(rows), 1, 1..=MOST_ROWS)?,
        }),
    };
    let unit_name = unit.as_ref().map(|unit| unit.column.as_str());
    let columns = checked_columns(source, &file.name, &file.columns, unit_name)?;
    if let (Some(_), Some(region)) = (&unit, region_column(&file.columns)) {
        return Err(own_region(source, region));
    }
    Ok(TableConfig {
        name,
        path: folder.join(&file.path),
        unit,
        hidden: file.hidden,
        columns,
    })
}

/// A table's or a view's name.
pub(super) fn checked_name(
    source: Source<'_>,
    name: &Spanned<String>,
) -> Result<String, ConfigError> {
    let text = name.get_ref();
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic());
    let only = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if starts && only && text.len() <= 64 {
        Ok(text.clone())
    } else {
        Err(source.error(
            name.span(),
            "not a table's name",
            "use up to 64 letters, digits and `_`, starting with a letter",
        ))
    }
}

/// The columns of a table or a view, at least one, in the owner's order.
pub(super) fn checked_columns(
    source: Source<'_>,
    name: &Spanned<String>,
    columns: &Columns,
    unit: Option<&str>,
) -> Result<Vec<ColumnConfig>, ConfigError> {
    if columns.is_empty() {
        return Err(source.error(
            name.span(),
            format!("`{}` has no columns", name.get_ref()),
            "name them under [table.columns] or [view.columns]; what is not named is not there",
        ));
    }
    // The map is sorted by name; the owner's order is that of the file.
    let mut declared: Vec<_> = columns.iter().collect();
    declared.sort_by_key(|(name, _)| name.span().start);
    declared
        .into_iter()
        .map(|(name, column)| {
            let is_unit = unit == Some(name.get_ref());
            checked_column(source, name, column, is_unit)
        })
        .collect()
}

pub(super) fn region_column(columns: &Columns) -> Option<&Spanned<String>> {
    columns
        .keys()
        .find(|name| name.get_ref().eq_ignore_ascii_case("region"))
}

pub(super) fn own_region(source: Source<'_>, name: &Spanned<String>) -> ConfigError {
    source.error(
        name.span(),
        "`region` is a column of every private table already: the node's own region",
        "leave it out, or rename it in the data",
    )
}

fn unit_column(
    source: Source<'_>,
    file: &file::Table,
    unit: &Spanned<String>,
) -> Result<String, ConfigError> {
    let names: Vec<&str> = file
        .columns
        .keys()
        .map(|key| key.get_ref().as_str())
        .collect();
    if names.contains(&unit.get_ref().as_str()) {
        Ok(unit.get_ref().clone())
    } else {
        Err(source.error(
            unit.span(),
            format!(
                "`unit` names `{}`, which is not among the columns",
                unit.get_ref()
            ),
            suggest(unit.get_ref(), &names),
        ))
    }
}

/// `values_from` names a public table of this file, and a column that is there.
fn sources_of_values(
    source: Source<'_>,
    columns: &Columns,
    tables: &[TableConfig],
) -> Result<(), ConfigError> {
    for column in columns.values() {
        let Some(from) = &column.values_from else {
            continue;
        };
        let (name, key) = from.get_ref().split_once('.').unwrap_or_default();
        let wrong = |message: String, hint: String| Err(source.error(from.span(), message, hint));
        let Some(table) = tables.iter().find(|table| table.name == name) else {
            let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
            return wrong(format!("no table `{name}`"), suggest(name, &names));
        };
        if table.is_private() {
            return wrong(
                format!("table `{name}` is private: values read from it would show its rows"),
                "take them from a public table, or list them".to_owned(),
            );
        }
        if table.column(key).is_none() {
            let names: Vec<&str> = table.columns.iter().map(|c| c.name.as_str()).collect();
            return wrong(
                format!("table `{name}` has no column `{key}`"),
                suggest(key, &names),
            );
        }
    }
    Ok(())
}
