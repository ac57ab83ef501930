//! The rows of the checkpoint.
//!
//! Integers are varints. A window's batches stand oldest first; each begins at the sequence at which the one before
//! ended.
//!
//! | kind | id                        | row                                                                  |
//! |------|---------------------------|----------------------------------------------------------------------|
//! | 4    | producer                  | slice(name) · stream · epoch · last used · expire after              |
//! | 5    | producer << 12, partition | first sequence · batches · per batch records · first offset · lsn    |

use super::state::{Cells, ProducedBatch, Producer, Producers, Window};
use crate::base::bounds::{NAME_BYTES_MAX, PARTITION_BITS, PARTITIONS_MAX, PRODUCER_BATCHES_REMEMBERED, ROW_BYTES_MAX};
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::time::Timestamp;

pub(crate) const KIND_PRODUCER: u8 = 4;
pub(crate) const KIND_WINDOW: u8 = 5;

const _: () = assert!(NAME_BYTES_MAX + 64 <= ROW_BYTES_MAX && 16 + 32 * PRODUCER_BATCHES_REMEMBERED <= ROW_BYTES_MAX);

pub(crate) const fn producer_row(number: u64) -> RowKey {
    RowKey { kind: KIND_PRODUCER, id: number }
}

pub(crate) const fn window_row(number: u64, partition: u32) -> RowKey {
    assert!(partition < PARTITIONS_MAX && number <= u64::MAX >> PARTITION_BITS, "both fit beside each other");
    RowKey { kind: KIND_WINDOW, id: number << PARTITION_BITS | partition as u64 }
}

/// The producer that has this row.
pub(crate) fn number_of_row(key: RowKey) -> Option<u64> {
    (key.kind == KIND_PRODUCER).then_some(key.id)
}

/// A row as it stands now.
pub(crate) fn row(producers: &Producers, key: RowKey) -> Option<Vec<u8>> {
    match key.kind {
        KIND_PRODUCER => producers.get(key.id).map(encode_producer),
        KIND_WINDOW => producers.window_of_row(key.id).map(encode_window),
        _ => None,
    }
}

impl Producers {
    /// Takes a producer back, after its stream was.
    pub(crate) fn load_producer(&mut self, id: u64, row: &[u8]) -> Result<(), Malformed> {
        let producer = decode_producer(Take::new(row))?;
        let is_number = id < u64::MAX >> PARTITION_BITS;
        if !is_number || self.get(id).is_some() || self.find(producer.stream, &producer.name).is_some() {
            return Err(Malformed("a producer with a number or a name that cannot be its own"));
        }
        self.open(id, producer);
        Ok(())
    }

    /// Takes a window back, after its producer, whose stream has this many partitions.
    pub(crate) fn load_window(&mut self, id: u64, partitions: u32, row: &[u8]) -> Result<(), Malformed> {
        let window = decode_window(Take::new(row))?;
        let partition = id & ((1 << PARTITION_BITS) - 1);
        if partition >= u64::from(partitions) || self.window_of_row(id).is_some() {
            return Err(Malformed("a window of a partition that there is not"));
        }
        *self.window_mut(id) = window;
        Ok(())
    }
}

fn encode_producer(producer: &Producer) -> Vec<u8> {
    let Producer { stream, ref name, epoch, last_used, expire_after_micros } = *producer;
    let integers = [stream, epoch, last_used.0, expire_after_micros];
    let integers_len: usize = integers.iter().map(|integer| varint_len(*integer)).sum();
    let mut row = vec![0; slice_len(name.len()) + integers_len];
    let mut out = Put::new(&mut row);
    out.slice(name.as_bytes());
    integers.iter().for_each(|integer| out.varint(*integer));
    assert_eq!(out.remaining(), 0, "a row is as long as was foretold");
    row
}

fn decode_producer(mut take: Take<'_>) -> Result<Producer, Malformed> {
    let producer = Producer {
        name: take.text()?.into(),
        stream: take.varint()?,
        epoch: take.varint()?,
        last_used: Timestamp(take.varint()?),
        expire_after_micros: take.varint()?,
    };
    take.end()?;
    Ok(producer)
}

fn encode_window(window: &Window) -> Vec<u8> {
    let batches = window.batches();
    let first = batches.first().expect("a window has a batch").sequence;
    let mut integers = vec![first, batches.len() as u64];
    for batch in batches {
        integers.extend([u64::from(batch.records), batch.first_offset, batch.lsn.0]);
    }
    let mut row = vec![0; integers.iter().map(|integer| varint_len(*integer)).sum()];
    let mut out = Put::new(&mut row);
    integers.iter().for_each(|integer| out.varint(*integer));
    row
}

fn decode_window(mut take: Take<'_>) -> Result<Window, Malformed> {
    let (mut sequence, batches) = (take.varint()?, take.varint()?);
    if !(1..=PRODUCER_BATCHES_REMEMBERED as u64).contains(&batches) {
        return Err(Malformed("more batches than are remembered, or none"));
    }
    let mut window = Window::default();
    for _ in 0..batches {
        let (records, first_offset, lsn) = (take.varint32()?, take.varint()?, Lsn(take.varint()?));
        let next = sequence.checked_add(u64::from(records)).filter(|_| records > 0);
        let next = next.ok_or(Malformed("a batch of no records, or too many"))?;
        window.push(ProducedBatch { sequence, first_offset, lsn, records });
        sequence = next;
    }
    take.end()?;
    Ok(window)
}
