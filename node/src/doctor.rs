//! What is right and wrong with a node's configuration, keys, data files and ledger: for the
//! owner's own terminal. Of private data only schemas are read.

mod keys;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use datafusion::prelude::SessionContext;
use skerry_privacy::{
    accounting::{Allowance, Budget},
    policy::Ownership,
};

use crate::{
    catalogue::{Catalogue, CatalogueError},
    config::{NodeConfig, TableConfig},
    data_files::DataFiles,
    ledger::{Ledger, LedgerError},
    prepared::Prepared,
};

/// How something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Right,
    /// It works, and should be looked at.
    Doubtful,
    /// The node can't start, or can't be reached, or isn't safe.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it was found.
    pub verdict: Verdict,
    /// What was looked at.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do; empty when there is nothing to do.
    pub advice: String,
}

impl Finding {
    fn new(verdict: Verdict, subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self {
            verdict,
            subject: subject.to_owned(),
            message: message.into(),
            advice: advice.to_owned(),
        }
    }

    fn right(subject: &str, message: impl Into<String>) -> Self {
        Self::new(Verdict::Right, subject, message, "")
    }

    fn wrong(subject: &str, message: impl Into<String>, advice: &str) -> Self {
        Self::new(Verdict::Wrong, subject, message, advice)
    }
}

/// Looks through all that a node needs to start. Nothing is changed.
pub async fn doctor(file: &Path) -> Vec<Finding> {
    let config = match NodeConfig::load(file) {
        Ok(config) => config,
        Err(error) => {
            let text = error.to_string();
            return vec![Finding::wrong(
                "configuration",
                text,
                "the rest is looked at once this is right",
            )];
        }
    };
    let mut findings = vec![Finding::right(
        "configuration",
        format!(
            "region {}, at {}, {} persons, {} tables, {} views",
            config.region,
            config.listen,
            config.persons,
            config.tables.len(),
            config.views.len()
        ),
    )];
    findings.extend(keys::findings(&config));
    if config.tables.is_empty() {
        findings.push(Finding::new(
            Verdict::Doubtful,
            "tables",
            "there are none, so nothing can be asked",
            "declare them as [[table]]",
        ));
    }
    let mut open = true;
    for table in &config.tables {
        let finding = table_finding(&config, table).await;
        open &= finding.verdict == Verdict::Right;
        findings.push(finding);
    }
    findings.extend(view_findings(&config, open).await);
    findings.extend(prepared_finding(&config));
    findings.push(ledger_finding(&config));
    findings
}

/// What questions may name, tables and views, each with its columns. Nothing where the configuration or the
/// data are wrong; views that can't be opened are left out.
pub async fn offered(file: &Path) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let config = NodeConfig::load(file).ok()?;
    let mut catalogue = Catalogue::open_tables(&config, &SessionContext::new())
        .await
        .ok()?;
    for view in &config.views {
        // What is wrong with it is told of as a finding.
        let _ = catalogue.open_view(view).await;
    }
    let tables = catalogue.policy().offered().map(|(name, table)| {
        let columns = table.columns.iter().map(|column| column.name.clone());
        (name.clone(), columns.collect())
    });
    Some(tables.collect())
}

/// Whether the prepared tables are there, and made from the files as they are.
fn prepared_finding(config: &NodeConfig) -> Option<Finding> {
    let subject = "prepared tables";
    let folder = config.prepared.as_ref()?;
    let again = "run `skerry ingest` with this file's name, then start the node anew";
    let prepared = match Prepared::open(folder, 0) {
        Ok(prepared) => prepared,
        Err(error) => return Some(Finding::wrong(subject, error.to_string(), again)),
    };
    let manifest = prepared.manifest();
    for table in config.tables.iter().filter(|table| table.is_private()) {
        // Without the sources the prepared tables still serve.
        let Ok(files) = DataFiles::of(table).described() else {
            continue;
        };
        let found = manifest.tables.get(&table.name);
        if found.is_some_and(|found| found.sources != files) {
            return Some(Finding::new(
                Verdict::Doubtful,
                subject,
                format!(
                    "the files of table {} have changed since it was prepared; answers are about \
                     the data as they were",
                    table.name
                ),
                again,
            ));
        }
    }
    Some(Finding::right(
        subject,
        format!(
            "{} tables in {} partitions each, version {}",
            manifest.tables.len(),
            manifest.partitions,
            manifest.version
        ),
    ))
}

