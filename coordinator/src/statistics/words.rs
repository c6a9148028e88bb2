//! Words of SQL that stand for more than one call: what is known of a statistic beside its value.
//!
//! `total_low(crude_rate(n, persons))` becomes, before it is planned,
//! `__total_limit(crude_rate(n, persons), __low_of_crude_rate(n, persons),
//! crude_rate(n, persons) - __noise_below(crude_rate(n, persons)))`. A call of a known function
//! with arguments that it can't take is refused here, by name.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Function as Call, FunctionArg, FunctionArgExpr, FunctionArguments, Ident,
    Select, SelectItem, Statement, Visit, VisitMut, Visitor, VisitorMut,
};
use skerry_proto::{ErrorCode, Refusal};

use self::syntax::{arguments, binary, called, is_text, literal, name, number, renamed, size};
use super::{
    combined::Combination,
    comparison::Null,
    estimate::Part,
    function::{Domain, Function},
    noise_of::Aspect,
};

mod syntax;
#[cfg(test)]
mod tests;

/// Expressions that spelling out may make of one statement.
const EXPRESSIONS: usize = 20_000;

/// A word of ours that is no function of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// Of any number.
    Noise(NoiseWord),
    /// Of a call of a statistic.
    Statistic(StatisticWord),
    /// Limits of a count: the total ones of `event_count`, or of a standardised rate:
    /// those of `direct_rate`.
    Limit {
        of: &'static str,
        bound: StatisticWord,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoiseWord {
    Sd,
    Variance,
    Low,
    High,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StatisticWord {
    SamplingSd,
    SamplingVariance,
    SamplingLow,
    SamplingHigh,
    TotalSd,
    TotalLow,
    TotalHigh,
    ZScore,
    PValue,
}

/// The words, for the documents to have all of.
#[cfg(test)]
pub(crate) const WORDS: [&str; 17] = [
    "noise_sd",
    "noise_variance",
    "noise_low",
    "noise_high",
    "sampling_sd",
    "sampling_variance",
    "sampling_low",
    "sampling_high",
    "total_sd",
    "total_low",
    "total_high",
    "z_score",
    "p_value",
    "byar_low",
    "byar_high",
    "dobson_low",
    "dobson_high",
];

impl Word {
    fn named(name: &str) -> Option<Self> {
        let limit = |of, bound| Self::Limit { of, bound };
        Some(match name {
            "noise_sd" => Self::Noise(NoiseWord::Sd),
            "noise_variance" => Self::Noise(NoiseWord::Variance),
            "noise_low" => Self::Noise(NoiseWord::Low),
            "noise_high" => Self::Noise(NoiseWord::High),
            "sampling_sd" => Self::Statistic(StatisticWord::SamplingSd),
            "sampling_variance" => Self::Statistic(StatisticWord::SamplingVariance),
            "sampling_low" => Self::Statistic(StatisticWord::SamplingLow),
            "sampling_high" => Self::Statistic(StatisticWord::SamplingHigh),
            "total_sd" => Self::Statistic(StatisticWord::TotalSd),
            "total_low" => Self::Statistic(StatisticWord::TotalLow),
            "total_high" => Self::Statistic(StatisticWord::TotalHigh),
            "z_score" => Self::Statistic(StatisticWord::ZScore),
            "p_value" => Self::Statistic(StatisticWord::PValue),
            "byar_low" => limit("event_count", StatisticWord::TotalLow),
            "byar_high" => limit("event_count", StatisticWord::TotalHigh),
            "dobson_low" => limit("direct_rate", StatisticWord::TotalLow),
            "dobson_high" => limit("direct_rate", StatisticWord::TotalHigh),
            _ => return None,
        })
    }
}

/// Spells our words out, and refuses calls that can't be.
pub(crate) fn spell_out(statement: &mut Statement) -> Result<(), Refusal> {
    let mut speller = Speller { made: 0 };
    match VisitMut::visit(statement, &mut speller) {
        ControlFlow::Break(refusal) => Err(refusal),
        ControlFlow::Continue(()) => Ok(()),
    }
}

struct Speller {
    made: usize,
}

fn bad<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(ErrorCode::InvalidParameter, message, hint))
}

fn noise(aspect: Aspect, of: Expr) -> Expr {
    called(aspect.function(), vec![of])
}

