//! The way of a question through a node, held against the engine's own exact answer over the same
//! real data. The vector is looked at before the noise, which only this crate's tests can do.

use std::{path::Path, sync::Arc};

use datafusion::{
    arrow::{
        array::AsArray as _,
        compute,
        datatypes::{DataType as ArrowType, Float64Type},
    },
    common::tree_node::{TreeNode, TreeNodeRecursion},
    logical_expr::LogicalPlan,
    prelude::{ParquetReadOptions, SessionContext},
};
use skerry_privacy::analysis::{
    aggregate::Statistic,
    measure::{Counted, Measure},
};
use skerry_proto::{Value, planning};
use tempfile::TempDir;

use super::*;
use crate::{
    config::NodeConfig,
    plan::lower::{encode, named_table},
};

mod bounds;
mod changed_files;
mod cluster;
mod exact;
mod hostile_rows;
mod prepared;
mod refusals;
mod repeated;
mod thresholds;
mod views;

/// One site of the RAND Health Insurance Experiment, and a public table beside it.
const CONFIGURATION: &str = r#"
region = "site1"
listen = "127.0.0.1:0"
persons = 1200

[budget]
project = { epsilon = 1000.0, delta = 1e-6 }
total   = { epsilon = 1000.0, delta = 1e-6 }

[[table]]
name = "visits"
path = "visits.parquet"
unit = "person_id"
max_rows_per_unit = 5

[table.columns]
person_id = {}
site   = { values = [1, 2, 3, 4, 5, 6], nulls = false }
year   = { range = [1, 5], nulls = false }
plan   = { values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19], nulls = false }
age    = { range = [0, 65] }
female = { values = [0, 1], nulls = false }
mdvis  = { range = [0, 77] }
totadm = { range = [0, 8] }
meddol = { range = [0, 40000] }
inpdol = {}
educdec = { range = [0, 25] }
health = { values = ["excellent", "good", "fair", "poor"], nulls = false }

[[table]]
name = "plans"
path = "plans.csv"

[table.columns]
plan = {}
kind = {}
"#;

struct Bench {
    node: Node,
    exact: SessionContext,
    folder: TempDir,
}

async fn bench() -> Bench {
    bench_with("").await
}

/// The bench with more in its configuration.
async fn bench_with(more: &str) -> Bench {
    let folder = TempDir::new().unwrap();
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../samples/randhie/region=1.parquet");
    std::fs::copy(sample, folder.path().join("visits.parquet")).unwrap();
    let mut plans = String::from("plan,kind\n");
    for plan in 1..=19 {
        let kind = if plan == 11 { "free" } else { "shared" };
        plans.push_str(&format!("{plan},{kind}\n"));
    }
    std::fs::write(folder.path().join("plans.csv"), plans).unwrap();
    let file = folder.path().join("node.toml");
    let config = NodeConfig::parse(&file, &format!("{CONFIGURATION}{more}")).unwrap();
    let node = Node::open(&config).await.unwrap();
    let exact = SessionContext::new_with_config(planning::session());
    let visits = folder.path().join("visits.parquet");
    exact
        .register_parquet(
            "visits",
            visits.to_str().unwrap(),
            ParquetReadOptions::default(),
        )
        .await
        .unwrap();
    exact
        .register_csv(
            "plans",
            folder.path().join("plans.csv").to_str().unwrap(),
            Default::default(),
        )
        .await
        .unwrap();
    Bench {
        node,
        exact,
        folder,
    }
}

/// The aggregate that a coordinator would send: the topmost one.
fn frontier(node: &Node, sql: &str) -> LogicalPlan {
    try_frontier(node, sql).unwrap()
}

/// Nothing if the planner itself refuses, as it does where it folds constants.
fn try_question(node: &Node, sql: &str) -> Option<wire::Question> {
    let plan = try_frontier(node, sql).ok()?;
    Some(wire::Question {
        contract_version: CONTRACT_VERSION,
        project: "tests".into(),
        plan: encode(&plan),
        epsilon_nano: 1_000_000_000,
        ..Default::default()
    })
}

