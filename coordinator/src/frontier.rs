//! The cut: everything below and including the lowest aggregate over private rows that is not
//! grouped by the privacy unit goes to the nodes, and a leaf takes its place.

use std::{cmp::Ordering, fmt, sync::Arc};

use bytes::Bytes;
use datafusion::{
    common::{
        DFSchemaRef, Result as PlanResult,
        tree_node::{Transformed, TreeNode, TreeNodeRecursion},
    },
    datasource::provider_as_source,
    logical_expr::{
        Aggregate, Expr, Extension, LogicalPlan, TableScanBuilder, UserDefinedLogicalNodeCore,
    },
};
use datafusion_proto::bytes::logical_plan_to_bytes_with_extension_codec;
use skerry_proto::{ErrorCode, Refusal, limit, planning};

use crate::{
    canonical::canonical,
    federated_table::{FederatedTable, NameCodec},
    lineage::{carried_or_null, is_carried, unit},
    plan::Planned,
    refuse::refuse,
};

/// Releases of one statement.
pub(crate) const FRONTIERS: usize = 64;

/// One release: what the nodes are sent.
#[derive(Debug, Clone)]
pub(crate) struct Frontier {
    /// The subtree; its schema is what the finished release looks like.
    pub aggregate: Aggregate,
    /// The subtree on the wire.
    pub plan: Bytes,
}

impl Frontier {
    /// How many columns of the schema are group keys; the rest are aggregates.
    pub fn keys(&self) -> usize {
        self.aggregate.schema.fields().len() - self.aggregate.aggr_expr.len()
    }
}

/// Stands in the upper plan for a release that is not there yet. It can't be run.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Released {
    /// Which of the statement's frontiers.
    pub frontier: usize,
    /// Which of the places in the plan: one release can be used in several.
    pub place: usize,
    /// The schema of the aggregate that was here.
    pub schema: DFSchemaRef,
}

impl PartialOrd for Released {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        (self == other).then_some(Ordering::Equal)
    }
}

impl UserDefinedLogicalNodeCore for Released {
    fn name(&self) -> &'static str {
        "Released"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        Vec::new()
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Released: {}", self.frontier)
    }

    fn with_exprs_and_inputs(&self, _: Vec<Expr>, _: Vec<LogicalPlan>) -> PlanResult<Self> {
        Ok(self.clone())
    }
}

impl Released {
    /// The release that a node of a plan stands for.
    pub fn of(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<Self>(),
            _ => None,
        }
    }
}

/// Cuts a rewritten plan.
pub(crate) fn cut(plan: LogicalPlan) -> Result<Planned, Refusal> {
    refuse_left_subqueries(&plan)?;
    let mut cuts = Cuts::default();
    let (upper, raw) = split(plan, &mut cuts)?;
    if raw {
        return Err(private_output(&upper));
    }
    let upper = use_local_tables(upper)?;
    Ok(Planned {
        upper,
        frontiers: cuts.frontiers,
    })
}

/// What was cut so far.
#[derive(Default)]
struct Cuts {
    frontiers: Vec<Frontier>,
    /// Of each frontier, what it asks whatever its names are.
    asked: Vec<Option<String>>,
    places: usize,
}

/// Cuts below a node. True: rows still belong to persons.
fn split(plan: LogicalPlan, cuts: &mut Cuts) -> Result<(LogicalPlan, bool), Refusal> {
    if let LogicalPlan::TableScan(scan) = &plan {
        let raw = FederatedTable::of(scan).is_some_and(|table| table.is_private());
        return Ok((plan, raw));
    }
    let mut raw = false;
    let mut failed = None;
    let plan = plan
        .map_children(|child| match split(child, cuts) {
            Ok((child, child_raw)) => {
                raw |= child_raw;
                Ok(Transformed::yes(child))
            }
            Err(refusal) => {
                failed = Some(refusal);
                Err(datafusion::common::DataFusionError::Plan(
                    "refused".to_owned(),
                ))
            }
        })
        .map_err(|error| {
            failed
                .take()
                .unwrap_or_else(|| planning::refusal(&error, &[]))
        })?
        .data;
    match plan {
        LogicalPlan::Aggregate(aggregate) if raw && !per_person(&aggregate) => {
            let leaf = release(aggregate, cuts)?;
            Ok((leaf, false))
        }
        LogicalPlan::Distinct(_) | LogicalPlan::RecursiveQuery(_) if raw => refuse(
            ErrorCode::Unsupported,
            "this form of DISTINCT or recursion can't be asked of private tables",
            "Group by the columns and count persons.",
        ),
        plan => Ok((plan, raw)),
    }
}

