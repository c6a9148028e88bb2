//! Between the wire's messages and the domain: requests come in, quotes and budgets go out.

use std::time::Duration;

use skerry_privacy::{
    analysis::{
        Frame, Partition, Purpose, Quote, Range, Request,
        aggregate::{Finish, Statistic},
        measure::{Counted, Factor, Measure},
    },
    mechanism::{Mechanism, Noise, threshold::Threshold},
    policy::{Domain, Ownership, TablePolicy},
    question::{Pair, Spread},
};
use skerry_proto::{DataType, Delta, Epsilon, ErrorCode, Refusal, Value, limit, wire};

use crate::{
    ledger::{AllowanceStatus, BudgetStatus, LedgerError, Limit},
    node::Node,
};

/// How long a question waits for the same question's answer that is being made.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// The parameters of a question.
///
/// # Errors
/// A refusal that names the parameter.
pub(crate) fn request(question: &wire::Question) -> Result<Request, Refusal> {
    let invalid = |error: skerry_proto::ParameterError| {
        Refusal::new(ErrorCode::InvalidParameter, error.to_string(), "")
    };
    if question.frame.len() > limit::AGGREGATES * 6 {
        return Err(Refusal::new(
            ErrorCode::TooLarge,
            "the frame has too many measures",
            "",
        ));
    }
    let unknown = |what: &str| {
        Refusal::new(
            ErrorCode::InvalidParameter,
            format!("the question has a {what} that this node doesn't know"),
            "use the same version of Skerry at all regions and the coordinator",
        )
    };
    Ok(Request {
        epsilon: Epsilon::from_nano(question.epsilon_nano).map_err(invalid)?,
        delta: Delta::from_atto(question.delta_atto).map_err(invalid)?,
        max_groups: (question.max_groups_contributed > 0)
            .then_some(question.max_groups_contributed),
        frame: question.frame.iter().map(frame).collect(),
        purpose: match wire::Purpose::try_from(question.purpose) {
            Ok(wire::Purpose::Answer) => Purpose::Answer,
            Ok(wire::Purpose::Totals) => Purpose::Totals,
            Err(_) => return Err(unknown("purpose")),
        },
        count_clipped: question.count_clipped,
        mechanism: match wire::Mechanism::try_from(question.mechanism) {
            Ok(wire::Mechanism::Unspecified) => None,
            Ok(wire::Mechanism::DiscreteLaplace) => Some(Mechanism::DiscreteLaplace),
            Ok(wire::Mechanism::DiscreteGaussian) => Some(Mechanism::DiscreteGaussian),
            Err(_) => return Err(unknown("mechanism")),
        },
    })
}

fn frame(frame: &wire::MeasureFrame) -> Frame {
    Frame {
        rows: frame.rows,
        ranges: frame
            .ranges
            .iter()
            .map(|range| Range {
                low: range.low,
                high: range.high,
                centre: range.centre,
            })
            .collect(),
        values: frame.values.iter().map(Into::into).collect(),
        total: (frame.total != 0.0).then_some(frame.total),
    }
}

fn data_type(plain: DataType) -> i32 {
    wire::DataType::from(plain).into()
}

/// The quote's message.
pub(crate) fn quote(
    node: &Node,
    quote: &Quote,
    request: &Request,
    budget: wire::Budget,
) -> wire::Quote {
    wire::Quote {
        region: node.catalogue.region().to_string(),
        key_types: quote.key_types.iter().map(|key| data_type(*key)).collect(),
        groups: quote.groups().iter().map(|keys| group(keys)).collect(),
        measures: quote.measures.iter().map(measure).collect(),
        aggregates: quote.finishes.iter().map(aggregate).collect(),
        noise: Some(noise(&quote.noise)),
        cost: Some(cost(quote, request)),
        budget: Some(budget),
        clipped_weight: quote.clipped.unwrap_or(0),
        threshold: quote.threshold().map(|of| threshold(quote, of)),
    }
}

/// A group's message.
pub(crate) fn group(keys: &[Value]) -> wire::Group {
    wire::Group {
        keys: keys.iter().map(wire::Value::from).collect(),
    }
}

