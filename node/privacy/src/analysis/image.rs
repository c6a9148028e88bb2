//! Group keys whose values are public: the image of public values under any key expression.
//!
//! A *source* is a finite table of public values: a column's declared list or range, or what a
//! join with a public table makes of one. An *atom* is one field of one source. A column that
//! follows from atoms carries an expression over them, and the groups are that expression's values
//! over all rows of the sources in question.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet, HashMap},
};

use skerry_proto::{DataType, ErrorCode, Refusal, Value, limit};

use super::{
    interval::{Interval, number},
    shape::{ColumnShape, Shape},
};
use crate::{
    policy::{ColumnPolicy, Domain},
    question::{Expression, INTEGER_TO_FLOAT_EXACT, JoinKind},
};

/// Rows over which one image is evaluated, at most.
const MAX_EVALUATIONS: usize = 1_000_000;
/// Parts of expressions evaluated for one question in all, at most: some seconds of work.
const MAX_WORK: usize = 50_000_000;
/// Parts of expressions evaluated for the exact image of one key, at most. Beyond, the image of
/// its branches is taken (see [`symbol`](super::symbol)).
const MAX_WORK_OF_KEY: usize = 10_000_000;
/// Parts of expressions evaluated for an image that may turn out not to be needed, at most.
const MAX_WORK_AHEAD: usize = 2_000_000;
/// A range with more members than this is no list of public values.
const MAX_RANGE: f64 = 100_000.0;

/// A finite table of public values.
#[derive(Debug, Clone)]
pub struct Source(Members);

#[derive(Debug, Clone)]
enum Members {
    Rows(Vec<Vec<Value>>),
    /// All whole numbers of a range, as integers or as days, of which most are never looked at.
    Range {
        low: i64,
        length: usize,
        days: bool,
        null: bool,
    },
}

impl Source {
    /// The values that a column can have, if they are public and finite.
    #[must_use]
    pub fn of_column(column: &ColumnPolicy) -> Option<Self> {
        match &column.domain {
            Domain::Values(values) => {
                let nulls = column.nulls.then_some(Value::Null);
                Some(Self::of_values(values.iter().cloned().chain(nulls)))
            }
            Domain::Range(low, high) => {
                let ends = Interval::new(number(low)?, number(high)?);
                Self::of_interval(column.data_type, ends, column.nulls)
            }
            Domain::Unknown => Self::of_interval(column.data_type, Interval::ALL, column.nulls),
        }
    }

    /// All values of a type within an interval, if they are so few that they can be listed. The
    /// interval without members is that of what is always NULL.
    #[must_use]
    pub fn of_interval(data_type: DataType, interval: Interval, null: bool) -> Option<Self> {
        let days = match data_type {
            DataType::Boolean => {
                let known = [Value::Boolean(false), Value::Boolean(true)];
                return Some(Self::of_values(
                    known.into_iter().chain(null.then_some(Value::Null)),
                ));
            }
            DataType::Integer => false,
            DataType::Date => true,
            DataType::Float | DataType::Text | DataType::Timestamp => return None,
        };
        let (low, high) = (interval.low.ceil(), interval.high.floor());
        if low > high {
            return Some(Self::of_values([Value::Null]));
        }
        // Whole numbers beyond this are not told apart by a float.
        let exact = (INTEGER_TO_FLOAT_EXACT / 2) as f64;
        if !interval.is_bounded() || high - low >= MAX_RANGE || low.abs().max(high.abs()) > exact {
            return None;
        }
        Some(Self(Members::Range {
            low: low as i64,
            length: (high - low) as usize + 1,
            days,
            null,
        }))
    }

    /// These values.
    #[must_use]
    pub fn of_values(values: impl IntoIterator<Item = Value>) -> Self {
        Self::of_rows(values.into_iter().map(|value| vec![value]).collect())
    }

    fn of_rows(rows: Vec<Vec<Value>>) -> Self {
        Self(Members::Rows(rows))
    }

    fn rows(&self) -> usize {
        match &self.0 {
            Members::Rows(rows) => rows.len(),
            Members::Range { length, null, .. } => length + usize::from(*null),
        }
    }

    fn fields(&self) -> usize {
        match &self.0 {
            Members::Rows(rows) => rows.first().map_or(0, Vec::len),
            Members::Range { .. } => 1,
        }
    }

