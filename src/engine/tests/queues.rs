//! Queues through kills, power cuts, closes and checkpoints: what is there afterwards is what some of the first
//! commands made, no fewer than were durable; after a kill all of them. And every message that is there can be read.

use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::base::row::RowKey;
use crate::base::time::Now;
use crate::engine::errand::Ran;
use crate::engine::machine::Due;
use crate::engine::workers::{Next, Worker};
use crate::primitives::queues::{
    Backoff, Binding, Clock as ByClock, Command as C, Condition, ConsumerNumber, DeadLetters, DeliveryId, Destination,
    DueTime, Erasing, ExchangeOptions, Growth, Holder, Horizon, JitterKind, Joining, Kind, LetterTarget, Limits,
    Message, MissedRuns, Options, Origin, OverlappingRuns, Place, Plan, QueueNumber, Reply as QueueReply, Settlement,
    Taker, Target, When, read_messages, tick_logs,
};
use crate::primitives::streams::Record;
use crate::sim::random::Random;

/// How far back the exchange remembers ids.
const EVERYBODY: Horizon = Horizon::Last { count: 4 };

type Dump = Vec<(RowKey, Vec<u8>)>;

/// What was there after a command, and where the journal ended.
struct Step {
    end: Lsn,
    dump: Dump,
}

struct World {
    bench: Bench,
    random: Random,
    steps: Vec<Step>,
    /// Bodies by log and offset, with the step that sent them.
    bodies: HashMap<(LogId, u64), (usize, Vec<u8>)>,
    queues: Vec<QueueNumber>,
    held: Vec<(QueueNumber, DeliveryId)>,
    consumers: Vec<(QueueNumber, Holder, ConsumerNumber)>,
    sent: u32,
}

impl World {
    fn new(seed: u64) -> World {
        let bench = Bench::open(SimDisk::new(seed), ManualClock::starting_at(Timestamp(NOON)));
        let (queues, held, bodies) = (Vec::new(), Vec::new(), HashMap::new());
        let (random, steps, consumers) = (Random::new(seed), Vec::new(), Vec::new());
        let mut world = World { bench, random, steps, bodies, queues, held, consumers, sent: 0 };
        world.note();
        world
    }

    fn dump(&self) -> Dump {
        self.bench.engine.core.lock().machine.queues.dump()
    }

    fn note(&mut self) {
        let step = Step { end: self.bench.engine.positions().issued, dump: self.dump() };
        self.steps.push(step);
    }

    /// `None` if it was refused.
    fn submit(&mut self, command: C<'_>, level: Level) -> Option<QueueReply> {
        let submitted = self.bench.engine.submit(&Command::Queues(command), level, None);
        self.note();
        match submitted {
            Ok(submitted) => match submitted.reply {
                Reply::Queues(reply) => Some(reply),
                other => panic!("{other:?} is no reply of queues"),
            },
            Err(Refused::Refusal(_)) => None,
            Err(Refused::Fault(fault)) => panic!("nothing fails: {fault}"),
        }
    }

    fn level(&mut self) -> Level {
        if self.random.below(4) == 0 { Level::Sync } else { Level::Buffered }
    }

    fn act(&mut self) {
        match self.random.below(20) {
            0 if self.random.below(2) == 0 => self.schedule(),
            0 => self.create(),
            1..=4 => self.send(),
            5 => self.publish(),
            6..=9 => self.receive(),
            10..=14 => self.settle(),
            15 if self.random.below(3) == 0 => self.join_or_leave(),
            15 => self.pass_time(),
            16 => self.tidy(),
            17 => self.look_at_letters(),
            18 if self.random.below(2) == 0 => self.publish(),
            18 => {
                let holder = self.holder();
                let dies = self.random.below(2) == 0;
                self.submit(if dies { C::End { holder } } else { C::Release { holder } }, Level::Buffered);
            }
            _ => self.work(),
        }
    }

    fn holder(&mut self) -> Holder {
        Holder(self.random.below(3))
    }

    fn queue(&mut self) -> Option<QueueNumber> {
        let at = self.random.below(self.queues.len().max(1) as u64) as usize;
        self.queues.get(at).copied()
    }