fn threshold(quote: &Quote, threshold: &Threshold) -> wire::Threshold {
    let mut before = 0;
    let measure = quote.measures.iter().position(|measure| {
        let here = before == threshold.persons_cell();
        before += measure.cells();
        here
    });
    wire::Threshold {
        measure: measure.unwrap_or_default() as u32,
        least: threshold.least(),
        most_keys: threshold.most_keys(),
        delta_atto: threshold.delta().atto(),
    }
}

/// A measure's message.
pub(crate) fn measure(measure: &Measure) -> wire::Measure {
    let factor = |factor: &Factor| wire::Factor {
        low: factor.low,
        high: factor.high,
        centre: factor.centre,
    };
    let mut message = wire::Measure {
        step: measure.grid.step(),
        rows: measure.rows,
        total: measure.total.unwrap_or(0.0),
        ..wire::Measure::default()
    };
    let kind = match &measure.counted {
        Counted::Persons { .. } => wire::MeasureKind::Persons,
        Counted::Rows { .. } => wire::MeasureKind::Rows,
        Counted::Sum(of) => {
            message.factors = vec![factor(of)];
            wire::MeasureKind::Sum
        }
        Counted::Product(first, second) => {
            message.factors = vec![factor(first), factor(second)];
            wire::MeasureKind::Product
        }
        Counted::Bins {
            low, high, edges, ..
        } => {
            message.factors = vec![wire::Factor {
                low: *low,
                high: *high,
                centre: 0.0,
            }];
            message.edges.clone_from(edges);
            wire::MeasureKind::Bins
        }
        Counted::Values { values, .. } => {
            message.values = values.iter().map(wire::Value::from).collect();
            wire::MeasureKind::Values
        }
    };
    message.kind = kind.into();
    message
}

fn aggregate(finish: &Finish) -> wire::Aggregate {
    use wire::AggregateFunction as Function;
    let mut fraction_nano = 0;
    let function = match finish.statistic {
        Statistic::Count => Function::Count,
        Statistic::Sum => Function::Sum,
        Statistic::Average => Function::Average,
        Statistic::Spread(Spread::VariancePopulation) => Function::VariancePopulation,
        Statistic::Spread(Spread::VarianceSample) => Function::VarianceSample,
        Statistic::Spread(Spread::DeviationPopulation) => Function::DeviationPopulation,
        Statistic::Spread(Spread::DeviationSample) => Function::DeviationSample,
        Statistic::Pair(pair) => match pair {
            Pair::CovariancePopulation => Function::CovariancePopulation,
            Pair::CovarianceSample => Function::CovarianceSample,
            Pair::Correlation => Function::Correlation,
            Pair::Slope => Function::Slope,
            Pair::Intercept => Function::Intercept,
            Pair::Determination => Function::Determination,
            Pair::Count => Function::Count,
            Pair::AverageX => Function::AverageX,
            Pair::AverageY => Function::AverageY,
            Pair::SquaresX => Function::SquaresX,
            Pair::SquaresY => Function::SquaresY,
            Pair::Products => Function::Products,
        },
        Statistic::Quantile {
            fraction_nano: fraction,
        } => {
            fraction_nano = fraction;
            Function::Quantile
        }
        Statistic::CountValues => Function::CountValues,
    };
    wire::Aggregate {
        function: function.into(),
        measures: finish.measures.iter().map(|index| *index as u32).collect(),
        data_type: data_type(finish.data_type),
        fraction_nano,
    }
}

/// The noise's message.
pub(crate) fn noise(noise: &Noise) -> wire::Noise {
    wire::Noise {
        mechanism: match noise.mechanism() {
            Mechanism::DiscreteLaplace => wire::Mechanism::DiscreteLaplace,
            Mechanism::DiscreteGaussian => wire::Mechanism::DiscreteGaussian,
        }
        .into(),
        scale: noise.scale(),
        sensitivity: noise.sensitivity(),
    }
}

