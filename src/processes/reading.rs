//! Reading records from another process.
//!
//! Few bytes are sent with the answer. Of more the answer says where they lie, and the asker maps the segments itself,
//! read-only: what is told of was written and is never written again, so that its bytes are the ones that the host
//! verified. A segment may go away before it is mapped; the asker then asks again, and learns where the records are
//! now.
//!
//! ```text
//! read       log · from · records · waits u8 · inline u8
//! nothing    0 u8
//! below      1 u8 · start · end
//! gone       2 u8
//! items      3 u8 · count of stretches · stretches
//!   stretch  inline u8 · segment · base · length · (inline: bytes) · count of items · items
//!   item     first · count · timestamp · expiry · lsn · start · length
//! segment    twice its number, and one more for a survivor
//! ```
//!
//! `start` counts from `base`, or from the first of the bytes that are sent.

use std::io;

use bytes::Bytes;

use crate::base::bounds::{INLINE_BYTES_MAX, RECORDS_PER_READ_MAX};
use crate::base::codec::{Malformed, Take};
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::segment_id::SegmentId;
use crate::base::time::Timestamp;
use crate::engine::Engine;
use crate::engine::batch::{Batch, ReadItem};
use crate::engine::fault::Fault;
use crate::engine::read::{Cursor, Read, mapped};
use crate::journal::entry::Entry;
use crate::primitives::Primitives;
use crate::storage::segment::Segments;

use super::wire::Out;

/// Logs of which a connection remembers where its reader is.
const CURSORS_MAX: usize = 64;

/// Reads about `records` records of a log from an offset on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct ReadRecords {
    pub(crate) log: LogId,
    pub(crate) from: u64,
    pub(crate) records: usize,
    /// The answer waits until there is something.
    pub(crate) waits: bool,
    /// All bytes come with the answer.
    pub(crate) inline: bool,
}

impl ReadRecords {
    pub(crate) fn put(&self, out: &mut Out) {
        out.varint(self.log.0);
        out.varint(self.from);
        out.varint(self.records as u64);
        out.bool(self.waits);
        out.bool(self.inline);
    }

    pub(crate) fn take(take: &mut Take<'_>) -> Result<ReadRecords, Malformed> {
        Ok(ReadRecords {
            log: LogId(take.varint()?),
            from: take.varint()?,
            records: (take.varint()? as usize).clamp(1, RECORDS_PER_READ_MAX),
            waits: take.u8()? == 1,
            inline: take.u8()? == 1,
        })
    }
}

/// Where the readers of one connection are, so that the next read need not search again.
#[derive(Default)]
pub(crate) struct Cursors {
    /// The one used last stands last.
    cursors: Vec<(LogId, Cursor)>,
}

impl Cursors {
    pub(crate) fn read(&mut self, engine: &Engine<Primitives>, read: &ReadRecords) -> Result<Read, Fault> {
        let known = self.cursors.iter().position(|(log, _)| *log == read.log);
        let (log, mut cursor) = known.map_or_else(|| (read.log, Cursor::default()), |at| self.cursors.remove(at));
        let found = engine.read(log, read.from, read.records, &mut cursor);
        if cursor.is_of_use() {
            if self.cursors.len() == CURSORS_MAX {
                self.cursors.remove(0);
            }
            self.cursors.push((log, cursor));
        }
        found
    }
}

pub(crate) fn put_read(found: &Read, read: &ReadRecords, out: &mut Out) {
    match found {
        Read::AtEnd => out.u8(0),
        Read::Below { start, end } => {
            out.u8(1);
            out.varint(*start);
            out.varint(*end);
        }
        Read::Gone => out.u8(2),
        Read::Items(batch) => {
            out.u8(3);
            put_batch(batch, read.inline, out);
        }
    }
}

