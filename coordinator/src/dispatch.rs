//! Asks the regions: all quotes first, so that a refusal anywhere costs nothing anywhere, then
//! the releases, all at once and until one deadline.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use datafusion::logical_expr::LogicalPlan;
use futures::future::join_all;
use sha2::{Digest, Sha256};
use skerry_proto::{
    CONTRACT_VERSION, Delta, Epsilon, ErrorCode, ProjectId, QueryId, Refusal, RegionId, wire,
};

use crate::{
    bounds::Given,
    frontier::Frontier,
    merge::{self, Reply},
    options::Bounds,
    prune,
    refuse::refuse,
    regions::Region,
};

/// What a statement is asked with.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// Whose budget.
    pub project: ProjectId,
    /// Of the whole statement.
    pub epsilon: Epsilon,
    /// Of the whole statement.
    pub delta: Delta,
    /// 0: as many as the policy allows.
    pub max_groups_contributed: u64,
    /// Bounds that the researcher gives.
    pub given: Given,
    /// Whose bounds hold else.
    pub bounds: Bounds,
    /// Of the whole statement.
    pub query_id: QueryId,
    /// A new draw is wanted.
    pub fresh: bool,
    /// An answer without some regions is wanted.
    pub allow_missing: bool,
    /// Nothing will be released: what regions refuse is told of, one by one.
    pub explaining: bool,
    /// When waiting ends.
    pub deadline: Instant,
}

/// Quotes of one frontier by those regions that gave one.
pub(crate) type Quotes = Vec<(RegionId, wire::Quote)>;

/// What was found out before anything is paid.
#[derive(Debug, Default)]
pub(crate) struct Quoted {
    /// One entry per frontier.
    pub frontiers: Vec<(wire::Question, Quotes)>,
    /// Regions that can't or won't answer, and why.
    pub missing: BTreeMap<RegionId, Refusal>,
}

/// What the regions released.
#[derive(Debug)]
pub(crate) struct Asked {
    /// One entry per frontier.
    pub replies: Vec<Vec<Reply>>,
    /// Regions that are not in any of them though they should be, and why.
    pub missing: BTreeMap<RegionId, Refusal>,
}

impl Terms {
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Each release's share, rounded down.
    fn share(&self, releases: usize) -> Result<(Epsilon, Delta), Refusal> {
        let releases = releases.max(1) as u64;
        let too_small = |_| {
            Refusal::new(
                ErrorCode::InvalidParameter,
                format!("the statement needs {releases} releases, too many for this budget"),
                "Ask with a larger epsilon or delta, or for less at once.",
            )
        };
        Ok((
            Epsilon::from_nano(self.epsilon.nano() / releases).map_err(too_small)?,
            Delta::from_atto(self.delta.atto() / releases).map_err(too_small)?,
        ))
    }

    /// The id of one release of the statement.
    fn release_id(&self, frontier: usize) -> Result<QueryId, Refusal> {
        derived_id(&self.query_id, &(frontier + 1).to_string())
    }
}

/// An id that belongs to a statement's, the same for each retry.
pub(crate) fn derived_id(id: &QueryId, part: &str) -> Result<QueryId, Refusal> {
    let id = id.as_str();
    let named = format!("{id}.{part}");
    named
        .parse()
        .or_else(|_| {
            // Too long with the suffix: the id's own hash stands for it.
            let short = hex::encode(&Sha256::digest(id.as_bytes())[..20]);
            format!("{short}.{part}").parse()
        })
        .map_err(|error: skerry_proto::IdError| {
            Refusal::new(ErrorCode::InvalidParameter, error.to_string(), "")
        })
}

/// Whether a region that refuses so may be left out when asked to.
fn can_be_missing(refusal: &Refusal) -> bool {
    matches!(
        refusal.code,
        ErrorCode::Unavailable
            | ErrorCode::RegionMissing
            | ErrorCode::BudgetExhausted
            | ErrorCode::Failed
    )
}

fn named(region: &RegionId, refusal: Refusal) -> Refusal {
    Refusal {
        message: format!("region `{region}`: {}", refusal.message),
        ..refusal
    }
}

