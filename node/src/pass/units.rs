//! Trusted. Units of a batch's rows, in their order: where persons begin and end.

use std::{cmp::Ordering, ops::Range};

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, StringViewArray},
        datatypes::{DataType as ArrowType, Int64Type},
    },
    common::{Result as EngineResult, internal_err},
};

use crate::prepared::rise;

/// The units of some rows.
#[derive(Debug, Clone, Copy)]
pub enum Units<'a> {
    /// Integers.
    Integers(&'a [i64]),
    /// Texts.
    Texts(&'a StringViewArray),
}

impl<'a> Units<'a> {
    /// Of a column.
    ///
    /// # Errors
    /// If a unit is missing, or of another type.
    pub fn of(column: &'a ArrayRef) -> EngineResult<Self> {
        if column.null_count() > 0 {
            return internal_err!("a row belongs to nobody");
        }
        Ok(match column.data_type() {
            ArrowType::Int64 => Self::Integers(column.as_primitive::<Int64Type>().values()),
            ArrowType::Utf8View => Self::Texts(column.as_string_view()),
            _ => return internal_err!("the unit is neither an integer nor a text"),
        })
    }

    /// How many rows.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Integers(units) => units.len(),
            Self::Texts(units) => units.len(),
        }
    }

    /// How a row's unit compares with one of another batch. Units of one node are of one type.
    #[must_use]
    pub fn compare(self, row: usize, other: Self, other_row: usize) -> Ordering {
        match (self, other) {
            (Self::Integers(own), Self::Integers(other)) => own[row].cmp(&other[other_row]),
            (Self::Texts(own), Self::Texts(other)) => own.value(row).cmp(other.value(other_row)),
            (Self::Integers(_), Self::Texts(_)) => Ordering::Less,
            (Self::Texts(_), Self::Integers(_)) => Ordering::Greater,
        }
    }

    /// Whether both are of one type.
    #[must_use]
    pub fn alike(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Integers(_), Self::Integers(_)) | (Self::Texts(_), Self::Texts(_))
        )
    }

    /// Whether units never fall from row to row.
    #[must_use]
    pub fn rise(self) -> bool {
        match self {
            Self::Integers(units) => rise(units),
            Self::Texts(units) => {
                (1..units.len()).all(|row| units.value(row - 1) <= units.value(row))
            }
        }
    }

    /// The first row from `from` on whose unit isn't less than the other's; `len` if none.
    #[must_use]
    pub fn not_before(self, from: usize, other: Self, other_row: usize) -> usize {
        first(from, self.len(), |row| {
            self.compare(row, other, other_row) != Ordering::Less
        })
    }

    /// Writes the end of each person's rows over `ends`, the last one's too.
    pub fn ends(self, ends: &mut Vec<usize>) {
        ends.clear();
        match self {
            Self::Integers(units) => inner_ends(units, ends),
            Self::Texts(units) => {
                for row in 1..units.len() {
                    if units.value(row - 1) != units.value(row) {
                        ends.push(row);
                    }
                }
            }
        }
        if self.len() > 0 {
            ends.push(self.len());
        }
    }

    /// For each row its person's row on the other side, which has one row a person; nothing where that
    /// has more, lacks one of the persons, or units are texts.
    #[must_use]
    pub fn partners(self, other: Self) -> Option<Vec<u32>> {
        let (Self::Integers(own), Self::Integers(other)) = (self, other) else {
            return None;
        };
        if !rise_strictly(other) {
            return None;
        }
        let mut ends = vec![];
        self.ends(&mut ends);
        // How far the partner of each row is behind that of the row before: first where a person
        // begins, then added up, for a loop over each person's few rows would be guessed wrong at its end.
        let mut partners = vec![0_u32; own.len()];
        let (mut start, mut partner, mut before) = (0, 0, 0);
        for end in ends {
            while *other.get(partner)? < own[start] {
                partner += 1;
            }
            if other[partner] != own[start] {
                return None;
            }
            partners[start] = (partner - before) as u32;
            (start, before) = (end, partner);
        }
        let mut partner = 0;
        for step in &mut partners {
            partner += *step;
            *step = partner;
        }
        Some(partners)
    }
}

