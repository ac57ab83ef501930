//! Ids as they are known, and what is remembered of one.

use xxhash_rust::xxh3::xxh3_128_with_seed;

use super::super::command::QueueNumber;
use super::super::routing::ExchangeNumber;
use crate::base::lsn::Lsn;
use crate::base::time::Timestamp;

/// Where messages enter whose ids are remembered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum EntryPoint {
    Queue(QueueNumber),
    Exchange(ExchangeNumber),
}

/// What an id is known by. Of a million of them two are alike with a chance of one in 10^26; the seed is another for
/// each entry point, so that two which are alike in one are not in others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct IdHash(pub(super) [u8; 16]);

impl IdHash {
    pub(crate) fn of(entry: EntryPoint, id: &str) -> IdHash {
        let seed = match entry {
            EntryPoint::Queue(queue) => u64::from(queue.0) << 1,
            EntryPoint::Exchange(exchange) => u64::from(exchange.0) << 1 | 1,
        };
        IdHash(xxh3_128_with_seed(id.as_bytes(), seed).to_le_bytes())
    }

    /// Its place in a table.
    pub(super) fn spread(&self) -> u64 {
        u64::from_le_bytes(*self.0.first_chunk().expect("sixteen bytes begin with eight"))
    }
}

/// An id that was accepted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(super) hash: IdHash,
    pub(super) at: Timestamp,
    /// The frame of its message.
    pub(super) lsn: Lsn,
    /// What was answered: of a queue the sequence, of an exchange how many queues got it.
    pub(super) value: u64,
}

/// Bytes of one in a row at most.
pub(super) const KNOWN_BYTES_MAX: usize = 16 + 3 * 10;
