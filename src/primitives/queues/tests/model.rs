//! The naive twin: every message in a vector, every answer from looking at all of them. It follows what queues promise
//! and knows nothing of lanes' cursors, chunks or timers.

mod ids;
mod letters;

pub(super) use ids::{TwinIds, TwinVerdict};

use std::collections::BTreeMap;

use super::super::command::Reason;
use super::super::options::{DeadLetters, Growth, JitterKind, Options, Overflow};
use super::super::{QueueCounts, Settlement, sequence};
use super::consumers::TwinConsumer;

/// Where a message stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stands {
    Ready,
    InFlight {
        holder: u64,
        until: u64,
        /// Of which consumer, and the how-manyeth hand-out of all.
        taker: u64,
        handed: u64,
    },
    Backoff {
        until: u64,
    },
    Delayed {
        due: u64,
    },
    Dead {
        reason: Reason,
        at: u64,
        /// It is to be moved on.
        leaves: bool,
    },
    /// Settled or dropped; it leaves the vector before anybody looks.
    Gone,
}

#[derive(Clone, Debug)]
pub(super) struct TwinMessage {
    pub(super) priority: u8,
    pub(super) offset: u64,
    pub(super) stands: Stands,
    pub(super) group: Option<String>,
    pub(super) max_attempts: Option<u32>,
    /// Its own, until it is ready.
    pub(super) ttl: Option<u64>,
    pub(super) deadline: Option<u64>,
    /// By its ttl, once it is ready.
    pub(super) expires: Option<u64>,
    pub(super) acquired: u32,
    pub(super) failed: u32,
    pub(super) is_suspect: bool,
    pub(super) last_pause: u64,
    pub(super) errors: Vec<String>,
    /// What it died of before, and where.
    pub(super) deaths: Vec<(u32, Reason)>,
    /// Queues that it left without that anybody tried it since.
    left: Vec<u32>,
    pub(super) id: Option<&'static str>,
    /// No other message may be sent with its id as long as it lives.
    has_id: bool,
    frame: u64,
    sequence: u64,
}

impl TwinMessage {
    fn is_live(&self) -> bool {
        !matches!(self.stands, Stands::Dead { .. } | Stands::Gone)
    }

    pub(super) fn is_held_by(&self, by: u64) -> bool {
        matches!(self.stands, Stands::InFlight { holder, .. } if holder == by)
    }

    /// Why it is over at this time, if it is.
    fn over(&self, now: u64) -> Option<Reason> {
        let by_ttl = self.expires.map(|at| (at, Reason::Expired));
        // Of two at one time the deadline is the one that nothing would have moved.
        let by_deadline = self.deadline.map(|at| (at, Reason::Deadline));
        let first = [by_deadline, by_ttl].into_iter().flatten().min_by_key(|(at, _)| *at);
        first.filter(|(at, _)| *at <= now).map(|(_, reason)| reason)
    }
}

/// What is asked of a message that is sent.
#[derive(Clone, Default, Debug)]
pub(super) struct Wish {
    pub(super) priority: u8,
    pub(super) due: Option<u64>,
    pub(super) ttl: Option<u64>,
    pub(super) deadline: Option<u64>,
    pub(super) group: Option<String>,
    pub(super) max_attempts: Option<u32>,
    pub(super) id: Option<&'static str>,
}

/// A hand-out.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Handed {
    pub(super) priority: u8,
    pub(super) offset: u64,
    pub(super) acquired: u32,
    pub(super) failed: u32,
}

/// A dead letter: priority, offset, reason, time of death, failed attempts and what was said of them.
pub(super) type TwinLetter = (u8, u64, Reason, u64, u32, Vec<String>);

/// The pauses that the machine chose, by queue, priority and offset. Where there is no jitter the twin knows better.
pub(super) type Pauses = BTreeMap<(u32, u8, u64), u64>;

/// The frames in which messages came, by queue, priority and offset.
pub(super) type Arrivals = BTreeMap<(u32, u8, u64), u64>;

#[derive(Clone, Debug)]
pub(super) struct TwinQueue {
    pub(super) number: u32,
    pub(super) options: Options,
    pub(super) is_paused: bool,
    pub(super) messages: Vec<TwinMessage>,
    /// The ids that it ever accepted.
    pub(super) ids: TwinIds,
    /// How many each priority ever had.
    pub(super) ends: BTreeMap<u8, u64>,
    /// Priority and offset from which on nothing is shown before this address is durable.
    barriers: Vec<(u8, u64, u64)>,
}

