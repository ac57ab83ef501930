//! Sleeping until a socket has something, or until somebody rings.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, read, retry_on_intr, write};

use super::super::super::clock;
use super::super::inherit::NotInherited;
use super::Socket;

/// What ends a sleep in [`wait`] from another thread: an eventfd. It rings until it is taken.
#[derive(Debug)]
pub(crate) struct Alarm {
    descriptor: NotInherited,
}

impl Alarm {
    pub(crate) fn new() -> io::Result<Alarm> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        Ok(Alarm { descriptor: NotInherited::open(|| Ok(eventfd(0, flags)?))? })
    }

    pub(crate) fn ring(&self) {
        // It fails only when it has rung so often that its count is full: it rings then.
        let _ = retry_on_intr(|| write(&self.descriptor, &1_u64.to_ne_bytes()));
    }

    /// Silences it. Who takes it looks afterwards for what it was rung for, so that no ring is lost.
    pub(crate) fn take(&self) {
        // It fails only when it does not ring.
        let _ = retry_on_intr(|| read(&self.descriptor, &mut [0_u8; 8]));
    }
}

/// What ends a sleep beside the end of the connection.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Interest {
    pub(crate) input: bool,
    /// A quarter of what the kernel holds may be sent at once.
    pub(crate) room: bool,
}

/// Why [`wait_for`] returned; nothing of it when the time has passed.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Ready {
    /// `receive` would not block: there are bytes, or their end.
    pub(crate) readable: bool,
    pub(crate) has_room: bool,
    /// The peer has closed, or this end was shut down. Bytes may still be there to be read.
    pub(crate) hung_up: bool,
    pub(crate) alarmed: bool,
}

/// As [`wait_for`], never for room.
pub(crate) fn wait(socket: &Socket, alarm: Option<&Alarm>, for_input: bool, micros: Option<u64>) -> io::Result<Ready> {
    wait_for(socket, alarm, Interest { input: for_input, room: false }, micros)
}

/// Sleeps until something of interest has come, the peer has hung up, the alarm rings or `micros` have passed. What is
/// not of interest does not end the sleep.
pub(crate) fn wait_for(
    socket: &Socket,
    alarm: Option<&Alarm>,
    interest: Interest,
    micros: Option<u64>,
) -> io::Result<Ready> {
    let mut wanted = PollFlags::RDHUP;
    wanted.set(PollFlags::IN, interest.input);
    wanted.set(PollFlags::OUT, interest.room);
    let socket = socket.descriptor.as_fd();
    let second = alarm.map_or(socket, |alarm| alarm.descriptor.as_fd());
    let mut fds = [PollFd::from_borrowed_fd(socket, wanted), PollFd::from_borrowed_fd(second, PollFlags::IN)];
    poll_until(if alarm.is_some() { &mut fds } else { &mut fds[..1] }, micros)?;
    let found = fds[0].revents();
    Ok(Ready {
        readable: found.contains(PollFlags::IN),
        has_room: found.contains(PollFlags::OUT),
        hung_up: found.intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR),
        alarmed: alarm.is_some() && fds[1].revents().contains(PollFlags::IN),
    })
}

/// Sleeps until one of `wanted`, or the end of the connection, has come; nothing when `micros` have passed.
pub(super) fn events(descriptor: &NotInherited, wanted: PollFlags, micros: Option<u64>) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(descriptor, wanted)];
    poll_until(&mut fds, micros)?;
    Ok(fds[0].revents())
}

/// A signal does not end the sleep and does not prolong it.
fn poll_until(fds: &mut [PollFd<'_>], micros: Option<u64>) -> io::Result<()> {
    let deadline = micros.map(|micros| clock::boot().plus(micros));
    let mut left = micros;
    loop {
        match poll(fds, left.map(timespec).as_ref()) {
            Err(Errno::INTR) => left = deadline.map(|deadline| deadline.since(clock::boot())),
            outcome => return Ok(outcome.map(drop)?),
        }
    }
}

fn timespec(micros: u64) -> Timespec {
    Timespec { tv_sec: (micros / 1_000_000) as i64, tv_nsec: (micros % 1_000_000 * 1000) as _ }
}
