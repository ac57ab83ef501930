//! `towpath stream append`: standard input, one record per line.
//!
//! * A line is bytes up to a newline, which is not part of it; the last line may lack one.
//! * Nothing waits for a full batch: what one read of standard input gave is appended before the next read, so a slow
//!   `tail -f` is never sat upon, and a fast file still comes in batches of [`BATCH_RECORDS`] or [`BATCH_BYTES`].
//! * A failure or a signal tells how many lines are in the stream, so that the rest can be fed again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::AsFd;

use clap::Args;
use indicatif::ProgressBar;
use towpath::{AppendOptions, Error, Record, Stream};

use super::{LINE_BYTES_MAX, LevelName};
use crate::exit::Failure;
use crate::output::{counted, grouped, progress, say};
use crate::place::Place;
use crate::signals;
use crate::units;

const BATCH_RECORDS: usize = 1_000;
const BATCH_BYTES: usize = 256 << 10;

/// What one read asks for, and the room that the buffer has beyond an unfinished line.
const READ_BYTES: usize = 256 << 10;

#[derive(Args)]
pub(crate) struct Append {
    /// The stream
    name: String,
    /// Key each record by this field of its line, counted from 1; a line without it has no key
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    key_field: Option<u32>,
    /// What separates fields: one character, or \t for a tab
    #[arg(long, value_name = "C", default_value = " ", value_parser = units::separator, requires = "key_field")]
    key_separator: char,
    /// What must hold before the next batch is read [default: as the stream was created]
    #[arg(long, value_enum)]
    level: Option<LevelName>,
}

impl Append {
    pub(crate) fn run(self, place: &Place) -> Result<(), Failure> {
        let database = place.open_existing()?;
        let stream = database.stream(&self.name)?;
        let mut options = AppendOptions::new();
        if let Some(level) = self.level {
            options = options.level(level.level());
        }
        let mut appender = Appender { stream: &stream, options, key: self.key(), summary: Summary::default() };
        let bar = input_bytes().map(|bytes| progress(bytes, "bytes"));
        let outcome = pump(io::stdin().lock(), &mut appender, bar.as_ref());
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let summary = appender.summary;
        drop(stream);
        let closed = database.close();
        outcome.map_err(|failure| {
            failure.with_consequence(&format!("{} of standard input appended before", counted(summary.records, "line")))
        })?;
        closed?;
        say(summary.sentence(&self.name))
    }

    fn key(&self) -> Option<KeyField> {
        let number = self.key_field?;
        Some(KeyField { number: number as usize, separator: self.key_separator.to_string().into_bytes() })
    }
}

/// The length of standard input where it has one.
fn input_bytes() -> Option<u64> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len())
}

/// Reads to the end and appends every line.
fn pump(mut input: impl Read + AsFd, appender: &mut Appender<'_>, bar: Option<&ProgressBar>) -> Result<(), Failure> {
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
        appender.append_lines(&buffer[..complete])?;
        buffer.copy_within(complete..end, 0);
        filled = end - complete;
        if let Some(bar) = bar {
            bar.inc(read as u64);
        }
        if read == 0 {
            return Ok(());
        }
        appender.refuse_endless_line(filled)?;
    }
}

/// Which part of a line is its key.
struct KeyField {
    /// Counted from 1.
    number: usize,
    separator: Vec<u8>,
}

impl KeyField {
    fn of<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = line;
        for _ in 1..self.number {
            rest = &rest[find(rest, &self.separator)? + self.separator.len()..];
        }
        let end = find(rest, &self.separator).unwrap_or(rest.len());
        (end > 0).then(|| &rest[..end])
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    match pattern {
        [byte] => bytes.iter().position(|candidate| candidate == byte),
        _ => bytes.windows(pattern.len()).position(|window| window == pattern),
    }
}

struct Appender<'a> {
    stream: &'a Stream,
    options: AppendOptions,
    key: Option<KeyField>,
    summary: Summary,
}

