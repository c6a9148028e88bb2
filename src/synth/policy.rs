//! The owner's policy for a synthetic region: what is public about each table and column.
//!
//! A fragment of a node's configuration: `persons` and the `[[table]]` entries, with paths
//! relative to the fragment. Every declaration follows from the parameters of the generator, none
//! from the data that came out.

use std::fmt::Write as _;

use super::{
    details::{BIRTH_YEARS, CONDITION_DAYS},
    effects::MOST_A_YEAR,
    episodes::{HIGHEST_COST, LONGEST_TRAVEL, LONGEST_WAIT, MOST_DAYS},
    people::MOST_CONDITIONS,
    public_tables::PUBLIC_TABLES,
    regions::Region,
    vocabulary::{
        CONDITIONS, END_REASONS, LEVELS, MODES, PATHWAYS, QUESTIONS, RESPONDENTS, RISKS, SERVICES,
        SEXES, STEPS, YEARS,
    },
};

/// Rows of `episodes` that a person has at most.
pub const MOST_EPISODES: usize = 400;

const _: () = assert!(MOST_A_YEAR * YEARS <= MOST_EPISODES);

/// Rows of `pathway_steps` that a person has at most: four steps, nine evaluations.
const MOST_STEPS: u32 = 13;

/// Rows of `surveys` that a person has at most: five questions to two people.
const MOST_ANSWERS: u32 = 10;

const OBSERVED: &str = "{ range = [\"2019-01-01\", \"2024-12-31\"] }";

/// The text of `<region>/policy.toml`: of this region alone.
pub fn policy(region: &Region) -> String {
    let municipalities: Vec<&str> = region
        .template
        .municipalities
        .iter()
        .map(|municipality| municipality.name)
        .collect();
    tables(
        region.template.label,
        region.persons,
        "",
        values(&municipalities, false),
    )
}

/// The text of `policy.toml`: one policy for all regions, in whose paths `{region}` stands for
/// the region's id. The number of persons is that of the largest region, the safe side: more
/// persons allow a smaller δ only.
pub fn common_policy(regions: &[Region]) -> String {
    let persons = regions.iter().map(|region| region.persons).max();
    tables(
        "Synthetic Nordic regions",
        persons.unwrap_or(1),
        "{region}/",
        "{ values_from = \"municipalities.municipality\", nulls = false }".to_owned(),
    )
}

fn tables(title: &str, persons: u64, own: &str, municipalities: String) -> String {
    let mut text = format!(
        "# {title}: the owner's policy for synthetic data. No row comes from a real person.\n\
         # `skerry init --policy` makes nodes' configurations of it; paths start from this file.\n\n\
         persons = {persons}\n"
    );
    let booleans = "{ values = [false, true], nulls = false }".to_owned();
    private(
        &mut text,
        own,
        "patients",
        1,
        &[
            ("municipality", municipalities),
            ("sex", values(&SEXES, false)),
            ("birth_year", whole_numbers(BIRTH_YEARS.0..=BIRTH_YEARS.1)),
            ("frailty", whole_numbers(1..=9)),
            ("nursing_home", booleans.clone()),
        ],
    );
    private(
        &mut text,
        own,
        "episodes",
        MOST_EPISODES as u32,
        &[
            ("episode_id", "{}".to_owned()),
            ("service", values(&SERVICES, false)),
            ("level", values(&LEVELS, false)),
            ("urgent", booleans.clone()),
            ("readmission", booleans.clone()),
            ("mode", values(&MODES, false)),
            ("start_date", OBSERVED.to_owned()),
            ("days", range(0, MOST_DAYS)),
            ("cost", range(0, HIGHEST_COST)),
            ("travel_km", range(0, LONGEST_TRAVEL / 10)),
            ("waited_days", range(0, LONGEST_WAIT)),
            ("same_clinician", booleans),
        ],
    );
    private(
        &mut text,
        own,
        "conditions",
        MOST_CONDITIONS,
        &[
            ("icd10", values(&CONDITIONS.map(|(code, _)| code), false)),
            ("since", dates(CONDITION_DAYS)),
        ],
    );
    private(
        &mut text,
        own,
        "inclusions",
        1,
        &[
            ("pathway", values(&PATHWAYS, false)),
            ("risk", values(&RISKS, false)),
            ("included_on", OBSERVED.to_owned()),
            ("ended_on", OBSERVED.to_owned()),
            ("end_reason", values(&END_REASONS, true)),
        ],
    );
    private(
        &mut text,
        own,
        "pathway_steps",
        MOST_STEPS,
        &[
            ("step", values(&STEPS, false)),
            ("due_on", OBSERVED.to_owned()),
            ("done_on", OBSERVED.to_owned()),
        ],
    );
    private(
        &mut text,
        own,
        "surveys",
        MOST_ANSWERS,
        &[
            ("asked_on", OBSERVED.to_owned()),
            ("respondent", values(&RESPONDENTS, false)),
            ("question", values(&QUESTIONS, false)),
            ("answer", whole_numbers(1..=5)),
        ],
    );
    for (name, columns) in PUBLIC_TABLES {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n[[table]]\nname = \"{name}\"\npath = \"{own}{name}.parquet\"\n\n[table.columns]\n"
        );
        for column in columns {
            let _ = writeln!(text, "{column} = {{}}");
        }
    }
    text
}

