//! All queues, and how facts change them.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::sync::Arc;
use crate::base::time::{BootTime, ClockIdentity, Timestamp};
use crate::engine::machine::LogCursor;

use super::changes::HandedTo;
use super::chunk::{bit, bits, chunk_of};
use super::command::{Holder, QueueNumber};
use super::consumers::Consumers;
use super::event::{Event, Run};
use super::exchanges::{Exchanges, Room};
use super::lane::{Lane, LaneNumber};
use super::queue::{Map, Queue, Shared};
use super::routing::Destination;
use super::schedules::{ScheduleEvent, Schedules};

/// The logs of queues have numbers that no log of a stream has.
pub(super) const FIRST_LOG: u64 = 1 << 48;

/// All queues.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(super) queues: BTreeMap<QueueNumber, Queue>,
    pub(super) names: BTreeMap<Box<str>, QueueNumber>,
    /// Whose each lane is, and the numbers below the highest that are free.
    pub(super) lanes: Map<LaneNumber, QueueNumber>,
    pub(super) free_lanes: BTreeSet<LaneNumber>,
    pub(super) next_lane: u32,
    pub(super) logs: BTreeMap<LogId, (QueueNumber, Option<LaneNumber>)>,
    pub(super) retired: BTreeSet<QueueNumber>,
    pub(super) counters: Counters,
    pub(super) shared: Shared,
    /// Shared with the copies that are made for several commands in one frame, until one of them changes it.
    pub(crate) exchanges: Arc<Exchanges>,
    /// The same.
    pub(crate) consumers: Arc<Consumers>,
    pub(super) room: Room,
    /// Shared as the exchanges are.
    pub(crate) schedules: Arc<Schedules>,
    /// That of all moments of the boot clock.
    pub(super) clock: ClockIdentity,
}

/// What is given once only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Counters {
    pub(super) queue: u32,
    pub(super) log: u64,
}

impl Default for State {
    fn default() -> State {
        State {
            queues: BTreeMap::new(),
            names: BTreeMap::new(),
            lanes: Map::default(),
            free_lanes: BTreeSet::new(),
            next_lane: 0,
            logs: BTreeMap::new(),
            retired: BTreeSet::new(),
            counters: Counters { queue: 1, log: FIRST_LOG },
            shared: Shared::default(),
            exchanges: Arc::default(),
            consumers: Arc::default(),
            room: Room::default(),
            schedules: Arc::default(),
            clock: ClockIdentity::default(),
        }
    }
}

impl State {
    /// The queue with this name.
    pub(crate) fn find(&self, name: &str) -> Option<QueueNumber> {
        self.names.get(name).copied()
    }

    /// A queue that was not deleted.
    pub(crate) fn get(&self, queue: QueueNumber) -> Option<&Queue> {
        self.queues.get(&queue).filter(|queue| !queue.is_retired)
    }

    pub(crate) fn count(&self) -> usize {
        self.names.len()
    }

    /// Messages of all queues that are in flight.
    pub(crate) fn in_flight(&self) -> u64 {
        self.shared.in_flight as u64
    }

    /// Names of queues behind this one, in order.
    pub(crate) fn names_after(&self, after: &str, max: usize) -> Vec<String> {
        use std::ops::Bound::{Excluded, Unbounded};
        let names = self.names.range::<str, _>((Excluded(after), Unbounded));
        names.take(max).map(|(name, _)| name.to_string()).collect()
    }

