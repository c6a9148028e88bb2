//! One statement from text to answer, in the order of its stages.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use datafusion::catalog::TableProvider;
use futures::future::join_all;
use prost::Message as _;
use serde_json::{Map, Value as Json, json};
use sha2::{Digest as _, Sha256};
use skerry_proto::{Delta, Epsilon, ErrorCode, ProjectId, QueryId, Refusal, RegionId, wire};
use tokio::sync::{Mutex, Semaphore};

use crate::{
    accuracy::{Sought, Wanted, sought},
    answer::{Answer, Caveats, PrivacyRecord, RegionRecord, RegionsRecord, nano},
    bounding,
    bounds::{FoundBound, Given},
    catalogue::Catalogue,
    clipping, consistency,
    dispatch::{self, Asked, Terms},
    explain,
    merge::{Merged, Reply},
    options,
    plan::{Planned, Planner},
    question::{DEFAULT_PROJECT, Question},
    recent::Recent,
    refuse::{above, or_above, refuse},
    regions::Region,
    threshold,
    uncertainty::{self, Wishes},
};

mod explained;

/// How long a catalogue is believed before the nodes are asked again.
const CATALOGUE_AGE: Duration = Duration::from_secs(5);
/// How long a node may take to tell its catalogue.
const CATALOGUE_DEADLINE: Duration = Duration::from_secs(5);
/// Statements that are computed with at once, after their releases.
const AT_ONCE: usize = 4;

/// The coordinator without its front.
pub(crate) struct Coordinator {
    regions: Vec<Region>,
    local: BTreeMap<String, Arc<dyn TableProvider>>,
    regions_per_person: u32,
    deadline: Duration,
    known: Mutex<Option<Known>>,
    computing: Semaphore,
}

/// The nodes' catalogues as last heard.
#[derive(Clone)]
struct Known {
    at: Instant,
    catalogue: Arc<Catalogue>,
    planner: Arc<Planner>,
    missing: Vec<RegionId>,
    /// Statements that were rehearsed on such quotes, by their hash.
    rehearsed: Arc<Recent<[u8; 32], ()>>,
}

impl Coordinator {
    /// A coordinator over these regions.
    pub fn new(
        regions: Vec<Region>,
        local: BTreeMap<String, Arc<dyn TableProvider>>,
        regions_per_person: u32,
        deadline: Duration,
    ) -> Self {
        Self {
            regions,
            local,
            regions_per_person,
            deadline,
            known: Mutex::new(None),
            computing: Semaphore::new(AT_ONCE),
        }
    }

    /// Answers a statement, or says why not.
    pub async fn answer(&self, question: &Question) -> Result<Answer, Refusal> {
        let deadline = Instant::now() + self.deadline;
        let statement = options::take(&question.sql)?;
        let explain = statement.explain || question.explain;
        let terms = terms(question, &statement, deadline)?;
        let wishes = wishes(&statement);
        let terms = match wishes.consistent {
            true => consistency::unclipped(terms)?,
            false => terms,
        };
        let wanted = Wanted::of(question, &statement)?;
        let known = self.known().await?;
        let planned = known.planner.plan(&statement.sql).await?;
        if planned.frontiers.is_empty() && !explain {
            return self
                .compute(
                    &known,
                    &planned,
                    terms,
                    Asked::nothing(),
                    Search::default(),
                    wishes,
                )
                .await;
        }
        let quoted = dispatch::quote(&self.regions, &planned.frontiers, &terms).await?;
        let rehearsal = rehearsal(&statement.sql, &quoted, wishes);
        if known.rehearsed.get(&rehearsal).is_none() {
            self.rehearse(&known, &planned, &quoted, wishes).await?;
            known.rehearsed.keep(rehearsal, ());
        }
        let nobody = quoted.frontiers.iter().any(|(_, quotes)| quotes.is_empty());
        if nobody && (!explain || wanted.is_some()) {
            return Err(dispatch::told_missing(&quoted.missing, &terms, false));
        }
        let sought = match wanted {
            Some(wanted) if !planned.frontiers.is_empty() => {
                sought(&self.regions, &planned, terms, wanted, explain).await?
            }
            _ => Sought::given(terms, quoted),
        };
        if explain {
            return match sought.beyond {
                Some(beyond) => Err(beyond),
                None => {
                    let Sought { terms, quoted, .. } = sought;
                    self.explained(&known, &planned, quoted, &terms, wishes)
                        .await
                }
            };
        }
        let Sought {
            terms,
            quoted,
            looked,
            beyond,
        } = sought;
        let bounded = bounding::bound(&self.regions, &planned.frontiers, quoted, &terms).await?;
        let asked = dispatch::release(&self.regions, bounded.quoted, &terms).await;
        let asked = asked.map_err(|refusal| match beyond {
            Some(beyond) if refusal.code == ErrorCode::BudgetExhausted => beyond,
            _ => refusal,
        })?;
        let mut search = Search {
            found: bounded.found,
            asked: bounded.searched,
            ..Search::default()
        };
        if let Some(looked) = looked {
            search.epsilon = looked.epsilon;
            search.delta = looked.delta;
            search.asked.extend(looked.asked);
        }
        self.compute(&known, &planned, terms, asked, search, wishes)
            .await
    }

