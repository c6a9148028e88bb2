//! Writes the tables of one region: the private ones person by person, in memory that does not grow with
//! them (the truth's two bytes a person apart).

use std::path::Path;

use rand::seq::SliceRandom;

use super::{
    Shared, SynthError,
    details::Details,
    episodes::{Episode, draw_year},
    people::Person,
    policy::policy,
    public_tables::write_public_tables,
    regions::{Region, cumulative},
    tables::{
        IncludedPerson, condition_words, episode_words, inclusion_words, patient_words, step_words,
        survey_words,
    },
    truth::Truth,
    vocabulary::{CONDITIONS, YEARS},
    write::TableWriter,
};

/// People whose episodes of one year are shuffled together. Part of what makes the files, so
/// fixed: another number gives the same rows in another order.
const SHUFFLED_PEOPLE: u64 = 4_096;

/// Writes `<directory>/<region>/*.parquet`, its own rows of the public tables, and its policy, and counts what is true of them.
///
/// # Errors
/// When a file can't be written, or the run was stopped.
pub fn write_region(region: &Region, shared: &Shared<'_>) -> Result<Truth, SynthError> {
    let directory = shared.options.directory.join(&region.id);
    std::fs::create_dir_all(&directory).map_err(|source| SynthError::Write {
        path: directory.clone(),
        source,
    })?;
    let mut truth = Truth::new(region);
    write_people(region, &directory, shared, &mut truth)?;
    if shared.options.sorted {
        write_sorted_episodes(region, &directory, shared, &mut truth)?;
    } else {
        write_scattered_episodes(region, &directory, shared, &mut truth)?;
    }
    write_public_tables(
        &directory,
        std::slice::from_ref(region),
        std::slice::from_ref(&truth),
    )?;
    let path = directory.join("policy.toml");
    std::fs::write(&path, policy(region)).map_err(|source| SynthError::Write { path, source })?;
    Ok(truth)
}

fn write_people(
    region: &Region,
    directory: &Path,
    shared: &Shared<'_>,
    truth: &mut Truth,
) -> Result<(), SynthError> {
    let rows = shared.options.row_group_rows;
    let mut patients = TableWriter::create(directory, patient_words(region), rows)?;
    let mut conditions = TableWriter::create(directory, condition_words(), rows)?;
    let mut inclusions = TableWriter::create(directory, inclusion_words(), rows)?;
    let mut steps = TableWriter::create(directory, step_words(), rows)?;
    let mut surveys = TableWriter::create(directory, survey_words(), rows)?;
    let shares = cumulative(&CONDITIONS.map(|(_, share)| f64::from(share)));
    let mut details = Details::default();
    for place in 0..region.persons {
        let person = Person::draw(region, place);
        details.draw(region, &person, &shares);
        truth.count_person(&person, &details);
        conditions.append(&mut details.conditions)?;
        steps.append(&mut details.steps)?;
        surveys.append(&mut details.surveys)?;
        if let Some(inclusion) = person.inclusion {
            inclusions.push(IncludedPerson(person.id(), inclusion))?;
        }
        patients.push(person)?;
        if (place + 1).is_multiple_of(SHUFFLED_PEOPLE) {
            shared.report(0)?;
        }
    }
    patients.finish()?;
    conditions.finish()?;
    inclusions.finish()?;
    steps.finish()?;
    surveys.finish()
}

/// As a register grows: year by year, people in no order.
fn write_scattered_episodes(
    region: &Region,
    directory: &Path,
    shared: &Shared<'_>,
    truth: &mut Truth,
) -> Result<(), SynthError> {
    let mut episodes =
        TableWriter::create(directory, episode_words(), shared.options.row_group_rows)?;
    let mut block: Vec<Episode> = Vec::new();
    for year in 0..YEARS {
        let mut begin = 0;
        while begin < region.persons {
            let end = (begin + SHUFFLED_PEOPLE).min(region.persons);
            for place in begin..end {
                let person = Person::draw(region, region.scattered(place));
                let first = block.len();
                draw_year(region, &person, year, &mut block);
                truth.count_year(&person, year, &block[first..]);
            }
            let mut order = region.shuffle_stream(year, begin / SHUFFLED_PEOPLE);
            block.shuffle(&mut order);
            let rows = block.len() as u64;
            episodes.append(&mut block)?;
            shared.report(rows)?;
            begin = end;
        }
    }
    episodes.finish()
}

/// By person, and of each person by year.
fn write_sorted_episodes(
    region: &Region,
    directory: &Path,
    shared: &Shared<'_>,
    truth: &mut Truth,
) -> Result<(), SynthError> {
    let mut episodes =
        TableWriter::create(directory, episode_words(), shared.options.row_group_rows)?;
    let mut block: Vec<Episode> = Vec::new();
    let mut unreported = 0;
    for place in 0..region.persons {
        let person = Person::draw(region, place);
        for year in 0..YEARS {
            let first = block.len();
            draw_year(region, &person, year, &mut block);
            truth.count_year(&person, year, &block[first..]);
        }
        unreported += block.len() as u64;
        episodes.append(&mut block)?;
        if (place + 1).is_multiple_of(SHUFFLED_PEOPLE) || place + 1 == region.persons {
            shared.report(std::mem::take(&mut unreported))?;
        }
    }
    episodes.finish()
}
