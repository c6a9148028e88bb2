//! The kept corpus: plans of the statements in `tests/sql`, and inputs that something was once found
//! with.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use datafusion::{
    arrow::datatypes::{DataType as ArrowType, Field as Column, Schema, TimeUnit},
    common::tree_node::{TreeNode as _, TreeNodeRecursion},
    datasource::MemTable,
    execution::SessionStateBuilder,
    logical_expr::LogicalPlan,
    prelude::{ParquetReadOptions, SessionContext},
};
use datafusion_proto::{
    logical_plan::AsLogicalPlan as _,
    protobuf::{
        ArrowType as WireType, LogicalExprNode, LogicalPlanNode, ScalarValue,
        logical_expr_node::ExprType,
    },
};
use prost::Message as _;
use skerry_node::config::NodeConfig;
use skerry_proto::planning;
use sqllogictest::Record;

use crate::{
    fields::{self, Field},
    name_codec::NameCodec,
    plans::{self, Part},
    subject::Subject,
};

/// Plans that are longer are left out.
const LONGEST: usize = 12_000;

/// One plan.
pub struct Plan {
    pub bytes: Vec<u8>,
    /// Empty if the bytes are no message.
    pub message: LogicalPlanNode,
    pub fields: Vec<Field>,
}

/// All plans, and the parts that they are made of.
pub struct Corpus {
    pub plans: Vec<Plan>,
    pub subplans: Vec<LogicalPlanNode>,
    pub expressions: Vec<LogicalExprNode>,
    pub literals: Vec<ScalarValue>,
    pub types: Vec<WireType>,
    /// Texts: names, functions, values.
    pub words: Vec<Vec<u8>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

impl Corpus {
    /// In the order of the files' names.
    pub fn read() -> Self {
        let mut files: Vec<PathBuf> = fs::read_dir(folder())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        let plans: Vec<Plan> = files
            .iter()
            .map(|file| {
                let bytes = fs::read(file).unwrap();
                let message = LogicalPlanNode::decode(bytes.as_slice()).unwrap_or_default();
                let fields = fields::of_plan(&bytes);
                Plan {
                    bytes,
                    message,
                    fields,
                }
            })
            .collect();
        assert!(!plans.is_empty(), "the corpus is empty: see its README");
        let mut corpus = Self {
            plans,
            subplans: vec![],
            expressions: vec![],
            literals: vec![],
            types: vec![],
            words: vec![],
        };
        for plan in &corpus.plans {
            let (subplans, expressions) = plans::parts(&plan.message);
            corpus.subplans.extend(subplans);
            for expression in &expressions {
                match &expression.expr_type {
                    Some(ExprType::Literal(literal)) => corpus.literals.push(literal.clone()),
                    Some(ExprType::Cast(cast)) => corpus.types.extend(cast.arrow_type.clone()),
                    _ => {}
                }
            }
            corpus.expressions.extend(expressions);
            fields::texts(&plan.fields, &mut corpus.words);
        }
        corpus.words.sort();
        corpus.words.dedup();
        corpus
    }
}

/// Writes the corpus anew from the statements in `tests/sql`; what was found once stays.
pub fn write(subject: &Subject) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let context = runtime.block_on(tables(&subject.config));
    for entry in fs::read_dir(folder()).unwrap() {
        let file = entry.unwrap().path();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("found-") {
            fs::remove_file(file).unwrap();
        }
    }
    let mut known = BTreeSet::new();
    let (mut seen, mut kept, mut bytes_kept) = (0, 0, 0);
    for (name, sql) in statements() {
        for (place, plan) in runtime
            .block_on(frontiers(&context, &sql))
            .into_iter()
            .enumerate()
        {
            seen += 1;
            let Ok(message) = LogicalPlanNode::try_from_logical_plan(&plan, &NameCodec) else {
                continue;
            };
            let bytes = message.encode_to_vec();
            let news = kinds(&message).difference(&known).count();
            if bytes.len() > LONGEST || news == 0 {
                continue;
            }
            known.extend(kinds(&message));
            fs::write(folder().join(format!("{name}-{place}.plan")), &bytes).unwrap();
            kept += 1;
            bytes_kept += bytes.len();
        }
    }
    println!("{kept} of {seen} plans are kept, {bytes_kept} bytes");
}

