use std::sync::Arc;

use arrow::{
    array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray},
    datatypes::{Field, Schema},
};
use skerry_coordinator::{
    answer::Answer,
    study::{Given, Study},
};

use super::{Page, answer_json, answer_table, arrow_file, csv, page, parquet_file, privacy_lines};

fn answer() -> Answer {
    let columns: Vec<(&str, &str, ArrayRef)> = vec![
        (
            "region",
            "value",
            Arc::new(StringArray::from(vec!["nordland", "x"])),
        ),
        ("n", "value", Arc::new(Int64Array::from(vec![1203, 7]))),
        ("n_low", "low", Arc::new(Int64Array::from(vec![1200, 4]))),
        ("n_high", "high", Arc::new(Int64Array::from(vec![1206, 10]))),
        ("n_sd", "sd", Arc::new(Float64Array::from(vec![1.36, 1.36]))),
        (
            "mean",
            "value",
            Arc::new(Float64Array::from(vec![Some(2.345_678), None])),
        ),
        (
            "mean_low",
            "low",
            Arc::new(Float64Array::from(vec![Some(2.3), None])),
        ),
        (
            "mean_high",
            "high",
            Arc::new(Float64Array::from(vec![Some(2.4), None])),
        ),
        (
            "mean_sd",
            "sd",
            Arc::new(Float64Array::from(vec![Some(0.02), None])),
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, role, array)| {
            Field::new(*name, array.data_type().clone(), true)
                .with_metadata([("skerry.role".to_owned(), (*role).to_owned())].into())
        })
        .collect();
    let record = r#"{"query_id": "q1", "columns": [
        {"name": "region", "type": "Utf8", "noisy": false},
        {"name": "n", "type": "Int64", "noisy": true},
        {"name": "mean", "type": "Float64", "noisy": true}],
        "privacy": {"epsilon": 1.0, "delta": 0.0, "regions_per_person": 1,
        "epsilon_for_a_person_in_k_regions": 1.0, "delta_for_a_person_in_k_regions": 0.0,
        "regions": {"nordland": {"mechanism": "discrete Laplace", "charged": true,
        "epsilon": 1.0, "delta": 0.0, "epsilon_spent": 1.0, "epsilon_left": 9.0}}},
        "regions": {"answered": ["nordland"], "missing": ["akershus"]}}"#;
    let schema =
        Schema::new(fields).with_metadata([("skerry".to_owned(), record.to_owned())].into());
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    Answer::from_rows(RecordBatch::try_new(Arc::new(schema), arrays).unwrap()).unwrap()
}

