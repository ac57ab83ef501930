//! Appends the input with one writer per partition.
//!
//! A writer walks the whole input and takes the lines of its partition. The stream's end offset says how many of them
//! it already holds, so those are skipped; each batch names the offset that it expects to be given. That the host is
//! killed is no matter of the writer's: its append takes longer then.

use std::ops::Range;
use std::thread;

use towpath::{AppendOptions, Error, Level, Record, Stream};

use super::input::Input;
use super::report::{Report, Span, now_micros};
use super::worker::{Reports, joined, tell};
use super::{digest, key_of};
use crate::exit::Failure;

/// Lines and bytes in one append.
const BATCH_RECORDS: usize = 50;
const BATCH_BYTES: usize = 256 << 10;

pub(super) struct Feeder<'a> {
    input: &'a Input,
    stream: Stream,
    reports: Reports,
    options: AppendOptions,
}

impl<'a> Feeder<'a> {
    pub(super) fn new(input: &'a Input, stream: Stream, reports: Reports, level: Level) -> Feeder<'a> {
        Feeder { input, stream, reports, options: AppendOptions::new().level(level) }
    }

    pub(super) fn feed(&self, partitions: Range<u32>) -> Result<(), Failure> {
        thread::scope(|scope| joined(partitions.map(|partition| scope.spawn(move || self.write(partition))).collect()))
    }

    /// Appends what the partition does not hold yet.
    fn write(&self, partition: u32) -> Result<(), Failure> {
        let end = self.end(partition)?;
        let mut lines = self.input.lines()?;
        let mut held = 0;
        let mut batch = Batch { partition, next: end, is_first: true, lines: Vec::new(), bytes: 0 };
        while let Some(line) = lines.next()? {
            if self.stream.partition_of(key_of(line)) != partition {
                continue;
            }
            if held < end {
                held += 1;
                continue;
            }
            batch.bytes += line.len();
            batch.lines.push(line.to_vec());
            if batch.lines.len() == BATCH_RECORDS || batch.bytes >= BATCH_BYTES {
                self.append(&mut batch)?;
            }
        }
        self.append(&mut batch)
    }

    fn end(&self, partition: u32) -> Result<u64, Failure> {
        Ok(self.stream.describe()?.partitions[partition as usize].end_offset)
    }

    fn append(&self, batch: &mut Batch) -> Result<(), Failure> {
        if batch.lines.is_empty() {
            return Ok(());
        }
        let end = batch.next + batch.lines.len() as u64;
        if self.is_acknowledged(batch)? {
            let bodies = batch.lines.iter().map(|line| digest(line)).collect();
            let span = Span { partition: batch.partition, first_offset: batch.next, bodies };
            tell(&self.reports, &Report::Acknowledged { at_micros: now_micros(), span })?;
        }
        batch.next = end;
        batch.is_first = false;
        batch.lines.clear();
        batch.bytes = 0;
        Ok(())
    }

    /// Appends until the batch is in. `false` if nobody said so, and where the partition ends tells it: the host was
    /// killed with the answer; or this feeder was, and the last batch of its earlier life came in after it had looked
    /// for the end. Batches of both lives have the same bounds.
    fn is_acknowledged(&self, batch: &Batch) -> Result<bool, Failure> {
        let records: Vec<Record<'_>> = batch.lines.iter().map(|line| Record::new(line).key(key_of(line))).collect();
        let options = self.options.clone().partition(batch.partition).expect_offset(batch.next);
        let batch_end = batch.next + batch.lines.len() as u64;
        loop {
            match self.stream.append_batch(&records, &options) {
                Ok(_) => return Ok(true),
                Err(Error::WrongOffset { end, .. }) if batch.is_first && end == batch_end => return Ok(false),
                // Nobody else writes to this partition, and a batch is in whole or not at all.
                Err(Error::OutcomeUnknown) if self.end(batch.partition)? == batch.next => {}
                Err(Error::OutcomeUnknown) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Lines that wait to be appended together.
struct Batch {
    partition: u32,
    /// The offset that the first of them must be given.
    next: u64,
    /// Nothing was appended before it in this life.
    is_first: bool,
    lines: Vec<Vec<u8>>,
    bytes: usize,
}
