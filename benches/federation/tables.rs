//! What the results come to, in tables.

use crate::{
    measure::{Summary, summary},
    results::{Asked, Drawn, Found, Ingested, Part, Side},
    table::{Table, grouped, known, mebibytes, number},
};

/// One question in one setting by one side, that was measured first.
pub fn find<'a>(
    asked: &[&'a Asked],
    (people, regions, at_once): (u64, usize, usize),
    question: &str,
    side: Side,
) -> Option<&'a Asked> {
    let mut all = asked.iter().copied();
    all.find(|one| {
        (one.people, one.regions, one.at_once) == (people, regions, at_once)
            && one.question == question
            && one.side == side
            && !one.runs.is_empty()
    })
}

/// The median, in milliseconds.
pub fn median(asked: &Asked) -> Option<f64> {
    asked.summary().map(|all| all.milliseconds)
}

/// In the order of their first appearance.
pub fn different<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut all = vec![];
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// Episodes, to a power of ten where they are about one.
pub fn size(people: u64) -> String {
    let episodes = people * 10;
    match episodes.checked_ilog10() {
        Some(power) if 10_u64.pow(power) == episodes => format!("1e{power}"),
        _ => grouped(episodes),
    }
}

/// Whether a question counts for a mean: Q0 only shows the overhead.
pub fn counts(question: &str) -> bool {
    !question.starts_with("Q0")
}

/// The geometric mean; nothing of nothing.
pub fn mean(ratios: &[f64]) -> Option<f64> {
    let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
    (!ratios.is_empty()).then(|| (logarithms / ratios.len() as f64).exp())
}

/// The tables of one part.
pub fn of_part(part: &Part) -> Vec<Table> {
    match &part.found {
        Found::Questions(asked) => of_questions(&asked.iter().collect::<Vec<_>>()),
        Found::Ingest(all) => vec![ingested(all)],
        Found::Noise(all) => vec![drawn(all)],
    }
}

fn of_questions(asked: &[&Asked]) -> Vec<Table> {
    let mut tables = side_by_side(asked);
    tables.extend(growth(asked));
    tables.extend(federation(asked));
    tables.extend(at_once(asked));
    tables
}

/// For each setting its sides, one question at a time.
pub fn side_by_side(asked: &[&Asked]) -> Vec<Table> {
    let alone: Vec<&Asked> = asked
        .iter()
        .copied()
        .filter(|one| one.at_once == 1)
        .collect();
    let settings = different(alone.iter().map(|one| (one.people, one.regions)));
    let of_setting = |(people, regions)| {
        let here: Vec<&Asked> = alone
            .iter()
            .copied()
            .filter(|one| (one.people, one.regions) == (people, regions))
            .collect();
        let generic = here.iter().any(|one| one.side == Side::Generic);
        let title = format!(
            "{} episodes, {} people, {regions} regions; medians of {} runs, {} threads",
            grouped(here.first().map_or(0, |one| one.episodes)),
            grouped(people),
            here.iter().map(|one| one.runs.len()).max().unwrap_or(0),
            here.first().map_or(0, |one| one.threads),
        );
        let mut columns = vec![
            "question",
            "plain ms",
            "Skerry ms",
            "ratio",
            "plain cpu ms",
            "Skerry cpu ms",
            "plain peak MiB",
            "Skerry peak MiB",
        ];
        if generic {
            columns.extend(["generic plan ms", "ratio", "generic peak MiB"]);
        }
        let mut table = Table::new(title, columns);
        let (mut ratios, mut generic_ratios) = (vec![], vec![]);
        for question in different(here.iter().map(|one| &one.question)) {
            let of = |side| {
                let found = find(&here, (people, regions, 1), question, side);
                found.and_then(Asked::summary)
            };
            let (plain, own) = (of(Side::Plain), of(Side::Prepared));
            let time = |all: &Option<_>| all.as_ref().map(|all: &Summary| all.milliseconds);
            let processor = |all: &Option<Summary>| all.as_ref().and_then(|all| all.processor);
            let peak =
                |all: &Option<Summary>| mebibytes(all.as_ref().and_then(|all| all.peak_bytes));
            let ratio = |own: &Option<_>| Some(time(own)? / time(&plain)?);
            let mut row = vec![
                question.clone(),
                known(time(&plain)),
                known(time(&own)),
                known(ratio(&own)),
                known(processor(&plain)),
                known(processor(&own)),
                peak(&plain),
                peak(&own),
            ];
            if counts(question) {
                ratios.extend(ratio(&own));
            }
            if generic {
                let of_generic = of(Side::Generic);
                row.extend([
                    known(time(&of_generic)),
                    known(ratio(&of_generic)),
                    peak(&of_generic),
                ]);
                if counts(question) {
                    generic_ratios.extend(ratio(&of_generic));
                }
            }
            table.rows.push(row);
        }
        let mut row = vec![String::new(); table.columns.len()];
        row[0] = "geometric mean of Q1 to Q6".to_owned();
        row[3] = known(mean(&ratios));
        if generic {
            row[9] = known(mean(&generic_ratios));
        }
        table.rows.push(row);
        table
    };
    settings.into_iter().map(of_setting).collect()
}

