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
//!
//! An answer holds as many items as fit its frame, and one item always does: the asker goes on behind the last.

use bytes::Bytes;

use crate::base::bounds::{
    FRAME_BYTES_MAX, INLINE_BYTES_MAX, RECORDS_PER_READ_MAX, VERDICT_MICROS, WIRE_FRAME_BYTES_MAX,
};
use crate::base::codec::{Malformed, Take};
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::segment_id::SegmentId;
use crate::base::time::{BootTime, Timestamp};
use crate::engine::batch::{Batch, ReadItem};
use crate::engine::fault::Fault;
use crate::engine::read::{Cursor, Read, mapped};
use crate::engine::{Engine, Refused, micros_left};
use crate::journal::entry::Entry;
use crate::primitives::{Primitives, Refusal};
use crate::storage::disk::clock;
use crate::storage::segment::Segments;

use super::link::{Link, Station, answered};
use super::questions::unreadable;
use super::waiting::Waiting;
use super::wire::Out;

type Answered<T> = Result<T, Refused<Refusal>>;

/// Logs of which a connection remembers where its reader is.
const CURSORS_MAX: usize = 64;

/// What an item takes beside its bytes: five varints of 64 bits and two of 32; and what a stretch takes, in case it has
/// one to itself.
const ITEM_HEAD_BYTES_MAX: usize = 5 * 10 + 2 * 5 + 1 + 2 * 10 + 2 * 5;

/// What an answer takes beside its items: outcome, request, kind and the count of stretches.
const ANSWER_HEAD_BYTES_MAX: usize = 1 + 10 + 1 + 10;

/// Items of one answer, with all that is said of them.
const ITEMS_BYTES_MAX: usize = WIRE_FRAME_BYTES_MAX - ANSWER_HEAD_BYTES_MAX;

const _: () = assert!(FRAME_BYTES_MAX as usize + ITEM_HEAD_BYTES_MAX <= ITEMS_BYTES_MAX);

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
    let stretches: Vec<&[ReadItem]> = fitting(batch, inline).chunk_by(|a, b| a.chunk() == b.chunk()).collect();
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

/// The first of the items, as many as one answer may hold.
fn fitting(batch: &Batch, inline: bool) -> &[ReadItem] {
    let mut bytes = 0;
    let fits = |item: &&ReadItem| {
        let is_sent = inline || !batch.chunk(item.chunk()).is_written;
        bytes += ITEM_HEAD_BYTES_MAX + if is_sent { item.len() as usize } else { 0 };
        bytes <= ITEMS_BYTES_MAX
    };
    let count = batch.items().iter().take_while(fits).count();
    assert!(count > 0, "an item is at most as long as a frame of the journal");
    &batch.items()[..count]
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
            Err(NoBatch::Unmapped) => return Ok(Fetched::Again),
            Err(NoBatch::Malformed(malformed)) => return Err(unreadable(malformed)),
        },
        _ => return Err(unreadable(Malformed("an answer that there is not"))),
    };
    Ok(Fetched::Read(read))
}

enum NoBatch {
    Malformed(Malformed),
    /// Asking again tells whether it matters.
    Unmapped,
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
            let file = segments.get(segment).map_err(|_| NoBatch::Unmapped)?;
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

impl Link {
    /// Reads what is there.
    pub(crate) fn read(&self, log: LogId, from: u64, records: usize, cursor: &mut Cursor) -> Answered<Read> {
        loop {
            match self.station()? {
                Station::Host(station) => return Ok(station.engine().read(log, from, records, cursor)?),
                Station::Attached(client) => {
                    let read = ReadRecords { log, from, records, waits: false, inline: false };
                    if let Some(answered) = answered(client.read(&read, None)) {
                        return Ok(answered?.expect("without a deadline it waits for the answer"));
                    }
                }
            }
        }
    }

