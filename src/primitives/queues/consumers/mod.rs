//! Consumers: who is handed messages under a name, how many at once, and before whom.
//!
//! A consumer joins a queue and leaves it; it ends with its process. Who only receives does not join: his hand-outs say
//! whose they are, and that is all. Only where a queue has a single active consumer everybody joins.
//!
//! Whose turn it is follows from who has joined and from what is in flight, and nothing else is kept of it
//! (`turns.rs`): so it is the same after a crash.
//!
//! | file         | holds                                          |
//! |--------------|------------------------------------------------|
//! | `fact.rs`    | facts and their bytes                          |
//! | `joining.rs` | joining and leaving                            |
//! | `turns.rs`   | who may be handed how many messages            |
//! | `through.rs` | settling all that a consumer has up to one     |
//!
//! The row of a consumer is queue · holder · priority u8 · prefetch · slice(name).

mod fact;
mod joining;
mod through;
mod turns;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::base::bounds::PREFETCH_MAX;
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::row::RowKey;

use super::command::{Holder, QueueNumber};

pub(super) use fact::CONSUMER_CHANGES;
pub(crate) use fact::ConsumerEvent;
pub(crate) use joining::Joining;
pub(super) use joining::{join, leave};
pub(super) use through::ack_through;
pub(super) use turns::{Room, room};

pub(super) const KIND_CONSUMER: u8 = 64;
const KIND_TURN: u8 = 65;

/// Names a consumer that has joined; never given twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct ConsumerNumber(pub(crate) u64);

/// Whose a hand-out is within a process: twice the number of a consumer that has joined, or else an odd number, by
/// which a process tells apart those of its consumers that have not. 0: it is not told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct Taker(pub(crate) u64);

impl Taker {
    pub(crate) const NOBODY: Taker = Taker(0);

    pub(crate) const fn joined(consumer: ConsumerNumber) -> Taker {
        Taker(consumer.0 << 1)
    }

    /// The `number`-th of a process that has not joined.
    pub(crate) const fn unjoined(number: u64) -> Taker {
        Taker((number << 1) | 1)
    }

    pub(crate) const fn consumer(self) -> Option<ConsumerNumber> {
        if self.0 & 1 == 0 && self.0 > 0 { Some(ConsumerNumber(self.0 >> 1)) } else { None }
    }
}

/// A consumer that has joined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Consumer {
    pub(crate) queue: QueueNumber,
    pub(crate) holder: Holder,
    /// The higher one comes first.
    pub(crate) priority: u8,
    /// The most that it has in flight.
    pub(crate) prefetch: u32,
    /// Empty if it has none.
    pub(crate) name: Box<str>,
}

impl Consumer {
    /// Its name, or what stands for one.
    pub(crate) fn shown(&self, number: ConsumerNumber) -> Box<str> {
        if self.name.is_empty() { format!("consumer {}", number.0).into() } else { self.name.clone() }
    }
}

/// By which consumers of a queue come first: the higher priority, then who joined earlier.
type Rank = (Reverse<u8>, ConsumerNumber);

/// All who have joined.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Consumers {
    all: BTreeMap<ConsumerNumber, Consumer>,
    ranks: BTreeMap<QueueNumber, BTreeSet<Rank>>,
    /// The next number that is given.
    pub(super) next: u64,
}

impl Default for Consumers {
    fn default() -> Consumers {
        Consumers { all: BTreeMap::new(), ranks: BTreeMap::new(), next: 1 }
    }
}

pub(crate) fn consumer_row(consumer: ConsumerNumber) -> RowKey {
    RowKey { kind: KIND_CONSUMER, id: consumer.0 }
}

/// What changes when a consumer may have room again. It has no row.
pub(crate) fn turn_row(consumer: ConsumerNumber) -> RowKey {
    RowKey { kind: KIND_TURN, id: consumer.0 }
}

impl Consumers {
    pub(crate) fn get(&self, consumer: ConsumerNumber) -> Option<&Consumer> {
        self.all.get(&consumer)
    }

    pub(super) fn count(&self) -> usize {
        self.all.len()
    }

    /// Those of a queue, who comes first first.
    pub(crate) fn of(&self, queue: QueueNumber) -> impl DoubleEndedIterator<Item = (ConsumerNumber, &Consumer)> {
        let ranks = self.ranks.get(&queue).into_iter().flatten();
        ranks.map(|(_, consumer)| (*consumer, &self.all[consumer]))
    }