/// Skerry's time by the number of episodes, for as many regions.
pub fn growth(asked: &[&Asked]) -> Vec<Table> {
    let mut tables = vec![];
    for regions in different(asked.iter().map(|one| one.regions)) {
        let mut sizes = different(
            asked
                .iter()
                .filter(|one| one.regions == regions && one.at_once == 1)
                .map(|one| one.people),
        );
        sizes.sort_unstable();
        if sizes.len() < 2 {
            continue;
        }
        let mut columns = vec!["question".to_owned(), "side".to_owned()];
        columns.extend(sizes.iter().map(|people| format!("{} ms", size(*people))));
        for pair in sizes.windows(2) {
            columns.push(format!("{} / {}", size(pair[1]), size(pair[0])));
        }
        columns.push(format!("peak MiB at {}", size(*sizes.last().unwrap_or(&0))));
        let title = format!("Growth: {regions} regions, times and their ratios");
        let mut table = Table::new(title, columns);
        for question in different(asked.iter().map(|one| &one.question)) {
            for side in [Side::Prepared, Side::Plain, Side::Generic] {
                let of = |people: &u64| find(asked, (*people, regions, 1), question, side);
                let times: Vec<Option<f64>> = sizes
                    .iter()
                    .map(|people| of(people).and_then(median))
                    .collect();
                if times.iter().flatten().count() < 2 {
                    continue;
                }
                let mut row = vec![question.clone(), side.name().to_owned()];
                row.extend(times.iter().map(|time| known(*time)));
                row.extend(times.windows(2).map(|pair| {
                    let both = pair[1].zip(pair[0]);
                    known(both.map(|(after, before)| after / before))
                }));
                let largest = sizes.last().and_then(of).and_then(Asked::summary);
                row.push(mebibytes(largest.and_then(|all| all.peak_bytes)));
                table.rows.push(row);
            }
        }
        tables.push(table);
    }
    tables
}

/// Skerry's time with as many people in more regions, as a ratio to that with all in one.
pub fn federation(asked: &[&Asked]) -> Vec<Table> {
    let mut tables = vec![];
    for people in different(asked.iter().map(|one| one.people)) {
        let own = asked
            .iter()
            .filter(|one| one.people == people && one.at_once == 1 && one.side == Side::Prepared);
        let mut regions = different(own.map(|one| one.regions));
        regions.sort_unstable();
        if regions.len() < 2 || regions[0] != 1 {
            continue;
        }
        let title = format!(
            "Cost of federation: {} episodes in more regions on one machine, Skerry's time as a ratio to one region's",
            size(people)
        );
        let mut columns = vec!["question".to_owned(), "1 region, ms".to_owned()];
        columns.extend(regions[1..].iter().map(|count| format!("{count} regions")));
        let mut table = Table::new(title, columns);
        let mut ratios = vec![vec![]; regions.len() - 1];
        for question in different(asked.iter().map(|one| &one.question)) {
            let time = |count: usize| {
                find(asked, (people, count, 1), question, Side::Prepared).and_then(median)
            };
            let Some(one) = time(1) else { continue };
            let mut row = vec![question.clone(), number(one)];
            for (count, all) in regions[1..].iter().zip(&mut ratios) {
                let ratio = time(*count).map(|time| time / one);
                row.push(known(ratio));
                if counts(question) {
                    all.extend(ratio);
                }
            }
            table.rows.push(row);
        }
        let mut row = vec!["geometric mean of Q1 to Q6".to_owned(), String::new()];
        row.extend(ratios.iter().map(|all| known(mean(all))));
        table.rows.push(row);
        tables.push(table);
    }
    tables
}

