//! One statement from its quotes to an explanation; nothing is released.

use skerry_proto::{Refusal, RegionId};

use super::{Coordinator, Known, closing, rehearsed};
use crate::{
    answer::{Answer, Caveats, PrivacyRecord, RegionsRecord},
    bounding,
    bounds::Plan,
    dispatch::{Quoted, Terms},
    explain,
    plan::Planned,
    refuse::{above, or_above},
    uncertainty::{self, Figure, Wishes},
};

impl Coordinator {
    /// What a statement would cost and how exact it would be.
    pub(super) async fn explained(
        &self,
        known: &Known,
        planned: &Planned,
        quoted: Quoted,
        terms: &Terms,
        wishes: Wishes,
    ) -> Result<Answer, Refusal> {
        let (frontiers, plans) = (&planned.frontiers, bounding::plans(&quoted, terms));
        // To find bounds is charged; those that are given hold for a quote.
        let quoted = if plans.contains(&Plan::Found) {
            quoted
        } else {
            bounding::bound(&self.regions, frontiers, quoted, terms)
                .await?
                .quoted
        };
        let merged = rehearsed(&quoted)?;
        let expected = if merged.iter().any(|merged| merged.aggregates.is_empty()) {
            Vec::new()
        } else {
            let _turn = self.computing.acquire().await.map_err(|_| closing())?;
            let state = known.planner.state();
            or_above(
                uncertainty::expected(state, &planned.upper, frontiers, &merged, wishes).await,
            )?
        };
        let batch = explain::explain(frontiers, &quoted, &plans, &expected)
            .map_err(|error| above(&error.into()))?;
        let names: Vec<String> = batch
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let figures: Vec<Figure> = names.iter().map(|_| Figure::alone(false)).collect();
        let quoting = |id: &RegionId| {
            quoted
                .frontiers
                .iter()
                .any(|(_, quotes)| quotes.iter().any(|(region, _)| region == id))
        };
        let regions = RegionsRecord {
            answered: self.in_order(quoting),
            missing: self.in_order(|id| quoted.missing.contains_key(id)),
        };
        let privacy = PrivacyRecord {
            regions_per_person: self.regions_per_person,
            ..PrivacyRecord::default()
        };
        let id = terms.query_id.clone();
        Answer::new(
            &batch,
            &names,
            &figures,
            id,
            privacy,
            regions,
            Caveats::default(),
        )
        .map_err(|error| above(&error.into()))
    }
}
