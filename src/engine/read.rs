//! The life of a read: which items hold the offsets asked for, and their bytes without copying.
//!
//! Newest first: positions of segments without sidecar are taken from memory under the core lock, a chunk at a time;
//! bytes that are not written yet are copied out of the ring in the same hold. Older positions come from the index
//! (which run) and the run's sidecar (which item), with no lock. Bytes come from read-only maps, and stay valid for
//! as long as the batch that refers to them.
//!
//! A segment may be retired between finding a run and opening it; the search is then made again, and finds the survivor
//! or that the log was trimmed.

use std::io;

use bytes::Bytes;

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::log::LogId;
use crate::base::lsn::{Geometry, Lsn};
use crate::base::run::Run;
use crate::base::segment_id::SegmentId;
use crate::base::sync::{Arc, Event, EventListener};
use crate::journal::follow::Committer;
use crate::journal::item::{ITEM_HEAD_BYTES, LoneItem, POSITION_OF_ITEM, open_item};
use crate::journal::sidecar::{Position, Sidecar, SidecarFault, SidecarRun};
use crate::journal::walk::address;
use crate::storage::disk::Map;
use crate::storage::frame::{self, Frame, Kind};
use crate::storage::segment::{self, SegmentFile};

use super::Engine;
use super::batch::{Batch, Chunk, Collect};
use super::fault::Fault;
use super::logs::RecentItem;
use super::machine::Machine;
use super::wake;

/// Times that a search is made again because a segment went away under it.
const SEARCHES_MAX: usize = 8;

/// Bytes copied out of the ring in one hold of the core lock, beyond the first frame.
const COPY_BYTES_MAX: usize = 64 << 10;

/// What there is at an offset.
#[derive(Debug)]
pub(crate) enum Read {
    /// At least one item that holds the offset or follows it.
    Items(Batch),
    /// Nothing yet.
    AtEnd,
    /// The log starts later.
    Below { start: u64, end: u64 },
    /// There is no such log.
    Gone,
}

/// Who reads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// They see a record written for `Sync` once it is durable, and what follows it no sooner.
    Readers,
    /// The engine itself, to learn what a fact to be written says: that fact is lost with the record, if it is lost.
    Everything,
}

/// Where a reader is, so that the next read need not search again.
#[derive(Debug, Default)]
pub(crate) struct Cursor {
    sealed: Option<SealedRun>,
}

impl Cursor {
    /// Whether it saves the next read a search.
    pub(crate) fn is_of_use(&self) -> bool {
        self.sealed.is_some()
    }
}

#[derive(Debug)]
struct SealedRun {
    segment: SegmentFile,
    sidecar: Sidecar,
    run: SidecarRun,
    next: usize,
}

/// What the core lock was held for.
enum Seen {
    AtEnd,
    Below {
        start: u64,
        end: u64,
    },
    Gone,
    Sealed {
        until: u64,
    },
    Written {
        items: Vec<RecentItem>,
        until: u64,
    },
    Copied(Batch),
    /// The next frame is neither whole in its segment nor whole in the ring: it is being written just now.
    InBetween,
}

/// A segment that was cut short is damage; one that is gone may just have been cleaned.
pub(crate) fn unopened(geometry: Geometry, id: SegmentId, error: io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::InvalidData => of_whole(geometry, id, segment::path(id), "the file is shorter than a segment"),
        io::ErrorKind::NotFound => gone(geometry, id, segment::path(id)),
        _ => Fault::io("opening a segment")(error),
    }
}

fn gone(geometry: Geometry, id: SegmentId, file: String) -> Fault {
    Fault::FileGone(Box::new(of_whole(geometry, id, file, "the file is missing")))
}

/// Damage that concerns everything in a segment. A survivor has no addresses of its own.
fn of_whole(geometry: Geometry, id: SegmentId, file: String, reason: &str) -> Fault {
    let (from, to) = match id {
        SegmentId::Journal(number) => (geometry.segment_start(number), geometry.segment_start(number + 1)),
        SegmentId::Survivor(_) => (Lsn(0), Lsn(0)),
    };
    Fault::Corrupt { file, offset: 0, from, to, reason: reason.to_owned() }
}

impl<M: Machine> Engine<M> {
    /// Reads items from the one that holds `from` on: at least one if there is any, and about `records` records.
    pub(crate) fn read(&self, log: LogId, from: u64, records: usize, cursor: &mut Cursor) -> Result<Read, Fault> {
        self.while_held(|| self.read_as(Sight::Readers, log, from, records, cursor))
    }

