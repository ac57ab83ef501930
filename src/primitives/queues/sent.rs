//! Messages that were sent: records of a lane's log, each with what it says of itself.

use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::journal::entry::Entry;

use super::command::QueueNumber;
use super::event::{SENT, take_bool, take_lane, take_queue};
use super::lane::LaneNumber;
use super::message::{Attributes, Message, MessageRef, take_message};
use super::published::{PUBLISHED, skip_head};

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
    messages_len: usize,
    has_attributes: bool,
    /// One of them says of itself what needs a state of its own.
    has_states: bool,
}

/// Where the messages of an event are: with the caller, or in an item read back.
#[derive(Clone, Debug)]
pub(super) enum Source<'a> {
    Given(Given<'a>),
    Encoded(&'a [u8]),
    /// Of a schedule, which outlives no fact.
    Shared(Arc<[u8]>),
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
        let has_states = given.iter().any(|message| !message.is_plain());
        let has_attributes = given.iter().any(Message::has_attributes);
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
        let (entry, messages) = (Entry { count, ..entry }, Source::Given(given));
        Sent { entry, queue, lane, expires, bytes, messages, messages_len, has_attributes, has_states }
    }

    /// Messages as they were read from an item.
    pub(super) fn read(
        entry: Entry,
        queue: QueueNumber,
        lane: LaneNumber,
        expires: Option<Timestamp>,
        has_attributes: bool,
        encoded: &'a [u8],
    ) -> Result<Sent<'a>, Malformed> {
        let (mut bytes, mut has_states) = (0, false);
        for message in messages(entry.first, entry.count, encoded, has_attributes) {
            let message = message?;
            bytes += message.record.user_bytes() as u64;
            has_states |= !message.attributes.are_plain();
        }
        let (messages, messages_len) = (Source::Encoded(encoded), encoded.len());
        Ok(Sent { entry, queue, lane, expires, bytes, messages, messages_len, has_attributes, has_states })
    }

    /// The same messages in another queue.
    pub(super) fn elsewhere(
        &self,
        entry: Entry,
        queue: QueueNumber,
        lane: LaneNumber,
        expires: Option<Timestamp>,
    ) -> Sent<'a> {
        Sent { entry, queue, lane, expires, ..self.clone() }
    }

    /// The same, with bytes of its own.
    pub(super) fn into_owned(self) -> Sent<'static> {
        let mut bytes = vec![0; 1 + self.messages_len];
        self.encode_messages(&mut Put::new(&mut bytes));
        let Sent { entry, queue, lane, expires, bytes: user_bytes, messages_len, .. } = self;
        let (has_attributes, has_states) = (self.has_attributes, self.has_states);
        let messages = Source::Shared(Arc::from(&bytes[1..]));
        Sent { entry, queue, lane, expires, bytes: user_bytes, messages, messages_len, has_attributes, has_states }
    }

    /// Whether none of them needs a state of its own.
    pub(super) fn is_plain(&self) -> bool {
        !self.has_states && self.expires.is_none()
    }

    /// What each says of itself, with its offset.
    pub(super) fn for_each(&self, mut visit: impl FnMut(u64, Attributes<'_>)) {
        match &self.messages {
            Source::Given(given) => {
                for (offset, message) in (self.entry.first..).zip(given.iter()) {
                    visit(offset, message.attributes(self.entry.timestamp, given.awaited_micros));
                }
            }
            Source::Encoded(bytes) => self.for_each_read(bytes, visit),
            Source::Shared(bytes) => self.for_each_read(bytes, visit),
        }
    }

    fn for_each_read(&self, bytes: &[u8], mut visit: impl FnMut(u64, Attributes<'_>)) {
        let read = messages(self.entry.first, self.entry.count, bytes, self.has_attributes);
        let read = read.map(|message| message.expect("every message was read when the event was"));
        read.for_each(|message| visit(message.record.offset, message.attributes));
    }

    pub(super) fn encoded_len(&self) -> usize {
        let fields = [u64::from(self.queue.0), u64::from(self.lane.0), self.expires.map_or(0, |expires| expires.0)];
        let fields_len: usize = fields.into_iter().map(varint_len).sum();
        1 + self.entry.encoded_len() + fields_len + 1 + self.messages_len
    }

    pub(super) fn messages_len(&self) -> usize {
        self.messages_len
    }

    pub(super) fn encode(&self, out: &mut Put<'_>) {
        out.u8(SENT);
        self.entry.encode(out);
        out.varint(u64::from(self.queue.0));
        out.varint(u64::from(self.lane.0));
        out.varint(self.expires.map_or(0, |expires| expires.0));
        self.encode_messages(out);
    }

    /// Whether they have attributes, and they.
    pub(super) fn encode_messages(&self, out: &mut Put<'_>) {
        out.u8(u8::from(self.has_attributes));
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
            Source::Shared(bytes) => out.bytes(bytes),
        }
    }

    pub(super) fn decode(mut take: Take<'a>) -> Result<Sent<'a>, Malformed> {
        let entry = Entry::decode(&mut take)?;
        let (queue, lane, expires) = (take_queue(&mut take)?, take_lane(&mut take)?, take.varint()?);
        let has_attributes = take_bool(&mut take)?;
        let expires = (expires > 0).then_some(Timestamp(expires));
        Sent::read(entry, queue, lane, expires, has_attributes, take.rest())
    }
}

/// Iterator over the messages of an item. Ends after the first error.
pub(crate) struct Messages<'a> {
    rest: Take<'a>,
    next: u64,
    end: u64,
    has_attributes: bool,
}

fn messages(first: u64, count: u32, bytes: &[u8], has_attributes: bool) -> Messages<'_> {
    Messages { rest: Take::new(bytes), next: first, end: first + u64::from(count), has_attributes }
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

/// The messages of an item that was read back; the entry is that of the lane that it was read from.
pub(crate) fn read_messages<'a>(item: &'a [u8], entry: &Entry) -> Result<Messages<'a>, Malformed> {
    let mut take = Take::new(item);
    match take.u8()? {
        SENT => {
            Entry::decode(&mut take)?;
            let _place = (take_queue(&mut take)?, take_lane(&mut take)?, take.varint()?);
        }
        PUBLISHED => skip_head(&mut take)?,
        _ => return Err(Malformed("an item of a lane that holds no messages")),
    }
    let has_attributes = take_bool(&mut take)?;
    Ok(messages(entry.first, entry.count, take.rest(), has_attributes))
}
