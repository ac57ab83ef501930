//! Closing a database, and letting go of one that is poisoned.
//!
//! * A poisoned database that others share is let go while its handles are still open: the next host is to recover it.
//!   Its handles answer `Poisoned` from then on, to reads too, because the files may change under them.
//! * The directory's lock is given up last, when no thread of this process can write any more. The engine's own threads
//!   have ended by then. Threads of callers may be in the middle of a sync or a checkpoint: those hold a lock, which is
//!   waited for; and who takes it later sees that the engine is poisoned before it writes.

use std::task::Waker;

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::sync::Ordering;
use crate::journal::follow::Committer;
use crate::storage::control::ControlState;

use super::Engine;
use super::fault::Fault;
use super::machine::{LogCursor, Machine};

impl<M: Machine> Engine<M> {
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn close(&self) -> Result<(), Fault> {
        self.close_after(None)
    }

    /// Flushes, checkpoints, marks the database clean and lets it go. A poisoned database is let go as it is. The last
    /// command that is decided is this one: nobody's comes between it and the last checkpoint.
    pub(crate) fn close_after(&self, last: Option<&M::Command<'_>>) -> Result<(), Fault> {
        // A forked child has neither the threads nor the right to write: it leaves everything to its parent.
        self.check_process()?;
        // Held to the end: who closes it a second time waits for the first.
        let mut directory_lock = self.directory_lock.lock();
        if self.closed.load(Ordering::Acquire) {
            return Ok(());
        }
        #[cfg(planted = "host_writes_after_unlock")]
        directory_lock.take();
        self.end_threads();
        if let Some(last) = last.filter(|_| !self.is_poisoned()) {
            self.submit_last(last);
        }
        let closed = self.close_cleanly();
        if closed.is_err() || self.is_poisoned() {
            // A full disk ends the writing here too.
            self.marks.poison();
            self.after_commit();
            self.await_writers();
            self.index.poison();
        }
        self.index.close();
        directory_lock.take();
        closed
    }

    /// Gives a poisoned database to whoever hosts it next, and stays open: its handles answer `Poisoned`. Waits for
    /// the I/O that is under way. Nothing happens if it was closed or let go already.
    pub(crate) fn let_go(&self) {
        assert!(self.is_poisoned(), "only a poisoned database is let go before it is closed");
        let mut directory_lock = self.directory_lock.lock();
        if directory_lock.is_none() {
            return;
        }
        #[cfg(planted = "host_writes_after_unlock")]
        directory_lock.take();
        self.let_go.store(true, Ordering::SeqCst);
        self.stop();
        self.await_writers();
        self.index.poison();
        self.index.close();
        directory_lock.take();
    }

    /// Has `waker` woken when the engine is poisoned, at once if it is. It may be woken more than once, and by a thread
    /// that [`Engine::let_go`] waits for.
    pub(crate) fn when_poisoned(&self, waker: Waker) {
        *self.heir.lock() = Some(waker);
        if self.is_poisoned() {
            self.wake_heir();
        }
    }

    pub(super) fn wake_heir(&self) {
        let heir = self.heir.lock().clone();
        heir.iter().for_each(Waker::wake_by_ref);
    }

    /// Whether the directory may be another host's.
    pub(crate) fn has_let_go(&self) -> bool {
        self.let_go.load(Ordering::SeqCst)
    }

    /// Looks at the files. What was found when the directory may have been another host's is not told.
    pub(super) fn while_held<T>(&self, look: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        self.check_process()?;
        let found = if self.has_let_go() { Err(Fault::Poisoned) } else { look() };
        if self.has_let_go() { Err(Fault::Poisoned) } else { found }
    }

    /// Waits until no thread of a caller is in the middle of writing. The engine is poisoned and its own threads have
    /// ended, so none begins to.
    fn await_writers(&self) {
        drop(self.keeper.lock());
        self.commit.await_writers();
        drop(self.core.lock());
    }

    /// From here on nothing is accepted, and nobody waits any more but for what was accepted before. The threads end
    /// after that: the one that ticks may be waiting for room, which only the others make.
    fn end_threads(&self) {
        self.closed.store(true, Ordering::Release);
        self.space.notify(usize::MAX);
        self.wake_all_readers();
        self.stop();
        // Nobody commits for them now; they do it themselves.
        self.waits.wake(self.marks.durable.get(), true);
    }

    fn close_cleanly(&self) -> Result<(), Fault> {
        if self.is_poisoned() {
            return Err(Fault::Poisoned);
        }
        let checkpointed = self.checkpoint_last();
        // Whether or not there was room for a checkpoint, what was accepted gets synced.
        let synced = self.wait_durable(self.marks.issued.get(), None);
        checkpointed.and(synced)?;
        let reading = Some(self.core.lock().clock.reading());
        let mut control = self.control.lock();
        let watermark = self.marks.durable.get();
        let state = ControlState { clean: true, watermark, reading, ..control.state().clone() };
        control.write(state).map_err(Fault::io("writing the control file"))
    }

    /// Lets go of everything as a killed process does: nothing more is written.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn abandon(&self) {
        self.end_threads();
        self.marks.poison();
        self.index.poison();
        self.index.close();
        self.directory_lock.lock().take();
    }

    pub(super) fn wake_all_readers(&self) {
        let (mut cursor, mut more) = (LogCursor::default(), true);
        while more {
            let core = self.core.lock();
            let mut events = Vec::new();
            more = core.machine.next_logs(&mut cursor, FREEZE_CHUNK, &mut |log| events.extend(core.logs.to_wake(log)));
            drop(core);
            events.iter().for_each(|event| {
                event.notify(usize::MAX);
            });
        }
        let watched = self.core.lock().watched.events();
        watched.iter().for_each(|event| {
            event.notify(usize::MAX);
        });
    }
}
