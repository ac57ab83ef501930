//! What the processes write, and what the database holds in the end.

use std::collections::BTreeMap;

use towpath::{Database, Header, Record, RecordView, Start};

use crate::STREAMS;
use crate::book::Place;
use crate::place::{Chance, noise};

/// The header that says whose a record is.
const TAG: &str = "tag";

/// Of so many bodies one is empty, one of middle and one of large size; all others are small.
const EMPTY_ONE_IN: u64 = 8;
const MIDDLE_ONE_IN: u64 = 24;
const LARGE_ONE_IN: u64 = 160;

const SMALL_BYTES_MAX: u64 = 500;
const MIDDLE_BYTES_MAX: u64 = 40 << 10;
const LARGE_BYTES_MAX: u64 = 320 << 10;

/// A record: whose it is, and as which of how many of its write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tag {
    pub process: u64,
    pub thread: u32,
    pub write: u64,
    pub index: u32,
    pub count: u32,
}

/// A record as it is written: the tag in a header, and a body that follows from it.
pub struct Written {
    tag: String,
    body: Vec<u8>,
}

/// A record as it was found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    pub tag: Tag,
    pub timestamp: u64,
    pub lsn: u64,
    pub sum: u32,
}

/// All records of all partitions, from offset 0 on.
pub type Content = BTreeMap<Place, Vec<Found>>;

impl Tag {
    pub fn written(&self) -> Written {
        let Tag { process, thread, write, index, count } = self;
        let tag = format!("{process} {thread} {write} {index} {count}");
        let seed = tag.bytes().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let body = noise(seed, body_bytes(&mut Chance::new(seed), *index));
        Written { tag, body }
    }

    fn parse(text: &[u8]) -> Option<Tag> {
        let mut words = std::str::from_utf8(text).ok()?.split(' ');
        let mut next = || words.next()?.parse::<u64>().ok();
        let (process, thread, write) = (next()?, next()? as u32, next()?);
        Some(Tag { process, thread, write, index: next()? as u32, count: next()? as u32 })
    }

    /// The tag of a record, if that is as it was written.
    fn of(record: &RecordView<'_>) -> Option<Tag> {
        let tag = Tag::parse(tag_of(record))?;
        (tag.written().body == record.body()).then_some(tag)
    }
}

/// A batch has one large body at most, so that it stays below what a batch may have.
fn body_bytes(chance: &mut Chance, index: u32) -> usize {
    let is_one_in = |chance: &mut Chance, many| chance.below(many) == 0;
    let bytes = if is_one_in(chance, EMPTY_ONE_IN) {
        0
    } else if is_one_in(chance, LARGE_ONE_IN) && index == 0 {
        chance.below(LARGE_BYTES_MAX)
    } else if is_one_in(chance, MIDDLE_ONE_IN) {
        chance.below(MIDDLE_BYTES_MAX)
    } else {
        chance.below(SMALL_BYTES_MAX)
    };
    bytes as usize
}

impl Written {
    pub fn headers(&self) -> [Header<'_>; 1] {
        [Header { name: TAG, value: self.tag.as_bytes() }]
    }

    pub fn record<'a>(&'a self, headers: &'a [Header<'a>]) -> Record<'a> {
        Record::new(&self.body).headers(headers)
    }

    #[cfg(test)]
    pub fn sum(&self) -> u32 {
        sum(self.tag.as_bytes(), &self.body)
    }
}

fn tag_of<'a>(record: &RecordView<'a>) -> &'a [u8] {
    record.headers().find(|header| header.name == TAG).map_or(&[], |header| header.value)
}

/// A sum over all that tells a record from others.
pub fn sum_of(record: &RecordView<'_>) -> u32 {
    sum(tag_of(record), record.body())
}

fn sum(tag: &[u8], body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(tag), body)
}

/// Reads everything. Fails if an offset is missing or a record is not whole.
pub fn read(db: &Database) -> Result<Content, String> {
    let mut content = Content::new();
    for (number, (name, partitions)) in STREAMS.iter().enumerate() {
        let stream = db.stream(name).map_err(|error| error.to_string())?;
        for partition in 0..*partitions {
            let mut reader = stream.reader(partition, Start::Earliest).map_err(|error| error.to_string())?;
            let found = content.entry((number, partition)).or_default();
            while let Some(records) = reader.try_receive(1000).map_err(|error| error.to_string())? {
                for record in &records {
                    let offset = record.offset();
                    let tag = Tag::of(&record).filter(|_| offset == found.len() as u64);
                    let tag = tag.ok_or_else(|| format!("{name}/{partition}: offset {offset} is not as written"))?;
                    let (timestamp, lsn) = (record.timestamp().as_micros(), record.lsn().get());
                    found.push(Found { tag, timestamp, lsn, sum: sum_of(&record) });
                }
            }
        }
    }
    Ok(content)
}
