//! What became of a message that died.

use crate::base::time::Timestamp;
use crate::primitives::queues;

use super::queue_outcomes::{DeathReason, Failure};

/// What became of a message that died, once or several times. It goes with the message wherever that is moved or
/// redriven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History(pub(super) queues::History);

/// How often a message died in a queue for a reason.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Deaths {
    /// The queue.
    pub queue: String,
    /// Why.
    pub reason: DeathReason,
    /// How often.
    pub count: u64,
    /// When it died of this there the first time.
    pub first_at: Timestamp,
    /// And the last time.
    pub last_at: Timestamp,
    /// Failed attempts, of all these deaths together.
    pub attempts: u64,
    /// The exchange that it had been published to, empty for the default one; `None` if it was sent to the queue
    /// itself.
    pub exchange: Option<String>,
    /// The routing key that it had been published with.
    pub routing_key: Option<String>,
}

impl History {
    /// The first death of all, which stays as it is. A redrive goes to its queue.
    #[must_use]
    pub fn first_death(&self) -> Deaths {
        told(&self.0.first_death)
    }

    /// One for each queue and reason, the newest first; at most 16.
    #[must_use]
    pub fn deaths(&self) -> Vec<Deaths> {
        self.0.deaths.iter().map(told).collect()
    }

    /// What was said of its failed attempts, the newest first; at most ten.
    #[must_use]
    pub fn errors(&self) -> Vec<Failure> {
        let failure =
            |(timestamp, error): &(Timestamp, String)| Failure { timestamp: *timestamp, error: error.clone() };
        self.0.errors.iter().map(failure).collect()
    }

    /// When it was sent or published first of all.
    #[must_use]
    pub fn first_published(&self) -> Timestamp {
        self.0.published
    }

    /// Its own ttl, which it has no longer where it was moved to, and gets back with a redrive.
    #[must_use]
    pub fn ttl(&self) -> Option<std::time::Duration> {
        self.0.ttl_micros.map(std::time::Duration::from_micros)
    }
}

fn told(deaths: &queues::Deaths) -> Deaths {
    let queues::Deaths { queue, reason, count, first, last, attempts, origin } = deaths.clone();
    let (exchange, routing_key) = origin.unzip();
    Deaths { queue, reason: reason.into(), count, first_at: first, last_at: last, attempts, exchange, routing_key }
}
