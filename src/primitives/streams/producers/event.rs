//! Decided facts, and their bytes.
//!
//! Integers are varints unless a width is named. A batch that is produced has two events in its frame: the records in
//! `appended` (`streams/event.rs`), as without a producer, and `produced` behind it.
//!
//! | tag  | event            | fields                                                                            |
//! |------|------------------|-----------------------------------------------------------------------------------|
//! | 0x05 | producer opened  | producer · stream · epoch · timestamp · expire after (microseconds) · slice(name) |
//! | 0x06 | produced         | producer · partition · epoch · sequence · records · first offset · timestamp      |
//! | 0x07 | producer expired | producer · word · partitions u64 · u8 (1 if the producer goes too, else 0)        |
//!
//! Bit `i` of `partitions` in `producer expired` stands for partition `64 · word + i`, whose window goes. A producer
//! goes with the last of its events.

use super::rows::{producer_row, window_row};
use super::state::{ProducedBatch, Producer};
use crate::base::bounds::{PARTITION_BITS, PARTITIONS_MAX};
use crate::base::codec::{Malformed, Put, Take, slice_len, varint_len};
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::planted;
use crate::base::row::RowKey;
use crate::base::time::Timestamp;
use crate::engine::machine::LogChange;
use crate::primitives::streams::rows::COUNTERS;

pub(crate) const PRODUCER_OPENED: u8 = 0x05;
pub(crate) const PRODUCED: u8 = 0x06;
pub(crate) const PRODUCER_EXPIRED: u8 = 0x07;

/// A decided fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Event<'a> {
    Opened(Opened<'a>),
    Produced(Produced),
    Expired(Expired),
}

/// A producer has a new epoch; at epoch 0 it is new itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) number: u64,
    pub(crate) stream: u64,
    pub(crate) epoch: u64,
    pub(crate) timestamp: Timestamp,
    pub(crate) expire_after_micros: u64,
    pub(crate) name: &'a str,
}

/// A producer's batch was accepted in a partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Produced {
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) sequence: u64,
    pub(crate) first_offset: u64,
    pub(crate) timestamp: Timestamp,
    pub(crate) partition: u32,
    pub(crate) records: u32,
}

/// A producer goes, or up to 64 of its windows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expired {
    pub(crate) number: u64,
    pub(crate) word: u32,
    pub(crate) bits: u64,
    /// The producer goes too.
    pub(crate) is_last: bool,
}

impl<'a> Event<'a> {
    pub(crate) fn encoded_len(&self) -> usize {
        1 + match self {
            Event::Opened(opened) => lens(&opened.integers()) + slice_len(opened.name.len()),
            Event::Produced(produced) => lens(&produced.integers()),
            Event::Expired(expired) => lens(&[expired.number, u64::from(expired.word)]) + 8 + 1,
        }
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match self {
            Event::Opened(opened) => {
                out.u8(PRODUCER_OPENED);
                opened.integers().into_iter().for_each(|integer| out.varint(integer));
                out.slice(opened.name.as_bytes());
            }
            Event::Produced(produced) => {
                out.u8(PRODUCED);
                produced.integers().into_iter().for_each(|integer| out.varint(integer));
            }
            Event::Expired(expired) => {
                out.u8(PRODUCER_EXPIRED);
                out.varint(expired.number);
                out.varint(u64::from(expired.word));
                out.u64(expired.bits);
                out.u8(u8::from(expired.is_last));
            }
        }
    }

