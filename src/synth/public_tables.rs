//! The public tables, which every node and the coordinator read as they are: free of privacy
//! loss, and named as synthetic.

use std::{path::Path, sync::Arc};

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};

use skerry_coordinator::standards::{EUROPEAN_2013, NORDIC_2000};

use super::{
    SynthError,
    episodes::UNIT_COSTS,
    regions::Region,
    truth::Truth,
    vocabulary::{AGE_BANDS, FIRST_YEAR, Kind, RISKS, SEXES, YEARS},
    write::write_table,
};

/// The public tables and their columns, `region` apart: the federation gives that to every table
/// of a node.
pub const PUBLIC_TABLES: [(&str, &[&str]); 8] = [
    (
        "municipalities",
        &[
            "municipality",
            "hospital_km",
            "centre_km",
            "participating",
            "synthetic",
        ],
    ),
    (
        "population",
        &["municipality", "sex", "age_band", "year", "persons"],
    ),
    (
        "standard_populations",
        &["standard", "age_band", "first_age", "weight"],
    ),
    ("unit_costs", &["kind", "unit", "euros"]),
    (
        "targets",
        &["municipality", "risk", "people", "hours_per_person_month"],
    ),
    (
        "capacity",
        &["year", "beds", "doctors", "centres", "persons"],
    ),
    (
        "model_regions",
        &[
            "label",
            "country",
            "governance",
            "communication",
            "common_goals",
            "trust",
            "teams",
            "shared_plans",
            "shared_responsibility",
            "guarantee_days",
        ],
    ),
    (
        "initiatives",
        &["initiative", "area", "phase", "category", "started"],
    ),
];

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn years(values: impl IntoIterator<Item = i32>) -> ArrayRef {
    Arc::new(Int32Array::from_iter_values(values))
}

