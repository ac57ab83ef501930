//! Publishing among all the rest: to the queues that are bound to a fanout exchange, all of them or none.

use super::super::super::dedup::Horizon;
use super::super::super::exchanges::{ExchangeOptions, Limits};
use super::super::super::message::Origin;
use super::super::super::routing::{Binding, Condition, Destination, ExchangeNumber, Kind};
use super::super::model::TwinVerdict;
use super::*;

const EXCHANGE: &str = "everybody";

impl History {
    pub(super) fn declare(&mut self) {
        self.published.1 = match self.random.below(3) {
            0 => Horizon::None,
            1 => Horizon::For { micros: 5 * SECOND },
            _ => Horizon::Last { count: 3 },
        };
        let options = &self.options_of_exchange();
        self.world.accept(&Command::DeclareExchange { name: EXCHANGE, options });
    }

    fn options_of_exchange(&self) -> ExchangeOptions {
        let dedup = self.published.1;
        ExchangeOptions { kind: Kind::Fanout, alternate: None, allows_unroutable: false, dedup }
    }

    /// Ids that are published count for longer, or for less long.
    pub(super) fn alter_exchange(&mut self) {
        let before = self.published.1;
        self.published.1 = match before {
            Horizon::None | Horizon::UntilSettled => before,
            Horizon::For { .. } => Horizon::For { micros: self.random.pick(&[2 * SECOND, 5 * SECOND]) },
            Horizon::Last { .. } => Horizon::Last { count: self.random.pick(&[2, 8]) },
        };
        let options = &self.options_of_exchange();
        let outcome = self.world.submit(&Command::EnsureExchange { name: EXCHANGE, options });
        assert_eq!(matches!(outcome, Outcome::Accept(_)), self.published.1 != before);
        let wall = self.twin.wall;
        if self.published.1 != before {
            [before, self.published.1].into_iter().for_each(|horizon| self.published.0.forget(horizon, wall));
        }
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
        let (frame, wall) = (self.world.next_frame.0, self.twin.wall);
        let outcome = self.world.submit(&Command::Publish { exchange, messages: &messages, limits });
        let verdicts = self.published.0.judge(&wishes, self.published.1, wall);
        let new = ids::new(&wishes, &verdicts);
        if self.bound.is_empty() && !new.is_empty() {
            let first = verdicts.iter().position(|verdict| *verdict == TwinVerdict::New).expect("one is new");
            let is_unroutable = |refusal: &Refusal| *refusal == Refusal::Unroutable { message: first as u32 };
            assert!(matches!(&outcome, Outcome::Refuse { refusal, .. } if is_unroutable(refusal)));
            return;
        }
        let before = self.twin.clone();
        let ranked = |queue: &QueueNumber| (*queue, self.twin.queues[&queue.0].ranked(&new));
        let ranked: BTreeMap<QueueNumber, Vec<Wish>> = self.bound.iter().map(ranked).collect();
        let living = |queue: &QueueNumber| (*queue, self.twin.queues[&queue.0].living_ids());
        let living: BTreeMap<QueueNumber, Vec<&str>> = self.bound.iter().map(living).collect();
        let has_room = |queue: &QueueNumber| {
            self.twin.queues.get_mut(&queue.0).expect("a queue of the world").make_room(new.len() as u64, wall)
        };
        if !self.bound.iter().all(has_room) {
            self.twin = before;
            assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::Full { .. }, .. }), "{outcome:?}");
            return;
        }
        let each = self.bound.len() as u64;
        assert_published(&outcome, &verdicts, new.len() as u64 * each, each);
        new.iter().filter_map(|wish| wish.id).for_each(|id| self.published.0.add(id, wall, frame, each));
        for queue in &self.bound {
            let awaited = (awaited == *queue).then_some(AWAITED_MICROS);
            let twin = self.twin.queues.get_mut(&queue.0).expect("a queue of the world");
            let places = twin.append(&ranked[queue], wall, awaited, barrier);
            places.into_iter().for_each(|(priority, offset)| twin.claim(priority, offset, frame, &living[queue]));
        }
    }
}

fn assert_published(outcome: &Outcome, verdicts: &[TwinVerdict], places: u64, each: u64) {
    let expected = ids::known(verdicts, |_| each);
    match outcome {
        Outcome::Accept(Reply::Published { queues }) => assert_eq!((*queues, expected.len()), (places, 0)),
        Outcome::Accept(Reply::PublishedSome { queues, told }) => {
            assert_eq!((*queues, ids::each(told, false)), (places, expected));
            assert!(places > 0 && !told.is_empty());
        }
        Outcome::Unchanged { reply: Reply::PublishedSome { queues: 0, told }, rests_on: Some(_) } => {
            assert_eq!((0, ids::each(told, false)), (places, expected));
        }
        other => panic!("{other:?}"),
    }
}
