//! What the engine keeps in memory of each log: where its newest records lie, what of it may be shown, who waits for
//! it.
//!
//! Positions are kept only for segments that have no sidecar yet: 8 bytes an item. Older ones are in sidecars.
//!
//! Visibility (law 4): a record written for `Sync` is shown to others once `durable` has passed its frame, and later
//! records of the same log wait behind it. A *barrier* is such a record that is not durable yet.

use std::collections::{BTreeMap, VecDeque};

use crate::base::hinted::HintedMap;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::planted;
use crate::base::run::NEVER_EXPIRES;
use crate::base::sync::{Arc, Event};
use crate::base::time::{BootTime, Timestamp};
use crate::journal::sidecar::Stretch;

use super::machine::{LogAppend, LogTimer};

/// Entries in one allocation.
const CHUNK_ENTRIES: usize = 512;

/// The items of one log in one segment that has no sidecar yet.
#[derive(Debug)]
pub(crate) struct SegmentPositions {
    pub(crate) segment: u64,
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    min_timestamp: Timestamp,
    pub(crate) max_timestamp: Timestamp,
    min_expiry: u64,
    chunks: Vec<Vec<(u32, u32)>>,
}

impl SegmentPositions {
    fn new(segment: u64, append: &LogAppend) -> SegmentPositions {
        SegmentPositions {
            segment,
            first: append.first,
            end: append.first,
            records: 0,
            bytes: 0,
            min_timestamp: append.timestamp,
            max_timestamp: append.timestamp,
            min_expiry: NEVER_EXPIRES,
            chunks: Vec::new(),
        }
    }

    #[inline]
    fn push(&mut self, append: &LogAppend, position: u32) {
        let delta = u32::try_from(append.first - self.first).expect("a segment holds fewer than 2^32 records");
        match self.chunks.last_mut() {
            Some(chunk) if chunk.len() < CHUNK_ENTRIES => chunk.push((delta, position)),
            _ => self.chunks.push(vec![(delta, position)]),
        }
        self.end = append.first + u64::from(append.count);
        self.records += u64::from(append.count);
        self.bytes += append.bytes;
        self.max_timestamp = append.timestamp;
    }

    /// The entries from the one that holds `offset` on: (first offset, position).
    fn entries_from(&self, offset: u64) -> impl Iterator<Item = (u64, u32)> + '_ {
        let delta = u32::try_from(offset.saturating_sub(self.first)).unwrap_or(u32::MAX);
        let chunk = self.chunks.partition_point(|c| c[0].0 <= delta).saturating_sub(1);
        let within = self.chunks.get(chunk).map_or(0, |c| c.partition_point(|e| e.0 <= delta).saturating_sub(1));
        self.chunks[chunk.min(self.chunks.len())..]
            .iter()
            .flatten()
            .skip(within)
            .map(|(delta, position)| (self.first + u64::from(*delta), *position))
    }

    fn entries(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK_ENTRIES + last.len())
    }

    /// A copy in the form that a sidecar is made of, of up to `max` entries behind the first `skip`.
    fn to_stretch(&self, log: LogId, skip: usize, max: usize) -> Stretch {
        let chunks = self.chunks.iter().skip(skip / CHUNK_ENTRIES);
        let entries = chunks.flatten().skip(skip % CHUNK_ENTRIES).take(max).copied().collect();
        Stretch {
            log,
            first: self.first,
            end: self.end,
            records: self.records,
            bytes: self.bytes,
            min_timestamp: self.min_timestamp,
            max_timestamp: self.max_timestamp,
            min_expiry: self.min_expiry,
            entries,
        }
    }
}

/// How far a segment's positions have been copied: this many logs, and this many entries of the next.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Copied {
    logs: usize,
    entries: usize,
}

/// An item of a log in a segment without sidecar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecentItem {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) position: u32,
}

/// Whether and when the timer of a log will fire: at most one stands for each log, at this time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Armed {
    No,
    At(Timestamp),
    /// At a time that no append brings forward.
    Soon(Timestamp),
    /// By the boot clock, which no append brings forward.
    AtBoot(BootTime),
}