/// Whether an aggregate keeps persons apart.
fn per_person(aggregate: &Aggregate) -> bool {
    // Whether NULLs among the units are left out is for the nodes to see.
    let units = carried_or_null(&aggregate.input, &unit);
    let schema = aggregate.input.schema();
    aggregate
        .group_expr
        .iter()
        .any(|expr| is_carried(expr, schema, &units))
}

/// Makes a release of an aggregate, or finds the same one among the earlier.
fn release(aggregate: Aggregate, cuts: &mut Cuts) -> Result<LogicalPlan, Refusal> {
    if aggregate.aggr_expr.is_empty() {
        let keys: Vec<String> = aggregate
            .group_expr
            .iter()
            .map(ToString::to_string)
            .collect();
        return refuse(
            ErrorCode::PrivateOutput,
            format!(
                "which values of {} occur belongs to persons",
                keys.join(", ")
            ),
            match unit_name(&aggregate.input) {
                Some(unit) => format!("Count persons for each value: COUNT(DISTINCT {unit})."),
                None => "Count persons for each value.".to_owned(),
            },
        );
    }
    if aggregate.aggr_expr.len() > limit::AGGREGATES {
        return refuse(
            ErrorCode::TooLarge,
            format!("more than {} aggregates at once", limit::AGGREGATES),
            "",
        );
    }
    let schema = Arc::clone(&aggregate.schema);
    let plan = LogicalPlan::Aggregate(aggregate.clone());
    check_below(&plan)?;
    let bytes = logical_plan_to_bytes_with_extension_codec(&plan, &NameCodec)
        .map_err(|error| Refusal::new(ErrorCode::Unsupported, error.strip_backtrace(), ""))?;
    if bytes.len() > limit::PLAN_BYTES {
        return refuse(
            ErrorCode::TooLarge,
            "the question is too large to be sent",
            "",
        );
    }
    let frontiers = &mut cuts.frontiers;
    // A CTE that is used twice comes here twice, and is released once.
    let asked = canonical(&plan);
    let same = |known: &Option<String>| asked.is_some() && *known == asked;
    let frontier = match cuts.asked.iter().position(same) {
        Some(known) => known,
        None => {
            cuts.asked.push(asked);
            frontiers.push(Frontier {
                aggregate,
                plan: bytes,
            });
            frontiers.len() - 1
        }
    };
    if frontiers.len() > FRONTIERS {
        return refuse(
            ErrorCode::TooLarge,
            format!("more than {FRONTIERS} releases in one statement"),
            "Group by what tells them apart, or ask several statements.",
        );
    }
    cuts.places += 1;
    Ok(LogicalPlan::Extension(Extension {
        node: Arc::new(Released {
            frontier,
            place: cuts.places,
            schema,
        }),
    }))
}

