//! Numbers that look random: for generated orders the same ones each time, for the moments of the kills new ones.

use std::hash::{BuildHasher, RandomState};

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub(super) struct Chance {
    state: u64,
}

impl Chance {
    pub(super) fn seeded(seed: u64) -> Chance {
        Chance { state: seed }
    }

    /// Seeded by what the standard library seeds its hash maps with.
    pub(super) fn unpredictable() -> Chance {
        Chance::seeded(RandomState::new().hash_one(0))
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// A number below `bound`, or 0 if the bound is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}
