//! `towpath stream read`.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use clap::Args;
use towpath::{Database, Error, GroupOptions, Member, MemberOptions, Polled, Reader, Stream};

use super::merge::Merge;
use super::no_such_partition;
use super::row::Row;
use crate::exit::Failure;
use crate::output::Output;
use crate::place::Place;
use crate::signals;
use crate::units::StartName;

/// Records that a followed partition hands over at a time, and batches that may wait to be printed.
const FOLLOW_RECORDS: usize = 256;
const FOLLOW_BATCHES: usize = 4;

#[derive(Args)]
pub(crate) struct Read {
    /// The stream
    name: String,
    /// Where to begin: earliest, latest, an offset, or a time (2026-03-01T12:00:00Z, @1772366400, -5m)
    ///
    /// A date or a time without a zone, such as 2026-03-01 or "2026-03-01 12:00", is taken in the time zone of the
    /// system (the variable TZ, or else /etc/localtime).
    #[arg(long, value_name = "FROM", default_value = "earliest", allow_hyphen_values = true)]
    from: StartName,
    /// Read one partition only
    #[arg(long, value_name = "P")]
    partition: Option<u32>,
    /// Read as a member of this consumer group, from where it is, and commit what was printed
    ///
    /// A group that does not exist is created, and begins at the earliest records. Partitions are shared with its other
    /// members, and given up at the end.
    #[arg(long, value_name = "G", conflicts_with_all = ["from", "partition"])]
    group: Option<String>,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    max: Option<u64>,
    /// Wait for more at the end, until a signal comes or the reader of the output leaves
    #[arg(long)]
    follow: bool,
    /// Print one JSON object per record and line; what is not UTF-8 as base64 under body_base64
    #[arg(long)]
    json: bool,
}

impl Read {
    pub(crate) fn run(&self, place: &Place) -> Result<(), Failure> {
        let database = place.open_existing()?;
        if let Some(group) = &self.group {
            let member = database.stream(&self.name)?.group(group, GroupOptions::new())?.join(MemberOptions::new())?;
            return self.share(database, member);
        }
        let readers = self.readers(&database.stream(&self.name)?)?;
        if self.follow {
            return self.follow(database, readers);
        }
        let outcome = self.print(Merge::new(readers)?);
        database.close()?;
        outcome
    }

    fn readers(&self, stream: &Stream) -> Result<Vec<Reader>, Failure> {
        let partitions = match self.partition {
            Some(partition) if partition < stream.partitions() => partition..partition + 1,
            Some(partition) => return Err(no_such_partition(stream, partition)),
            None if matches!(self.from, StartName::Offset(_)) && stream.partitions() > 1 => {
                return Err(Failure::usage(format!(
                    "{} has {} partitions and each counts its own offsets; name one with --partition",
                    self.name,
                    stream.partitions()
                )));
            }
            None => 0..stream.partitions(),
        };
        partitions.map(|partition| Ok(stream.reader(partition, self.from.position())?)).collect()
    }

    fn print(&self, mut merge: Merge) -> Result<(), Failure> {
        let signals = signals::catch()?;
        let mut output = Output::new();
        let mut left = self.max.unwrap_or(u64::MAX);
        while left > 0
            && let Some(row) = merge.next()?
        {
            signals.check()?;
            row.write(self.json, &mut output)?;
            left -= 1;
        }
        output.flush()
    }

    /// Reads as a member of a group. Where it follows, closing the database ends its waiting.
    fn share(&self, database: Database, mut member: Member) -> Result<(), Failure> {
        let outcome = if self.follow {
            let ended = end_from_outside(database.clone())?;
            let outcome = self.print_shared(&mut member, |member, max| Ok(Some(member.poll(max)?)));
            outcome.map_err(|failure| ended.get().map_or(failure, |outside| outside.failure()))
        } else {
            let signals = signals::catch()?;
            self.print_shared(&mut member, |member, max| {
                signals.check()?;
                Ok(member.try_poll(max)?)
            })
        };
        drop(member);
        database.close()?;
        outcome
    }

    fn print_shared(
        &self,
        member: &mut Member,
        poll: impl Fn(&mut Member, usize) -> Result<Option<Polled>, Failure>,
    ) -> Result<(), Failure> {
        let mut output = Output::new();
        let mut left = self.max.unwrap_or(u64::MAX);
        while left > 0
            && let Some(polled) = poll(member, usize::try_from(left).unwrap_or(usize::MAX).min(FOLLOW_RECORDS))?
        {
            for record in polled.iter() {
                Row::new(&record).write(self.json, &mut output)?;
                left -= 1;
            }
            output.flush()?;
            match member.commit() {
                // Whoever has them now prints them again.
                Err(Error::PartitionsMoved { .. }) => {}
                committed => committed?,
            }
        }
        Ok(())
    }

    /// Each partition is followed by a thread of its own. Closing the database ends their waiting.
    fn follow(&self, database: Database, readers: Vec<Reader>) -> Result<(), Failure> {
        let ended = end_from_outside(database.clone())?;
        let (sender, receiver) = sync_channel(FOLLOW_BATCHES);
        let threads: Vec<_> = readers
            .into_iter()
            .map(|reader| {
                let sender = sender.clone();
                thread::spawn(move || hand_over(reader, &sender))
            })
            .collect();
        drop(sender);
        let outcome = self.print_followed(&receiver);
        drop(receiver);
        database.close()?;
        for thread in threads {
            if thread.join().is_err() {
                return Err(Failure::failed("a reading thread panicked; this is a bug"));
            }
        }
        outcome.map_err(|failure| ended.get().map_or(failure, |outside| outside.failure()))
    }

    fn print_followed(&self, receiver: &Receiver<Result<Vec<Row>, Error>>) -> Result<(), Failure> {
        let mut output = Output::new();
        let mut left = self.max.unwrap_or(u64::MAX);
        while left > 0
            && let Ok(rows) = receiver.recv()
        {
            for row in rows?.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
                row.write(self.json, &mut output)?;
                left -= 1;
            }
            output.flush()?;
        }
        Ok(())
    }
}

/// What ended the following from outside.
#[derive(Clone, Copy)]
enum Outside {
    Signal(u8),
    OutputClosed,
}

impl Outside {
    fn failure(self) -> Failure {
        match self {
            Outside::Signal(signal) => Failure::Stopped { signal },
            Outside::OutputClosed => Failure::OutputClosed,
        }
    }
}

/// Closes the database when a signal comes or whoever read standard output leaves, even while there is nothing to
/// print: that ends the waiting of all readers.
fn end_from_outside(database: Database) -> Result<Arc<OnceLock<Outside>>, Failure> {
    let signals = signals::catch()?;
    let ended = Arc::new(OnceLock::new());
    let told = ended.clone();
    thread::spawn(move || {
        let outside = match signals.wait_for_reader_to_leave(io::stdout()) {
            Ok(()) => Outside::OutputClosed,
            Err(Failure::Stopped { signal }) => Outside::Signal(signal),
            // It cannot be waited for: the next write finds out.
            Err(_) => return,
        };
        let _ = told.set(outside);
        // What goes wrong is told by the main thread, which closes too.
        let _ = database.close();
    });
    Ok(ended)
}

/// Sends what the reader receives until it fails or nobody listens.
fn hand_over(mut reader: Reader, sender: &SyncSender<Result<Vec<Row>, Error>>) {
    loop {
        let rows = reader.receive(FOLLOW_RECORDS).map(|records| records.iter().map(|row| Row::new(&row)).collect());
        let is_last = rows.is_err();
        if sender.send(rows).is_err() || is_last {
            return;
        }
    }
}
