//! What the five synthetic regions are modelled on, and what every draw of a region needs.
//!
//! Names, rough sizes and rough distances of regions and municipalities are public facts; levels
//! of use, waiting and effects are invented, different on purpose, and written to `truth.json`.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::{
    effects::{Mix, mixes},
    vocabulary::AGE_BANDS,
};

/// A municipality of a synthetic region.
#[derive(Debug)]
pub struct Municipality {
    /// Its name; the people in it are synthetic.
    pub name: &'static str,
    /// Its size relative to the others of the region (about its real number of inhabitants).
    pub size: u32,
    /// Kilometres, one way, to the nearest hospital.
    pub hospital_km: f64,
    /// Kilometres, one way, to the local centre.
    pub centre_km: f64,
    /// Whether it takes people into the integrated service.
    pub participating: bool,
}

/// The public parameters of a synthetic region.
#[derive(Debug)]
pub struct Template {
    /// The region's id.
    pub id: &'static str,
    /// How to show its name: always with the word synthetic.
    pub label: &'static str,
    /// Two-letter country code.
    pub country: &'static str,
    /// Share of all people of the federation.
    pub share: f64,
    /// How much older than the Nordic average: weights of ages tilt by exp(tilt × (age − 42) / 40).
    pub age_tilt: f64,
    /// Level of use relative to the others.
    pub use_level: f64,
    /// Price level relative to the others.
    pub price_level: f64,
    /// Waiting relative to the others.
    pub waiting_level: f64,
    /// Share of contacts that could be distance-spanning that are, in 2024.
    pub remote_share: f64,
    /// Share of contacts with the same clinician, before inclusion.
    pub continuity: f64,
    /// Probability that a person of frailty 3 is admitted again within 30 days of a stay in hospital.
    pub readmission: f64,
    /// Strength of the effects of inclusion: 1 is the table in `effects.rs`, 0 none.
    pub effect: f64,
    /// Share of eligible people of usual use who are included.
    pub inclusion: f64,
    /// Days within which a specialist has to see a patient.
    pub guarantee_days: i32,
    /// The municipalities.
    pub municipalities: &'static [Municipality],
}

const fn m(
    name: &'static str,
    size: u32,
    hospital_km: f64,
    centre_km: f64,
    participating: bool,
) -> Municipality {
    Municipality {
        name,
        size,
        hospital_km,
        centre_km,
        participating,
    }
}

