//! Relations: everything below the frontier. Each row of a private relation belongs to exactly one
//! person, and a person's rows are a function of that person's rows (as a multiset) and of public
//! data alone.

use serde::{Deserialize, Serialize};
use skerry_proto::DataType;

use super::{Expression, TypeError, Window};
use crate::policy::ColumnPolicy;

/// One frontier: an aggregate over persons, and everything below it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Query {
    /// A private relation.
    pub input: Relation,
    /// Group keys over the input's columns.
    pub keys: Vec<Expression>,
    /// What is asked of each group, in the statement's order.
    pub aggregates: Vec<Aggregate>,
}

/// An aggregate over persons. A row counts when the argument is not NULL.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum Aggregate {
    /// `COUNT(*)`, or `COUNT(x)` with an argument.
    CountRows(Option<Expression>),
    /// `COUNT(DISTINCT unit)`, of the rows whose argument is true (all, without one).
    CountPersons(Option<Expression>),
    /// `SUM(x)`; x is an integer or a float.
    Sum(Expression),
    /// `AVG(x)`; x is an integer or a float.
    Average(Expression),
    /// Variance or standard deviation of a number.
    Spread {
        /// Which.
        statistic: Spread,
        /// An integer or a float.
        argument: Expression,
    },
    /// A statistic of pairs of numbers, over the rows that have both.
    Pair {
        /// Which.
        statistic: Pair,
        /// The dependent number.
        y: Expression,
        /// The independent number.
        x: Expression,
    },
    /// The least number that so large a part of the rows is not above.
    Quantile {
        /// An integer or a float.
        argument: Expression,
        /// In 1e-9: 500,000,000 is the median.
        fraction_nano: u64,
    },
    /// `COUNT(DISTINCT x)` of an x with public values.
    CountValues(Expression),
}

/// How far numbers are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Spread {
    /// `VAR_POP`
    VariancePopulation,
    /// `VAR_SAMP`
    VarianceSample,
    /// `STDDEV_POP`
    DeviationPopulation,
    /// `STDDEV_SAMP`
    DeviationSample,
}

/// How two numbers go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Pair {
    /// `COVAR_POP`
    CovariancePopulation,
    /// `COVAR_SAMP`
    CovarianceSample,
    /// `CORR`
    Correlation,
    /// `REGR_SLOPE`
    Slope,
    /// `REGR_INTERCEPT`
    Intercept,
    /// `REGR_R2`
    Determination,
    /// `REGR_COUNT`
    Count,
    /// `REGR_AVGX`
    AverageX,
    /// `REGR_AVGY`
    AverageY,
    /// `REGR_SXX`
    SquaresX,
    /// `REGR_SYY`
    SquaresY,
    /// `REGR_SXY`
    Products,
}

/// A join of two private relations on the privacy unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum JoinKind {
    /// Pairs that match.
    Inner,
    /// And rows of the left side without a match, with NULLs on the right.
    Left,
}

/// What becomes of a row that has, or hasn't, a match on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum Matching {
    /// Rows with a match are kept.
    With,
    /// Rows without a match are kept.
    Without,
    /// All rows are kept, with a column more: whether there is a match. Never NULL.
    Marked,
}

/// An aggregate over one person's rows. NaN counts as NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PersonFunction {
    /// Rows whose argument is not NULL.
    Count,
    /// Different values of the argument that are not NULL.
    CountDistinct,
    /// Sum of the argument, an integer or a float.
    Sum,
    /// Least; of truth values: whether all are true.
    Minimum,
    /// Greatest; of truth values: whether any is true.
    Maximum,
    /// Mean, a float.
    Average,
}

