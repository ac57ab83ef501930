//! Generated histories: after each step the machine says what the twin says.

mod consuming;
mod ids;
mod letters;
mod publishing;
mod scheduling;

use std::collections::{BTreeMap, BTreeSet};

use super::super::command::{
    Clock, Command, DeliveryId, Erasing, Holder, Outcome, Place, QueueNumber, Refusal, Settlement, Stretch,
};
use super::super::consumers::{ConsumerNumber, Taker};
use super::super::dedup::Horizon;
use super::super::handing::KNOWS_NOTHING;
use super::super::message::{Due, Message};
use super::super::options::{Backoff, DeadLetters, Growth, JitterKind, Options, Overflow, Target};
use super::super::reply::{HandedRun, Reply};
use super::super::routing::Destination;
use super::super::sequence;
use super::SECOND;
use super::model::{Handed, Twin, TwinIds, TwinQueue, Wish};
use super::world::{World, handed};
use crate::base::bounds::{AWAITED_MICROS, HANDED_RUNS_MAX, HISTORY_DEATHS_MAX};
use crate::base::lsn::Lsn;
use crate::base::time::{BootTime, ClockIdentity, Now, Timestamp};
use crate::primitives::record::Record;
use crate::sim::random::Random;

const HOLDERS: [u64; 4] = [0, 0, 7, 8];
const NAMES: [&str; 3] = ["orders", "mails", "reports"];
const GROUPS: [&str; 4] = ["customer-17", "customer-23", "depot-east", "depot-west"];
static BODY: [u8; 40_000] = [b'x'; 40_000];

/// What the machine says of a message whose process died.
const DIED: &str = "the process that had it died";
const NOT_SETTLED: &str = "it was not settled within its visibility timeout";

struct History {
    random: Random,
    world: World,
    twin: Twin,
    /// By name.
    numbers: BTreeMap<&'static str, QueueNumber>,
    /// Hand-outs that were told, settled ones among them: queue, holder, delivery, priority.
    told: Vec<(QueueNumber, u64, DeliveryId, u8)>,
    /// News with which somebody was told that there is nothing.
    nothing: BTreeMap<(QueueNumber, u64, Taker), u64>,
    /// Who was told to wait for its turn.
    no_room: BTreeSet<ConsumerNumber>,
    /// Ends of lanes as they once were.
    once: BTreeMap<QueueNumber, Vec<(u8, u64)>>,
    lags: bool,
    /// Queues that get what is published.
    bound: BTreeSet<QueueNumber>,
    /// By number, deleted ones too.
    once_named: BTreeMap<u32, &'static str>,
    /// Ids that were published, and how far back they count.
    published: (TwinIds, Horizon),
    schedules: BTreeMap<&'static str, scheduling::TwinSchedule>,
}

fn options(random: &mut Random, name: &str, targets: &[Destination]) -> Options {
    let growth = random.pick(&[Growth::None, Growth::Fixed, Growth::Linear, Growth::Exponential]);
    let jitter = random.pick(&[JitterKind::None, JitterKind::None, JitterKind::Full, JitterKind::Decorrelated]);
    let backoff = Backoff { growth, first_micros: SECOND / 2, most_micros: 3 * SECOND, jitter };
    let ttl_micros = (name == "mails").then(|| random.pick(&[0, 3 * SECOND, 20 * SECOND]));
    let max_messages = random.chance(64).then(|| 1 + random.below(40));
    let dead_letters = match random.below(8) {
        0..=1 => DeadLetters::Discarded,
        2..=4 if !targets.is_empty() => {
            DeadLetters::Moved(Target { destination: random.pick(targets), routing_key: Some("dead".into()) })
        }
        _ => DeadLetters::Kept,
    };
    Options {
        max_attempts: 1 + random.below(4) as u32,
        visibility_micros: random.pick(&[2 * SECOND, 30 * SECOND]),
        backoff,
        ttl_micros,
        max_messages,
        overflow: if max_messages.is_some() && random.chance(128) { Overflow::DropOldest } else { Overflow::Reject },
        dead_letters,
        dedup: ids::horizon(random, name),
        single_active_consumer: name == "reports" && random.chance(170),
        ..Options::default()
    }
}

