//! Trusted. Rows of two relations in the order of their units, brought together by person.
//!
//! Promise: nothing is said of a row on the left before all rows of its person on the right are there;
//! and each row on the left is met once, in its order. A person's rows on the left may come in several
//! parts: what a join says of a row on the left hangs on no other row on the left. So they are handed
//! on as they are read, without being copied.

use std::ops::Range;

use datafusion::{
    arrow::{array::RecordBatch, compute},
    common::{Result as EngineResult, internal_err},
};

use super::{
    operator::Batches,
    rows::Kind,
    sum::Last,
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
    /// The person of the last row that was read.
    last: Last,
    ended: bool,
}

impl Side {
    fn new(batches: Box<dyn Batches>, unit: usize) -> Self {
        Self {
            batches,
            unit,
            waiting: None,
            last: Last::default(),
            ended: true,
        }
    }

    fn start(&mut self, partition: usize) -> EngineResult<()> {
        self.waiting = None;
        self.last = Last::default();
        self.ended = false;
        self.batches.start(partition)
    }

    /// Adds the next batch to those rows that are left.
    fn read_on(&mut self) -> EngineResult<()> {
        let Some(next) = self.batches.next()? else {
            self.ended = true;
            return Ok(());
        };
        let units = Units::of(next.column(self.unit))?;
        if !units.rise() || !self.last.goes_on(units) {
            return internal_err!("rows are not sorted by the unit");
        }
        if let Some(last) = units.len().checked_sub(1) {
            self.last.set(units, last);
        }
        self.waiting = Some(match self.waiting.take() {
            Some(rest) => compute::concat_batches(&next.schema(), [&rest, &next])?,
            None => next,
        });
        Ok(())
    }

    /// The first rows, which go on waiting.
    fn first(&self, rows: usize) -> Option<RecordBatch> {
        let waiting = self.waiting.as_ref().filter(|_| rows > 0)?;
        Some(waiting.slice(0, rows))
    }

    /// Forgets the first rows.
    fn forget(&mut self, rows: usize) {
        if let Some(waiting) = self.waiting.take() {
            let left = waiting.num_rows() - rows;
            self.waiting = (left > 0).then(|| waiting.slice(rows, left));
        }
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
    /// Of the first `left` rows on the left all is known, from the first `right` on the right. Nobody needs
    /// the first `done` of these any more.
    Take {
        left: usize,
        right: usize,
        done: usize,
    },
    /// More rows are needed on the right, where nobody needs the first `done` any more.
    Read { done: usize },
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

    /// Takes the next rows on the left of whose persons all rows on the right are there; nothing at
    /// the end.
    ///
    /// # Errors
    /// Whatever fails.
    pub fn take_known(&mut self) -> EngineResult<Option<Meetings>> {
        loop {
            for side in [&mut self.left, &mut self.right] {
                while side.waiting.is_none() && !side.ended {
                    side.read_on()?;
                }
            }
            match self.step()? {
                Step::End => return Ok(None),
                Step::Take { left, right, done } => {
                    let rows = (self.left.first(left), self.right.first(right));
                    self.left.forget(left);
                    self.right.forget(done);
                    if let (Some(left), right) = rows {
                        return Ok(Some(self.meetings(left, right)));
                    }
                }
                Step::Read { done } => {
                    self.right.forget(done);
                    self.right.read_on()?;
                }
            }
        }
    }

    fn step(&self) -> EngineResult<Step> {
        let Some(left) = self.left.units()? else {
            return Ok(Step::End);
        };
        let Some(right) = self.right.units()? else {
            return Ok(if self.kind.keeps_unmatched() {
                Step::Take {
                    left: left.len(),
                    right: 0,
                    done: 0,
                }
            } else {
                Step::End
            });
        };
        if !right.alike(left) {
            return internal_err!("units of two types");
        }
        let last_right = right.len() - 1;
        let (known, there) = if self.right.ended {
            (left.len(), right.len())
        } else {
            // Of the last person on the right there may be more rows to come.
            (
                left.not_before(0, right, last_right),
                right.not_before(0, right, last_right),
            )
        };
        Ok(match known.checked_sub(1) {
            // Of the last person on the left there may be more rows to come, who meet the same ones.
            Some(last_left) => Step::Take {
                left: known,
                right: there,
                done: right.not_before(0, left, last_left),
            },
            None => Step::Read {
                done: right.not_before(0, left, 0),
            },
        })
    }

    fn meetings(&self, left: RecordBatch, right: Option<RecordBatch>) -> Meetings {
        Meetings {
            left,
            right,
            units: (self.left.unit, self.right.unit),
            unmatched: self.kind.keeps_unmatched(),
            meetings: None,
            next: (0, 0),
        }
    }
}

/// Rows of pairs, on the left (nothing: all of them, in their order) and on the right.
pub type SinglePairs = (Option<Vec<u32>>, Vec<u32>);

/// Rows of both sides of which all is known, and how far pairs are made of them.
#[derive(Debug)]
pub struct Meetings {
    /// The left side's.
    pub left: RecordBatch,
    /// The right side's; nothing if it has none of these persons.
    pub right: Option<RecordBatch>,
    /// Where the unit is, on the left and on the right.
    units: (usize, usize),
    /// Whether persons whom nobody meets are wanted.
    unmatched: bool,
    /// Who meets whom, once that is found.
    meetings: Option<Vec<Meeting>>,
    /// The next meeting, and the next of its rows on the left.
    next: (usize, usize),
}

impl Meetings {
    /// Who meets whom.
    ///
    /// # Errors
    /// If a side has no units.
    pub fn all(&mut self) -> EngineResult<&[Meeting]> {
        if self.meetings.is_none() {
            self.meetings = Some(match &self.right {
                Some(right) => meetings(
                    Units::of(self.left.column(self.units.0))?,
                    Units::of(right.column(self.units.1))?,
                    self.unmatched,
                ),
                None if self.unmatched => vec![Meeting {
                    left: 0..self.left.num_rows(),
                    right: 0..0,
                }],
                None => vec![],
            });
        }
        Ok(self.meetings.as_deref().unwrap_or_default())
    }

