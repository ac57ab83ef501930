//! Moving the journal from the ring to its segments, and onto the disk.
//!
//! Two positions advance apart. `written` follows as soon as the ring needs room (a plain write); `durable` follows
//! when a sync is due. One party at a time holds each: the *writer's lock* is held for a write, the *syncer's lock*
//! for a sync. A plain write may go on beside a sync, so the ring drains while the disk works.
//!
//! Whoever holds the syncer's lock is the *leader*: a thread that waits for durability and finds nobody leading commits
//! for all who wait (leader and followers), so that a lone `Sync` append costs one system call and no hand-over.
//!
//! Lock order: syncer, writer, core. Nothing here is done under the core lock but cutting the batch.

use std::io;

use crate::base::lsn::Lsn;
use crate::base::planted;
use crate::base::segment_id::SegmentId;
use crate::base::sync::{Arc, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::storage::ring::Ring;
use crate::storage::segment::Segments;

use super::marks::Marks;

/// The largest batch written and synced by one system call. Above it a plain write and a sync cost no more.
const DURABLE_WRITE_BYTES_MAX: u64 = 1 << 20;

/// What committing has cost so far.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) syncs: AtomicU64,
    pub(crate) writes: AtomicU64,
    pub(crate) written_bytes: AtomicU64,
}

/// The committing end of the journal.
#[derive(Debug)]
pub(crate) struct Commit {
    ring: Arc<Ring>,
    segments: Arc<Segments>,
    marks: Arc<Marks>,
    writer: Mutex<()>,
    syncer: Mutex<()>,
    pub(crate) counters: Counters,
}

/// The right to commit: held by one thread at a time.
pub(crate) struct Lead<'a> {
    commit: &'a Commit,
    _syncer: MutexGuard<'a, ()>,
}

impl Commit {
    pub(crate) fn new(ring: Arc<Ring>, segments: Arc<Segments>, marks: Arc<Marks>) -> Commit {
        Commit { ring, segments, marks, writer: Mutex::new(()), syncer: Mutex::new(()), counters: Counters::default() }
    }

    pub(crate) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Becomes the leader unless somebody is.
    pub(crate) fn try_lead(&self) -> Option<Lead<'_>> {
        self.syncer.try_lock().map(|guard| Lead { commit: self, _syncer: guard })
    }

    /// Waits until nobody leads, and leads.
    pub(crate) fn lead(&self) -> Lead<'_> {
        Lead { commit: self, _syncer: self.syncer.lock() }
    }

    /// Of a poisoned journal: waits until nobody is in the middle of a write or a sync. None is begun any more.
    pub(crate) fn await_writers(&self) {
        let _lead = self.lead();
        drop(self.writer.lock());
    }

    /// Writes everything issued to the segments, without a sync, so that the ring has room. `on_room` is called after
    /// each write.
    pub(crate) fn drain(&self, on_room: &dyn Fn()) -> io::Result<()> {
        let writer = self.writer.lock();
        self.refuse_if_poisoned()?;
        let to = self.marks.issued.get();
        self.poison_on_error(self.write_up_to(&writer, to, on_room))
    }

    fn refuse_if_poisoned(&self) -> io::Result<()> {
        match self.marks.is_poisoned() {
            true => Err(io::Error::other("the database is poisoned by an earlier I/O error")),
            false => Ok(()),
        }
    }

    fn poison_on_error<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.is_err() {
            self.marks.poison();
        }
        result
    }

    fn write_up_to(&self, _writer: &MutexGuard<'_, ()>, to: Lsn, on_room: &dyn Fn()) -> io::Result<()> {
        let geometry = self.ring.geometry();
        while self.marks.written.get() < to {
            let stop = self.marks.stop_after(self.marks.written.get(), to);
            #[cfg(planted = "written_early")]
            self.marks.written.advance(stop);
            let mut at = self.marks.written.get();
            while at < stop {
                let len = geometry.room_to_lap(at).min(stop.since(at));
                let file = self.segments.get(SegmentId::Journal(geometry.segment_of(at)))?.file;
                file.write(geometry.place_in_segment(at), self.staged(at, len))?;
                self.count_write(len);
                at = at.plus(len);
            }
            self.marks.written.advance(stop);
            on_room();
        }
        Ok(())
    }

    /// The staged bytes `[at, at + len)`.
    #[expect(unsafe_code, reason = "reads the ring, which is shared memory")]
    fn staged(&self, at: Lsn, len: u64) -> &[u8] {
        assert!(at >= self.marks.written.get() && at.plus(len) <= self.marks.issued.get());
        // SAFETY: the range lies in `[written, issued)`, and only holders of the writer's lock, which every caller
        // holds until the bytes are written, move `written`.
        unsafe { self.ring.bytes(at, len as usize) }
    }

    fn count_write(&self, len: u64) {
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.counters.written_bytes.fetch_add(len, Ordering::Relaxed);
    }
}