    /// Runs the rest of the statement on made-up figures: what can't be computed is refused
    /// before anything is paid.
    async fn rehearse(
        &self,
        known: &Known,
        planned: &Planned,
        quoted: &dispatch::Quoted,
        wishes: Wishes,
    ) -> Result<(), Refusal> {
        let merged = rehearsed(quoted)?;
        if merged.iter().any(|merged| merged.aggregates.is_empty()) {
            return Ok(());
        }
        let _turn = self.computing.acquire().await.map_err(|_| closing())?;
        uncertainty::rehearse(
            known.planner.state(),
            &planned.upper,
            &planned.frontiers,
            &merged,
            wishes,
        )
        .await
        .map_err(|error| Refusal {
            hint: "Nothing was charged. Ask for the figures alone, and compute with them yourself."
                .to_owned(),
            ..above(&error)
        })
    }

    /// Merges what was released and does the rest of the statement.
    async fn compute(
        &self,
        known: &Known,
        planned: &Planned,
        terms: Terms,
        asked: Asked,
        search: Search,
        wishes: Wishes,
    ) -> Result<Answer, Refusal> {
        let merged = asked
            .replies
            .iter()
            .map(|replies| Merged::new(replies))
            .collect::<Result<Vec<_>, _>>()?;
        let _turn = self.computing.acquire().await.map_err(|_| closing())?;
        let (batch, figures) = or_above(
            uncertainty::answer(
                known.planner.state(),
                &planned.upper,
                &planned.frontiers,
                &merged,
                wishes,
            )
            .await,
        )?;
        let fields = planned.upper.schema().fields();
        let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let caveats = Caveats {
            clipping: clipping::records(&planned.frontiers, &merged, &search.found),
            thresholds: threshold::records(&merged),
        };
        let spent = (
            terms.epsilon.to_f64() + search.epsilon,
            terms.delta.to_f64() + search.delta,
        );
        let paid: Vec<Vec<Reply>> = search
            .asked
            .into_iter()
            .flat_map(|asked| asked.replies)
            .chain(asked.replies.iter().cloned())
            .collect();
        let privacy = self.privacy(spent, &paid);
        let regions = RegionsRecord {
            answered: self.in_order(|id| {
                asked
                    .replies
                    .iter()
                    .flatten()
                    .any(|reply| reply.region == *id)
            }),
            missing: self.in_order(|id| asked.missing.contains_key(id)),
        };
        let id = terms.query_id;
        Answer::new(&batch, &names, &figures, id, privacy, regions, caveats)
            .map_err(|error| above(&error.into()))
    }

    fn in_order(&self, wanted: impl Fn(&RegionId) -> bool) -> Vec<RegionId> {
        self.regions
            .iter()
            .map(|region| region.id.clone())
            .filter(|id| wanted(id))
            .collect()
    }

    fn privacy(&self, spent: (f64, f64), replies: &[Vec<Reply>]) -> PrivacyRecord {
        let mut regions = Map::new();
        for region in &self.regions {
            let of_region: Vec<&Reply> = replies
                .iter()
                .flatten()
                .filter(|reply| reply.region == region.id)
                .collect();
            if of_region.is_empty() {
                continue;
            }
            if let Ok(record) = serde_json::to_value(region_record(&of_region)) {
                regions.insert(region.id.to_string(), record);
            }
        }
        let (epsilon, delta) = if regions.is_empty() {
            (0.0, 0.0)
        } else {
            spent
        };
        let k = f64::from(self.regions_per_person);
        PrivacyRecord {
            epsilon,
            delta,
            regions_per_person: self.regions_per_person,
            epsilon_for_a_person_in_k_regions: epsilon * k,
            delta_for_a_person_in_k_regions: delta * k,
            regions,
        }
    }

