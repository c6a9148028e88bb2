//! Sums, orders and refusals over replies made by hand.

use super::*;

/// A count per key, and its reply.
pub(crate) fn reply(region: &str, keys: &[i64], cells: &[i64], scale: u64) -> Reply {
    let noise = wire::Noise {
        mechanism: wire::Mechanism::DiscreteLaplace.into(),
        scale,
        sensitivity: 1,
    };
    let quote = wire::Quote {
        region: region.into(),
        key_types: vec![wire::DataType::Integer.into()],
        groups: keys
            .iter()
            .map(|key| wire::Group {
                keys: vec![wire::Value::from(&Value::Integer(*key))],
            })
            .collect(),
        measures: vec![wire::Measure {
            kind: wire::MeasureKind::Persons.into(),
            step: 0.5,
            rows: 1,
            ..wire::Measure::default()
        }],
        aggregates: vec![wire::Aggregate {
            function: wire::AggregateFunction::Count.into(),
            measures: vec![0],
            data_type: wire::DataType::Integer.into(),
            fraction_nano: 0,
        }],
        noise: Some(noise),
        ..wire::Quote::default()
    };
    Reply {
        region: region.parse().expect("region"),
        released: wire::Released {
            region: region.into(),
            question_hash: vec![],
            cells: cells.to_vec(),
            noise: Some(noise),
            ..wire::Released::default()
        }
        .encode_to_vec(),
        quote,
        charged: true,
        budget: None,
    }
}

#[test]
fn groups_unite_and_cells_and_variances_add() {
    let merged = Merged::new(&[
        reply("a", &[1, 2], &[10, 20], 4),
        reply("b", &[3, 2], &[30, 200], 2),
    ])
    .expect("merged");
    let keys: Vec<_> = merged.keys.iter().map(|key| key[0].clone()).collect();
    assert_eq!(keys, [1, 2, 3].map(Value::Integer));
    assert_eq!(merged.cells, [[5.0], [110.0], [15.0]]);
    // Variance of Laplace in units of half a count: 2 (b/2)².
    let variance = |group| merged.noise(group, &[(0, 1.0)]).variance();
    assert_eq!([variance(0), variance(1), variance(2)], [8.0, 10.0, 2.0]);
}

/// The same reply from a region that releases keys above a threshold of 5 persons.
fn above_threshold(region: &str, keys: &[i64], cells: &[i64], scale: u64) -> Reply {
    let mut reply = reply(region, keys, cells, scale);
    let mut released = wire::Released::decode(reply.released.as_slice()).expect("bytes");
    released.groups = std::mem::take(&mut reply.quote.groups);
    reply.released = released.encode_to_vec();
    reply.quote.threshold = Some(wire::Threshold {
        measure: 0,
        least: 10,
        most_keys: 3,
        delta_atto: 1_000,
    });
    reply
}

#[test]
fn a_key_that_a_region_did_not_release_adds_neither_persons_nor_noise() {
    let replies = [
        above_threshold("a", &[1, 2], &[10, 20], 4),
        above_threshold("b", &[2, 3], &[200, 30], 2),
        above_threshold("c", &[], &[], 8),
    ];
    let merged = Merged::new(&replies).expect("merged");
    let keys: Vec<_> = merged.keys.iter().map(|key| key[0].clone()).collect();
    assert_eq!(keys, [1, 2, 3].map(Value::Integer));
    assert_eq!(merged.cells, [[5.0], [110.0], [15.0]]);
    let variance = |group| merged.noise(group, &[(0, 1.0)]).variance();
    assert_eq!([variance(0), variance(1), variance(2)], [8.0, 10.0, 2.0]);
    assert_eq!(merged.less(&merged.draws(0).noises()).len(), 3);
    let told: Vec<(f64, usize)> = merged
        .thresholds
        .iter()
        .map(|region| (region.persons, region.keys))
        .collect();
    assert_eq!(told, [(5.0, 2), (5.0, 2), (5.0, 0)]);
    // What the quotes promise can be worked with before any key is known.
    let quotes = replies.map(|reply| (reply.region, reply.quote));
    for (region, quote) in &quotes {
        assert!(check_quote(region, quote, 1, 1).is_ok());
    }
    let made_up = Merged::rehearsal(&quotes).expect("rehearsal");
    assert_eq!(made_up.keys, [[Value::Null]]);
}

#[test]
fn public_groups_and_keys_above_a_threshold_are_not_mixed() {
    let (public, above) = (
        reply("a", &[1], &[10], 4),
        above_threshold("b", &[1], &[10], 4),
    );
    assert!(!agree(&public.quote, &above.quote));
    assert!(Merged::new(&[public.clone(), above.clone()]).is_err());
    let with = |reply: &Reply, change: &dyn Fn(&mut wire::Released)| {
        let mut reply = reply.clone();
        let mut released = wire::Released::decode(reply.released.as_slice()).expect("bytes");
        change(&mut released);
        reply.released = released.encode_to_vec();
        Merged::new(&[reply])
    };
    let group = |keys: Vec<Value>| wire::Group {
        keys: keys.iter().map(wire::Value::from).collect(),
    };
    let one = group(vec![Value::Integer(1)]);
    assert!(with(&above, &|_| {}).is_ok());
    assert!(with(&public, &|r| r.groups = vec![one.clone()]).is_err());
    assert!(with(&above, &|r| r.groups.clear()).is_err());
    assert!(with(&above, &|r| r.groups = vec![group(vec![])]).is_err());
    let text = || group(vec![Value::Text("1".into())]);
    assert!(with(&above, &|r| r.groups = vec![text()]).is_err());
    let region: RegionId = "b".parse().expect("region");
    let mut other = above.quote.clone();
    other.groups = vec![one];
    assert!(check_quote(&region, &other, 1, 1).is_err());
    let mut other = above.quote;
    if let Some(threshold) = &mut other.threshold {
        threshold.measure = 1;
    }
    assert!(check_quote(&region, &other, 1, 1).is_err());
}

