//! The one public error.

use std::io;
use std::path::PathBuf;

use crate::base::bounds::NAME_BYTES_MAX;
use crate::base::lsn::Lsn;
use crate::base::name::NameFault;
use crate::engine::fault::Fault;
use crate::processes::wire::PROTOCOL;

/// Why a call was refused or failed. Its text says what was attempted, on what, and what to do next.
///
/// A refusal has changed nothing, with three exceptions. [`Error::PartitionsMoved`]: the offsets of all others were
/// stored. [`Error::Unconfirmed`]: the write took place, and is not known to be on disk yet. [`Error::OutcomeUnknown`]:
/// it may have taken place. Trying again after the latter two may store it twice, unless
/// [`AppendOptions::expect_offset`](crate::AppendOptions::expect_offset) refuses the second, or a
/// [`Producer`](crate::Producer) sends it with the same sequence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such stream or group, or it was deleted since the handle was made; or a producer has expired.
    #[error("there is no {kind} `{name}`; {}", missing(kind))]
    NotFound {
        /// What kind of thing: "stream", "producer", "group", "queue".
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// It exists with other options, and nothing was changed.
    #[error(
        "{kind} `{name}` exists with other options ({}); use the same options, or `ensure`",
        differences.join("; ")
    )]
    Mismatch {
        /// What kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
        /// One sentence for each difference.
        differences: Vec<String>,
    },
    /// The name breaks the rules for names.
    #[error("`{name}` cannot be a name: {reason}")]
    InvalidName {
        /// The name that was given.
        name: String,
        /// Which rule it breaks.
        reason: String,
    },
    /// An option or argument has no meaning.
    #[error("{option}: {reason}")]
    InvalidOption {
        /// Which.
        option: &'static str,
        /// Why.
        reason: String,
    },
    /// A body, name, batch or number is over its limit; nothing was stored.
    #[error("{}", over_limit(limit, *max, *actual))]
    LimitExceeded {
        /// Which limit.
        limit: &'static str,
        /// The most that is allowed.
        max: u64,
        /// What was asked for.
        actual: u64,
    },
    /// The partition does not end at the expected offset; nothing was stored.
    #[error(
        "partition {partition} of stream `{stream}` ends at {end}, not at {expected}; \
         read up to its end and decide anew"
    )]
    WrongOffset {
        /// The stream.
        stream: String,
        /// The partition.
        partition: u32,
        /// The offset that the caller expected.
        expected: u64,
        /// Where it ends.
        end: u64,
    },
    /// Another holds what the call was made under: a producer was opened again under its name since. Nothing was
    /// stored.
    #[error(
        "{kind} `{name}` was taken over since ({current} is current); \
         leave the work to whoever has it, or take it over again"
    )]
    Fenced {
        /// What kind of thing: "producer".
        kind: &'static str,
        /// Its name.
        name: String,
        /// What its holder has now: a producer's epoch.
        current: u64,
    },
    /// Partitions have moved on from the member that commits, to another or by a reset: their offsets were not stored,
    /// those of the others were.
    #[error(
        "partitions {partitions:?} of group `{group}` have moved on and their offsets were not stored; \
         poll, and leave their records to whoever has them now"
    )]
    PartitionsMoved {
        /// The group.
        group: String,
        /// The partitions, in order.
        partitions: Vec<u32>,
    },
    /// A member is one no longer: it did not poll within its session timeout, another joined with its id, or the group
    /// was deleted.
    #[error(
        "this is a member of group `{group}` no longer: it did not poll in time, or another joined with its id; \
         join again"
    )]
    MemberEnded {
        /// The group.
        group: String,
    },
    /// Others use it.
    #[error("{kind} `{name}` has {by} members that live; have them leave first")]
    InUse {
        /// What kind of thing: "group".
        kind: &'static str,
        /// Its name.
        name: String,
        /// How many use it.
        by: u64,
    },
    /// The queue holds as many messages as it may; nothing was stored.
    #[error("queue `{queue}` holds {max} messages that wait, and may not hold more; try again when some were consumed")]
    Full {
        /// The queue.
        queue: String,
        /// The most that may wait in it.
        max: u64,
    },
    /// No binding leads the message to a queue; nothing was stored.
    #[error(
        "exchange `{exchange}` leads `{routing_key}` to no queue; bind one, give the exchange an alternate, or allow it"
    )]
    Unroutable {
        /// The exchange.
        exchange: String,
        /// The routing key.
        routing_key: String,
    },
    /// An exchange that another one has as its alternate cannot be deleted.
    #[error("exchange `{exchange}` is the alternate of `{by}`; give that one another first")]
    IsAlternate {
        /// The exchange.
        exchange: String,
        /// One that needs it.
        by: String,
    },
    /// What dead letters go to cannot be deleted.
    #[error("dead letters of queue `{by}` go to {kind} `{name}`; give that queue another target first")]
    IsTarget {
        /// What kind of thing: "queue" or "exchange".
        kind: &'static str,
        /// Its name.
        name: String,
        /// A queue that needs it.
        by: String,
    },
    /// A queue or an exchange to which a schedule sends cannot be deleted.
    #[error("schedule `{schedule}` sends to {kind} `{name}`; remove it first, or give it another target")]
    IsScheduled {
        /// What kind of thing: "queue", "exchange".
        kind: &'static str,
        /// Its name.
        name: String,
        /// One schedule that sends to it.
        schedule: String,
    },
    /// A cron pattern that cannot be understood, or names no time.
    #[error("cron pattern `{pattern}`, at byte {offset}: {reason}")]
    InvalidCron {
        /// The pattern.
        pattern: String,
        /// Where in its text the fault is.
        offset: usize,
        /// What it is.
        reason: String,
    },
    /// What was to be settled is in flight no longer: it was settled, or taken back because its time was over. Or a
    /// dead letter is in the dead set no longer.
    #[error("it was settled or taken back before in queue `{queue}`; leave it to whoever has it now")]
    Stale {
        /// The queue.
        queue: String,
    },
    /// A queue with messages in flight cannot be deleted.
    #[error(
        "queue `{queue}` has {count} messages in flight; have them settled first, or wait until they are taken back"
    )]
    MessagesInFlight {
        /// The queue.
        queue: String,
        /// How many.
        count: u64,
    },
    /// Records of the producer that come before these have not been accepted; nothing was stored.
    #[error(
        "the producer's next sequence in partition {partition} of stream `{stream}` is {expected}, not {sequence}; \
         send what is missing first"
    )]
    OutOfOrder {
        /// The stream.
        stream: String,
        /// The partition.
        partition: u32,
        /// The sequence of the first record that was sent.
        sequence: u64,
        /// The one at which the producer's next batch begins.
        expected: u64,
    },
    /// Some of these records of the producer have been accepted, and they are not one of its last five batches as it
    /// was; nothing was stored.
    #[error(
        "of the {records} records from sequence {sequence} on some were accepted in partition {partition} of stream \
         `{stream}`, and not as this batch; go on at sequence {expected}, or cut the batch as it was"
    )]
    Overlapping {
        /// The stream.
        stream: String,
        /// The partition.
        partition: u32,
        /// The sequence of the first record that was sent.
        sequence: u64,
        /// How many records were sent.
        records: u32,
        /// The sequence at which the producer's next batch begins.
        expected: u64,
    },
    /// The offset lies before the start or behind the end of the partition.
    #[error(
        "offset {offset} is outside partition {partition} of stream `{stream}`, \
         which begins at {start} and ends before {end}; seek into it"
    )]
    OffsetOutOfRange {
        /// The stream.
        stream: String,
        /// The partition.
        partition: u32,
        /// The offset that was asked for.
        offset: u64,
        /// The first offset that is there.
        start: u64,
        /// The first that is not there yet.
        end: u64,
    },
    /// There is no room on the disk. Reads and trims go on; writes resume when there is room.
    #[error("the disk is full; make room, then try again")]
    StorageFull,
    /// The time allowed for the call has passed before anything was written: while it waited for room, or for what a
    /// refusal rests on. Nothing has changed.
    #[error("the time allowed for the call has passed, nothing was written; try again or allow more")]
    TimedOut,
    /// The time allowed for the call has passed after the write was made and before it was on disk. It has its place in
    /// the journal and is synced within the flush interval, unless the disk fails or the power goes first: do not make
    /// it again. [`Database::sync`](crate::Database::sync) waits for it.
    #[error(
        "the time allowed for the call has passed before the write was on disk; \
         it was made and is on its way: wait with `sync`, do not repeat it"
    )]
    Unconfirmed,
    /// Other writers changed what the call rests on, again and again.
    #[error("other writers kept changing what this call rests on; try again")]
    Contended,
    /// Another process holds the directory.
    #[error("the directory is in use by process {pid}; close it there first")]
    Locked {
        /// Its process id; 0 if it could not be read.
        pid: u32,
    },
    /// There is no database and none was to be created.
    #[error("there is no database in `{}`; check the path, or allow creating one", path.display())]
    Missing {
        /// The directory.
        path: PathBuf,
    },
    /// The directory holds something else.
    #[error("`{}` is not a database: {reason}; name an empty or new directory", path.display())]
    NotADatabase {
        /// The directory.
        path: PathBuf,
        /// How it is known.
        reason: String,
    },
    /// The database was written by a newer version.
    #[error(
        "the database has format {found} with feature bits {features:#x}; \
         this version reads up to format {supported}: upgrade it"
    )]
    UnsupportedFormat {
        /// The format found.
        found: u32,
        /// The feature bits found that a reader must know.
        features: u64,
        /// The newest format that this version reads.
        supported: u32,
    },
    /// Network file systems do not keep what this engine relies on.
    #[error("the directory lies on a network file system ({kind}); use a local disk")]
    UnsupportedFileSystem {
        /// As the operating system calls it.
        kind: String,
    },
    /// Acknowledged data is damaged. Nothing was changed.
    #[error(
        "damaged data in `{file}`{}: {reason}; run `towpath check`, or restore a copy of the directory",
        damaged_place(*offset, *from, *to)
    )]
    Corrupt {
        /// The file, relative to the directory.
        file: String,
        /// Where in the file.
        offset: u64,
        /// The first LSN concerned; 0 if the damage is not in the journal.
        from: Lsn,
        /// The end of what is known to be concerned.
        to: Lsn,
        /// What was found.
        reason: String,
    },
    /// An I/O error came between the write and its confirmation, or the process that hosts the database went away and
    /// nobody can tell any more: it may or may not have taken place, and not twice.
    #[error(
        "the write was not confirmed, because of an I/O error or because the host went away; \
         read what is there to find out whether it took place"
    )]
    OutcomeUnknown,
    /// An earlier I/O error stopped the database: it refuses writes until it is opened again.
    #[error("an earlier I/O error stopped this database; close it and open it again")]
    Poisoned,
    /// The database was closed.
    #[error("the database is closed; open it again")]
    Closed,
    /// The handle was inherited by a forked process.
    #[error("this process was forked from the one that opened the database; open it after the fork")]
    Forked,
    /// No process hosts the database, and this one may not: it was opened with
    /// [`OpenMode::Attach`](crate::OpenMode::Attach), or could not when the host went away.
    #[error("no process hosts the database; start one that does (`towpath host`), or open it with mode `Auto`")]
    NoHost,
    /// The host is of another version, whose messages this one does not understand.
    #[error(
        "the host speaks protocol {theirs}, this process {ours}; upgrade {}",
        if theirs < ours { "the process that hosts the database" } else { "this process" }
    )]
    OtherProtocol {
        /// The version that this process speaks.
        ours: u32,
        /// The version that the host speaks.
        theirs: u32,
    },
    /// Only the user who owns the directory, and root, may host the database for others or attach to it.
    #[error(
        "user {uid} neither owns the directory nor is root, and may not attach to the database or host it for others; \
         run both processes as the owner of the directory"
    )]
    NotPermitted {
        /// The user that was refused: this process's, or the one who hosts the database.
        uid: u64,
    },
    /// The operating system refused.
    #[error("{attempt} failed: {source}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Whether the same call may succeed later without anything being changed by the caller. It is safe to repeat then:
    /// nothing of the first attempt was written.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Error::StorageFull | Error::TimedOut | Error::Contended | Error::Locked { .. })
    }

    /// Whether stored data is damaged.
    #[must_use]
    pub fn is_corruption(&self) -> bool {
        matches!(self, Error::Corrupt { .. })
    }

    /// Whether the database must be opened again before it takes writes. After an [`Error::OutcomeUnknown`] that an I/O
    /// error caused the next call tells.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        matches!(self, Error::Poisoned)
    }

    /// A number that never changes its meaning, the same in every language's interface.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self {
            Error::NotFound { .. } => -1,
            Error::Mismatch { .. } => -2,
            Error::InvalidName { .. } => -3,
            Error::InvalidOption { .. } => -4,
            Error::LimitExceeded { .. } => -5,
            Error::WrongOffset { .. } => -6,
            Error::OffsetOutOfRange { .. } => -7,
            Error::StorageFull => -8,
            Error::TimedOut => -9,
            Error::Contended => -10,
            Error::Locked { .. } => -11,
            Error::Missing { .. } => -12,
            Error::NotADatabase { .. } => -13,
            Error::UnsupportedFormat { .. } => -14,
            Error::UnsupportedFileSystem { .. } => -15,
            Error::Corrupt { .. } => -16,
            Error::OutcomeUnknown => -17,
            Error::Poisoned => -18,
            Error::Closed => -19,
            Error::Forked => -20,
            Error::Io { .. } => -21,
            Error::Unconfirmed => -22,
            Error::NoHost => -23,
            Error::OtherProtocol { .. } => -24,
            Error::NotPermitted { .. } => -25,
            Error::Fenced { .. } => -26,
            Error::OutOfOrder { .. } => -27,
            Error::Overlapping { .. } => -28,
            Error::PartitionsMoved { .. } => -29,
            Error::MemberEnded { .. } => -30,
            Error::InUse { .. } => -31,
            Error::Full { .. } => -32,
            Error::Stale { .. } => -33,
            Error::MessagesInFlight { .. } => -34,
            Error::Unroutable { .. } => -35,
            Error::IsAlternate { .. } => -36,
            Error::IsTarget { .. } => -37,
            Error::IsScheduled { .. } => -50,
            Error::InvalidCron { .. } => -51,
        }
    }

    /// Whether asking again is of no use, to whoever goes on consuming: this handle answers nothing else any more.
    pub(super) fn is_final(&self) -> bool {
        let is_over = matches!(self, Error::Poisoned | Error::Closed | Error::Forked | Error::NotFound { .. });
        is_over || matches!(self, Error::NoHost | Error::OtherProtocol { .. } | Error::NotPermitted { .. })
    }

    pub(crate) fn invalid_name(name: &str, fault: NameFault) -> Error {
        match fault {
            NameFault::TooLong(bytes) => {
                Error::LimitExceeded { limit: "name bytes", max: NAME_BYTES_MAX as u64, actual: bytes as u64 }
            }
            _ => Error::InvalidName { name: name.to_owned(), reason: fault.to_string() },
        }
    }
}

