//! The privacy claim over whole questions: for generated data and generated questions, removing
//! one person moves the vector before noise by at most the claimed sensitivity.
//!
//! The relations are evaluated by a small reference, so that neither DataFusion nor the node takes
//! part.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod faults;
mod reference;

use std::collections::{BTreeMap, BTreeSet};

use faults::{BREAKING, Fault, HARMLESS};
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use reference::{
    Data, Row,
    generate::{any_data, any_relation, compare, float, policy, tables, text},
    rows,
};
use skerry_privacy::{
    analysis::{Frame, Purpose, Quote, Range, Request, Wording, measure::Measure, quote},
    contribution::{BoundedSum, KeyedSum, Norm, PartialSum, RankingSecret},
    key::Key,
    mechanism::Mechanism,
    question::{Aggregate, Arithmetic, Comparison, Expression, Pair, Query, Spread},
};
use skerry_proto::{DataType, Delta, Epsilon, Value};

fn vector(query: &Query, quote: &Quote, data: &Data) -> Vec<i64> {
    let mut of_persons: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for (id, row) in rows(&query.input, data) {
        of_persons.entry(id).or_default().push(row);
    }
    let mut sum = BoundedSum::new(quote);
    let laid = quote.rows();
    for members in of_persons.values() {
        for row in members {
            let key: Row = query.keys.iter().map(|key| key.evaluate(row)).collect();
            if let Some(group) = laid.groups().iter().position(|group| *group == key) {
                let amounts = laid.measures.iter().map(|measure| amount(measure, row));
                sum.add(group, amounts).unwrap();
            }
        }
        sum.finish_person();
    }
    sum.finish()
}

/// Sums of keys that aren't known beforehand, and the cell of clipped persons.
fn key_sums(
    query: &Query,
    quote: &Quote,
    data: &Data,
    secret: &RankingSecret,
) -> (BTreeMap<Key, Vec<i128>>, i128) {
    let mut of_persons: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
    for (id, row) in rows(&query.input, data) {
        of_persons.entry(id).or_default().push(row);
    }
    let mut sum = KeyedSum::new(quote, secret.clone()).unwrap();
    for (id, members) in &of_persons {
        sum.start_person(&id.to_be_bytes());
        for row in members {
            let key: Row = query.keys.iter().map(|key| key.evaluate(row)).collect();
            let amounts = quote.measures.iter().map(|measure| amount(measure, row));
            sum.add(&Key::of(&key), amounts).unwrap();
        }
    }
    sum.finish_person();
    let sums: Vec<PartialSum> = sum.take();
    (sums.into_iter().collect(), sum.clipped())
}

fn amount(measure: &Measure, row: &[Value]) -> Option<i64> {
    let arguments = measure.arguments().into_iter();
    measure.amount(
        &arguments
            .map(|argument| argument.evaluate(row))
            .collect::<Row>(),
    )
}

fn any_query(kept: bool) -> impl Strategy<Value = Query> {
    let band = Expression::Case {
        branches: vec![(
            compare(Comparison::Equal, Expression::Column(1), text("a")),
            text("first"),
        )],
        otherwise: Some(text("rest").into()),
    };
    let costly = compare(Comparison::Greater, Expression::Column(2), float(20.0));
    let by_cost = Expression::Case {
        branches: vec![
            (costly.clone(), text("costly")),
            (costly.clone(), Expression::Column(1)),
        ],
        otherwise: None,
    };
    let hundreds = Expression::Arithmetic {
        operator: Arithmetic::Divide,
        left: Expression::Cast {
            value: Expression::Column(2).into(),
            to: DataType::Integer,
        }
        .into(),
        right: Expression::Literal {
            value: Value::Integer(100),
            data_type: DataType::Integer,
        }
        .into(),
    };
    let keys = prop_oneof![
        1 => Just(vec![]),
        4 => Just(vec![Expression::Column(1)]),
        1 => Just(vec![band]),
        1 => Just(vec![by_cost]),
        1 => Just(vec![costly, Expression::Column(1)]),
        1 => Just(vec![hundreds]),
    ];
    let doubled = Expression::Arithmetic {
        operator: Arithmetic::Add,
        left: Expression::Column(2).into(),
        right: Expression::Column(2).into(),
    };
    let doubled_again = doubled.clone();
    let aggregate = prop_oneof![
        Just(Aggregate::CountRows(None)),
        Just(Aggregate::CountRows(Some(Expression::Column(1)))),
        Just(Aggregate::CountPersons(None)),
        Just(Aggregate::Sum(Expression::Column(2))),
        Just(Aggregate::Sum(doubled)),
        Just(Aggregate::Average(Expression::Column(2))),
        Just(Aggregate::Spread {
            statistic: Spread::VarianceSample,
            argument: Expression::Column(2),
        }),
        Just(Aggregate::Pair {
            statistic: Pair::Correlation,
            y: Expression::Column(2),
            x: Expression::Cast {
                value: Expression::Column(0).into(),
                to: DataType::Float,
            },
        }),
        Just(Aggregate::Pair {
            statistic: Pair::Slope,
            y: Expression::Column(2),
            x: doubled_again,
        }),
        Just(Aggregate::Quantile {
            argument: Expression::Column(2),
            fraction_nano: 500_000_000,
        }),
        Just(Aggregate::CountValues(Expression::Column(1))),
    ];
    (
        any_relation(kept),
        keys,
        prop_oneof![
            2 => proptest::collection::vec(aggregate, 1..4),
            // Alone, its bound is the number of groups that a person reaches.
            1 => Just(vec![Aggregate::CountPersons(None)]),
        ],
    )
        .prop_map(|(input, keys, aggregates)| Query {
            input,
            keys,
            aggregates,
        })
}

