//! What a child says over the pipe: one line, written by one system call, so that it is there whole or not at all.

use std::io::Write;

/// Name and partitions of each stream.
pub const STREAMS: [(&str, u32); 3] = [("orders", 2), ("events", 2), ("ledger", 1)];

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Report {
    /// `count` records of the writer's batch `tag` were acknowledged from `offset` on.
    Acknowledged { stream: usize, partition: u32, offset: u64, count: u32, tag: String },
    /// A reader saw a record of the batch `tag`.
    Seen { stream: usize, partition: u32, offset: u64, tag: String },
    /// A trim was acknowledged.
    Trimmed { stream: usize, partition: u32, offset: u64 },
}

impl Report {
    pub fn send(&self) {
        let line = match self {
            Report::Acknowledged { stream, partition, offset, count, tag } => {
                format!("#A {stream} {partition} {offset} {count} {tag}\n")
            }
            Report::Seen { stream, partition, offset, tag } => format!("#S {stream} {partition} {offset} {tag}\n"),
            Report::Trimmed { stream, partition, offset } => format!("#T {stream} {partition} {offset}\n"),
        };
        // Locked, flushed at the line's end: one write.
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }

    pub fn parse(line: &str) -> Option<Report> {
        // The harness may have begun the line with words of its own.
        let words: Vec<&str> = line[line.find('#')?..].split(' ').collect();
        let number = |at: usize| -> u64 { words[at].parse().unwrap() };
        let (stream, partition) = (words.get(1)?.parse().ok()?, number(2) as u32);
        let offset = number(3);
        Some(match words[0] {
            "#A" => {
                Report::Acknowledged { stream, partition, offset, count: number(4) as u32, tag: words[5].to_owned() }
            }
            "#S" => Report::Seen { stream, partition, offset, tag: words[4].to_owned() },
            "#T" => Report::Trimmed { stream, partition, offset },
            _ => return None,
        })
    }
}

/// The body of a record: who wrote it, in which of its batches, as which of how many, and a filling made from that.
/// The tag has no spaces: `round.writer.batch`.
pub fn body(tag: &str, index: u32, count: u32) -> Vec<u8> {
    let mut body = format!("{tag} {index} {count} ").into_bytes();
    let seed = body.iter().fold(7_u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    let filling = crate::place::noise(seed, (seed >> 7) as usize % 1500);
    body.extend(filling);
    body
}

/// Tag, index and count of a body, if it is whole.
pub fn read_body(bytes: &[u8]) -> Option<(String, u32, u32)> {
    let mut words = bytes.splitn(4, |byte| *byte == b' ').map(|word| std::str::from_utf8(word).unwrap_or_default());
    let (tag, index, count) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (body(tag, index, count) == bytes).then(|| (tag.to_owned(), index, count))
}
