//! Waiting for durability, with a leader and followers.
//!
//! Whoever waits and finds nobody committing commits for all who wait; the others register and sleep. A wake is never
//! lost:
//! * A follower registers and *then* looks once more, at `durable` and for the lead. A leader gives up the lead and
//!   *then* wakes. So either the follower finds what it waits for or the lead free, or the leader finds it registered.
//! * The leader wakes those whom `durable` covers and one more, who leads the next batch. Who was woken and gives up
//!   wakes another in its place.

use crate::base::lsn::Lsn;
use crate::base::sync::{park, thread_waker};

use super::commit::Commit;
use super::marks::Marks;
use super::waits::{DurableWaits, WaitKey};

/// Why a wait ended before the bytes were durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unfinished {
    Poisoned,
    /// The deadline passed; nobody may be seeing to a sync of these bytes.
    TimedOut,
}

/// One who commits: a journal, and what must happen around a commit of it.
pub(crate) trait Committer {
    fn marks(&self) -> &Marks;

    fn commit(&self) -> &Commit;

    fn waits(&self) -> &DurableWaits;

    /// Closes the batch under the core lock and tells where it ends.
    fn cut(&self) -> Lsn;

    /// The ring has room again, or the bounds have.
    fn on_room(&self);

    /// Nothing that was not durable will ever be.
    fn on_poison(&self);

    /// Shows what `durable` covers now to those who wait for it.
    fn reveal(&self, durable: Lsn);

    /// Waits until everything below `lsn` is on disk; leads a commit if nobody does. `micros_left` is asked before each
    /// sleep; it is `None` once the deadline has passed.
    fn follow(&self, lsn: Lsn, micros_left: impl Fn() -> Option<Option<u64>>) -> Result<(), Unfinished> {
        let mut registered: Option<WaitKey> = None;
        let result = loop {
            if self.marks().durable.get() >= lsn {
                break Ok(());
            }
            if self.marks().is_poisoned() {
                break Err(Unfinished::Poisoned);
            }
            if self.try_commit(lsn) {
                continue;
            }
            if registered.is_none() {
                registered = Some(self.waits().register(lsn, thread_waker()));
                #[cfg(not(planted = "follower_sleeps_at_once"))]
                continue;
            }
            match micros_left() {
                Some(left) => park(left),
                None => break Err(Unfinished::TimedOut),
            }
            self.waits().leave(registered.take().expect("registered before parking"));
        };
        let was_woken = registered.is_some_and(|key| !self.waits().leave(key));
        #[cfg(not(planted = "lead_swallowed"))]
        if was_woken && result == Err(Unfinished::TimedOut) {
            // Woken to lead, too late: somebody else must.
            self.waits().wake(self.marks().durable.get(), false);
        }
        result
    }

    /// Commits everything issued unless somebody else is at it. Tells whether this thread led.
    fn try_commit(&self, lsn: Lsn) -> bool {
        let Some(lead) = self.commit().try_lead() else { return false };
        if self.marks().durable.get() < lsn {
            // The error is in the marks: poisoned, which every waiter looks at.
            let _ = lead.sync(|| self.cut(), &|| self.on_room());
        }
        drop(lead);
        self.after_commit();
        true
    }

    /// Commits everything issued, after whoever does so now.
    fn commit_next(&self) {
        let lead = self.commit().lead();
        // The error is in the marks.
        let _ = lead.sync(|| self.cut(), &|| self.on_room());
        drop(lead);
        self.after_commit();
    }

    /// To be called by whoever led, after it stopped leading: wakes and reveals what `durable` covers now.
    fn after_commit(&self) {
        let durable = self.marks().durable.get();
        let poisoned = self.marks().is_poisoned();
        #[cfg(not(planted = "leader_forgets_followers"))]
        self.waits().wake(durable, poisoned);
        if poisoned {
            self.on_poison();
        }
        self.reveal(durable);
    }
}
