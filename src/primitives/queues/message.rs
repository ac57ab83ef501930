//! A message to send, and its bytes inside an item.
//!
//! ```text
//! attributes  u8 (1 due, 2 ttl, 4 deadline, 8 group, 16 max attempts, 32 origin, 64 history, 128 id; 0 in an item
//!             without any)
//! due         varint, if flagged: when a delayed message becomes ready
//! ttl         varint, if flagged: how long it lives once it is ready
//! deadline    varint, if flagged: when it is over, wherever it stands
//! group       slice, if flagged
//! attempts    varint, if flagged
//! origin      slice(exchange) · slice(routing key), if flagged
//! history     slice, if flagged: as in `history.rs`
//! id          slice, if flagged: what its sender calls it
//! record      as of a stream (`primitives/record.rs`)
//! ```
//!
//! Times are microseconds of wall-clock time, durations microseconds.

use xxhash_rust::xxh3::xxh3_64;

use crate::base::bounds::PRIORITY_DEFAULT;
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::time::Timestamp;
use crate::primitives::record::{Record, RecordRef, take_parts};

const DUE: u8 = 1;
const TTL: u8 = 2;
const DEADLINE: u8 = 4;
const GROUP: u8 = 8;
const ATTEMPTS: u8 = 16;
const ORIGIN: u8 = 32;
const HISTORY: u8 = 64;
const ID: u8 = 128;

/// A message to send; it borrows what it is made of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) record: Record<'a>,
    pub(crate) priority: u8,
    pub(crate) due: Option<Due>,
    pub(crate) ttl_micros: Option<u64>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) group: Option<&'a str>,
    pub(crate) max_attempts: Option<u32>,
    /// None if it was sent to the queue itself.
    pub(crate) origin: Option<Origin<'a>>,
    /// What became of it before; see `history.rs`.
    pub(crate) history: Option<&'a [u8]>,
    /// What its sender calls it.
    pub(crate) id: Option<&'a str>,
}

/// How a message came to its queues. The default exchange has no name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Origin<'a> {
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
}

/// When a delayed message becomes ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Due {
    At(Timestamp),
    /// Microseconds after it was sent.
    In(u64),
}

/// What a message says of itself besides its record, as a fact.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Attributes<'a> {
    pub(crate) due: Option<Timestamp>,
    pub(crate) ttl_micros: Option<u64>,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) group: Option<&'a str>,
    pub(crate) max_attempts: Option<u32>,
    pub(crate) origin: Option<Origin<'a>>,
    pub(crate) history: Option<&'a [u8]>,
    pub(crate) id: Option<&'a str>,
}

/// What a group is known by in memory and in rows. Two groups that share it are handed out as one, which delays
/// messages and does nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct GroupHash(pub(crate) u64);

impl GroupHash {
    pub(crate) fn of(name: &str) -> GroupHash {
        GroupHash(xxh3_64(name.as_bytes()))
    }
}

impl<'a> Message<'a> {
    /// A message that says nothing of itself.
    pub(crate) const fn plain(record: Record<'a>) -> Message<'a> {
        Message {
            record,
            priority: PRIORITY_DEFAULT,
            due: None,
            ttl_micros: None,
            deadline: None,
            group: None,
            max_attempts: None,
            origin: None,
            history: None,
            id: None,
        }
    }

    /// Whether it has more than its record that is to be written.
    pub(super) fn has_attributes(&self) -> bool {
        !self.is_plain() || self.origin.is_some() || self.history.is_some() || self.id.is_some()
    }

    /// Whether it needs no state of its own while it waits.
    pub(crate) fn is_plain(&self) -> bool {
        self.due.is_none()
            && self.ttl_micros.is_none()
            && self.deadline.is_none()
            && self.group.is_none()
            && self.max_attempts.is_none()
    }

    /// What it says of itself when it is sent at this time. One that is ready and lives for no time lives
    /// `awaited_micros`; of a delayed one that is known when it is due.
    pub(super) fn attributes(&self, sent: Timestamp, awaited_micros: u64) -> Attributes<'a> {
        let due = self.due.map(|due| match due {
            Due::At(at) => at,
            Due::In(micros) => Timestamp(sent.0.saturating_add(micros)),
        });
        let due = due.filter(|due| *due > sent);
        Attributes {
            due,
            ttl_micros: self.ttl_micros.map(|ttl| if ttl == 0 && due.is_none() { awaited_micros } else { ttl }),
            deadline: self.deadline,
            group: self.group,
            max_attempts: self.max_attempts,
            origin: self.origin,
            history: self.history,
            id: self.id,
        }
    }
}