    /// The rows of all pairs, on the left and on the right, where each row on the left meets one at most and
    /// nobody is unmatched; nothing where it isn't so, or pairs were taken before.
    ///
    /// # Errors
    /// If a side has no units.
    pub fn take_single_pairs(&mut self) -> EngineResult<Option<SinglePairs>> {
        if let (Some(right), None) = (&self.right, &self.meetings) {
            let left = Units::of(self.left.column(self.units.0))?;
            let right = Units::of(right.column(self.units.1))?;
            if let Some(partners) = left.partners(right) {
                self.meetings = Some(vec![]);
                return Ok(Some((None, partners)));
            }
        }
        let next = self.next;
        let rows = self.left.num_rows();
        let meetings = self.all()?;
        let single = |meeting: &Meeting| meeting.right.len() == 1;
        if next != (0, 0) || meetings.is_empty() || !meetings.iter().all(single) {
            return Ok(None);
        }
        let mut right = Vec::with_capacity(rows);
        for meeting in meetings {
            right.resize(right.len() + meeting.left.len(), meeting.right.start as u32);
        }
        // Meetings are apart from each other, so as many rows as there are is all of them.
        let left = (right.len() < rows).then(|| {
            let rows = meetings.iter().flat_map(|meeting| meeting.left.clone());
            rows.map(|row| row as u32).collect()
        });
        self.next = (meetings.len(), 0);
        Ok(Some((left, right)))
    }

    /// Gives the next rows on the left with those that they meet, until the taker has enough. A
    /// row's pairs are never taken apart.
    ///
    /// # Errors
    /// If a side has no units.
    pub fn take_pairs(
        &mut self,
        mut take: impl FnMut(usize, Range<usize>) -> bool,
    ) -> EngineResult<()> {
        let mut next = self.next;
        let meetings = self.all()?;
        'taken: while let Some(meeting) = meetings.get(next.0) {
            while meeting.left.start + next.1 < meeting.left.end {
                let row = meeting.left.start + next.1;
                next.1 += 1;
                if !take(row, meeting.right.clone()) {
                    break 'taken;
                }
            }
            next = (next.0 + 1, 0);
        }
        self.next = next;
        Ok(())
    }
}
