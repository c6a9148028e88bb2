//! The claims of this module against distributions that are summed directly.

use proptest::prelude::*;
use skerry_proto::{Delta, Epsilon};

use super::*;

/// ln P(x) of discrete Laplace noise with scale b.
fn laplace(b: f64) -> impl Fn(i64) -> f64 {
    let p = (-1.0 / b).exp();
    let constant = ((1.0 - p) / (1.0 + p)).ln();
    move |x| constant - (x as f64).abs() / b
}

/// ln P(x) of discrete Gaussian noise with parameter σ.
fn gaussian(sigma: f64) -> impl Fn(i64) -> f64 {
    let weight = move |x: i64| -(x as f64).powi(2) / (2.0 * sigma * sigma);
    let reach = (40.0 * sigma) as i64 + 40;
    let constant = (-reach..=reach).map(|x| weight(x).exp()).sum::<f64>().ln();
    move |x| weight(x) - constant
}

/// Σ P(x)^α Q(x)^(1−α), its logarithm over α − 1, for Q = P moved by `shift`.
fn renyi(ln_p: impl Fn(i64) -> f64, shift: i64, order: f64, reach: i64) -> f64 {
    let terms: Vec<f64> = (-reach..=reach)
        .map(|x| order * ln_p(x) + (1.0 - order) * ln_p(x - shift))
        .collect();
    let largest = terms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = terms.iter().map(|term| (term - largest).exp()).sum();
    (largest + sum.ln()) / (order - 1.0)
}

/// max over sets E of P(E) − exp(ε)·Q(E), for Q = P moved by `shift`.
fn hockey_stick(ln_p: impl Fn(i64) -> f64, shift: i64, epsilon: f64, reach: i64) -> f64 {
    (-reach..=reach)
        .map(|x| (ln_p(x).exp() - (epsilon + ln_p(x - shift)).exp()).max(0.0))
        .sum()
}

fn epsilon(value: f64) -> Epsilon {
    Epsilon::try_from(value).unwrap()
}

fn allowance(epsilon: f64, delta: f64) -> Allowance {
    Allowance {
        epsilon: Epsilon::try_from(epsilon).unwrap(),
        delta: Delta::try_from(delta).unwrap(),
    }
}

/// Charges `loss` until it is refused: how often it was admitted, and the sum.
fn fill(allowance: Allowance, loss: &Loss) -> (u32, Loss) {
    let (mut times, mut spent) = (0, Loss::ZERO);
    while allowance.admits(&spent, loss) {
        spent = spent.plus(loss);
        times += 1;
    }
    (times, spent)
}

#[test]
fn laplace_loss_bounds_the_true_divergence() {
    for (b, shift) in [(1, 1), (3, 2), (10, 1), (10, 10), (2, 6), (50, 25)] {
        let loss = Loss::of_pure((shift * Epsilon::UNIT).div_ceil(b));
        for (order, bound) in ORDERS.iter().zip(loss.orders()) {
            let reach = 60 * b as i64 + 200;
            let truth = renyi(laplace(b as f64), shift as i64, order.to_f64(), reach);
            let bound = *bound as f64 / PICO as f64;
            assert!(bound >= truth, "{b} {shift} {order:?}: {bound} < {truth}");
        }
        // Infinity: the largest log ratio.
        let ln_p = laplace(b as f64);
        let truth = (-200..200)
            .map(|x| (ln_p(x) - ln_p(x - shift as i64)).abs())
            .fold(0.0, f64::max);
        assert!(loss.pure().unwrap() as f64 / PICO as f64 >= truth - 1e-12);
    }
}

#[test]
fn gaussian_loss_bounds_the_true_divergence_and_is_reached() {
    for (sigma, shift) in [(1, 1), (2, 1), (3, 5), (10, 1), (20, 30)] {
        let loss = Loss::of_gaussian(shift, sigma);
        for (order, bound) in ORDERS.iter().zip(loss.orders()) {
            let alpha = order.to_f64();
            // The bulk of P^α·Q^(1−α) sits at shift·(1−α).
            let reach = (alpha * shift as f64) as i64 + 30 * sigma as i64;
            let ln_p = gaussian(sigma as f64);
            let truth = renyi(&ln_p, shift as i64, alpha, reach);
            let bound = *bound as f64 / PICO as f64;
            assert!(
                bound >= truth - 1e-9 * bound,
                "{sigma} {shift} {alpha}: {bound} < {truth}"
            );
            // Proposition 5: equality if α·shift is a whole number.
            if (alpha * shift as f64).fract() == 0.0 {
                assert!(
                    bound <= truth + 1e-9 * bound + 2e-12,
                    "{sigma} {shift} {alpha}"
                );
            }
        }
    }
}

