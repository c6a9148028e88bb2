//! The formulas that need floating point, each rounded outwards.

/// Relative error allowed for a formula here, upwards. Each has fewer than twenty operations
/// without cancellation, each of them (`ln`, `exp`, `sinh`, … of the platform) good to some units of 1e-16; the
/// tests compare with a hundred binary digits more.
const SLACK: f64 = 1e-12;

/// A bound for a value that was computed as `value`.
pub(crate) fn round_up(value: f64) -> f64 {
    value * (1.0 + SLACK)
}

/// The ε to add to a Rényi bound at `order` for an (ε, `delta`) guarantee; rounded up, at least 0.
///
/// If the Rényi divergence of order α is at most τ in both directions, then the release is
/// (τ + c, δ)-differentially private with
/// c = ln((α − 1)/α) + (ln(1/δ) − ln α)/(α − 1).
/// Source: Canonne, Kamath, Steinke 2020, *The discrete Gaussian for differential privacy*,
/// Proposition 12, solved for ε (δ there is exp((α−1)(τ−ε))/(α−1)·(1−1/α)^α).
///
/// `order` is above 1 and finite; `delta` in (0, 1). Anything else gives infinity.
#[must_use]
pub fn epsilon_surcharge(order: f64, delta: f64) -> f64 {
    let usable = order > 1.0 && order.is_finite() && delta > 0.0 && delta < 1.0;
    if !usable {
        return f64::INFINITY;
    }
    let terms = [
        (-1.0 / order).ln_1p(),
        -delta.ln() / (order - 1.0),
        -order.ln() / (order - 1.0),
    ];
    // The terms differ in sign: the error is relative to their sizes, not to their sum.
    let sizes: f64 = terms.iter().map(|term| term.abs()).sum();
    let surcharge = terms.iter().sum::<f64>() + SLACK * sizes;
    surcharge.max(0.0)
}

/// Rényi divergence of order `order` of any release that is `epsilon`-differentially private;
/// rounded up.
///
/// D ≤ ln((sinh(αε) − sinh((α−1)ε)) / sinh ε) / (α − 1), reached by randomised response. Source: Bun
/// and Steinke 2016, *Concentrated differential privacy*, proof of Proposition 3.3. And D ≤ ε,
/// since the divergence grows with its order.
///
/// The quotient of hyperbolic sines is cosh((α−½)ε)/cosh(ε/2), that is
/// 1 + 2·sinh(αε/2)·sinh((α−1)ε/2)/cosh(ε/2): no cancellation for small ε. For large ε its logarithm is
/// (α−1)ε + ln(1+exp(−(2α−1)ε)) − ln(1+exp(−ε)): no overflow.
pub(super) fn pure_to_renyi(order: f64, epsilon: f64) -> f64 {
    let logarithm = if order * epsilon < 40.0 {
        let product = (order * epsilon / 2.0).sinh() * ((order - 1.0) * epsilon / 2.0).sinh();
        (2.0 * product / (epsilon / 2.0).cosh()).ln_1p()
    } else {
        (order - 1.0) * epsilon + (-(2.0 * order - 1.0) * epsilon).exp().ln_1p()
            - (-epsilon).exp().ln_1p()
    };
    round_up(logarithm / (order - 1.0)).min(epsilon)
}

#[cfg(test)]
mod tests {
    use dashu::float::FBig;
    use dashu::float::round::mode::HalfAway;

    use super::*;
    use crate::accounting::ORDERS;

    type Precise = FBig<HalfAway>;

    /// Exactly this double, to be computed with at 200 binary digits.
    fn precise(value: f64) -> Precise {
        Precise::try_from(value)
            .unwrap()
            .with_precision(200)
            .value()
    }

    fn sinh(x: &Precise) -> Precise {
        (x.exp() - (-x.clone()).exp()) / precise(2.0)
    }

    #[test]
    fn surcharge_is_proposition_12_rounded_up() {
        for order in ORDERS.map(|order| order.to_f64()) {
            for delta in [1e-18, 5e-17, 1e-12, 3e-9, 1e-6, 0.009] {
                let (a, one) = (precise(order), precise(1.0));
                let exact =
                    ((&a - &one) / &a).ln() + (-(precise(delta).ln()) - a.ln()) / (&a - &one);
                let exact = exact.to_f64().value().max(0.0);
                let ours = epsilon_surcharge(order, delta);
                assert!(ours >= exact, "{order} {delta}: {ours} < {exact}");
                assert!(ours <= exact + 1e-9, "{order} {delta}: {ours} > {exact}");
            }
        }
    }

    #[test]
    fn surcharge_agrees_with_the_delta_of_proposition_12() {
        // δ = exp((α−1)(τ−ε))/(α−1)·(1−1/α)^α at ε = τ + c.
        for (order, delta) in [(2.0_f64, 1e-6_f64), (9.0, 1e-9), (129.0, 1e-7)] {
            let c = epsilon_surcharge(order, delta);
            let back = (-(order - 1.0) * c).exp() / (order - 1.0) * (1.0 - 1.0 / order).powf(order);
            assert!((back / delta - 1.0).abs() < 1e-9, "{back} {delta}");
        }
    }

    #[test]
    fn pure_loss_is_the_sinh_form_rounded_up() {
        for order in ORDERS.map(|order| order.to_f64()) {
            for epsilon in [1e-6, 1e-3, 0.1, 0.5, 1.0, 3.0, 10.0, 26.0, 60.0] {
                let (a, e, one) = (precise(order), precise(epsilon), precise(1.0));
                let quotient = (sinh(&(&a * &e)) - sinh(&((&a - &one) * &e))) / sinh(&e);
                let exact = (quotient.ln() / (&a - &one)).to_f64().value();
                let ours = pure_to_renyi(order, epsilon);
                assert!(ours >= exact, "{order} {epsilon}: {ours} < {exact}");
                assert!(
                    ours <= exact * (1.0 + 1e-11),
                    "{order} {epsilon}: {ours} > {exact}"
                );
                assert!(ours <= epsilon);
            }
        }
    }

    #[test]
    fn pure_loss_does_not_overflow() {
        for order in ORDERS.map(|order| order.to_f64()) {
            for epsilon in [100.0, 1e3, 1e6, 1e9] {
                let ours = pure_to_renyi(order, epsilon);
                assert!(ours.is_finite() && ours > 0.9 * epsilon - 3.0 && ours <= epsilon);
            }
        }
    }

    #[test]
    fn what_is_no_order_or_no_delta_gives_no_guarantee() {
        for (order, delta) in [
            (1.0, 0.1),
            (f64::NAN, 0.1),
            (f64::INFINITY, 0.1),
            (2.0, 0.0),
            (2.0, 1.0),
            (2.0, f64::NAN),
        ] {
            assert_eq!(epsilon_surcharge(order, delta), f64::INFINITY);
        }
    }
}