/// Opens one table as the node does, beside the public ones that it may take values from.
async fn table_finding(config: &NodeConfig, table: &TableConfig) -> Finding {
    let subject = format!("table {}", table.name);
    let mut alone = config.clone();
    alone.tables.retain(|other| {
        let needed = table.columns.iter().any(|column| {
            matches!(&column.domain, crate::config::Domain::ValuesFrom { table, .. } if *table == other.name)
        });
        other.name == table.name || needed
    });
    match Catalogue::open_tables(&alone, &SessionContext::new()).await {
        Ok(_) => {
            let kind = match &table.unit {
                Some(unit) => format!(
                    "private, one person is a {}, at most {} rows each",
                    unit.column, unit.max_rows
                ),
                None => "PUBLIC: all its rows may be known to all".to_owned(),
            };
            let hidden = if table.hidden { ", hidden" } else { "" };
            Finding::right(
                &subject,
                format!("{} columns, {kind}{hidden}", table.columns.len()),
            )
        }
        Err(error) => Finding::wrong(
            &subject,
            error.to_string(),
            "compare the declaration with the data file",
        ),
    }
}

/// Opens the views as the node does, each over the tables and the views before it.
async fn view_findings(config: &NodeConfig, tables_are_right: bool) -> Vec<Finding> {
    if config.views.is_empty() {
        return vec![];
    }
    let later = |view: &str| {
        let subject = format!("view {view}");
        let message = "not looked at: it waits for what comes before it";
        Finding::new(Verdict::Doubtful, &subject, message, "")
    };
    let opened = if tables_are_right {
        Catalogue::open_tables(config, &SessionContext::new()).await
    } else {
        let waiting = config.views.iter().map(|view| later(&view.name));
        return waiting.collect();
    };
    let mut catalogue = match opened {
        Ok(catalogue) => catalogue,
        Err(error) => return vec![Finding::wrong("views", error.to_string(), "")],
    };
    let mut findings = vec![];
    let mut faulty: Vec<&str> = vec![];
    for view in &config.views {
        let subject = format!("view {}", view.name);
        let opened = catalogue.open_view(view).await;
        findings.push(match opened {
            Ok(()) => Finding::right(&subject, shown(&catalogue, &view.name)),
            Err(_) if faulty.iter().any(|name| view.sql.contains(name)) => later(&view.name),
            Err(CatalogueError::View { refusal, .. }) => {
                faulty.push(&view.name);
                Finding::wrong(&subject, refusal.message, &refusal.hint)
            }
            Err(error) => {
                faulty.push(&view.name);
                Finding::wrong(&subject, error.to_string(), "")
            }
        });
    }
    findings
}

/// An open view, in a line.
fn shown(catalogue: &Catalogue, view: &str) -> String {
    let policy = catalogue.policy();
    let hidden = if policy.hidden.contains(view) {
        ", hidden"
    } else {
        ""
    };
    match policy.columns_of(view) {
        None => String::new(),
        Some(table) => match &table.ownership {
            Ownership::Private {
                unit,
                max_rows_per_unit,
            } => format!(
                "{} columns, private, one person is a {unit}, at most {max_rows_per_unit} rows each{hidden}",
                table.columns.len()
            ),
            Ownership::Public { rows } => format!(
                "{} columns, PUBLIC, as the tables are that it is over, {} rows{hidden}",
                table.columns.len(),
                rows.len()
            ),
        },
    }
}

fn ledger_finding(config: &NodeConfig) -> Finding {
    let subject = "ledger";
    if !config.ledger.exists() {
        return Finding::right(
            subject,
            "not begun; the node's first start makes it (if this node has answered before, put its \
             ledger back first)",
        );
    }
    let allowance = |allowance: crate::config::AllowanceConfig| Allowance {
        epsilon: allowance.epsilon,
        delta: allowance.delta,
    };
    let budget = Budget {
        project: allowance(config.budget.project),
        total: allowance(config.budget.total),
    };
    match Ledger::open(&config.ledger, &config.region, budget) {
        Ok(_) => Finding::right(subject, "complete: each entry fits the one before"),
        Err(error @ LedgerError::InUse) => Finding::new(
            Verdict::Doubtful,
            subject,
            error.to_string(),
            "it was verified when that node started; end the node to verify it again",
        ),
        Err(error) => Finding::wrong(
            subject,
            error.to_string(),
            "no question is answered until it is right: put the newest copy back, with its witness",
        ),
    }
}
