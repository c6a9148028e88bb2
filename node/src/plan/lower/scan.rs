//! Trusted. Lowers scans: of tables by name, and of views by their definition.

use datafusion::logical_expr as logical;
use skerry_privacy::{
    policy::Ownership,
    question::{Expression, Relation},
};
use skerry_proto::{DataType, ErrorCode, Refusal, Value, limit};

use super::{
    Lowering, Part, PartColumn, UnitColumn,
    decode::{REGION_COLUMN, table_name},
    unsupported,
};

impl Lowering<'_> {
    pub(super) fn scan(&self, scan: &logical::TableScan) -> Result<Part, Refusal> {
        if scan.fetch.is_some() || !scan.filters.is_empty() {
            return Err(unsupported("a limited scan", ""));
        }
        let name = table_name(scan)?;
        let Some(table) = self.policy.columns_of(&name) else {
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
        let mut read: Vec<(usize, String)> = vec![];
        let mut columns = vec![];
        for field in scan.projected_schema.fields() {
            if field.name() == REGION_COLUMN {
                columns.push((None, DataType::Text, UnitColumn::No));
                continue;
            }
            let Some((index, column)) = table.column(field.name()) else {
                return Err(Refusal::new(
                    ErrorCode::UnknownColumn,
                    format!("table {name} has no column {}", field.name()),
                    "see the catalogue for the columns of each table",
                ));
            };
            let position = read.len();
            let of_unit = if unit == Some(&column.name) {
                UnitColumn::Always
            } else {
                UnitColumn::No
            };
            columns.push((Some(position), column.data_type, of_unit));
            read.push((index, column.name.clone()));
        }
        // A view's relation takes the view's place; a table is read by the names of its columns.
        let (relation, read): (Relation, Vec<usize>) = match self.policy.views.get(&name) {
            Some(view) => {
                self.view_named()?;
                let positions = read.into_iter().map(|(index, _)| index).collect();
                (view.relation.clone(), positions)
            }
            None => {
                let positions = (0..read.len()).collect();
                let columns = read.into_iter().map(|(_, column)| column).collect();
                (
                    Relation::Table {
                        table: name,
                        columns,
                    },
                    positions,
                )
            }
        };
        Ok(Part {
            relation: Relation::Project {
                input: Box::new(relation),
                columns: columns
                    .iter()
                    .map(|(position, data_type, _)| match position {
                        Some(position) => Expression::Column(read[*position]),
                        None => Expression::Literal {
                            value: Value::Text(self.region.to_string()),
                            data_type: *data_type,
                        },
                    })
                    .collect(),
            },
            columns: columns
                .iter()
                .map(|(_, data_type, unit)| PartColumn {
                    data_type: *data_type,
                    unit: *unit,
                })
                .collect(),
            private: unit.is_some(),
        })
    }

    /// A view says much in one word, so the words are counted.
    fn view_named(&self) -> Result<(), Refusal> {
        self.views.set(self.views.get() + 1);
        if self.views.get() > limit::VIEWS {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!("views are named more than {} times", limit::VIEWS),
                "name each once, in a WITH or with more conditions",
            ));
        }
        Ok(())
    }
}
