//! Between quotes and releases: has the bounds of those releases found that are worth it, and quotes
//! the answers with them.

use futures::future::join;
use skerry_proto::{QueryId, Refusal, wire};

use crate::{
    bounds::{self, FoundBound, Plan, Setting},
    dispatch::{self, QuoteShape, Quoted, Quotes, Terms},
    frontier::Frontier,
    merge::Merged,
    options::Bounds,
    regions::Region,
};

/// Questions with the bounds that hold.
#[derive(Debug, Default)]
pub(crate) struct Bounded {
    /// As they will be released.
    pub quoted: Quoted,
    /// For each frontier what was found for each of its measures; nothing where declared or given
    /// bounds hold.
    pub found: Vec<Option<Vec<FoundBound>>>,
    /// What the search for bounds released, which was charged as well.
    pub searched: Vec<dispatch::Asked>,
}

/// Which releases get which bounds, from their quotes.
pub(crate) fn plans(quoted: &Quoted, terms: &Terms) -> Vec<Plan> {
    quoted
        .frontiers
        .iter()
        .map(|(_, quotes)| match quotes.first() {
            Some((_, quote)) => {
                let plan = bounds::plan(terms.bounds, &terms.given, &quote.measures);
                match (plan, &quote.threshold) {
                    // Totals are not told beside keys above a threshold; who asks for them by name is refused.
                    (Plan::Found, Some(_)) if terms.bounds == Bounds::Automatic => Plan::Declared,
                    (plan, _) => plan,
                }
            }
            None => Plan::Declared,
        })
        .collect()
}

/// Finds bounds where that is worth it, which is charged, and asks for new quotes with them.
pub(crate) async fn bound(
    regions: &[Region],
    frontiers: &[Frontier],
    quoted: Quoted,
    terms: &Terms,
) -> Result<Bounded, Refusal> {
    let plans = plans(&quoted, terms);
    let mut bounded = Bounded {
        found: vec![None; plans.len()],
        quoted,
        searched: Vec::new(),
    };
    let wanted: Vec<usize> = (0..plans.len())
        .filter(|index| plans[*index] == Plan::Found)
        .collect();
    let totals = totals(regions, frontiers, &mut bounded.quoted, &wanted, terms).await?;
    for (index, plan) in plans.iter().enumerate() {
        let (question, quotes) = &bounded.quoted.frontiers[index];
        let Some((_, first)) = quotes.first() else {
            continue;
        };
        let (question, frame) = match plan {
            Plan::Declared => continue,
            Plan::Given => (
                question.clone(),
                bounds::given_frame(&first.measures, &terms.given),
            ),
            Plan::Found => {
                let place = wanted.iter().position(|wanted| *wanted == index);
                let replies = place.and_then(|place| totals.as_ref()?.replies.get(place));
                let of_quotes: Vec<&wire::Quote> = quotes.iter().map(|(_, quote)| quote).collect();
                let (Some(replies), Some(setting)) = (replies, Setting::of(&of_quotes)) else {
                    continue;
                };
                let merged = Merged::new(replies)?;
                let found = bounds::choose(&merged, &first.measures, setting);
                let mut frame = question.frame.clone();
                for (frame, found) in frame.iter_mut().zip(&found) {
                    frame.total = found.total.unwrap_or(0.0);
                }
                bounded.found[index] = Some(found);
                (bounds::shares(question)?.1, frame)
            }
        };
        let question = wire::Question {
            frame,
            count_clipped: true,
            mechanism: first.noise.unwrap_or_default().mechanism,
            ..question
        };
        let shape = QuoteShape {
            keys: frontiers[index].keys(),
            aggregates: frontiers[index].aggregate.aggr_expr.len(),
        };
        let asked = still_asked(regions, quotes, &bounded.quoted.missing);
        let missing = &mut bounded.quoted.missing;
        let quotes = dispatch::one_quote(&asked, shape, &question, terms, missing).await?;
        dispatch::all_agree(&quotes)?;
        bounded.quoted.frontiers[index] = (question, quotes);
    }
    bounded.searched.extend(totals);
    Ok(bounded)
}

/// The regions that quoted and are not missing by now.
fn still_asked<'a>(
    regions: &'a [Region],
    quotes: &Quotes,
    missing: &std::collections::BTreeMap<skerry_proto::RegionId, Refusal>,
) -> Vec<&'a Region> {
    regions
        .iter()
        .filter(|region| {
            quotes.iter().any(|(id, _)| *id == region.id) && !missing.contains_key(&region.id)
        })
        .collect()
}

/// Releases persons' totals for the wanted frontiers, in this order; nothing if there are none.
async fn totals(
    regions: &[Region],
    frontiers: &[Frontier],
    quoted: &mut Quoted,
    wanted: &[usize],
    terms: &Terms,
) -> Result<Option<dispatch::Asked>, Refusal> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut of_totals = Quoted::default();
    for index in wanted {
        let (question, quotes) = &quoted.frontiers[*index];
        let Some((_, first)) = quotes.first() else {
            of_totals.frontiers.push((question.clone(), Vec::new()));
            continue;
        };
        // The totals are told in cell units, which follow from the frame of the search.
        let question = wire::Question {
            frame: bounds::search_frame(&first.measures),
            ..question.clone()
        };
        let mechanism = |quotes: &Quotes| match quotes.first() {
            Some((_, quote)) => quote.noise.unwrap_or_default().mechanism,
            None => wire::Mechanism::Unspecified.into(),
        };
        let search_with = |mechanism| -> Result<_, Refusal> {
            Ok(wire::Question {
                mechanism,
                ..bounds::shares(&question)?.0
            })
        };
        let shape = QuoteShape {
            keys: frontiers[*index].keys(),
            aggregates: frontiers[*index].aggregate.aggr_expr.len(),
        };
        let shape_of_totals = QuoteShape {
            keys: 1,
            aggregates: 0,
        };
        let asked = still_asked(regions, quotes, &quoted.missing);
        // Both at once: a frame hardly ever changes the mechanism.
        let expected = mechanism(quotes);
        let mut search = search_with(expected)?;
        let mut missing = quoted.missing.clone();
        let (quotes, mut totals) = join(
            dispatch::one_quote(&asked, shape, &question, terms, &mut quoted.missing),
            dispatch::one_quote(&asked, shape_of_totals, &search, terms, &mut missing),
        )
        .await;
        let quotes = quotes?;
        dispatch::all_agree(&quotes)?;
        if mechanism(&quotes) != expected {
            search = search_with(mechanism(&quotes))?;
            missing = quoted.missing.clone();
            let asked = still_asked(regions, &quotes, &missing);
            totals =
                dispatch::one_quote(&asked, shape_of_totals, &search, terms, &mut missing).await;
        }
        let totals = totals?;
        dispatch::all_agree(&totals)?;
        of_totals.missing.extend(missing);
        of_totals.frontiers.push((search, totals));
        quoted.frontiers[*index] = (question, quotes);
    }
    of_totals.missing.extend(quoted.missing.clone());
    let of_search = Terms {
        query_id: search_id(&terms.query_id)?,
        ..terms.clone()
    };
    let asked = dispatch::release(regions, of_totals, &of_search).await?;
    for (region, refusal) in &asked.missing {
        quoted.missing.insert(region.clone(), refusal.clone());
    }
    for (_, quotes) in &mut quoted.frontiers {
        quotes.retain(|(region, _)| !asked.missing.contains_key(region));
    }
    Ok(Some(asked))
}

/// The id of the search for a statement's bounds.
fn search_id(id: &QueryId) -> Result<QueryId, Refusal> {
    dispatch::derived_id(id, "totals")
}
