//! Copying what lives out of sealed segments into a survivor.
//!
//! A survivor is a file of frames like any segment. Its first frame (kind `SurvivorHeader`) carries the database id and
//! the survivor's number; each further frame (kind `Copied`) holds the live items of one frame of a source, with that
//! frame's address and epoch, so that a record keeps its LSN wherever it lies. An item is copied whole as long as one
//! of its records lives. The file is written under a temporary name, synced, renamed; its folder is synced by the
//! caller before the index refers to it.
//!
//! The sources are read from end to end, and what is found is counted against their sidecars: a record that the sidecar
//! knows and the walk does not find is damage. Then nothing is copied, and the source is named: it must stay as it is.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use hashbrown::{HashMap, HashSet};

use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::planted;
use crate::base::run::NEVER_EXPIRES;
use crate::base::segment_id::SegmentId;
use crate::base::sync::Arc;
use crate::storage::disk::{Access, File};
use crate::storage::frame::{self, Frame, HEADER_BYTES, Header, Kind, Seed};
use crate::storage::segment::{self, FOLDER, SegmentFile, Segments};

use super::entry::{Entry, each_entry, living_in};
use super::item::{FramePlace, ItemWriter, Items, Layout};
use super::sidecar::{self, Sidecar, Stretch};
use super::walk::Frames;

/// Bytes of a survivor that are gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// Bytes that a survivor ends before the greatest place that a position can name: more than twice the largest frame.
const SURVIVOR_SPARE: u32 = 128 << 20;

/// What was to be copied is more than a position can name, or does not fit together.
#[derive(Debug)]
pub(super) struct NoRoom;

/// Tells the bytes (keys, headers, bodies) of each record of an encoded event: the primitive's knowledge.
pub(crate) type Measure = fn(&[u8], &mut dyn FnMut(u64, u64)) -> Result<(), crate::base::codec::Malformed>;

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CleaningFault {
    /// A source that cannot be read in full. Reading its records, or a check, tells what is wrong with it.
    #[error("{0:?} cannot be read in full")]
    Unreadable(SegmentId),
    /// The survivor could not be written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A segment to copy from.
#[derive(Debug)]
pub(crate) struct Source {
    segment: SegmentFile,
    sidecar: Sidecar,
    /// The first live offset of each log; a log that is not here has ended.
    starts: HashMap<LogId, u64, foldhash::fast::RandomState>,
    /// Runs, by log and first offset: all of them, and those that compaction has moved elsewhere.
    runs: Vec<(LogId, u64)>,
    moved: BTreeSet<(LogId, u64)>,
}

/// A survivor that was written.
#[derive(Debug)]
pub(crate) struct Survivor {
    pub(crate) stretches: Vec<Stretch>,
    pub(crate) file_bytes: u64,
}

/// What a copy needs to know beside its sources.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) id: SegmentId,
    pub(crate) database_id: [u8; 16],
    pub(crate) epoch: u32,
    pub(crate) measure: Measure,
}

/// An item, and what it says of each log that it lives in.
type LiveItem<'a> = (Vec<Entry>, Cow<'a, [u8]>);