impl History {
    fn new(seed: u64) -> History {
        let mut world = World::new();
        world.sample = seed;
        let (twin, random) = (Twin::default(), Random::new(seed));
        let (numbers, told, nothing, once) = (BTreeMap::new(), Vec::new(), BTreeMap::new(), BTreeMap::new());
        let (bound, once_named, published) = (BTreeSet::new(), BTreeMap::new(), (TwinIds::default(), Horizon::None));
        let (lags, schedules, no_room) = (false, BTreeMap::new(), BTreeSet::new());
        let mut history = History {
            random,
            world,
            twin,
            numbers,
            told,
            nothing,
            no_room,
            once,
            lags,
            bound,
            once_named,
            published,
            schedules,
        };
        history.declare();
        NAMES.iter().for_each(|name| history.create(name));
        history
    }

    fn create(&mut self, name: &'static str) {
        let targets = self.targets(name);
        let options = options(&mut self.random, name, &targets);
        let create = Command::Create { name, options: &options };
        let Reply::Queue(number) = self.world.accept(&create) else { panic!("no queue") };
        self.numbers.insert(name, number);
        self.once_named.insert(number.0, name);
        self.twin.queues.insert(number.0, TwinQueue::new(number.0, options));
    }

    fn look_at_clocks(&mut self) {
        let World { now, durable, .. } = &self.world;
        (self.twin.wall, self.twin.boot, self.twin.durable) = (now.wall.0, now.boot.0, durable.0);
    }

    fn queue(&mut self) -> QueueNumber {
        let name = self.random.pick(&NAMES);
        self.numbers[name]
    }

    fn step(&mut self) {
        self.world.replays = self.random.chance(128);
        self.world.is_sync = self.random.chance(64);
        if self.random.chance(128) {
            self.world.durable = self.world.next_frame;
        }
        self.look_at_clocks();
        self.world.pauses.clear();
        match self.random.below(100) {
            0..=21 => self.send(),
            22..=26 => self.publish(),
            27..=29 if self.random.chance(32) => self.alter_exchange(),
            27..=29 => self.bind(),
            30..=52 => self.receive(),
            53..=70 => self.settle(),
            71..=72 => self.join(),
            73 => self.quit(),
            74..=75 => self.ack_through(),
            76..=87 => self.wait(),
            88..=89 => self.change_schedules(),
            90 => self.pause(),
            91 => self.purge(),
            92..=93 => self.bury(),
            94..=95 => self.redrive(),
            96..=97 => self.leave(),
            98 => self.restart(),
            _ => self.rare(),
        }
        if !self.lags {
            self.tick();
        }
        self.assert_agrees();
    }

    fn wish(&mut self) -> Wish {
        let (now, random) = (self.twin.wall, &mut self.random);
        let due = random.chance(40).then(|| now + random.below(3 * SECOND)).filter(|due| *due > now);
        let ttl = random.chance(32).then(|| random.pick(&[0, SECOND, 4 * SECOND]));
        Wish {
            priority: random.pick(&[4, 4, 4, 9, 0, 31]),
            due,
            ttl,
            deadline: random.chance(20).then(|| now - SECOND / 2 + random.below(5 * SECOND)),
            group: random.chance(80).then(|| random.pick(&GROUPS).to_owned()),
            max_attempts: random.chance(20).then(|| 1 + random.below(3) as u32),
            id: self.id(),
        }
    }

