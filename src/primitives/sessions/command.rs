//! What may be asked of sessions, and the answers with their bytes.

use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::row::RowKey;
use crate::engine::machine::Class;

/// Names a session. The process draws it at random, so that no two ever choose the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct SessionId(u64);

impl SessionId {
    /// The bits that a row's id leaves beside the number of a chunk.
    const MASK: u64 = (1 << 60) - 1;

    /// Of a random number, of which 60 bits count.
    pub(crate) const fn of_random(random: u64) -> SessionId {
        SessionId(random & SessionId::MASK)
    }

    pub(crate) const fn get(self) -> u64 {
        self.0
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Result<SessionId, Malformed> {
        match take.varint()? {
            id if id <= SessionId::MASK => Ok(SessionId(id)),
            _ => Err(Malformed("a session's number above 60 bits")),
        }
    }
}

/// A request that may be refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Command {
    /// A no-op if the session is there; the reply tells.
    Open { session: SessionId },
    /// Forgets the session with all that was answered; a no-op if there is none.
    End { session: SessionId },
}

impl Command {
    pub(crate) fn class(&self) -> Class {
        match self {
            // A process must be able to attach on a full disk: it may be the one that makes room.
            Command::Open { .. } | Command::End { .. } => Class::Settle,
        }
    }
}

/// Which request of a session another command is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    pub(crate) session: SessionId,
    /// The same when it is sent again; no other request of the session has it.
    pub(crate) sequence: u64,
    /// The process has every answer below, and asks for none of them again.
    pub(crate) seen_below: u64,
}

/// The answer to an accepted command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// The session is open; `known` if it was before.
    Opened { known: bool },
    /// There is no such session any more.
    Ended,
}

const OPENED_NEW: u8 = 0;
const OPENED_KNOWN: u8 = 1;
const ENDED: u8 = 2;

impl Reply {
    pub(crate) const ENCODED_LEN: usize = 1;

    pub(crate) fn encode(self, out: &mut Put<'_>) {
        out.u8(match self {
            Reply::Opened { known: false } => OPENED_NEW,
            Reply::Opened { known: true } => OPENED_KNOWN,
            Reply::Ended => ENDED,
        });
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Reply, Malformed> {
        match take.u8()? {
            OPENED_NEW => Ok(Reply::Opened { known: false }),
            OPENED_KNOWN => Ok(Reply::Opened { known: true }),
            ENDED => Ok(Reply::Ended),
            _ => Err(Malformed("unknown reply of a session")),
        }
    }
}

/// Why a command was refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Refusal {
    /// No such session: it never was, or it ended with all that it knew. Whether a request sent again was applied is
    /// not known.
    Ended,
    /// The answer is not kept: the process said that it has it, it was too large, or the request changed nothing, would
    /// do so now, and was overtaken by a later one. How it ended is not known.
    Forgotten,
    /// The sequence is too far beyond those that the process has seen answered.
    TooManyUnseen {
        sequence: u64,
        seen_below: u64,
    },
    /// The same request twice in one frame.
    Twice,
    LimitExceeded {
        limit: &'static str,
        max: u64,
        actual: u64,
    },
}

/// The outcome of `decide`, as in `engine::machine::Decision`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Accept(Reply),
    Unchanged { reply: Reply, rests_on: Option<RowKey> },
    Refuse { refusal: Refusal, rests_on: Option<RowKey> },
}

impl Request {
    pub(super) fn encoded_len(&self) -> usize {
        varint_len(self.session.get()) + varint_len(self.sequence) + varint_len(self.seen_below)
    }

    pub(super) fn encode(&self, out: &mut Put<'_>) {
        out.varint(self.session.get());
        out.varint(self.sequence);
        out.varint(self.seen_below);
    }

    pub(super) fn decode(take: &mut Take<'_>) -> Result<Request, Malformed> {
        Ok(Request { session: SessionId::decode(take)?, sequence: take.varint()?, seen_below: take.varint()? })
    }
}
