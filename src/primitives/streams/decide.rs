//! The rules: which commands are accepted, and what becomes true by them.
//!
//! A command is checked whole before its first event is given out.

use super::command::{Append, Command, Group, Options, Outcome, Refusal, Retention, StreamHandle};
use super::compaction;
use super::event::{Appended, Event, Span, Trimmed};
use super::groups;
use super::overlay::{Overlay, View};
use super::producers;
use super::reply::{Range, Ranges, Reply};
use super::rows::{COUNTERS, partition_row, stream_row};
use super::state::{Head, Map, Partition, State};
use crate::base::bounds::{
    BODY_BYTES_MAX, HEADER_BLOCK_BYTES_MAX, KEY_BYTES_MAX, LARGE_FRAME_BYTES, LOGS_MAX, MAPPINGS_MAX, PARTITIONS_MAX,
    RECORDS_PER_BATCH_MAX,
};
use crate::base::log::LogId;
use crate::base::name;
use crate::base::row::RowKey;
use crate::base::time::{Now, Timestamp};
use crate::engine::machine::{Context, Lookup, Stretch, Until};
use crate::journal::entry::Entry;
use crate::primitives::record::Record;

/// Bytes of records in one item, unless a single record has more. Items of a large frame have checksums of their own;
/// this bounds what must be read and checked for the sake of one record.
pub(super) const ITEM_RECORD_BYTES_MAX: usize = LARGE_FRAME_BYTES - 64;

/// A record with no more bytes than this is within the limit of each of its parts.
const SURELY_WITHIN: usize = KEY_BYTES_MAX;

const _: () = assert!(SURELY_WITHIN <= BODY_BYTES_MAX && SURELY_WITHIN <= HEADER_BLOCK_BYTES_MAX);

/// A refusal, and the object that it reveals.
pub(super) struct Refused {
    refusal: Refusal,
    rests_on: Option<RowKey>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused { refusal, rests_on: None }
    }
}

impl Refusal {
    pub(super) fn resting_on(self, row: RowKey) -> Refused {
        Refused { refusal: self, rests_on: Some(row) }
    }
}

/// Decides one command on the state with `overlay` applied; `emit` takes the events of an accepted one.
#[inline(always)]
pub(crate) fn decide<'c>(
    state: &State,
    overlay: &Overlay,
    command: &Command<'c>,
    context: &Context<'_>,
    mut emit: impl FnMut(Event<'c>),
) -> Outcome {
    let view = View::new(state, overlay);
    let decided = match command {
        // The hot path: its reply goes out without a detour.
        Command::Append(append) => match decide_append(&view, append, context.now, &mut emit) {
            Ok(reply) => return Outcome::Accept(reply),
            Err(refused) => Err(refused),
        },
        command => decide_rare(&view, command, context, emit),
    };
    decided.unwrap_or_else(|Refused { refusal, rests_on }| Outcome::Refuse { refusal, rests_on })
}

#[cold]
fn decide_rare<'c>(
    view: &View<'_>,
    command: &Command<'c>,
    context: &Context<'_>,
    mut emit: impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    match *command {
        Command::Append(ref append) => decide_append(view, append, context.now, &mut emit).map(Outcome::Accept),
        Command::Create { name, options } => create(view, name, &options, emit),
        Command::Ensure { name, options } => ensure(view, name, &options, emit),
        Command::AddPartitions { stream, count } => add_partitions(view, stream, count, context.now, emit),
        Command::Delete { name } => delete(view, name, emit),
        Command::TrimBefore { stream, partition, offset } => {
            trim_before(view, stream, partition, offset, context, emit)
        }
        Command::Expire { log } => Ok(expire(view, log, context, &mut emit)),
        Command::Compacted(ref recount) => Ok(compaction::recount(view, recount, &mut emit)),
        Command::OpenProducer { stream, name, expire_after_micros } => {
            producers::open(view, stream, name, expire_after_micros, context.now, &mut emit)
        }
        Command::Produce(ref produce) => producers::produce(view, produce, context.now, &mut emit),
        Command::ExpireProducer { number } => Ok(producers::expire(view, number, context.now, &mut emit)),
        Command::Groups(ref command) => groups::decide(view, command, context, &mut emit),
    }
}

