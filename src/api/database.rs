//! The database handle.

mod scheduling;

use std::path::{Path, PathBuf};

use crate::base::level::Level;
use crate::base::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::engine::Refused;
use crate::primitives::queues::Erasing;
use crate::primitives::{Command, Refusal, Reply, queues, sessions, streams};
use crate::processes::exchanging::{ExchangeNames, FindExchange};
use crate::processes::link::Link;
use crate::processes::operation::Question;
use crate::processes::questions::{FindStream, MakeCheckpoint, Processes, StatsOf, StreamNames, SyncAll};
use crate::processes::queueing::{FindQueue, QueueNames};
use crate::processes::stats::{AttachedProcess, Stats};
use crate::storage::disk::clock::random_id;

use super::check::CheckReport;
use super::dead_letter_options::own_target;
use super::error::Error;
use super::exchange::Exchange;
use super::exchange_options::ExchangeOptions;
use super::options::Options;
use super::outcomes::StreamDescription;
use super::queue::Queue;
use super::queue_options::QueueOptions;
use super::sticky::Spread;
use super::stream::Stream;
use super::stream_options::StreamOptions;

/// An open database: one directory, hosted by this process or by another that this one is attached to (see
/// [`OpenMode`](crate::OpenMode)).
///
/// Cheap to clone; all clones and all handles made from it share it. It is flushed, checkpointed and let go by
/// [`Database::close`], or when the last clone and the last handle are dropped.
///
/// ```
/// use towpath::{Database, Record, StreamOptions};
///
/// # let directory = std::env::temp_dir().join(format!("towpath-doc-database-{}", std::process::id()));
/// let db = Database::open(&directory)?;
/// let orders = db.create_stream("orders", StreamOptions::new().partitions(4))?;
/// orders.append(Record::new(b"one blue mug").key(b"customer-7"))?;
/// db.close()?;
/// # std::fs::remove_dir_all(directory)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) shared: Arc<Shared>,
}

/// What all handles share; dropping it closes.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) link: Link,
    pub(crate) level: Level,
    pub(crate) spread: Spread,
    path: PathBuf,
    remove_on_close: Option<PathBuf>,
    /// Nothing is handed out any more: what is given back now is for others.
    is_closing: AtomicBool,
    /// The number of the next who receives without having joined.
    pub(super) takers: AtomicU64,
}

impl Shared {
    fn close(&self) -> Result<(), Error> {
        self.is_closing.store(true, Ordering::SeqCst);
        let is_ours = self.link.is_host();
        let closed = self.link.close();
        if let Some(path) = self.remove_on_close.as_ref().filter(|_| is_ours) {
            // A temporary database: what cannot be removed is the system's to clear away.
            let _ = crate::storage::disk::host::remove_tree(path);
        }
        Ok(closed?)
    }
}

impl Shared {
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::SeqCst)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // An error here was either reported by `close` before or has nobody to go to; the next open recovers.
        let _ = self.close();
    }
}

