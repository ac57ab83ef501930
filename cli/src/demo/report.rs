//! What a process of the demonstration tells its parent over its standard output.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | kind: 1 opened, 2 acknowledged, 3 seen, 4 done, 5 hosting, 6 consumed, 7 joined, 8 left |
//! | 4 | partition |
//! | 8 | acknowledged, seen, consumed: offset of the first record |
//! | 8 | acknowledged, hosting, consumed: when, as [`now_micros`] has it |
//! | 4 | number of digests |
//! | 8 each | digests of the records' bodies |
//!
//! All little-endian. A report that a kill has cut off ends the sequence: it was not told.

use std::io::{self, Read, Write};
use std::sync::Mutex;

use rustix::time::{ClockId, clock_gettime};

use super::Digest;

const OPENED: u8 = 1;
const ACKNOWLEDGED: u8 = 2;
const SEEN: u8 = 3;
const DONE: u8 = 4;
const HOSTING: u8 = 5;
const CONSUMED: u8 = 6;
const JOINED: u8 = 7;
const LEFT: u8 = 8;

const HEADER_BYTES: usize = 25;

/// Microseconds of a clock that all processes of this machine share and that is never set.
pub(super) fn now_micros() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1_000
}

/// Records that lie side by side in a partition.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) partition: u32,
    pub(super) first_offset: u64,
    pub(super) bodies: Vec<Digest>,
}

#[derive(PartialEq, Eq, Debug)]
pub(super) enum Report {
    /// The database is open.
    Opened,
    /// This process hosts the database.
    Hosting { at_micros: u64 },
    /// An append returned.
    Acknowledged { at_micros: u64, span: Span },
    /// A reader received these records.
    Seen(Span),
    /// A member of the group has worked on these records.
    Consumed { at_micros: u64, span: Span },
    /// It is a member of the group.
    Joined,
    /// It is a member no longer.
    Left,
    /// It has done all its work.
    Done,
}

impl Report {
    fn encode(&self) -> Vec<u8> {
        match self {
            Report::Opened => encode(OPENED, 0, None),
            Report::Hosting { at_micros } => encode(HOSTING, *at_micros, None),
            Report::Acknowledged { at_micros, span } => encode(ACKNOWLEDGED, *at_micros, Some(span)),
            Report::Seen(span) => encode(SEEN, 0, Some(span)),
            Report::Consumed { at_micros, span } => encode(CONSUMED, *at_micros, Some(span)),
            Report::Joined => encode(JOINED, 0, None),
            Report::Left => encode(LEFT, 0, None),
            Report::Done => encode(DONE, 0, None),
        }
    }
}

fn encode(kind: u8, at_micros: u64, span: Option<&Span>) -> Vec<u8> {
    let (partition, first_offset) = span.map_or((0, 0), |span| (span.partition, span.first_offset));
    let bodies = span.map_or(&[][..], |span| &span.bodies);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + 8 * bodies.len());
    bytes.push(kind);
    bytes.extend(partition.to_le_bytes());
    bytes.extend(first_offset.to_le_bytes());
    bytes.extend(at_micros.to_le_bytes());
    bytes.extend((bodies.len() as u32).to_le_bytes());
    for body in bodies {
        bytes.extend(body.get().to_le_bytes());
    }
    bytes
}

/// The telling end, shared by the threads of a process.
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
    let mut rest = &header[1..];
    let partition = u32::from_le_bytes(take(&mut rest)?);
    let first_offset = u64::from_le_bytes(take(&mut rest)?);
    let at_micros = u64::from_le_bytes(take(&mut rest)?);
    let mut bytes = vec![0; 8 * u32::from_le_bytes(take(&mut rest)?) as usize];
    if !filled(reader, &mut bytes)? {
        return Ok(None);
    }
    let span = || -> io::Result<Span> { Ok(Span { partition, first_offset, bodies: digests(&bytes)? }) };
    Ok(Some(match header[0] {
        OPENED => Report::Opened,
        HOSTING => Report::Hosting { at_micros },
        ACKNOWLEDGED => Report::Acknowledged { at_micros, span: span()? },
        SEEN => Report::Seen(span()?),
        CONSUMED => Report::Consumed { at_micros, span: span()? },
        JOINED => Report::Joined,
        LEFT => Report::Left,
        DONE => Report::Done,
        _ => return Err(malformed()),
    }))
}

fn take<const BYTES: usize>(rest: &mut &[u8]) -> io::Result<[u8; BYTES]> {
    let (first, after) = rest.split_first_chunk().ok_or_else(malformed)?;
    *rest = after;
    Ok(*first)
}

fn digests(bytes: &[u8]) -> io::Result<Vec<Digest>> {
    let (words, _) = bytes.as_chunks::<8>();
    words.iter().map(|&word| Digest::new(u64::from_le_bytes(word)).ok_or_else(malformed)).collect()
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its report makes no sense")
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
        vec![
            Report::Opened,
            Report::Hosting { at_micros: 7 },
            Report::Acknowledged { at_micros: 1 << 50, span: span() },
            Report::Seen(span()),
            Report::Consumed { at_micros: 1 << 40, span: span() },
            Report::Joined,
            Report::Left,
            Report::Done,
        ]
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
