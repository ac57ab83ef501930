//! What is known of every stream, and how facts change it.
//!
//! Invariants: a stream's slot, name, id and the logs of its partitions are entered together and leave together. Ids of
//! streams and logs are below the counters, which only grow, so that none is given twice. A partition's records have
//! the offsets `start..end`, all of them but for as many holes as compaction is known to have made.
//!
//! Each rule stands once, in [`make_true`] and [`Partition`]; the state and the overlay (`overlay.rs`) only differ in
//! where they keep what changes.

use std::collections::BTreeMap;
use std::ops::Bound;

use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::command::{Command, Options, StreamHandle};
use super::event::{Compacted, Event, Span, Trimmed};
use super::groups::{self, Groups};
use super::mapping::Mappings;
use super::producers::{self, Producers};
use super::reply::Reply;
use crate::base::codec::Malformed;
use crate::base::hinted::HintedMap;
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;
use crate::engine::machine::LogCursor;
use crate::journal::entry::Entry;

pub(super) type Map<K, V> = HashMap<K, V, FixedState>;

/// Where a pass over all logs comes to those of producers and groups.
const NUMBERS_FROM: u64 = 1 << 63;

/// Every stream.
#[derive(Default)]
pub(crate) struct State {
    slots: Vec<Option<Stream>>,
    /// Slots that are `None`; the last is taken next.
    free: Vec<u32>,
    names: BTreeMap<Box<str>, u32>,
    ids: Map<u64, u32>,
    logs: HintedMap<LogId, Place>,
    counters: Counters,
    producers: Producers,
    groups: Groups,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) head: Head,
    pub(super) partitions: Box<[Partition]>,
}

/// What a stream is, apart from what is in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(super) name: Box<str>,
    pub(super) mappings: Mappings,
    /// The number of partitions is that of the newest mapping.
    pub(super) options: Options,
}

/// What is known of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Partition {
    /// Offset of the first record, and of the next one to be appended. Equal when the partition is empty.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Bytes of keys, headers and bodies.
    pub(crate) bytes: u64,
    /// Timestamp of the last record that was ever appended; 0 before the first.
    pub(crate) last_timestamp: Timestamp,
    /// Timestamp of the first record from `start` on; 0 when the partition is empty.
    pub(crate) start_timestamp: Timestamp,
    pub(crate) compacted: CompactedPart,
}

/// What compaction has told of a partition.
///
/// It tells after it has left records out, and a crash may come between: there are at least as many holes, and no more
/// bytes in the partition, until the next pass.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct CompactedPart {
    /// Offsets in `start..end` without a record.
    pub(crate) holes: u64,
    /// Below it no key has two records.
    pub(crate) cleaned: u64,
    /// How often it has told. What was measured before is not known to hold after.
    pub(crate) passes: u64,
}

/// Where a log's partition is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub(super) slot: u32,
    pub(super) partition: u32,
}

/// The ids that are given next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Counters {
    pub(super) stream: u64,
    pub(super) log: u64,
}

impl Default for Counters {
    fn default() -> Counters {
        Counters { stream: 1, log: 1 }
    }
}

impl Counters {
    pub(super) fn next_log(&self) -> u64 {
        self.log
    }

    /// Never gives the ids of `span` again.
    fn pass(&mut self, span: &Span) {
        self.stream = self.stream.max(span.stream + 1);
        self.pass_logs(span.first_log, span.partitions);
    }

    fn pass_logs(&mut self, first: LogId, count: u32) {
        self.log = self.log.max(first.0 + u64::from(count));
    }
}