/// What is in a plan: kinds of parts with the kind that each is in, functions and operators.
fn kinds(plan: &LogicalPlanNode) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    plans::each_part(Part::Plan(&mut plan.clone()), &mut |part| {
        let kind = plans::kind(part);
        for inner in plans::inner_kinds(part) {
            found.insert(format!("{kind} of {inner}"));
        }
        found.insert(kind);
    });
    found
}

/// Each statement with a name of its own.
fn statements() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let mut files: Vec<PathBuf> = [root.clone(), root.join("refusals")]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "slt"))
        .collect();
    files.sort();
    let mut found = vec![];
    for file in files {
        let stem = file.file_stem().unwrap().to_string_lossy().into_owned();
        let records = sqllogictest::parse_file::<AnyType>(&file).unwrap();
        for record in records {
            if let Record::Query { sql, .. } | Record::Statement { sql, .. } = record {
                found.push((format!("{stem}-{:03}", found.len()), sql));
            }
        }
    }
    found
}

/// Letters of columns' types don't matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
struct AnyType;

impl sqllogictest::ColumnType for AnyType {
    fn from_char(_: char) -> Option<Self> {
        Some(Self)
    }

    fn to_char(&self) -> char {
        '?'
    }
}

/// The node's tables, empty, as a coordinator announces them.
async fn tables(config: &NodeConfig) -> SessionContext {
    let state = SessionStateBuilder::new()
        .with_config(planning::session())
        .with_default_features()
        .build();
    let context = SessionContext::new_with_state(state);
    for table in &config.tables {
        let path = table.path.to_str().unwrap();
        let file = SessionContext::new()
            .read_parquet(path, ParquetReadOptions::default())
            .await
            .unwrap();
        let unit = table.unit.as_ref().map(|unit| unit.column.as_str());
        let mut columns: Vec<Column> = table
            .columns
            .iter()
            .map(|column| {
                let name = column.name.as_str();
                let field = file.schema().field_with_unqualified_name(name).unwrap();
                Column::new(name, announced(field.data_type()), unit != Some(name))
            })
            .collect();
        if unit.is_some() {
            columns.push(Column::new("region", ArrowType::Utf8, false));
        }
        let empty = MemTable::try_new(Arc::new(Schema::new(columns)), vec![vec![]]).unwrap();
        context
            .register_table(table.name.as_str(), Arc::new(empty))
            .unwrap();
    }
    context
}

fn announced(data_type: &ArrowType) -> ArrowType {
    match data_type {
        ArrowType::Boolean => ArrowType::Boolean,
        ArrowType::Date32 => ArrowType::Date32,
        ArrowType::Timestamp(..) => ArrowType::Timestamp(TimeUnit::Microsecond, None),
        other if other.is_integer() => ArrowType::Int64,
        other if other.is_floating() => ArrowType::Float64,
        _ => ArrowType::Utf8,
    }
}

/// The aggregates of a statement, planned by the rules that both sides share; none of what can't be
/// planned.
async fn frontiers(context: &SessionContext, sql: &str) -> Vec<LogicalPlan> {
    let state = context.state();
    let mut found = vec![];
    let Ok(plan) = state.create_logical_plan(sql).await else {
        return found;
    };
    let options = state.config_options();
    let analysed = state.analyzer().execute_and_check(plan, options, |_, _| {});
    let Ok(plan) = analysed.and_then(|plan| planning::rewrite(&state, plan)) else {
        return found;
    };
    plan.apply(|node| {
        if matches!(node, LogicalPlan::Aggregate(_)) {
            found.push(node.clone());
        }
        Ok(TreeNodeRecursion::Continue)
    })
    .unwrap();
    found
}
