//! Mistakes put in on purpose, so that the property test is seen to find what it is there for.
//!
//! Each is one that an implementation of the trusted core or of the node's execution could have.
//! Faults in relations take the place of single nodes of the reference, and their persons are
//! summed by the real [`BoundedSum`]; the others are in a second, plain sum ([`sum`]), which without
//! a fault is held against the real one.
//!
//! [`BoundedSum`]: skerry_privacy::contribution::BoundedSum

mod relations;
mod sum;

use skerry_privacy::analysis::Quote;

pub use sum::vector;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A person's vector isn't clipped.
    NoClip,
    /// Each cell is clipped, not the vector.
    ClipEachCell,
    /// A forgotten L0: each group's cells are clipped, however many groups a person is in.
    ClipEachGroup,
    /// Each row is clipped, however many rows a person has.
    ClipEachRow,
    /// The L2 norm is clipped where the noise is for the L1 norm.
    ClipOtherNorm,
    /// The norm's squares wrap in 64 bits, so that a large vector looks small.
    WrappedNorm,
    /// A wrapped sum: totals over persons wrap in 32 bits.
    WrappedTotals,
    /// Scaling rounds away from zero.
    ScaledUp,
    /// A NaN among the amounts makes the norm NaN, which isn't greater than the limit.
    NanPassesClip,
    /// The noise is for the norm, without the cell of clipped persons.
    ClippedCellUncovered,
    /// The totals count a person in two bins of a measure.
    TotalsInTwoBins,
    /// Rows aren't sorted by person: each run of rows is clipped as a person of its own.
    PersonInParts,
    /// The branches of a union are clipped one by one.
    BranchesApart,
    /// There are cells for those groups alone that have rows.
    GroupsOfData,
    /// Groups come in the order in which rows name them.
    GroupsInOrderOfRows,
    /// A join isn't on the unit, so a row multiplies with other persons' rows.
    JoinOffUnit,
    /// A semi join asks whether anybody has such a row.
    SemiOverAll,
    /// An aggregate per person is over all persons' rows, and the first one's.
    GroupedOverAll,
    /// LIMIT over all persons' rows.
    LimitOverAll,

    /// NULL contributes the range's lower end.
    NullClippedToBound,
    /// A clip before the expression: columns are clipped, what is computed of them isn't.
    ClipBeforeExpression,
    /// Values aren't clipped to their range.
    RangeForgotten,
    /// A person's own cells wrap in 32 bits before they are clipped.
    WrappedCells,
    /// A join that multiplies: each pair of a person's rows is there twice.
    JoinTwice,
    /// Rows of nobody are counted as those of one more person.
    NobodyCounted,
    /// A view's listed values are believed.
    ListsBelieved,
}

/// Those that break the privacy claim.
pub const BREAKING: [Fault; 19] = [
    Fault::NoClip,
    Fault::ClipEachCell,
    Fault::ClipEachGroup,
    Fault::ClipEachRow,
    Fault::ClipOtherNorm,
    Fault::WrappedNorm,
    Fault::WrappedTotals,
    Fault::ScaledUp,
    Fault::NanPassesClip,
    Fault::ClippedCellUncovered,
    Fault::TotalsInTwoBins,
    Fault::PersonInParts,
    Fault::BranchesApart,
    Fault::GroupsOfData,
    Fault::GroupsInOrderOfRows,
    Fault::JoinOffUnit,
    Fault::SemiOverAll,
    Fault::GroupedOverAll,
    Fault::LimitOverAll,
];

/// Those that make answers wrong and nothing else, since the whole vector of a person is scaled
/// whatever it holds: see `decisions/0003-norm-clipping.md`.
pub const HARMLESS: [Fault; 7] = [
    Fault::NullClippedToBound,
    Fault::ClipBeforeExpression,
    Fault::RangeForgotten,
    Fault::WrappedCells,
    Fault::JoinTwice,
    Fault::NobodyCounted,
    Fault::ListsBelieved,
];

impl Fault {
    /// By how much the noise lets one person move the vector.
    pub fn covered(fault: Option<Self>, quote: &Quote) -> u64 {
        match fault {
            Some(Self::ClippedCellUncovered) => quote.norm.limit(),
            _ => quote.noise.sensitivity(),
        }
    }
}
