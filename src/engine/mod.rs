//! The life of a write, waiting, timers, health: everything between a handle and the journal, for any machine.
//!
//! A command is decided under the one core lock; its events go as one frame into the staging ring and are applied; the
//! lock is released; the reply is held back as far as its level and law 4 ask. No I/O is done under the lock.
//!
//! Threads: the committer moves bytes to segments and syncs them; the segment maker keeps spares; the timers submit
//! ticks; the keeper checkpoints, indexes sealed segments and cleans. Each has a `step` that does one unit of its work,
//! so that tests and the simulator can run them by hand, in any order, on one thread.

mod ballast;
pub(crate) mod batch;
pub(crate) mod check;
mod cleaning;
pub(crate) mod clock;
mod close;
mod compaction;
mod core;
mod create;
mod errand;
mod extent;
pub(crate) mod fault;
mod features;
mod keeper;
pub(crate) mod line;
pub(crate) mod logs;
mod lookup;
pub(crate) mod machine;
mod objects;
mod open;
pub(crate) mod read;
mod replay;
mod submit;
#[cfg(all(test, not(loom)))]
mod tests;
mod timers;
mod wait;
pub(crate) mod wake;
pub(crate) mod watched;
mod workers;

use std::task::Waker;

use crate::base::log::LogId;
use crate::base::lsn::{Geometry, Lsn};
use crate::base::sync::{Arc, AtomicBool, Event, Mutex, Ordering};
use crate::base::time::{ClockIdentity, Now};
use crate::index::Index;
use crate::journal::commit::Commit;
use crate::journal::maker::Maker;
use crate::journal::marks::Marks;
use crate::journal::waits::DurableWaits;
use crate::storage::control::Control;
use crate::storage::disk::DirectoryLock;
use crate::storage::disk::host::fork::ForkMark;
use crate::storage::frame::Seed;
use crate::storage::segment::Segments;

use self::clock::Clock;
use self::core::Core;
use self::fault::Fault;
use self::keeper::Keeper;
use self::machine::Machine;
use self::workers::Workers;

pub(crate) use self::extent::Extent;
pub(crate) use self::keeper::KeeperCounters;
pub(crate) use self::open::OpenOptions;
pub(crate) use self::submit::{Refused, Submitted};
pub(crate) use self::wait::{DurableWait, deadline_in, micros_left};
#[cfg(loom)]
pub(crate) use self::workers::Nudge;
#[cfg(any(test, feature = "sim"))]
pub(crate) use self::workers::{Next, Worker};

/// One open database of any machine.
#[derive(Debug)]
pub(crate) struct Engine<M: Machine> {
    core: Mutex<Core<M>>,
    // Shared with the core's tail and each other.
    marks: Arc<Marks>,
    segments: Arc<Segments>,
    // Committing.
    commit: Commit,
    maker: Maker,
    waits: DurableWaits,
    space: Event,
    flush_interval_micros: u64,
    // The index and what is kept beside it; one keeper at a time.
    index: Index,
    keeper: Mutex<Keeper>,
    keeper_counters: KeeperCounters,
    control: Mutex<Control>,
    // Identity and health.
    clock: Clock,
    clock_identity: ClockIdentity,
    database_id: [u8; 16],
    seed: Seed,
    closed: AtomicBool,
    /// Poisoned, and the directory may be another host's.
    let_go: AtomicBool,
    /// Woken when the engine is poisoned.
    heir: Mutex<Option<Waker>>,
    here: ForkMark,
    workers: Workers,
    // Given up last.
    directory_lock: Mutex<Option<Box<dyn DirectoryLock>>>,
}

/// Where the journal stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Positions {
    pub(crate) issued: Lsn,
    pub(crate) written: Lsn,
    pub(crate) durable: Lsn,
    pub(crate) applied: Lsn,
    /// Where the replay bound counts from.
    pub(crate) replay_from: Lsn,
    pub(crate) prepared: Lsn,
}

impl<M: Machine> Engine<M> {
    pub(crate) fn positions(&self) -> Positions {
        // In this order each is at most the next, whatever moves meanwhile.
        let (applied, replay_from) = (self.marks.applied.get(), self.marks.replay_from.get());
        let durable = self.marks.durable.get();
        let (written, issued) = (self.marks.written.get(), self.marks.issued.get());
        Positions { issued, written, durable, applied, replay_from, prepared: self.marks.prepared.get() }
    }

    pub(crate) fn counters(&self) -> (&crate::journal::commit::Counters, &KeeperCounters) {
        (&self.commit.counters, &self.keeper_counters)
    }

    /// The number of this life.
    pub(crate) fn epoch(&self) -> u32 {
        self.control.lock().state().epoch
    }

    pub(crate) fn database_id(&self) -> [u8; 16] {
        self.database_id
    }

    pub(crate) fn geometry(&self) -> Geometry {
        self.segments.geometry()
    }

    pub(crate) fn clock_identity(&self) -> ClockIdentity {
        self.clock_identity
    }

    /// Looks at the machine's state under the core lock; `look` must be short.
    pub(crate) fn inspect<T>(&self, look: impl FnOnce(&M) -> T) -> Result<T, Fault> {
        self.check_alive()?;
        Ok(look(&self.core.lock().machine))
    }

    /// The same, with the time, and with what of each log may be shown: the first offset that may not.
    pub(crate) fn inspect_shown<T>(&self, look: impl FnOnce(&M, Now, &dyn Fn(LogId) -> u64) -> T) -> Result<T, Fault> {
        self.check_alive()?;
        let (wall, durable) = (self.clock.wall(), self.marks.durable.get());
        let mut core = self.core.lock();
        let core = &mut *core;
        let now = core.clock.stamp(wall, || self.clock.reading());
        let shown = |log: LogId| core.logs.get(log).map_or(0, |cell| cell.shown(durable));
        Ok(look(&core.machine, now, &shown))
    }

    #[inline]
    fn check_alive(&self) -> Result<(), Fault> {
        self.check_open()?;
        if self.is_poisoned() { Err(Fault::Poisoned) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn is_poisoned(&self) -> bool {
        self.marks.is_poisoned()
    }

    /// A poisoned database is open.
    #[inline]
    pub(crate) fn check_open(&self) -> Result<(), Fault> {
        self.check_process()?;
        if self.closed.load(Ordering::Acquire) { Err(Fault::Closed) } else { Ok(()) }
    }

    /// A forked child has the handles of its parent and none of its threads or rights.
    #[inline]
    pub(crate) fn check_process(&self) -> Result<(), Fault> {
        if self.here.is_here() { Ok(()) } else { Err(Fault::Forked) }
    }
}