#[test]
fn ten_questions_of_one_out_of_ten_are_exactly_ten() {
    let question = Loss::of_pure(Epsilon::UNIT);
    for delta in [0.0, 1e-9, 1e-7, 1e-3] {
        let allowance = allowance(10.0, delta);
        let (times, spent) = fill(allowance, &question);
        assert_eq!(times, 10, "{delta}");
        assert_eq!(allowance.epsilon_spent_nano(&spent), 10 * Epsilon::UNIT);
        assert_eq!(allowance.epsilon_left_nano(&spent), 0);
    }
    let allowance = allowance(10.0, 1e-7);
    assert_eq!(allowance.epsilon_spent_nano(&Loss::ZERO), 0);
    assert_eq!(allowance.epsilon_spent_nano(&question), Epsilon::UNIT);
    assert_eq!(allowance.epsilon_left_nano(&question), 9 * Epsilon::UNIT);
}

#[test]
fn many_small_questions_beat_adding_epsilons() {
    let allowance = allowance(10.0, 1e-7);
    let (laplace, _) = fill(allowance, &Loss::of_pure(Epsilon::UNIT / 100));
    assert!(laplace > 5_000, "1,000 by adding, {laplace}");
    // σ/Δ = 45: each is (0.1, 1e-6)-private on its own.
    let (gaussian, _) = fill(allowance, &Loss::of_gaussian(1, 45));
    assert!(gaussian > 3_000, "100 by adding, {gaussian}");
}

#[test]
fn a_filled_allowance_keeps_its_guarantee() {
    // n releases with noise σ and shift 1 are one with shift √n/σ; drawn on a fine grid.
    for (allowance, sigma) in [
        (allowance(1.0, 1e-6), 30),
        (allowance(10.0, 1e-7), 4),
        (allowance(3.0, 1e-9), 10),
    ] {
        let (times, _) = fill(allowance, &Loss::of_gaussian(1, sigma));
        assert!(times > 3, "{times}");
        let grid = 400.0;
        let shift = (grid * f64::from(times).sqrt() / sigma as f64).floor() as i64;
        let delta = hockey_stick(gaussian(grid), shift, allowance.epsilon.to_f64(), 12_000);
        assert!(delta <= allowance.delta.to_f64(), "{times}: {delta}");
    }
    // n pure releases: the worst is randomised response, whose sum is binomial.
    let allowance = allowance(2.0, 1e-5);
    let (times, _) = fill(allowance, &Loss::of_pure(Epsilon::UNIT / 20));
    assert!(times > 40, "{times}");
    let (n, e) = (f64::from(times), 0.05_f64);
    let (ln_p, ln_q) = (e - e.exp().ln_1p(), -e.exp().ln_1p());
    let mut ln_choose = 0.0;
    let mut delta = 0.0;
    for k in 0..=times {
        let k = f64::from(k);
        let one = ln_choose + k * ln_p + (n - k) * ln_q;
        let other = ln_choose + k * ln_q + (n - k) * ln_p;
        delta += (one.exp() - (allowance.epsilon.to_f64() + other).exp()).max(0.0);
        ln_choose += (n - k).ln() - (k + 1.0).ln();
    }
    assert!(delta <= allowance.delta.to_f64(), "{times}: {delta}");
}

#[test]
fn without_delta_only_pure_loss_is_admitted() {
    let allowance = allowance(10.0, 0.0);
    assert!(!allowance.admits(&Loss::ZERO, &Loss::of_gaussian(1, 1_000_000)));
    assert!(allowance.admits(&Loss::ZERO, &Loss::of_pure(1)));
    // A Gaussian answer from the days of another allowance is not forgotten.
    let spent = Loss::of_gaussian(1, 1_000_000);
    assert!(!allowance.admits(&spent, &Loss::of_pure(1)));
    assert_eq!(allowance.epsilon_left_nano(&spent), 0);
}

#[test]
fn thresholds_have_half_of_delta_and_no_more() {
    let allowance = allowance(10.0, 1e-7);
    let half = Delta::try_from(5e-8).unwrap();
    let one = Loss::of_pure(1_000).with_threshold(half);
    assert!(allowance.admits(&Loss::ZERO, &one));
    assert!(!allowance.admits(
        &one,
        &Loss::ZERO.with_threshold(Delta::from_atto(1_000).unwrap())
    ));
    assert!(allowance.admits(&one, &Loss::of_pure(1_000)));
}

