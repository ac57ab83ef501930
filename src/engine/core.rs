//! All state behind the one core lock.

use hashbrown::HashSet;

use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::{Arc, Event};
use crate::base::time::{BootTime, Now, Timestamp};
use crate::journal::tail::Tail;

use super::clock::HybridClock;
use super::logs::{Armed, Logs};
use super::machine::{Due, LogAppend, LogChange, LogTimer, Machine};
use super::objects::Objects;
use super::timers::{Arming, Timers};
use super::wake::HoldsLogs;
use super::watched::Watched;

/// How long after a limit was passed its log is ticked, so that one tick serves many appends.
pub(crate) const SOON_MICROS: u64 = 50_000;

/// Logs whose timers most events bring forward at most.
const LOGS_HASTENED: usize = 2;

/// What the core lock protects. Nothing here does I/O.
#[derive(Debug)]
pub(crate) struct Core<M> {
    pub(crate) machine: M,
    pub(crate) tail: Tail,
    pub(crate) clock: HybridClock,
    pub(crate) logs: Logs,
    pub(crate) objects: Objects,
    pub(crate) watched: Watched,
    /// By the wall clock, and by the boot clock.
    pub(crate) timers: Timers<Timestamp>,
    pub(crate) boot_timers: Timers<BootTime>,
    /// Logs of which records died since the last checkpoint took this set.
    pub(crate) trimmed: HashSet<LogId, foldhash::fast::RandomState>,
    /// Somebody sees to it that what is issued gets synced within the flush interval.
    pub(crate) flush_armed: bool,
}

/// Where an event stands in the journal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EventPlace {
    pub(crate) segment: u64,
    pub(crate) position: u32,
    /// Start and end of its frame.
    pub(crate) lsn: Lsn,
    pub(crate) end: Lsn,
    pub(crate) sync: bool,
}

/// What is to be done once the core lock is released.
#[derive(Debug, Default)]
pub(crate) struct Afterwards {
    pub(crate) wake: Vec<Arc<Event>>,
    pub(crate) look_at_timers: bool,
    pub(crate) nudge_committer: bool,
    pub(crate) entered_segment: bool,
    /// Records died: their room can be given back.
    pub(crate) tidy: bool,
    /// Asked by the caller: see to it that the frame is synced although nobody waits for it, as is done for a buffered
    /// one anyway.
    pub(crate) arm_flush: bool,
}

impl Afterwards {
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        self.look_at_timers || self.tidy || self.nudge_committer || self.entered_segment || !self.wake.is_empty()
    }
}

impl<M: Machine> Core<M> {
    /// Makes an event of this life true.
    #[inline(always)]
    pub(crate) fn apply(&mut self, event: &M::Event<'_>, place: EventPlace, now: Now, after: &mut Afterwards) {
        let (machine, objects, watched) = (&self.machine, &mut self.objects, &mut self.watched);
        machine.touches(event, &mut |key| {
            objects.touch(key, place.end, place.sync, || machine.row(key));
            after.wake.extend(watched.touch(key, place.end, place.sync));
        });
        self.machine.apply(event, place.lsn);
        match M::log_change(event) {
            LogChange::None => {}
            LogChange::Append(append) => self.apply_append(&append, place, now, after),
            LogChange::AppendToSeveral => {
                M::appends(event, &mut |append| self.apply_append(&append, place, now, after));
            }
            change => self.apply_log_change(change, now, after),
        }
        let (mut hastened, mut more, mut count) = ([None; LOGS_HASTENED], Vec::new(), 0);
        self.machine.hastens(event, &mut |log| {
            match hastened.get_mut(count) {
                Some(place) => *place = Some(log),
                None => more.push(log),
            }
            count += 1;
        });
        for log in hastened.into_iter().flatten().chain(more) {
            self.arm_timer(log, now, now.wall, after);
        }
    }

    #[inline(always)]
    fn apply_append(&mut self, append: &LogAppend, place: EventPlace, now: Now, after: &mut Afterwards) {
        let barrier = place.sync.then_some(place.end);
        let wants = self.logs.append(append, place.segment, place.position, barrier);
        if let Some(end) = barrier {
            self.logs.wake_at(end, append.log);
        } else if wants.wake {
            after.wake.extend(self.logs.to_wake(append.log));
        }
        if wants.timer {
            self.arm_timer(append.log, now, now.wall, after);
        }
    }

    #[cold]
    fn apply_log_change(&mut self, change: LogChange, now: Now, after: &mut Afterwards) {
        match change {
            LogChange::None | LogChange::Append(_) | LogChange::AppendToSeveral => {}
            LogChange::Open { first, count } => {
                for log in successive(first, count) {
                    self.logs.open(log, 0, self.machine.log_timer(log));
                    self.arm_timer(log, now, now.wall, after);
                }
            }
            LogChange::Close { first, count } => {
                for log in successive(first, count) {
                    self.disarm_timer(log);
                    after.wake.extend(self.logs.close(log));
                    self.trimmed.insert(log);
                }
                after.tidy = true;
            }
            LogChange::Trim { log, .. } => {
                after.tidy = true;
                self.trimmed.insert(log);
                after.wake.extend(self.logs.to_wake(log));
            }
            LogChange::Rearm { first, count } => self.rearm(first, count, now, after),
        }
    }