    pub(super) fn read_as(
        &self,
        sight: Sight,
        log: LogId,
        from: u64,
        records: usize,
        cursor: &mut Cursor,
    ) -> Result<Read, Fault> {
        search_again(|| {
            let until = match self.see(sight, log, from, records)? {
                Seen::AtEnd => return Ok(Some(Read::AtEnd)),
                Seen::Below { start, end } => return Ok(Some(Read::Below { start, end })),
                Seen::Gone => return Ok(Some(Read::Gone)),
                Seen::Copied(batch) => return Ok(Some(Read::Items(batch))),
                Seen::Written { items, until } => {
                    return self.read_written(log, from, &items, until, records).map(|batch| Some(Read::Items(batch)));
                }
                Seen::InBetween => return self.settle_written().map(|()| None),
                Seen::Sealed { until } => until,
            };
            let batch = self.read_sealed(log, from, until, records, cursor);
            if !matches!(batch, Ok(Some(_))) {
                cursor.sealed = None;
            }
            Ok(batch?.map(Read::Items))
        })
    }

    /// Registers a wait for records at `offset`; `None` if there is something to see already. The listener must be
    /// given back with [`Engine::stop_waiting`].
    pub(crate) fn wait_for(&self, log: LogId, offset: u64) -> Result<Option<(Arc<Event>, EventListener)>, Fault> {
        self.check_process()?;
        wake::register(&self.core, &self.marks.durable, || self.check_alive(), log, offset)
    }

    pub(crate) fn stop_waiting(&self, log: LogId) {
        if let Some(cell) = self.core.lock().logs.get_mut(log) {
            cell.leave();
        }
    }

    fn see(&self, sight: Sight, log: LogId, from: u64, records: usize) -> Result<Seen, Fault> {
        let durable = self.marks.durable.get();
        let mut guard = self.core.lock();
        if self.closed.load(crate::base::sync::Ordering::Acquire) {
            return Err(Fault::Closed);
        }
        let core = &mut *guard;
        let Some(start) = core.machine.log_start(log) else { return Ok(Seen::Gone) };
        let Some(cell) = core.logs.get_mut(log) else { return Ok(Seen::Gone) };
        let until = match sight {
            Sight::Readers => cell.visible_end(durable).max(start),
            Sight::Everything => cell.end,
        };
        if from < start {
            return Ok(Seen::Below { start, end: until });
        }
        if from >= until {
            return Ok(if from > cell.end { Seen::Below { start, end: until } } else { Seen::AtEnd });
        }
        if from < cell.recent_first() {
            return Ok(Seen::Sealed { until: until.min(cell.recent_first()) });
        }
        let written = self.marks.written.get();
        let geometry = self.segments.geometry();
        let lsn_of =
            |item: &RecentItem| geometry.segment_start(item.segment).plus(u64::from(item.position & !POSITION_OF_ITEM));
        let items: Vec<RecentItem> = cell
            .recent_items(from, records.clamp(1, FREEZE_CHUNK))
            .take_while(|item| item.offset < until && lsn_of(item) < written)
            .collect();
        if !items.is_empty() {
            return Ok(Seen::Written { items, until });
        }
        let staged: Vec<RecentItem> =
            cell.recent_items(from, records.clamp(1, FREEZE_CHUNK)).take_while(|item| item.offset < until).collect();
        Ok(self.copy_staged(log, &staged, written).map_or(Seen::InBetween, Seen::Copied))
    }

