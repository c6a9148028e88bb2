//! Scalar expressions. All are total: what would fail on a row gives NULL.

use serde::{Deserialize, Serialize};
use skerry_proto::{DataType, Value};

/// Integers up to this magnitude survive the way to a float unchanged.
pub const INTEGER_TO_FLOAT_EXACT: i64 = 1 << 53;

/// How two values of one type are compared. NULL on either side gives NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// Arithmetic on two integers or two floats. Integers wrap; division by zero gives NULL for
/// integers and IEEE's answer for floats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arithmetic {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`, toward zero for integers
    Divide,
    /// `%`, with the sign of the left side
    Remainder,
}

/// A part of a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DateUnit {
    /// Year.
    Year,
    /// Quarter, 1 to 4.
    Quarter,
    /// Month, 1 to 12.
    Month,
    /// ISO week, 1 to 53; truncation goes to Monday.
    Week,
    /// Day of the month.
    Day,
    /// Day of the week, Sunday 0. Not for truncation.
    DayOfWeek,
    /// Day of the year, from 1. Not for truncation.
    DayOfYear,
}

/// Functions whose cost does not hang on a value beyond its size.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Function {
    /// Absolute value; of the least integer NULL.
    Absolute,
    /// Largest whole number not above, a float.
    Floor,
    /// Smallest whole number not below, a float.
    Ceiling,
    /// Rounded to so many decimals, halves away from zero, a float.
    Round {
        /// Decimals, -15 to 15.
        decimals: i32,
    },
    /// The first argument that is not NULL.
    Coalesce,
    /// NULL when both are equal, else the first.
    NullIf,
    /// Whether both are equal, or both NULL; never NULL.
    Same,
    /// The greatest of the arguments that are not NULL.
    Greatest,
    /// The least of the arguments that are not NULL.
    Least,
    /// Lower case.
    Lower,
    /// Upper case.
    Upper,
    /// Characters.
    Length,
    /// Spaces at both ends taken off.
    Trim,
    /// Characters from a position (from 1), so many of them.
    Substring {
        /// First character, from 1.
        start: u32,
        /// Characters; none: to the end.
        length: Option<u32>,
    },
    /// A date's or timestamp's part, an integer.
    DatePart(DateUnit),
    /// Start of the unit that a date or timestamp lies in, a timestamp.
    DateTruncate(DateUnit),
    /// A date so many months and then days later (or earlier); NULL outside years 1 to 9999.
    AddToDate {
        /// Months; the day is cut to the month's last.
        months: i32,
        /// Days.
        days: i32,
    },
    /// Days from the second date to the first, an integer.
    DaysBetween,
}

/// A function of one row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expression {
    /// A column of the input, by position.
    Column(usize),
    /// A public value.
    Literal {
        /// The value, NULL too.
        value: Value,
        /// Its type, which NULL doesn't say itself.
        data_type: DataType,
    },
    /// Three-valued `NOT`.
    Not(Box<Expression>),
    /// True or false, never NULL.
    IsNull(Box<Expression>),
    /// Three-valued `AND` of one or more.
    And(Vec<Expression>),
    /// Three-valued `OR` of one or more.
    Or(Vec<Expression>),
    /// A comparison of two values of one type.
    Compare {
        /// Which.
        operator: Comparison,
        /// Left side.
        left: Box<Expression>,
        /// Right side.
        right: Box<Expression>,
    },
    /// Arithmetic on two values of one numeric type.
    Arithmetic {
        /// Which.
        operator: Arithmetic,
        /// Left side.
        left: Box<Expression>,
        /// Right side.
        right: Box<Expression>,
    },
    /// The value of the first branch whose condition is true.
    Case {
        /// Condition and value.
        branches: Vec<(Expression, Expression)>,
        /// Else; none: NULL.
        otherwise: Option<Box<Expression>>,
    },
    /// Membership in a list of public values; NULL for NULL.
    In {
        /// What is looked for.
        value: Box<Expression>,
        /// Members, none of them NULL.
        list: Vec<Value>,
    },
    /// `LIKE` with a literal pattern.
    Like {
        /// Text.
        value: Box<Expression>,
        /// Pattern: `%` any characters, `_` one, `\` escapes.
        pattern: String,
        /// Whether upper and lower case are the same.
        ignore_case: bool,
    },
    /// The value as another type, NULL where it has none.
    Cast {
        /// What.
        value: Box<Expression>,
        /// To which.
        to: DataType,
    },
    /// A function of its arguments.
    Call {
        /// Which.
        function: Function,
        /// In order.
        arguments: Vec<Expression>,
    },
}