impl Armed {
    /// By the wall clock.
    pub(crate) fn at(self) -> Option<Timestamp> {
        match self {
            Armed::No | Armed::AtBoot(_) => None,
            Armed::At(at) | Armed::Soon(at) => Some(at),
        }
    }
}

/// What was appended to a log in this life.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Appended {
    bytes: u64,
    /// Of the last record, whichever life it is of.
    last_timestamp: Timestamp,
}

/// A record written for `Sync` that is not durable yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Barrier {
    frame_end: Lsn,
    first: u64,
    /// What had been appended before it.
    before: Appended,
}

/// The records from the first barrier on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hidden {
    /// Their bytes; those of them that were trimmed meanwhile count too.
    pub(crate) bytes: u64,
    /// Timestamp of the record before them, if there ever was one.
    pub(crate) last_timestamp: Option<Timestamp>,
}

/// One log.
#[derive(Debug)]
pub(crate) struct LogCell {
    /// Offset of the next record.
    pub(crate) end: u64,
    /// Oldest first. Offsets below the first of these are in sidecars.
    recent: VecDeque<SegmentPositions>,
    /// In the order of their addresses and offsets.
    barriers: VecDeque<Barrier>,
    appended: Appended,
    /// What the primitive gives this log.
    pub(crate) timer: Option<LogTimer>,
    pub(crate) armed: Armed,
    waiting: u32,
    event: Arc<Event>,
}

impl LogCell {
    fn new(end: u64, timer: Option<LogTimer>) -> LogCell {
        LogCell {
            end,
            recent: VecDeque::new(),
            barriers: VecDeque::new(),
            appended: Appended::default(),
            timer,
            armed: Armed::No,
            waiting: 0,
            event: Arc::new(Event::new()),
        }
    }

    /// Whether an append may bring a timer about, or forward.
    #[inline]
    fn wants_arming(&self) -> bool {
        self.timer.is_some_and(|timer| match self.armed {
            Armed::No => true,
            Armed::At(_) => timer.is_hastened_by_appends,
            Armed::Soon(_) | Armed::AtBoot(_) => false,
        })
    }

    /// The first offset that is not shown yet.
    pub(crate) fn visible_end(&mut self, durable: Lsn) -> u64 {
        self.drop_barriers(durable);
        if planted::is("undurable_records_shown") {
            self.barriers.clear();
        }
        self.barriers.front().map_or(self.end, |barrier| barrier.first)
    }

    /// The same, for who only looks.
    pub(crate) fn shown(&self, durable: Lsn) -> u64 {
        if planted::is("undurable_records_shown") {
            return self.end;
        }
        let barrier = self.barriers.iter().find(|barrier| barrier.frame_end > durable);
        barrier.map_or(self.end, |barrier| barrier.first)
    }

    fn drop_barriers(&mut self, durable: Lsn) {
        while self.barriers.front().is_some_and(|barrier| barrier.frame_end <= durable) {
            self.barriers.pop_front();
        }
    }

    /// What lies behind the visible end, as it was last asked for.
    pub(crate) fn hidden(&self) -> Option<Hidden> {
        let Barrier { first, before, .. } = *self.barriers.front()?;
        let last_timestamp = (first > 0).then_some(before.last_timestamp);
        Some(Hidden { bytes: self.appended.bytes - before.bytes, last_timestamp })
    }

    /// Takes the timestamp of the last record of an earlier life.
    pub(crate) fn continue_after(&mut self, last_timestamp: Timestamp) {
        self.appended.last_timestamp = last_timestamp;
    }

    /// The first offset whose position is in memory; `end` if none is.
    pub(crate) fn recent_first(&self) -> u64 {
        self.recent.front().map_or(self.end, |positions| positions.first)
    }