impl Head {
    pub(super) fn new(name: &str, span: Span, options: Options) -> Head {
        Head { name: name.into(), mappings: Mappings::new(span), options }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn mappings(&self) -> &Mappings {
        &self.mappings
    }

    #[inline]
    pub(crate) fn partitions(&self) -> u32 {
        self.mappings.partitions()
    }

    #[inline]
    pub(crate) fn log(&self, partition: u32) -> LogId {
        self.mappings.log(partition)
    }

    pub(super) fn stream(&self) -> u64 {
        self.mappings.stream()
    }

    pub(super) fn handle(&self, slot: u32) -> StreamHandle {
        StreamHandle { slot, id: self.mappings.stream() }
    }

    pub(super) fn add(&mut self, span: Span, since: Lsn) {
        self.mappings.add(span, since);
        self.options.partitions = self.mappings.partitions();
    }

    /// Takes the newest span back; `false` if it is the one that the stream was created with.
    pub(super) fn remove(&mut self, span: &Span) -> bool {
        let is_added = self.mappings.remove(span);
        self.options.partitions = self.mappings.partitions();
        is_added
    }
}

impl Stream {
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    pub(crate) fn partitions(&self) -> &[Partition] {
        &self.partitions
    }

    /// Gives it as many partitions as its head says: further ones are empty, the last ones go.
    fn resize(&mut self) {
        let mut partitions = std::mem::take(&mut self.partitions).into_vec();
        partitions.resize(self.head.partitions() as usize, Partition::default());
        self.partitions = partitions.into();
    }
}

impl Partition {
    pub(crate) fn records(&self) -> u64 {
        self.end - self.start - self.compacted.holes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes the records of an item in at the end.
    #[inline]
    pub(super) fn append(&mut self, entry: &Entry, bytes: u64) {
        assert_eq!(entry.first, self.end, "records must follow those before them");
        if self.is_empty() {
            self.start_timestamp = entry.timestamp;
        }
        self.end = entry.end();
        self.bytes += bytes;
        self.last_timestamp = self.last_timestamp.max(entry.timestamp);
    }

    fn trim(&mut self, trimmed: &Trimmed) {
        assert!(self.start < trimmed.start && trimmed.start <= self.end, "a trim must end inside the partition");
        assert!(trimmed.bytes <= self.bytes, "a trim must not take more bytes than there are");
        assert_eq!(trimmed.start == self.end, trimmed.start_timestamp.is_none(), "what is left has a timestamp");
        assert!(trimmed.holes <= self.compacted.holes, "a trim must not take more holes than there are");
        self.compacted.holes -= trimmed.holes;
        self.start = trimmed.start;
        self.bytes -= trimmed.bytes;
        self.start_timestamp = trimmed.start_timestamp.unwrap_or_default();
    }
}

impl Partition {
    fn take_note(&mut self, compacted: &Compacted) {
        let offsets = self.end - self.start;
        assert!(compacted.records <= offsets && compacted.through <= self.end, "compaction tells of what there is");
        self.bytes = compacted.bytes;
        let CompactedPart { cleaned, passes, .. } = self.compacted;
        let (holes, cleaned) = (offsets - compacted.records, cleaned.max(compacted.through));
        self.compacted = CompactedPart { holes, cleaned, passes: passes + 1 };
    }
}

/// Something that holds streams and can be told facts. What a fact names exists.
pub(super) trait Cells {
    fn partition_mut(&mut self, log: LogId) -> &mut Partition;
    fn head_mut(&mut self, span: &Span) -> &mut Head;
    fn counters_mut(&mut self) -> &mut Counters;
    /// Enters a stream with empty partitions.
    fn open(&mut self, head: Head);
    /// Adds empty partitions to the stream.
    fn extend(&mut self, span: &Span, since: Lsn);
    /// Ends the newest of its spans, and with the last of them the stream, whose producers and groups went before.
    fn close(&mut self, span: &Span);
    fn producers(&mut self) -> impl producers::Cells;
    fn groups(&mut self) -> impl groups::Cells;
}

/// Makes a fact true; `lsn` is where its frame starts.
#[inline]
pub(super) fn make_true(cells: &mut impl Cells, event: &Event<'_>, lsn: Lsn) {
    match event {
        Event::Appended(appended) => {
            cells.partition_mut(appended.entry.log).append(&appended.entry, appended.bytes);
        }
        Event::Trimmed(trimmed) => cells.partition_mut(trimmed.log).trim(trimmed),
        Event::Compacted(compacted) => cells.partition_mut(compacted.log).take_note(compacted),
        Event::Created { span, options, name } => {
            cells.counters_mut().pass(span);
            cells.open(Head::new(name, *span, *options));
        }
        Event::Altered { span, options } => {
            let head = cells.head_mut(span);
            head.options = Options { partitions: head.partitions(), ..*options };
        }
        Event::Extended { span } => {
            cells.counters_mut().pass(span);
            cells.extend(span, lsn);
        }
        Event::Deleted { span } => cells.close(span),
        Event::Producers(event) => make_true_of_producers(cells, event, lsn),
        Event::Groups(event) => make_true_of_groups(cells, event),
    }
}

#[inline(never)]
fn make_true_of_producers(cells: &mut impl Cells, event: &producers::Event<'_>, lsn: Lsn) {
    if let producers::Event::Opened(opened) = event {
        cells.counters_mut().pass_logs(LogId(opened.number), 1);
    }
    producers::make_true(&mut cells.producers(), event, lsn);
}

#[inline(never)]
fn make_true_of_groups(cells: &mut impl Cells, event: &groups::Event<'_>) {
    if let Some(number) = event.created() {
        cells.counters_mut().pass_logs(LogId(number), 1);
    }
    groups::make_true(&mut cells.groups(), event);
}

impl Cells for State {
    #[inline]
    fn partition_mut(&mut self, log: LogId) -> &mut Partition {
        let place = *self.logs.get_mut(&log).expect("a log that is appended to or trimmed exists");
        let stream = self.slots[place.slot as usize].as_mut().expect("a log's stream exists");
        &mut stream.partitions[place.partition as usize]
    }

