//! What one person contributes to keys that aren't known beforehand.
//!
//! **Claim.** Let D and D′ differ in all rows of one person. The sums that [`KeyedSum`] gives for
//! them, before noise, differ in at most [`Threshold::most_keys`] keys, by at most the quote's norm in all
//! cells together, and by at most [`Threshold::once`] units in each count of persons.
//!
//! **Proof.** As for [`BoundedSum`](super::BoundedSum): the terms of all other persons are equal, and what
//! this person adds is clip(v), where v has the cells of kept keys alone. Kept are no more keys
//! than the threshold says. Which ones hangs on this person's keys and on a secret that has nothing to do with the
//! data; for each secret the claim holds. A count of persons is set to one before the clip, which only takes
//! toward zero. ∎
//!
//! [`Threshold::most_keys`]: crate::mechanism::threshold::Threshold::most_keys
//! [`Threshold::once`]: crate::mechanism::threshold::Threshold::once

use std::collections::{HashMap, hash_map::Entry};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Bounding, CELL_LIMIT, Ending, Norm, OutsideGroups, Slot};
use crate::{
    analysis::Quote,
    key::Key,
    mechanism::{MechanismError, threshold::KeySum},
};

/// A person's keys are looked through for those that are kept when there are this many, or twice as many as
/// are kept.
const FEW_KEYS: usize = 1_024;

/// A secret that is drawn for each release: by it a person's keys are ranked where there are too
/// many. Neither the order of rows nor what a key says has a part in it.
#[derive(Clone, Serialize, Deserialize)]
pub struct RankingSecret([u8; 32]);

impl RankingSecret {
    /// Fresh from the operating system.
    ///
    /// # Errors
    /// If there is no randomness.
    pub fn fresh() -> Result<Self, MechanismError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|_no_randomness| MechanismError::Sampling)?;
        Ok(Self(secret))
    }

    /// Where a key stands among a person's own: SHA-256 of the secret, the person with its length,
    /// and the key. With the person in it, no key loses all who have many.
    fn rank(&self, person: &[u8], key: &Key) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update((person.len() as u64).to_be_bytes());
        hash.update(person);
        hash.update(key.as_bytes());
        hash.finalize().into()
    }
}

impl std::fmt::Debug for RankingSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RankingSecret")
    }
}

/// Sums persons' contributions key by key, one person after the other.
#[derive(Debug)]
pub struct KeyedSum {
    slots: Vec<Slot>,
    /// Cells of a key.
    width: usize,
    norm: Norm,
    /// Weight of the cell that counts clipped persons, if they are counted.
    clipped: Option<u64>,
    most_keys: usize,
    secret: RankingSecret,
    /// The current person's unit.
    person: Vec<u8>,
    /// Keys of the current person, each with its cells.
    own: HashMap<Key, Vec<i128>>,
    sums: HashMap<Key, Vec<i128>>,
    /// About how many bytes `sums` takes.
    bytes: usize,
    /// Whether some of the current person's keys were given up.
    dropped: bool,
    clipped_sum: i128,
}

/// A key's sum over some of its persons.
pub type PartialSum = (Key, Vec<i128>);

impl KeyedSum {
    /// For the keys of a quote; nothing if its groups are public.
    #[must_use]
    pub fn new(quote: &Quote, secret: RankingSecret) -> Option<Self> {
        Self::of(&Bounding::of(quote), secret)
    }

    /// For the keys of a quote with this bounding; nothing if its groups are public.
    #[must_use]
    pub fn of(bounding: &Bounding, secret: RankingSecret) -> Option<Self> {
        let (Some(most_keys), Ending::Clip { norm, clipped }) =
            (bounding.most_keys, bounding.ending)
        else {
            return None;
        };
        Some(Self {
            slots: bounding.slots.clone(),
            width: bounding.width,
            norm,
            clipped,
            most_keys: usize::try_from(most_keys).unwrap_or(usize::MAX),
            secret,
            person: vec![],
            own: HashMap::new(),
            sums: HashMap::new(),
            bytes: 0,
            dropped: false,
            clipped_sum: 0,
        })
    }

    /// Ends the current person and begins the next, whose unit has these bytes.
    pub fn start_person(&mut self, person: &[u8]) {
        self.finish_person();
        self.person.clear();
        self.person.extend_from_slice(person);
    }

    /// Adds one row of the current person. `amounts` are as for [`BoundedSum`](super::BoundedSum).
    ///
    /// # Errors
    /// If an amount names a cell that isn't there; that is a fault of the caller, not of the data.
    pub fn add(
        &mut self,
        key: &Key,
        amounts: impl Iterator<Item = Option<i64>>,
    ) -> Result<(), OutsideGroups> {
        if !self.own.contains_key(key) {
            self.own.insert(key.clone(), vec![0; self.width]);
            // A key that is given up here and comes again is given up again: as many that rank before it
            // are kept, and are replaced by such as rank before them.
            if self.own.len() >= FEW_KEYS.max(self.most_keys.saturating_mul(2)) {
                self.keep_first();
            }
        }
        // Not there if it was just given up.
        let Some(cells) = self.own.get_mut(key) else {
            return Ok(());
        };
        for (slot, amount) in self.slots.iter().zip(amounts) {
            let Some(amount) = amount else { continue };
            slot.add(cells.as_mut_slice(), amount)?;
        }
        Ok(())
    }

