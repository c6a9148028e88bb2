//! From an aggregate to the measures that it is made of, and how it is finished from them after the
//! noise.

use skerry_proto::{DataType, ErrorCode, Refusal, Value, limit};

use super::{
    bins,
    image::Images,
    interval::{self, Interval},
    measure::{Counted, Factor, Measure},
    shape::{Shape, ill_typed},
};
use crate::question::{Aggregate, Expression, Pair, Spread};

/// What a person's contribution to a measure may be in all: beyond, floats and cells would overflow.
pub(super) const MAX_BOUND: f64 = 1e18;

/// How an aggregate is finished from measures, after the noise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finish {
    /// What the aggregate is.
    pub statistic: Statistic,
    /// Positions of the measures, in the order that the statistic says.
    pub measures: Vec<usize>,
    /// Type of the answer.
    pub data_type: DataType,
}

/// How measures become a figure. n is a count of rows, a sum is one of centred values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Statistic {
    /// The one measure itself.
    Count,
    /// The one measure itself.
    Sum,
    /// centre + sum / n, of: sum, n.
    Average,
    /// Of: n, sum, sum of squares.
    Spread(Spread),
    /// Of: n, and as many as the statistic needs of: sum of x, of y, of xy, of xx, of yy; see
    /// [`needs`].
    Pair(Pair),
    /// The first bin, from below, up to which so many of the rows are; of: bins.
    Quantile {
        /// In 1e-9.
        fraction_nano: u64,
    },
    /// How many values have a person; of: values.
    CountValues,
}

/// Which sums beside n a statistic of pairs is made of, in the order x, y, xy, xx, yy.
#[must_use]
pub const fn needs(pair: Pair) -> [bool; 5] {
    match pair {
        Pair::Count => [false, false, false, false, false],
        Pair::AverageX => [true, false, false, false, false],
        Pair::AverageY => [false, true, false, false, false],
        Pair::SquaresX => [true, false, false, true, false],
        Pair::SquaresY => [false, true, false, false, true],
        Pair::Products | Pair::CovariancePopulation | Pair::CovarianceSample => {
            [true, true, true, false, false]
        }
        Pair::Slope | Pair::Intercept => [true, true, true, true, false],
        Pair::Correlation | Pair::Determination => [true, true, true, true, true],
    }
}

/// The measures of a question, each once.
pub(super) struct Measures<'a> {
    pub shape: &'a Shape,
    pub types: Vec<DataType>,
    pub images: &'a mut Images,
    /// Rows of a person, at most.
    pub rows: u64,
    pub found: Vec<Measure>,
}