    /// Looks up each of these numbers, or each log that there is, whichever are fewer: of all numbers that were ever
    /// given few may still be logs.
    #[cold]
    pub(super) fn rearm(&mut self, first: LogId, count: u32, now: Now, after: &mut Afterwards) {
        if count as usize <= self.logs.count() {
            return successive(first, count).for_each(|log| self.rearm_one(log, now, after));
        }
        let end = LogId(first.0.saturating_add(u64::from(count)));
        for place in 0..self.logs.count() {
            if let Some(log) = self.logs.id_at(place).filter(|log| (first..end).contains(log)) {
                self.rearm_one(log, now, after);
            }
        }
    }

    fn rearm_one(&mut self, log: LogId, now: Now, after: &mut Afterwards) {
        self.disarm_timer(log);
        let timer = self.machine.log_timer(log);
        if let Some(cell) = self.logs.get_mut(log) {
            cell.timer = timer;
        }
        self.arm_timer(log, now, now.wall, after);
    }

    /// Arms the timer of a log if it wants one, not before `earliest`; one that is armed stands unless it is too late.
    pub(crate) fn arm_timer(&mut self, log: LogId, now: Now, earliest: Timestamp, after: &mut Afterwards) {
        let Some(cell) = self.logs.get_mut(log) else { return };
        let Some(LogTimer { key, .. }) = cell.timer else { return };
        let wanted = match self.machine.next_due(key, now) {
            None => return,
            Some(Due::AtBoot(at)) => {
                let rest = earliest.0.saturating_sub(now.wall.0);
                return self.arm_boot_timer(log, key, at.max(now.boot.plus(rest)), after);
            }
            Some(Due::Soon) => Armed::Soon(earliest.max(Timestamp(now.wall.0 + SOON_MICROS))),
            Some(Due::At(at)) if at < earliest => Armed::Soon(earliest),
            Some(Due::At(at)) => Armed::At(at),
        };
        let Some(at) = wanted.at().filter(|at| cell.armed.at().is_none_or(|armed| *at < armed)) else { return };
        if let Some(armed) = cell.armed.at() {
            self.timers.disarm(armed, key);
        }
        cell.armed = wanted;
        let arming = self.timers.arm(at, key);
        after.look_at_timers |= arming.is_nearest;
        self.forget_dropped(arming);
    }

    fn arm_boot_timer(&mut self, log: LogId, key: RowKey, at: BootTime, after: &mut Afterwards) {
        let Some(cell) = self.logs.get_mut(log) else { return };
        match cell.armed {
            Armed::AtBoot(armed) if armed <= at => return,
            Armed::AtBoot(armed) => self.boot_timers.disarm(armed, key),
            _ => {}
        }
        cell.armed = Armed::AtBoot(at);
        let arming = self.boot_timers.arm(at, key);
        after.look_at_timers |= arming.is_nearest;
        self.forget_dropped(arming);
    }

    fn forget_dropped(&mut self, arming: Arming) {
        if let Some(dropped) = arming.dropped.and_then(|key| self.logs.get_mut(LogId(key.id))) {
            dropped.armed = Armed::No;
        }
    }

    fn disarm_timer(&mut self, log: LogId) {
        let Some(cell) = self.logs.get_mut(log) else { return };
        match (cell.timer, cell.armed) {
            (Some(timer), Armed::AtBoot(at)) => self.boot_timers.disarm(at, timer.key),
            (Some(timer), Armed::At(at) | Armed::Soon(at)) => self.timers.disarm(at, timer.key),
            (None, _) | (_, Armed::No) => {}
        }
        cell.armed = Armed::No;
    }

    /// Microseconds until the nearest timer is due.
    pub(crate) fn next_timer_in(&self, now: Now) -> Option<u64> {
        let wall = self.timers.nearest().map(|at| at.0.saturating_sub(now.wall.0));
        let boot = self.boot_timers.nearest().map(|at| at.since(now.boot));
        wall.into_iter().chain(boot).min()
    }

    /// Takes up to `max` timers that are due; none of them is armed any more.
    pub(crate) fn take_due_timers(&mut self, now: Now, max: usize) -> Vec<RowKey> {
        let mut due = self.timers.take_due(now.wall, max);
        due.extend(self.boot_timers.take_due(now.boot, max - due.len()));
        for key in &due {
            if let Some(cell) = self.logs.get_mut(LogId(key.id)) {
                cell.armed = Armed::No;
            }
        }
        due
    }
}

impl<M: Machine> HoldsLogs for Core<M> {
    fn logs(&mut self) -> &mut Logs {
        &mut self.logs
    }

    fn log_start(&self, log: LogId) -> Option<u64> {
        self.machine.log_start(log)
    }

    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }
}

pub(crate) fn successive(first: LogId, count: u32) -> impl Iterator<Item = LogId> {
    (first.0..first.0.saturating_add(u64::from(count))).map(LogId)
}
