//! A record, and its bytes inside an item.
//!
//! ```text
//! varint   body length + 1; 0 is a tombstone
//! varint   key length + 1; 0 is no key
//! varint   length of the header block
//! bytes    key
//! bytes    header block: per header  slice(name, UTF-8) · slice(value)
//! bytes    body
//! ```
//!
//! The three lengths stand together, so that a reader finds the next record without looking at this one's bytes.
//! Offsets are not stored: records of an item have successive offsets from its head's first one on.

use crate::base::bounds;
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::journal::entry::Entry;

/// A named value beside a record's body. Names may repeat and keep their order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// What the value is called.
    pub name: &'a str,
    /// Any bytes.
    pub value: &'a [u8],
}

/// A record to append. It borrows what it is made of until the call returns.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: &'a [Header<'a>],
    /// `None` is a tombstone.
    pub(crate) body: Option<&'a [u8]>,
}

impl<'a> Record<'a> {
    /// The most bytes that a body has; one with more is refused with `LimitExceeded`.
    pub const BODY_BYTES_MAX: usize = bounds::BODY_BYTES_MAX;

    /// The most bytes that a key has; one with more is refused with `LimitExceeded`.
    pub const KEY_BYTES_MAX: usize = bounds::KEY_BYTES_MAX;

    /// A record with this body, without key and headers.
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Record<'a> {
        Record { key: None, headers: &[], body: Some(body) }
    }

    /// A record without a body: it says that what was written under `key` is gone.
    #[must_use]
    pub fn tombstone(key: &'a [u8]) -> Record<'a> {
        Record { key: Some(key), headers: &[], body: None }
    }

    /// Gives the record a key. Records with equal keys fall into the same partition.
    #[must_use]
    pub fn key(self, key: &'a [u8]) -> Record<'a> {
        Record { key: Some(key), ..self }
    }

    /// Gives the record headers, in place of those it had.
    #[must_use]
    pub fn headers(self, headers: &'a [Header<'a>]) -> Record<'a> {
        Record { headers, ..self }
    }

    pub(crate) fn key_len(&self) -> usize {
        self.key.map_or(0, <[u8]>::len)
    }

    pub(crate) fn body_len(&self) -> usize {
        self.body.map_or(0, <[u8]>::len)
    }

    #[inline]
    pub(crate) fn header_block_len(&self) -> usize {
        self.headers.iter().map(|header| slice_len(header.name.len()) + slice_len(header.value.len())).sum()
    }

    /// Bytes of key, header block and body.
    #[inline]
    pub(crate) fn user_bytes(&self) -> usize {
        self.key_len() + self.header_block_len() + self.body_len()
    }

    /// Bytes that [`encode`](Record::encode) writes, given [`user_bytes`](Record::user_bytes).
    #[inline]
    pub(crate) fn encoded_len(&self, user_bytes: usize) -> usize {
        let header_block = user_bytes - self.key_len() - self.body_len();
        varint_len(len_or_none(self.body))
            + varint_len(len_or_none(self.key))
            + varint_len(header_block as u64)
            + user_bytes
    }

    #[inline(always)]
    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        out.varints([len_or_none(self.body), len_or_none(self.key), self.header_block_len() as u64]);
        if let Some(key) = self.key {
            out.bytes(key);
        }
        for header in self.headers {
            out.slice(header.name.as_bytes());
            out.slice(header.value);
        }
        if let Some(body) = self.body {
            out.bytes(body);
        }
    }
}

