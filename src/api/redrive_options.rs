//! Which dead letters are sent again, to where, and how.

use std::time::Duration;

use crate::base::time::Timestamp;
use crate::primitives::queues;
use crate::primitives::streams::{Header, Record};

use super::dead_letter::DeadLetter;
use super::exchange::Exchange;
use super::queue::Queue;
use super::queue_options::micros;
use super::queue_outcomes::DeathReason;
use super::stopper::Stopper;
use super::stored_message::StoredMessage;

/// Chooses among the letters of a queue, and sends them again; see [`Queue::redrive_by`].
#[must_use]
pub struct Redrive<'q> {
    pub(super) queue: &'q Queue,
    pub(super) chosen: Chosen,
    pub(super) to: To,
    pub(super) limit: u64,
    pub(super) pause_micros: u64,
    pub(super) edit: Option<Box<EditWith<'q>>>,
    pub(super) is_dry_run: bool,
    pub(super) stopper: Stopper,
}

impl std::fmt::Debug for Redrive<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redrive").field("queue", &self.queue.name()).field("limit", &self.limit).finish_non_exhaustive()
    }
}

pub(super) type EditWith<'q> = dyn Fn(&DeadLetter) -> Edit + 'q;

/// Where letters go.
pub(super) enum To {
    FirstDeath,
    Queue(Queue),
    /// With a routing key, or each with its own.
    Exchange(Exchange, Option<String>),
}

/// What letters are chosen by.
pub(super) struct Chosen {
    pub(super) reason: Option<DeathReason>,
    pub(super) header: Option<(String, Vec<u8>)>,
    pub(super) sent_before: Option<Timestamp>,
    pub(super) sequences: (u64, u64),
}

/// What is to be different of a letter that is sent again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Edit {
    body: Option<Vec<u8>>,
    headers: Option<Vec<(String, Vec<u8>)>>,
    delay: Option<Duration>,
    deadline: Option<Timestamp>,
}

impl Edit {
    /// Nothing.
    #[must_use]
    pub fn new() -> Edit {
        Edit::default()
    }

    /// Gives it another body.
    #[must_use]
    pub fn body(self, body: impl Into<Vec<u8>>) -> Edit {
        Edit { body: Some(body.into()), ..self }
    }

    /// Gives it these headers, in place of those it had.
    #[must_use]
    pub fn headers(self, headers: Vec<(String, Vec<u8>)>) -> Edit {
        Edit { headers: Some(headers), ..self }
    }

    /// It becomes ready this long from now.
    #[must_use]
    pub fn delay(self, delay: Duration) -> Edit {
        Edit { delay: Some(delay), ..self }
    }

    /// It is over then, wherever it stands.
    #[must_use]
    pub fn deadline(self, deadline: Timestamp) -> Edit {
        Edit { deadline: Some(deadline), ..self }
    }

    pub(super) fn headers_of<'a>(&'a self, message: &'a StoredMessage) -> Vec<Header<'a>> {
        match &self.headers {
            Some(headers) => headers.iter().map(|(name, value)| Header { name, value }).collect(),
            None => message.headers().collect(),
        }
    }

    pub(super) fn apply<'a>(&'a self, message: queues::Message<'a>) -> queues::Message<'a> {
        let body = self.body.as_deref().or(message.record.body);
        let due = self.delay.map(|delay| queues::DueTime::In(micros(delay)));
        queues::Message { record: Record { body, ..message.record }, due, deadline: self.deadline, ..message }
    }
}

impl<'q> Redrive<'q> {
    /// Those that died of this, the last time.
    pub fn reason(mut self, reason: DeathReason) -> Redrive<'q> {
        self.chosen.reason = Some(reason);
        self
    }

    /// Those that have a header of this name with this value.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Redrive<'q> {
        self.chosen.header = Some((name.into(), value.into()));
        self
    }

    /// Those that were first sent before this time.
    pub fn sent_before(mut self, time: Timestamp) -> Redrive<'q> {
        self.chosen.sent_before = Some(time);
        self
    }

    /// Those with a sequence from this on, up to that, which is the last.
    pub fn sequences(mut self, first: u64, last: u64) -> Redrive<'q> {
        self.chosen.sequences = (first, last);
        self
    }

    /// To this queue, in place of those in which they died first.
    pub fn to(mut self, queue: &Queue) -> Redrive<'q> {
        self.to = To::Queue(queue.clone());
        self
    }

    /// To this exchange, with this routing key or each with its own.
    pub fn to_exchange(mut self, exchange: &Exchange, routing_key: Option<&str>) -> Redrive<'q> {
        self.to = To::Exchange(exchange.clone(), routing_key.map(str::to_owned));
        self
    }

    /// At most so many.
    pub fn limit(mut self, letters: u64) -> Redrive<'q> {
        self.limit = letters;
        self
    }

    /// At most so many in a second, one after the other.
    pub fn rate(mut self, letters_per_second: u32) -> Redrive<'q> {
        self.pause_micros = 1_000_000 / u64::from(letters_per_second.max(1));
        self
    }

    /// Changes each before it is sent.
    pub fn edit(mut self, edit: impl Fn(&DeadLetter) -> Edit + 'q) -> Redrive<'q> {
        self.edit = Some(Box::new(edit));
        self
    }

    /// Counts those that would be sent, and sends none.
    pub fn dry_run(mut self) -> Redrive<'q> {
        self.is_dry_run = true;
        self
    }
}

impl Chosen {
    pub(super) fn is(&self, letter: &DeadLetter) -> bool {
        let has_header = |(name, value): &(String, Vec<u8>)| {
            let message = letter.message();
            message.is_ok_and(|m| m.headers().any(|header| header.name == name && header.value == value))
        };
        let (first, last) = self.sequences;
        self.reason.is_none_or(|reason| letter.reason() == reason)
            && self.header.as_ref().is_none_or(has_header)
            && self.sent_before.is_none_or(|time| letter.machine_history().published < time)
            && (first..=last).contains(&letter.sequence())
    }
}