    fn create(&mut self) {
        let name = ["mails", "bills", "parcels"][self.random.below(3) as usize];
        let (first_micros, most_micros) = (1_000_000, 60_000_000);
        let growth = [Growth::None, Growth::Fixed, Growth::Exponential][self.random.below(3) as usize];
        let backoff = Backoff { growth, first_micros, most_micros, jitter: JitterKind::Full };
        let ttl_micros = (self.random.below(3) == 0).then_some(90_000_000);
        let max_attempts = 1 + self.random.below(3) as u32;
        let target = |queue| LetterTarget { destination: Destination::Queue(queue), routing_key: None };
        let dead_letters = match (self.random.below(4), self.queues.first()) {
            (0, _) => DeadLetters::Discarded,
            (1..=2, Some(queue)) => DeadLetters::Moved(target(*queue)),
            _ => DeadLetters::Kept,
        };
        let dedup = match name {
            "mails" => Horizon::For { micros: 20_000_000 << self.random.below(2) },
            "bills" => Horizon::Last { count: 2 + self.random.below(4) },
            _ => Horizon::UntilSettled,
        };
        let single_active_consumer = self.random.below(4) == 0;
        let plain = Options { single_active_consumer, ..Options::default() };
        let options = &Options { backoff, ttl_micros, max_attempts, dead_letters, dedup, ..plain };
        if let Some(QueueReply::Queue(queue)) = self.submit(C::Ensure { name, options }, Level::Sync)
            && !self.queues.contains(&queue)
        {
            self.queues.push(queue);
        }
    }

