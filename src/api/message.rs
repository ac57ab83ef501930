//! Messages to send.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::primitives::queues::{self, DueTime};
use crate::primitives::streams::{Header, Record};

use super::queue_options::micros;

/// A message to send. It borrows what it is made of until the call returns.
///
/// ```
/// use std::time::Duration;
/// use towpath::Message;
/// # let db = towpath::Options::temporary().open_temporary()?;
/// # let mails = db.create_queue("mails", towpath::QueueOptions::new())?;
/// mails.send("to the customer")?;
/// mails.send(Message::new(b"a reminder").delay(Duration::from_secs(3600)).priority(7))?;
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message<'a>(pub(crate) queues::Message<'a>);

impl<'a> Message<'a> {
    /// A message with this body and nothing else.
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Message<'a> {
        Message(queues::Message::plain(Record::new(body)))
    }

    /// Gives it a key, which is handed to the consumer and means nothing to the queue.
    #[must_use]
    pub fn key(self, key: &'a [u8]) -> Message<'a> {
        self.with(|message| message.record = message.record.key(key))
    }

    /// Gives it headers, in place of those it had.
    #[must_use]
    pub fn headers(self, headers: &'a [Header<'a>]) -> Message<'a> {
        self.with(|message| message.record = message.record.headers(headers))
    }

    /// 0 to 31; 4 if none is named. Of two that are ready the higher one goes first.
    #[must_use]
    pub fn priority(self, priority: u8) -> Message<'a> {
        self.with(|message| message.priority = priority)
    }

    /// It becomes ready this long after it was sent.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Message<'a> {
        self.with(|message| message.due = Some(DueTime::In(micros(delay))))
    }

    /// It becomes ready at this time; at once if that has passed.
    #[must_use]
    pub fn deliver_at(self, time: Timestamp) -> Message<'a> {
        self.with(|message| message.due = Some(DueTime::At(time)))
    }

    /// How long it lives from when it is ready; the queue's own ttl holds too, and the shorter counts.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Message<'a> {
        self.with(|message| message.ttl_micros = Some(micros(ttl)))
    }

    /// It is not handed out any more at this time, wherever it stands.
    #[must_use]
    pub fn deadline(self, time: Timestamp) -> Message<'a> {
        self.with(|message| message.deadline = Some(time))
    }

    /// Its group. At most one message of a group is in flight, and they go in the order in which they were sent; one in
    /// backoff holds up those behind it. A group has the priority of the message that began it.
    #[must_use]
    pub fn group(self, group: &'a str) -> Message<'a> {
        self.with(|message| message.group = Some(group))
    }

    /// After so many failed attempts it is dead, whatever the queue says.
    #[must_use]
    pub fn max_attempts(self, attempts: u32) -> Message<'a> {
        self.with(|message| message.max_attempts = Some(attempts))
    }

    /// What its sender calls it: 1 to 255 bytes, kept with it. A queue or an exchange that [remembers
    /// ids](crate::Dedup) stores one message of each, so that what is sent again is not stored again.
    #[must_use]
    pub fn id(self, id: &'a str) -> Message<'a> {
        self.with(|message| message.id = Some(id))
    }

    fn with(mut self, set: impl FnOnce(&mut queues::Message<'a>)) -> Message<'a> {
        set(&mut self.0);
        self
    }
}

impl<'a> From<&'a [u8]> for Message<'a> {
    fn from(body: &'a [u8]) -> Message<'a> {
        Message::new(body)
    }
}

impl<'a, const N: usize> From<&'a [u8; N]> for Message<'a> {
    fn from(body: &'a [u8; N]) -> Message<'a> {
        Message::new(body)
    }
}

impl<'a> From<&'a Vec<u8>> for Message<'a> {
    fn from(body: &'a Vec<u8>) -> Message<'a> {
        Message::new(body)
    }
}

impl<'a> From<&'a str> for Message<'a> {
    fn from(body: &'a str) -> Message<'a> {
        Message::new(body.as_bytes())
    }
}

impl<'a> From<&'a String> for Message<'a> {
    fn from(body: &'a String) -> Message<'a> {
        Message::new(body.as_bytes())
    }
}
