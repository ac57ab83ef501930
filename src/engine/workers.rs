//! The threads, and what wakes them. An idle worker sleeps without a timeout and makes no system call.

use crate::base::bounds::{FREEZE_CHUNK, UNSYNCED_BYTES_MAX};
use crate::base::level::Level;
use crate::base::log::LogId;
use crate::base::sync::{Arc, AtomicBool, Event, EventListener, JoinHandle, Mutex, Ordering, spawn, wait_listener};
use crate::base::time::{BootTime, Now, Timestamp};
use crate::journal::follow::Committer;
use crate::journal::marks::Need;
use crate::journal::tail::Blocked;
use crate::storage::disk::clock;

use super::Engine;
use super::Refused;
use super::core::{Afterwards, SOON_MICROS};
use super::errand::Ran;
use super::fault::Fault;
use super::machine::{LogCursor, Machine};

/// Bytes in the ring at which the committer starts to write although no sync is due.
pub(crate) const DRAIN_BYTES: u64 = 512 << 10;

/// Timers handled before others get a turn.
const TICKS_PER_STEP_MAX: usize = FREEZE_CHUNK;

/// Microseconds after which a worker that met a full disk tries again.
pub(super) const FULL_RETRY_MICROS: u64 = 100_000;

/// Microseconds after which a tick that met a fault is tried again.
const TICK_RETRY_MICROS: u64 = 1_000_000;

/// Which thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Worker {
    Committer,
    Maker,
    Timers,
    Keeper,
}

impl Worker {
    fn thread_name(self) -> &'static str {
        match self {
            Worker::Committer => "towpath-commit",
            Worker::Maker => "towpath-segment",
            Worker::Timers => "towpath-timer",
            Worker::Keeper => "towpath-keeper",
        }
    }
}

/// What a worker does after a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    Again,
    /// Sleep until nudged.
    Idle,
    /// Sleep until nudged or for this long.
    Micros(u64),
}

/// Wakes one worker.
#[derive(Debug)]
pub(crate) struct Nudge {
    pending: AtomicBool,
    event: Event,
}

impl Nudge {
    pub(crate) fn new() -> Nudge {
        Nudge { pending: AtomicBool::new(false), event: Event::new() }
    }

    /// Lets the worker take another step, which sees everything that was done before. Costs a system call only if it
    /// sleeps.
    #[inline]
    pub(crate) fn nudge(&self) {
        if !self.pending.swap(true, Ordering::SeqCst) {
            self.event.notify(usize::MAX);
        }
    }

    /// The same for the committer, and only for what was done under the core lock: it takes that lock after
    /// [`Nudge::begin_step`]. So it either sees what was done, or began its step before, and then it is seen here that
    /// it did. Looked at first, because appenders must not fight over the line while the worker is busy.
    #[inline]
    pub(crate) fn nudge_after_append(&self) {
        #[cfg(not(planted = "never_nudged"))]
        if !self.pending.load(Ordering::Relaxed) {
            self.nudge();
        }
    }

    /// Before a step: it will see what was nudged for before. The worker may sleep on the listener after the step,
    /// unless [`Nudge::is_pending`] then.
    pub(crate) fn begin_step(&self) -> EventListener {
        let listener = self.event.listen();
        self.pending.swap(false, Ordering::SeqCst);
        listener
    }

    pub(crate) fn is_pending(&self) -> bool {
        self.pending.load(Ordering::SeqCst)
    }
}