    /// The tables, for people.
    pub async fn catalogue(&self) -> Result<Json, Refusal> {
        let known = self.known().await?;
        Ok(known.catalogue.to_json(&known.missing))
    }

    /// The catalogue itself.
    pub async fn tables(&self) -> Result<Arc<Catalogue>, Refusal> {
        Ok(self.known().await?.catalogue)
    }

    /// What a project has left in each region.
    pub async fn budget(&self, project: &ProjectId) -> Result<Json, Refusal> {
        let calls = self
            .regions
            .iter()
            .map(|region| region.node.budget(project, self.deadline));
        let mut regions = Map::new();
        let mut missing = Vec::new();
        for (region, budget) in self.regions.iter().zip(join_all(calls).await) {
            match budget {
                Ok(budget) => {
                    regions.insert(
                        region.id.to_string(),
                        json!({
                            "project": budget.project.as_ref().map(allowance),
                            "total": budget.total.as_ref().map(allowance),
                        }),
                    );
                }
                Err(refusal) => {
                    tracing::warn!(region = %region.id, %refusal, "no budget");
                    missing.push(region.id.clone());
                }
            }
        }
        Ok(json!({ "project": project, "regions": regions, "missing": missing }))
    }

    /// The nodes' catalogues, asked again when they are old. A region that doesn't answer now
    /// keeps what it last said.
    async fn known(&self) -> Result<Known, Refusal> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref()
            && known.at.elapsed() < CATALOGUE_AGE
        {
            return Ok(known.clone());
        }
        let deadline = self.deadline.min(CATALOGUE_DEADLINE);
        let calls = self
            .regions
            .iter()
            .map(|region| region.node.catalogue(deadline));
        let mut heard = Vec::new();
        let mut missing = Vec::new();
        let mut reasons = Vec::new();
        for (region, answer) in self.regions.iter().zip(join_all(calls).await) {
            match answer {
                Ok(catalogue) => heard.push((region.id.clone(), catalogue)),
                Err(refusal) => {
                    tracing::warn!(region = %region.id, %refusal, "no catalogue");
                    missing.push(region.id.clone());
                    reasons.push(format!("region `{}`: {}", region.id, refusal.message));
                    let before = known.as_ref().and_then(|known| {
                        known
                            .catalogue
                            .regions
                            .iter()
                            .find(|(id, _)| *id == region.id)
                    });
                    heard.extend(before.cloned());
                }
            }
        }
        if heard.is_empty() {
            return refuse(
                ErrorCode::RegionMissing,
                format!("no region answers: {}", reasons.join("; ")),
                "Nothing was charged. Ask again later.",
            );
        }
        let catalogue = Arc::new(Catalogue::new(heard, &self.local));
        let planner = Arc::new(Planner::new(Arc::clone(&catalogue), &self.local)?);
        let now = Known {
            at: Instant::now(),
            catalogue,
            planner,
            missing,
            rehearsed: Arc::new(Recent::new()),
        };
        *known = Some(now.clone());
        Ok(now)
    }
}

/// What the search for bounds came to.
#[derive(Default)]
struct Search {
    /// For each frontier, for each of its measures.
    found: Vec<Option<Vec<FoundBound>>>,
    /// What it released, and what the look at figures' sizes did.
    asked: Vec<Asked>,
    /// ε of that look, which is not a part of the statement's own.
    epsilon: f64,
    /// δ of it.
    delta: f64,
}

impl Asked {
    /// Of a statement without private tables.
    fn nothing() -> Self {
        Self {
            replies: Vec::new(),
            missing: BTreeMap::new(),
        }
    }
}

/// Releases of made-up figures, as quoted.
fn rehearsed(quoted: &dispatch::Quoted) -> Result<Vec<Merged>, Refusal> {
    let quotes = quoted.frontiers.iter().map(|(_, quotes)| quotes);
    quotes.map(|quotes| Merged::rehearsal(quotes)).collect()
}

