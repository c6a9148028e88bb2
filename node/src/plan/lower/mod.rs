//! Trusted. Lowers an admitted plan to the closed question.
//!
//! Promise: the question says all that will run. What it has no word for is refused, with the
//! fragment and the way to write it; the refusal follows from the plan and the policy alone.

mod aggregate;
mod cast;
mod decode;
mod expression;
mod function;
mod join;
mod operator;
mod person;
mod scan;
mod types;
mod window;

use std::cell::Cell;

use datafusion::{
    common::{Column, DFSchema},
    logical_expr::{self as logical, Expr, LogicalPlan},
};
use skerry_privacy::{
    analysis::Wording,
    policy::Policy,
    question::{Expression, Query, Relation},
};
use skerry_proto::{DataType, ErrorCode, Refusal, RegionId, limit};

#[cfg(test)]
pub(crate) use decode::encode;
pub(crate) use decode::named_table;
pub use decode::{REGION_COLUMN, decode, table_schema};
pub(crate) use types::{engine_type, plain_type, plain_value, scalar};

/// A question in its closed form, and how its parts were written.
#[derive(Debug, Clone)]
pub struct Lowered {
    /// The question.
    pub query: Query,
    /// For refusals.
    pub wording: Wording,
}

/// Lowers a plan whose root is the frontier.
///
/// # Errors
/// A refusal that names the part.
pub fn lower(plan: &LogicalPlan, policy: &Policy, region: &RegionId) -> Result<Lowered, Refusal> {
    let LogicalPlan::Aggregate(aggregate) = plan else {
        return Err(Refusal::new(
            ErrorCode::PrivateOutput,
            "the plan doesn't end in an aggregate over persons",
            "ask for COUNT, SUM or AVG",
        ));
    };
    Lowering::new(policy, region).frontier(aggregate)
}

/// A view's rows in their closed form, under the names that its SQL gives to the columns.
#[derive(Debug, Clone)]
pub struct LoweredRows {
    /// The rows.
    pub relation: Relation,
    /// The columns, in order.
    pub columns: Vec<LoweredColumn>,
    /// Whether rows belong to persons.
    pub private: bool,
}

/// A column of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoweredColumn {
    /// As the SQL names it.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
}

/// Lowers a plan of rows: the definition of an owner's view.
///
/// # Errors
/// A refusal that names the part.
pub fn lower_rows(
    plan: &LogicalPlan,
    policy: &Policy,
    region: &RegionId,
) -> Result<LoweredRows, Refusal> {
    let part = Lowering::new(policy, region).relation(plan)?;
    let fields = plan.schema().fields();
    Ok(LoweredRows {
        relation: part.relation,
        columns: fields
            .iter()
            .zip(part.columns)
            .map(|(field, column)| LoweredColumn {
                name: field.name().clone(),
                data_type: column.data_type,
            })
            .collect(),
        private: part.private,
    })
}

/// A lowered relation. Its columns are those of the plan node's schema, one by one.
#[derive(Debug, Clone)]
struct Part {
    relation: Relation,
    columns: Vec<PartColumn>,
    private: bool,
}

#[derive(Debug, Clone, Copy)]
struct PartColumn {
    data_type: DataType,
    unit: UnitColumn,
}

/// Whether a column says whose row it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum UnitColumn {
    /// It says something else.
    No,
    /// On every row.
    Always,
    /// Where a left join found a match; elsewhere it is NULL.
    OrNull,
}

impl Part {
    /// What a column of an expression says about the unit.
    fn unit_of(&self, expression: &Expression) -> UnitColumn {
        unit_of(&self.columns, expression)
    }
}

/// Whether an expression is the privacy unit: its column, or a number of it written as a text, which
/// tells persons apart as the number does.
fn unit_of(columns: &[PartColumn], expression: &Expression) -> UnitColumn {
    let column = |expression: &Expression| match expression {
        Expression::Column(index) => columns.get(*index).copied(),
        _ => None,
    };
    let found = match expression {
        Expression::Cast {
            value,
            to: DataType::Text,
        } => column(value).filter(|column| column.data_type == DataType::Integer),
        own => column(own),
    };
    found.map_or(UnitColumn::No, |column| column.unit)
}

/// Where names are looked up: a plan node's schema beside the lowered columns.
struct Scope<'a> {
    schema: &'a DFSchema,
    columns: &'a [PartColumn],
    repeated: &'a Cell<usize>,
}

impl Scope<'_> {
    /// Says a part once more. Nested repetition would grow without bound, so it is counted.
    fn again(&self, part: &Expression) -> Result<Expression, Refusal> {
        let size = part.size_within(limit::REPEATED_PARTS);
        let repeated = size.map(|size| self.repeated.get().saturating_add(size));
        match repeated {
            Some(repeated) if repeated <= limit::REPEATED_PARTS => {
                self.repeated.set(repeated);
                Ok(part.clone())
            }
            Some(_) | None => Err(Refusal::new(
                ErrorCode::TooLarge,
                "BETWEEN or CASE are nested in each other too often",
                "compute the inner value in a subquery",
            )),
        }
    }

    fn find(&self, column: &Column) -> Result<(usize, PartColumn), Refusal> {
        let index = self.schema.maybe_index_of_column(column);
        index
            .and_then(|index| Some((index, *self.columns.get(index)?)))
            .ok_or_else(|| {
                Refusal::new(
                    ErrorCode::UnknownColumn,
                    format!("there is no column {column}"),
                    "see the catalogue for the columns of each table",
                )
            })
    }
}