fn numbers(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

/// Writes all public tables of some regions to a folder.
///
/// # Errors
/// When a file can't be written.
pub fn write_public_tables(
    directory: &Path,
    regions: &[Region],
    truths: &[Truth],
) -> Result<(), SynthError> {
    municipalities(directory, regions)?;
    population(directory, regions, truths)?;
    standard_populations(directory)?;
    unit_costs(directory, regions)?;
    targets(directory, regions, truths)?;
    capacity(directory, regions)?;
    super::governance::write_model_regions(directory, regions)?;
    super::governance::write_initiatives(directory, regions)
}

fn municipalities(directory: &Path, regions: &[Region]) -> Result<(), SynthError> {
    let rows: Vec<_> = regions
        .iter()
        .flat_map(|region| {
            region
                .template
                .municipalities
                .iter()
                .map(move |row| (region, row))
        })
        .collect();
    write_table(
        directory,
        "municipalities",
        vec![
            (
                "region",
                false,
                texts(rows.iter().map(|(region, _)| &region.id)),
            ),
            (
                "municipality",
                false,
                texts(rows.iter().map(|(_, row)| row.name)),
            ),
            (
                "hospital_km",
                false,
                numbers(rows.iter().map(|(_, row)| row.hospital_km)),
            ),
            (
                "centre_km",
                false,
                numbers(rows.iter().map(|(_, row)| row.centre_km)),
            ),
            (
                "participating",
                false,
                Arc::new(
                    rows.iter()
                        .map(|(_, row)| Some(row.participating))
                        .collect::<BooleanArray>(),
                ),
            ),
            (
                "synthetic",
                false,
                Arc::new(rows.iter().map(|_| Some(true)).collect::<BooleanArray>()),
            ),
        ],
    )
}

fn population(directory: &Path, regions: &[Region], truths: &[Truth]) -> Result<(), SynthError> {
    let mut rows = Vec::new();
    for (region, truth) in regions.iter().zip(truths) {
        for (municipality, by_sex) in region.template.municipalities.iter().zip(&truth.population) {
            for (sex, by_band) in SEXES.iter().zip(by_sex) {
                for ((band, _), by_year) in AGE_BANDS.iter().zip(by_band) {
                    for (year, persons) in (FIRST_YEAR..).zip(by_year) {
                        rows.push((&region.id, municipality.name, *sex, *band, year, *persons));
                    }
                }
            }
        }
    }
    write_table(
        directory,
        "population",
        vec![
            ("region", false, texts(rows.iter().map(|row| row.0))),
            ("municipality", false, texts(rows.iter().map(|row| row.1))),
            ("sex", false, texts(rows.iter().map(|row| row.2))),
            ("age_band", false, texts(rows.iter().map(|row| row.3))),
            ("year", false, years(rows.iter().map(|row| row.4))),
            (
                "persons",
                false,
                integers(rows.iter().map(|row| row.5 as i64)),
            ),
        ],
    )
}

fn standard_populations(directory: &Path) -> Result<(), SynthError> {
    let rows: Vec<(&str, &str, i32, i64)> = EUROPEAN_2013
        .iter()
        .map(|row| ("ESP 2013", row))
        .chain(NORDIC_2000.iter().map(|row| ("Nordic 2000", row)))
        .map(|(standard, (band, first, weight))| (standard, *band, *first, *weight))
        .collect();
    write_table(
        directory,
        "standard_populations",
        vec![
            ("standard", false, texts(rows.iter().map(|row| row.0))),
            ("age_band", false, texts(rows.iter().map(|row| row.1))),
            ("first_age", false, years(rows.iter().map(|row| row.2))),
            ("weight", false, integers(rows.iter().map(|row| row.3))),
        ],
    )
}

fn unit_costs(directory: &Path, regions: &[Region]) -> Result<(), SynthError> {
    let mut rows = Vec::new();
    for region in regions {
        for (kind, (fixed, daily)) in Kind::ALL.iter().zip(UNIT_COSTS) {
            let price = region.template.price_level;
            rows.push((&region.id, kind.name(), "contact", f64::from(fixed) * price));
            if daily > 0 {
                rows.push((&region.id, kind.name(), "day", f64::from(daily) * price));
            }
        }
    }
    write_table(
        directory,
        "unit_costs",
        vec![
            ("region", false, texts(rows.iter().map(|row| row.0))),
            ("kind", false, texts(rows.iter().map(|row| row.1))),
            ("unit", false, texts(rows.iter().map(|row| row.2))),
            ("euros", false, numbers(rows.iter().map(|row| row.3))),
        ],
    )
}

/// Targets follow the sizes of the participating municipalities, not the people included.
fn targets(directory: &Path, regions: &[Region], truths: &[Truth]) -> Result<(), SynthError> {
    const SHARES: [(f64, f64); 3] = [(0.25, 1.5), (0.35, 3.0), (0.40, 6.0)];
    let mut rows = Vec::new();
    for (region, truth) in regions.iter().zip(truths) {
        for (municipality, by_sex) in region.template.municipalities.iter().zip(&truth.population) {
            if !municipality.participating {
                continue;
            }
            let old: u64 = by_sex
                .iter()
                .flat_map(|bands| bands.iter().zip(AGE_BANDS))
                .filter(|(_, (_, first))| *first >= 65)
                .map(|(by_year, _)| by_year[YEARS - 1])
                .sum();
            for (risk, (share, hours)) in RISKS.iter().zip(SHARES) {
                let people = (old as f64 * 0.02 * share).round() as i64;
                rows.push((&region.id, municipality.name, *risk, people.max(1), hours));
            }
        }
    }
    write_table(
        directory,
        "targets",
        vec![
            ("region", false, texts(rows.iter().map(|row| row.0))),
            ("municipality", false, texts(rows.iter().map(|row| row.1))),
            ("risk", false, texts(rows.iter().map(|row| row.2))),
            ("people", false, integers(rows.iter().map(|row| row.3))),
            (
                "hours_per_person_month",
                false,
                numbers(rows.iter().map(|row| row.4)),
            ),
        ],
    )
}

fn capacity(directory: &Path, regions: &[Region]) -> Result<(), SynthError> {
    let mut rows = Vec::new();
    for region in regions {
        for (place, year) in (FIRST_YEAR..).take(YEARS).enumerate() {
            let thousands = region.persons as f64 / 1000.0;
            let beds = thousands * (2.2 + 0.4 * region.template.use_level - 0.05 * place as f64);
            let doctors =
                thousands * (3.1 + 1.2 * region.template.continuity + 0.06 * place as f64);
            let centres = (thousands * 0.12).max(1.0);
            let whole = |value: f64| value.round() as i64;
            rows.push((
                &region.id,
                year,
                whole(beds),
                whole(doctors),
                whole(centres),
                region.persons,
            ));
        }
    }
    write_table(
        directory,
        "capacity",
        vec![
            ("region", false, texts(rows.iter().map(|row| row.0))),
            ("year", false, years(rows.iter().map(|row| row.1))),
            ("beds", false, integers(rows.iter().map(|row| row.2))),
            ("doctors", false, integers(rows.iter().map(|row| row.3))),
            ("centres", false, integers(rows.iter().map(|row| row.4))),
            (
                "persons",
                false,
                integers(rows.iter().map(|row| row.5 as i64)),
            ),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_population_tables_bands_are_the_european_ones() {
        assert!(EUROPEAN_2013.iter().map(|row| (row.0, row.1)).eq(AGE_BANDS));
    }
}
