//! The life of a write: decide, append, apply, release the lock, answer.

use crate::base::bounds::{DIRTY_ROWS_MAX, NEEDS_ROUNDS_MAX};
use crate::base::level::Level;
use crate::base::lsn::Lsn;
use crate::base::sync::EventListener;
use crate::base::time::{BootTime, Now};
use crate::journal::item::{ItemWriter, Layout};
use crate::journal::tail::{Blocked, Grant, Placed};
use crate::storage::frame::{HEADER_BYTES, Kind};

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
    /// The reply may be given at `Sync` once `durable` has reached this.
    pub(crate) rests_on: Lsn,
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

/// What one try under the lock came to.
enum Attempt<M: Machine> {
    Done(Submitted<Vec<M::Reply>>),
    One(Submitted<M::Reply>),
    Refused { refusal: M::Refusal, rests_on: Lsn },
    Needs(Lookup),
    Blocked(Blocked),
    TooLarge { actual: u64 },
}

impl<M: Machine> Engine<M> {
    /// Submits one command. At `Sync` the reply is on disk when this returns; at `Buffered` it is in the ring.
    /// `deadline` bounds all waiting, on the boot clock of the host.
    pub(crate) fn submit(
        &self,
        command: &M::Command<'_>,
        level: Level,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<M::Reply>, Refused<M::Refusal>> {
        let submitted = self.issue_one(command, level, level == Level::Buffered, deadline)?;
        self.await_reply(submitted.rests_on, level, deadline)?;
        Ok(submitted)
    }

    /// Submits one command and does not wait for durability; `rests_on` says what to wait for.
    pub(crate) fn issue(
        &self,
        command: &M::Command<'_>,
        level: Level,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<M::Reply>, Refused<M::Refusal>> {
        self.issue_one(command, level, true, deadline)
    }

    fn issue_one(
        &self,
        command: &M::Command<'_>,
        level: Level,
        arm_flush: bool,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<M::Reply>, Refused<M::Refusal>> {
        let attempt = |known: &Known, after: &mut Afterwards| {
            after.arm_flush = arm_flush;
            self.attempt_one(command, known, level, after)
        };
        match self.settle(level, deadline, attempt)? {
            Attempt::One(submitted) => Ok(submitted),
            _ => unreachable!("one command has one reply"),
        }
    }

    /// Submits several commands as one frame: all of them or, if one is refused, none.
    pub(crate) fn submit_all(
        &self,
        commands: &[M::Command<'_>],
        level: Level,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<Vec<M::Reply>>, Refused<M::Refusal>> {
        let attempt = |known: &Known, after: &mut Afterwards| {
            after.arm_flush = level == Level::Buffered;
            self.attempt_all(commands, known, level, after)
        };
        let submitted = match self.settle(level, deadline, attempt)? {
            Attempt::Done(submitted) => submitted,
            _ => unreachable!("several commands have a list of replies"),
        };
        self.await_reply(submitted.rests_on, level, deadline)?;
        Ok(submitted)
    }

    /// Tries until the command is accepted or refused: fetches cold facts, waits for room.
    fn settle(
        &self,
        level: Level,
        deadline: Option<BootTime>,
        mut attempt: impl FnMut(&Known, &mut Afterwards) -> Result<Attempt<M>, Fault>,
    ) -> Result<Attempt<M>, Refused<M::Refusal>> {
        let mut known = Known::default();
        let mut listener: Option<EventListener> = None;
        let mut rounds = 0;
        loop {
            let mut after = Afterwards::default();
            let outcome = attempt(&known, &mut after)?;
            self.do_afterwards(after);
            match outcome {
                done @ (Attempt::Done(_) | Attempt::One(_)) => return Ok(done),
                Attempt::Refused { refusal, rests_on } => {
                    self.await_reply(rests_on, Level::Sync, deadline)?;
                    return Err(Refused::Refusal(refusal));
                }
                Attempt::TooLarge { actual } => {
                    let max = self.segments.geometry().frame_bytes_max();
                    return Err(Fault::FrameTooLarge { max, actual }.into());
                }
                Attempt::Needs(lookup) => {
                    rounds += 1;
                    if rounds > NEEDS_ROUNDS_MAX {
                        return Err(Fault::Contended.into());
                    }
                    known.add(lookup, self.look_up(lookup)?);
                }
                Attempt::Blocked(blocked) => self.wait_for_room(blocked, &mut listener, level, deadline)?,
            }
        }
    }

    #[inline]
    fn attempt_one(
        &self,
        command: &M::Command<'_>,
        known: &Known,
        level: Level,
        after: &mut Afterwards,
    ) -> Result<Attempt<M>, Fault> {
        let wall = self.clock.wall();
        let mut guard = self.core.lock();
        self.check_alive()?;
        let core = &mut *guard;
        let now = core.clock.stamp(wall, || self.clock.boot());
        let mut events = Events::default();
        let overlay = M::Overlay::default();
        let reply = match core.machine.decide(&overlay, command, &Context { now, known }, &mut events) {
            Decision::Accept(reply) => reply,
            Decision::Unchanged { reply, rests_on } => {
                let rests_on = rests_on.map_or(Lsn(0), |key| core.objects.rests_on(key, level == Level::Sync));
                return Ok(Attempt::One(Submitted { reply, lsn: self.marks.durable.get(), rests_on }));
            }
            Decision::Refuse { refusal, rests_on } => {
                let rests_on = rests_on.map_or(Lsn(0), |key| core.objects.rests_on(key, level == Level::Sync));
                return Ok(Attempt::Refused { refusal, rests_on });
            }
            Decision::Needs(lookup) => return Ok(Attempt::Needs(lookup)),
        };
        Ok(match self.record(core, &events, M::class(command), level, now, after) {
            Ok(placed) => Attempt::One(Submitted { reply, lsn: placed.lsn, rests_on: placed.end }),
            Err(NotRecorded::Blocked(blocked)) => Attempt::Blocked(blocked),
            Err(NotRecorded::TooLarge { actual }) => Attempt::TooLarge { actual },
        })
    }

    fn attempt_all(
        &self,
        commands: &[M::Command<'_>],
        known: &Known,
        level: Level,
        after: &mut Afterwards,
    ) -> Result<Attempt<M>, Fault> {
        let wall = self.clock.wall();
        let mut guard = self.core.lock();
        self.check_alive()?;
        let core = &mut *guard;
        let now = core.clock.stamp(wall, || self.clock.boot());
        let (mut events, mut overlay) = (Events::default(), M::Overlay::default());
        let (mut replies, mut rests, mut class) = (Vec::new(), Lsn(0), Class::Settle);
        for command in commands {
            let decided = events.len();
            let rests_on = match core.machine.decide(&overlay, command, &Context { now, known }, &mut events) {
                Decision::Accept(reply) => {
                    replies.push(reply);
                    None
                }
                Decision::Unchanged { reply, rests_on } => {
                    replies.push(reply);
                    rests_on
                }
                Decision::Refuse { refusal, rests_on } => {
                    let rests_on = rests_on.map_or(Lsn(0), |key| core.objects.rests_on(key, level == Level::Sync));
                    return Ok(Attempt::Refused { refusal, rests_on });
                }
                Decision::Needs(lookup) => return Ok(Attempt::Needs(lookup)),
            };
            rests = rests.max(rests_on.map_or(Lsn(0), |key| core.objects.rests_on(key, level == Level::Sync)));
            if M::class(command) == Class::Publish {
                class = Class::Publish;
            }
            events.iter().skip(decided).for_each(|event| core.machine.foresee(&mut overlay, event));
        }
        if events.is_empty() {
            return Ok(Attempt::Done(Submitted { reply: replies, lsn: self.marks.durable.get(), rests_on: rests }));
        }
        Ok(match self.record(core, &events, class, level, now, after) {
            Ok(placed) => Attempt::Done(Submitted { reply: replies, lsn: placed.lsn, rests_on: placed.end.max(rests) }),
            Err(NotRecorded::Blocked(blocked)) => Attempt::Blocked(blocked),
            Err(NotRecorded::TooLarge { actual }) => Attempt::TooLarge { actual },
        })
    }

    /// Appends the events as one frame and applies them.
    #[inline]
    fn record(
        &self,
        core: &mut Core<M>,
        events: &Events<M::Event<'_>>,
        class: Class,
        level: Level,
        now: Now,
        after: &mut Afterwards,
    ) -> Result<Placed, NotRecorded> {
        assert!(!events.is_empty(), "an accepted command has events");
        if class == Class::Publish && core.objects.changed() > DIRTY_ROWS_MAX {
            return Err(NotRecorded::Blocked(Blocked::Replay));
        }
        let geometry = self.segments.geometry();
        let layout = Layout::of(events.iter().map(M::encoded_len));
        let extent = (HEADER_BYTES + layout.payload_len) as u64 + 8;
        if extent > geometry.frame_bytes_max() {
            return Err(NotRecorded::TooLarge { actual: extent });
        }
        let grant = match class {
            Class::Publish => Grant::Publish,
            Class::Settle => Grant::Settle,
        };
        let mut positions = Events::default();
        let seed = self.seed;
        let placed = core
            .tail
            .append(grant, Kind::Events, layout.flags, layout.payload_len, |lsn, payload| {
                let mut items = ItemWriter::new(payload, layout, seed, geometry.place_in_segment(lsn) as u32);
                for event in events.iter() {
                    positions.push(items.item(M::encoded_len(event), |out| M::encode(event, out)));
                }
            })
            .map_err(NotRecorded::Blocked)?;
        let segment = geometry.segment_of(placed.lsn);
        for (event, position) in events.iter().zip(positions.iter()) {
            let place = EventPlace { segment, position: *position, end: placed.end, sync: level == Level::Sync };
            core.apply(event, place, now, after);
        }
        self.note_append(core, &placed, after);
        Ok(placed)
    }

    /// Whether the committer, the maker or the keeper has something to do once the lock is released.
    #[inline]
    fn note_append(&self, core: &mut Core<M>, placed: &Placed, after: &mut Afterwards) {
        if after.arm_flush && !core.flush_armed {
            core.flush_armed = true;
            after.nudge_committer = true;
        }
        after.nudge_committer |= self.marks.written.get().plus(DRAIN_BYTES) < placed.end;
        after.entered_segment |= placed.new_segment;
    }

    pub(crate) fn do_afterwards(&self, after: Afterwards) {
        for event in after.wake {
            event.notify(usize::MAX);
        }
        if after.look_at_timers {
            self.workers.timers.nudge();
        }
        if after.nudge_committer {
            self.workers.committer.nudge();
        }
        if after.entered_segment {
            self.maker.expect_load();
            self.workers.maker.nudge();
            self.workers.keeper.nudge();
        }
    }
}

enum NotRecorded {
    Blocked(Blocked),
    TooLarge { actual: u64 },
}