pub(super) fn unsupported(fragment: &str, hint: &str) -> Refusal {
    let shown: String = fragment.chars().take(200).collect();
    Refusal::new(
        ErrorCode::Unsupported,
        format!("{shown} can't be asked of private data"),
        hint,
    )
}

struct Lowering<'a> {
    policy: &'a Policy,
    region: &'a RegionId,
    /// Parts that had to be said twice, so far.
    repeated: Cell<usize>,
    /// How often a view was named, so far.
    views: Cell<usize>,
    /// Windows so far.
    windows: Cell<usize>,
}

impl<'a> Lowering<'a> {
    fn new(policy: &'a Policy, region: &'a RegionId) -> Self {
        Self {
            policy,
            region,
            repeated: Cell::new(0),
            views: Cell::new(0),
            windows: Cell::new(0),
        }
    }

    fn relation(&self, plan: &LogicalPlan) -> Result<Part, Refusal> {
        let part = match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.relation(&alias.input),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Aggregate(aggregate) => self.per_person(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            // Rows are a multiset: an order of them says nothing, unless it says which remain.
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => self.relation(&sort.input),
            LogicalPlan::Limit(_) | LogicalPlan::Sort(_) => Err(unsupported(
                "LIMIT below an aggregate",
                "which rows remain would hang on other persons; number each person's rows with ROW_NUMBER() OVER (PARTITION BY unit ORDER BY …), or limit the aggregated figures",
            )),
            LogicalPlan::Distinct(_) => Err(unsupported(
                "DISTINCT below an aggregate",
                "count persons with COUNT(DISTINCT unit), or group by the unit",
            )),
            LogicalPlan::Repartition(_)
            | LogicalPlan::EmptyRelation(_)
            | LogicalPlan::Subquery(_)
            | LogicalPlan::Statement(_)
            | LogicalPlan::Values(_)
            | LogicalPlan::Explain(_)
            | LogicalPlan::Analyze(_)
            | LogicalPlan::Extension(_)
            | LogicalPlan::Dml(_)
            | LogicalPlan::Ddl(_)
            | LogicalPlan::Copy(_)
            | LogicalPlan::DescribeTable(_)
            | LogicalPlan::Unnest(_)
            | LogicalPlan::RecursiveQuery(_) => Err(unsupported("this part of the statement", "")),
        }?;
        // Positions in the schema and in the question must be the same thing.
        if part.columns.len() == plan.schema().fields().len() {
            Ok(part)
        } else {
            Err(Refusal::new(
                ErrorCode::PlanRefused,
                "a part of the plan has another number of columns than its schema",
                "",
            ))
        }
    }

    fn filter(&self, filter: &logical::Filter) -> Result<Part, Refusal> {
        let mut input = self.relation(&filter.input)?;
        let scope = Scope {
            schema: filter.input.schema(),
            columns: &input.columns,
            repeated: &self.repeated,
        };
        let (predicate, _) = scope.lower(&filter.predicate)?;
        for index in predicate.known_where_true() {
            if let Some(column) = input.columns.get_mut(index)
                && column.unit == UnitColumn::OrNull
            {
                column.unit = UnitColumn::Always;
            }
        }
        Ok(Part {
            relation: Relation::Filter {
                input: Box::new(input.relation),
                predicate,
            },
            ..input
        })
    }

    fn projection(&self, projection: &logical::Projection) -> Result<Part, Refusal> {
        let input = self.relation(&projection.input)?;
        let scope = Scope {
            schema: projection.input.schema(),
            columns: &input.columns,
            repeated: &self.repeated,
        };
        let mut columns = vec![];
        let mut parts = vec![];
        for expression in &projection.expr {
            let (column, data_type) = scope.lower(expression)?;
            let unit = input.unit_of(&column);
            parts.push(PartColumn { data_type, unit });
            columns.push(column);
        }
        Ok(Part {
            relation: Relation::Project {
                input: Box::new(input.relation),
                columns,
            },
            columns: parts,
            private: input.private,
        })
    }

    fn union(&self, union: &logical::Union) -> Result<Part, Refusal> {
        let inputs = union
            .inputs
            .iter()
            .map(|input| self.relation(input))
            .collect::<Result<Vec<_>, _>>()?;
        let Some(first) = inputs.first() else {
            return Err(unsupported("a union without branches", ""));
        };
        let private = first.private;
        let mut columns = first.columns.clone();
        for other in &inputs {
            let same_types = other.columns.len() == columns.len()
                && other
                    .columns
                    .iter()
                    .zip(&columns)
                    .all(|(a, b)| a.data_type == b.data_type);
            if other.private != private || !same_types {
                return Err(unsupported(
                    "UNION ALL of branches that differ in types, or of private and public tables",
                    "give all branches the same columns, from private tables alone",
                ));
            }
            for (column, of_other) in columns.iter_mut().zip(&other.columns) {
                column.unit = match (column.unit, of_other.unit) {
                    (UnitColumn::No, _) | (_, UnitColumn::No) => UnitColumn::No,
                    (UnitColumn::Always, UnitColumn::Always) => UnitColumn::Always,
                    (UnitColumn::OrNull, _) | (_, UnitColumn::OrNull) => UnitColumn::OrNull,
                };
            }
        }
        Ok(Part {
            relation: Relation::Union {
                inputs: inputs.into_iter().map(|input| input.relation).collect(),
            },
            columns,
            private,
        })
    }
}

/// The expression behind aliases, which name but don't mean anything.
fn unaliased(expression: &Expr) -> &Expr {
    match expression {
        Expr::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}