/// Told of the live items of one frame.
type VisitLive<'a> = dyn FnMut(&Frame<'_>, &[LiveItem<'_>]) -> Result<(), CleaningFault> + 'a;

impl Source {
    /// Opens a segment with its sidecar. Whatever prevents that, the segment is unreadable.
    pub(crate) fn open(segments: &Segments, id: SegmentId, database_id: [u8; 16]) -> Result<Source, CleaningFault> {
        let unreadable = CleaningFault::Unreadable(id);
        let Ok(sidecar) = Sidecar::open(&**segments.disk(), id, database_id) else { return Err(unreadable) };
        let Ok(segment) = segments.get(id) else { return Err(unreadable) };
        let runs = sidecar.runs().map(|run| (run.log, run.first)).collect();
        Ok(Source { segment, sidecar, starts: HashMap::default(), runs, moved: BTreeSet::new() })
    }

    pub(crate) fn id(&self) -> SegmentId {
        self.segment.id
    }

    /// The logs in the segment, in order and once each.
    pub(crate) fn logs(&self) -> Vec<LogId> {
        let mut logs: Vec<LogId> = self.sidecar.runs().map(|run| run.log).collect();
        logs.dedup();
        logs
    }

    /// Log and first offset of each run in the segment, in order.
    pub(crate) fn runs(&self) -> &[(LogId, u64)] {
        &self.runs
    }

    /// Says from where on each log lives.
    pub(crate) fn with_starts(mut self, starts: Vec<(LogId, Option<u64>)>) -> Source {
        self.starts = starts.into_iter().filter_map(|(log, start)| Some((log, start?))).collect();
        self
    }

    /// Says which runs have moved elsewhere.
    pub(crate) fn without(mut self, moved: BTreeSet<(LogId, u64)>) -> Source {
        self.moved = moved;
        self
    }

    fn lives(&self, entry: &Entry) -> bool {
        self.starts.get(&entry.log).is_some_and(|start| entry.end() > *start) && !self.has_moved(entry)
    }

    fn has_moved(&self, entry: &Entry) -> bool {
        if self.moved.is_empty() {
            return false;
        }
        let before = self.runs.partition_point(|run| *run <= (entry.log, entry.first));
        before.checked_sub(1).is_some_and(|run| self.moved.contains(&self.runs[run]))
    }

    fn bytes(&self) -> &[u8] {
        sealed_bytes(&self.segment)
    }

    /// The live items of each frame that has any.
    fn each_live(&self, segments: &Segments, seed: Seed, visit: &mut VisitLive<'_>) -> Result<(), CleaningFault> {
        // A log that ended before the sidecar was written is not in it, and its records are nobody's.
        let logs: HashSet<LogId, foldhash::fast::RandomState> = self.sidecar.runs().map(|run| run.log).collect();
        let mut found: u64 = 0;
        for (place, frame) in Frames::of(self.bytes(), self.segment.id, segments.geometry(), seed) {
            if !matches!(frame.header.kind, Kind::Events | Kind::Copied) {
                continue;
            }
            let mut live = Vec::new();
            for item in Items::of(&frame, place) {
                let item = item.map_err(|_| self.unreadable())?;
                let mut entries = Vec::new();
                each_entry(item.bytes, &mut |entry| entries.push(entry)).map_err(|_| self.unreadable())?;
                found += entries.iter().filter(|entry| logs.contains(&entry.log)).map(records).sum::<u64>();
                entries.retain(|entry| self.lives(entry));
                if !entries.is_empty() {
                    let mut living: Vec<LogId> = entries.iter().map(|entry| entry.log).collect();
                    living.sort_unstable();
                    let bytes = living_in(item.bytes, &living).map_err(|_| self.unreadable())?;
                    live.push((entries, bytes));
                }
            }
            if !live.is_empty() {
                visit(&frame, &live)?;
            }
        }
        let known: u64 = self.sidecar.runs().map(|run| run.records).sum();
        if found == known { Ok(()) } else { Err(self.unreadable()) }
    }

    fn unreadable(&self) -> CleaningFault {
        CleaningFault::Unreadable(self.segment.id)
    }
}

#[expect(unsafe_code, reason = "reads a map of a sealed segment")]
pub(super) fn sealed_bytes(segment: &SegmentFile) -> &[u8] {
    // SAFETY: a sealed segment and a survivor are never written again.
    unsafe { segment.map.bytes(0, segment.map.len()) }
}

fn records(entry: &Entry) -> u64 {
    u64::from(entry.count)
}

/// Copies what lives of the sources into a survivor, with its sidecar. `None` if nothing lives. Survivor and sidecar
/// are durable on return, but for their names.
pub(crate) fn copy(segments: &Segments, target: Target, sources: &[Source]) -> Result<Option<Survivor>, CleaningFault> {
    write_survivor(segments, target, |copy| copy.all(segments, sources))
}

/// Writes a survivor and its sidecar; `fill` puts into it what it is to hold. The promise is that of [`copy`].
pub(super) fn write_survivor(
    segments: &Segments,
    target: Target,
    fill: impl FnOnce(&mut Copy) -> Result<(), CleaningFault>,
) -> Result<Option<Survivor>, CleaningFault> {
    let disk = segments.disk();
    let unfinished = format!("{FOLDER}/s{}.new", number(target.id));
    match disk.remove(&unfinished) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e.into()),
        _ => {}
    }
    let mut copy = Copy::begin(disk.open(&unfinished, Access::Create)?, target);
    let finished = fill(&mut copy).and_then(|()| copy.finish());
    let survivor = match finished {
        Ok(Some(survivor)) => survivor,
        nothing => {
            disk.remove(&unfinished)?;
            return nothing;
        }
    };
    disk.rename(&unfinished, &segment::path(target.id))?;
    let described = sidecar::write(&**disk, target.id, target.database_id, &survivor.stretches);
    if described.is_err() {
        // Nothing will refer to it, and where there is no room it must not take any.
        segments.retire(target.id)?;
    }
    described?;
    Ok(Some(survivor))
}

