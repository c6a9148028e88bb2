//! Many persons at once are the same as one after the other.

use proptest::prelude::*;

use super::{
    super::tests::{any_person, any_quote, any_quote_of_sums},
    *,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Many persons at once are the same as one after the other.
    #[test]
    fn whole_persons_add_up_to_the_same(
        persons in proptest::collection::vec(any_person(), 0..20),
        (quote, _) in any_quote(),
        small: bool,
        outside in any::<u64>(),
        constant in proptest::option::of(-3_i64..1 << 34),
        before in any_person(),
    ) {
        // Small amounts are within the norm, so that both paths are taken.
        let amount = |amount: Option<i64>| match (constant, small) {
            (Some(constant), _) => Some(constant),
            (None, true) => amount.map(|amount| amount % (1 << 12)),
            (None, false) => amount,
        };
        let rows: Vec<Vec<_>> = persons
            .iter()
            .map(|person| {
                person
                    .iter()
                    .map(|(group, [a, b, c, d])| (*group, [*a, amount(*b), *c, *d]))
                    .collect()
            })
            .collect();
        let mut one = BoundedSum::new(&quote);
        let mut all = BoundedSum::new(&quote);
        for sum in [&mut one, &mut all] {
            for (group, amounts) in &before {
                sum.add(*group, amounts.iter().copied()).unwrap();
            }
        }
        one.finish_person();
        // Some rows before the first person's, which are not looked at.
        let (mut groups, mut ends) = (vec![7_000; 2], vec![]);
        let mut columns: [Vec<i64>; 4] = std::array::from_fn(|_| vec![i64::MIN; 2]);
        let mut known: [Vec<bool>; 4] = std::array::from_fn(|_| vec![true; 2]);
        for person in &rows {
            for (group, amounts) in person {
                let none = outside >> (groups.len() % 64) & 7 == 0;
                groups.push(if none { NO_GROUP } else { *group as u32 });
                for (index, amount) in amounts.iter().enumerate() {
                    columns[index].push(amount.unwrap_or(0));
                    known[index].push(amount.is_some());
                }
                if !none {
                    one.add(*group, amounts.iter().copied()).unwrap();
                }
            }
            one.finish_person();
            if !person.is_empty() {
                ends.push(groups.len());
            }
        }
        let amounts: Vec<Amounts<'_>> = (0..4)
            .map(|index| match constant {
                Some(constant) if index == 1 => Amounts::Same(constant),
                Some(_) | None => Amounts::Rows {
                    amounts: &columns[index],
                    known: (!known[index].iter().all(|known| *known)).then_some(&*known[index]),
                },
            })
            .collect();
        all.add_persons(2, &ends, &groups, &amounts).unwrap();
        prop_assert_eq!(all.finish(), one.finish());
    }
}

/// Amounts as they mostly are, and as they may be.
fn any_amounts() -> impl Strategy<Value = Vec<Option<i64>>> {
    let plain = (0_i64..1 << 12).prop_map(Some);
    let any = proptest::option::of(prop_oneof![-50_i64..1 << 12, any::<i64>()]);
    prop_oneof![
        3 => proptest::collection::vec(plain, 60),
        1 => proptest::collection::vec(any, 60),
        1 => proptest::option::of(-3_i64..1 << 12).prop_map(|amount| vec![amount; 60]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    /// Where nothing but amounts is added, persons' sums are taken from one sum.
    #[test]
    fn sums_of_whole_persons_add_up_to_the_same(
        lengths in proptest::collection::vec(1_usize..7, 0..9),
        groups in proptest::collection::vec(0_u32..4, 60),
        none in prop_oneof![Just(None), any::<u64>().prop_map(Some)],
        columns in (any_amounts(), any_amounts()),
        (quote, _) in any_quote_of_sums(),
    ) {
        let columns = [columns.0, columns.1];
        let groups: Vec<u32> = (0..).zip(&groups)
            .map(|(row, group)| match none {
                Some(none) if none >> row & 1 == 1 => NO_GROUP,
                Some(_) | None => *group,
            })
            .collect();
        let mut one = BoundedSum::new(&quote);
        let (mut ends, mut end) = (vec![], 0);
        for length in lengths {
            for row in end..end + length {
                if groups[row] != NO_GROUP {
                    let amounts = columns.iter().map(|amounts| amounts[row]);
                    one.add(groups[row] as usize, amounts).unwrap();
                }
            }
            one.finish_person();
            end += length;
            ends.push(end);
        }
        let numbers = columns.each_ref().map(|column| {
            column.iter().map(|amount| amount.unwrap_or(0)).collect::<Vec<i64>>()
        });
        let known = columns.each_ref().map(|column| {
            column.iter().map(Option::is_some).collect::<Vec<bool>>()
        });
        let amounts = [0, 1].map(|index| {
            let first = columns[index][0];
            match first {
                _ if columns[index].iter().any(|amount| *amount != first) => Amounts::Rows {
                    amounts: &numbers[index],
                    known: known[index].contains(&false).then_some(&*known[index]),
                },
                Some(amount) => Amounts::Same(amount),
                None => Amounts::Nothing,
            }
        });
        let mut all = BoundedSum::new(&quote);
        all.add_persons(0, &ends, &groups, &amounts).unwrap();
        prop_assert_eq!(all.finish(), one.finish());
    }
}

#[test]
fn a_group_that_is_not_there_is_refused() {
    let quote = super::super::tests::some_quote();
    let mut sum = BoundedSum::new(&quote);
    let amounts = [Amounts::Nothing; 4];
    assert_eq!(
        sum.add_persons(0, &[2], &[0, 4], &amounts),
        Err(OutsideGroups)
    );
    assert_eq!(
        sum.add_persons(0, &[3], &[0, 1], &amounts),
        Err(OutsideGroups)
    );
    assert_eq!(
        sum.add_persons(0, &[1], &[0], &amounts[..2]),
        Err(OutsideGroups)
    );
}
