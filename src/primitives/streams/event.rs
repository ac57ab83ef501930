//! Decided facts, and their bytes.
//!
//! Integers are varints unless a width is named. `options` is
//! `flags u8 (1 age, 2 bytes, 4 records, 8 compaction) · the limits whose flag is set, in this order · tombstone
//! retention, if flag 8 is set · level u8 (0 the database's, 1 sync, 2 buffered)`.
//!
//! | tag  | event    | fields                                                                       |
//! |------|----------|------------------------------------------------------------------------------|
//! | 0x01 | created  | stream · first log · partitions · options · slice(name)                      |
//! | 0x02 | altered  | stream · first log · partitions · options                                    |
//! | 0x03 | deleted  | stream · first log · partitions                                              |
//! | 0x04 | trimmed  | log · start · bytes · u8 (1 something is left, 2 holes) · timestamp at start, if 1 · |
//! |      |          | offsets that went without a record, if 2                                     |
//! | 0x0c | extended | stream · first log · partitions: those that were added                    |
//! | 0x0d | compacted | log · through · records · bytes: what is left                               |
//! | 0x81 | appended | head (`journal::entry`, expiry 0) · records (`record.rs`)                    |
//!
//! Those of producers stand in `producers/event.rs`, those of groups in `groups/event.rs`.

use super::command::{Compaction, Options, Retention};
use super::groups;
use super::producers;
use super::rows::{COUNTERS, partition_row, stream_row};
use crate::base::bounds::PARTITIONS_MAX;
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::time::Timestamp;
use crate::engine::machine::{LOG_TAG, LogAppend, LogChange, RecordPart};
use crate::journal::entry::Entry;
use crate::primitives::record::{self, Record};

const CREATED: u8 = 0x01;
const ALTERED: u8 = 0x02;
const DELETED: u8 = 0x03;
const TRIMMED: u8 = 0x04;
const EXTENDED: u8 = 0x0c;
const COMPACTED: u8 = 0x0d;
pub(crate) const APPENDED: u8 = LOG_TAG | 0x01;

/// A decided fact.
#[derive(Clone, Debug)]
pub(crate) enum Event<'a> {
    Created {
        span: Span,
        options: Options,
        name: &'a str,
    },
    Altered {
        span: Span,
        options: Options,
    },
    /// Of a stream that has grown, the span that was added last, until only that is left which it was created with.
    Deleted {
        span: Span,
    },
    Trimmed(Trimmed),
    /// Partitions were added: the records from this frame on belong to a new mapping.
    Extended {
        span: Span,
    },
    /// A pass of compaction has ended.
    Compacted(Compacted),
    Appended(Appended<'a>),
    Producers(producers::Event<'a>),
    Groups(groups::Event<'a>),
}

/// A stream by id, with the successive logs that are its partitions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) stream: u64,
    pub(crate) first_log: LogId,
    pub(crate) partitions: u32,
}

/// A partition starts at `start` from now on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Trimmed {
    pub(crate) log: LogId,
    pub(crate) start: u64,
    /// Bytes of keys, headers and bodies that went.
    pub(crate) bytes: u64,
    /// Timestamp of the first record from `start` on; `None` if nothing is left.
    pub(crate) start_timestamp: Option<Timestamp>,
    /// Offsets below `start` that went and had no record any more.
    pub(crate) holes: u64,
}

/// What compaction has left of a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Compacted {
    pub(crate) log: LogId,
    /// Below it no key has two records.
    pub(crate) through: u64,
    /// In the whole partition.
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// Records got successive offsets at the end of a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended<'a> {
    pub(crate) entry: Entry,
    /// Bytes of keys, headers and bodies.
    pub(crate) bytes: u64,
    /// Bytes of the whole item. The engine asks for them more than once, so they are counted once.
    encoded_len: usize,
    pub(crate) records: Source<'a>,
}

/// Where the records of an event are: with the caller, or in an item read back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    Given(&'a [Record<'a>]),
    Encoded(&'a [u8]),
}

impl<'a> Event<'a> {
    #[inline]
    pub(crate) fn encoded_len(&self) -> usize {
        match self {
            Event::Appended(appended) => appended.encoded_len,
            rare => rare.encoded_len_of_rare(),
        }
    }

