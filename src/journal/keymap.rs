//! The newest offset of each key, in a table of fixed size.
//!
//! Open addressing with linear probing, at most 3/4 full: fuller, a key that is not there is looked for in dozens of
//! places. A place has 16 bytes: 96 bits of the key's hash, and the offset as 32 bits behind the first of the pass.
//! Keys are not kept. The hash is two SipHashes with random secrets of this table, so that who chooses keys cannot have
//! two of them mistaken for one: among the 3.1 million keys that fit, that happens with a probability below 10^-16.

use crate::base::planted;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

/// Places of the largest table: 64 MiB.
pub(crate) const PLACES_MAX: usize = 1 << 22;

const PLACES_MIN: usize = 8;

/// Keys, by their hashes, with the newest offset of each.
#[derive(Debug)]
pub(crate) struct KeyMap {
    /// Hash in the high 96 bits, offset behind `first` plus one in the low 32; 0 is free.
    places: Vec<u128>,
    taken: usize,
    first: u64,
    secrets: [RandomState; 2],
}

impl KeyMap {
    /// A table for offsets from `first` on. It has room for so many keys, or as many as `places_max` places hold.
    pub(crate) fn new(first: u64, keys: u64, places_max: usize) -> KeyMap {
        let wanted = usize::try_from(keys.saturating_mul(4) / 3 + 1).unwrap_or(usize::MAX);
        let most = places_max.clamp(PLACES_MIN, PLACES_MAX);
        let places = wanted.clamp(PLACES_MIN, most).checked_next_power_of_two().map_or(most, |places| places.min(most));
        assert!(places.is_power_of_two(), "a table of {places} places");
        KeyMap { places: vec![0; places], taken: 0, first, secrets: [RandomState::new(), RandomState::new()] }
    }

    /// Notes that a key stands at this offset, above those noted before; `false` if there is no room for it.
    pub(crate) fn note(&mut self, key: &[u8], offset: u64) -> bool {
        let behind = offset.checked_sub(self.first).expect("offsets begin at the first of the table");
        let Some(behind) = u32::try_from(behind).ok().and_then(|behind| behind.checked_add(1)) else { return false };
        let hash = self.hash(key);
        let at = self.find(hash);
        if self.places[at] == 0 {
            if self.taken >= self.places.len() / 4 * 3 {
                return false;
            }
            self.taken += 1;
        }
        if planted::is("older_record_supersedes") && self.places[at] != 0 {
            return true;
        }
        self.places[at] = hash | u128::from(behind);
        true
    }

    /// The newest offset at which the key was noted.
    pub(crate) fn newest(&self, key: &[u8]) -> Option<u64> {
        let place = self.places[self.find(self.hash(key))];
        (place != 0).then(|| self.first + u64::from(place as u32) - 1)
    }

    /// 96 bits, in the high ones.
    fn hash(&self, key: &[u8]) -> u128 {
        let [one, two] = &self.secrets;
        u128::from(one.hash_one(key)) << 64 | u128::from(two.hash_one(key)) >> 32 << 32
    }

    /// The place of this hash, or the free one where it would be.
    fn find(&self, hash: u128) -> usize {
        let mask = self.places.len() - 1;
        let mut at = (hash >> 64) as usize & mask;
        while self.places[at] != 0 && self.places[at] >> 32 != hash >> 32 {
            at = (at + 1) & mask;
        }
        at
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::sim::random::Random;

    #[test]
    fn it_tells_the_newest_offset_of_each_key_as_a_plain_map_does() {
        let mut random = Random::new(7);
        let (mut map, mut plain) = (KeyMap::new(1000, 5000, PLACES_MAX), HashMap::new());
        for offset in 1000..20_000 {
            let key = random.below(5000).to_le_bytes();
            assert!(map.note(&key, offset));
            plain.insert(key, offset);
        }
        for key in (0..6000_u64).map(u64::to_le_bytes) {
            assert_eq!(map.newest(&key), plain.get(&key).copied());
        }
    }

    #[test]
    fn a_full_table_takes_known_keys_and_no_others() {
        let mut map = KeyMap::new(0, u64::MAX, 8);
        for offset in 0..6 {
            assert!(map.note(&[offset as u8], offset));
        }
        assert!(!map.note(b"one more", 6) && map.note(&[3], 8));
        assert_eq!((map.newest(&[3]), map.newest(b"one more")), (Some(8), None));
        assert!(!KeyMap::new(0, 1, 8).note(b"far", 1 << 32), "an offset beyond 32 bits");
    }
}
