//! Unix stream sockets in the database directory: over them other processes reach the one that holds it.
//!
//! * The name of a socket may have 107 bytes, a directory's more, and a directory may be renamed while it is open. So
//!   both sides go through the descriptor of the directory: `/proc/thread-self/fd/<number>/host.sock`.
//! * A socket is bound as `host.sock.new`, with mode 0600 from the first moment, and gets its name when it listens. Who
//!   connects finds the one before, this one or none, and never one that is half made.
//! * The name stays when the listener goes: without the directory's lock nobody knows whose it is. Connecting to it is
//!   refused, and the next to listen replaces it.
//! * A forked child keeps neither listener nor connection: its copies fail, and their ends are not held open.

mod peer;
mod wait;

#[cfg(all(test, not(loom)))]
mod tests;

use std::io;
use std::os::fd::AsRawFd;

use rustix::event::PollFlags;
use rustix::fs::{self, AtFlags, Mode};
use rustix::io::{Errno, ioctl_fionbio, retry_on_intr};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType};

pub(crate) use peer::Peer;
#[cfg(all(test, not(loom)))]
pub(crate) use wait::Ready;
pub(crate) use wait::{Alarm, Interest, wait, wait_for};

use super::super::Disk;
use super::inherit::NotInherited;
use super::{FILE_MODE, HostDisk};
use crate::base::bounds::CONNECTIONS_WAITING_MAX;

/// The socket's name in the directory, and the one that it has until it listens.
pub(crate) const SOCKET: &str = "host.sock";
pub(crate) const SOCKET_UNFINISHED: &str = "host.sock.new";

const SEND_FLAGS: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);

/// Takes connections.
#[derive(Debug)]
pub(crate) struct Listener {
    // Does not block: who accepts sleeps in `poll`, which a shutdown ends.
    descriptor: NotInherited,
}

/// One end of a connection. Threads share it; one at a time sends, and one at a time receives.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: NotInherited,
}

impl HostDisk {
    /// Listens on `host.sock` in the directory, replacing a stale one. Only who holds the directory's lock may call it.
    pub(crate) fn listen(&self) -> io::Result<Listener> {
        match self.remove(SOCKET_UNFINISHED) {
            Err(fault) if fault.kind() != io::ErrorKind::NotFound => return Err(fault),
            _ => {}
        }
        let descriptor = open(SocketFlags::NONBLOCK)?;
        // The kernel gives the file the mode of the socket.
        fs::fchmod(&descriptor, FILE_MODE)?;
        net::bind(&descriptor, &self.address(SOCKET_UNFINISHED)?)?;
        self.expect_private()?;
        self.give_socket_to_owner(SOCKET_UNFINISHED)?;
        net::listen(&descriptor, CONNECTIONS_WAITING_MAX)?;
        self.rename(SOCKET_UNFINISHED, SOCKET)?;
        Ok(Listener { descriptor })
    }

    /// Connects to who listens; does not block. `NotFound` or `ConnectionRefused` when nobody does, `WouldBlock` when
    /// `CONNECTIONS_WAITING_MAX` others wait to be accepted.
    pub(crate) fn connect(&self) -> io::Result<Socket> {
        let descriptor = open(SocketFlags::NONBLOCK)?;
        retry_on_intr(|| net::connect(&descriptor, &self.address(SOCKET)?))?;
        ioctl_fionbio(&descriptor, false)?;
        Ok(Socket { descriptor })
    }

    fn address(&self, name: &str) -> rustix::io::Result<SocketAddrUnix> {
        SocketAddrUnix::new(format!("/proc/thread-self/fd/{}/{name}", self.directory.as_raw_fd()))
    }

    /// A kernel or file system that pays no heed to the mode must not open the database to others.
    fn expect_private(&self) -> io::Result<()> {
        let found = fs::statat(&self.directory, SOCKET_UNFINISHED, AtFlags::SYMLINK_NOFOLLOW)?;
        let mode = Mode::from_raw_mode(found.st_mode);
        if mode.intersects(Mode::RWXG | Mode::RWXO) {
            self.remove(SOCKET_UNFINISHED)?;
            let text = format!("the socket in the directory came to have mode {mode:?}");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
        Ok(())
    }
}

impl Listener {
    /// Waits for a connection. `NotConnected` once the listener is shut down. A process that may have no more
    /// descriptors gets that error at once and again: the connection stays in line.
    pub(crate) fn accept(&self) -> io::Result<Socket> {
        loop {
            // Shut down, it is readable for ever and has nothing to accept.
            if wait::events(&self.descriptor, PollFlags::IN, None)?.contains(PollFlags::HUP) {
                return Err(io::ErrorKind::NotConnected.into());
            }
            let accept = || Ok(retry_on_intr(|| net::accept_with(&self.descriptor, SocketFlags::CLOEXEC))?);
            match NotInherited::open(accept) {
                // Another thread was faster.
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock => {}
                accepted => return Ok(Socket { descriptor: accepted? }),
            }
        }
    }

