//! One queue whose messages are known by their bodies, for tests that read like rules.

use std::collections::BTreeMap;

use super::super::QueueCounts;
use super::super::command::{
    Command, DeliveryId, Holder, Outcome, Place, QueueNumber, Reason, Refusal, Settlement, Stretch,
};
use super::super::consumers::Taker;
use super::super::message::Message;
use super::super::options::{Backoff, Growth, JitterKind, Options};
use super::super::reply::Reply;
use super::super::routing::Destination;
use super::super::sequence;
use super::SECOND;
use super::world::{World, handed};
use crate::base::time::Timestamp;
use crate::primitives::record::Record;

/// Two processes with sessions, beside the host's.
pub(super) const PACKER: u64 = 7;
pub(super) const DRIVER: u64 = 8;

pub(super) struct Bench {
    pub(super) world: World,
    pub(super) queue: QueueNumber,
    /// By queue, priority and offset.
    names: BTreeMap<(QueueNumber, u8, u64), &'static str>,
    /// The last hand-out of each.
    deliveries: BTreeMap<&'static str, DeliveryId>,
}

/// A message that says nothing of itself.
pub(super) fn order(body: &'static str) -> Message<'static> {
    Message::plain(Record::new(body.as_bytes()))
}

pub(super) fn of_group(group: &'static str, body: &'static str) -> Message<'static> {
    Message { group: Some(group), ..order(body) }
}

/// Failed messages come back at once.
pub(super) fn at_once() -> Options {
    let backoff = Backoff { growth: Growth::None, jitter: JitterKind::None, ..Backoff::default() };
    Options { backoff, ..Options::default() }
}

/// Failed messages come back after a second, then two, and so on.
pub(super) fn later(growth: Growth) -> Options {
    let (first_micros, most_micros, jitter) = (SECOND, 5 * SECOND, JitterKind::None);
    Options { backoff: Backoff { growth, first_micros, most_micros, jitter }, max_attempts: 100, ..Options::default() }
}

pub(super) const FAIL: Settlement<'static> = Settlement::Fail { error: "no answer", delay_micros: None };
pub(super) const RELEASE: Settlement<'static> = Settlement::Release { delay_micros: 0 };

impl Bench {
    pub(super) fn new(options: Options) -> Bench {
        let mut world = World::new();
        let Reply::Queue(queue) = world.accept(&Command::Create { name: "parcels", options: &options }) else {
            panic!()
        };
        Bench { world, queue, names: BTreeMap::new(), deliveries: BTreeMap::new() }
    }

    /// Another queue of the same database.
    pub(super) fn open(&mut self, name: &str, options: Options) -> QueueNumber {
        let Reply::Queue(queue) = self.world.accept(&Command::Create { name, options: &options }) else { panic!() };
        queue
    }

    pub(super) fn send(&mut self, messages: &[Message<'static>]) {
        for message in messages {
            self.try_send(message).expect("it is accepted");
        }
    }

    pub(super) fn send_plain(&mut self, bodies: &[&'static str]) {
        bodies.iter().for_each(|body| self.send(&[order(body)]));
    }

    pub(super) fn try_send(&mut self, message: &Message<'static>) -> Result<(), Refusal> {
        let messages = [*message];
        match self.world.submit(&Command::Send { queue: self.queue, messages: &messages }) {
            Outcome::Accept(Reply::Sent { priority, offset }) => {
                self.names.insert((self.queue, priority, offset), body_of(message));
                Ok(())
            }
            Outcome::Refuse { refusal, .. } => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a message with an id; tells its sequence, or that of the original.
    pub(super) fn send_with_id(&mut self, id: &'static str, message: Message<'static>) -> Result<u64, u64> {
        let messages = [Message { id: Some(id), ..message }];
        match self.world.submit(&Command::Send { queue: self.queue, messages: &messages }) {
            Outcome::Accept(Reply::Sent { priority, offset }) => {
                self.names.insert((self.queue, priority, offset), body_of(&message));
                Ok(sequence(priority, offset))
            }
            Outcome::Unchanged { reply: Reply::SentSome { first: None, told }, rests_on: Some(_) } => {
                Err(told[0].value)
            }
            other => panic!("{other:?}"),
        }
    }

    /// Bodies of what is handed out to a process.
    pub(super) fn take(&mut self, holder: u64, max: u32) -> Vec<&'static str> {
        self.told(holder, max).unwrap_or_default()
    }

    /// The same, or with what news a waiter knows.
    pub(super) fn told(&mut self, holder: u64, max: u32) -> Result<Vec<&'static str>, u64> {
        self.told_to(holder, Taker::NOBODY, max).map_err(|reply| match reply {
            Reply::Nothing { known } => known,
            other => panic!("{other:?}"),
        })
    }

    /// The same for a consumer, or with what it is told instead.
    pub(super) fn told_to(&mut self, holder: u64, taker: Taker, max: u32) -> Result<Vec<&'static str>, Reply> {
        let receive = Command::Receive { queue: self.queue, holder: Holder(holder), taker, max };
        let runs = match self.world.submit(&receive) {
            Outcome::Accept(Reply::Handed(runs)) => runs,
            Outcome::Accept(reply) | Outcome::Unchanged { reply, .. } => return Err(reply),
            other => panic!("{other:?}"),
        };
        let mut bodies = Vec::new();
        for told in handed(&runs) {
            let body = self.names[&(self.queue, told.priority, told.offset)];
            let lane = self.world.lane(self.queue, told.priority).expect("a lane in use");
            self.deliveries.insert(body, DeliveryId { lane, offset: told.offset, acquired: told.acquired });
            bodies.push(body);
        }
        Ok(bodies)
    }

    pub(super) fn delivery(&self, body: &str) -> DeliveryId {
        self.deliveries[body]
    }

    /// Settles the last hand-outs of these.
    pub(super) fn settle(&mut self, how: Settlement<'_>, bodies: &[&str]) {
        let deliveries: Vec<DeliveryId> = bodies.iter().map(|body| self.delivery(body)).collect();
        let stale = Vec::new();
        assert_eq!(self.try_settle(how, &deliveries), Outcome::Accept(Reply::Settled { stale }));
    }

    pub(super) fn try_settle(&mut self, how: Settlement<'_>, deliveries: &[DeliveryId]) -> Outcome {
        self.world.submit(&Command::Settle { queue: self.queue, how, deliveries })
    }

    pub(super) fn is_stale(&mut self, delivery: DeliveryId) -> bool {
        matches!(self.try_settle(Settlement::Ack, &[delivery]), Outcome::Refuse { refusal: Refusal::Stale, .. })
    }

    /// Takes the next one and lets it fail.
    pub(super) fn fail_next(&mut self) -> &'static str {
        let body = self.take(0, 1)[0];
        self.settle(FAIL, &[body]);
        body
    }