/// What to do about something that is not there.
fn missing(kind: &str) -> &'static str {
    match kind {
        "producer" => "nobody used it for long, so it was forgotten: open it again, its sequences begin at 0",
        _ => "create it first, or look at the list of them",
    }
}

/// Which limit, and what to do with what is over it.
fn over_limit(limit: &str, max: u64, actual: u64) -> String {
    let (most, advice) = match limit {
        "name bytes" => ("a name has at most {} bytes", "choose a shorter one"),
        "partitions" => ("a stream has at most {} partitions", "ask for fewer"),
        "partitions of all streams" => {
            ("all streams together have at most {} partitions", "ask for fewer, or delete a stream")
        }
        "producers" => {
            ("all streams together have at most {} producers", "give fewer names, or let them expire earlier")
        }
        "partitions of all producers" => (
            "all producers together have at most {} partitions in which they appended",
            "use fewer producers, or let them expire earlier",
        ),
        "attached processes" => (
            "at most {} processes may be attached at once",
            "close the database in one of them, or let the host open more files",
        ),
        "unanswered questions of an attached process" => (
            "a process has at most {} questions that its host has not answered",
            "let some of them end first, or see whether the host was stopped",
        ),
        "records per batch" => ("a batch has at most {} records", "split it"),
        "messages per batch" => ("a batch has at most {} messages", "split it"),
        "prefetch" => ("a subscription takes at most {} messages at once", "ask for fewer"),
        "threads of a worker" => ("a worker has at most {} threads", "ask for fewer, or start another"),
        "dead letters per call" => ("a call takes at most {} dead letters", "make several calls"),
        "priority" => ("a priority is at most {}", "choose a lower one"),
        "queues" => ("at most {} queues are possible", "delete one"),
        "messages in flight of all queues" => {
            ("all queues together have at most {} messages in flight", "have some of them settled first")
        }
        "batch bytes" => ("a batch has at most {} bytes", "split it"),
        "body bytes" => ("a body has at most {} bytes", "split it, or store a reference to it"),
        "key bytes" => ("a key has at most {} bytes", "choose a shorter one"),
        "header block bytes" => ("the headers of a record or message have at most {} bytes", "shorten them"),
        other => return format!("{other}: at most {max} are possible, not {actual}"),
    };
    format!("{}, not {actual}; {advice}", most.replace("{}", &max.to_string()))
}

