//! Messages that were sent: records of a lane's log, each with what it says of itself.

use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::journal::entry::Entry;

use super::command::QueueNumber;
use super::event::{SENT, take_bool, take_lane, take_queue};
use super::lane::LaneNumber;
use super::message::{Attributes, Message, MessageRef, take_message};

/// Messages got successive sequences at the end of a lane.
#[derive(Clone, Debug)]
pub(crate) struct Sent<'a> {
    pub(crate) entry: Entry,
    pub(crate) queue: QueueNumber,
    pub(crate) lane: LaneNumber,
    /// When they expire by the queue's ttl; those that are delayed begin to live later.
    pub(crate) expires: Option<Timestamp>,
    /// Bytes of keys, headers and bodies.
    pub(crate) bytes: u64,
    pub(super) messages: Source<'a>,
    encoded_len: usize,
    has_attributes: bool,
}

/// Where the messages of an event are: with the caller, or in an item read back.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    Given(Given<'a>),
    Encoded(&'a [u8]),
}

/// Those messages of a batch that go into one lane.
#[derive(Clone, Debug)]
pub(super) struct Given<'a> {
    pub(super) messages: &'a [Message<'a>],
    /// The priority of each, if they are not all of one.
    pub(super) assigned: Option<(Arc<[u8]>, u8)>,
    /// How long one lives that lives for no time.
    pub(super) awaited_micros: u64,
}

impl<'a> Given<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a Message<'a>> + '_ {
        let of_lane = |(number, message)| match &self.assigned {
            Some((assigned, priority)) if assigned[number] != *priority => None,
            _ => Some(message),
        };
        self.messages.iter().enumerate().filter_map(of_lane)
    }
}

impl<'a> Sent<'a> {
    /// `entry` has no count yet.
    pub(super) fn new(
        entry: Entry,
        queue: QueueNumber,
        lane: LaneNumber,
        expires: Option<Timestamp>,
        given: Given<'a>,
    ) -> Sent<'a> {
        let has_attributes = given.iter().any(|message| !message.is_plain());
        let (mut bytes, mut messages_len, mut count) = (0, 0, 0);
        for message in given.iter() {
            let user_bytes = message.record.user_bytes();
            bytes += user_bytes as u64;
            messages_len += message.record.encoded_len(user_bytes);
            count += 1;
            if has_attributes {
                messages_len += message.attributes(entry.timestamp, given.awaited_micros).encoded_len();
            }
        }
        let entry = Entry { count, ..entry };
        let fields = [u64::from(queue.0), u64::from(lane.0), expires.map_or(0, |expires| expires.0)];
        let fields_len: usize = fields.into_iter().map(varint_len).sum();
        let encoded_len = 1 + entry.encoded_len() + fields_len + 1 + messages_len;
        Sent { entry, queue, lane, expires, bytes, messages: Source::Given(given), encoded_len, has_attributes }
    }

    /// Whether none of them needs a state of its own.
    pub(super) fn is_plain(&self) -> bool {
        !self.has_attributes && self.expires.is_none()
    }

    /// What each says of itself, with its offset.
    pub(super) fn for_each(&self, mut visit: impl FnMut(u64, Attributes<'_>)) {
        match &self.messages {
            Source::Given(given) => {
                for (offset, message) in (self.entry.first..).zip(given.iter()) {
                    visit(offset, message.attributes(self.entry.timestamp, given.awaited_micros));
                }
            }
            Source::Encoded(bytes) => {
                let read = messages(&self.entry, bytes, self.has_attributes);
                let read = read.map(|message| message.expect("every message was read when the event was"));
                read.for_each(|message| visit(message.record.offset, message.attributes));
            }
        }
    }

    pub(super) fn encoded_len(&self) -> usize {
        self.encoded_len
    }

    pub(super) fn encode(&self, out: &mut Put<'_>) {
        out.u8(SENT);
        self.entry.encode(out);
        out.varint(u64::from(self.queue.0));
        out.varint(u64::from(self.lane.0));
        out.u8(u8::from(self.has_attributes));
        out.varint(self.expires.map_or(0, |expires| expires.0));
        match &self.messages {
            Source::Given(given) => {
                for message in given.iter() {
                    if self.has_attributes {
                        message.attributes(self.entry.timestamp, given.awaited_micros).encode(out);
                    }
                    message.record.encode(out);
                }
            }
            Source::Encoded(bytes) => out.bytes(bytes),
        }
    }

    pub(super) fn decode(mut take: Take<'a>) -> Result<Sent<'a>, Malformed> {
        let encoded_len = take.remaining() + 1;
        let head = Head::decode(&mut take)?;
        let encoded = take.rest();
        let mut bytes = 0;
        for message in messages(&head.entry, encoded, head.has_attributes) {
            bytes += message?.record.user_bytes() as u64;
        }
        let Head { entry, queue, lane, has_attributes, expires } = head;
        let messages = Source::Encoded(encoded);
        Ok(Sent { entry, queue, lane, expires, bytes, messages, encoded_len, has_attributes })
    }
}

/// What stands before the messages of an item.
struct Head {
    entry: Entry,
    queue: QueueNumber,
    lane: LaneNumber,
    has_attributes: bool,
    expires: Option<Timestamp>,
}

impl Head {
    fn decode(take: &mut Take<'_>) -> Result<Head, Malformed> {
        let entry = Entry::decode(take)?;
        let (queue, lane) = (take_queue(take)?, take_lane(take)?);
        let has_attributes = take_bool(take)?;
        let expires = take.varint()?;
        Ok(Head { entry, queue, lane, has_attributes, expires: (expires > 0).then_some(Timestamp(expires)) })
    }
}

/// Iterator over the messages of an item. Ends after the first error.
pub(crate) struct Messages<'a> {
    rest: Take<'a>,
    next: u64,
    end: u64,
    has_attributes: bool,
}

fn messages<'a>(entry: &Entry, bytes: &'a [u8], has_attributes: bool) -> Messages<'a> {
    Messages { rest: Take::new(bytes), next: entry.first, end: entry.end(), has_attributes }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<MessageRef<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.end {
            return None;
        }
        let read = take_message(&mut self.rest, self.next, self.has_attributes);
        self.next += 1;
        if read.is_err() || (self.next == self.end && self.rest.remaining() > 0) {
            self.next = self.end;
            return Some(read.and(Err(Malformed("bytes that belong to no message"))));
        }
        Some(read)
    }
}

/// The messages of an item that was read back.
pub(crate) fn read_messages(item: &[u8]) -> Result<Messages<'_>, Malformed> {
    let mut take = Take::new(item);
    if take.u8()? != SENT {
        return Err(Malformed("an item of a lane that holds no messages"));
    }
    let head = Head::decode(&mut take)?;
    Ok(messages(&head.entry, take.rest(), head.has_attributes))
}