/// The hash of all that a rehearsal hangs on: what is computed, and what would be released.
fn rehearsal(sql: &str, quoted: &dispatch::Quoted, wishes: Wishes) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |part: &[u8]| {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    };
    add(sql.as_bytes());
    add(format!("{wishes:?}").as_bytes());
    for (question, quotes) in &quoted.frontiers {
        add(&question.encode_to_vec());
        add(&(quotes.len() as u64).to_be_bytes());
        for (region, quote) in quotes {
            // What is left of a budget is different each time.
            let mut quote = quote.clone();
            quote.budget = None;
            add(region.as_str().as_bytes());
            add(&quote.encode_to_vec());
        }
    }
    hash.finalize().into()
}

fn closing() -> Refusal {
    Refusal::new(ErrorCode::Unavailable, "the coordinator is stopping", "")
}

/// What the statement asks for beyond figures and their noise.
fn wishes(statement: &options::Statement) -> Wishes {
    Wishes {
        total: statement.total.unwrap_or_default(),
        clamp: statement.clamp.unwrap_or_default(),
        consistent: statement.consistent.unwrap_or_default(),
    }
}

/// Headers and the statement's own options; both may say the same, not different things.
fn terms(
    question: &Question,
    statement: &options::Statement,
    deadline: Instant,
) -> Result<Terms, Refusal> {
    let differ = |what: &str| {
        Refusal::new(
            ErrorCode::InvalidParameter,
            format!("the statement and the call ask for different {what}"),
            "Say it in one place.",
        )
    };
    if matches!((question.epsilon, statement.epsilon), (Some(a), Some(b)) if a != b) {
        return Err(differ("epsilon"));
    }
    if matches!((question.delta, statement.delta), (Some(a), Some(b)) if a != b) {
        return Err(differ("delta"));
    }
    let invalid = |message: String| Refusal::new(ErrorCode::InvalidParameter, message, "");
    let epsilon = match statement.epsilon.or(question.epsilon) {
        Some(epsilon) => epsilon,
        None => Epsilon::from_nano(Epsilon::UNIT).map_err(|error| invalid(error.to_string()))?,
    };
    let project = match &question.project {
        Some(project) => project.clone(),
        None => DEFAULT_PROJECT
            .parse()
            .map_err(|error: skerry_proto::IdError| invalid(error.to_string()))?,
    };
    let query_id: QueryId = match &question.query_id {
        Some(id) => id.clone(),
        None => uuid::Uuid::new_v4()
            .to_string()
            .parse()
            .map_err(|error: skerry_proto::IdError| invalid(error.to_string()))?,
    };
    Ok(Terms {
        project,
        epsilon,
        delta: statement.delta.or(question.delta).unwrap_or(Delta::ZERO),
        max_groups_contributed: statement.max_groups_contributed.unwrap_or(0),
        given: Given {
            rows: statement.max_rows_contributed,
            total: statement.max_total_contributed,
        },
        bounds: statement.bounds.unwrap_or_default(),
        query_id,
        fresh: question.fresh,
        allow_missing: question.allow_missing,
        explaining: statement.explain || question.explain,
        deadline,
    })
}

fn region_record(replies: &[&Reply]) -> RegionRecord {
    let mut mechanisms: Vec<&str> = replies
        .iter()
        .map(|reply| explain::mechanism(reply.quote.noise.as_ref()))
        .collect();
    mechanisms.sort_unstable();
    mechanisms.dedup();
    let cost = |of: fn(&wire::Cost) -> u64| -> u64 {
        replies
            .iter()
            .filter_map(|reply| reply.quote.cost.as_ref())
            .map(of)
            .sum()
    };
    let left = replies
        .iter()
        .filter_map(|reply| reply.budget.as_ref()?.project.as_ref())
        .min_by_key(|allowance| allowance.epsilon_left_nano);
    RegionRecord {
        mechanism: mechanisms.join(", "),
        charged: replies.iter().any(|reply| reply.charged),
        epsilon: nano(cost(|cost| cost.epsilon_nano)),
        delta: cost(|cost| cost.delta_atto) as f64 / Delta::UNIT as f64,
        epsilon_spent: left.map_or(0.0, |left| nano(left.epsilon_spent_nano)),
        epsilon_left: left.map_or(0.0, |left| nano(left.epsilon_left_nano)),
    }
}

fn allowance(allowance: &wire::Allowance) -> Json {
    json!({
        "epsilon": nano(allowance.epsilon_nano),
        "delta": allowance.delta_atto as f64 / Delta::UNIT as f64,
        "epsilon_spent": nano(allowance.epsilon_spent_nano),
        "epsilon_left": nano(allowance.epsilon_left_nano),
    })
}

#[cfg(test)]
pub(crate) mod tests;