fn number(id: SegmentId) -> u64 {
    match id {
        SegmentId::Survivor(number) => number,
        SegmentId::Journal(number) => unreachable!("segment {number} is no survivor"),
    }
}

/// The runs of one source, each with the first of its records that was copied. Runs stay apart, of one log too: a
/// survivor holds them in any order, and records of other segments may lie between them.
struct OpenRuns {
    runs: BTreeMap<(LogId, u64), Option<u64>>,
}

impl OpenRuns {
    fn of(source: &Source) -> OpenRuns {
        OpenRuns { runs: source.runs().iter().map(|run| (*run, None)).collect() }
    }

    /// The first record copied of the run that the entry is in; the entry's own if it is that. `None` if the sidecar
    /// knows no such run.
    fn first_copied(&mut self, entry: &Entry) -> Option<u64> {
        let run = self.runs.range_mut(..=(entry.log, entry.first)).next_back();
        let (_, first) = run.filter(|((log, _), _)| *log == entry.log)?;
        Some(*first.get_or_insert(entry.first))
    }
}

pub(super) struct Copy {
    file: Arc<dyn File>,
    target: Target,
    seed: Seed,
    written: u64,
    buffer: Vec<u8>,
    /// One stretch for each log and source, in the order of the sidecar.
    stretches: BTreeMap<(LogId, u64), Stretch>,
}

impl Copy {
    fn begin(file: Arc<dyn File>, target: Target) -> Copy {
        let seed = Seed::new(&target.database_id);
        let mut copy = Copy { file, target, seed, written: 0, buffer: Vec::new(), stretches: BTreeMap::new() };
        let mut payload = Vec::from(target.database_id);
        payload.extend_from_slice(&number(target.id).to_le_bytes());
        let header = copy.header(Kind::SurvivorHeader, Lsn(0), target.epoch, 0);
        copy.frame(&header, payload.len(), |out| out.copy_from_slice(&payload));
        copy
    }

    fn header(&self, kind: Kind, lsn: Lsn, epoch: u32, flags: u8) -> Header {
        Header { lsn, epoch, previous: 0, durable: lsn, kind, flags }
    }

    fn frame(&mut self, header: &Header, payload_len: usize, fill: impl FnOnce(&mut [u8])) {
        let at = self.buffer.len();
        self.buffer.resize(at + frame::extent(payload_len) as usize, 0);
        let bytes = &mut self.buffer[at..at + HEADER_BYTES + payload_len];
        fill(&mut bytes[HEADER_BYTES..]);
        frame::seal(bytes, header, self.seed);
    }

    fn all(&mut self, segments: &Segments, sources: &[Source]) -> Result<(), CleaningFault> {
        for source in sources {
            let mut open = OpenRuns::of(source);
            let id = source.id();
            source.each_live(segments, self.seed, &mut |frame, live| self.live_items(id, frame, live, &mut open))?;
        }
        Ok(())
    }

