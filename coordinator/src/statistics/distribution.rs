//! Distribution functions: normal, Student's t, χ², and the sum of a normal and a Laplace noise.

use std::f64::consts::SQRT_2;

use statrs::function::{beta::checked_beta_reg, erf::erfc, gamma::checked_gamma_ur};

/// P(N > x) of a standard normal N.
pub(crate) fn normal_tail(x: f64) -> f64 {
    0.5 * erfc(x / SQRT_2)
}

/// P(χ² with so many degrees of freedom > x). NaN outside its domain.
pub(crate) fn chi_squared_tail(x: f64, degrees: f64) -> f64 {
    if x <= 0.0 && degrees > 0.0 {
        return 1.0;
    }
    checked_gamma_ur(degrees / 2.0, x / 2.0).unwrap_or(f64::NAN)
}

/// P(|T| > t) of Student's T. NaN outside its domain.
fn student_tails(t: f64, degrees: f64) -> f64 {
    let x = degrees / (degrees + t * t);
    checked_beta_reg(degrees / 2.0, 0.5, x.clamp(0.0, 1.0)).unwrap_or(f64::NAN)
}

/// The t with P(|T| ≤ t) = `level` of Student's T, for degrees of freedom from a half up.
/// NaN for fewer.
pub(crate) fn student_quantile(level: f64, degrees: f64) -> f64 {
    // Above this it is the normal quantile to five digits.
    const MANY: f64 = 1e6;
    if !(0.5..).contains(&degrees) {
        return f64::NAN;
    }
    let degrees = degrees.min(MANY);
    let (mut low, mut high) = (0.0, 2.0);
    while student_tails(high, degrees) > 1.0 - level {
        low = high;
        high *= 2.0;
    }
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if student_tails(middle, degrees) > 1.0 - level {
            low = middle;
        } else {
            high = middle;
        }
    }
    high
}

/// P(|N + L| > x) for an independent normal N with standard deviation `sd` and Laplace noise L
/// of scale `scale`, x ≥ 0. By integrating the normal's density against the Laplace tail:
/// 2 Q(x/s) + e^{s²/2b²} [e^{−x/b} Φ(x/s − s/b) − e^{x/b} Q(x/s + s/b)].
pub(crate) fn normal_and_laplace_tails(x: f64, sd: f64, scale: f64) -> f64 {
    // Where one is so much larger, the other changes no digit that is shown.
    const DROWNED: f64 = 25.0;
    if scale <= 0.0 || sd > DROWNED * scale {
        let sd = sd.hypot(SQRT_2 * scale);
        return 2.0 * normal_tail(x / sd);
    }
    if sd <= 0.0 {
        return (-x / scale).exp();
    }
    let ratio = sd / scale;
    let half = ratio * ratio / 2.0;
    let near = (half - x / scale).exp() * normal_tail(ratio - x / sd);
    // The tail falls faster than the exponential grows; where it is nothing, so is the product.
    let tail = normal_tail(x / sd + ratio);
    let far = if tail > 0.0 {
        (half + x / scale + tail.ln()).exp()
    } else {
        0.0
    };
    (2.0 * normal_tail(x / sd) + near - far).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: f64, want: f64, tolerance: f64) {
        assert!((got - want).abs() <= tolerance, "{got} {want}");
    }

    /// Tables in every textbook, here as R prints them: `qt(.975, df)`, `pchisq(x, df, lower = F)`.
    #[test]
    fn tabled_values() {
        close(normal_tail(1.959_963_984_540_054), 0.025, 1e-9);
        close(student_quantile(0.95, 1.0), 12.706_204_736, 1e-6);
        close(student_quantile(0.95, 4.0), 2.776_445_105, 1e-7);
        close(student_quantile(0.95, 12.0), 2.178_812_830, 1e-7);
        close(student_quantile(0.95, 1e9), 1.959_964, 1e-5);
        assert!(student_quantile(0.95, 0.0).is_nan());
        close(chi_squared_tail(3.841_458_821, 1.0), 0.05, 1e-9);
        close(chi_squared_tail(21.026_069_817, 12.0), 0.05, 1e-9);
        close(chi_squared_tail(0.0, 3.0), 1.0, 0.0);
    }

    #[test]
    fn the_sum_of_normal_and_laplace_is_integrated_right() {
        for (x, sd, scale) in [
            (1.0, 1.0, 1.0),
            (3.0, 0.5, 1.0),
            (3.0, 2.0, 0.3),
            (0.0, 1.0, 1.0),
        ] {
            // ∫ φ(y) P(|y + L| > x) dy, by the trapezoid rule.
            let steps = 40_000;
            let span = 12.0 * sd;
            let laplace = |t: f64| {
                if t >= 0.0 {
                    0.5 * (-t / scale).exp()
                } else {
                    1.0 - 0.5 * (t / scale).exp()
                }
            };
            let sum: f64 = (0..=steps)
                .map(|i| {
                    let y = -span + 2.0 * span * f64::from(i) / f64::from(steps);
                    let density = (-y * y / (2.0 * sd * sd)).exp()
                        / (sd * (2.0 * std::f64::consts::PI).sqrt());
                    density * (laplace(x - y) + laplace(x + y))
                })
                .sum();
            let want = sum * 2.0 * span / f64::from(steps);
            close(normal_and_laplace_tails(x, sd, scale), want, 1e-6);
        }
        close(normal_and_laplace_tails(20_f64.ln(), 0.0, 1.0), 0.05, 1e-12);
        close(normal_and_laplace_tails(1.96, 1.0, 0.0), 0.05, 1e-4);
        // Just on both sides of where the Laplace part is taken for normal.
        let (below, above) = (
            normal_and_laplace_tails(60.0, 24.99, 1.0),
            normal_and_laplace_tails(60.0, 25.01, 1.0),
        );
        close(below, above, 1e-4);
    }
}