    /// Reads what is there, and waits until something is; `None` once the deadline has passed.
    pub(crate) fn read_waiting(
        &self,
        log: LogId,
        from: u64,
        records: usize,
        cursor: &mut Cursor,
        deadline: Option<BootTime>,
    ) -> Answered<Option<Read>> {
        loop {
            match self.station()? {
                Station::Host(station) => {
                    let engine = station.engine();
                    match engine.read(log, from, records, cursor)? {
                        Read::AtEnd => {}
                        found => return Ok(Some(found)),
                    }
                    let Some(waiting) = Waiting::begin(engine, log, from)? else { continue };
                    match micros_left(deadline) {
                        Ok(left) => {
                            waiting.sleep(left);
                        }
                        Err(Fault::TimedOut) => return Ok(None),
                        Err(fault) => return Err(fault.into()),
                    }
                }
                Station::Attached(client) => {
                    // Without time left what is there is still asked for.
                    let waits = micros_left(deadline).is_ok();
                    let read = ReadRecords { log, from, records, waits, inline: false };
                    let answered_by = if waits { deadline } else { Some(clock::boot().plus(VERDICT_MICROS)) };
                    if let Some(answered) = answered(client.read(&read, answered_by)) {
                        return Ok(answered?.filter(|found| waits || !matches!(found, Read::AtEnd)));
                    }
                }
            }
        }
    }

    /// The same for a future, without a deadline.
    pub(crate) async fn read_async(
        &self,
        log: LogId,
        from: u64,
        records: usize,
        cursor: &mut Cursor,
    ) -> Answered<Read> {
        loop {
            match self.station()? {
                Station::Host(station) => {
                    match station.engine().read(log, from, records, cursor)? {
                        Read::AtEnd => {}
                        found => return Ok(found),
                    }
                    if let Some(waiting) = Waiting::begin(station.engine(), log, from)? {
                        waiting.await;
                    }
                }
                Station::Attached(client) => {
                    let read = ReadRecords { log, from, records, waits: true, inline: false };
                    if let Some(answered) = answered(client.read_async(&read).await) {
                        return answered;
                    }
                }
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::lsn::Geometry;
    use crate::sim::disk::SimDisk;

    const LOG: LogId = LogId(7);

    /// Items of so many bytes each, a stretch for each or one for all.
    fn batch_of(item_bytes: usize, count: usize, apart: bool) -> Batch {
        let mut batch = Batch::default();
        let bytes = Bytes::from(vec![7; item_bytes * if apart { 1 } else { count }]);
        for number in 0..count {
            if apart || number == 0 {
                batch.add_chunk(bytes.clone(), SegmentId::Journal(u64::MAX / 2), u32::MAX - 1);
            }
            let chunk = if apart { number as u32 } else { 0 };
            let start = if apart { 0 } else { number * item_bytes };
            let entry =
                Entry { log: LOG, first: number as u64, count: 1, timestamp: Timestamp(u64::MAX), expiry: u64::MAX };
            batch.add_item(entry, Lsn(u64::MAX), chunk, start as u32, item_bytes as u32);
        }
        batch
    }

    /// How many items of a batch an answer with all bytes in it holds.
    fn answered(batch: Batch) -> usize {
        let read = ReadRecords { log: LOG, from: 0, records: RECORDS_PER_READ_MAX, waits: false, inline: true };
        let mut out = Out::new();
        put_read(&Read::Items(batch), &read, &mut out);
        assert!(out.len() + 1 + 10 <= WIRE_FRAME_BYTES_MAX, "{} bytes", out.len());
        let geometry = Geometry::new(4 << 20, 4 << 20).expect("the least geometry");
        let nothing_to_map = Segments::new(SimDisk::new(1).attach(), geometry);
        match take_read(&mut Take::new(out.bytes()), LOG, &nothing_to_map) {
            Ok(Fetched::Read(Read::Items(batch))) => batch.items().len(),
            _ => panic!("items were sent"),
        }
    }

    #[test]
    fn an_answer_with_all_bytes_in_it_holds_as_many_items_as_fit_its_frame() {
        let most = FRAME_BYTES_MAX as usize;
        assert_eq!(answered(batch_of(most, 1, false)), 1);
        assert_eq!(answered(batch_of(most, 2, true)), 1);
        assert_eq!(answered(batch_of(most / 2, 3, true)), 2);
        assert_eq!(answered(batch_of(100, 1000, false)), 1000);
        let small = answered(batch_of(100, most / 100, false));
        assert!(small > 1000 && small < most / 100, "{small}");
        let apart = answered(batch_of(1, most / 20, true));
        assert!(apart > 1000 && apart < most / 20, "{apart}");
    }
}
