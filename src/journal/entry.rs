//! The common head of every event that puts records into a log, so that recovery, readers and the cleaner find records
//! without knowing any primitive.
//!
//! `tag u8 (bit 7 set) · log varint · first offset varint · records varint · timestamp u64 · expiry varint`, then the
//! bytes of the records, which are the primitive's. The expiry is in microseconds like the timestamp; 0 means never.
//!
//! The records of one event may lie in several logs at once and be stored once: `tag u8 (bits 7 and 6 set) · logs
//! varint · per log  u8 (1 they live there, 0 no longer) · log varint · first offset varint`, then `records varint ·
//! timestamp u64 · expiry varint` of all, then the bytes of the records. Where such an item is copied while some of the
//! logs are through with it, these are marked, so that nobody takes them for records that are missing.

use std::borrow::Cow;

use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::log::LogId;
use crate::base::time::Timestamp;

/// Set in the tag of every event that puts records into a log.
pub(crate) const LOG_TAG: u8 = 0x80;

/// Set too where the records lie in several logs.
pub(crate) const SHARED_TAG: u8 = 0x40;

/// Logs that one item lies in at most.
const LOGS_MAX: u64 = 1 << 16;

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

/// Bytes of the head of an item that lies in all these logs, without the tag. The entries differ in log and first
/// offset alone.
pub(crate) fn shared_len(entries: impl ExactSizeIterator<Item = Entry>) -> usize {
    let (mut len, mut of_all) = (varint_len(entries.len() as u64), 0);
    for Entry { log, first, count, expiry, .. } in entries {
        len += 1 + varint_len(log.0) + varint_len(first);
        of_all = varint_len(u64::from(count)) + size_of::<u64>() + varint_len(expiry);
    }
    len + of_all
}

pub(crate) fn put_shared(entries: impl ExactSizeIterator<Item = Entry>, out: &mut Put<'_>) {
    out.varint(entries.len() as u64);
    let mut of_all = None;
    for Entry { log, first, count, timestamp, expiry } in entries {
        out.u8(1);
        out.varint(log.0);
        out.varint(first);
        of_all = Some((count, timestamp, expiry));
    }
    let (count, timestamp, expiry) = of_all.expect("an item lies in a log");
    out.varint(u64::from(count));
    out.u64(timestamp.0);
    out.varint(expiry);
}

/// Reads the head that follows a tag with [`SHARED_TAG`]: every log, and whether the records live there.
pub(crate) fn take_shared(bytes: &mut Take<'_>) -> Result<Vec<(Entry, bool)>, Malformed> {
    let logs = bytes.varint()?;
    if logs == 0 || logs > LOGS_MAX {
        return Err(Malformed("an item in no log, or in more than there can be"));
    }
    let mut places = Vec::new();
    for _ in 0..logs {
        let lives = match bytes.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("a record that neither lives nor does not")),
        };
        places.push((LogId(bytes.varint()?), bytes.varint()?, lives));
    }
    let (count, timestamp, expiry) = (bytes.varint32()?, Timestamp(bytes.u64()?), bytes.varint()?);
    let entry = |(log, first, lives): (LogId, u64, bool)| match first.checked_add(u64::from(count)) {
        Some(_) if count > 0 => Ok((Entry { log, first, count, timestamp, expiry }, lives)),
        _ => Err(Malformed("an entry without records")),
    };
    places.into_iter().map(entry).collect()
}

/// What an item says of the logs that its records live in: none if it holds no records.
pub(crate) fn each_entry(item: &[u8], visit: &mut dyn FnMut(Entry)) -> Result<(), Malformed> {
    let mut take = Take::new(item);
    let tag = take.u8()?;
    if tag & LOG_TAG == 0 {
        return Ok(());
    }
    if tag & SHARED_TAG == 0 {
        visit(Entry::decode(&mut take)?);
        return Ok(());
    }
    take_shared(&mut take)?.into_iter().filter(|(_, lives)| *lives).for_each(|(entry, _)| visit(entry));
    Ok(())
}