    fn value(&self, row: usize, field: usize) -> Value {
        match &self.0 {
            Members::Rows(rows) => rows
                .get(row)
                .and_then(|row| row.get(field))
                .cloned()
                .unwrap_or(Value::Null),
            Members::Range { length, .. } if row >= *length => Value::Null,
            Members::Range { low, days, .. } => {
                let member = low + row as i64;
                if *days {
                    i32::try_from(member).map_or(Value::Null, Value::Date)
                } else {
                    Value::Integer(member)
                }
            }
        }
    }
}

/// What a join with a public table gives.
#[derive(Debug)]
pub struct PublicMatches {
    /// For each column of the public side.
    pub symbols: Vec<Option<Expression>>,
    /// Rows of the public side that one private row can match, at most.
    pub most: u64,
}

/// All sources and atoms of one question.
#[derive(Debug, Default)]
pub struct Images {
    sources: Vec<Source>,
    /// Source and field of each atom.
    atoms: Vec<(usize, usize)>,
    /// Parts of expressions evaluated so far.
    work: Cell<usize>,
}

fn too_many_combinations() -> Refusal {
    Refusal::new(
        ErrorCode::TooLarge,
        "the public values of the group keys have too many combinations",
        "group by fewer columns, by columns with fewer public values, or by shorter expressions",
    )
}

impl Images {
    /// Adds a source; the atoms of its fields.
    pub fn add(&mut self, source: Source) -> Vec<usize> {
        let fields = source.fields();
        let id = self.sources.len();
        self.sources.push(source);
        (0..fields)
            .map(|field| {
                self.atoms.push((id, field));
                self.atoms.len() - 1
            })
            .collect()
    }

    fn sources_of(&self, symbols: &[&Expression]) -> BTreeSet<usize> {
        let mut atoms = BTreeSet::new();
        for symbol in symbols {
            symbol.collect_columns(&mut atoms);
        }
        atoms
            .into_iter()
            .filter_map(|atom| self.atoms.get(atom).map(|(source, _)| *source))
            .collect()
    }

    /// Calls `visit` with a row of all atoms for each combination of these sources' rows.
    fn combinations(
        &self,
        sources: &BTreeSet<usize>,
        evaluated: &[&Expression],
        mut visit: impl FnMut(&[Value]) -> Result<(), Refusal>,
    ) -> Result<(), Refusal> {
        let Some((count, work)) = self.work_over(sources, evaluated) else {
            return Err(too_many_combinations());
        };
        if !self.spend(work) {
            return Err(too_many_combinations());
        }
        let atoms = self.atoms_of(sources);
        let mut row = vec![Value::Null; self.atoms.len()];
        for mut index in 0..count {
            let mut chosen = BTreeMap::new();
            for source in sources.iter().rev() {
                let rows = self.sources[*source].rows();
                chosen.insert(*source, index % rows);
                index /= rows;
            }
            for atom in &atoms {
                let (source, field) = self.atoms[*atom];
                row[*atom] = self.sources[source].value(chosen[&source], field);
            }
            visit(&row)?;
        }
        Ok(())
    }

    fn atoms_of(&self, sources: &BTreeSet<usize>) -> Vec<usize> {
        (0..self.atoms.len())
            .filter(|atom| sources.contains(&self.atoms[*atom].0))
            .collect()
    }

    /// Combinations of the sources' rows, and the parts that are evaluated over all of them;
    /// nothing if that is too much.
    fn work_over(
        &self,
        sources: &BTreeSet<usize>,
        evaluated: &[&Expression],
    ) -> Option<(usize, usize)> {
        let count = sources.iter().try_fold(1usize, |product, source| {
            product.checked_mul(self.sources[*source].rows())
        })?;
        let parts = evaluated.iter().try_fold(1usize, |sum, expression| {
            sum.checked_add(expression.size_within(MAX_WORK)?)
        })?;
        let parts = parts.checked_add(self.atoms_of(sources).len())?;
        let work = count.checked_mul(parts)?;
        (count <= MAX_EVALUATIONS && work <= MAX_WORK).then_some((count, work))
    }

    /// Counts work that is about to be done; false if the question has had its share.
    pub(super) fn spend(&self, work: usize) -> bool {
        let work = self.work.get().saturating_add(work);
        self.work.set(work);
        work <= MAX_WORK
    }