/// All workers of one engine.
#[derive(Debug)]
pub(crate) struct Workers {
    pub(crate) committer: Nudge,
    pub(crate) maker: Nudge,
    pub(crate) timers: Nudge,
    pub(crate) keeper: Nudge,
    sync_wanted: AtomicBool,
    room_wanted: AtomicBool,
    checkpoint_wanted: AtomicBool,
    running: AtomicBool,
    stopping: AtomicBool,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Workers {
    pub(crate) fn new() -> Workers {
        Workers {
            committer: Nudge::new(),
            maker: Nudge::new(),
            timers: Nudge::new(),
            keeper: Nudge::new(),
            sync_wanted: AtomicBool::new(false),
            room_wanted: AtomicBool::new(false),
            checkpoint_wanted: AtomicBool::new(false),
            running: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            threads: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn want_sync(&self) {
        self.sync_wanted.store(true, Ordering::SeqCst);
    }

    /// Somebody waits for the ring: it is to be drained however little stands in it.
    pub(crate) fn want_room(&self) {
        self.room_wanted.store(true, Ordering::SeqCst);
    }

    pub(crate) fn want_checkpoint(&self) {
        self.checkpoint_wanted.store(true, Ordering::SeqCst);
    }

    pub(crate) fn take_checkpoint_wanted(&self) -> bool {
        self.checkpoint_wanted.swap(false, Ordering::SeqCst)
    }

    pub(crate) fn are_running(&self) -> bool {
        self.running.load(Ordering::Acquire)
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    fn of(&self, worker: Worker) -> &Nudge {
        match worker {
            Worker::Committer => &self.committer,
            Worker::Maker => &self.maker,
            Worker::Timers => &self.timers,
            Worker::Keeper => &self.keeper,
        }
    }

    fn all(&self) -> [&Nudge; 4] {
        [&self.committer, &self.maker, &self.timers, &self.keeper]
    }
}

impl<M: Machine> Engine<M> {
    #[cfg(test)]
    pub(crate) fn start(self: &Arc<Self>) -> Result<(), Fault> {
        self.start_before_timers()?;
        self.start_timers()
    }

    /// Starts the threads, without which every step is taken by hand, but for that of the timers: what is due waits
    /// until the machine was told that a life begins. If one cannot be had, closing ends the others.
    pub(crate) fn start_before_timers(self: &Arc<Self>) -> Result<(), Fault> {
        self.start_some(&[Worker::Committer, Worker::Maker, Worker::Keeper])
    }

    pub(crate) fn start_timers(self: &Arc<Self>) -> Result<(), Fault> {
        self.start_some(&[Worker::Timers])
    }

    pub(super) fn start_some(self: &Arc<Self>, workers: &[Worker]) -> Result<(), Fault> {
        let mut threads = self.workers.threads.lock();
        for worker in workers.iter().copied() {
            let engine = self.clone();
            let thread = spawn(worker.thread_name(), move || engine.run(worker));
            threads.push(thread.map_err(Fault::io("starting a thread"))?);
        }
        self.workers.running.store(true, Ordering::Release);
        Ok(())
    }

    /// Ends the threads and waits for them.
    pub(crate) fn stop(&self) {
        self.workers.stopping.store(true, Ordering::SeqCst);
        for nudge in self.workers.all() {
            nudge.pending.store(true, Ordering::SeqCst);
            nudge.event.notify(usize::MAX);
        }
        for thread in self.workers.threads.lock().drain(..) {
            // A worker that panicked has poisoned the engine; its message went to the panic hook.
            let _ = thread.join();
        }
        self.workers.running.store(false, Ordering::Release);
    }

    fn run(self: Arc<Self>, worker: Worker) {
        let guard = PoisonOnPanic(&self);
        let tells_time = matches!(worker, Worker::Timers | Worker::Keeper);
        let moved = self.clock.moved().filter(|_| tells_time);
        let mut armed = None;
        while !self.workers.is_stopping() {
            let nudge = self.workers.of(worker);
            let clock_moved = moved.as_ref().map(|event| event.listen());
            let listener = nudge.begin_step();
            match self.step(worker, &mut armed) {
                Next::Again => {}
                _ if nudge.is_pending() || self.workers.is_stopping() => {}
                Next::Micros(micros) if clock_moved.is_none() => {
                    wait_listener(listener, Some(micros));
                }
                Next::Idle if clock_moved.is_none() => {
                    wait_listener(listener, None);
                }
                _ => self.wait_for_manual_clock(listener, clock_moved),
            }
        }
        std::mem::forget(guard);
    }

    /// A clock moved by hand fires timers when it is moved; a nudge is seen at the latest a moment later.
    fn wait_for_manual_clock(&self, listener: EventListener, clock_moved: Option<EventListener>) {
        const LOOK_MICROS: u64 = 2_000;
        if let Some(clock_moved) = clock_moved
            && !wait_listener(clock_moved, Some(LOOK_MICROS))
        {
            drop(listener);
        }
    }

    /// One unit of a worker's work. `flush_at` is the committer's own: when what is issued must be synced.
    pub(crate) fn step(&self, worker: Worker, flush_at: &mut Option<BootTime>) -> Next {
        if self.marks.is_poisoned() {
            return Next::Idle;
        }
        match worker {
            Worker::Committer => self.committer_step(flush_at),
            Worker::Maker => self.maker_step(),
            Worker::Timers => self.timers_step(),
            Worker::Keeper => self.keeper_step(),
        }
    }

    fn committer_step(&self, flush_at: &mut Option<BootTime>) -> Next {
        let now = clock::boot();
        // The lock first: see `nudge_after_append`.
        let (armed, issued, durable) = {
            let mut core = self.core.lock();
            let (issued, durable) = (self.marks.issued.get(), self.marks.durable.get());
            core.flush_armed &= durable < issued;
            (core.flush_armed, issued, durable)
        };
        match (armed, *flush_at) {
            (true, None) => *flush_at = Some(now.plus(self.flush_interval_micros)),
            (false, _) => *flush_at = None,
            _ => {}
        }
        let due = flush_at.is_some_and(|at| at <= now) || issued.since(durable) > UNSYNCED_BYTES_MAX / 2;
        if due || self.workers.sync_wanted.swap(false, Ordering::SeqCst) {
            *flush_at = None;
            if durable < issued {
                self.commit_next();
            }
            return Next::Again;
        }
        let room_wanted = self.workers.room_wanted.swap(false, Ordering::SeqCst);
        if room_wanted || self.marks.written.get().plus(DRAIN_BYTES) < issued {
            if self.commit.drain(&|| self.on_room()).is_err() {
                self.after_commit();
            }
            return Next::Again;
        }
        match flush_at {
            Some(at) => Next::Micros(at.since(now).max(1)),
            None => Next::Idle,
        }
    }

    fn maker_step(&self) -> Next {
        let made = self.maker.step();
        self.space.notify(usize::MAX);
        match made {
            Ok(true) => Next::Again,
            Ok(false) if self.marks.is_short(Need::Segment) => Next::Micros(FULL_RETRY_MICROS),
            Ok(false) => Next::Idle,
            Err(_) => {
                self.after_commit();
                Next::Idle
            }
        }
    }

    fn timers_step(&self) -> Next {
        let wall = self.clock.wall();
        let (due, nearest, now) = {
            let mut core = self.core.lock();
            let now = core.clock.stamp(wall, || self.clock.reading());
            let due = core.take_due_timers(now, TICKS_PER_STEP_MAX);
            (due, core.next_timer_in(now), now)
        };
        for key in &due {
            // What is still due after a tick that changed nothing waits a while: records that are not shown yet, or a
            // fault, would have it fire again and again. A buffered reply is held if it rests on what was there.
            let ran = self.run_errand(*key);
            let rest = match self.submit(&M::tick(*key), Level::Buffered, None) {
                _ if ran == Ran::Later => SOON_MICROS,
                _ if ran == Ran::MuchLater => TICK_RETRY_MICROS,
                _ if ran == Ran::Done => 0,
                Ok(submitted) if !submitted.is_held => 0,
                Ok(_) | Err(Refused::Refusal(_)) => SOON_MICROS,
                Err(Refused::Fault(_)) => TICK_RETRY_MICROS,
            };
            let mut after = Afterwards::default();
            let earliest = Timestamp(now.wall.0 + rest);
            self.core.lock().arm_timer(LogId(key.id), now, earliest, &mut after);
        }
        let rearmed = self.rearm_dropped(now);
        match nearest {
            _ if rearmed || !due.is_empty() => Next::Again,
            Some(micros) => Next::Micros(micros.max(1_000)),
            None => Next::Idle,
        }
    }

    fn keeper_step(&self) -> Next {
        match self.poison_unless_full(self.keep()) {
            Ok(next) => next,
            Err(Fault::StorageFull) => Next::Micros(FULL_RETRY_MICROS),
            Err(_) => Next::Idle,
        }
    }

    /// Does by hand, on this thread, what frees the room that an append waits for.
    pub(crate) fn drive(&self, blocked: Blocked) -> Result<(), Fault> {
        let before = self.positions();
        match blocked {
            Blocked::Ring => self.commit.drain(&|| self.on_room()).map_err(|_| Fault::OutcomeUnknown)?,
            Blocked::Unsynced => self.wait_durable(self.marks.issued.get(), None)?,
            Blocked::Replay => self.checkpoint()?,
            Blocked::Segment => {
                self.maker.step().map_err(|_| Fault::OutcomeUnknown)?;
                if self.marks.is_short(Need::Ballast) {
                    let restored = self.restore_ballast(&mut self.keeper.lock());
                    self.poison_unless_full(restored)?;
                    self.maker.step().map_err(|_| Fault::OutcomeUnknown)?;
                }
            }
        }
        let stuck = self.positions() == before;
        if stuck { Err(Fault::StorageFull) } else { Ok(()) }
    }

    /// Timers that found no room in memory are derived from their logs once they are the nearest.
    fn rearm_dropped(&self, now: Now) -> bool {
        let wants = {
            let mut core = self.core.lock();
            core.timers.wants_rearming() | core.boot_timers.wants_rearming()
        };
        if !wants {
            return false;
        }
        let (mut cursor, mut more) = (LogCursor::default(), true);
        while more {
            let mut core = self.core.lock();
            let mut logs = Vec::with_capacity(FREEZE_CHUNK);
            more = core.machine.next_logs(&mut cursor, FREEZE_CHUNK, &mut |log| logs.push(log));
            for log in logs {
                core.arm_timer(log, now, now.wall, &mut Afterwards::default());
            }
        }
        true
    }
}

/// A worker that panics leaves the engine refusing writes instead of hanging those who wait for it.
struct PoisonOnPanic<'a, M: Machine>(&'a Engine<M>);

impl<M: Machine> Drop for PoisonOnPanic<'_, M> {
    fn drop(&mut self) {
        self.0.marks.poison();
        self.0.after_commit();
    }
}
