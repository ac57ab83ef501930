//! The rows of the checkpoint.
//!
//! Integers are varints; `options` as in `event.rs`.
//!
//! | kind | id     | row                                                                   |
//! |------|--------|-----------------------------------------------------------------------|
//! | 1    | 0      | counters: next stream id · next log id                                |
//! | 2    | stream | slice(name) · first log · partitions · mapping epoch · options ·      |
//! |      |        | per mapping behind the first: first log · partitions added · lsn      |
//! | 3    | log    | start · end · bytes · last timestamp · start timestamp; and if it was |
//! |      |        | compacted, holes · cleaned end · passes                               |
//!
//! Those of producers stand in `producers/rows.rs`, those of groups in `groups/rows.rs`.
//!
//! A partition that has no row is empty and always was. The number of its records is `end - start`, less
//! the holes.

use super::command::Options;
use super::event::{Span, options_len, put_options, take_options};
use super::groups;
use super::mapping::Mappings;
use super::producers::{self, KIND_PRODUCER, KIND_WINDOW};
use super::state::{CompactedPart, Counters, Head, Partition, State};
use crate::base::bounds::{MAPPINGS_MAX, NAME_BYTES_MAX, PARTITION_BITS, PARTITIONS_MAX, ROW_BYTES_MAX};
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::time::Timestamp;

const KIND_COUNTERS: u8 = 1;
const KIND_STREAM: u8 = 2;
const KIND_PARTITION: u8 = 3;

pub(crate) const COUNTERS: RowKey = RowKey { kind: KIND_COUNTERS, id: 0 };

pub(crate) const fn stream_row(stream: u64) -> RowKey {
    RowKey { kind: KIND_STREAM, id: stream }
}

pub(crate) const fn partition_row(log: LogId) -> RowKey {
    RowKey { kind: KIND_PARTITION, id: log.0 }
}

/// The log whose partition has this row.
pub(crate) fn log_of_row(key: RowKey) -> Option<LogId> {
    (key.kind == KIND_PARTITION).then_some(LogId(key.id))
}

/// Bytes of a mapping in a row: a log, a number of partitions, an address.
const MAPPING_BYTES_MAX: usize = 10 + 2 + 10;

const _: () = assert!(PARTITIONS_MAX < 1 << 14);
const _: () = assert!(NAME_BYTES_MAX + 128 + MAPPINGS_MAX as usize * MAPPING_BYTES_MAX <= ROW_BYTES_MAX);

impl State {
    /// A row as the object stands now; `None` if the object is gone.
    pub(crate) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        match key.kind {
            KIND_COUNTERS if key == COUNTERS => Some(integers(&[self.counters().stream, self.counters().log])),
            KIND_STREAM => Some(encode_head(&self.at(self.slot_of_id(key.id)?)?.head)),
            KIND_PARTITION => self.of_log(LogId(key.id)).map(|(_, partition)| encode_partition(partition)),
            kind if groups::is_kind(kind) => groups::row(self.groups(), key),
            _ => producers::row(self.producers(), key),
        }
    }

    /// Takes a row back. Rows come in the order of their keys.
    pub(crate) fn load(&mut self, key: RowKey, row: &[u8]) -> Result<(), Malformed> {
        let mut take = Take::new(row);
        match key.kind {
            KIND_COUNTERS if key == COUNTERS => {
                let counters = Counters { stream: take.varint()?, log: take.varint()? };
                take.end()?;
                self.restore_counters(counters);
                Ok(())
            }
            KIND_STREAM => self.restore_stream(decode_head(key.id, take)?),
            KIND_PARTITION => self.restore_partition(LogId(key.id), decode_partition(take)?),
            KIND_PRODUCER => self.restore_producer(key.id, row),
            KIND_WINDOW => self.restore_window(key.id, row),
            kind if groups::is_kind(kind) => self.restore_group(key, row),
            _ => Err(Malformed("a row of no kind that streams have")),
        }
    }

    fn restore_producer(&mut self, number: u64, row: &[u8]) -> Result<(), Malformed> {
        if number >= self.counters().log || self.place(LogId(number)).is_some() {
            return Err(Malformed("a producer with the number of no log of its own"));
        }
        self.producers_mut().load_producer(number, row)?;
        let stream = self.producers().get(number).map(|producer| producer.stream);
        stream.and_then(|stream| self.slot_of_id(stream)).ok_or(Malformed("a producer without its stream"))?;
        Ok(())
    }

    fn restore_group(&mut self, key: RowKey, row: &[u8]) -> Result<(), Malformed> {
        groups::load(self.groups_mut(), key, row)?;
        let Some(number) = groups::number_of_row(key) else { return Ok(()) };
        let taken = self.place(LogId(number)).is_some() || self.producers().get(number).is_some();
        if number >= self.counters().log || taken {
            return Err(Malformed("a group with the number of no log of its own"));
        }
        let stream = self.groups().get(number).and_then(|group| self.at(self.slot_of_id(group.stream)?));
        let partitions = self.groups().get(number).map(|group| group.partitions());
        if stream.map(|stream| stream.head.partitions()) != partitions {
            return Err(Malformed("a group without its stream, or with other partitions"));
        }
        Ok(())
    }

    fn restore_window(&mut self, id: u64, row: &[u8]) -> Result<(), Malformed> {
        let producer = self.producers().get(id >> PARTITION_BITS).ok_or(Malformed("a window without its producer"))?;
        let stream = self.slot_of_id(producer.stream).and_then(|slot| self.at(slot));
        let partitions = stream.map_or(0, |stream| stream.head.partitions());
        self.producers_mut().load_window(id, partitions, row)
    }
}

