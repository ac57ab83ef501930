//! The first bytes of a connection, in both directions.
//!
//! What stands before the body is the same in every version, so that two versions can tell each other who must be
//! upgraded.
//!
//! ```text
//! to the host    "TOWPATH>" · protocol u32 · length u32 · body
//!   body         session u64 · is resuming u8 · boot id 16 · time namespace u64 · patience u64
//! from the host  "TOWPATH<" · protocol u32 · length u32 · body
//!   welcome      0 u8 · epoch u32 · database id 16 · ring bytes u64 · segment bytes u64 · boot id 16 ·
//!                time namespace u64
//!   refusal      reason u8 · number u64
//! ```
//!
//! `patience` is how many microseconds the asker waits for its welcome. Reasons: 1 the host speaks protocol `number`;
//! 2 at most `number` processes may be attached; 3 the user with id `number` may not; 4 the greeting does not read; 5
//! an earlier connection of the session has not ended yet; 6 the session that is to be resumed is over.

use std::io;

use crate::base::bounds::GREETING_MICROS_MAX;
use crate::base::codec::{Malformed, Take};
use crate::base::time::{BootTime, ClockIdentity};
use crate::primitives::sessions::SessionId;
use crate::storage::disk::clock;
use crate::storage::disk::host::socket::{Socket, wait};

use super::Out;

/// The version of these bytes and of all that follow them, counted apart from the format on disk.
pub(crate) const PROTOCOL: u32 = 6;

const TO_HOST: &[u8; 8] = b"TOWPATH>";
const FROM_HOST: &[u8; 8] = b"TOWPATH<";
const HEAD_BYTES: usize = 16;
const BODY_BYTES_MAX: usize = 1024;

/// What a process says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Greeting {
    pub(crate) session: SessionId,
    /// The session began with an earlier host.
    pub(crate) is_resuming: bool,
    pub(crate) clock: ClockIdentity,
    pub(crate) patience_micros: u64,
}

/// What the host says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Welcome {
    pub(crate) epoch: u32,
    pub(crate) database_id: [u8; 16],
    pub(crate) ring_bytes: u64,
    pub(crate) segment_bytes: u64,
    pub(crate) clock: ClockIdentity,
}

/// Why there was no welcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWelcome {
    #[error("the other side speaks protocol {theirs}, this one {PROTOCOL}")]
    OtherProtocol { theirs: u32 },
    #[error("{max} processes are attached already")]
    TooMany { max: u64 },
    #[error("user {uid} may not attach")]
    Stranger { uid: u64 },
    #[error("the greeting does not read")]
    Unreadable,
    /// An earlier connection of the session has not ended yet: try again.
    #[error("the session has a connection already")]
    SessionInUse,
    #[error("the session to resume is over")]
    SessionEnded,
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Malformed> for NoWelcome {
    fn from(_: Malformed) -> NoWelcome {
        NoWelcome::Unreadable
    }
}

/// Introduces this process to the host and waits for its welcome.
pub(crate) fn greet(socket: &Socket, greeting: &Greeting) -> Result<Welcome, NoWelcome> {
    let mut body = Out::new();
    body.u64(greeting.session.get());
    body.bool(greeting.is_resuming);
    put_clock(&mut body, greeting.clock);
    body.u64(greeting.patience_micros);
    match send(socket, TO_HOST, &body) {
        // It did not wait for the greeting to refuse, and what it said is there.
        Err(fault) if fault.kind() == io::ErrorKind::BrokenPipe => {}
        sent => sent?,
    }
    let answer = receive(socket, FROM_HOST, greeting.patience_micros)?;
    let mut take = Take::new(&answer.body);
    let status = take.u8()?;
    if status != 0 {
        return Err(reason(status, take.u64()?));
    }
    if answer.protocol != PROTOCOL {
        return Err(NoWelcome::OtherProtocol { theirs: answer.protocol });
    }
    let welcome = Welcome {
        epoch: take.u32()?,
        database_id: take.array()?,
        ring_bytes: take.u64()?,
        segment_bytes: take.u64()?,
        clock: take_clock(&mut take)?,
    };
    take.end()?;
    Ok(welcome)
}

