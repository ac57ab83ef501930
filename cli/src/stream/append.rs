//! `towpath stream append`: standard input, one record per line (see [`lines`](crate::lines)). A failure or a signal
//! tells how many lines are in the stream, so that the rest can be fed again.

use std::collections::BTreeSet;
use std::ops::Range;

use clap::Args;
use towpath::{AppendOptions, Error, Record, Stream};

use super::LevelName;
use crate::exit::Failure;
use crate::lines::{self, TakesLines};
use crate::output::{counted, grouped, say};
use crate::place::Place;
use crate::units;

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
        let outcome = lines::from_standard_input(&mut appender);
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

impl TakesLines for Appender<'_> {
    fn take(&mut self, bytes: &[u8], lines: &[Range<usize>]) -> Result<(), Failure> {
        self.append_batch(bytes, lines)
    }

    fn taken(&self) -> u64 {
        self.summary.records
    }
}

impl Appender<'_> {
    fn append_batch(&mut self, bytes: &[u8], lines: &[Range<usize>]) -> Result<(), Failure> {
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