    /// Up to `max` items from the one that holds `offset` on.
    pub(crate) fn recent_items(&self, offset: u64, max: usize) -> impl Iterator<Item = RecentItem> + '_ {
        let skip = self.recent.partition_point(|positions| positions.end <= offset);
        self.recent
            .iter()
            .skip(skip)
            .flat_map(move |p| {
                p.entries_from(offset).map(|(offset, position)| RecentItem { segment: p.segment, offset, position })
            })
            .take(max)
    }

    /// The positions in one segment.
    pub(crate) fn in_segment(&self, segment: u64) -> Option<&SegmentPositions> {
        let at = self.recent.binary_search_by_key(&segment, |positions| positions.segment).ok()?;
        self.recent.get(at)
    }

    /// The stretch of recent positions that holds `offset`.
    pub(crate) fn recent_stretch(&self, offset: u64) -> Option<&SegmentPositions> {
        self.recent.iter().find(|positions| positions.first <= offset && offset < positions.end)
    }

    /// Records and bytes from [`LogCell::recent_first`] on.
    pub(crate) fn recent_totals(&self) -> (u64, u64) {
        self.recent.iter().fold((0, 0), |(records, bytes), p| (records + p.records, bytes + p.bytes))
    }

    /// Registers a waiter; the caller holds the core lock, so no wake can come in between.
    pub(crate) fn wait(&mut self) -> Arc<Event> {
        self.waiting += 1;
        self.event.clone()
    }

    pub(crate) fn leave(&mut self) {
        self.waiting -= 1;
    }

    #[inline]
    fn to_wake(&self) -> Option<Arc<Event>> {
        (self.waiting > 0).then(|| self.event.clone())
    }
}

/// What an append leaves to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wants {
    /// Somebody waits for records.
    pub(crate) wake: bool,
    /// The log may want a timer, or an earlier one than it has.
    pub(crate) timer: bool,
}

/// All logs.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    cells: HintedMap<LogId, LogCell>,
    /// Which logs have positions in which segment without sidecar.
    by_segment: BTreeMap<u64, Vec<LogId>>,
    /// Logs to wake once `durable` has reached the address, in order.
    effects: VecDeque<(Lsn, LogId)>,
}

impl Logs {
    pub(crate) fn get(&self, log: LogId) -> Option<&LogCell> {
        self.cells.get(&log)
    }

    pub(crate) fn count(&self) -> usize {
        self.cells.len()
    }

    /// Each log has a place below their count, as long as none is opened or closed.
    pub(crate) fn id_at(&self, place: usize) -> Option<LogId> {
        self.cells.key_at(place).copied()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, log: LogId) -> Option<&mut LogCell> {
        self.cells.get_mut(&log)
    }

    pub(crate) fn open(&mut self, log: LogId, end: u64, timer: Option<LogTimer>) {
        let before = self.cells.insert(log, LogCell::new(end, timer));
        assert!(before.is_none(), "log {log:?} opened twice");
    }

    /// Forgets a log; the event wakes those who waited for it.
    pub(crate) fn close(&mut self, log: LogId) -> Option<Arc<Event>> {
        self.cells.remove(&log).and_then(|cell| cell.to_wake())
    }

    /// Records an append. With `barrier` its records stay hidden until `durable` reaches that address.
    #[inline]
    pub(crate) fn append(&mut self, append: &LogAppend, segment: u64, position: u32, barrier: Option<Lsn>) -> Wants {
        let cell = self.cells.get_mut(&append.log).expect("an append names a log that is open");
        assert!(cell.end == append.first, "log {:?} ends at {}, append at {}", append.log, cell.end, append.first);
        cell.end += u64::from(append.count);
        if let Some(frame_end) = barrier {
            cell.barriers.push_back(Barrier { frame_end, first: append.first, before: cell.appended });
        }
        cell.appended.bytes += append.bytes;
        cell.appended.last_timestamp = append.timestamp;
        Self::place(&mut self.by_segment, cell, append, segment, position);
        Wants { wake: cell.waiting > 0, timer: cell.wants_arming() }
    }

    /// Records where an append lies that the state already knows of.
    pub(crate) fn place_known(&mut self, append: &LogAppend, segment: u64, position: u32) {
        if let Some(cell) = self.cells.get_mut(&append.log) {
            Self::place(&mut self.by_segment, cell, append, segment, position);
        }
    }

    #[inline]
    fn place(
        by_segment: &mut BTreeMap<u64, Vec<LogId>>,
        cell: &mut LogCell,
        append: &LogAppend,
        segment: u64,
        position: u32,
    ) {
        if cell.recent.back().is_none_or(|positions| positions.segment != segment) {
            cell.recent.push_back(SegmentPositions::new(segment, append));
            by_segment.entry(segment).or_default().push(append.log);
        }
        cell.recent.back_mut().expect("just made").push(append, position);
    }

