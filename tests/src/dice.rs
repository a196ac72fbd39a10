//! Chance that can be repeated.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

/// Names the seed to repeat, in decimal.
pub const SEED: &str = "PODWALK_SEED";

/// The seed that the environment asks for, or else `usual`.
///
/// # Errors
/// If the environment names no number.
pub fn seed_or(usual: u64) -> Result<u64> {
    match std::env::var(SEED) {
        Ok(text) => text.parse().with_context(|| format!("{SEED}={text}")),
        Err(_) => Ok(usual),
    }
}

/// The seed that the environment asks for, or else a new one.
///
/// # Errors
/// If the environment names no number.
pub fn seed_or_new() -> Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    seed_or(Dice::new(now.as_nanos() as u64, 0).any())
}

/// A generator of numbers (splitmix64): the same seed and stream give the same numbers.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// One of many streams of a seed.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(seed ^ stream.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not zero.
    pub fn below(&mut self, end: u64) -> u64 {
        self.any() % end
    }

    /// An index of something with `length` elements, which is not zero.
    pub fn index(&mut self, length: usize) -> usize {
        (self.any() % length as u64) as usize
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    /// Turns on the spot for at most so many thousand rounds: a moment between two events.
    pub fn spin(&mut self, thousands: u64) {
        for turn in 0..self.below(thousands * 1000) {
            std::hint::black_box(turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_repeated_and_no_other_is_like_it() {
        let numbers = |stream| -> Vec<u64> {
            let mut dice = Dice::new(7, stream);
            (0..10).map(|_| dice.below(1_000_000)).collect()
        };
        assert_eq!(numbers(1), numbers(1));
        assert_ne!(numbers(1), numbers(2));
    }
}