#[derive(Clone, Default, Debug)]
pub(super) struct Twin {
    pub(super) queues: BTreeMap<u32, TwinQueue>,
    pub(super) wall: u64,
    pub(super) boot: u64,
    /// Up to where what was written is durable.
    pub(super) durable: u64,
    pub(super) consumers: Vec<TwinConsumer>,
    /// How often something was handed out.
    pub(super) hand_outs: u64,
}

impl TwinQueue {
    pub(super) fn new(number: u32, options: Options) -> TwinQueue {
        let (messages, ends, barriers) = (Vec::new(), BTreeMap::new(), Vec::new());
        TwinQueue { number, options, is_paused: false, messages, ids: TwinIds::default(), ends, barriers }
    }

    /// Messages for which this is true: the higher priority first, then the lower offset.
    fn in_order(&self, is_meant: impl Fn(&TwinMessage) -> bool) -> Vec<usize> {
        let mut found: Vec<usize> = (0..self.messages.len()).filter(|at| is_meant(&self.messages[*at])).collect();
        found.sort_by_key(|at| (u8::MAX - self.messages[*at].priority, self.messages[*at].offset));
        found
    }

    fn is_shown(&self, message: &TwinMessage, durable: u64) -> bool {
        let hides = |(priority, offset, end): &(u8, u64, u64)| {
            *priority == message.priority && *offset <= message.offset && *end > durable
        };
        !self.barriers.iter().any(hides)
    }

    fn is_next_of_its_group(&self, message: &TwinMessage) -> bool {
        if message.group.is_none() {
            return true;
        }
        let mut others = self.messages.iter().filter(|other| other.group == message.group && other.is_live());
        !others.any(|other| match other.stands {
            Stands::InFlight { .. } => true,
            Stands::Ready | Stands::Backoff { .. } => other.offset < message.offset,
            _ => false,
        })
    }

    fn die(&mut self, at: usize, reason: Reason, now: u64) {
        self.messages[at].stands = match self.options.dead_letters {
            DeadLetters::Discarded => Stands::Gone,
            DeadLetters::Kept => Stands::Dead { reason, at: now, leaves: false },
            DeadLetters::Moved(_) => Stands::Dead { reason, at: now, leaves: true },
        };
    }

    fn forget_gone(&mut self) {
        self.messages.retain(|message| message.stands != Stands::Gone);
    }

    /// A message that lives for no time stays for a consumer who waits, if one does: so long from now on.
    fn becomes_ready(&mut self, at: usize, since: u64, now: u64, awaited: Option<u64>) {
        let expires = |ttl: u64| match awaited {
            Some(awaited) if ttl == 0 => now + awaited,
            _ => since + ttl,
        };
        let queues = self.options.ttl_micros;
        let message = &mut self.messages[at];
        message.stands = Stands::Ready;
        message.expires = message.ttl.into_iter().chain(queues).map(expires).min();
    }

    /// The least and the longest pause that may follow a failure.
    fn pause_bounds(&self, message: &TwinMessage) -> (u64, u64) {
        let backoff = self.options.backoff;
        let attempt = u64::from(message.failed) + 1;
        let grown = match backoff.growth {
            Growth::None => return (0, 0),
            Growth::Fixed => backoff.first_micros,
            Growth::Linear => backoff.first_micros * attempt,
            Growth::Exponential => (1..attempt).fold(backoff.first_micros, |pause, _| pause.saturating_mul(2)),
        };
        let most = backoff.most_micros;
        match backoff.jitter {
            JitterKind::None => (grown.min(most), grown.min(most)),
            JitterKind::Full => (0, grown.min(most)),
            JitterKind::Decorrelated => {
                let least = backoff.first_micros.min(most);
                (least, most.min(3 * message.last_pause.max(backoff.first_micros)))
            }
        }
    }

    fn fail(
        &mut self,
        at: usize,
        error: &str,
        delay: Option<u64>,
        keeps_suspicion: bool,
        twin: &Twin,
        paused: &Pauses,
    ) {
        let (message, bounds) = (&self.messages[at], self.pause_bounds(&self.messages[at]));
        let (least, most) = delay.map_or(bounds, |delay| (delay, delay));
        let key = (self.number, message.priority, message.offset);
        if message.failed + 1 >= message.max_attempts.unwrap_or(self.options.max_attempts) {
            self.messages[at].failed += 1;
            self.messages[at].errors.push(error.to_owned());
            return self.die(at, Reason::AttemptsExhausted, twin.wall);
        }
        if let Some(reason) = message.over(twin.wall) {
            return self.die(at, reason, twin.wall);
        }
        let pause = *paused.get(&key).unwrap_or_else(|| panic!("{key:?} failed: {message:?}"));
        assert!((least..=most).contains(&pause), "{pause} is not within {least}..={most}: {message:?}");
        let message = &mut self.messages[at];
        message.failed += 1;
        message.errors.push(error.to_owned());
        message.is_suspect &= keeps_suspicion;
        message.last_pause = pause;
        message.stands = if pause == 0 { Stands::Ready } else { Stands::Backoff { until: twin.boot + pause } };
    }

