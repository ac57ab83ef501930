//! The operations that only ask, but for reading records.

use crate::base::bounds::{FREEZE_CHUNK, NAME_BYTES_MAX, QUESTIONS_OPEN_MAX, WATCHED_LOGS_MAX};
use crate::base::codec::{Malformed, Take};
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;
use crate::engine::Refused;
use crate::engine::fault::Fault;
use crate::primitives::streams::{self, Mappings, StreamHandle};
use crate::primitives::{Primitives, Refusal, sessions};

use super::operation::{Kind, Question};
use super::server::Host;
use super::stats::{AttachedProcess, Stats};
use super::wire::{Out, put_handle, put_mappings, take_handle, take_mappings, take_option};

type Answered<T> = Result<T, Refused<Refusal>>;

/// A process has as many questions open as it may.
pub(crate) fn too_many_questions() -> Refused<Refusal> {
    let max = QUESTIONS_OPEN_MAX as u64;
    let limit = "unanswered questions of an attached process";
    Refused::Refusal(Refusal::Sessions(sessions::Refusal::LimitExceeded { limit, max, actual: max + 1 }))
}

/// Members in a process wait for records of as many partitions as they may.
pub(crate) fn too_many_watched() -> Refused<Refusal> {
    let max = WATCHED_LOGS_MAX as u64;
    let limit = "partitions of which members in an attached process wait for records";
    Refused::Refusal(Refusal::Sessions(sessions::Refusal::LimitExceeded { limit, max, actual: max + 1 }))
}

/// A stream as its handle knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FoundStream {
    pub(crate) handle: StreamHandle,
    pub(crate) mappings: Mappings,
}

/// The stream with this name. Waits for the sync of what creates, alters or deletes it just now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FindStream {
    pub(crate) name: Box<str>,
}

impl Question for FindStream {
    const KIND: Kind = Kind::FindStream;
    type Answer = Option<FoundStream>;

    fn answer(&self, host: &Host) -> Answered<Option<FoundStream>> {
        let found = host.engine.inspect(|machine| {
            let handle = machine.streams.lookup(&self.name)?;
            let head = machine.streams.stream(handle)?.head();
            Some(FoundStream { handle, mappings: head.mappings().clone() })
        })?;
        let row = found.as_ref().map_or(streams::COUNTERS, |found| streams::stream_row(found.handle.id));
        host.engine.reveal_object(row)?;
        Ok(found)
    }

    fn put(&self, out: &mut Out) {
        // A longer name is no stream's, and what is left of it is none's either.
        let bytes = self.name.as_bytes();
        out.slice(if bytes.len() > NAME_BYTES_MAX { b"" } else { bytes });
    }

    fn take(take: &mut Take<'_>) -> Result<FindStream, Malformed> {
        Ok(FindStream { name: take.text()?.into() })
    }

