//! The closed language of what may be asked. What it cannot say cannot run.
//!
//! A [`Query`] is lowered from a hostile plan, analysed, and rebuilt into the plan that runs, so
//! what was analysed is what runs. Columns are positions, so that two questions which differ in
//! aliases only are the same question.

mod canonical;
pub mod date;
mod evaluate;
mod expression;
mod known;
mod relation;
mod types;
mod window;

pub use canonical::QuestionHash;
pub use expression::{
    Arithmetic, Comparison, DateUnit, Expression, Function, INTEGER_TO_FLOAT_EXACT,
};
pub use relation::{
    Aggregate, JoinKind, Matching, Pair, PersonAggregate, PersonFunction, Query, Relation, Spread,
};
pub use types::TypeError;
pub use window::{Bound, Frame, FrameUnit, SortKey, Window, WindowColumn, WindowFunction};
