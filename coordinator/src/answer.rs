//! What a researcher gets: rows with intervals, and a record of what they cost.

use std::{collections::HashSet, sync::Arc};

use datafusion::arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch},
    datatypes::{Field, Schema},
    error::ArrowError,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};
use skerry_proto::{QueryId, RegionId};

use crate::uncertainty::Figure;
pub use crate::{
    clipping::{BoundRecord, ClippingRecord},
    threshold::{RegionThreshold, ThresholdRecord},
};

/// The key of the schema's metadata that holds the [`Record`] as JSON.
pub const RECORD_KEY: &str = "skerry";
/// The key of a field's metadata that says what the column is: `value`; `low`, `high` or `sd` of
/// the noise; `sampling_sd`; `total_low` or `total_high` of chance and noise together.
pub const ROLE_KEY: &str = "skerry.role";

/// One column of the statement. Its bounds are columns of the rows, not listed here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnRecord {
    /// Unique within the answer.
    pub name: String,
    /// As Arrow writes it.
    #[serde(rename = "type")]
    pub data_type: String,
    /// Whether its values hang on noise.
    pub noisy: bool,
    /// That values and bounds were kept within what is possible, because the statement asked
    /// for it. Sums and averages of such values are biased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clamped: Option<ClampedRecord>,
}

/// How a column was kept within what is possible.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClampedRecord {
    /// The least that is possible.
    pub low: f64,
    /// The most that is possible, where there is a most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
    /// How many values of the answer were moved.
    pub rows: usize,
}

/// What one region charged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RegionRecord {
    /// Of all releases of the statement.
    pub mechanism: String,
    /// Whether anything was paid now; false when all came from the store.
    pub charged: bool,
    /// ε of this statement in this region.
    pub epsilon: f64,
    /// δ of this statement in this region.
    pub delta: f64,
    /// ε that the project has spent there.
    pub epsilon_spent: f64,
    /// ε that the project has left there.
    pub epsilon_left: f64,
}

/// What the answer means for a person's privacy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PrivacyRecord {
    /// Of the statement, for a person known to one region.
    pub epsilon: f64,
    /// Of the statement, for a person known to one region.
    pub delta: f64,
    /// k: in at most how many regions the federation says that a person is known.
    pub regions_per_person: u32,
    /// Of the statement, for a person known to k regions.
    pub epsilon_for_a_person_in_k_regions: f64,
    /// Of the statement, for a person known to k regions.
    pub delta_for_a_person_in_k_regions: f64,
    /// By region: a [`RegionRecord`] each.
    pub regions: Map<String, Json>,
}

/// Who is in the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionsRecord {
    /// Those whose releases are in it.
    pub answered: Vec<RegionId>,
    /// Those that should be and are not.
    pub missing: Vec<RegionId>,
}

/// All but the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// A retry with this id gets the same answer and costs nothing.
    pub query_id: QueryId,
    /// The statement's own columns.
    pub columns: Vec<ColumnRecord>,
    /// What it cost.
    pub privacy: PrivacyRecord,
    /// Who answered.
    pub regions: RegionsRecord,
    /// Where persons' contributions were clipped to narrower bounds than the owners'.
    #[serde(default)]
    pub clipping: Vec<ClippingRecord>,
    /// Where keys with few persons are not shown.
    #[serde(default)]
    pub thresholds: Vec<ThresholdRecord>,
}

/// What an answer's figures don't hold.
#[derive(Debug, Default)]
pub(crate) struct Caveats {
    /// Persons' contributions beyond their bounds.
    pub clipping: Vec<ClippingRecord>,
    /// Keys with few persons.
    pub thresholds: Vec<ThresholdRecord>,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The rows: each noisy number `n` is followed by `n_low`, `n_high` and `n_sd`, and where
    /// `uncertainty = 'total'` was asked for, by `n_sampling_sd`, `n_total_low` and
    /// `n_total_high`. The schema's metadata has the record too.
    pub rows: RecordBatch,
    /// All else.
    pub record: Record,
}

/// Gives out names, each once.
#[derive(Default)]
struct Names(HashSet<String>);

impl Names {
    fn take(&mut self, wanted: &str) -> String {
        let numbered = (2_usize..).map(|n| format!("{wanted}_{n}"));
        let name = std::iter::once(wanted.to_owned())
            .chain(numbered)
            .find(|name| !self.0.contains(name))
            .unwrap_or_else(|| wanted.to_owned());
        self.0.insert(name.clone());
        name
    }
}

