//! Decided facts, and their bytes.
//!
//! Integers are varints unless a width is named.
//!
//! | tag  | event   | fields                                                                    |
//! |------|---------|---------------------------------------------------------------------------|
//! | 0x10 | opened  | session                                                                   |
//! | 0x11 | ended   | session                                                                   |
//! | 0x12 | applied | session · sequence · seen below · u8 (1 if the reply is kept) · slice(reply), if so |

use std::borrow::Cow;

use super::command::{Request, SessionId};
use super::rows::{CHUNKS, chunk_of, row_of};
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::row::RowKey;

const OPENED: u8 = 0x10;
const ENDED: u8 = 0x11;
const APPLIED: u8 = 0x12;

/// A decided fact.
#[derive(Clone, Debug)]
pub(crate) enum Event<'a> {
    Opened { session: SessionId },
    Ended { session: SessionId },
    Applied(Applied<'a>),
}

/// The other events of the frame are what this request came to.
#[derive(Clone, Debug)]
pub(crate) struct Applied<'a> {
    pub(crate) request: Request,
    /// What it was answered, encoded; `None` if that is not kept.
    pub(crate) reply: Option<Cow<'a, [u8]>>,
}

impl<'a> Event<'a> {
    pub(crate) fn encoded_len(&self) -> usize {
        1 + match self {
            Event::Opened { session } | Event::Ended { session } => varint_len(session.get()),
            Event::Applied(Applied { request, reply }) => {
                request.encoded_len() + 1 + reply.as_ref().map_or(0, |reply| slice_len(reply.len()))
            }
        }
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match self {
            Event::Opened { session } => {
                out.u8(OPENED);
                out.varint(session.get());
            }
            Event::Ended { session } => {
                out.u8(ENDED);
                out.varint(session.get());
            }
            Event::Applied(Applied { request, reply }) => {
                out.u8(APPLIED);
                request.encode(out);
                put_reply(reply.as_deref(), out);
            }
        }
    }

    /// Reads an event back, tag included. Every length inside is checked.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Event<'a>, Malformed> {
        let mut take = Take::new(bytes);
        let event = match take.u8()? {
            OPENED => Event::Opened { session: SessionId::decode(&mut take)? },
            ENDED => Event::Ended { session: SessionId::decode(&mut take)? },
            APPLIED => {
                let request = Request::decode(&mut take)?;
                Event::Applied(Applied { request, reply: take_reply(&mut take)?.map(Cow::Borrowed) })
            }
            _ => return Err(Malformed("unknown tag of a session's event")),
        };
        take.end()?;
        Ok(event)
    }

    /// Names every row that the event changes. An answer that `seen_below` lets go may stay in its row: whoever loads
    /// the rows lets it go too.
    pub(crate) fn touches(&self, visit: &mut dyn FnMut(RowKey)) {
        match self {
            Event::Opened { session } => visit(row_of(*session, 0)),
            Event::Ended { session } => (0..CHUNKS).for_each(|chunk| visit(row_of(*session, chunk))),
            Event::Applied(Applied { request, .. }) => visit(row_of(request.session, chunk_of(request.sequence))),
        }
    }
}

/// `u8 (1 if it is kept) · slice(reply), if so`.
pub(super) fn put_reply(reply: Option<&[u8]>, out: &mut Put<'_>) {
    out.u8(u8::from(reply.is_some()));
    if let Some(reply) = reply {
        out.slice(reply);
    }
}

pub(super) fn take_reply<'a>(take: &mut Take<'a>) -> Result<Option<&'a [u8]>, Malformed> {
    match take.u8()? {
        0 => Ok(None),
        1 => take.slice().map(Some),
        _ => Err(Malformed("a reply neither kept nor not")),
    }
}