    /// Ends every `accept`, now and from now on, in any thread. Who connects is refused.
    pub(crate) fn shutdown(&self) {
        // It fails only for what is no socket that listens, and then nothing blocks either.
        let _ = net::shutdown(&self.descriptor, Shutdown::Both);
    }
}

impl Socket {
    /// Waits for bytes and tells how many came; 0 when the peer has closed or this end was shut down. A peer that
    /// closed with bytes unread is `ConnectionReset`.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(retry_on_intr(|| net::recv(&self.descriptor, &mut *buffer, RecvFlags::empty()))?.0)
    }

    /// As [`Socket::receive`], without waiting: `None` when there is nothing now.
    pub(crate) fn try_receive(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match retry_on_intr(|| net::recv(&self.descriptor, &mut *buffer, RecvFlags::DONTWAIT)) {
            Ok((received, _)) => Ok(Some(received)),
            Err(Errno::AGAIN) => Ok(None),
            Err(fault) => Err(fault.into()),
        }
    }

    /// Sends all of `bytes`, waiting for room. `TimedOut` when not a byte was taken for `stall_micros`, `BrokenPipe` or
    /// `ConnectionReset` when the peer has closed; some of the bytes may have been sent then. No signal is raised.
    pub(crate) fn send_all(&self, mut bytes: &[u8], stall_micros: Option<u64>) -> io::Result<()> {
        // The kernel tells of room when three quarters are free. A peer that reads slowly has made some before, which
        // only a try can find.
        let mut is_last_try = false;
        while !bytes.is_empty() {
            match retry_on_intr(|| net::send(&self.descriptor, bytes, SEND_FLAGS)) {
                Ok(sent) => {
                    bytes = &bytes[sent..];
                    is_last_try = false;
                }
                Err(Errno::AGAIN) if is_last_try => return Err(io::ErrorKind::TimedOut.into()),
                Err(Errno::AGAIN) => {
                    is_last_try = wait::events(&self.descriptor, PollFlags::OUT, stall_micros)?.is_empty();
                }
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(())
    }

    /// Sends as many of `bytes` as there is room for now, and tells how many. Fails as `send_all` does.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut sent = 0;
        while sent < bytes.len() {
            match retry_on_intr(|| net::send(&self.descriptor, &bytes[sent..], SEND_FLAGS)) {
                Ok(more) => sent += more,
                Err(Errno::AGAIN) => break,
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(sent)
    }

    /// Ends every call that blocks, in any thread, and the connection.
    pub(crate) fn shutdown(&self) {
        // It fails only for what is not connected, and then nothing blocks either.
        let _ = net::shutdown(&self.descriptor, Shutdown::Both);
    }
}

#[cfg(any(test, feature = "sim"))]
impl Socket {
    /// A connection to whoever has the other end, without a directory.
    pub(crate) fn of(stream: std::os::unix::net::UnixStream) -> io::Result<Socket> {
        Ok(Socket { descriptor: NotInherited::open(|| Ok(stream.into()))? })
    }
}

/// What the kernel does for a process that dies.
#[cfg(all(test, not(loom)))]
impl Listener {
    pub(super) fn close_only(mut self) {
        self.descriptor.disown();
    }
}

#[cfg(all(test, not(loom)))]
impl Socket {
    pub(super) fn close_only(mut self) {
        self.descriptor.disown();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.descriptor.is_own() {
            // Closing would not do while a child still has the descriptor.
            self.shutdown();
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if self.descriptor.is_own() {
            // As above.
            self.shutdown();
        }
    }
}

fn open(flags: SocketFlags) -> io::Result<NotInherited> {
    let flags = flags | SocketFlags::CLOEXEC;
    NotInherited::open(|| Ok(net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?))
}
