//! Where records without a key go: they stay in one partition for a while, so that batches stay whole, then go on.

use crate::base::sync::{AtomicU64, Ordering};

/// Records without a key stay in one partition for about this many bytes.
const STICKY_BYTES: u64 = 16 << 10;

/// 2^64 divided by the golden ratio. Its multiples, taken as fractions of 2^64, lie evenly however many there are, and
/// so does each second or third of them (Knuth, volume 3, section 6.4).
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Gives the handles of a database different partitions to begin at.
#[derive(Debug)]
pub(crate) struct Spread {
    handles: AtomicU64,
}

impl Spread {
    /// `start` differs from one open to the next, so that programs that append one record and end spread theirs too.
    pub(crate) fn new(start: u64) -> Spread {
        Spread { handles: AtomicU64::new(start) }
    }

    fn next(&self, partitions: u32) -> u32 {
        let fraction = self.handles.fetch_add(1, Ordering::Relaxed).wrapping_mul(GOLDEN);
        let partition = (u128::from(fraction) * u128::from(partitions)) >> 64;
        u32::try_from(partition).expect("below the number of partitions")
    }
}

/// The count of a handle and its clones.
#[derive(Debug)]
pub(crate) struct Sticky {
    /// Bytes appended without a key; which partition they go to follows from it.
    bytes: AtomicU64,
}

impl Sticky {
    pub(crate) fn new(partitions: u32, spread: &Spread) -> Sticky {
        Sticky { bytes: AtomicU64::new(u64::from(spread.next(partitions)) * STICKY_BYTES) }
    }

    /// The partition of a single record with this many bytes.
    pub(crate) fn of_record(&self, bytes: usize, partitions: u32) -> u32 {
        // A record costs more than its bytes; many empty ones go on as well.
        self.partition(bytes as u64 + 1, partitions)
    }

    /// The partition of the keyless records of a batch; the next batch's go to the next.
    pub(crate) fn of_batch(&self, partitions: u32) -> u32 {
        self.partition(STICKY_BYTES, partitions)
    }

    /// The partition that records without a key go to now; counts these bytes.
    fn partition(&self, bytes: u64, partitions: u32) -> u32 {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        u32::try_from(before / STICKY_BYTES % u64::from(partitions)).expect("below the number of partitions")
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn handles_begin_evenly_however_they_are_made() {
        for partitions in [1_u32, 2, 3, 4, 16] {
            // Each handle; each second one, the others being of another stream; one of each open, whose starts lie
            // 4096 bytes of journal apart.
            for stride in [1_u64, 2, 3, 4096] {
                let mut begun = vec![0; partitions as usize];
                for handle in 0..1000 {
                    let sticky = Sticky::new(partitions, &Spread::new((8 << 20) | (handle * stride)));
                    begun[sticky.of_batch(partitions) as usize] += 1;
                }
                let even = 1000 / i32::try_from(partitions).unwrap();
                assert!(begun.iter().all(|handles: &i32| (handles - even).abs() <= even / 4), "{stride}: {begun:?}");
            }
        }
    }
}
