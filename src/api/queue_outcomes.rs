//! What calls on a queue answer with. These types may grow; nobody but the library makes them.

use std::time::Duration;

use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;
use crate::primitives::queues::{Reason, Told};
use crate::processes::consuming::ConsumerFacts;

use super::outcomes::Receipt;
use super::queue_options::QueueOptions;

/// Where a message, or the first of a batch, went.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Sent {
    /// Its number in the queue; of a duplicate that of the original.
    pub sequence: u64,
    /// How many were stored: all that were sent but the duplicates.
    pub messages: u64,
    /// Nothing was stored: the queue remembers the id of the message; of a batch those of all its messages.
    pub duplicate: bool,
    /// Those messages of a batch that were not stored, since the queue remembers their ids, in order. A message may be
    /// a duplicate of one before it in the batch.
    pub duplicates: Vec<SentBefore>,
    /// Address and level; of a duplicate those of the original.
    pub receipt: Receipt,
}

/// A message of a batch that was not stored again, and its original.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct SentBefore {
    /// The place in the batch, from 0 on.
    pub message: usize,
    /// The number of the original in the queue.
    pub sequence: u64,
    /// The address of the original.
    pub lsn: Lsn,
}

impl Sent {
    /// The first new message has this sequence, if there is one; the others were told.
    pub(super) fn of(first: Option<u64>, messages: usize, told: &[Told], receipt: Receipt) -> Sent {
        let duplicates: Vec<SentBefore> = each_told(told, receipt.lsn)
            .map(|(message, at, told, lsn)| SentBefore { message, sequence: told.value + at, lsn })
            .collect();
        let known = duplicates.first().filter(|known| known.message == 0 || first.is_none());
        let sequence = known.map(|known| known.sequence).or(first).unwrap_or(0);
        let receipt = match first {
            None => Receipt { lsn: known.map_or(receipt.lsn, |known| known.lsn), ..receipt },
            Some(_) => receipt,
        };
        let messages = (messages - duplicates.len()) as u64;
        Sent { sequence, messages, duplicate: first.is_none(), duplicates, receipt }
    }

    /// The address of the write.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.receipt.lsn
    }
}

/// What became of a publish.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Published {
    /// How many queues got it, or the original where it is a duplicate; of a batch, all its messages together.
    pub queues: u64,
    /// Nothing was stored: the exchange remembers the id of the message; of a batch those of all its messages.
    pub duplicate: bool,
    /// Those messages of a batch that were not stored, since the exchange remembers their ids, in order. A message may
    /// be a duplicate of one before it in the batch.
    pub duplicates: Vec<PublishedBefore>,
    /// Address and level; of a duplicate those of the original.
    pub receipt: Receipt,
}

/// A message of a batch that was not published again, and its original.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PublishedBefore {
    /// The place in the batch, from 0 on.
    pub message: usize,
    /// How many queues got the original.
    pub queues: u64,
    /// The address of the original.
    pub lsn: Lsn,
}

/// Each message that was told of, with its place in its stretch, and the address of its original.
fn each_told(told: &[Told], own: Lsn) -> impl Iterator<Item = (usize, u64, &Told, Lsn)> {
    told.iter().flat_map(move |told| {
        let lsn = if told.lsn == Lsn(0) { own } else { told.lsn };
        (0..u64::from(told.count)).map(move |at| (told.message as usize + at as usize, at, told, lsn))
    })
}

impl Published {
    /// The new messages took so many places in queues; the others were told.
    pub(super) fn of(queues: u64, messages: usize, told: &[Told], receipt: Receipt) -> Published {
        let duplicates: Vec<PublishedBefore> = each_told(told, receipt.lsn)
            .map(|(message, _, told, lsn)| PublishedBefore { message, queues: told.value, lsn })
            .collect();
        let duplicate = messages > 0 && duplicates.len() == messages;
        let lsn = duplicates.first().filter(|_| duplicate).map_or(receipt.lsn, |known| known.lsn);
        let queues = queues + duplicates.iter().map(|known| known.queues).sum::<u64>();
        Published { queues, duplicate, duplicates, receipt: Receipt { lsn, ..receipt } }
    }

    /// The address of the write; of what went nowhere, that of some write before.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.receipt.lsn
    }
}

