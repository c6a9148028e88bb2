//! Trusted. From hostile bytes to the plan that runs: [`gate`] admits bytes, [`lower`] makes the
//! closed question, [`rebuild`] makes the engine's plan from the question alone.

pub mod gate;
pub mod lower;
pub mod rebuild;
