//! Descriptors that a forked child must not keep.
//!
//! A child of `fork` has its parent's descriptors, and through them the directory's lock, the listening socket and the
//! connections would outlive the parent. So these are entered in a table, and in the child the C library's handler of
//! forks puts `/dev/null` in the place of each: the number stays taken, and what the child's copy of a handle closes is
//! never a stranger's file.
//!
//! A fork waits until no thread is between opening and entering a descriptor, or between closing and taking it out. So
//! the table names exactly what is open; nothing under its mutex forks or waits for anybody. (A signal's action that
//! forks may wait for its own thread: POSIX takes `fork` off the list of calls that such an action may make.)
//!
//! The child gives them up when it first runs, before `fork` returns in it. What the parent closes in between stays
//! open for that moment: so locks are released, and sockets shut down, before they are closed.
//!
//! A program that is executed keeps nothing either way: all of them are close-on-exec. A child made by the bare system
//! call runs no handlers and keeps them all.

#![expect(unsafe_code, reason = "registers handlers of forks, and replaces descriptors in the child")]

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::getpid;

use crate::base::bounds::DESCRIPTORS_NOT_INHERITED_MAX;
use crate::base::sync::{ForkGuard, ForkMutex, thread_local};

/// A descriptor that a forked child does not have.
#[derive(Debug)]
pub(crate) struct NotInherited {
    descriptor: ManuallyDrop<OwnedFd>,
    pid: u32,
}

#[derive(Debug)]
struct Table {
    descriptors: BTreeSet<RawFd>,
    /// `/dev/null`, opened before the handlers were registered.
    stand_in: Option<OwnedFd>,
}

static TABLE: ForkMutex<Table> = ForkMutex::new(Table { descriptors: BTreeSet::new(), stand_in: None });

thread_local! {
    /// The table, while this thread forks. Nothing that is dropped with the thread, so that one which ends can fork.
    static HELD: Cell<Option<ManuallyDrop<ForkGuard<'static, Table>>>> = const { Cell::new(None) };
}

impl NotInherited {
    /// Opens a descriptor and enters it in one step, as a fork sees it. `open` must not wait for anybody: forks wait
    /// for it. Fails with `EMFILE`, without calling it, when `DESCRIPTORS_NOT_INHERITED_MAX` are open.
    pub(crate) fn open(open: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<NotInherited> {
        let mut table = table();
        table.prepare()?;
        if table.descriptors.len() >= DESCRIPTORS_NOT_INHERITED_MAX {
            return Err(Errno::MFILE.into());
        }
        let descriptor = ManuallyDrop::new(open()?);
        table.descriptors.insert(descriptor.as_raw_fd());
        Ok(NotInherited { descriptor, pid: own_pid() })
    }

    #[cfg(planted = "child_keeps_lock")]
    pub(super) fn let_children_keep(&self) {
        table().descriptors.remove(&self.descriptor.as_raw_fd());
    }

    /// Makes it one that another process opened.
    #[cfg(all(test, not(loom)))]
    pub(super) fn disown(&mut self) {
        self.pid = 0;
    }

    /// Whether this process is the one that opened it. Another that still has it must leave it to that one.
    pub(crate) fn is_own(&self) -> bool {
        own_pid() == self.pid
    }
}

impl AsFd for NotInherited {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Drop for NotInherited {
    fn drop(&mut self) {
        let mut table = table();
        table.descriptors.remove(&self.descriptor.as_raw_fd());
        // SAFETY: this is the only place that drops it, and nothing reads it afterwards.
        unsafe { ManuallyDrop::drop(&mut self.descriptor) };
    }
}

impl Table {
    /// Has the handlers registered before the first descriptor is entered.
    fn prepare(&mut self) -> io::Result<()> {
        if self.stand_in.is_some() {
            return Ok(());
        }
        let flags = OFlags::RDWR | OFlags::CLOEXEC;
        let stand_in = retry_on_intr(|| fs::open("/dev/null", flags, Mode::empty()))?;
        // SAFETY: the handlers are functions of this library that take nothing and do not unwind. glibc takes them off
        // its list when a shared library that registered them is unloaded.
        let code = unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
        if code != 0 {
            return Err(io::Error::from_raw_os_error(code));
        }
        self.stand_in = Some(stand_in);
        Ok(())
    }
}

pub(crate) fn own_pid() -> u32 {
    getpid().as_raw_nonzero().get().unsigned_abs()
}

/// No state of the table is half made, so a thread that panicked in `open` leaves it as good as it was.
fn table() -> ForkGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

extern "C" fn before() {
    HELD.set(Some(ManuallyDrop::new(table())));
}

extern "C" fn after_in_parent() {
    // Without it the handlers were registered while this thread was forking: then there was nothing to hold.
    HELD.take().map(ManuallyDrop::into_inner);
}

/// Only calls that are safe here: other threads of the parent may have held any mutex but the table's.
extern "C" fn after_in_child() {
    let Some(table) = HELD.take().map(ManuallyDrop::into_inner) else { return };
    let Some(stand_in) = &table.stand_in else { return };
    for &descriptor in &table.descriptors {
        // SAFETY: both are open: the table owns the one and its entry says so of the other, whose owner expects of it
        // nothing but to have this number. It can only fail when interrupted.
        let replace = || unsafe { libc::dup3(stand_in.as_raw_fd(), descriptor, libc::O_CLOEXEC) };
        while replace() < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {}
    }
}

#[cfg(all(test, not(loom)))]
pub(super) mod tests;