/// What there is to know of a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct QueueDescription {
    /// Its name.
    pub name: String,
    /// Its options.
    pub options: QueueOptions,
    /// It hands nothing out.
    pub is_paused: bool,
    /// Messages that wait for a consumer; those of a group that wait for their turn are among them.
    pub ready: u64,
    /// Messages that wait for their time: sent with a delay, or in backoff.
    pub delayed: u64,
    /// Messages that were handed out and not settled.
    pub in_flight: u64,
    /// Messages in its dead set; those that are about to be moved on are among them.
    pub dead: u64,
    /// Whether dead letters of another queue go to this one.
    pub is_target: bool,
}

/// A consumer that has joined a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ConsumerDescription {
    /// Its name; `consumer` and a number, if it was given none.
    pub name: String,
    /// The higher one comes first.
    pub priority: u8,
    /// The most messages that it has and has not settled.
    pub prefetch: u32,
    /// Those that it has now.
    pub in_flight: u32,
    /// It may be handed messages. Of a queue with a single active consumer none is while the one before has some.
    pub is_active: bool,
    /// The process that it is in, as long as that is attached, or the host's.
    pub pid: Option<u32>,
}

impl From<ConsumerFacts> for ConsumerDescription {
    fn from(facts: ConsumerFacts) -> ConsumerDescription {
        let ConsumerFacts { name, priority, prefetch, in_flight, is_active, pid, .. } = facts;
        ConsumerDescription { name, priority, prefetch, in_flight, is_active, pid }
    }
}

/// Why a message is dead.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum DeathReason {
    /// A consumer rejected it.
    Rejected,
    /// It failed as often as it may.
    AttemptsExhausted,
    /// Its ttl had passed.
    Expired,
    /// Its deadline had passed.
    Deadline,
    /// It had to make room for others.
    Overflow,
    /// It had come round to a queue which it had left for no attempt of anybody's.
    Cycle,
}

impl From<Reason> for DeathReason {
    fn from(reason: Reason) -> DeathReason {
        match reason {
            Reason::Rejected => DeathReason::Rejected,
            Reason::AttemptsExhausted => DeathReason::AttemptsExhausted,
            Reason::Expired => DeathReason::Expired,
            Reason::Deadline => DeathReason::Deadline,
            Reason::Overflow => DeathReason::Overflow,
            Reason::Cycle => DeathReason::Cycle,
        }
    }
}

/// Why a message is not handed out now, or when it is.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Explanation {
    /// It is handed out when so many others are that come before it; 0: it is the next. Counted up to 1,024.
    Behind {
        /// How many.
        messages: u64,
    },
    /// It was sent with a delay.
    Delayed {
        /// When it becomes ready.
        until: Timestamp,
    },
    /// It failed, and comes back after a pause.
    Backoff {
        /// How long from now.
        remaining: Duration,
    },
    /// A consumer has it.
    InFlight {
        /// How long from now, until it is taken back.
        remaining: Duration,
    },
    /// Another of its group comes before it, or is in flight or in backoff.
    GroupBusy,
    /// The queue is paused.
    Paused,
    /// A process that had it with others has died, and a process that could try it has another such message.
    Suspect,
    /// Each [consumer](crate::Queue::consumers) that has joined has as many messages as it takes. Who only receives may
    /// be handed it all the same, unless one consumer at a time is active.
    ConsumersFull,
    /// The queue has a single active consumer, and the one whose turn it is waits for another to settle what it has.
    NotActive {
        /// The name of that other.
        consumer: String,
    },
    /// Its time is over; it leaves within a tick.
    Expired,
    /// It is in the dead set.
    Dead {
        /// Why.
        reason: DeathReason,
    },
    /// There is no such message, or no longer.
    Gone,
}

/// A failed attempt at a message.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// When it failed.
    pub timestamp: Timestamp,
    /// What was said of it.
    pub error: String,
}

/// What became of the messages that a worker has handed to its task. Each is counted once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct WorkerCounts {
    /// Acknowledged.
    pub acked: u64,
    /// Failed with the error that the task gave.
    pub failed: u64,
    /// Failed with the text of the task's panic.
    pub panicked: u64,
    /// Taken back before they were settled, whatever the task made of them: somebody else has them, or will.
    pub stale: u64,
}
