//! Chance that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// Names the seed to repeat, in decimal.
const SEED: &str = "PODWALK_SEED";

/// The seed of this run: the one that the environment asks for, or a new one.
pub(super) fn seed() -> Result<u64> {
    match std::env::var(SEED) {
        Ok(text) => text.parse().with_context(|| format!("{SEED}={text}")),
        Err(_) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            Ok(Dice::new(now.as_nanos() as u64, 0).next())
        }
    }
}

/// A generator of numbers (splitmix64): the same seed and stream give the same numbers.
pub(super) struct Dice(u64);

impl Dice {
    /// One of many streams of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True in so many of a hundred cases.
    pub(super) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Turns on the spot for at most so many thousand rounds: a moment between two events.
    pub(super) fn spin(&mut self, thousands: u64) {
        for turn in 0..self.below(thousands * 1000) {
            std::hint::black_box(turn);
        }
    }
}
