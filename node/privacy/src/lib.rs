#![doc = include_str!("../README.md")]

pub mod accounting;
pub mod analysis;
pub mod contribution;
pub mod mechanism;
pub mod policy;
pub mod question;