impl PersonFunction {
    /// The type of the aggregate of an argument.
    ///
    /// # Errors
    /// If there is no such aggregate.
    pub fn data_type(self, argument: DataType) -> Result<DataType, TypeError> {
        let number = matches!(argument, DataType::Integer | DataType::Float);
        match self {
            Self::Count | Self::CountDistinct => Ok(DataType::Integer),
            Self::Minimum | Self::Maximum => Ok(argument),
            Self::Sum if number => Ok(argument),
            Self::Average if number => Ok(DataType::Float),
            Self::Sum | Self::Average => {
                Err(TypeError(format!("a sum needs a number, not {argument}")))
            }
        }
    }
}

/// One aggregate of [`Relation::PerPerson`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct PersonAggregate {
    /// Which.
    pub function: PersonFunction,
    /// Of what.
    pub argument: Expression,
}

/// Rows. Private relations carry the privacy unit beside the columns that are listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub enum Relation {
    /// The rows of a table of the owner's policy, with these columns. Rows without a unit are
    /// not there.
    Table {
        /// Name in the policy.
        table: String,
        /// Columns by name, in the order in which expressions count them.
        columns: Vec<String>,
    },
    /// Rows for which the predicate is true.
    Filter {
        /// Of what.
        input: Box<Relation>,
        /// Boolean.
        predicate: Expression,
    },
    /// New columns from each row.
    Project {
        /// Of what.
        input: Box<Relation>,
        /// The new columns.
        columns: Vec<Expression>,
    },
    /// Two private relations, joined on the unit. Columns: left's, then right's.
    Join {
        /// Inner or left.
        kind: JoinKind,
        /// Private.
        left: Box<Relation>,
        /// Private.
        right: Box<Relation>,
        /// Holds besides the unit being the same; over both sides' columns.
        condition: Option<Expression>,
    },
    /// A private relation joined with a public one. Columns: private's, then public's.
    JoinPublic {
        /// Inner, or left with the private side kept.
        kind: JoinKind,
        /// Private.
        private: Box<Relation>,
        /// Public.
        public: Box<Relation>,
        /// Equal pairs: over the private side's columns, over the public side's columns.
        on: Vec<(Expression, Expression)>,
        /// Holds besides; over both sides' columns.
        condition: Option<Expression>,
    },
    /// Rows of a private relation by whether the person has a row in another that meets the
    /// condition. Columns: left's, and the mark.
    Semi {
        /// Which rows are kept.
        matching: Matching,
        /// Private.
        left: Box<Relation>,
        /// Private.
        right: Box<Relation>,
        /// Over both sides' columns.
        condition: Option<Expression>,
    },
    /// Rows of a private relation by whether there is such a row in a public one. Columns:
    /// private's, and the mark.
    SemiPublic {
        /// Which rows are kept.
        matching: Matching,
        /// Private.
        private: Box<Relation>,
        /// Public.
        public: Box<Relation>,
        /// Equal pairs: over the private side's columns, over the public side's columns.
        on: Vec<(Expression, Expression)>,
        /// Holds besides; over both sides' columns.
        condition: Option<Expression>,
    },
    /// Rows of all the branches, all private or all public, with the same types. Bounds add.
    Union {
        /// Two or more.
        inputs: Vec<Relation>,
    },
    /// Rows of a private relation under the owner's own declarations, as those of a table: a value
    /// that isn't listed is NULL. Ranges and rows a person narrow what is known for accuracy, and
    /// are not believed for privacy. Columns: the input's.
    Declared {
        /// Private.
        input: Box<Relation>,
        /// One for each column of the input, of its type.
        columns: Vec<ColumnPolicy>,
        /// Rows that a person has, at most.
        max_rows_per_unit: u64,
    },
    /// The same rows with columns more, computed over rows of the same person. Columns: the
    /// input's, then the window's.
    Window {
        /// Private.
        input: Box<Relation>,
        /// The new columns.
        window: Window,
    },
    /// One row for each person and key. Columns: keys, then aggregates.
    PerPerson {
        /// Private.
        input: Box<Relation>,
        /// Besides the unit.
        keys: Vec<Expression>,
        /// In order.
        aggregates: Vec<PersonAggregate>,
    },
}