/// Cells that were counted between other bounds, from another centre or of other values are no
/// parts of one figure.
#[test]
fn quotes_that_measure_differently_do_not_agree() {
    let quote = wire::Quote {
        measures: vec![wire::Measure {
            kind: wire::MeasureKind::Sum.into(),
            step: 0.5,
            rows: 3,
            factors: vec![wire::Factor {
                low: 0.0,
                high: 10.0,
                centre: 5.0,
            }],
            edges: vec![0.0, 10.0],
            values: vec![wire::Value::from(&Value::Integer(1))],
            total: 7.0,
        }],
        ..reply("a", &[1], &[10], 4).quote
    };
    let agrees_after = |change: &dyn Fn(&mut wire::Quote)| {
        let mut other = quote.clone();
        change(&mut other);
        agree(&quote, &other) || agree(&other, &quote)
    };
    assert!(agrees_after(&|_| {}));
    // Each region's own.
    assert!(agrees_after(&|other| other.region = "b".into()));
    assert!(agrees_after(&|other| other.groups.clear()));
    let changes: [&dyn Fn(&mut wire::Quote); 14] = [
        &|other| other.key_types = vec![wire::DataType::Text.into()],
        &|other| other.key_types.clear(),
        &|other| other.measures.clear(),
        &|other| other.measures[0].kind = wire::MeasureKind::Rows.into(),
        &|other| other.measures[0].rows = 4,
        &|other| other.measures[0].factors[0].low = -1.0,
        &|other| other.measures[0].factors[0].high = 11.0,
        &|other| other.measures[0].factors[0].centre = 4.0,
        &|other| other.measures[0].edges[1] = 11.0,
        &|other| other.measures[0].values.clear(),
        &|other| other.measures[0].total = 8.0,
        &|other| other.aggregates[0].measures = vec![1],
        &|other| other.aggregates[0].function = wire::AggregateFunction::Sum.into(),
        &|other| other.clipped_weight = 1,
    ];
    for (place, change) in changes.into_iter().enumerate() {
        assert!(!agrees_after(change), "change {place}");
    }
}

#[test]
fn draws_have_the_noise_and_repeat() {
    let merged =
        Merged::new(&[reply("a", &[1], &[10], 4), reply("b", &[1], &[30], 2)]).expect("merged");
    let take = |n: usize| {
        let blocks = 0..n.div_ceil(DRAWS_OF_BLOCK) as u64;
        let of_block = |block| {
            let mut draws = merged.draws(block);
            (0..DRAWS_OF_BLOCK)
                .map(|_| merged.less(&draws.noises())[0][0])
                .collect::<Vec<f64>>()
        };
        blocks.flat_map(of_block).take(n).collect::<Vec<f64>>()
    };
    let draws = take(100_000);
    let n = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / n;
    let variance = draws.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    assert!((mean - 20.0).abs() < 0.05, "{mean}");
    assert!((variance / 10.0 - 1.0).abs() < 0.05, "{variance}");
    assert_eq!(take(5), draws[..5]);
    // Around what was released, evenly.
    let pairs = draws.chunks_exact(2);
    assert!(
        pairs
            .map(|pair| pair[0] + pair[1])
            .all(|sum| (sum - 40.0).abs() < 1e-9)
    );
}

#[test]
fn a_vector_that_is_not_as_quoted_is_refused() {
    let good = reply("a", &[1], &[10], 4);
    let with = |change: &dyn Fn(&mut wire::Released)| {
        let mut reply = good.clone();
        let mut released = wire::Released::decode(reply.released.as_slice()).expect("bytes");
        change(&mut released);
        reply.released = released.encode_to_vec();
        Merged::new(&[reply])
    };
    assert!(with(&|_| {}).is_ok());
    assert!(with(&|r| r.cells.push(1)).is_err());
    assert!(with(&|r| r.region = "b".into()).is_err());
    assert!(with(&|r| r.noise = None).is_err());
    assert!(Merged::new(&[reply("a", &[1, 1], &[1, 2], 4)]).is_err());
    let mut other = reply("b", &[1], &[10], 4);
    other.quote.measures[0].rows = 3;
    assert!(Merged::new(&[good.clone(), other]).is_err());
    let mut none = good.quote.clone();
    none.noise = None;
    let a: RegionId = "a".parse().expect("region");
    assert!(check_quote(&a, &good.quote, 1, 1).is_ok());
    assert!(check_quote(&a, &none, 1, 1).is_err());
    assert!(check_quote(&a, &good.quote, 2, 1).is_err());
    assert!(check_quote(&a, &good.quote, 1, 2).is_err());
}