fn without(data: &Data, id: i64) -> Data {
    let mut less = data.clone();
    for name in ["persons", "visits"] {
        if let Some(table) = less.get_mut(name) {
            table.rows.retain(|row| row[0] != Value::Integer(id));
        }
    }
    less
}

fn request() -> Request {
    Request {
        epsilon: Epsilon::try_from(1.0).unwrap(),
        delta: Delta::ZERO,
        max_groups: None,
        frame: vec![],
        purpose: Purpose::Answer,
        count_clipped: false,
        mechanism: None,
    }
}

/// All that a request can say.
fn any_request() -> impl Strategy<Value = Request> {
    let mechanism = prop_oneof![
        2 => Just(None),
        1 => Just(Some(Mechanism::DiscreteLaplace)),
        2 => Just(Some(Mechanism::DiscreteGaussian)),
    ];
    (
        any::<bool>(),
        proptest::option::of(1u64..4),
        prop_oneof![3 => Just(Purpose::Answer), 1 => Just(Purpose::Totals)],
        any::<bool>(),
        mechanism,
    )
        .prop_map(
            |(gaussian, max_groups, purpose, count_clipped, mechanism)| Request {
                // With a large δ and many groups the Gaussian is the smaller noise.
                delta: if gaussian {
                    Delta::try_from(9e-3).unwrap()
                } else {
                    Delta::ZERO
                },
                max_groups,
                purpose,
                count_clipped,
                mechanism,
                ..request()
            },
        )
}

/// Rows, least value, width, and total of one measure.
type Bounds = (u64, f64, f64, Option<f64>);

/// Bounds as a coordinator would send them, around the node's own.
fn any_bounds() -> impl Strategy<Value = Option<Vec<Bounds>>> {
    let bounds = (
        1u64..6,
        -80.0..80.0f64,
        0.0..200.0f64,
        proptest::option::of(0.1..500.0f64),
    );
    proptest::option::of(proptest::collection::vec(bounds, 24))
}

/// The frame for these measures.
fn framed(measures: &[Measure], bounds: &[Bounds]) -> Vec<Frame> {
    measures
        .iter()
        .zip(bounds)
        .map(|(_, (rows, low, width, total))| Frame {
            rows: *rows,
            ranges: vec![
                Range {
                    low: *low,
                    high: low + width,
                    centre: low / 3.0,
                };
                2
            ],
            values: ["a", "x"].map(|text| Value::Text(text.into())).to_vec(),
            total: *total,
        })
        .collect()
}

/// A question, data, and a person in them.
#[derive(Debug, Clone)]
struct Case {
    query: Query,
    data: Data,
    who: i64,
    max_rows: u64,
    request: Request,
    bounds: Option<Vec<Bounds>>,
}

fn any_case() -> impl Strategy<Value = Case> {
    (
        any_query(false),
        any_data(),
        1i64..5,
        1u64..6,
        any_request(),
        any_bounds(),
    )
        .prop_map(|(query, data, who, max_rows, request, bounds)| Case {
            query,
            data,
            who,
            max_rows,
            request,
            bounds,
        })
}

impl Case {
    /// Nothing if the question is refused.
    fn quote(&self) -> Option<Quote> {
        let policy = policy(self.max_rows);
        let ask = |request: &Request| quote(&self.query, &Wording::default(), &policy, request);
        let mut request = self.request.clone();
        if let (Ok(free), Some(bounds)) = (ask(&request), &self.bounds) {
            request.frame = framed(free.rows().measures, bounds);
        }
        ask(&request).ok()
    }