fn private(text: &mut String, own: &str, name: &str, most_rows: u32, columns: &[(&str, String)]) {
    let _ = write!(
        text,
        "\n[[table]]\nname = \"{name}\"\npath = \"{own}{name}.parquet\"\nunit = \"patient_id\"\n\
         max_rows_per_unit = {most_rows}\n\n[table.columns]\npatient_id = {{}}\n"
    );
    for (column, declaration) in columns {
        let _ = writeln!(text, "{column} = {declaration}");
    }
}

fn values(list: &[&str], nulls: bool) -> String {
    let quoted: Vec<String> = list.iter().map(|value| format!("\"{value}\"")).collect();
    format!("{{ values = [{}], nulls = {nulls} }}", quoted.join(", "))
}

/// Every number is a public value, so that all of them can be group keys.
fn whole_numbers(range: std::ops::RangeInclusive<i32>) -> String {
    let numbers: Vec<String> = range.map(|number| number.to_string()).collect();
    format!("{{ values = [{}], nulls = false }}", numbers.join(", "))
}

fn range(low: i32, high: i32) -> String {
    format!("{{ range = [{low}, {high}] }}")
}

fn dates((low, high): (i32, i32)) -> String {
    let show = |day| {
        chrono::NaiveDate::from_epoch_days(day).map_or_else(String::new, |date| date.to_string())
    };
    format!("{{ range = [\"{}\", \"{}\"] }}", show(low), show(high - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_toml_and_names_all_tables() {
        let regions = [Region::new(0, 600, 5), Region::new(1, 1234, 5)];
        let common: toml::Table = common_policy(&regions).parse().unwrap();
        assert_eq!(common["persons"].as_integer(), Some(1234));
        let path = |place: usize| common["table"][place]["path"].as_str();
        assert_eq!(path(1), Some("{region}/episodes.parquet"));
        assert_eq!(path(6), Some("{region}/municipalities.parquet"));
        assert_eq!(path(7), Some("{region}/population.parquet"));
        let text = policy(&regions[1]);
        let parsed: toml::Table = text.parse().unwrap();
        assert_eq!(parsed["persons"].as_integer(), Some(1234));
        let tables = parsed["table"].as_array().unwrap();
        assert_eq!(tables.len(), 6 + PUBLIC_TABLES.len());
        let episodes = &tables[1]["columns"];
        assert_eq!(episodes["cost"]["range"][1].as_integer(), Some(60_000));
        assert!(text.contains("2000-01-01") && text.contains("(synthetic)"));
    }
}
