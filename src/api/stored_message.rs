//! A message as it is read: a view into memory that it keeps.

use bytes::Bytes;

use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::sync::{Arc, Mutex};
use crate::base::time::Timestamp;
use crate::engine::batch::{Batch, ReadItem};
use crate::engine::read::{Cursor, Read};
use crate::primitives::queues::{self, MessageRef, Origin};
use crate::primitives::streams::{self, Header, Record};
use crate::processes::link::Link;

use super::database::unnamed;
use super::error::Error;
use super::history::History;

/// A message of a queue: what was sent, and when. Its body is not copied: it stays in the files' maps (or, if just
/// written, in one copy), and stays valid as long as this does.
#[derive(Clone, Debug)]
pub struct StoredMessage {
    batch: Arc<Batch>,
    item: u32,
    priority: u8,
    place: Place,
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
    /// Its number in the queue. Of two messages of the same priority the one that was sent later has the greater
    /// number.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        queues::sequence(self.priority, self.place.offset)
    }

    /// 0 to 31.
    #[must_use]
    pub fn priority(&self) -> u8 {
        self.priority
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
        self.part(self.place.body)
    }

    /// Its body, owned without copying: it keeps the memory behind it.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        self.batch.shared_bytes(self.read_item()).slice(self.place.body.range())
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.place.key.map(|key| self.part(key))
    }

    /// Its headers, in the order in which they were given.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        // The block was written by this library and its checksum holds: a header that does not read ends the list.
        streams::headers(self.part(self.place.headers)).map_while(Result::ok)
    }

    /// The group that it belongs to.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        self.place.group.and_then(|group| std::str::from_utf8(self.part(group)).ok())
    }

    /// What its sender calls it.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.place.id.and_then(|id| std::str::from_utf8(self.part(id)).ok())
    }

    /// The name of the exchange that it was published to, empty for the default one; `None` if it was sent to the
    /// queue itself.
    #[must_use]
    pub fn exchange(&self) -> Option<&str> {
        self.origin().map(|origin| origin.exchange)
    }

    /// The routing key that it was published with; `None` if it was sent to the queue itself.
    #[must_use]
    pub fn routing_key(&self) -> Option<&str> {
        self.origin().map(|origin| origin.routing_key)
    }

    fn origin(&self) -> Option<Origin<'_>> {
        let (exchange, routing_key) = self.place.origin?;
        let text = |part| std::str::from_utf8(self.part(part)).ok();
        Some(Origin { exchange: text(exchange)?, routing_key: text(routing_key)? })
    }

    /// What became of it before it came to be in this queue; `None` if it never died.
    #[must_use]
    pub fn history(&self) -> Option<History> {
        self.machine_history().map(History)
    }

    pub(super) fn machine_history(&self) -> Option<queues::History> {
        // It was written by this library and its checksum holds.
        self.place.history.and_then(|history| queues::History::decode(self.part(history)).ok())
    }

    pub(super) fn ttl_micros(&self) -> Option<u64> {
        self.place.ttl_micros
    }

    /// A message that says the same, but for its times, and how it came.
    pub(super) fn anew<'a>(&'a self, headers: &'a [Header<'a>]) -> queues::Message<'a> {
        let record = Record { key: self.key(), ..Record::new(self.body()).headers(headers) };
        let (priority, group, max_attempts, id) = (self.priority, self.group(), self.place.max_attempts, self.id());
        queues::Message { priority, group, max_attempts, id, ..queues::Message::plain(record) }
    }

    fn read_item(&self) -> &ReadItem {
        &self.batch.items()[self.item as usize]
    }

    fn part(&self, part: Stretch) -> &[u8] {
        &self.batch.bytes(self.read_item())[part.range()]
    }
}

/// Where one message lies in its item.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    key: Option<Stretch>,
    headers: Stretch,
    body: Stretch,
    group: Option<Stretch>,
    ttl_micros: Option<u64>,
    max_attempts: Option<u32>,
    /// Exchange and routing key.
    origin: Option<(Stretch, Stretch)>,
    history: Option<Stretch>,
    id: Option<Stretch>,
}

/// Messages that are read ahead for a consumer who takes one after the other.
const AHEAD: usize = 64;

/// What was read last, as far as more of it may be asked for: what holds a thousand messages is opened, verified and
/// taken apart once.
#[derive(Debug, Default)]
struct Ahead {
    log: Option<LogId>,
    /// Where the next is expected to be asked for.
    next: u64,
    batch: Arc<Batch>,
    /// With the item that each lies in, in the order of their offsets.
    places: Vec<(u32, Place)>,
    cursor: Cursor,
}

/// Reads the messages of a queue for its handle.
#[derive(Debug, Default)]
pub(super) struct MessageReader {
    ahead: Mutex<Ahead>,
}

impl MessageReader {
    /// Reads up to `count` messages of a log from an offset on, with their offsets. Those that have gone meanwhile are
    /// left out.
    pub(super) fn read(
        &self,
        link: &Link,
        log: LogId,
        priority: u8,
        first: u64,
        count: u64,
    ) -> Result<Vec<(u64, StoredMessage)>, Error> {
        let mut messages = Vec::with_capacity(count.min(1024) as usize);
        let (mut next, end) = (first, first + count);
        // Who finds it in use reads for itself. So does a forked child, if it was in use at the fork: there is nobody
        // there who would let go of it.
        let (mut shared, mut own) = (self.ahead.try_lock(), Ahead::alone(log));
        let ahead = shared.as_deref_mut().unwrap_or(&mut own);
        ahead.turn_to(log, first);
        ahead.take(priority, &mut next, end, &mut messages);
        while next < end {
            let is_sequential = ahead.next == first;
            let records = ((end - next) as usize).max(if is_sequential { AHEAD } else { 1 });
            match link.read(log, next, records, &mut ahead.cursor).map_err(unnamed)? {
                Read::Items(batch) => ahead.hold(batch)?,
                Read::Below { start, .. } if start > next => {
                    next = start;
                    continue;
                }
                Read::Below { .. } | Read::AtEnd | Read::Gone => break,
            }
            let past = ahead.places.last().map_or(end, |(_, place)| place.offset + 1);
            ahead.take(priority, &mut next, end, &mut messages);
            next = next.max(past.min(end));
        }
        ahead.next = end;
        Ok(messages)
    }
}