    /// The event of a log's waiters, if it has any.
    #[inline]
    pub(crate) fn to_wake(&self, log: LogId) -> Option<Arc<Event>> {
        self.cells.get(&log).and_then(LogCell::to_wake)
    }

    /// The log's readers are woken by whoever moves `durable` to `end` or beyond.
    #[inline]
    pub(crate) fn wake_at(&mut self, end: Lsn, log: LogId) {
        self.effects.push_back((end, log));
    }

    /// Logs whose waiters `durable` releases, at most `max` of them; their barriers go, whether anybody reads them or
    /// not. Tells whether more may be left.
    pub(crate) fn take_effects(&mut self, durable: Lsn, max: usize, wake: &mut Vec<Arc<Event>>) -> bool {
        for _ in 0..max {
            let Some(&(end, log)) = self.effects.front().filter(|(end, _)| *end <= durable) else { return false };
            self.effects.pop_front();
            if let Some(cell) = self.cells.get_mut(&log) {
                cell.drop_barriers(end);
                wake.extend(cell.to_wake());
            }
        }
        true
    }

    /// Segments below `before` that have positions in memory.
    pub(crate) fn unindexed_segments(&self, before: u64) -> Vec<u64> {
        self.by_segment.range(..before).map(|(segment, _)| *segment).collect()
    }

    /// The next of what the logs have in a sealed segment: up to `max` entries, of up to `max` logs; nothing once all
    /// is copied. The last stretch may go on with the next call, as the first. A log that has ended meanwhile comes
    /// empty, whatever came of it before.
    pub(crate) fn copy_stretches(&self, segment: u64, copied: &mut Copied, max: usize) -> Vec<Stretch> {
        let logs = self.by_segment.get(&segment).map_or(&[][..], Vec::as_slice);
        let (mut stretches, mut left) = (Vec::new(), max);
        while left > 0
            && stretches.len() < max
            && let Some(log) = logs.get(copied.logs)
        {
            let positions = self.cells.get(log).and_then(|cell| cell.in_segment(segment));
            let stretch = positions.map_or_else(|| Stretch::empty(*log), |p| p.to_stretch(*log, copied.entries, left));
            left -= stretch.entries.len();
            copied.entries += stretch.entries.len();
            if positions.is_none_or(|p| copied.entries == p.entries()) {
                *copied = Copied { logs: copied.logs + 1, entries: 0 };
            }
            stretches.push(stretch);
        }
        stretches
    }

