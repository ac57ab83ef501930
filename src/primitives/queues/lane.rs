//! A lane: the messages of one priority of a queue, each with a sequence, which is its offset in the lane's log.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::bounds::{PRIORITY_DEFAULT, SEQUENCE_BITS, TRIM_BYTES, TRIM_MESSAGES};
use crate::base::log::LogId;
use crate::base::time::Timestamp;

use super::chunk::{Chunk, bit, bits, chunk_of};

/// Names a lane among those of all queues. Another may have the number later, once nothing of the first is left.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct LaneNumber(pub(crate) u32);

#[derive(Clone, Debug)]
pub(crate) struct Lane {
    pub(crate) number: LaneNumber,
    pub(crate) priority: u8,
    pub(crate) log: LogId,
    /// Below it nothing is left.
    pub(crate) start: u64,
    /// The first that may still be in line.
    pub(crate) cursor: u64,
    pub(crate) end: u64,
    pub(crate) last_timestamp: Timestamp,
    /// Of all that ever was in it.
    pub(crate) bytes: u64,
    pub(super) chunks: BTreeMap<u64, Chunk>,
    /// Chunks that have ready messages of no group, those that are suspects apart.
    pub(super) ready: BTreeSet<u64>,
    pub(super) suspects: BTreeSet<u64>,
    /// Chunks that have messages which wait and are not in line, and those that have dead ones.
    pub(super) waiting: BTreeSet<u64>,
    pub(super) dead: BTreeSet<u64>,
    /// Chunks that have, or had, messages in flight.
    pub(super) flying: BTreeSet<u64>,
    /// First messages of groups of which none is in flight.
    pub(super) heads: BTreeSet<u64>,
}

/// The number of a message in its queue, as users see it: of two of the same priority the later has the greater one.
pub(crate) fn sequence(priority: u8, offset: u64) -> u64 {
    u64::from(priority ^ PRIORITY_DEFAULT) << SEQUENCE_BITS | offset
}

/// The priority and offset that a sequence names.
pub(crate) fn place_of(sequence: u64) -> (u8, u64) {
    ((sequence >> SEQUENCE_BITS) as u8 ^ PRIORITY_DEFAULT, sequence & ((1 << SEQUENCE_BITS) - 1))
}

impl Lane {
    pub(super) fn new(number: LaneNumber, priority: u8, log: LogId) -> Lane {
        Lane {
            number,
            priority,
            log,
            start: 0,
            cursor: 0,
            end: 0,
            last_timestamp: Timestamp(0),
            bytes: 0,
            chunks: BTreeMap::new(),
            ready: BTreeSet::new(),
            suspects: BTreeSet::new(),
            waiting: BTreeSet::new(),
            dead: BTreeSet::new(),
            flying: BTreeSet::new(),
            heads: BTreeSet::new(),
        }
    }

    pub(super) fn chunk(&self, offset: u64) -> Option<&Chunk> {
        self.chunks.get(&chunk_of(offset))
    }

    /// The first message from here on that is in line, before `end`.
    pub(super) fn next_in_line(&self, from: u64, end: u64) -> Option<u64> {
        let mut at = from.max(self.cursor);
        let mut chunks = self.chunks.range(chunk_of(at)..);
        let mut next = chunks.next();
        while at < end {
            let Some((number, chunk)) = next.filter(|(number, _)| **number == chunk_of(at)) else { return Some(at) };
            let in_line = !chunk.exceptions() & !(bit(at) - 1);
            if in_line != 0 {
                let found = number * 64 + u64::from(in_line.trailing_zeros());
                return (found < end).then_some(found);
            }
            at = (number + 1) * 64;
            next = chunks.next();
        }
        None
    }

    /// Whether the message is in line: not handed out yet, and nothing said of it but what it said itself.
    pub(super) fn is_in_line(&self, offset: u64) -> bool {
        let is_exception = || self.chunk(offset).is_some_and(|chunk| chunk.exceptions() & bit(offset) != 0);
        offset >= self.cursor && offset < self.end && !is_exception()
    }

    /// Whether the message is there, dead or alive.
    pub(super) fn has(&self, offset: u64) -> bool {
        self.is_in_line(offset) || self.chunk(offset).is_some_and(|chunk| chunk.kept() & bit(offset) != 0)
    }

    /// How many are in line below this.
    pub(super) fn in_line_below(&self, end: u64) -> u64 {
        let end = end.clamp(self.cursor, self.end);
        let ahead = self.chunks.range(chunk_of(self.cursor)..=chunk_of(end)).map(|(number, chunk)| {
            let passed = if *number == chunk_of(self.cursor) { bit(self.cursor) - 1 } else { 0 };
            let behind = if *number == chunk_of(end) { !(bit(end) - 1) } else { 0 };
            u64::from((chunk.exceptions() & !passed & !behind).count_ones())
        });
        end - self.cursor - ahead.sum::<u64>()
    }

    /// Below it nothing is left once the cursor is there.
    fn floor(&self, cursor: u64) -> u64 {
        // Behind the cursor's chunk there may be very many that only say something of messages in line.
        let chunks = self.chunks.range(..=chunk_of(cursor));
        let kept = chunks.map(|(number, chunk)| (number, chunk.kept())).find(|(_, kept)| *kept != 0);
        let first = kept.map(|(number, kept)| number * 64 + u64::from(kept.trailing_zeros()));
        first.map_or(cursor, |first| first.min(cursor))
    }

    /// Where the log is to start, if so much has died that it is worth a fact.
    pub(super) fn wants_trim(&self) -> Option<u64> {
        self.wants_trim_at(self.cursor)
    }

    /// The same, once the cursor is there.
    pub(super) fn wants_trim_at(&self, cursor: u64) -> Option<u64> {
        let floor = self.floor(cursor);
        let died = floor - self.start;
        let bytes = died.saturating_mul(self.bytes / self.end.max(1) + 32);
        (died >= TRIM_MESSAGES || bytes >= TRIM_BYTES).then_some(floor)
    }

    /// Bits of the ready messages of no group, suspects or others.
    pub(super) fn ready_bits(chunk: &Chunk, suspects: bool) -> u64 {
        let ready = chunk.ready & !chunk.grouped;
        let marked = chunk.all_tracked().filter(|(_, tracked)| tracked.is_suspect).fold(0, |mask, (bit, _)| mask | bit);
        ready & if suspects { marked } else { !marked }
    }

    /// Offsets of ready messages of no group from `from` on, in order.
    pub(super) fn ready_from(&self, from: u64, suspects: bool) -> Option<u64> {
        let chunks = if suspects { &self.suspects } else { &self.ready };
        for number in chunks.range(chunk_of(from)..) {
            let passed = if *number == chunk_of(from) { bit(from) - 1 } else { 0 };
            let ready = Lane::ready_bits(&self.chunks[number], suspects) & !passed;
            if ready != 0 {
                return Some(number * 64 + u64::from(ready.trailing_zeros()));
            }
        }
        None
    }

    /// Every message in flight with its chunk's facts.
    pub(super) fn all_flying(&self) -> impl Iterator<Item = (u64, &Chunk, u64)> {
        let chunks = self.flying.iter().filter_map(|number| Some((number, self.chunks.get(number)?)));
        chunks.flat_map(|(number, chunk)| {
            bits(chunk.flying).map(move |bit| (number * 64 + u64::from(bit.trailing_zeros()), chunk, bit))
        })
    }
}
