//! A statement over plain tables: no regions, no bounds, no noise. It is the truth that answers are
//! held against, where all rows are in one place because nobody has to be protected.

use datafusion::{
    arrow::datatypes::DataType,
    common::{Result as EngineResult, ScalarValue},
    config::Dialect,
    execution::FunctionRegistry as _,
    logical_expr::{ColumnarValue, Volatility, create_udf},
    prelude::{DataFrame, SessionContext},
    sql::parser::Statement,
};
use skerry_proto::{ErrorCode, Refusal};

use crate::{
    options,
    statistics::{self, Aspect},
};

/// What a statement, with our words and functions in it, comes to over the tables of `context`, each
/// private one with a column `region`. The noise of everything is 0.
///
/// # Errors
/// What the engine says of the statement.
pub async fn exactly(context: &SessionContext, sql: &str) -> Result<DataFrame, Refusal> {
    let sql = options::take(sql)?.sql;
    let failed = |error: datafusion::error::DataFusionError| {
        Refusal::new(ErrorCode::Syntax, error.strip_backtrace(), "")
    };
    let mut state = context.state();
    let mut statement = state
        .sql_to_statement(&sql, &Dialect::Generic)
        .map_err(failed)?;
    if let Statement::Statement(inner) = &mut statement {
        statistics::spell_out(inner)?;
    }
    statistics::register(&mut state).map_err(failed)?;
    for aspect in Aspect::ALL {
        state.register_udf(none(aspect)).map_err(failed)?;
    }
    let plan = state.statement_to_plan(statement).await.map_err(failed)?;
    let context = SessionContext::new_with_state(state);
    context.execute_logical_plan(plan).await.map_err(failed)
}

/// What is known of the noise of an exact number.
fn none(aspect: Aspect) -> std::sync::Arc<datafusion::logical_expr::ScalarUDF> {
    let zero = |_: &[ColumnarValue]| -> EngineResult<ColumnarValue> {
        Ok(ColumnarValue::Scalar(ScalarValue::Float64(Some(0.0))))
    };
    std::sync::Arc::new(create_udf(
        aspect.function(),
        vec![DataType::Float64],
        DataType::Float64,
        Volatility::Immutable,
        std::sync::Arc::new(zero),
    ))
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::{array::AsArray as _, datatypes::Float64Type};

    use super::*;

    #[tokio::test]
    async fn words_and_functions_mean_what_they_mean_without_noise() {
        let context = SessionContext::new();
        let sql = "SELECT WITH DIFFERENTIAL_PRIVACY OPTIONS(epsilon = 1) noise_sd(SUM(n)) AS sd,
                          share(SUM(n), 200) AS part, total_low(share(SUM(n), 200)) AS low,
                          sampling_low(share(SUM(n), 200)) AS sampling
                   FROM (VALUES (20), (30)) AS t(n)";
        let frame = exactly(&context, sql).await.expect("planned");
        let batches = frame.collect().await.expect("answered");
        let figure = |name: &str| {
            let column = batches[0].column_by_name(name).expect(name);
            column.as_primitive::<Float64Type>().value(0)
        };
        assert_eq!([figure("sd"), figure("part")], [0.0, 0.25]);
        assert_eq!(figure("low"), figure("sampling"));
        assert!((0.15..0.25).contains(&figure("low")));
    }
}
