//! The staging ring: a mapped file that holds the newest bytes of the journal.
//!
//! The byte at address L lies at `L % RING_BYTES`. Appenders write under the core lock at `issued`, the committer
//! copies
//! `[written, issued)` out, and a place is written again only once `written` has passed the bytes in it. The page cache
//! outlives the process, so a frame that stands in the ring has survived SIGKILL; after a power cut the ring may hold
//! anything, and its frames count only as far as their checksums do.
//!
//! Invariant: `issued − written ≤ RING_BYTES`, kept by `journal::tail`. So the writer's range and the committer's range
//! never meet.
#![expect(unsafe_code, reason = "hands out slices of a shared writable map")]

use crate::base::lsn::{Geometry, Lsn};

use super::disk::Map;

/// The mapped tail of the journal.
#[derive(Debug)]
pub(crate) struct Ring {
    map: Map,
    geometry: Geometry,
}

impl Ring {
    pub(crate) fn new(map: Map, geometry: Geometry) -> Ring {
        assert!(
            map.len() as u64 == geometry.ring_bytes(),
            "ring of {} bytes mapped as {}",
            geometry.ring_bytes(),
            map.len()
        );
        Ring { map, geometry }
    }

    /// The place of `len` bytes at `lsn`, to be filled. They must not cross a lap.
    ///
    /// # Safety
    /// The caller holds the core lock, `lsn ≥ issued`, and `lsn + len ≤ written + RING_BYTES`.
    #[inline]
    #[expect(clippy::mut_from_ref, reason = "the ring is shared memory; the watermarks keep ranges apart")]
    pub(crate) unsafe fn fill(&self, lsn: Lsn, len: usize) -> &mut [u8] {
        assert!(len as u64 <= self.geometry.room_to_lap(lsn), "{len} bytes at {lsn} cross a lap of the ring");
        // SAFETY: addresses from `issued` on are seen by no reader, and only one thread fills (the core lock); the
        // bytes that stood here a lap ago lie below `written` and are read from their segment. Both are the caller's
        // promise.
        unsafe { self.map.bytes_mut(self.geometry.place_in_ring(lsn) as usize, len) }
    }

    /// The bytes `[lsn, lsn + len)`, which must not cross a lap.
    ///
    /// # Safety
    /// `[lsn, lsn + len)` lies within `[written, issued)` for as long as the slice lives: either the caller is the
    /// committer, who alone moves `written`, or it holds the core lock, under which alone places are filled again.
    #[inline]
    pub(crate) unsafe fn bytes(&self, lsn: Lsn, len: usize) -> &[u8] {
        assert!(len as u64 <= self.geometry.room_to_lap(lsn), "{len} bytes at {lsn} cross a lap of the ring");
        // SAFETY: nobody fills a place in `[written, issued)`; that the range stays inside is the caller's promise.
        unsafe { self.map.bytes(self.geometry.place_in_ring(lsn) as usize, len) }
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.geometry
    }
}