fn create<'c>(
    view: &View<'_>,
    name: &'c str,
    options: &Options,
    mut emit: impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    check_options(options)?;
    let Some((handle, head)) = view.find(name) else {
        let (event, reply) = open(view, name, options)?;
        emit(event);
        return Ok(Outcome::Accept(reply));
    };
    if head.options != *options {
        let differences = head.options.differences(options);
        return Err(Refusal::Mismatch { differences }.resting_on(stream_row(handle.id)));
    }
    Ok(Outcome::Unchanged { reply: Reply::Stream(handle), rests_on: Some(stream_row(handle.id)) })
}

fn ensure<'c>(
    view: &View<'_>,
    name: &'c str,
    options: &Options,
    mut emit: impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    match view.find(name) {
        Some((handle, head)) if head.options.may_become(options) && head.options != *options => {
            check_options(options)?;
            head.mappings.spans().for_each(|span| emit(Event::Altered { span, options: *options }));
            Ok(Outcome::Accept(Reply::Stream(handle)))
        }
        Some((handle, head)) if head.options.partitions != options.partitions => {
            check_options(options)?;
            let fixed = Options { partitions: options.partitions, ..head.options };
            let differences = head.options.differences(&fixed);
            Err(Refusal::Mismatch { differences }.resting_on(stream_row(handle.id)))
        }
        Some((handle, head)) if head.options.compaction.is_some() != options.compaction.is_some() => {
            let fixed = Options { compaction: options.compaction, ..head.options };
            let differences = head.options.differences(&fixed);
            Err(Refusal::Mismatch { differences }.resting_on(stream_row(handle.id)))
        }
        _ => create(view, name, options, emit),
    }
}

/// The event that makes a new stream, and the reply that names it.
fn open<'c>(view: &View<'_>, name: &'c str, options: &Options) -> Result<(Event<'c>, Reply), Refused> {
    name::check(name).map_err(Refusal::InvalidName)?;
    let span = next_span(view, view.counters().stream, options.partitions)?;
    let handle = StreamHandle { slot: view.next_slot(), id: span.stream };
    Ok((Event::Created { span, options: *options, name }, Reply::Stream(handle)))
}

fn check_options(options: &Options) -> Result<(), Refusal> {
    let Retention { age_micros, bytes, records } = options.retention;
    let limits = [("retention_age", age_micros), ("retention_bytes", bytes), ("retention_records", records)];
    if let Some((option, _)) = limits.into_iter().find(|(_, limit)| *limit == Some(0)) {
        return Err(Refusal::InvalidOption { option, reason: "a retention of nothing keeps nothing" });
    }
    if options.partitions == 0 {
        return Err(Refusal::InvalidOption { option: "partitions", reason: "a stream has at least one partition" });
    }
    within("partitions", PARTITIONS_MAX as usize, options.partitions as usize)
}

fn delete<'c>(view: &View<'_>, name: &str, mut emit: impl FnMut(Event<'c>)) -> Result<Outcome, Refused> {
    let (_, head) = view.find(name).ok_or_else(|| Refusal::NotFound.resting_on(COUNTERS))?;
    producers::leave(view, head.mappings.stream(), &mut emit);
    groups::leave_with_stream(view, head.mappings.stream(), &mut emit);
    head.mappings.spans().rev().for_each(|span| emit(Event::Deleted { span }));
    Ok(Outcome::Accept(Reply::Deleted))
}

fn add_partitions<'c>(
    view: &View<'_>,
    stream: StreamHandle,
    count: u32,
    now: Now,
    mut emit: impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    let (_, head) = find(view, stream)?;
    if count == 0 {
        return Err(Refusal::InvalidOption { option: "count", reason: "at least one partition is added" }.into());
    }
    if view.has_appended(head) {
        let reason = "records that are appended together with it would belong to two mappings";
        return Err(Refusal::InvalidOption { option: "count", reason }.into());
    }
    let (epoch, partitions) = (head.mappings.epoch() + 1, head.partitions().saturating_add(count));
    let of_stream = |refusal: Refusal| refusal.resting_on(stream_row(stream.id));
    within("partitions", PARTITIONS_MAX as usize, partitions as usize).map_err(of_stream)?;
    within("mappings of a stream", MAPPINGS_MAX as usize, epoch as usize).map_err(of_stream)?;
    let span = next_span(view, stream.id, count)?;
    groups::check_growth(view, stream.id, count)?;
    emit(Event::Extended { span });
    groups::grow(view, stream.id, partitions, now.boot, &mut emit);
    Ok(Outcome::Accept(Reply::Extended { epoch, partitions }))
}

