//! The functions by name: what they take, and what computes them.

use super::{
    comparison::{self, Null},
    estimate::Estimate,
    funnel::{self, Width},
    pooling::Pool,
    rates,
};

/// What an argument has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Any number, noisy or not.
    Number,
    /// Greater than 0; a figure that isn't gives NULL, a number written in the statement is
    /// refused.
    Positive,
    /// From 0 up.
    NotNegative,
    /// From 0 to 1.
    Share,
    /// True or false.
    Mark,
}

/// One argument.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Argument {
    /// As it is called in messages and documents.
    pub name: &'static str,
    /// What it has to be.
    pub domain: Domain,
}

const fn any(name: &'static str) -> Argument {
    Argument {
        name,
        domain: Domain::Number,
    }
}

const fn positive(name: &'static str) -> Argument {
    Argument {
        name,
        domain: Domain::Positive,
    }
}

const fn from_zero(name: &'static str) -> Argument {
    Argument {
        name,
        domain: Domain::NotNegative,
    }
}

/// A function of one row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum OfRow {
    /// A Poisson count.
    EventCount,
    /// Events per persons.
    CrudeRate,
    /// A part of a whole.
    Share,
    /// Observed to expected.
    StandardisedRatio,
    /// A mean with its spread.
    SampleMean,
    /// Of two rates.
    RateDifference,
    /// Of two rates.
    RateRatio,
    /// Lower funnel limit of a share.
    FunnelProportionLow,
    /// Upper funnel limit of a share.
    FunnelProportionHigh,
    /// Lower funnel limit of a standardised ratio.
    FunnelRatioLow,
    /// Upper funnel limit of a standardised ratio.
    FunnelRatioHigh,
}

/// A function of several rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum OfRows {
    /// Directly standardised, over age bands.
    DirectRate,
    /// Of rates, over before and after, treated and not.
    DifferenceInDifferences,
    /// The same as a ratio.
    RatioOfRateRatios,
    /// One effect for all.
    PooledFixed,
    /// A mean of effects that differ.
    PooledRandom,
    /// Variance between regions.
    TauSquared,
    /// Its share.
    ISquared,
    /// Cochran's Q.
    HeterogeneityQ,
    /// How likely Q is by chance and noise.
    HeterogeneityP,
    /// φ.
    Overdispersion,
}

/// One function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Function {
    /// Of one row.
    Row(OfRow),
    /// Of several: an aggregate.
    Rows(OfRows),
}

/// What is to be known of a function besides how it is computed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Description {
    /// As SQL calls it.
    pub name: &'static str,
    /// Its arguments; those from `required` on may be left out.
    pub arguments: &'static [Argument],
    /// How many must be there.
    pub required: usize,
    /// Whether it has a sampling distribution: variance and limits.
    pub sampled: bool,
    /// Whether that distribution has the noise in it already.
    pub includes_noise: bool,
    /// Which argument's noise variance is given as the last argument where it is left out.
    pub noise_of: Option<usize>,
    /// What it is tested against.
    pub null: Option<Null>,
    /// The values that it can have without noise.
    pub possible: (f64, f64),
}

const NOTHING: Description = Description {
    name: "",
    arguments: &[],
    required: 0,
    sampled: true,
    includes_noise: false,
    noise_of: None,
    null: None,
    possible: (f64::NEG_INFINITY, f64::INFINITY),
};
const FROM_ZERO: (f64, f64) = (0.0, f64::INFINITY);
const NO_DIFFERENCE: Option<Null> = Some(Null {
    value: 0.0,
    logarithm: false,
});
const NO_RATIO: Option<Null> = Some(Null {
    value: 1.0,
    logarithm: true,
});
const POOL: &[Argument] = &[
    any("estimate"),
    from_zero("sampling_variance"),
    from_zero("noise_variance"),
];
const FOUR: &[Argument] = &[
    any("events"),
    any("persons"),
    Argument {
        name: "after",
        domain: Domain::Mark,
    },
    Argument {
        name: "treated",
        domain: Domain::Mark,
    },
    positive("per"),
];

impl Function {
    /// All of them.
    pub const ALL: [Self; 21] = [
        Self::Row(OfRow::EventCount),
        Self::Row(OfRow::CrudeRate),
        Self::Row(OfRow::Share),
        Self::Row(OfRow::StandardisedRatio),
        Self::Row(OfRow::SampleMean),
        Self::Row(OfRow::RateDifference),
        Self::Row(OfRow::RateRatio),
        Self::Row(OfRow::FunnelProportionLow),
        Self::Row(OfRow::FunnelProportionHigh),
        Self::Row(OfRow::FunnelRatioLow),
        Self::Row(OfRow::FunnelRatioHigh),
        Self::Rows(OfRows::DirectRate),
        Self::Rows(OfRows::DifferenceInDifferences),
        Self::Rows(OfRows::RatioOfRateRatios),
        Self::Rows(OfRows::PooledFixed),
        Self::Rows(OfRows::PooledRandom),
        Self::Rows(OfRows::TauSquared),
        Self::Rows(OfRows::ISquared),
        Self::Rows(OfRows::HeterogeneityQ),
        Self::Rows(OfRows::HeterogeneityP),
        Self::Rows(OfRows::Overdispersion),
    ];

