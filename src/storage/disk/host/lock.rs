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
use rustix::io::{pread, pwrite, retry_on_intr};
use rustix::process::getpid;

use super::super::{DirectoryLock, LockFault};
use super::inherit::NotInherited;

/// Digits of the longest process id, and a newline.
const PID_TEXT_BYTES_MAX: usize = 11;

#[derive(Debug)]
pub(super) struct HostLock {
    file: NotInherited,
    // A child that was made by the bare system call shares the lock with its parent and must not release it.
    pid: u32,
}

impl DirectoryLock for HostLock {}

impl HostLock {
    pub(super) fn take(directory: &OwnedFd) -> Result<HostLock, LockFault> {
        let file = open(directory).map_err(LockFault::Io)?;
        match set(&file, libc::F_WRLCK) {
            Ok(()) => {}
            Err(fault) if matches!(fault.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => {
                return Err(LockFault::Held { pid: read_pid(&file) });
            }
            Err(fault) => return Err(LockFault::Io(fault)),
        }
        let lock = HostLock { file, pid: own_pid() };
        lock.write_pid().map_err(LockFault::Io)?;
        Ok(lock)
    }

    /// Written before the rest is cut, so that a reader finds a whole first line and not an empty file.
    fn write_pid(&self) -> io::Result<()> {
        let text = format!("{}\n", self.pid);
        let written = retry_on_intr(|| pwrite(&self.file, text.as_bytes(), 0))?;
        if written != text.len() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        Ok(retry_on_intr(|| fs::ftruncate(&self.file, text.len() as u64))?)
    }
}

impl Drop for HostLock {
    fn drop(&mut self) {
        if own_pid() == self.pid {
            // Closing would not do while such a child still has the descriptor. If unlocking fails, closing is left.
            let _ = set(&self.file, libc::F_UNLCK);
        }
    }
}

fn open(directory: &OwnedFd) -> io::Result<NotInherited> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC;
    NotInherited::open(|| Ok(retry_on_intr(|| fs::openat(directory, "LOCK", flags, Mode::from_raw_mode(0o600)))?))
}

fn own_pid() -> u32 {
    getpid().as_raw_nonzero().get().unsigned_abs()
}

/// 0 if the file holds no process id (yet).
fn read_pid(file: &NotInherited) -> u32 {
    let mut text = [0; PID_TEXT_BYTES_MAX];
    let read = retry_on_intr(|| pread(file, &mut text, 0)).unwrap_or(0);
    let line = text[..read].split(|&byte| byte == b'\n').next().unwrap_or_default();
    std::str::from_utf8(line).ok().and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Sets or clears the lock of the whole file, without waiting.
fn set(file: &NotInherited, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: all zeros is a value of this plain C struct; the kernel demands zero in `l_pid`.
    let mut range: libc::flock = unsafe { std::mem::zeroed() };
    range.l_type = kind as libc::c_short;
    range.l_whence = libc::SEEK_SET as libc::c_short;
    loop {
        // SAFETY: the descriptor is open for as long as it is borrowed, and `range` lives through the call.
        let outcome = unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_OFD_SETLK, &range) };
        match io::Error::last_os_error() {
            _ if outcome == 0 => return Ok(()),
            fault if fault.kind() == io::ErrorKind::Interrupted => {}
            fault => return Err(fault),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    /// Closing alone is what the kernel does for a process that dies.
    #[test]
    fn a_child_that_outlives_its_parent_does_not_keep_the_lock() {
        let place = tempfile::tempdir().unwrap();
        let directory = OwnedFd::from(std::fs::File::open(place.path()).unwrap());
        let file = open(&directory).unwrap();
        set(&file, libc::F_WRLCK).unwrap();
        assert!(matches!(HostLock::take(&directory), Err(LockFault::Held { .. })));
        // SAFETY: the child only waits for the signal that ends it, or for the alarm.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above; nothing of the parent's is run.
            unsafe {
                libc::alarm(60);
                libc::pause();
                libc::_exit(0);
            }
        }
        assert!(child > 0);
        drop(file);
        let taken = HostLock::take(&directory);
        // SAFETY: ends the child that was just made and was not waited for.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
        taken.unwrap();
    }
}