/// The logs that so many partitions would be, if all streams together may have that many.
fn next_span(view: &View<'_>, stream: u64, partitions: u32) -> Result<Span, Refused> {
    let logs = view.log_count() + partitions as usize;
    within("partitions of all streams", LOGS_MAX, logs).map_err(|refusal| refusal.resting_on(COUNTERS))?;
    Ok(Span { stream, first_log: LogId(view.counters().log), partitions })
}

pub(super) fn find<'a>(view: &View<'a>, stream: StreamHandle) -> Result<(u32, &'a Head), Refused> {
    let renewed = view.renewed(stream).ok_or_else(|| Refusal::NotFound.resting_on(stream_row(stream.id)))?;
    Ok((renewed.slot, view.head(renewed).expect("a handle of this life names its stream")))
}

/// An append whose handle has no stream in its slot: the stream may have another in this life.
#[cold]
#[inline(never)]
fn append_elsewhere<'c>(
    view: &View<'_>,
    command: &Append<'c>,
    now: Now,
    emit: &mut impl FnMut(Event<'c>),
) -> Result<Reply, Refused> {
    let (slot, _) = find(view, command.stream)?;
    let stream = StreamHandle { slot, ..command.stream };
    decide_append(view, &Append { stream, ..*command }, now, emit)
}

#[inline(always)]
fn decide_append<'c>(
    view: &View<'_>,
    command: &Append<'c>,
    now: Now,
    emit: &mut impl FnMut(Event<'c>),
) -> Result<Reply, Refused> {
    let slot = command.stream.slot;
    let Some(head) = view.head(command.stream) else {
        return append_elsewhere(view, command, now, emit);
    };
    check_mapping(head, command)?;
    let [group] = command.groups else {
        return append_groups(view, (slot, head), command, now, emit);
    };
    let item = check_group(head, group)?;
    within("records per batch", RECORDS_PER_BATCH_MAX, group.records.len())?;
    let mut partition = view.partition(slot, head, group.partition);
    check_offset(head, group, partition.end)?;
    let first = append(head.log(group.partition), &mut partition, group, item, now, emit);
    Ok(Reply::Appended(Ranges { first, rest: Vec::new() }))
}

/// Several groups. What earlier ones add counts for later ones of the same partition.
fn append_groups<'c>(
    view: &View<'_>,
    (slot, head): (u32, &Head),
    command: &Append<'c>,
    now: Now,
    emit: &mut impl FnMut(Event<'c>),
) -> Result<Reply, Refused> {
    let records = command.groups.iter().map(|group| group.records.len()).sum();
    within("records per batch", RECORDS_PER_BATCH_MAX, records)?;
    let mut ends = Map::<u32, u64>::default();
    for group in command.groups {
        check_group(head, group)?;
        let end = ends.entry(group.partition).or_insert_with(|| view.partition(slot, head, group.partition).end);
        check_offset(head, group, *end)?;
        *end += group.records.len() as u64;
    }
    let mut partitions = Map::<u32, Partition>::default();
    let mut ranges = command.groups.iter().map(|group| {
        let stored = || view.partition(slot, head, group.partition);
        let partition = partitions.entry(group.partition).or_insert_with(stored);
        append(head.log(group.partition), partition, group, fill_item(group.records), now, emit)
    });
    let first = ranges.next().ok_or(Refusal::EmptyBatch)?;
    let rest = ranges.collect();
    Ok(Reply::Appended(Ranges { first, rest }))
}

/// Gives out a group that was checked, in items of bounded size, of which the first is known.
#[inline(always)]
pub(super) fn append<'c>(
    log: LogId,
    partition: &mut Partition,
    group: &Group<'c>,
    mut item: Item,
    now: Now,
    emit: &mut impl FnMut(Event<'c>),
) -> Range {
    let range = Range { partition: group.partition, first_offset: partition.end, records: group.records.len() as u32 };
    let timestamp = now.wall.max(partition.last_timestamp);
    let mut rest = group.records;
    loop {
        let (records, after) = rest.split_at(item.count);
        let entry = Entry { log, first: partition.end, count: item.count as u32, timestamp, expiry: 0 };
        partition.append(&entry, item.bytes);
        emit(Event::Appended(Appended::given(entry, item.bytes, item.encoded, records)));
        if after.is_empty() {
            return range;
        }
        (rest, item) = (after, fill_item(after));
    }
}

