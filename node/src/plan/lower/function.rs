//! Trusted. Lowers functions by name. One that isn't named here doesn't exist.

use datafusion::logical_expr::{Expr, expr::ScalarFunction};
use skerry_privacy::question::{DateUnit, Expression, Function};
use skerry_proto::{DataType, Refusal, Value};

use super::{
    Scope,
    expression::{Typed, shown},
    unsupported,
};

impl Scope<'_> {
    pub(super) fn function(
        &self,
        function: &ScalarFunction,
        whole: &Expr,
    ) -> Result<Typed, Refusal> {
        let arguments = function
            .args
            .iter()
            .map(|argument| self.lower(argument))
            .collect::<Result<Vec<_>, _>>()?;
        let (mut arguments, types): (Vec<Expression>, Vec<DataType>) =
            arguments.into_iter().unzip();
        let integer = |argument: Option<&Expression>| match argument {
            Some(Expression::Literal {
                value: Value::Integer(x),
                ..
            }) => i32::try_from(*x).ok(),
            _ => None,
        };
        let unit = |argument: Option<&Expression>| match argument {
            Some(Expression::Literal {
                value: Value::Text(unit),
                ..
            }) => date_unit(unit),
            _ => None,
        };
        let known = match function.name() {
            "abs" => Some(Function::Absolute),
            "floor" => Some(Function::Floor),
            "ceil" => Some(Function::Ceiling),
            "round" if arguments.len() == 1 => Some(Function::Round { decimals: 0 }),
            "round" => {
                let decimals = integer(arguments.get(1)).filter(|x| (-15..=15).contains(x));
                arguments.truncate(1);
                decimals.map(|decimals| Function::Round { decimals })
            }
            "coalesce" => Some(Function::Coalesce),
            "nullif" => Some(Function::NullIf),
            "greatest" => Some(Function::Greatest),
            "least" => Some(Function::Least),
            "lower" => Some(Function::Lower),
            "upper" => Some(Function::Upper),
            "character_length" => Some(Function::Length),
            "btrim" if arguments.len() == 1 => Some(Function::Trim),
            "substr" => {
                let start = integer(arguments.get(1)).and_then(|x| u32::try_from(x).ok());
                let length = integer(arguments.get(2)).and_then(|x| u32::try_from(x).ok());
                let whole = arguments.len() == 2 || length.is_some();
                arguments.truncate(1);
                start
                    .filter(|start| *start >= 1 && whole)
                    .map(|start| Function::Substring { start, length })
            }
            "date_part" => {
                let unit = unit(arguments.first());
                arguments = arguments.split_off(1.min(arguments.len()));
                unit.map(Function::DatePart)
            }
            "date_trunc" => {
                let unit = unit(arguments.first())
                    .filter(|unit| !matches!(unit, DateUnit::DayOfWeek | DateUnit::DayOfYear));
                arguments = arguments.split_off(1.min(arguments.len()));
                unit.map(Function::DateTruncate)
            }
            _ => None,
        };
        let Some(known) = known else {
            return Err(unsupported(
                &shown(whole),
                "the functions are abs, floor, ceil, round, coalesce, nullif, greatest, least, lower, upper, length, trim, substr, date_part and date_trunc, with literal units and digits",
            ));
        };
        let call = Expression::Call {
            function: known,
            arguments,
        };
        // The types of the arguments stand where the call's columns would.
        let placeholders: Vec<DataType> =
            self.columns.iter().map(|column| column.data_type).collect();
        let data_type = call.data_type(&placeholders).map_err(|error| {
            let of: Vec<String> = types.iter().map(ToString::to_string).collect();
            unsupported(
                &shown(whole),
                &format!("{error}; here it has {}", of.join(", ")),
            )
        })?;
        Ok((call, data_type))
    }
}

fn date_unit(text: &str) -> Option<DateUnit> {
    Some(match text.to_lowercase().as_str() {
        "year" => DateUnit::Year,
        "quarter" => DateUnit::Quarter,
        "month" => DateUnit::Month,
        "week" => DateUnit::Week,
        "day" => DateUnit::Day,
        "dow" => DateUnit::DayOfWeek,
        "doy" => DateUnit::DayOfYear,
        _ => return None,
    })
}