    /// Copies items that are not written yet out of the ring. The caller holds the core lock, so nothing is overwritten
    /// meanwhile. `None` if the first is no longer whole in the ring.
    #[expect(unsafe_code, reason = "reads the ring, which is shared memory")]
    fn copy_staged(&self, log: LogId, items: &[RecentItem], written: Lsn) -> Option<Batch> {
        let geometry = self.segments.geometry();
        let mut batch = Batch::default();
        let (mut copied, mut last) = (0, None);
        for item in items {
            let place = item.position & !POSITION_OF_ITEM;
            let lsn = geometry.segment_start(item.segment).plus(u64::from(place));
            let frame_lsn = self.frame_start(item, lsn)?;
            if last == Some(frame_lsn) {
                continue;
            }
            if frame_lsn < written || (copied > COPY_BYTES_MAX && !batch.items.is_empty()) {
                break;
            }
            last = Some(frame_lsn);
            let room = geometry.room_to_lap(frame_lsn) as usize;
            // SAFETY: `frame_lsn ≥ written`, and the core lock is held: nobody fills or moves marks over this place.
            let bytes = unsafe { self.commit.ring().bytes(frame_lsn, room) };
            let frame = frame::open_at(bytes, frame_lsn, self.seed).ok()?;
            copied += frame.payload.len();
            let chunk = u32::try_from(batch.chunks.len()).ok()?;
            let owned = Bytes::copy_from_slice(&bytes[..frame.extent() as usize]);
            let base = place_of(geometry.place_in_segment(frame_lsn));
            let mut collect = Collect { batch: &mut batch, chunk, base };
            collect.frame(log, item.offset, u64::MAX, &frame).ok()?;
            batch.chunks.push(Chunk {
                bytes: owned,
                segment: SegmentId::Journal(item.segment),
                base,
                is_written: false,
            });
        }
        (!batch.items.is_empty()).then_some(batch)
    }

    /// The start of the frame that holds an item. In a large frame the item has a place of its own: its frame is the
    /// newest that starts at or before it, which the ring's stops do not tell, so such items are read once written.
    fn frame_start(&self, item: &RecentItem, lsn: Lsn) -> Option<Lsn> {
        (item.position & POSITION_OF_ITEM == 0).then_some(lsn)
    }

    /// Gets what is issued written, so that it can be read from its segment.
    fn settle_written(&self) -> Result<(), Fault> {
        self.commit.drain(&|| self.on_room()).map_err(|_| {
            self.after_commit();
            Fault::Poisoned
        })
    }

    /// Reads items whose frames are in their segments.
    fn read_written(
        &self,
        log: LogId,
        from: u64,
        items: &[RecentItem],
        until: u64,
        records: usize,
    ) -> Result<Batch, Fault> {
        let mut batch = Batch::default();
        for group in items.chunk_by(|a, b| a.segment == b.segment) {
            let id = SegmentId::Journal(group[0].segment);
            let segment = self.segments.get(id).map_err(|e| unopened(self.segments.geometry(), id, e))?;
            let positions = group.iter().map(|i| Position { offset: i.offset, position: i.position });
            let wanted = Wanted { log, from, until, records };
            if self.collect(wanted, &segment, &positions.collect::<Vec<_>>(), &mut batch)? < group.len() {
                break;
            }
        }
        Ok(batch)
    }

    /// Reads from a segment that has its sidecar. `None` if the run ends before anything was found.
    fn read_sealed(
        &self,
        log: LogId,
        from: u64,
        until: u64,
        records: usize,
        cursor: &mut Cursor,
    ) -> Result<Option<Batch>, Fault> {
        let usable =
            cursor.sealed.as_ref().is_some_and(|s| s.run.log == log && s.run.first <= from && from < s.run.end);
        if !usable {
            cursor.sealed = self.find_sealed(log, from)?;
        }
        let Some(sealed) = &mut cursor.sealed else { return Ok(None) };
        let on_spot = sealed.sidecar.entry(&sealed.run, sealed.next).is_some_and(|entry| entry.offset == from);
        if !on_spot {
            sealed.next = sealed.sidecar.seek(&sealed.run, from);
        }
        let mut batch = Batch::default();
        let max = records.clamp(1, FREEZE_CHUNK * 4);
        // One more than is asked for says where the last ends.
        let positions: Vec<Position> = (sealed.next..sealed.run.entries().min(sealed.next + max + 1))
            .filter_map(|index| sealed.sidecar.entry(&sealed.run, index))
            .take_while(|entry| entry.offset < until)
            .collect();
        sealed.next += self.collect(Wanted { log, from, until, records }, &sealed.segment, &positions, &mut batch)?;
        batch.items.retain(|item| item.entry.end() > from);
        if batch.items.is_empty() {
            // The run holds nothing at or behind `from` (cleaning left it out): the next run does.
            return self.read_next_run(log, from, until, records, cursor);
        }
        Ok(Some(batch))
    }

    fn read_next_run(
        &self,
        log: LogId,
        from: u64,
        until: u64,
        records: usize,
        cursor: &mut Cursor,
    ) -> Result<Option<Batch>, Fault> {
        let Some(end) = cursor.sealed.as_ref().map(|sealed| sealed.run.end) else { return Ok(None) };
        if end <= from || end >= until {
            return Ok(None);
        }
        cursor.sealed = None;
        self.read_sealed(log, end, until, records, cursor)
    }

