//! Consumers that join, leave and are handed messages among all the rest.

use super::super::super::consumers::{ConsumerNumber, Joining, Taker, turn_row};
use super::super::consumers::TwinConsumer;
use super::*;

impl History {
    pub(super) fn join(&mut self) {
        let (queue, holder) = (self.queue(), self.random.pick(&HOLDERS));
        let (priority, prefetch) = (self.random.pick(&[0, 0, 5]), self.random.pick(&[1, 2, 50]));
        let joining = Joining { queue, holder: Holder(holder), priority, prefetch, name: "packer" };
        let Reply::Joined { consumer } = self.world.accept(&Command::Join(joining)) else { panic!("not joined") };
        let prefetch = prefetch as usize;
        let twin = TwinConsumer { number: consumer.0, queue: queue.0, holder, priority, prefetch };
        assert!(self.twin.consumers.iter().all(|other| other.number != twin.number), "no number is given twice");
        self.twin.consumers.push(twin);
    }

    pub(super) fn quit(&mut self) {
        if self.twin.consumers.is_empty() {
            return;
        }
        let TwinConsumer { number, queue, holder, .. } = self.random.pick(&self.twin.consumers.clone());
        let (queue, consumer) = (QueueNumber(queue), ConsumerNumber(number));
        let leave = |holder| Command::Leave { queue, holder: Holder(holder), consumer };
        assert!(matches!(self.world.submit(&leave(holder + 1)), Outcome::Unchanged { .. }), "it is another's");
        assert_eq!(self.world.accept(&leave(holder)), Reply::Done);
        assert!(matches!(self.world.submit(&leave(holder)), Outcome::Unchanged { .. }));
        self.twin.consumers.retain(|other| other.number != number);
    }

    /// Somebody who asks a queue for messages, perhaps in the name of another.
    pub(super) fn taker(&mut self, queue: QueueNumber) -> (u64, Taker) {
        let all = self.twin.consumers.iter().filter(|consumer| consumer.queue == queue.0);
        let consumers: Vec<TwinConsumer> = all.copied().collect();
        let holder = self.random.pick(&HOLDERS);
        if consumers.is_empty() || self.random.chance(100) {
            return (holder, self.random.pick(&[Taker::NOBODY, Taker::unjoined(1), Taker::unjoined(2)]));
        }
        let consumer = self.random.pick(&consumers);
        let holder = if self.random.chance(8) { holder } else { consumer.holder };
        (holder, Taker::joined(ConsumerNumber(consumer.number)))
    }

    /// Who has no room is told so, and woken once it has some. Tells whether there is any.
    pub(super) fn takes_turns(&mut self, queue: QueueNumber, holder: u64, taker: Taker, reply: &Reply) -> bool {
        let room = self.twin.room(queue.0, holder, taker.0, 1);
        match (room, reply) {
            (None, Reply::Unjoined) => return false,
            (Some(0), Reply::NoRoom) => {
                let consumer = taker.consumer().expect("who has not joined takes what there is");
                assert!(!self.world.state.has_turn(queue, consumer));
                self.world.turns.remove(&turn_row(consumer));
                self.no_room.insert(consumer);
                return false;
            }
            (Some(1), Reply::Handed(_) | Reply::Nothing { .. }) => {}
            other => panic!("{other:?}"),
        }
        if let Some(consumer) = taker.consumer() {
            let is_handed = matches!(reply, Reply::Handed(_));
            assert!(is_handed || self.world.state.has_turn(queue, consumer));
            let was_told = self.no_room.remove(&consumer);
            assert!(
                !was_told || self.world.turns.contains(&turn_row(consumer)),
                "{consumer:?} was not told of its turn"
            );
        }
        true
    }

    pub(super) fn ack_through(&mut self) {
        if self.told.is_empty() {
            return;
        }
        let from = self.told.len().saturating_sub(20);
        let (queue, _, delivery, priority) = self.random.pick(&self.told[from..]);
        let named = (priority, delivery.offset, delivery.acquired);
        let outcome = self.world.submit(&Command::AckThrough { queue, delivery });
        if let Outcome::Refuse { refusal: Refusal::InvalidOption { .. }, .. } = outcome {
            // It is told of nobody in particular, and stays.
            return;
        }
        match self.twin.ack_through(queue.0, named) {
            Some(messages) => assert_eq!(outcome, Outcome::Accept(Reply::AckedThrough { messages })),
            None => assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::Stale, .. })),
        }
    }
}
