//! Writes to streams as bytes.
//!
//! ```text
//! kind u8 · fields
//!   1 create, 2 ensure   name · options · partitions u32
//!   3 delete             name
//!   4 append             stream · partitions u32 · count · groups
//!   5 trim before        stream · partition u32 · offset u64
//!   6 open producer      stream · name · expire after u64
//!   7 produce            producer · epoch · sequences (option u8, list) · as 4
//!   12 add partitions    stream · count u32
//!   13 of groups         see `groups.rs`
//! stream                 slot · id
//! group                  partition u32 · expected offset (option u8, u64) · count · records
//! ```
//!
//! In answers, mappings are `first log · partitions · epoch · per mapping behind the first: first log · partitions
//! added · lsn`. Options are as in `primitives/streams/event.rs`, records as in an item
//! (`primitives/streams/record.rs`).

use crate::base::bounds::{HEADERS_PER_BATCH_MAX, PARTITIONS_MAX, RECORDS_PER_BATCH_MAX};
use crate::base::codec::{Malformed, Take};
use crate::base::log::LogId;
use crate::primitives::streams::{
    self, Append, Group, Header, Mappings, Produce, ProducerHandle, Record, Span, StreamHandle,
};
use crate::processes::questions::put_list;

use super::groups::{put_of_groups, with_command_of_groups};
use super::{Out, take_option};

pub(super) fn put_of_streams(command: &streams::Command<'_>, out: &mut Out) {
    use streams::Command as C;
    match command {
        C::Create { name, options } => put_definition(1, name, options, out),
        C::Ensure { name, options } => put_definition(2, name, options, out),
        C::Delete { name } => {
            out.u8(3);
            out.text(name);
        }
        C::Append(append) => {
            out.u8(4);
            put_append(append, out);
        }
        C::TrimBefore { stream, partition, offset } => {
            out.u8(5);
            put_handle(*stream, out);
            out.u32(*partition);
            out.u64(*offset);
        }
        C::AddPartitions { stream, count } => {
            out.u8(12);
            put_handle(*stream, out);
            out.u32(*count);
        }
        C::OpenProducer { stream, name, expire_after_micros } => {
            out.u8(6);
            put_handle(*stream, out);
            out.text(name);
            out.u64(*expire_after_micros);
        }
        C::Produce(Produce { append, producer, sequences }) => {
            out.u8(7);
            out.varint(producer.number);
            out.varint(producer.epoch);
            out.option(*sequences, |out, sequences| put_list(sequences, out, |out, sequence| out.varint(*sequence)));
            put_append(append, out);
        }
        C::Groups(command) => {
            out.u8(13);
            put_of_groups(command, out);
        }
        C::Expire { .. } | C::ExpireProducer { .. } | C::Compacted(_) => {
            unreachable!("only the host's own timers tick")
        }
    }
}

fn put_append(append: &Append<'_>, out: &mut Out) {
    put_handle(append.stream, out);
    out.u32(append.mapping_partitions);
    out.varint(append.groups.len() as u64);
    append.groups.iter().for_each(|group| put_group(group, out));
}

fn put_definition(kind: u8, name: &str, options: &streams::Options, out: &mut Out) {
    out.u8(kind);
    out.text(name);
    out.put(streams::options_len(options), |put| {
        streams::put_options(options, put);
    });
    out.u32(options.partitions);
}

pub(crate) fn put_handle(handle: StreamHandle, out: &mut Out) {
    out.varint(u64::from(handle.slot));
    out.varint(handle.id);
}

pub(crate) fn take_handle(take: &mut Take<'_>) -> Result<StreamHandle, Malformed> {
    Ok(StreamHandle { slot: take.varint32()?, id: take.varint()? })
}

pub(crate) fn put_mappings(mappings: &Mappings, out: &mut Out) {
    let created = mappings.spans().next().expect("a stream was created with a span");
    out.varint(created.first_log.0);
    out.varint(u64::from(created.partitions));
    out.varint(u64::from(mappings.epoch()));
    out.put(mappings.added_len(), |put| mappings.put_added(put));
}

pub(crate) fn take_mappings(stream: u64, take: &mut Take<'_>) -> Result<Mappings, Malformed> {
    let created = Span { stream, first_log: LogId(take.varint()?), partitions: take.varint32()? };
    let epoch = take.varint32()?;
    Mappings::take_added(created, epoch, take)
}

#[inline]
fn put_group(group: &Group<'_>, out: &mut Out) {
    out.u32(group.partition);
    out.option(group.expect_offset, Out::u64);
    out.varint(group.records.len() as u64);
    for record in group.records {
        out.put(record.encoded_len(record.user_bytes()), |put| record.encode(put));
    }
}