    fn encoded_len_of_rare(&self) -> usize {
        1 + match self {
            Event::Appended(appended) => appended.encoded_len - 1,
            Event::Created { span, options, name } => span.encoded_len() + options_len(options) + slice_len(name.len()),
            Event::Altered { span, options } => span.encoded_len() + options_len(options),
            Event::Deleted { span } | Event::Extended { span } => span.encoded_len(),
            Event::Trimmed(trimmed) => trimmed.encoded_len(),
            Event::Compacted(compacted) => compacted.encoded_len(),
            Event::Producers(event) => event.encoded_len() - 1,
            Event::Groups(event) => event.encoded_len() - 1,
        }
    }

    #[inline]
    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match self {
            Event::Appended(appended) => {
                out.u8(APPENDED);
                appended.entry.encode(out);
                appended.records.encode(out);
            }
            rare => rare.encode_rare(out),
        }
    }

    // Out of the way of appends.
    #[cold]
    #[inline(never)]
    fn encode_rare(&self, out: &mut Put<'_>) {
        match self {
            Event::Appended(_) => unreachable!("an append is not rare"),
            Event::Created { span, options, name } => {
                out.u8(CREATED);
                span.encode(out);
                put_options(options, out);
                out.slice(name.as_bytes());
            }
            Event::Altered { span, options } => {
                out.u8(ALTERED);
                span.encode(out);
                put_options(options, out);
            }
            Event::Deleted { span } => {
                out.u8(DELETED);
                span.encode(out);
            }
            Event::Trimmed(trimmed) => {
                out.u8(TRIMMED);
                trimmed.encode(out);
            }
            Event::Compacted(compacted) => {
                out.u8(COMPACTED);
                compacted.encode(out);
            }
            Event::Extended { span } => {
                out.u8(EXTENDED);
                span.encode(out);
            }
            Event::Producers(event) => event.encode(out),
            Event::Groups(event) => event.encode(out),
        }
    }

    /// Reads an event back, tag included. Every length inside is checked.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Event<'a>, Malformed> {
        let mut take = Take::new(bytes);
        let event = match take.u8()? {
            APPENDED => return Appended::decode(take).map(Event::Appended),
            CREATED => {
                let span = Span::decode(&mut take)?;
                Event::Created { span, options: take_options(span.partitions, &mut take)?, name: take.text()? }
            }
            ALTERED => {
                let span = Span::decode(&mut take)?;
                Event::Altered { span, options: take_options(span.partitions, &mut take)? }
            }
            DELETED => Event::Deleted { span: Span::decode(&mut take)? },
            TRIMMED => Event::Trimmed(Trimmed::decode(&mut take)?),
            COMPACTED => Event::Compacted(Compacted::decode(&mut take)?),
            EXTENDED => Event::Extended { span: Span::decode(&mut take)? },
            tag @ 0x20..=0x2f => Event::Groups(groups::Event::decode(tag, &mut take)?),
            tag => Event::Producers(producers::Event::decode(tag, &mut take)?),
        };
        take.end()?;
        Ok(event)
    }

    #[inline]
    pub(crate) fn log_change(&self) -> LogChange {
        match self {
            Event::Appended(appended) => LogChange::Append(LogAppend {
                log: appended.entry.log,
                first: appended.entry.first,
                count: appended.entry.count,
                timestamp: appended.entry.timestamp,
                bytes: appended.bytes,
            }),
            Event::Created { span, .. } | Event::Extended { span } => {
                LogChange::Open { first: span.first_log, count: span.partitions }
            }
            Event::Altered { span, .. } => LogChange::Rearm { first: span.first_log, count: span.partitions },
            Event::Deleted { span } => LogChange::Close { first: span.first_log, count: span.partitions },
            Event::Trimmed(trimmed) => LogChange::Trim { log: trimmed.log, start: trimmed.start },
            Event::Compacted(_) => LogChange::None,
            Event::Producers(event) => event.log_change(),
            Event::Groups(event) => event.log_change(),
        }
    }

    /// Names every row that the event changes. A partition without a row is empty, so creation names none of theirs.
    /// The counters stand for which streams there are: what reveals that rests on them, so a deletion names them too.
    #[inline]
    pub(crate) fn touches(&self, visit: &mut dyn FnMut(RowKey)) {
        match self {
            Event::Appended(appended) => visit(partition_row(appended.entry.log)),
            Event::Trimmed(trimmed) => visit(partition_row(trimmed.log)),
            Event::Compacted(compacted) => visit(partition_row(compacted.log)),
            Event::Created { span, .. } | Event::Extended { span } => {
                visit(COUNTERS);
                visit(stream_row(span.stream));
            }
            Event::Altered { span, .. } => visit(stream_row(span.stream)),
            Event::Deleted { span } => {
                visit(COUNTERS);
                visit(stream_row(span.stream));
                span.logs().for_each(|log| visit(partition_row(log)));
            }
            Event::Producers(event) => event.touches(visit),
            Event::Groups(event) => event.touches(visit),
        }
    }
}