/// Several questions at once.
pub fn at_once(asked: &[&Asked]) -> Vec<Table> {
    let many: Vec<&Asked> = asked
        .iter()
        .copied()
        .filter(|one| one.at_once > 1)
        .collect();
    let settings = different(many.iter().map(|one| (one.people, one.regions)));
    let of_setting = |(people, regions)| {
        let title = format!(
            "Questions at once: {} episodes, {regions} regions",
            size(people)
        );
        let columns = [
            "question",
            "at once",
            "plain a second",
            "Skerry a second",
            "plain ms",
            "Skerry ms",
            "Skerry cpu ms",
            "Skerry peak MiB",
        ];
        let mut table = Table::new(title, columns);
        let here: Vec<&Asked> = asked
            .iter()
            .copied()
            .filter(|one| (one.people, one.regions) == (people, regions))
            .collect();
        for question in different(here.iter().map(|one| &one.question)) {
            for count in different(here.iter().map(|one| one.at_once)) {
                let of = |side| {
                    let found = find(&here, (people, regions, count), question, side);
                    found.and_then(Asked::summary)
                };
                let (plain, own) = (of(Side::Plain), of(Side::Prepared));
                if plain.is_none() && own.is_none() {
                    continue;
                }
                table.rows.push(vec![
                    question.clone(),
                    count.to_string(),
                    known(plain.as_ref().map(|all| all.a_second)),
                    known(own.as_ref().map(|all| all.a_second)),
                    known(plain.as_ref().map(|all| all.milliseconds)),
                    known(own.as_ref().map(|all| all.milliseconds)),
                    known(own.as_ref().and_then(|all| all.processor)),
                    mebibytes(own.as_ref().and_then(|all| all.peak_bytes)),
                ]);
            }
        }
        table
    };
    settings.into_iter().map(of_setting).collect()
}

/// Tables that were prepared.
pub fn ingested(all: &[Ingested]) -> Table {
    let columns = [
        "episodes",
        "regions",
        "--memory-mib",
        "rows of all tables",
        "seconds",
        "rows a minute and core",
        "rows a minute of processor time",
        "peak MiB of the process",
    ];
    let threads = all.first().map_or(0, |one| one.threads);
    let mut table = Table::new(format!("Ingest, {threads} threads"), columns);
    for one in all {
        let rows = one.run.rows as f64;
        let minutes = one.run.together / 60_000.0;
        let processor = one.run.processor.map(|time| rows / (time / 60_000.0));
        let millions = |rate: f64| format!("{:.1} million", rate / 1e6);
        table.rows.push(vec![
            grouped(one.episodes),
            one.regions.to_string(),
            one.memory_mib.to_string(),
            grouped(one.run.rows as u64),
            number(one.run.together / 1000.0),
            millions(rows / minutes / one.threads as f64),
            processor.map_or_else(|| "–".to_owned(), millions),
            mebibytes(one.run.peak_bytes),
        ]);
    }
    table
}

/// Noise that was drawn.
pub fn drawn(all: &[Drawn]) -> Table {
    let cells = all.first().map_or(0, |one| one.cells);
    let title = format!("Noise of a release of {} cells", grouped(cells as u64));
    let mut table = Table::new(title, ["noise", "scale", "ms", "cpu ms"]);
    for one in all {
        let all = summary(std::slice::from_ref(&one.run));
        table.rows.push(vec![
            one.mechanism.clone(),
            format!("2^{}", one.scale.ilog2()),
            known(all.as_ref().map(|all| all.milliseconds)),
            known(all.as_ref().and_then(|all| all.processor)),
        ]);
    }
    table
}
