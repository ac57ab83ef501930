//! Ids as rows of the checkpoint, 64 in each.
//!
//! | kind | id                    | row                                                                  |
//! |------|-----------------------|----------------------------------------------------------------------|
//! | 61   | number + 2^32 if of   | none: what an exchange or a queue told of ids                        |
//! |      | an exchange           |                                                                      |
//! | 62   | queue · block         | of a window: number of the first · per id hash 16 · when · lsn ·     |
//! |      |                       | value; of the living: per id place u8 · hash 16 · when · lsn · value |
//! | 63   | exchange · block      | as of a queue's window                                               |
//!
//! The block of an id is its number (or slot) divided by 64; 32 bits of it stand below those that name the entry point.

use super::super::command::QueueNumber;
use super::super::routing::ExchangeNumber;
use super::super::state::State;
use super::id::{EntryPoint, IdHash, KNOWN_BYTES_MAX, Known};
use super::living::Living;
use super::memory::Memory;
use super::window::Window;
use crate::base::bounds::{DEDUP_IDS_PER_ROW, ROW_BYTES_MAX};
use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;

const KIND_TOLD: u8 = 61;
pub(in crate::primitives::queues) const KIND_OF_QUEUE: u8 = 62;
pub(in crate::primitives::queues) const KIND_OF_EXCHANGE: u8 = 63;

const _: () = assert!(10 + DEDUP_IDS_PER_ROW as usize * (1 + KNOWN_BYTES_MAX) <= ROW_BYTES_MAX);

/// What changes when ids of an entry point are accepted. It has no row.
pub(in crate::primitives::queues) fn told_row(entry: EntryPoint) -> RowKey {
    let id = match entry {
        EntryPoint::Queue(queue) => u64::from(queue.0),
        EntryPoint::Exchange(exchange) => u64::from(exchange.0) | 1 << 32,
    };
    RowKey { kind: KIND_TOLD, id }
}

/// The row in which an id with this number or in this slot stands.
pub(super) fn id_row(entry: EntryPoint, number: u64) -> RowKey {
    let (kind, of) = match entry {
        EntryPoint::Queue(queue) => (KIND_OF_QUEUE, queue.0),
        EntryPoint::Exchange(exchange) => (KIND_OF_EXCHANGE, exchange.0),
    };
    RowKey { kind, id: u64::from(of) << 32 | u64::from((number / DEDUP_IDS_PER_ROW) as u32) }
}

fn entry_of(key: RowKey) -> EntryPoint {
    let number = (key.id >> 32) as u32;
    match key.kind {
        KIND_OF_EXCHANGE => EntryPoint::Exchange(ExchangeNumber(number)),
        _ => EntryPoint::Queue(QueueNumber(number)),
    }
}

impl Memory {
    fn row(&self, block: u32) -> Option<Vec<u8>> {
        match self {
            Memory::Window(window) => window.row(block),
            Memory::Living(living) => living.row(block),
        }
    }

    /// The number of an id in each row that there is.
    #[cfg(test)]
    fn rows(&self) -> Vec<u64> {
        let end = match self {
            Memory::Window(window) => window.end(),
            Memory::Living(living) => u64::from(living.slots()),
        };
        let first = self.ends().0;
        (first / DEDUP_IDS_PER_ROW..end.div_ceil(DEDUP_IDS_PER_ROW)).map(|row| row * DEDUP_IDS_PER_ROW).collect()
    }
}

impl Window {
    fn row(&self, block: u32) -> Option<Vec<u8>> {
        // Of all blocks with these bits one may be there: a window is much shorter than they are far apart.
        let first = self.first() / DEDUP_IDS_PER_ROW;
        let start = (first + u64::from(block.wrapping_sub(first as u32))).checked_mul(DEDUP_IDS_PER_ROW)?;
        let (from, end) = (start.max(self.first()), start.saturating_add(DEDUP_IDS_PER_ROW).min(self.end()));
        let known: Vec<&Known> = (from..end).filter_map(|number| self.get(number)).collect();
        if known.is_empty() {
            return None;
        }
        Some(filled(varint_len(from) + known.iter().map(|known| known_len(known)).sum::<usize>(), |out| {
            out.varint(from);
            known.iter().for_each(|known| put_known(known, out));
        }))
    }
}

impl Living {
    fn row(&self, block: u32) -> Option<Vec<u8>> {
        let places = 0..DEDUP_IDS_PER_ROW as u32;
        let at =
            |place: u32| Some((place, self.get(block.checked_mul(DEDUP_IDS_PER_ROW as u32)?.checked_add(place)?)?));
        let known: Vec<(u32, &Known)> = places.filter_map(at).collect();
        if known.is_empty() {
            return None;
        }
        Some(filled(known.iter().map(|(_, known)| 1 + known_len(known)).sum(), |out| {
            for (place, known) in known {
                out.u8(place as u8);
                put_known(known, out);
            }
        }))
    }
}

