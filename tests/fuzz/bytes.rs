//! Bytes that were a plan once.

use rand::{Rng, seq::IndexedRandom as _};

use crate::{
    corpus::Corpus,
    fields::{self, Field},
};

/// What is longer isn't made longer still: a node refuses it by its length.
const LONGEST: usize = 1 << 20;

pub fn mutated(corpus: &Corpus, rng: &mut impl Rng) -> Vec<u8> {
    let plan = corpus.plans.choose(rng).unwrap();
    let other = corpus.plans.choose(rng).unwrap();
    let mut bytes = plan.bytes.clone();
    for _ in 0..rng.random_range(1..5) {
        if bytes.len() > LONGEST {
            break;
        }
        match rng.random_range(0..10) {
            // Fields are duplicated, deleted, nested and swapped, with lengths that are right.
            0..4 => {
                let mut parsed: Vec<Field> = fields::of_plan(&bytes);
                fields::mutate(&mut parsed, &other.fields, &corpus.words, rng);
                bytes = fields::write(&parsed);
            }
            4 => bytes.truncate(rng.random_range(0..=bytes.len())),
            5 => {
                let (from, to) = (cut(&bytes, rng), cut(&other.bytes, rng));
                bytes.truncate(from);
                bytes.extend(&other.bytes[to..]);
            }
            6 => {
                let (from, to) = (cut(&bytes, rng), cut(&bytes, rng));
                let piece = bytes[from.min(to)..from.max(to)].to_vec();
                let at = cut(&bytes, rng);
                bytes.splice(at..at, piece);
            }
            7 => {
                // A length, if the byte was one.
                if !bytes.is_empty() {
                    let at = rng.random_range(0..bytes.len());
                    let new = [0, 1, 0x7f, 0x80, 0xff, bytes[at].wrapping_add(1)];
                    bytes[at] = *new.choose(rng).unwrap();
                }
            }
            8 => {
                let at = cut(&bytes, rng);
                let more: Vec<u8> = (0..rng.random_range(1..40)).map(|_| rng.random()).collect();
                bytes.splice(at..at, more);
            }
            _ => {
                for _ in 0..rng.random_range(1..8) {
                    if !bytes.is_empty() {
                        let at = rng.random_range(0..bytes.len());
                        bytes[at] ^= 1 << rng.random_range(0..8);
                    }
                }
            }
        }
    }
    bytes
}

fn cut(bytes: &[u8], rng: &mut impl Rng) -> usize {
    rng.random_range(0..=bytes.len())
}
