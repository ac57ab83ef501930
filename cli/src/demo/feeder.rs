//! The child process: appends the input with one writer per partition and follows it with one reader per partition.
//!
//! A writer walks the whole input and takes the lines of its partition. The stream's end offset says how many of them
//! it already holds, so those are skipped; each batch names the offset that it expects to be given.

use std::io::{self, Read, Stdout};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use towpath::{AppendOptions, Database, Reader, Record, Start, Stream, StreamOptions};

use super::input::Input;
use super::report::{Report, Sender, Span};
use super::{PARTITIONS, STREAM, Source, digest, key_of};
use crate::exit::Failure;
use crate::stream::LevelName;

/// Lines and bytes in one append.
const BATCH_RECORDS: usize = 50;
const BATCH_BYTES: usize = 256 << 10;

/// Records that a reader takes at a time, and how long it waits before it looks whether the writer has finished.
const READ_RECORDS: usize = 1_000;
const READ_PATIENCE: Duration = Duration::from_millis(20);

#[derive(Args)]
pub(crate) struct Feeder {
    #[command(flatten)]
    pub(super) source: Source,
    #[arg(long, value_enum)]
    pub(super) level: LevelName,
}

impl Feeder {
    /// Ends when standard input does: the parent decides whether the database is closed or killed.
    pub(crate) fn run(&self, data: &Path) -> Result<(), Failure> {
        let input = self.source.open()?;
        let reports = Sender::new(io::stdout());
        let start = Instant::now();
        let database = Database::open(data)?;
        let stream = database.create_stream(STREAM, StreamOptions::new().partitions(PARTITIONS))?;
        tell(&reports, &Report::Opened { micros: start.elapsed().as_micros() as u64 })?;
        let feed = Feed { input, stream, reports, options: AppendOptions::new().level(self.level.level()) };
        feed.run()?;
        tell(&feed.reports, &Report::Done)?;
        wait_for_parent()?;
        drop(feed);
        Ok(database.close()?)
    }
}

fn tell(reports: &Sender<Stdout>, report: &Report) -> Result<(), Failure> {
    reports.send(report).map_err(Failure::output)
}

fn wait_for_parent() -> Result<(), Failure> {
    io::stdin()
        .read_to_end(&mut Vec::new())
        .map(|_| ())
        .map_err(|error| Failure::failed(format!("cannot wait for the parent: {error}")))
}

struct Feed {
    input: Input,
    stream: Stream,
    reports: Sender<Stdout>,
    options: AppendOptions,
}

impl Feed {
    fn run(&self) -> Result<(), Failure> {
        let ends: Vec<u64> = self.stream.describe()?.partitions.iter().map(|partition| partition.end_offset).collect();
        let goals: Vec<Goal> = ends.iter().map(|_| Goal::unknown()).collect();
        let outcomes: Vec<Result<(), Failure>> = thread::scope(|scope| {
            let mut threads = Vec::new();
            for ((partition, end), goal) in (0u32..).zip(ends).zip(&goals) {
                threads.push(scope.spawn(move || self.write(partition, end, goal)));
                threads.push(scope.spawn(move || self.follow(partition, goal)));
            }
            threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(panicked()))).collect()
        });
        outcomes.into_iter().collect()
    }

    fn write(&self, partition: u32, end: u64, goal: &Goal) -> Result<(), Failure> {
        let outcome = self.write_lines(partition, end);
        goal.set(*outcome.as_ref().unwrap_or(&0));
        outcome.map(|_| ())
    }

    /// Appends what the partition does not hold yet. Returns where it ends then.
    fn write_lines(&self, partition: u32, end: u64) -> Result<u64, Failure> {
        let mut lines = self.input.lines()?;
        let mut held = 0;
        let mut batch = Batch { partition, next: end, lines: Vec::new(), bytes: 0 };
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
        self.append(&mut batch)?;
        Ok(batch.next)
    }

    fn append(&self, batch: &mut Batch) -> Result<(), Failure> {
        if batch.lines.is_empty() {
            return Ok(());
        }
        let records: Vec<Record<'_>> = batch.lines.iter().map(|line| Record::new(line).key(key_of(line))).collect();
        let options = self.options.clone().partition(batch.partition).expect_offset(batch.next);
        self.stream.append_batch(&records, &options)?;
        let bodies = batch.lines.iter().map(|line| digest(line)).collect();
        let span = Span { partition: batch.partition, first_offset: batch.next, bodies };
        tell(&self.reports, &Report::Acknowledged(span))?;
        batch.next += batch.lines.len() as u64;
        batch.lines.clear();
        batch.bytes = 0;
        Ok(())
    }

    /// Reads from the very beginning, after a restart too: what was seen before must still be there.
    fn follow(&self, partition: u32, goal: &Goal) -> Result<(), Failure> {
        let mut reader: Reader = self.stream.reader(partition, Start::Earliest)?;
        while !goal.is_reached(reader.position()) {
            let Some(records) = reader.receive_timeout(READ_RECORDS, READ_PATIENCE)? else { continue };
            let Some(first_offset) = records.iter().next().map(|record| record.offset()) else { continue };
            let bodies = records.iter().map(|record| digest(record.body())).collect();
            tell(&self.reports, &Report::Seen(Span { partition, first_offset, bodies }))?;
        }
        Ok(())
    }
}

fn panicked() -> Failure {
    Failure::failed("a feeding thread panicked; this is a bug")
}

/// Lines that wait to be appended together.
struct Batch {
    partition: u32,
    /// The offset that the first of them must be given.
    next: u64,
    lines: Vec<Vec<u8>>,
    bytes: usize,
}

/// Where a reader may stop; unknown until the writer beside it has finished.
struct Goal(AtomicU64);

impl Goal {
    fn unknown() -> Goal {
        Goal(AtomicU64::new(u64::MAX))
    }

    fn set(&self, end: u64) {
        self.0.store(end, Ordering::Release);
    }

    fn is_reached(&self, position: u64) -> bool {
        position >= self.0.load(Ordering::Acquire)
    }
}