    /// The function that SQL calls `name`, in small letters.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|function| function.description().name == name)
    }

    /// What is to be known of it.
    pub fn description(self) -> Description {
        match self {
            Self::Row(function) => function.description(),
            Self::Rows(function) => function.description(),
        }
    }

    /// `name(a, b [, c])`.
    pub fn signature(self) -> String {
        let described = self.description();
        let names = |arguments: &[Argument]| {
            let names: Vec<&str> = arguments.iter().map(|argument| argument.name).collect();
            names
        };
        let (required, optional) = described.arguments.split_at(described.required);
        let mut text = format!("{}({}", described.name, names(required).join(", "));
        for name in names(optional) {
            text.push_str(&format!(" [, {name}"));
        }
        text.push_str(&"]".repeat(optional.len()));
        text.push(')');
        text
    }
}

impl OfRow {
    fn description(self) -> Description {
        match self {
            Self::EventCount => Description {
                name: "event_count",
                arguments: const { &[any("events")] },
                required: 1,
                possible: FROM_ZERO,
                ..NOTHING
            },
            Self::CrudeRate => Description {
                name: "crude_rate",
                arguments: const { &[any("events"), any("persons"), positive("per")] },
                required: 2,
                possible: FROM_ZERO,
                ..NOTHING
            },
            Self::Share => Description {
                name: "share",
                arguments: const { &[any("part"), any("whole")] },
                required: 2,
                possible: (0.0, 1.0),
                ..NOTHING
            },
            Self::StandardisedRatio => Description {
                name: "standardised_ratio",
                arguments: const { &[any("observed"), any("expected")] },
                required: 2,
                null: NO_RATIO,
                possible: FROM_ZERO,
                ..NOTHING
            },
            Self::SampleMean => Description {
                name: "sample_mean",
                arguments: const { &[any("average"), any("variance"), any("rows")] },
                required: 3,
                ..NOTHING
            },
            Self::RateDifference => Description {
                name: "rate_difference",
                arguments: const {
                    &[
                        any("events_a"),
                        any("persons_a"),
                        any("events_b"),
                        any("persons_b"),
                        positive("per"),
                    ]
                },
                required: 4,
                null: NO_DIFFERENCE,
                ..NOTHING
            },
            Self::RateRatio => Description {
                name: "rate_ratio",
                arguments: const {
                    &[
                        any("events_a"),
                        any("persons_a"),
                        any("events_b"),
                        any("persons_b"),
                    ]
                },
                required: 4,
                null: NO_RATIO,
                possible: FROM_ZERO,
                ..NOTHING
            },
            Self::FunnelProportionLow | Self::FunnelProportionHigh => Description {
                name: if self == Self::FunnelProportionLow {
                    "funnel_proportion_low"
                } else {
                    "funnel_proportion_high"
                },
                arguments: const {
                    &[
                        Argument {
                            name: "target",
                            domain: Domain::Share,
                        },
                        any("size"),
                        positive("z"),
                        positive("phi"),
                        from_zero("noise_variance"),
                    ]
                },
                required: 2,
                sampled: false,
                possible: (0.0, 1.0),
                ..NOTHING
            },
            Self::FunnelRatioLow | Self::FunnelRatioHigh => Description {
                name: if self == Self::FunnelRatioLow {
                    "funnel_ratio_low"
                } else {
                    "funnel_ratio_high"
                },
                arguments: const {
                    &[
                        any("expected"),
                        positive("z"),
                        positive("phi"),
                        from_zero("noise_variance"),
                    ]
                },
                required: 1,
                sampled: false,
                possible: FROM_ZERO,
                ..NOTHING
            },
        }
    }

    /// Computes it; nothing where it is not defined.
    pub fn estimate(self, arguments: &[f64]) -> Option<Estimate> {
        let per = |at: usize| arguments.get(at).copied().unwrap_or(rates::PER);
        match (self, arguments) {
            (Self::EventCount, [events, ..]) => Some(rates::event_count(*events)),
            (Self::CrudeRate, [events, persons, ..]) => {
                rates::crude_rate(*events, *persons, per(2))
            }
            (Self::Share, [part, whole, ..]) => rates::share(*part, *whole),
            (Self::StandardisedRatio, [observed, expected, ..]) => {
                rates::standardised_ratio(*observed, *expected)
            }
            (Self::SampleMean, [average, variance, rows, ..]) => {
                rates::sample_mean(*average, *variance, *rows)
            }
            (Self::RateDifference, [a, n, b, m, ..]) => {
                comparison::rate_difference((*a, *n), (*b, *m), per(4))
            }
            (Self::RateRatio, [a, n, b, m, ..]) => comparison::rate_ratio((*a, *n), (*b, *m)),
            (Self::FunnelProportionLow | Self::FunnelProportionHigh, [target, size, rest @ ..]) => {
                let (low, high) = funnel::proportion(*target, *size, Width::new(rest)?)?;
                let wanted = if self == Self::FunnelProportionLow {
                    low
                } else {
                    high
                };
                Some(Estimate::alone(wanted))
            }
            (Self::FunnelRatioLow | Self::FunnelRatioHigh, [expected, rest @ ..]) => {
                let (low, high) = funnel::ratio(*expected, Width::new(rest)?)?;
                let wanted = if self == Self::FunnelRatioLow {
                    low
                } else {
                    high
                };
                Some(Estimate::alone(wanted))
            }
            _ => None,
        }
    }
}