    /// Keeps as many of the person's keys as the threshold allows, the first by rank.
    fn keep_first(&mut self) {
        if self.own.len() <= self.most_keys {
            return;
        }
        self.dropped = true;
        let mut ranked: Vec<([u8; 32], Key)> = self
            .own
            .keys()
            .map(|key| (self.secret.rank(&self.person, key), key.clone()))
            .collect();
        ranked.sort_unstable();
        for (_, key) in ranked.iter().skip(self.most_keys) {
            self.own.remove(key);
        }
    }

    /// Ends the current person: adds what the person contributes.
    pub fn finish_person(&mut self) {
        self.keep_first();
        let (keys, cells): (Vec<Key>, Vec<Vec<i128>>) = self.own.drain().unzip();
        let mut cells = cells.concat();
        let changed = self.norm.clip(&mut cells) || self.dropped;
        self.dropped = false;
        for (key, own) in keys.into_iter().zip(cells.chunks(self.width.max(1))) {
            let size = size_of::<PartialSum>() + key.as_bytes().len() + size_of_val(own);
            match self.sums.entry(key) {
                Entry::Vacant(sum) => {
                    sum.insert(own.to_vec());
                    self.bytes += size;
                }
                Entry::Occupied(mut sum) => {
                    for (total, more) in sum.get_mut().iter_mut().zip(own) {
                        *total += more;
                    }
                }
            }
        }
        if let (true, Some(weight)) = (changed, self.clipped) {
            self.clipped_sum += i128::from(weight);
        }
    }

    /// About how many bytes the sums take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the sums so far, of which those of a key add up.
    pub fn take(&mut self) -> Vec<PartialSum> {
        self.bytes = 0;
        self.sums.drain().collect()
    }

    /// The cell of clipped persons so far.
    #[must_use]
    pub const fn clipped(&self) -> i128 {
        self.clipped_sum
    }
}

impl KeySum {
    /// The whole sum of a key, clamped as the noise needs it; that moves no two sums apart.
    #[must_use]
    pub fn of((key, cells): PartialSum) -> Self {
        Self {
            key,
            cells: cells.into_iter().map(clamped).collect(),
        }
    }
}