/// Appends the end of each person's rows but the last one's; compiled as [`rise`] is.
///
/// Rows that differ from the next are bits of a word, and each bit is looked for: a branch a row would often be guessed
/// wrong.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2", "x86_64+sse4.2"))]
fn inner_ends(units: &[i64], ends: &mut Vec<usize>) {
    const ROWS: usize = u64::BITS as usize;
    let next = units.get(1..).unwrap_or_default();
    let (words, rest) = units.split_at(next.len()).0.as_chunks::<ROWS>();
    let (next_words, next_rest) = next.as_chunks::<ROWS>();
    let mut add = |at: usize, mut differ: u64| {
        while differ != 0 {
            ends.push(at * ROWS + differ.trailing_zeros() as usize + 1);
            differ &= differ - 1;
        }
    };
    for (at, (own, next)) in words.iter().zip(next_words).enumerate() {
        let bits = own.iter().zip(next).enumerate();
        let differ = bits.fold(0, |differ, (bit, (one, next))| {
            differ | u64::from(one != next) << bit
        });
        add(at, differ);
    }
    let bits = rest.iter().zip(next_rest).enumerate();
    let differ = bits.fold(0, |differ, (bit, (one, next))| {
        differ | u64::from(one != next) << bit
    });
    add(words.len(), differ);
}

/// Whether each unit is greater than the one before; compiled as [`rise`] is.
#[multiversion::multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2", "x86_64+sse4.2"))]
fn rise_strictly(units: &[i64]) -> bool {
    let pairs = units.iter().zip(units.iter().skip(1));
    pairs.fold(true, |rise, (one, next)| rise & (one < next))
}

/// Rows of one person on both sides, or of the left side alone: some persons' then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meeting {
    /// Of the left side.
    pub left: Range<usize>,
    /// Of the right side; empty: nobody of these is there.
    pub right: Range<usize>,
}

