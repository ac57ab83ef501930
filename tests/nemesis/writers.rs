//! Threads of a process: they write and ask as a program would, and tell every step. `readers.rs` has those that read.

use std::collections::{BTreeMap, VecDeque};
use std::thread::sleep;
use std::time::Duration;

use towpath::{AppendOptions, Appended, AppendedBatch, Database, Error, Level, Stream, Ticket, Timestamp};

use crate::STREAMS;
use crate::book::{Book, Manner, Range, Step, WriteId};
use crate::content::{Tag, Written};
use crate::place::Chance;

/// The longest pause between two writes of a thread.
const PAUSE_MICROS: u64 = 12_000;
const IN_FLIGHT_MAX: usize = 16;

/// What a thread does its work with.
pub struct Desk<'a> {
    pub book: &'a Book,
    pub thread: u32,
    pub chance: Chance,
    pub streams: &'a [Stream],
    /// As a member: how far it has come in each partition that it owns.
    pub consumed: BTreeMap<u32, u64>,
    next_write: u64,
}

/// Whether a thread goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    GoOn,
    End,
}

/// What a write was answered with.
enum Told {
    At { lsn: u64, ranges: Vec<Range> },
    Failed(Error),
}

impl From<Result<Appended, Error>> for Told {
    fn from(answer: Result<Appended, Error>) -> Told {
        let range = |at: &Appended| Range { partition: at.partition, first: at.offset, records: 1 };
        answer.map_or_else(Told::Failed, |at| Told::At { lsn: at.lsn().get(), ranges: vec![range(&at)] })
    }
}

impl From<Result<AppendedBatch, Error>> for Told {
    fn from(answer: Result<AppendedBatch, Error>) -> Told {
        let range = |at: &towpath::AppendedRange| Range {
            partition: at.partition,
            first: at.first_offset,
            records: at.records,
        };
        answer.map_or_else(Told::Failed, |at| Told::At {
            lsn: at.receipt.lsn.get(),
            ranges: at.partitions.iter().map(range).collect(),
        })
    }
}