/// Refuses a call whose arguments are too few, too many, or written out of their domain.
fn check(function: Function, call: &Call) -> Result<(), Refusal> {
    let described = function.description();
    let signature = function.signature();
    let hint = format!("Write {signature}.");
    let Some(given) = arguments(call) else {
        return bad(
            format!("`{}` takes its arguments one by one", described.name),
            hint,
        );
    };
    let range = described.required..=described.arguments.len();
    if !range.contains(&given.len()) {
        return bad(
            format!("`{}` is given {} arguments", described.name, given.len()),
            hint,
        );
    }
    if let FunctionArguments::List(list) = &call.args
        && list.duplicate_treatment.is_some()
    {
        return bad(
            format!("`{}` can't be of DISTINCT rows", described.name),
            hint,
        );
    }
    for (argument, expr) in described.arguments.iter().zip(given) {
        let wrong = |what: &str| {
            bad(
                format!(
                    "`{}` of {signature} must be {what}, not {expr}",
                    argument.name
                ),
                "",
            )
        };
        if is_text(expr) {
            return wrong("a number");
        }
        let Some(value) = literal(expr) else {
            continue;
        };
        match argument.domain {
            Domain::Positive if value <= 0.0 => return wrong("greater than 0"),
            Domain::NotNegative if value < 0.0 => return wrong("0 or more"),
            Domain::Share if !(0.0..=1.0).contains(&value) => return wrong("from 0 to 1"),
            Domain::Mark if value != 0.0 && value != 1.0 => return wrong("true or false"),
            _ => {}
        }
    }
    Ok(())
}

/// Whether one of our words is in it, so that spelling it out would change its name.
fn has_word(part: &Expr) -> bool {
    struct Find;
    impl Visitor for Find {
        type Break = ();

        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let ours = |name: &str| {
                let pooled = Function::named(name)
                    .is_some_and(|function| function.description().noise_of.is_some());
                pooled || Word::named(name).is_some()
            };
            match expr {
                Expr::Function(call) if name(call).is_some_and(|name| ours(&name)) => {
                    ControlFlow::Break(())
                }
                _ => ControlFlow::Continue(()),
            }
        }
    }
    Visit::visit(part, &mut Find).is_break()
}

/// A call of a statistic, and all that can be asked of it.
struct Sampled<'a> {
    call: &'a Call,
    name: &'static str,
    includes_noise: bool,
    null: Option<Null>,
}

impl Sampled<'_> {
    fn value(&self) -> Expr {
        Expr::Function(self.call.clone())
    }

    fn part(&self, part: Part) -> Expr {
        renamed(self.call, &part.function(self.name))
    }

    /// What noise does to it, where its own variance has that not in it already.
    fn noise(&self, aspect: Aspect) -> Expr {
        if self.includes_noise {
            number(0.0)
        } else {
            noise(aspect, self.value())
        }
    }

    fn total_limit(&self, sampling: Part, aspect: Aspect, op: BinaryOperator) -> Expr {
        let noise_limit = binary(self.value(), op, self.noise(aspect));
        let arguments = vec![self.value(), self.part(sampling), noise_limit];
        called(Combination::Limit.function(), arguments)
    }

    fn tested(&self, combination: Combination) -> Result<Expr, Refusal> {
        let Some(null) = self.null else {
            return bad(
                format!("`{}` has no value that says «no difference»", self.name),
                "Test rate_difference, rate_ratio, standardised_ratio, difference_in_differences, \
                 ratio_of_rate_ratios or a pooled estimate.",
            );
        };
        let arguments = vec![
            self.value(),
            self.part(Part::Variance),
            self.noise(Aspect::Below),
            self.noise(Aspect::Above),
            number(null.value),
            number(f64::from(u8::from(null.logarithm))),
        ];
        Ok(called(combination.function(), arguments))
    }

    fn spelled(&self, word: StatisticWord) -> Result<Expr, Refusal> {
        Ok(match word {
            StatisticWord::SamplingVariance => self.part(Part::Variance),
            StatisticWord::SamplingSd => called("sqrt", vec![self.part(Part::Variance)]),
            StatisticWord::SamplingLow => self.part(Part::Low),
            StatisticWord::SamplingHigh => self.part(Part::High),
            StatisticWord::TotalSd => {
                let both = binary(
                    self.part(Part::Variance),
                    BinaryOperator::Plus,
                    self.noise(Aspect::Variance),
                );
                called("sqrt", vec![both])
            }
            StatisticWord::TotalLow => {
                self.total_limit(Part::Low, Aspect::Below, BinaryOperator::Minus)
            }
            StatisticWord::TotalHigh => {
                self.total_limit(Part::High, Aspect::Above, BinaryOperator::Plus)
            }
            StatisticWord::ZScore => self.tested(Combination::ZScore)?,
            StatisticWord::PValue => self.tested(Combination::PValue)?,
        })
    }
}

