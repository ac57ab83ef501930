//! What calls on a queue answer with. These types may grow; nobody but the library makes them.

use std::time::Duration;

use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;
use crate::primitives::queues::Reason;
use crate::processes::consuming::ConsumerFacts;

use super::outcomes::Receipt;
use super::queue_options::QueueOptions;

/// Where a message, or the first of a batch, went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Sent {
    /// Its number in the queue.
    pub sequence: u64,
    /// How many were sent.
    pub messages: u64,
    /// Address and level.
    pub receipt: Receipt,
}

impl Sent {
    /// The address of the write.
    #[must_use]
    pub fn lsn(&self) -> Lsn {
        self.receipt.lsn
    }
}

/// What became of a publish.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Published {
    /// How many queues got it; of a batch, all its messages together.
    pub queues: u64,
    /// Address and level.
    pub receipt: Receipt,
}

impl Published {
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
    /// Messages in its dead set.
    pub dead: u64,
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
}

impl From<Reason> for DeathReason {
    fn from(reason: Reason) -> DeathReason {
        match reason {
            Reason::Rejected => DeathReason::Rejected,
            Reason::AttemptsExhausted => DeathReason::AttemptsExhausted,
            Reason::Expired => DeathReason::Expired,
            Reason::Deadline => DeathReason::Deadline,
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