    /// Forgets the positions of up to `max` logs in a segment that has its sidecar in the index. Tells whether more are
    /// left.
    pub(crate) fn forget_segment(&mut self, segment: u64, max: usize) -> bool {
        let Some(logs) = self.by_segment.get_mut(&segment) else { return false };
        for log in logs.drain(logs.len().saturating_sub(max)..) {
            if let Some(cell) = self.cells.get_mut(&log)
                && cell.recent.front().is_some_and(|positions| positions.segment == segment)
            {
                cell.recent.pop_front();
            }
        }
        let more = !logs.is_empty();
        if !more {
            self.by_segment.remove(&segment);
        }
        more
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn append(first: u64, count: u32) -> LogAppend {
        LogAppend { log: LogId(1), first, count, timestamp: Timestamp(first), bytes: 10 }
    }

    fn logs() -> Logs {
        let mut logs = Logs::default();
        logs.open(LogId(1), 0, None);
        logs
    }

    #[test]
    fn items_are_found_from_any_offset_across_chunks_and_segments() {
        let mut logs = logs();
        for i in 0..2000_u64 {
            logs.append(&append(i * 3, 3), i / 900, (i % 900) as u32 * 8, None);
        }
        let cell = logs.get(LogId(1)).unwrap();
        for offset in 0..6000 {
            let item = cell.recent_items(offset, 1).next().unwrap();
            assert_eq!(item.offset, offset / 3 * 3, "offset {offset}");
            assert_eq!((item.segment, item.position), (offset / 3 / 900, (offset / 3 % 900) as u32 * 8));
        }
        assert_eq!(cell.recent_items(6000, 1).next(), None);
        assert_eq!(cell.recent_items(2699, 3).map(|i| i.segment).collect::<Vec<_>>(), [0, 1, 1]);
    }

    #[test]
    fn records_behind_an_undurable_sync_record_stay_hidden_and_older_ones_do_not() {
        let mut logs = logs();
        logs.append(&append(0, 2), 0, 0, None);
        logs.append(&append(2, 1), 0, 8, Some(Lsn(100)));
        logs.append(&append(3, 1), 0, 16, None);
        logs.append(&append(4, 1), 0, 24, Some(Lsn(200)));
        let cell = logs.get_mut(LogId(1)).unwrap();
        let hidden = |bytes, timestamp| Some(Hidden { bytes, last_timestamp: Some(Timestamp(timestamp)) });
        assert_eq!((cell.visible_end(Lsn(0)), cell.hidden()), (2, hidden(30, 0)));
        assert_eq!((cell.visible_end(Lsn(100)), cell.hidden()), (4, hidden(10, 3)));
        assert_eq!((cell.visible_end(Lsn(200)), cell.hidden()), (5, None));
    }

    #[test]
    fn barriers_go_once_they_are_durable_although_nobody_reads() {
        let mut logs = logs();
        for i in 0..1000 {
            logs.append(&append(i, 1), 0, i as u32 * 8, Some(Lsn(i * 8 + 8)));
            logs.wake_at(Lsn(i * 8 + 8), LogId(1));
        }
        let barriers = |logs: &Logs| logs.get(LogId(1)).unwrap().barriers.len();
        assert!(logs.take_effects(Lsn(4000), 300, &mut Vec::new()));
        assert_eq!(barriers(&logs), 700, "no more in one hold of the lock than were asked for");
        assert!(!logs.take_effects(Lsn(4000), 300, &mut Vec::new()));
        assert_eq!(barriers(&logs), 500);
    }

    #[test]
    fn positions_are_copied_a_bounded_part_at_a_time() {
        let mut logs = logs();
        (2..300).for_each(|log| logs.open(LogId(log), 0, None));
        for i in 0..1500_u64 {
            logs.append(&append(i, 1), 0, i as u32 * 8, None);
        }
        for log in (2..300).map(LogId) {
            logs.append(&LogAppend { log, ..append(0, 1) }, 0, 8, None);
        }
        let (mut copied, mut whole, mut last) = (Copied::default(), Vec::new(), 0);
        loop {
            let part = logs.copy_stretches(0, &mut copied, 100);
            let entries: usize = part.iter().map(|stretch| stretch.entries.len()).sum();
            assert!(entries <= 100 && part.len() <= 100, "{entries} entries of {} logs", part.len());
            let Some(stretch) = part.last() else { break };
            last = stretch.log.0;
            whole.extend(part.into_iter().filter(|s| s.log == LogId(1)).flat_map(|s| s.entries));
        }
        assert_eq!(whole, (0..1500).map(|i| (i, i * 8)).collect::<Vec<_>>());
        assert_eq!(last, 299);
    }

    #[test]
    fn a_log_that_ends_while_its_positions_are_copied_comes_empty() {
        let mut logs = logs();
        for i in 0..200 {
            logs.append(&append(i, 1), 0, i as u32 * 8, None);
        }
        let mut copied = Copied::default();
        assert_eq!(logs.copy_stretches(0, &mut copied, 100)[0].entries.len(), 100);
        logs.close(LogId(1));
        assert_eq!(logs.copy_stretches(0, &mut copied, 100)[0].records, 0);
        assert!(logs.copy_stretches(0, &mut copied, 100).is_empty());
    }

    #[test]
    fn forgetting_a_segment_leaves_the_later_ones() {
        let mut logs = logs();
        for segment in 0..3 {
            logs.append(&append(segment * 10, 10), segment, 0, None);
        }
        assert_eq!(logs.unindexed_segments(2), [0, 1]);
        assert!(!logs.forget_segment(0, 10));
        assert_eq!(logs.get(LogId(1)).unwrap().recent_first(), 10);
        assert_eq!(logs.unindexed_segments(9), [1, 2]);
    }
}
