//! Standard input, line by line, in batches.
//!
//! * A line is bytes up to a newline, which is not part of it; the last line may lack one.
//! * Nothing waits for a full batch: what one read of standard input gave is given away before the next read, so a slow
//!   `tail -f` is never sat upon, and a fast file still comes in batches of [`BATCH_LINES`] or [`BATCH_BYTES`].

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;

use indicatif::ProgressBar;
use towpath::Record;

use crate::exit::Failure;
use crate::output::{grouped, progress};
use crate::signals;

const BATCH_LINES: usize = 1_000;
const BATCH_BYTES: usize = 256 << 10;

/// What one read asks for, and the room that the buffer has beyond an unfinished line.
const READ_BYTES: usize = 256 << 10;

/// A line longer than this is refused before it is read to its end, so that input without newlines does not fill the
/// memory.
pub(crate) const LINE_BYTES_MAX: usize = Record::BODY_BYTES_MAX;

/// Who is given the lines.
pub(crate) trait TakesLines {
    /// Takes a batch of lines, which lie there in `bytes`.
    fn take(&mut self, bytes: &[u8], lines: &[Range<usize>]) -> Result<(), Failure>;

    /// How many lines were taken.
    fn taken(&self) -> u64;
}

/// Gives every line of standard input away, with a progress bar where its length is known.
pub(crate) fn from_standard_input(taker: &mut impl TakesLines) -> Result<(), Failure> {
    let bar = input_bytes().map(|bytes| progress(bytes, "bytes"));
    let outcome = pump(io::stdin().lock(), taker, bar.as_ref());
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    outcome
}

/// The length of standard input where it has one.
fn input_bytes() -> Option<u64> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len())
}

/// Reads to the end and gives every line away.
fn pump(mut input: impl Read + AsFd, taker: &mut impl TakesLines, bar: Option<&ProgressBar>) -> Result<(), Failure> {
    let signals = signals::catch()?;
    let mut buffer = vec![0; READ_BYTES];
    let mut filled = 0;
    loop {
        if buffer.len() - filled < READ_BYTES {
            buffer.resize(filled + READ_BYTES, 0);
        }
        signals.wait_for_input(&input)?;
        let read = match input.read(&mut buffer[filled..]) {
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Failure::failed(format!("cannot read standard input: {error}"))),
        };
        let end = filled + read;
        let complete = match read {
            0 => end,
            _ => buffer[filled..end].iter().rposition(|&byte| byte == b'\n').map_or(0, |place| filled + place + 1),
        };
        give_lines(&buffer[..complete], taker)?;
        buffer.copy_within(complete..end, 0);
        filled = end - complete;
        if let Some(bar) = bar {
            bar.inc(read as u64);
        }
        if read == 0 {
            return Ok(());
        }
        refuse_endless_line(filled, taker)?;
    }
}

/// Gives every line of `bytes` away; the last one may lack its newline.
fn give_lines(bytes: &[u8], taker: &mut impl TakesLines) -> Result<(), Failure> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (lines, used) = batch(rest);
        if let [line] = &lines[..] {
            refuse_endless_line(line.len(), taker)?;
        }
        taker.take(rest, &lines)?;
        rest = &rest[used..];
    }
    Ok(())
}

fn refuse_endless_line(bytes: usize, taker: &impl TakesLines) -> Result<(), Failure> {
    if bytes <= LINE_BYTES_MAX {
        return Ok(());
    }
    let line = grouped(taker.taken() + 1);
    Err(Failure::refused(format!("line {line} is longer than {} bytes", grouped(LINE_BYTES_MAX as u64))))
}

/// Where the lines of the next batch lie in `bytes`, and how many bytes they take with their newlines.
fn batch(bytes: &[u8]) -> (Vec<Range<usize>>, usize) {
    let mut lines = Vec::new();
    let mut used = 0;
    while used < bytes.len() && lines.len() < BATCH_LINES {
        let length = bytes[used..].iter().position(|&byte| byte == b'\n');
        let end = length.map_or(bytes.len(), |length| used + length);
        if !lines.is_empty() && end > BATCH_BYTES {
            break;
        }
        lines.push(used..end);
        used = (end + 1).min(bytes.len());
    }
    (lines, used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> Vec<&[u8]> {
        let (lines, used) = batch(bytes);
        assert_eq!(used, bytes.len());
        lines.into_iter().map(|line| &bytes[line]).collect()
    }

    #[test]
    fn a_line_is_bytes_without_its_newline() {
        assert_eq!(lines(b"a\nbc\n"), [&b"a"[..], b"bc"]);
        assert_eq!(lines(b"a\n\n\xff\r\nlast"), [&b"a"[..], b"", b"\xff\r", b"last"]);
        assert!(lines(b"").is_empty());
    }

    #[test]
    fn a_batch_ends_at_its_bounds() {
        let many = b"x\n".repeat(BATCH_LINES + 1);
        assert_eq!(batch(&many).0.len(), BATCH_LINES);
        let mut large = vec![b'x'; BATCH_BYTES];
        large.extend_from_slice(b"\nnext\n");
        let (lines, used) = batch(&large);
        assert_eq!((lines.len(), lines[0].end, used), (1, BATCH_BYTES, BATCH_BYTES + 1));
    }
}
