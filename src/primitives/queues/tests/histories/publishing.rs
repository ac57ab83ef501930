//! Publishing among all the rest: to the queues that are bound to a fanout exchange, all of them or none.

use super::super::super::exchanges::{ExchangeOptions, Limits};
use super::super::super::message::Origin;
use super::super::super::routing::{Binding, Condition, Destination, ExchangeNumber, Kind};
use super::*;

const EXCHANGE: &str = "everybody";

impl History {
    pub(super) fn declare(&mut self) {
        let options = &ExchangeOptions { kind: Kind::Fanout, alternate: None, allows_unroutable: false };
        self.world.accept(&Command::DeclareExchange { name: EXCHANGE, options });
    }

    pub(super) fn exchange(&self) -> ExchangeNumber {
        self.world.state.exchanges.find(EXCHANGE).expect("it is never deleted")
    }

    /// Binds a queue, or unbinds it.
    pub(super) fn bind(&mut self) {
        let queue = self.queue();
        let (exchange, destination) = (self.exchange(), Destination::Queue(queue));
        let binding = &Binding { exchange, destination, condition: Condition::Always };
        if self.bound.remove(&queue) {
            let was_bound = true;
            assert_eq!(self.world.accept(&Command::Unbind { binding }), Reply::Unbound { was_bound });
            return;
        }
        self.world.accept(&Command::Bind { binding });
        assert!(matches!(self.world.submit(&Command::Bind { binding }), Outcome::Unchanged { .. }));
        self.bound.insert(queue);
    }

    pub(super) fn publish(&mut self) {
        let is_plain = self.random.chance(64);
        let count = 1 + self.random.below(3);
        let wish =
            |history: &mut History| if is_plain { Wish { priority: 4, ..Wish::default() } } else { history.wish() };
        let wishes: Vec<Wish> = (0..count).map(|_| wish(self)).collect();
        let origin = Some(Origin { exchange: EXCHANGE, routing_key: "order.created" });
        let messages: Vec<Message<'_>> = wishes.iter().map(|wish| Message { origin, ..self.message(wish) }).collect();
        let awaited = self.queue();
        self.world.set_awaited(awaited, true);
        let barrier = self.world.is_sync.then_some(self.world.next_frame.0 + 64);
        let (exchange, limits) = (self.exchange(), Limits::default());
        let outcome = self.world.submit(&Command::Publish { exchange, messages: &messages, limits });
        if self.bound.is_empty() {
            let is_unroutable = |refusal: &Refusal| *refusal == Refusal::Unroutable { message: 0 };
            assert!(matches!(&outcome, Outcome::Refuse { refusal, .. } if is_unroutable(refusal)));
            return;
        }
        let is_full = |queue: &&QueueNumber| {
            let twin = &self.twin.queues[&queue.0];
            twin.options.max_messages.is_some_and(|max| twin.waiting() + count > max)
        };
        if self.bound.iter().any(|queue| is_full(&queue)) {
            assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::Full { .. }, .. }), "{outcome:?}");
            return;
        }
        assert_eq!(outcome, Outcome::Accept(Reply::Published { queues: count * self.bound.len() as u64 }));
        for queue in &self.bound {
            let awaited = (awaited == *queue).then_some(AWAITED_MICROS);
            let twin = self.twin.queues.get_mut(&queue.0).expect("a queue of the world");
            twin.append(&wishes, self.twin.wall, awaited, barrier);
        }
    }
}