fn put_batch(batch: &Batch, inline: bool, out: &mut Out) {
    let bytes: usize = batch.items().iter().map(|item| batch.bytes(item).len()).sum();
    let inline = inline || bytes <= INLINE_BYTES_MAX;
    let stretches: Vec<&[ReadItem]> = batch.items().chunk_by(|a, b| a.chunk() == b.chunk()).collect();
    out.varint(stretches.len() as u64);
    for items in stretches {
        let chunk = batch.chunk(items[0].chunk());
        let inline = inline || !chunk.is_written;
        out.bool(inline);
        out.varint(match chunk.segment {
            SegmentId::Journal(number) => number * 2,
            SegmentId::Survivor(number) => number * 2 + 1,
        });
        out.varint(u64::from(chunk.base));
        let sent: usize = items.iter().map(|item| batch.bytes(item).len()).sum();
        out.varint(if inline { sent } else { chunk.bytes.len() } as u64);
        if inline {
            items.iter().for_each(|item| out.raw(batch.bytes(item)));
        }
        out.varint(items.len() as u64);
        let mut next = 0;
        for item in items {
            put_item(item, if inline { next } else { item.start() }, out);
            next += item.len();
        }
    }
}

fn put_item(item: &ReadItem, start: u32, out: &mut Out) {
    let Entry { first, count, timestamp, expiry, .. } = item.entry;
    [first, u64::from(count), timestamp.0, expiry, item.lsn.0].into_iter().for_each(|number| out.varint(number));
    out.varint(u64::from(start));
    out.varint(u64::from(item.len()));
}

/// What came of reading an answer.
pub(crate) enum Fetched {
    Read(Read),
    /// A segment went away, or cannot be mapped: ask again.
    Again,
}

/// Takes an answer, with segments mapped from `segments`.
pub(crate) fn take_read(take: &mut Take<'_>, log: LogId, segments: &Segments) -> Result<Fetched, Fault> {
    let read = match take.u8().map_err(unreadable)? {
        0 => Read::AtEnd,
        1 => {
            let (start, end) = (take.varint().map_err(unreadable)?, take.varint().map_err(unreadable)?);
            Read::Below { start, end }
        }
        2 => Read::Gone,
        3 => match take_batch(take, log, segments) {
            Ok(batch) => Read::Items(batch),
            Err(NoBatch::Unmapped(_)) => return Ok(Fetched::Again),
            Err(NoBatch::Malformed(malformed)) => return Err(unreadable(malformed)),
        },
        _ => return Err(unreadable(Malformed("an answer that there is not"))),
    };
    Ok(Fetched::Read(read))
}

use super::questions::unreadable;

enum NoBatch {
    Malformed(Malformed),
    Unmapped(#[expect(dead_code, reason = "asking again tells whether it matters")] io::Error),
}

impl From<Malformed> for NoBatch {
    fn from(malformed: Malformed) -> NoBatch {
        NoBatch::Malformed(malformed)
    }
}

fn take_batch(take: &mut Take<'_>, log: LogId, segments: &Segments) -> Result<Batch, NoBatch> {
    let mut batch = Batch::default();
    for _ in 0..take.varint()? {
        let inline = take.u8()? == 1;
        let segment = match take.varint()? {
            number if number % 2 == 0 => SegmentId::Journal(number / 2),
            number => SegmentId::Survivor(number / 2),
        };
        let (base, length) = (take.varint32()?, take.varint32()?);
        let bytes = if inline {
            Bytes::copy_from_slice(take.bytes(length as usize)?)
        } else {
            let file = segments.get(segment).map_err(NoBatch::Unmapped)?;
            mapped(&file, base, length).ok_or(Malformed("a stretch beyond its segment"))?
        };
        let chunk = batch.add_chunk(bytes, segment, base);
        for _ in 0..take.varint()? {
            take_item(take, log, length, chunk, &mut batch)?;
        }
    }
    if batch.items().is_empty() {
        return Err(Malformed("items that are none").into());
    }
    Ok(batch)
}

fn take_item(take: &mut Take<'_>, log: LogId, length: u32, chunk: u32, batch: &mut Batch) -> Result<(), Malformed> {
    let (first, count, timestamp) = (take.varint()?, take.varint32()?, Timestamp(take.varint()?));
    let (expiry, lsn) = (take.varint()?, Lsn(take.varint()?));
    let (start, len) = (take.varint32()?, take.varint32()?);
    if start.checked_add(len).is_none_or(|end| end > length) || first.checked_add(u64::from(count)).is_none() {
        return Err(Malformed("an item beyond its stretch"));
    }
    batch.add_item(Entry { log, first, count, timestamp, expiry }, lsn, chunk, start, len);
    Ok(())
}
