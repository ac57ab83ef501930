//! The end of the journal, where frames are appended. It lives under the core lock.
//!
//! Invariants:
//! * `issued` is aligned, and room for at least a frame's header lies between it and the next lap of the ring, or it is
//!   the start of a segment.
//! * A frame is appended only if it ends at or below every limit: the ring's (`written + RING_BYTES`), the unsynced
//!   bound, the replay bound, and the end of the segments that the class may use.

use crate::base::bounds::{ALIGN_BYTES, CHECKPOINT_BYTES, REPLAY_BYTES_MAX, UNSYNCED_BYTES_MAX, WATERMARK_RING_BYTES};
use crate::base::lsn::{Geometry, Lsn};
use crate::base::sync::Arc;
use crate::storage::frame::{self, HEADER_BYTES, Header, Kind, Seed};
use crate::storage::ring::Ring;
use crate::storage::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};

use super::marks::Marks;

/// Who asks for journal space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Grant {
    /// Anything that adds to what is stored.
    Publish,
    /// Settlements, expiry, trims; may use the reserve segment and a share of the replay bound of their own.
    Settle,
    /// What must be settled later; may use as much as leaves so many bytes of segments for that.
    HandOut { kept: u64 },
    /// Watermarks; may use what is kept free for them besides.
    Watermark,
}

/// Why a frame cannot be appended now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Blocked {
    /// The ring is full: wait for the committer to write.
    Ring,
    /// Too much is not durable: wait for a sync.
    Unsynced,
    /// Too much would have to be replayed: wait for a checkpoint.
    Replay,
    /// No segment is ready: wait for the segment maker, or for room on the disk.
    Segment,
}

/// Where a frame was put.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Placed {
    pub(crate) lsn: Lsn,
    /// The journal ends here now.
    pub(crate) end: Lsn,
    /// The frame is the first of its segment.
    pub(crate) new_segment: bool,
}

/// Bytes of a segment's header frame.
const SEGMENT_HEADER_EXTENT: u64 = frame::extent(SEGMENT_HEADER_BYTES);

const _: () = {
    assert!(CHECKPOINT_BYTES * 2 < REPLAY_BYTES_MAX);
    // The largest frame, at most half the ring less the watermarks' share, and the padding before it, which is shorter
    // by a step at least, leave that share and a header's room.
    assert!(SEGMENT_HEADER_EXTENT <= WATERMARK_RING_BYTES + ALIGN_BYTES);
};

/// The appending end.
#[derive(Debug)]
pub(crate) struct Tail {
    issued: Lsn,
    /// Checksum of the last frame.
    previous: u32,
    /// Where the last frame ended; differs from `issued` after a jump.
    came_from: Lsn,
    epoch: u32,
    database_id: [u8; 16],
    seed: Seed,
    ring: Arc<Ring>,
    marks: Arc<Marks>,
    /// Publishes may end here without looking at the marks again.
    free_until: Lsn,
}

/// Where a life begins to write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Start {
    /// The first address of this life.
    pub(crate) at: Lsn,
    /// Where the journal ended before, and the checksum of its last frame.
    pub(crate) came_from: Lsn,
    pub(crate) previous: u32,
    pub(crate) epoch: u32,
}

impl Tail {
    pub(crate) fn new(start: Start, database_id: [u8; 16], ring: Arc<Ring>, marks: Arc<Marks>) -> Tail {
        assert!(start.at.is_aligned() && start.came_from <= start.at);
        Tail {
            issued: start.at,
            previous: start.previous,
            came_from: start.came_from,
            epoch: start.epoch,
            database_id,
            seed: Seed::new(&database_id),
            ring,
            marks,
            free_until: start.at,
        }
    }

    pub(crate) fn issued(&self) -> Lsn {
        self.issued
    }

