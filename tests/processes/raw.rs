//! The host's socket without the library: what anybody may send.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::place::PATIENCE;

pub const PROTOCOL: u32 = 6;

/// Beginnings of answers to writes, as in `src/processes/wire/mod.rs`.
pub const WRITTEN: u8 = 0x80;
pub const NOT_WRITTEN: u8 = 0x81;

/// A refusal, as in `src/processes/wire/refused.rs`.
pub const FORGOTTEN: u8 = 33;

/// Reasons of refusals, as in `src/processes/wire/greeting.rs`.
pub const OTHER_PROTOCOL: u8 = 1;
pub const TOO_MANY: u8 = 2;
pub const UNREADABLE: u8 = 4;
pub const SESSION_ENDED: u8 = 6;

/// Kinds of operations, as in `src/processes/operation.rs`.
pub const SUBMIT: u8 = 1;
pub const SYNC: u8 = 4;
pub const READ: u8 = 5;
pub const STATS: u8 = 7;

pub fn connect(data: &Path) -> UnixStream {
    let socket = UnixStream::connect(data.join("host.sock")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// The first bytes of either side.
pub fn hail(magic: &[u8; 8], protocol: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = magic.to_vec();
    bytes.extend(protocol.to_le_bytes());
    bytes.extend((body.len() as u32).to_le_bytes());
    bytes.extend(body);
    bytes
}

pub fn greeting(protocol: u32, session: u64) -> Vec<u8> {
    hail(b"TOWPATH>", protocol, &introduction(session, false))
}

/// A greeting that goes on with a session.
pub fn resuming(session: u64) -> Vec<u8> {
    hail(b"TOWPATH>", PROTOCOL, &introduction(session, true))
}

fn introduction(session: u64, is_resuming: bool) -> Vec<u8> {
    let mut body = session.to_le_bytes().to_vec();
    body.push(u8::from(is_resuming));
    body.extend([0; 16 + 8]);
    body.extend(5_000_000_u64.to_le_bytes());
    body
}

/// What the host answers to a greeting.
#[derive(PartialEq, Eq, Debug)]
pub enum Answer {
    Welcome,
    Refused { reason: u8, number: u64 },
}

pub fn answer(socket: &mut UnixStream) -> io::Result<Answer> {
    let mut head = [0; 16];
    socket.read_exact(&mut head)?;
    assert_eq!(&head[..8], b"TOWPATH<");
    let mut body = vec![0; u32::from_le_bytes(*head[12..].first_chunk().unwrap()) as usize];
    socket.read_exact(&mut body)?;
    Ok(match body[0] {
        0 => Answer::Welcome,
        reason => Answer::Refused { reason, number: u64::from_le_bytes(*body[1..].first_chunk().unwrap()) },
    })
}

/// An attached process of sorts.
pub fn welcomed(data: &Path, session: u64) -> UnixStream {
    let mut socket = connect(data);
    socket.write_all(&greeting(PROTOCOL, session)).unwrap();
    assert_eq!(answer(&mut socket).unwrap(), Answer::Welcome);
    socket
}

/// A greeting, and what the host says to it, which it may have said before.
pub fn greet(data: &Path, session: u64) -> (UnixStream, Answer) {
    let mut socket = connect(data);
    let sent = socket.write_all(&greeting(PROTOCOL, session));
    assert!(sent.is_ok() || sent.is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe));
    let answered = answer(&mut socket).unwrap();
    (socket, answered)
}

/// A request without a body.
pub fn request(kind: u8) -> Vec<u8> {
    let mut frame = 2_u32.to_le_bytes().to_vec();
    frame.extend([kind, 1]);
    frame
}

/// Asks for a record of the first log from this offset on, waiting for it. Small numbers are one byte each.
pub fn read_one(request: u8, from: u8) -> Vec<u8> {
    let (log, records, waits, inline) = (1, 1, 1, 0);
    let mut frame = 7_u32.to_le_bytes().to_vec();
    frame.extend([READ, request, log, from, records, waits, inline]);
    frame
}

/// A write that creates a stream of one partition at `Sync`, as in `src/processes/wire/streams.rs`.
pub fn create(sequence: u8, name: &str) -> Vec<u8> {
    let (seen_below, sync, no_timeout, of_streams, create) = (0, 0, 0, 1, 1);
    let (no_limits, no_level) = (0, 0);
    let mut body = vec![SUBMIT, sequence, seen_below, sync, no_timeout, of_streams, create, name.len() as u8];
    body.extend(name.bytes());
    body.extend([no_limits, no_level]);
    body.extend(1_u32.to_le_bytes());
    [&(body.len() as u32).to_le_bytes()[..], &body].concat()
}

/// The next frame from the host.
pub fn received(socket: &mut UnixStream) -> Vec<u8> {
    let mut length = [0; 4];
    socket.read_exact(&mut length).unwrap();
    let mut frame = vec![0; u32::from_le_bytes(length) as usize];
    socket.read_exact(&mut frame).unwrap();
    frame
}

/// Whether the host ends the connection, sending nothing more.
pub fn is_ended(socket: &mut UnixStream) -> bool {
    let mut rest = Vec::new();
    match socket.read_to_end(&mut rest) {
        Ok(_) => rest.is_empty(),
        Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
    }
}
