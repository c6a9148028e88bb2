#![doc = include_str!("../README.md")]

pub mod accounting;
pub mod mechanism;
