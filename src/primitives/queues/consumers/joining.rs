//! Joining a queue as a consumer, and leaving it.

use crate::base::bounds::{CONSUMERS_MAX, PREFETCH_MAX};
use crate::base::name;

use super::super::command::{Holder, Outcome, QueueNumber, Refusal};
use super::super::decide::{Emit, Refused};
use super::super::event::Event;
use super::super::queue::Queue;
use super::super::reply::Reply;
use super::super::state::State;
use super::{ConsumerEvent, ConsumerNumber};

/// What somebody says who joins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Joining<'a> {
    pub(crate) queue: QueueNumber,
    pub(crate) holder: Holder,
    pub(crate) priority: u8,
    pub(crate) prefetch: u32,
    /// Empty: none.
    pub(crate) name: &'a str,
}

pub(in crate::primitives::queues) fn join<'c>(
    state: &State,
    queue: &Queue,
    joining: Joining<'c>,
    emit: Emit<'_, 'c>,
) -> Result<Outcome, Refused> {
    let Joining { holder, priority, prefetch, name, .. } = joining;
    if !name.is_empty() {
        name::check(name).map_err(Refusal::InvalidName)?;
    }
    if prefetch == 0 {
        let (option, reason) = ("prefetch", "at least 1 is taken at once");
        return Err(Refusal::InvalidOption { option, reason }.into());
    }
    for (limit, max, actual) in [
        ("prefetch", PREFETCH_MAX, prefetch as usize),
        ("consumers of all queues", CONSUMERS_MAX, state.consumers.count() + 1),
    ] {
        if actual > max {
            return Err(Refusal::LimitExceeded { limit, max: max as u64, actual: actual as u64 }.into());
        }
    }
    let number = ConsumerNumber(state.consumers.next);
    let joined = ConsumerEvent::Joined { number, queue: queue.number, holder, priority, prefetch, name };
    emit(Event::OfConsumers(joined));
    Ok(Outcome::Accept(Reply::Joined { consumer: number }))
}

/// What it has in flight stays so: it may still settle that.
pub(in crate::primitives::queues) fn leave(
    state: &State,
    queue: QueueNumber,
    holder: Holder,
    number: ConsumerNumber,
    emit: Emit<'_, '_>,
) -> Outcome {
    let found = state.consumers.get(number);
    match found.is_some_and(|found| (found.queue, found.holder) == (queue, holder)) {
        true => {
            emit(Event::OfConsumers(ConsumerEvent::Left { number, queue }));
            Outcome::Accept(Reply::Done)
        }
        // Its queue was deleted, or its process ended.
        false => Outcome::Unchanged { reply: Reply::Done, rests_on: None },
    }
}
