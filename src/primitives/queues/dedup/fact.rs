//! That ids were accepted, or forgotten; its bytes are those of a change among the facts of queues.
//!
//! | change | event      | fields                                                                                |
//! |--------|------------|---------------------------------------------------------------------------------------|
//! | 32     | remembered | u8 (0 of a queue, 1 of an exchange) · its number · when · from · keep · count ·        |
//! |        |            | per id hash 16 · value                                                                |
//!
//! A value is the sequence of the message, or the number of queues that got it. `from` is the number that the first of
//! the ids gets in a window; those below `keep` are forgotten behind them. Of the living, slots below `keep` are free
//! before the ids come, and `from` is 0.

use super::super::command::QueueNumber;
use super::super::routing::ExchangeNumber;
use super::id::{EntryPoint, IdHash};
use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::time::Timestamp;

/// The change that this is.
pub(in crate::primitives::queues) const REMEMBERED: u8 = 32;

/// Ids of an entry point were accepted at a time, and others are forgotten.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Remembered {
    pub(in crate::primitives::queues) entry: EntryPoint,
    pub(super) at: Timestamp,
    pub(super) from: u64,
    pub(super) keep: u64,
    /// Each with what is told of its message.
    pub(super) ids: Vec<(IdHash, u64)>,
}

impl Remembered {
    fn head(&self) -> [u64; 5] {
        let number = match self.entry {
            EntryPoint::Queue(queue) => queue.0,
            EntryPoint::Exchange(exchange) => exchange.0,
        };
        [u64::from(number), self.at.0, self.from, self.keep, self.ids.len() as u64]
    }

    /// With the byte that tells the change.
    pub(in crate::primitives::queues) fn encoded_len(&self) -> usize {
        let ids = self.ids.iter().map(|(_, value)| 16 + varint_len(*value)).sum::<usize>();
        2 + self.head().into_iter().map(varint_len).sum::<usize>() + ids
    }

    pub(in crate::primitives::queues) fn encode(&self, out: &mut Put<'_>) {
        out.u8(REMEMBERED);
        out.u8(u8::from(matches!(self.entry, EntryPoint::Exchange(_))));
        self.head().into_iter().for_each(|field| out.varint(field));
        for (hash, value) in &self.ids {
            out.bytes(&hash.0);
            out.varint(*value);
        }
    }

    /// Reads what follows the byte that tells the change.
    pub(in crate::primitives::queues) fn decode(take: &mut Take<'_>) -> Result<Remembered, Malformed> {
        let is_exchange = super::super::event::take_bool(take)?;
        let number = take.varint32()?;
        let entry = match is_exchange {
            false => EntryPoint::Queue(QueueNumber(number)),
            true => EntryPoint::Exchange(ExchangeNumber(number)),
        };
        let (at, from, keep, count) = (Timestamp(take.varint()?), take.varint()?, take.varint()?, take.varint()?);
        if count > (take.remaining() / 17) as u64 || from.checked_add(count).is_none() {
            return Err(Malformed("more ids than bytes"));
        }
        let id = |take: &mut Take<'_>| Ok((IdHash(take.array()?), take.varint()?));
        let ids = (0..count).map(|_| id(take)).collect::<Result<Vec<_>, Malformed>>()?;
        Ok(Remembered { entry, at, from, keep, ids })
    }
}
