//! Draws of a release's noise, by blocks that have streams of their own: whoever draws them, and in
//! which order, they are the same.
//!
//! Noise is symmetric, so each draw stands for its negative as well: the ends of an interval are as
//! exact as with twice as many draws of one end each (antithetic variates: Hammersley and Morton
//! 1956, «A new Monte Carlo technique: antithetic variates», Mathematical Proceedings of the
//! Cambridge Philosophical Society 52, 449–475).

use super::Merged;
use crate::noise::Stream;

/// How many draws a block has, every second of them the negative of the one before.
pub(crate) const DRAWS_OF_BLOCK: usize = 16;

/// Some draws of all noise in a release.
pub(crate) struct Block<'a> {
    merged: &'a Merged,
    streams: Vec<Stream>,
    last: Option<Vec<Vec<Vec<f64>>>>,
}

impl Merged {
    /// A block of draws. Its streams start from the released bytes: the same release gives the same
    /// draws, so that one that is used twice varies together, and a retry gets the same intervals.
    pub fn draws(&self, block: u64) -> Block<'_> {
        let streams = self.parts.iter();
        Block {
            merged: self,
            streams: streams.map(|part| Stream::new(part.seed, block)).collect(),
            last: None,
        }
    }
}

impl Block<'_> {
    /// The next draw of all noise: by region's part, in the order of the region's own vector,
    /// whatever other regions have.
    pub fn noises(&mut self) -> Vec<Vec<Vec<f64>>> {
        if let Some(mut last) = self.last.take() {
            for noise in last.iter_mut().flatten().flatten() {
                *noise = -*noise;
            }
            return last;
        }
        let parts = self.merged.parts.iter().zip(&mut self.streams);
        let drawn: Vec<Vec<Vec<f64>>> = parts
            .map(|(part, stream)| {
                let mut cells = || part.noise.iter().map(|noise| stream.draw(*noise)).collect();
                (0..part.groups).map(|_| cells()).collect()
            })
            .collect();
        self.last = Some(drawn.clone());
        drawn
    }
}