impl Span {
    pub(crate) fn log(&self, partition: u32) -> LogId {
        LogId(self.first_log.0 + u64::from(partition))
    }

    pub(crate) fn logs(&self) -> impl Iterator<Item = LogId> + use<> {
        let first = self.first_log.0;
        (first..first + u64::from(self.partitions)).map(LogId)
    }

    pub(crate) fn encoded_len(&self) -> usize {
        varint_len(self.stream) + varint_len(self.first_log.0) + varint_len(u64::from(self.partitions))
    }

    fn encode(&self, out: &mut Put<'_>) {
        out.varint(self.stream);
        out.varint(self.first_log.0);
        out.varint(u64::from(self.partitions));
    }

    fn decode(take: &mut Take<'_>) -> Result<Span, Malformed> {
        let stream = take.varint()?;
        Span { stream, first_log: LogId(take.varint()?), partitions: take.varint32()? }.checked()
    }

    /// Ids stay far enough from the end of their range for one to be added.
    pub(crate) fn checked(self) -> Result<Span, Malformed> {
        let ids = self.stream < u64::MAX && self.first_log.0 < u64::MAX - u64::from(PARTITIONS_MAX);
        if ids && (1..=PARTITIONS_MAX).contains(&self.partitions) {
            Ok(self)
        } else {
            Err(Malformed("ids or number of partitions out of range"))
        }
    }
}

impl Trimmed {
    fn encoded_len(&self) -> usize {
        let timestamp = self.start_timestamp.map_or(0, |timestamp| varint_len(timestamp.0));
        let holes = if self.holes > 0 { varint_len(self.holes) } else { 0 };
        varint_len(self.log.0) + varint_len(self.start) + varint_len(self.bytes) + 1 + timestamp + holes
    }

    fn encode(&self, out: &mut Put<'_>) {
        out.varint(self.log.0);
        out.varint(self.start);
        out.varint(self.bytes);
        out.u8(u8::from(self.start_timestamp.is_some()) | u8::from(self.holes > 0) << 1);
        if let Some(timestamp) = self.start_timestamp {
            out.varint(timestamp.0);
        }
        if self.holes > 0 {
            out.varint(self.holes);
        }
    }

    fn decode(take: &mut Take<'_>) -> Result<Trimmed, Malformed> {
        let (log, start, bytes) = (LogId(take.varint()?), take.varint()?, take.varint()?);
        let flags = take.u8()?;
        if flags > 3 {
            return Err(Malformed("neither empty nor not"));
        }
        let start_timestamp = if flags & 1 == 0 { None } else { Some(Timestamp(take.varint()?)) };
        let holes = if flags & 2 == 0 { 0 } else { take.varint()? };
        if flags & 2 != 0 && holes == 0 {
            return Err(Malformed("holes that are none"));
        }
        Ok(Trimmed { log, start, bytes, start_timestamp, holes })
    }
}

impl Compacted {
    fn encoded_len(&self) -> usize {
        varint_len(self.log.0) + varint_len(self.through) + varint_len(self.records) + varint_len(self.bytes)
    }

    fn encode(&self, out: &mut Put<'_>) {
        out.varint(self.log.0);
        out.varint(self.through);
        out.varint(self.records);
        out.varint(self.bytes);
    }

    fn decode(take: &mut Take<'_>) -> Result<Compacted, Malformed> {
        let (log, through) = (LogId(take.varint()?), take.varint()?);
        Ok(Compacted { log, through, records: take.varint()?, bytes: take.varint()? })
    }
}

