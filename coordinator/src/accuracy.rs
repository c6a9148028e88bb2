//! An accuracy instead of an epsilon: the least ε whose noise is within what was asked for, found
//! from quotes, which cost nothing. Only where it is a part of figures whose sizes nobody knows yet
//! do small releases, which are charged, tell the sizes first.

use std::{fmt, str::FromStr};

mod figures;
mod search;
mod sizes;
mod wanted;

pub(crate) use wanted::{Sought, Wanted, sought};

/// What half the 95 % interval of the noise may be, in every plain figure of an answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Accuracy {
    /// So much, in the figures' own unit: `±25`.
    Absolute(f64),
    /// Such a part of a size that is known beforehand: `±5% of 2000`.
    Share {
        /// 5 for five per cent.
        percent: f64,
        /// The size.
        of: f64,
    },
    /// So many per cent of each figure, whose sizes first, small releases tell: `±5%`.
    OfFigures(f64),
}

/// Why a text is no accuracy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an accuracy is like '±25', '±5%' or '±5% of 2000'")]
pub struct AccuracyError;

impl FromStr for Accuracy {
    type Err = AccuracyError;

    fn from_str(text: &str) -> Result<Self, AccuracyError> {
        let text = text.trim();
        let text = ["±", "+-", "+/-"]
            .iter()
            .find_map(|sign| text.strip_prefix(sign))
            .unwrap_or(text);
        // «persons» says what a count counts anyway.
        let text = ["persons", "people"]
            .iter()
            .find_map(|word| text.strip_suffix(word))
            .unwrap_or(text);
        let positive = |text: &str| -> Result<f64, AccuracyError> {
            let number: f64 = text.trim().parse().map_err(|_| AccuracyError)?;
            let usable = number.is_finite() && number > 0.0;
            usable.then_some(number).ok_or(AccuracyError)
        };
        match text.split_once('%') {
            None => positive(text).map(Self::Absolute),
            Some((share, rest)) => {
                let percent = positive(share)?;
                if percent >= 100.0 {
                    return Err(AccuracyError);
                }
                match rest.trim() {
                    "" => Ok(Self::OfFigures(percent)),
                    of => {
                        let of = positive(of.strip_prefix("of").ok_or(AccuracyError)?)?;
                        Ok(Self::Share { percent, of })
                    }
                }
            }
        }
    }
}

/// As it is written, in ASCII, so that it fits into a call's header.
impl fmt::Display for Accuracy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absolute(most) => write!(f, "+-{most}"),
            Self::Share { percent, of } => write!(f, "+-{percent}% of {of}"),
            Self::OfFigures(percent) => write!(f, "+-{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracies_are_read_as_people_write_them() {
        let read = |text: &str| text.parse::<Accuracy>();
        for text in ["±25", "+-25", "+/- 25", "25", " ± 25 persons ", "25.0"] {
            assert_eq!(read(text), Ok(Accuracy::Absolute(25.0)), "{text}");
        }
        assert_eq!(read("±5%"), Ok(Accuracy::OfFigures(5.0)));
        let share = Accuracy::Share {
            percent: 5.0,
            of: 2_000.0,
        };
        assert_eq!(read("± 5 % of 2000"), Ok(share));
        for accuracy in [Accuracy::Absolute(0.25), Accuracy::OfFigures(0.7), share] {
            assert!(accuracy.to_string().is_ascii());
            assert_eq!(read(&accuracy.to_string()), Ok(accuracy));
        }
        for text in [
            "",
            "±",
            "±0",
            "±-3",
            "±x",
            "±100%",
            "±5% of",
            "±5% from 3",
            "±inf",
            "NaN",
            "5%%",
        ] {
            assert_eq!(read(text), Err(AccuracyError), "{text}");
        }
    }
}
