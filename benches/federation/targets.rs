//! What is wanted, beside what was found.

use crate::{
    results::{Asked, Found, Results, Side},
    table::{Table, mebibytes, number},
    tables::{counts, different, find, mean, median, size},
};

/// Memory of all of Skerry at 1e8 episodes.
const MOST_BYTES: u64 = 3 << 29;
/// Times as long as plain DataFusion takes, over 1e7 episodes in five regions.
const MOST_TIMES: [(&str, f64); 6] = [
    ("Q1", 1.3),
    ("Q2", 1.1),
    ("Q3", 0.4),
    ("Q4", 1.2),
    ("Q5", 1.2),
    ("Q6", 1.2),
];

/// A row for each target that there are results for.
pub fn targets(results: &Results) -> Table {
    let asked: Vec<&Asked> = results.asked().collect();
    let mut table = Table::new("What is wanted", ["wanted", "found", "kept"]);
    let mut row = |wanted: String, found: String, kept: bool| {
        let kept = if kept { "yes" } else { "no" };
        table.rows.push(vec![wanted, found, kept.to_owned()]);
    };
    beside_plain(&asked, &mut row);
    for people in different(asked.iter().map(|one| one.people)) {
        let ratios = ratios(&asked, (people, 1), (people, 5));
        if let (Some(mean), Some((most, question))) = (mean_of(&ratios), largest(&ratios)) {
            row(
                format!(
                    "{} episodes: five regions on one machine at most 1.15 times one region with all of them, in the geometric mean",
                    size(people)
                ),
                format!("{}; {question} most, {}", number(mean), number(most)),
                mean <= 1.15,
            );
        }
    }
    let ten_times = ratios(&asked, (1_000_000, 5), (10_000_000, 5));
    if let Some((most, question)) = largest(&ten_times) {
        row(
            "each question takes at most 11 times as long over 1e8 episodes as over 1e7".to_owned(),
            format!("{question} most, {}", number(most)),
            most <= 11.0,
        );
    }
    let peaks = asked
        .iter()
        .filter(|one| (one.people, one.side, one.at_once) == (10_000_000, Side::Prepared, 1));
    let peak = peaks.filter_map(|one| one.summary()?.peak_bytes).max();
    if let Some(peak) = peak {
        row(
            "less than 1 536 MiB of memory at 1e8 episodes, coordinator and all nodes together, without columns kept in memory".to_owned(),
            format!("{} MiB at most", mebibytes(Some(peak))),
            peak < MOST_BYTES,
        );
    }
    overhead(&asked, &mut row);
    for part in &results.parts {
        match &part.found {
            Found::Questions(_) => {}
            Found::Ingest(all) => {
                let rates = all.iter().map(|one| {
                    one.run.rows as f64 / (one.run.together / 60_000.0) / one.threads as f64
                });
                let least = rates.fold(f64::INFINITY, f64::min);
                let people = all.iter().map(|one| one.people).max().unwrap_or(0);
                row(
                    format!(
                        "{} episodes: ingest of at least 10 million rows a minute and core",
                        size(people)
                    ),
                    format!("{:.1} million at least", least / 1e6),
                    least >= 1e7,
                );
            }
            Found::Noise(all) => {
                let runs = all
                    .iter()
                    .flat_map(|one| crate::measure::summary(std::slice::from_ref(&one.run)));
                let most = runs.map(|all| all.milliseconds).fold(0.0, f64::max);
                row(
                    "noise for 10 000 cells in less than 100 ms".to_owned(),
                    format!("{} ms at most", number(most)),
                    most < 100.0,
                );
            }
        }
    }
    table
}

/// Each question, and all of them.
fn beside_plain(asked: &[&Asked], row: &mut impl FnMut(String, String, bool)) {
    let setting = (1_000_000, 5, 1);
    let mut all = vec![];
    for (question, most) in MOST_TIMES {
        let Some(one) = asked.iter().find(|one| one.short() == question) else {
            continue;
        };
        let time = |side| find(asked, setting, &one.question, side).and_then(median);
        if let (Some(own), Some(plain)) = (time(Side::Prepared), time(Side::Plain)) {
            let times = own / plain;
            all.push(times);
            row(
                format!(
                    "{} episodes in five regions: {} at most {most} times as long as plain DataFusion",
                    size(setting.0),
                    one.question
                ),
                number(times),
                times <= most,
            );
        }
    }
    if let (Some(mean), true) = (mean(&all), all.len() == MOST_TIMES.len()) {
        row(
            "all six: at most as long, in the geometric mean".to_owned(),
            number(mean),
            mean <= 1.0,
        );
    }
}

/// Of the question that reads next to nothing.
fn overhead(asked: &[&Asked], row: &mut impl FnMut(String, String, bool)) {
    let small = asked.iter().copied().filter(|one| {
        !counts(&one.question) && one.side == Side::Prepared && one.people == 100_000
    });
    let small: Vec<&Asked> = small.collect();
    let alone = small
        .iter()
        .find(|one| (one.regions, one.at_once) == (5, 1));
    if let Some(time) = alone.and_then(|one| median(one)) {
        row(
            "a trivial question in less than 30 ms, five regions".to_owned(),
            format!("{} ms", number(time)),
            time < 30.0,
        );
    }
    let many = small.iter().filter(|one| one.at_once == 64);
    let mut many: Vec<(usize, f64)> = many
        .filter_map(|one| Some((one.regions, one.summary()?.a_second)))
        .collect();
    many.sort_by_key(|one| one.0);
    for (regions, rate) in many {
        row(
            format!(
                "1 000 trivial questions a second, 64 at once, {regions} region(s), each of them paid for and on disk"
            ),
            number(rate),
            rate >= 1_000.0,
        );
    }
}

/// Of each question that counts, the second setting's time as a ratio to the first one's.
fn ratios<'a>(
    asked: &[&'a Asked],
    first: (u64, usize),
    second: (u64, usize),
) -> Vec<(f64, &'a str)> {
    let mut all = vec![];
    for one in asked.iter().filter(|one| counts(&one.question)) {
        let time = |(people, regions)| {
            find(asked, (people, regions, 1), &one.question, Side::Prepared).and_then(median)
        };
        if all.iter().all(|(_, known)| *known != one.short())
            && let (Some(before), Some(after)) = (time(first), time(second))
        {
            all.push((after / before, one.short()));
        }
    }
    all
}

fn mean_of(ratios: &[(f64, &str)]) -> Option<f64> {
    let ratios: Vec<f64> = ratios.iter().map(|(ratio, _)| *ratio).collect();
    mean(&ratios)
}

fn largest<'a>(ratios: &[(f64, &'a str)]) -> Option<(f64, &'a str)> {
    ratios
        .iter()
        .copied()
        .max_by(|one, other| one.0.total_cmp(&other.0))
}