fn integers(values: &[u64]) -> Vec<u8> {
    let mut row = vec![0; values.iter().map(|value| varint_len(*value)).sum()];
    let mut out = Put::new(&mut row);
    values.iter().for_each(|value| out.varint(*value));
    row
}

fn encode_head(head: &Head) -> Vec<u8> {
    let mappings = &head.mappings;
    let created = mappings.spans().next().expect("a stream was created with a span");
    let integers = [created.first_log.0, u64::from(created.partitions), u64::from(mappings.epoch())];
    let integers_len: usize = integers.iter().map(|value| varint_len(*value)).sum();
    let options_len = options_len(&head.options);
    let mut row = vec![0; slice_len(head.name.len()) + integers_len + options_len + mappings.added_len()];
    let mut out = Put::new(&mut row);
    out.slice(head.name.as_bytes());
    integers.iter().for_each(|value| out.varint(*value));
    put_options(&head.options, &mut out);
    mappings.put_added(&mut out);
    assert_eq!(out.remaining(), 0, "a row is as long as was foretold");
    row
}

fn decode_head(stream: u64, mut take: Take<'_>) -> Result<Head, Malformed> {
    let name = take.text()?.into();
    let created = Span { stream, first_log: LogId(take.varint()?), partitions: take.varint32()? }.checked()?;
    let epoch = take.varint32()?;
    let options = take_options(created.partitions, &mut take)?;
    let mappings = Mappings::take_added(created, epoch, &mut take)?;
    take.end()?;
    let options = Options { partitions: mappings.partitions(), ..options };
    Ok(Head { name, mappings, options })
}

fn encode_partition(partition: &Partition) -> Vec<u8> {
    let Partition { start, end, bytes, last_timestamp, start_timestamp, compacted } = *partition;
    let CompactedPart { holes, cleaned, passes } = compacted;
    let facts = [start, end, bytes, last_timestamp.0, start_timestamp.0, holes, cleaned, passes];
    integers(if passes > 0 { &facts } else { &facts[..5] })
}

fn decode_partition(mut take: Take<'_>) -> Result<Partition, Malformed> {
    let (start, end, bytes) = (take.varint()?, take.varint()?, take.varint()?);
    let (last_timestamp, start_timestamp) = (Timestamp(take.varint()?), Timestamp(take.varint()?));
    let compacted = match take.remaining() {
        0 => CompactedPart::default(),
        _ => CompactedPart { holes: take.varint()?, cleaned: take.varint()?, passes: take.varint()? },
    };
    take.end()?;
    if compacted.holes > end.saturating_sub(start) || compacted.cleaned > end || compacted.passes == u64::MAX {
        return Err(Malformed("a partition with more holes than offsets"));
    }
    if start > end || start_timestamp > last_timestamp {
        return Err(Malformed("a partition that ends before it starts"));
    }
    Ok(Partition { start, end, bytes, last_timestamp, start_timestamp, compacted })
}