/// Records that go into one item.
pub(super) struct Item {
    count: usize,
    /// Of keys, headers and bodies.
    bytes: u64,
    /// Bytes in the item.
    encoded: usize,
    /// Their sizes, combined by `or`: none of them has more bytes.
    sizes: usize,
}

/// As many of these records as go into one item, at least one.
#[inline]
pub(super) fn fill_item(records: &[Record<'_>]) -> Item {
    let (mut count, mut bytes, mut encoded, mut sizes) = (0, 0, 0, 0);
    for record in records {
        let user_bytes = record.user_bytes();
        let len = record.encoded_len(user_bytes);
        if count > 0 && encoded + len > ITEM_RECORD_BYTES_MAX {
            break;
        }
        (count, bytes, encoded) = (count + 1, bytes + user_bytes as u64, encoded + len);
        sizes |= user_bytes;
    }
    Item { count, bytes, encoded, sizes }
}

/// Checks a group and measures its first item, in one pass over its records as long as they are small.
#[inline]
pub(super) fn check_group(head: &Head, group: &Group<'_>) -> Result<Item, Refusal> {
    check_partition(head, group.partition)?;
    if group.records.is_empty() {
        return Err(Refusal::EmptyBatch);
    }
    let item = fill_item(group.records);
    if item.count < group.records.len() || item.sizes > SURELY_WITHIN {
        check_limits(group.records)?;
    }
    if head.options.compaction.is_some() {
        compaction::check_keys(group.records)?;
    }
    Ok(item)
}

#[inline(never)]
fn check_limits(records: &[Record<'_>]) -> Result<(), Refusal> {
    for record in records {
        within("body bytes", BODY_BYTES_MAX, record.body_len())?;
        within("key bytes", KEY_BYTES_MAX, record.key_len())?;
        within("header block bytes", HEADER_BLOCK_BYTES_MAX, record.header_block_len())?;
    }
    Ok(())
}

#[inline]
pub(super) fn check_mapping(head: &Head, command: &Append<'_>) -> Result<(), Refused> {
    if command.mapping_partitions != head.partitions() {
        let stale = Refusal::StaleMapping { partitions: head.partitions(), mapping_epoch: head.mappings.epoch() };
        return Err(stale.resting_on(stream_row(command.stream.id)));
    }
    Ok(())
}

#[inline]
pub(super) fn check_partition(head: &Head, partition: u32) -> Result<(), Refusal> {
    let partitions = head.partitions();
    if partition < partitions { Ok(()) } else { Err(Refusal::NoSuchPartition { partition, partitions }) }
}

#[inline]
fn check_offset(head: &Head, group: &Group<'_>, end: u64) -> Result<(), Refused> {
    match group.expect_offset {
        Some(expected) if expected != end => Err(Refusal::WrongOffset { partition: group.partition, expected, end }
            .resting_on(partition_row(head.log(group.partition)))),
        _ => Ok(()),
    }
}

#[inline]
pub(super) fn within(limit: &'static str, max: usize, actual: usize) -> Result<(), Refusal> {
    if actual <= max { Ok(()) } else { Err(Refusal::LimitExceeded { limit, max: max as u64, actual: actual as u64 }) }
}

fn trim_before<'c>(
    view: &View<'_>,
    stream: StreamHandle,
    index: u32,
    offset: u64,
    context: &Context<'_>,
    mut emit: impl FnMut(Event<'c>),
) -> Result<Outcome, Refused> {
    let (slot, head) = find(view, stream)?;
    check_partition(head, index)?;
    let (log, partition) = (head.log(index), view.partition(slot, head, index));
    let stored_end = view.stored(log).map_or(0, |stored| stored.end);
    if stored_end < offset && offset < partition.end {
        let reason = "a trim cannot end among records that are appended together with it";
        return Err(Refusal::InvalidOption { option: "offset", reason }.into());
    }
    let row = partition_row(log);
    if offset <= partition.start || partition.is_empty() {
        let reply = Reply::Trimmed { start: partition.start };
        return Ok(Outcome::Unchanged { reply, rests_on: Some(row) });
    }
    let trim = measure(log, &partition, Until::Offset(offset), context)
        .and_then(|stretch| trimmed(log, &partition, stretch, stored_end, context));
    Ok(match trim {
        Ok(trimmed) => {
            emit(Event::Trimmed(trimmed));
            Outcome::Accept(Reply::Trimmed { start: trimmed.start })
        }
        Err(lookup) => Outcome::Needs(lookup),
    })
}

/// The tick. It leaves a partition alone that the same frame has changed; its timer comes again.
fn expire<'c>(view: &View<'_>, log: LogId, context: &Context<'_>, emit: &mut impl FnMut(Event<'c>)) -> Outcome {
    let unchanged = Outcome::Unchanged { reply: Reply::Expired, rests_on: None };
    let Some((head, partition)) = view.unchanged(log) else {
        return unchanged;
    };
    let trim = furthest(log, &head.options, &partition, context).and_then(|furthest| {
        let going = furthest.filter(|stretch| stretch.end > partition.start);
        going.map(|stretch| trimmed(log, &partition, stretch, partition.end, context)).transpose()
    });
    match trim {
        Ok(Some(trimmed)) => {
            emit(Event::Trimmed(trimmed));
            Outcome::Accept(Reply::Expired)
        }
        Ok(None) => unchanged,
        Err(lookup) => Outcome::Needs(lookup),
    }
}