impl Measures<'_> {
    /// The count of persons, whether an aggregate needs it or not.
    pub fn persons(&mut self) -> usize {
        self.add(Measure::persons(None))
    }

    /// Adds what an aggregate needs. `written` is how the statement has it.
    pub fn of(&mut self, aggregate: &Aggregate, written: &str) -> Result<Finish, Refusal> {
        let finish = |statistic, measures, data_type| Finish {
            statistic,
            measures,
            data_type,
        };
        Ok(match aggregate {
            Aggregate::CountRows(argument) => {
                argument
                    .as_ref()
                    .map(|argument| self.typed(argument))
                    .transpose()?;
                let count = self.add(Measure::rows(argument.clone(), self.rows));
                finish(Statistic::Count, vec![count], DataType::Integer)
            }
            Aggregate::CountPersons(condition) => {
                if let Some(condition) = condition
                    && self.typed(condition)? != DataType::Boolean
                {
                    return Err(Refusal::new(
                        ErrorCode::PlanRefused,
                        format!("{written}: the filter isn't boolean"),
                        "",
                    ));
                }
                let count = self.add(Measure::persons(condition.clone()));
                finish(Statistic::Count, vec![count], DataType::Integer)
            }
            Aggregate::Sum(argument) => {
                let mut factor = self.factor(argument, written)?;
                factor.centre = 0.0;
                let data_type = factor.data_type;
                let sum = self.sum(factor);
                finish(Statistic::Sum, vec![sum], data_type)
            }
            Aggregate::Average(argument) => {
                let factor = self.factor(argument, written)?;
                let sum = self.sum(factor);
                let count = self.add(Measure::rows(Some(argument.clone()), self.rows));
                finish(Statistic::Average, vec![sum, count], DataType::Float)
            }
            Aggregate::Spread {
                statistic,
                argument,
            } => {
                let factor = self.factor(argument, written)?;
                let count = self.add(Measure::rows(Some(argument.clone()), self.rows));
                let sum = self.sum(factor.clone());
                let squares = self.product(factor.clone(), factor);
                let measures = vec![count, sum, squares];
                finish(Statistic::Spread(*statistic), measures, DataType::Float)
            }
            Aggregate::Pair { statistic, y, x } => self.pair(*statistic, y, x, written)?,
            Aggregate::Quantile {
                argument,
                fraction_nano,
            } => {
                let Factor {
                    argument,
                    data_type,
                    low,
                    high,
                    centre: _,
                } = self.factor(argument, written)?;
                let edges = bins::edges(low, high, data_type == DataType::Integer);
                let counted = Counted::Bins {
                    argument,
                    data_type,
                    low,
                    high,
                    edges,
                };
                let bins = self.add(Measure::new(counted, self.rows, None));
                let fraction_nano = *fraction_nano;
                let statistic = Statistic::Quantile { fraction_nano };
                finish(statistic, vec![bins], data_type)
            }
            Aggregate::CountValues(argument) => {
                let counted = Counted::Values {
                    argument: argument.clone(),
                    data_type: self.typed(argument)?,
                    values: self.values(argument, written)?,
                };
                let values = self.add(Measure::new(counted, self.rows, None));
                finish(Statistic::CountValues, vec![values], DataType::Integer)
            }
        })
    }

    fn pair(
        &mut self,
        statistic: Pair,
        y: &Expression,
        x: &Expression,
        written: &str,
    ) -> Result<Finish, Refusal> {
        // Rows that lack one of the numbers count in none of the sums.
        let beside = |number: &Expression, other: &Expression| Expression::Case {
            branches: vec![(
                Expression::Not(Expression::IsNull(other.clone().into()).into()),
                number.clone(),
            )],
            otherwise: None,
        };
        let (of_x, of_y) = (beside(x, y), beside(y, x));
        let (x, y) = (self.factor(&of_x, written)?, self.factor(&of_y, written)?);
        let mut measures = vec![self.add(Measure::rows(Some(of_x), self.rows))];
        let [need_x, need_y, need_xy, need_xx, need_yy] = needs(statistic);
        if need_x {
            measures.push(self.sum(x.clone()));
        }
        if need_y {
            measures.push(self.sum(y.clone()));
        }
        if need_xy {
            measures.push(self.product(x.clone(), y.clone()));
        }
        if need_xx {
            measures.push(self.product(x.clone(), x));
        }
        if need_yy {
            measures.push(self.product(y.clone(), y));
        }
        Ok(Finish {
            statistic: Statistic::Pair(statistic),
            measures,
            data_type: match statistic {
                Pair::Count => DataType::Integer,
                Pair::CovariancePopulation
                | Pair::CovarianceSample
                | Pair::Correlation
                | Pair::Slope
                | Pair::Intercept
                | Pair::Determination
                | Pair::AverageX
                | Pair::AverageY
                | Pair::SquaresX
                | Pair::SquaresY
                | Pair::Products => DataType::Float,
            },
        })
    }

    /// The position of a measure, added if it isn't there yet.
    fn add(&mut self, measure: Measure) -> usize {
        match self.found.iter().position(|known| *known == measure) {
            Some(index) => index,
            None => {
                self.found.push(measure);
                self.found.len() - 1
            }
        }
    }

    fn sum(&mut self, factor: Factor) -> usize {
        self.add(Measure::new(Counted::Sum(factor), self.rows, None))
    }

    fn product(&mut self, first: Factor, second: Factor) -> usize {
        let counted = Counted::Product(first, second);
        self.add(Measure::new(counted, self.rows, None))
    }

    fn typed(&self, argument: &Expression) -> Result<DataType, Refusal> {
        argument.data_type(&self.types).map_err(ill_typed)
    }

    /// A number with its range. Centred values are half as large, and so is the noise they need.
    fn factor(&self, argument: &Expression, written: &str) -> Result<Factor, Refusal> {
        let data_type = self.typed(argument)?;
        if !matches!(data_type, DataType::Integer | DataType::Float) {
            return Err(Refusal::new(
                ErrorCode::Unsupported,
                format!("{written}: a {data_type} can't be summed"),
                "use a number, for example a difference of dates in days",
            ));
        }
        let found = interval::interval(argument, &self.shape.intervals(), &self.types);
        // An argument that is always NULL has the empty interval.
        let found = if found.low > found.high {
            Interval::new(0.0, 0.0)
        } else {
            found
        };
        let Interval { low, high } = found;
        let fits = low.abs().max(high.abs()) * self.rows as f64 <= MAX_BOUND;
        if found.is_bounded() && fits {
            Ok(Factor {
                argument: argument.clone(),
                data_type,
                low,
                high,
                centre: low + (high - low) / 2.0,
            })
        } else {
            Err(Refusal::new(
                ErrorCode::NoRange,
                format!("{written}: the catalogue gives no range for its argument"),
                "bound it in the query, for example LEAST(GREATEST(x, 0), 1000)",
            ))
        }
    }

    /// The public values that an expression can have.
    fn values(&mut self, argument: &Expression, written: &str) -> Result<Vec<Value>, Refusal> {
        let Some(symbol) = self.shape.public_symbol(argument, self.images) else {
            return Err(Refusal::new(
                ErrorCode::NoPublicValues,
                format!("{written}: the catalogue gives no public values for its argument"),
                "count distinct values of a column with public values, map it to bands with CASE, or count persons with COUNT(DISTINCT unit)",
            ));
        };
        let image = self
            .images
            .groups(std::slice::from_ref(&symbol), &self.shape.constraints)?;
        let values: Vec<Value> = image
            .into_iter()
            .flatten()
            .filter(|value| !value.is_null())
            .collect();
        if values.len() > limit::LIST_LENGTH {
            return Err(Refusal::new(
                ErrorCode::TooLarge,
                format!("{written}: more than {} public values", limit::LIST_LENGTH),
                "map them to fewer, for example with CASE",
            ));
        }
        Ok(values)
    }
}
