//! Compacting a run: which of its records are kept, and copying those into a survivor.
//!
//! A run is read item by item as its sidecar names them, each verified, and what is found must be what the sidecar
//! knows; otherwise the run is unreadable, and stays where it is. First the fate of each record is decided. Only if
//! one of them is to go, or a tombstone is to get its expiry, the run is copied: an item for each stretch of
//! neighbours that are kept, with the timestamp, the expiry and the frame address of the old one.

use std::borrow::Cow;
use std::ops::Range;

use crate::base::codec::Put;
use crate::base::log::LogId;
use crate::base::lsn::{Geometry, Lsn};
use crate::base::planted;
use crate::base::segment_id::SegmentId;
use crate::storage::frame::{self, Seed};
use crate::storage::segment::{SegmentFile, Segments};

use super::cleaner::{CleaningFault, Copy, NoRoom, Survivor, Target, sealed_bytes, write_survivor};
use super::entry::{Entry, RecordPart, entry_in};
use super::item::{Items, POSITION_OF_ITEM, open_item};
use super::sidecar::{Sidecar, SidecarRun};

/// Tells each record of an encoded event: the primitive's knowledge.
pub(crate) type Visit =
    for<'a> fn(&'a [u8], &mut dyn FnMut(RecordPart<'a>)) -> Result<(), crate::base::codec::Malformed>;

/// What becomes of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fate {
    Keep,
    /// A tombstone that has no expiry yet gets the one of this copy.
    Stamp,
    Go,
}

/// A run with the files that it lies in.
#[derive(Debug)]
pub(crate) struct SealedRun {
    segment: SegmentFile,
    sidecar: Sidecar,
    run: SidecarRun,
}

/// A run, and the fates of its records in the order of their offsets.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) run: SealedRun,
    pub(crate) fates: Vec<Fate>,
    /// No record of the log lies between this run and the one decided before, and both are copied.
    pub(crate) follows: bool,
}

/// An item of a run, and where it was first written.
struct RunItem<'a> {
    lsn: Lsn,
    /// Not told by an item that is verified alone.
    epoch: Option<u32>,
    entry: Entry,
    bytes: &'a [u8],
}

impl SealedRun {
    /// Opens the run of a log that begins at `first`. Whatever prevents that, the segment is unreadable.
    pub(crate) fn open(
        segments: &Segments,
        id: SegmentId,
        slot: u32,
        (log, first): (LogId, u64),
        database_id: [u8; 16],
    ) -> Result<SealedRun, CleaningFault> {
        let unreadable = CleaningFault::Unreadable(id);
        let Ok(sidecar) = Sidecar::open(&**segments.disk(), id, database_id) else { return Err(unreadable) };
        let Ok(segment) = segments.get(id) else { return Err(unreadable) };
        let found = sidecar.run(slot as usize).filter(|run| (run.log, run.first) == (log, first));
        let Some(run) = found else { return Err(unreadable) };
        Ok(SealedRun { segment, sidecar, run })
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.segment.id
    }

    /// Visits the records of the run in order, each with its item's head. It is read to its end, whatever they say.
    pub(crate) fn each_record(
        &self,
        geometry: Geometry,
        seed: Seed,
        visit_records: Visit,
        visit: &mut dyn FnMut(&Entry, &RecordPart<'_>),
    ) -> Result<(), CleaningFault> {
        self.each_item(geometry, seed, &mut |item| {
            visit_records(item.bytes, &mut |part| visit(&item.entry, &part)).map_err(|_| self.unreadable())
        })
    }

    fn unreadable(&self) -> CleaningFault {
        CleaningFault::Unreadable(self.segment.id)
    }

    fn bytes(&self) -> &[u8] {
        sealed_bytes(&self.segment)
    }

    fn each_item(
        &self,
        geometry: Geometry,
        seed: Seed,
        visit: &mut dyn FnMut(RunItem<'_>) -> Result<(), CleaningFault>,
    ) -> Result<(), CleaningFault> {
        let (mut next, mut records) = (0, 0);
        while next < self.run.entries() {
            let position = self.sidecar.entry(&self.run, next).ok_or_else(|| self.unreadable())?.position;
            let before = next;
            let mut take = |lsn, epoch, bytes| {
                let Some(item) = self.item(next, position, lsn, epoch, bytes)? else { return Ok(()) };
                (next, records) = (next + 1, records + u64::from(item.entry.count));
                visit(item)
            };
            let place = (position & !POSITION_OF_ITEM) as usize;
            let found = self.bytes().get(place..).ok_or_else(|| self.unreadable())?;
            if position & POSITION_OF_ITEM != 0 {
                let item = open_item(found, seed).map_err(|_| self.unreadable())?;
                take(item.lsn, None, item.bytes)?;
            } else {
                let frame = match self.segment.id {
                    SegmentId::Journal(number) => {
                        let lsn = geometry.segment_start(number).plus(place as u64);
                        let room = (geometry.room_to_lap(lsn) as usize).min(found.len());
                        frame::open_at(&found[..room], lsn, seed)
                    }
                    SegmentId::Survivor(_) => frame::open(found, seed),
                };
                let frame = frame.map_err(|_| self.unreadable())?;
                for item in Items::of(&frame, position) {
                    let item = item.map_err(|_| self.unreadable())?;
                    take(frame.header.lsn, Some(frame.header.epoch), item.bytes)?;
                }
            }
            if next == before {
                return Err(self.unreadable());
            }
        }
        if records == self.run.records { Ok(()) } else { Err(self.unreadable()) }
    }

    /// The item of the run's entry with this number; `None` if the bytes are an item that the run does not hold.
    fn item<'a>(
        &self,
        number: usize,
        position: u32,
        lsn: Lsn,
        epoch: Option<u32>,
        bytes: &'a [u8],
    ) -> Result<Option<RunItem<'a>>, CleaningFault> {
        let entry = entry_in(bytes, self.run.log).map_err(|_| self.unreadable())?;
        let Some(entry) = entry else { return Ok(None) };
        let known = self.sidecar.entry(&self.run, number);
        let known = known.is_some_and(|known| (known.offset, known.position) == (entry.first, position));
        Ok(known.then_some(RunItem { lsn, epoch, entry, bytes }))
    }
}