/// The first row from `from` on, before `end`, for which a condition holds that goes on holding; `end` if
/// there is none. By steps that double, then by halves.
fn first(from: usize, end: usize, holds: impl Fn(usize) -> bool) -> usize {
    let mut step = 1;
    let mut low = from;
    let mut high = from;
    while high < end && !holds(high) {
        low = high + 1;
        high += step;
        step *= 2;
    }
    let mut high = high.min(end);
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Who meets whom, in the left side's order; the unmatched only if they are asked for. Units of two
/// types are nobody's.
#[must_use]
pub fn meetings(left: Units<'_>, right: Units<'_>, unmatched: bool) -> Vec<Meeting> {
    match (left, right) {
        (Units::Integers(left), Units::Integers(right)) => meet(
            (left.len(), |row| left[row]),
            (right.len(), |row| right[row]),
            unmatched,
        ),
        (Units::Texts(left), Units::Texts(right)) => meet(
            (left.len(), |row| left.value(row)),
            (right.len(), |row| right.value(row)),
            unmatched,
        ),
        (Units::Integers(_), Units::Texts(_)) | (Units::Texts(_), Units::Integers(_)) => {
            let all = Meeting {
                left: 0..left.len(),
                right: 0..0,
            };
            Some(all)
                .filter(|all| unmatched && !all.left.is_empty())
                .into_iter()
                .collect()
        }
    }
}

fn meet<U: Ord>(
    (left_rows, left): (usize, impl Fn(usize) -> U),
    (right_rows, right): (usize, impl Fn(usize) -> U),
    unmatched: bool,
) -> Vec<Meeting> {
    let mut meetings = vec![];
    let (mut l, mut r) = (0, 0);
    let alone = |rows: Range<usize>, meetings: &mut Vec<Meeting>| {
        if unmatched && !rows.is_empty() {
            meetings.push(Meeting {
                left: rows,
                right: 0..0,
            });
        }
    };
    while l < left_rows && r < right_rows {
        let (one, other) = (left(l), right(r));
        match one.cmp(&other) {
            Ordering::Less => {
                let next = first(l, left_rows, |row| left(row) >= other);
                alone(l..next, &mut meetings);
                l = next;
            }
            Ordering::Greater => r = first(r, right_rows, |row| right(row) >= one),
            Ordering::Equal => {
                // Persons have few rows: a search would take longer.
                let (mut left_end, mut right_end) = (l + 1, r + 1);
                while left_end < left_rows && left(left_end) == one {
                    left_end += 1;
                }
                while right_end < right_rows && right(right_end) == other {
                    right_end += 1;
                }
                meetings.push(Meeting {
                    left: l..left_end,
                    right: r..right_end,
                });
                (l, r) = (left_end, right_end);
            }
        }
    }
    alone(l..left_rows, &mut meetings);
    meetings
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sorted(most: usize) -> impl Strategy<Value = Vec<i64>> {
        proptest::collection::vec(-20_i64..20, 0..most).prop_map(|mut units| {
            units.sort_unstable();
            units
        })
    }

    proptest! {
        /// Where the other side has one row a person, and all of them.
        #[test]
        fn each_row_has_its_partner(
            other in proptest::collection::btree_set(-200_i64..200, 1..60),
            rows in proptest::collection::vec(any::<proptest::sample::Index>(), 0..100),
        ) {
            let other: Vec<i64> = other.into_iter().collect();
            let mut expected: Vec<u32> =
                rows.iter().map(|row| row.index(other.len()) as u32).collect();
            expected.sort_unstable();
            let own: Vec<i64> = expected.iter().map(|row| other[*row as usize]).collect();
            let partners = Units::Integers(&own).partners(Units::Integers(&other));
            prop_assert_eq!(partners, Some(expected));
        }

        #[test]
        fn persons_end_where_the_unit_changes(
            rows in proptest::collection::vec(1_usize..90, 0..9),
        ) {
            let units = rows.iter().zip(0..).flat_map(|(rows, unit)| std::iter::repeat_n(unit, *rows));
            let units: Vec<i64> = units.collect();
            let mut ends = vec![7];
            Units::Integers(&units).ends(&mut ends);
            let expected: Vec<usize> = rows.iter().scan(0, |end, rows| {
                *end += rows;
                Some(*end)
            }).collect();
            prop_assert_eq!(ends, expected);
        }

        #[test]
        fn all_pairs_of_one_person_meet(left in sorted(60), right in sorted(60)) {
            let texts = |units: &[i64]| {
                StringViewArray::from_iter_values(units.iter().map(|unit| format!("{:03}", unit + 50)))
            };
            let (left_texts, right_texts) = (texts(&left), texts(&right));
            for (l, r) in [
                (Units::Integers(&left), Units::Integers(&right)),
                (Units::Texts(&left_texts), Units::Texts(&right_texts)),
            ] {
                let met = meetings(l, r, true);
                let pairs: Vec<(usize, usize)> = met
                    .iter()
                    .flat_map(|meeting| {
                        let rows = meeting.right.clone();
                        meeting.left.clone().flat_map(move |l| rows.clone().map(move |r| (l, r)))
                    })
                    .collect();
                let expected: Vec<(usize, usize)> = (0..left.len())
                    .flat_map(|l| (0..right.len()).map(move |r| (l, r)))
                    .filter(|(l, r)| left[*l] == right[*r])
                    .collect();
                prop_assert_eq!(&pairs, &expected);
                let rows: Vec<usize> = met.iter().flat_map(|meeting| meeting.left.clone()).collect();
                prop_assert_eq!(rows, (0..left.len()).collect::<Vec<_>>());
                let matched: Vec<Meeting> = met.into_iter().filter(|m| !m.right.is_empty()).collect();
                prop_assert_eq!(meetings(l, r, false), matched);
                let mut ends = vec![];
                l.ends(&mut ends);
                let expected: Vec<usize> = (1..=left.len())
                    .filter(|row| left.get(*row) != left.get(row - 1))
                    .collect();
                prop_assert_eq!(ends, expected);
                prop_assert!(l.rise() && l.alike(r));
                if let Some(partners) = l.partners(r) {
                    let single: Vec<(usize, usize)> =
                        partners.iter().map(|row| *row as usize).enumerate().collect();
                    prop_assert_eq!(single, pairs);
                } else if let (Units::Integers(left), Units::Integers(right)) = (l, r) {
                    let alone = |unit: &i64| right.iter().filter(|other| *other == unit).count() == 1;
                    prop_assert!(!left.iter().chain(right).all(alone));
                }
            }
        }
    }
}
