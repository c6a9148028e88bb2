//! Numbers with no more digits than their noise leaves meaning.

/// Digits after the point so that a spread shows two digits of its own.
fn decimals(spread: f64) -> usize {
    const MOST: f64 = 9.0;
    if spread.is_finite() && spread > 0.0 {
        // At most 9, so the cast is exact.
        (1.0 - spread.log10().floor()).clamp(0.0, MOST) as usize
    } else {
        0
    }
}

/// A number whose last digits the spread (the half of its interval) makes meaningless.
pub fn with_spread(value: f64, spread: f64) -> String {
    let shown = format!("{value:.*}", decimals(spread));
    // Rounding can leave a zero with a sign.
    match shown.strip_prefix('-') {
        Some(digits) if digits.chars().all(|c| c == '0' || c == '.') => digits.to_owned(),
        _ => shown,
    }
}

/// A number that is exact: up to six digits, without zeros at the end.
pub fn exact(value: f64) -> String {
    const DIGITS: usize = 6;
    if value != 0.0 && !(1e-4..1e15).contains(&value.abs()) {
        return format!("{value:e}");
    }
    let shown = format!("{value:.DIGITS$}");
    shown.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A number with few digits, for budgets: `0.5`, `10`, `1e-7`.
pub fn short(value: f64) -> String {
    if value == 0.0 || (1e-3..1e6).contains(&value.abs()) {
        exact((value * 1e4).round() / 1e4)
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_follow_the_noise() {
        assert_eq!(with_spread(1203.4567, 3.1), "1203.5");
        assert_eq!(with_spread(1203.4567, 0.031), "1203.457");
        assert_eq!(with_spread(1203.4567, 31.0), "1203");
        assert_eq!(with_spread(-0.2, 31.0), "0");
        assert_eq!(exact(2.50), "2.5");
        assert_eq!(exact(1e20), "1e20");
        assert_eq!(short(0.1 + 0.2), "0.3");
        assert_eq!(short(1e-7), "1e-7");
        assert_eq!(short(10.0), "10");
    }
}
