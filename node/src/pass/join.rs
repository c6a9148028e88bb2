//! Trusted. Two relations of a pass joined on the unit, both in its order.
//!
//! Promise: the pairs of rows of one person for which the condition holds, and for the other kinds
//! what they say of the left side's rows. Rows come from [`Sides`].

use std::{collections::BTreeSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, BooleanArray, BooleanBufferBuilder, RecordBatch, UInt32Array},
        buffer::BooleanBuffer,
        compute,
        datatypes::{Schema, SchemaRef},
    },
    common::{Result as EngineResult, internal_err},
    execution::SessionState,
};

use super::{
    evaluate::Evaluator,
    given_up::GivenUp,
    meet::{Meetings, Sides},
    operator::{Batches, Operator, batch_of},
    rows::{Kind, Rows, names},
};

/// Pairs that are looked at together, about.
const PAIRS: usize = 1 << 14;

/// A join, the same for all partitions.
#[derive(Debug)]
pub struct Join {
    kind: Kind,
    left: Operator,
    right: Operator,
    /// Where the unit is, on the left and on the right.
    units: (usize, usize),
    /// Columns of pairs, on the left and on the right: the wanted ones, and the condition's.
    pairs: (Vec<usize>, Vec<usize>),
    pair_schema: SchemaRef,
    condition: Option<Evaluator>,
    /// The wanted columns: of pairs, or of the left side's where pairs don't come out.
    keep: Vec<usize>,
    schema: SchemaRef,
}

impl Join {
    /// A join with the columns of these names.
    ///
    /// # Errors
    /// If the engine refuses an expression.
    pub fn new(rows: &Rows, needed: &BTreeSet<String>, state: &SessionState) -> EngineResult<Self> {
        let Rows::Join {
            kind,
            left,
            right,
            units,
            condition,
        } = rows
        else {
            return internal_err!("not a join");
        };
        let mut of_pairs: BTreeSet<String> = match kind {
            Kind::Inner | Kind::Left => needed.clone(),
            Kind::Semi | Kind::Anti => BTreeSet::new(),
        };
        if let Some(condition) = condition {
            of_pairs.extend(names(condition).into_iter().map(str::to_owned));
        }
        let side = |rows: &Rows, unit: &String, more: &BTreeSet<String>| {
            let mut needed = of_pairs.clone();
            needed.insert(unit.clone());
            needed.extend(more.iter().cloned());
            Operator::new(rows, &needed, state)
        };
        let left = side(left, &units.0, needed)?;
        let right = side(right, &units.1, &BTreeSet::new())?;
        let places = |side: &Operator, names: &BTreeSet<String>| -> Vec<usize> {
            (0..side.schema().fields().len())
                .filter(|column| names.contains(side.schema().field(*column).name()))
                .collect()
        };
        let pairs = (places(&left, &of_pairs), places(&right, &of_pairs));
        let nullable = |side: &Operator, places: &[usize]| -> Vec<_> {
            let field = |place: &usize| side.schema().field(*place).clone().with_nullable(true);
            places.iter().map(field).collect()
        };
        let fields = [nullable(&left, &pairs.0), nullable(&right, &pairs.1)].concat();
        let pair_schema = Arc::new(Schema::new(fields));
        let condition = match condition {
            Some(condition) => Some(Evaluator::condition(condition, &pair_schema, state)?),
            None => None,
        };
        let (keep, schema) = match kind {
            Kind::Inner | Kind::Left => {
                let keep: Vec<usize> = (0..pair_schema.fields().len())
                    .filter(|column| needed.contains(pair_schema.field(*column).name()))
                    .collect();
                let schema = Arc::new(pair_schema.project(&keep)?);
                (keep, schema)
            }
            Kind::Semi | Kind::Anti => {
                let keep = places(&left, needed);
                let schema = Arc::new(left.schema().project(&keep)?);
                (keep, schema)
            }
        };
        let units = (left.position(&units.0)?, right.position(&units.1)?);
        let type_of = |side: &Operator, unit: usize| side.schema().field(unit).data_type().clone();
        if type_of(&left, units.0) != type_of(&right, units.1) {
            return internal_err!("units of two types");
        }
        Ok(Self {
            kind: *kind,
            units,
            left,
            right,
            pairs,
            pair_schema,
            condition,
            keep,
            schema,
        })
    }

