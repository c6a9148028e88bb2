//! The public tables on how regions are governed and what they run together. Invented, in the
//! shape of the programme's publications.

use std::{path::Path, sync::Arc};

use arrow::array::{ArrayRef, Date32Array, Int32Array, StringArray};

use super::{SynthError, regions::Region, vocabulary::YEAR_STARTS, write::write_table};

/// How hospital and municipalities govern together, by template; then scores from 1 to 5 for
/// communication, common goals, trust, teams, shared plans and shared responsibility.
const GOVERNANCE: [(&str, [i32; 6]); 5] = [
    (
        "one regional authority, agreements with municipalities",
        [3, 4, 3, 3, 3, 2],
    ),
    (
        "health community of hospital and municipalities, joint funds",
        [4, 3, 4, 4, 3, 3],
    ),
    (
        "health community with six participating municipalities",
        [4, 4, 4, 5, 4, 3],
    ),
    (
        "one wellbeing services county for health and social care",
        [3, 4, 3, 4, 4, 5],
    ),
    (
        "health cluster with municipalities and general practice",
        [4, 3, 3, 3, 4, 3],
    ),
];

/// Strategic areas of joint work.
const AREAS: [&str; 5] = [
    "frail older people",
    "mental health",
    "children and young people",
    "chronic conditions",
    "digital care at home",
];

/// Phases, in their order.
const PHASES: [&str; 6] = [
    "start",
    "understand",
    "define",
    "develop",
    "deliver",
    "operate",
];

/// Categories of initiatives.
const CATEGORIES: [&str; 4] = ["service", "competence", "technology", "organisation"];

fn texts<T: AsRef<str>>(values: impl IntoIterator<Item = T>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// Writes `model_regions`.
///
/// # Errors
/// When the file can't be written.
pub fn write_model_regions(directory: &Path, regions: &[Region]) -> Result<(), SynthError> {
    let rows: Vec<_> = regions
        .iter()
        .map(|region| (region, &GOVERNANCE[region.number % GOVERNANCE.len()]))
        .collect();
    let score = |which: usize| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(
            rows.iter().map(|row| row.1.1[which]),
        ))
    };
    write_table(
        directory,
        "model_regions",
        vec![
            ("region", false, texts(rows.iter().map(|row| &row.0.id))),
            (
                "label",
                false,
                texts(rows.iter().map(|row| row.0.template.label)),
            ),
            (
                "country",
                false,
                texts(rows.iter().map(|row| row.0.template.country)),
            ),
            ("governance", false, texts(rows.iter().map(|row| row.1.0))),
            ("communication", false, score(0)),
            ("common_goals", false, score(1)),
            ("trust", false, score(2)),
            ("teams", false, score(3)),
            ("shared_plans", false, score(4)),
            ("shared_responsibility", false, score(5)),
            (
                "guarantee_days",
                false,
                Arc::new(Int32Array::from_iter_values(
                    rows.iter().map(|row| row.0.template.guarantee_days),
                )),
            ),
        ],
    )
}

/// Writes `initiatives`: between 15 and 31 in each region.
///
/// # Errors
/// When the file can't be written.
pub fn write_initiatives(directory: &Path, regions: &[Region]) -> Result<(), SynthError> {
    let mut rows = Vec::new();
    for region in regions {
        let place = region.number;
        for number in 0..15 + (place * 7) % 17 {
            // Fixed arithmetic that spreads initiatives over the lists; nothing is drawn.
            let area = AREAS[(number * 3 + place) % AREAS.len()];
            let phase = PHASES[(number * 5 + number / 6 + place * 2) % PHASES.len()];
            let category = CATEGORIES[(number + number / 4 + place) % CATEGORIES.len()];
            let started = YEAR_STARTS[number % 6] + 30 * (number % 11) as i32;
            let name = format!("Synthetic initiative {} on {area}", number + 1);
            rows.push((&region.id, name, area, phase, category, started));
        }
    }
    write_table(
        directory,
        "initiatives",
        vec![
            ("region", false, texts(rows.iter().map(|row| row.0))),
            ("initiative", false, texts(rows.iter().map(|row| &row.1))),
            ("area", false, texts(rows.iter().map(|row| row.2))),
            ("phase", false, texts(rows.iter().map(|row| row.3))),
            ("category", false, texts(rows.iter().map(|row| row.4))),
            (
                "started",
                false,
                Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| row.5))),
            ),
        ],
    )
}
