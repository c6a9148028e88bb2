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

use super::shape::Shape;
use crate::{
    policy::{ColumnPolicy, Domain},
    question::{Expression, JoinKind},
};

/// Rows over which one image is evaluated, at most.
const MAX_EVALUATIONS: usize = 1_000_000;
/// Parts of expressions evaluated for one question in all, at most: some seconds of work.
const MAX_WORK: usize = 50_000_000;
/// A range with more members than this is no list of public values.
const MAX_RANGE: i64 = 20_000;

/// A finite table of public values.
#[derive(Debug, Clone)]
pub struct Source {
    rows: Vec<Vec<Value>>,
}

impl Source {
    /// The values that a column can have, if they are public and finite.
    #[must_use]
    pub fn of_column(column: &ColumnPolicy) -> Option<Self> {
        let members: Vec<Value> = match &column.domain {
            Domain::Values(values) => values.clone(),
            Domain::Range(Value::Integer(low), Value::Integer(high))
                if column.data_type == DataType::Integer
                    && high
                        .checked_sub(*low)
                        .is_some_and(|width| width < MAX_RANGE) =>
            {
                (*low..=*high).map(Value::Integer).collect()
            }
            Domain::Range(Value::Date(low), Value::Date(high))
                if i64::from(*high) - i64::from(*low) < MAX_RANGE =>
            {
                (*low..=*high).map(Value::Date).collect()
            }
            Domain::Unknown if column.data_type == DataType::Boolean => {
                vec![Value::Boolean(false), Value::Boolean(true)]
            }
            Domain::Unknown | Domain::Range(_, _) => return None,
        };
        let nulls = column.nulls.then_some(Value::Null);
        Some(Self {
            rows: members
                .into_iter()
                .chain(nulls)
                .map(|value| vec![value])
                .collect(),
        })
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
        let fields = source.rows.first().map_or(0, Vec::len);
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
        let sources: Vec<usize> = sources.iter().copied().collect();
        let count = sources
            .iter()
            .try_fold(1usize, |product, source| {
                product.checked_mul(self.sources[*source].rows.len())
            })
            .filter(|count| *count <= MAX_EVALUATIONS);
        let sizes = evaluated
            .iter()
            .map(|expression| expression.size_within(MAX_WORK))
            .try_fold(1usize, |sum, size| sum.checked_add(size?));
        let work = count.zip(sizes).map_or(usize::MAX, |(count, sizes)| {
            count.saturating_mul(sizes.saturating_add(self.atoms.len()))
        });
        let work = self.work.get().saturating_add(work);
        self.work.set(work);
        let Some(count) = count.filter(|_| work <= MAX_WORK) else {
            return Err(too_many_combinations());
        };
        let mut row = vec![Value::Null; self.atoms.len()];
        for mut index in 0..count {
            let mut chosen = BTreeMap::new();
            for source in sources.iter().rev() {
                let rows = &self.sources[*source].rows;
                chosen.insert(*source, &rows[index % rows.len()]);
                index /= rows.len();
            }
            for (atom, (source, field)) in self.atoms.iter().enumerate() {
                if let Some(values) = chosen.get(source) {
                    row[atom].clone_from(&values[*field]);
                }
            }
            visit(&row)?;
        }
        Ok(())
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
        let mut groups: Vec<Vec<Value>> = vec![vec![Value::Null; keys.len()]];
        for (sources, members) in parts {
            let relevant: Vec<&Expression> = constraints
                .iter()
                .filter(|constraint| self.sources_of(&[constraint]).is_subset(&sources))
                .collect();
            let mut image = BTreeSet::new();
            let evaluated: Vec<&Expression> = members
                .iter()
                .map(|key| &keys[*key])
                .chain(relevant.iter().copied())
                .collect();
            self.combinations(&sources, &evaluated, |row| {
                let meets =
                    |constraint: &&Expression| constraint.evaluate(row) == Value::Boolean(true);
                if relevant.iter().all(meets) {
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
        let mut rows = self.groups(std::slice::from_ref(symbol), &[]).ok()?;
        if rows.last().is_none_or(|row| !row[0].is_null()) {
            rows.push(vec![Value::Null]);
        }
        self.add(Source { rows })
            .first()
            .copied()
            .map(Expression::Column)
    }

    /// A new atom for a column of a union.
    pub fn union(&mut self, branches: &[(&Expression, &[Expression])]) -> Option<Expression> {
        let mut values = BTreeSet::new();
        for (symbol, constraints) in branches {
            values.extend(
                self.groups(std::slice::from_ref(*symbol), constraints)
                    .ok()?,
            );
        }
        let rows: Vec<Vec<Value>> = values.into_iter().collect();
        self.add(Source { rows })
            .first()
            .copied()
            .map(Expression::Column)
    }

    /// Joins the sources behind the private side's join keys with the rows of a public relation,
    /// so that the public columns follow from the same atoms as the keys.
    ///
    /// # Errors
    /// If the public side's keys are ill-typed.
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
        let keys: Option<Vec<Expression>> = on.iter().map(|(key, _)| private.symbol(key)).collect();
        let joined = keys.filter(|keys| !keys.is_empty()).and_then(|keys| {
            let sources = self.sources_of(&keys.iter().collect::<Vec<_>>());
            let atoms: Vec<usize> = (0..self.atoms.len())
                .filter(|atom| sources.contains(&self.atoms[*atom].0))
                .collect();
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
                let fresh = self.add(Source { rows });
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
                    self.add(Source { rows })
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
