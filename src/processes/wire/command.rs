//! Writes as bytes.
//!
//! ```text
//! submit   seen below · wanted u8 · timeout (option u8, u64) · command
//! wanted   0 sync, 1 buffered, 2 that of the object or sync, 3 that of the object or buffered
//! command  primitive u8 · command of the primitive (1: `streams.rs`, 2: `queues.rs`)
//! answer   lsn u64 · level u8 · reply (primitives)
//! ```
//!
//! The sequence is the number of the request.

use std::time::Duration;

use crate::base::codec::{Malformed, Take};
use crate::base::level::{Level, Wanted};
use crate::base::lsn::Lsn;
use crate::engine::Submitted;
use crate::primitives::{Command, Reply};

use super::queues::{put_of_queues, with_command_of_queues};
use super::streams::{put_of_streams, with_command_of_streams};
use super::{Out, take_option};

const OF_STREAMS: u8 = 1;
const OF_QUEUES: u8 = 2;

/// A write as it is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submit<'a> {
    pub(crate) seen_below: u64,
    pub(crate) wanted: Wanted,
    pub(crate) timeout: Option<Duration>,
    pub(crate) command: Command<'a>,
}

impl Submit<'_> {
    pub(crate) fn put(&self, out: &mut Out) {
        out.varint(self.seen_below);
        out.u8(match self.wanted {
            Wanted::Named(Level::Sync) => 0,
            Wanted::Named(Level::Buffered) => 1,
            Wanted::OfObject { otherwise: Level::Sync } => 2,
            Wanted::OfObject { otherwise: Level::Buffered } => 3,
        });
        let micros = self.timeout.map(|timeout| u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX));
        out.option(micros, Out::u64);
        put_command(&self.command, out);
    }

    /// Reads a write and does this with it: what it is made of lives no longer.
    pub(crate) fn read<T>(bytes: &[u8], then: impl FnOnce(&Submit<'_>) -> T) -> Result<T, Malformed> {
        let mut take = Take::new(bytes);
        let seen_below = take.varint()?;
        let wanted = match take.u8()? {
            0 => Wanted::Named(Level::Sync),
            1 => Wanted::Named(Level::Buffered),
            2 => Wanted::OfObject { otherwise: Level::Sync },
            3 => Wanted::OfObject { otherwise: Level::Buffered },
            _ => return Err(Malformed("a level that there is not")),
        };
        let timeout = take_option(&mut take, Take::u64)?.map(Duration::from_micros);
        with_command(take, |command| then(&Submit { seen_below, wanted, timeout, command }))
    }
}

fn put_command(command: &Command<'_>, out: &mut Out) {
    match command {
        Command::Streams(command) => {
            out.u8(OF_STREAMS);
            put_of_streams(command, out);
        }
        Command::Queues(command) => {
            out.u8(OF_QUEUES);
            put_of_queues(command, out);
        }
        Command::Sessions(_) | Command::Once(_) => unreachable!("the host itself begins and ends sessions"),
    }
}

fn with_command<T>(mut take: Take<'_>, then: impl FnOnce(Command<'_>) -> T) -> Result<T, Malformed> {
    match take.u8()? {
        OF_STREAMS => with_command_of_streams(take, |command| then(Command::Streams(command))),
        OF_QUEUES => with_command_of_queues(take, |command| then(Command::Queues(command))),
        _ => Err(Malformed("a command of no primitive")),
    }
}

pub(crate) fn put_submitted(submitted: &Submitted<Reply>, out: &mut Out) {
    out.u64(submitted.lsn.0);
    out.u8(u8::from(submitted.level == Level::Buffered));
    let reply = &submitted.reply;
    out.put(reply.encoded_len(), |put| reply.encode(put));
}

/// The answer to a write. It was given as its level asks: there is nothing left to wait for.
pub(crate) fn take_submitted(take: &mut Take<'_>) -> Result<Submitted<Reply>, Malformed> {
    let (lsn, buffered) = (Lsn(take.u64()?), take.u8()? == 1);
    let level = if buffered { Level::Buffered } else { Level::Sync };
    let reply = Reply::decode(take)?;
    Ok(Submitted { reply, lsn, rests_on: Lsn(0), is_held: false, level })
}
