//! RESULTS.md: made from a results' file alone, so that it can be made again.

use std::{fmt::Write as _, fs, path::Path};

use crate::{
    Failure, figures,
    results::{Asked, Found, Results},
    table::{Table, grouped},
    tables, targets,
};

const NAME: &str = "RESULTS.md";
const FIGURES: &str = "figures";

/// What the figures are of.
const MEASURED: &str = "\
Each side is a process of its own with the same number of threads, over the same prepared files; the sides of a \
setting are asked in turns, and so are settings with as many people. The data are synthetic (`skerry synth`).

- **Time** is what a researcher waits for, the median of the runs. Skerry's holds planning, mutual TLS \
between researcher, coordinator and nodes, the search for bounds where there is one, the debit on disk, bounding, \
noise, merging and intervals; each run is a new answer that is paid for.
- **Processor time** (cpu) is of all threads of the side's process, the mean of the runs, counted in steps of 10 ms.
- **Peak** is the most memory that the side's process had in use during one of the runs, with what its allocator keeps from the \
questions before (Linux' `VmHWM`, begun anew before each run). Skerry's process is the coordinator, all nodes \
and the researchers' connections together. Files that the kernel caches are not in it, on either side.
- **plain** is DataFusion over the regions' prepared files as one, with no noise, no bounds and no network.
- **Skerry** answers over prepared tables (`skerry ingest`); **generic plan** is Skerry over the files as they were \
generated, where DataFusion's generic plan exchanges and sorts the rows by person first.
";

/// Writes the document and its figures beside the results' file.
pub fn write(results: &Results, file: &Path) -> Result<(), Failure> {
    let folder = file.parent().unwrap_or(Path::new("."));
    let figures = figures::draw(results, &folder.join(FIGURES))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let text = document(results, &figures, &name)?;
    fs::write(folder.join(NAME), text)?;
    Ok(())
}

fn document(results: &Results, figures: &[figures::Figure], file: &str) -> Result<String, Failure> {
    let mut text = "# How fast, how large\n\n".to_owned();
    let machine = &results.machine;
    writeln!(
        text,
        "Skerry {} at commit {}, DataFusion {}, {}. {} with {} cores, {} MiB of memory, {}. \
         Made from [{file}]({file}), not by hand; again with\n\n\
         ```sh\n\
         cargo bench --bench federation -- all --data DIR            # measures; DIR keeps the synthetic data\n\
         cargo bench --bench federation -- report benches/federation/{file}   # writes this file and the figures\n\
         ```\n",
        results.skerry,
        results.commit,
        results.datafusion,
        results.rust,
        machine.processor,
        machine.cores,
        grouped(machine.memory_mib),
        machine.system,
    )?;
    let targets = targets::targets(results);
    if !targets.rows.is_empty() {
        writeln!(text, "{}", targets.markdown())?;
    }
    writeln!(text, "## What is measured\n\n{MEASURED}")?;
    let asked: Vec<&Asked> = results.asked().collect();
    for (title, file, tables) in [
        ("Side by side", "ratios.svg", tables::side_by_side(&asked)),
        ("Growth", "growth.svg", tables::growth(&asked)),
        ("More regions", "regions.svg", tables::federation(&asked)),
        ("Questions at once", "at-once.svg", tables::at_once(&asked)),
        ("Ingest and noise", "", others(results)),
    ] {
        if tables.is_empty() {
            continue;
        }
        writeln!(text, "## {title}\n")?;
        if let Some(figure) = figures.iter().find(|figure| figure.file == file) {
            let title = figure.title;
            writeln!(text, "![{title}]({FIGURES}/{file})\n\n{title}.\n")?;
        }
        for table in tables {
            writeln!(text, "{}", table.markdown())?;
        }
    }
    let mut commands = Table::new(
        "What was run, in this order; load is the machine's before it, of 1, 5 and 15 minutes",
        ["command", "began", "load", "seconds"],
    );
    for part in &results.parts {
        commands.rows.push(vec![
            format!("`{}`", part.command),
            part.began.clone(),
            part.load.clone(),
            part.seconds.to_string(),
        ]);
    }
    writeln!(text, "## Commands\n")?;
    write!(text, "{}", commands.markdown())?;
    Ok(text)
}

fn others(results: &Results) -> Vec<Table> {
    let parts = results.parts.iter();
    parts
        .filter(|part| !matches!(part.found, Found::Questions(_)))
        .flat_map(tables::of_part)
        .collect()
}