/// The five synthetic regions.
pub const TEMPLATES: [Template; 5] = [
    Template {
        id: "norrbotten",
        label: "Norrbotten (synthetic)",
        country: "SE",
        share: 0.13,
        age_tilt: 0.16,
        use_level: 0.95,
        price_level: 1.05,
        waiting_level: 1.25,
        remote_share: 0.34,
        continuity: 0.38,
        readmission: 0.13,
        effect: 0.8,
        inclusion: 0.50,
        guarantee_days: 90,
        municipalities: &[
            m("Luleå", 79_000, 9.0, 3.0, true),
            m("Piteå", 42_000, 5.0, 3.5, true),
            m("Boden", 28_000, 14.0, 4.0, true),
            m("Kiruna", 22_000, 6.0, 5.0, true),
            m("Gällivare", 17_000, 7.0, 5.5, false),
            m("Kalix", 16_000, 6.0, 5.0, true),
            m("Haparanda", 9_400, 52.0, 4.0, false),
            m("Älvsbyn", 8_000, 50.0, 6.0, true),
            m("Arvidsjaur", 6_000, 110.0, 8.0, false),
            m("Pajala", 5_900, 145.0, 14.0, true),
            m("Jokkmokk", 4_800, 95.0, 12.0, false),
            m("Övertorneå", 4_200, 85.0, 10.0, false),
            m("Överkalix", 3_200, 55.0, 9.0, false),
            m("Arjeplog", 2_700, 190.0, 15.0, true),
        ],
    },
    Template {
        id: "nordland",
        label: "Nordland (synthetic)",
        country: "NO",
        share: 0.12,
        age_tilt: 0.08,
        use_level: 1.06,
        price_level: 1.12,
        waiting_level: 1.05,
        remote_share: 0.30,
        continuity: 0.52,
        readmission: 0.15,
        effect: 0.9,
        inclusion: 0.45,
        guarantee_days: 60,
        municipalities: &[
            m("Bodø", 54_000, 7.0, 3.0, true),
            m("Rana", 26_000, 6.0, 4.0, true),
            m("Narvik", 21_500, 7.0, 4.5, true),
            m("Vefsn", 13_200, 5.0, 4.0, true),
            m("Vestvågøy", 11_600, 12.0, 6.0, false),
            m("Sortland", 10_500, 28.0, 5.0, true),
            m("Vågan", 9_800, 65.0, 6.0, false),
            m("Fauske", 9_600, 55.0, 5.0, true),
            m("Hadsel", 8_200, 9.0, 6.0, false),
            m("Brønnøy", 7_800, 165.0, 7.0, true),
            m("Alstahaug", 7_400, 5.0, 5.0, false),
            m("Meløy", 6_200, 135.0, 9.0, false),
            m("Andøy", 4_600, 95.0, 11.0, true),
            m("Øksnes", 4_400, 60.0, 9.0, false),
            m("Saltdal", 4_700, 85.0, 8.0, false),
            m("Steigen", 2_700, 210.0, 14.0, true),
            m("Hamarøy", 2_700, 195.0, 15.0, false),
        ],
    },
    Template {
        id: "akershus",
        label: "Akershus (synthetic)",
        country: "NO",
        share: 0.36,
        age_tilt: -0.12,
        use_level: 0.92,
        price_level: 1.10,
        waiting_level: 1.0,
        remote_share: 0.22,
        continuity: 0.50,
        readmission: 0.16,
        effect: 1.0,
        inclusion: 0.60,
        guarantee_days: 60,
        municipalities: &[
            m("Lillestrøm", 93_000, 9.0, 3.0, true),
            m("Nordre Follo", 63_000, 24.0, 3.0, true),
            m("Lørenskog", 48_000, 3.0, 2.0, true),
            m("Ullensaker", 44_000, 33.0, 3.5, true),
            m("Eidsvoll", 28_000, 52.0, 5.0, false),
            m("Nes", 25_000, 43.0, 6.0, true),
            m("Nittedal", 25_000, 18.0, 3.0, false),
            m("Ås", 21_500, 33.0, 3.0, false),
            m("Nesodden", 20_000, 42.0, 3.0, false),
            m("Rælingen", 20_000, 8.0, 2.5, false),
            m("Vestby", 19_500, 44.0, 3.5, false),
            m("Aurskog-Høland", 18_500, 45.0, 7.0, false),
            m("Kongsvinger", 18_000, 8.0, 4.0, true),
            m("Frogn", 16_500, 38.0, 3.0, false),
            m("Nannestad", 16_000, 42.0, 5.0, false),
            m("Enebakk", 11_500, 28.0, 4.0, false),
            m("Gjerdrum", 7_400, 25.0, 3.0, false),
            m("Hurdal", 3_000, 65.0, 5.0, false),
        ],
    },
    Template {
        id: "north_karelia",
        label: "North Karelia (synthetic)",
        country: "FI",
        share: 0.09,
        age_tilt: 0.25,
        use_level: 1.18,
        price_level: 0.86,
        waiting_level: 1.35,
        remote_share: 0.28,
        continuity: 0.43,
        readmission: 0.14,
        effect: 0.6,
        inclusion: 0.50,
        guarantee_days: 90,
        municipalities: &[
            m("Joensuu", 78_000, 6.0, 3.0, true),
            m("Kontiolahti", 15_000, 19.0, 4.0, true),
            m("Liperi", 11_800, 28.0, 5.0, true),
            m("Lieksa", 10_100, 97.0, 8.0, false),
            m("Kitee", 9_500, 66.0, 7.0, true),
            m("Nurmes", 9_200, 128.0, 8.0, true),
            m("Outokumpu", 6_400, 48.0, 4.0, false),
            m("Ilomantsi", 4_500, 73.0, 11.0, false),
            m("Juuka", 4_300, 85.0, 9.0, false),
            m("Tohmajärvi", 4_100, 58.0, 8.0, false),
            m("Polvijärvi", 4_000, 46.0, 7.0, true),
            m("Heinävesi", 3_000, 92.0, 9.0, false),
            m("Rääkkylä", 1_900, 68.0, 8.0, false),
        ],
    },
    Template {
        id: "north_jutland",
        label: "North Jutland (synthetic)",
        country: "DK",
        share: 0.30,
        age_tilt: 0.03,
        use_level: 1.03,
        price_level: 0.97,
        waiting_level: 0.7,
        remote_share: 0.26,
        continuity: 0.60,
        readmission: 0.17,
        effect: 0.75,
        inclusion: 0.40,
        guarantee_days: 30,
        municipalities: &[
            m("Aalborg", 223_000, 8.0, 2.5, true),
            m("Hjørring", 63_000, 7.0, 4.0, true),
            m("Frederikshavn", 58_000, 10.0, 4.0, true),
            m("Thisted", 43_000, 9.0, 6.0, true),
            m("Mariagerfjord", 41_500, 18.0, 5.0, false),
            m("Jammerbugt", 38_500, 35.0, 6.0, false),
            m("Brønderslev", 36_700, 27.0, 5.0, true),
            m("Vesthimmerland", 36_000, 30.0, 6.0, false),
            m("Rebild", 30_800, 28.0, 5.0, false),
            m("Morsø", 19_800, 32.0, 5.0, true),
            m("Læsø", 1_800, 40.0, 4.0, false),
        ],
    },
];