    /// The vector before noise, with and without the person.
    fn vectors(&self, quote: &Quote, fault: Option<Fault>) -> (Vec<i64>, Vec<i64>) {
        let mut data = self.data.clone();
        data.fault = fault;
        let vector = match fault {
            None => vector,
            Some(_) => faults::vector,
        };
        let without = vector(&self.query, quote, &without(&data, self.who));
        (vector(&self.query, quote, &data), without)
    }
}

/// Whether the noise covers what the person moves; another layout is never covered.
fn is_covered(quote: &Quote, (with, without): &(Vec<i64>, Vec<i64>), limit: u64) -> bool {
    let limit = u128::from(limit);
    let mut moved = with
        .iter()
        .zip(without)
        .map(|(a, b)| (i128::from(*a) - i128::from(*b)).unsigned_abs());
    with.len() == without.len()
        && match (quote.noise.mechanism(), quote.norm) {
            (Mechanism::DiscreteLaplace, Norm::L1(_)) => moved.sum::<u128>() <= limit,
            (Mechanism::DiscreteGaussian, Norm::L2(_)) => {
                let square = moved.try_fold(0u128, |sum, cell| {
                    cell.checked_mul(cell)
                        .and_then(|square| sum.checked_add(square))
                });
                square.is_some_and(|square| square <= limit * limit)
            }
            (Mechanism::DiscreteLaplace, Norm::L2(_))
            | (Mechanism::DiscreteGaussian, Norm::L1(_)) => false,
        }
}

/// So many cases, or as many as `PROPTEST_CASES` says.
fn cases(usual: u32) -> ProptestConfig {
    let cases =
        std::env::var("PROPTEST_CASES").map_or(usual, |text| text.parse().expect("PROPTEST_CASES"));
    ProptestConfig {
        cases,
        // Refused questions don't count as cases.
        max_global_rejects: cases.max(1_024),
        ..ProptestConfig::default()
    }
}

/// The same cases each time, with what they cost.
fn fixed_cases() -> impl Iterator<Item = (Case, Quote)> {
    let strategy = any_case();
    let mut runner = TestRunner::deterministic();
    std::iter::from_fn(move || Some(strategy.new_tree(&mut runner).unwrap().current()))
        .filter_map(|case| case.quote().map(|quote| (case, quote)))
}

/// Cases in which a fault has to show.
const ENOUGH: usize = 12_000;

/// The test below would see each of these mistakes.
#[test]
fn each_fault_that_breaks_the_claim_is_found() {
    let mut unfound = BREAKING.to_vec();
    for (tried, (case, quote)) in fixed_cases().take(ENOUGH).enumerate() {
        unfound.retain(|fault| {
            let limit = Fault::covered(Some(*fault), &quote);
            let covered = is_covered(&quote, &case.vectors(&quote, Some(*fault)), limit);
            if !covered {
                println!("{fault:?}: found by case {}", tried + 1);
            }
            covered
        });
        if unfound.is_empty() {
            return;
        }
    }
    panic!("not found in {ENOUGH} cases: {unfound:?}");
}

/// Mistakes before the clip make answers wrong, and move no vector further than the noise covers.
#[test]
fn each_fault_that_the_clip_makes_harmless_has_no_excess() {
    let mut unseen = HARMLESS.to_vec();
    for (case, quote) in fixed_cases().take(ENOUGH / 12) {
        let right = case.vectors(&quote, None);
        for fault in HARMLESS {
            let vectors = case.vectors(&quote, Some(fault));
            let limit = Fault::covered(Some(fault), &quote);
            assert!(is_covered(&quote, &vectors, limit), "{fault:?}: {case:?}");
            if vectors != right {
                unseen.retain(|other| *other != fault);
            }
        }
    }
    assert!(unseen.is_empty(), "these change no answer: {unseen:?}");
}

/// Without a fault the plain sum, in which faults are put, is the real one.
#[test]
fn the_plain_sum_is_the_real_one() {
    let mut seen = BTreeSet::new();
    for (case, quote) in fixed_cases().take(ENOUGH / 12) {
        let real = vector(&case.query, &quote, &case.data);
        assert_eq!(faults::vector(&case.query, &quote, &case.data), real);
        seen.insert((quote.asks_totals(), quote.clipped.is_some()));
    }
    assert_eq!(seen.len(), 3, "answers, with clipped persons, totals");
}

proptest! {
    #![proptest_config(cases(4_000))]

    #[test]
    fn removing_one_person_moves_the_vector_by_at_most_the_sensitivity(case in any_case()) {
        let Some(quote) = case.quote() else {
            return Err(TestCaseError::reject("refused"));
        };
        let vectors = case.vectors(&quote, None);
        prop_assert!(is_covered(&quote, &vectors, Fault::covered(None, &quote)), "{vectors:?}");
    }

}

