//! Trusted. From a question's relation to the rows of a pass: which tables are read, and how their
//! rows meet.
//!
//! Promise: the same rows as [`rebuild`](crate::plan::rebuild) says, made of the same expressions.
//! Projections are not carried out but put into the expressions above them.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{RecordBatch, new_null_array},
        datatypes::Schema,
    },
    common::{
        Column, DFSchema, Result as EngineResult, internal_datafusion_err, internal_err,
        tree_node::{Transformed, TreeNode as _},
    },
    execution::SessionState,
    logical_expr::Expr,
};
use skerry_privacy::{
    policy::{Ownership, Policy},
    question::{Expression, JoinKind, Matching, PersonAggregate, PersonFunction, Relation},
};
use skerry_proto::DataType;

use super::{
    evaluate::plain_schema,
    filter::filtered,
    inline::{check_weights, expression_over},
    rows::{Kind, Rows, names},
};
use crate::{
    plan::rebuild::{as_read, enforced, finish, sums_of, type_of},
    prepared::{Prepared, Texts},
};

/// A relation as the question counts its columns.
#[derive(Debug)]
pub struct Part {
    /// The rows.
    pub rows: Rows,
    /// The column of the unit.
    pub unit: String,
    /// The question's columns, over the rows' columns.
    pub columns: Vec<(Expr, DataType)>,
}

impl Part {
    /// The columns' types.
    #[must_use]
    pub fn types(&self) -> Vec<DataType> {
        self.columns
            .iter()
            .map(|(_, data_type)| *data_type)
            .collect()
    }

    /// A question's expression over the rows' columns.
    ///
    /// # Errors
    /// If the engine refuses it, or it is too long.
    pub fn expression(&self, expression: &Expression) -> EngineResult<Expr> {
        expression_over(expression, &self.columns)
    }
}

/// Makes the rows of a question's relation; nothing where a part is left to the engine's planner.
#[derive(Debug)]
pub struct Compiling<'a> {
    policy: &'a Policy,
    prepared: &'a Prepared,
    state: &'a SessionState,
    names: usize,
}

