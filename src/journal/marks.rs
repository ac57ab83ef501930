//! The journal's watermarks, shared by everyone who writes, commits or reads.
//!
//! Invariants, at every instant:
//! * `durable ≤ written ≤ issued`: bytes below `durable` are on disk; below `written` they are in their segments (and
//!   so readable from maps); below `issued` they stand in the ring, complete.
//! * `issued ≤ prepared`: segments exist for every byte that was issued.
//! * None of them ever goes back.
//!
//! Each is moved by one party only: `issued` under the core lock, `written` under the writer's lock, `durable` under
//! the syncer's, `prepared` by the segment maker, `applied` and `replay_from` by the keeper.

use crate::base::lsn::Lsn;
use crate::base::sync::{AtomicBool, AtomicU64, Ordering};

/// What the disk may have no room for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    /// The next segment.
    Segment,
    /// What a checkpoint writes.
    Checkpoint,
    /// The ballast, which was given up: nothing but the reserve goes before it.
    Ballast,
}

const NEEDS: usize = Need::Ballast as usize + 1;

/// A stop is remembered about every this many bytes.
const STOP_BYTES: u64 = if cfg!(loom) { 128 } else { 512 << 10 };

/// Stops remembered: those of the newest 64 MiB.
const STOPS: usize = if cfg!(loom) { 4 } else { 128 };

/// One watermark. Readers that see it see every byte below it.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Mark(AtomicU64);

impl Mark {
    pub(crate) fn new(lsn: Lsn) -> Mark {
        Mark(AtomicU64::new(lsn.0))
    }

    #[inline]
    pub(crate) fn get(&self) -> Lsn {
        Lsn(self.0.load(Ordering::Acquire))
    }

    /// Moves the mark. Only the mark's one party calls this.
    #[inline]
    pub(crate) fn advance(&self, to: Lsn) {
        #[cfg(planted = "mark_relaxed")]
        let publish = Ordering::Relaxed;
        #[cfg(not(planted = "mark_relaxed"))]
        let publish = Ordering::Release;
        assert!(self.0.load(Ordering::Relaxed) <= to.0, "a watermark went back to {to}");
        self.0.store(to.0, publish);
    }
}

/// All watermarks of one journal.
#[derive(Debug)]
pub(crate) struct Marks {
    pub(crate) issued: Mark,
    pub(crate) written: Mark,
    pub(crate) durable: Mark,
    /// Where the existing segments end.
    pub(crate) prepared: Mark,
    /// Everything below is in the index.
    pub(crate) applied: Mark,
    /// The replay bound counts from here: `applied`, moved up by what is void between it and the end of the life
    /// before, since void bytes are not replayed.
    pub(crate) replay_from: Mark,
    /// Frame ends, about one in each `STOP_BYTES`, where a write may end so that `written` is always a frame's end.
    stops: [AtomicU64; STOPS],
    poisoned: AtomicBool,
    /// For each need, whether the last attempt to fill it found the disk full.
    short: [AtomicBool; NEEDS],
}

impl Marks {
    /// The marks of a journal that ends at `end`, all of it durable. Of what lies between `applied` and `end`,
    /// `to_replay` bytes are not void.
    pub(crate) fn new(end: Lsn, prepared: Lsn, applied: Lsn, to_replay: u64) -> Marks {
        assert!(applied.plus(to_replay) <= end, "more to replay than there is");
        Marks {
            issued: Mark::new(end),
            written: Mark::new(end),
            durable: Mark::new(end),
            prepared: Mark::new(prepared),
            applied: Mark::new(applied),
            replay_from: Mark::new(Lsn(end.0 - to_replay)),
            stops: std::array::from_fn(|_| AtomicU64::new(0)),
            poisoned: AtomicBool::new(false),
            short: std::array::from_fn(|_| AtomicBool::new(false)),
        }
    }

    /// Called after each append: remembers `end` if it is the first frame end in its stretch.
    #[inline]
    pub(crate) fn note_frame(&self, begin: Lsn, end: Lsn) {
        if begin.0 / STOP_BYTES != end.0 / STOP_BYTES {
            self.stops[(end.0 / STOP_BYTES) as usize % STOPS].store(end.0, Ordering::Release);
        }
    }

    /// A frame end behind `at` and at or before `to`, two stretches on if that is known.
    pub(crate) fn stop_after(&self, at: Lsn, to: Lsn) -> Lsn {
        let slot = (at.0 / STOP_BYTES + 2) as usize % STOPS;
        let stop = Lsn(self.stops[slot].load(Ordering::Acquire));
        if stop > at && stop <= to { stop } else { to }
    }

    /// From here on nothing is acknowledged and nothing written, until the database is opened anew.
    pub(crate) fn poison(&self) {
        self.poisoned.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::SeqCst)
    }

    pub(crate) fn set_short(&self, need: Need, short: bool) {
        self.short[need as usize].store(short, Ordering::SeqCst);
    }

    pub(crate) fn is_short(&self, need: Need) -> bool {
        self.short[need as usize].load(Ordering::SeqCst)
    }
}