impl Ahead {
    /// For one call: it reads no more than it is asked for.
    fn alone(log: LogId) -> Ahead {
        Ahead { log: Some(log), next: u64::MAX, ..Ahead::default() }
    }

    fn turn_to(&mut self, log: LogId, first: u64) {
        if self.log != Some(log) {
            *self = Ahead { log: Some(log), next: first, ..Ahead::default() };
        }
        // What lies before all that is known is not gone: it was not read.
        if self.places.first().is_some_and(|(_, place)| place.offset > first) {
            self.places.clear();
        }
    }

    /// Hands out what is known of the messages from `next` on.
    fn take(&self, priority: u8, next: &mut u64, end: u64, messages: &mut Vec<(u64, StoredMessage)>) {
        let at = self.places.partition_point(|(_, place)| place.offset < *next);
        for (item, place) in &self.places[at..] {
            if place.offset >= end {
                return;
            }
            messages.push((place.offset, stored(&self.batch, *item, priority, place)));
            *next = place.offset + 1;
        }
    }

    /// Goes on with this batch, as far as it is understood; with the one before, if its first item is not.
    fn hold(&mut self, batch: Batch) -> Result<(), Error> {
        let mut places = Vec::new();
        for (number, item) in (0..).zip(batch.items()) {
            match places_of(&batch, item) {
                Ok(found) => places.extend(found.into_iter().map(|place| (number, place))),
                // It is told of when it is asked for, and not instead of those before it.
                Err(_) if number > 0 => break,
                Err(error) => return Err(error),
            }
        }
        (self.places, self.batch) = (places, Arc::new(batch));
        Ok(())
    }
}

fn places_of(batch: &Batch, item: &ReadItem) -> Result<Vec<Place>, Error> {
    let bytes = batch.bytes(item);
    let not_understood = |fault| Error::from(batch.not_understood(item, &fault));
    let mut places = Vec::with_capacity(item.entry.count.min(1024) as usize);
    for message in queues::read_messages(bytes, &item.entry).map_err(not_understood)? {
        let MessageRef { attributes, record } = message.map_err(not_understood)?;
        let part = |part: &[u8]| Stretch::of(bytes, part);
        places.push(Place {
            offset: record.offset,
            key: record.key.map(part),
            headers: part(record.header_block),
            body: part(record.body.unwrap_or(&record.header_block[..0])),
            group: attributes.group.map(|group| part(group.as_bytes())),
            ttl_micros: attributes.ttl_micros,
            max_attempts: attributes.max_attempts,
            origin: attributes
                .origin
                .map(|origin| (part(origin.exchange.as_bytes()), part(origin.routing_key.as_bytes()))),
            history: attributes.history.map(part),
            id: attributes.id.map(|id| part(id.as_bytes())),
        });
    }
    Ok(places)
}

fn stored(batch: &Arc<Batch>, item: u32, priority: u8, place: &Place) -> StoredMessage {
    StoredMessage { batch: batch.clone(), item, priority, place: *place }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::level::Level;
    use crate::{Options, QueueOptions};

    /// The bytes of the item that holds these messages.
    fn batch_of(bodies: &[&str]) -> Batch {
        let db = Options::temporary().level(Level::Buffered).open_temporary().expect("a new database");
        let mails = db.create_queue("mails", QueueOptions::new()).expect("a new queue");
        let messages: Vec<crate::Message<'_>> = bodies.iter().map(|body| crate::Message::from(*body)).collect();
        mails.send_batch(&messages).expect("there is room");
        let held = mails.receive().expect("one is there");
        let item = held.message().read_item();
        let mut batch = Batch::default();
        let bytes = held.message().batch.bytes(item).to_vec();
        let len = bytes.len() as u32;
        let torn = [bytes.as_slice(), &[0xff; 40]].concat();
        let chunk = batch.add_chunk(torn.into(), held.message().batch.chunk(item.chunk()).segment, 0);
        batch.add_item(item.entry, item.lsn, chunk, 0, len);
        batch.add_item(item.entry, item.lsn, chunk, len, 40);
        batch
    }

    fn known(ahead: &Ahead) -> Vec<Vec<u8>> {
        let (mut next, mut messages) = (0, Vec::new());
        ahead.take(4, &mut next, u64::MAX, &mut messages);
        messages.iter().map(|(_, message)| message.body().to_vec()).collect()
    }

    #[test]
    fn what_is_known_of_messages_is_of_the_batch_that_they_lie_in() {
        let mut ahead = Ahead::default();
        ahead.hold(batch_of(&["one", "two"])).expect("its first item is understood");
        assert_eq!(known(&ahead), [b"one", b"two"], "what comes before an item that is not understood");
        let mut torn = Batch::default();
        let of = batch_of(&["three, which is longer"]);
        let item = &of.items()[1];
        let chunk = torn.add_chunk(of.chunk(0).bytes.clone(), of.chunk(0).segment, 0);
        torn.add_item(item.entry, item.lsn, chunk, item.start(), item.len());
        assert!(ahead.hold(torn).is_err_and(|error| error.is_corruption()));
        assert_eq!(known(&ahead), [b"one", b"two"]);
    }
}