/// How records are copied.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    pub(crate) geometry: Geometry,
    pub(crate) seed: Seed,
    pub(crate) visit: Visit,
    /// What a tombstone gets that has no expiry yet.
    pub(crate) expiry: u64,
}

/// Copies what is kept of runs of one log, in the order of their offsets, into a survivor, with its sidecar. `None` if
/// nothing is kept. Survivor and sidecar are durable on return, but for their names.
pub(crate) fn copy(
    segments: &Segments,
    target: Target,
    manner: Manner,
    runs: &[Decided],
) -> Result<Option<Survivor>, CleaningFault> {
    write_survivor(segments, target, |copy| {
        let mut first = None;
        for decided in runs {
            if !decided.follows {
                first = None;
            }
            copy_run(copy, target.epoch, manner, decided, &mut first)?;
            copy.flush_if_full()?;
        }
        Ok(())
    })
}

/// Items that were first written in one frame, given out together.
#[derive(Default)]
struct Gathered {
    from: Option<(Lsn, u32)>,
    items: Vec<(Entry, Vec<u8>)>,
}

impl Gathered {
    fn give_out(&mut self, copy: &mut Copy, first: &mut Option<u64>) -> Result<(), NoRoom> {
        let Some(from) = self.from.take().filter(|_| !self.items.is_empty()) else { return Ok(()) };
        let items: Vec<_> = self.items.drain(..).map(|(entry, bytes)| (entry, Cow::Owned(bytes))).collect();
        let start = items[0].0.first;
        // A run's offsets are counted from its first in 32 bits.
        let far = first.is_some_and(|first| items.iter().any(|(entry, _)| entry.first - first > u64::from(u32::MAX)));
        if far {
            *first = None;
        }
        copy.items(from, &items, *first.get_or_insert(start))
    }
}

fn copy_run(
    copy: &mut Copy,
    epoch: u32,
    manner: Manner,
    decided: &Decided,
    first: &mut Option<u64>,
) -> Result<(), CleaningFault> {
    let (run, mut gathered, mut fates) = (&decided.run, Gathered::default(), decided.fates.iter().copied());
    run.each_item(manner.geometry, manner.seed, &mut |item| {
        let from = (item.lsn, item.epoch.unwrap_or(epoch));
        if gathered.from.is_some_and(|before| before != from) {
            gathered.give_out(copy, first).map_err(|NoRoom| run.unreadable())?;
        }
        gathered.from = Some(from);
        keep_of_item(&item, manner, &mut fates, &mut gathered.items).map_err(|_| run.unreadable())
    })?;
    gathered.give_out(copy, first).map_err(|NoRoom| run.unreadable())
}

/// An item for each stretch of neighbours that have the same fate and are kept.
fn keep_of_item(
    item: &RunItem<'_>,
    manner: Manner,
    fates: &mut dyn Iterator<Item = Fate>,
    kept: &mut Vec<(Entry, Vec<u8>)>,
) -> Result<(), crate::base::codec::Malformed> {
    let base = item.bytes.as_ptr() as usize;
    let mut open: Option<(Fate, Entry, Range<usize>)> = None;
    (manner.visit)(item.bytes, &mut |part| {
        let fate = fates.next().expect("each record was decided on");
        let start = part.encoded.as_ptr() as usize - base;
        let end = start + part.encoded.len();
        match &mut open {
            Some((same, entry, bytes)) if *same == fate => {
                (entry.count, bytes.end) = (entry.count + 1, end);
            }
            open => {
                if let Some((fate, entry, bytes)) = open.take() {
                    put_item(fate, entry, &item.bytes[bytes], item, kept);
                }
                let expiry = if fate == Fate::Stamp { manner.expiry } else { item.entry.expiry };
                let mut timestamp = item.entry.timestamp;
                if planted::is("compacted_item_loses_its_timestamp") {
                    timestamp.0 += u64::from(part.offset > item.entry.first);
                }
                let entry = Entry { first: part.offset, count: 1, timestamp, expiry, ..item.entry };
                *open = Some((fate, entry, start..end));
            }
        }
    })?;
    if let Some((fate, entry, bytes)) = open {
        put_item(fate, entry, &item.bytes[bytes], item, kept);
    }
    Ok(())
}

fn put_item(fate: Fate, entry: Entry, records: &[u8], item: &RunItem<'_>, kept: &mut Vec<(Entry, Vec<u8>)>) {
    if fate == Fate::Go {
        return;
    }
    let mut bytes = vec![0; 1 + entry.encoded_len() + records.len()];
    let mut put = Put::new(&mut bytes);
    put.u8(item.bytes[0]);
    entry.encode(&mut put);
    put.bytes(records);
    kept.push((entry, bytes));
}
