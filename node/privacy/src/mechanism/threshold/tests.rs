//! The bounds against distributions that are summed directly, and keys of one person counted.

use proptest::prelude::*;
use skerry_proto::Epsilon;

use super::*;

fn noise(mechanism: Mechanism, scale: u64) -> Noise {
    Noise::new(mechanism, scale, 1).unwrap()
}

fn delta(value: f64) -> Delta {
    Delta::try_from(value).unwrap()
}

/// P(noise ≥ t), summed from the least term on.
fn summed(noise: &Noise, t: u64) -> f64 {
    let scale = noise.scale() as f64;
    let weight = |x: i64| match noise.mechanism() {
        Mechanism::DiscreteLaplace => (-(x as f64).abs() / scale).exp(),
        Mechanism::DiscreteGaussian => (-(x as f64).powi(2) / (2.0 * scale * scale)).exp(),
    };
    let reach = 800 * noise.scale() as i64 + 100;
    let sum = |from: i64| (from..=reach).rev().map(weight).sum::<f64>();
    sum(t as i64) / (2.0 * sum(1) + 1.0)
}

fn mechanisms() -> [Mechanism; 2] {
    [Mechanism::DiscreteLaplace, Mechanism::DiscreteGaussian]
}

#[test]
fn the_tail_is_never_below_the_truth() {
    for mechanism in mechanisms() {
        for scale in [1, 2, 3, 7, 20, 101] {
            let noise = noise(mechanism, scale);
            for t in [1, 2, 3, 5, 10, 4 * scale, 9 * scale, 20 * scale] {
                let (bound, truth) = (tail(&noise, t), summed(&noise, t));
                assert!(bound >= truth, "{noise:?} {t}: {bound} < {truth}");
                if mechanism == Mechanism::DiscreteLaplace {
                    assert!(
                        bound <= truth * (1.0 + 1e-9),
                        "{noise:?} {t}: {bound} {truth}"
                    );
                }
            }
        }
    }
    // Of a scale as large as in use the Gaussian bound is near the truth as well.
    let noise = noise(Mechanism::DiscreteGaussian, 1_000);
    for t in [1_000, 3_000, 6_000] {
        let (bound, truth) = (tail(&noise, t), summed(&noise, t));
        assert!(
            (1.0..1.1).contains(&(bound / truth)),
            "{t}: {bound} {truth}"
        );
    }
}

