//! Who is at the other end of a connection, as the kernel knows it.

#![expect(unsafe_code, reason = "rustix takes the process id for greater than 0, which it need not be")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::Socket;

/// A process at the moment when it connected, or when it began to listen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Peer {
    /// 0 if this process cannot see it: it is in another process id namespace.
    pub(crate) pid: u32,
    /// The user for whom it acts.
    pub(crate) uid: u32,
}

impl Socket {
    pub(crate) fn peer(&self) -> io::Result<Peer> {
        let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
        let mut len = size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: the descriptor is open for as long as it is borrowed, and the kernel writes at most `len` bytes,
        // which `credentials` has. Every value of its fields is valid.
        let outcome = unsafe {
            let place = (&raw mut credentials).cast();
            libc::getsockopt(
                self.descriptor.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                place,
                &raw mut len,
            )
        };
        if outcome != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Peer { pid: credentials.pid.unsigned_abs(), uid: credentials.uid })
    }
}
