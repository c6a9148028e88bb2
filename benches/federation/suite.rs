//! All that stands in RESULTS.md.

use clap::Args;

/// How much of it.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// Generate and prepare the data and ask each question once, so that a later run only measures
    #[arg(long)]
    once: bool,
    /// Leave out 100,000,000 episodes, which take most of the time
    #[arg(long)]
    small: bool,
}

/// Of questions: side by side at three sizes, with the generic plan; more regions; several at once.
/// The first result of a setting is the one in a table, so that those with more runs come first.
const PARTS: [&str; 11] = [
    "--people 100000 --regions 1,2,5,8,16,32 --runs 9",
    "--people 1000000 --regions 1,2,5,8,16,32 --runs 7",
    "--people 10000000 --regions 1,5 --runs 3",
    "--people 100000 --regions 5 --sides generic --runs 5",
    "--people 1000000 --regions 5 --sides generic --runs 3",
    "--people 10000000 --regions 5 --sides generic --questions Q0,Q1,Q2,Q6 --runs 1 --cold",
    "--people 100000 --regions 5 --at-once 1,4,16,64 --runs 2",
    "--people 100000 --regions 1 --questions Q0 --at-once 1,4,16,64 --in-a-row 20 --runs 3",
    "noise",
    "ingest --people 1000000 --memory-mib 256,1024",
    "ingest --people 10000000 --memory-mib 512",
];

impl Options {
    /// The arguments of each part.
    pub fn parts(&self) -> Vec<String> {
        let wanted = PARTS
            .iter()
            .filter(|part| !self.small || !part.contains("10000000 "));
        wanted
            .map(|part| {
                let mut part = (*part).to_owned();
                if self.once && !part.starts_with("ingest") && !part.starts_with("noise") {
                    part.push_str(" --runs 1 --cold");
                }
                part
            })
            .collect()
    }
}
