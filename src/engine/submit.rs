//! The life of a write: decide, append, apply, release the lock, answer.

use crate::base::bounds::{DIRTY_ROWS_MAX, MESSAGES_PER_RECEIVE_MAX, NEEDS_ROUNDS_MAX, SETTLE_BYTES};
use crate::base::level::{Level, Wanted};
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::EventListener;
use crate::base::time::{BootTime, Now, Timestamp};
use crate::journal::follow::Committer;
use crate::journal::item::{FramePlace, ItemWriter, Layout};
use crate::journal::marks::Marks;
use crate::journal::tail::{Blocked, Grant, Placed};
use crate::storage::frame::{self, Kind};

use super::Engine;
use super::core::{Afterwards, Core, EventPlace};
use super::fault::Fault;
use super::machine::{Class, Context, Decision, Events, Known, Lookup, Machine};
use super::workers::DRAIN_BYTES;

/// An accepted command.
#[derive(Debug)]
pub(crate) struct Submitted<R> {
    pub(crate) reply: R,
    /// Where its frame starts; the durable end of the journal if it made none.
    pub(crate) lsn: Lsn,
    /// The reply rests on everything below.
    pub(crate) rests_on: Lsn,
    /// It may be given only once `durable` has reached `rests_on`: it was asked for at `Sync`, or tells of what others
    /// wrote at `Sync`. A `Buffered` writer's own receipt does not wait.
    pub(crate) is_held: bool,
    /// The level that it was written at.
    pub(crate) level: Level,
}

/// A command that was not accepted.
#[derive(Debug)]
pub(crate) enum Refused<R> {
    Refusal(R),
    Fault(Fault),
}

impl<R> From<Fault> for Refused<R> {
    fn from(fault: Fault) -> Refused<R> {
        Refused::Fault(fault)
    }
}

/// What came of a command that was tried once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tried {
    Accepted,
    Refused,
    /// Nothing is stored; there may be room later.
    NoRoom,
}

/// Why a try under the lock did not settle a command. Boxed: the way of those that are settled at once stays narrow.
enum Unsettled<M: Machine> {
    Refused { refusal: M::Refusal, rests_on: Lsn },
    Needs(Lookup),
    Blocked(Blocked),
    Fault(Fault),
}

type Attempt<T, M> = Result<Submitted<T>, Box<Unsettled<M>>>;