    fn head_mut(&mut self, span: &Span) -> &mut Head {
        let slot = self.ids[&span.stream];
        &mut self.slots[slot as usize].as_mut().expect("a stream's slot is taken").head
    }

    fn counters_mut(&mut self) -> &mut Counters {
        &mut self.counters
    }

    fn open(&mut self, head: Head) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u32 - 1
        });
        self.place_logs(slot, 0, head.mappings.logs());
        let before = (self.names.insert(head.name.clone(), slot), self.ids.insert(head.mappings.stream(), slot));
        assert_eq!(before, (None, None), "a stream's name and id are its own");
        let partitions = vec![Partition::default(); head.partitions() as usize].into();
        self.slots[slot as usize] = Some(Stream { head, partitions });
    }

    fn extend(&mut self, span: &Span, since: Lsn) {
        let slot = self.ids[&span.stream];
        let stream = self.slots[slot as usize].as_mut().expect("a stream's slot is taken");
        let first = stream.head.partitions();
        stream.head.add(*span, since);
        stream.resize();
        self.place_logs(slot, first, span.logs());
    }

    fn close(&mut self, span: &Span) {
        let slot = self.ids[&span.stream];
        for log in span.logs() {
            self.logs.remove(&log);
        }
        let stream = self.slots[slot as usize].as_mut().expect("a stream's slot is taken");
        if stream.head.remove(span) {
            return stream.resize();
        }
        self.names.remove(&stream.head.name);
        self.ids.remove(&span.stream);
        self.slots[slot as usize] = None;
        self.free.push(slot);
    }

    fn producers(&mut self) -> impl producers::Cells {
        &mut self.producers
    }

    fn groups(&mut self) -> impl groups::Cells {
        &mut self.groups
    }
}

impl State {
    /// Makes a fact true; `lsn` is where its frame starts.
    #[inline]
    pub(crate) fn apply(&mut self, event: &Event<'_>, lsn: Lsn) {
        make_true(self, event, lsn);
    }

    /// Enters the logs of a stream's partitions from number `first` on.
    fn place_logs(&mut self, slot: u32, first: u32, logs: impl Iterator<Item = LogId>) {
        for (partition, log) in (first..).zip(logs) {
            let before = self.logs.insert(log, Place { slot, partition });
            assert!(before.is_none(), "a log's id is given once");
        }
    }

