//! Types of expressions. Lowering makes well-typed expressions; this is the check that it did.

use skerry_proto::DataType;

use super::{Expression, Function};

/// An expression whose parts don't fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TypeError(pub String);

fn need(part: &str, found: DataType, wanted: &[DataType]) -> Result<(), TypeError> {
    if wanted.contains(&found) {
        Ok(())
    } else {
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        Err(TypeError(format!(
            "{part} needs {}, not {found}",
            wanted.join(" or ")
        )))
    }
}

fn same(part: &str, types: &[DataType]) -> Result<DataType, TypeError> {
    let Some((first, rest)) = types.split_first() else {
        return Err(TypeError(format!("{part} needs an argument")));
    };
    match rest.iter().find(|other| *other != first) {
        None => Ok(*first),
        Some(other) => Err(TypeError(format!(
            "{part} needs one type, not {first} and {other}"
        ))),
    }
}

const NUMBERS: &[DataType] = &[DataType::Integer, DataType::Float];
const MOMENTS: &[DataType] = &[DataType::Date, DataType::Timestamp];

impl Expression {
    /// The type of the expression over an input with these columns.
    ///
    /// # Errors
    /// If a part has a type that it can't have, or a column isn't there.
    pub fn data_type(&self, columns: &[DataType]) -> Result<DataType, TypeError> {
        let of = |part: &Self| part.data_type(columns);
        match self {
            Self::Column(index) => columns
                .get(*index)
                .copied()
                .ok_or_else(|| TypeError(format!("there is no column {index}"))),
            Self::Literal { value, data_type } => match value.data_type() {
                Some(found) if found != *data_type => Err(TypeError(format!(
                    "a literal {found} is declared {data_type}"
                ))),
                Some(_) | None => Ok(*data_type),
            },
            Self::Not(value) => {
                need("NOT", of(value)?, &[DataType::Boolean])?;
                Ok(DataType::Boolean)
            }
            Self::IsNull(value) => {
                of(value)?;
                Ok(DataType::Boolean)
            }
            Self::And(parts) | Self::Or(parts) => {
                for part in parts {
                    need("AND or OR", of(part)?, &[DataType::Boolean])?;
                }
                Ok(DataType::Boolean)
            }
            Self::Compare { left, right, .. } => {
                same("a comparison", &[of(left)?, of(right)?])?;
                Ok(DataType::Boolean)
            }
            Self::Arithmetic { left, right, .. } => {
                let found = same("arithmetic", &[of(left)?, of(right)?])?;
                need("arithmetic", found, NUMBERS)?;
                Ok(found)
            }
            Self::Case {
                branches,
                otherwise,
            } => {
                let mut values = vec![];
                for (condition, value) in branches {
                    need("a CASE condition", of(condition)?, &[DataType::Boolean])?;
                    values.push(of(value)?);
                }
                if let Some(value) = otherwise {
                    values.push(of(value)?);
                }
                same("CASE", &values)
            }
            Self::In { value, list } => {
                let found = of(value)?;
                match list.iter().find(|member| member.data_type() != Some(found)) {
                    None => Ok(DataType::Boolean),
                    Some(_) => Err(TypeError(format!("a member of an IN list is not {found}"))),
                }
            }
            Self::Like { value, .. } => {
                need("LIKE", of(value)?, &[DataType::Text])?;
                Ok(DataType::Boolean)
            }
            Self::Cast { value, to } => {
                of(value)?;
                Ok(*to)
            }
            Self::Call {
                function,
                arguments,
            } => {
                let types = arguments.iter().map(of).collect::<Result<Vec<_>, _>>()?;
                call(function, &types)
            }
        }
    }
}

fn call(function: &Function, types: &[DataType]) -> Result<DataType, TypeError> {
    let single = || match types {
        [one] => Ok(*one),
        _ => Err(TypeError(format!("{function:?} needs one argument"))),
    };
    match function {
        Function::Absolute => {
            need("abs", single()?, NUMBERS)?;
            single()
        }
        Function::Floor | Function::Ceiling | Function::Round { .. } => {
            need("rounding", single()?, &[DataType::Float])?;
            Ok(DataType::Float)
        }
        Function::Coalesce | Function::Greatest | Function::Least => {
            same("COALESCE, GREATEST or LEAST", types)
        }
        Function::NullIf => match types {
            [_, _] => same("NULLIF", types),
            _ => Err(TypeError("NULLIF needs two arguments".into())),
        },
        Function::Same => match types {
            [_, _] => same("IS DISTINCT FROM", types).map(|_| DataType::Boolean),
            _ => Err(TypeError("IS DISTINCT FROM needs two sides".into())),
        },
        Function::Lower | Function::Upper | Function::Trim | Function::Substring { .. } => {
            need("a text function", single()?, &[DataType::Text])?;
            Ok(DataType::Text)
        }
        Function::Length => {
            need("length", single()?, &[DataType::Text])?;
            Ok(DataType::Integer)
        }
        Function::DatePart(_) => {
            need("date_part", single()?, MOMENTS)?;
            Ok(DataType::Integer)
        }
        Function::DateTruncate(_) => {
            need("date_trunc", single()?, MOMENTS)?;
            Ok(DataType::Timestamp)
        }
        Function::AddToDate { .. } => {
            need("date arithmetic", single()?, &[DataType::Date])?;
            Ok(DataType::Date)
        }
        Function::DaysBetween => match types {
            [DataType::Date, DataType::Date] => Ok(DataType::Integer),
            _ => Err(TypeError("a difference in days needs two dates".into())),
        },
    }
}
