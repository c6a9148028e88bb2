//! Synthetic Nordic regions: patients and episodes with a known truth, for the demo and for
//! tests. No line of it comes from a real person.