    /// Those of a queue behind this one.
    pub(crate) fn behind(
        &self,
        queue: QueueNumber,
        after: Option<ConsumerNumber>,
    ) -> impl Iterator<Item = (ConsumerNumber, &Consumer)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let rank = |after: ConsumerNumber| Some((Reverse(self.all.get(&after)?.priority), after));
        let bound = after.and_then(rank).map_or(Unbounded, Excluded);
        let ranks = self.ranks.get(&queue).map(|ranks| ranks.range((bound, Unbounded)));
        ranks.into_iter().flatten().map(|(_, consumer)| (*consumer, &self.all[consumer]))
    }

    pub(super) fn first(&self, queue: QueueNumber) -> Option<ConsumerNumber> {
        self.ranks.get(&queue)?.first().map(|(_, consumer)| *consumer)
    }

    pub(super) fn of_holder(&self, holder: Holder) -> impl Iterator<Item = (ConsumerNumber, &Consumer)> {
        self.all.iter().filter(move |(_, found)| found.holder == holder).map(|(number, found)| (*number, found))
    }

    fn enter(&mut self, number: ConsumerNumber, consumer: Consumer) {
        self.ranks.entry(consumer.queue).or_default().insert((Reverse(consumer.priority), number));
        self.all.insert(number, consumer);
    }

    fn remove(&mut self, number: ConsumerNumber) {
        let Some(consumer) = self.all.remove(&number) else { return };
        let ranks = self.ranks.get_mut(&consumer.queue).expect("a consumer stands among those of its queue");
        ranks.remove(&(Reverse(consumer.priority), number));
        if ranks.is_empty() {
            self.ranks.remove(&consumer.queue);
        }
    }

    fn remove_each(&mut self, is_meant: impl Fn(&Consumer) -> bool) {
        let all = self.all.iter().filter(|(_, consumer)| is_meant(consumer));
        let numbers: Vec<ConsumerNumber> = all.map(|(number, _)| *number).collect();
        numbers.into_iter().for_each(|number| self.remove(number));
    }

    pub(super) fn apply(&mut self, event: &ConsumerEvent<'_>) {
        match event {
            ConsumerEvent::Joined { number, queue, holder, priority, prefetch, name } => {
                self.next = self.next.max(number.0 + 1);
                let (queue, holder, priority, prefetch) = (*queue, *holder, *priority, *prefetch);
                self.remove(*number);
                self.enter(*number, Consumer { queue, holder, priority, prefetch, name: (*name).into() });
            }
            ConsumerEvent::Left { number, .. } => self.remove(*number),
            ConsumerEvent::Ended { holder } => self.remove_each(|consumer| consumer.holder == *holder),
        }
    }

    /// The queue was deleted.
    pub(super) fn forget(&mut self, queue: QueueNumber) {
        if self.ranks.contains_key(&queue) {
            self.remove_each(|consumer| consumer.queue == queue);
        }
    }

    pub(super) fn adopt(&mut self, from: Holder, to: Holder) {
        self.all.values_mut().filter(|consumer| consumer.holder == from).for_each(|consumer| consumer.holder = to);
    }

    #[cfg(test)]
    pub(super) fn keys(&self) -> impl Iterator<Item = RowKey> {
        self.all.keys().map(|number| consumer_row(*number))
    }

    pub(super) fn row(&self, key: RowKey) -> Option<Vec<u8>> {
        let Consumer { queue, holder, priority, prefetch, name } = self.all.get(&ConsumerNumber(key.id))?;
        let varints = [u64::from(queue.0), holder.0, u64::from(*prefetch)];
        let mut row = vec![0; varints.into_iter().map(varint_len).sum::<usize>() + 1 + slice_len(name.len())];
        let mut out = Put::new(&mut row);
        out.varints([u64::from(queue.0), holder.0]);
        out.u8(*priority);
        out.varint(u64::from(*prefetch));
        out.slice(name.as_bytes());
        Some(row)
    }

    pub(super) fn load(&mut self, key: RowKey, take: &mut Take<'_>) -> Result<(), Malformed> {
        let (queue, holder, priority) = (QueueNumber(take.varint32()?), Holder(take.varint()?), take.u8()?);
        let (prefetch, name) = (take.varint32()?, take.text()?.into());
        if key.id >= self.next || !(1..=PREFETCH_MAX as u32).contains(&prefetch) {
            return Err(Malformed("a consumer that cannot be"));
        }
        self.enter(ConsumerNumber(key.id), Consumer { queue, holder, priority, prefetch, name });
        Ok(())
    }
}
