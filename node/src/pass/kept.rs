//! Trusted. What the pass of a search for bounds found out of each row, kept for the pass of the answer
//! that comes right after it, which then reads nothing.
//!
//! Promise: what is kept gives an answer what a pass over the tables would give it. It is known by the question, its
//! groups and the columns that amounts are made of; amounts themselves are made anew, since their
//! units follow from the bounds. The tables are those that were opened, which don't change while a
//! node runs. What is kept stays within a limit of bytes that the engine's memory grants, for some seconds,
//! and is taken once; without it nothing but time is lost.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use datafusion::{
    arrow::{array::RecordBatch, datatypes::SchemaRef},
    common::Result as EngineResult,
    execution::memory_pool::{
        GreedyMemoryPool, MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation,
    },
};
use skerry_privacy::{
    contribution::NO_GROUP,
    question::{Query, QuestionHash},
};
use skerry_proto::Value;

use super::{narrow::Narrow, operator::batch_of};

/// All that a node keeps or is about to, at most: one part in so many of the engine's memory, so that questions always
/// have the rest.
const PART_OF_MEMORY: usize = 2;
/// The answer is asked for as soon as the bounds are found.
const KEPT_FOR: Duration = Duration::from_secs(10);

/// What is kept of a node's searches.
#[derive(Debug, Default)]
pub struct Kept {
    searches: Mutex<VecDeque<Search>>,
    /// Of all searches, also those that run.
    share: OnceLock<Arc<dyn MemoryPool>>,
}

#[derive(Debug)]
struct Search {
    source: Source,
    until: Instant,
    rows: KeptRows,
}

/// Which rows they are, and what is known of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    question: QuestionHash,
    columns: SchemaRef,
}

/// What each thread found, whole persons, in the order in which it went.
#[derive(Debug)]
pub struct KeptRows {
    /// By thread.
    pub threads: Vec<Vec<KeptBatch>>,
    /// Given back when the rows are.
    _memory: Memory,
}

/// What rows take, of the engine's memory and of the share of it.
#[derive(Debug)]
struct Memory {
    engine: MemoryReservation,
    share: MemoryReservation,
}

/// Some rows.
#[derive(Debug)]
pub struct KeptBatch {
    groups: Codes,
    /// How many rows each person has.
    persons: Codes,
    rows: usize,
    /// Whether the first person's rows go on from the batch before.
    pub goes_on: bool,
    columns: Vec<Narrow>,
}

/// Numbers in as many bytes as they need; the greatest one stands for [`NO_GROUP`].
#[derive(Debug)]
enum Codes {
    One(Vec<u8>),
    Two(Vec<u16>),
    Four(Vec<u32>),
}

impl Source {
    /// A question's rows in these groups.
    #[must_use]
    pub fn new(query: &Query, groups: &[Vec<Value>], columns: &SchemaRef) -> Self {
        Self {
            question: QuestionHash::of(query, &[format!("{groups:?}").as_bytes()]),
            columns: Arc::clone(columns),
        }
    }
}

impl Kept {
    /// Keeps a search's rows for a while, if there is room.
    pub fn keep(self: &Arc<Self>, source: Source, rows: KeptRows) {
        let until = Instant::now() + KEPT_FOR;
        {
            let mut searches = self.searches();
            searches.retain(|search| search.source != source);
            searches.push_back(Search {
                source,
                until,
                rows,
            });
        }
        let kept: Weak<Self> = Arc::downgrade(self);
        tokio::spawn(async move {
            tokio::time::sleep_until(until.into()).await;
            if let Some(kept) = kept.upgrade() {
                kept.forget(until);
            }
        });
    }

    /// Forgets the searches whose time is over.
    fn forget(&self, now: Instant) {
        self.searches().retain(|search| search.until > now);
    }

    /// Takes the rows of a search, if they are still there.
    #[must_use]
    pub fn take(&self, source: &Source) -> Option<KeptRows> {
        let mut searches = self.searches();
        let place = searches
            .iter()
            .position(|search| search.source == *source)?;
        searches.remove(place).map(|search| search.rows)
    }

    /// How many searches are kept.
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.searches().len()
    }

    fn searches(&self) -> std::sync::MutexGuard<'_, VecDeque<Search>> {
        self.searches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rows of a search while it runs, over all its threads.
#[derive(Debug)]
pub struct Keeping {
    memory: Memory,
    too_many: AtomicBool,
    groups: usize,
}

