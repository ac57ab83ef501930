//! Items of a log on their way to a reader: the stretches of segments that they lie in, and where in them.

use bytes::Bytes;

use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::segment_id::SegmentId;
use crate::journal::entry::{Entry, entry_in};
use crate::journal::item::{Items, LoneItem};
use crate::storage::frame::{self, Frame};
use crate::storage::segment;

use super::fault::Fault;

/// One item of a log: its head, where it was written, and its bytes.
#[derive(Clone, Debug)]
pub(crate) struct ReadItem {
    pub(crate) entry: Entry,
    /// The address of the frame that it was first written in: the one in its writer's receipt.
    pub(crate) lsn: Lsn,
    chunk: u32,
    start: u32,
    len: u32,
}

impl ReadItem {
    /// Which stretch it lies in, where in that, and how long it is.
    pub(crate) fn chunk(&self) -> u32 {
        self.chunk
    }

    pub(crate) fn start(&self) -> u32 {
        self.start
    }

    pub(crate) fn len(&self) -> u32 {
        self.len
    }
}

/// A stretch of one segment, in memory.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) bytes: Bytes,
    pub(crate) segment: SegmentId,
    /// Where it starts in the segment.
    pub(crate) base: u32,
    /// The segment's file has these bytes: they are not a copy out of the ring.
    pub(crate) is_written: bool,
}

/// Items of one log in the order of their offsets.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(super) chunks: Vec<Chunk>,
    pub(super) items: Vec<ReadItem>,
    /// Of all items that were added.
    records: u64,
}

impl Batch {
    pub(crate) fn items(&self) -> &[ReadItem] {
        &self.items
    }

    pub(crate) fn chunk(&self, chunk: u32) -> &Chunk {
        &self.chunks[chunk as usize]
    }

    /// Adds a stretch that another process has told of, and gives its number.
    pub(crate) fn add_chunk(&mut self, bytes: Bytes, segment: SegmentId, base: u32) -> u32 {
        self.chunks.push(Chunk { bytes, segment, base, is_written: false });
        self.chunks.len() as u32 - 1
    }

    /// Adds an item that another process has told of; it lies within its stretch.
    pub(crate) fn add_item(&mut self, entry: Entry, lsn: Lsn, chunk: u32, start: u32, len: u32) {
        assert!((start + len) as usize <= self.chunks[chunk as usize].bytes.len(), "an item beyond its stretch");
        self.records += u64::from(entry.count);
        self.items.push(ReadItem { entry, lsn, chunk, start, len });
    }

    /// The event bytes of an item, tag included.
    #[inline]
    pub(crate) fn bytes(&self, item: &ReadItem) -> &[u8] {
        &self.chunks[item.chunk as usize].bytes[item.start as usize..(item.start + item.len) as usize]
    }

    /// The same, owned: it keeps the memory behind it.
    pub(crate) fn shared_bytes(&self, item: &ReadItem) -> Bytes {
        self.chunks[item.chunk as usize].bytes.slice(item.start as usize..(item.start + item.len) as usize)
    }

    /// The checksum of an item holds, and its content is not understood.
    pub(crate) fn not_understood(&self, item: &ReadItem, reason: &impl ToString) -> Fault {
        let chunk = &self.chunks[item.chunk as usize];
        Fault::Corrupt {
            file: segment::path(chunk.segment),
            offset: u64::from(chunk.base) + u64::from(item.start),
            from: item.lsn,
            to: item.lsn,
            reason: reason.to_string(),
        }
    }

    /// Records in it from `from` on.
    pub(super) fn records_from(&self, from: u64) -> u64 {
        let before = |item: &ReadItem| item.entry.end().min(from).saturating_sub(item.entry.first);
        self.records - self.items.first().map_or(0, before)
    }

    /// The offset behind its last item.
    pub(super) fn end(&self) -> Option<u64> {
        self.items.last().map(|item| item.entry.end())
    }
}

/// Adds items of one log to a batch. `base` is the place in the segment where the batch's chunk starts.
pub(super) struct Collect<'a> {
    pub(super) batch: &'a mut Batch,
    pub(super) chunk: u32,
    pub(super) base: u32,
}

impl Collect<'_> {
    /// The items of `log` in a frame that starts the chunk.
    pub(super) fn frame(&mut self, log: LogId, from: u64, until: u64, frame: &Frame<'_>) -> Result<(), String> {
        self.frame_at(log, from, until, frame, self.base)
    }

    #[inline]
    pub(super) fn frame_at(
        &mut self,
        log: LogId,
        from: u64,
        until: u64,
        frame: &Frame<'_>,
        place: u32,
    ) -> Result<(), String> {
        let before = self.batch.items.len();
        let payload = place + frame::HEADER_BYTES as u32;
        for item in Items::of(frame, place) {
            let item = item.map_err(|fault| fault.to_string())?;
            let within = item.bytes.as_ptr() as usize - frame.payload.as_ptr() as usize;
            self.push(log, from, until, frame.header.lsn, payload + within as u32, item.bytes)?;
        }
        match self.batch.items.len() > before {
            true => Ok(()),
            false => Err(format!("the frame does not hold offset {from} of the log")),
        }
    }

    pub(super) fn item(
        &mut self,
        log: LogId,
        from: u64,
        until: u64,
        place: u32,
        item: LoneItem<'_>,
    ) -> Result<(), String> {
        let before = self.batch.items.len();
        self.push(log, from, until, item.lsn, place, item.bytes)?;
        match self.batch.items.len() > before {
            true => Ok(()),
            false => Err(format!("the item does not hold offset {from} of the log")),
        }
    }

    #[inline]
    fn push(&mut self, log: LogId, from: u64, until: u64, lsn: Lsn, place: u32, item: &[u8]) -> Result<(), String> {
        let Some(entry) = entry_in(item, log).map_err(|fault| fault.to_string())? else { return Ok(()) };
        let in_order = self.batch.end().is_none_or(|end| entry.first >= end);
        if entry.end() > from && entry.first < until && in_order {
            let (start, len) = (place - self.base, item.len() as u32);
            self.batch.records += u64::from(entry.count);
            self.batch.items.push(ReadItem { entry, lsn, chunk: self.chunk, start, len });
        }
        Ok(())
    }
}
