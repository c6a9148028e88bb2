//! Whole statements over nodes that know their cells and add real noise, in one process.

mod accuracy;
mod consistent;
mod explain;

use std::sync::{
    Mutex as Lock,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use datafusion::arrow::{
    array::AsArray as _,
    datatypes::{Float64Type, Int64Type},
};
use datafusion_proto::protobuf::{
    LogicalPlanNode, logical_expr_node::ExprType, logical_plan_node::LogicalPlanType,
};
use prost::Message as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use skerry_proto::{
    DataType::{Float, Integer, Text},
    Value,
};

use super::*;
use crate::{
    catalogue::tests::{catalogue, table},
    noise::Noise,
    regions::Node,
};

/// Visits by site, 10,000 each, 50,000 in all costs. Answers counts and sums by site or region.
pub(crate) struct KnownCells {
    pub region: &'static str,
    pub sites: Vec<i64>,
    pub down: AtomicBool,
    pub refuses: Option<ErrorCode>,
    pub high: f64,
    pub answered: Lock<BTreeMap<String, wire::ReleaseReply>>,
    pub charged: Lock<u64>,
    /// Of the project, and of all projects.
    pub budget: Lock<u64>,
    /// Visits at each site.
    pub rows: Lock<f64>,
}

pub(crate) const STEP: f64 = 1.0 / 65_536.0;

impl KnownCells {
    pub fn new(region: &'static str, sites: &[i64]) -> Self {
        Self {
            region,
            sites: sites.to_vec(),
            down: AtomicBool::new(false),
            refuses: None,
            high: 10.0,
            answered: Lock::default(),
            charged: Lock::default(),
            budget: Lock::new(10_000_000_000),
            rows: Lock::new(10_000.0),
        }
    }

    fn up(&self) -> Result<(), Refusal> {
        if self.down.load(Ordering::SeqCst) {
            return refuse(ErrorCode::Unavailable, "no answer: down", "");
        }
        Ok(())
    }

    fn quote_now(&self, question: &wire::Question) -> wire::Quote {
        let plan = LogicalPlanNode::decode(question.plan.as_slice()).expect("plan");
        let Some(LogicalPlanType::Aggregate(aggregate)) = plan.logical_plan_type else {
            panic!("not an aggregate");
        };
        let keys: Vec<String> = aggregate
            .group_expr
            .iter()
            .map(|expr| match &expr.expr_type {
                Some(ExprType::Column(column)) => column.name.clone(),
                other => panic!("{other:?}"),
            })
            .collect();
        let mut groups = vec![vec![]];
        for key in &keys {
            let values: Vec<Value> = match key.as_str() {
                "region" => vec![Value::Text(self.region.into())],
                _ => self
                    .sites
                    .iter()
                    .map(|site| Value::Integer(*site))
                    .collect(),
            };
            groups = groups
                .iter()
                .flat_map(|group| {
                    values.iter().map(|value| {
                        let mut group: Vec<wire::Value> = group.clone();
                        group.push(value.into());
                        group
                    })
                })
                .collect();
        }
        let (low, high) = question
            .frame
            .get(1)
            .and_then(|frame| frame.ranges.first())
            .map_or((0.0, self.high), |range| (range.low, range.high));
        let measure = |kind: wire::MeasureKind, factor: Option<wire::Factor>| wire::Measure {
            kind: kind.into(),
            step: STEP,
            rows: rows(question),
            factors: factor.into_iter().collect(),
            ..wire::Measure::default()
        };
        let aggregates = aggregate
            .aggr_expr
            .iter()
            .map(|expr| {
                let mut expr = expr;
                while let Some(ExprType::Alias(alias)) = &expr.expr_type {
                    expr = alias.expr.as_deref().expect("alias");
                }
                let Some(ExprType::AggregateUdfExpr(function)) = &expr.expr_type else {
                    panic!("{expr:?}");
                };
                let (function, measures) = match function.fun_name.as_str() {
                    "count" => (wire::AggregateFunction::Count, vec![0]),
                    "sum" => (wire::AggregateFunction::Sum, vec![1, 0]),
                    "avg" => (wire::AggregateFunction::Average, vec![1, 0]),
                    other => panic!("{other}"),
                };
                wire::Aggregate {
                    function: function.into(),
                    measures,
                    data_type: wire::DataType::Float.into(),
                    fraction_nano: 0,
                }
            })
            .collect();
        wire::Quote {
            region: self.region.into(),
            key_types: keys
                .iter()
                .map(|_| wire::DataType::Integer.into())
                .collect(),
            groups: groups
                .into_iter()
                .map(|keys| wire::Group { keys })
                .collect(),
            measures: vec![
                measure(wire::MeasureKind::Rows, None),
                measure(
                    wire::MeasureKind::Sum,
                    Some(wire::Factor {
                        low,
                        high,
                        centre: (low + high) / 2.0,
                    }),
                ),
            ],
            aggregates,
            noise: Some(noise(question)),
            cost: Some(wire::Cost {
                epsilon_nano: question.epsilon_nano,
                delta_atto: 0,
            }),
            budget: Some(self.budget_now()),
            clipped_weight: 0,
            threshold: None,
        }
    }

    fn budget_now(&self) -> wire::Budget {
        let spent = *self.charged.lock().expect("lock");
        let budget = *self.budget.lock().expect("lock");
        let allowance = wire::Allowance {
            epsilon_nano: budget,
            delta_atto: 0,
            epsilon_spent_nano: spent,
            epsilon_left_nano: budget - spent,
        };
        wire::Budget {
            project: Some(allowance),
            total: Some(allowance),
        }
    }
}

/// Rows that count of a person: five, or fewer if asked for.
fn rows(question: &wire::Question) -> u64 {
    let asked = question.frame.first().map_or(0, |frame| frame.rows);
    if asked == 0 { 5 } else { asked.min(5) }
}

/// Laplace noise, or with a δ Gaussian noise: ε = ρ + √(2 ln(1/δ)) √(2ρ), with ρ = s²/2σ².
fn noise(question: &wire::Question) -> wire::Noise {
    let epsilon = question.epsilon_nano as f64 / 1e9;
    let (mechanism, scale) = if question.delta_atto == 0 {
        (wire::Mechanism::DiscreteLaplace, 1.0 / epsilon)
    } else {
        let log = 2.0 * (Delta::UNIT as f64 / question.delta_atto as f64).ln();
        let scale = 1.0 / ((log + 2.0 * epsilon).sqrt() - log.sqrt());
        (wire::Mechanism::DiscreteGaussian, scale)
    };
    wire::Noise {
        mechanism: mechanism.into(),
        scale: (rows(question) as f64 * scale / STEP) as u64,
        sensitivity: (rows(question) as f64 / STEP) as u64,
    }
}

#[async_trait]
impl Node for std::sync::Arc<KnownCells> {
    async fn catalogue(&self, _: Duration) -> Result<wire::Catalogue, Refusal> {
        self.up()?;
        let columns = [
            ("person_id", Integer),
            ("site", Integer),
            ("cost", Float),
            ("kind", Text),
        ];
        Ok(catalogue(self.region, vec![table("visits", "person_id", &columns)]).1)
    }

    async fn quote(&self, question: wire::Question, _: Duration) -> Result<wire::Quote, Refusal> {
        self.up()?;
        if let Some(code) = self.refuses {
            return refuse(code, "refused for the test", "no hint");
        }
        Ok(self.quote_now(&question))
    }

    async fn release(
        &self,
        request: wire::ReleaseRequest,
        _: Duration,
    ) -> Result<wire::ReleaseReply, Refusal> {
        self.up()?;
        if let Some(reply) = self.answered.lock().expect("lock").get(&request.query_id) {
            return Ok(wire::ReleaseReply {
                charged: false,
                ..reply.clone()
            });
        }
        let question = request.question.expect("question");
        if *self.charged.lock().expect("lock") + question.epsilon_nano
            > *self.budget.lock().expect("lock")
        {
            return refuse(ErrorCode::BudgetExhausted, "nothing left", "");
        }
        let quote = self.quote_now(&question);
        let noise = quote.noise.expect("noise");
        let laplace = Noise::Laplace {
            scale: noise.scale as f64,
        };
        let mut rng = ChaCha8Rng::from_os_rng();
        let rows = *self.rows.lock().expect("lock");
        let mean = 5.0 - quote.measures[1].factors[0].centre;
        let per_group = if quote.groups.len() == self.sites.len() {
            1.0
        } else {
            self.sites.len() as f64
        };
        let cells = quote
            .groups
            .iter()
            .flat_map(|_| [rows * per_group, rows * per_group * mean])
            .map(|cell| (cell / STEP + laplace.draw(&mut rng)).round() as i64)
            .collect();
        *self.charged.lock().expect("lock") += question.epsilon_nano;
        let released = wire::Released {
            region: self.region.into(),
            question_hash: vec![],
            cells,
            noise: quote.noise,
            cost: quote.cost,
            ..wire::Released::default()
        };
        let reply = wire::ReleaseReply {
            released: released.encode_to_vec(),
            charged: true,
            budget: Some(self.budget_now()),
            ledger_head: vec![],
        };
        self.answered
            .lock()
            .expect("lock")
            .insert(request.query_id, reply.clone());
        Ok(reply)
    }

    async fn budget(&self, _: &ProjectId, _: Duration) -> Result<wire::Budget, Refusal> {
        self.up()?;
        Ok(self.budget_now())
    }
}

/// A coordinator over nodes of known cells.
pub(crate) fn over(nodes: &[Arc<KnownCells>]) -> Coordinator {
    let regions = nodes
        .iter()
        .map(|node| Region {
            id: node.region.parse().expect("region"),
            node: Box::new(Arc::clone(node)),
        })
        .collect();
    Coordinator::new(regions, BTreeMap::new(), 2, Duration::from_secs(5))
}

fn two() -> [Arc<KnownCells>; 2] {
    [
        Arc::new(KnownCells::new("north", &[1, 2])),
        Arc::new(KnownCells::new("south", &[2, 3])),
    ]
}

fn real(answer: &Answer, name: &str) -> Vec<Option<f64>> {
    let column = answer.rows.column_by_name(name).expect(name);
    column.as_primitive::<Float64Type>().iter().collect()
}

fn whole(answer: &Answer, name: &str) -> Vec<i64> {
    let column = answer.rows.column_by_name(name).expect(name);
    column.as_primitive::<Int64Type>().values().to_vec()
}

#[tokio::test]
async fn a_total_adds_regions_and_says_what_it_cost() {
    let nodes = two();
    let coordinator = over(&nodes);
    let sql = "SELECT site, COUNT(*) AS n FROM visits GROUP BY site ORDER BY site";
    let answer = coordinator
        .answer(&Question::new(sql))
        .await
        .expect("answer");
    assert_eq!(whole(&answer, "site"), [1, 2, 3]);
    for (row, truth) in [10_000, 20_000, 10_000].into_iter().enumerate() {
        let n = whole(&answer, "n")[row];
        // Noise of scale 5: further off than 200 has a probability of exp(-40).
        assert!((n - truth).abs() < 200, "{n}");
        assert!(whole(&answer, "n_low")[row] <= n && n <= whole(&answer, "n_high")[row]);
    }
    // Two noises in the middle, one on either side.
    let widths: Vec<i64> = whole(&answer, "n_high")
        .iter()
        .zip(whole(&answer, "n_low"))
        .map(|(high, low)| high - low)
        .collect();
    assert!(widths[1] > widths[0] && widths[0] == widths[2] || widths[0].abs_diff(widths[2]) <= 1);
    let record = &answer.record;
    assert_eq!(record.privacy.epsilon, 1.0);
    assert_eq!(record.privacy.epsilon_for_a_person_in_k_regions, 2.0);
    assert_eq!(record.privacy.regions["north"]["epsilon_left"], 9.0);
    assert_eq!(
        record.privacy.regions["north"]["mechanism"],
        "discrete Laplace"
    );
    assert_eq!(record.regions.answered.len(), 2);
    assert!(record.columns[1].noisy && !record.columns[0].noisy);
}

#[tokio::test]
async fn a_region_alone_is_charged_alone() {
    let nodes = two();
    let coordinator = over(&nodes);
    let sql = "SELECT region, COUNT(*) AS n FROM visits WHERE region = 'south' GROUP BY region";
    let answer = coordinator
        .answer(&Question::new(sql))
        .await
        .expect("answer");
    assert_eq!(answer.rows.num_rows(), 1);
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
    assert_eq!(*nodes[1].charged.lock().expect("lock"), 1_000_000_000);
    let refusal = coordinator
        .answer(&Question::new(
            "SELECT COUNT(*) FROM visits WHERE region = 'east'",
        ))
        .await
        .expect_err("no region");
    assert!(refusal.hint.contains("north, south"), "{refusal:?}");
}

#[tokio::test]
async fn releases_of_one_statement_share_epsilon() {
    let nodes = two();
    let coordinator = over(&nodes);
    let sql = "SELECT (SELECT COUNT(*) FROM visits WHERE site = 1) * 1.0 / \
               (SELECT COUNT(*) FROM visits) AS share";
    let answer = coordinator
        .answer(&Question::new(sql))
        .await
        .expect("answer");
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 1_000_000_000);
    assert_eq!(answer.rows.num_columns(), 4);
    let names: Vec<String> = answer
        .rows
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    assert_eq!(names, ["share", "share_low", "share_high", "share_sd"]);
}

