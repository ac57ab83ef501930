//! Answers, and their bytes.
//!
//! | tag | reply    | fields                                                                               |
//! |-----|----------|--------------------------------------------------------------------------------------|
//! | 1   | queue    | queue                                                                                |
//! | 2   | done     |                                                                                      |
//! | 3   | more     |                                                                                      |
//! | 4   | sent     | priority u8 · offset, of the first message                                           |
//! | 5   | handed   | count · per run lane · priority u8 · log · first · count · acquired · failed         |
//! | 6   | nothing  | known                                                                                |
//! | 7   | settled  | count · places of those that were not in flight any more                             |
//! | 8   | purged   | messages · count · per stretch lane · from · end: what is left to purge               |
//! | 9   | exchange | exchange                                                                             |
//! | 10  | published | queues                                                                              |
//! | 11  | unbound  | u8 (1 it was bound)                                                                  |
//! | 12  | joined   | consumer                                                                             |
//! | 13  | unjoined |                                                                                      |
//! | 14  | no room  |                                                                                      |
//! | 15  | acked through | messages                                                                        |
//! | 16  | yields   |                                                                                      |
//! | 32  | sent some | sequence + 1 of the first that is new, 0 if none is · told                          |
//! | 33  | published some | places in queues of those that are new · told                                  |
//!
//! What is told of messages that were known: count · per stretch place in the call · count · value · lsn
//! (`dedup/judging.rs`).

use super::command::{QueueNumber, Stretch};
use super::consumers::ConsumerNumber;
use super::dedup::Told;
use super::lane::LaneNumber;
use super::routing::ExchangeNumber;
use crate::base::bounds::{DELIVERIES_PER_CALL_MAX, MESSAGES_PER_RECEIVE_MAX, PRIORITIES};
use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::log::LogId;
use crate::base::lsn::Lsn;

/// The answer to an accepted command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    Queue(QueueNumber),
    Done,
    /// A step was made, and there is more to do.
    More,
    /// The first message is there.
    Sent {
        priority: u8,
        offset: u64,
    },
    Handed(Vec<HandedRun>),
    /// There is nothing to hand out. Looking again is of use once the queue's news are other than `known`.
    Nothing {
        known: u64,
    },
    /// All were settled but those in these places.
    Settled {
        stale: Vec<u32>,
    },
    /// So many went, and these are still to go.
    Purged {
        messages: u64,
        left: Vec<Stretch>,
    },
    Exchange(ExchangeNumber),
    /// So many places in queues were taken.
    Published {
        queues: u64,
    },
    Unbound {
        was_bound: bool,
    },
    /// Some were known by their ids, and were not stored; of the others the first has this sequence.
    SentSome {
        first: Option<u64>,
        told: Vec<Told>,
    },
    /// Some were known by their ids, and were not stored; the others took so many places in queues.
    PublishedSome {
        queues: u64,
        told: Vec<Told>,
    },
    Joined {
        consumer: ConsumerNumber,
    },
    /// Nothing is handed out to who is no consumer of the queue: it has to join, or to join again.
    Unjoined,
    /// The consumer has as many in flight as it takes, or it is not the one that is active.
    NoRoom,
    /// Others come first, who were woken and have yet to look.
    Yields,
    /// So many went.
    AckedThrough {
        messages: u64,
    },
}

/// Messages of successive sequences that were handed out, and are told alike.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HandedRun {
    pub(crate) lane: LaneNumber,
    pub(crate) priority: u8,
    pub(crate) log: LogId,
    pub(crate) first: u64,
    pub(crate) count: u32,
    /// Which hand-out of each this is.
    pub(crate) acquired: u32,
    /// Failed attempts before.
    pub(crate) failed: u32,
}

const QUEUE: u8 = 1;
const DONE: u8 = 2;
const MORE: u8 = 3;
const SENT: u8 = 4;
const HANDED: u8 = 5;
const NOTHING: u8 = 6;
const SETTLED: u8 = 7;
const PURGED: u8 = 8;
const EXCHANGE: u8 = 9;
const PUBLISHED: u8 = 10;
const UNBOUND: u8 = 11;
const SENT_SOME: u8 = 32;
const PUBLISHED_SOME: u8 = 33;