impl OfRows {
    fn description(self) -> Description {
        let pool = |name| Description {
            name,
            arguments: POOL,
            required: 2,
            noise_of: Some(0),
            ..NOTHING
        };
        let about_pool = |name| Description {
            sampled: false,
            possible: FROM_ZERO,
            ..pool(name)
        };
        let pooled = |name| Description {
            includes_noise: true,
            null: NO_DIFFERENCE,
            ..pool(name)
        };
        match self {
            Self::DirectRate => Description {
                name: "direct_rate",
                arguments: const {
                    &[
                        any("events"),
                        any("persons"),
                        from_zero("weight"),
                        positive("per"),
                    ]
                },
                required: 3,
                possible: FROM_ZERO,
                ..NOTHING
            },
            Self::DifferenceInDifferences => Description {
                name: "difference_in_differences",
                arguments: FOUR,
                required: 4,
                null: NO_DIFFERENCE,
                ..NOTHING
            },
            Self::RatioOfRateRatios => Description {
                name: "ratio_of_rate_ratios",
                arguments: FOUR.split_at(4).0,
                required: 4,
                null: NO_RATIO,
                possible: FROM_ZERO,
                ..NOTHING
            },
            Self::PooledFixed => pooled("pooled_fixed"),
            Self::PooledRandom => pooled("pooled_random"),
            Self::TauSquared => about_pool("tau_squared"),
            Self::ISquared => Description {
                possible: (0.0, 1.0),
                ..about_pool("i_squared")
            },
            Self::HeterogeneityQ => about_pool("heterogeneity_q"),
            Self::HeterogeneityP => Description {
                possible: (0.0, 1.0),
                ..about_pool("heterogeneity_p")
            },
            Self::Overdispersion => Description {
                name: "overdispersion",
                arguments: const {
                    &[
                        any("estimate"),
                        any("target"),
                        positive("variance"),
                        from_zero("noise_variance"),
                    ]
                },
                required: 3,
                sampled: false,
                noise_of: Some(0),
                possible: FROM_ZERO,
                ..NOTHING
            },
        }
    }

    /// Computes it over rows of arguments; nothing where it is not defined.
    pub fn estimate<'a>(self, rows: impl Iterator<Item = &'a [f64]>) -> Option<Estimate> {
        match self {
            Self::DirectRate => super::standardised::direct_rate(rows),
            Self::DifferenceInDifferences => comparison::difference_in_differences(rows),
            Self::RatioOfRateRatios => comparison::ratio_of_rate_ratios(rows),
            Self::PooledFixed => Pool::new(rows).map(|pool| pool.fixed()),
            Self::PooledRandom => Pool::new(rows)?.random(),
            Self::TauSquared => Pool::new(rows)?.tau_squared().map(Estimate::alone),
            Self::ISquared => Pool::new(rows)?.i_squared().map(Estimate::alone),
            Self::HeterogeneityQ => Pool::new(rows)?.q().map(Estimate::alone),
            Self::HeterogeneityP => Pool::new(rows)?.q_tail().map(Estimate::alone),
            Self::Overdispersion => funnel::overdispersion(rows).map(Estimate::alone),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_say_what_may_be_left_out() {
        let of = |name| Function::named(name).expect("function").signature();
        assert_eq!(
            of("direct_rate"),
            "direct_rate(events, persons, weight [, per])"
        );
        assert_eq!(
            of("funnel_ratio_low"),
            "funnel_ratio_low(expected [, z [, phi [, noise_variance]]])"
        );
        assert_eq!(of("event_count"), "event_count(events)");
        assert_eq!(Function::named("no_such"), None);
    }

    /// Each is computed from as many arguments as it must have, so none falls through.
    #[test]
    fn every_function_computes() {
        for function in Function::ALL {
            let described = function.description();
            let row: Vec<f64> = (1..=described.arguments.len())
                .map(|at| at as f64)
                .collect();
            let value = match function {
                Function::Row(OfRow::FunnelProportionLow | OfRow::FunnelProportionHigh) => {
                    assert!(OfRow::FunnelProportionLow.estimate(&[0.5, 9.0]).is_some());
                    continue;
                }
                Function::Row(of_row) => of_row.estimate(&row[..described.required]),
                Function::Rows(OfRows::DifferenceInDifferences | OfRows::RatioOfRateRatios) => {
                    continue;
                }
                Function::Rows(of_rows) => {
                    of_rows.estimate([row.as_slice(), row.as_slice()].into_iter())
                }
            };
            assert!(value.is_some(), "{}", described.name);
            assert!(described.arguments.len() >= described.required);
        }
    }
}