/// What an item says of one log, if records of it live there.
#[inline]
pub(crate) fn entry_in(item: &[u8], log: LogId) -> Result<Option<Entry>, Malformed> {
    let mut take = Take::new(item);
    match take.u8()? {
        tag if tag & LOG_TAG == 0 => Ok(None),
        tag if tag & SHARED_TAG == 0 => Ok(Some(Entry::decode(&mut take)?).filter(|entry| entry.log == log)),
        _ => entry_in_shared(&mut take, log),
    }
}

#[cold]
fn entry_in_shared(take: &mut Take<'_>, log: LogId) -> Result<Option<Entry>, Malformed> {
    let found = take_shared(take)?.into_iter().find(|(entry, lives)| *lives && entry.log == log);
    Ok(found.map(|(entry, _)| entry))
}

/// The item as it is copied where its records live in these logs alone, which are in order.
pub(crate) fn living_in<'a>(item: &'a [u8], logs: &[LogId]) -> Result<Cow<'a, [u8]>, Malformed> {
    let mut take = Take::new(item);
    if take.u8()? & SHARED_TAG == 0 {
        return Ok(Cow::Borrowed(item));
    }
    let mut copy = Cow::Borrowed(item);
    for _ in 0..take.varint()? {
        let mark = item.len() - take.remaining();
        let lived = take.u8()? == 1;
        let log = LogId(take.varint()?);
        take.varint()?;
        if lived && logs.binary_search(&log).is_err() {
            copy.to_mut()[mark] = 0;
        }
    }
    Ok(copy)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const AUDIT: Entry = Entry { log: LogId(300), first: 7, count: 2, timestamp: Timestamp(5), expiry: 0 };
    const BILLING: Entry = Entry { log: LogId(4), first: 90_000, ..AUDIT };

    fn shared_item() -> Vec<u8> {
        let entries = [AUDIT, BILLING];
        let mut item = vec![0; 1 + shared_len(entries.into_iter()) + 4];
        let mut out = Put::new(&mut item);
        out.u8(LOG_TAG | SHARED_TAG | 0x30);
        put_shared(entries.into_iter(), &mut out);
        out.bytes(b"body");
        assert_eq!(out.remaining(), 0, "a head is as long as was foretold");
        item
    }

    fn entries(item: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        each_entry(item, &mut |entry| entries.push(entry)).expect("an item that was written");
        entries
    }

    #[test]
    fn an_item_of_several_logs_is_found_from_each() {
        let item = shared_item();
        assert_eq!(entries(&item), [AUDIT, BILLING]);
        assert_eq!(entry_in(&item, AUDIT.log), Ok(Some(AUDIT)));
        assert_eq!(entry_in(&item, BILLING.log), Ok(Some(BILLING)));
        assert_eq!(entry_in(&item, LogId(5)), Ok(None));
    }

    #[test]
    fn a_copy_lives_in_the_logs_alone_that_it_was_made_for() {
        let item = shared_item();
        assert_eq!(*living_in(&item, &[BILLING.log, AUDIT.log]).unwrap(), item);
        let copy = living_in(&item, &[BILLING.log]).unwrap();
        assert_eq!((copy.len(), entries(&copy)), (item.len(), vec![BILLING]));
        assert_eq!(entry_in(&copy, AUDIT.log), Ok(None));
        let again = living_in(&copy, &[BILLING.log, AUDIT.log]).unwrap();
        assert_eq!(entries(&again), [BILLING], "what no longer lives in a log is not brought back");
    }

    #[test]
    fn a_head_that_is_cut_short_or_of_no_log_is_malformed() {
        let item = shared_item();
        for len in 0..item.len() - 4 {
            assert!(each_entry(&item[..len], &mut |_| {}).is_err(), "{len} bytes");
        }
        assert!(each_entry(&[0xf0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0], &mut |_| {}).is_err());
    }
}