proptest! {
    // Most questions are refused, or have public keys.
    #![proptest_config(ProptestConfig { max_global_rejects: 20_000, ..cases(400) })]

    /// Keys without public values: what one person moves is within the sensitivity over all keys, the keys
    /// that the person alone has are no more than the threshold is for, and none of them has more
    /// than one person's units.
    #[test]
    fn keys_of_one_person_alone_are_few_and_hold_one_person(
        query in any_query(false), data in any_data(), who in 1i64..5, max_rows in 1u64..6,
        request in any_request(), alone in any::<bool>(),
    ) {
        let mut query = query;
        if alone {
            query.keys = vec![Expression::Column(2)];
        } else {
            query.keys.push(Expression::Column(2));
        }
        let ask = |request: &Request| quote(&query, &Wording::default(), &policy(max_rows), request);
        let quote = match ask(&request) {
            Ok(quote) if quote.threshold().is_some() => quote,
            Ok(_) => return Err(TestCaseError::reject("public")),
            Err(refusal) => {
                // With a δ, what lacks public values is never a key; an aggregate's argument may, such as a
                // word that is declared never NULL and can be nothing else.
                let of_key = refusal.message.starts_with("GROUP BY");
                if refusal.code == skerry_proto::ErrorCode::NoPublicValues && of_key {
                    prop_assert_eq!(request.delta, Delta::ZERO, "{}", refusal);
                }
                return Err(TestCaseError::reject("refused"));
            }
        };
        let threshold = *quote.threshold().unwrap();
        // δ is no more than was asked, and all of the threshold's part is charged as such.
        let gaussian = quote.noise.mechanism() == Mechanism::DiscreteGaussian;
        let whole = if gaussian { request.delta.atto() / 2 } else { request.delta.atto() };
        prop_assert_eq!(threshold.delta().atto(), whole);
        prop_assert_eq!(quote.loss().threshold_delta_atto(), whole);
        if let Some(most) = request.max_groups {
            prop_assert!(threshold.most_keys() <= most);
        }
        let secret = RankingSecret::fresh().unwrap();
        let (with, with_clipped) = key_sums(&query, &quote, &data, &secret);
        let (without, without_clipped) =
            key_sums(&query, &quote, &without(&data, who), &secret);
        let mut moved = vec![with_clipped - without_clipped];
        let (mut own_keys, once) = (0, i128::from(threshold.once()));
        for (key, cells) in &with {
            match without.get(key) {
                Some(others) => moved.extend(cells.iter().zip(others).map(|(a, b)| a - b)),
                None => {
                    own_keys += 1;
                    prop_assert!(cells[threshold.persons_cell()] <= once);
                    moved.extend(cells);
                }
            }
        }
        prop_assert!(without.keys().all(|key| with.contains_key(key)));
        prop_assert!(own_keys <= threshold.most_keys());
        let moved = moved.into_iter().map(i128::unsigned_abs);
        let limit = u128::from(quote.noise.sensitivity());
        if gaussian {
            prop_assert!(moved.map(|cell| cell * cell).sum::<u128>() <= limit * limit);
        } else {
            prop_assert!(moved.sum::<u128>() <= limit);
        }
    }

    /// For data that keep every declaration nobody is clipped, and no row is in no group: the
    /// claimed norm is wide enough, and so is the image of the keys.
    #[test]
    fn honest_persons_are_not_clipped(
        query in any_query(true),
        visits in proptest::collection::vec(
            (1i64..5, "[xy]", -50.0..200.0f64, 19_000i32..19_101), 0..14),
        max_rows in 1u64..6,
    ) {
        let Ok(quote) = quote(&query, &Wording::default(), &policy(max_rows), &request()) else {
            return Err(TestCaseError::reject("refused"));
        };
        let persons = (1..5).map(|id| vec![
            Value::Integer(id), Value::Text("b".into()), Value::Integer(40)]);
        let visits = visits.into_iter().map(|(id, kind, cost, day)| vec![
            Value::Integer(id), Value::Text(kind), Value::Float(cost), Value::Date(day)]);
        let mut data = tables(persons.collect(), visits.collect());
        let mut seen = BTreeMap::new();
        if let Some(visits) = data.get_mut("visits") {
            visits.rows.retain(|row| {
                let count = seen.entry(row[0].clone()).or_insert(0u64);
                *count += 1;
                *count <= max_rows
            });
        }
        // Every row of honest data is in a group.
        for (_, row) in rows(&query.input, &data) {
            let key: Row = query.keys.iter().map(|key| key.evaluate(&row)).collect();
            prop_assert!(quote.groups().contains(&key), "{key:?} is no group");
        }
        let mut unbounded = quote.clone();
        unbounded.norm = Norm::L1(1 << 61);
        prop_assert_eq!(vector(&query, &quote, &data), vector(&query, &unbounded, &data));
    }
}