impl Expression {
    /// A literal that is true.
    #[must_use]
    pub fn truth() -> Self {
        Self::Literal {
            value: Value::Boolean(true),
            data_type: DataType::Boolean,
        }
    }

    /// Whether this isn't NULL.
    #[must_use]
    pub fn is_known(self) -> Self {
        Self::Not(Box::new(Self::IsNull(Box::new(self))))
    }

    /// Conditions that are all true where this one is.
    #[must_use]
    pub fn conjuncts(&self) -> &[Self] {
        match self {
            Self::And(parts) => parts,
            single => std::slice::from_ref(single),
        }
    }

    /// The direct parts.
    #[must_use]
    pub fn children(&self) -> Vec<&Self> {
        match self {
            Self::Column(_) | Self::Literal { .. } => vec![],
            Self::Not(value)
            | Self::IsNull(value)
            | Self::In { value, .. }
            | Self::Like { value, .. }
            | Self::Cast { value, .. } => vec![value],
            Self::And(parts) | Self::Or(parts) => parts.iter().collect(),
            Self::Compare { left, right, .. } | Self::Arithmetic { left, right, .. } => {
                vec![left, right]
            }
            Self::Case {
                branches,
                otherwise,
            } => branches
                .iter()
                .flat_map(|(condition, value)| [condition, value])
                .chain(otherwise.as_deref())
                .collect(),
            Self::Call { arguments, .. } => arguments.iter().collect(),
        }
    }

    /// How many parts the expression has, if they are at most so many.
    #[must_use]
    pub fn size_within(&self, most: usize) -> Option<usize> {
        let mut size = 1usize;
        for child in self.children() {
            size += child.size_within(most.checked_sub(size)?)?;
        }
        (size <= most).then_some(size)
    }

    /// The same expression with each direct part replaced; nothing if a part has no replacement.
    pub fn map_children(&self, replace: &mut impl FnMut(&Self) -> Option<Self>) -> Option<Self> {
        let mut boxed = |part: &Self| replace(part).map(Box::new);
        Some(match self {
            Self::Column(_) | Self::Literal { .. } => self.clone(),
            Self::Not(value) => Self::Not(boxed(value)?),
            Self::IsNull(value) => Self::IsNull(boxed(value)?),
            Self::And(parts) => Self::And(parts.iter().map(replace).collect::<Option<_>>()?),
            Self::Or(parts) => Self::Or(parts.iter().map(replace).collect::<Option<_>>()?),
            Self::Compare {
                operator,
                left,
                right,
            } => Self::Compare {
                operator: *operator,
                left: boxed(left)?,
                right: boxed(right)?,
            },
            Self::Arithmetic {
                operator,
                left,
                right,
            } => Self::Arithmetic {
                operator: *operator,
                left: boxed(left)?,
                right: boxed(right)?,
            },
            Self::Case {
                branches,
                otherwise,
            } => Self::Case {
                branches: branches
                    .iter()
                    .map(|(condition, value)| Some((replace(condition)?, replace(value)?)))
                    .collect::<Option<_>>()?,
                otherwise: match otherwise {
                    Some(value) => Some(Box::new(replace(value)?)),
                    None => None,
                },
            },
            Self::In { value, list } => Self::In {
                value: boxed(value)?,
                list: list.clone(),
            },
            Self::Like {
                value,
                pattern,
                ignore_case,
            } => Self::Like {
                value: boxed(value)?,
                pattern: pattern.clone(),
                ignore_case: *ignore_case,
            },
            Self::Cast { value, to } => Self::Cast {
                value: boxed(value)?,
                to: *to,
            },
            Self::Call {
                function,
                arguments,
            } => Self::Call {
                function: function.clone(),
                arguments: arguments.iter().map(replace).collect::<Option<_>>()?,
            },
        })
    }

    /// The same expression with each column replaced; nothing if a column has no replacement.
    pub fn substitute(&self, replace: &impl Fn(usize) -> Option<Self>) -> Option<Self> {
        match self {
            Self::Column(index) => replace(*index),
            other => other.map_children(&mut |part| part.substitute(replace)),
        }
    }

    /// Visits each column as often as the expression names it.
    pub fn visit_columns(&self, visit: &mut impl FnMut(usize)) {
        if let Self::Column(index) = self {
            visit(*index);
        }
        for child in self.children() {
            child.visit_columns(visit);
        }
    }

    /// Adds the columns that the expression names, each once.
    pub fn collect_columns(&self, columns: &mut std::collections::BTreeSet<usize>) {
        self.visit_columns(&mut |index| {
            columns.insert(index);
        });
    }
}