impl Lead<'_> {
    /// Makes everything issued durable. `cut` closes the batch under the core lock and returns where it ends; `on_room`
    /// is called after each write. On an error the marks are poisoned and `durable` has not moved.
    pub(crate) fn sync(&self, cut: impl FnOnce() -> Lsn, on_room: &dyn Fn()) -> io::Result<()> {
        let commit = self.commit;
        let writer = commit.writer.lock();
        commit.refuse_if_poisoned()?;
        let to = cut();
        assert!(to <= commit.marks.issued.get());
        commit.poison_on_error(match self.single_write(to) {
            Some(from) => self.write_durable(writer, from, to, on_room),
            None => self.write_then_sync(writer, to, on_room),
        })
    }

    /// Where the batch starts, if one durable write may carry it. Such a write syncs its own range only: it is used
    /// only when everything written before is durable.
    fn single_write(&self, to: Lsn) -> Option<Lsn> {
        let (marks, geometry) = (&self.commit.marks, self.commit.ring.geometry());
        let (written, durable) = (marks.written.get(), marks.durable.get());
        let nothing_unsynced = written == durable || planted::is("range_sync_leaves_hole");
        let len = to.since(written);
        let one_piece = len > 0 && len <= geometry.room_to_lap(written).min(DURABLE_WRITE_BYTES_MAX);
        (nothing_unsynced && one_piece).then_some(written)
    }

    fn write_durable(&self, writer: MutexGuard<'_, ()>, from: Lsn, to: Lsn, on_room: &dyn Fn()) -> io::Result<()> {
        let (commit, geometry) = (self.commit, self.commit.ring.geometry());
        let file = commit.segments.get(SegmentId::Journal(geometry.segment_of(from)))?.file;
        file.write_durable(geometry.place_in_segment(from), commit.staged(from, to.since(from)))?;
        commit.count_write(to.since(from));
        commit.counters.syncs.fetch_add(1, Ordering::Relaxed);
        commit.marks.written.advance(to);
        commit.marks.durable.advance(to);
        drop(writer);
        on_room();
        Ok(())
    }

    fn write_then_sync(&self, writer: MutexGuard<'_, ()>, to: Lsn, on_room: &dyn Fn()) -> io::Result<()> {
        let (commit, geometry) = (self.commit, self.commit.ring.geometry());
        commit.write_up_to(&writer, to, on_room)?;
        drop(writer);
        let durable = commit.marks.durable.get();
        if durable == to {
            return Ok(());
        }
        let newest = geometry.segment_of(Lsn(to.0 - 1));
        let first = if planted::is("newest_segment_synced_only") { newest } else { geometry.segment_of(durable) };
        for number in first..=newest {
            let synced = commit.segments.get(SegmentId::Journal(number))?.file.sync_data();
            if !planted::is("failed_sync_forgiven") {
                synced?;
            }
            commit.counters.syncs.fetch_add(1, Ordering::Relaxed);
        }
        commit.refuse_if_poisoned()?;
        commit.marks.durable.advance(to);
        on_room();
        Ok(())
    }
}
