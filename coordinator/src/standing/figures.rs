//! A week's figures, from the answer to its question.

use chrono::NaiveDate;
use datafusion::arrow::{
    array::{Array as _, AsArray as _},
    compute::cast,
    datatypes::{DataType, Float64Type},
};
use serde_json::{Map, Value as Json};

use super::{
    band::{Released, Shape},
    settings::{REGION, StandingQuestion},
    state::Figure,
};
use crate::answer::Answer;

/// The figures of an answer about a week, one a group, or what about the answer doesn't fit the
/// question.
///
/// Where regions are missing, what is not of a region by itself is left out: it would be low.
pub(super) fn figures(
    answer: &Answer,
    question: &StandingQuestion,
    week: NaiveDate,
) -> Result<Vec<Figure>, String> {
    let rows = &answer.rows;
    let schema = rows.schema();
    let of_its_own = |name: &str| {
        let fields = schema.fields().iter();
        fields
            .clone()
            .position(|field| field.name() == name && Answer::role(field) == "value")
            .ok_or_else(|| {
                let names: Vec<&str> = fields
                    .filter(|field| Answer::role(field) == "value")
                    .map(|field| field.name().as_str())
                    .collect();
                format!(
                    "the answer has no column `{name}`, but {}",
                    names.join(", ")
                )
            })
    };
    let place = of_its_own(&question.figure)?;
    if !schema.field(place).data_type().is_integer() {
        return Err(format!(
            "`{}` is no count: its type is {}",
            question.figure,
            schema.field(place).data_type()
        ));
    }
    let beside = |role: &str| {
        let fields = schema.fields().iter().enumerate().skip(place + 1);
        fields
            .take_while(|(_, field)| Answer::role(field) != "value")
            .find(|(_, field)| Answer::role(field) == role)
            .map(|(place, _)| place)
            .ok_or_else(|| format!("`{}` has no noise", question.figure))
    };
    let numbers = |place: usize| {
        cast(rows.column(place), &DataType::Float64).map_err(|error| error.to_string())
    };
    let columns = [place, beside("low")?, beside("high")?, beside("sd")?]
        .into_iter()
        .map(numbers)
        .collect::<Result<Vec<_>, _>>()?;
    let texts = |name: &String| {
        let texts = cast(rows.column(of_its_own(name)?), &DataType::Utf8);
        texts.map_err(|error| error.to_string())
    };
    let groups = question
        .group_by
        .iter()
        .map(|name| Ok((name, texts(name)?)))
        .collect::<Result<Vec<_>, String>>()?;
    let weeks = question.week_column.as_ref().map(texts).transpose()?;
    let (asked, week) = (&answer.record.regions, week.to_string());

    let mut figures: Vec<Figure> = Vec::with_capacity(rows.num_rows());
    for row in 0..rows.num_rows() {
        if let Some(weeks) = &weeks {
            let weeks = weeks.as_string::<i32>();
            if !(weeks.is_valid(row) && weeks.value(row) == week) {
                continue;
            }
        }
        let mut group = Map::new();
        for (name, texts) in &groups {
            let texts = texts.as_string::<i32>();
            let text = texts.is_valid(row).then(|| texts.value(row).to_owned());
            group.insert((*name).clone(), text.map_or(Json::Null, Json::String));
        }
        let region = group.get(REGION).and_then(Json::as_str);
        let answered = |region: &str| asked.answered.iter().any(|id| id.as_str() == region);
        if !asked.missing.is_empty() && !region.is_some_and(answered) {
            continue;
        }
        let number = |of: usize| {
            let column = columns[of].as_primitive::<Float64Type>();
            column.is_valid(row).then(|| column.value(row))
        };
        let (Some(value), Some(low), Some(high), Some(sd)) =
            (number(0), number(1), number(2), number(3))
        else {
            return Err(format!(
                "`{}` is NULL, or nothing is known of its noise",
                question.figure
            ));
        };
        let released = Released {
            value,
            sd,
            shape: shape(answer, region),
        };
        let group = Json::Object(group).to_string();
        if figures.iter().any(|figure| figure.group == group) {
            return Err(format!(
                "the answer has more than one row for {group}: a week's has one for each group"
            ));
        }
        figures.push(Figure {
            group,
            released,
            low,
            high,
        });
    }
    if figures.is_empty() {
        return Err("the answer has no figure".to_owned());
    }
    Ok(figures)
}

/// The noise of a region's figures, or of all regions' sums: normal if no part of it is Laplace.
fn shape(answer: &Answer, region: Option<&str>) -> Shape {
    let regions = &answer.record.privacy.regions;
    let gaussian = |record: &Json| {
        record
            .get("mechanism")
            .and_then(Json::as_str)
            .is_some_and(|name| name.contains("Gaussian") && !name.contains("Laplace"))
    };
    let all = match region.and_then(|region| regions.get(region)) {
        Some(record) => gaussian(record),
        None => !regions.is_empty() && regions.values().all(gaussian),
    };
    if all { Shape::Gaussian } else { Shape::Laplace }
}

#[cfg(test)]
mod tests;
