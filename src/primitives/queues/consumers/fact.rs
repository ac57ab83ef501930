//! Facts about consumers, and their bytes: changes among those of queues.
//!
//! | change | event  | fields                                                                     |
//! |--------|--------|----------------------------------------------------------------------------|
//! | 35     | joined | consumer · queue · holder · priority u8 · prefetch · slice(name)           |
//! | 36     | left   | consumer · queue                                                           |
//! | 37     | ended  | holder: with its process all its consumers have                            |

use crate::base::bounds::PREFETCH_MAX;
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};

use super::super::command::{Holder, QueueNumber};
use super::ConsumerNumber;

/// The changes that are of consumers.
pub(in crate::primitives::queues) const CONSUMER_CHANGES: std::ops::RangeInclusive<u8> = JOINED..=ENDED;

const JOINED: u8 = 35;
const LEFT: u8 = 36;
const ENDED: u8 = 37;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConsumerEvent<'a> {
    Joined { number: ConsumerNumber, queue: QueueNumber, holder: Holder, priority: u8, prefetch: u32, name: &'a str },
    Left { number: ConsumerNumber, queue: QueueNumber },
    Ended { holder: Holder },
}

impl<'a> ConsumerEvent<'a> {
    /// With the byte that tells the change.
    pub(in crate::primitives::queues) fn encoded_len(&self) -> usize {
        1 + match self {
            ConsumerEvent::Joined { number, queue, holder, prefetch, name, .. } => {
                let varints = [number.0, u64::from(queue.0), holder.0, u64::from(*prefetch)];
                varints.into_iter().map(varint_len).sum::<usize>() + 1 + slice_len(name.len())
            }
            ConsumerEvent::Left { number, queue } => varint_len(number.0) + varint_len(u64::from(queue.0)),
            ConsumerEvent::Ended { holder } => varint_len(holder.0),
        }
    }

    pub(in crate::primitives::queues) fn encode(&self, out: &mut Put<'_>) {
        match self {
            ConsumerEvent::Joined { number, queue, holder, priority, prefetch, name } => {
                out.u8(JOINED);
                out.varints([number.0, u64::from(queue.0), holder.0]);
                out.u8(*priority);
                out.varint(u64::from(*prefetch));
                out.slice(name.as_bytes());
            }
            ConsumerEvent::Left { number, queue } => {
                out.u8(LEFT);
                out.varints([number.0, u64::from(queue.0)]);
            }
            ConsumerEvent::Ended { holder } => {
                out.u8(ENDED);
                out.varint(holder.0);
            }
        }
    }

    pub(in crate::primitives::queues) fn decode(change: u8, take: &mut Take<'a>) -> Result<Self, Malformed> {
        Ok(match change {
            JOINED => {
                let (number, queue) = (take_number(take)?, QueueNumber(take.varint32()?));
                let (holder, priority, prefetch) = (Holder(take.varint()?), take.u8()?, take.varint32()?);
                if !(1..=PREFETCH_MAX as u32).contains(&prefetch) {
                    return Err(Malformed("a prefetch that nobody has"));
                }
                ConsumerEvent::Joined { number, queue, holder, priority, prefetch, name: take.text()? }
            }
            LEFT => ConsumerEvent::Left { number: take_number(take)?, queue: QueueNumber(take.varint32()?) },
            ENDED => ConsumerEvent::Ended { holder: Holder(take.varint()?) },
            _ => return Err(Malformed("a change that consumers do not have")),
        })
    }
}

/// A number of which twice as much is a number too.
fn take_number(take: &mut Take<'_>) -> Result<ConsumerNumber, Malformed> {
    match take.varint()? {
        number @ 1..=0x3fff_ffff_ffff_ffff => Ok(ConsumerNumber(number)),
        _ => Err(Malformed("a number that no consumer has")),
    }
}