    /// Numbers for lanes that are opened in one frame, in order.
    pub(super) fn free_lanes(&self) -> impl Iterator<Item = LaneNumber> + '_ {
        self.free_lanes.iter().copied().chain((self.next_lane..).map(LaneNumber))
    }

    pub(super) fn free_lane(&self, taken: u32) -> LaneNumber {
        let of_free = self.free_lanes.iter().nth(taken as usize).copied();
        of_free.unwrap_or_else(|| LaneNumber(self.next_lane + taken - self.free_lanes.len() as u32))
    }

    // Logs, as the engine asks for them.

    pub(crate) fn logs(&self, visit: &mut dyn FnMut(LogId, u64, u64)) {
        for (log, (queue, lane)) in &self.logs {
            let queue = &self.queues[queue];
            match lane.and_then(|lane| queue.lane(lane)) {
                Some(lane) => visit(*log, lane.start, lane.end),
                None => visit(*log, queue.notes.start, queue.notes.end),
            }
        }
        self.schedules.log.into_iter().for_each(|log| visit(log, 0, 0));
    }

    pub(crate) fn next_logs(&self, cursor: &mut LogCursor, steps: usize, visit: &mut dyn FnMut(LogId)) -> bool {
        let mut logs = self.logs.range(LogId(cursor.0)..).map(|(log, _)| *log).peekable();
        let mut of_schedules = self.schedules.log.filter(|log| log.0 >= cursor.0);
        for _ in 0..steps {
            let is_next = of_schedules.is_some_and(|log| logs.peek().is_none_or(|other| log < *other));
            let Some(log) = (if is_next { of_schedules.take() } else { logs.next() }) else { return false };
            visit(log);
            *cursor = LogCursor(log.0 + 1);
        }
        of_schedules.is_some() || logs.next().is_some()
    }

    pub(crate) fn log_start(&self, log: LogId) -> Option<u64> {
        if self.schedules.log == Some(log) {
            return Some(0);
        }
        let (queue, lane) = self.logs.get(&log)?;
        let queue = &self.queues[queue];
        Some(lane.and_then(|lane| queue.lane(lane)).map_or(queue.notes.start, |lane| lane.start))
    }

    pub(crate) fn log_last_timestamp(&self, log: LogId) -> Timestamp {
        let Some((queue, lane)) = self.logs.get(&log) else { return Timestamp(0) };
        let queue = &self.queues[queue];
        let lane = lane.and_then(|lane| queue.lane(lane));
        lane.map_or(queue.notes.last_timestamp, |lane| lane.last_timestamp)
    }

    /// Makes an event true; `lsn` is that of its frame.
    pub(crate) fn apply(&mut self, event: &Event<'_>, lsn: Lsn) {
        if let Some(queue) = self.news_of(event).and_then(|queue| self.queues.get_mut(&queue)) {
            queue.news = lsn.get();
        }
        for queue in self.freed_for_suspects(event) {
            self.with(queue, |queue, _| queue.news = lsn.get());
        }
        match event {
            Event::Sent(sent) => self.with(sent.queue, |queue, shared| queue.apply_sent(sent, shared)),
            Event::Published(published) => {
                for sent in &published.sents {
                    self.with(sent.queue, |queue, shared| {
                        queue.news = lsn.get();
                        queue.apply_sent(sent, shared);
                    });
                }
            }
            Event::HandedOut { queue, holder, until, taker, runs } => {
                let to = HandedTo { holder: *holder, taker: *taker, until: *until, frame: lsn.get() };
                self.with(*queue, |queue, shared| {
                    queue.each_chunk(runs, shared, |queue, at, number, mask, shared| {
                        queue.apply_handed_out(at, number, mask, &to, shared);
                    });
                    for of_lane in runs.chunk_by(|a, b| a.lane == b.lane) {
                        let at = queue.lane_at(of_lane[0].lane);
                        at.into_iter().for_each(|at| queue.advance(at, shared));
                    }
                });
            }
            Event::Acked { queue, runs } | Event::Gone { queue, runs } => {
                self.with(*queue, |queue, shared| queue.apply_gone(runs, shared));
            }
            Event::Noted(note) => self.with(note.queue, |queue, shared| queue.apply_noted(note, shared)),
            rare => self.apply_rare(rare, lsn),
        }
    }

    fn with(&mut self, queue: QueueNumber, apply: impl FnOnce(&mut Queue, &mut Shared)) {
        if let Some(queue) = self.queues.get_mut(&queue) {
            apply(queue, &mut self.shared);
        }
    }

    #[cold]
    #[inline(never)]
    fn apply_rare(&mut self, event: &Event<'_>, lsn: Lsn) {
        match event {
            Event::Sent(_) | Event::Published(_) | Event::Noted(_) => unreachable!("these are not rare"),
            Event::HandedOut { .. } | Event::Acked { .. } | Event::Gone { .. } => {
                unreachable!("these are not rare either")
            }
            Event::OfExchanges(event) => {
                self.shared.ids -= self.exchanges.ids_lost_by(event);
                Arc::make_mut(&mut self.exchanges).apply(event);
            }
            Event::OfSchedules(event) => {
                if let ScheduleEvent::Began { log } = event {
                    self.counters.log = self.counters.log.max(log.0 + 1);
                }
                Arc::make_mut(&mut self.schedules).apply(event);
            }
            Event::OfConsumers(event) => Arc::make_mut(&mut self.consumers).apply(event),
            Event::Created { queue, notes, options, name } => {
                self.counters.queue = self.counters.queue.max(queue.0 + 1);
                self.counters.log = self.counters.log.max(notes.0 + 1);
                self.logs.insert(*notes, (*queue, None));
                self.names.insert((*name).into(), *queue);
                self.queues.insert(*queue, Queue::new(*queue, name, *notes, options.clone()));
            }
            Event::LaneOpened { queue, lane, priority, log } => {
                self.counters.log = self.counters.log.max(log.0 + 1);
                self.take_lane(*queue, Lane::new(*lane, *priority, *log));
            }
            Event::Altered { queue, options } => self.with(*queue, |queue, _| queue.options = options.clone()),
            Event::Paused { queue, is_paused } => self.with(*queue, |queue, _| queue.is_paused = *is_paused),
            Event::Retired { queue } => {
                self.with(*queue, |queue, _| {
                    queue.is_retired = true;
                    queue.leaving.clear();
                });
                self.names.retain(|_, other| other != queue);
                self.retired.insert(*queue);
                Arc::make_mut(&mut self.exchanges).retire(Destination::Queue(*queue));
                Arc::make_mut(&mut self.consumers).forget(*queue);
            }
            Event::Erased { queue, lane, chunk } => {
                self.with(*queue, |queue, shared| queue.erase(*lane, *chunk, shared));
            }
            Event::LaneClosed { queue, lane, log } => {
                self.logs.remove(log);
                self.lanes.remove(lane);
                self.free_lanes.insert(*lane);
                self.with(*queue, |queue, shared| {
                    let closed = queue.lane_at(*lane).map(|at| queue.lanes.remove(at));
                    shared.chunks -= closed.map_or(0, |lane| lane.chunks.len());
                });
            }
            Event::Deleted { queue, notes } => {
                self.logs.remove(notes);
                let gone = self.queues.remove(queue);
                self.shared.ids -= gone.and_then(|queue| Some(queue.ids?.len())).unwrap_or(0);
                self.retired.remove(queue);
                Arc::make_mut(&mut self.exchanges).forget(Destination::Queue(*queue));
            }
            Event::Remembered(fact) => self.apply_remembered(fact, lsn),
            Event::Adopted { from, to } => self.adopt(*from, *to),
            Event::ClockBegan { identity, at, .. } => self.begin_clock(*identity, *at),
            of_messages => self.apply_to_messages(of_messages),
        }
    }

    fn apply_to_messages(&mut self, event: &Event<'_>) {
        match event {
            Event::Returned { queue, as_suspects, until, pause_micros, runs } => {
                let pause = (*until != BootTime(0)).then_some((*until, *pause_micros));
                self.each(*queue, runs, |queue, at, offset, shared| {
                    queue.give_back(at, offset, pause, *as_suspects, shared);
                });
            }
            Event::Back { queue, runs } => self.each(*queue, runs, |queue, at, offset, _| {
                let Some(chunk) = queue.lanes[at].chunks.get_mut(&chunk_of(offset)) else { return };
                chunk.backoff &= !bit(offset);
                chunk.ready |= bit(offset);
                if let Some(group) = chunk.group(bit(offset)) {
                    queue.rank_group(group);
                }
            }),
            Event::Extended { queue, until, runs } => self.each(*queue, runs, |queue, at, offset, shared| {
                queue.chunk_mut(at, chunk_of(offset), shared).track(bit(offset)).until = *until;
            }),
            Event::FellDue { queue, messages } => self.with(*queue, |queue, shared| {
                for (place, expiry) in messages {
                    queue.apply_fell_due(*place, *expiry, shared);
                }
            }),
            Event::Expired { queue, reason, at: time, end, runs } => {
                let death = (*reason, *time, *end);
                self.each(*queue, runs, |queue, at, offset, shared| queue.die(at, offset, death, 0, shared));
            }
            Event::Passed { queue, lane, cursor } => self.with(*queue, |queue, shared| {
                let Some(at) = queue.lane_at(*lane) else { return };
                queue.free_ids_in_line(*lane, *cursor, shared);
                let lane = &queue.lanes[at];
                queue.live -= lane.in_line_below(*cursor);
                queue.pass(at, (*cursor).min(queue.lanes[at].end), shared);
                queue.advance(at, shared);
            }),
            Event::Rescheduled { queue, place, due } => self.with(*queue, |queue, shared| {
                let Some(at) = queue.lane_at(place.lane).filter(|_| queue.has(*place)) else { return };
                let chunk = queue.chunk_mut(at, chunk_of(place.offset), shared);
                if chunk.delayed & bit(place.offset) != 0 {
                    chunk.set_due(bit(place.offset), *due);
                }
                queue.refresh(at, chunk_of(place.offset), shared);
            }),
            Event::Stayed { queue, runs } => self.each(*queue, runs, |queue, at, offset, _| queue.stay(at, offset)),
            Event::Trimmed { queue, lane, start, .. } => {
                if let Some(queue) = self.queues.get_mut(queue) {
                    match lane.map(|lane| queue.lane_at(lane)) {
                        None => queue.notes.start = *start,
                        Some(at) => at.into_iter().for_each(|at| queue.lanes[at].start = *start),
                    }
                }
            }
            _ => unreachable!("it is applied elsewhere"),
        }
    }

    pub(super) fn take_lane(&mut self, queue: QueueNumber, lane: Lane) {
        let number = lane.number;
        if !self.free_lanes.remove(&number) {
            self.free_lanes.extend((self.next_lane..number.0).map(LaneNumber));
            self.next_lane = self.next_lane.max(number.0 + 1);
        }
        self.lanes.insert(number, queue);
        self.logs.insert(lane.log, (queue, Some(number)));
        if let Some(queue) = self.queues.get_mut(&queue) {
            queue.open_lane(lane);
        }
    }

    /// Changes messages one by one; their chunks are brought up to date behind each stretch.
    fn each(&mut self, queue: QueueNumber, runs: &[Run], apply: impl Fn(&mut Queue, usize, u64, &mut Shared)) {
        self.with(queue, |queue, shared| {
            queue.each_chunk(runs, shared, |queue, at, number, mask, shared| {
                for bit in bits(mask) {
                    apply(queue, at, number * 64 + u64::from(bit.trailing_zeros()), shared);
                }
            });
            for of_lane in runs.chunk_by(|a, b| a.lane == b.lane) {
                let at = queue.lane_at(of_lane[0].lane);
                at.into_iter().for_each(|at| queue.advance(at, shared));
            }
        });
    }

    fn adopt(&mut self, from: Holder, to: Holder) {
        Arc::make_mut(&mut self.consumers).adopt(from, to);
        let Some(held) = self.shared.held.remove(&from) else { return };
        let into = self.shared.held.entry(to).or_default();
        into.messages += held.messages;
        into.suspects += held.suspects;
        for queue in self.queues.values_mut() {
            for lane in &mut queue.lanes {
                let flying: Vec<u64> = lane.all_flying().map(|(offset, _, _)| offset).collect();
                for offset in flying {
                    let chunk = lane.chunks.get_mut(&chunk_of(offset)).expect("it has a message in flight");
                    let tracked = chunk.track(bit(offset));
                    if tracked.holder == from.0 {
                        tracked.holder = to.0;
                    }
                }
            }
        }
    }

    /// Pauses of another clock begin anew: how much of them has passed is not known.
    fn begin_clock(&mut self, identity: ClockIdentity, at: BootTime) {
        self.clock = identity;
        let State { queues, shared, .. } = self;
        for queue in queues.values_mut() {
            let visibility_micros = queue.options.visibility_micros;
            let waiting: Vec<(LaneNumber, u64)> = queue.boot.iter().map(|(_, lane, number)| (*lane, *number)).collect();
            for (lane, number) in waiting {
                let lane_at = queue.lane_at(lane).expect("what is due has its lane");
                let chunk = queue.chunk_mut(lane_at, number, shared);
                for bit in bits(chunk.backoff | chunk.flying) {
                    let is_flying = chunk.flying & bit != 0;
                    let tracked = chunk.track(bit);
                    tracked.until = at.plus(if is_flying { visibility_micros } else { tracked.pause_micros });
                }
                queue.refresh(lane_at, number, shared);
            }
        }
    }
}