    fn find_sealed(&self, log: LogId, from: u64) -> Result<Option<SealedRun>, Fault> {
        let Some(run) = self.index.run_at(log, from)? else { return Ok(None) };
        self.open_run(&run).map(Some)
    }

    fn open_run(&self, run: &Run) -> Result<SealedRun, Fault> {
        let sidecar = self.open_sidecar(run.segment)?;
        let geometry = self.segments.geometry();
        let segment = self.segments.get(run.segment).map_err(|e| unopened(geometry, run.segment, e))?;
        let found = sidecar.run(run.slot as usize).filter(|r| r.log == run.log && r.first == run.first);
        let reason = "a run that the index knows is not in the sidecar";
        let missing = || of_whole(geometry, run.segment, segment::sidecar_path(run.segment), reason);
        let found = found.ok_or_else(missing)?;
        Ok(SealedRun { segment, sidecar, run: found, next: 0 })
    }

    pub(crate) fn open_sidecar(&self, id: SegmentId) -> Result<Sidecar, Fault> {
        let geometry = self.segments.geometry();
        Sidecar::open(&**self.segments.disk(), id, self.database_id).map_err(|fault| match fault {
            SidecarFault::Damaged { path, reason } => of_whole(geometry, id, path, reason),
            SidecarFault::Io(e) if e.kind() == io::ErrorKind::NotFound => gone(geometry, id, segment::sidecar_path(id)),
            SidecarFault::Io(e) => Fault::io("opening a sidecar")(e),
        })
    }

    /// Verifies and collects the items at these positions of one segment, until there are records enough. Tells how
    /// many positions it came past. Damage is told of when nothing could be read before it.
    fn collect(
        &self,
        wanted: Wanted,
        segment: &SegmentFile,
        positions: &[Position],
        batch: &mut Batch,
    ) -> Result<usize, Fault> {
        let Some(first) = positions.iter().map(|p| p.position & !POSITION_OF_ITEM).min() else { return Ok(0) };
        let (log, until) = (wanted.log, wanted.until);
        let chunk = u32::try_from(batch.chunks.len()).expect("a batch has few chunks");
        let mut window = Window { segment, end: first };
        let mut collect = Collect { batch, chunk, base: first };
        let mut done: Option<u32> = None;
        let mut past = 0;
        for position in positions {
            let collected = if position.position & POSITION_OF_ITEM != 0 {
                let item = window.item(position.position & !POSITION_OF_ITEM, self.seed);
                item.and_then(|(place, item)| collect.item(log, position.offset, until, place, item))
            } else if done != Some(position.position) {
                done = Some(position.position);
                let frame = window.frame(position.position, self.seed, self.segments.geometry());
                frame.and_then(|frame| collect.frame_at(log, position.offset, until, &frame, position.position))
            } else {
                Ok(())
            };
            match collected {
                Err(_) if wanted.is_begun(collect.batch) => break,
                collected => collected.map_err(|reason| self.damaged(segment, &positions[past..], reason))?,
            }
            past += 1;
            if wanted.is_met(collect.batch) {
                break;
            }
        }
        let end = window.end;
        let bytes = shared(&segment.map, first as usize, (end - first) as usize);
        batch.chunks.push(Chunk { bytes, segment: segment.id, base: first, is_written: true });
        Ok(past)
    }

    /// Damage at the first of these positions. The next says how far it goes, if there is one.
    fn damaged(&self, segment: &SegmentFile, positions: &[Position], reason: String) -> Fault {
        let place = |position: &Position| u64::from(position.position & !POSITION_OF_ITEM);
        let (geometry, lost) = (self.segments.geometry(), &positions[0]);
        let next = positions.iter().find(|position| place(position) > place(lost));
        let from = address(segment.id, geometry, place(lost));
        let (to, offsets) = match next {
            Some(next) => {
                (address(segment.id, geometry, place(next)), format!("{} to {}", lost.offset, next.offset - 1))
            }
            None => (from, format!("{} and maybe more", lost.offset)),
        };
        let reason = format!("{reason}; lost with it: offset {offsets}");
        Fault::Corrupt { file: segment::path(segment.id), offset: place(lost), from, to, reason }
    }
}

/// What a read asks for.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    log: LogId,
    from: u64,
    until: u64,
    records: usize,
}

