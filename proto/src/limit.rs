//! Limits that both sides know, so that a question over one is refused before it is sent.

/// Bytes of one plan.
pub const PLAN_BYTES: usize = 256 * 1024;
/// Levels of nested expressions in one plan; a chain of operators counts each of them. (`prost`
/// itself stops at 100 nested messages.)
pub const PLAN_DEPTH: usize = 400;
/// Fields in one plan, whatever they hold.
pub const PLAN_FIELDS: usize = 50_000;
/// Members of one list.
pub const LIST_LENGTH: usize = 2_000;
/// Operands of one chained operator.
pub const CHAIN_LENGTH: usize = 256;
/// Cells of one vector: groups times measures.
pub const CELLS: usize = 1_000_000;
/// Groups of one release.
pub const GROUPS: usize = 100_000;
/// Characters of a LIKE pattern.
pub const PATTERN_LENGTH: usize = 256;
/// Parts that lowering may add to a plan's own where it has to say a part twice.
pub const REPEATED_PARTS: usize = 20_000;
/// How often one question names views: each time stands for the view's whole definition.
pub const VIEWS: usize = 64;
/// Windows of one question, one above the other; columns of the same partition and order share one.
pub const WINDOWS: usize = 16;
/// Aggregates of one frontier.
pub const AGGREGATES: usize = 64;
/// Bytes of the keys of one release that are not known beforehand. A quarter of a message, so that
/// their cells fit beside them.
pub const KEY_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of one message, of either side. A vector of `CELLS` cells fits.
pub const MESSAGE_BYTES: usize = 64 * 1024 * 1024;
