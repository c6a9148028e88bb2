//! `skerry doctor`

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use skerry_coordinator::{config::CoordinatorConfig, public_columns, study};
use skerry_node::doctor::{Finding, Verdict, doctor, offered};
use skerry_proto::Refusal;

use super::block_on;
use crate::{
    federation::COORDINATOR_FILE,
    output::{Format, colours, plain_table, print, print_refusal},
};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The node's configuration
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

/// Prints what is right and what is wrong, and which studies the data can serve; the exit code is 1
/// when anything is wrong.
pub fn run(arguments: &Arguments) -> ExitCode {
    let looked = block_on(async {
        let findings = doctor(&arguments.file).await;
        let text = findings_text(&findings, colours()) + &studies(&arguments.file).await?;
        print(text.trim_end())?;
        Ok(findings)
    });
    match looked {
        Err(refusal) => {
            print_refusal(&refusal, Format::Table);
            ExitCode::FAILURE
        }
        Ok(findings) => {
            if findings
                .iter()
                .any(|finding| finding.verdict == Verdict::Wrong)
            {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            }
        }
    }
}

fn findings_text(findings: &[Finding], colours: bool) -> String {
    let mut text = String::new();
    for finding in findings {
        let (word, colour) = match finding.verdict {
            Verdict::Right => ("ok   ", "\u{1b}[32m"),
            Verdict::Doubtful => ("look ", "\u{1b}[33m"),
            Verdict::Wrong => ("WRONG", "\u{1b}[1;31m"),
        };
        let word = if colours {
            format!("{colour}{word}\u{1b}[0m")
        } else {
            word.to_owned()
        };
        let message = finding.message.replace('\n', "\n      ");
        // Writing to a String can't fail.
        let _ = writeln!(text, "{word} {}: {message}", finding.subject);
        if !finding.advice.is_empty() {
            let _ = writeln!(text, "      {}", finding.advice);
        }
    }
    text
}

/// Which studies the node's data can serve, and what the others lack. Nothing where the node's tables can't be
/// opened: what is wrong with them is told already.
async fn studies(file: &Path) -> Result<String, Refusal> {
    let Some(mut offered) = offered(file).await else {
        return Ok(String::new());
    };
    let note = match coordinators(file).await {
        Some(public) => {
            for (table, columns) in public {
                offered.entry(table).or_default().extend(columns);
            }
            "The coordinator's public tables are counted in.".to_owned()
        }
        None => format!(
            "A public table can also be the coordinator's; its {COORDINATOR_FILE} isn't beside the node's folder, \
             so none was looked at."
        ),
    };
    let studies = study::all()?;
    let rows: Vec<Vec<String>> = studies
        .iter()
        .map(|study| {
            let lacks = study.lacks(&offered);
            let lacks: Vec<String> = lacks.iter().map(ToString::to_string).collect();
            let lacks = match lacks.as_slice() {
                [] => "yes".to_owned(),
                lacks => format!("lacks {}", lacks.join("; ")),
            };
            vec![study.name.clone(), lacks]
        })
        .collect();
    let served = rows.iter().filter(|row| row[1] == "yes").count();
    Ok(format!(
        "\nStudies that its data can serve: {served} of {}. {note}\n\n{}",
        studies.len(),
        plain_table(&["study", "served"], &rows, &[], false)
    ))
}

/// The columns of the public tables of the coordinator whose folder the node's folder is in.
async fn coordinators(file: &Path) -> Option<BTreeMap<String, BTreeSet<String>>> {
    let file = file.canonicalize().ok()?;
    let config = file.parent()?.parent()?.join(COORDINATOR_FILE);
    let config = CoordinatorConfig::load(&config).ok()?;
    public_columns(&config).await.ok()
}