    /// Appends one frame whose payload `fill` writes; `fill` is told where the frame starts.
    ///
    /// The payload's length is exact: `fill` gets a slice of it and overwrites all of it.
    #[inline]
    pub(crate) fn append(
        &mut self,
        grant: Grant,
        kind: Kind,
        flags: u8,
        payload_len: usize,
        fill: impl FnOnce(Lsn, &mut [u8]),
    ) -> Result<Placed, Blocked> {
        let extent = frame::extent(payload_len);
        assert!(extent <= self.geometry().frame_bytes_max(), "a frame of {extent} bytes");
        let lsn = self.place_for(extent);
        let end = lsn.plus(extent);
        if end > self.free_until || self.keeps_more_than_reserve(grant) {
            self.check_limits(grant, end)?;
        }
        let new_segment = self.advance_to(lsn);
        let header =
            Header { lsn, epoch: self.epoch, previous: self.previous, durable: self.marks.durable.get(), kind, flags };
        self.write_frame(&header, payload_len, |payload| fill(lsn, payload));
        self.issued = end;
        self.came_from = end;
        self.marks.note_frame(lsn, end);
        self.marks.issued.advance(end);
        Ok(Placed { lsn, end, new_segment })
    }

    /// Whether publishes may go further than this may.
    #[inline]
    fn keeps_more_than_reserve(&self, grant: Grant) -> bool {
        matches!(grant, Grant::HandOut { kept } if kept > self.geometry().segment_bytes())
    }

    /// Closes a batch with the durable LSN known now. Left out when even the watermarks' share of the ring is taken.
    pub(crate) fn watermark(&mut self) {
        // A full ring is no fault: the next batch carries the watermark.
        let _ = self.append(Grant::Watermark, Kind::Watermark, 0, 0, |_, _| {});
    }

    fn geometry(&self) -> Geometry {
        self.ring.geometry()
    }

    /// Where the next frame of this extent starts, after the segment header or the padding it may need before it.
    #[inline]
    fn place_for(&self, extent: u64) -> Lsn {
        let geometry = self.geometry();
        let mut at = self.issued;
        loop {
            if geometry.place_in_segment(at) == 0 {
                at = at.plus(SEGMENT_HEADER_EXTENT);
            }
            let room = geometry.room_to_lap(at);
            if extent <= room {
                return at;
            }
            at = at.plus(room);
        }
    }

    /// Writes what must stand between `issued` and `lsn`. Tells whether a segment was entered.
    #[inline]
    fn advance_to(&mut self, lsn: Lsn) -> bool {
        let mut entered = false;
        while self.issued < lsn {
            if self.geometry().place_in_segment(self.issued) == 0 {
                self.enter_segment();
                entered = true;
            } else {
                self.pad_lap();
            }
        }
        entered
    }

    fn enter_segment(&mut self) {
        let header = SegmentHeader {
            database_id: self.database_id,
            number: self.geometry().segment_of(self.issued),
            end_before: self.came_from,
            crc_before: self.previous,
        };
        let frame = self.bare_header(Kind::SegmentHeader);
        self.write_frame(&frame, SEGMENT_HEADER_BYTES, |payload| header.encode(payload));
        self.issued = self.issued.plus(SEGMENT_HEADER_EXTENT);
    }

    fn pad_lap(&mut self) {
        let room = self.geometry().room_to_lap(self.issued);
        if room >= HEADER_BYTES as u64 {
            let frame = self.bare_header(Kind::Padding);
            self.write_frame(&frame, 0, |_| {});
        }
        self.issued = self.issued.plus(room);
        self.came_from = self.issued;
    }

    fn bare_header(&self, kind: Kind) -> Header {
        Header {
            lsn: self.issued,
            epoch: self.epoch,
            previous: self.previous,
            durable: self.marks.durable.get(),
            kind,
            flags: 0,
        }
    }

    #[inline]
    #[expect(unsafe_code, reason = "fills the ring, which is shared memory")]
    fn write_frame(&mut self, header: &Header, payload_len: usize, fill: impl FnOnce(&mut [u8])) {
        let extent = frame::extent(payload_len) as usize;
        // SAFETY: `&mut self` is had only under the core lock; `header.lsn ≥ issued`, and `check_limits` let the frame
        // end at or below `written + RING_BYTES` (`written` only grows).
        let bytes = unsafe { self.ring.fill(header.lsn, extent) };
        let frame_len = HEADER_BYTES + payload_len;
        fill(&mut bytes[HEADER_BYTES..frame_len]);
        bytes[frame_len..].fill(0);
        self.previous = frame::seal(&mut bytes[..frame_len], header, self.seed);
    }