impl<'a> Appended<'a> {
    /// `bytes` are those of keys, headers and bodies, `encoded` those of the records as they will lie in the item.
    #[inline]
    pub(crate) fn given(entry: Entry, bytes: u64, encoded: usize, records: &'a [Record<'a>]) -> Appended<'a> {
        let encoded_len = 1 + entry.encoded_len() + encoded;
        Appended { entry, bytes, encoded_len, records: Source::Given(records) }
    }

    /// `take` stands behind the tag.
    fn decode(mut take: Take<'a>) -> Result<Appended<'a>, Malformed> {
        let encoded_len = 1 + take.remaining();
        let entry = Entry::decode(&mut take)?;
        let encoded = take.rest();
        let mut bytes = 0;
        for record in record::records(&entry, encoded) {
            bytes += record?.user_bytes() as u64;
        }
        Ok(Appended { entry, bytes, encoded_len, records: Source::Encoded(encoded) })
    }
}

impl Source<'_> {
    #[inline]
    fn encode(&self, out: &mut Put<'_>) {
        match self {
            Source::Given(records) => records.iter().for_each(|record| record.encode(out)),
            Source::Encoded(bytes) => out.bytes(bytes),
        }
    }
}

/// Tells of every record of an item with appended records what compaction must know of it.
pub(crate) fn visit_records<'a>(item: &'a [u8], visit: &mut dyn FnMut(RecordPart<'a>)) -> Result<(), Malformed> {
    let (_, mut records) = read_item(item)?;
    let mut at = item.len() - records.remaining();
    while let Some(record) = records.next() {
        let record = record?;
        let end = item.len() - records.remaining();
        visit(RecordPart {
            offset: record.offset,
            key: record.key,
            is_tombstone: record.body.is_none(),
            bytes: record.user_bytes() as u64,
            encoded: &item[at..end],
        });
        at = end;
    }
    Ok(())
}

/// Tells offset and bytes (key, header block and body) of every record of an item with appended records.
pub(crate) fn measure(item: &[u8], visit: &mut dyn FnMut(u64, u64)) -> Result<(), Malformed> {
    let (_, records) = read_item(item)?;
    for record in records {
        let record = record?;
        visit(record.offset, record.user_bytes() as u64);
    }
    Ok(())
}

/// The head and the records of an item with appended records, for readers; nothing is checked ahead.
#[inline]
pub(crate) fn read_item(item: &[u8]) -> Result<(Entry, record::Records<'_>), Malformed> {
    let mut take = Take::new(item);
    if take.u8()? != APPENDED {
        return Err(Malformed("not an item with records of a stream"));
    }
    let entry = Entry::decode(&mut take)?;
    Ok((entry, record::records(&entry, take.rest())))
}

/// What stands behind the flags, and how many bits those are.
fn limits(options: &Options) -> [Option<u64>; 4] {
    let Retention { age_micros, bytes, records } = options.retention;
    [age_micros, bytes, records, options.compaction.map(|compaction| compaction.tombstone_retention_micros)]
}

pub(crate) fn options_len(options: &Options) -> usize {
    2 + limits(options).into_iter().flatten().map(varint_len).sum::<usize>()
}

/// The number of partitions is not among them.
pub(crate) fn put_options(options: &Options, out: &mut Put<'_>) {
    let limits = limits(options);
    out.u8(limits.iter().enumerate().map(|(bit, limit)| u8::from(limit.is_some()) << bit).sum());
    limits.into_iter().flatten().for_each(|limit| out.varint(limit));
    out.u8(match options.level {
        None => 0,
        Some(Level::Sync) => 1,
        Some(Level::Buffered) => 2,
    });
}

pub(crate) fn take_options(partitions: u32, take: &mut Take<'_>) -> Result<Options, Malformed> {
    let flags = take.u8()?;
    if flags > 15 {
        return Err(Malformed("unknown limit of retention"));
    }
    let mut limits = [None; 4];
    for (bit, limit) in limits.iter_mut().enumerate() {
        if flags & (1 << bit) != 0 {
            *limit = Some(take.varint()?);
        }
    }
    let [age_micros, bytes, records, tombstone_retention] = limits;
    let compaction = tombstone_retention.map(|micros| Compaction { tombstone_retention_micros: micros });
    let level = match take.u8()? {
        0 => None,
        1 => Some(Level::Sync),
        2 => Some(Level::Buffered),
        _ => return Err(Malformed("unknown level")),
    };
    Ok(Options { partitions, retention: Retention { age_micros, bytes, records }, level, compaction })
}