/// Asks every region that has rows for it to quote every frontier.
pub(crate) async fn quote(
    regions: &[Region],
    frontiers: &[Frontier],
    terms: &Terms,
) -> Result<Quoted, Refusal> {
    let (epsilon, delta) = terms.share(frontiers.len())?;
    let mut quoted = Quoted::default();
    for frontier in frontiers {
        let question = wire::Question {
            contract_version: CONTRACT_VERSION,
            project: terms.project.to_string(),
            plan: frontier.plan.to_vec(),
            epsilon_nano: epsilon.nano(),
            delta_atto: delta.atto(),
            max_groups_contributed: terms.max_groups_contributed,
            ..wire::Question::default()
        };
        let plan = LogicalPlan::Aggregate(frontier.aggregate.clone());
        let asked: Vec<&Region> = regions
            .iter()
            .filter(|region| !prune::never(&plan, &region.id))
            .collect();
        if asked.is_empty() {
            let known: Vec<&str> = regions.iter().map(|region| region.id.as_str()).collect();
            return refuse(
                ErrorCode::InvalidParameter,
                "no region is one that the condition on `region` names",
                format!("The regions are {}.", known.join(", ")),
            );
        }
        let shape = QuoteShape {
            keys: frontier.keys(),
            aggregates: frontier.aggregate.aggr_expr.len(),
        };
        let mut quotes = one_quote(&asked, shape, &question, terms, &mut quoted.missing).await?;
        let mut question = question;
        if let Some(((_, first), rest)) = quotes.split_first()
            && !rest.iter().all(|(_, other)| merge::agree(first, other))
        {
            same_partition(&quotes)?;
            // Owners declare different ranges: all measure in the hull of them.
            question.frame = merge::hull(quotes.iter().map(|(_, quote)| quote));
            quotes = one_quote(&asked, shape, &question, terms, &mut quoted.missing).await?;
            all_agree(&quotes)?;
        }
        quoted.frontiers.push((question, quotes));
    }
    Ok(quoted)
}

/// Refuses where some regions know all groups beforehand and others release keys above a threshold.
fn same_partition(quotes: &Quotes) -> Result<(), Refusal> {
    let known = |public: bool| {
        let mut quotes = quotes.iter();
        quotes.find(|(_, quote)| quote.threshold.is_none() == public)
    };
    let (Some((public, _)), Some((other, _))) = (known(true), known(false)) else {
        return Ok(());
    };
    refuse(
        ErrorCode::RegionsDisagree,
        format!("region `{public}` gives public values for all keys, and region `{other}` doesn't"),
        "Ask them one by one: WHERE region = '…'.",
    )
}

/// What a quote must have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct QuoteShape {
    /// Keys of a group.
    pub keys: usize,
    /// Aggregates that are finished.
    pub aggregates: usize,
}

/// Refuses quotes whose vectors can't be added.
pub(crate) fn all_agree(quotes: &Quotes) -> Result<(), Refusal> {
    if let Some(((region, first), rest)) = quotes.split_first()
        && let Some((other, _)) = rest.iter().find(|(_, other)| !merge::agree(first, other))
    {
        return refuse(
            ErrorCode::RegionsDisagree,
            format!("regions `{region}` and `{other}` measure differently"),
            "Ask them one by one: WHERE region = '…'.",
        );
    }
    Ok(())
}

/// Asks these regions for their quotes of one question.
pub(crate) async fn one_quote(
    asked: &[&Region],
    shape: QuoteShape,
    question: &wire::Question,
    terms: &Terms,
    missing: &mut BTreeMap<RegionId, Refusal>,
) -> Result<Quotes, Refusal> {
    let calls = asked
        .iter()
        .map(|region| region.node.quote(question.clone(), terms.left()));
    let mut quotes = Vec::new();
    let mut refusals: Vec<(&RegionId, Refusal)> = Vec::new();
    for (region, quote) in asked.iter().zip(join_all(calls).await) {
        match quote {
            Ok(quote) => {
                merge::check_quote(&region.id, &quote, shape.keys, shape.aggregates)?;
                quotes.push((region.id.clone(), quote));
            }
            Err(refusal) if can_be_missing(&refusal) => {
                missing.insert(region.id.clone(), refusal);
            }
            Err(refusal) => refusals.push((&region.id, refusal)),
        }
    }
    if terms.explaining && !quotes.is_empty() {
        for (region, refusal) in refusals {
            missing.insert(region.clone(), refusal);
        }
        return Ok(quotes);
    }
    let alike = quotes.is_empty() && refusals.windows(2).all(|pair| pair[0].1 == pair[1].1);
    match refusals.into_iter().next() {
        None => Ok(quotes),
        // What all regions say alike is about the statement, not about one of them.
        Some((_, refusal)) if alike => Err(refusal),
        Some((region, refusal)) => Err(named(region, refusal)),
    }
}

/// Releases what was quoted. A region that misses one release of a statement is left out of all.
///
/// Regions whose budget seems not to be enough come first: they answer from their store or not
/// at all, and if not, the others have not been charged.
pub(crate) async fn release(
    regions: &[Region],
    quoted: Quoted,
    terms: &Terms,
) -> Result<Asked, Refusal> {
    check_missing(&quoted.missing, terms, false)?;
    let mut asked = Asked {
        replies: vec![Vec::new(); quoted.frontiers.len()],
        missing: quoted.missing.clone(),
    };
    let (doubtful, sure): (Vec<&Region>, Vec<&Region>) = regions
        .iter()
        .partition(|region| short_of_budget(&quoted, &region.id));
    for (regions, released) in [(doubtful, false), (sure, true)] {
        release_from(&regions, &quoted, terms, &mut asked).await?;
        check_missing(&asked.missing, terms, released)?;
    }
    for replies in &mut asked.replies {
        replies.retain(|reply| !asked.missing.contains_key(&reply.region));
        replies.sort_by_key(|reply| regions.iter().position(|region| region.id == reply.region));
        if replies.is_empty() {
            return Err(told_missing(&asked.missing, terms, true));
        }
    }
    Ok(asked)
}