pub(super) fn with_command_of_streams<T>(
    mut take: Take<'_>,
    then: impl FnOnce(streams::Command<'_>) -> T,
) -> Result<T, Malformed> {
    use streams::Command as C;
    let command = match take.u8()? {
        1 => {
            let (name, options) = take_definition(&mut take)?;
            C::Create { name, options }
        }
        2 => {
            let (name, options) = take_definition(&mut take)?;
            C::Ensure { name, options }
        }
        3 => C::Delete { name: take.text()? },
        4 => return with_append(take, |append| then(C::Append(append))),
        5 => C::TrimBefore { stream: take_handle(&mut take)?, partition: take.u32()?, offset: take.u64()? },
        6 => {
            let (stream, name) = (take_handle(&mut take)?, take.text()?);
            C::OpenProducer { stream, name, expire_after_micros: take.u64()? }
        }
        7 => {
            let producer = ProducerHandle { number: take.varint()?, epoch: take.varint()? };
            let sequences = take_option(&mut take, take_sequences)?;
            let sequences = sequences.as_deref();
            return with_append(take, |append| then(C::Produce(Produce { append, producer, sequences })));
        }
        13 => return with_command_of_groups(take, |command| then(C::Groups(command))),
        12 => C::AddPartitions { stream: take_handle(&mut take)?, count: take.u32()? },
        _ => return Err(Malformed("a command that there is not")),
    };
    take.end()?;
    Ok(then(command))
}

fn take_definition<'a>(take: &mut Take<'a>) -> Result<(&'a str, streams::Options), Malformed> {
    let name = take.text()?;
    let options = streams::take_options(0, take)?;
    Ok((name, streams::Options { partitions: take.u32()?, ..options }))
}

/// One for each group.
fn take_sequences(take: &mut Take<'_>) -> Result<Vec<u64>, Malformed> {
    let count = take.varint()?;
    if count > u64::from(PARTITIONS_MAX) {
        return Err(Malformed("more sequences than a batch has groups"));
    }
    (0..count).map(|_| take.varint()).collect()
}

fn with_append<T>(mut take: Take<'_>, then: impl FnOnce(Append<'_>) -> T) -> Result<T, Malformed> {
    let (stream, mapping_partitions) = (take_handle(&mut take)?, take.u32()?);
    let count = take.varint()?;
    let append = |groups: &[Group<'_>]| then(Append { stream, mapping_partitions, groups });
    if count == 1 {
        let (partition, expect_offset, count) = take_group_head(&mut take)?;
        if count == 1 {
            // One record, the usual number, takes no allocation.
            let mut headers = Vec::new();
            let record = take_record(&mut take, &mut headers)?;
            take.end()?;
            return Ok(append(&[Group { partition, expect_offset, records: &[record.headers(&headers)] }]));
        }
        let parsed = Parsed::default().with(count, &mut take)?;
        take.end()?;
        let records = parsed.records();
        return Ok(append(&[Group { partition, expect_offset, records: &records }]));
    }
    let (mut heads, mut parsed) = (Vec::new(), Parsed::default());
    if count > u64::from(PARTITIONS_MAX) {
        return Err(Malformed("more groups than a stream has partitions"));
    }
    for _ in 0..count {
        let (partition, expect_offset, count) = take_group_head(&mut take)?;
        let first = parsed.records.len();
        parsed = parsed.with(count, &mut take)?;
        heads.push((partition, expect_offset, first..parsed.records.len()));
    }
    take.end()?;
    let records = parsed.records();
    let group = |(partition, expect_offset, range): (u32, Option<u64>, std::ops::Range<usize>)| Group {
        partition,
        expect_offset,
        records: &records[range],
    };
    Ok(append(&heads.into_iter().map(group).collect::<Vec<_>>()))
}

/// Records and all their headers, which lie one after the other.
#[derive(Default)]
struct Parsed<'a> {
    /// Each with the number of its headers.
    records: Vec<(Record<'a>, usize)>,
    headers: Vec<Header<'a>>,
}

impl<'a> Parsed<'a> {
    /// With so many more records. It grows with what is there, not with what is announced.
    fn with(mut self, count: u64, take: &mut Take<'a>) -> Result<Parsed<'a>, Malformed> {
        for _ in 0..count {
            if self.records.len() == RECORDS_PER_BATCH_MAX {
                return Err(Malformed("more records than a batch has"));
            }
            let before = self.headers.len();
            let record = take_record(take, &mut self.headers)?;
            self.records.push((record, self.headers.len() - before));
        }
        Ok(self)
    }

    fn records(&self) -> Vec<Record<'_>> {
        let mut rest = &self.headers[..];
        let records = self.records.iter().map(|(record, count)| {
            let (headers, after) = rest.split_at(*count);
            rest = after;
            record.headers(headers)
        });
        records.collect()
    }
}

/// A header may take two bytes, and what is made of it sixteen times as many: so they are counted.
fn take_record<'a>(take: &mut Take<'a>, headers: &mut Vec<Header<'a>>) -> Result<Record<'a>, Malformed> {
    streams::take_record(take, |header| {
        if headers.len() == HEADERS_PER_BATCH_MAX {
            return Err(Malformed("more headers than a batch has"));
        }
        headers.push(header);
        Ok(())
    })
}

fn take_group_head(take: &mut Take<'_>) -> Result<(u32, Option<u64>, u64), Malformed> {
    Ok((take.u32()?, take_option(take, Take::u64)?, take.varint()?))
}
