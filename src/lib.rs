//! Towpath is an embedded messaging engine: a library that gives one program what it would otherwise run a broker for,
//! with no server beside it.
//!
//! | what | use it when | where |
//! |---|---|---|
//! | **stream** | records are read again, by several readers, in order | [`Stream`], [`Reader`] |
//! | **consumer group** | several workers share a stream and go on where they were | [`Group`], [`Member`] |
//! | **queue** | each message is work for one of several, settled by itself | [`Queue`], [`Delivery`], [`Worker`] |
//! | **schedule** | a message is to be sent each night, every ten minutes, or once at a time | [`Schedule`] |
//!
//! Everything lives in one directory, in one [`Database`], which several processes of a machine may have open at once:
//! see [`OpenMode`]. Each write says how durable it must be before its call returns: see [`Level`]. Each refusal is a
//! typed [`Error`] that says what to do next.
//!
//! ```
//! use towpath::{Database, Record, Start, StreamOptions};
//!
//! # let directory = std::env::temp_dir().join(format!("towpath-doc-crate-{}", std::process::id()));
//! let db = Database::open(&directory)?;
//! let orders = db.create_stream("orders", StreamOptions::new().partitions(4))?;
//! let appended = orders.append(Record::new(b"one blue mug").key(b"customer-7"))?;
//!
//! let mut reader = orders.reader(appended.partition, Start::Earliest)?;
//! for record in &reader.receive(100)? {
//!     println!("{}: {}", record.offset(), String::from_utf8_lossy(record.body()));
//! }
//! db.close()?;
//! # std::fs::remove_dir_all(directory)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Blocking and threads
//!
//! Handles are cheap to clone and may be used from any thread. Writing at [`Level::Sync`] blocks for a data sync, which
//! all who wait at the same time share. Writing at [`Level::Buffered`] makes no system call; it blocks only when the
//! disk is behind by a whole staging ring, by 64 MiB of unsynced journal, or by 48 MiB of journal without a checkpoint.
//! Limit that with [`AppendOptions::timeout`]. A [`Ticket`], [`Database::sync_async`], [`Reader::receive_async`],
//! [`Member::records_async`] and [`Queue::subscribe_async`] wait without blocking a thread, on any runtime. An open
//! database has four threads of its own, and each [`Worker`] those that it was asked for and one; they sleep when there
//! is nothing to do.
//!
//! # When something goes wrong
//!
//! An error has changed nothing, with three exceptions: after [`Error::Unconfirmed`] the write was made and is on its
//! way to the disk, after [`Error::OutcomeUnknown`] it may have been made, and [`Error::PartitionsMoved`] has stored
//! what it does not name. [`AppendOptions::expect_offset`] makes it safe to try again, and so does a [`Producer`]: a
//! batch that it numbers is stored once however often it is sent.
//! What [`Error::is_retryable`] says may be repeated has written nothing.

mod api;
mod base;
mod engine;
mod index;
mod journal;
pub mod measure;
mod primitives;
mod processes;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod storage;

pub use api::{
    AppendOptions, Appended, AppendedBatch, AppendedRange, AttachedProcess, Backoff, Binding, BoundTo, CheckReport,
    CommitOptions, ConsumerDescription, Database, DeadLetter, DeadLetters, DeathReason, Deaths, Dedup, Delivery, Edit,
    Error, Exchange, ExchangeDescription, ExchangeOptions, ExchangeType, Explanation, Failure, Group, GroupDescription,
    GroupOptions, GroupPartition, HeaderMatch, History, Jitter, LeftOut, LeftOutRun, MappedRange, Mapping,
    MappingRanges, Member, MemberDescription, MemberOptions, MemberRecordStream, MemberRecords, Message, MissedRuns,
    OpenMode, OperationCount, Options, Overflow, OverlappingRuns, OwnedRecord, PartitionDescription, PartitionLag,
    Polled, ProducedBatch, Producer, ProducerOptions, PublishOptions, Published, PublishedBefore, Queue,
    QueueDescription, QueueOptions, Reader, ReaderOptions, Receipt, RecordIterator, RecordView, Records, Redrive,
    Redriven, Reset, Schedule, ScheduleDescription, ScheduleMessage, SchedulePlan, ScheduleTarget, ScheduleTimes, Sent,
    SentBefore, SentRun, Start, Stats, Stopper, StoredMessage, Stream, StreamDescription, StreamOptions, Subscription,
    SubscriptionOptions, SubscriptionStream, Ticket, Worker, WorkerCounts, WorkerOptions,
};
pub use base::level::Level;
pub use base::lsn::Lsn;
pub use base::time::Timestamp;
pub use engine::clock::ManualClock;
pub use primitives::streams::groups::{Assignor, GroupStart};
pub use primitives::streams::{Header, Record};

