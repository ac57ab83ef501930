//! Who may be handed how many messages.
//!
//! * A consumer that has joined has at most as many in flight as its prefetch says.
//! * Of a queue with a single active consumer it is the turn of the one that comes first: of the highest priority, and
//!   of those who joined first. While anybody else has messages of it in flight, who has left perhaps, nobody is handed
//!   any: so what one was handed is settled or taken back before another is handed the next.
//! * Who asks lets those go first that have a higher priority, were woken by what there is, and have not looked yet: of
//!   what is ready it is handed no more than they have no room for. When they have looked, it is woken in its turn.

use super::super::command::{Holder, QueueNumber};
use super::super::lane::Lane;
use super::super::looking::Standing;
use super::super::picking::Candidates;
use super::super::queue::Queue;
use super::super::rows::news_row;
use super::super::state::State;
use super::{Consumer, ConsumerEvent, ConsumerNumber, Taker, turn_row};
use crate::base::log::LogId;
use crate::base::row::RowKey;
use crate::base::time::Now;
use crate::engine::machine::{Context, Stand};

/// The priority of who has not joined.
const PRIORITY_UNJOINED: u8 = 0;

/// How many messages somebody may be handed now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::primitives::queues) enum Room {
    /// Who has not joined, and has to.
    Unjoined,
    /// It is to let others go first.
    Yields,
    Of(usize),
}

/// `Of(0)`: it is to wait for its turn.
pub(in crate::primitives::queues) fn room(
    state: &State,
    queue: &Queue,
    holder: Holder,
    taker: Taker,
    max: usize,
    context: &Context<'_>,
) -> Room {
    let (priority, max) = match taker.consumer() {
        None if queue.options.single_active_consumer => return Room::Unjoined,
        None => (PRIORITY_UNJOINED, max),
        Some(number) => match state.consumers.get(number) {
            Some(consumer) if (consumer.queue, consumer.holder) == (queue.number, holder) => {
                (consumer.priority, state.room_of(queue, number, consumer).min(max))
            }
            _ => return Room::Unjoined,
        },
    };
    match context.watched.room_above(news_row(queue.number), priority) {
        0 => Room::Of(max),
        _ if max == 0 => Room::Of(0),
        above => match max.min((queue.counts().ready as usize).saturating_sub(above)) {
            0 => Room::Yields,
            max => Room::Of(max),
        },
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

    /// Whether a queue has something still for those who wait for its news. Of one that was deleted they are to learn
    /// that.
    pub(crate) fn offers(&self, key: RowKey, now: Now, shown: &dyn Fn(LogId) -> u64) -> bool {
        let number = u32::try_from(key.id).ok().map(QueueNumber).filter(|number| news_row(*number) == key);
        let Some(queue) = number.and_then(|number| self.get(number)) else { return true };
        let shown = |lane: &Lane| shown(lane.log);
        !queue.is_paused && Candidates::of(queue, now.wall, true, &shown).next().is_some()
    }

    /// How somebody stands in line who would take so many messages.
    pub(crate) fn stand_of(&self, taker: Taker, max: usize, yields: bool) -> Stand {
        let found = taker.consumer().and_then(|number| Some((number, self.consumers.get(number)?)));
        let (priority, room) = found.map_or((PRIORITY_UNJOINED, max), |(number, found)| {
            (found.priority, max.min(found.prefetch.saturating_sub(self.in_flight_of(number)) as usize))
        });
        Stand { priority, room, yields }
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
