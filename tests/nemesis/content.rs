//! What the database holds in the end.

use std::collections::BTreeMap;

use towpath::{Database, Start};

use crate::STREAMS;
use crate::book::Place;
use crate::place::noise;

/// A record: whose it is, and as which of how many of its write.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Tag {
    pub process: u64,
    pub thread: u32,
    pub write: u64,
    pub index: u32,
    pub count: u32,
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
    /// The body of the record: the tag, and a filling made from it.
    pub fn body(&self) -> Vec<u8> {
        let Tag { process, thread, write, index, count } = self;
        let mut body = format!("{process} {thread} {write} {index} {count} ").into_bytes();
        let seed = body.iter().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
        body.extend(noise(seed, (seed >> 7) as usize % 500));
        body
    }

    /// The tag of a body, if it is whole.
    pub fn of(body: &[u8]) -> Option<Tag> {
        let mut words = body.splitn(6, |byte| *byte == b' ').map(|word| std::str::from_utf8(word).unwrap_or_default());
        let mut next = || words.next()?.parse::<u64>().ok();
        let (process, thread, write) = (next()?, next()? as u32, next()?);
        let tag = Tag { process, thread, write, index: next()? as u32, count: next()? as u32 };
        (tag.body() == body).then_some(tag)
    }
}

/// Reads everything. Fails if an offset is missing or a body is not whole.
pub fn read(db: &Database) -> Result<Content, String> {
    let mut content = Content::new();
    for (number, (name, partitions)) in STREAMS.iter().enumerate() {
        let stream = db.stream(name).map_err(|error| error.to_string())?;
        for partition in 0..*partitions {
            let mut reader = stream.reader(partition, Start::Earliest).map_err(|error| error.to_string())?;
            let found = content.entry((number, partition)).or_default();
            while let Some(records) = reader.try_receive(1000).map_err(|error| error.to_string())? {
                for record in &records {
                    let (offset, body) = (record.offset(), record.body());
                    let tag = Tag::of(body).filter(|_| offset == found.len() as u64);
                    let tag = tag.ok_or_else(|| format!("{name}/{partition}: offset {offset} is not as written"))?;
                    let (timestamp, lsn) = (record.timestamp().as_micros(), record.lsn().get());
                    found.push(Found { tag, timestamp, lsn, sum: crc32c::crc32c(body) });
                }
            }
        }
    }
    Ok(content)
}