impl Database {
    /// Opens the database in the directory `path` with the default [`Options`], creating it if it is not there.
    ///
    /// # Errors
    /// As for [`Options::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Database, Error> {
        Options::new().open(path)
    }

    /// Opens it on a simulated disk.
    #[cfg(test)]
    pub(crate) fn open_on(
        disk: Arc<dyn crate::storage::disk::Disk>,
        options: crate::engine::OpenOptions,
        level: Level,
    ) -> Result<Database, Error> {
        Database::of_link(Link::host_alone(disk, options)?, level, "simulated".into(), None)
    }

    pub(super) fn of_link(
        link: Link,
        level: Level,
        path: PathBuf,
        remove_on_close: Option<PathBuf>,
    ) -> Result<Database, Error> {
        let start = random_id().map_err(|source| Error::Io { attempt: "asking for randomness", source })?;
        let spread = Spread::new(u64::from_le_bytes(*start.first_chunk().expect("an id has sixteen bytes")));
        Ok(Database {
            shared: Arc::new(Shared {
                link,
                level,
                spread,
                path,
                remove_on_close,
                is_closing: AtomicBool::new(false),
                takers: AtomicU64::new(1),
            }),
        })
    }

    /// Creates a stream, or opens it if it exists with equal options. Durable on return.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it exists with other options, [`Error::InvalidName`], [`Error::LimitExceeded`],
    /// [`Error::InvalidOption`], and what any write may meet.
    pub fn create_stream(&self, name: &str, options: StreamOptions) -> Result<Stream, Error> {
        self.submit(name, streams::Command::Create { name, options: options.to_machine() })?;
        self.stream(name)
    }

    /// Creates a stream, or gives the one that exists these limits of retention and this level: what `options` does not
    /// name is unlimited then, or the database's level. Durable on return.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it exists with another number of partitions; else as for [`Database::create_stream`].
    pub fn ensure_stream(&self, name: &str, options: StreamOptions) -> Result<Stream, Error> {
        self.submit(name, streams::Command::Ensure { name, options: options.to_machine() })?;
        self.stream(name)
    }

    /// Opens a stream that exists. Waits for nothing, unless the stream is just being created, altered or deleted: then
    /// for the sync of that.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Poisoned`] (readers that are open go on then), [`Error::OutcomeUnknown`] if the
    /// disk failed in that sync, [`Error::Closed`], [`Error::Forked`].
    pub fn stream(&self, name: &str) -> Result<Stream, Error> {
        let question = FindStream { name: name.into() };
        let found = self.shared.link.ask(&question).map_err(|refused| refusal(refused, name))?;
        let found = found.ok_or_else(|| Error::NotFound { kind: "stream", name: name.to_owned() })?;
        Ok(Stream::new(self.clone(), name, found))
    }

    /// Every stream, by name, described as by [`Stream::describe`]. Takes as long as there are partitions. One that is
    /// created or deleted meanwhile may be in it or not.
    ///
    /// # Errors
    /// As for [`Database::stream`].
    pub fn streams(&self) -> Result<Vec<StreamDescription>, Error> {
        let mut described = Vec::new();
        let mut last = String::new();
        loop {
            let names = self.ask(&StreamNames { after: last.clone() })?;
            let Some(name) = names.last() else { return Ok(described) };
            last.clone_from(name);
            for name in &names {
                match self.stream(name).and_then(|stream| stream.describe()) {
                    // It was deleted since its name was read.
                    Err(Error::NotFound { .. }) => {}
                    stream => described.push(stream?),
                }
            }
        }
    }

    /// Deletes a stream with all its records. Durable on return; disk space follows with the next checkpoints.
    ///
    /// # Errors
    /// [`Error::NotFound`], and what any write may meet.
    pub fn delete_stream(&self, name: &str) -> Result<(), Error> {
        self.submit(name, streams::Command::Delete { name })
    }

    /// Creates a queue, or opens it if it exists with equal options. Durable on return.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it exists with other options, [`Error::InvalidName`], [`Error::LimitExceeded`],
    /// [`Error::InvalidOption`], [`Error::NotFound`] if there is nothing of the name that dead letters are to go to,
    /// and what any write may meet.
    pub fn create_queue(&self, name: &str, options: QueueOptions) -> Result<Queue, Error> {
        self.open_queue(name, &options, false)
    }

    /// Creates a queue, or gives the one that exists these options. Durable on return.
    ///
    /// # Errors
    /// As for [`Database::create_queue`], but for the mismatch.
    pub fn ensure_queue(&self, name: &str, options: QueueOptions) -> Result<Queue, Error> {
        self.open_queue(name, &options, true)
    }

    fn open_queue(&self, name: &str, asked: &QueueOptions, alters: bool) -> Result<Queue, Error> {
        let options = &asked.to_machine(self, name)?;
        // Before they are sent: a host takes what cannot be for a request that it does not understand.
        let invalid = |(option, reason): (_, &str)| Error::InvalidOption { option, reason: reason.to_owned() };
        options.check().map_err(invalid)?;
        let command = match alters {
            false => queues::Command::Create { name, options },
            true => queues::Command::Ensure { name, options },
        };
        let submitted = self.shared.link.submit(&Command::Queues(command), Level::Sync, None);
        let refused = |refused| match (refused, asked.target()) {
            (Refused::Refusal(Refusal::Queues(queues::Refusal::NoDestination)), Some((kind, target))) => {
                Error::NotFound { kind, name: target.to_owned() }
            }
            (refused, _) => refusal(refused, name),
        };
        match submitted.map_err(refused)?.reply {
            Reply::Queues(queues::Reply::Queue(number)) => Ok(Queue::new(self.clone(), name, number)),
            _ => unreachable!("who opens a queue is told its number"),
        }
    }

    /// Opens a queue that exists. Waits for nothing, unless the queue is just being created or deleted: then for the
    /// sync of that.
    ///
    /// # Errors
    /// As for [`Database::stream`].
    pub fn queue(&self, name: &str) -> Result<Queue, Error> {
        let found = self.ask(&FindQueue { name: name.into() })?;
        let number = found.ok_or_else(|| Error::NotFound { kind: "queue", name: name.to_owned() })?;
        Ok(Queue::new(self.clone(), name, number))
    }

    /// The names of all queues, in order. One that is created or deleted meanwhile may be in it or not.
    ///
    /// # Errors
    /// As for [`Database::stream`].
    pub fn queue_names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let more = self.ask(&QueueNames { after: names.last().cloned().unwrap_or_default() })?;
            if more.is_empty() {
                return Ok(names);
            }
            names.extend(more);
        }
    }

    /// Deletes a queue with all that is in it, dead letters and bindings too. Durable on return; disk space follows
    /// with the next checkpoints.
    ///
    /// # Errors
    /// [`Error::MessagesInFlight`] if some are, [`Error::IsTarget`] if dead letters of another queue go there,
    /// [`Error::NotFound`], and what any write may meet.
    pub fn delete_queue(&self, name: &str) -> Result<(), Error> {
        let queue = self.queue(name)?;
        let submit = |command| queue.submit(command, Level::Sync).map_err(|refused| queue.refusal(refused));
        submit(queues::Command::Delete { queue: queue.number })?;
        // From here on it is gone. What it has left is forgotten step by step, by the next host if need be.
        let erase = queues::Command::Erase { what: Erasing::Queue(queue.number) };
        while matches!(submit(erase), Ok((queues::Reply::More, _))) {}
        Ok(())
    }

    /// Creates an exchange, or opens it if it exists with equal options. Durable on return.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it exists with other options, [`Error::NotFound`] if there is no such alternate exchange,
    /// [`Error::InvalidName`], [`Error::LimitExceeded`], [`Error::InvalidOption`], and what any write may meet.
    pub fn create_exchange(&self, name: &str, options: ExchangeOptions) -> Result<Exchange, Error> {
        self.open_exchange(name, options, false)
    }

    /// Creates an exchange, or gives the one that exists these options. Durable on return.
    ///
    /// # Errors
    /// As for [`Database::create_exchange`]; the mismatch only if it is of another type.
    pub fn ensure_exchange(&self, name: &str, options: ExchangeOptions) -> Result<Exchange, Error> {
        self.open_exchange(name, options, true)
    }

    fn open_exchange(&self, name: &str, options: ExchangeOptions, alters: bool) -> Result<Exchange, Error> {
        let ExchangeOptions { kind, alternate, allows_unroutable, dedup } = options;
        let alternate_name = alternate.unwrap_or_default();
        let alternate = match &*alternate_name {
            "" => None,
            alternate => Some(self.exchange(alternate)?.number),
        };
        let options = &queues::ExchangeOptions { kind, alternate, allows_unroutable, dedup };
        let invalid = |(option, reason): (_, &str)| Error::InvalidOption { option, reason: reason.to_owned() };
        options.check().map_err(invalid)?;
        let command = match alters {
            false => queues::Command::DeclareExchange { name, options },
            true => queues::Command::EnsureExchange { name, options },
        };
        let submitted = self.shared.link.submit(&Command::Queues(command), Level::Sync, None);
        let refusal = |refused| match refused {
            Refused::Refusal(Refusal::Queues(queues::Refusal::NoDestination)) => {
                Error::NotFound { kind: "exchange", name: alternate_name.clone() }
            }
            refused => refusal_of("exchange", refused, name),
        };
        match submitted.map_err(refusal)?.reply {
            Reply::Queues(queues::Reply::Exchange(number)) => Ok(Exchange::new(self.clone(), name, number)),
            _ => unreachable!("who opens an exchange is told its number"),
        }
    }

    /// Opens an exchange that exists. The empty name is that of the default exchange, which leads each message to the
    /// queue whose name is the routing key. Waits as [`Database::queue`] does.
    ///
    /// # Errors
    /// As for [`Database::stream`].
    pub fn exchange(&self, name: &str) -> Result<Exchange, Error> {
        let found = self.ask(&FindExchange { name: name.into() })?;
        let number = found.ok_or_else(|| Error::NotFound { kind: "exchange", name: name.to_owned() })?;
        Ok(Exchange::new(self.clone(), name, number))
    }

    /// The names of all exchanges but the default one, in order. One that is created or deleted meanwhile may be in it
    /// or not.
    ///
    /// # Errors
    /// As for [`Database::stream`].
    pub fn exchange_names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let more = self.ask(&ExchangeNames { after: names.last().cloned().unwrap_or_default() })?;
            if more.is_empty() {
                return Ok(names);
            }
            names.extend(more);
        }
    }

    /// Deletes an exchange with its bindings, from it and to it. Durable on return.
    ///
    /// # Errors
    /// [`Error::IsAlternate`] if another exchange has it as its alternate, [`Error::IsTarget`] if dead letters go
    /// there, [`Error::NotFound`],
    /// [`Error::InvalidOption`] for the default one, and what any write may meet.
    pub fn delete_exchange(&self, name: &str) -> Result<(), Error> {
        let exchange = self.exchange(name)?;
        let submit = |command| exchange.submit(command, Level::Sync).map_err(|refused| exchange.refusal(refused));
        submit(queues::Command::DeleteExchange { exchange: exchange.number })?;
        // Nothing comes through it any more. Its bindings go step by step, by the next host if need be.
        let erase = queues::Command::Erase { what: Erasing::Exchange(exchange.number) };
        while matches!(submit(erase), Ok((queues::Reply::More, _))) {}
        Ok(())
    }

    /// Whether handles of both may be used together.
    pub(super) fn is_same(&self, other: &Database) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits until everything that was written before this call, at any level, is on disk.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if the disk failed, [`Error::Poisoned`], [`Error::Closed`].
    pub fn sync(&self) -> Result<(), Error> {
        self.ask(&SyncAll)
    }

    /// The same without blocking a thread, on any runtime: the future is ready once everything that was written before
    /// *this call* is on disk, whenever it is first polled. Dropping it undoes nothing: what waits for a sync gets it
    /// within the flush interval.
    ///
    /// ```
    /// # let db = towpath::Options::temporary().level(towpath::Level::Buffered).open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// orders.append("one blue mug")?;
    /// let on_disk = db.sync_async();
    /// orders.append("two green plates")?;
    /// # let wait = async {
    /// on_disk.await?; // The mug is; the plates may be.
    /// # Ok::<(), towpath::Error>(())
    /// # };
    /// # let mut wait = std::pin::pin!(wait);
    /// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// # loop {
    /// #     let std::task::Poll::Ready(outcome) = wait.as_mut().poll(&mut context) else { continue };
    /// #     break outcome?;
    /// # }
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Database::sync`].
    pub fn sync_async(&self) -> impl Future<Output = Result<(), Error>> + Send + use<> {
        let barrier = self.shared.link.barrier();
        async move { barrier.map_err(unnamed)?.await.map_err(unnamed) }
    }

    /// Moves what the journal holds into the index now, as is done by itself every 16 MiB: the next open has nothing to
    /// replay. Blocks for a few syncs.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::OutcomeUnknown`], [`Error::Poisoned`], [`Error::Closed`].
    pub fn checkpoint(&self) -> Result<(), Error> {
        self.ask(&MakeCheckpoint)
    }

    /// Figures of the journal, the store and the threads. Waits for nothing, and answers when the disk has failed too.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`].
    pub fn stats(&self) -> Result<Stats, Error> {
        self.ask(&StatsOf)
    }

    /// The processes that are attached to the host now, as the host knows them.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Forked`], [`Error::NoHost`].
    pub fn attached_processes(&self) -> Result<Vec<AttachedProcess>, Error> {
        self.ask(&Processes)
    }

    /// Whether this process hosts the database. One that is attached may become the host at any time, when the host
    /// goes away.
    #[must_use]
    pub fn is_host(&self) -> bool {
        self.shared.link.is_host()
    }

    /// Flushes, checkpoints and lets the directory go: everything is on disk on return. Blocks for a few syncs, and
    /// until the database's threads have ended. Handles that are left answer [`Error::Closed`].
    ///
    /// # Errors
    /// [`Error::Poisoned`] if an I/O error came before: nothing was written then, and the next open recovers.
    pub fn close(self) -> Result<(), Error> {
        self.shared.close()
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// Verifies every frame, sidecar and row of a database that nobody has open, against each other. Changes nothing
    /// and holds the directory meanwhile.
    ///
    /// # Errors
    /// As for [`Options::open`] where the database cannot even be read; damage that is found is in the report.
    pub fn check(path: impl AsRef<Path>) -> Result<CheckReport, Error> {
        super::check::check(path.as_ref())
    }

    pub(crate) fn ask<Q: Question>(&self, question: &Q) -> Result<Q::Answer, Error> {
        self.shared.link.ask(question).map_err(unnamed)
    }

    /// Submits a command about a stream as a whole, at `Sync`.
    fn submit(&self, name: &str, command: streams::Command<'_>) -> Result<(), Error> {
        let submitted = self.shared.link.submit(&Command::Streams(command), Level::Sync, None);
        submitted.map(|_| ()).map_err(|refused| refusal(refused, name))
    }
}