#[test]
fn a_table_shows_intervals_beside_figures() {
    insta::assert_snapshot!(answer_table(&answer(), false), @r"
    region       n  95 %          mean  95 %
    nordland  1203  1200 … 1206  2.346  2.300 … 2.400
    x            7  4 … 10        NULL
    ");
    insta::assert_snapshot!(privacy_lines(&answer()), @r"
    region    noise             ε charged  ε left
    nordland  discrete Laplace          1       9

    query q1 · ε 1, δ 0 for a person in one region
    NOT in this answer: akershus
    ");
}

#[test]
fn json_has_rows_bounds_and_the_record_in_a_fixed_order() {
    let json = answer_json(&answer()).unwrap();
    let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["query_id", "columns", "rows", "privacy", "regions"]);
    assert_eq!(json["rows"][0]["n_high"], 1206);
    assert!(json["rows"][1]["mean"].is_null());
    assert!(
        json["rows"][1]
            .as_object()
            .unwrap()
            .contains_key("mean_low")
    );
    assert_eq!(json["columns"][1]["type"], "Int64");
}

#[test]
fn files_keep_rows_and_record() {
    let answer = answer();
    let bytes = bytes::Bytes::from(parquet_file(&answer.rows).unwrap());
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    assert_eq!(reader.schema().as_ref(), answer.rows.schema_ref().as_ref());
    assert_eq!(
        reader.build().unwrap().next().unwrap().unwrap().columns(),
        answer.rows.columns()
    );
    let file = std::io::Cursor::new(arrow_file(&answer.rows).unwrap());
    let rows = arrow::ipc::reader::FileReader::try_new(file, None)
        .unwrap()
        .next()
        .unwrap();
    assert_eq!(rows.unwrap(), answer.rows);
    let text = String::from_utf8(csv(&answer.rows).unwrap()).unwrap();
    assert!(
        text.starts_with("region,n,n_low,n_high,n_sd,mean,"),
        "{text}"
    );
}

#[test]
fn chance_and_clamping_are_shown_where_they_were_asked_for() {
    let columns: Vec<(&str, &str, ArrayRef)> = vec![
        ("n", "value", Arc::new(Int64Array::from(vec![0]))),
        ("n_low", "low", Arc::new(Int64Array::from(vec![0]))),
        ("n_high", "high", Arc::new(Int64Array::from(vec![3]))),
        ("n_sd", "sd", Arc::new(Float64Array::from(vec![1.4]))),
        ("rate", "value", Arc::new(Float64Array::from(vec![12.34]))),
        ("rate_low", "low", Arc::new(Float64Array::from(vec![11.0]))),
        (
            "rate_high",
            "high",
            Arc::new(Float64Array::from(vec![13.0])),
        ),
        ("rate_sd", "sd", Arc::new(Float64Array::from(vec![0.5]))),
        (
            "rate_sampling_sd",
            "sampling_sd",
            Arc::new(Float64Array::from(vec![2.0])),
        ),
        (
            "rate_total_low",
            "total_low",
            Arc::new(Float64Array::from(vec![8.0])),
        ),
        (
            "rate_total_high",
            "total_high",
            Arc::new(Float64Array::from(vec![17.0])),
        ),
    ];
    let fields: Vec<Field> = columns
        .iter()
        .map(|(name, role, array)| {
            Field::new(*name, array.data_type().clone(), true)
                .with_metadata([("skerry.role".to_owned(), (*role).to_owned())].into())
        })
        .collect();
    let record = r#"{"query_id": "q1", "columns": [
        {"name": "n", "type": "Int64", "noisy": true, "clamped": {"low": 0.0, "rows": 1}},
        {"name": "rate", "type": "Float64", "noisy": true}],
        "privacy": {"epsilon": 1.0, "delta": 0.0, "regions_per_person": 1,
        "epsilon_for_a_person_in_k_regions": 1.0, "delta_for_a_person_in_k_regions": 0.0,
        "regions": {}}, "regions": {"answered": [], "missing": []}}"#;
    let schema =
        Schema::new(fields).with_metadata([("skerry".to_owned(), record.to_owned())].into());
    let arrays = columns.into_iter().map(|(_, _, array)| array).collect();
    let answer =
        Answer::from_rows(RecordBatch::try_new(Arc::new(schema), arrays).unwrap()).unwrap();
    insta::assert_snapshot!(answer_table(&answer, false), @r#"
    n  95 %   rate  95 %         with chance
    0  0 … 3  12.3  11.0 … 13.0  8.0 … 17.0
    "#);
    insta::assert_snapshot!(privacy_lines(&answer), @r#"
    query q1 · ε 1, δ 0 for a person in one region
    n: kept at 0 or more as asked, which moved 1 of its values; sums of them are biased
    "#);
}

/// A study whose every text would be more than text if a page took it for HTML.
fn hostile_study() -> Study {
    let text = r#"
title = "<script>a</script>"
question = "<b>q"
source = "a & b"
epsilon = 1.0
reading = "first\n\n<i>second"
sql = "SELECT region, COUNT(*) AS n FROM t WHERE '<x>' < $kind GROUP BY region"
plot = '{"mark": "bar"}'

[tables]
t = ["c"]

[columns]
region = "\"r\""
n = "<n>"

[parameters.kind]
meaning = "<m>"
default = "<d>"
values = ["<d>"]
"#;
    Study::parse("hostile", text).unwrap()
}

#[test]
fn a_page_holds_all_texts_as_texts() {
    let study = hostile_study();
    let given = Given::default();
    let html = page(&Page {
        study: &study,
        values: &study.values(&given).unwrap(),
        sql: &study.sql(&given).unwrap(),
        answer: &answer(),
        svg: "<svg></svg>",
        synthetic: false,
    });
    for tag in ["<script", "<b>", "<i>", "<x>", "<n>", "<m>", "<d>"] {
        assert!(!html.contains(tag), "{tag}");
    }
    for part in [
        "<h1>&lt;script&gt;a&lt;/script&gt;</h1>",
        "<figure><svg></svg></figure>",
        "<p>first</p>\n<p>&lt;i&gt;second</p>",
        "<tr><td>nordland</td><td class=\"right\">1203</td><td class=\"interval\">1200 … 1206</td>",
        "<tr><th>kind</th><td>&lt;d&gt;: &lt;m&gt;</td></tr>",
        "<tr><th>region</th><td>&quot;r&quot;</td></tr>",
        "WHERE &#39;&lt;x&gt;&#39; &lt; &#39;&lt;d&gt;&#39;",
        "From: a &amp; b.",
        "NOT in this answer: akershus",
    ] {
        assert!(html.contains(part), "{part}\n{html}");
    }
    assert!(!html.contains("Synthetic data"));
}
