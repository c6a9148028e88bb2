//! The plan that runs against the reference for relations: generated relations over generated
//! data, of which some break every declaration, have the same rows of the same persons.

#[path = "../../../privacy/tests/reference/mod.rs"]
mod reference;

use std::collections::HashMap;

use datafusion::{
    arrow::{
        array::RecordBatch,
        datatypes::{Field, Schema},
    },
    datasource::MemTable,
    execution::SessionStateBuilder,
    prelude::{SessionConfig, SessionContext},
};
use proptest::prelude::*;
use skerry_proto::Value;

use self::reference::{
    Data, Row, Table,
    generate::{any_data, any_relation, policy},
};
use super::*;

/// What the reference may be wrong about in other tests.
#[derive(Debug, Clone, Copy)]
enum Fault {}

impl Fault {
    fn rows(self, _: &Relation, _: &Data) -> Option<Vec<(i64, Row)>> {
        match self {}
    }
}

struct Held(HashMap<String, Arc<dyn TableProvider>>);

impl Tables for Held {
    fn provider(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.0.get(name).map(Arc::clone)
    }
}

/// In several batches and partitions, so that a person's rows come from everywhere.
fn held(table: &Table) -> Arc<dyn TableProvider> {
    let fields = table
        .columns
        .iter()
        .map(|(name, data_type)| Field::new(*name, engine_type(*data_type), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batches = table.rows.chunks(3).map(|rows| {
        let columns = table.columns.iter().enumerate().map(|(index, (_, of))| {
            total::array_of(rows.iter().map(|row| row[index].clone()), *of)
        });
        RecordBatch::try_new(Arc::clone(&schema), columns.collect()).unwrap()
    });
    let mut partitions = vec![vec![], vec![]];
    for (index, batch) in batches.enumerate() {
        partitions[index % 2].push(batch);
    }
    Arc::new(MemTable::try_new(schema, partitions).unwrap())
}

/// What a declared list leaves of the values.
fn as_declared(data: &Data, policy: &Policy) -> Data {
    let mut declared = data.clone();
    for (name, table) in &mut declared.tables {
        let columns = &policy.tables[*name].columns;
        for row in &mut table.rows {
            *row = reference::declared(std::mem::take(row), columns);
        }
    }
    declared
}

fn context() -> SessionContext {
    let mut config = SessionConfig::new()
        .with_target_partitions(3)
        .with_batch_size(4);
    config.options_mut().optimizer.prefer_hash_join = false;
    config.options_mut().optimizer.join_reordering = false;
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_default_features()
        .with_physical_optimizer_rules(crate::execute::rules())
        .with_query_planner(Arc::new(WindowPlanner))
        .build();
    SessionContext::new_with_state(state)
}

async fn run(relation: &Relation, policy: &Policy, data: &Data) -> EngineResult<Vec<(i64, Row)>> {
    let tables = Held(
        data.iter()
            .map(|(name, table)| ((*name).to_owned(), held(table)))
            .collect(),
    );
    let mut rebuilding = Rebuilding {
        policy,
        tables: &tables,
        names: 0,
    };
    let part = rebuilding.relation(relation)?;
    let unit = part.unit.clone().unwrap();
    let columns = std::iter::once(col(unit)).chain(part.expressions());
    let plan = LogicalPlanBuilder::from(part.plan)
        .project(columns)?
        .build()?;
    let batches = context()
        .execute_logical_plan(plan)
        .await?
        .collect()
        .await?;
    let mut rows = vec![];
    for batch in &batches {
        let readers = batch.columns().iter().map(total::reader);
        let readers = readers.collect::<EngineResult<Vec<_>>>()?;
        for row in 0..batch.num_rows() {
            let mut values = readers.iter().map(|read| read(row));
            let Some(Value::Integer(id)) = values.next() else {
                panic!("a row belongs to nobody");
            };
            rows.push((id, values.collect()));
        }
    }
    Ok(rows)
}

/// The engine's least of infinities alone is the greatest finite float.
fn near(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => {
            let (a, b) = (a.clamp(f64::MIN, f64::MAX), b.clamp(f64::MIN, f64::MAX));
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-6 * b.abs().max(1.0)
        }
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_runs_is_what_was_asked(relation in any_relation(false), data in any_data()) {
        let policy = policy(3);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut found = runtime.block_on(run(&relation, &policy, &data)).unwrap();
        let mut expected = reference::rows(&relation, &as_declared(&data, &policy));
        found.sort();
        expected.sort();
        let same = found.len() == expected.len()
            && found.iter().zip(&expected).all(|((a, found), (b, expected))| {
                a == b && found.iter().zip(expected).all(|(a, b)| near(a, b))
            });
        prop_assert!(same, "{found:#?} instead of {expected:#?}");
    }

    /// Which batch and partition a row comes in, and after which others, doesn't show in any digit.
    #[test]
    fn the_order_of_rows_does_not_show(
        relation in any_relation(false), data in any_data(), turned in 0usize..16,
    ) {
        let policy = policy(3);
        let mut moved = data.clone();
        for table in moved.tables.values_mut() {
            table.rows.reverse();
            let rows = table.rows.len().max(1);
            table.rows.rotate_left(turned % rows);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut found = runtime.block_on(run(&relation, &policy, &data)).unwrap();
        let mut again = runtime.block_on(run(&relation, &policy, &moved)).unwrap();
        found.sort();
        again.sort();
        let exactly = |a: &Value, b: &Value| match (a, b) {
            (Value::Float(a), Value::Float(b)) => a == b || (a.is_nan() && b.is_nan()),
            (a, b) => a == b,
        };
        let same = found.len() == again.len()
            && found.iter().zip(&again).all(|((a, found), (b, again))| {
                a == b && found.iter().zip(again).all(|(a, b)| exactly(a, b))
            });
        prop_assert!(same, "{found:#?} and then {again:#?}");
    }
}