    pub(super) fn ready(&self) -> u64 {
        self.counts().ready
    }

    pub(super) fn counts(&self) -> QueueCounts {
        self.world.counts(self.queue)
    }

    pub(super) fn wall(&self) -> Timestamp {
        self.world.now.wall
    }

    /// Dead letters: body, reason, failed attempts.
    pub(super) fn dead(&self) -> Vec<(&'static str, Reason, u32)> {
        let letters = self.world.letters(self.queue);
        letters.iter().map(|letter| (self.names[&(self.queue, letter.0, letter.1)], letter.2, letter.4)).collect()
    }

    pub(super) fn dead_reasons(&self) -> Vec<Reason> {
        self.world.letters(self.queue).iter().map(|letter| letter.2).collect()
    }

    /// Places of what waits in a queue, the higher priority first, then by sequence.
    pub(super) fn places_waiting(&self, queue: QueueNumber) -> Vec<Place> {
        let queue = self.world.state.get(queue).expect("a queue of the bench");
        queue.waiting_behind(None, usize::MAX, &|lane| lane.end).iter().map(|message| message.place).collect()
    }

    /// Hands out whatever is next, whoever sent it.
    pub(super) fn receive_any(&mut self, queue: QueueNumber) -> Vec<DeliveryId> {
        let receive = Command::Receive { queue, holder: Holder::HOST, taker: Taker::NOBODY, max: 1 };
        let Reply::Handed(runs) = self.world.accept(&receive) else { panic!("a message waits") };
        runs.iter().map(|run| DeliveryId { lane: run.lane, offset: run.first, acquired: run.acquired }).collect()
    }

    pub(super) fn places_of_dead(&self) -> Vec<Place> {
        let letters = self.world.letters(self.queue);
        letters.iter().map(|letter| self.world.place(self.queue, letter.0, letter.1)).collect()
    }

    /// Sends the only dead letter again under another body.
    pub(super) fn redrive(&mut self, message: Message<'static>) {
        let (queue, letters) = (self.queue, self.places_of_dead());
        let place = (queue, message.priority, self.world.end(queue, message.priority));
        self.names.insert(place, body_of(&message));
        let to = Destination::Queue(queue);
        self.world.accept(&Command::Redrive { queue, letters: &letters, messages: &[message], to });
    }

    /// One step of a purge: how many went, and what is left to go.
    pub(super) fn purge(&mut self, left: &[Stretch]) -> (u64, Vec<Stretch>) {
        match self.world.submit(&Command::Purge { queue: self.queue, left }) {
            Outcome::Accept(Reply::Purged { messages, left })
            | Outcome::Unchanged { reply: Reply::Purged { messages, left }, .. } => (messages, left),
            other => panic!("{other:?}"),
        }
    }

    /// The process dies.
    pub(super) fn die(&mut self, holder: u64) {
        self.world.submit(&Command::End { holder: Holder(holder) });
    }

    /// Goes on from a checkpoint, as the next host does.
    pub(super) fn restart(&mut self) {
        self.world.reload();
        self.world.begin_life();
    }
}

fn body_of(message: &Message<'static>) -> &'static str {
    std::str::from_utf8(message.record.body.expect("it has a body")).expect("a text")
}