    /// Whether the exact image of a key can be evaluated.
    #[must_use]
    pub fn is_feasible(&self, symbol: &Expression) -> bool {
        self.work_over(&self.sources_of(&[symbol]), &[symbol])
            .is_some_and(|(_, work)| work <= MAX_WORK_OF_KEY)
    }

    /// All values of these keys together, sorted, of rows that meet the constraints.
    ///
    /// # Errors
    /// If there are too many combinations or groups.
    pub fn groups(
        &self,
        keys: &[Expression],
        constraints: &[Expression],
    ) -> Result<Vec<Vec<Value>>, Refusal> {
        // Keys that share no source are independent: their images are multiplied, which is less
        // work than to evaluate all of them over all combinations.
        let mut parts: Vec<(BTreeSet<usize>, Vec<usize>)> = vec![];
        for (index, key) in keys.iter().enumerate() {
            let mut sources = self.sources_of(&[key]);
            let mut members = vec![index];
            parts.retain(|(other, others)| {
                let apart = other.is_disjoint(&sources);
                if !apart {
                    sources.extend(other);
                    members.extend(others);
                }
                apart
            });
            parts.push((sources, members));
        }
        // Where all combinations are too many, each key's own image is taken: more groups, of
        // which those that can't occur are zero.
        let parts: Vec<(BTreeSet<usize>, Vec<usize>)> = parts
            .into_iter()
            .flat_map(|(sources, members)| {
                let together: Vec<&Expression> = members.iter().map(|key| &keys[*key]).collect();
                if members.len() == 1 || self.work_over(&sources, &together).is_some() {
                    vec![(sources, members)]
                } else {
                    let alone = |key| (self.sources_of(&[&keys[key]]), vec![key]);
                    members.into_iter().map(alone).collect()
                }
            })
            .collect();
        let mut groups: Vec<Vec<Value>> = vec![vec![Value::Null; keys.len()]];
        for (sources, members) in parts {
            let relevant: Vec<&Expression> = constraints
                .iter()
                .filter(|constraint| self.sources_of(&[constraint]).is_subset(&sources))
                .collect();
            let mut image = BTreeSet::new();
            let mut evaluated: Vec<&Expression> = members.iter().map(|key| &keys[*key]).collect();
            let constrained = [evaluated.as_slice(), relevant.as_slice()].concat();
            // Conditions that would be too much work are left out: more groups, never fewer.
            let constraining = self.work_over(&sources, &constrained).is_some();
            if constraining {
                evaluated = constrained;
            }
            self.combinations(&sources, &evaluated, |row| {
                let meets =
                    |constraint: &&Expression| constraint.evaluate(row) == Value::Boolean(true);
                if !constraining || relevant.iter().all(meets) {
                    let values: Vec<Value> =
                        members.iter().map(|key| keys[*key].evaluate(row)).collect();
                    image.insert(values);
                }
                Ok(())
            })?;
            if groups.len().saturating_mul(image.len()) > limit::GROUPS {
                return Err(Refusal::new(
                    ErrorCode::TooLarge,
                    format!("the question has more than {} groups", limit::GROUPS),
                    "group by fewer columns, or by columns with fewer public values",
                ));
            }
            groups = groups
                .iter()
                .flat_map(|group| {
                    image.iter().map(|values| {
                        let mut group = group.clone();
                        for (key, value) in members.iter().zip(values) {
                            group[*key].clone_from(value);
                        }
                        group
                    })
                })
                .collect();
        }
        groups.sort();
        Ok(groups)
    }

    /// A new atom for a column that may also be NULL because a left join found no match.
    pub fn or_null(&mut self, symbol: &Expression) -> Option<Expression> {
        let mut rows = self.ahead(symbol, &[])?;
        if rows.last().is_none_or(|row| !row[0].is_null()) {
            rows.push(vec![Value::Null]);
        }
        self.atom(Source::of_rows(rows))
    }

    /// A new atom with the values of a source of one field.
    pub fn atom(&mut self, source: Source) -> Option<Expression> {
        self.add(source).first().copied().map(Expression::Column)
    }

    /// The image of a symbol that may not be a key in the end.
    fn ahead(&self, symbol: &Expression, constraints: &[Expression]) -> Option<Vec<Vec<Value>>> {
        let sources = self.sources_of(&[symbol]);
        let (_, work) = self.work_over(&sources, &[symbol])?;
        if work > MAX_WORK_AHEAD {
            return None;
        }
        self.groups(std::slice::from_ref(symbol), constraints).ok()
    }

