//! The federation's tables: the union of what the nodes announce.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::catalog::TableProvider;
use serde_json::{Value as Json, json};
use skerry_proto::{DataType, RegionId, Value, wire};

use crate::federated_table::{self, FederatedTable, REGION};

/// What the regions that were reached have.
#[derive(Default)]
pub(crate) struct Catalogue {
    /// Tables that all regions mean the same by.
    pub tables: BTreeMap<String, Arc<FederatedTable>>,
    /// Tables that they don't, and why.
    pub conflicts: BTreeMap<String, String>,
    /// What each region said, in the configured order.
    pub regions: Vec<(RegionId, wire::Catalogue)>,
}

/// A table as it grows from region to region.
struct Draft {
    unit: Option<String>,
    columns: Vec<(String, DataType, RegionId)>,
    regions: BTreeSet<RegionId>,
    conflict: Option<String>,
}

impl Catalogue {
    /// The union. `local` are the coordinator's own public tables.
    pub fn new(
        regions: Vec<(RegionId, wire::Catalogue)>,
        local: &BTreeMap<String, Arc<dyn TableProvider>>,
    ) -> Self {
        let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
        for (region, catalogue) in &regions {
            for table in &catalogue.tables {
                match drafts.get_mut(&table.name) {
                    Some(draft) => draft.add(region, table),
                    None => {
                        let mut draft = Draft {
                            unit: unit(table),
                            columns: Vec::new(),
                            regions: BTreeSet::new(),
                            conflict: None,
                        };
                        draft.add(region, table);
                        drafts.insert(table.name.clone(), draft);
                    }
                }
            }
        }
        let mut tables = BTreeMap::new();
        let mut conflicts = BTreeMap::new();
        for (name, draft) in drafts {
            if let Some(conflict) = draft.conflict {
                conflicts.insert(name, conflict);
                continue;
            }
            if draft.unit.is_some() && local.contains_key(&name) {
                let conflict = format!(
                    "`{name}` is private in the regions and a public table of the coordinator"
                );
                conflicts.insert(name, conflict);
                continue;
            }
            if let Some(conflict) = local.get(&name).and_then(|own| differs(&name, &draft, own)) {
                conflicts.insert(name, conflict);
                continue;
            }
            let mut columns: Vec<(String, DataType)> = draft
                .columns
                .into_iter()
                .map(|(name, data_type, _)| (name, data_type))
                .collect();
            // A node gives every table its region; the coordinator's copy tells them apart itself.
            if draft.unit.is_none() && local.get(&name).is_some_and(tells_regions_apart) {
                columns.push((REGION.to_owned(), DataType::Text));
            }
            let table = FederatedTable {
                schema: federated_table::schema(&columns, draft.unit.as_deref()),
                unit: draft.unit,
                regions: draft.regions,
                local: local.get(&name).cloned(),
                name: name.clone(),
            };
            tables.insert(name, Arc::new(table));
        }
        Self {
            tables,
            conflicts,
            regions,
        }
    }

    /// What a researcher may know of the tables: names, types, public ranges and values.
    /// `missing` are regions that did not answer.
    pub fn to_json(&self, missing: &[RegionId]) -> Json {
        let regions: Vec<Json> = self
            .regions
            .iter()
            .map(|(region, catalogue)| {
                json!({
                    "region": region,
                    "persons": catalogue.persons,
                    "policy": hex::encode(&catalogue.policy_hash),
                    "tables": catalogue.tables.iter().map(table_json).collect::<Vec<_>>(),
                })
            })
            .collect();
        let tables: Vec<Json> = self
            .tables
            .values()
            .map(|table| {
                json!({
                    "name": table.name,
                    "unit": table.unit,
                    "regions": table.regions,
                    "usable_with_noisy_figures": table.local.is_some(),
                    "columns": table
                        .schema
                        .fields()
                        .iter()
                        .map(|field| json!({
                            "name": field.name(),
                            "type": field.data_type().to_string(),
                        }))
                        .collect::<Vec<_>>(),
                })
            })
            .collect();
        json!({
            "tables": tables,
            "conflicts": self.conflicts,
            "regions": regions,
            "missing": missing,
        })
    }
}