    fn send(&mut self) {
        let queue = self.queue();
        let count = if self.random.chance(8) { 150 } else { 1 + self.random.below(3) };
        let is_plain = self.random.chance(64);
        let wish = |history: &mut History| match is_plain {
            true => Wish { priority: 4, id: history.id(), ..Wish::default() },
            false => history.wish(),
        };
        let wishes: Vec<Wish> = (0..count).map(|_| wish(self)).collect();
        let messages: Vec<Message<'_>> = wishes.iter().map(|wish| self.message(wish)).collect();
        let is_awaited = self.random.chance(64);
        self.world.set_awaited(queue, is_awaited);
        let barrier = self.world.is_sync.then_some(self.world.next_frame.0 + 64);
        let (frame, wall) = (self.world.next_frame.0, self.twin.wall);
        let outcome = self.world.submit(&Command::Send { queue, messages: &messages });
        let twin = self.twin.queues.get_mut(&queue.0).expect("a queue of the world");
        let verdicts = twin.judge(&wishes, wall);
        // What dies for them may be the last of a group of which one is among them.
        let new = twin.ranked(&ids::new(&wishes, &verdicts));
        if !twin.make_room(new.len() as u64, wall) {
            let max = twin.options.max_messages.expect("it is full");
            assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::Full { max: told, .. }, .. } if told == max));
            return;
        }
        let awaited = is_awaited.then_some(AWAITED_MICROS);
        let places = twin.append(&new, wall, awaited, barrier);
        for ((priority, offset), wish) in places.iter().zip(&new) {
            twin.claim(*priority, *offset, frame, &[]);
            wish.id.into_iter().for_each(|id| twin.ids.add(id, wall, frame, sequence(*priority, *offset)));
        }
        ids::assert_sent(&outcome, &verdicts, &places);
    }

    fn message(&mut self, wish: &Wish) -> Message<'static> {
        let len = if self.random.chance(12) { BODY.len() } else { self.random.below(50) as usize };
        let group = GROUPS.into_iter().find(|group| wish.group.as_deref() == Some(group));
        let due = wish.due.map(|due| match self.random.chance(128) {
            true => Due::At(Timestamp(due)),
            false => Due::In(due - self.twin.wall),
        });
        Message {
            priority: wish.priority,
            due,
            ttl_micros: wish.ttl,
            deadline: wish.deadline.map(Timestamp),
            group,
            max_attempts: wish.max_attempts,
            id: wish.id,
            ..Message::plain(Record::new(&BODY[..len]))
        }
    }

    fn receive(&mut self) {
        let queue = self.queue();
        let (holder, taker) = self.taker(queue);
        let max = self.random.pick(&[1, 1, 2, 3, 10, 200]);
        // Of more an attached process may be handed a part, as `safeguards.rs` says.
        let max = if holder == 0 { max } else { max.min(HANDED_RUNS_MAX as u32) };
        let news = self.world.news(queue);
        let reply = match self.world.submit(&Command::Receive { queue, holder: Holder(holder), taker, max }) {
            Outcome::Accept(reply) | Outcome::Unchanged { reply, .. } => reply,
            other => panic!("{other:?}"),
        };
        if !self.twin.queues[&queue.0].is_paused && !self.takes_turns(queue, holder, taker, &reply) {
            return;
        }
        let room = self.twin.room(queue.0, holder, taker.0, max as usize).unwrap_or(0);
        let expected = self.twin.receive(queue.0, holder, taker.0, room);
        match reply {
            Reply::Handed(runs) => {
                assert_eq!(handed(&runs), expected);
                let told_nothing = self.nothing.remove(&(queue, holder, taker));
                assert_ne!(told_nothing, Some(news), "who waits for news would have missed {expected:?}");
                for run in runs {
                    for offset in run.first..run.first + u64::from(run.count) {
                        let delivery = DeliveryId { lane: run.lane, offset, acquired: run.acquired };
                        self.told.push((queue, holder, delivery, run.priority));
                    }
                }
                let forgotten = self.told.len().saturating_sub(300);
                self.told.drain(..forgotten);
            }
            Reply::Nothing { known } => {
                assert_eq!(expected, Vec::<Handed>::new());
                if known == KNOWS_NOTHING {
                    self.nothing.remove(&(queue, holder, taker));
                } else {
                    self.nothing.insert((queue, holder, taker), known);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    fn settle(&mut self) {
        if self.told.is_empty() {
            return;
        }
        let queue = self.told[self.random.below(self.told.len() as u64) as usize].0;
        let of_queue: Vec<(DeliveryId, u8)> =
            self.told.iter().filter(|told| told.0 == queue).map(|told| (told.2, told.3)).collect();
        // The latest, more often than others, are in flight still.
        let from = if self.random.chance(192) { of_queue.len().saturating_sub(5) } else { 0 };
        let count = if self.random.chance(24) { 60 } else { 1 + self.random.below(3) };
        let chosen: Vec<(DeliveryId, u8)> = (0..count).map(|_| self.random.pick(&of_queue[from..])).collect();
        let deliveries: Vec<DeliveryId> = chosen.iter().map(|(delivery, _)| *delivery).collect();
        let delay = self.random.pick(&[0, 0, SECOND, 3 * SECOND]);
        let how = match self.random.below(10) {
            0..=3 => Settlement::Ack,
            4..=5 => Settlement::Fail { error: "no route to the depot", delay_micros: None },
            6 => Settlement::Fail { error: "asked to come later", delay_micros: Some(delay) },
            7 => Settlement::Release { delay_micros: delay },
            8 => Settlement::Reject { error: "no such customer" },
            _ => Settlement::Extend { micros: delay + SECOND },
        };
        let outcome = self.world.submit(&Command::Settle { queue, how, deliveries: &deliveries });
        let named: Vec<(u8, u64, u32)> =
            chosen.iter().map(|(delivery, priority)| (*priority, delivery.offset, delivery.acquired)).collect();
        let stale = self.twin.settle(queue.0, how, &named, &self.world.pauses);
        match stale.len() == named.len() {
            true => assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::Stale, .. })),
            false => assert_eq!(outcome, Outcome::Accept(Reply::Settled { stale })),
        }
    }

    fn wait(&mut self) {
        let Now { wall, boot } = self.world.now;
        let micros = self.random.pick(&[1, SECOND / 7, SECOND, 5 * SECOND]);
        let step = if self.random.chance(16) { 60 * SECOND } else { 0 };
        self.world.now = Now { wall: Timestamp(wall.0 + micros + step), boot: boot.plus(micros) };
        self.lags = self.random.chance(40);
        self.look_at_clocks();
    }

    /// All that is due by either clock happens, in the machine and in the twin.
    fn tick(&mut self) {
        self.look_at_clocks();
        self.run_schedules();
        self.world.pauses.clear();
        while let Some((queue, key)) = self.world.due_timers().first().copied() {
            let is_awaited = self.random.chance(64);
            self.world.set_awaited(queue, is_awaited);
            self.world.arrivals.clear();
            self.world.run_timer(key);
            match super::super::tick(key) {
                Some(Command::Tick { clock: Clock::Wall, .. }) => {
                    let bound: Vec<u32> = self.bound.iter().map(|queue| queue.0).collect();
                    // Of all queues only this one is awaited; what leaves may come back to it.
                    let awaited = is_awaited.then_some(AWAITED_MICROS);
                    self.twin.move_on(queue.0, &bound, awaited, &self.world.arrivals);
                    while self.twin.tick_by_wall(queue.0, awaited) {
                        self.twin.move_on(queue.0, &bound, awaited, &self.world.arrivals);
                    }
                }
                _ => self.twin.tick_by_boot(queue.0, NOT_SETTLED, &self.world.pauses),
            }
        }
        assert!(self.twin.overdue().is_none(), "no tick is due: {:?}", self.twin.overdue());
    }

    fn pause(&mut self) {
        let queue = self.queue();
        let twin = self.twin.queues.get_mut(&queue.0).expect("a queue of the world");
        let is_paused = !twin.is_paused && self.random.chance(128);
        let outcome = self.world.submit(&Command::Pause { queue, is_paused });
        assert_eq!(matches!(outcome, Outcome::Accept(Reply::Done)), twin.is_paused != is_paused);
        twin.is_paused = is_paused;
    }

    fn purge(&mut self) {
        let queue = self.queue();
        let ends: Vec<(u8, u64)> = self.twin.queues[&queue.0].ends.iter().map(|(p, end)| (*p, *end)).collect();
        let below = match self.once.remove(&queue) {
            Some(once) if self.random.chance(128) => once,
            _ if self.random.chance(128) => {
                self.once.insert(queue, ends);
                return;
            }
            _ => Vec::new(),
        };
        let stretch = |(priority, end): &(u8, u64)| {
            let Place { lane, offset: end } = self.world.place(queue, *priority, *end);
            Stretch { lane, from: 0, end }
        };
        let stretches: Vec<Stretch> = below.iter().map(stretch).collect();
        let outcome = self.world.submit(&Command::Purge { queue, left: &stretches });
        let below = if below.is_empty() { ends } else { below };
        let messages = self.twin.queues.get_mut(&queue.0).expect("a queue of the world").purge(&below);
        let reply = Reply::Purged { messages, left: Vec::new() };
        match outcome {
            Outcome::Accept(told) => assert_eq!(told, reply),
            Outcome::Unchanged { reply: told, .. } => assert_eq!((told, messages), (reply, 0)),
            other => panic!("{other:?}"),
        }
    }

    /// A process leaves in order, dies, or becomes the host.
    fn leave(&mut self) {
        let holder = self.random.pick(&HOLDERS);
        match self.random.below(4) {
            0 => {
                self.world.submit(&Command::Release { holder: Holder(holder) });
                self.twin.release(holder);
            }
            1 if holder != 0 => {
                self.world.submit(&Command::Adopt { from: Holder(holder) });
                self.twin.adopt(holder, 0);
            }
            _ => {
                self.world.submit(&Command::End { holder: Holder(holder) });
                self.twin.end(holder, DIED, &self.world.pauses);
            }
        }
        self.nothing.retain(|(_, other, _), _| *other != holder);
    }

    /// The host's process ends, and the next one loads the checkpoint; perhaps the machine was restarted too.
    fn restart(&mut self) {
        self.world.reload();
        self.nothing.clear();
        if self.random.chance(128) {
            return;
        }
        if self.random.chance(128) {
            self.world.clock = ClockIdentity { boot_id: [self.random.below(256) as u8; 16], time_namespace: 1 };
            self.world.now.boot = BootTime(SECOND);
        }
        self.look_at_clocks();
        let is_other = self.world.clock != self.world.state.clock;
        self.world.begin_life();
        if is_other {
            self.twin.begin_clock();
        }
        self.twin.end(0, DIED, &self.world.pauses);
    }

    /// Options change, or a queue is deleted and made anew.
    fn rare(&mut self) {
        let name = self.random.pick(&NAMES);
        let queue = self.numbers[name];
        if self.random.chance(160) {
            let targets = self.targets(name);
            let options = options(&mut self.random, name, &targets);
            let outcome = self.world.submit(&Command::Ensure { name, options: &options });
            assert!(!matches!(outcome, Outcome::Refuse { .. }));
            self.twin.queues.get_mut(&queue.0).expect("a queue of the world").alter(options, self.twin.wall);
            return;
        }
        let outcome = self.world.submit(&Command::Delete { queue });
        let is_target = |twin: &TwinQueue| {
            twin.options.dead_letters.target().map(|target| target.destination) == Some(Destination::Queue(queue))
        };
        if self.is_scheduled(queue) {
            assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::IsScheduled { .. }, .. }));
            return;
        }
        if self.twin.queues.values().any(is_target) {
            assert!(matches!(outcome, Outcome::Refuse { refusal: Refusal::IsTarget { .. }, .. }), "{outcome:?}");
            return;
        }
        match self.twin.queues[&queue.0].counts().in_flight {
            0 => assert_eq!(outcome, Outcome::Accept(Reply::Done)),
            count => {
                let is_in_flight = |refusal: &Refusal| *refusal == Refusal::InFlight { count };
                assert!(matches!(&outcome, Outcome::Refuse { refusal, .. } if is_in_flight(refusal)));
                return;
            }
        }
        self.twin.queues.remove(&queue.0);
        self.bound.remove(&queue);
        self.once.remove(&queue);
        self.told.retain(|told| told.0 != queue);
        self.nothing.retain(|(other, _, _), _| *other != queue);
        self.twin.consumers.retain(|consumer| consumer.queue != queue.0);
        if self.random.chance(128) {
            self.create(name);
            self.erase();
        } else {
            self.erase();
            self.create(name);
        }
    }

    fn erase(&mut self) {
        if self.random.chance(128) {
            self.world.reload();
            self.nothing.clear();
        }
        while self.world.accept(&Command::Erase { what: Erasing::Any }) == Reply::More {}
        assert!(matches!(self.world.submit(&Command::Erase { what: Erasing::Any }), Outcome::Unchanged { .. }));
    }

    fn assert_agrees(&mut self) {
        for (number, twin) in &self.twin.queues {
            let queue = QueueNumber(*number);
            assert_eq!(self.world.counts(queue), twin.counts(), "{number}");
            let (letters, expected) = (self.world.letters(queue), twin.letters());
            let differs = letters.iter().zip(&expected).find(|(letter, expected)| letter != expected);
            assert!(differs.is_none() && letters.len() == expected.len(), "{number}: {differs:?}");
            for (priority, end) in &twin.ends {
                let first = twin.messages.iter().filter(|m| m.priority == *priority).map(|m| m.offset).min();
                let lane = self.world.state.queues[&queue].lane_of_priority(*priority).expect("a lane in use");
                assert!(lane.start <= first.unwrap_or(*end), "{lane:?} starts behind {first:?}");
                let logged = self.world.logs.get(lane.log).map(|cell| cell.shown(Lsn(u64::MAX)));
                assert_eq!((lane.end, logged), (*end, Some(*end)));
            }
        }
        self.assert_schedules_agree();
        if self.random.chance(32) {
            self.world.assert_rows_are_kept();
            self.assert_histories_agree();
        }
    }

    /// In the end every message is handed out or dead, and none is left.
    fn finish(mut self) {
        self.lags = false;
        self.tick();
        self.remove_schedules();
        self.world.durable = self.world.next_frame;
        self.world.reload();
        let mut queues = BTreeSet::new();
        for (number, twin) in &mut self.twin.queues {
            queues.insert(QueueNumber(*number));
            twin.is_paused = false;
        }
        for (name, queue) in self.numbers.clone() {
            let twin = self.twin.queues.get_mut(&queue.0).expect("a queue of the world");
            twin.options.single_active_consumer = false;
            let options = &twin.options.clone();
            self.world.submit(&Command::Ensure { name, options });
        }
        for queue in &queues {
            self.world.submit(&Command::Pause { queue: *queue, is_paused: false });
        }
        // One process after the other: each takes one suspect, and acknowledges what it has.
        for holder in 100.. {
            self.look_at_clocks();
            for queue in &queues {
                self.take_all(*queue, holder);
            }
            if self.twin.queues.values().all(|twin| twin.waiting() + twin.counts().in_flight == 0) {
                break;
            }
            self.world.pauses.clear();
            self.world.submit(&Command::End { holder: Holder(holder) });
            self.twin.end(holder, DIED, &self.world.pauses);
            let Now { wall, boot } = self.world.now;
            self.world.now = Now { wall: Timestamp(wall.0 + 40 * SECOND), boot: boot.plus(40 * SECOND) };
            self.tick();
            self.assert_agrees();
        }
        self.world.reload();
    }

    fn take_all(&mut self, queue: QueueNumber, holder: u64) {
        let max = HANDED_RUNS_MAX as u32;
        let receive = Command::Receive { queue, holder: Holder(holder), taker: Taker::NOBODY, max };
        while let Outcome::Accept(Reply::Handed(runs)) = self.world.submit(&receive) {
            self.acknowledge(queue, holder, &runs, max);
        }
    }

    fn acknowledge(&mut self, queue: QueueNumber, holder: u64, runs: &[HandedRun], max: u32) {
        let expected = self.twin.receive(queue.0, holder, 0, max as usize);
        assert_eq!(handed(runs), expected);
        let delivery = |run: &HandedRun| {
            let HandedRun { lane, first, count, acquired, .. } = *run;
            (first..first + u64::from(count)).map(move |offset| DeliveryId { lane, offset, acquired })
        };
        let deliveries: Vec<DeliveryId> = runs.iter().flat_map(delivery).collect();
        self.world.accept(&Command::Settle { queue, how: Settlement::Ack, deliveries: &deliveries });
        let named: Vec<(u8, u64, u32)> = expected.iter().map(|h| (h.priority, h.offset, h.acquired)).collect();
        self.twin.settle(queue.0, Settlement::Ack, &named, &self.world.pauses);
    }
}

#[test]
fn generated_histories_are_what_the_twin_tells() {
    for seed in 0..40 {
        let mut history = History::new(seed);
        for _ in 0..1500 {
            history.step();
        }
        history.finish();
    }
}