/// Below a frontier there are only the nodes' tables, and no figure with noise.
fn check_below(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut refusal = None;
    let _ = plan.apply(|node| {
        if Released::of(node).is_some() {
            refusal = Some(Refusal::new(
                ErrorCode::Unsupported,
                "a private aggregate can't be used to select or compute with rows of persons",
                "Ask for it first, and write the figure that you get as a number.",
            ));
        } else if let LogicalPlan::TableScan(scan) = node
            && FederatedTable::of(scan).is_none()
        {
            refusal = Some(Refusal::new(
                ErrorCode::Unsupported,
                format!(
                    "the regions don't have the table `{}`, so it can't be joined with rows of \
                     persons",
                    scan.table_name
                ),
                "Aggregate in a subquery first, and join the figures with it.",
            ));
        }
        Ok(match refusal {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    refusal.map_or(Ok(()), Err)
}

/// A subquery that the rewrites left in an expression would not be seen by the cut.
fn refuse_left_subqueries(plan: &LogicalPlan) -> Result<(), Refusal> {
    let mut refusal = None;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Subquery(subquery) = node {
            refusal = private_table(&subquery.subquery).map(|table| {
                Refusal::new(
                    ErrorCode::Unsupported,
                    format!(
                        "this subquery on `{}` can't be turned into a join",
                        table.name
                    ),
                    "Write it as a JOIN, or with EXISTS, IN or WITH.",
                )
            });
        }
        Ok(match refusal {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    refusal.map_or(Ok(()), Err)
}

/// The first private table of a plan.
pub(crate) fn private_table(plan: &LogicalPlan) -> Option<Arc<FederatedTable>> {
    let mut found = None;
    let _ = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            found = FederatedTable::of(scan).filter(|table| table.is_private());
        }
        Ok(match found {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    found
}

fn unit_name(plan: &LogicalPlan) -> Option<String> {
    private_table(plan).and_then(|table| table.unit.clone())
}

/// What makes an answer of a query with a row for each person: how many there are.
pub(crate) const AROUND: &str = "SELECT COUNT(*) AS persons FROM (…) AS t";

fn private_output(plan: &LogicalPlan) -> Refusal {
    let Some(table) = private_table(plan) else {
        return Refusal::new(
            ErrorCode::PrivateOutput,
            "rows of persons would be shown",
            "",
        );
    };
    let unit = table.unit.clone().unwrap_or_default();
    let mut per_person = false;
    let _ = plan.apply(|node| {
        per_person |= matches!(node, LogicalPlan::Aggregate(_));
        Ok(TreeNodeRecursion::Continue)
    });
    if per_person {
        Refusal::new(
            ErrorCode::PrivateOutput,
            format!(
                "the result would have rows for each `{unit}` of `{}`",
                table.name
            ),
            format!("Put this into a subquery and aggregate over persons: {AROUND}"),
        )
    } else {
        Refusal::new(
            ErrorCode::PrivateOutput,
            format!(
                "the result would show rows of `{}`, which belong to persons",
                table.name
            ),
            format!(
                "Ask for an aggregate: SELECT COUNT(*) FROM {0}, or \
                 COUNT(DISTINCT {unit}), SUM, AVG of a column, with GROUP BY.",
                table.name
            ),
        )
    }
}

/// Above the frontiers a public table is the coordinator's own.
fn use_local_tables(plan: LogicalPlan) -> Result<LogicalPlan, Refusal> {
    let mut refusal = None;
    let replaced = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::TableScan(scan) = &node else {
            return Ok(Transformed::no(node));
        };
        let Some(table) = FederatedTable::of(scan) else {
            return Ok(Transformed::no(node));
        };
        let Some(local) = &table.local else {
            refusal.get_or_insert_with(|| {
                Refusal::new(
                    ErrorCode::Unsupported,
                    format!(
                        "only the regions have `{}`: it can be joined with rows of persons below \
                         an aggregate, not used with the figures after it",
                        table.name
                    ),
                    "Join it before aggregating, or have the coordinator's owner add it as a [[table]].",
                )
            });
            return Ok(Transformed::no(node));
        };
        let schema = local.schema();
        let columns = scan
            .projected_schema
            .fields()
            .iter()
            .map(|field| schema.index_of(field.name()))
            .collect::<Result<Vec<usize>, _>>()?;
        let source = provider_as_source(Arc::clone(local));
        let scan = TableScanBuilder::new(scan.table_name.clone(), source)
            .with_projection(Some(columns))
            .build()?;
        Ok(Transformed::yes(LogicalPlan::TableScan(scan)))
    });
    match (refusal, replaced) {
        (Some(refusal), _) => Err(refusal),
        (None, Ok(plan)) => Ok(plan.data),
        (None, Err(error)) => Err(planning::refusal(&error, &[])),
    }
}

#[cfg(test)]
pub(crate) mod tests;