/// Bytes of the place and the value of a stretch at least.
const TOLD_BYTES_MIN: usize = 4;

fn told_fields(told: &Told) -> [u64; 4] {
    [u64::from(told.message), u64::from(told.count), told.value, told.lsn.get()]
}

fn told_len(head: u64, told: &[Told]) -> usize {
    varints([head, told.len() as u64]) + varints(told.iter().flat_map(told_fields))
}

fn put_told(tag: u8, head: u64, told: &[Told], out: &mut Put<'_>) {
    out.u8(tag);
    out.varints([head, told.len() as u64]);
    told.iter().for_each(|told| out.varints(told_fields(told)));
}

fn take_told(take: &mut Take<'_>) -> Result<Vec<Told>, Malformed> {
    let count = take.varint()?;
    if count > (take.remaining() / TOLD_BYTES_MIN) as u64 {
        return Err(Malformed("more stretches than bytes"));
    }
    let one = |take: &mut Take<'_>| {
        let (message, count) = (take.varint32()?, take.varint32()?);
        let told = Told { message, count, value: take.varint()?, lsn: Lsn(take.varint()?) };
        let is_within = told.value.checked_add(u64::from(count)).is_some() && message.checked_add(count).is_some();
        if is_within && count > 0 { Ok(told) } else { Err(Malformed("messages that cannot be")) }
    };
    (0..count).map(|_| one(take)).collect()
}
const JOINED: u8 = 12;
const UNJOINED: u8 = 13;
const NO_ROOM: u8 = 14;
const ACKED_THROUGH: u8 = 15;
const YIELDS: u8 = 16;

impl HandedRun {
    fn fields(&self) -> [u64; 6] {
        let HandedRun { lane, log, first, count, acquired, failed, .. } = *self;
        [u64::from(lane.0), log.0, first, u64::from(count), u64::from(acquired), u64::from(failed)]
    }

