//! A private answer, held against the exact one cell by cell.

use arrow::{
    array::{Array, ArrayRef, AsArray as _, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type},
    util::display::{ArrayFormatter, FormatOptions},
};
use skerry_coordinator::answer::Answer;

use super::{Kind, table};

/// A right figure is further off than so many of its own standard deviations in one of 20 million
/// cells: exp(−√2 · 12) of Laplace noise, and the sum of several regions' is less long-tailed.
const DEVIATIONS: f64 = 12.0;
/// The largest relative tolerance at which a figure still says something.
const USEFUL: f64 = 0.25;
/// What two ways of adding the same floats may differ by.
const ROUNDING: f64 = 1e-9;

/// The kind of a column.
pub fn kind(data_type: &DataType) -> Kind {
    match data_type {
        DataType::Boolean => Kind::Boolean,
        DataType::Date32 => Kind::Date,
        DataType::Timestamp(..) => Kind::Timestamp,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Kind::Text,
        t if t.is_integer() => Kind::Integer,
        t if t.is_floating() || t.is_decimal() => Kind::Real,
        _ => Kind::Other,
    }
}

/// A column's cells as the files have them: floats with ten digits.
pub fn shown(column: &ArrayRef) -> Vec<String> {
    if column.data_type().is_floating() {
        return numbers(column)
            .into_iter()
            .map(|x| x.map_or("NULL".to_owned(), digits))
            .collect();
    }
    let options = FormatOptions::new().with_null("NULL");
    let formatter = ArrayFormatter::try_new(column, &options).unwrap();
    (0..column.len())
        .map(|row| match formatter.value(row).to_string() {
            text if text.is_empty() => "(empty)".to_owned(),
            text => text,
        })
        .collect()
}

fn digits(x: f64) -> String {
    let rounded: f64 = format!("{x:.9e}").parse().unwrap();
    // Zero has no sign here.
    format!("{}", rounded + 0.0)
}

fn numbers(column: &ArrayRef) -> Vec<Option<f64>> {
    let floats = cast(column, &DataType::Float64).unwrap();
    floats.as_primitive::<Float64Type>().iter().collect()
}

/// One column of an answer.
struct Column {
    kind: Kind,
    cells: Vec<String>,
    noise: Option<Noise>,
}

/// What an answer says of a noisy column of numbers; a noisy column of anything else has cells alone.
struct Noise {
    values: Vec<Option<f64>>,
    low: Vec<Option<f64>>,
    high: Vec<Option<f64>>,
    sd: Vec<Option<f64>>,
}

/// How a cell stands to the exact one.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    /// It is the same.
    Same,
    /// Within the noise; so much of the exact figure is the tolerance.
    Within(f64),
    /// Neither has a figure, or what the answer has is said to be unknown.
    Unknown,
    No,
}

impl Noise {
    fn held(&self, row: usize, exact: Option<f64>, kind: Kind) -> Held {
        let (value, low, high, sd) = (
            self.values[row],
            self.low[row],
            self.high[row],
            self.sd[row],
        );
        let Some(exact) = exact.filter(|x| !x.is_nan()) else {
            // A figure that nobody knows has no bounds. A sum of nothing is 0 with noise, not NULL:
            // that there is nothing must not be seen.
            let bounded = low.is_some() && high.is_some();
            let unknown = value.is_none() || !bounded;
            return if unknown || self.held(row, Some(0.0), kind) != Held::No {
                Held::Unknown
            } else {
                Held::No
            };
        };
        let Some(value) = value else { return Held::No };
        let rounding = ROUNDING * exact.abs() + if kind == Kind::Integer { 0.5 } else { 0.0 };
        let tolerance = match (sd, low, high) {
            (Some(sd), ..) => DEVIATIONS * sd,
            // An interval of 95 %, widened as the standard deviation is.
            (None, Some(low), Some(high)) => DEVIATIONS / 2.0 * (value - low).max(high - value),
            _ => 0.0,
        } + rounding;
        if (value - exact).abs() <= tolerance {
            Held::Within(if exact == 0.0 {
                0.0
            } else {
                tolerance / exact.abs()
            })
        } else {
            Held::No
        }
    }

