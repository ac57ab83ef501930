//! A message as it is read: a view into memory that it keeps.

use bytes::Bytes;

use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::engine::batch::{Batch, ReadItem};
use crate::engine::read::{Cursor, Read};
use crate::primitives::queues::{self, MessageRef};
use crate::primitives::streams::{self, Header};
use crate::processes::link::Link;

use super::database::unnamed;
use super::error::Error;

/// A message of a queue: what was sent, and when. Its body is not copied: it stays in the files' maps (or, if just
/// written, in one copy), and stays valid as long as this does.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    batch: Arc<Batch>,
    item: u32,
    sequence: u64,
    key: Option<Stretch>,
    headers: Stretch,
    body: Stretch,
    group: Option<Stretch>,
}

/// Where a part lies in its item.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    start: u32,
    len: u32,
}

impl Stretch {
    fn of(item: &[u8], part: &[u8]) -> Stretch {
        Stretch { start: (part.as_ptr() as usize - item.as_ptr() as usize) as u32, len: part.len() as u32 }
    }

    fn range(self) -> std::ops::Range<usize> {
        self.start as usize..(self.start + self.len) as usize
    }
}

impl StoredMessage {
    /// Its number in the queue. Of two messages of the same priority the one that was sent later has the greater number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// 0 to 31.
    #[must_use]
    pub fn priority(&self) -> u8 {
        queues::place_of(self.sequence).0
    }

    /// When it was sent.
    #[must_use]
    pub fn timestamp(&self) -> Timestamp {
        self.read_item().entry.timestamp
    }

    /// Where in the journal it was written.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.read_item().lsn
    }

    /// Its body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.part(self.body)
    }

    /// Its body, owned without copying: it keeps the memory behind it.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        self.batch.shared_bytes(self.read_item()).slice(self.body.range())
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.key.map(|key| self.part(key))
    }

    /// Its headers, in the order in which they were given.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        // The block was written by this library and its checksum holds: a header that does not read ends the list.
        streams::headers(self.part(self.headers)).map_while(Result::ok)
    }

    /// The group that it belongs to.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.group.and_then(|group| std::str::from_utf8(self.part(group)).ok())
    }

    fn read_item(&self) -> &ReadItem {
        &self.batch.items()[self.item as usize]
    }

    fn part(&self, part: Stretch) -> &[u8] {
        &self.batch.bytes(self.read_item())[part.range()]
    }
}

/// Reads up to `count` messages of a log from an offset on, with their offsets. Those that have gone meanwhile are left
/// out.
pub(super) fn read_messages(
    link: &Link,
    log: LogId,
    priority: u8,
    first: u64,
    count: u64,
) -> Result<Vec<(u64, StoredMessage)>, Error> {
    let (mut messages, mut cursor) = (Vec::with_capacity(count.min(1024) as usize), Cursor::default());
    let (mut next, end) = (first, first + count);
    while next < end {
        let batch = match link.read(log, next, (end - next) as usize, &mut cursor).map_err(unnamed)? {
            Read::Items(batch) => Arc::new(batch),
            Read::Below { start, .. } if start > next => {
                next = start;
                continue;
            }
            Read::Below { .. } | Read::AtEnd | Read::Gone => break,
        };
        for (number, item) in (0..).zip(batch.items()) {
            let bytes = batch.bytes(item);
            let not_understood = |fault| Error::from(batch.not_understood(item, &fault));
            for message in queues::read_messages(bytes).map_err(not_understood)? {
                let message = message.map_err(not_understood)?;
                let offset = message.record.offset;
                if offset >= next && offset < end {
                    messages.push((offset, stored(&batch, number, bytes, priority, &message)));
                }
            }
        }
        let last = batch.items().last().map_or(end, |item| item.entry.end());
        next = next.max(last);
    }
    Ok(messages)
}

fn stored(batch: &Arc<Batch>, item: u32, bytes: &[u8], priority: u8, message: &MessageRef<'_>) -> StoredMessage {
    let MessageRef { attributes, record } = message;
    let part = |part: &[u8]| Stretch::of(bytes, part);
    StoredMessage {
        batch: batch.clone(),
        item,
        sequence: queues::sequence(priority, record.offset),
        key: record.key.map(part),
        headers: part(record.header_block),
        body: part(record.body.unwrap_or(&record.header_block[..0])),
        group: attributes.group.map(|group| part(group.as_bytes())),
    }
}