    /// Reads the fields of an event back.
    pub(crate) fn decode(tag: u8, take: &mut Take<'a>) -> Result<Event<'a>, Malformed> {
        match tag {
            PRODUCER_OPENED => Opened::decode(take).map(Event::Opened),
            PRODUCED => Produced::decode(take).map(Event::Produced),
            PRODUCER_EXPIRED => Expired::decode(take).map(Event::Expired),
            _ => Err(Malformed("unknown tag of a stream's event")),
        }
    }

    /// A producer's log comes and goes with it, and is due anew after each opening.
    pub(crate) fn log_change(&self) -> LogChange {
        match *self {
            Event::Opened(Opened { number, epoch: 0, .. }) => LogChange::Open { first: LogId(number), count: 1 },
            Event::Opened(Opened { number, .. }) => LogChange::Rearm { first: LogId(number), count: 1 },
            Event::Expired(Expired { number, is_last: true, .. }) => {
                LogChange::Close { first: LogId(number), count: 1 }
            }
            Event::Produced(_) | Event::Expired(_) => LogChange::None,
        }
    }

    /// Names every row that the event changes.
    pub(crate) fn touches(&self, visit: &mut dyn FnMut(RowKey)) {
        match self {
            Event::Opened(opened) => {
                if opened.epoch == 0 {
                    visit(COUNTERS);
                }
                visit(producer_row(opened.number));
            }
            Event::Produced(produced) => {
                // One partition more in which producers have appended: how many there are may be told.
                if produced.sequence == 0 {
                    visit(COUNTERS);
                }
                visit(producer_row(produced.number));
                if !planted::is("producer_window_not_persisted") {
                    visit(window_row(produced.number, produced.partition));
                }
            }
            Event::Expired(expired) => {
                visit(producer_row(expired.number));
                expired.partitions().for_each(|partition| visit(window_row(expired.number, partition)));
            }
        }
    }
}

impl Opened<'_> {
    pub(super) fn producer(&self) -> Producer {
        Producer {
            stream: self.stream,
            name: self.name.into(),
            epoch: self.epoch,
            last_used: self.timestamp,
            expire_after_micros: self.expire_after_micros,
        }
    }

    fn integers(&self) -> [u64; 5] {
        [self.number, self.stream, self.epoch, self.timestamp.0, self.expire_after_micros]
    }

    fn decode<'a>(take: &mut Take<'a>) -> Result<Opened<'a>, Malformed> {
        Ok(Opened {
            number: take_number(take)?,
            stream: take.varint()?,
            epoch: take.varint()?,
            timestamp: Timestamp(take.varint()?),
            expire_after_micros: take.varint()?,
            name: take.text()?,
        })
    }
}

impl Produced {
    pub(super) fn batch(&self, lsn: Lsn) -> ProducedBatch {
        ProducedBatch { sequence: self.sequence, first_offset: self.first_offset, lsn, records: self.records }
    }

    fn integers(&self) -> [u64; 7] {
        let (partition, records) = (u64::from(self.partition), u64::from(self.records));
        [self.number, partition, self.epoch, self.sequence, records, self.first_offset, self.timestamp.0]
    }

    fn decode(take: &mut Take<'_>) -> Result<Produced, Malformed> {
        let (number, partition) = (take_number(take)?, take.varint32()?);
        let (epoch, sequence, records) = (take.varint()?, take.varint()?, take.varint32()?);
        let (first_offset, timestamp) = (take.varint()?, Timestamp(take.varint()?));
        let is_counted = sequence.checked_add(u64::from(records)).is_some() && records > 0;
        if partition >= PARTITIONS_MAX || !is_counted {
            return Err(Malformed("a partition or a number of records out of range"));
        }
        Ok(Produced { number, epoch, sequence, first_offset, timestamp, partition, records })
    }
}

impl Expired {
    /// Those whose windows go.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = u32> + use<> {
        let Expired { word, bits, .. } = *self;
        (0..u64::BITS).filter(move |bit| bits >> bit & 1 == 1).map(move |bit| word * u64::BITS + bit)
    }

    fn decode(take: &mut Take<'_>) -> Result<Expired, Malformed> {
        let (number, word, bits) = (take_number(take)?, take.varint32()?, take.u64()?);
        if word >= PARTITIONS_MAX.div_ceil(u64::BITS) {
            return Err(Malformed("partitions out of range"));
        }
        let is_last = match take.u8()? {
            0 => false,
            1 => true,
            _ => return Err(Malformed("neither the last nor not")),
        };
        Ok(Expired { number, word, bits, is_last })
    }
}

fn lens(integers: &[u64]) -> usize {
    integers.iter().map(|integer| varint_len(*integer)).sum()
}

/// The number of a producer or a group leaves room for a partition beside it, and one can be added to it.
pub(crate) fn take_number(take: &mut Take<'_>) -> Result<u64, Malformed> {
    match take.varint()? {
        number if number < (u64::MAX >> PARTITION_BITS) => Ok(number),
        _ => Err(Malformed("a producer's number out of range")),
    }
}