    /// Bytes that the survivor has so far.
    pub(super) fn bytes(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Puts items that were first written in the frame at `lsn` into the stretch of their log that begins at `first`.
    pub(super) fn items(
        &mut self,
        (lsn, epoch): (Lsn, u32),
        items: &[(Entry, Cow<'_, [u8]>)],
        first: u64,
    ) -> Result<(), NoRoom> {
        let layout = Layout::of(items.iter().map(|(_, item)| item.len()));
        let place = u32::try_from(self.bytes()).ok().filter(|place| place.checked_add(SURVIVOR_SPARE).is_some());
        let place = place.filter(|_| layout.payload_len < SURVIVOR_SPARE as usize / 2).ok_or(NoRoom)?;
        let header = self.header(Kind::Copied, lsn, epoch, layout.flags);
        let mut positions = Vec::with_capacity(items.len());
        let seed = self.seed;
        self.frame(&header, layout.payload_len, |out| {
            let mut writer = ItemWriter::new(out, layout, seed, FramePlace { place, lsn });
            positions.extend(items.iter().map(|(_, item)| writer.item(item.len(), |put| put.bytes(item))));
        });
        for ((entry, item), position) in items.iter().zip(positions) {
            let bytes = self.measured(item).ok_or(NoRoom)?;
            self.note(entry, bytes, position, first).ok_or(NoRoom)?;
        }
        Ok(())
    }

    fn live_items(
        &mut self,
        source: SegmentId,
        frame: &Frame<'_>,
        live: &[LiveItem<'_>],
        open: &mut OpenRuns,
    ) -> Result<(), CleaningFault> {
        let place = self.written + self.buffer.len() as u64;
        let place = u32::try_from(place).expect("a survivor is no larger than a segment");
        let layout = Layout::of(live.iter().map(|(_, item)| item.len()));
        let header = self.header(Kind::Copied, frame.header.lsn, frame.header.epoch, layout.flags);
        let mut positions = Vec::with_capacity(live.len());
        let seed = self.seed;
        self.frame(&header, layout.payload_len, |out| {
            let mut items = ItemWriter::new(out, layout, seed, FramePlace { place, lsn: frame.header.lsn });
            positions.extend(live.iter().map(|(_, item)| items.item(item.len(), |put| put.bytes(item))));
        });
        for ((entries, item), position) in live.iter().zip(positions) {
            let bytes = self.measured(item).ok_or(CleaningFault::Unreadable(source))?;
            for entry in entries {
                let first = open.first_copied(entry);
                let noted = first.and_then(|first| self.note(entry, bytes, position, first));
                noted.ok_or(CleaningFault::Unreadable(source))?;
            }
        }
        self.flush_if_full()
    }

    /// Bytes of the records of an item.
    fn measured(&self, item: &[u8]) -> Option<u64> {
        let mut bytes = 0;
        (self.target.measure)(item, &mut |_, record_bytes| bytes += record_bytes).ok()?;
        Some(bytes)
    }

    /// `None` if item, sidecar and segment do not fit together.
    fn note(&mut self, entry: &Entry, bytes: u64, position: u32, first: u64) -> Option<()> {
        let delta = u32::try_from(entry.first.checked_sub(first)?).ok()?;
        let stretch = self.stretches.entry((entry.log, first)).or_insert_with(|| Stretch {
            min_timestamp: entry.timestamp,
            first,
            ..Stretch::empty(entry.log)
        });
        stretch.end = entry.end();
        stretch.records += u64::from(entry.count);
        stretch.bytes += bytes;
        stretch.max_timestamp = entry.timestamp;
        stretch.min_expiry = stretch.min_expiry.min(if entry.expiry == 0 { NEVER_EXPIRES } else { entry.expiry });
        stretch.entries.push((delta, position));
        Some(())
    }

    pub(super) fn flush_if_full(&mut self) -> Result<(), CleaningFault> {
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), CleaningFault> {
        self.file.write(self.written, &self.buffer)?;
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    fn finish(&mut self) -> Result<Option<Survivor>, CleaningFault> {
        if self.stretches.is_empty() {
            return Ok(None);
        }
        self.flush()?;
        if !planted::is("survivor_not_synced") {
            self.file.sync_data()?;
        }
        let stretches = std::mem::take(&mut self.stretches).into_values().collect();
        Ok(Some(Survivor { stretches, file_bytes: self.written }))
    }
}
