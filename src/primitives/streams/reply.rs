//! The answers of streams, and their bytes: as sessions remember them, and as they go to another process.
//!
//! | first byte | reply    | then, as varints                                                       |
//! |------------|----------|------------------------------------------------------------------------|
//! | 1          | stream   | slot · stream                                                          |
//! | 2          | deleted  |                                                                        |
//! | 3          | appended | number of ranges, at least 1 · per range partition · first offset · records |
//! | 4          | trimmed  | start                                                                  |
//! | 5          | expired  |                                                                        |
//! | 6          | producer | number · epoch                                                         |
//! | 7          | duplicate | lsn · as 3                                                            |
//! | 12         | extended | epoch of the mapping · its partitions                                  |
//! | 13         | of groups | see `groups/reply.rs`                                                 |

use super::command::StreamHandle;
use super::groups;
use super::producers::ProducerHandle;
use crate::base::codec::{Malformed, Put, Take, varint_len};
use crate::base::lsn::Lsn;

const STREAM: u8 = 1;
const DELETED: u8 = 2;
const APPENDED: u8 = 3;
const TRIMMED: u8 = 4;
const EXPIRED: u8 = 5;
const PRODUCER: u8 = 6;
const DUPLICATE: u8 = 7;
const EXTENDED: u8 = 12;
const GROUPS: u8 = 13;

/// The answer to an accepted command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Reply {
    /// The stream, be it new or not.
    Stream(StreamHandle),
    Deleted,
    Appended(Ranges),
    /// The partition now starts here.
    Trimmed {
        start: u64,
    },
    Expired,
    /// The stream has a new mapping, from the frame of this reply on.
    Extended {
        epoch: u32,
        partitions: u32,
    },
    /// The producer, with the epoch that it has now.
    Producer(ProducerHandle),
    Groups(groups::Reply),
    /// The batch of a producer was accepted before, in the frame at `lsn`.
    Duplicate {
        /// Boxed: every reply is moved as wide as the widest.
        ranges: Box<Ranges>,
        lsn: Lsn,
    },
}

/// Where the groups of an append went, in their order. One group, the usual number, takes no allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Ranges {
    pub(crate) first: Range,
    pub(crate) rest: Vec<Range>,
}

impl Ranges {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Range> {
        std::iter::once(&self.first).chain(&self.rest)
    }
}

/// Where one group of records went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Range {
    pub(crate) partition: u32,
    pub(crate) first_offset: u64,
    pub(crate) records: u32,
}

impl Reply {
    pub(crate) fn encoded_len(&self) -> usize {
        1 + match self {
            Reply::Stream(StreamHandle { slot, id }) => varint_len(u64::from(*slot)) + varint_len(*id),
            Reply::Appended(ranges) => ranges.encoded_len(),
            Reply::Trimmed { start } => varint_len(*start),
            Reply::Deleted | Reply::Expired => 0,
            Reply::Extended { epoch, partitions } => varint_len(u64::from(*epoch)) + varint_len(u64::from(*partitions)),
            Reply::Producer(ProducerHandle { number, epoch }) => varint_len(*number) + varint_len(*epoch),
            Reply::Groups(reply) => reply.encoded_len(),
            Reply::Duplicate { ranges, lsn } => varint_len(lsn.0) + ranges.encoded_len(),
        }
    }

    pub(crate) fn encode(&self, out: &mut Put<'_>) {
        match self {
            Reply::Stream(StreamHandle { slot, id }) => {
                out.u8(STREAM);
                out.varint(u64::from(*slot));
                out.varint(*id);
            }
            Reply::Deleted => out.u8(DELETED),
            Reply::Appended(ranges) => {
                out.u8(APPENDED);
                ranges.encode(out);
            }
            Reply::Trimmed { start } => {
                out.u8(TRIMMED);
                out.varint(*start);
            }
            Reply::Expired => out.u8(EXPIRED),
            Reply::Extended { epoch, partitions } => {
                out.u8(EXTENDED);
                out.varint(u64::from(*epoch));
                out.varint(u64::from(*partitions));
            }
            Reply::Producer(ProducerHandle { number, epoch }) => {
                out.u8(PRODUCER);
                out.varint(*number);
                out.varint(*epoch);
            }
            Reply::Groups(reply) => {
                out.u8(GROUPS);
                reply.encode(out);
            }
            Reply::Duplicate { ranges, lsn } => {
                out.u8(DUPLICATE);
                out.varint(lsn.0);
                ranges.encode(out);
            }
        }
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Reply, Malformed> {
        match take.u8()? {
            STREAM => Ok(Reply::Stream(StreamHandle { slot: take.varint32()?, id: take.varint()? })),
            DELETED => Ok(Reply::Deleted),
            APPENDED => Ranges::decode(take).map(Reply::Appended),
            TRIMMED => Ok(Reply::Trimmed { start: take.varint()? }),
            EXPIRED => Ok(Reply::Expired),
            EXTENDED => Ok(Reply::Extended { epoch: take.varint32()?, partitions: take.varint32()? }),
            PRODUCER => Ok(Reply::Producer(ProducerHandle { number: take.varint()?, epoch: take.varint()? })),
            GROUPS => groups::Reply::decode(take).map(Reply::Groups),
            DUPLICATE => {
                let lsn = Lsn(take.varint()?);
                Ok(Reply::Duplicate { ranges: Ranges::decode(take)?.into(), lsn })
            }
            _ => Err(Malformed("unknown reply of a stream")),
        }
    }
}

impl Ranges {
    fn encoded_len(&self) -> usize {
        let ranges: usize = self.iter().map(Range::encoded_len).sum();
        varint_len(1 + self.rest.len() as u64) + ranges
    }

    fn encode(&self, out: &mut Put<'_>) {
        out.varint(1 + self.rest.len() as u64);
        self.iter().for_each(|range| out.varints(range.fields()));
    }

    /// What is kept grows with what was read: a number that lies takes no memory.
    fn decode(take: &mut Take<'_>) -> Result<Ranges, Malformed> {
        let after_first = take.varint()?.checked_sub(1).ok_or(Malformed("an append that went nowhere"))?;
        let first = Range::decode(take)?;
        let mut rest = Vec::new();
        for _ in 0..after_first {
            rest.push(Range::decode(take)?);
        }
        Ok(Ranges { first, rest })
    }
}

impl Range {
    fn fields(&self) -> [u64; 3] {
        [u64::from(self.partition), self.first_offset, u64::from(self.records)]
    }

    fn encoded_len(&self) -> usize {
        self.fields().map(varint_len).into_iter().sum()
    }

    fn decode(take: &mut Take<'_>) -> Result<Range, Malformed> {
        Ok(Range { partition: take.varint32()?, first_offset: take.varint()?, records: take.varint32()? })
    }
}