impl<'a> Attributes<'a> {
    /// Whether a message that says this needs no state of its own while it waits.
    pub(super) fn are_plain(&self) -> bool {
        Attributes { origin: None, history: None, id: None, ..*self } == Attributes::default()
    }

    fn numbers(&self) -> [(u8, Option<u64>); 4] {
        [
            (DUE, self.due.map(|due| due.0)),
            (TTL, self.ttl_micros),
            (DEADLINE, self.deadline.map(|deadline| deadline.0)),
            (ATTEMPTS, self.max_attempts.map(u64::from)),
        ]
    }

    pub(super) fn encoded_len(&self) -> usize {
        let numbers = self.numbers().into_iter().filter_map(|(_, number)| number).map(varint_len);
        let origin =
            self.origin.map_or(0, |origin| slice_len(origin.exchange.len()) + slice_len(origin.routing_key.len()));
        let texts = [self.group, self.id].into_iter().flatten().map(|text| slice_len(text.len()));
        let history = self.history.map_or(0, |history| slice_len(history.len()));
        1 + numbers.sum::<usize>() + texts.sum::<usize>() + origin + history
    }

    pub(super) fn encode(&self, out: &mut Put<'_>) {
        let flag = |flags: u8, (flag, number): (u8, Option<u64>)| if number.is_some() { flags | flag } else { flags };
        let group = if self.group.is_some() { GROUP } else { 0 };
        let origin = if self.origin.is_some() { ORIGIN } else { 0 };
        let history = if self.history.is_some() { HISTORY } else { 0 };
        let id = if self.id.is_some() { ID } else { 0 };
        out.u8(self.numbers().into_iter().fold(group | origin | history | id, flag));
        let [due, ttl, deadline, attempts] = self.numbers();
        for (_, number) in [due, ttl, deadline] {
            number.into_iter().for_each(|number| out.varint(number));
        }
        self.group.into_iter().for_each(|group| out.slice(group.as_bytes()));
        attempts.1.into_iter().for_each(|number| out.varint(number));
        if let Some(Origin { exchange, routing_key }) = self.origin {
            out.slice(exchange.as_bytes());
            out.slice(routing_key.as_bytes());
        }
        self.history.into_iter().for_each(|history| out.slice(history));
        self.id.into_iter().for_each(|id| out.slice(id.as_bytes()));
    }

    pub(super) fn decode(take: &mut Take<'a>) -> Result<Attributes<'a>, Malformed> {
        // Each of the eight has its meaning.
        let flags = take.u8()?;
        let has = |flag: u8| flags & flag != 0;
        Ok(Attributes {
            due: if has(DUE) { Some(Timestamp(take.varint()?)) } else { None },
            ttl_micros: if has(TTL) { Some(take.varint()?) } else { None },
            deadline: if has(DEADLINE) { Some(Timestamp(take.varint()?)) } else { None },
            group: if has(GROUP) { Some(take.text()?) } else { None },
            max_attempts: if has(ATTEMPTS) { Some(take.varint32()?) } else { None },
            origin: match has(ORIGIN) {
                true => Some(Origin { exchange: take.text()?, routing_key: take.text()? }),
                false => None,
            },
            history: if has(HISTORY) { Some(take.slice()?) } else { None },
            id: if has(ID) { Some(take.text()?) } else { None },
        })
    }
}

/// A message as it lies in an item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct MessageRef<'a> {
    pub(crate) attributes: Attributes<'a>,
    pub(crate) record: RecordRef<'a>,
}

pub(super) fn take_message<'a>(
    take: &mut Take<'a>,
    offset: u64,
    has_attributes: bool,
) -> Result<MessageRef<'a>, Malformed> {
    let attributes = if has_attributes { Attributes::decode(take)? } else { Attributes::default() };
    Ok(MessageRef { attributes, record: take_parts(take, offset)? })
}
