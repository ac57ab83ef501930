//! The common head of every event that puts records into a log, so that recovery, readers and the cleaner find records
//! without knowing any primitive.
//!
//! `tag u8 (bit 7 set) · log varint · first offset varint · records varint · timestamp u64 · expiry varint`, then the
//! bytes of the records, which are the primitive's. The expiry is in microseconds like the timestamp; 0 means never.

use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::log::LogId;
use crate::base::time::Timestamp;

/// Set in the tag of every event that puts records into a log.
pub(crate) const LOG_TAG: u8 = 0x80;

/// The head of an item that holds records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) log: LogId,
    pub(crate) first: u64,
    pub(crate) count: u32,
    pub(crate) timestamp: Timestamp,
    pub(crate) expiry: u64,
}

/// A record of an event, as compaction sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordPart<'a> {
    pub(crate) offset: u64,
    pub(crate) key: Option<&'a [u8]>,
    /// It says that what was written under its key is gone.
    pub(crate) is_tombstone: bool,
    /// Of key, headers and body.
    pub(crate) bytes: u64,
    /// Its bytes in the event. Those of neighbours lie side by side, up to the event's end.
    pub(crate) encoded: &'a [u8],
}

impl Entry {
    /// Bytes of the head, without the tag.
    #[inline]
    pub(crate) fn encoded_len(&self) -> usize {
        varint_len(self.log.0)
            + varint_len(self.first)
            + varint_len(u64::from(self.count))
            + size_of::<u64>()
            + varint_len(self.expiry)
    }

    #[inline]
    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        out.varint(self.log.0);
        out.varint(self.first);
        out.varint(u64::from(self.count));
        out.u64(self.timestamp.0);
        out.varint(self.expiry);
    }

    /// Reads the head that follows a tag; what is left are the records.
    #[inline]
    pub(crate) fn decode(bytes: &mut Take<'_>) -> Result<Entry, Malformed> {
        let (log, first) = (LogId(bytes.varint()?), bytes.varint()?);
        let (count, timestamp) = (bytes.varint32()?, Timestamp(bytes.u64()?));
        let expiry = bytes.varint()?;
        if count == 0 || first.checked_add(u64::from(count)).is_none() {
            return Err(Malformed("an entry without records"));
        }
        Ok(Entry { log, first, count, timestamp, expiry })
    }

    pub(crate) fn end(&self) -> u64 {
        self.first + u64::from(self.count)
    }
}
