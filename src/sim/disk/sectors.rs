//! A set of sectors, as bits.

use std::ops::Range;

/// What a disk writes whole or not at all.
pub(crate) const SECTOR_BYTES: u64 = 512;

/// Sectors that the byte range touches.
pub(super) fn touched(bytes: Range<u64>) -> Range<u64> {
    bytes.start / SECTOR_BYTES..if bytes.is_empty() {
        bytes.start / SECTOR_BYTES
    } else {
        bytes.end.div_ceil(SECTOR_BYTES)
    }
}

#[derive(Clone, Default, Debug)]
pub(super) struct Sectors {
    words: Vec<u64>,
}

impl Sectors {
    pub(super) fn insert(&mut self, sector: u64) {
        let word = (sector / 64) as usize;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (sector % 64);
    }

    pub(super) fn remove(&mut self, sector: u64) {
        if let Some(word) = self.words.get_mut((sector / 64) as usize) {
            *word &= !(1 << (sector % 64));
        }
    }

    pub(super) fn contains(&self, sector: u64) -> bool {
        self.words.get((sector / 64) as usize).is_some_and(|word| word & (1 << (sector % 64)) != 0)
    }

    pub(super) fn clear(&mut self) {
        self.words.clear();
    }

    /// In ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.words.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(|(index, &word)| {
            (0..64).filter(move |bit| word & (1 << bit) != 0).map(move |bit| index as u64 * 64 + bit)
        })
    }

    pub(super) fn within(&self, range: Range<u64>) -> Vec<u64> {
        range.filter(|&sector| self.contains(sector)).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_byte_range_touches_every_sector_it_shares_a_byte_with() {
        assert_eq!(touched(0..1), 0..1);
        assert_eq!(touched(511..513), 0..2);
        assert_eq!(touched(512..1024), 1..2);
        assert!(touched(700..700).is_empty());
    }

    #[test]
    fn members_come_in_order() {
        let mut set = Sectors::default();
        [200, 3, 64, 63].into_iter().for_each(|sector| set.insert(sector));
        set.remove(64);
        set.remove(100_000);
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 63, 200]);
        assert!(set.contains(63) && !set.contains(64) && !set.contains(1 << 40));
        assert_eq!(set.within(0..64), [3, 63]);
    }
}
