//! The SQL that researchers write, and what comes of it: `tests/sql/**/*.slt`, in the format of
//! sqllogictest. What a file can say and how it is written anew stands in `tests/sql/README.md`.

mod answer;
mod data;

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use arrow::array::RecordBatch;
use skerry_proto::Refusal;
use sqllogictest::{
    ColumnType, ExpectedError, QueryExpect, Record, SortMode, StatementExpect, parse_with_name,
};

use self::{
    answer::Answered,
    data::{Exact, Private, data},
};

/// Says that the files are written anew; see `tests/sql/README.md`.
const REWRITE: &str = "SKERRY_SQL_REWRITE";
/// Between the cells of a row: a text can have spaces in it.
const SEPARATOR: &str = "\t";
/// What the exact engine is asked where it needs other words than Skerry.
const EXACTLY: &str = " exactly:";
/// How many rows the private answer has, where that is more than the exact one: groups that
/// nobody is in appear too.
const ROWS: &str = " rows:";

/// Types of columns, as DataFusion's own files write them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Date,
    Integer,
    Timestamp,
    Real,
    Text,
    Other,
}

impl ColumnType for Kind {
    fn from_char(value: char) -> Option<Self> {
        Some(match value {
            'B' => Self::Boolean,
            'D' => Self::Date,
            'I' => Self::Integer,
            'P' => Self::Timestamp,
            'R' => Self::Real,
            'T' => Self::Text,
            '?' => Self::Other,
            _ => return None,
        })
    }

    fn to_char(&self) -> char {
        match self {
            Self::Boolean => 'B',
            Self::Date => 'D',
            Self::Integer => 'I',
            Self::Timestamp => 'P',
            Self::Real => 'R',
            Self::Text => 'T',
            Self::Other => '?',
        }
    }
}

macro_rules! files {
    ($($name:ident: $file:literal;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                check($file).await;
            }
        )*

        #[test]
        fn every_file_is_tested() {
            let mut listed = vec![$($file.to_owned()),*];
            listed.sort();
            assert_eq!(files_in(&folder(), ""), listed);
        }
    };
}

files! {
    above: "above.slt";
    aggregates: "aggregates.slt";
    dates: "dates.slt";
    distinct: "distinct.slt";
    domain: "domain.slt";
    expressions: "expressions.slt";
    frontiers: "frontiers.slt";
    grouping_sets: "grouping_sets.slt";
    joins: "joins.slt";
    keys: "keys.slt";
    per_person: "per_person.slt";
    refusals_bounds: "refusals/bounds.slt";
    refusals_limits: "refusals/limits.slt";
    refusals_names: "refusals/names.slt";
    refusals_private_output: "refusals/private_output.slt";
    refusals_unsupported: "refusals/unsupported.slt";
    semi_joins: "semi_joins.slt";
    statistics: "statistics.slt";
    text: "text.slt";
    threshold: "threshold.slt";
    unions: "unions.slt";
    windows: "windows.slt";
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql")
}

/// The names of all `.slt` files below a folder, sorted.
fn files_in(folder: &Path, before: &str) -> Vec<String> {
    let mut files = vec![];
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            files.extend(files_in(&path, &format!("{before}{name}/")));
        } else if path.extension().is_some_and(|extension| extension == "slt") {
            files.push(format!("{before}{name}"));
        }
    }
    files.sort();
    files
}

/// What the comment right before a record says beside its words.
#[derive(Default)]
struct Notes {
    exactly: Option<String>,
    rows: Option<usize>,
}

impl Notes {
    fn of(comment: &[String]) -> Self {
        let after = |label: &str| comment.iter().find_map(|line| line.strip_prefix(label));
        Self {
            exactly: after(EXACTLY).map(|sql| sql.trim().to_owned()),
            rows: after(ROWS).map(|rows| rows.trim().parse().expect("a number of rows")),
        }
    }
}

