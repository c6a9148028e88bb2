//! Views: an owner's SQL over the owner's own tables, planned as a researcher's is and lowered to
//! the same closed form. No data are read.

use std::{collections::HashMap, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, RecordBatch, new_empty_array},
        datatypes::{Field, Schema},
    },
    common::{DataFusionError, ScalarValue, TableReference},
    datasource::MemTable,
    execution::{SessionStateBuilder, context::SQLOptions},
    logical_expr::LogicalPlan,
    sql::{parser::Statement, sqlparser::ast},
};
use skerry_privacy::{
    analysis::{self, KnownColumn},
    policy::{ColumnPolicy, Domain, Ownership, Policy, TablePolicy, View},
    question::{Expression, Relation},
};
use skerry_proto::{
    ErrorCode, Refusal, Value,
    nearest::suggest,
    planning::{self, refusal},
};

use super::{Catalogue, CatalogueError, MAX_PUBLIC_ROWS};
use crate::{
    config::{self, ColumnConfig, ViewConfig},
    plan::lower::{LoweredColumn, lower_rows, named_table, scalar},
};

impl Catalogue {
    /// Opens a view over the tables and views that are open.
    ///
    /// # Errors
    /// If its SQL can't be planned, is more than a question can say, or doesn't give what is
    /// declared.
    pub async fn open_view(&mut self, view: &ViewConfig) -> Result<(), CatalogueError> {
        let opened = match plan(&view.sql, &self.policy).await {
            Ok(plan) => self.lowered_view(view, &plan),
            Err(refusal) => Err(refusal),
        };
        opened.map_err(|refusal| CatalogueError::View {
            view: view.name.clone(),
            refusal,
        })
    }

    fn lowered_view(&mut self, view: &ViewConfig, plan: &LogicalPlan) -> Result<(), Refusal> {
        let lowered = lower_rows(plan, &self.policy, &self.region)?;
        let positions = view
            .columns
            .iter()
            .map(|column| position(column, &lowered.columns))
            .collect::<Result<Vec<_>, _>>()?;
        let columns = view
            .columns
            .iter()
            .zip(&positions)
            .map(|(column, position)| {
                self.declared(column, lowered.columns[*position].data_type)
                    .map_err(|message| wrong(message, ""))
            })
            .collect::<Result<Vec<_>, _>>()?;
        let rows = Relation::Project {
            input: Box::new(lowered.relation),
            columns: positions.into_iter().map(Expression::Column).collect(),
        };
        if lowered.private {
            self.insert_view(view, rows, columns)?;
        } else {
            self.insert_public_view(view, &rows, columns)?;
        }
        if view.hidden {
            self.policy.hidden.insert(view.name.clone());
        }
        Ok(())
    }

    fn insert_view(
        &mut self,
        view: &ViewConfig,
        rows: Relation,
        columns: Vec<ColumnPolicy>,
    ) -> Result<(), Refusal> {
        let relation = Relation::Declared {
            input: Box::new(rows),
            columns: columns.clone(),
            max_rows_per_unit: view.max_rows.unwrap_or(u64::MAX),
        };
        let known = analysis::known(&relation, &self.policy)?;
        let mut units = columns
            .iter()
            .zip(&known.columns)
            .filter(|(_, known)| known.unit);
        let (unit, known_of_unit) = match (units.next(), units.next()) {
            (Some(unit), None) => unit,
            (None, _) => {
                return Err(wrong(
                    "none of its columns is the privacy unit".to_owned(),
                    "select the tables' unit column as it is, under any name, and declare it",
                ));
            }
            (Some((one, _)), Some((other, _))) => {
                return Err(wrong(
                    format!("{} and {} are both the privacy unit", one.name, other.name),
                    "declare one of them",
                ));
            }
        };
        if unit.domain != Domain::Unknown {
            return Err(wrong(
                format!(
                    "{} is the privacy unit, which has no range and no values: who is in the data \
                     is not public",
                    unit.name
                ),
                &format!("write {} = {{}}", unit.name),
            ));
        }
        if known_of_unit.nulls {
            return Err(wrong(
                format!("{} is nobody where a left join finds nothing", unit.name),
                "select the unit of the join's left side",
            ));
        }
        let ownership = Ownership::Private {
            unit: unit.name.clone(),
            max_rows_per_unit: known.rows_per_person,
        };
        let announced = columns.iter().zip(known.columns).map(announced).collect();
        let view_policy = View {
            relation,
            announced: TablePolicy {
                ownership,
                columns: announced,
            },
        };
        self.policy.views.insert(view.name.clone(), view_policy);
        Ok(())
    }