    /// The columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }
}

/// A join at work.
#[derive(Debug)]
pub struct RunningJoin {
    kind: Kind,
    sides: Sides,
    pairs: (Vec<usize>, Vec<usize>),
    pair_schema: SchemaRef,
    condition: Option<Evaluator>,
    keep: Vec<usize>,
    schema: SchemaRef,
    at_hand: Option<Meetings>,
    given_up: GivenUp,
}

impl RunningJoin {
    /// For one thread.
    #[must_use]
    pub fn new(join: &Join, given_up: &GivenUp) -> Self {
        let side = |side: &Operator, unit: usize| (side.batches(given_up), unit);
        Self {
            kind: join.kind,
            sides: Sides::new(
                join.kind,
                side(&join.left, join.units.0),
                side(&join.right, join.units.1),
            ),
            pairs: join.pairs.clone(),
            pair_schema: Arc::clone(&join.pair_schema),
            condition: join.condition.clone(),
            keep: join.keep.clone(),
            schema: Arc::clone(&join.schema),
            at_hand: None,
            given_up: given_up.clone(),
        }
    }

    /// Columns of pairs: of a row on the left, and of one on the right or of NULLs. No rows on the left
    /// are all of them, in their order.
    fn columns(
        &self,
        met: &Meetings,
        left: Option<&UInt32Array>,
        right: &UInt32Array,
    ) -> EngineResult<Vec<ArrayRef>> {
        let mut columns = vec![];
        let left = left.filter(|left| {
            left.len() != met.left.num_rows()
                || left
                    .values()
                    .iter()
                    .enumerate()
                    .fold(false, |other, (row, index)| other | (row as u32 != *index))
        });
        for place in &self.pairs.0 {
            let column = met.left.column(*place);
            columns.push(match left {
                Some(left) => compute::take(column, left, None)?,
                None => Arc::clone(column),
            });
        }
        for (place, field) in self
            .pairs
            .1
            .iter()
            .zip(self.pair_schema.fields().iter().skip(self.pairs.0.len()))
        {
            columns.push(match &met.right {
                Some(rows) => compute::take(rows.column(*place), right, None)?,
                None => datafusion::arrow::array::new_null_array(field.data_type(), right.len()),
            });
        }
        Ok(columns)
    }

    fn pairs_that_hold(
        &mut self,
        met: &Meetings,
        left: &[u32],
        right: &[u32],
    ) -> EngineResult<Option<BooleanBuffer>> {
        let Some(mut condition) = self.condition.take() else {
            return Ok(None);
        };
        let left = UInt32Array::from(left.to_vec());
        let right = UInt32Array::from(right.to_vec());
        let columns = self.columns(met, Some(&left), &right)?;
        let pairs = batch_of(&self.pair_schema, columns, left.len())?;
        let holds = condition.truths(&pairs);
        self.condition = Some(condition);
        holds.map(Some)
    }

    /// The next pairs of an inner or left join.
    fn next_pairs(&mut self, met: &mut Meetings) -> EngineResult<Option<RecordBatch>> {
        if self.condition.is_none()
            && let Some((left, right)) = met.take_single_pairs()?
        {
            let left = left.map(UInt32Array::from);
            return self.pairs(met, left.as_ref(), &UInt32Array::from(right));
        }
        let (mut left, mut right): (Vec<u32>, Vec<u32>) = (vec![], vec![]);
        let mut alone: Vec<u32> = vec![];
        met.take_pairs(|row, others| {
            if others.is_empty() {
                alone.push(row as u32);
            } else {
                left.extend(std::iter::repeat_n(row as u32, others.len()));
                right.extend(others.map(|other| other as u32));
            }
            left.len() + alone.len() < PAIRS
        })?;
        if left.is_empty() && alone.is_empty() {
            return Ok(None);
        }
        let holds = if left.is_empty() {
            None
        } else {
            self.pairs_that_hold(met, &left, &right)?
        };
        let (left, right) = match (self.kind, holds) {
            (Kind::Left, holds) => with_unmatched(&left, &right, &alone, holds.as_ref()),
            (Kind::Inner | Kind::Semi | Kind::Anti, Some(holds)) => {
                let kept = |rows: &[u32]| -> UInt32Array {
                    holds.set_indices().map(|pair| Some(rows[pair])).collect()
                };
                (kept(&left), kept(&right))
            }
            (Kind::Inner | Kind::Semi | Kind::Anti, None) => {
                (UInt32Array::from(left), UInt32Array::from(right))
            }
        };
        self.pairs(met, Some(&left), &right)
    }

