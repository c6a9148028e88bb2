//! The leaf that takes a release's place: a table of its noisy cells, and the projection that
//! finishes the aggregates from them, so that draws of the noise pass through it as well.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, Float64Array, Int64Array, RecordBatch},
        compute::concat,
        datatypes::{DataType, Field, Schema},
    },
    common::{Column, DataFusionError, Result, ScalarValue, TableReference},
    datasource::{MemTable, provider_as_source},
    functions::math::expr_fn::round,
    logical_expr::{
        Expr, LogicalPlan, LogicalPlanBuilder, Projection, TableSource, cast, col, lit, when,
    },
};
use skerry_proto::{Value, wire};

use crate::{
    frontier::{Frontier, Released},
    merge::{self, Merged},
    statistic,
};

mod figures;

pub(crate) use figures::{Figures, Finished};

/// The hidden column that numbers the draws.
pub(crate) const DRAW: &str = "__draw";
/// The hidden column that tells rows apart, the same in all draws.
pub(crate) const ROW: &str = "__row";

/// Hidden columns that say which row of a release a row comes from.
pub(crate) const ORIGIN: &str = "__origin";

/// A plan with its hidden columns.
#[derive(Debug)]
pub(crate) struct Wide {
    /// The plan.
    pub plan: LogicalPlan,
    /// The draw's number; nothing where there is only the answer.
    pub draw: Option<Column>,
    /// The row's identity.
    pub row: Column,
    /// Of the answer alone: for each place of a release that the rows come from, the column with
    /// the number of the release's row.
    pub origins: Vec<(usize, Column)>,
}

/// A public value as the query engine has it.
fn scalar(value: &Value, data_type: &DataType) -> Result<ScalarValue> {
    let scalar = match value {
        Value::Boolean(x) => ScalarValue::Boolean(Some(*x)),
        Value::Integer(x) => ScalarValue::Int64(Some(*x)),
        Value::Float(x) => ScalarValue::Float64(Some(*x)),
        Value::Text(x) => ScalarValue::Utf8(Some(x.clone())),
        Value::Date(x) => ScalarValue::Date32(Some(*x)),
        Value::Timestamp(x) => ScalarValue::TimestampMicrosecond(Some(*x), None),
        Value::Null => return ScalarValue::try_from(data_type),
    };
    scalar.cast_to(data_type)
}

/// The table of a release: key columns `k0…`, measures of one cell `m0…`, for each aggregate over
/// measures of many cells its figure `f0…`, the row's number, and the draw's, counted from none.
pub(crate) fn table(
    frontier: &Frontier,
    figures: &Figures<'_>,
    draws: &[Finished],
) -> Result<Arc<dyn TableSource>> {
    let merged = figures.merged();
    let groups = merged.keys.len();
    let mut fields = Vec::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for key in 0..frontier.keys() {
        let data_type = frontier.aggregate.schema.field(key).data_type();
        let values = merged.keys.iter().map(|keys| {
            keys.get(key)
                .ok_or_else(|| DataFusionError::Internal("a group without its key".to_owned()))
                .and_then(|value| scalar(value, data_type))
        });
        let values = values.collect::<Result<Vec<_>>>()?;
        let once = if values.is_empty() {
            datafusion::arrow::array::new_empty_array(data_type)
        } else {
            ScalarValue::iter_to_array(values)?
        };
        let repeated: Vec<_> = draws.iter().map(|_| once.as_ref()).collect();
        fields.push(Field::new(format!("k{key}"), data_type.clone(), true));
        columns.push(concat(&repeated)?);
    }
    for (place, measure) in figures.measures().enumerate() {
        let cells = draws.iter().flat_map(|draw| draw.measures[place].iter());
        fields.push(Field::new(format!("m{measure}"), DataType::Float64, false));
        columns.push(Arc::new(Float64Array::from_iter_values(cells.copied())));
    }
    for (place, aggregate) in figures.aggregates().enumerate() {
        let made = draws.iter().flat_map(|draw| draw.made[place].iter());
        fields.push(Field::new(format!("f{aggregate}"), DataType::Float64, true));
        columns.push(Arc::new(made.copied().collect::<Float64Array>()));
    }
    let numbers = draws.iter().flat_map(|_| 0..groups as i64);
    fields.push(Field::new(ROW, DataType::Int64, false));
    columns.push(Arc::new(Int64Array::from_iter_values(numbers)));
    let draw = (0..draws.len() as i64).flat_map(|draw| std::iter::repeat_n(draw, groups));
    fields.push(Field::new(DRAW, DataType::Int64, false));
    columns.push(Arc::new(Int64Array::from_iter_values(draw)));
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    Ok(provider_as_source(Arc::new(MemTable::try_new(
        schema,
        vec![vec![batch]],
    )?)))
}

