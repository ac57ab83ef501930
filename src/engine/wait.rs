//! Waiting: for durability, for room. Nothing here spins or polls; a waiter registers and then looks once more.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::base::lsn::Lsn;
use crate::base::sync::{Arc, EventListener, wait_listener};
use crate::base::time::BootTime;
use crate::journal::commit::Commit;
use crate::journal::follow::{Committer, Unfinished};
use crate::journal::marks::{Marks, Need};
use crate::journal::tail::Blocked;
use crate::journal::waits::{DurableWaits, WaitKey};
use crate::storage::disk::clock;

use super::Engine;
use super::fault::Fault;
use super::machine::Machine;
use super::wake;

/// Microseconds from now on the host's boot clock until `deadline`; `TimedOut` if it has passed.
pub(crate) fn micros_left(deadline: Option<BootTime>) -> Result<Option<u64>, Fault> {
    match deadline.map(|deadline| deadline.since(clock::boot())) {
        Some(0) => Err(Fault::TimedOut),
        left => Ok(left),
    }
}

/// The deadline of a call that may take this long.
pub(crate) fn deadline_in(timeout: Option<std::time::Duration>) -> Option<BootTime> {
    timeout.map(|t| clock::boot().plus(u64::try_from(t.as_micros()).unwrap_or(u64::MAX)))
}

impl<M: Machine> Engine<M> {
    /// Waits until everything below `lsn` is on disk; leads a commit if nobody does.
    pub(crate) fn wait_durable(&self, lsn: Lsn, deadline: Option<BootTime>) -> Result<(), Fault> {
        self.follow(lsn, || micros_left(deadline).ok()).map_err(|unfinished| match unfinished {
            Unfinished::Poisoned => Fault::OutcomeUnknown,
            Unfinished::TimedOut => {
                self.arm_flush();
                Fault::TimedOut
            }
        })
    }

    /// Makes everything issued so far durable.
    pub(crate) fn sync(&self, deadline: Option<BootTime>) -> Result<(), Fault> {
        self.check_alive()?;
        self.wait_durable(self.marks.issued.get(), deadline)
    }

    /// What waits until everything issued so far is durable.
    pub(crate) fn barrier(self: &Arc<Self>) -> Result<DurableWait<M>, Fault> {
        self.check_alive()?;
        Ok(DurableWait::new(self.clone(), self.marks.issued.get()))
    }

    /// Hands the sync of what is issued to the committer.
    fn arm_flush(&self) {
        self.core.lock().flush_armed = true;
        self.workers.committer.nudge();
    }

    /// Waits for what blocks an append. Listens first and lets the caller try again before it sleeps.
    pub(crate) fn wait_for_room(
        &self,
        blocked: Blocked,
        listener: &mut Option<EventListener>,
        deadline: Option<BootTime>,
    ) -> Result<(), Fault> {
        self.check_alive()?;
        if self.is_disk_full_for(blocked) {
            self.workers.maker.nudge();
            if self.is_driven_by_hand()? {
                self.drive(blocked)?;
            }
            return if self.is_disk_full_for(blocked) { Err(Fault::StorageFull) } else { Ok(()) };
        }
        let Some(registered) = listener.take() else {
            *listener = Some(self.space.listen());
            return Ok(());
        };
        if self.is_driven_by_hand()? {
            return self.drive(blocked);
        }
        match blocked {
            Blocked::Ring => {
                self.workers.want_room();
                self.workers.committer.nudge();
            }
            Blocked::Unsynced => {
                self.workers.want_sync();
                self.workers.committer.nudge();
            }
            Blocked::Replay => {
                self.workers.want_checkpoint();
                self.workers.keeper.nudge();
            }
            Blocked::Segment => self.workers.maker.nudge(),
        }
        match wait_listener(registered, micros_left(deadline)?) {
            true => Ok(()),
            false => Err(Fault::TimedOut),
        }
    }

    /// Whether nobody but the caller frees room. Threads that have ended because the engine was closed or poisoned do
    /// not count: it was so before they ended, and then their work is nobody's.
    fn is_driven_by_hand(&self) -> Result<bool, Fault> {
        let by_hand = !self.workers.are_running();
        self.check_alive()?;
        Ok(by_hand)
    }

    /// Whether what an append waits for was not to be had for want of room on the disk, when last tried.
    fn is_disk_full_for(&self, blocked: Blocked) -> bool {
        match blocked {
            Blocked::Segment => self.marks.is_short(Need::Segment) || self.marks.is_short(Need::Ballast),
            Blocked::Replay => self.marks.is_short(Need::Checkpoint),
            Blocked::Ring | Blocked::Unsynced => false,
        }
    }
}

impl<M: Machine> Committer for Engine<M> {
    fn marks(&self) -> &Marks {
        &self.marks
    }

    fn commit(&self) -> &Commit {
        &self.commit
    }

    fn waits(&self) -> &DurableWaits {
        &self.waits
    }

    fn cut(&self) -> Lsn {
        let mut core = self.core.lock();
        core.tail.watermark();
        core.flush_armed = false;
        core.tail.issued()
    }

    fn on_room(&self) {
        self.space.notify(usize::MAX);
    }

    fn on_poison(&self) {
        self.space.notify(usize::MAX);
        self.wake_all_readers();
        self.wake_heir();
    }

    fn reveal(&self, durable: Lsn) {
        wake::reveal(&self.core, durable);
    }
}

/// Waits, as a future or by blocking, until everything below an address is on disk. In a forked child it answers
/// `Forked`: only its parent may commit, and other threads of the parent may have held what it would lock.
#[derive(Debug)]
pub(crate) struct DurableWait<M: Machine> {
    engine: Arc<Engine<M>>,
    lsn: Lsn,
    registered: Option<WaitKey>,
}

impl<M: Machine> DurableWait<M> {
    pub(crate) fn new(engine: Arc<Engine<M>>, lsn: Lsn) -> DurableWait<M> {
        DurableWait { engine, lsn, registered: None }
    }

    /// Whether waiting would return at once.
    pub(crate) fn is_done(&self) -> bool {
        self.outcome().is_some()
    }

    pub(crate) fn wait(&self, deadline: Option<BootTime>) -> Result<(), Fault> {
        self.engine.check_process()?;
        self.engine.wait_durable(self.lsn, deadline)
    }

    fn outcome(&self) -> Option<Result<(), Fault>> {
        if let Err(forked) = self.engine.check_process() {
            return Some(Err(forked));
        }
        if self.engine.marks.durable.get() >= self.lsn {
            return Some(Ok(()));
        }
        self.engine.marks.is_poisoned().then_some(Err(Fault::OutcomeUnknown))
    }
}

impl<M: Machine> Future for DurableWait<M> {
    type Output = Result<(), Fault>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.engine.check_process()?;
        if let Some(key) = self.registered.take() {
            self.engine.waits.leave(key);
        }
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome);
        }
        let key = self.engine.waits.register(self.lsn, context.waker().clone());
        self.registered = Some(key);
        self.engine.workers.want_sync();
        self.engine.workers.committer.nudge();
        match self.outcome() {
            Some(outcome) => Poll::Ready(outcome),
            None => Poll::Pending,
        }
    }
}

impl<M: Machine> Drop for DurableWait<M> {
    fn drop(&mut self) {
        if let Some(key) = self.registered.take()
            && self.engine.check_process().is_ok()
            && !self.engine.waits.leave(key)
        {
            // Woken, perhaps to lead, and gone before it could.
            self.engine.waits.wake(self.engine.marks.durable.get(), false);
        }
    }
}
