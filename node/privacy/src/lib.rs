#![doc = include_str!("../README.md")]

pub mod accounting;
pub mod mechanism;
pub mod analysis;
pub mod contribution;
pub mod policy;
pub mod question;