/// The cost's message: Laplace noise needs no δ, even where one was offered. Of groups above a
/// threshold all of it is spent, by the noise and the threshold together.
pub(crate) fn cost(quote: &Quote, request: &Request) -> wire::Cost {
    wire::Cost {
        epsilon_nano: request.epsilon.nano(),
        delta_atto: match (&quote.partition, quote.noise.mechanism()) {
            (Partition::Public(_), Mechanism::DiscreteLaplace) => 0,
            (Partition::Public(_), Mechanism::DiscreteGaussian) | (Partition::Threshold(_), _) => {
                request.delta.atto()
            }
        },
    }
}

/// The budget's message.
pub(crate) fn budget(status: &BudgetStatus) -> wire::Budget {
    let of = |status: &AllowanceStatus| wire::Allowance {
        epsilon_nano: status.allowance.epsilon.nano(),
        delta_atto: status.allowance.delta.atto(),
        epsilon_spent_nano: status.epsilon_spent_nano,
        epsilon_left_nano: status.epsilon_left_nano,
    };
    wire::Budget {
        project: Some(of(&status.project)),
        total: Some(of(&status.total)),
    }
}

/// The refusal of a question that doesn't fit in a budget.
pub(crate) fn exhausted(limit: Limit, budget: &BudgetStatus, asked: &Request) -> Refusal {
    let (whose, status) = match limit {
        Limit::Project => ("the project", &budget.project),
        Limit::Total => ("all projects together", &budget.total),
    };
    let epsilon = asked.epsilon;
    let left = status.epsilon_left_nano as f64 / Epsilon::UNIT as f64;
    if asked.delta > Delta::ZERO && epsilon.nano() <= status.epsilon_left_nano {
        return Refusal::new(
            ErrorCode::BudgetExhausted,
            format!(
                "delta {} is asked, for which {whose} has not enough left",
                asked.delta
            ),
            "ask with a smaller delta; half of a budget's delta is kept for keys without public values",
        );
    }
    Refusal::new(
        ErrorCode::BudgetExhausted,
        format!("epsilon {epsilon} is asked, and {whose} has {left} left"),
        "ask with a smaller epsilon; a question that was answered before is free",
    )
}

/// The refusal while a node answers nothing, the same for every cause: the causes are the owner's
/// to know, and stand in the owner's log.
pub(crate) fn stopped() -> Refusal {
    Refusal::new(
        ErrorCode::Unavailable,
        "this region's node has stopped answering until its owner has looked at it",
        "nothing was charged; its owner finds the reason in the node's log",
    )
}

/// The refusal while the ledger can't write.
#[expect(
    clippy::needless_pass_by_value,
    reason = "an error handler for `map_err`"
)]
pub(crate) fn ledger_stopped(error: LedgerError) -> Refusal {
    tracing::error!(%error, "the ledger has stopped");
    stopped()
}

/// The catalogue's message.
pub(crate) fn catalogue(node: &Node) -> wire::Catalogue {
    wire::Catalogue {
        contract_version: skerry_proto::CONTRACT_VERSION,
        region: node.catalogue.region().to_string(),
        persons: node.catalogue.persons(),
        tables: node
            .catalogue
            .policy()
            .offered()
            .map(|(name, policy)| table(name, policy))
            .collect(),
        policy_hash: node.policy_hash.to_vec(),
    }
}

fn table(name: &str, table: &TablePolicy) -> wire::Table {
    let (unit, max_rows_per_unit) = match &table.ownership {
        Ownership::Private {
            unit,
            max_rows_per_unit,
        } => (unit.clone(), *max_rows_per_unit),
        Ownership::Public { .. } => (String::new(), 0),
    };
    wire::Table {
        name: name.to_owned(),
        unit,
        max_rows_per_unit,
        columns: table
            .columns
            .iter()
            .map(|column| {
                let (range, values) = match &column.domain {
                    Domain::Unknown => (None, None),
                    Domain::Range(low, high) => (
                        Some(wire::Range {
                            low: Some(low.into()),
                            high: Some(high.into()),
                        }),
                        None,
                    ),
                    Domain::Values(values) => (
                        None,
                        Some(wire::Values {
                            values: values.iter().map(wire::Value::from).collect(),
                        }),
                    ),
                };
                wire::Column {
                    name: column.name.clone(),
                    data_type: data_type(column.data_type),
                    range,
                    values,
                    nulls: column.nulls,
                }
            })
            .collect(),
    }
}
