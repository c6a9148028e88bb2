//! A region to be generated, and what every draw of it needs.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};

use super::{
    effects::{Mix, mixes},
    templates::{TEMPLATES, Template},
    vocabulary::AGE_BANDS,
};

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
    /// The place in the federation.
    pub number: usize,
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
    /// The region at a place of the federation, with `persons` people.
    pub fn new(number: usize, persons: u64, seed: u64) -> Self {
        let template = &TEMPLATES[number % TEMPLATES.len()];
        let copy = number / TEMPLATES.len();
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
            number,
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
            let region = Region::new(place, end - begin, seed);
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
            let region = Region::new(0, persons, 1);
            let mut people: Vec<u64> = (0..persons).map(|place| region.scattered(place)).collect();
            people.sort_unstable();
            assert!(people.into_iter().eq(0..persons));
        }
    }
}