impl Appender<'_> {
    /// Appends every line of `bytes`; the last one may lack its newline.
    fn append_lines(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (lines, used) = batch(rest);
            self.append_batch(rest, &lines)?;
            rest = &rest[used..];
        }
        Ok(())
    }

    fn append_batch(&mut self, bytes: &[u8], lines: &[Range<usize>]) -> Result<(), Failure> {
        if let [line] = lines {
            self.refuse_endless_line(line.len())?;
        }
        let records: Vec<Record<'_>> = lines.iter().map(|line| self.record(&bytes[line.clone()])).collect();
        let appended = match self.stream.append_batch(&records, &self.options) {
            Err(error) => return Err(self.append_up_to_the_refused(bytes, lines, error)),
            Ok(appended) => appended,
        };
        if self.key.is_some() {
            self.summary.keyless += lines.iter().filter(|line| self.key_of(&bytes[(*line).clone()]).is_none()).count();
        }
        self.summary.records += lines.len() as u64;
        self.summary.partitions.extend(appended.partitions.iter().map(|range| range.partition));
        Ok(())
    }

    /// A batch is refused whole. Where one line is to blame, those before it are appended, and it is named.
    fn append_up_to_the_refused(&mut self, bytes: &[u8], lines: &[Range<usize>], error: Error) -> Failure {
        let Error::LimitExceeded { limit: "key bytes", max, .. } = error else { return error.into() };
        let key_bytes = |line: &Range<usize>| self.key_of(&bytes[line.clone()]).map_or(0, <[u8]>::len);
        let Some(refused) = lines.iter().position(|line| key_bytes(line) as u64 > max) else { return error.into() };
        if refused > 0
            && let Err(failure) = self.append_batch(bytes, &lines[..refused])
        {
            return failure;
        }
        Failure::from(error).about(&format!("line {}", grouped(self.summary.records + 1)))
    }

    fn record<'l>(&self, line: &'l [u8]) -> Record<'l> {
        let record = Record::new(line);
        match self.key_of(line) {
            Some(key) => record.key(key),
            None => record,
        }
    }

    fn key_of<'l>(&self, line: &'l [u8]) -> Option<&'l [u8]> {
        self.key.as_ref().and_then(|key| key.of(line))
    }

    fn refuse_endless_line(&self, bytes: usize) -> Result<(), Failure> {
        if bytes <= LINE_BYTES_MAX {
            return Ok(());
        }
        let line = grouped(self.summary.records + 1);
        Err(Failure::refused(format!("line {line} is longer than {} bytes", grouped(LINE_BYTES_MAX as u64))))
    }
}

/// Where the lines of the next batch lie in `bytes`, and how many bytes they take with their newlines.
fn batch(bytes: &[u8]) -> (Vec<Range<usize>>, usize) {
    let mut lines = Vec::new();
    let mut used = 0;
    while used < bytes.len() && lines.len() < BATCH_RECORDS {
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

#[derive(Default)]
struct Summary {
    records: u64,
    keyless: usize,
    partitions: BTreeSet<u32>,
}

impl Summary {
    /// Told after the database was closed: everything is on disk then, at any level.
    fn sentence(&self, name: &str) -> String {
        if self.records == 0 {
            return format!("Standard input was empty; nothing was appended to {name}.");
        }
        let records = counted(self.records, "record");
        let partitions = counted(self.partitions.len() as u64, "partition");
        let keyless = match self.keyless as u64 {
            0 => String::new(),
            1 => " 1 line had no such field and has no key.".to_owned(),
            lines => format!(" {} had no such field and have no key.", counted(lines, "line")),
        };
        format!("Appended {records} to {partitions} of {name}, on disk.{keyless}")
    }
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
        let many = b"x\n".repeat(BATCH_RECORDS + 1);
        assert_eq!(batch(&many).0.len(), BATCH_RECORDS);
        let mut large = vec![b'x'; BATCH_BYTES];
        large.extend_from_slice(b"\nnext\n");
        let (lines, used) = batch(&large);
        assert_eq!((lines.len(), lines[0].end, used), (1, BATCH_BYTES, BATCH_BYTES + 1));
    }

    #[test]
    fn the_key_is_the_nth_field() {
        let key = |number, separator: &str| KeyField { number, separator: separator.as_bytes().to_vec() };
        assert_eq!(key(1, " ").of(b"GET /a 200"), Some(&b"GET"[..]));
        assert_eq!(key(3, " ").of(b"GET /a 200"), Some(&b"200"[..]));
        assert_eq!(key(4, " ").of(b"GET /a 200"), None);
        assert_eq!(key(2, "→").of("a→b→c".as_bytes()), Some(&b"b"[..]));
        assert_eq!(key(1, " ").of(b" b"), None);
    }
}