impl Draft {
    fn add(&mut self, region: &RegionId, table: &wire::Table) {
        let name = &table.name;
        if self.unit != unit(table) {
            self.conflict = Some(format!(
                "regions disagree on the privacy unit of `{name}`: {} and {}",
                told_unit(self.unit.as_deref()),
                told_unit(unit(table).as_deref()),
            ));
        }
        for column in &table.columns {
            if self.unit.is_some() && column.name == REGION {
                self.conflict = Some(format!(
                    "`{name}` of region `{region}` has a column `{REGION}`, a name that every \
                     private table already has for its region"
                ));
            }
            let Some(data_type) = column.data_type().to_plain() else {
                self.conflict = Some(format!(
                    "region `{region}` gives `{name}.{}` a type that is not known here",
                    column.name
                ));
                continue;
            };
            match self
                .columns
                .iter()
                .find(|(known, ..)| *known == column.name)
            {
                None => self
                    .columns
                    .push((column.name.clone(), data_type, region.clone())),
                Some((_, known, _)) if *known == data_type => {}
                Some((_, known, other)) => {
                    self.conflict = Some(format!(
                        "regions disagree on the type of `{name}.{}`: {known} in `{other}`, \
                         {data_type} in `{region}`",
                        column.name
                    ));
                }
            }
        }
        self.regions.insert(region.clone());
    }
}

/// Whether a public table of the coordinator says of each row which region it is of.
fn tells_regions_apart(own: &Arc<dyn TableProvider>) -> bool {
    own.schema()
        .field_with_name(REGION)
        .is_ok_and(|field| *field.data_type() == federated_table::arrow_type(DataType::Text))
}

/// Why the coordinator's copy of a public table can't stand for the regions'.
fn differs(name: &str, draft: &Draft, own: &Arc<dyn TableProvider>) -> Option<String> {
    let schema = own.schema();
    draft
        .columns
        .iter()
        .find_map(
            |(column, data_type, region)| match schema.field_with_name(column) {
                Ok(field) if *field.data_type() == federated_table::arrow_type(*data_type) => None,
                Ok(field) => Some(format!(
                    "`{name}.{column}` is {data_type} in region `{region}` and {} in the \
                 coordinator's file",
                    field.data_type()
                )),
                Err(_) => Some(format!(
                    "`{name}.{column}` is in region `{region}` and not in the coordinator's file"
                )),
            },
        )
}

fn unit(table: &wire::Table) -> Option<String> {
    Some(table.unit.clone()).filter(|unit| !unit.is_empty())
}

fn told_unit(unit: Option<&str>) -> String {
    unit.map_or_else(|| "none".to_owned(), |unit| format!("`{unit}`"))
}

fn table_json(table: &wire::Table) -> Json {
    let columns: Vec<Json> = table
        .columns
        .iter()
        .map(|column| {
            let mut shown = json!({
                "name": column.name,
                "type": column.data_type().to_plain().map(|t| t.to_string()),
            });
            if let (Some(range), Some(object)) = (&column.range, shown.as_object_mut()) {
                let bounds = [&range.low, &range.high];
                let bounds = bounds.map(|bound| bound.as_ref().map_or(Json::Null, value_json));
                object.insert("range".into(), Json::from(bounds.to_vec()));
            }
            if let (Some(values), Some(object)) = (&column.values, shown.as_object_mut()) {
                let values: Vec<Json> = values.values.iter().map(value_json).collect();
                object.insert("values".into(), Json::from(values));
                object.insert("nulls".into(), Json::from(column.nulls));
            }
            shown
        })
        .collect();
    json!({
        "name": table.name,
        "unit": unit(table),
        "max_rows_per_unit": table.max_rows_per_unit,
        "columns": columns,
    })
}