#[tokio::test]
async fn a_retry_gets_the_same_answer() {
    let nodes = two();
    let coordinator = over(&nodes);
    let mut question = Question::new("SELECT AVG(cost) AS c, COUNT(*) AS n FROM visits");
    question.query_id = "again".parse().ok();
    let first = coordinator.answer(&question).await.expect("answer");
    let second = coordinator.answer(&question).await.expect("answer");
    assert_eq!(first.rows.columns(), second.rows.columns());
    assert_eq!(second.record.privacy.regions["north"]["charged"], false);
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 1_000_000_000);
}

#[tokio::test]
async fn different_ranges_are_measured_in_their_hull() {
    let mut nodes = two().map(|node| Arc::try_unwrap(node).ok().expect("own"));
    nodes[1].high = 30.0;
    let nodes = nodes.map(Arc::new);
    let coordinator = over(&nodes);
    let answer = coordinator
        .answer(&Question::new(
            "SELECT CAST(ROUND(AVG(cost)) AS BIGINT) AS c FROM visits",
        ))
        .await
        .expect("answer");
    assert_eq!(whole(&answer, "c"), [5]);
}

#[tokio::test]
async fn a_missing_region_is_named_and_costs_nothing() {
    let nodes = two();
    let coordinator = over(&nodes);
    let mut question = Question::new("SELECT COUNT(*) AS n FROM visits");
    nodes[1].down.store(true, Ordering::SeqCst);
    let refusal = coordinator.answer(&question).await.expect_err("missing");
    assert_eq!(refusal.code, ErrorCode::RegionMissing);
    assert!(refusal.message.contains("south"), "{refusal}");
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
    question.allow_missing = true;
    let answer = coordinator.answer(&question).await.expect("answer");
    let missing: Vec<&str> = answer
        .record
        .regions
        .missing
        .iter()
        .map(RegionId::as_str)
        .collect();
    assert_eq!(missing, ["south"]);
    nodes[0].down.store(true, Ordering::SeqCst);
    let refusal = coordinator
        .answer(&question)
        .await
        .expect_err("all missing");
    assert_eq!(refusal.code, ErrorCode::RegionMissing);
}

