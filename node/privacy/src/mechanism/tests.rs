//! The noise against its exact distribution, and the guarantee against sums over it.
//!
//! The statistical tests have fixed sizes. Each fails by chance with a probability below 1e-9.

use proptest::prelude::*;

use super::*;

const SAMPLES: usize = 60_000;

fn unit(mechanism: Mechanism, scale: u64) -> Noise {
    Noise::new(mechanism, scale, 1).unwrap()
}

fn draw(noise: &Noise) -> Vec<i64> {
    release(noise, &vec![0; SAMPLES]).unwrap()
}

/// P(X ≤ x) for x from −reach to reach, from the definition.
fn cumulative(noise: &Noise, reach: i64) -> Vec<f64> {
    let scale = noise.scale() as f64;
    let weights: Vec<f64> = (-reach..=reach)
        .map(|x| match noise.mechanism() {
            Mechanism::DiscreteLaplace => (-(x as f64).abs() / scale).exp(),
            Mechanism::DiscreteGaussian => (-(x as f64).powi(2) / (2.0 * scale * scale)).exp(),
        })
        .collect();
    let total: f64 = weights.iter().sum();
    weights
        .iter()
        .scan(0.0, |sum, weight| {
            *sum += weight / total;
            Some(*sum)
        })
        .collect()
}

#[test]
fn noise_has_its_exact_distribution() {
    // Dvoretzky, Kiefer, Wolfowitz with Massart's constant, for any distribution:
    // P(largest difference of cumulative shares > t) ≤ 2·exp(−2nt²) = 1e-10.
    let allowed = ((2e10_f64).ln() / (2.0 * SAMPLES as f64)).sqrt();
    for mechanism in [Mechanism::DiscreteLaplace, Mechanism::DiscreteGaussian] {
        for scale in [1, 3, 1_000] {
            let noise = unit(mechanism, scale);
            let reach = 40 * scale as i64;
            let mut counts = vec![0_u64; 2 * reach as usize + 1];
            for value in draw(&noise) {
                counts[(value.clamp(-reach, reach) + reach) as usize] += 1;
            }
            let mut seen = 0;
            let mut worst = 0.0_f64;
            for (count, expected) in counts.iter().zip(cumulative(&noise, reach)) {
                seen += count;
                worst = worst.max((seen as f64 / SAMPLES as f64 - expected).abs());
            }
            assert!(worst < allowed, "{noise:?}: {worst} ≥ {allowed}");
        }
    }
}

#[test]
fn noise_has_the_stated_standard_deviation_and_mean_nought() {
    for mechanism in [Mechanism::DiscreteLaplace, Mechanism::DiscreteGaussian] {
        for scale in [1, 7, 1 << 32] {
            let noise = unit(mechanism, scale);
            let sd = noise.standard_deviation();
            let scaled: Vec<f64> = draw(&noise).iter().map(|x| *x as f64 / sd).collect();
            let n = SAMPLES as f64;
            // Seven standard errors of the mean; of a square's mean (fourth moment at most 7) eleven.
            let mean = scaled.iter().sum::<f64>() / n;
            assert!(mean.abs() < 7.0 / n.sqrt(), "{noise:?}: {mean}");
            let square = scaled.iter().map(|x| x * x).sum::<f64>() / n;
            assert!(
                (square - 1.0).abs() < 11.0 * (6.0 / n).sqrt(),
                "{noise:?}: {square}"
            );
        }
    }
}

#[test]
fn cells_have_independent_noise_whatever_the_thread() {
    let noise = unit(Mechanism::DiscreteGaussian, 1 << 32);
    let draws = draw(&noise);
    let sd = noise.standard_deviation();
    let half = SAMPLES / 2;
    for lag in [1, 2, CELLS_APART, half] {
        let pairs = SAMPLES - lag;
        let sum: f64 = (0..pairs)
            .map(|i| draws[i] as f64 * draws[i + lag] as f64 / (sd * sd))
            .sum();
        let correlation = sum / pairs as f64;
        assert!(
            correlation.abs() < 8.0 / (pairs as f64).sqrt(),
            "{lag}: {correlation}"
        );
    }
    assert_ne!(draws, draw(&noise));
}

const CELLS_APART: usize = 512;

#[test]
fn each_cell_gets_noise_around_itself_in_its_place() {
    for mechanism in [Mechanism::DiscreteLaplace, Mechanism::DiscreteGaussian] {
        for length in [0, 1, 3, 511, 1_024, 1_025, 4_999] {
            let cells: Vec<i64> = (0..length).map(|i| 1_000 * i - 2_000_000).collect();
            let noisy = release(&unit(mechanism, 2), &cells).unwrap();
            assert_eq!(noisy.len(), cells.len());
            // 200 is 100 scales: a chance below 1e-40.
            assert!(
                cells
                    .iter()
                    .zip(&noisy)
                    .all(|(cell, noisy)| (cell - noisy).abs() < 200)
            );
        }
    }
}

#[test]
fn extreme_cells_are_clamped_and_never_wrap() {
    let noisy = release(&unit(Mechanism::DiscreteLaplace, 2), &[i64::MIN, i64::MAX]).unwrap();
    assert!((noisy[0] + CELL_LIMIT).abs() < 200);
    assert!((noisy[1] - CELL_LIMIT).abs() < 200);
    for mechanism in [Mechanism::DiscreteLaplace, Mechanism::DiscreteGaussian] {
        let noisy = release(&unit(mechanism, MAX_SCALE), &[i64::MIN, i64::MAX]).unwrap();
        assert!(noisy[0] < 0 && noisy[1] > 0);
    }
}