/// Shares of ages in the five regions together, per thousand, by [`AGE_BANDS`]; about the Nordic
/// average of 2024.
const AGE_SHARES: [f64; 21] = [
    9.5, 41.0, 54.0, 58.0, 58.0, 60.0, 64.0, 66.0, 64.0, 62.0, 63.0, 67.0, 66.0, 62.0, 56.0, 52.0,
    44.0, 28.0, 15.0, 7.0, 2.5,
];

/// The oldest age on 2024-12-31.
pub const OLDEST: i32 = 104;

/// One region of a federation to be generated: its template, its size and its draws.
#[derive(Debug)]
pub struct Region {
    /// The id: the template's, with `_2`, `_3`… where a large federation uses it again.
    pub id: String,
    /// The parameters.
    pub template: &'static Template,
    /// The number of people.
    pub persons: u64,
    /// Cumulative shares of the municipalities; the last is 1.
    pub municipality_shares: Vec<f64>,
    /// Cumulative shares of the age bands; the last is 1.
    pub age_shares: [f64; 21],
    /// Use by class of frailty and effect of inclusion.
    pub mixes: [[Mix; 3]; 5],
    stride: u64,
    generator: ChaCha8Rng,
}

/// Streams of random numbers that a person has: what they are, each year, and details.
pub const STREAMS_PER_PERSON: u64 = 8;

