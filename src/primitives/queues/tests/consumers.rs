//! The naive twin's consumers: each in a vector, whose turn it is from looking at all of them and all messages.

use super::model::{Stands, Twin, TwinMessage};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct TwinConsumer {
    pub(super) number: u64,
    pub(super) queue: u32,
    pub(super) holder: u64,
    pub(super) priority: u8,
    pub(super) prefetch: usize,
}

fn taker_of(message: &TwinMessage) -> Option<u64> {
    match message.stands {
        Stands::InFlight { taker, .. } => Some(taker),
        _ => None,
    }
}

impl Twin {
    /// How many a taker may be handed; `None` if it has to join.
    pub(super) fn room(&self, queue: u32, holder: u64, taker: u64, max: usize) -> Option<usize> {
        let is_single = self.queues[&queue].options.single_active_consumer;
        if taker % 2 == 1 || taker == 0 {
            return (!is_single).then_some(max);
        }
        let of_queue: Vec<&TwinConsumer> = self.consumers.iter().filter(|other| other.queue == queue).collect();
        let consumer = of_queue.iter().find(|other| (other.number * 2, other.holder) == (taker, holder))?;
        let takers: Vec<u64> = self.queues[&queue].messages.iter().filter_map(taker_of).collect();
        let comes_first = |other: &&TwinConsumer| {
            let is_higher = other.priority > consumer.priority;
            is_higher || (other.priority == consumer.priority && other.number < consumer.number)
        };
        if is_single && (of_queue.iter().any(comes_first) || takers.iter().any(|t| *t != taker)) {
            return Some(0);
        }
        Some(max.min(consumer.prefetch - takers.iter().filter(|other| **other == taker).count().min(consumer.prefetch)))
    }

    /// What its consumer was handed up to this hand-out goes; `None` if it is none any more.
    pub(super) fn ack_through(&mut self, queue: u32, (priority, offset, acquired): (u8, u64, u32)) -> Option<u64> {
        self.with(queue, |queue, _| {
            let at = queue.in_flight(priority, offset, acquired)?;
            let of = |message: &TwinMessage| match message.stands {
                Stands::InFlight { holder, taker, handed, .. } => {
                    let order = (handed, u8::MAX - message.priority, message.offset);
                    Some((holder, taker, order))
                }
                _ => None,
            };
            let (holder, taker, last) = of(&queue.messages[at])?;
            let mut acked = 0;
            for message in &mut queue.messages {
                if of(message).is_some_and(|(h, t, order)| (h, t) == (holder, taker) && order <= last) {
                    message.stands = Stands::Gone;
                    acked += 1;
                }
            }
            Some(acked)
        })
    }
}