impl Keeping {
    /// Nothing yet, of so many groups.
    #[must_use]
    pub fn new(kept: &Kept, pool: &Arc<dyn MemoryPool>, groups: usize) -> Self {
        let share = kept.share.get_or_init(|| {
            let bytes = match pool.memory_limit() {
                MemoryLimit::Finite(bytes) => bytes,
                MemoryLimit::Infinite | MemoryLimit::Unknown => usize::MAX,
            };
            Arc::new(GreedyMemoryPool::new(bytes / PART_OF_MEMORY))
        });
        let reservation = |pool| MemoryConsumer::new("rows of a search for bounds").register(pool);
        Self {
            memory: Memory {
                engine: reservation(pool),
                share: reservation(share),
            },
            too_many: AtomicBool::new(false),
            groups,
        }
    }

    /// Some more rows for what a thread has; once there are too many, none are kept.
    pub fn add(
        &self,
        thread: &mut Vec<KeptBatch>,
        groups: &[u32],
        ends: &[usize],
        goes_on: bool,
        columns: &RecordBatch,
    ) {
        if !self.too_many.load(Ordering::Relaxed) {
            let starts = std::iter::once(&0).chain(ends);
            let persons: Vec<u32> = ends
                .iter()
                .zip(starts)
                .map(|(end, start)| (end - start) as u32)
                .collect();
            let most_rows = persons.iter().fold(0, |most, rows| most.max(*rows));
            let batch = KeptBatch {
                groups: Codes::new(groups, self.groups),
                persons: Codes::new(&persons, most_rows as usize + 1),
                rows: columns.num_rows(),
                goes_on,
                columns: columns.columns().iter().map(Narrow::new).collect(),
            };
            let bytes = batch.bytes();
            if self.memory.grow(bytes) {
                thread.push(batch);
                return;
            }
            self.too_many.store(true, Ordering::Relaxed);
        }
        thread.clear();
    }

    /// What all threads have; nothing if it was too much.
    #[must_use]
    pub fn finish(mut self, threads: Vec<Vec<KeptBatch>>) -> Option<KeptRows> {
        (!*self.too_many.get_mut()).then_some(KeptRows {
            threads,
            _memory: self.memory,
        })
    }
}

impl Memory {
    /// False if there is no room.
    fn grow(&self, bytes: usize) -> bool {
        self.share.try_grow(bytes).is_ok() && self.engine.try_grow(bytes).is_ok()
    }
}

impl KeptBatch {
    fn bytes(&self) -> usize {
        let columns: usize = self.columns.iter().map(Narrow::bytes).sum();
        size_of::<Self>() + self.groups.bytes() + self.persons.bytes() + columns
    }

    /// Writes the rows' groups and the persons' ends over these.
    pub fn write(&self, groups: &mut Vec<u32>, ends: &mut Vec<usize>) {
        groups.clear();
        self.groups.write(groups, |group| group);
        ends.clear();
        let mut end = 0;
        self.persons.write(ends, |rows| {
            end += rows as usize;
            end
        });
    }

    /// What amounts are made of.
    ///
    /// # Errors
    /// If the columns are others.
    pub fn columns(&self, schema: &SchemaRef) -> EngineResult<RecordBatch> {
        let columns = self.columns.iter().map(Narrow::column).collect();
        batch_of(schema, columns, self.rows)
    }
}

impl Codes {
    fn new(numbers: &[u32], count: usize) -> Self {
        // Truncated, NO_GROUP is the greatest of the smaller numbers too, and no number is that one.
        if count <= usize::from(u8::MAX) {
            Self::One(numbers.iter().map(|number| *number as u8).collect())
        } else if count <= usize::from(u16::MAX) {
            Self::Two(numbers.iter().map(|number| *number as u16).collect())
        } else {
            Self::Four(numbers.to_vec())
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::One(numbers) => size_of_val(&**numbers),
            Self::Two(numbers) => size_of_val(&**numbers),
            Self::Four(numbers) => size_of_val(&**numbers),
        }
    }

    /// Appends what is made of each number.
    fn write<T>(&self, to: &mut Vec<T>, mut made: impl FnMut(u32) -> T) {
        let mut made =
            |number: u32, none: u32| made(if number == none { NO_GROUP } else { number });
        match self {
            Self::One(numbers) => {
                to.extend(
                    numbers
                        .iter()
                        .map(|number| made((*number).into(), u8::MAX.into())),
                );
            }
            Self::Two(numbers) => {
                to.extend(
                    numbers
                        .iter()
                        .map(|number| made((*number).into(), u16::MAX.into())),
                );
            }
            Self::Four(numbers) => to.extend(numbers.iter().map(|number| made(*number, NO_GROUP))),
        }
    }
}