/// A cell within the limit.
#[must_use]
pub fn clamped(cell: i128) -> i64 {
    let limit = i128::from(CELL_LIMIT);
    // Within 62 bits.
    cell.clamp(-limit, limit) as i64
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use skerry_proto::{DataType, Delta, Value};

    use super::*;
    use crate::{
        analysis::{Partition, measure::Measure},
        contribution::ceil_sqrt,
        mechanism::{Mechanism, Noise, threshold::Threshold},
        question::Expression,
    };

    /// Key, and what the row adds to a sum.
    type Row = (i64, Option<i64>);

    fn quote(norm: Norm, most_keys: u64, clipped: Option<u64>) -> Quote {
        let measures = vec![
            Measure::sum(Expression::Column(0), DataType::Float, (-5.0, 9.0), 0.0, 3),
            Measure::persons(None),
        ];
        let noise = Noise::new(Mechanism::DiscreteLaplace, 1 << 32, norm.limit()).unwrap();
        let (once, delta) = (measures[1].most_units(), Delta::try_from(1e-6).unwrap());
        let threshold = Threshold::new(&noise, 1, once, most_keys, delta).unwrap();
        Quote {
            key_types: vec![DataType::Integer],
            partition: Partition::Threshold(threshold),
            measures,
            finishes: vec![],
            norm,
            clipped,
            noise,
            totals_of: None,
        }
    }

    type Sums = (BTreeMap<Key, Vec<i128>>, i128);

    /// Persons' sums, taken out after every so many persons.
    fn sums(
        persons: &BTreeMap<u8, Vec<Row>>,
        quote: &Quote,
        secret: &RankingSecret,
        often: usize,
    ) -> Sums {
        let mut sum = KeyedSum::new(quote, secret.clone()).unwrap();
        let mut total: BTreeMap<Key, Vec<i128>> = BTreeMap::new();
        let mut add = |sum: &mut KeyedSum| {
            for (key, cells) in sum.take() {
                let total = total.entry(key).or_insert_with(|| vec![0; cells.len()]);
                for (total, cell) in total.iter_mut().zip(cells) {
                    *total += cell;
                }
            }
        };
        let once = quote.measures[1].grid.units(1.0);
        for (place, (person, rows)) in persons.iter().enumerate() {
            sum.start_person(&[*person]);
            for (key, amount) in rows {
                let key = Key::of(&[Value::Integer(*key)]);
                sum.add(&key, [*amount, Some(once)].into_iter()).unwrap();
            }
            if place % often == 0 {
                add(&mut sum);
            }
        }
        sum.finish_person();
        add(&mut sum);
        (total, sum.clipped())
    }

    fn any_persons() -> impl Strategy<Value = BTreeMap<u8, Vec<Row>>> {
        let row = (0i64..6, any::<Option<i64>>());
        proptest::collection::btree_map(0u8..6, proptest::collection::vec(row, 0..12), 1..6)
    }

    fn any_norm() -> impl Strategy<Value = Norm> {
        (1u64..1 << 40, any::<bool>()).prop_map(|(limit, first)| {
            if first {
                Norm::L1(limit)
            } else {
                Norm::L2(limit)
            }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// With the same secret and the same noise, what differs is the noise's to hide: no more than the
        /// norm over all cells, in few keys, and little in counts of persons.
        #[test]
        fn removing_a_person_moves_few_keys_and_no_more_than_the_sensitivity(
            persons in any_persons(), who in any::<proptest::sample::Index>(), norm in any_norm(),
            most_keys in 1u64..5, clipped in proptest::option::of(1u64..1 << 40),
        ) {
            let quote = quote(norm, most_keys, clipped);
            let secret = RankingSecret::fresh().unwrap();
            let mut without = persons.clone();
            let person = *persons.keys().nth(who.index(persons.len())).unwrap();
            without.remove(&person);
            let (with, with_clipped) = sums(&persons, &quote, &secret, 2);
            let (without, without_clipped) = sums(&without, &quote, &secret, 3);
            let nothing = vec![0; 2];
            let mut moved = vec![with_clipped - without_clipped];
            let mut keys = 0;
            for (key, cells) in &with {
                let others = without.get(key).unwrap_or(&nothing);
                let own: Vec<i128> = cells.iter().zip(others).map(|(a, b)| a - b).collect();
                prop_assert!(own[1].unsigned_abs() <= u128::from(quote.threshold().unwrap().once()));
                keys += u64::from(!without.contains_key(key) || own.iter().any(|cell| *cell != 0));
                moved.extend(own);
            }
            prop_assert!(without.keys().all(|key| with.contains_key(key)));
            prop_assert!(keys <= most_keys);
            let limit = clipped.map_or(norm.limit(), |weight| norm.with_cell(weight));
            let magnitudes = moved.iter().map(|cell| cell.unsigned_abs());
            let found = match norm {
                Norm::L1(_) => magnitudes.sum(),
                Norm::L2(_) => ceil_sqrt(magnitudes.map(|cell| cell * cell).sum()),
            };
            prop_assert!(found <= u128::from(limit), "{found} {limit}");
        }

        #[test]
        fn the_order_of_rows_does_not_matter(
            persons in any_persons(), norm in any_norm(), most_keys in 1u64..5,
        ) {
            let quote = quote(norm, most_keys, Some(1));
            let secret = RankingSecret::fresh().unwrap();
            let forward = sums(&persons, &quote, &secret, 1);
            let mut backward = persons.clone();
            backward.values_mut().for_each(|rows| rows.reverse());
            prop_assert_eq!(sums(&backward, &quote, &secret, 4), forward);
        }
    }

    #[test]
    fn a_person_with_very_many_keys_keeps_as_many_as_are_allowed_in_any_order() {
        let quote = quote(Norm::L1(1 << 50), 3, Some(7));
        let secret = RankingSecret::fresh().unwrap();
        let rows: Vec<Row> = (0..3 * FEW_KEYS as i64)
            .flat_map(|key| [(key, Some(1)), (key / 2, Some(5))])
            .collect();
        let one = BTreeMap::from([(1, rows.clone())]);
        let (kept, clipped) = sums(&one, &quote, &secret, 1);
        assert_eq!((kept.len(), clipped), (3, 7));
        let reversed = BTreeMap::from([(1, rows.into_iter().rev().collect())]);
        assert_eq!(sums(&reversed, &quote, &secret, 1), (kept.clone(), 7));
        // Another release keeps others, and so does another person.
        let other = RankingSecret::fresh().unwrap();
        assert_ne!(sums(&one, &quote, &other, 1).0, kept);
        let another = BTreeMap::from([(2, one[&1].clone())]);
        assert_ne!(sums(&another, &quote, &secret, 1).0, kept);
    }

    #[test]
    fn groups_that_are_public_are_not_summed_by_key() {
        let mut quote = quote(Norm::L1(5), 1, None);
        let secret = RankingSecret::fresh().unwrap();
        assert!(KeyedSum::new(&quote, secret.clone()).is_some());
        quote.partition = Partition::Public(vec![]);
        assert!(KeyedSum::new(&quote, secret).is_none());
    }
}