    /// The wanted columns of pairs.
    fn pairs(
        &self,
        met: &Meetings,
        left: Option<&UInt32Array>,
        right: &UInt32Array,
    ) -> EngineResult<Option<RecordBatch>> {
        let columns = self.columns(met, left, right)?;
        let columns = self.keep.iter().map(|place| Arc::clone(&columns[*place]));
        Ok(Some(batch_of(
            &self.schema,
            columns.collect(),
            right.len(),
        )?))
    }

    /// The left side's rows of a semi or anti join.
    fn left_rows(&mut self, met: &mut Meetings) -> EngineResult<RecordBatch> {
        let rows = met.left.num_rows();
        let mut matched = BooleanBufferBuilder::new(rows);
        matched.append_n(rows, false);
        if self.condition.is_none() {
            for meeting in met.all()? {
                if !meeting.right.is_empty() {
                    for row in meeting.left.clone() {
                        matched.set_bit(row, true);
                    }
                }
            }
        } else {
            loop {
                self.given_up.check()?;
                let (mut left, mut right): (Vec<u32>, Vec<u32>) = (vec![], vec![]);
                met.take_pairs(|row, others| {
                    left.extend(std::iter::repeat_n(row as u32, others.len()));
                    right.extend(others.map(|other| other as u32));
                    left.len() < PAIRS
                })?;
                if left.is_empty() {
                    break;
                }
                if let Some(holds) = self.pairs_that_hold(met, &left, &right)? {
                    for pair in holds.set_indices() {
                        matched.set_bit(left[pair] as usize, true);
                    }
                }
            }
        }
        let matched = matched.finish();
        let kept = match self.kind {
            Kind::Anti => !&matched,
            Kind::Semi | Kind::Inner | Kind::Left => matched,
        };
        let rows = kept.count_set_bits();
        let kept = BooleanArray::new(kept, None);
        let columns = self
            .keep
            .iter()
            .map(|place| Ok(compute::filter(met.left.column(*place), &kept)?))
            .collect::<EngineResult<_>>()?;
        batch_of(&self.schema, columns, rows)
    }
}

/// Pairs that hold, and each row on the left without one beside NULL, in the left side's order.
fn with_unmatched(
    left: &[u32],
    right: &[u32],
    alone: &[u32],
    holds: Option<&BooleanBuffer>,
) -> (UInt32Array, UInt32Array) {
    let mut rows: Vec<(u32, Option<u32>)> = vec![];
    let mut pair = 0;
    while pair < left.len() {
        let row = left[pair];
        let before = rows.len();
        while pair < left.len() && left[pair] == row {
            if holds.is_none_or(|holds| holds.value(pair)) {
                rows.push((row, Some(right[pair])));
            }
            pair += 1;
        }
        if rows.len() == before {
            rows.push((row, None));
        }
    }
    rows.extend(alone.iter().map(|row| (*row, None)));
    if !alone.is_empty() {
        // Stable: a row's pairs stay together.
        rows.sort_by_key(|(row, _)| *row);
    }
    (
        UInt32Array::from_iter_values(rows.iter().map(|(row, _)| *row)),
        rows.iter().map(|(_, other)| *other).collect(),
    )
}

impl Batches for RunningJoin {
    fn start(&mut self, partition: usize) -> EngineResult<()> {
        self.at_hand = None;
        self.sides.start(partition)
    }

    fn next(&mut self) -> EngineResult<Option<RecordBatch>> {
        loop {
            let mut met = match self.at_hand.take() {
                Some(met) => met,
                None => match self.sides.take_known()? {
                    Some(met) => met,
                    None => return Ok(None),
                },
            };
            self.given_up.check()?;
            let rows = match self.kind {
                Kind::Inner | Kind::Left => {
                    let pairs = self.next_pairs(&mut met)?;
                    if pairs.is_some() {
                        self.at_hand = Some(met);
                    }
                    pairs
                }
                Kind::Semi | Kind::Anti => Some(self.left_rows(&mut met)?),
            };
            if let Some(rows) = rows
                && rows.num_rows() > 0
            {
                return Ok(Some(rows));
            }
        }
    }
}
