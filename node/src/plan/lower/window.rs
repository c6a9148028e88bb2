//! Trusted. Lowers window functions: over rows of one person, or they are refused.

use datafusion::{
    common::ScalarValue,
    logical_expr::{
        self as logical, Expr, SortExpr, WindowFrame, WindowFrameBound, WindowFrameUnits,
        WindowFunctionDefinition,
        expr::{NullTreatment, WindowFunction as Written},
    },
};
use skerry_privacy::question::{
    Bound, Expression, Frame, FrameUnit, PersonFunction, Relation, SortKey, Window, WindowColumn,
    WindowFunction,
};
use skerry_proto::{DataType, ErrorCode, Refusal, Value, limit};

use super::{
    Lowering, Part, PartColumn, Scope, UnitColumn, aggregate::filtered, operator::interval_parts,
    unaliased, unit_of, unsupported,
};

const FUNCTIONS: &str = "there are ROW_NUMBER, RANK, DENSE_RANK, LAG, LEAD, FIRST_VALUE, \
                         LAST_VALUE, COUNT, SUM, MIN, MAX, AVG, BOOL_OR and BOOL_AND";

impl Lowering<'_> {
    pub(super) fn window(&self, window: &logical::Window) -> Result<Part, Refusal> {
        let input = self.relation(&window.input)?;
        if !input.private {
            return Err(unsupported(
                "a window function over a public table",
                "use it after aggregating",
            ));
        }
        let scope = Scope {
            schema: window.input.schema(),
            columns: &input.columns,
            repeated: &self.repeated,
        };
        let types: Vec<DataType> = input
            .columns
            .iter()
            .map(|column| column.data_type)
            .collect();
        let mut columns = input.columns.clone();
        let mut windows: Vec<Window> = vec![];
        for written in &window.window_expr {
            let written = unaliased(written);
            let shown = written.human_display().to_string();
            let Expr::WindowFunction(function) = written else {
                return Err(unsupported(&shown, ""));
            };
            let mut found = scope.window(function, &shown)?;
            for data_type in found
                .data_types(&types)
                .map_err(|error| unsupported(&shown, &error.to_string()))?
            {
                columns.push(PartColumn {
                    data_type,
                    unit: UnitColumn::No,
                });
            }
            match windows.last_mut() {
                Some(last) if last.keys == found.keys && last.order == found.order => {
                    last.columns.append(&mut found.columns);
                }
                Some(_) | None => windows.push(found),
            }
        }
        Ok(Part {
            relation: self.windowed(input.relation, windows)?,
            columns,
            private: true,
        })
    }

    /// Windows one above the other: each only adds columns after those that the next one counts.
    pub(super) fn windowed(
        &self,
        input: Relation,
        windows: Vec<Window>,
    ) -> Result<Relation, Refusal> {
        let so_far = self.windows.get() + windows.len();
        self.windows.set(so_far);
        if so_far > limit::WINDOWS {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!(
                    "the question numbers or compares rows in more than {} ways",
                    limit::WINDOWS
                ),
                "use the same PARTITION BY and ORDER BY for several columns, or ask for less at once",
            ));
        }
        Ok(windows
            .into_iter()
            .fold(input, |input, window| Relation::Window {
                input: Box::new(input),
                window,
            }))
    }
}

