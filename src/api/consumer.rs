//! In whose name messages are received: a consumer that has joined its queue, or the handle of a queue, which joins
//! only where nobody else is handed anything.

use std::fmt;

use crate::base::bounds::PREFETCH_MAX;
use crate::base::level::Level;
use crate::base::sync::{AtomicU64, Mutex, Ordering};
use crate::engine::Refused;
use crate::primitives::queues::{self, Command as OfQueues, Holder, Joining, QueueNumber, Reply, Taker};
use crate::primitives::{self, Command, Refusal};

use super::database::{Database, refusal};
use super::error::Error;

/// What a consumer says of itself when it joins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wish {
    /// Empty: none.
    pub(super) name: Box<str>,
    pub(super) priority: u8,
    pub(super) prefetch: usize,
}

impl Default for Wish {
    /// That of a handle whose calls are one consumer.
    fn default() -> Wish {
        Wish { name: "".into(), priority: 0, prefetch: PREFETCH_MAX }
    }
}

/// One consumer of a queue. When dropped it leaves, if it has joined.
pub(super) struct Consumer {
    database: Database,
    queue: QueueNumber,
    wish: Wish,
    /// Whose messages it has as long as it has not joined.
    own: Taker,
    /// Whose it has now.
    taker: AtomicU64,
    /// The process in which it has joined, more by one. In a forked child it has not.
    joined: AtomicU64,
    /// Of several threads one joins.
    joining: Mutex<()>,
}

impl Consumer {
    /// It has not joined.
    pub(super) fn new(database: &Database, queue: QueueNumber, wish: Wish) -> Consumer {
        let own = Taker::unjoined(database.shared.takers.fetch_add(1, Ordering::Relaxed));
        let (database, taker) = (database.clone(), AtomicU64::new(own.0));
        Consumer { database, queue, wish, own, taker, joined: AtomicU64::new(0), joining: Mutex::new(()) }
    }

    /// In whose name it receives now.
    pub(super) fn taker(&self) -> Taker {
        let taker = Taker(self.taker.load(Ordering::Acquire));
        match taker.consumer() {
            Some(_) if !self.has_joined_here() => self.own,
            _ => taker,
        }
    }

    fn has_joined_here(&self) -> bool {
        let joined = self.joined.load(Ordering::Acquire);
        joined > 0 && self.database.shared.link.process().map(u64::from) == Some(joined - 1)
    }

    /// Joins, or joins again if what it was is a consumer no longer; `name` is its queue's. Of several threads one
    /// does.
    pub(super) fn join(&self, was: Taker, name: &str) -> Result<(), Error> {
        let _joining = self.joining.lock();
        if self.taker() != was {
            return Ok(());
        }
        let link = &self.database.shared.link;
        let Wish { name: own_name, priority, prefetch } = &self.wish;
        let (queue, holder, prefetch) = (self.queue, Holder::HOST, *prefetch as u32);
        let join = OfQueues::Join(Joining { queue, holder, priority: *priority, prefetch, name: own_name });
        let submitted = link.submit(&Command::Queues(join), Level::Buffered, None);
        let refused = |refused| match refused {
            Refused::Refusal(Refusal::Queues(queues::Refusal::InvalidName(fault))) => {
                Error::invalid_name(own_name, fault)
            }
            refused => refusal(refused, name),
        };
        match submitted.map_err(refused)?.reply {
            primitives::Reply::Queues(Reply::Joined { consumer }) => {
                self.joined.store(link.process().map_or(0, |process| u64::from(process) + 1), Ordering::Release);
                self.taker.store(Taker::joined(consumer).0, Ordering::Release);
                Ok(())
            }
            _ => unreachable!("who joins is told under which number"),
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let link = &self.database.shared.link;
        let Some(consumer) = Taker(self.taker.load(Ordering::Acquire)).consumer() else { return };
        if self.has_joined_here() {
            let leave = OfQueues::Leave { queue: self.queue, holder: Holder::HOST, consumer };
            // A database that refuses this is closed or poisoned: its consumers end with this process.
            let _ = link.submit(&Command::Queues(leave), Level::Buffered, None);
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").field("wish", &self.wish).field("taker", &self.taker).finish_non_exhaustive()
    }
}
