//! Trusted. Lowers an admitted plan to the closed question.
//!
//! Promise: the question says all that will run. What it has no word for is refused, with the
//! fragment and the way to write it; the refusal follows from the plan and the policy alone.

mod aggregate;
mod decode;
mod expression;
mod join;
mod types;

use std::cell::Cell;

use datafusion::{
    common::{Column, DFSchema},
    logical_expr::{self as logical, Expr, LogicalPlan},
};
use skerry_privacy::{
    analysis::Wording,
    policy::{Ownership, Policy},
    question::{Expression, Query, Relation},
};
use skerry_proto::{DataType, ErrorCode, Refusal, RegionId, Value, limit};

pub use decode::{REGION_COLUMN, decode, table_schema};
#[cfg(test)]
pub(crate) use decode::{encode, named_table};
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
    Lowering {
        policy,
        region,
        repeated: Cell::new(0),
    }
    .frontier(aggregate)
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
    unit: bool,
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
}

impl Lowering<'_> {
    fn relation(&self, plan: &LogicalPlan) -> Result<Part, Refusal> {
        let part = match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan),
            LogicalPlan::SubqueryAlias(alias) => self.relation(&alias.input),
            LogicalPlan::Filter(filter) => self.filter(filter),
            LogicalPlan::Projection(projection) => self.projection(projection),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Aggregate(aggregate) => self.per_person(aggregate),
            LogicalPlan::Limit(_) => Err(unsupported(
                "LIMIT below an aggregate",
                "which rows remain would hang on other persons; limit the aggregated figures instead",
            )),
            LogicalPlan::Sort(_) => Err(unsupported(
                "ORDER BY below an aggregate",
                "sort the aggregated figures instead",
            )),
            LogicalPlan::Distinct(_) => Err(unsupported(
                "DISTINCT below an aggregate",
                "count persons with COUNT(DISTINCT unit), or group by the unit",
            )),
            LogicalPlan::Window(_) => Err(unsupported("a window function", "")),
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

    fn scan(&self, scan: &logical::TableScan) -> Result<Part, Refusal> {
        if scan.fetch.is_some() || !scan.filters.is_empty() {
            return Err(unsupported("a limited scan", ""));
        }
        let name = decode::table_name(scan)?;
        let Some(table) = self.policy.tables.get(&name) else {
            return Err(Refusal::new(
                ErrorCode::UnknownTable,
                format!("there is no table {name}"),
                "see the catalogue for the tables",
            ));
        };
        let unit = match &table.ownership {
            Ownership::Private { unit, .. } => Some(unit),
            Ownership::Public { .. } => None,
        };
        let mut columns: Vec<String> = vec![];
        let mut expressions = vec![];
        let mut parts = vec![];
        for field in scan.projected_schema.fields() {
            if field.name() == REGION_COLUMN {
                expressions.push(Expression::Literal {
                    value: Value::Text(self.region.to_string()),
                    data_type: DataType::Text,
                });
                parts.push(PartColumn {
                    data_type: DataType::Text,
                    unit: false,
                });
                continue;
            }
            let Some((_, column)) = table.column(field.name()) else {
                return Err(Refusal::new(
                    ErrorCode::UnknownColumn,
                    format!("table {name} has no column {}", field.name()),
                    "see the catalogue for the columns of each table",
                ));
            };
            expressions.push(Expression::Column(columns.len()));
            columns.push(column.name.clone());
            parts.push(PartColumn {
                data_type: column.data_type,
                unit: unit == Some(&column.name),
            });
        }
        Ok(Part {
            relation: Relation::Project {
                input: Box::new(Relation::Table {
                    table: name,
                    columns,
                }),
                columns: expressions,
            },
            columns: parts,
            private: unit.is_some(),
        })
    }

    fn filter(&self, filter: &logical::Filter) -> Result<Part, Refusal> {
        let input = self.relation(&filter.input)?;
        let scope = Scope {
            schema: filter.input.schema(),
            columns: &input.columns,
            repeated: &self.repeated,
        };
        let (predicate, _) = scope.lower(&filter.predicate)?;
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
            let unit = matches!(&column, Expression::Column(index) if input.columns[*index].unit);
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
                column.unit &= of_other.unit;
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