impl<'a> Desk<'a> {
    /// `thread` is a number that no other desk of this process ever had.
    pub fn new(book: &'a Book, thread: u32, streams: &'a [Stream]) -> Desk<'a> {
        let chance = Chance::new((book.process << 16) + u64::from(thread));
        Desk { book, thread, chance, streams, consumed: BTreeMap::new(), next_write: 0 }
    }

    fn rest(&mut self) {
        // Some in a row without a pause, as a program that is busy does.
        if self.chance.below(4) > 0 {
            sleep(Duration::from_micros(self.chance.below(PAUSE_MICROS)));
        }
    }

    fn level(&mut self) -> Level {
        if self.chance.below(3) == 0 { Level::Sync } else { Level::Buffered }
    }

    /// Tells of a write that is about to be made.
    fn ask(&mut self, stream: usize, counts: Vec<(u32, u32)>) -> WriteId {
        self.ask_in(Manner::Plain, stream, counts)
    }

    fn ask_in(&mut self, manner: Manner, stream: usize, counts: Vec<(u32, u32)>) -> WriteId {
        let write = self.next_write_id();
        self.book.tell(&Step::Asked { write, stream, counts, manner });
        write
    }

    pub fn next_write_id(&mut self) -> WriteId {
        self.next_write += 1;
        (self.thread, self.next_write - 1)
    }

    fn written(&self, write: WriteId, index: u32, count: u32) -> Written {
        Tag { process: self.book.process, thread: write.0, write: write.1, index, count }.written()
    }

    /// Tells what became of it.
    fn tell(&self, write: WriteId, told: impl Into<Told>) -> Then {
        let (step, then) = match told.into() {
            Told::At { lsn, ranges } => (Step::Acknowledged { write, lsn, ranges }, Then::GoOn),
            Told::Failed(error) => match error {
                Error::OutcomeUnknown => (Step::Unknown { write }, Then::GoOn),
                Error::Unconfirmed => (Step::Unconfirmed { write }, Then::GoOn),
                Error::TimedOut | Error::StorageFull | Error::WrongOffset { .. } | Error::Contended => {
                    (Step::Refused { write }, Then::GoOn)
                }
                Error::Closed => (Step::Refused { write }, Then::End),
                Error::NoHost => {
                    self.book.tell(&Step::Hostless);
                    (Step::Refused { write }, Then::GoOn)
                }
                error => {
                    self.fail("a write", &error);
                    (Step::Unknown { write }, Then::End)
                }
            },
        };
        self.book.tell(&step);
        then
    }

    /// Tells of an error, unless it is that the database was closed. The thread ends with it, but goes on where it is
    /// only that nobody hosts the database.
    pub fn fail(&self, attempt: &str, error: &Error) -> Then {
        match error {
            Error::Closed => {}
            Error::NoHost => {
                self.book.tell(&Step::Hostless);
                return Then::GoOn;
            }
            error => self.book.tell(&Step::Unexpected { text: format!("{attempt}: {error}") }),
        }
        Then::End
    }

    /// One record, at either level, sometimes with little time.
    pub fn single(&mut self) -> Then {
        self.rest();
        let partition = self.chance.below(u64::from(STREAMS[0].1)) as u32;
        let mut options = AppendOptions::new().partition(partition).level(self.level());
        let mut manner = Manner::Plain;
        if self.chance.below(10) == 0 {
            options = options.timeout(Duration::from_micros(self.chance.below(50_000)));
            manner = Manner::Hurried;
        }
        let write = self.ask_in(manner, 0, vec![(partition, 1)]);
        let written = self.written(write, 0, 1);
        let appended = self.streams[0].append_with(written.record(&written.headers()), &options);
        self.tell(write, appended)
    }

    /// One record in the ledger if nobody else was faster.
    pub fn expecting(&mut self) -> Then {
        self.rest();
        let end = match self.streams[1].describe() {
            Ok(described) => described.partitions[0].end_offset,
            Err(error) => return self.fail("describing the ledger", &error),
        };
        let options = AppendOptions::new().partition(0).expect_offset(end).level(self.level());
        let write = self.ask_in(Manner::Conditional, 1, vec![(0, 1)]);
        let written = self.written(write, 0, 1);
        let appended = self.streams[1].append_with(written.record(&written.headers()), &options);
        self.tell(write, appended)
    }

    /// Records over all partitions, by key.
    pub fn batch(&mut self) -> Then {
        self.rest();
        let keys: Vec<[u8; 2]> =
            (0..=self.chance.below(8)).map(|_| (self.chance.next() as u16).to_le_bytes()).collect();
        let mut counts: Vec<(u32, u32)> = Vec::new();
        for partition in 0..STREAMS[0].1 {
            let count = keys.iter().filter(|key| self.streams[0].partition_of(&key[..]) == partition).count() as u32;
            counts.extend((count > 0).then_some((partition, count)));
        }
        let options = AppendOptions::new().level(self.level());
        let write = self.ask(0, counts);
        let count = keys.len() as u32;
        let written: Vec<Written> = (0..count).map(|index| self.written(write, index, count)).collect();
        let headers: Vec<_> = written.iter().map(Written::headers).collect();
        let parts = keys.iter().zip(written.iter().zip(&headers));
        let records: Vec<_> = parts.map(|(key, (written, headers))| written.record(headers).key(key)).collect();
        let appended = self.streams[0].append_batch(&records, &options);
        self.tell(write, appended)
    }

    /// Records in flight, one after another until the database is closed.
    pub fn tickets(&mut self) {
        let mut in_flight: VecDeque<(WriteId, Ticket<Appended>)> = VecDeque::new();
        let mut then = Then::GoOn;
        while then == Then::GoOn {
            self.rest();
            let partition = self.chance.below(u64::from(STREAMS[0].1)) as u32;
            let options = AppendOptions::new().partition(partition).level(self.level());
            let write = self.ask(0, vec![(partition, 1)]);
            let written = self.written(write, 0, 1);
            match self.streams[0].submit(written.record(&written.headers()), &options) {
                Ok(ticket) => in_flight.push_back((write, ticket)),
                Err(error) => then = self.tell(write, Told::Failed(error)),
            }
            if in_flight.len() == IN_FLIGHT_MAX {
                let some = 1 + self.chance.below(IN_FLIGHT_MAX as u64) as usize;
                for (write, ticket) in in_flight.drain(..some) {
                    then = if self.tell(write, ticket.wait()) == Then::End { Then::End } else { then };
                }
            }
        }
        for (write, ticket) in in_flight {
            self.tell(write, ticket.wait());
        }
    }

    /// Asks who hosts, where partitions end, and where time began.
    pub fn question(&mut self, db: &Database) -> Then {
        sleep(Duration::from_micros(self.chance.below(10_000)));
        match self.ask_all(db) {
            Ok(()) => Then::GoOn,
            Err(error) => self.fail("a question", &error),
        }
    }

    fn ask_all(&mut self, db: &Database) -> Result<(), Error> {
        let stats = db.stats()?;
        let (pid, epoch, issued) = (stats.host_pid, stats.host_epoch, stats.issued_lsn);
        self.book.tell(&Step::Hosted { pid, epoch, issued });
        let number = self.chance.below(STREAMS.len() as u64) as usize;
        for described in self.streams[number].describe()?.partitions {
            let (place, end) = ((number, described.partition), described.end_offset);
            self.book.tell(&Step::Ended { place, end });
            let first = self.streams[number].offset_for_time(described.partition, Timestamp::from_micros(0))?;
            if end > 0 && first != Some(0) {
                self.book.tell(&Step::Unexpected { text: format!("the first record of {place:?} is {first:?}") });
            }
        }
        Ok(())
    }
}