    pub(crate) fn encoded_len(&self) -> usize {
        1 + varints(self.fields())
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        out.u8(self.priority);
        self.fields().into_iter().for_each(|field| out.varint(field));
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<HandedRun, Malformed> {
        let priority = take.u8()?;
        let (lane, log, first) = (LaneNumber(take.varint32()?), LogId(take.varint()?), take.varint()?);
        let (count, acquired, failed) = (take.varint32()?, take.varint32()?, take.varint32()?);
        if priority >= PRIORITIES || first.checked_add(u64::from(count)).is_none() || count == 0 {
            return Err(Malformed("messages that cannot be"));
        }
        Ok(HandedRun { lane, priority, log, first, count, acquired, failed })
    }
}

fn varints(values: impl IntoIterator<Item = u64>) -> usize {
    values.into_iter().map(varint_len).sum()
}

impl Reply {
    pub(crate) fn encoded_len(&self) -> usize {
        1 + match self {
            Reply::Done | Reply::More | Reply::Unjoined | Reply::NoRoom | Reply::Yields => 0,
            Reply::Joined { consumer } => varint_len(consumer.0),
            Reply::AckedThrough { messages } => varint_len(*messages),
            Reply::Queue(queue) => varint_len(u64::from(queue.0)),
            Reply::Exchange(exchange) => varint_len(u64::from(exchange.0)),
            Reply::Published { queues } => varint_len(*queues),
            Reply::Unbound { .. } => 1,
            Reply::SentSome { first, told } => told_len(first.map_or(0, |first| first + 1), told),
            Reply::PublishedSome { queues, told } => told_len(*queues, told),
            Reply::Sent { offset, .. } => 1 + varint_len(*offset),
            Reply::Handed(runs) => {
                varint_len(runs.len() as u64) + runs.iter().map(HandedRun::encoded_len).sum::<usize>()
            }
            Reply::Nothing { known } => varint_len(*known),
            Reply::Settled { stale } => {
                varint_len(stale.len() as u64) + varints(stale.iter().map(|place| u64::from(*place)))
            }
            Reply::Purged { messages, left } => {
                varints([*messages, left.len() as u64])
                    + varints(left.iter().flat_map(|left| [u64::from(left.lane.0), left.from, left.end]))
            }
        }
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match self {
            Reply::Queue(queue) => {
                out.u8(QUEUE);
                out.varint(u64::from(queue.0));
            }
            Reply::Exchange(exchange) => {
                out.u8(EXCHANGE);
                out.varint(u64::from(exchange.0));
            }
            Reply::Published { queues } => {
                out.u8(PUBLISHED);
                out.varint(*queues);
            }
            Reply::Unbound { was_bound } => {
                out.u8(UNBOUND);
                out.u8(u8::from(*was_bound));
            }
            Reply::SentSome { first, told } => put_told(SENT_SOME, first.map_or(0, |first| first + 1), told, out),
            Reply::PublishedSome { queues, told } => put_told(PUBLISHED_SOME, *queues, told, out),
            Reply::Joined { consumer } => {
                out.u8(JOINED);
                out.varint(consumer.0);
            }
            Reply::AckedThrough { messages } => {
                out.u8(ACKED_THROUGH);
                out.varint(*messages);
            }
            Reply::Unjoined => out.u8(UNJOINED),
            Reply::NoRoom => out.u8(NO_ROOM),
            Reply::Yields => out.u8(YIELDS),
            Reply::Done => out.u8(DONE),
            Reply::More => out.u8(MORE),
            Reply::Sent { priority, offset } => {
                out.u8(SENT);
                out.u8(*priority);
                out.varint(*offset);
            }
            Reply::Handed(runs) => {
                out.u8(HANDED);
                out.varint(runs.len() as u64);
                runs.iter().for_each(|run| run.encode(out));
            }
            Reply::Nothing { known } => {
                out.u8(NOTHING);
                out.varint(*known);
            }
            Reply::Settled { stale } => {
                out.u8(SETTLED);
                out.varint(stale.len() as u64);
                stale.iter().for_each(|place| out.varint(u64::from(*place)));
            }
            Reply::Purged { messages, left } => {
                out.u8(PURGED);
                out.varint(*messages);
                out.varint(left.len() as u64);
                for Stretch { lane, from, end } in left {
                    out.varints([u64::from(lane.0), *from, *end]);
                }
            }
        }
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Reply, Malformed> {
        Ok(match take.u8()? {
            QUEUE => Reply::Queue(QueueNumber(take.varint32()?)),
            EXCHANGE => Reply::Exchange(ExchangeNumber(take.varint32()?)),
            PUBLISHED => Reply::Published { queues: take.varint()? },
            UNBOUND => Reply::Unbound { was_bound: super::event::take_bool(take)? },
            SENT_SOME => Reply::SentSome { first: take.varint()?.checked_sub(1), told: take_told(take)? },
            PUBLISHED_SOME => Reply::PublishedSome { queues: take.varint()?, told: take_told(take)? },
            JOINED => Reply::Joined { consumer: ConsumerNumber(take.varint()?) },
            ACKED_THROUGH => Reply::AckedThrough { messages: take.varint()? },
            UNJOINED => Reply::Unjoined,
            NO_ROOM => Reply::NoRoom,
            YIELDS => Reply::Yields,
            DONE => Reply::Done,
            MORE => Reply::More,
            SENT => Reply::Sent { priority: take.u8()?, offset: take.varint()? },
            HANDED => Reply::Handed(take_some(take, MESSAGES_PER_RECEIVE_MAX, HandedRun::decode)?),
            NOTHING => Reply::Nothing { known: take.varint()? },
            SETTLED => Reply::Settled { stale: take_some(take, DELIVERIES_PER_CALL_MAX, Take::varint32)? },
            PURGED => {
                let messages = take.varint()?;
                let stretch = |take: &mut Take<'_>| {
                    Ok(Stretch { lane: LaneNumber(take.varint32()?), from: take.varint()?, end: take.varint()? })
                };
                Reply::Purged { messages, left: take_some(take, usize::from(PRIORITIES), stretch)? }
            }
            _ => return Err(Malformed("a reply that queues do not have")),
        })
    }
}

fn take_some<'a, T>(
    take: &mut Take<'a>,
    max: usize,
    one: impl Fn(&mut Take<'a>) -> Result<T, Malformed>,
) -> Result<Vec<T>, Malformed> {
    let count = take.varint()?;
    if count > max as u64 {
        return Err(Malformed("more than there can be"));
    }
    (0..count).map(|_| one(take)).collect()
}