    /// Whether this can be the figure of a group that nobody is in.
    fn of_nobody(&self, row: usize, kind: Kind) -> bool {
        self.held(row, None, kind) == Held::Unknown
    }
}

/// A private answer.
pub struct Answered<'a> {
    rows: &'a RecordBatch,
    columns: Vec<Column>,
}

impl<'a> Answered<'a> {
    pub fn new(answer: &'a Answer) -> Self {
        let mut columns: Vec<Column> = vec![];
        let schema = answer.rows.schema();
        let mut noisy = answer.record.columns.iter().map(|column| column.noisy);
        for (field, array) in schema.fields().iter().zip(answer.rows.columns()) {
            let role = Answer::role(field);
            if role == "value" {
                let is_number = array.data_type().is_numeric();
                let unknown = vec![None; array.len()];
                columns.push(Column {
                    kind: kind(array.data_type()),
                    cells: shown(array),
                    noise: noisy.next().unwrap().then(|| Noise {
                        values: if is_number {
                            numbers(array)
                        } else {
                            unknown.clone()
                        },
                        low: unknown.clone(),
                        high: unknown.clone(),
                        sd: unknown,
                    }),
                });
                continue;
            }
            let noise = columns.last_mut().unwrap().noise.as_mut().unwrap();
            match role {
                "low" => noise.low = numbers(array),
                "high" => noise.high = numbers(array),
                "sd" => noise.sd = numbers(array),
                other => panic!("{other} is not a role that this test knows"),
            }
        }
        Self {
            rows: &answer.rows,
            columns,
        }
    }

    fn held(&self, row: usize, exact: &[String]) -> Vec<Held> {
        self.columns
            .iter()
            .zip(exact)
            .map(|(column, exact)| {
                let same = column.cells[row] == *exact;
                match &column.noise {
                    Some(noise) if matches!(column.kind, Kind::Integer | Kind::Real) => {
                        noise.held(row, exact.parse().ok(), column.kind)
                    }
                    Some(_) | None if same => Held::Same,
                    Some(_) | None => Held::No,
                }
            })
            .collect()
    }

    /// Whether a row can be that of a group that nobody is in.
    fn is_of_nobody(&self, row: usize) -> bool {
        let mut noises = self
            .columns
            .iter()
            .filter_map(|column| Some((column.noise.as_ref()?, column.kind)))
            .peekable();
        noises.peek().is_some() && noises.all(|(noise, kind)| noise.of_nobody(row, kind))
    }

    /// Whether the exact rows are in the answer, in their order if there is one, and nothing else
    /// but groups that nobody is in.
    pub fn holds(
        &self,
        types: &[Kind],
        exact: &[Vec<String>],
        ordered: bool,
        count: Option<usize>,
    ) -> Result<(), String> {
        let wrong = |what: String| Err(format!("{what}:\n{}", table(self.rows)));
        let kinds: Vec<Kind> = self.columns.iter().map(|column| column.kind).collect();
        if kinds != types {
            return wrong(format!("types are {kinds:?}, not {types:?}"));
        }
        let height = self.rows.num_rows();
        if count.is_some_and(|count| count != height) {
            return wrong(format!(
                "there are {height} rows, not {}",
                count.unwrap_or(0)
            ));
        }
        let mut taken = vec![false; height];
        let mut from = 0;
        let mut tolerances = vec![];
        for line in exact {
            let place = (from..height).find(|row| {
                !taken[*row] && self.held(*row, line).iter().all(|held| *held != Held::No)
            });
            let Some(place) = place else {
                return wrong(format!("the exact row {line:?} is not there"));
            };
            for held in self.held(place, line) {
                if let Held::Within(tolerance) = held {
                    tolerances.push(tolerance);
                }
            }
            taken[place] = true;
            if ordered {
                from = place + 1;
            }
        }
        let stranger = (0..height).find(|row| !taken[*row] && !self.is_of_nobody(*row));
        if let Some(row) = stranger {
            return wrong(format!("row {row} is not in the exact answer"));
        }
        let least = tolerances.iter().copied().reduce(f64::min);
        if least.is_some_and(|least| least > USEFUL) {
            return wrong(format!(
                "the noise is too large to test with: {tolerances:?}"
            ));
        }
        Ok(())
    }
}