impl<M: Machine> Engine<M> {
    /// Submits one command. At `Sync` the reply is on disk when this returns; at `Buffered` it is in the ring.
    /// `deadline` bounds all waiting, on the boot clock of the host.
    #[inline]
    pub(crate) fn submit(
        &self,
        command: &M::Command<'_>,
        level: impl Into<Wanted>,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<M::Reply>, Refused<M::Refusal>> {
        let submitted = self.issue_one(command, level.into(), false, deadline)?;
        if submitted.is_held {
            self.wait_durable(submitted.rests_on, deadline).map_err(issued)?;
        }
        Ok(submitted)
    }

    /// Submits one command at `Buffered`, unless it would have to wait for room.
    pub(super) fn submit_if_room(&self, command: &M::Command<'_>) -> Result<Tried, Fault> {
        let mut after = Afterwards::default();
        let attempt = self.attempt_one(command, &Known::default(), Level::Buffered.into(), &mut after);
        self.do_afterwards(after);
        match attempt.map_err(|unsettled| *unsettled) {
            Ok(_) => Ok(Tried::Accepted),
            Err(Unsettled::Refused { .. } | Unsettled::Needs(_)) => Ok(Tried::Refused),
            Err(Unsettled::Blocked(_)) => Ok(Tried::NoRoom),
            Err(Unsettled::Fault(fault)) => Err(fault),
        }
    }

    /// Submits one command and does not wait for durability; the answer says what to wait for.
    pub(crate) fn issue(
        &self,
        command: &M::Command<'_>,
        level: impl Into<Wanted>,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<M::Reply>, Refused<M::Refusal>> {
        self.issue_one(command, level.into(), true, deadline)
    }

    /// Submits one command for a caller who waits for durability by itself, and at once.
    pub(crate) fn accept(
        &self,
        command: &M::Command<'_>,
        level: impl Into<Wanted>,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<M::Reply>, Refused<M::Refusal>> {
        self.issue_one(command, level.into(), false, deadline)
    }

    #[inline(always)]
    fn issue_one(
        &self,
        command: &M::Command<'_>,
        wanted: Wanted,
        arm_flush: bool,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<M::Reply>, Refused<M::Refusal>> {
        let features = M::features(command);
        if features != 0 {
            self.require_features(features)?;
        }
        let mut after = Afterwards { arm_flush, ..Afterwards::default() };
        let attempt = self.attempt_one(command, &Known::default(), wanted, &mut after);
        if after.is_due() {
            self.do_afterwards(after);
        }
        match attempt {
            Ok(submitted) => Ok(submitted),
            Err(unsettled) => self.settle(*unsettled, deadline, |known, after| {
                after.arm_flush = arm_flush;
                self.attempt_one(command, known, wanted, after)
            }),
        }
    }

    /// Submits several commands as one frame: all of them or, if one is refused, none.
    #[cfg_attr(
        not(any(test, feature = "sim")),
        expect(
            dead_code,
            reason = "the simulator alone submits several commands as one frame until transactions are public"
        )
    )]
    pub(crate) fn submit_all(
        &self,
        commands: &[M::Command<'_>],
        level: Level,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<Vec<M::Reply>>, Refused<M::Refusal>> {
        commands
            .iter()
            .map(M::features)
            .filter(|features| *features != 0)
            .try_for_each(|f| self.require_features(f))?;
        let attempt = |known: &Known, after: &mut Afterwards| self.attempt_all(commands, known, level, after);
        let mut after = Afterwards::default();
        let first = attempt(&Known::default(), &mut after);
        self.do_afterwards(after);
        let submitted = match first {
            Ok(submitted) => submitted,
            Err(unsettled) => self.settle(*unsettled, deadline, attempt)?,
        };
        if submitted.is_held {
            self.wait_durable(submitted.rests_on, deadline).map_err(issued)?;
        }
        Ok(submitted)
    }

    /// Tries again until the command is accepted or refused: fetches cold facts, waits for room.
    #[cold]
    fn settle<T>(
        &self,
        mut unsettled: Unsettled<M>,
        deadline: Option<BootTime>,
        mut attempt: impl FnMut(&Known, &mut Afterwards) -> Attempt<T, M>,
    ) -> Result<Submitted<T>, Refused<M::Refusal>> {
        let mut known = Known::default();
        let mut listener: Option<EventListener> = None;
        let mut rounds = 0;
        loop {
            match unsettled {
                Unsettled::Fault(fault) => return Err(fault.into()),
                Unsettled::Refused { refusal, rests_on } => {
                    self.wait_durable(rests_on, deadline)?;
                    return Err(Refused::Refusal(refusal));
                }
                Unsettled::Needs(lookup) => {
                    rounds += 1;
                    if rounds > NEEDS_ROUNDS_MAX {
                        return Err(Fault::Contended.into());
                    }
                    known.add(lookup, self.look_up(lookup)?);
                }
                Unsettled::Blocked(blocked) => self.wait_for_room(blocked, &mut listener, deadline)?,
            }
            let mut after = Afterwards::default();
            let outcome = attempt(&known, &mut after);
            self.do_afterwards(after);
            match outcome {
                Ok(submitted) => return Ok(submitted),
                Err(again) => unsettled = *again,
            }
        }
    }

    #[inline(always)]
    fn attempt_one(
        &self,
        command: &M::Command<'_>,
        known: &Known,
        wanted: Wanted,
        after: &mut Afterwards,
    ) -> Attempt<M::Reply, M> {
        let unlocked = WakeIfPoisoned(self);
        let attempt = self.try_one(command, known, wanted, after);
        std::mem::forget(unlocked);
        attempt
    }

    #[inline(always)]
    fn try_one(
        &self,
        command: &M::Command<'_>,
        known: &Known,
        wanted: Wanted,
        after: &mut Afterwards,
    ) -> Attempt<M::Reply, M> {
        let wall = self.clock.wall();
        let mut core = self.core.lock();
        self.check_alive().map_err(unsettled_by)?;
        self.try_on(&mut core, wall, command, known, wanted, after)
    }

    /// Decides the last command of all, when nobody else's is accepted any more. Without room it is left to the next
    /// life.
    pub(super) fn submit_last(&self, command: &M::Command<'_>) {
        let (wall, wanted, mut after) = (self.clock.wall(), Level::Buffered.into(), Afterwards::default());
        let unlocked = WakeIfPoisoned(self);
        let decided = self.try_on(&mut self.core.lock(), wall, command, &Known::default(), wanted, &mut after);
        std::mem::forget(unlocked);
        drop(decided);
        self.do_afterwards(after);
    }

    #[inline(always)]
    fn try_on(
        &self,
        core: &mut Core<M>,
        wall: Timestamp,
        command: &M::Command<'_>,
        known: &Known,
        wanted: Wanted,
        after: &mut Afterwards,
    ) -> Attempt<M::Reply, M> {
        let now = core.clock.stamp(wall, || self.clock.reading());
        let mut events = Events::default();
        let overlay = M::Overlay::default();
        let level = wanted.level(|| core.machine.level(command));
        match core.machine.decide(&overlay, command, &self.context(core, now, known), &mut events) {
            Decision::Accept(reply) => {
                let placed = self.record(core, &events, M::class(command), level, now, after)?;
                let is_held = level == Level::Sync;
                Ok(Submitted { reply, lsn: placed.lsn, rests_on: placed.end, is_held, level })
            }
            other => self.unrecorded(core, other, level),
        }
    }

    #[inline(always)]
    fn context<'a>(&'a self, core: &'a Core<M>, now: Now, known: &'a Known) -> Context<'a> {
        Context {
            now,
            known,
            clock: &self.clock_identity,
            watched: &core.watched,
            logs: &core.logs,
            durable: self.marks.durable.get(),
        }
    }

    /// What a decision that made no events comes to.
    #[cold]
    fn unrecorded(&self, core: &Core<M>, decision: Decision<M>, level: Level) -> Attempt<M::Reply, M> {
        let rests_on = |key: Option<RowKey>| key.map_or(Lsn(0), |key| core.objects.rests_on(key, level == Level::Sync));
        Err(Box::new(match decision {
            Decision::Accept(_) => unreachable!("an accepted command is recorded"),
            Decision::Unchanged { reply, rests_on: key } => {
                let (lsn, rests_on) = (self.marks.durable.get(), rests_on(key));
                return Ok(Submitted { reply, lsn, rests_on, is_held: true, level });
            }
            Decision::Refuse { refusal, rests_on: key } => Unsettled::Refused { refusal, rests_on: rests_on(key) },
            Decision::Needs(lookup) => Unsettled::Needs(lookup),
        }))
    }

    fn attempt_all(
        &self,
        commands: &[M::Command<'_>],
        known: &Known,
        level: Level,
        after: &mut Afterwards,
    ) -> Attempt<Vec<M::Reply>, M> {
        let unlocked = WakeIfPoisoned(self);
        let attempt = self.try_all(commands, known, level, after);
        std::mem::forget(unlocked);
        attempt
    }

    fn try_all(
        &self,
        commands: &[M::Command<'_>],
        known: &Known,
        level: Level,
        after: &mut Afterwards,
    ) -> Attempt<Vec<M::Reply>, M> {
        let wall = self.clock.wall();
        let mut guard = self.core.lock();
        self.check_alive().map_err(unsettled_by)?;
        let core = &mut *guard;
        let now = core.clock.stamp(wall, || self.clock.reading());
        let (mut events, mut overlay) = (Events::default(), M::Overlay::default());
        let (mut replies, mut rests_on, mut class) = (Vec::new(), Lsn(0), Class::Settle);
        for command in commands {
            let decided = events.len();
            match core.machine.decide(&overlay, command, &self.context(core, now, known), &mut events) {
                Decision::Accept(reply) => replies.push(reply),
                other => {
                    let unchanged = self.unrecorded(core, other, level)?;
                    replies.push(unchanged.reply);
                    rests_on = rests_on.max(unchanged.rests_on);
                }
            }
            class = match (class, M::class(command)) {
                (Class::Publish, _) | (_, Class::Publish) => Class::Publish,
                (Class::HandOut, _) | (_, Class::HandOut) => Class::HandOut,
                (Class::Settle, Class::Settle) => Class::Settle,
            };
            events.iter().skip(decided).for_each(|event| core.machine.foresee(&mut overlay, event));
        }
        if events.is_empty() {
            let lsn = self.marks.durable.get();
            return Ok(Submitted { reply: replies, lsn, rests_on, is_held: true, level });
        }
        let placed = self.record(core, &events, class, level, now, after)?;
        let (rests_on, is_held) = match level {
            Level::Sync => (placed.end, true),
            Level::Buffered if rests_on > Lsn(0) => (rests_on, true),
            Level::Buffered => (placed.end, false),
        };
        Ok(Submitted { reply: replies, lsn: placed.lsn, rests_on, is_held, level })
    }

    /// Appends the events as one frame and applies them.
    #[inline(always)]
    fn record(
        &self,
        core: &mut Core<M>,
        events: &Events<M::Event<'_>>,
        class: Class,
        level: Level,
        now: Now,
        after: &mut Afterwards,
    ) -> Result<Placed, Box<Unsettled<M>>> {
        if class == Class::Publish && core.objects.changed() > DIRTY_ROWS_MAX {
            return Err(blocked_by(Blocked::Replay));
        }
        let placed = match events.only() {
            Some(event) => self.record_one(core, event, class, level, now, after)?,
            None => self.record_several(core, events, class, level, now, after)?,
        };
        if (after.arm_flush || level == Level::Buffered) && !core.flush_armed {
            core.flush_armed = true;
            after.nudge_committer = true;
        }
        after.nudge_committer |= self.marks.written.get().plus(DRAIN_BYTES) < placed.end;
        after.entered_segment |= placed.new_segment;
        Ok(placed)
    }

    #[inline(always)]
    fn record_one(
        &self,
        core: &mut Core<M>,
        event: &M::Event<'_>,
        class: Class,
        level: Level,
        now: Now,
        after: &mut Afterwards,
    ) -> Result<Placed, Box<Unsettled<M>>> {
        let item_len = M::encoded_len(event);
        let layout = Layout::of_one(item_len);
        self.check_frame(layout)?;
        let (geometry, seed) = (self.segments.geometry(), self.seed);
        let (mut position, grant) = (0, grant(class, &core.machine));
        let appended = core.tail.append(grant, Kind::Events, layout.flags, layout.payload_len, |lsn, payload| {
            let frame = FramePlace { place: geometry.place_in_segment(lsn) as u32, lsn };
            let mut items = ItemWriter::new(payload, layout, seed, frame);
            position = items.item(item_len, |out| M::encode(event, out));
        });
        let placed = appended.map_err(blocked_by)?;
        let Placed { lsn, end, .. } = placed;
        let (segment, sync) = (geometry.segment_of(lsn), level == Level::Sync);
        let unapplied = Unapplied(&self.marks);
        core.apply(event, EventPlace { segment, position, lsn, end, sync }, now, after);
        std::mem::forget(unapplied);
        Ok(placed)
    }

    fn record_several(
        &self,
        core: &mut Core<M>,
        events: &Events<M::Event<'_>>,
        class: Class,
        level: Level,
        now: Now,
        after: &mut Afterwards,
    ) -> Result<Placed, Box<Unsettled<M>>> {
        assert!(!events.is_empty(), "an accepted command has events");
        let layout = Layout::of(events.iter().map(M::encoded_len));
        self.check_frame(layout)?;
        let (geometry, seed) = (self.segments.geometry(), self.seed);
        let (mut positions, grant) = (Vec::with_capacity(events.len()), grant(class, &core.machine));
        let appended = core.tail.append(grant, Kind::Events, layout.flags, layout.payload_len, |lsn, payload| {
            let frame = FramePlace { place: geometry.place_in_segment(lsn) as u32, lsn };
            let mut items = ItemWriter::new(payload, layout, seed, frame);
            positions.extend(events.iter().map(|e| items.item(M::encoded_len(e), |out| M::encode(e, out))));
        });
        let placed = appended.map_err(blocked_by)?;
        let Placed { lsn, end, .. } = placed;
        let (segment, sync) = (geometry.segment_of(lsn), level == Level::Sync);
        let unapplied = Unapplied(&self.marks);
        for (event, position) in events.iter().zip(positions) {
            core.apply(event, EventPlace { segment, position, lsn, end, sync }, now, after);
        }
        std::mem::forget(unapplied);
        Ok(placed)
    }

    #[inline]
    fn check_frame(&self, layout: Layout) -> Result<(), Box<Unsettled<M>>> {
        let (actual, max) = (frame::extent(layout.payload_len), self.segments.geometry().frame_bytes_max());
        if actual <= max { Ok(()) } else { Err(unsettled_by(Fault::FrameTooLarge { max, actual })) }
    }

    pub(crate) fn do_afterwards(&self, after: Afterwards) {
        for event in after.wake {
            event.notify(usize::MAX);
        }
        if after.look_at_timers {
            self.workers.timers.nudge();
        }
        if after.tidy {
            self.workers.keeper.nudge();
        }
        if after.nudge_committer {
            self.workers.committer.nudge_after_append();
        }
        if after.entered_segment {
            self.maker.expect_load();
            self.workers.maker.nudge();
            self.workers.keeper.nudge();
        }
    }
}

/// Stands while a frame is issued and not applied, and is dropped only by a panic: memory no longer says what the
/// journal says, and nothing may be decided on it.
struct Unapplied<'a>(&'a Marks);

impl Drop for Unapplied<'_> {
    fn drop(&mut self) {
        self.0.poison();
    }
}

/// Dropped only by a panic, which has released the core lock by then: those who wait learn that they wait in vain.
struct WakeIfPoisoned<'a, M: Machine>(&'a Engine<M>);

impl<M: Machine> Drop for WakeIfPoisoned<'_, M> {
    fn drop(&mut self) {
        if self.0.marks.is_poisoned() {
            self.0.after_commit();
        }
    }
}

/// What came between a command that was accepted and its confirmation: the frame is there to stay.
#[cold]
fn issued(fault: Fault) -> Fault {
    match fault {
        Fault::TimedOut => Fault::Unconfirmed,
        fault => fault,
    }
}

#[cold]
fn unsettled_by<M: Machine>(fault: Fault) -> Box<Unsettled<M>> {
    Box::new(Unsettled::Fault(fault))
}

#[cold]
fn blocked_by<M: Machine>(blocked: Blocked) -> Box<Unsettled<M>> {
    Box::new(Unsettled::Blocked(blocked))
}

/// The share of journal space that a command of this class is granted from.
#[inline]
fn grant<M: Machine>(class: Class, machine: &M) -> Grant {
    match class {
        Class::Publish => Grant::Publish,
        Class::Settle => Grant::Settle,
        Class::HandOut => {
            Grant::HandOut { kept: SETTLE_BYTES * (machine.in_flight() + MESSAGES_PER_RECEIVE_MAX as u64) }
        }
    }
}