/// A refusal of what names no stream.
pub(crate) fn unnamed(refused: Refused<Refusal>) -> Error {
    refusal(refused, "")
}

/// A refusal of a queue or an exchange in the words of the public error.
fn of_queue(kind: &'static str, refusal: queues::Refusal, queue: &str) -> Error {
    let name = || queue.to_owned();
    match refusal {
        queues::Refusal::NotFound | queues::Refusal::NoDestination => Error::NotFound { kind, name: name() },
        queues::Refusal::Mismatch { differences } => Error::Mismatch { kind, name: name(), differences },
        queues::Refusal::Unfit { reason } => Error::InvalidOption { option: "binding", reason },
        queues::Refusal::IsScheduled { schedule } => Error::IsScheduled { kind, name: name(), schedule },
        queues::Refusal::InvalidCron { offset, reason } => {
            Error::InvalidCron { pattern: name(), offset: offset as usize, reason }
        }
        queues::Refusal::IsAlternate { exchange } => Error::IsAlternate { exchange: name(), by: exchange },
        queues::Refusal::IsTarget { queue: by } => Error::IsTarget { kind, name: name(), by },
        queues::Refusal::OwnTarget => own_target(),
        queues::Refusal::Unroutable { .. } => Error::Unroutable { exchange: name(), routing_key: String::new() },
        queues::Refusal::InvalidName(fault) => Error::invalid_name(queue, fault),
        queues::Refusal::InvalidOption { option, reason } => Error::InvalidOption { option, reason: reason.to_owned() },
        queues::Refusal::LimitExceeded { limit, max, actual } => Error::LimitExceeded { limit, max, actual },
        queues::Refusal::Full { queue, max } => Error::Full { queue, max },
        queues::Refusal::Stale => Error::Stale { queue: name() },
        queues::Refusal::InFlight { count } => Error::MessagesInFlight { queue: name(), count },
    }
}

