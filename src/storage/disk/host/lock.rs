//! The lock of the directory.
//!
//! It is an *open file description* lock: held by the descriptor, not the process, so that it neither vanishes when
//! another descriptor of the file is closed (as classic `fcntl` locks do) nor lets one process open a database twice.
//! A forked child does not have the descriptor, so it cannot keep the directory locked either.
//!
//! The file is never removed or renamed: two processes could then each hold the lock of a file named `LOCK`.

#![expect(unsafe_code, reason = "rustix has no open file description locks, libc has")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::super::{DirectoryLock, Hold, Holder, LockFault};
use super::inherit::{NotInherited, own_pid};
use super::owner::give_to_owner;
use super::{FILE_MODE, HostDisk};

const LOCK: &str = "LOCK";

/// The longest process id and `exclusive`, a line each.
const TEXT_BYTES_MAX: usize = 11 + 10;

#[derive(Debug)]
pub(super) struct HostLock {
    file: NotInherited,
}

impl DirectoryLock for HostLock {}

impl HostLock {
    pub(super) fn take(directory: &OwnedFd, hold: Hold) -> Result<HostLock, LockFault> {
        let file = open(directory).map_err(LockFault::Io)?;
        match set(&file, libc::F_WRLCK) {
            Ok(()) => {}
            Err(fault) if matches!(fault.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
                let Holder { pid, exclusive } = read_holder(&file);
                return Err(LockFault::Held { pid, exclusive });
            }
            Err(fault) => return Err(LockFault::Io(fault)),
        }
        let lock = HostLock { file };
        lock.write_holder(hold).map_err(LockFault::Io)?;
        Ok(lock)
    }

    /// Written before the rest is cut, so that a reader finds whole lines and not an empty file.
    fn write_holder(&self, hold: Hold) -> io::Result<()> {
        let text = hold.text(own_pid());
        let written = retry_on_intr(|| pwrite(&self.file, text.as_bytes(), 0))?;
        if written != text.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(retry_on_intr(|| fs::ftruncate(&self.file, text.len() as u64))?)
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        if self.file.is_own() {
            // Closing would not do while a child still has the descriptor. If unlocking fails, closing is left.
            let _ = set(&self.file, libc::F_UNLCK);
        }
    }
}

impl HostDisk {
    /// Who holds the lock now, if anybody does. Takes nothing and leaves nothing behind.
    pub(crate) fn lock_holder(&self) -> io::Result<Option<Holder>> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = match retry_on_intr(|| fs::openat(&self.directory, LOCK, flags, Mode::empty())) {
            Err(Errno::NOENT) => return Ok(None),
            file => file?,
        };
        Ok(is_held(&file)?.then(|| read_holder(&file)))
    }
}

fn open(directory: &OwnedFd) -> io::Result<NotInherited> {
    let file = NotInherited::open(|| open_or_create(directory))?;
    #[cfg(planted = "child_keeps_lock")]
    file.let_children_keep();
    Ok(file)
}

fn open_or_create(directory: &OwnedFd) -> io::Result<OwnedFd> {
    let open = |flags| retry_on_intr(|| fs::openat(directory, LOCK, flags | OFlags::RDWR | OFlags::CLOEXEC, FILE_MODE));
    match open(OFlags::CREATE | OFlags::EXCL) {
        // It is never removed.
        Err(Errno::EXIST) => Ok(open(OFlags::empty())?),
        created => {
            let created = created?;
            give_to_owner(directory, &created)?;
            Ok(created)
        }
    }
}

fn read_holder(file: impl AsFd) -> Holder {
    let mut text = [0; TEXT_BYTES_MAX];
    let read = retry_on_intr(|| pread(&file, &mut text, 0)).unwrap_or(0);
    Holder::parse(&text[..read])
}

/// Sets or clears the lock of the whole file, without waiting.
fn set(file: impl AsFd, kind: libc::c_int) -> io::Result<()> {
    control(file, libc::F_OFD_SETLK, kind).map(drop)
}

/// Whether another descriptor holds the lock.
fn is_held(file: impl AsFd) -> io::Result<bool> {
    Ok(control(file, libc::F_OFD_GETLK, libc::F_WRLCK)? != libc::F_UNLCK)
}

/// Asks the kernel about the lock of the whole file, and gives the kind of lock that it answers with.
fn control(file: impl AsFd, command: libc::c_int, kind: libc::c_int) -> io::Result<libc::c_int> {
    // SAFETY: all zeros is a value of this plain C struct; the kernel demands zero in `l_pid`.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    loop {
        // SAFETY: the descriptor is open for as long as it is borrowed, and `range` lives through the call.
        let outcome = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), command, &raw mut range) };
        match io::Error::last_os_error() {
            _ if outcome == 0 => return Ok(libc::c_int::from(range.l_type)),
            fault if fault.kind() == io::ErrorKind::Interrupted => {}
            fault => return Err(fault),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::time::{Duration, Instant};

    use super::super::inherit::tests::Child;
    use super::*;

    /// Closing alone is what the kernel does for a process that dies.
    #[test]
    fn a_child_that_outlives_its_parent_does_not_keep_the_lock() {
        let place = tempfile::tempdir().unwrap();
        let directory = OwnedFd::from(std::fs::File::open(place.path()).unwrap());
        let file = open(&directory).unwrap();
        set(&file, libc::F_WRLCK).unwrap();
        assert!(matches!(HostLock::take(&directory, Hold::Attachable), Err(LockFault::Held { .. })));
        let _child = Child::idle();
        drop(file);
        // A child of another test may not have run yet.
        let until = Instant::now() + Duration::from_secs(10);
        while let Err(fault) = HostLock::take(&directory, Hold::Attachable) {
            assert!(Instant::now() < until, "{fault:?}");
            std::thread::yield_now();
        }
    }
}