impl Answer {
    /// Puts an answer together. `names` are those of the batch's columns in SQL.
    pub(crate) fn new(
        batch: &RecordBatch,
        names: &[String],
        figures: &[Figure],
        query_id: QueryId,
        privacy: PrivacyRecord,
        regions: RegionsRecord,
        caveats: Caveats,
    ) -> Result<Self, ArrowError> {
        let mut unique = Names::default();
        // The statement's own names come first; bounds give way.
        let own: Vec<String> = names.iter().map(|name| unique.take(name)).collect();
        let mut fields: Vec<Field> = Vec::new();
        let mut arrays: Vec<ArrayRef> = Vec::new();
        let mut columns = Vec::new();
        let mut push = |name: String, array: ArrayRef, role: &str| {
            let metadata = [(ROLE_KEY.to_owned(), role.to_owned())].into();
            // Always nullable: what is promised before the rows are there must hold after.
            let field = Field::new(name, array.data_type().clone(), true).with_metadata(metadata);
            fields.push(field);
            arrays.push(array);
        };
        for ((array, name), figure) in batch.columns().iter().zip(own).zip(figures) {
            columns.push(ColumnRecord {
                name: name.clone(),
                data_type: array.data_type().to_string(),
                noisy: figure.noisy,
                clamped: figure.clamped.map(|clamped| ClampedRecord {
                    low: clamped.low,
                    high: Some(clamped.high).filter(|high| high.is_finite()),
                    rows: clamped.rows,
                }),
            });
            push(name.clone(), Arc::clone(array), "value");
            if let Some(intervals) = &figure.intervals {
                let bound = |bounds: &[Option<f64>]| -> ArrayRef {
                    if array.data_type().is_integer() {
                        let whole = bounds.iter().map(|bound| bound.map(|b| b as i64));
                        Arc::new(whole.collect::<Int64Array>())
                    } else {
                        Arc::new(bounds.iter().copied().collect::<Float64Array>())
                    }
                };
                let sd: ArrayRef = Arc::new(intervals.sd.iter().copied().collect::<Float64Array>());
                push(
                    unique.take(&format!("{name}_low")),
                    bound(&intervals.low),
                    "low",
                );
                push(
                    unique.take(&format!("{name}_high")),
                    bound(&intervals.high),
                    "high",
                );
                push(unique.take(&format!("{name}_sd")), sd, "sd");
            }
            if let Some(total) = &figure.total {
                for (role, values) in [
                    ("sampling_sd", &total.sampling_sd),
                    ("total_low", &total.low),
                    ("total_high", &total.high),
                ] {
                    let values: Float64Array = values.iter().copied().collect();
                    push(
                        unique.take(&format!("{name}_{role}")),
                        Arc::new(values),
                        role,
                    );
                }
            }
        }
        let record = Record {
            query_id,
            columns,
            privacy,
            regions,
            clipping: caveats.clipping,
            thresholds: caveats.thresholds,
        };
        let json = serde_json::to_string(&record)
            .map_err(|error| ArrowError::ExternalError(Box::new(error)))?;
        let schema = Schema::new(fields).with_metadata([(RECORD_KEY.to_owned(), json)].into());
        let options = datafusion::arrow::array::RecordBatchOptions::new()
            .with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(Arc::new(schema), arrays, &options)?;
        Ok(Self { rows, record })
    }

    /// An answer as it came over the wire.
    pub fn from_rows(rows: RecordBatch) -> Result<Self, ArrowError> {
        let schema = rows.schema();
        let json = schema.metadata().get(RECORD_KEY).ok_or_else(|| {
            ArrowError::SchemaError(format!("no `{RECORD_KEY}` in the answer's metadata"))
        })?;
        let record = serde_json::from_str(json)
            .map_err(|error| ArrowError::SchemaError(format!("`{RECORD_KEY}`: {error}")))?;
        Ok(Self { rows, record })
    }

    /// What a column of the rows is, as [`ROLE_KEY`] says.
    #[must_use]
    pub fn role(field: &Field) -> &str {
        field
            .metadata()
            .get(ROLE_KEY)
            .map_or("value", String::as_str)
    }
}

/// Numbers as a person writes them, for whole amounts of a billionth.
pub(crate) fn nano(nano: u64) -> f64 {
    nano as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::Intervals;

    #[test]
    fn bounds_follow_their_column_and_names_stay_unique() {
        let batch = RecordBatch::try_from_iter([
            ("c0", Arc::new(Int64Array::from(vec![5])) as ArrayRef),
            ("c1", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
        ])
        .expect("batch");
        let figures = [
            Figure {
                intervals: Some(Intervals {
                    low: vec![Some(3.0)],
                    high: vec![None],
                    sd: vec![Some(1.5)],
                }),
                ..Figure::alone(true)
            },
            Figure::alone(false),
        ];
        let answer = Answer::new(
            &batch,
            &["n".to_owned(), "n_low".to_owned()],
            &figures,
            "q".parse().expect("id"),
            PrivacyRecord::default(),
            RegionsRecord::default(),
            Caveats::default(),
        )
        .expect("answer");
        let names: Vec<String> = answer
            .rows
            .schema()
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect();
        assert_eq!(names, ["n", "n_low_2", "n_high", "n_sd", "n_low"]);
        assert_eq!(answer.rows.column(2).null_count(), 1);
        let again = Answer::from_rows(answer.rows.clone()).expect("record");
        assert_eq!(again.record, answer.record);
        assert_eq!(Answer::role(answer.rows.schema().field(1)), "low");
    }
}