impl Speller {
    fn spelled(&mut self, call: &Call) -> Result<Option<Expr>, Refusal> {
        let Some(name) = name(call) else {
            return Ok(None);
        };
        if name.starts_with("__") {
            return bad(
                format!("there is no function `{name}`"),
                "Names that begin with two underscores are the coordinator's own.",
            );
        }
        if let Some(function) = Function::named(&name) {
            check(function, call)?;
            return Ok(with_noise(function, call));
        }
        let Some(word) = Word::named(&name) else {
            return Ok(None);
        };
        let inner = |hint: String| -> Result<Vec<&Expr>, Refusal> {
            match arguments(call) {
                Some(given) if !given.is_empty() => Ok(given),
                _ => bad(format!("`{name}` is given nothing to tell of"), hint),
            }
        };
        let spelled = match word {
            Word::Noise(word) => {
                let hint = format!("Write {name}(x), x any number.");
                let given = inner(hint.clone())?;
                let [of] = given.as_slice() else {
                    return bad(format!("`{name}` takes one argument"), hint);
                };
                of_noise(word, of)
            }
            Word::Statistic(word) => {
                let hint = format!(
                    "Write the statistic inside: {name}(direct_rate(events, persons, weight))."
                );
                let given = inner(hint.clone())?;
                let [Expr::Function(statistic)] = given.as_slice() else {
                    return bad(
                        format!("`{name}` can only be told of a call of a statistic"),
                        hint,
                    );
                };
                sampled(statistic, &hint)?.spelled(word)?
            }
            Word::Limit { of, bound } => {
                let Expr::Function(statistic) = renamed(call, of) else {
                    return Ok(None);
                };
                if let Some(function) = Function::named(of) {
                    check(function, &statistic)?;
                }
                sampled(&statistic, "")?.spelled(bound)?
            }
        };
        Ok(Some(spelled))
    }
}

/// The statistic that is called.
fn sampled<'a>(call: &'a Call, hint: &str) -> Result<Sampled<'a>, Refusal> {
    let described = name(call)
        .and_then(|name| Function::named(&name))
        .map(Function::description)
        .filter(|described| described.sampled);
    match described {
        Some(described) => Ok(Sampled {
            call,
            name: described.name,
            includes_noise: described.includes_noise,
            null: described.null,
        }),
        None => bad(
            format!("`{}` is no statistic whose chance is known", call.name),
            hint,
        ),
    }
}

fn of_noise(word: NoiseWord, of: &Expr) -> Expr {
    let limit = |op, aspect| {
        binary(
            Expr::Nested(Box::new(of.clone())),
            op,
            noise(aspect, of.clone()),
        )
    };
    match word {
        NoiseWord::Variance => noise(Aspect::Variance, of.clone()),
        NoiseWord::Sd => called("sqrt", vec![noise(Aspect::Variance, of.clone())]),
        NoiseWord::Low => limit(BinaryOperator::Minus, Aspect::Below),
        NoiseWord::High => limit(BinaryOperator::Plus, Aspect::Above),
    }
}

/// A pool's estimates bring their noise along, where it is not given.
fn with_noise(function: Function, call: &Call) -> Option<Expr> {
    let described = function.description();
    let of = described.noise_of?;
    let given = arguments(call)?;
    if given.len() == described.arguments.len() {
        return None;
    }
    let added = noise(Aspect::Variance, (*given.get(of)?).clone());
    let mut call = call.clone();
    if let FunctionArguments::List(list) = &mut call.args {
        list.args
            .push(FunctionArg::Unnamed(FunctionArgExpr::Expr(added)));
    }
    Some(Expr::Function(call))
}

impl VisitorMut for Speller {
    type Break = Refusal;

    fn pre_visit_select(&mut self, select: &mut Select) -> ControlFlow<Refusal> {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) = item
                && has_word(expr)
            {
                let alias = Ident::with_quote('"', expr.to_string());
                *item = SelectItem::ExprWithAlias {
                    expr: expr.clone(),
                    alias,
                };
            }
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<Refusal> {
        let Expr::Function(call) = &*expr else {
            return ControlFlow::Continue(());
        };
        // What this call itself was made into is not visited again.
        match self.spelled(call) {
            Ok(None) => ControlFlow::Continue(()),
            Ok(Some(spelled)) => {
                self.made += size(&spelled);
                if self.made > EXPRESSIONS {
                    return ControlFlow::Break(Refusal::new(
                        ErrorCode::TooLarge,
                        "too many statistics within each other",
                        "Compute the inner ones in a subquery.",
                    ));
                }
                *expr = spelled;
                ControlFlow::Continue(())
            }
            Err(refusal) => ControlFlow::Break(refusal),
        }
    }
}
