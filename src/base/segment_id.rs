//! The number of a segment of the store.
//!
//! As one 64-bit integer the top bit says survivor and the rest is the number, so that journal segments sort before
//! survivors and each by number, as the derived order does.

/// A segment of the store: one of the journal's, or one that cleaning wrote.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum SegmentId {
    Journal(u64),
    Survivor(u64),
}

const SURVIVOR_BIT: u64 = 1 << 63;

impl SegmentId {
    /// # Panics
    /// If the number itself reaches the top bit.
    pub(crate) const fn to_raw(self) -> u64 {
        match self {
            SegmentId::Journal(number) => {
                assert!(number < SURVIVOR_BIT, "segment number above 63 bits");
                number
            }
            SegmentId::Survivor(number) => {
                assert!(number < SURVIVOR_BIT, "segment number above 63 bits");
                number | SURVIVOR_BIT
            }
        }
    }

    pub(crate) const fn from_raw(raw: u64) -> SegmentId {
        match raw & SURVIVOR_BIT {
            0 => SegmentId::Journal(raw),
            _ => SegmentId::Survivor(raw & !SURVIVOR_BIT),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_segment_id_survives_its_number_and_keeps_its_order() {
        let ids = [
            SegmentId::Journal(0),
            SegmentId::Journal(SURVIVOR_BIT - 1),
            SegmentId::Survivor(0),
            SegmentId::Survivor(SURVIVOR_BIT - 1),
        ];
        for pair in ids.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_raw() < pair[1].to_raw());
        }
        for id in ids {
            assert_eq!(SegmentId::from_raw(id.to_raw()), id);
        }
    }

    #[test]
    #[should_panic(expected = "above 63 bits")]
    fn a_number_that_reaches_the_survivor_bit_panics() {
        let _ = SegmentId::Journal(SURVIVOR_BIT).to_raw();
    }
}
