//! Who may be handed how many messages.
//!
//! * A consumer that has joined has at most as many in flight as its prefetch says.
//! * Of a queue with a single active consumer it is the turn of the one that comes first: of the highest priority, and of
//!   those who joined first. While anybody else has messages of it in flight, who has left perhaps, nobody is handed
//!   any: so what one was handed is settled or taken back before another is handed the next.

use super::super::command::{Holder, QueueNumber};
use super::super::looking::Standing;
use super::super::queue::Queue;
use super::super::state::State;
use super::{Consumer, ConsumerEvent, ConsumerNumber, Taker, turn_row};
use crate::base::row::RowKey;

/// How many messages somebody may be handed now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::primitives::queues) enum Room {
    /// Who has not joined, and has to.
    Unjoined,
    Of(usize),
}

/// `Of(0)`: it is to wait for its turn.
pub(in crate::primitives::queues) fn room(
    state: &State,
    queue: &Queue,
    holder: Holder,
    taker: Taker,
    max: usize,
) -> Room {
    let Some(number) = taker.consumer() else {
        return if queue.options.single_active_consumer { Room::Unjoined } else { Room::Of(max) };
    };
    match state.consumers.get(number) {
        Some(consumer) if (consumer.queue, consumer.holder) == (queue.number, holder) => {
            Room::Of(state.room_of(queue, number, consumer).min(max))
        }
        _ => Room::Unjoined,
    }
}

impl State {
    /// How many more a consumer may be handed.
    fn room_of(&self, queue: &Queue, number: ConsumerNumber, consumer: &Consumer) -> usize {
        if queue.options.single_active_consumer && !self.is_active(queue, number) {
            return 0;
        }
        consumer.prefetch.saturating_sub(self.in_flight_of(number)) as usize
    }

    /// How many messages a consumer has in flight.
    pub(crate) fn in_flight_of(&self, consumer: ConsumerNumber) -> u32 {
        self.shared.taken.get(&consumer).copied().unwrap_or(0)
    }

    /// Whether a consumer of a queue that has a single active one is that one.
    pub(crate) fn is_active(&self, queue: &Queue, consumer: ConsumerNumber) -> bool {
        let others = queue.flying - u64::from(self.in_flight_of(consumer));
        self.consumers.first(queue.number) == Some(consumer) && others == 0
    }

    /// Why nobody who has joined may be handed anything, if that is so.
    pub(in crate::primitives::queues) fn consumers_stand(&self, queue: &Queue) -> Option<Standing> {
        let first = self.consumers.first(queue.number)?;
        let is_single = queue.options.single_active_consumer;
        if is_single && !self.is_active(queue, first) {
            let mut others = self.consumers.of(queue.number).filter(|(number, _)| *number != first);
            let found = others.find(|(number, _)| self.in_flight_of(*number) > 0);
            let consumer = found.map_or_else(|| "one that has left".into(), |(number, found)| found.shown(number));
            return Some(Standing::NotActive { consumer });
        }
        let mut all = self.consumers.of(queue.number).take(if is_single { 1 } else { usize::MAX });
        let is_full = |(number, consumer): (ConsumerNumber, &Consumer)| self.in_flight_of(number) >= consumer.prefetch;
        all.all(is_full).then_some(Standing::ConsumersFull)
    }

    /// Whether a consumer may be handed something, or has no reason to wait for that any more.
    pub(crate) fn has_turn(&self, queue: QueueNumber, consumer: ConsumerNumber) -> bool {
        let found = self.get(queue).and_then(|queue| Some((queue, self.consumers.get(consumer)?)));
        found.is_none_or(|(queue, found)| self.room_of(queue, consumer, found) > 0)
    }

    /// Names those who may have room by a message's being in flight no longer, in so far as they wait for it.
    pub(in crate::primitives::queues) fn touch_turns(
        &self,
        queue: &Queue,
        takers: impl Iterator<Item = Taker>,
        visit: &mut dyn FnMut(RowKey),
    ) {
        if self.consumers.count() == 0 {
            return;
        }
        let mut last = None;
        for consumer in takers.filter_map(Taker::consumer) {
            if last.replace(consumer) != Some(consumer) {
                visit(turn_row(consumer));
            }
        }
        if queue.options.single_active_consumer {
            self.consumers.first(queue.number).into_iter().for_each(|first| visit(turn_row(first)));
        }
    }

    /// Those whose turn it may be once others have gone.
    pub(in crate::primitives::queues) fn touch_next_turns(
        &self,
        event: &ConsumerEvent<'_>,
        visit: &mut dyn FnMut(RowKey),
    ) {
        let next = |queue: QueueNumber, goes: &dyn Fn(ConsumerNumber, &Consumer) -> bool| {
            self.consumers.of(queue).find(|(number, consumer)| !goes(*number, consumer)).map(|(number, _)| number)
        };
        match event {
            ConsumerEvent::Joined { .. } => {}
            ConsumerEvent::Left { number, queue } => {
                next(*queue, &|other, _| other == *number).into_iter().for_each(|next| visit(turn_row(next)));
            }
            ConsumerEvent::Ended { holder } => {
                let mut queues: Vec<QueueNumber> = self.consumers.of_holder(*holder).map(|(_, c)| c.queue).collect();
                queues.sort_unstable();
                queues.dedup();
                for queue in queues {
                    let next = next(queue, &|_, consumer| consumer.holder == *holder);
                    next.into_iter().for_each(|next| visit(turn_row(next)));
                }
            }
        }
    }
}