#[tokio::test]
async fn one_refusal_charges_nobody_and_names_the_region() {
    for code in [ErrorCode::NoRange, ErrorCode::BudgetExhausted] {
        let mut nodes = two().map(|node| Arc::try_unwrap(node).ok().expect("own"));
        nodes[1].refuses = Some(code);
        let nodes = nodes.map(Arc::new);
        let coordinator = over(&nodes);
        let refusal = coordinator
            .answer(&Question::new("SELECT SUM(cost) FROM visits"))
            .await
            .expect_err("refused");
        assert_eq!(refusal.code, code);
        assert!(refusal.message.contains("region `south`"), "{refusal}");
        assert_eq!(*nodes[1].charged.lock().expect("lock"), 0);
        assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
    }
}

#[tokio::test]
async fn explaining_costs_nothing() {
    let nodes = two();
    let coordinator = over(&nodes);
    let sql = "EXPLAIN PRIVACY SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 0.5) \
               site, COUNT(*), AVG(cost) FROM visits GROUP BY site";
    let answer = coordinator
        .answer(&Question::new(sql))
        .await
        .expect("answer");
    let shown = datafusion::arrow::util::pretty::pretty_format_batches(&[answer.rows])
        .expect("table")
        .to_string();
    insta::assert_snapshot!(shown, @r#"
            +---------+-------------+------------------+--------+------------------+--------------------+--------------------+--------------------+---------------------+---------+-------+--------------------+----------------------------------------------------------------+
            | release | region      | aggregate        | groups | mechanism        | noise_sd           | noise_persons      | half_width_95      | smallest_difference | epsilon | delta | epsilon_left_after | note                                                           |
            +---------+-------------+------------------+--------+------------------+--------------------+--------------------+--------------------+---------------------+---------+-------+--------------------+----------------------------------------------------------------+
            | 1       | north       | count(*)         | 2      | discrete Laplace | 14.142135623730951 | 2.8284271247461903 | 29.9573227355399   | 55.792067192470945  | 0.5     | 0.0   | 9.5                |                                                                |
            | 1       | north       | avg(visits.cost) | 2      | discrete Laplace |                    |                    |                    |                     | 0.5     | 0.0   | 9.5                | noise_sd of an average: 14.1421 divided by the rows it is over |
            | 1       | south       | count(*)         | 2      | discrete Laplace | 14.142135623730951 | 2.8284271247461903 | 29.9573227355399   | 55.792067192470945  | 0.5     | 0.0   | 9.5                |                                                                |
            | 1       | south       | avg(visits.cost) | 2      | discrete Laplace |                    |                    |                    |                     | 0.5     | 0.0   | 9.5                | noise_sd of an average: 14.1421 divided by the rows it is over |
            | 1       | all regions | count(*)         |        |                  | 20.0               |                    | 41.130032817629285 |                     |         |       |                    |                                                                |
            | 1       | all regions | avg(visits.cost) |        |                  |                    |                    |                    |                     |         |       |                    |                                                                |
            |         | answer      | count(*)         | 3      |                  | 20.0               |                    | 41.1300328176294   |                     |         |       |                    | by row, noise_sd is from 14.1421 to 20.0000                    |
            |         | answer      | avg(visits.cost) | 3      |                  |                    |                    |                    |                     |         |       |                    | the noise hangs on the figures                                 |
            +---------+-------------+------------------+--------+------------------+--------------------+--------------------+--------------------+---------------------+---------+-------+--------------------+----------------------------------------------------------------+
            "#);
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
}

#[tokio::test]
async fn every_grouping_set_is_explained_and_charged_its_share() {
    let nodes = two();
    let coordinator = over(&nodes);
    let sql = "SELECT site, region, COUNT(*) AS n FROM visits \
               GROUP BY GROUPING SETS ((site, region), (site), (), (site))";
    let explained = coordinator
        .answer(&Question::new(format!("EXPLAIN PRIVACY {sql}")))
        .await
        .expect("explained");
    // Three sets, two regions and their sum each.
    let mut releases = whole(&explained, "release");
    // The answer's own column belongs to none.
    releases.retain(|release| *release > 0);
    assert_eq!(releases, [1, 1, 1, 2, 2, 2, 3, 3, 3], "{explained:?}");
    let answer = coordinator
        .answer(&Question::new(sql))
        .await
        .expect("answer");
    // Two sites in each region; three sites, since one is in both; the total; the sites again.
    assert_eq!(answer.rows.num_rows(), 4 + 3 + 1 + 3, "{answer:?}");
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 999_999_999);
}

