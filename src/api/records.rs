//! Records as they are read: views into memory that the batch keeps.

use bytes::Bytes;

use crate::base::lsn::Lsn;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::engine::batch::{Batch, ReadItem};
use crate::primitives::streams::{self, Header};

use super::error::Error;

/// Says that a record has no key, or no body.
const NONE: u32 = u32::MAX;

/// A batch of records of one partition. Bodies are not copied: they stay in the files' maps (or, if just written, in
/// one copy), and stay valid as long as the batch, even if retention lets the records go meanwhile.
#[derive(Debug)]
pub struct Records {
    batch: Batch,
    places: Vec<Place>,
    partition: u32,
    end: u64,
}

/// Where one record lies in its item: key, header block and body follow each other.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    item: u32,
    start: u32,
    key_len: u32,
    headers_len: u32,
    body_len: u32,
}

impl Records {
    /// The first `max` records from offset `from` on.
    pub(crate) fn of(batch: Batch, partition: u32, from: u64, max: usize) -> Result<Records, Error> {
        let mut places = Vec::with_capacity(max.min(batch.items().len().max(64)));
        'items: for (number, item) in (0..).zip(batch.items()) {
            let bytes = batch.bytes(item);
            let (_, records) = streams::read_item(bytes).map_err(|fault| batch.not_understood(item, &fault))?;
            for record in records {
                let record = record.map_err(|fault| batch.not_understood(item, &fault))?;
                if record.offset < from {
                    continue;
                }
                if places.len() == max {
                    break 'items;
                }
                let key_len = record.key.map_or(0, <[u8]>::len);
                let start = record.header_block.as_ptr() as usize - bytes.as_ptr() as usize - key_len;
                places.push(Place {
                    offset: record.offset,
                    item: number,
                    start: start as u32,
                    key_len: record.key.map_or(NONE, |key| key.len() as u32),
                    headers_len: record.header_block.len() as u32,
                    body_len: record.body.map_or(NONE, |body| body.len() as u32),
                });
            }
        }
        let end = places.last().map_or(from, |place| place.offset + 1);
        Ok(Records { batch, places, partition, end })
    }

    pub(crate) fn partition(&self) -> u32 {
        self.partition
    }

    /// The offset behind the last record.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none; a batch that was received holds at least one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The records in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = RecordView<'_>> {
        self.places.iter().map(|place| RecordView { records: self, place: *place })
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = RecordView<'a>;
    type IntoIter = RecordIterator<'a>;

    fn into_iter(self) -> RecordIterator<'a> {
        RecordIterator { records: self, next: 0 }
    }
}

/// Goes over the records of a batch in order.
#[derive(Clone, Debug)]
pub struct RecordIterator<'a> {
    records: &'a Records,
    next: usize,
}

impl<'a> Iterator for RecordIterator<'a> {
    type Item = RecordView<'a>;

    fn next(&mut self) -> Option<RecordView<'a>> {
        let place = *self.records.places.get(self.next)?;
        self.next += 1;
        Some(RecordView { records: self.records, place })
    }
}

/// One record of a batch.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    records: &'a Records,
    place: Place,
}

impl<'a> RecordView<'a> {
    /// Its number in the partition.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.place.offset
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.records.partition
    }

    /// When it was appended; never earlier than the record before it.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.item().entry.timestamp
    }

    /// Where in the journal it was written. Records of one batch share it.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.item().lsn
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&'a [u8]> {
        let place = &self.place;
        (place.key_len != NONE).then(|| self.stretch(0, place.key_len))
    }

    /// Its body; empty for a tombstone.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        let (start, len) = self.body_stretch();
        self.stretch(start, len)
    }

    /// Its body, owned without copying: it keeps the memory behind it.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        let (start, len) = self.body_stretch();
        let at = (self.place.start + start) as usize;
        self.records.batch.shared_bytes(self.item()).slice(at..at + len as usize)
    }

    /// Whether it says that its key is gone.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.place.body_len == NONE
    }

    /// Its headers, in the order in which they were given.
    pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let block = self.stretch(self.present(self.place.key_len), self.place.headers_len);
        // The block was written by this library and its checksum holds: a header that does not read ends the list.
        streams::headers(block).map_while(Result::ok)
    }

    fn present(&self, len: u32) -> u32 {
        if len == NONE { 0 } else { len }
    }

    fn body_stretch(&self) -> (u32, u32) {
        (self.present(self.place.key_len) + self.place.headers_len, self.present(self.place.body_len))
    }

    fn item(&self) -> &'a ReadItem {
        &self.records.batch.items()[self.place.item as usize]
    }

    fn stretch(&self, start: u32, len: u32) -> &'a [u8] {
        let at = (self.place.start + start) as usize;
        &self.records.batch.bytes(self.item())[at..at + len as usize]
    }
}

/// One record by itself: it keeps its batch, and with it the memory behind all records that were read together.
#[derive(Clone, Debug)]
pub struct OwnedRecord {
    records: Arc<Records>,
    place: Place,
}

impl OwnedRecord {
    /// The record at this place of the batch.
    pub(crate) fn of(records: &Arc<Records>, at: usize) -> OwnedRecord {
        OwnedRecord { records: records.clone(), place: records.places[at] }
    }

    /// The record as those of a batch are seen.
    #[must_use]
    pub fn view(&self) -> RecordView<'_> {
        RecordView { records: &self.records, place: self.place }
    }

    /// Its number in the partition.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.place.offset
    }

    /// Its partition.
    #[must_use]
    pub fn partition(&self) -> u32 {
        self.records.partition
    }

    /// When it was appended; never earlier than the record before it.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.view().timestamp()
    }

    /// Where in the journal it was written. Records of one batch share it.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.view().lsn()
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.view().key()
    }

    /// Its body; empty for a tombstone.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.view().body()
    }

    /// Its body, owned without copying: it keeps the memory behind it.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        self.view().body_bytes()
    }

    /// Whether it says that its key is gone.
    #[must_use]
    pub fn is_tombstone(&self) -> bool {
        self.view().is_tombstone()
    }

    /// Its headers, in the order in which they were given.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.view().headers()
    }
}