    /// The level that the stream appended to has now, if it has one.
    #[inline]
    pub(crate) fn level(&self, command: &Command<'_>) -> Option<Level> {
        match command {
            Command::Append(append) => self.stream(append.stream)?.head.options.level,
            Command::Produce(produce) => self.stream(produce.append.stream)?.head.options.level,
            _ => None,
        }
    }

    /// The handle of the stream with this name.
    pub(crate) fn lookup(&self, name: &str) -> Option<StreamHandle> {
        let slot = *self.names.get(name)?;
        Some(self.at(slot)?.head.handle(slot))
    }

    /// The stream, unless it was deleted since the handle was made.
    #[inline]
    pub(crate) fn stream(&self, handle: StreamHandle) -> Option<&Stream> {
        match self.at(handle.slot) {
            Some(stream) if stream.head.mappings.stream() == handle.id => Some(stream),
            _ => self.elsewhere(handle.id),
        }
    }

    /// A stream whose handle is of an earlier life, in which it had another slot.
    #[cold]
    #[inline(never)]
    fn elsewhere(&self, id: u64) -> Option<&Stream> {
        self.by_id(id)
    }

    /// The stream with this id.
    pub(crate) fn by_id(&self, id: u64) -> Option<&Stream> {
        self.at(self.slot_of_id(id)?)
    }

    /// A reply of an earlier life with the slot that its stream has now; a deleted stream's has none that finds it.
    pub(crate) fn renewed(&self, reply: Reply) -> Reply {
        match reply {
            Reply::Stream(StreamHandle { slot, id }) => {
                Reply::Stream(StreamHandle { slot: self.slot_of_id(id).unwrap_or(slot), id })
            }
            reply => reply,
        }
    }

    /// Every stream, by name.
    pub(crate) fn streams(&self) -> impl Iterator<Item = (StreamHandle, &Stream)> {
        self.names.values().filter_map(|&slot| self.at(slot).map(|stream| (stream.head.handle(slot), stream)))
    }

    /// Every log with the offset of its first record and that of the next.
    pub(crate) fn logs(&self, visit: &mut dyn FnMut(LogId, u64, u64)) {
        for stream in self.slots.iter().flatten() {
            for (log, partition) in stream.head.mappings.logs().zip(&stream.partitions) {
                visit(log, partition.start, partition.end);
            }
        }
        self.numbers_from(0).for_each(|number| visit(LogId(number), 0, 0));
    }

    /// The same in pieces of at most `steps` steps, without offsets. The cursor is a slot and a partition: a stream
    /// keeps its slot for as long as it lives. Behind the slots it is the number of a producer or a group.
    pub(crate) fn next_logs(&self, cursor: &mut LogCursor, steps: usize, visit: &mut dyn FnMut(LogId)) -> bool {
        if cursor.0 >= NUMBERS_FROM {
            return self.next_logs_without_records(cursor, steps, visit);
        }
        let (mut slot, mut partition) = ((cursor.0 >> 32) as usize, cursor.0 as u32);
        for _ in 0..steps {
            match self.slots.get(slot) {
                None => {
                    cursor.0 = NUMBERS_FROM;
                    return true;
                }
                Some(Some(stream)) if partition < stream.head.partitions() => {
                    visit(stream.head.log(partition));
                    partition += 1;
                }
                Some(_) => (slot, partition) = (slot + 1, 0),
            }
        }
        cursor.0 = (slot as u64) << 32 | u64::from(partition);
        true
    }

    fn next_logs_without_records(&self, cursor: &mut LogCursor, steps: usize, visit: &mut dyn FnMut(LogId)) -> bool {
        for number in self.numbers_from(cursor.0 - NUMBERS_FROM).take(steps) {
            visit(LogId(number));
            cursor.0 = NUMBERS_FROM + number + 1;
        }
        self.numbers_from(cursor.0 - NUMBERS_FROM).next().is_some()
    }