    fn give_back(&mut self, at: usize, delay: u64, as_suspect: bool, twin: &Twin) {
        if let Some(reason) = self.messages[at].over(twin.wall) {
            return self.die(at, reason, twin.wall);
        }
        let message = &mut self.messages[at];
        message.is_suspect = as_suspect;
        message.stands = Stands::Ready;
        if delay > 0 {
            message.last_pause = delay;
            message.stands = Stands::Backoff { until: twin.boot + delay };
        }
    }

    pub(super) fn counts(&self) -> QueueCounts {
        let mut counts = QueueCounts::default();
        for message in &self.messages {
            match message.stands {
                Stands::Ready => counts.ready += 1,
                Stands::Backoff { .. } | Stands::Delayed { .. } => counts.delayed += 1,
                Stands::InFlight { .. } => counts.in_flight += 1,
                Stands::Dead { .. } => counts.dead += 1,
                Stands::Gone => unreachable!("what is gone is forgotten"),
            }
        }
        counts
    }

    /// Adds messages; tells priority and offset of each.
    pub(super) fn append(
        &mut self,
        wishes: &[Wish],
        wall: u64,
        awaited: Option<u64>,
        barrier: Option<u64>,
    ) -> Vec<(u8, u64)> {
        let mut places = Vec::new();
        for wish in wishes {
            let of_group = |message: &&TwinMessage| wish.group.is_some() && message.group == wish.group;
            let begun = self.messages.iter().filter(|message| message.is_live()).find(of_group);
            let priority = begun.map_or(wish.priority, |begun| begun.priority);
            let end = self.ends.entry(priority).or_default();
            let offset = *end;
            *end += 1;
            self.barriers.extend(barrier.map(|barrier| (priority, offset, barrier)));
            let Wish { ttl, deadline, max_attempts, .. } = *wish;
            let due = wish.due.filter(|due| *due > wall);
            self.messages.push(TwinMessage {
                priority,
                offset,
                stands: Stands::Delayed { due: due.unwrap_or(0) },
                group: wish.group.clone(),
                max_attempts,
                ttl,
                deadline,
                expires: None,
                acquired: 0,
                failed: 0,
                is_suspect: false,
                last_pause: 0,
                errors: Vec::new(),
                deaths: Vec::new(),
                left: Vec::new(),
                id: wish.id,
                has_id: false,
                frame: 0,
                sequence: sequence(priority, offset),
            });
            if due.is_none() {
                let at = self.messages.len() - 1;
                self.becomes_ready(at, wall, wall, awaited);
            }
            places.push((priority, offset));
        }
        places
    }

    /// The same, each with the priority that its group has by now.
    pub(super) fn ranked(&self, wishes: &[Wish]) -> Vec<Wish> {
        let of_group = |wish: &Wish| {
            let mut live = self.messages.iter().filter(|message| message.is_live());
            live.find(|message| wish.group.is_some() && message.group == wish.group).map(|begun| begun.priority)
        };
        wishes.iter().map(|wish| Wish { priority: of_group(wish).unwrap_or(wish.priority), ..wish.clone() }).collect()
    }

    /// Room for so many more; `false` if there is none.
    pub(super) fn make_room(&mut self, count: u64, now: u64) -> bool {
        let Some(max) = self.options.max_messages.filter(|max| count > 0 && self.waiting() + count > *max) else {
            return true;
        };
        if self.options.overflow == Overflow::Reject || count > max {
            return false;
        }
        let mut waiting = self.in_order(|message| {
            matches!(message.stands, Stands::Ready | Stands::Backoff { .. } | Stands::Delayed { .. })
        });
        waiting.sort_by_key(|at| (self.messages[*at].priority, self.messages[*at].offset));
        for at in waiting.into_iter().take((self.waiting() + count - max) as usize) {
            self.die(at, Reason::Overflow, now);
        }
        self.forget_gone();
        true
    }

    pub(super) fn waiting(&self) -> u64 {
        let QueueCounts { ready, delayed, .. } = self.counts();
        ready + delayed
    }

