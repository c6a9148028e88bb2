//! Trusted. Rows of two relations, taken person by person.
//!
//! Promise: nothing is said of a person before all rows of the person are there, on both sides; and
//! each person is met once.

use std::ops::Range;

use datafusion::{
    arrow::{array::RecordBatch, compute},
    common::{Result as EngineResult, internal_err},
};

use super::{
    operator::Batches,
    rows::Kind,
    units::{Meeting, Units, meetings},
};

/// Two relations in the order of their units.
#[derive(Debug)]
pub struct Sides {
    kind: Kind,
    left: Side,
    right: Side,
}

/// One side's rows that nothing was said of yet.
#[derive(Debug)]
struct Side {
    batches: Box<dyn Batches>,
    unit: usize,
    waiting: Option<RecordBatch>,
    ended: bool,
}

impl Side {
    fn new(batches: Box<dyn Batches>, unit: usize) -> Self {
        Self {
            batches,
            unit,
            waiting: None,
            ended: true,
        }
    }

    fn start(&mut self, partition: usize) -> EngineResult<()> {
        self.waiting = None;
        self.ended = false;
        self.batches.start(partition)
    }

    /// Adds the next batch to those rows that are left.
    fn read_on(&mut self) -> EngineResult<()> {
        let Some(next) = self.batches.next()? else {
            self.ended = true;
            return Ok(());
        };
        let together = match self.waiting.take() {
            Some(rest) => compute::concat_batches(&next.schema(), [&rest, &next])?,
            None => next,
        };
        if !Units::of(together.column(self.unit))?.rise() {
            return internal_err!("rows are not sorted by the unit");
        }
        self.waiting = Some(together);
        Ok(())
    }

    /// Takes the first rows; nothing if there are none to take.
    fn take(&mut self, rows: usize) -> Option<RecordBatch> {
        if rows == 0 {
            return None;
        }
        let waiting = self.waiting.take()?;
        let left = waiting.num_rows() - rows;
        if left > 0 {
            self.waiting = Some(waiting.slice(rows, left));
        }
        Some(waiting.slice(0, rows))
    }

    fn units(&self) -> EngineResult<Option<Units<'_>>> {
        let Some(waiting) = &self.waiting else {
            return Ok(None);
        };
        Units::of(waiting.column(self.unit)).map(Some)
    }
}

/// What is to be done, by the rows that wait.
enum Step {
    /// Nobody is left who counts.
    End,
    /// Of these many rows of each side all is known.
    Take(usize, usize),
    /// More rows are needed, of the left side, of the right side.
    Read(bool, bool),
}

impl Sides {
    /// Of a join of this kind. Units are at these places.
    #[must_use]
    pub fn new(
        kind: Kind,
        left: (Box<dyn Batches>, usize),
        right: (Box<dyn Batches>, usize),
    ) -> Self {
        Self {
            kind,
            left: Side::new(left.0, left.1),
            right: Side::new(right.0, right.1),
        }
    }

    /// Begins a partition.
    ///
    /// # Errors
    /// If a file is gone.
    pub fn start(&mut self, partition: usize) -> EngineResult<()> {
        self.left.start(partition)?;
        self.right.start(partition)
    }

    /// Takes the rows of all persons of whom both sides have all rows; nothing at the end.
    ///
    /// # Errors
    /// Whatever fails.
    pub fn take_whole_persons(&mut self) -> EngineResult<Option<Meetings>> {
        loop {
            for side in [&mut self.left, &mut self.right] {
                while side.waiting.is_none() && !side.ended {
                    side.read_on()?;
                }
            }
            match self.step()? {
                Step::End => return Ok(None),
                Step::Take(left, right) => {
                    let (left, right) = (self.left.take(left), self.right.take(right));
                    // What is on the right alone, nobody needs.
                    if let Some(left) = left {
                        return self.meetings(left, right).map(Some);
                    }
                }
                Step::Read(left, right) => {
                    if left {
                        self.left.read_on()?;
                    }
                    if right {
                        self.right.read_on()?;
                    }
                }
            }
        }
    }