impl Wanted {
    fn is_begun(&self, batch: &Batch) -> bool {
        batch.end().is_some_and(|end| end > self.from)
    }

    fn is_met(&self, batch: &Batch) -> bool {
        let wanted = self.records.max(1) as u64;
        // Offsets are at least as many as records, and told at once.
        batch.end().is_some_and(|end| end >= self.from.saturating_add(wanted))
            && batch.records_from(self.from) >= wanted
    }
}

/// Makes a search until it finds something; `None`, or a file that is gone, means that it must be made again. A file
/// that every search finds named and gone is lost.
pub(crate) fn search_again<T>(mut search: impl FnMut() -> Result<Option<T>, Fault>) -> Result<T, Fault> {
    let mut unfound = Fault::Contended;
    for _ in 0..SEARCHES_MAX {
        match search() {
            Ok(None) => unfound = Fault::Contended,
            #[cfg(not(planted = "search_once"))]
            Err(Fault::FileGone(lost)) => unfound = *lost,
            found => return found.map(|found| found.expect("nothing was looked at above")),
        }
    }
    Err(unfound)
}

fn place_of(place: u64) -> u32 {
    u32::try_from(place).expect("a segment is at most 2 GiB")
}

/// Reads frames of one segment and remembers how far it has read.
struct Window<'a> {
    segment: &'a SegmentFile,
    end: u32,
}

impl<'a> Window<'a> {
    #[expect(unsafe_code, reason = "reads a map of written bytes")]
    fn bytes_from(&self, place: u32, len: usize) -> &'a [u8] {
        let len = len.min(self.segment.map.len().saturating_sub(place as usize));
        // SAFETY: positions are of frames below `written`, or in sealed segments: such bytes are never written again.
        // Of what may follow them only the declared length is looked at, which is checked before use.
        unsafe { self.segment.map.bytes((place as usize).min(self.segment.map.len()), len) }
    }

    #[inline]
    fn frame(&mut self, place: u32, seed: frame::Seed, geometry: Geometry) -> Result<Frame<'a>, String> {
        let head = self.bytes_from(place, frame::HEADER_BYTES);
        let length = frame::declared_length(head).ok_or("no frame starts here")?;
        let bytes = self.bytes_from(place, length);
        let frame = match self.segment.id {
            SegmentId::Journal(number) => {
                frame::open_at(bytes, geometry.segment_start(number).plus(u64::from(place)), seed)
            }
            SegmentId::Survivor(_) => frame::open(bytes, seed),
        };
        let frame = frame.map_err(|fault| fault.to_string())?;
        self.end = self.end.max(place + length as u32);
        match frame.header.kind {
            Kind::Events | Kind::Copied => Ok(frame),
            _ => Err("the frame holds no events".to_owned()),
        }
    }

    /// An item in a large frame: where its bytes start, and they.
    fn item(&mut self, place: u32, seed: frame::Seed) -> Result<(u32, LoneItem<'a>), String> {
        let bytes = self.bytes_from(place, ITEM_HEAD_BYTES);
        let len = bytes.first_chunk::<4>().map(|b| u32::from_le_bytes(*b)).ok_or("no item starts here")?;
        let whole = self.bytes_from(place, ITEM_HEAD_BYTES + len as usize);
        let item = open_item(whole, seed).map_err(|fault| fault.to_string())?;
        let start = place + ITEM_HEAD_BYTES as u32;
        self.end = self.end.max(start + len);
        Ok((start, item))
    }
}

/// A stretch of a segment as shared bytes; `None` if it ends beyond the segment. Its last bytes must have been verified
/// by whoever hosts the database.
pub(crate) fn mapped(segment: &SegmentFile, start: u32, len: u32) -> Option<Bytes> {
    let is_within = (start as usize).checked_add(len as usize)? <= segment.map.len();
    is_within.then(|| shared(&segment.map, start as usize, len as usize))
}

/// A stretch of a map as shared bytes.
fn shared(map: &Map, start: usize, len: usize) -> Bytes {
    Bytes::from_owner(Mapped { map: map.clone(), start, len })
}

struct Mapped {
    map: Map,
    start: usize,
    len: usize,
}

impl AsRef<[u8]> for Mapped {
    #[expect(unsafe_code, reason = "reads a map of written bytes")]
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the stretch ends with the last frame or item that was verified in it, all below `written`: such bytes
        // are never written again while the database is open, and recovery writes the same bytes.
        unsafe { self.map.bytes(self.start, self.len) }
    }
}
