//! A map from numbered keys that remembers where it met a key last.
//!
//! An append looks its log up in several maps, and mostly one of a few logs. A hint is a place in the map's entries; it
//! is believed only if the entry there has the key, so that it need not be told of anything that moves.

use std::hash::Hash;

use indexmap::IndexMap;

use super::log::LogId;
use super::row::RowKey;

/// Hints kept. Keys with the same number modulo this share one.
const HINTS: usize = 64;

/// A key with a number: near ones have different hints.
pub(crate) trait Numbered: Copy + Eq + Hash {
    fn number(&self) -> u64;
}

impl Numbered for LogId {
    #[inline]
    fn number(&self) -> u64 {
        self.0
    }
}

impl Numbered for RowKey {
    #[inline]
    fn number(&self) -> u64 {
        self.id
    }
}

#[derive(Debug)]
pub(crate) struct HintedMap<K, V> {
    entries: IndexMap<K, V, foldhash::fast::FixedState>,
    hints: Box<[u32; HINTS]>,
}

impl<K, V> Default for HintedMap<K, V> {
    fn default() -> HintedMap<K, V> {
        HintedMap { entries: IndexMap::default(), hints: Box::new([0; HINTS]) }
    }
}

impl<K: Numbered, V> HintedMap<K, V> {
    #[inline]
    fn hint(&self, key: &K) -> Option<usize> {
        let hint = self.hints[key.number() as usize % HINTS] as usize;
        self.entries.get_index(hint).is_some_and(|(found, _)| found == key).then_some(hint)
    }

    /// The entry of a key that its hint does not lead to; it does from now on.
    #[inline(never)]
    fn find(&mut self, key: &K) -> Option<usize> {
        let place = self.entries.get_index_of(key)?;
        self.remember(key, place);
        Some(place)
    }

    fn remember(&mut self, key: &K, place: usize) {
        self.hints[key.number() as usize % HINTS] = u32::try_from(place).unwrap_or(u32::MAX);
    }

    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match self.hint(key) {
            Some(place) => self.entries.get_index(place).map(|(_, value)| value),
            None => self.entries.get(key),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = match self.hint(key) {
            Some(place) => place,
            None => self.find(key)?,
        };
        self.entries.get_index_mut(place).map(|(_, value)| value)
    }

    /// The value of the key, `new` if there was none.
    #[inline]
    pub(crate) fn get_or_insert(&mut self, key: K, new: V) -> &mut V {
        let place = match self.hint(&key) {
            Some(place) => place,
            None => match self.find(&key) {
                Some(place) => place,
                None => {
                    let (place, _) = self.entries.insert_full(key, new);
                    self.remember(&key, place);
                    place
                }
            },
        };
        self.entries.get_index_mut(place).expect("it was found or inserted").1
    }

    /// Tells what the key had before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        self.entries.insert(key, value)
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.swap_remove(key)
    }

    /// The key in this place; places change when entries come or go.
    pub(crate) fn key_at(&self, place: usize) -> Option<&K> {
        self.entries.get_index(place).map(|(key, _)| key)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.entries.contains_key(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::sim::random::Random;

    #[test]
    fn it_answers_like_a_plain_map_whatever_moves_under_its_hints() {
        let (mut map, mut twin) = (HintedMap::default(), BTreeMap::new());
        let mut random = Random::new(7);
        for step in 0..50_000 {
            let key = LogId(random.below(300));
            match random.below(5) {
                0 => assert_eq!(map.insert(key, step), twin.insert(key, step)),
                1 => assert_eq!(map.remove(&key), twin.remove(&key)),
                2 => assert_eq!(map.get(&key), twin.get(&key)),
                3 => assert_eq!(map.get_mut(&key), twin.get_mut(&key)),
                _ => assert_eq!(map.get_or_insert(key, step), twin.entry(key).or_insert(step)),
            }
            assert_eq!((map.len(), map.contains_key(&key)), (twin.len(), twin.contains_key(&key)));
        }
    }
}