/// A refusal in the words of the public error.
pub(crate) fn refusal(refused: Refused<Refusal>, name: &str) -> Error {
    refusal_of("queue", refused, name)
}

/// The same, where it is of this kind if it is of queues or exchanges.
pub(super) fn refusal_of(kind: &'static str, refused: Refused<Refusal>, name: &str) -> Error {
    let refusal = match refused {
        Refused::Fault(fault) => return fault.into(),
        Refused::Refusal(Refusal::Streams(refusal)) => refusal,
        Refused::Refusal(Refusal::Queues(refusal)) => return of_queue(kind, refusal, name),
        Refused::Refusal(Refusal::Sessions(sessions::Refusal::LimitExceeded { limit, max, actual })) => {
            return Error::LimitExceeded { limit, max, actual };
        }
        Refused::Refusal(Refusal::Sessions(_)) => unreachable!("an attached process takes these for unknown outcomes"),
    };
    let name = || name.to_owned();
    match refusal {
        streams::Refusal::NotFound => Error::NotFound { kind: "stream", name: name() },
        streams::Refusal::NoSuchPartition { partition, partitions } => Error::InvalidOption {
            option: "partition",
            reason: format!("stream `{}` has partitions 0 to {}, not {partition}", name(), partitions - 1),
        },
        streams::Refusal::Mismatch { differences } => Error::Mismatch { kind: "stream", name: name(), differences },
        streams::Refusal::InvalidName(fault) => Error::invalid_name(&name(), fault),
        streams::Refusal::InvalidOption { option, reason } => {
            Error::InvalidOption { option, reason: reason.to_owned() }
        }
        streams::Refusal::EmptyBatch => {
            Error::InvalidOption { option: "records", reason: "a batch must hold at least one record".to_owned() }
        }
        streams::Refusal::LimitExceeded { limit, max, actual } => Error::LimitExceeded { limit, max, actual },
        streams::Refusal::WrongOffset { partition, expected, end } => {
            Error::WrongOffset { stream: name(), partition, expected, end }
        }
        streams::Refusal::StaleMapping { .. } => Error::Contended,
        streams::Refusal::Fenced { producer, current } => {
            Error::Fenced { kind: "producer", name: producer.into(), current }
        }
        streams::Refusal::Groups(_) => unreachable!("only a group's own calls name one"),
        streams::Refusal::NoSuchProducer => unreachable!("only a producer's own calls name one"),
        streams::Refusal::OutOfOrder { partition, sequence, expected } => {
            Error::OutOfOrder { stream: name(), partition, sequence, expected }
        }
        streams::Refusal::Overlapping { partition, sequence, records, expected } => {
            Error::Overlapping { stream: name(), partition, sequence, records, expected }
        }
    }
}