fn try_frontier(node: &Node, sql: &str) -> datafusion::error::Result<LogicalPlan> {
    let runtime = tokio::runtime::Handle::current();
    let context = SessionContext::new_with_config(planning::session());
    for (name, table) in node.catalogue.policy().offered() {
        context
            .register_table(name.as_str(), named_table(name, table))
            .unwrap();
    }
    let state = context.state();
    let plan = tokio::task::block_in_place(|| runtime.block_on(state.create_logical_plan(sql)))?;
    let analysed = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})?;
    let plan = planning::rewrite(&state, analysed)?;
    let mut found = None;
    plan.apply(|node| {
        if found.is_none() && matches!(node, LogicalPlan::Aggregate(_)) {
            found = Some(node.clone());
            return Ok(TreeNodeRecursion::Stop);
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    Ok(found.unwrap_or(plan))
}

fn question(node: &Node, sql: &str) -> wire::Question {
    wire::Question {
        contract_version: CONTRACT_VERSION,
        project: "tests".into(),
        plan: encode(&frontier(node, sql)),
        epsilon_nano: 1_000_000_000,
        ..Default::default()
    }
}

fn refusal(bench: &Bench, sql: &str) -> Refusal {
    Admitted::admit(&bench.node, &question(&bench.node, sql))
        .and_then(|admitted| admitted.quote(&bench.node))
        .expect_err(sql)
}

/// Rows of finished figures: keys as text, then one number for each aggregate.
type Rows = Vec<(Vec<String>, Vec<f64>)>;

async fn through_the_node(bench: &Bench, sql: &str) -> Rows {
    let node = &bench.node;
    let quoted = Admitted::admit(node, &question(node, sql))
        .unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"))
        .quote(node)
        .unwrap_or_else(|refusal| panic!("{sql}: {refusal:?}"));
    let id: QueryId = uuid::Uuid::new_v4().to_string().parse().unwrap();
    let Decision::Execute(reserved) = quoted.reserve(node, id, true).unwrap() else {
        panic!("answered before");
    };
    let executed = reserved.execute(node).await.unwrap();
    let quote = Arc::clone(&executed.quoted.quote);
    let width: usize = quote.measures.iter().map(Measure::cells).sum();
    let Outcome::Exact(vector) = &executed.outcome else {
        panic!("{sql}: the groups are not public");
    };
    let cells = vector.cells();
    let value = |group: usize, measure: usize| {
        let before = &quote.measures[..measure];
        let start: usize = before.iter().map(Measure::cells).sum();
        cells[group * width + start] as f64 * quote.measures[measure].grid.step()
    };
    quote
        .groups()
        .iter()
        .enumerate()
        .map(|(group, keys)| {
            let keys = keys
                .iter()
                .map(|key| key.to_string().replace('\'', ""))
                .collect();
            let figures = quote
                .finishes
                .iter()
                .map(
                    |finish| match (finish.statistic, finish.measures.as_slice()) {
                        (Statistic::Count | Statistic::Sum, [single]) => value(group, *single),
                        (Statistic::Average, [sum, count]) => {
                            let Counted::Sum(factor) = &quote.measures[*sum].counted else {
                                panic!("an average is made of a sum")
                            };
                            factor.centre + value(group, *sum) / value(group, *count)
                        }
                        (other, _) => panic!("{other:?} is finished by the coordinator"),
                    },
                )
                .collect();
            (keys, figures)
        })
        .collect()
}

async fn exactly(bench: &Bench, sql: &str, keys: usize) -> Rows {
    let batches = bench.exact.sql(sql).await.unwrap().collect().await.unwrap();
    let mut rows = vec![];
    for batch in batches {
        let texts: Vec<_> = (0..keys)
            .map(|key| compute::cast(batch.column(key), &ArrowType::Utf8).unwrap())
            .collect();
        let numbers: Vec<_> = (keys..batch.num_columns())
            .map(|column| compute::cast(batch.column(column), &ArrowType::Float64).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            rows.push((
                texts
                    .iter()
                    .map(|text| {
                        if text.is_null(row) {
                            "NULL".to_owned()
                        } else {
                            text.as_string::<i32>().value(row).to_owned()
                        }
                    })
                    .collect(),
                numbers
                    .iter()
                    .map(|number| number.as_primitive::<Float64Type>().value(row))
                    .collect(),
            ));
        }
    }
    rows
}

/// For data that keep their declarations the vector before noise is the exact answer; groups that
/// the exact answer lacks are zero.
async fn agrees(bench: &Bench, sql: &str, keys: usize) {
    agrees_with(bench, sql, sql, keys).await;
}

/// The same where the exact answer needs other words.
async fn agrees_with(bench: &Bench, sql: &str, exact: &str, keys: usize) {
    let ours = through_the_node(bench, sql).await;
    let exact = exactly(bench, exact, keys).await;
    assert!(!exact.is_empty(), "{sql}");
    for (group, figures) in &ours {
        let truth = exact.iter().find(|(keys, _)| keys == group);
        for (index, figure) in figures.iter().enumerate() {
            let truth = truth.map_or(0.0, |(_, figures)| figures[index]);
            // An average over nobody is no number.
            let close = (figure - truth).abs() <= 1e-6 * truth.abs().max(1.0);
            assert!(
                close || figure.is_nan(),
                "{sql}: {group:?}: {figure} instead of {truth}"
            );
        }
    }
    for (group, _) in &exact {
        assert!(
            ours.iter().any(|(keys, _)| keys == group),
            "{sql}: {group:?} is missing"
        );
    }
}
