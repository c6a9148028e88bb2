//! What a statement with an accuracy is asked with.

use skerry_proto::{Epsilon, ErrorCode, Refusal};

use super::{
    Accuracy,
    search::{Least, Search},
    sizes::{self, Looked},
};
use crate::{
    dispatch::{Quoted, Terms},
    options::{Bounds, Statement},
    plan::Planned,
    question::Question,
    refuse::refuse,
    regions::Region,
};

/// An accuracy in place of an ε, and what may be spent on it at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    accuracy: Accuracy,
    most: Option<Epsilon>,
}

impl Wanted {
    /// From the call and the statement; an ε beside an accuracy is the most that may be spent.
    pub fn of(question: &Question, statement: &Statement) -> Result<Option<Self>, Refusal> {
        if matches!((question.accuracy, statement.accuracy), (Some(a), Some(b)) if a != b) {
            return refuse(
                ErrorCode::InvalidParameter,
                "the statement and the call ask for different accuracy",
                "Say it in one place.",
            );
        }
        let accuracy = statement.accuracy.or(question.accuracy);
        Ok(accuracy.map(|accuracy| Self {
            accuracy,
            most: statement.epsilon.or(question.epsilon),
        }))
    }
}

/// A statement's quotes, at the ε that it will be asked with.
pub(crate) struct Sought {
    /// With that ε.
    pub terms: Terms,
    /// At that ε.
    pub quoted: Quoted,
    /// What was released to find out how large the figures are.
    pub looked: Option<Looked>,
    /// Where a region has less left than that: what is said if it has no stored answer either.
    pub beyond: Option<Refusal>,
}

impl Sought {
    /// Of a statement with an ε of its own.
    pub fn given(terms: Terms, quoted: Quoted) -> Self {
        Self {
            terms,
            quoted,
            looked: None,
            beyond: None,
        }
    }
}

/// The least ε that is accurate enough, with its quotes. Sizes of figures are looked for, which is
/// charged, if the accuracy hangs on them.
pub(crate) async fn sought(
    regions: &[Region],
    planned: &Planned,
    mut terms: Terms,
    wanted: Wanted,
    explain: bool,
) -> Result<Sought, Refusal> {
    let Wanted { accuracy, most } = wanted;
    terms.bounds = match terms.bounds {
        Bounds::Automatic | Bounds::Declared => Bounds::Declared,
        Bounds::Found => {
            return refuse(
                ErrorCode::InvalidParameter,
                "how much noise there is under bounds that are still to be found can't be promised",
                "Give an epsilon in place of the accuracy, or bounds = 'declared', or bounds of \
                 your own.",
            );
        }
    };
    let (target, looked) = match accuracy {
        Accuracy::Absolute(target) => (target, None),
        Accuracy::Share { percent, of } => (percent / 100.0 * of, None),
        Accuracy::OfFigures(percent) if explain => {
            return refuse(
                ErrorCode::InvalidParameter,
                format!("±{percent}% of figures that aren't known yet can't be explained"),
                format!("Say of which size, as in '±{percent}% of 2000'."),
            );
        }
        Accuracy::OfFigures(percent) => {
            let looked = sizes::look(regions, planned, &terms, percent, most).await?;
            (looked.target, Some(looked))
        }
    };
    let spent = looked.as_ref().map_or(0.0, |looked| looked.epsilon);
    let most = match most {
        Some(most) => Some(
            Epsilon::try_from(most.to_f64() - spent)
                .map_err(|error| Refusal::new(ErrorCode::BudgetExhausted, error.to_string(), ""))?,
        ),
        None => None,
    };
    let told = |refusal: Refusal| match &looked {
        Some(looked) => Refusal {
            hint: refusal.hint.replace(
                "Nothing was charged.",
                &format!("Looking at the figures' size took {:.3}.", looked.epsilon),
            ),
            ..refusal
        },
        None => refusal,
    };
    let search = Search {
        regions,
        planned,
        terms: &terms,
    };
    let least = search.least(target, most).await;
    let Least {
        epsilon,
        quoted,
        beyond,
    } = least.map_err(told)?;
    let beyond = beyond.map(told);
    terms.epsilon = epsilon;
    Ok(Sought {
        terms,
        quoted,
        looked,
        beyond,
    })
}
