//! Records that can be told apart: key, headers and body follow from a number and a length.

use super::history::RecordContents;
use crate::base::lsn::Lsn;
use crate::engine::batch::{Batch, ReadItem};
use crate::primitives::streams::{self, Header, Record};

/// The bytes of one record, to borrow from.
pub(super) struct RecordBytes {
    key: Option<Vec<u8>>,
    header: Option<Vec<u8>>,
    body: Option<Vec<u8>>,
}

impl RecordBytes {
    pub(super) fn of(number: u64, body_bytes: u32) -> RecordBytes {
        if number & COMPACTED != 0 {
            return RecordBytes::of_compacted(number, body_bytes);
        }
        let digits = format!("{number:016x}").into_bytes();
        let body: Vec<u8> = digits.iter().copied().cycle().take(body_bytes as usize).collect();
        RecordBytes {
            key: (number.is_multiple_of(3) || body_bytes == 0).then(|| digits.clone()),
            header: number.is_multiple_of(5).then(|| digits.clone()),
            body: (body_bytes > 0).then_some(body),
        }
    }

    /// Keys come again, and what tells the record apart is a header.
    fn of_compacted(number: u64, body_bytes: u32) -> RecordBytes {
        let digits = format!("{number:016x}").into_bytes();
        let body: Vec<u8> = digits.iter().copied().cycle().take(body_bytes as usize).collect();
        RecordBytes {
            key: Some(key_of(number).to_le_bytes().to_vec()),
            header: Some(digits),
            body: (body_bytes > 0).then_some(body),
        }
    }

    pub(super) fn headers(&self) -> Vec<Header<'_>> {
        self.header.iter().map(|value| Header { name: "trace", value }).collect()
    }

    pub(super) fn record<'a>(&'a self, headers: &'a [Header<'a>]) -> Record<'a> {
        Record { key: self.key.as_deref(), headers, body: self.body.as_deref() }
    }

    /// Bytes that retention counts.
    pub(super) fn user_bytes(number: u64, body_bytes: u32) -> u64 {
        let bytes = RecordBytes::of(number, body_bytes);
        bytes.record(&bytes.headers()).user_bytes() as u64
    }
}

/// Set in the numbers of records of streams with compaction.
pub(super) const COMPACTED: u64 = 1 << 62;

const KEYS: u64 = 11;

/// Which key a record of a stream with compaction has.
pub(super) fn key_of(number: u64) -> u64 {
    (number & !COMPACTED) % KEYS
}

/// The records of an item, each held against what its number says it must be.
pub(super) fn read_records(batch: &Batch, item: &ReadItem) -> Result<Vec<(u64, RecordContents)>, String> {
    let (entry, records) = streams::read_item(batch.bytes(item)).map_err(|malformed| malformed.to_string())?;
    let mut read = Vec::new();
    for record in records {
        let record = record.map_err(|malformed| malformed.to_string())?;
        let body_bytes = record.body.map_or(0, <[u8]>::len) as u32;
        let header = streams::headers(record.header_block).next().and_then(Result::ok);
        let named = header.map(|header| header.value).filter(|_| record.key.is_some_and(|key| key.len() == 8));
        let number = number_of(named.or(record.body).or(record.key).unwrap_or_default())?;
        let known = RecordBytes::of(number, body_bytes);
        let headers: Result<Vec<Header<'_>>, _> = streams::headers(record.header_block).collect();
        let headers = headers.map_err(|malformed| malformed.to_string())?;
        if (record.key, record.body) != (known.key.as_deref(), known.body.as_deref()) || headers != known.headers() {
            return Err(format!("record {number} at offset {} has other bytes than were written", record.offset));
        }
        let timestamp = entry.timestamp;
        let (lsn, end) = (item.lsn, Lsn(0));
        let contents = RecordContents { number, body_bytes, timestamp, epoch: 0, lsn, end, sync: false };
        read.push((record.offset, contents));
    }
    Ok(read)
}

/// Bodies, and keys of tombstones, have at least the sixteen digits of their number.
fn number_of(bytes: &[u8]) -> Result<u64, String> {
    let digits = bytes.get(..16).and_then(|digits| std::str::from_utf8(digits).ok());
    let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    number.ok_or_else(|| "a record that nobody wrote".to_owned())
}