    /// Ready and delayed ones below these places go.
    pub(super) fn purge(&mut self, below: &[(u8, u64)]) -> u64 {
        let before = self.messages.len();
        self.messages.retain(|message| {
            let is_below = below.iter().any(|(p, end)| *p == message.priority && message.offset < *end);
            let stays = matches!(message.stands, Stands::InFlight { .. } | Stands::Dead { .. });
            stays || !is_below
        });
        (before - self.messages.len()) as u64
    }

    pub(super) fn message_mut(&mut self, priority: u8, offset: u64) -> Option<&mut TwinMessage> {
        self.messages.iter_mut().find(|message| (message.priority, message.offset) == (priority, offset))
    }

    pub(super) fn message(&self, priority: u8, offset: u64) -> Option<&TwinMessage> {
        self.messages.iter().find(|message| (message.priority, message.offset) == (priority, offset))
    }

    pub(super) fn in_flight(&self, priority: u8, offset: u64, acquired: u32) -> Option<usize> {
        self.messages.iter().position(|message| {
            (message.priority, message.offset, message.acquired) == (priority, offset, acquired)
                && matches!(message.stands, Stands::InFlight { .. })
        })
    }
}

impl Twin {
    /// Does something with one queue while the others, and the time, can be looked at.
    pub(super) fn with<T>(&mut self, number: u32, change: impl FnOnce(&mut TwinQueue, &Twin) -> T) -> T {
        let mut queue = self.queues.remove(&number).expect("a queue of the world");
        let changed = change(&mut queue, self);
        queue.forget_gone();
        self.queues.insert(number, queue);
        changed
    }

    fn holds_suspect(&self, holder: u64) -> bool {
        let mut all = self.queues.values().flat_map(|queue| &queue.messages);
        all.any(|message| message.is_held_by(holder) && message.is_suspect)
    }

    /// Hands messages out; those that are over and in the way die.
    pub(super) fn receive(&mut self, number: u32, holder: u64, taker: u64, max: usize) -> Vec<Handed> {
        self.hand_outs += 1;
        let mut has_suspect = self.holds_suspect(holder);
        self.with(number, |queue, twin| {
            let mut handed = Vec::new();
            let ready = if queue.is_paused { Vec::new() } else { queue.in_order(|m| m.stands == Stands::Ready) };
            for at in ready {
                if handed.len() == max {
                    break;
                }
                let message = &queue.messages[at];
                let may_be = queue.is_shown(message, twin.durable) && queue.is_next_of_its_group(message);
                if !may_be || (message.is_suspect && has_suspect) {
                    continue;
                }
                if let Some(reason) = message.over(twin.wall) {
                    queue.die(at, reason, twin.wall);
                    continue;
                }
                let until = twin.boot + queue.options.visibility_micros;
                let message = &mut queue.messages[at];
                message.acquired += 1;
                message.stands = Stands::InFlight { holder, until, taker, handed: twin.hand_outs };
                has_suspect |= message.is_suspect;
                let TwinMessage { priority, offset, acquired, failed, .. } = *message;
                handed.push(Handed { priority, offset, acquired, failed });
            }
            handed
        })
    }

    /// Settles hand-outs (priority, offset, acquired); tells the places of those that were none any more.
    pub(super) fn settle(
        &mut self,
        number: u32,
        how: Settlement<'_>,
        deliveries: &[(u8, u64, u32)],
        pauses: &Pauses,
    ) -> Vec<u32> {
        self.with(number, |queue, twin| {
            let (mut stale, mut found) = (Vec::new(), Vec::new());
            for (number, (priority, offset, acquired)) in (0..).zip(deliveries) {
                match queue.in_flight(*priority, *offset, *acquired) {
                    Some(at) if !found.contains(&at) => found.push(at),
                    _ => stale.push(number),
                }
            }
            for at in found {
                match how {
                    Settlement::Ack => queue.messages[at].stands = Stands::Gone,
                    Settlement::Fail { error, delay_micros } => {
                        queue.fail(at, error, delay_micros, false, twin, pauses);
                    }
                    Settlement::Release { delay_micros } => queue.give_back(at, delay_micros, false, twin),
                    Settlement::Reject { error } | Settlement::SetApart { error } => {
                        queue.messages[at].failed += 1;
                        queue.messages[at].errors.push(error.to_owned());
                        queue.die(at, Reason::Rejected, twin.wall);
                    }
                    Settlement::Extend { micros } => {
                        let Stands::InFlight { until, .. } = &mut queue.messages[at].stands else { unreachable!() };
                        *until = twin.boot + micros;
                    }
                }
            }
            stale
        })
    }