impl<'a> From<&'a [u8]> for Record<'a> {
    fn from(body: &'a [u8]) -> Record<'a> {
        Record::new(body)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Record<'a> {
    fn from(body: &'a [u8; N]) -> Record<'a> {
        Record::new(body)
    }
}

impl<'a> From<&'a Vec<u8>> for Record<'a> {
    fn from(body: &'a Vec<u8>) -> Record<'a> {
        Record::new(body)
    }
}

impl<'a> From<&'a str> for Record<'a> {
    fn from(body: &'a str) -> Record<'a> {
        Record::new(body.as_bytes())
    }
}

impl<'a> From<&'a String> for Record<'a> {
    fn from(body: &'a String) -> Record<'a> {
        Record::new(body.as_bytes())
    }
}

#[inline]
fn len_or_none(bytes: Option<&[u8]>) -> u64 {
    bytes.map_or(0, |bytes| bytes.len() as u64 + 1)
}

/// A record as it lies in an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RecordRef<'a> {
    pub(crate) offset: u64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) header_block: &'a [u8],
    /// `None` is a tombstone.
    pub(crate) body: Option<&'a [u8]>,
}

impl<'a> RecordRef<'a> {
    /// Bytes of key, header block and body.
    pub(crate) fn user_bytes(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.header_block.len() + self.body.map_or(0, <[u8]>::len)
    }
}

/// The records of an item: `bytes` is what follows the head `entry`. Ends after the first error.
#[inline]
pub(crate) fn records<'a>(entry: &Entry, bytes: &'a [u8]) -> Records<'a> {
    Records { rest: Take::new(bytes), next: entry.first, end: entry.end() }
}

/// Iterator over the records of an item; see [`records`].
#[derive(Clone)]
pub(crate) struct Records<'a> {
    rest: Take<'a>,
    next: u64,
    end: u64,
}

impl<'a> Records<'a> {
    /// Bytes behind the record that was told last.
    pub(crate) fn remaining(&self) -> usize {
        self.rest.remaining()
    }

    #[inline]
    fn read(&mut self) -> Result<RecordRef<'a>, Malformed> {
        let record = take_parts(&mut self.rest, self.next)?;
        self.next += 1;
        if self.next == self.end && self.rest.remaining() > 0 {
            return Err(Malformed("bytes after the last record"));
        }
        Ok(record)
    }
}

/// Reads the next record of an item, which has this offset.
#[inline]
pub(crate) fn take_parts<'a>(take: &mut Take<'a>, offset: u64) -> Result<RecordRef<'a>, Malformed> {
    let (body, key, header_block) = (take.varint()?, take.varint()?, take.varint()?);
    let key = optional(take, key)?;
    let header_block = take.bytes(header_block as usize)?;
    let body = optional(take, body)?;
    Ok(RecordRef { offset, key, header_block, body })
}

#[inline]
fn optional<'a>(take: &mut Take<'a>, len_or_none: u64) -> Result<Option<&'a [u8]>, Malformed> {
    len_or_none.checked_sub(1).map(|len| take.bytes(len as usize)).transpose()
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordRef<'a>, Malformed>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.next = self.end;
        }
        Some(read)
    }
}

/// Reads a record that another process has encoded. Its headers go to `header`, and belong to the record.
pub(crate) fn take_record<'a>(
    take: &mut Take<'a>,
    mut header: impl FnMut(Header<'a>) -> Result<(), Malformed>,
) -> Result<Record<'a>, Malformed> {
    let (body_len, key_len, block_len) = (take.varint()?, take.varint()?, take.varint()?);
    let key = key_len.checked_sub(1).map(|len| take.bytes(len as usize)).transpose()?;
    let block = take.bytes(block_len as usize)?;
    let body = body_len.checked_sub(1).map(|len| take.bytes(len as usize)).transpose()?;
    for read in headers(block) {
        header(read?)?;
    }
    Ok(Record { key, headers: &[], body })
}

/// The headers of a header block. Ends after the first error.
pub(crate) fn headers(header_block: &[u8]) -> Headers<'_> {
    Headers { rest: Take::new(header_block) }
}

/// Iterator over the headers of a record; see [`headers`].
#[derive(Clone)]
pub(crate) struct Headers<'a> {
    rest: Take<'a>,
}

impl<'a> Headers<'a> {
    fn read(&mut self) -> Result<Header<'a>, Malformed> {
        Ok(Header { name: self.rest.text()?, value: self.rest.slice()? })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Result<Header<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.remaining() == 0 {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.rest = Take::new(&[]);
        }
        Some(read)
    }
}