    /// Numbers of logs that producers and groups have, in order, from this one on.
    fn numbers_from(&self, number: u64) -> impl Iterator<Item = u64> {
        let mut producers = self.producers.starting_at(number).map(|(number, _)| number).peekable();
        let mut groups = self.groups.starting_at(number).map(|(number, _)| number).peekable();
        std::iter::from_fn(move || match (producers.peek(), groups.peek()) {
            (Some(producer), Some(group)) if group < producer => groups.next(),
            (Some(_), _) => producers.next(),
            (None, _) => groups.next(),
        })
    }

    /// The first offset of a log; `None` if there is no such log.
    pub(crate) fn log_start(&self, log: LogId) -> Option<u64> {
        let start = self.of_log(log).map(|(_, partition)| partition.start);
        let is_number = || self.producers.get(log.0).is_some() || self.groups.get(log.0).is_some();
        start.or_else(|| is_number().then_some(0))
    }

    /// The name of the stream whose partition a log is, and the number of the partition.
    pub(crate) fn name_of_log(&self, log: LogId) -> Option<(&str, u32)> {
        let place = self.place(log)?;
        Some((&self.at(place.slot)?.head.name, place.partition))
    }

    /// Timestamp of the last record that a log ever had; 0 before the first.
    pub(crate) fn log_last_timestamp(&self, log: LogId) -> Timestamp {
        self.of_log(log).map_or(Timestamp(0), |(_, partition)| partition.last_timestamp)
    }

    /// Up to `max` names of streams behind `after`, in order.
    pub(crate) fn names_after(&self, after: &str, max: usize) -> Vec<String> {
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        self.names.range::<str, _>(behind).take(max).map(|(name, _)| name.to_string()).collect()
    }

    /// The stream and the partition that a log is.
    pub(super) fn of_log(&self, log: LogId) -> Option<(&Stream, &Partition)> {
        let place = self.place(log)?;
        let stream = self.at(place.slot)?;
        Some((stream, &stream.partitions[place.partition as usize]))
    }

    pub(super) fn place(&self, log: LogId) -> Option<Place> {
        self.logs.get(&log).copied()
    }

    #[inline]
    pub(super) fn at(&self, slot: u32) -> Option<&Stream> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn slot_of_name(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    pub(super) fn slot_of_id(&self, stream: u64) -> Option<u32> {
        self.ids.get(&stream).copied()
    }

    pub(crate) fn producers(&self) -> &Producers {
        &self.producers
    }

    pub(super) fn producers_mut(&mut self) -> &mut Producers {
        &mut self.producers
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    pub(super) fn groups_mut(&mut self) -> &mut Groups {
        &mut self.groups
    }

    pub(super) fn counters(&self) -> Counters {
        self.counters
    }

    pub(super) fn log_count(&self) -> usize {
        self.logs.len()
    }

    /// The slot that the next but `skip` streams will take.
    pub(super) fn slot_ahead(&self, skip: usize) -> u32 {
        match self.free.len().checked_sub(skip + 1) {
            Some(at) => self.free[at],
            None => (self.slots.len() + skip - self.free.len()) as u32,
        }
    }

    /// Takes the counters back from the checkpoint.
    pub(super) fn restore_counters(&mut self, counters: Counters) {
        self.counters = counters;
    }

    /// Takes a stream back from the checkpoint, its partitions empty.
    pub(super) fn restore_stream(&mut self, head: Head) -> Result<(), Malformed> {
        let mut after = self.counters;
        head.mappings.spans().for_each(|span| after.pass(&span));
        let is_given = after == self.counters;
        let is_free = !self.ids.contains_key(&head.mappings.stream()) && !self.names.contains_key(&head.name);
        if !is_given || !is_free || head.mappings.logs().any(|log| self.logs.contains_key(&log)) {
            return Err(Malformed("a stream with ids or a name that cannot be its own"));
        }
        self.open(head);
        Ok(())
    }

    /// Takes a partition back from the checkpoint, after its stream.
    pub(super) fn restore_partition(&mut self, log: LogId, partition: Partition) -> Result<(), Malformed> {
        self.place(log).ok_or(Malformed("a partition without its stream"))?;
        *self.partition_mut(log) = partition;
        Ok(())
    }
}