    /// One of a few, so that many are duplicates.
    fn id(&mut self) -> Option<&'static str> {
        const IDS: [&str; 6] = ["order-1", "order-2", "order-3", "order-4", "order-5", "order-6"];
        (self.random.below(3) == 0).then(|| IDS[self.random.below(6) as usize])
    }

    fn send(&mut self) {
        let Some(queue) = self.queue() else { return };
        let (count, big) = (1 + self.random.below(6), self.random.below(3) == 0);
        let bodies: Vec<Vec<u8>> = (0..count)
            .map(|_| {
                self.sent += 1;
                format!("order {} ", self.sent).repeat(if big { 3000 } else { 3 }).into_bytes()
            })
            .collect();
        let priority = [4, 4, 4, 0, 9][self.random.below(5) as usize];
        let is_plain = self.random.below(2) == 0;
        let groups = ["ann", "bob"];
        let messages: Vec<Message<'_>> = bodies
            .iter()
            .map(|body| {
                let mut pick = |chance: u64| !is_plain && self.random.below(chance) == 0;
                let due = pick(3).then_some(DueTime::In(20_000_000));
                let ttl_micros = pick(4).then_some(30_000_000);
                let deadline = pick(6).then_some(Timestamp(NOON + 60_000_000));
                let (grouped, max_attempts) = (pick(3), pick(5).then_some(1));
                let group = grouped.then(|| groups[usize::from(pick(2))]);
                let plain = Message::plain(Record::new(body));
                Message { priority, due, ttl_micros, deadline, group, max_attempts, id: self.id(), ..plain }
            })
            .collect();
        let level = self.level();
        let before: Vec<(LogId, u64)> = self.ends(queue);
        let sent = self.submit(C::Send { queue, messages: &messages }, level);
        let told = match &sent {
            Some(QueueReply::SentSome { told, .. }) => &told[..],
            _ => &[],
        };
        let is_known = |message: usize| {
            told.iter().any(|told| (told.message as usize..).take(told.count as usize).any(|at| at == message))
        };
        let stored = bodies.iter().enumerate().filter(|(message, _)| !is_known(*message));
        let stored: Vec<Vec<u8>> = stored.map(|(_, body)| body.clone()).collect();
        if sent.is_some() && !stored.is_empty() {
            self.remember(queue, &before, stored);
        }
    }

    /// Makes or removes a schedule, or lets it rest or go on.
    fn schedule(&mut self) {
        let Some(queue) = self.queue() else { return };
        let name = ["hourly", "nightly"][self.random.below(2) as usize];
        let when = match self.random.below(2) {
            0 => When::Every { micros: 7_000_000 },
            _ => When::Cron { pattern: "*/20 * * * * *".into(), zone: "Europe/Berlin".into() },
        };
        let exchange = self.bench.engine.core.lock().machine.queues.exchanges.find("everybody");
        let target = match exchange.filter(|_| self.random.below(2) == 0) {
            Some(exchange) => Target::Exchange { exchange, routing_key: "report".into() },
            None => Target::Queue(queue),
        };
        let missed = [MissedRuns::One, MissedRuns::Skip, MissedRuns::All][self.random.below(3) as usize];
        let overlap = [OverlappingRuns::Allow, OverlappingRuns::Skip][self.random.below(2) as usize];
        let (plan, level) = (&Plan { when, target, missed, overlap }, self.level());
        let message = &Message { record: Record::new(REPORT), ..PLAIN };
        match self.random.below(6) {
            0 => drop(self.submit(C::RemoveSchedule { name }, level)),
            1 => drop(self.submit(C::PauseSchedule { name, is_paused: level == Level::Sync }, level)),
            _ => drop(self.submit(C::Schedule { name, plan, message }, level)),
        }
    }

    /// Lets runs of schedules happen that have come.
    fn run_schedules(&mut self) {
        loop {
            let before: Vec<_> = self.queues.iter().map(|queue| (*queue, self.ends(*queue))).collect();
            if self.dump() == {
                self.submit(C::RunSchedule, Level::Buffered);
                self.dump()
            } {
                return;
            }
            for (queue, ends) in before {
                if self.ends(queue) != ends {
                    self.remember(queue, &ends, vec![REPORT.to_vec()]);
                }
            }
        }
    }

    /// Binds a queue or unbinds it, and publishes to all that are bound.
    fn publish(&mut self) {
        let (Some(queue), level) = (self.queue(), self.level()) else { return };
        let options =
            &ExchangeOptions { kind: Kind::Fanout, alternate: None, allows_unroutable: true, dedup: EVERYBODY };
        let declared = self.submit(C::DeclareExchange { name: "everybody", options }, Level::Sync);
        let Some(QueueReply::Exchange(exchange)) = declared else { panic!("it is declared: {declared:?}") };
        let binding = &Binding { exchange, destination: Destination::Queue(queue), condition: Condition::Always };
        match self.random.below(4) {
            0 => drop(self.submit(C::Unbind { binding }, Level::Sync)),
            1 | 2 => drop(self.submit(C::Bind { binding }, Level::Buffered)),
            _ => {}
        }
        self.sent += 1;
        let big = self.random.below(3) == 0;
        let body = format!("order {} ", self.sent).repeat(if big { 3000 } else { 3 }).into_bytes();
        let origin = Some(Origin { exchange: "everybody", routing_key: "order.created" });
        let ttl_micros = (self.random.below(3) == 0).then_some(30_000_000);
        let messages = &[Message { record: Record::new(&body), ttl_micros, origin, id: self.id(), ..PLAIN }];
        let before: Vec<_> = self.queues.iter().map(|queue| (*queue, self.ends(*queue))).collect();
        let published = self.submit(C::Publish { exchange, messages, limits: Limits::default() }, level);
        let (Some(QueueReply::Published { mut queues }) | Some(QueueReply::PublishedSome { mut queues, .. })) =
            published
        else {
            panic!("it is published: {published:?}")
        };
        for (queue, ends) in before {
            if self.ends(queue) != ends {
                self.remember(queue, &ends, vec![body.clone()]);
                queues -= 1;
            }
        }
        assert_eq!(queues, 0, "each of the queues got it");
    }

    /// Log and end of each lane.
    fn ends(&self, queue: QueueNumber) -> Vec<(LogId, u64)> {
        let core = self.bench.engine.core.lock();
        let lanes = core.machine.queues.get(queue).into_iter().flat_map(|queue| queue.lanes());
        lanes.map(|lane| (lane.log, lane.end)).collect()
    }

    /// The messages of a batch go into lanes in their order; each body says which it is.
    fn remember(&mut self, queue: QueueNumber, before: &[(LogId, u64)], bodies: Vec<Vec<u8>>) {
        let step = self.steps.len() - 1;
        let mut bodies = bodies;
        for (log, end) in self.ends(queue) {
            let start = before.iter().find(|(other, _)| *other == log).map_or(0, |(_, end)| *end);
            for offset in start..end {
                let body = self.read(log, offset);
                let at = bodies.iter().position(|other| *other == body).expect("it was in the batch");
                bodies.remove(at);
                self.bodies.insert((log, offset), (step, body));
            }
        }
        assert!(bodies.is_empty(), "all of a batch is stored");
    }

    fn read(&self, log: LogId, offset: u64) -> Vec<u8> {
        let read = self.bench.engine.read(log, offset, 1, &mut Cursor::default()).expect("nothing is damaged");
        let Read::Items(batch) = read else { panic!("message {offset} of {log:?} is not there") };
        let item = &batch.items()[0];
        let messages = read_messages(batch.bytes(item), &item.entry).expect("an item of a lane");
        let mut bodies = messages.map(|message| message.expect("a message that was written").record);
        let record = bodies.find(|record| record.offset == offset).expect("it is in its item");
        record.body.unwrap_or_default().to_vec()
    }

    fn receive(&mut self) {
        let Some(queue) = self.queue() else { return };
        let max = 1 + self.random.below(5) as u32;
        let (holder, taker) = self.taker(queue);
        if let Some(QueueReply::Handed(runs)) = self.submit(C::Receive { queue, holder, taker, max }, Level::Buffered) {
            for run in runs {
                for offset in run.first..run.first + u64::from(run.count) {
                    let known = &self.bodies[&(run.log, offset)].1;
                    assert_eq!(&self.read(run.log, offset), known, "what is handed out is what was sent");
                    self.held.push((queue, DeliveryId { lane: run.lane, offset, acquired: run.acquired }));
                }
            }
        }
    }

    fn join_or_leave(&mut self) {
        let Some(queue) = self.queue() else { return };
        if self.random.below(3) == 0 && !self.consumers.is_empty() {
            let (queue, holder, consumer) = self.consumers.remove(0);
            self.submit(C::Leave { queue, holder, consumer }, Level::Buffered);
            return;
        }
        let (holder, priority, prefetch) = (self.holder(), self.random.below(3) as u8, 1 + self.random.below(4) as u32);
        let joining = Joining { queue, holder, priority, prefetch, name: "packer" };
        if let Some(QueueReply::Joined { consumer }) = self.submit(C::Join(joining), Level::Buffered) {
            self.consumers.push((queue, holder, consumer));
        }
    }

    /// Somebody who asks a queue for messages.
    fn taker(&mut self, queue: QueueNumber) -> (Holder, Taker) {
        let of_queue = self.consumers.iter().find(|(other, ..)| *other == queue).copied();
        match of_queue.filter(|_| self.random.below(2) == 0) {
            Some((_, holder, consumer)) => (holder, Taker::joined(consumer)),
            None => (self.holder(), Taker::unjoined(1)),
        }
    }

    fn settle(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let at = self.random.below(self.held.len() as u64) as usize;
        let (queue, delivery) = self.held.swap_remove(at);
        if self.random.below(8) == 0 {
            self.submit(C::AckThrough { queue, delivery }, Level::Buffered);
            return;
        }
        let how = match self.random.below(8) {
            0 => Settlement::Fail { error: "no such address", delay_micros: None },
            1 => Settlement::Release { delay_micros: self.random.below(2) * 5_000_000 },
            2 => Settlement::Reject { error: "not an order" },
            3 => Settlement::Extend { micros: 7_000_000 },
            _ => Settlement::Ack,
        };
        self.submit(C::Settle { queue, how, deliveries: &[delivery] }, Level::Buffered);
    }

    fn pass_time(&mut self) {
        self.bench.clock.advance(Duration::from_secs(self.random.below(40)));
        self.run_schedules();
        loop {
            let due = {
                let core = self.bench.engine.core.lock();
                let now = Now { wall: self.bench.clock.wall(), boot: self.bench.engine.clock.boot() };
                tick_logs(&core.machine.queues).into_iter().find(|(log, by)| {
                    let timer = core.machine.queues.log_timer(*log).expect("it has a timer");
                    match core.machine.queues.next_due(timer.key) {
                        Some(Due::At(at)) => *by == ByClock::Wall && at <= now.wall,
                        Some(Due::AtBoot(at)) => *by == ByClock::Boot && at <= now.boot,
                        _ => false,
                    }
                })
            };
            let Some((log, clock)) = due else { return };
            if clock == ByClock::Wall && self.move_on(log) {
                continue;
            }
            let before = self.dump();
            self.submit(C::Tick { log, clock }, Level::Buffered);
            let due = || {
                let core = self.bench.engine.core.lock();
                let timer = core.machine.queues.log_timer(log).expect("it has a timer");
                (core.machine.queues.next_due(timer.key), self.bench.clock.wall(), self.bench.engine.clock.boot())
            };
            assert!(before != self.dump(), "a tick of {log:?} by {clock:?} that is due changes something: {:?}", due());
        }
    }

    /// Letters that are to leave a queue do, as the timers' thread has them; tells whether there were any.
    fn move_on(&mut self, log: LogId) -> bool {
        let timer = self.bench.engine.core.lock().machine.queues.log_timer(log).expect("it has a timer");
        let before: Vec<_> = self.queues.iter().map(|queue| (*queue, self.ends(*queue))).collect();
        match self.bench.engine.run_errand(timer.key) {
            Ran::Idle => return false,
            Ran::Done => {}
            // What is not on disk yet is moved once it is.
            Ran::Later | Ran::MuchLater => {
                let issued = self.bench.engine.positions().issued;
                self.bench.engine.wait_durable(issued, None).expect("nothing fails");
                return true;
            }
        }
        self.note();
        for (queue, ends) in before {
            for (log, end) in self.ends(queue) {
                let start = ends.iter().find(|(other, _)| *other == log).map_or(0, |(_, end)| *end);
                for offset in start..end {
                    let body = self.read(log, offset);
                    assert!(self.bodies.values().any(|(_, known)| *known == body), "what is moved is what was sent");
                    self.bodies.insert((log, offset), (self.steps.len() - 1, body));
                }
            }
        }
        true
    }

    fn tidy(&mut self) {
        let Some(queue) = self.queue() else { return };
        match self.random.below(6) {
            0 => drop(self.submit(C::Purge { queue, left: &[] }, Level::Sync)),
            1 => {
                if self.submit(C::Delete { queue }, Level::Sync).is_some() {
                    self.queues.retain(|other| *other != queue);
                    let erase = C::Erase { what: Erasing::Queue(queue) };
                    while self.random.below(3) > 0 && self.submit(erase, Level::Buffered) == Some(QueueReply::More) {}
                }
            }
            _ => {
                let is_paused = self.random.below(2) == 0;
                self.submit(C::Pause { queue, is_paused }, Level::Sync);
            }
        }
    }

    fn look_at_letters(&mut self) {
        let Some(queue) = self.queue() else { return };
        let letters = {
            let core = self.bench.engine.core.lock();
            core.machine.queues.get(queue).map(|queue| queue.letters(None, 3)).unwrap_or_default()
        };
        let places: Vec<Place> = letters.iter().map(|letter| letter.place).collect();
        if self.random.below(3) == 0 {
            self.submit(C::Bury { queue, letters: &places }, Level::Sync);
            return;
        }
        let bodies: Vec<Vec<u8>> = letters.iter().map(|l| self.read(l.log, l.place.offset)).collect();
        let id = self.id();
        let message = |body| Message { id, ..Message::plain(Record::new(body)) };
        let messages: Vec<Message<'_>> = bodies.iter().map(|body| message(body)).collect();
        let before = self.ends(queue);
        if self
            .submit(
                C::Redrive { queue, letters: &places, messages: &messages, to: Destination::Queue(queue) },
                Level::Sync,
            )
            .is_some()
        {
            self.remember(queue, &before, bodies);
        }
    }

    fn work(&self) {
        match self.random_free() % 3 {
            0 => self.bench.engine.checkpoint().expect("nothing fails"),
            _ => while self.bench.engine.step(Worker::Maker, &mut None) == Next::Again {},
        }
    }

    fn random_free(&self) -> u64 {
        self.steps.len() as u64
    }

    /// Ends the life of the engine in one of its ways and looks at what the next finds.
    fn end(mut self) -> World {
        let way = self.random.below(3);
        let durable = self.bench.engine.positions().durable;
        match way {
            0 => self.bench.engine.close().expect("nothing fails"),
            1 => self.bench.engine.abandon(),
            _ => {
                self.bench.disk.power_cut();
                self.bench.engine.abandon();
            }
        }
        let Bench { disk, clock, engine } = self.bench;
        drop(engine);
        self.bench = Bench::open(disk, clock);
        let found = self.dump();
        let first = self.steps.iter().rposition(|step| step.end <= durable).unwrap_or(0);
        let last = self.steps.len() - 1;
        let range = if way < 2 { last..=last } else { first..=last };
        let kept = range.rev().find(|at| self.steps[*at].dump == found);
        let kept = kept.unwrap_or_else(|| {
            panic!("way {way}: {}", difference(&self.steps[last].dump, &found));
        });
        self.steps.truncate(kept + 1);
        self.bodies.retain(|_, (step, _)| *step <= kept);
        let core = self.bench.engine.core.lock();
        let queues: Vec<QueueNumber> =
            self.queues.iter().copied().filter(|q| core.machine.queues.get(*q).is_some()).collect();
        let there = core.machine.queues.kept();
        drop(core);
        self.queues = queues;
        for (log, offset) in there {
            assert_eq!(self.read(log, offset), self.bodies[&(log, offset)].1, "{offset} of {log:?}");
        }
        self.steps.clear();
        self.bodies.values_mut().for_each(|(step, _)| *step = 0);
        self.note();
        self
    }
}