    fn put_answer(found: &Option<FoundStream>, out: &mut Out) {
        out.option(found.as_ref(), |out, found| {
            put_handle(found.handle, out);
            put_mappings(&found.mappings, out);
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<FoundStream>, Malformed> {
        take_option(take, |take| {
            let handle = take_handle(take)?;
            Ok(FoundStream { handle, mappings: take_mappings(handle.id, take)? })
        })
    }
}

/// Up to `FREEZE_CHUNK` names of streams behind this one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StreamNames {
    pub(crate) after: String,
}

impl Question for StreamNames {
    const KIND: Kind = Kind::StreamNames;
    type Answer = Vec<String>;

    fn answer(&self, host: &Host) -> Answered<Vec<String>> {
        let names = host.engine.inspect(|machine| machine.streams.names_after(&self.after, FREEZE_CHUNK))?;
        host.engine.reveal_object(streams::COUNTERS)?;
        Ok(names)
    }

    fn put(&self, out: &mut Out) {
        out.text(&self.after);
    }

    fn take(take: &mut Take<'_>) -> Result<StreamNames, Malformed> {
        Ok(StreamNames { after: take.text()?.to_owned() })
    }

    fn put_answer(names: &Vec<String>, out: &mut Out) {
        put_list(names, out, |out, name| out.text(name));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Vec<String>, Malformed> {
        take_list(take, |take| take.text().map(str::to_owned))
    }
}

/// Options and mappings of a stream, if it was not deleted. Waits for the sync of what alters it just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DescribeStream {
    pub(crate) stream: StreamHandle,
}

impl Question for DescribeStream {
    const KIND: Kind = Kind::DescribeStream;
    type Answer = Option<(streams::Options, Mappings)>;

    fn answer(&self, host: &Host) -> Answered<Self::Answer> {
        let stream = self.stream;
        let described = host.engine.inspect(|machine| {
            let head = machine.streams.stream(stream)?.head();
            Some((*head.options(), head.mappings().clone()))
        })?;
        host.engine.reveal_object(streams::stream_row(stream.id))?;
        Ok(described)
    }

    fn put(&self, out: &mut Out) {
        put_handle(self.stream, out);
    }

    fn take(take: &mut Take<'_>) -> Result<DescribeStream, Malformed> {
        Ok(DescribeStream { stream: take_handle(take)? })
    }

    fn put_answer(described: &Self::Answer, out: &mut Out) {
        out.option(described.as_ref(), |out, (options, mappings)| {
            out.varint(mappings.stream());
            put_mappings(mappings, out);
            out.put(streams::options_len(options), |put| streams::put_options(options, put));
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Self::Answer, Malformed> {
        take_option(take, |take| {
            let stream = take.varint()?;
            let mappings = take_mappings(stream, take)?;
            Ok((streams::take_options(mappings.partitions(), take)?, mappings))
        })
    }
}

/// A partition as its readers see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PartitionFacts {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) last_timestamp: Option<Timestamp>,
}

/// Up to `FREEZE_CHUNK` partitions of a stream from `first` on, if it was not deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct DescribePartitions {
    pub(crate) stream: StreamHandle,
    pub(crate) first: u32,
    pub(crate) count: u32,
}

impl Question for DescribePartitions {
    const KIND: Kind = Kind::DescribePartitions;
    type Answer = Option<Vec<PartitionFacts>>;

    fn answer(&self, host: &Host) -> Answered<Option<Vec<PartitionFacts>>> {
        let name = |machine: &Primitives| {
            let Some(stream) = machine.streams.stream(self.stream) else { return Vec::new() };
            let numbers = (self.first..).take((self.count as usize).min(FREEZE_CHUNK));
            numbers.map_while(|partition| stream.head().mappings().get(partition)).collect()
        };
        Ok(host.engine.inspect_logs(name, |machine, extents| {
            let partitions = machine.streams.stream(self.stream)?.partitions().get(self.first as usize..)?;
            let facts = |(partition, extent): (&streams::Partition, &Option<_>)| facts_of(partition, (*extent)?);
            partitions.iter().zip(extents).map(facts).map(Some).collect::<Option<Option<Vec<_>>>>()?
        })?)
    }

    fn put(&self, out: &mut Out) {
        put_handle(self.stream, out);
        out.u32(self.first);
        out.u32(self.count);
    }

    fn take(take: &mut Take<'_>) -> Result<DescribePartitions, Malformed> {
        Ok(DescribePartitions { stream: take_handle(take)?, first: take.u32()?, count: take.u32()? })
    }

    fn put_answer(facts: &Option<Vec<PartitionFacts>>, out: &mut Out) {
        out.option(facts.as_ref(), |out, facts| {
            put_list(facts, out, |out, facts| {
                [facts.start, facts.end, facts.records, facts.bytes].into_iter().for_each(|number| out.varint(number));
                out.option(facts.last_timestamp, |out, timestamp| out.varint(timestamp.0));
            });
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<Vec<PartitionFacts>>, Malformed> {
        take_option(take, |take| {
            take_list(take, |take| {
                let (start, end, records, bytes) = (take.varint()?, take.varint()?, take.varint()?, take.varint()?);
                let last_timestamp = take_option(take, |take| take.varint().map(Timestamp))?;
                Ok(PartitionFacts { start, end, records, bytes, last_timestamp })
            })
        })
    }
}

fn facts_of(partition: &streams::Partition, extent: crate::engine::Extent) -> Option<PartitionFacts> {
    let (hidden_bytes, last_timestamp) = match extent.hidden {
        None => (0, (partition.end > 0).then_some(partition.last_timestamp)),
        Some(hidden) => (hidden.bytes, hidden.last_timestamp),
    };
    // Records that are not shown yet may have been trimmed: then nothing before them is left either.
    let bytes = partition.bytes.saturating_sub(hidden_bytes);
    let (start, end) = (extent.start, extent.end);
    let records = (end - start).saturating_sub(partition.compacted.holes);
    Some(PartitionFacts { start, end, records, bytes, last_timestamp })
}

/// First offset and end of a log, as readers see them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ExtentOf {
    pub(crate) log: LogId,
}

impl Question for ExtentOf {
    const KIND: Kind = Kind::Extent;
    type Answer = Option<(u64, u64)>;

    fn answer(&self, host: &Host) -> Answered<Option<(u64, u64)>> {
        Ok(host.engine.extent(self.log)?.map(|extent| (extent.start, extent.end)))
    }

    fn put(&self, out: &mut Out) {
        out.varint(self.log.0);
    }

    fn take(take: &mut Take<'_>) -> Result<ExtentOf, Malformed> {
        Ok(ExtentOf { log: LogId(take.varint()?) })
    }

    fn put_answer(extent: &Option<(u64, u64)>, out: &mut Out) {
        out.option(*extent, |out, (start, end)| {
            out.varint(start);
            out.varint(end);
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<(u64, u64)>, Malformed> {
        take_option(take, |take| Ok((take.varint()?, take.varint()?)))
    }
}

/// The first offset with this timestamp or a later one. May read from disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OffsetForTime {
    pub(crate) log: LogId,
    pub(crate) time: Timestamp,
}

impl Question for OffsetForTime {
    const KIND: Kind = Kind::OffsetForTime;
    type Answer = Option<u64>;

    fn answer(&self, host: &Host) -> Answered<Option<u64>> {
        Ok(host.engine.offset_for_time(self.log, self.time)?)
    }

    fn put(&self, out: &mut Out) {
        out.varint(self.log.0);
        out.varint(self.time.0);
    }

    fn take(take: &mut Take<'_>) -> Result<OffsetForTime, Malformed> {
        Ok(OffsetForTime { log: LogId(take.varint()?), time: Timestamp(take.varint()?) })
    }

    fn put_answer(offset: &Option<u64>, out: &mut Out) {
        out.option(*offset, Out::varint);
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<u64>, Malformed> {
        take_option(take, Take::varint)
    }
}

/// The first offset written at this address or a later one, the end if there is none; `None` if there is no such log.
/// May read from disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OffsetForLsn {
    pub(crate) log: LogId,
    pub(crate) lsn: Lsn,
}

impl Question for OffsetForLsn {
    const KIND: Kind = Kind::OffsetForLsn;
    type Answer = Option<u64>;

    fn answer(&self, host: &Host) -> Answered<Option<u64>> {
        Ok(host.engine.offset_for_lsn(self.log, self.lsn)?)
    }

    fn put(&self, out: &mut Out) {
        out.varint(self.log.0);
        out.varint(self.lsn.0);
    }

    fn take(take: &mut Take<'_>) -> Result<OffsetForLsn, Malformed> {
        Ok(OffsetForLsn { log: LogId(take.varint()?), lsn: Lsn(take.varint()?) })
    }

    fn put_answer(offset: &Option<u64>, out: &mut Out) {
        out.option(*offset, Out::varint);
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<u64>, Malformed> {
        take_option(take, Take::varint)
    }
}

/// Waits until what was written of a stream as a whole for `Sync` is on disk: to be asked before telling that it is
/// gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RevealStream {
    pub(crate) id: u64,
}

impl Question for RevealStream {
    const KIND: Kind = Kind::RevealStream;
    type Answer = ();

    fn answer(&self, host: &Host) -> Answered<()> {
        Ok(host.engine.reveal_object(streams::stream_row(self.id))?)
    }

    fn put(&self, out: &mut Out) {
        out.varint(self.id);
    }

    fn take(take: &mut Take<'_>) -> Result<RevealStream, Malformed> {
        Ok(RevealStream { id: take.varint()? })
    }

    fn put_answer(_: &(), _: &mut Out) {}

    fn take_answer(_: &mut Take<'_>) -> Result<(), Malformed> {
        Ok(())
    }
}

/// What a producer has appended to a partition last. Waits for the sync of that, if it was written for `Sync`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct LastBatch {
    pub(crate) producer: u64,
    pub(crate) partition: u32,
}

/// A producer that there is, and its last batch in the partition that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KnownProducer {
    pub(crate) last: Option<streams::ProducedBatch>,
}

impl Question for LastBatch {
    const KIND: Kind = Kind::LastBatch;
    type Answer = Option<KnownProducer>;

    fn answer(&self, host: &Host) -> Answered<Option<KnownProducer>> {
        let LastBatch { producer, partition } = *self;
        let known = host.engine.inspect(|machine| {
            let producers = machine.streams.producers();
            producers.get(producer)?;
            let last = producers.window(producer, partition).and_then(|window| window.last().copied());
            Some(KnownProducer { last })
        })?;
        host.engine.reveal_object(match known {
            Some(KnownProducer { last: Some(_) }) => streams::window_row(producer, partition),
            _ => streams::producer_row(producer),
        })?;
        Ok(known)
    }

    fn put(&self, out: &mut Out) {
        out.varint(self.producer);
        out.u32(self.partition);
    }

    fn take(take: &mut Take<'_>) -> Result<LastBatch, Malformed> {
        Ok(LastBatch { producer: take.varint()?, partition: take.u32()? })
    }

    fn put_answer(known: &Option<KnownProducer>, out: &mut Out) {
        out.option(*known, |out, KnownProducer { last }| {
            out.option(last, |out, batch| {
                [batch.sequence, batch.first_offset, batch.lsn.0].into_iter().for_each(|number| out.varint(number));
                out.u32(batch.records);
            });
        });
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Option<KnownProducer>, Malformed> {
        take_option(take, |take| {
            let last = take_option(take, |take| {
                let (sequence, first_offset, lsn) = (take.varint()?, take.varint()?, Lsn(take.varint()?));
                Ok(streams::ProducedBatch { sequence, first_offset, lsn, records: take.u32()? })
            })?;
            Ok(KnownProducer { last })
        })
    }
}

/// Waits until everything written before is on disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SyncAll;

impl Question for SyncAll {
    const KIND: Kind = Kind::Sync;
    type Answer = ();

    fn answer(&self, host: &Host) -> Answered<()> {
        Ok(host.engine.sync(None)?)
    }

    fn put(&self, _: &mut Out) {}

    fn take(_: &mut Take<'_>) -> Result<SyncAll, Malformed> {
        Ok(SyncAll)
    }

    fn put_answer(_: &(), _: &mut Out) {}

    fn take_answer(_: &mut Take<'_>) -> Result<(), Malformed> {
        Ok(())
    }
}

/// Makes a checkpoint. Blocks for a few syncs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MakeCheckpoint;

impl Question for MakeCheckpoint {
    const KIND: Kind = Kind::Checkpoint;
    type Answer = ();

    fn answer(&self, host: &Host) -> Answered<()> {
        Ok(host.engine.checkpoint()?)
    }

    fn put(&self, _: &mut Out) {}

    fn take(_: &mut Take<'_>) -> Result<MakeCheckpoint, Malformed> {
        Ok(MakeCheckpoint)
    }

    fn put_answer(_: &(), _: &mut Out) {}

    fn take_answer(_: &mut Take<'_>) -> Result<(), Malformed> {
        Ok(())
    }
}

/// Figures of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StatsOf;

impl Question for StatsOf {
    const KIND: Kind = Kind::Stats;
    type Answer = Stats;

    fn answer(&self, host: &Host) -> Answered<Stats> {
        Ok(Stats::of(host)?)
    }

    fn put(&self, _: &mut Out) {}

    fn take(_: &mut Take<'_>) -> Result<StatsOf, Malformed> {
        Ok(StatsOf)
    }

    fn put_answer(stats: &Stats, out: &mut Out) {
        stats.put(out);
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Stats, Malformed> {
        Stats::take(take)
    }
}

/// The processes that are attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Processes;

impl Question for Processes {
    const KIND: Kind = Kind::Processes;
    type Answer = Vec<AttachedProcess>;

    fn answer(&self, host: &Host) -> Answered<Vec<AttachedProcess>> {
        host.engine.check_open()?;
        Ok(host.attached())
    }

    fn put(&self, _: &mut Out) {}

    fn take(_: &mut Take<'_>) -> Result<Processes, Malformed> {
        Ok(Processes)
    }

    fn put_answer(processes: &Vec<AttachedProcess>, out: &mut Out) {
        put_list(processes, out, |out, process| process.put(out));
    }

    fn take_answer(take: &mut Take<'_>) -> Result<Vec<AttachedProcess>, Malformed> {
        take_list(take, AttachedProcess::take)
    }
}

pub(super) fn put_list<T>(list: &[T], out: &mut Out, put: impl Fn(&mut Out, &T)) {
    out.varint(list.len() as u64);
    list.iter().for_each(|item| put(out, item));
}

/// The list grows with what is there, not with what is announced.
pub(super) fn take_list<'a, T>(
    take: &mut Take<'a>,
    item: impl Fn(&mut Take<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = take.varint()?;
    (0..count).map(|_| item(take)).collect()
}

/// What an answer that does not read comes to: the host is not what it says it is.
pub(super) fn unreadable(_: Malformed) -> Fault {
    Fault::Io { attempt: "reading the host's answer", source: std::io::ErrorKind::InvalidData.into() }
}
