#![doc = include_str!("../README.md")]

mod id;
#[cfg(any(feature = "configuration", feature = "planning"))]
pub mod nearest;
mod parameter;
mod refusal;
mod value;

#[cfg(feature = "configuration")]
pub mod configuration;
pub mod limit;
#[cfg(feature = "planning")]
pub mod planning;
#[cfg(feature = "rpc")]
pub mod wire;

pub use id::{IdError, ProjectId, QueryId, RegionId};
pub use parameter::{Delta, Epsilon, ParameterError};
pub use refusal::{ErrorCode, Refusal};
pub use value::{DataType, Value};

/// Version of the wire contract. Both sides must have the same.
pub const CONTRACT_VERSION: u32 = 1;