/// The plan that stands for a release, with the schema of the aggregate that was there.
/// `place` makes names unique within a statement.
pub(crate) fn leaf(
    released: &Released,
    merged: &Merged,
    table: Arc<dyn TableSource>,
    place: usize,
    with_draw: bool,
) -> Result<Wide> {
    let name = format!("__release_{place}");
    let cell = |column: String| Expr::Column(Column::new(Some(name.as_str()), column));
    let keys = released.schema.fields().len() - merged.aggregates.len();
    let mut exprs = Vec::new();
    for (at, (relation, field)) in released.schema.iter().enumerate() {
        let value = match at.checked_sub(keys) {
            None => cell(format!("k{at}")),
            Some(aggregate) => {
                let aggregate = &merged.aggregates[aggregate];
                let made = cell(format!("f{}", at - keys));
                finished(
                    aggregate,
                    &merged.measures,
                    field.data_type(),
                    made,
                    &|measure| cell(format!("m{measure}")),
                )?
            }
        };
        exprs.push(value.alias_qualified(relation.cloned(), field.name()));
    }
    let row = format!("{ROW}_{place}");
    exprs.push(cell(ROW.to_owned()).alias(&row));
    let draw = with_draw.then(|| format!("{DRAW}_{place}"));
    if let Some(draw) = &draw {
        exprs.push(cell(DRAW.to_owned()).alias(draw));
    }
    let mut origins = Vec::new();
    if !with_draw {
        let origin = format!("{ORIGIN}_{place}");
        exprs.push(cell(ROW.to_owned()).alias(&origin));
        origins.push((released.place, Column::new_unqualified(origin)));
    }
    let scan = LogicalPlanBuilder::scan(TableReference::bare(name), table, None)?.build()?;
    Ok(Wide {
        plan: LogicalPlan::Projection(Projection::try_new(exprs, Arc::new(scan))?),
        draw: draw.map(Column::new_unqualified),
        row: Column::new_unqualified(row),
        origins,
    })
}

/// One aggregate from the noisy measures, as `data_type`. `made` is its figure where that was made
/// of many cells.
fn finished(
    aggregate: &wire::Aggregate,
    measures: &[wire::Measure],
    data_type: &DataType,
    made: Expr,
    cell: &dyn Fn(u32) -> Expr,
) -> Result<Expr> {
    let whole = |value: Expr| {
        if data_type.is_integer() {
            cast(round(vec![value]), data_type.clone())
        } else {
            cast(value, data_type.clone())
        }
    };
    let part = |measure: &u32| statistic::Part {
        sum: cell(*measure),
        centre: measures[*measure as usize]
            .factors
            .first()
            .map_or(0.0, |factor| factor.centre),
    };
    let parts: Vec<statistic::Part> = aggregate.measures.iter().map(part).collect();
    match (aggregate.function(), parts.as_slice()) {
        (wire::AggregateFunction::Count | wire::AggregateFunction::Sum, [sum]) => {
            Ok(whole(sum.sum.clone()))
        }
        (wire::AggregateFunction::Sum, [sum, count]) => {
            Ok(whole(sum.sum.clone() + lit(sum.centre) * count.sum.clone()))
        }
        (wire::AggregateFunction::Quantile | wire::AggregateFunction::CountValues, [_]) => {
            Ok(whole(made))
        }
        (wire::AggregateFunction::Average, [sum, count]) => {
            // Fewer than no rows is no average; the noise can make it so.
            let average = lit(sum.centre) + sum.sum.clone() / count.sum.clone();
            when(
                count.sum.clone().gt(lit(0.0)),
                cast(average, data_type.clone()),
            )
            .end()
        }
        (function, parts) => match statistic::figure(function, parts) {
            Some(figure) => Ok(whole(figure?)),
            None => Err(DataFusionError::Internal(
                "an aggregate that is not known".to_owned(),
            )),
        },
    }
}

/// An aggregate that is a weighted sum of cells and so has exact quantiles: its weights. Nothing
/// for any other.
pub(crate) fn weights(
    aggregate: &wire::Aggregate,
    measures: &[wire::Measure],
) -> Option<Vec<(usize, f64)>> {
    match (aggregate.function(), aggregate.measures.as_slice()) {
        (wire::AggregateFunction::Count | wire::AggregateFunction::Sum, [sum]) => {
            let start = *merge::starts(measures).get(*sum as usize)?;
            Some(vec![(start, 1.0)])
        }
        (wire::AggregateFunction::Sum, [sum, count]) => {
            let starts = merge::starts(measures);
            let centre = measures.get(*sum as usize)?.factors.first()?.centre;
            let (sum, count) = (starts.get(*sum as usize)?, starts.get(*count as usize)?);
            Some(vec![(*sum, 1.0), (*count, centre)])
        }
        _ => None,
    }
}

/// All columns of a plan, as expressions.
pub(crate) fn columns(plan: &LogicalPlan) -> Vec<Expr> {
    plan.schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect()
}

/// Adds `expr AS name` to a plan's columns.
pub(crate) fn with_column(plan: LogicalPlan, expr: Expr, name: &str) -> Result<LogicalPlan> {
    let mut exprs = columns(&plan);
    exprs.push(expr.alias(name));
    Ok(LogicalPlan::Projection(Projection::try_new(
        exprs,
        Arc::new(plan),
    )?))
}

/// A column as it is.
pub(crate) fn column(column: &Column) -> Expr {
    col(column.clone())
}