/// Whether a region has less left than all its releases of the statement cost.
fn short_of_budget(quoted: &Quoted, region: &RegionId) -> bool {
    let quotes = || {
        let all = quoted.frontiers.iter().flat_map(|(_, quotes)| quotes);
        all.filter(|(id, _)| id == region).map(|(_, quote)| quote)
    };
    let cost: u64 = quotes()
        .filter_map(|quote| quote.cost.as_ref())
        .map(|cost| cost.epsilon_nano)
        .fold(0, u64::saturating_add);
    quotes()
        .filter_map(|quote| quote.budget.as_ref())
        .flat_map(|budget| [budget.project.as_ref(), budget.total.as_ref()])
        .flatten()
        .any(|allowance| allowance.epsilon_left_nano < cost)
}

async fn release_from(
    regions: &[&Region],
    quoted: &Quoted,
    terms: &Terms,
    asked: &mut Asked,
) -> Result<(), Refusal> {
    let mut calls = Vec::new();
    for (index, (question, quotes)) in quoted.frontiers.iter().enumerate() {
        let query_id = terms.release_id(index)?;
        for (id, quote) in quotes
            .iter()
            .filter(|(id, _)| !asked.missing.contains_key(id))
        {
            let Some(region) = regions.iter().find(|region| region.id == *id) else {
                continue;
            };
            let request = wire::ReleaseRequest {
                question: Some(question.clone()),
                query_id: query_id.to_string(),
                fresh: terms.fresh,
                deadline_ms: u64::try_from(terms.left().as_millis()).unwrap_or(u64::MAX),
            };
            calls.push(async move {
                let reply = region.node.release(request, terms.left()).await;
                (index, id, quote, reply)
            });
        }
    }
    for (index, id, quote, reply) in join_all(calls).await {
        match reply {
            Ok(reply) => asked.replies[index].push(Reply {
                region: id.clone(),
                quote: quote.clone(),
                released: reply.released,
                charged: reply.charged,
                budget: reply.budget,
            }),
            Err(refusal) if can_be_missing(&refusal) => {
                asked.missing.insert(id.clone(), refusal);
            }
            Err(refusal) => return Err(named(id, refusal)),
        }
    }
    Ok(())
}

fn check_missing(
    missing: &BTreeMap<RegionId, Refusal>,
    terms: &Terms,
    released: bool,
) -> Result<(), Refusal> {
    if missing.is_empty() || terms.allow_missing {
        return Ok(());
    }
    Err(told_missing(missing, terms, released))
}

/// Who is missing and why. One region's own refusal keeps its code.
pub(crate) fn told_missing(
    missing: &BTreeMap<RegionId, Refusal>,
    terms: &Terms,
    released: bool,
) -> Refusal {
    let reasons: Vec<String> = missing
        .iter()
        .map(|(region, refusal)| format!("region `{region}`: {}", refusal.message))
        .collect();
    let codes: BTreeSet<&str> = missing
        .values()
        .map(|refusal| refusal.code.as_str())
        .collect();
    let code = match missing.values().next() {
        Some(refusal)
            if codes.len() == 1
                && matches!(refusal.code, ErrorCode::BudgetExhausted | ErrorCode::Failed) =>
        {
            refusal.code
        }
        _ => ErrorCode::RegionMissing,
    };
    let paid = if released {
        format!(
            " What the others released is kept: asking again with the query id {} costs nothing \
             there.",
            terms.query_id
        )
    } else {
        " Nothing was charged.".to_owned()
    };
    Refusal::new(
        code,
        format!("not all regions answered: {}", reasons.join("; ")),
        format!("Ask again later, or allow missing regions to get the others' answer.{paid}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(id: &str, epsilon: f64) -> Terms {
        Terms {
            project: "p".parse().expect("project"),
            epsilon: Epsilon::try_from(epsilon).expect("epsilon"),
            delta: Delta::ZERO,
            max_groups_contributed: 0,
            given: Given::default(),
            bounds: Bounds::Automatic,
            query_id: id.parse().expect("id"),
            fresh: false,
            allow_missing: false,
            explaining: false,
            deadline: Instant::now(),
        }
    }

    #[test]
    fn releases_share_epsilon_rounded_down() {
        let nano = |releases| terms("q", 1.0).share(releases).map(|(e, _)| e.nano());
        assert_eq!(nano(1), Ok(1_000_000_000));
        assert_eq!(nano(3), Ok(333_333_333));
        assert!(terms("q", 1e-6).share(2).is_err());
    }

    #[test]
    fn release_ids_stay_ids() {
        let short = terms("q", 1.0).release_id(0).map(|id| id.to_string());
        assert_eq!(short, Ok("q.1".to_owned()));
        let long = terms(&"x".repeat(64), 1.0);
        let ids = [long.release_id(0), long.release_id(0), long.release_id(1)];
        assert_eq!(ids[0], ids[1]);
        assert_ne!(ids[0], ids[2]);
        assert!(ids[0].is_ok());
    }
}