/// Asks all that a file asks, of both engines, and tells all that differs.
async fn check(file: &str) {
    let path = folder().join(file);
    let script = fs::read_to_string(&path).unwrap();
    let records: Vec<Record<Kind>> = parse_with_name(&script, file).unwrap();
    let rewrite = std::env::var_os(REWRITE).is_some();
    let data = data().await;
    let mut engines = Engines {
        exact: &data.exact,
        private: Private::new(data).await,
        rewrite,
    };
    let mut comment: Vec<String> = vec![];
    let mut wrong = vec![];
    let mut written = String::new();
    for record in records {
        let (record, found) = engines.check(record, &Notes::of(&comment)).await;
        wrong.extend(found);
        comment = match &record {
            Record::Comment(lines) => lines.clone(),
            _ => vec![],
        };
        writeln!(written, "{record}").unwrap();
    }
    if rewrite {
        fs::write(&path, format!("{}\n", written.trim_end())).unwrap();
    }
    engines.private.stop().await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n\n"));
}

struct Engines<'a> {
    exact: &'a Exact,
    private: Private<'a>,
    rewrite: bool,
}

impl Engines<'_> {
    /// The record as it should be in the file, and what is wrong.
    async fn check(
        &mut self,
        mut record: Record<Kind>,
        notes: &Notes,
    ) -> (Record<Kind>, Option<String>) {
        let found = match &mut record {
            Record::Query {
                sql,
                expected:
                    QueryExpect::Results {
                        types,
                        sort_mode,
                        results,
                        ..
                    },
                ..
            } => self.answered(sql, notes, types, *sort_mode, results).await,
            Record::Query {
                sql,
                expected: QueryExpect::Error(error),
                ..
            }
            | Record::Statement {
                sql,
                expected: StatementExpect::Error(error),
                ..
            } => self.refused(sql, error).await,
            Record::Comment(_) | Record::Newline => Ok(()),
            other => Err(format!("this kind of record is not used here: {other:?}")),
        };
        let place = match &record {
            Record::Query { loc, sql, .. } | Record::Statement { loc, sql, .. } => {
                format!("{loc}\n{sql}")
            }
            _ => String::new(),
        };
        let found = found.err().map(|what| format!("{place}\n{what}"));
        (record, found)
    }

    /// A statement that both engines answer.
    async fn answered(
        &mut self,
        sql: &str,
        notes: &Notes,
        types: &mut Vec<Kind>,
        sort_mode: Option<SortMode>,
        results: &mut Vec<String>,
    ) -> Result<(), String> {
        let (kinds, mut rows) = self
            .exact
            .rows(notes.exactly.as_deref().unwrap_or(sql))
            .await?;
        let ordered = match sort_mode {
            None | Some(SortMode::NoSort) => true,
            Some(SortMode::RowSort) => {
                rows.sort();
                false
            }
            Some(SortMode::ValueSort) => return Err("valuesort loses the rows".to_owned()),
        };
        let lines: Vec<String> = rows.iter().map(|row| row.join(SEPARATOR)).collect();
        if self.rewrite {
            *types = kinds;
            *results = lines;
        } else if *types != kinds || *results != lines {
            let shown: String = kinds.iter().map(ColumnType::to_char).collect();
            return Err(format!(
                "the exact answer is not the file's but, of types {shown},\n{}",
                lines.join("\n")
            ));
        }
        let answer = self
            .private
            .answer(sql)
            .await
            .map_err(|refusal| told(&refusal))?;
        Answered::new(&answer).holds(types, &rows, ordered, notes.rows)
    }

    /// A statement that Skerry refuses.
    async fn refused(&mut self, sql: &str, error: &mut ExpectedError) -> Result<(), String> {
        let refusal = match self.private.ask(sql).await {
            Ok(answer) => return Err(format!("answered:\n{}", table(&answer.rows))),
            Err(refusal) => told(&refusal),
        };
        if self.rewrite {
            *error = ExpectedError::Multiline(refusal);
            Ok(())
        } else if error.is_match(&refusal, None) {
            Ok(())
        } else {
            Err(format!("expected\n{error}\nbut got\n{refusal}"))
        }
    }
}

/// A refusal as the files have it.
fn told(refusal: &Refusal) -> String {
    let Refusal {
        code,
        message,
        hint,
    } = refusal;
    format!("{code}: {message}\n{hint}").trim().to_owned()
}

fn table(rows: &RecordBatch) -> String {
    arrow::util::pretty::pretty_format_batches(std::slice::from_ref(rows))
        .unwrap()
        .to_string()
}