#[test]
fn there_is_no_noise_of_nought() {
    for mechanism in [Mechanism::DiscreteLaplace, Mechanism::DiscreteGaussian] {
        assert_eq!(Noise::new(mechanism, 0, 1), Err(MechanismError::Scale));
        assert_eq!(
            Noise::new(mechanism, MAX_SCALE + 1, 1),
            Err(MechanismError::Scale)
        );
        assert_eq!(
            Noise::new(mechanism, 1, 0),
            Err(MechanismError::Sensitivity)
        );
        assert_eq!(
            Noise::new(mechanism, 1, MAX_SENSITIVITY + 1),
            Err(MechanismError::Sensitivity)
        );
    }
}

fn choose(l1: u64, l2: u64, epsilon: f64, delta: f64) -> Result<Noise, MechanismError> {
    Noise::choose(
        l1,
        l2,
        epsilon.try_into().unwrap(),
        delta.try_into().unwrap(),
    )
}

#[test]
fn the_quieter_mechanism_is_chosen() {
    const PERSON: u64 = 1 << 32;
    let relative = |noise: Noise| noise.standard_deviation() / PERSON as f64;

    let one = choose(PERSON, PERSON, 1.0, 1e-6).unwrap();
    assert_eq!(one.mechanism(), Mechanism::DiscreteLaplace);
    assert!((relative(one) - 2.0_f64.sqrt()).abs() < 1e-3);

    let hundred = choose(100 * PERSON, 10 * PERSON, 1.0, 1e-6).unwrap();
    assert_eq!(hundred.mechanism(), Mechanism::DiscreteGaussian);
    assert!(
        (44.0..46.0).contains(&relative(hundred)),
        "{}",
        relative(hundred)
    );

    let pure = choose(100 * PERSON, 10 * PERSON, 1.0, 0.0).unwrap();
    assert_eq!(pure.mechanism(), Mechanism::DiscreteLaplace);
    assert_eq!(pure.scale(), 100 * PERSON);
    assert_eq!(pure.loss().pure(), Some(PICO));
}

#[test]
fn too_much_noise_is_refused() {
    assert_eq!(choose(0, 0, 1.0, 0.0), Err(MechanismError::Sensitivity));
    assert_eq!(
        choose(MAX_SENSITIVITY, 1, 1e-6, 0.0),
        Err(MechanismError::Scale)
    );
    assert!(choose(MAX_SENSITIVITY, 1, 1e-6, 1e-9).is_ok());
}

#[test]
fn gaussian_noise_keeps_its_epsilon_and_delta() {
    // δ(ε) of the discrete distribution, summed directly: exact up to float error.
    for (l2, epsilon, delta) in [
        (1, 1.0, 1e-6),
        (2, 0.5, 1e-9),
        (5, 3.0, 1e-5),
        (1, 8.0, 1e-12),
    ] {
        let noise = choose(1 << 40, l2, epsilon, delta).unwrap();
        assert_eq!(noise.mechanism(), Mechanism::DiscreteGaussian);
        let sigma = noise.scale() as f64;
        let density = |x: i64| (-(x as f64).powi(2) / (2.0 * sigma * sigma)).exp();
        let reach = 40 * noise.scale() as i64;
        let total: f64 = (-reach..=reach).map(density).sum();
        let truth: f64 = (-reach..=reach)
            .map(|x| density(x) - epsilon.exp() * density(x - l2 as i64))
            .map(|difference| difference.max(0.0) / total)
            .sum();
        assert!(truth <= delta, "{noise:?}: {truth} > {delta}");
    }
}

proptest! {
    #[test]
    fn what_was_chosen_for_an_epsilon_costs_at_most_that(
        l1 in 1_u64..1 << 40,
        l2 in 1_u64..1 << 36,
        nano in 10_000_u64..20_000_000_000,
        atto in 1_000_u64..1_000_000_000_000_000,
    ) {
        let epsilon = Epsilon::from_nano(nano).unwrap();
        for delta in [Delta::ZERO, Delta::from_atto(atto).unwrap()] {
            let noise = Noise::choose(l1, l2, epsilon, delta).unwrap();
            prop_assert!(noise.epsilon_nano(delta) <= nano, "{:?}", noise);
            if noise.mechanism() == Mechanism::DiscreteLaplace && noise.scale() > 1 {
                // One unit less noise would not do.
                let less = Noise::new(noise.mechanism(), noise.scale() - 1, l1).unwrap();
                prop_assert!(u128::from(l1) * 1_000_000_000 > u128::from(nano) * u128::from(less.scale()));
            }
        }
    }

    /// Where OpenDP's privacy map exceeded the charged loss, this would be an error.
    #[test]
    fn the_library_agrees_with_every_claim(
        scale in 1..=MAX_SCALE,
        sensitivity in 1..=MAX_SENSITIVITY,
        small in 1_u64..100,
    ) {
        // Losses that saturate are no claim.
        let sensitivity = sensitivity.min(scale.saturating_mul(100));
        for mechanism in [Mechanism::DiscreteLaplace, Mechanism::DiscreteGaussian] {
            for (scale, sensitivity) in [(scale, sensitivity), (scale, small), (small, small)] {
                let noise = Noise::new(mechanism, scale, sensitivity).unwrap();
                prop_assert_eq!(release(&noise, &[]), Ok(Vec::new()));
            }
        }
    }
}
