//! `[tables]` of each study against what its SQL reads.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::datatypes::{DataType, Field, Schema},
    catalog::TableProvider,
    common::tree_node::TreeNodeRecursion,
    datasource::MemTable,
    logical_expr::LogicalPlan,
};

use super::{Allowed, Given, Study, all};
use crate::{catalogue::Catalogue, options, plan::Planner, standards};

type Tables = BTreeMap<String, BTreeSet<String>>;

/// The common model: tables, columns, and their kinds, as `skerry synth` writes them.
const COMMON_MODEL: &[(&str, &str)] = &[
    (
        "patients",
        "patient_id integer, municipality text, sex text, birth_year integer, frailty integer, nursing_home boolean",
    ),
    (
        "episodes",
        "patient_id integer, episode_id integer, service text, level text, urgent boolean, \
         readmission boolean, mode text, start_date date, days integer, cost number, travel_km number, \
         waited_days integer, same_clinician boolean",
    ),
    ("conditions", "patient_id integer, icd10 text, since date"),
    (
        "inclusions",
        "patient_id integer, pathway text, risk text, included_on date, ended_on date, end_reason text",
    ),
    (
        "pathway_steps",
        "patient_id integer, step text, due_on date, done_on date",
    ),
    (
        "surveys",
        "patient_id integer, asked_on date, respondent text, question text, answer integer",
    ),
    (
        "municipalities",
        "municipality text, hospital_km number, centre_km number, participating boolean, synthetic boolean",
    ),
    (
        "population",
        "municipality text, sex text, age_band text, year integer, persons integer",
    ),
    ("unit_costs", "kind text, unit text, euros number"),
    (
        "targets",
        "municipality text, risk text, people integer, hours_per_person_month number",
    ),
    (
        "capacity",
        "year integer, beds integer, doctors integer, centres integer, persons integer",
    ),
    (
        "model_regions",
        "label text, country text, governance text, communication number, common_goals number, \
         trust number, teams number, shared_plans number, shared_responsibility number, guarantee_days integer",
    ),
    (
        "initiatives",
        "initiative text, area text, phase text, category text, started date",
    ),
];

fn model() -> BTreeMap<String, Arc<dyn TableProvider>> {
    let mut tables: BTreeMap<String, Arc<dyn TableProvider>> = COMMON_MODEL
        .iter()
        .map(|(name, columns)| {
            let mut fields = vec![Field::new("region", DataType::Utf8, true)];
            fields.extend(columns.split(", ").map(|column| {
                let (name, kind) = column.split_once(' ').expect("a name and a kind");
                let data_type = match kind {
                    "integer" => DataType::Int64,
                    "number" => DataType::Float64,
                    "text" => DataType::Utf8,
                    "date" => DataType::Date32,
                    "boolean" => DataType::Boolean,
                    other => panic!("{other}"),
                };
                Field::new(name, data_type, true)
            }));
            let table = MemTable::try_new(Arc::new(Schema::new(fields)), vec![vec![]]);
            let table: Arc<dyn TableProvider> = Arc::new(table.expect("a table"));
            ((*name).to_owned(), table)
        })
        .collect();
    let standards = standards::table().expect("standard populations");
    tables.insert(standards::TABLE.to_owned(), standards);
    tables
}

/// The defaults, and each other text or flag with the defaults of all else: what an optimizer leaves out
/// for one value it reads for another.
fn choices(study: &Study) -> Vec<Given> {
    let mut choices = vec![Given::default()];
    for parameter in &study.parameters {
        let values = match &parameter.allowed {
            Allowed::Texts(values) => values.clone(),
            Allowed::Booleans => vec!["true".to_owned(), "false".to_owned()],
            Allowed::Integers(..) | Allowed::Decimals(..) | Allowed::Dates(..) => vec![],
        };
        for value in values {
            choices.push(Given::parse(&[format!("{}={value}", parameter.name)]).expect("a pair"));
        }
    }
    choices
}

/// The tables that a plan scans, and the columns that it takes of them.
fn scans(plan: &LogicalPlan, into: &mut Tables) {
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            let columns = into.entry(scan.table_name.table().to_owned()).or_default();
            let names = scan
                .projected_schema
                .fields()
                .iter()
                .map(|field| field.name());
            columns.extend(names.filter(|name| *name != "region").cloned());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .expect("a walk");
}

#[tokio::test]
async fn tables_are_those_that_the_sql_reads() {
    let planner = Planner::new(Arc::new(Catalogue::default()), &model()).expect("a planner");
    for study in all().expect("valid files") {
        let mut read = Tables::new();
        for given in choices(&study) {
            let sql = study.sql(&given).expect("allowed");
            let statement = options::take(&sql).unwrap_or_else(|e| panic!("{}: {e}", study.name));
            let planned = planner.plan(&statement.sql).await;
            let planned = planned.unwrap_or_else(|e| panic!("{}: {e}\n{sql}", study.name));
            assert!(planned.frontiers.is_empty(), "all tables are public here");
            let plan = planner.state().optimize(&planned.upper).expect("a plan");
            scans(&plan, &mut read);
        }
        let said: Tables = study
            .tables
            .iter()
            .map(|(table, columns)| (table.clone(), columns.iter().cloned().collect()))
            .collect();
        assert_eq!(
            said, read,
            "[tables] of {}, and what its SQL reads",
            study.name
        );
    }
}