    /// A tick: due messages become ready, and those that were ready and are over die. Tells whether there were any.
    pub(super) fn tick_by_wall(&mut self, number: u32, awaited: Option<u64>) -> bool {
        self.with(number, |queue, twin| {
            let mut changes = 0;
            for at in 0..queue.messages.len() {
                let message = &queue.messages[at];
                let is_waiting = matches!(message.stands, Stands::Ready | Stands::Backoff { .. });
                if let Stands::Delayed { due } = message.stands {
                    // One that is over before it is due never becomes ready.
                    match message.deadline {
                        Some(deadline) if deadline <= due && deadline <= twin.wall => {
                            queue.die(at, Reason::Deadline, twin.wall);
                        }
                        _ if due <= twin.wall => queue.becomes_ready(at, due, twin.wall, awaited),
                        _ => continue,
                    }
                    changes += 1;
                } else if let Some(reason) = message.over(twin.wall).filter(|_| is_waiting) {
                    queue.die(at, reason, twin.wall);
                    changes += 1;
                }
            }
            changes > 0
        })
    }

    /// Pauses end, and so does the patience with those who have messages in flight.
    pub(super) fn tick_by_boot(&mut self, number: u32, not_settled: &str, pauses: &Pauses) {
        self.with(number, |queue, twin| {
            for at in 0..queue.messages.len() {
                match queue.messages[at].stands {
                    Stands::Backoff { until } if until <= twin.boot => queue.messages[at].stands = Stands::Ready,
                    Stands::InFlight { until, .. } if until <= twin.boot => {
                        queue.fail(at, not_settled, None, true, twin, pauses);
                    }
                    _ => {}
                }
            }
        });
    }

    /// What is overdue by either clock, which no message may be once no tick is due.
    pub(super) fn overdue(&self) -> Option<&TwinMessage> {
        let mut all = self.queues.values().flat_map(|queue| &queue.messages);
        all.find(|message| match message.stands {
            Stands::Delayed { due } => due.min(message.deadline.unwrap_or(due)) <= self.wall,
            Stands::Backoff { until } => until <= self.boot || message.over(self.wall).is_some(),
            Stands::InFlight { until, .. } => until <= self.boot,
            Stands::Ready => message.over(self.wall).is_some(),
            Stands::Dead { .. } | Stands::Gone => false,
        })
    }

    /// A process leaves in order.
    pub(super) fn release(&mut self, holder: u64) {
        self.consumers.retain(|consumer| consumer.holder != holder);
        for number in self.queues.keys().copied().collect::<Vec<_>>() {
            self.with(number, |queue, twin| {
                for at in queue.in_order(|message| message.is_held_by(holder)) {
                    queue.give_back(at, 0, false, twin);
                }
            });
        }
    }

    /// A process dies.
    pub(super) fn end(&mut self, holder: u64, died: &str, pauses: &Pauses) {
        let all = self.queues.values().flat_map(|queue| &queue.messages);
        let is_alone = all.filter(|message| message.is_held_by(holder)).count() == 1;
        self.consumers.retain(|consumer| consumer.holder != holder);
        for number in self.queues.keys().copied().collect::<Vec<_>>() {
            self.with(number, |queue, twin| {
                for at in queue.in_order(|message| message.is_held_by(holder)) {
                    match is_alone || queue.messages[at].is_suspect {
                        true => queue.fail(at, died, None, true, twin, pauses),
                        false => queue.give_back(at, 0, true, twin),
                    }
                }
            });
        }
    }

    pub(super) fn adopt(&mut self, from: u64, to: u64) {
        self.consumers.iter_mut().filter(|consumer| consumer.holder == from).for_each(|consumer| consumer.holder = to);
        for message in self.queues.values_mut().flat_map(|queue| &mut queue.messages) {
            if let Stands::InFlight { holder, .. } = &mut message.stands
                && *holder == from
            {
                *holder = to;
            }
        }
    }

    /// The boot clock is another: what was counted on the old one is counted anew.
    pub(super) fn begin_clock(&mut self) {
        let boot = self.boot;
        for queue in self.queues.values_mut() {
            let visibility = queue.options.visibility_micros;
            for message in &mut queue.messages {
                let pause = message.last_pause;
                match &mut message.stands {
                    Stands::InFlight { until, .. } => *until = boot + visibility,
                    Stands::Backoff { until } => *until = boot + pause,
                    _ => {}
                }
            }
        }
    }
}
