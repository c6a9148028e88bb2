//! Statistics from noisy sums: the formulas, as expressions that the noise's draws pass through.
//!
//! All sums are of numbers less a known centre, which changes neither variances nor covariances.
//! With n rows, sums Sx, Sy, Sxy, Sxx, Syy: the centred products are Cxy = Sxy − Sx·Sy/n and alike.
//! Where the noise makes a count, or a sum of squares, zero or less there is no figure, and it is NULL.

use datafusion::{
    common::Result,
    functions::math::expr_fn::{power, sqrt},
    logical_expr::{Expr, lit, when},
};
use skerry_proto::wire::AggregateFunction as Function;

/// Whether an aggregate can be made of so many measures.
pub(crate) const fn is_made_of(function: Function, measures: usize) -> bool {
    let wanted = match function {
        Function::Unspecified => return false,
        // Of a sum, or of a centred sum and a count.
        Function::Sum => return matches!(measures, 1 | 2),
        Function::Count | Function::Quantile | Function::CountValues => 1,
        Function::Average | Function::AverageX | Function::AverageY => 2,
        Function::VariancePopulation
        | Function::VarianceSample
        | Function::DeviationPopulation
        | Function::DeviationSample
        | Function::SquaresX
        | Function::SquaresY => 3,
        Function::CovariancePopulation | Function::CovarianceSample | Function::Products => 4,
        Function::Slope | Function::Intercept => 5,
        Function::Correlation | Function::Determination => 6,
    };
    measures == wanted
}

/// A noisy sum, and the centre that was taken off each of its numbers.
#[derive(Clone)]
pub(crate) struct Part {
    /// The sum.
    pub sum: Expr,
    /// Of the first factor.
    pub centre: f64,
}

/// The figure of a statistic over its parts, n first; nothing for a function that has none.
pub(crate) fn figure(function: Function, parts: &[Part]) -> Option<Result<Expr>> {
    let part = |index: usize| parts.get(index).cloned();
    let n = part(0)?.sum;
    let centred =
        |a: &Expr, b: &Expr, product: &Expr| product.clone() - a.clone() * b.clone() / n.clone();
    let positive = |value: Expr, figure: Expr| when(value.gt(lit(0.0)), figure).end();
    let more_than_one = |figure: Expr| when(n.clone().gt(lit(1.0)), figure).end();
    Some(match function {
        Function::AverageX | Function::AverageY => {
            let Part { sum, centre } = part(1)?;
            positive(n.clone(), lit(centre) + sum / n.clone())
        }
        Function::VariancePopulation
        | Function::VarianceSample
        | Function::DeviationPopulation
        | Function::DeviationSample => {
            let (sum, squares) = (part(1)?.sum, part(2)?.sum);
            let squares = centred(&sum, &sum, &squares);
            let sample = matches!(
                function,
                Function::VarianceSample | Function::DeviationSample
            );
            let rows = if sample {
                n.clone() - lit(1.0)
            } else {
                n.clone()
            };
            let variance = squares / rows.clone();
            match function {
                Function::DeviationPopulation | Function::DeviationSample => {
                    positive(rows, variance.clone())
                        .and_then(|known| positive(known, sqrt(variance)))
                }
                _ => positive(rows, variance),
            }
        }
        Function::SquaresX | Function::SquaresY => {
            let (sum, squares) = (part(1)?.sum, part(2)?.sum);
            positive(n.clone(), centred(&sum, &sum, &squares))
        }
        Function::Products | Function::CovariancePopulation | Function::CovarianceSample => {
            let (x, y, xy) = (part(1)?.sum, part(2)?.sum, part(3)?.sum);
            let products = centred(&x, &y, &xy);
            match function {
                Function::Products => positive(n.clone(), products),
                Function::CovariancePopulation => positive(n.clone(), products / n.clone()),
                _ => more_than_one(products / (n.clone() - lit(1.0))),
            }
        }
        Function::Slope | Function::Intercept => {
            let (x, y) = (part(1)?, part(2)?);
            let (xy, xx) = (part(3)?.sum, part(4)?.sum);
            let products = centred(&x.sum, &y.sum, &xy);
            let squares = centred(&x.sum, &x.sum, &xx);
            let slope = products / squares.clone();
            let mean = |part: Part| lit(part.centre) + part.sum / n.clone();
            let figure = match function {
                Function::Slope => slope,
                _ => mean(y) - slope * mean(x),
            };
            positive(n.clone(), squares).and_then(|known| positive(known, figure))
        }
        Function::Correlation | Function::Determination => {
            let (x, y, xy) = (part(1)?.sum, part(2)?.sum, part(3)?.sum);
            let (xx, yy) = (part(4)?.sum, part(5)?.sum);
            let products = centred(&x, &y, &xy);
            let squares = centred(&x, &x, &xx) * centred(&y, &y, &yy);
            let of_x = positive(n.clone(), centred(&x, &x, &xx));
            let figure = match function {
                Function::Correlation => products / sqrt(squares.clone()),
                _ => power(products, lit(2.0)) / squares.clone(),
            };
            of_x.and_then(|known| positive(known, positive(squares, figure)?))
        }
        Function::Unspecified
        | Function::Count
        | Function::Sum
        | Function::Average
        | Function::Quantile
        | Function::CountValues => return None,
    })
}