#[tokio::test]
async fn catalogue_and_budget_are_told() {
    let nodes = two();
    let coordinator = over(&nodes);
    let catalogue = coordinator.catalogue().await.expect("catalogue");
    assert_eq!(catalogue["tables"][0]["name"], "visits");
    let budget = coordinator
        .budget(&"p".parse().expect("id"))
        .await
        .expect("budget");
    assert_eq!(budget["regions"]["north"]["project"]["epsilon_left"], 10.0);
}

#[tokio::test]
async fn what_cannot_be_computed_is_refused_before_it_is_paid() {
    let nodes = two();
    let coordinator = over(&nodes);
    let sql = "SELECT unnest(array_agg(n)) AS n FROM \
               (SELECT site, COUNT(*) AS n FROM visits GROUP BY site) t";
    let refusal = coordinator
        .answer(&Question::new(sql))
        .await
        .expect_err("unnest");
    assert_eq!(refusal.code, ErrorCode::Unsupported);
    assert!(refusal.hint.contains("Nothing was charged"), "{refusal:?}");
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 0);
}

#[tokio::test]
async fn a_region_without_budget_charges_nobody_and_still_answers_what_it_answered() {
    let nodes = two();
    let coordinator = over(&nodes);
    let mut question = Question::new("SELECT COUNT(*) AS n FROM visits");
    question.query_id = "early".parse().ok();
    coordinator.answer(&question).await.expect("answer");
    *nodes[1].charged.lock().expect("lock") = 9_500_000_000;
    let late = Question::new("SELECT COUNT(*) AS n FROM visits WHERE site = 2");
    let refusal = coordinator.answer(&late).await.expect_err("no budget");
    assert_eq!(refusal.code, ErrorCode::BudgetExhausted);
    assert!(refusal.hint.contains("Nothing was charged"), "{refusal:?}");
    assert_eq!(*nodes[0].charged.lock().expect("lock"), 1_000_000_000);
    let again = coordinator.answer(&question).await.expect("stored");
    assert_eq!(again.record.regions.answered.len(), 2);
}