    /// Whether a frame may end at `end`. Remembers how far publishes may go without asking again.
    #[cold]
    fn check_limits(&mut self, grant: Grant, end: Lsn) -> Result<(), Blocked> {
        let geometry = self.geometry();
        let kept = if grant == Grant::Watermark { 0 } else { WATERMARK_RING_BYTES };
        let ring = self.marks.written.get().plus(geometry.ring_bytes() - kept);
        let unsynced = self.marks.durable.get().plus(UNSYNCED_BYTES_MAX - kept);
        let replay = self.marks.replay_from.get().plus(REPLAY_BYTES_MAX);
        let (replay, reserve) = match grant {
            Grant::Publish => (Lsn(replay.0 - CHECKPOINT_BYTES), geometry.segment_bytes()),
            Grant::HandOut { kept } => (replay, kept),
            Grant::Settle | Grant::Watermark => (replay, 0),
        };
        let prepared = Lsn(self.marks.prepared.get().0.saturating_sub(reserve));
        let limits = [
            (prepared, Blocked::Segment),
            (unsynced, Blocked::Unsynced),
            (replay, Blocked::Replay),
            (ring, Blocked::Ring),
        ];
        if let Some((_, blocked)) = limits.into_iter().find(|(limit, _)| end > *limit) {
            return Err(blocked);
        }
        if grant == Grant::Publish {
            self.free_until = limits.into_iter().map(|(limit, _)| limit).min().expect("four limits");
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::sim::disk::SimDisk;
    use crate::storage::disk::Access;

    /// A journal that ends here, with segments made up to there.
    fn tail(geometry: Geometry, at: Lsn, prepared: Lsn) -> Tail {
        let file = SimDisk::new(1).attach().open("staging.ring", Access::Create).unwrap();
        file.set_len(geometry.ring_bytes()).unwrap();
        let ring = Arc::new(Ring::new(file.map_write(geometry.ring_bytes()).unwrap(), geometry));
        let marks = Arc::new(Marks::new(at, prepared, at, 0));
        Tail::new(Start { at, came_from: at, previous: 0, epoch: 1 }, [1; 16], ring, marks)
    }

    #[test]
    fn what_is_handed_out_leaves_room_to_settle_it() {
        let geometry = Geometry::tiny(16 << 10, 32 << 10);
        let (at, prepared) = (geometry.segment_start(1).plus(4096), geometry.segment_start(3));
        let fill = |_, payload: &mut [u8]| payload.fill(7);
        let mut tail = tail(geometry, at, prepared);
        let mut append = |grant| tail.append(grant, Kind::Events, 0, 100, fill).map(drop);
        // Publishes may use all but one of the two segments.
        assert_eq!(append(Grant::Publish), Ok(()));
        let left = prepared.since(at) - 4096;
        assert_eq!(append(Grant::HandOut { kept: left }), Ok(()), "although it keeps more than the reserve");
        assert_eq!(append(Grant::HandOut { kept: prepared.since(at) }), Err(Blocked::Segment));
        assert_eq!(append(Grant::Settle), Ok(()));
    }

    #[test]
    fn the_largest_frame_fits_into_an_empty_ring_wherever_the_journal_ends() {
        let geometry = Geometry::tiny(16 << 10, 32 << 10);
        let payload_len = geometry.frame_bytes_max() as usize - HEADER_BYTES;
        let first = geometry.segment_start(1);
        for at in (0..geometry.segment_bytes()).step_by(ALIGN_BYTES as usize).map(|place| first.plus(place)) {
            let mut tail = tail(geometry, at, geometry.segment_start(5));
            let placed = tail.append(Grant::Publish, Kind::Events, 0, payload_len, |_, payload| payload.fill(7));
            let placed = placed.unwrap_or_else(|blocked| panic!("from {at} on: {blocked:?}"));
            assert!(placed.end.since(at) <= geometry.ring_bytes() - WATERMARK_RING_BYTES);
        }
    }
}