impl Region {
    /// A region of `persons` people.
    pub fn new(template: &'static Template, copy: usize, persons: u64, seed: u64) -> Self {
        let id = if copy == 0 {
            template.id.to_owned()
        } else {
            format!("{}_{}", template.id, copy + 1)
        };
        let mut key = [0_u8; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        // Ids are at most 24 bytes, so that different regions have different keys.
        for (place, byte) in key[8..].iter_mut().zip(id.bytes()) {
            *place = byte;
        }
        let mut age_weights = AGE_SHARES;
        for (weight, (_, first)) in age_weights.iter_mut().zip(AGE_BANDS) {
            *weight *= (template.age_tilt * f64::from(first + 2 - 42) / 40.0).exp();
        }
        let mut age_shares = [0.0; 21];
        for (place, share) in age_shares.iter_mut().zip(cumulative(&age_weights)) {
            *place = share;
        }
        let sizes: Vec<f64> = template
            .municipalities
            .iter()
            .map(|municipality| f64::from(municipality.size))
            .collect();
        Self {
            id,
            template,
            persons,
            municipality_shares: cumulative(&sizes),
            age_shares,
            mixes: mixes(template),
            stride: golden_stride(persons),
            generator: ChaCha8Rng::from_seed(key),
        }
    }

    /// The random numbers of one person and one purpose, from the beginning, whoever asks and in
    /// whatever order.
    pub fn stream(&self, person: u64, purpose: u64) -> ChaCha8Rng {
        let mut generator = self.generator.clone();
        generator.set_stream(person * STREAMS_PER_PERSON + purpose);
        generator
    }

    /// The random numbers that say in which order a block of people's episodes of a year are.
    pub fn shuffle_stream(&self, year: usize, block: u64) -> ChaCha8Rng {
        let mut generator = self.generator.clone();
        // The upper half of the streams; people have the lower one.
        generator.set_stream((1 << 63) | ((year as u64) << 48) | block);
        generator
    }

    /// The person at a place of the file's order, which has nothing to do with ids: an affine
    /// permutation of 0 to `persons` − 1.
    pub fn scattered(&self, place: u64) -> u64 {
        let persons = u128::from(self.persons.max(1));
        let scattered = (u128::from(place) * u128::from(self.stride) + persons / 3) % persons;
        // Smaller than `persons`, which is a u64.
        u64::try_from(scattered).unwrap_or(0)
    }
}

/// A number near the golden section of `persons` that has no divisor in common with it.
fn golden_stride(persons: u64) -> u64 {
    let golden = (persons as f64 * 0.618_033_988_75) as u64;
    (1..=golden)
        .rev()
        .find(|&stride| greatest_common_divisor(stride, persons) == 1)
        .unwrap_or(1)
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

/// Cumulative shares of weights; the last is exactly 1.
pub fn cumulative(weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    let mut sum = 0.0;
    let mut shares: Vec<f64> = weights
        .iter()
        .map(|weight| {
            sum += weight;
            sum / total
        })
        .collect();
    if let Some(last) = shares.last_mut() {
        *last = 1.0;
    }
    shares
}

/// The place that a draw from 0 to 1 falls on.
pub fn choose(cumulative: &[f64], draw: f64) -> usize {
    cumulative
        .iter()
        .position(|&share| draw < share)
        .unwrap_or(cumulative.len().saturating_sub(1))
}

/// Regions for `count` nodes and `people` people together; sizes follow the templates' shares.
pub fn federation(people: u64, count: usize, seed: u64) -> Vec<Region> {
    let shares: Vec<f64> = (0..count)
        .map(|place| TEMPLATES[place % TEMPLATES.len()].share)
        .collect();
    let ends = cumulative(&shares);
    let mut begin = 0;
    ends.iter()
        .enumerate()
        .map(|(place, share)| {
            let end = ((people as f64) * share).round() as u64;
            let template = &TEMPLATES[place % TEMPLATES.len()];
            let region = Region::new(template, place / TEMPLATES.len(), end - begin, seed);
            begin = end;
            region
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_lives_somewhere() {
        for count in [1, 3, 5, 32] {
            let regions = federation(100_003, count, 1);
            assert_eq!(
                regions.iter().map(|region| region.persons).sum::<u64>(),
                100_003
            );
            assert!(regions.iter().all(|region| region.id.len() <= 24));
        }
    }

    #[test]
    fn the_order_of_files_is_a_permutation() {
        for persons in [1, 2, 997, 1024, 5000] {
            let region = Region::new(&TEMPLATES[0], 0, persons, 1);
            let mut people: Vec<u64> = (0..persons).map(|place| region.scattered(place)).collect();
            people.sort_unstable();
            assert!(people.into_iter().eq(0..persons));
        }
    }
}