/// The furthest stretch that any limit lets go, or what must be known to tell.
fn furthest(
    log: LogId,
    options: &Options,
    partition: &Partition,
    context: &Context<'_>,
) -> Result<Option<Stretch>, Lookup> {
    let mut furthest: Option<Stretch> = None;
    for demand in options.retention.demands(partition, options.compaction.is_some(), context.now) {
        let mut answers = demand.questions(partition).map(|until| measure(log, partition, until, context));
        let latest = answers.next().expect("a demand has a question");
        let stretch = latest.or_else(|lookup| answers.find_map(Result::ok).ok_or(lookup))?;
        if furthest.is_none_or(|other| stretch.end > other.end) {
            furthest = Some(stretch);
        }
    }
    Ok(furthest)
}

/// A stretch from the start of a partition on. All of it is known without asking.
fn measure(log: LogId, partition: &Partition, until: Until, context: &Context<'_>) -> Result<Stretch, Lookup> {
    if matches!(until, Until::Offset(end) if end >= partition.end) {
        let (bytes, records) = (partition.bytes, partition.records());
        return Ok(Stretch { end: partition.end, bytes, records, next_timestamp: None });
    }
    let lookup = Lookup { log, from: partition.start, until, passes: partition.compacted.passes };
    let stretch = context.known.stretch(lookup).ok_or(lookup)?;
    assert!(stretch.end <= partition.end && stretch.bytes <= partition.bytes, "a stretch lies inside its log");
    Ok(stretch)
}

/// The trim that lets a stretch go. Records may have come to its end since it was measured; then the timestamp there
/// is asked for anew, unless they are of this frame (at or after `stored_end`) and so have its time.
fn trimmed(
    log: LogId,
    partition: &Partition,
    stretch: Stretch,
    stored_end: u64,
    context: &Context<'_>,
) -> Result<Trimmed, Lookup> {
    let start_timestamp: Option<Timestamp> = match stretch.next_timestamp {
        _ if stretch.end == partition.end => None,
        None if stretch.end == stored_end => Some(partition.last_timestamp),
        None => {
            let (until, passes) = (Until::Offset(stretch.end), partition.compacted.passes);
            let lookup = Lookup { log, from: partition.start, until, passes };
            let again = context.known.stretch(lookup).filter(|again| again.next_timestamp.is_some());
            Some(again.and_then(|again| again.next_timestamp).ok_or(lookup)?)
        }
        known => known,
    };
    // Of holes that are not told of yet nothing goes.
    let holes = (stretch.end - partition.start - stretch.records).min(partition.compacted.holes);
    Ok(Trimmed { log, start: stretch.end, bytes: stretch.bytes, start_timestamp, holes })
}