/// Where in a file the damage lies, as far as that is known.
fn damaged_place(offset: u64, from: Lsn, to: Lsn) -> String {
    match (offset, from < to) {
        (_, true) => format!(" at byte {offset} (LSN {from} to {to})"),
        (0, false) => String::new(),
        (_, false) => format!(" at byte {offset}"),
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Error {
        match fault {
            Fault::StorageFull => Error::StorageFull,
            Fault::Poisoned => Error::Poisoned,
            Fault::OutcomeUnknown => Error::OutcomeUnknown,
            Fault::TimedOut => Error::TimedOut,
            Fault::Unconfirmed => Error::Unconfirmed,
            Fault::Closed => Error::Closed,
            Fault::Forked => Error::Forked,
            Fault::Contended => Error::Contended,
            Fault::FrameTooLarge { max, actual } => Error::LimitExceeded { limit: "batch bytes", max, actual },
            Fault::Corrupt { file, offset, from, to, reason } => Error::Corrupt { file, offset, from, to, reason },
            Fault::FileGone(lost) => Error::from(*lost),
            Fault::Locked { pid, .. } => Error::Locked { pid },
            Fault::NoHost => Error::NoHost,
            Fault::OtherProtocol { theirs } => Error::OtherProtocol { ours: PROTOCOL, theirs },
            Fault::TooManyProcesses { max } => {
                Error::LimitExceeded { limit: "attached processes", max, actual: max + 1 }
            }
            Fault::Stranger { uid } => Error::NotPermitted { uid },
            Fault::NotADatabase { path, reason } => Error::NotADatabase { path: path.into(), reason },
            Fault::UnsupportedFormat { found, incompatible, supported } => {
                Error::UnsupportedFormat { found, features: incompatible, supported }
            }
            Fault::UnsupportedFileSystem { kind } => Error::UnsupportedFileSystem { kind },
            Fault::Missing { path } => Error::Missing { path: path.into() },
            Fault::Io { attempt, source } => Error::Io { attempt, source },
        }
    }
}