    /// The rows of a view of public tables are public: it is one more public table.
    fn insert_public_view(
        &mut self,
        view: &ViewConfig,
        rows: &Relation,
        columns: Vec<ColumnPolicy>,
    ) -> Result<(), Refusal> {
        if view.max_rows.is_some() {
            return Err(wrong(
                "it is over public tables alone, whose rows belong to nobody".to_owned(),
                "leave max_rows_per_unit out",
            ));
        }
        if let Some(declared) =
            (view.columns.iter()).find(|column| column.domain != config::Domain::Undeclared)
        {
            return Err(wrong(
                format!(
                    "column {} has declarations, but the view is over public tables alone, whose \
                     values are public anyway",
                    declared.name
                ),
                &format!("write {} = {{}}", declared.name),
            ));
        }
        let rows = analysis::public_rows(rows, &self.policy)?;
        if rows.len() > MAX_PUBLIC_ROWS {
            return Err(wrong(
                format!("a public table has at most {MAX_PUBLIC_ROWS} rows"),
                "",
            ));
        }
        let held = held(&rows, &columns)
            .map_err(|error| wrong(planning::first_line(&error.to_string()), ""))?;
        let columns = columns.into_iter().map(|column| ColumnPolicy {
            nulls: true,
            ..column
        });
        let policy = TablePolicy {
            ownership: Ownership::Public { rows },
            columns: columns.collect(),
        };
        self.policy.tables.insert(view.name.clone(), policy);
        self.providers.insert(view.name.clone(), Arc::new(held));
        Ok(())
    }
}

fn wrong(message: String, hint: &str) -> Refusal {
    Refusal::new(ErrorCode::Configuration, message, hint)
}

/// What those who ask are told of a column: what is declared, or else what follows.
fn announced((declared, known): (&ColumnPolicy, KnownColumn)) -> ColumnPolicy {
    ColumnPolicy {
        name: declared.name.clone(),
        data_type: declared.data_type,
        domain: known.domain,
        nulls: known.nulls,
    }
}

/// Where a declared column is among those that the SQL gives.
fn position(column: &ColumnConfig, given: &[LoweredColumn]) -> Result<usize, Refusal> {
    let mut found = (0..given.len()).filter(|index| given[*index].name == column.name);
    match (found.next(), found.next()) {
        (Some(index), None) => Ok(index),
        (Some(_), Some(_)) => Err(wrong(
            format!("its SQL gives two columns {}", column.name),
            "name each with AS",
        )),
        (None, _) => {
            let names: Vec<&str> = given.iter().map(|column| column.name.as_str()).collect();
            Err(wrong(
                format!("its SQL gives no column {}", column.name),
                &suggest(&column.name, &names),
            ))
        }
    }
}

/// Plans a view's SQL over all tables of the policy, hidden ones too.
async fn plan(sql: &str, policy: &Policy) -> Result<LogicalPlan, Refusal> {
    let names: Vec<String> = policy
        .tables
        .keys()
        .chain(policy.views.keys())
        .cloned()
        .collect();
    let told = |error: DataFusionError| refusal(&error, &names);
    let state = SessionStateBuilder::new()
        .with_default_features()
        .with_table_functions(HashMap::new())
        .with_config(planning::session())
        .build();
    for name in &names {
        if let Some(columns) = policy.columns_of(name) {
            state
                .schema_for_ref(TableReference::bare(name.as_str()))
                .and_then(|schema| schema.register_table(name.clone(), named_table(name, columns)))
                .map_err(told)?;
        }
    }
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(sql, &dialect).map_err(told)?;
    let select = matches!(
        &statement,
        Statement::Statement(inner) if matches!(**inner, ast::Statement::Query(_))
    );
    if !select {
        return Err(Refusal::new(
            ErrorCode::Unsupported,
            "a view is one SELECT, and this is something else",
            "as in SELECT pid AS patient_id FROM besok",
        ));
    }
    let plan = state.statement_to_plan(statement).await.map_err(told)?;
    SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false)
        .verify_plan(&plan)
        .map_err(told)?;
    let plan = state
        .analyzer()
        .execute_and_check(plan, state.config_options(), |_, _| {})
        .map_err(told)?;
    planning::rewrite(&state, plan).map_err(told)
}

/// Public rows as the engine reads them.
fn held(rows: &[Vec<Value>], columns: &[ColumnPolicy]) -> Result<MemTable, DataFusionError> {
    let mut fields = vec![];
    let mut arrays: Vec<ArrayRef> = vec![];
    for (index, column) in columns.iter().enumerate() {
        let scalars: Vec<ScalarValue> = rows
            .iter()
            .map(|row| scalar(&row[index], column.data_type))
            .collect();
        let array = if scalars.is_empty() {
            let stored = scalar(&Value::Null, column.data_type).data_type();
            new_empty_array(&stored)
        } else {
            ScalarValue::iter_to_array(scalars)?
        };
        fields.push(Field::new(&column.name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    MemTable::try_new(schema, vec![vec![batch]])
}
