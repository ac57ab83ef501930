//! What the feeder tells its parent over its standard output.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | kind: 1 opened, 2 acknowledged, 3 seen, 4 done |
//! | 4 | partition |
//! | 8 | opened: microseconds that opening took; acknowledged, seen: offset of the first record |
//! | 4 | number of digests |
//! | 8 each | digests of the records' bodies |
//!
//! All little-endian. A report that a kill has cut off ends the sequence: it was not told.

use std::io::{self, Read, Write};
use std::sync::Mutex;

use super::Digest;

const OPENED: u8 = 1;
const ACKNOWLEDGED: u8 = 2;
const SEEN: u8 = 3;
const DONE: u8 = 4;

const HEADER_BYTES: usize = 17;

/// Records that lie side by side in a partition.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) partition: u32,
    pub(super) first_offset: u64,
    pub(super) bodies: Vec<Digest>,
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// The database is open, after this many microseconds.
    Opened { micros: u64 },
    /// An append returned.
    Acknowledged(Span),
    /// A reader received these records.
    Seen(Span),
    /// All lines are appended and every reader has reached the end.
    Done,
}

impl Report {
    fn encode(&self) -> Vec<u8> {
        match self {
            Report::Opened { micros } => encode(OPENED, 0, *micros, &[]),
            Report::Acknowledged(span) => encode(ACKNOWLEDGED, span.partition, span.first_offset, &span.bodies),
            Report::Seen(span) => encode(SEEN, span.partition, span.first_offset, &span.bodies),
            Report::Done => encode(DONE, 0, 0, &[]),
        }
    }
}

fn encode(kind: u8, partition: u32, number: u64, bodies: &[Digest]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 8 * bodies.len());
    bytes.push(kind);
    bytes.extend(partition.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend((bodies.len() as u32).to_le_bytes());
    for body in bodies {
        bytes.extend(body.get().to_le_bytes());
    }
    bytes
}

/// The feeder's end, shared by its threads.
pub(super) struct Sender<W>(Mutex<W>);

impl<W: Write> Sender<W> {
    pub(super) fn new(writer: W) -> Sender<W> {
        Sender(Mutex::new(writer))
    }

    /// Returns once the report is in the pipe, where it survives this process.
    pub(super) fn send(&self, report: &Report) -> io::Result<()> {
        let bytes = report.encode();
        let mut writer = self.0.lock().map_err(|_| io::Error::other("a reporting thread panicked"))?;
        writer.write_all(&bytes)?;
        writer.flush()
    }
}

/// The parent's end: every whole report, until the pipe ends.
pub(super) fn receive(reader: &mut impl Read) -> io::Result<Option<Report>> {
    let mut header = [0; HEADER_BYTES];
    if !filled(reader, &mut header)? {
        return Ok(None);
    }
    let [kind, rest @ ..] = header;
    let [p0, p1, p2, p3, n0, n1, n2, n3, n4, n5, n6, n7, c0, c1, c2, c3] = rest;
    let partition = u32::from_le_bytes([p0, p1, p2, p3]);
    let number = u64::from_le_bytes([n0, n1, n2, n3, n4, n5, n6, n7]);
    let mut bytes = vec![0; 8 * u32::from_le_bytes([c0, c1, c2, c3]) as usize];
    if !filled(reader, &mut bytes)? {
        return Ok(None);
    }
    let span = || -> io::Result<Span> { Ok(Span { partition, first_offset: number, bodies: digests(&bytes)? }) };
    Ok(Some(match kind {
        OPENED => Report::Opened { micros: number },
        ACKNOWLEDGED => Report::Acknowledged(span()?),
        SEEN => Report::Seen(span()?),
        DONE => Report::Done,
        _ => return Err(malformed()),
    }))
}

fn digests(bytes: &[u8]) -> io::Result<Vec<Digest>> {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|&word| Digest::new(u64::from_le_bytes(word)).ok_or_else(malformed)).collect()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the feeder's report makes no sense")
}

/// Whether the buffer could be filled before the pipe ended.
fn filled(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match reader.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::digest;

    fn reports() -> Vec<Report> {
        let span = || Span { partition: 3, first_offset: 1 << 40, bodies: vec![digest(b"a"), digest(b"b")] };
        vec![Report::Opened { micros: 7 }, Report::Acknowledged(span()), Report::Seen(span()), Report::Done]
    }

    #[test]
    fn reports_come_out_as_they_went_in() {
        let sender = Sender::new(Vec::new());
        for report in reports() {
            sender.send(&report).unwrap();
        }
        let bytes = sender.0.into_inner().unwrap();
        let mut reader = &bytes[..];
        for report in reports() {
            assert_eq!(receive(&mut reader).unwrap(), Some(report));
        }
        assert_eq!(receive(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_report_cut_off_anywhere_was_not_told() {
        for report in reports() {
            let bytes = report.encode();
            for length in 0..bytes.len() {
                assert_eq!(receive(&mut &bytes[..length]).unwrap(), None);
            }
        }
    }
}