impl<'a> Compiling<'a> {
    /// Over these tables.
    #[must_use]
    pub fn new(policy: &'a Policy, prepared: &'a Prepared, state: &'a SessionState) -> Self {
        Self {
            policy,
            prepared,
            state,
            names: 0,
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("c{}", self.names)
    }

    /// The relation's rows; nothing if a part of it isn't for a pass.
    ///
    /// # Errors
    /// If the engine refuses an expression.
    pub fn relation(&mut self, relation: &Relation) -> EngineResult<Option<Part>> {
        let part = match relation {
            Relation::Table { table, columns } => self.table(table, columns)?,
            Relation::Filter { input, predicate } => match self.relation(input)? {
                Some(input) => {
                    let predicate = input.expression(predicate)?;
                    Some(Part {
                        rows: filtered(input.rows, predicate)?,
                        ..input
                    })
                }
                None => None,
            },
            Relation::Project { input, columns } => match self.relation(input)? {
                Some(input) => {
                    let types = input.types();
                    let columns = columns
                        .iter()
                        .map(|column| Ok((input.expression(column)?, type_of(column, &types)?)))
                        .collect::<EngineResult<_>>()?;
                    Some(Part { columns, ..input })
                }
                None => None,
            },
            Relation::Declared { input, columns, .. } => match self.relation(input)? {
                Some(input) => {
                    if !columns
                        .iter()
                        .map(|column| column.data_type)
                        .eq(input.types())
                    {
                        return internal_err!("declarations of other columns");
                    }
                    let declared = input
                        .columns
                        .into_iter()
                        .zip(columns)
                        .map(|((value, _), column)| {
                            Ok((enforced(value, column)?, column.data_type))
                        })
                        .collect::<EngineResult<_>>()?;
                    Some(Part {
                        columns: declared,
                        ..input
                    })
                }
                None => None,
            },
            Relation::Join {
                kind,
                left,
                right,
                condition,
            } => {
                let kind = match kind {
                    JoinKind::Inner => Kind::Inner,
                    JoinKind::Left => Kind::Left,
                };
                self.join(kind, left, right, condition.as_ref())?
            }
            Relation::Semi {
                matching,
                left,
                right,
                condition,
            } => {
                let kind = match matching {
                    Matching::With => Kind::Semi,
                    Matching::Without => Kind::Anti,
                    Matching::Marked => return Ok(None),
                };
                self.join(kind, left, right, condition.as_ref())?
            }
            Relation::PerPerson {
                input,
                keys,
                aggregates,
            } => {
                let Some(input) = self.relation(input)? else {
                    return Ok(None);
                };
                let distinct = |aggregate: &PersonAggregate| {
                    aggregate.function == PersonFunction::CountDistinct
                };
                if aggregates.iter().any(distinct) {
                    return Ok(None);
                }
                let types = input.types();
                let unit = self.name();
                let mut columns = vec![];
                for key in keys {
                    // A key that hangs on the person alone, or is a constant, makes no second row of
                    // a person.
                    let Some(value) = of_person(input.expression(key)?, &input.unit, &unit)? else {
                        return Ok(None);
                    };
                    columns.push((value, type_of(key, &types)?));
                }
                let mut sums = vec![];
                for aggregate in aggregates {
                    let argument = input.expression(&aggregate.argument)?;
                    let of_argument = type_of(&aggregate.argument, &types)?;
                    let mut names = vec![];
                    for sum in sums_of(aggregate.function, argument, of_argument) {
                        let name = self.name();
                        names.push(Expr::Column(Column::from_name(&name)));
                        sums.push((name, sum));
                    }
                    columns.push(finish(aggregate.function, &names, of_argument)?);
                }
                Some(Part {
                    rows: Rows::PerPerson {
                        input: Box::new(input.rows),
                        unit: (input.unit, unit.clone()),
                        sums,
                    },
                    unit,
                    columns,
                })
            }
            Relation::JoinPublic { .. }
            | Relation::SemiPublic { .. }
            | Relation::Window { .. }
            | Relation::Union { .. } => None,
        };
        let columns = part.iter().flat_map(|part| &part.columns);
        check_weights(columns.map(|(column, _)| column))?;
        Ok(part)
    }

    fn table(&mut self, name: &str, columns: &[String]) -> EngineResult<Option<Part>> {
        let (Some(policy), Some(files)) = (self.policy.tables.get(name), self.prepared.table(name))
        else {
            return Ok(None);
        };
        let Ownership::Private { .. } = &policy.ownership else {
            return Ok(None);
        };
        let schema = plain_schema(files.schema(Texts::Coded));
        let unit = self.name();
        let mut read = vec![(unit.clone(), files.unit())];
        let mut values = vec![];
        for wanted in columns {
            let Some((_, column)) = policy.column(wanted) else {
                return Err(internal_datafusion_err!("there is no column {wanted}"));
            };
            let index = schema.index_of(wanted)?;
            let source = match read.iter().find(|(_, known)| *known == index) {
                Some((known, _)) => known.clone(),
                None => {
                    let own = self.name();
                    read.push((own.clone(), index));
                    own
                }
            };
            let source = Expr::Column(Column::from_name(source));
            let stored = schema.field(index).data_type();
            let value = enforced(as_read(source, stored, column.data_type), column)?;
            values.push((value, column.data_type));
        }
        Ok(Some(Part {
            rows: Rows::Scan {
                files: Arc::clone(files),
                columns: read,
                conditions: vec![],
            },
            unit,
            columns: values,
        }))
    }

    fn join(
        &mut self,
        kind: Kind,
        left: &Relation,
        right: &Relation,
        condition: Option<&Expression>,
    ) -> EngineResult<Option<Part>> {
        let (Some(left), Some(mut right)) = (self.relation(left)?, self.relation(right)?) else {
            return Ok(None);
        };
        let condition = match condition {
            Some(condition) => {
                let columns = [left.columns.clone(), right.columns.clone()].concat();
                Some(expression_over(condition, &columns)?)
            }
            None => None,
        };
        if kind == Kind::Left {
            right = self.null_without_a_match(right)?;
        }
        let condition = match (kind, condition) {
            // Above the join, where it is taken apart and brought as far down as it goes.
            (Kind::Inner, Some(condition)) => {
                let part = joined(kind, left, right, None);
                return Ok(Some(Part {
                    rows: filtered(part.rows, condition)?,
                    ..part
                }));
            }
            (_, condition) => condition,
        };
        Ok(Some(joined(kind, left, right, condition)))
    }

    /// The right side of a left join: its columns are NULL where the rows' columns are. An
    /// expression that gives something else there is carried out before the join.
    fn null_without_a_match(&mut self, right: Part) -> EngineResult<Part> {
        let schema = right.rows.schema(self.state)?;
        let plain = plain_schema(&schema);
        let nulls: Vec<_> = plain
            .fields()
            .iter()
            .map(|field| new_null_array(field.data_type(), 1))
            .collect();
        let nullable = Schema::new(
            plain
                .fields()
                .iter()
                .map(|field| field.as_ref().clone().with_nullable(true))
                .collect::<Vec<_>>(),
        );
        let names = DFSchema::try_from(nullable.clone())?;
        let without = RecordBatch::try_new(Arc::new(nullable), nulls)?;
        let mut carried_out = vec![];
        let mut columns = vec![];
        for (column, data_type) in right.columns {
            let value = self
                .state
                .create_physical_expr(column.clone(), &names)?
                .evaluate(&without)?
                .into_array(1)?;
            if value.is_null(0) {
                columns.push((column, data_type));
            } else {
                let name = self.name();
                columns.push((Expr::Column(Column::from_name(&name)), data_type));
                carried_out.push((name, column));
            }
        }
        let rows = if carried_out.is_empty() {
            right.rows
        } else {
            // The rows' own columns stay beside them.
            let same = schema.fields().iter().map(|field| {
                let column = Expr::Column(Column::from_name(field.name()));
                (field.name().clone(), column)
            });
            Rows::Project {
                input: Box::new(right.rows),
                columns: same.chain(carried_out).collect(),
            }
        };
        Ok(Part {
            rows,
            unit: right.unit,
            columns,
        })
    }
}

/// An expression over the unit alone, over the unit by its new name; nothing for others.
fn of_person(value: Expr, unit: &str, renamed: &str) -> EngineResult<Option<Expr>> {
    if names(&value).into_iter().any(|name| name != unit) {
        return Ok(None);
    }
    let value = value.transform_up(|part| match part {
        Expr::Column(_) => Ok(Transformed::yes(Expr::Column(Column::from_name(renamed)))),
        other => Ok(Transformed::no(other)),
    })?;
    Ok(Some(value.data))
}

fn joined(kind: Kind, left: Part, right: Part, condition: Option<Expr>) -> Part {
    let columns = match kind {
        Kind::Inner | Kind::Left => left.columns.into_iter().chain(right.columns).collect(),
        Kind::Semi | Kind::Anti => left.columns,
    };
    Part {
        rows: Rows::Join {
            kind,
            left: Box::new(left.rows),
            right: Box::new(right.rows),
            units: (left.unit.clone(), right.unit),
            condition,
        },
        unit: left.unit,
        columns,
    }
}