    fn step(&self) -> EngineResult<Step> {
        let Some(left) = self.left.units()? else {
            return Ok(Step::End);
        };
        let right = self.right.units()?;
        if right.is_none() && !self.kind.keeps_unmatched() {
            return Ok(Step::End);
        }
        if right.is_some_and(|right| !right.alike(left)) {
            return internal_err!("units of two types");
        }
        // Of the last person on a side there may be more rows to come.
        let open_left = (!self.left.ended).then(|| (left, left.len() - 1));
        let open_right = right
            .filter(|_| !self.right.ended)
            .map(|right| (right, right.len() - 1));
        // Persons before this one are whole on both sides.
        let (bound, reads) = match (open_left, open_right) {
            (Some(one), Some(other)) => {
                let order = one.0.compare(one.1, other.0, other.1);
                let bound = if order.is_le() { one } else { other };
                (Some(bound), (order.is_le(), order.is_ge()))
            }
            (Some(open), None) => (Some(open), (true, false)),
            (None, Some(open)) => (Some(open), (false, true)),
            (None, None) => (None, (false, false)),
        };
        let whole = |units: Units<'_>| match bound {
            Some((bound, row)) => units.not_before(0, bound, row),
            None => units.len(),
        };
        Ok(match (whole(left), right.map_or(0, whole)) {
            (0, 0) => Step::Read(reads.0, reads.1),
            (left, right) => Step::Take(left, right),
        })
    }

    fn meetings(&self, left: RecordBatch, right: Option<RecordBatch>) -> EngineResult<Meetings> {
        let unmatched = self.kind.keeps_unmatched();
        let meetings = match &right {
            Some(right) => meetings(
                Units::of(left.column(self.left.unit))?,
                Units::of(right.column(self.right.unit))?,
                unmatched,
            ),
            None if unmatched => vec![Meeting {
                left: 0..left.num_rows(),
                right: 0..0,
            }],
            None => vec![],
        };
        Ok(Meetings {
            left,
            right,
            meetings,
            next: (0, 0),
        })
    }
}

/// Rows of both sides of which all is known, and how far pairs are made of them.
#[derive(Debug)]
pub struct Meetings {
    /// The left side's.
    pub left: RecordBatch,
    /// The right side's; nothing if it has none of these persons.
    pub right: Option<RecordBatch>,
    /// Who meets whom.
    pub meetings: Vec<Meeting>,
    /// The next meeting, and the next of its rows on the left.
    next: (usize, usize),
}

impl Meetings {
    /// The rows of all pairs, on the left and on the right, where each row on the left meets one at most and
    /// nobody is unmatched; nothing where it isn't so, or pairs were taken before. All rows on the left, in
    /// their order, are said by nothing.
    #[must_use]
    pub fn take_single_pairs(&mut self) -> Option<(Option<Vec<u32>>, Vec<u32>)> {
        let single = |meeting: &Meeting| meeting.right.len() == 1;
        if self.next != (0, 0) || self.meetings.is_empty() || !self.meetings.iter().all(single) {
            return None;
        }
        self.next = (self.meetings.len(), 0);
        let mut right = Vec::with_capacity(self.left.num_rows());
        for meeting in &self.meetings {
            right.resize(right.len() + meeting.left.len(), meeting.right.start as u32);
        }
        // Meetings are apart from each other, so as many rows as there are is all of them.
        if right.len() == self.left.num_rows() {
            return Some((None, right));
        }
        let rows = self
            .meetings
            .iter()
            .flat_map(|meeting| meeting.left.clone());
        Some((Some(rows.map(|row| row as u32).collect()), right))
    }

    /// Gives the next rows on the left with those that they meet, until the taker has enough. A
    /// row's pairs are never taken apart.
    pub fn take_pairs(&mut self, mut take: impl FnMut(usize, Range<usize>) -> bool) {
        while let Some(meeting) = self.meetings.get(self.next.0) {
            while meeting.left.start + self.next.1 < meeting.left.end {
                let row = meeting.left.start + self.next.1;
                self.next.1 += 1;
                if !take(row, meeting.right.clone()) {
                    return;
                }
            }
            self.next = (self.next.0 + 1, 0);
        }
    }
}
