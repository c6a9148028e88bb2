//! Whether the regions' budgets last for the weeks that are left.

use serde_json::Value as Json;
use skerry_proto::{Epsilon, Refusal};

use super::settings::StandingQuestion;
use crate::{question::Question, service::Coordinator};

/// What was found out, in a sentence.
pub(super) struct Lasting {
    /// Whether all regions said that it lasts.
    pub sure: bool,
    /// The sentence.
    pub text: String,
}

/// Asks for a quote of the period's first week, and for the budgets. Nothing is charged.
pub(super) async fn lasting(
    coordinator: &Coordinator,
    question: &StandingQuestion,
    epsilon: Epsilon,
    weeks_left: usize,
) -> Result<Lasting, Refusal> {
    let quote = Question {
        project: Some(question.project.clone()),
        epsilon: Some(epsilon),
        explain: true,
        ..Question::new(question.sql(question.period.first)?)
    };
    coordinator.answer(&quote).await?;
    let budget = coordinator.budget(&question.project).await?;
    Ok(compared(&budget, epsilon, weeks_left))
}

/// Holds what is left against what is needed. Epsilons add up at the most, so that enough for their
/// sum is enough.
fn compared(budget: &Json, epsilon: Epsilon, weeks_left: usize) -> Lasting {
    let needed = epsilon.nano() as f64 * weeks_left as f64 / Epsilon::UNIT as f64;
    let mut short = Vec::new();
    let regions = budget.get("regions").and_then(Json::as_object);
    for (region, amounts) in regions.into_iter().flatten() {
        let left = ["project", "total"]
            .into_iter()
            .filter_map(|of| amounts.get(of)?.get("epsilon_left")?.as_f64())
            .fold(f64::INFINITY, f64::min);
        if left < needed {
            let weeks = (left / epsilon.to_f64()).floor();
            short.push(format!("{region} has ε = {left} left, for {weeks} of them"));
        }
    }
    let silent = budget.get("missing").and_then(Json::as_array);
    for region in silent.into_iter().flatten().filter_map(Json::as_str) {
        short.push(format!("{region} doesn't say what it has left"));
    }
    let need = format!(
        "{weeks_left} weeks at ε = {} need at most ε = {needed} in each region",
        epsilon.to_f64()
    );
    match short.as_slice() {
        [] => Lasting {
            sure: true,
            text: format!("{need}, and all have it"),
        },
        short => Lasting {
            sure: false,
            text: format!("{need}, but {}", short.join("; ")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_region_that_runs_out_is_named_with_the_weeks_it_lasts() {
        let left = |project: f64, total: f64| json!({"project": {"epsilon_left": project}, "total": {"epsilon_left": total}});
        let epsilon = Epsilon::try_from(0.1).expect("epsilon");
        let budget =
            json!({"regions": {"a": left(5.2, 30.0), "b": left(10.0, 3.05)}, "missing": []});
        let lasting = compared(&budget, epsilon, 30);
        assert!(lasting.sure, "{}", lasting.text);
        let lasting = compared(&budget, epsilon, 52);
        assert!(!lasting.sure);
        assert!(
            lasting.text.contains("b has ε = 3.05 left, for 30 of them"),
            "{}",
            lasting.text
        );
        assert!(!lasting.text.contains("a has"), "{}", lasting.text);
        let silent = json!({"regions": {}, "missing": ["c"]});
        assert!(compared(&silent, epsilon, 1).text.contains("c doesn't say"));
    }
}
