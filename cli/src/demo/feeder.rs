//! Appends the input with one writer per partition, all of them one producer.
//!
//! A writer walks the whole input and takes the lines of its partition; a line's number among them is its sequence. The
//! producer's last batch says how many the partition holds. The writer begins with that batch, which it may not have
//! told of before it was killed, and sends a batch again until it is told where it stands. That the host is killed is
//! no matter of the writer's: its append takes longer then.
//!
//! Batches of all lives have the same bounds, since each begins where one of an earlier life did.

use std::ops::Range;
use std::thread;

use towpath::{AppendOptions, AppendedBatch, Error, Level, Producer, ProducerOptions, Record, Stream};

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
    producer: Producer,
    reports: Reports,
    options: AppendOptions,
}

impl<'a> Feeder<'a> {
    /// Whoever fed under this name before appends nothing any more.
    pub(super) fn new(
        input: &'a Input,
        stream: &Stream,
        name: &str,
        reports: Reports,
        level: Level,
    ) -> Result<Feeder<'a>, Failure> {
        let producer = loop {
            match stream.producer(name, ProducerOptions::new()) {
                Err(Error::OutcomeUnknown) => {}
                opened => break opened?,
            }
        };
        Ok(Feeder { input, producer, reports, options: AppendOptions::new().level(level) })
    }

    pub(super) fn feed(&self, partitions: Range<u32>) -> Result<(), Failure> {
        thread::scope(|scope| joined(partitions.map(|partition| scope.spawn(move || self.write(partition))).collect()))
    }

    /// Appends what the partition does not hold yet, and the last of what it does.
    fn write(&self, partition: u32) -> Result<(), Failure> {
        let first = self.producer.last(partition)?.map_or(0, |last| last.sequence);
        let mut lines = self.input.lines()?;
        let mut held = 0;
        let mut batch = Batch { partition, sequence: first, lines: Vec::new(), bytes: 0 };
        while let Some(line) = lines.next()? {
            if self.producer.stream().partition_of(key_of(line)) != partition {
                continue;
            }
            if held < first {
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

    fn append(&self, batch: &mut Batch) -> Result<(), Failure> {
        if batch.lines.is_empty() {
            return Ok(());
        }
        let appended = self.send(batch)?;
        let first_offset = appended.partitions[0].first_offset;
        let bodies = batch.lines.iter().map(|line| digest(line)).collect();
        let span = Span { partition: batch.partition, first_offset, bodies };
        tell(&self.reports, &Report::Acknowledged { at_micros: now_micros(), span })?;
        batch.sequence += batch.lines.len() as u64;
        batch.lines.clear();
        batch.bytes = 0;
        Ok(())
    }

    /// Sends the batch until it is told where it stands: it is stored once however often it is sent.
    fn send(&self, batch: &Batch) -> Result<AppendedBatch, Failure> {
        let records: Vec<Record<'_>> = batch.lines.iter().map(|line| Record::new(line).key(key_of(line))).collect();
        let options = self.options.clone().partition(batch.partition);
        loop {
            match self.producer.append_batch_at(|_| batch.sequence, &records, &options) {
                Err(Error::OutcomeUnknown) => {}
                sent => return Ok(sent?),
            }
        }
    }
}

/// Lines that wait to be appended together.
struct Batch {
    partition: u32,
    /// Of the first of them.
    sequence: u64,
    lines: Vec<Vec<u8>>,
    bytes: usize,
}
