//! Addresses in the journal.
//!
//! The journal is one endless byte sequence and an [`Lsn`] is a byte address in it. The segment that holds an address
//! and the place of the address in the staging ring are arithmetic on it: see [`Geometry`].

use std::fmt;

use super::bounds::{ALIGN_BYTES, FRAME_BYTES_MAX, GEOMETRY_BYTES_MIN, SEGMENT_BYTES_MAX, WATERMARK_RING_BYTES};

/// A byte address in the journal: where a frame starts, or the end that a watermark has reached.
///
/// LSNs order everything that a database ever did, over restarts, crashes and restores.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub(crate) u64);

impl Lsn {
    /// The address as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The address with this number, as a receipt or a record told it.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Lsn {
        Lsn(raw)
    }

    pub(crate) const fn plus(self, bytes: u64) -> Lsn {
        Lsn(self.0 + bytes)
    }

    /// Bytes from `earlier` to here; 0 if `earlier` is not earlier.
    pub(crate) const fn since(self, earlier: Lsn) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub(crate) const fn is_aligned(self) -> bool {
        self.0.is_multiple_of(ALIGN_BYTES)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lsn({})", self.0)
    }
}

/// Rounds a length up to the journal's alignment.
pub(crate) const fn align_up(bytes: u64) -> u64 {
    (bytes + ALIGN_BYTES - 1) & !(ALIGN_BYTES - 1)
}

/// The least staging ring and segment of a simulated database.
const SIMULATED_BYTES_MIN: u64 = 16 << 10;

/// The two sizes that turn an address into a place. Fixed when the database is created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Geometry {
    ring_bytes: u64,
    segment_bytes: u64,
}

impl Geometry {
    /// `None` unless both are powers of two, in bounds, and the ring is no larger than a segment.
    pub(crate) fn new(ring_bytes: u64, segment_bytes: u64) -> Option<Geometry> {
        Geometry::stored(ring_bytes, segment_bytes).filter(|_| ring_bytes >= GEOMETRY_BYTES_MIN)
    }

    /// As a control file says it. Where there is a simulator the ring may be below the bound.
    pub(crate) fn stored(ring_bytes: u64, segment_bytes: u64) -> Option<Geometry> {
        let least = if cfg!(any(test, feature = "sim")) { SIMULATED_BYTES_MIN } else { GEOMETRY_BYTES_MIN };
        let powers = ring_bytes.is_power_of_two() && segment_bytes.is_power_of_two();
        let bounds = ring_bytes >= least && segment_bytes <= SEGMENT_BYTES_MAX;
        (powers && bounds && ring_bytes <= segment_bytes).then_some(Geometry { ring_bytes, segment_bytes })
    }

    /// Below every bound, so that a model sees laps and full rings after a few frames, and a fuzzer much of a directory
    /// in little time.
    #[cfg(any(loom, test, feature = "sim"))]
    pub(crate) fn tiny(ring_bytes: u64, segment_bytes: u64) -> Geometry {
        assert!(ring_bytes.is_power_of_two() && segment_bytes.is_power_of_two() && ring_bytes <= segment_bytes);
        Geometry { ring_bytes, segment_bytes }
    }

    pub(crate) const fn ring_bytes(self) -> u64 {
        self.ring_bytes
    }

    pub(crate) const fn segment_bytes(self) -> u64 {
        self.segment_bytes
    }

    /// The largest frame. It fits into an empty ring wherever the journal ends, with the padding and the segment's
    /// header that may come before it: padding is shorter than the frame that it makes room for.
    pub(crate) const fn frame_bytes_max(self) -> u64 {
        let max = self.ring_bytes / 2 - WATERMARK_RING_BYTES;
        if max < FRAME_BYTES_MAX { max } else { FRAME_BYTES_MAX }
    }

    pub(crate) const fn segment_of(self, lsn: Lsn) -> u64 {
        lsn.0 >> self.segment_bytes.trailing_zeros()
    }

    pub(crate) const fn segment_start(self, number: u64) -> Lsn {
        Lsn(number * self.segment_bytes)
    }

    pub(crate) const fn place_in_segment(self, lsn: Lsn) -> u64 {
        lsn.0 & (self.segment_bytes - 1)
    }

    pub(crate) const fn place_in_ring(self, lsn: Lsn) -> u64 {
        lsn.0 & (self.ring_bytes - 1)
    }

    /// Bytes from `lsn` to the next multiple of the ring's size. No frame crosses one, so that the bytes of a frame lie
    /// in one piece both in the ring and in its segment.
    pub(crate) const fn room_to_lap(self, lsn: Lsn) -> u64 {
        self.ring_bytes - self.place_in_ring(lsn)
    }

    /// The first start of a segment at or after `lsn`.
    pub(crate) const fn next_segment_start(self, lsn: Lsn) -> Lsn {
        Lsn(lsn.0.div_ceil(self.segment_bytes) * self.segment_bytes)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_arithmetic_on_the_address() {
        let g = Geometry::new(4 << 20, 16 << 20).unwrap();
        let lsn = Lsn((16 << 20) * 3 + (5 << 20) + 8);
        assert_eq!(g.segment_of(lsn), 3);
        assert_eq!(g.place_in_segment(lsn), (5 << 20) + 8);
        assert_eq!(g.place_in_ring(lsn), (1 << 20) + 8);
        assert_eq!(g.room_to_lap(lsn), (3 << 20) - 8);
        assert_eq!(g.next_segment_start(lsn), Lsn((16 << 20) * 4));
        assert_eq!(g.next_segment_start(Lsn(16 << 20)), Lsn(16 << 20));
    }

    #[test]
    fn sizes_that_are_no_powers_of_two_or_out_of_bounds_are_refused() {
        assert!(Geometry::new(4 << 20, 12 << 20).is_none());
        assert!(Geometry::new(1 << 20, 4 << 20).is_none());
        assert!(Geometry::new(16 << 20, 8 << 20).is_none());
    }
}