const REPORT: &[u8] = b"make the report";

pub(super) const PLAIN: Message<'static> = Message::plain(Record::new(b""));

fn difference(expected: &Dump, found: &Dump) -> String {
    let missing: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
    let surplus: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
    format!("missing {missing:?}, instead {surplus:?}")
}

#[test]
fn after_any_end_a_queue_is_what_its_first_commands_made_and_every_message_in_it_can_be_read() {
    for seed in 0..12 {
        let mut world = World::new(seed);
        world.create();
        for _ in 0..6 {
            for _ in 0..80 {
                world.act();
            }
            world = world.end();
        }
    }
}

#[test]
fn a_queue_that_was_drained_gives_its_disk_back() {
    let mut world = World::new(1);
    let options = &Options::default();
    let Some(QueueReply::Queue(queue)) = world.submit(C::Create { name: "mails", options }, Level::Sync) else {
        panic!("a queue can be created")
    };
    let body = vec![7; 60_000];
    let segments = |world: &World| world.bench.disk.paths().iter().filter(|path| path.ends_with(".seg")).count();
    let before = segments(&world);
    for _ in 0..600 {
        let messages = [Message { record: Record::new(&body), ..PLAIN }];
        let engine = &world.bench.engine;
        engine.submit(&Command::Queues(C::Send { queue, messages: &messages }), Level::Buffered, None).expect("room");
        let receive = C::Receive { queue, holder: Holder::HOST, taker: Taker::NOBODY, max: 1 };
        let received = engine.submit(&Command::Queues(receive), Level::Buffered, None).expect("nothing fails");
        let Reply::Queues(QueueReply::Handed(runs)) = received.reply else { panic!("there is a message") };
        let id = DeliveryId { lane: runs[0].lane, offset: runs[0].first, acquired: 1 };
        let settle = C::Settle { queue, how: Settlement::Ack, deliveries: &[id] };
        engine.submit(&Command::Queues(settle), Level::Buffered, None).expect("nothing fails");
    }
    (0..6).for_each(|_| world.bench.engine.checkpoint().expect("nothing fails"));
    assert!(segments(&world) <= before + 6, "{} segments, {before} before", segments(&world));
}