#[test]
fn the_threshold_keeps_its_delta_and_is_the_least_that_does() {
    for mechanism in mechanisms() {
        for scale in [1, 3, 40] {
            for once in [1_u64, 2, 40] {
                for most_keys in [1_u64, 2, 17] {
                    for of in [9e-3, 1e-4, 1e-9] {
                        let noise = noise(mechanism, scale);
                        let found = Threshold::new(&noise, 0, once, most_keys, delta(of)).unwrap();
                        let from = found.least().unsigned_abs() - once;
                        let (keys, p) = (most_keys as f64, summed(&noise, from));
                        assert!(keys * p <= of, "{found:?}");
                        // The chance that one of a person's own keys passes.
                        assert!(-(keys * (-p).ln_1p()).exp_m1() <= of, "{found:?}");
                        if mechanism == Mechanism::DiscreteLaplace && from > 1 {
                            let lower = summed(&noise, from - 1);
                            assert!(keys * lower > of * (1.0 - 1e-9), "{found:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_threshold_needs_a_delta_and_stays_in_reach() {
    let small = noise(Mechanism::DiscreteLaplace, 1);
    let none = Threshold::new(&small, 0, 1, 1, Delta::ZERO);
    assert_eq!(none, Err(MechanismError::Threshold));
    let large = Noise::new(Mechanism::DiscreteLaplace, super::super::MAX_SCALE, 1).unwrap();
    let least = delta(1e-15);
    assert_eq!(
        Threshold::new(&large, 0, 1, 1 << 22, least),
        Err(MechanismError::Threshold)
    );
    assert!(Threshold::new(&large, 0, 1, 1, delta(1e-9)).is_ok());
}

proptest! {
    /// In the sizes that are in use.
    #[test]
    fn a_bound_holds_where_the_threshold_is(
        scale in 1_u64..1 << 45, gaussian in any::<bool>(), once in 1_u64..1 << 33,
        most_keys in 1_u64..1_000, atto in 1_000_u64..9_000_000_000_000_000,
    ) {
        let noise = noise(mechanisms()[usize::from(gaussian)], scale);
        let of = Delta::from_atto(atto).unwrap();
        let found = Threshold::new(&noise, 0, once, most_keys, of).unwrap();
        let from = found.least().unsigned_abs() - once;
        prop_assert!(most_keys as f64 * tail(&noise, from) <= of.to_f64());
    }
}

/// ln of the chance of exactly k among n.
fn ln_binomial(n: u64, k: u64, p: f64) -> f64 {
    let choose: f64 = (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum();
    choose + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()
}

/// P(at least k), and P(at most k), of n with chance p: the tests of Clopper and Pearson 1934.
fn tails(n: u64, k: u64, p: f64) -> (f64, f64) {
    let sum =
        |range: std::ops::RangeInclusive<u64>| range.map(|k| ln_binomial(n, k, p).exp()).sum();
    (sum(k..=n.min(k + 2_000)), sum(0..=k))
}

#[test]
fn a_key_of_one_person_is_released_as_often_as_delta_says_and_no_more() {
    let n = 20_000;
    for mechanism in mechanisms() {
        let noise = noise(mechanism, 1_000);
        let once = 700;
        let of = 9e-3;
        let threshold = Threshold::new(&noise, 0, once, 1, delta(of)).unwrap();
        let sums = |units: u64| -> Vec<KeySum> {
            (0..n)
                .map(|key| KeySum {
                    key: Key::of(&[Value::Integer(key as i64)]),
                    cells: vec![units as i64, 5],
                })
                .collect()
        };
        let released = release_keys(&noise, &threshold, sums(once)).unwrap();
        let (more, fewer) = tails(n, released.len() as u64, of);
        assert!(more > 1e-6, "{mechanism:?}: {} of {n}", released.len());
        assert!(fewer > 1e-6, "{mechanism:?}: {} of {n}", released.len());
        for key in &released {
            assert!(key.cells[0] >= threshold.least());
            assert_eq!(key.cells.len(), 2);
        }
        // A key of many persons is there, and of nobody as good as never.
        let many = release_keys(&noise, &threshold, sums(50_000)).unwrap();
        assert_eq!(many.len() as u64, n);
        assert!(many.windows(2).any(|pair| pair[0].cells != pair[1].cells));
        // A test that can fail: with twice as much of a person the chance is far from δ.
        let doubled = release_keys(&noise, &threshold, sums(2 * once)).unwrap();
        assert!(tails(n, doubled.len() as u64, of).0 < 1e-6);
    }
}

#[test]
fn keys_without_their_cells_are_refused() {
    let noise = noise(Mechanism::DiscreteLaplace, 1);
    let threshold = Threshold::new(&noise, 1, 1, 1, delta(1e-3)).unwrap();
    let sum = |cells: &[i64]| KeySum {
        key: Key::of(&[Value::Null]),
        cells: cells.to_vec(),
    };
    assert!(release_keys(&noise, &threshold, vec![sum(&[1])]).is_err());
    assert!(release_keys(&noise, &threshold, vec![sum(&[1, 2]), sum(&[1, 2, 3])]).is_err());
    assert!(release_keys(&noise, &threshold, vec![]).unwrap().is_empty());
    let other = KeySum {
        key: Key::from_bytes(&[200]),
        cells: vec![0, 1_000],
    };
    assert!(release_keys(&noise, &threshold, vec![other]).is_err());
}

#[test]
fn more_keys_than_a_message_holds_are_cut_by_noisy_persons() {
    let epsilon = Epsilon::try_from(1.0).unwrap();
    let noise = Noise::of(Mechanism::DiscreteLaplace, 1, epsilon, Delta::ZERO).unwrap();
    let threshold = Threshold::new(&noise, 1, 1, 1, delta(1e-3)).unwrap();
    let key = |id: usize, text: usize| ReleasedKey {
        values: vec![Value::Integer(id as i64), Value::Text("x".repeat(text))],
        cells: vec![0, id as i64],
        size: text,
    };
    let total = 2 * limit::GROUPS + limit::GROUPS / 2;
    let mut released = ReleasedKeys::default();
    for chunk in (0..total).collect::<Vec<_>>().chunks(997) {
        released.add(&threshold, chunk.iter().map(|id| key(*id, 1)).collect());
    }
    let (keys, cut) = released.finish(&threshold);
    assert!(cut);
    assert_eq!(keys.len(), limit::GROUPS);
    assert!(keys.is_sorted_by(|a, b| a.values < b.values));
    assert_eq!(keys[0].cells[1], (total - limit::GROUPS) as i64);
    // Long texts: as many as fit, those with the most persons.
    let mut released = ReleasedKeys::default();
    released.add(
        &threshold,
        (0..5).map(|id| key(id, limit::KEY_BYTES / 3)).collect(),
    );
    let (keys, cut) = released.finish(&threshold);
    let ids: Vec<i64> = keys.iter().map(|key| key.cells[1]).collect();
    assert_eq!((ids, cut), (vec![2, 3, 4], true));
    // And few are all there.
    let mut released = ReleasedKeys::default();
    released.add(&threshold, (0..5).rev().map(|id| key(id, 1)).collect());
    let (keys, cut) = released.finish(&threshold);
    assert_eq!((keys.len(), cut, keys[0].cells[1]), (5, false, 0));
}