#[cfg(test)]
mod tests {
    use datafusion::{
        arrow::{
            array::RecordBatchOptions,
            datatypes::{Field, Schema},
        },
        execution::memory_pool::GreedyMemoryPool,
    };
    use skerry_privacy::question::Relation;

    use super::*;

    fn columns(rows: usize) -> RecordBatch {
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap()
    }

    fn pool(bytes: usize) -> Arc<dyn MemoryPool> {
        Arc::new(GreedyMemoryPool::new(bytes))
    }

    #[test]
    fn groups_and_ends_come_back_as_they_were() {
        for (count, groups) in [
            (255, vec![0, 254, NO_GROUP, 3]),
            (256, vec![0, 255, NO_GROUP, 3]),
            (65_535, vec![0, 65_534, NO_GROUP, 3]),
            (65_536, vec![0, 65_535, NO_GROUP, 3]),
        ] {
            let pool = pool(100_000);
            let keeping = Keeping::new(&Kept::default(), &pool, count);
            let mut thread = vec![];
            keeping.add(&mut thread, &groups, &[1, 4], true, &columns(4));
            let kept = keeping.finish(vec![thread]).unwrap();
            let batch = &kept.threads[0][0];
            let (mut found, mut ends) = (vec![7], vec![7]);
            batch.write(&mut found, &mut ends);
            assert_eq!((found, ends), (groups, vec![1, 4]));
            assert!(batch.goes_on && pool.reserved() > 0);
        }
    }

    #[test]
    fn what_the_memory_does_not_grant_is_not_kept() {
        let pool = pool(20_000);
        let all = Kept::default();
        let keeping = Keeping::new(&all, &pool, 300);
        let mut thread = vec![];
        keeping.add(&mut thread, &[0; 1_000], &[1_000], false, &columns(1_000));
        assert_eq!(thread.len(), 1);
        keeping.add(&mut thread, &[0; 9_000], &[9_000], false, &columns(9_000));
        assert!(thread.is_empty());
        keeping.add(&mut thread, &[0], &[1], false, &columns(1));
        assert!(thread.is_empty() && keeping.finish(vec![thread]).is_none());
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn searches_at_once_share_half_of_the_memory() {
        let pool = pool(20_000);
        let all = Kept::default();
        let mut threads = [vec![], vec![]];
        let searches = [0, 1].map(|_| Keeping::new(&all, &pool, 300));
        for (keeping, thread) in searches.iter().zip(&mut threads) {
            keeping.add(thread, &[0; 3_000], &[3_000], false, &columns(3_000));
        }
        assert_eq!(threads.each_ref().map(Vec::len), [1, 0]);
        assert!(pool.reserved() <= 10_000);
        drop(searches);
        let keeping = Keeping::new(&all, &pool, 300);
        keeping.add(
            &mut threads[1],
            &[0; 3_000],
            &[3_000],
            false,
            &columns(3_000),
        );
        assert_eq!(threads[1].len(), 1);
    }

    #[tokio::test]
    async fn what_is_kept_is_taken_once_and_forgotten_soon() {
        let query = |table: &str| Query {
            input: Relation::Table {
                table: table.to_owned(),
                columns: vec![],
            },
            keys: vec![],
            aggregates: vec![],
        };
        let groups = [vec![Value::Integer(1)]];
        let schema: SchemaRef = Arc::new(Schema::empty());
        let source = |table: &str| Source::new(&query(table), &groups, &schema);
        let other_columns: SchemaRef = Arc::new(Schema::new(vec![Field::new(
            "c",
            datafusion::arrow::datatypes::DataType::Int64,
            true,
        )]));
        let pool = pool(10_000);
        let kept = Arc::new(Kept::default());
        let rows = || Keeping::new(&kept, &pool, 1).finish(vec![vec![]]).unwrap();
        kept.keep(source("a"), rows());
        kept.keep(source("a"), rows());
        assert_eq!(kept.count(), 1);
        for other in [
            source("b"),
            Source::new(&query("a"), &[], &schema),
            Source::new(&query("a"), &groups, &other_columns),
        ] {
            assert!(kept.take(&other).is_none());
        }
        assert!(kept.take(&source("a")).is_some());
        assert!(kept.take(&source("a")).is_none());
        kept.keep(source("a"), rows());
        kept.forget(Instant::now());
        assert_eq!(kept.count(), 1);
        kept.forget(Instant::now() + KEPT_FOR);
        assert_eq!(kept.count(), 0);
        assert_eq!(pool.reserved(), 0);
    }
}