/// Runs the program of the README as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;

/// What calls answer with may get more fields: a program that takes it apart says `..`.
///
/// ```
/// let _ = |towpath::Receipt { lsn, .. }: towpath::Receipt| lsn;
/// ```
/// ```compile_fail,E0638
/// let _ = |towpath::Receipt { lsn, level: _ }: towpath::Receipt| lsn;
/// ```
/// ```compile_fail,E0638
/// let _ = |towpath::Appended { partition: _, offset, duplicate: _, receipt: _ }: towpath::Appended| offset;
/// ```
/// ```compile_fail,E0638
/// let _ = |towpath::AppendedBatch { partitions, duplicate: _, receipt: _ }: towpath::AppendedBatch| partitions;
/// ```
/// ```compile_fail,E0638
/// use towpath::AppendedRange as Range;
/// let _ = |Range { partition: _, first_offset: _, records }: Range| records;
/// ```
/// ```compile_fail,E0638
/// use towpath::ProducedBatch as Batch;
/// let _ = |Batch { sequence, records: _, first_offset: _, lsn: _ }: Batch| sequence;
/// ```
/// ```compile_fail,E0638
/// use towpath::StreamDescription as Described;
/// let _ = |Described { name, options: _, mappings: _, partitions: _ }: Described| name;
/// ```
/// ```compile_fail,E0638
/// use towpath::PartitionDescription as At;
/// let _ = |At { partition, start_offset: _, end_offset: _, records: _, bytes: _, last_timestamp: _ }: At| partition;
/// ```
/// ```compile_fail,E0638
/// let _ = |towpath::Mapping { epoch, partitions: _, since_lsn: _ }: towpath::Mapping| epoch;
/// ```
/// ```compile_fail,E0638
/// use towpath::MappingRanges as Ranges;
/// let _ = |Ranges { mapping, is_over: _, partitions: _ }: Ranges| mapping;
/// ```
/// ```compile_fail,E0638
/// use towpath::MappedRange as Range;
/// let _ = |Range { partition, start_offset: _, end_offset: _ }: Range| partition;
/// ```
/// ```compile_fail,E0638
/// let _ = |towpath::Polled { records, assigned: _, revoked: _ }: towpath::Polled| records;
/// ```
/// ```compile_fail,E0638
/// use towpath::GroupDescription as Described;
/// let _ = |Described { name, start: _, assignor: _, generation: _, members: _, partitions: _ }: Described| name;
/// ```
/// ```compile_fail,E0638
/// use towpath::MemberDescription as Described;
/// let _ = |Described { seat, member_id: _, pid: _, is_alive: _ }: Described| seat;
/// ```
/// ```compile_fail,E0638
/// use towpath::GroupPartition as At;
/// let _ = |At { partition, owner: _, next_owner: _, epoch: _, committed: _, end_offset: _, lag: _ }: At| partition;
/// ```
/// ```compile_fail,E0638
/// use towpath::PartitionLag as Lag;
/// let _ = |Lag { partition, next_offset: _, end_offset: _ }: Lag| partition;
/// ```
/// ```compile_fail,E0638
/// let _ = |towpath::Sent { sequence, messages: _, receipt: _ }: towpath::Sent| sequence;
/// ```
/// ```compile_fail,E0638
/// use towpath::WorkerCounts as Of;
/// let _ = |Of { acked, failed: _, panicked: _, stale: _ }: Of| acked;
/// ```
/// ```compile_fail,E0638
/// let _ = |towpath::Failure { timestamp, error: _ }: towpath::Failure| timestamp;
/// ```
/// ```compile_fail,E0638
/// use towpath::QueueDescription as Of;
/// let _ = |Of { name, options: _, is_paused: _, ready: _, delayed: _, in_flight: _, dead: _ }: Of| name;
/// ```
#[cfg(doctest)]
struct OutcomesMayGrow;