/// Waits for what a new connection says of itself.
pub(crate) fn receive_greeting(socket: &Socket) -> Result<Greeting, NoWelcome> {
    let greeting = receive(socket, TO_HOST, GREETING_MICROS_MAX)?;
    if greeting.protocol != PROTOCOL {
        return Err(NoWelcome::OtherProtocol { theirs: greeting.protocol });
    }
    let mut take = Take::new(&greeting.body);
    let greeting = Greeting {
        session: SessionId::of_random(take.u64()?),
        is_resuming: take.u8()? == 1,
        clock: take_clock(&mut take)?,
        patience_micros: take.u64()?,
    };
    take.end()?;
    Ok(greeting)
}

pub(crate) fn welcome(socket: &Socket, welcome: &Welcome) -> io::Result<()> {
    let mut body = Out::new();
    body.u8(0);
    body.u32(welcome.epoch);
    body.raw(&welcome.database_id);
    body.u64(welcome.ring_bytes);
    body.u64(welcome.segment_bytes);
    put_clock(&mut body, welcome.clock);
    send(socket, FROM_HOST, &body)
}

/// Tells why the connection ends now, if there is anything to tell.
pub(crate) fn refuse(socket: &Socket, why: &NoWelcome) -> io::Result<()> {
    let (reason, number) = match why {
        NoWelcome::OtherProtocol { .. } => (1, u64::from(PROTOCOL)),
        NoWelcome::TooMany { max } => (2, *max),
        NoWelcome::Stranger { uid } => (3, *uid),
        NoWelcome::Unreadable => (4, 0),
        NoWelcome::SessionInUse => (5, 0),
        NoWelcome::SessionEnded => (6, 0),
        NoWelcome::Io(_) => return Ok(()),
    };
    let mut body = Out::new();
    body.u8(reason);
    body.u64(number);
    send(socket, FROM_HOST, &body)
}

fn reason(reason: u8, number: u64) -> NoWelcome {
    match reason {
        1 => NoWelcome::OtherProtocol { theirs: u32::try_from(number).unwrap_or(u32::MAX) },
        2 => NoWelcome::TooMany { max: number },
        3 => NoWelcome::Stranger { uid: number },
        5 => NoWelcome::SessionInUse,
        6 => NoWelcome::SessionEnded,
        _ => NoWelcome::Unreadable,
    }
}

fn put_clock(out: &mut Out, clock: ClockIdentity) {
    out.raw(&clock.boot_id);
    out.u64(clock.time_namespace);
}

fn take_clock(take: &mut Take<'_>) -> Result<ClockIdentity, Malformed> {
    Ok(ClockIdentity { boot_id: take.array()?, time_namespace: take.u64()? })
}

fn send(socket: &Socket, magic: &[u8; 8], body: &Out) -> io::Result<()> {
    let mut out = Out::new();
    out.raw(magic);
    out.u32(PROTOCOL);
    out.u32(body.len() as u32);
    out.raw(body.bytes());
    socket.send_all(out.bytes(), Some(GREETING_MICROS_MAX))
}

struct Received {
    protocol: u32,
    body: Vec<u8>,
}

fn receive(socket: &Socket, magic: &[u8; 8], micros: u64) -> Result<Received, NoWelcome> {
    let deadline = clock::boot().plus(micros);
    let mut head = [0; HEAD_BYTES];
    receive_exactly(socket, &mut head, deadline)?;
    let mut take = Take::new(&head);
    if take.array::<8>()? != *magic {
        return Err(NoWelcome::Unreadable);
    }
    let (protocol, length) = (take.u32()?, take.u32()? as usize);
    if length > BODY_BYTES_MAX {
        return Err(NoWelcome::Unreadable);
    }
    let mut body = vec![0; length];
    receive_exactly(socket, &mut body, deadline)?;
    Ok(Received { protocol, body })
}

fn receive_exactly(socket: &Socket, mut buffer: &mut [u8], deadline: BootTime) -> io::Result<()> {
    while !buffer.is_empty() {
        match socket.try_receive(buffer)? {
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(received) => buffer = &mut buffer[received..],
            None => {
                let left = deadline.since(clock::boot());
                if left == 0 {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                wait(socket, None, true, Some(left))?;
            }
        }
    }
    Ok(())
}