    /// How many values a column can have on rows that meet the constraints, if they are few.
    #[must_use]
    pub fn values_of(&self, column: &ColumnShape, constraints: &[Expression]) -> Option<u64> {
        let listed = column
            .symbol
            .as_ref()
            .and_then(|symbol| Some(self.ahead(symbol, constraints)?.len()));
        let counted = || Source::of_interval(column.data_type, column.interval, column.nulls);
        let within = counted().map(|source| source.rows());
        let fewest = listed.into_iter().chain(within).min()?;
        u64::try_from(fewest).ok()
    }

    /// A new atom for a column that has a value of any of these.
    pub fn union(&mut self, branches: &[(&Expression, &[Expression])]) -> Option<Expression> {
        let mut values = BTreeSet::new();
        for (symbol, constraints) in branches {
            values.extend(self.ahead(symbol, constraints)?);
        }
        self.atom(Source::of_rows(values.into_iter().collect()))
    }

    /// Joins the sources behind the private side's join keys with the rows of a public relation,
    /// so that the public columns follow from the same atoms as the keys.
    ///
    /// # Errors
    /// If there are too many rows or values.
    pub fn join_public(
        &mut self,
        private: &Shape,
        public: &Shape,
        rows: &[Vec<Value>],
        on: &[(Expression, Expression)],
        kind: JoinKind,
    ) -> Result<PublicMatches, Refusal> {
        let mut by_key: HashMap<Vec<Value>, Vec<&Vec<Value>>> = HashMap::new();
        for row in rows {
            let key: Vec<Value> = on.iter().map(|(_, key)| key.evaluate(row)).collect();
            // NULL matches nothing.
            if !key.iter().any(Value::is_null) {
                by_key.entry(key).or_default().push(row);
            }
        }
        let most = by_key.values().map(Vec::len).max().unwrap_or(0).max(1) as u64;
        let width = public.columns.len();
        let keys: Option<Vec<Expression>> = on
            .iter()
            .map(|(key, _)| private.public_symbol(key, self))
            .collect();
        let joined = keys.filter(|keys| !keys.is_empty()).and_then(|keys| {
            let sources = self.sources_of(&keys.iter().collect::<Vec<_>>());
            let atoms = self.atoms_of(&sources);
            let mut joined = vec![];
            let evaluated: Vec<&Expression> = keys.iter().collect();
            self.combinations(&sources, &evaluated, |row| {
                let key: Vec<Value> = keys.iter().map(|key| key.evaluate(row)).collect();
                let own = || atoms.iter().map(|atom| row[*atom].clone());
                match by_key.get(&key) {
                    Some(matches) => joined.extend(
                        matches
                            .iter()
                            .map(|public| own().chain(public.iter().cloned()).collect()),
                    ),
                    None if kind == JoinKind::Left => joined.push(
                        own()
                            .chain(std::iter::repeat_n(Value::Null, width))
                            .collect(),
                    ),
                    None => {}
                }
                if joined.len() <= MAX_EVALUATIONS {
                    Ok(())
                } else {
                    Err(too_many_combinations())
                }
            })
            .ok()?;
            Some((atoms, joined))
        });
        let fresh = match joined {
            Some((atoms, rows)) if !rows.is_empty() => {
                let fresh = self.add(Source::of_rows(rows));
                let (source, _) = self.atoms[fresh[0]];
                // The private side's atoms now live in the joined source, so that only pairs
                // which belong together are groups.
                for (field, atom) in atoms.iter().enumerate() {
                    self.atoms[*atom] = (source, field);
                }
                fresh[atoms.len()..].to_vec()
            }
            Some(_) | None => {
                let nulls = (kind == JoinKind::Left).then(|| vec![Value::Null; width]);
                let rows: Vec<_> = rows.iter().cloned().chain(nulls).collect();
                if rows.len() > MAX_EVALUATIONS {
                    vec![]
                } else {
                    self.add(Source::of_rows(rows))
                }
            }
        };
        let mut symbols: Vec<Option<Expression>> = fresh
            .into_iter()
            .map(|atom| Some(Expression::Column(atom)))
            .collect();
        symbols.resize(width, None);
        Ok(PublicMatches { symbols, most })
    }
}