fn filled(len: usize, fill: impl FnOnce(&mut Put<'_>)) -> Vec<u8> {
    let mut row = vec![0; len];
    let mut out = Put::new(&mut row);
    fill(&mut out);
    assert_eq!(out.remaining(), 0, "a row is as long as was foretold");
    row
}

fn known_len(known: &Known) -> usize {
    16 + [known.at.0, known.lsn.get(), known.value].into_iter().map(varint_len).sum::<usize>()
}

fn put_known(known: &Known, out: &mut Put<'_>) {
    out.bytes(&known.hash.0);
    out.varints([known.at.0, known.lsn.get(), known.value]);
}

fn take_known(take: &mut Take<'_>) -> Result<Known, Malformed> {
    let (hash, at, lsn) = (IdHash(take.array()?), Timestamp(take.varint()?), Lsn(take.varint()?));
    match lsn {
        Lsn(0) => Err(Malformed("an id that no frame tells of")),
        lsn => Ok(Known { hash, at, lsn, value: take.varint()? }),
    }
}

impl State {
    pub(super) fn memory(&self, entry: EntryPoint) -> Option<&Memory> {
        match entry {
            EntryPoint::Queue(queue) => self.queues.get(&queue)?.ids.as_deref(),
            EntryPoint::Exchange(exchange) => self.exchanges.memory(exchange),
        }
    }

    pub(in crate::primitives::queues) fn row_of_ids(&self, key: RowKey) -> Option<Vec<u8>> {
        self.memory(entry_of(key))?.row(key.id as u32)
    }

    /// Takes a row back. Queues and exchanges come before their ids.
    pub(in crate::primitives::queues) fn load_ids(
        &mut self,
        key: RowKey,
        take: &mut Take<'_>,
    ) -> Result<(), Malformed> {
        let memory = match entry_of(key) {
            EntryPoint::Queue(queue) => self.queues.get_mut(&queue).and_then(|queue| queue.ids.as_mut()),
            EntryPoint::Exchange(exchange) => Arc::make_mut(&mut self.exchanges).memory_mut(exchange),
        };
        let memory = Arc::make_mut(memory.ok_or(Malformed("ids that nobody remembers"))?);
        let before = memory.len();
        match memory {
            Memory::Window(window) => {
                let (number, mut row) = (take.varint()?, Vec::new());
                while take.remaining() > 0 {
                    row.push(take_known(take)?);
                }
                let last = number.saturating_add(row.len().saturating_sub(1) as u64);
                let is_of_row = |number: u64| id_row(entry_of(key), number) == key;
                if row.is_empty() || !is_of_row(number) || !is_of_row(last) {
                    return Err(Malformed("ids in a row of others"));
                }
                window.load(number, &row)?;
            }
            Memory::Living(living) => {
                while take.remaining() > 0 {
                    let place = u64::from(take.u8()?);
                    if place >= DEDUP_IDS_PER_ROW {
                        return Err(Malformed("an id beyond its row"));
                    }
                    living.load(u64::from(key.id as u32) * DEDUP_IDS_PER_ROW + place, take_known(take)?)?;
                }
            }
        }
        self.shared.ids += memory.len() - before;
        Ok(())
    }

    /// The keys of all rows.
    #[cfg(test)]
    pub(in crate::primitives::queues) fn keys_of_ids(&self) -> Vec<RowKey> {
        let queues = self.queues.values().map(|queue| EntryPoint::Queue(queue.number));
        let entries = queues.chain(self.exchanges.entry_points());
        let keys = |entry: EntryPoint| {
            let rows = self.memory(entry).map(Memory::rows).unwrap_or_default();
            rows.into_iter().map(move |number| id_row(entry, number))
        };
        entries.flat_map(keys).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_where_the_bits_of_their_blocks_begin_anew() {
        let entry = EntryPoint::Queue(QueueNumber(7));
        let id = |number: u64| IdHash::of(entry, &format!("order-{number}"));
        let known = |number| Known { hash: id(number), at: Timestamp(number), lsn: Lsn(8), value: number };
        let first = (DEDUP_IDS_PER_ROW << 32) - 100;
        let mut window = Window::default();
        window.push(first, (0..300).map(known));
        let memory = Memory::Window(window);
        let mut keys: Vec<RowKey> = memory.rows().into_iter().map(|number| id_row(entry, number)).collect();
        keys.sort_unstable();
        assert_eq!(keys[0].id, 7 << 32, "the later ones stand before the earlier ones");
        let mut loaded = Window::default();
        for key in keys {
            let row = memory.row(key.id as u32).expect("a row");
            let mut take = Take::new(&row);
            let number = take.varint().expect("a number");
            let mut ids = Vec::new();
            while take.remaining() > 0 {
                ids.push(take_known(&mut take).expect("an id"));
            }
            loaded.load(number, &ids).expect("a row that was written");
        }
        assert_eq!((loaded.first(), loaded.end()), (first, first + 300));
        assert!((0..300).all(|number| loaded.find(&id(number)) == Some((first + number, &known(number)))));
    }
}