/// A public value for people: dates and timestamps as ISO text.
fn value_json(value: &wire::Value) -> Json {
    match Value::from(value) {
        Value::Boolean(x) => Json::from(x),
        Value::Integer(x) => Json::from(x),
        Value::Float(x) => Json::from(x),
        Value::Text(x) => Json::from(x),
        Value::Date(x) => datafusion::arrow::temporal_conversions::date32_to_datetime(x)
            .map_or(Json::Null, |date| Json::from(date.date().to_string())),
        Value::Timestamp(x) => datafusion::arrow::temporal_conversions::timestamp_us_to_datetime(x)
            .map_or(Json::Null, |time| Json::from(time.to_string())),
        Value::Null => Json::Null,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A table of one column per (name, type).
    pub(crate) fn table(name: &str, unit: &str, columns: &[(&str, DataType)]) -> wire::Table {
        wire::Table {
            name: name.into(),
            unit: unit.into(),
            max_rows_per_unit: 5,
            columns: columns
                .iter()
                .map(|(name, data_type)| wire::Column {
                    name: (*name).into(),
                    data_type: wire::DataType::from(*data_type).into(),
                    range: None,
                    values: None,
                    nulls: true,
                })
                .collect(),
        }
    }

    /// A region's catalogue.
    pub(crate) fn catalogue(region: &str, tables: Vec<wire::Table>) -> (RegionId, wire::Catalogue) {
        let id: RegionId = region.parse().expect("region");
        let catalogue = wire::Catalogue {
            contract_version: 1,
            region: region.into(),
            persons: 1_000,
            tables,
            policy_hash: vec![1],
        };
        (id, catalogue)
    }

    #[test]
    fn tables_are_united_and_the_unit_is_never_null() {
        use DataType::{Integer, Text};
        let both = Catalogue::new(
            vec![
                catalogue("a", vec![table("visits", "person", &[("person", Integer)])]),
                catalogue(
                    "b",
                    vec![table(
                        "visits",
                        "person",
                        &[("person", Integer), ("site", Text)],
                    )],
                ),
            ],
            &BTreeMap::new(),
        );
        let schema = &both.tables["visits"].schema;
        insta::assert_snapshot!(
            schema.fields().iter().map(|f| format!("{}:{}:{}", f.name(), f.data_type(), f.is_nullable())).collect::<Vec<_>>().join(" "),
            @"person:Int64:false site:Utf8:true region:Utf8:false"
        );
        assert_eq!(both.tables["visits"].regions.len(), 2);
    }

    #[test]
    fn a_public_table_has_its_region_where_the_coordinator_can_tell() {
        use DataType::{Integer, Text};
        let beds = || vec![table("beds", "", &[("n", Integer)])];
        for (own, columns) in [
            (vec![("region", Text), ("n", Integer)], "n region"),
            (vec![("n", Integer)], "n"),
        ] {
            let own: Vec<(String, DataType)> =
                own.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect();
            let schema = federated_table::schema(&own, None);
            let own = datafusion::datasource::MemTable::try_new(schema, vec![vec![]]);
            let own: Arc<dyn TableProvider> = Arc::new(own.expect("table"));
            let all = Catalogue::new(
                vec![catalogue("a", beds()), catalogue("b", beds())],
                &BTreeMap::from([("beds".to_owned(), own)]),
            );
            let fields = all.tables["beds"].schema.fields();
            let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
            assert_eq!(names.join(" "), columns);
        }
    }

    #[test]
    fn disagreement_is_told() {
        use DataType::{Integer, Text};
        for (other, part) in [
            (
                table("visits", "person", &[("person", Text)]),
                "type of `visits.person`",
            ),
            (table("visits", "", &[("person", Integer)]), "privacy unit"),
            (
                table("visits", "person", &[("person", Integer), ("region", Text)]),
                "column `region`",
            ),
        ] {
            let union = Catalogue::new(
                vec![
                    catalogue("a", vec![table("visits", "person", &[("person", Integer)])]),
                    catalogue("b", vec![other]),
                ],
                &BTreeMap::new(),
            );
            assert!(union.tables.is_empty());
            assert!(
                union.conflicts["visits"].contains(part),
                "{:?}",
                union.conflicts
            );
        }
    }
}