impl Scope<'_> {
    /// A window with one column.
    fn window(&self, written: &Written, shown: &str) -> Result<Window, Refusal> {
        let params = &written.params;
        let mut keys = vec![];
        let mut of_person = false;
        for key in &params.partition_by {
            let (key, _) = self.lower(key)?;
            if unit_of(self.columns, &key) == UnitColumn::Always {
                of_person = true;
            } else {
                keys.push(key);
            }
        }
        if !of_person {
            let unit = self
                .columns
                .iter()
                .position(|column| column.unit == UnitColumn::Always)
                .map_or("the unit", |index| self.schema.field(index).name());
            return Err(Refusal::new(
                ErrorCode::Unsupported,
                format!("{shown} would look at rows of several persons at once"),
                format!("write OVER (PARTITION BY {unit} …), or use it after aggregating"),
            ));
        }
        let order = self.order(&params.order_by)?;
        let function = self.window_function(written, shown)?;
        let frame = match &function {
            WindowFunction::RowNumber
            | WindowFunction::Rank
            | WindowFunction::DenseRank
            | WindowFunction::Shift { .. } => Frame::WHOLE,
            WindowFunction::First { .. }
            | WindowFunction::Last { .. }
            | WindowFunction::Aggregate { .. } => {
                frame(&params.window_frame, !order.is_empty(), shown)?
            }
        };
        Ok(Window {
            keys,
            order,
            columns: vec![WindowColumn { function, frame }],
        })
    }

    /// How rows are put in order.
    pub(super) fn order(&self, keys: &[SortExpr]) -> Result<Vec<SortKey>, Refusal> {
        keys.iter()
            .map(|key| {
                Ok(SortKey {
                    by: self.lower(&key.expr)?.0,
                    descending: !key.asc,
                    nulls_first: key.nulls_first,
                })
            })
            .collect()
    }

    fn window_function(&self, written: &Written, shown: &str) -> Result<WindowFunction, Refusal> {
        let params = &written.params;
        let mut arguments = params
            .args
            .iter()
            .map(|argument| self.lower(argument))
            .collect::<Result<Vec<_>, _>>()?
            .into_iter();
        let filter = match &params.filter {
            Some(filter) => Some(self.lower(filter)?.0),
            None => None,
        };
        let known = params.null_treatment == Some(NullTreatment::IgnoreNulls);
        let refused = || unsupported(shown, FUNCTIONS);
        let (first, second, third) = (arguments.next(), arguments.next(), arguments.next());
        if arguments.next().is_some() {
            return Err(refused());
        }
        let name = match &written.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function.name(),
            WindowFunctionDefinition::WindowUDF(function) => function.name(),
        };
        let plain = filter.is_none() && !known && !params.distinct;
        Ok(match (name, first, second, third) {
            ("row_number", None, None, None) if plain => WindowFunction::RowNumber,
            ("rank", None, None, None) if plain => WindowFunction::Rank,
            ("dense_rank", None, None, None) if plain => WindowFunction::DenseRank,
            ("lag" | "lead", Some((argument, _)), rows, otherwise) if plain => {
                let rows = match rows {
                    None => Some(1),
                    Some((literal, _)) => whole(&literal),
                };
                let otherwise = match otherwise {
                    None => Some(Value::Null),
                    Some((Expression::Literal { value, .. }, _)) => Some(value),
                    Some(_) => None,
                };
                let (Some(rows), Some(otherwise)) = (rows, otherwise) else {
                    return Err(unsupported(
                        shown,
                        "give LAG and LEAD literals: LAG(x, 1, 0)",
                    ));
                };
                WindowFunction::Shift {
                    argument,
                    earlier: if name == "lag" { rows } else { -rows },
                    otherwise,
                }
            }
            ("first_value", Some((argument, _)), None, None) if filter.is_none() => {
                WindowFunction::First { argument, known }
            }
            ("last_value", Some((argument, _)), None, None) if filter.is_none() => {
                WindowFunction::Last { argument, known }
            }
            (_, Some((argument, data_type)), None, None) if !known => {
                let truth = data_type == DataType::Boolean;
                let function = match (name, params.distinct) {
                    ("count", false) => PersonFunction::Count,
                    ("count", true) => PersonFunction::CountDistinct,
                    ("sum", false) => PersonFunction::Sum,
                    ("avg", false) => PersonFunction::Average,
                    ("min", _) => PersonFunction::Minimum,
                    ("max", _) => PersonFunction::Maximum,
                    ("bool_and", _) if truth => PersonFunction::Minimum,
                    ("bool_or", _) if truth => PersonFunction::Maximum,
                    _ => return Err(refused()),
                };
                WindowFunction::Aggregate {
                    function,
                    argument: filtered(argument, filter),
                }
            }
            _ => return Err(refused()),
        })
    }
}

fn whole(literal: &Expression) -> Option<i64> {
    match literal {
        Expression::Literal {
            value: Value::Integer(x),
            ..
        } => Some(*x).filter(|x| x.unsigned_abs() <= u64::from(u32::MAX)),
        _ => None,
    }
}

/// A frame in its one form, so that the same question looks the same.
fn frame(written: &WindowFrame, ordered: bool, shown: &str) -> Result<Frame, Refusal> {
    let unit = match written.units {
        WindowFrameUnits::Rows => FrameUnit::Rows,
        WindowFrameUnits::Range => FrameUnit::Range,
        WindowFrameUnits::Groups => {
            return Err(unsupported(shown, "write ROWS or RANGE instead of GROUPS"));
        }
    };
    let refused = || {
        unsupported(
            shown,
            "the ends of a frame are UNBOUNDED, CURRENT ROW, whole numbers, or intervals of \
             months and days over a date",
        )
    };
    let end = |bound: &WindowFrameBound| -> Result<(Bound, i32), Refusal> {
        let (value, sign) = match bound {
            WindowFrameBound::CurrentRow => return Ok((Bound::Current, 0)),
            WindowFrameBound::Preceding(value) => (value, -1),
            WindowFrameBound::Following(value) => (value, 1),
        };
        Ok((bound_of(value, sign).ok_or_else(refused)?, sign))
    };
    let ((start, before), (end, after)) = (end(&written.start_bound)?, end(&written.end_bound)?);
    // Nothing starts at the very end, or ends before the start.
    if (start == Bound::Unbounded && before > 0) || (end == Bound::Unbounded && after < 0) {
        return Err(refused());
    }
    let all_are_peers = unit == FrameUnit::Range && !ordered;
    let whole = (start, end) == (Bound::Unbounded, Bound::Unbounded);
    Ok(if all_are_peers || whole {
        Frame::WHOLE
    } else {
        Frame { unit, start, end }
    })
}

fn bound_of(value: &ScalarValue, sign: i32) -> Option<Bound> {
    if value.is_null() {
        return Some(Bound::Unbounded);
    }
    if let Some((months, days, rest)) = interval_parts(value) {
        return (rest == 0).then_some(Bound::Calendar {
            months: months.checked_mul(sign)?,
            days: days.checked_mul(sign)?,
        });
    }
    let further = match value {
        ScalarValue::UInt64(Some(x)) => i64::try_from(*x).ok()?,
        ScalarValue::UInt32(Some(x)) => i64::from(*x),
        ScalarValue::UInt16(Some(x)) => i64::from(*x),
        ScalarValue::UInt8(Some(x)) => i64::from(*x),
        ScalarValue::Int64(Some(x)) => *x,
        ScalarValue::Int32(Some(x)) => i64::from(*x),
        ScalarValue::Int16(Some(x)) => i64::from(*x),
        ScalarValue::Int8(Some(x)) => i64::from(*x),
        _ => return None,
    };
    Some(Bound::Number(further.checked_mul(i64::from(sign))?))
}
