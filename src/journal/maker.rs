//! Segments made ahead, so that appending never waits for a file system.
//!
//! The last segment made is the *reserve*: only settlements, expiry and trims may enter it (`journal::tail`). While the
//! ballast is given up, no other is made: what room there is belongs to the checkpoint that gives more back.

use std::io;

use crate::base::bounds::{SPARES_IDLE, SPARES_LOADED};
use crate::base::lsn::Geometry;
use crate::base::sync::{Arc, AtomicBool, Ordering};
use crate::storage::segment::Segments;

use super::marks::{Marks, Need};

/// Makes segments.
#[derive(Debug)]
pub(crate) struct Maker {
    segments: Arc<Segments>,
    marks: Arc<Marks>,
    /// A segment was used up in this life: more are kept ready from now on.
    loaded: AtomicBool,
}

impl Maker {
    pub(crate) fn new(segments: Arc<Segments>, marks: Arc<Marks>) -> Maker {
        Maker { segments, marks, loaded: AtomicBool::new(false) }
    }

    /// A segment was entered: keep more of them ready.
    pub(crate) fn expect_load(&self) {
        self.loaded.store(true, Ordering::Relaxed);
    }

    /// Makes one segment if fewer are ready than should be. Tells whether it made one.
    ///
    /// A full disk is no fault: it is marked, and appends are refused once the ready segments are used up. Any other
    /// error poisons.
    pub(crate) fn step(&self) -> io::Result<bool> {
        if self.marks.is_poisoned() || self.ready() >= self.wanted() {
            return Ok(false);
        }
        let geometry = self.geometry();
        let number = geometry.segment_of(self.marks.prepared.get());
        match self.segments.make(number) {
            Ok(()) => {
                self.marks.prepared.advance(geometry.segment_start(number + 1));
                self.marks.set_short(Need::Segment, false);
                Ok(true)
            }
            Err(e) if is_full(&e) => {
                self.marks.set_short(Need::Segment, true);
                Ok(false)
            }
            Err(e) => {
                self.marks.poison();
                Err(e)
            }
        }
    }

    /// Segments ready beyond the one that is being written.
    pub(crate) fn ready(&self) -> u64 {
        let geometry = self.geometry();
        let next = geometry.segment_of(geometry.next_segment_start(self.marks.issued.get()));
        geometry.segment_of(self.marks.prepared.get()).saturating_sub(next)
    }

    fn wanted(&self) -> u64 {
        match self.loaded.load(Ordering::Relaxed) {
            _ if self.marks.is_short(Need::Ballast) => 1,
            true => SPARES_LOADED,
            false => SPARES_IDLE,
        }
    }

    fn geometry(&self) -> Geometry {
        self.segments.geometry()
    }
}

/// Whether an error says that there is no room.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