#[test]
fn a_smaller_allowance_shows_nothing_left_and_never_overflows() {
    let spent = Loss::of_pure(u64::MAX).plus(&Loss::of_gaussian(u64::MAX, 1));
    assert_eq!(spent.pure(), None);
    let allowance = allowance(1.0, 1e-9);
    assert_eq!(allowance.epsilon_left_nano(&spent), 0);
    assert!(!allowance.admits(&spent, &Loss::ZERO));
}

#[test]
fn total_delta_is_at_most_one_in_ten_persons() {
    let budget = |delta| Budget {
        project: allowance(10.0, 1e-7),
        total: allowance(30.0, delta),
    };
    assert_eq!(budget(4e-7).check(250_000), Ok(()));
    assert!(budget(4.1e-7).check(250_000).is_err());
    assert_eq!(budget(0.0).check(u64::MAX), Ok(()));
    assert!(budget(1e-15).check(u64::MAX).is_err());
}

#[test]
fn several_regions_add() {
    let figure = across_regions(3, epsilon(1.0).nano(), 1_000);
    assert_eq!(
        (figure.epsilon_nano, figure.delta_atto),
        (3_000_000_000, 3_000)
    );
    assert_eq!(across_regions(u64::MAX, 2, 2).epsilon_nano, u64::MAX);
}

prop_compose! {
    fn any_loss()(pure in any::<bool>(), nano in 1_u64..3_000_000_000, delta in 1_u64..1_000,
                  scale in 1_u64..10_000) -> Loss {
        if pure { Loss::of_pure(nano) } else { Loss::of_gaussian(delta, scale) }
    }
}

proptest! {
    #[test]
    fn gaussian_loss_is_exact_and_rounded_up(delta in 1_u64..1 << 30, scale in 1_u64..1 << 30) {
        for (order, loss) in ORDERS.iter().zip(Loss::of_gaussian(delta, scale).orders()) {
            use dashu::integer::UBig;
            let square = |value: u64| UBig::from(value) * UBig::from(value);
            let exact = UBig::from(order.numerator) * square(delta) * UBig::from(PICO);
            let unit = UBig::from(2 * order.denominator) * square(scale);
            if *loss < u64::MAX {
                prop_assert!(UBig::from(*loss) * &unit >= exact);
                prop_assert!(UBig::from(loss - 1) * &unit < exact);
            } else {
                prop_assert!(UBig::from(*loss) * &unit <= exact);
            }
        }
    }

    #[test]
    fn an_allowance_never_admits_beyond_itself(
        losses in prop::collection::vec(any_loss(), 1..60),
        nano in 1_000_u64..20_000_000_000,
        atto in 1_000_u64..1_000_000_000_000,
    ) {
        let allowance = Allowance {
            epsilon: Epsilon::from_nano(nano).unwrap(),
            delta: Delta::from_atto(atto).unwrap(),
        };
        let mut spent = Loss::ZERO;
        for loss in &losses {
            let before = allowance.epsilon_spent_nano(&spent);
            if allowance.admits(&spent, loss) {
                spent = spent.plus(loss);
                prop_assert!(allowance.epsilon_spent_nano(&spent) >= before);
            }
            prop_assert!(allowance.epsilon_spent_nano(&spent) <= nano);
        }
        // Some order proves it: what is spent there, converted at its own share.
        let share = atto as f64 / 1e18 / 2.0 / ORDERS.len() as f64;
        let proven = ORDERS.iter().zip(spent.orders()).any(|(order, loss)| {
            let a = order.to_f64();
            let surcharge = ((a - 1.0) / a).ln() + (-share.ln() - a.ln()) / (a - 1.0);
            *loss as f64 / 1e12 + surcharge <= nano as f64 / 1e9 * (1.0 + 1e-12)
        });
        let pure = spent.pure().is_some_and(|pure| pure <= nano * 1_000);
        prop_assert!(proven || pure || spent == Loss::ZERO);
    }

    #[test]
    fn losses_add_in_any_order_and_survive_storage(a in any_loss(), b in any_loss(), c in any_loss()) {
        let sum = a.plus(&b).plus(&c);
        prop_assert_eq!(&sum, &c.plus(&a.plus(&b)));
        prop_assert_eq!(Loss::from_bytes(&sum.to_bytes()), Ok(sum));
    }
}

#[test]
fn other_bytes_are_no_loss() {
    assert_eq!(Loss::from_bytes(&[]), Err(LossError));
    assert_eq!(Loss::from_bytes(&[0; 97]), Err(LossError));
}
