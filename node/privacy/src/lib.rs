#![doc = include_str!("../README.md")]

pub mod accounting;
pub mod analysis;
pub mod contribution;
pub mod key;
pub mod mechanism;
pub mod policy;
pub mod question;
