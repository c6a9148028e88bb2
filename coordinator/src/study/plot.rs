//! What a study's plot may be: a Vega-Lite specification that says how to draw and nothing else.

use std::collections::BTreeSet;

use serde_json::{Map, Value as Json};

/// Keys by which a specification would reach outside itself.
const OUTSIDE: [&str; 2] = ["url", "href"];

/// Reads and checks a specification. `columns` are the answer's.
///
/// # Errors
/// What is wrong, and what to write instead.
pub(super) fn parse(text: &str, columns: &[&str]) -> Result<Json, (String, String)> {
    let plot: Json = serde_json::from_str(text)
        .map_err(|error| (format!("the plot is no JSON: {error}"), String::new()))?;
    let Json::Object(top) = &plot else {
        return Err((
            "the plot is no JSON object".to_owned(),
            "write a Vega-Lite specification".to_owned(),
        ));
    };
    if top.contains_key("data") {
        return Err((
            "the plot has `data`".to_owned(),
            "leave it out: the answer's rows are put in".to_owned(),
        ));
    }
    let mut seen = Seen::default();
    seen.object(top);
    if let Some(key) = seen.outside {
        return Err((
            format!("the plot has `{key}`: it may not reach outside itself"),
            "leave it out".to_owned(),
        ));
    }
    // A pivot makes fields of the rows' values.
    if seen.pivots {
        return Ok(plot);
    }
    let known = |field: &str| {
        let column = ["_low", "_high"]
            .iter()
            .find_map(|bound| field.strip_suffix(bound))
            .unwrap_or(field);
        columns.contains(&field) || columns.contains(&column) || seen.made.contains(field)
    };
    match seen.fields.iter().find(|field| !known(field)) {
        None => Ok(plot),
        Some(field) => Err((
            format!("the plot draws `{field}`, which the answer doesn't have"),
            format!(
                "fields are columns of [columns], their `_low` and `_high`, and what transforms make: {}",
                columns.join(", ")
            ),
        )),
    }
}

/// What was seen in a specification.
#[derive(Default)]
struct Seen {
    /// A key that isn't allowed.
    outside: Option<String>,
    /// Fields that are drawn, sorted by or transformed.
    fields: BTreeSet<String>,
    /// Fields that transforms make.
    made: BTreeSet<String>,
    pivots: bool,
}

impl Seen {
    fn object(&mut self, object: &Map<String, Json>) {
        for (key, value) in object {
            if OUTSIDE.contains(&key.as_str()) {
                self.outside = Some(key.clone());
            }
            match (key.as_str(), value) {
                ("field", Json::String(field)) => {
                    self.fields.insert(field.clone());
                }
                ("as", Json::String(field)) => {
                    self.made.insert(field.clone());
                }
                ("as", Json::Array(fields)) => {
                    let fields = fields.iter().filter_map(Json::as_str);
                    self.made.extend(fields.map(str::to_owned));
                }
                ("fold", Json::Array(fields)) => {
                    let fields = fields.iter().filter_map(Json::as_str);
                    self.fields.extend(fields.map(str::to_owned));
                    self.made.extend(["key", "value"].map(str::to_owned));
                }
                ("pivot", _) => self.pivots = true,
                _ => {}
            }
            self.value(value);
        }
    }

    fn value(&mut self, value: &Json) {
        match value {
            Json::Object(object) => self.object(object),
            Json::Array(values) => values.iter().for_each(|value| self.value(value)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        parse(text, &["region", "people"]).expect_err(text).0
    }

    #[test]
    fn fields_are_columns_their_bounds_and_what_is_made() {
        for text in [
            r#"{"mark": "bar", "encoding": {"x": {"field": "region"}, "y": {"field": "people"}, "y2": {"field": "people_low"}}}"#,
            r#"{"transform": [{"calculate": "datum.people * 2", "as": "twice"}], "mark": "bar", "encoding": {"x": {"field": "twice"}}}"#,
            r#"{"transform": [{"fold": ["people", "people_high"]}], "mark": "bar", "encoding": {"x": {"field": "value"}}}"#,
            r#"{"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "mark": "point"}"#,
        ] {
            parse(text, &["region", "people"]).expect(text);
        }
    }

    #[test]
    fn what_reaches_outside_or_draws_nothing_is_refused() {
        assert!(refusal("{").contains("no JSON"));
        assert!(refusal("[]").contains("no JSON object"));
        assert!(refusal(r#"{"data": {"values": []}, "mark": "bar"}"#).contains("`data`"));
        assert!(refusal(r#"{"layer": [{"data": {"url": "x"}}]}"#).contains("`url`"));
        assert!(refusal(r#"{"encoding": {"href": {"value": "x"}}}"#).contains("`href`"));
        assert!(refusal(r#"{"encoding": {"x": {"field": "poeple"}}}"#).contains("`poeple`"));
        assert!(refusal(r#"{"encoding": {"x": {"field": "low_low"}}}"#).contains("`low_low`"));
    }
}
