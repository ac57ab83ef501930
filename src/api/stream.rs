//! The stream handle: appending, trimming, describing.

use crate::base::bounds::{FREEZE_CHUNK, HEADERS_PER_BATCH_MAX, RECORDS_PER_BATCH_MAX};
use crate::base::level::{Level, Wanted};
use crate::base::log::LogId;
use crate::base::sync::Arc;
use crate::base::time::Timestamp;
use crate::engine::{Refused, Submitted, deadline_in};
use crate::primitives::streams::{self, Group, Record, StreamHandle};
use crate::primitives::{Command, Refusal, Reply};
use crate::processes::link::Issued;
use crate::processes::questions::{
    DescribePartitions, DescribeStream, FoundStream, OffsetForTime, PartitionFacts, RevealStream,
};

use super::database::{Database, refusal};
use super::error::Error;
use super::outcomes::{Appended, AppendedBatch, AppendedRange, PartitionDescription, Receipt, StreamDescription};
use super::reader::{Reader, Start};
use super::sticky::Sticky;
use super::stream_options::{AppendOptions, StreamOptions};
use super::ticket::Ticket;

/// A stream: a partitioned log whose records keep their offsets for ever and can be read again and again.
///
/// Cheap to clone; usable from any thread.
///
/// # Which partition
/// A record goes to the partition that the append names, else to that of its key ([`Stream::partition_of`]). Single
/// records without a key stay in one partition for 16 KiB, then go on to the next; those of one batch stay together,
/// and those of the next batch go to the next. A handle and its clones count together; handles begin at different
/// partitions.
#[derive(Clone, Debug)]
pub struct Stream {
    pub(crate) database: Database,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: Arc<str>,
    handle: StreamHandle,
    partitions: u32,
    first_log: LogId,
    sticky: Sticky,
}

impl Stream {
    pub(crate) fn new(database: Database, name: &str, found: FoundStream) -> Stream {
        let FoundStream { handle, partitions, first_log } = found;
        let sticky = Sticky::new(partitions, &database.shared.spread);
        Stream { database, inner: Arc::new(Inner { name: name.into(), handle, partitions, first_log, sticky }) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The number of its partitions.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.inner.partitions
    }

    /// The partition of a key: `(murmur2(key) & 0x7fffffff) % partitions`, as Kafka's clients compute it.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> u32 {
        streams::partition_of(key, self.inner.partitions)
    }

    /// Appends one record at the stream's level. Blocks for the sync at [`Level::Sync`], and while the disk is behind.
    ///
    /// ```
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// let appended = orders.append("one blue mug")?;
    /// assert_eq!(appended.offset, 0);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::LimitExceeded`], [`Error::NotFound`] if the stream was deleted, [`Error::StorageFull`],
    /// [`Error::OutcomeUnknown`] or [`Error::Poisoned`] if the disk failed, [`Error::Closed`].
    #[inline]
    pub fn append<'a>(&self, record: impl Into<Record<'a>>) -> Result<Appended, Error> {
        self.append_one(record.into(), &AppendOptions::default())
    }

    /// Appends one record as the options say.
    ///
    /// # Errors
    /// As for [`Stream::append`], and [`Error::WrongOffset`], [`Error::TimedOut`], [`Error::Unconfirmed`],
    /// [`Error::InvalidOption`] for a partition that does not exist.
    #[inline]
    pub fn append_with(&self, record: Record<'_>, options: &AppendOptions) -> Result<Appended, Error> {
        self.append_one(record, options)
    }

    // In either caller: without options there is nothing to look at in them.
    #[inline(always)]
    fn append_one(&self, record: Record<'_>, options: &AppendOptions) -> Result<Appended, Error> {
        check_headers(std::slice::from_ref(&record))?;
        let level = self.level(options);
        let deadline = deadline_in(options.timeout);
        let groups = [self.group_of(std::slice::from_ref(&record), self.partition_for(&record, options), options)];
        let command = Command::Streams(self.append_command(&groups));
        let submitted = self.database.shared.link.submit(&command, level, deadline);
        Ok(appended(submitted.map_err(|refused| refusal(refused, self.name()))?))
    }

    /// Appends one record and does not wait for its sync: the ticket does. Blocks only while the disk is behind.
    ///
    /// ```
    /// # use towpath::{AppendOptions, Record};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// let mut tickets = Vec::new();
    /// for order in ["one blue mug", "two green plates"] {
    ///     tickets.push(orders.submit(Record::new(order.as_bytes()), &AppendOptions::new())?);
    /// }
    /// for ticket in tickets {
    ///     ticket.wait()?;
    /// }
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Stream::append_with`]; what comes after the append is the ticket's.
    pub fn submit(&self, record: Record<'_>, options: &AppendOptions) -> Result<Ticket<Appended>, Error> {
        check_headers(std::slice::from_ref(&record))?;
        let level = self.level(options);
        let groups = [self.group_of(std::slice::from_ref(&record), self.partition_for(&record, options), options)];
        let command = Command::Streams(self.append_command(&groups));
        let issued = self.database.shared.link.issue(&command, level, deadline_in(options.timeout));
        Ok(self.ticket(issued.map_err(|refused| refusal(refused, self.name()))?, appended))
    }

    /// Appends several records as one: all of them or none, at crashes too. Within a partition their offsets follow
    /// each other in the order given; records without a key stay together. `expect_offset` asks for all of them to fall
    /// into one partition. Blocks as [`Stream::append`] does.
    ///
    /// ```
    /// use towpath::{AppendOptions, Record};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// let batch = [Record::new(b"one blue mug"), Record::new(b"two green plates")];
    /// let appended = orders.append_batch(&batch, &AppendOptions::new().expect_offset(0))?;
    /// assert_eq!((appended.partitions[0].first_offset, appended.partitions[0].records), (0, 2));
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Stream::append_with`]; [`Error::LimitExceeded`] if the batch is over half the staging ring less 4 KiB,
    /// or over 16 MiB, or has more than 65,536 records; [`Error::InvalidOption`] if it is empty, or `expect_offset`
    /// meets several partitions.
    pub fn append_batch(&self, records: &[Record<'_>], options: &AppendOptions) -> Result<AppendedBatch, Error> {
        let (level, deadline) = (self.level(options), deadline_in(options.timeout));
        let submitted =
            self.with_batch(records, options, |command| self.database.shared.link.submit(&command, level, deadline))?;
        Ok(appended_batch(submitted))
    }

    /// Appends several records as one, as [`Stream::append_batch`] does, and does not wait for their sync: the ticket
    /// does. They have their offsets on return. Blocks only while the disk is behind.
    ///
    /// ```
    /// use towpath::{AppendOptions, Record};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// let batch = [Record::new(b"one blue mug"), Record::new(b"two green plates")];
    /// let first = orders.submit_batch(&batch, &AppendOptions::new())?;
    /// let second = orders.submit_batch(&batch, &AppendOptions::new())?;
    /// assert_eq!(first.wait()?.partitions[0].first_offset, 0);
    /// assert_eq!(second.wait()?.partitions[0].first_offset, 2);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Stream::append_batch`]; what comes after the append is the ticket's.
    pub fn submit_batch(
        &self,
        records: &[Record<'_>],
        options: &AppendOptions,
    ) -> Result<Ticket<AppendedBatch>, Error> {
        let (level, deadline) = (self.level(options), deadline_in(options.timeout));
        let issued =
            self.with_batch(records, options, |command| self.database.shared.link.issue(&command, level, deadline))?;
        Ok(self.ticket(issued, appended_batch))
    }

    /// Makes the command that appends these records, sorted by partition, and does this with it.
    fn with_batch<T>(
        &self,
        records: &[Record<'_>],
        options: &AppendOptions,
        act: impl FnOnce(Command<'_>) -> Result<T, Refused<Refusal>>,
    ) -> Result<T, Error> {
        if records.len() > RECORDS_PER_BATCH_MAX {
            let (max, actual) = (RECORDS_PER_BATCH_MAX as u64, records.len() as u64);
            return Err(Error::LimitExceeded { limit: "records per batch", max, actual });
        }
        check_headers(records)?;
        let act = |groups: &[Group<'_>]| {
            act(Command::Streams(self.append_command(groups))).map_err(|refused| refusal(refused, self.name()))
        };
        if let Some(partition) = self.one_partition(records, options) {
            return act(&[self.group_of(records, partition, options)]);
        }
        let places = self.batch_partitions(records);
        if places.windows(2).all(|pair| pair[0] == pair[1]) {
            return act(&[self.group_of(records, places.first().copied().unwrap_or(0), options)]);
        }
        if options.expect_offset.is_some() {
            let reason = "`expect_offset` needs all records in one partition".to_owned();
            return Err(Error::InvalidOption { option: "expect_offset", reason });
        }
        let mut order: Vec<u32> = (0..records.len() as u32).collect();
        order.sort_by_key(|&i| places[i as usize]);
        let sorted: Vec<Record<'_>> = order.iter().map(|&i| records[i as usize]).collect();
        let mut groups = Vec::new();
        let mut from = 0;
        for stretch in order.chunk_by(|&a, &b| places[a as usize] == places[b as usize]) {
            let to = from + stretch.len();
            groups.push(self.group_of(&sorted[from..to], places[stretch[0] as usize], options));
            from = to;
        }
        act(&groups)
    }

    /// A ticket that waits as long as the level of the write asks.
    fn ticket<T>(&self, issued: Issued, outcome: fn(Submitted<Reply>) -> T) -> Ticket<T> {
        Ticket::new(issued, outcome, self.inner.name.clone())
    }

    /// Opens a cursor on one partition. Readers are independent of each other, and any number of them may be open.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] for an offset that is not there, [`Error::InvalidOption`] for a partition that does
    /// not exist, [`Error::NotFound`] if the stream was deleted.
    pub fn reader(&self, partition: u32, from: Start) -> Result<Reader, Error> {
        Reader::open(self.clone(), partition, from)
    }

    /// Lets all records below `offset` go, at level [`Level::Buffered`]: after a power cut they may be back. At or
    /// below the start it does nothing, and waits until what was written of the partition at [`Level::Sync`] is on
    /// disk; beyond the end it lets everything go. May read from disk. The room on disk follows within seconds, as far
    /// as whole segments are dead.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidOption`], and what any write may meet.
    pub fn trim_before(&self, partition: u32, offset: u64) -> Result<(), Error> {
        let stream = self.inner.handle;
        let command = Command::Streams(streams::Command::TrimBefore { stream, partition, offset });
        let submitted = self.database.shared.link.submit(&command, Level::Buffered, None);
        submitted.map(|_| ()).map_err(|refused| refusal(refused, self.name()))
    }

    /// The offset of the first record with this timestamp or a later one; `None` if there is none. May read from disk.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidOption`], [`Error::Corrupt`].
    pub fn offset_for_time(&self, partition: u32, time: Timestamp) -> Result<Option<u64>, Error> {
        self.database.ask(&OffsetForTime { log: self.log(partition)?, time })
    }

    /// Options, offsets and bytes, as readers see them: what is still on its way to the disk does not count. Waits for
    /// nothing, unless the stream is just being altered or deleted: then for the sync of that.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the stream was deleted, [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`].
    pub fn describe(&self) -> Result<StreamDescription, Error> {
        let options = self.database.ask(&DescribeStream { stream: self.inner.handle })?;
        let options = options.ok_or_else(|| self.not_found())?;
        let mut partitions = Vec::with_capacity(self.inner.partitions as usize);
        for first in (0..self.inner.partitions).step_by(FREEZE_CHUNK) {
            partitions.extend(self.describe_partitions(first)?);
        }
        Ok(StreamDescription {
            name: self.name().to_owned(),
            options: StreamOptions::from_machine(&options),
            partitions,
        })
    }

    /// As many partitions as one hold of the core lock is for, from `first` on.
    fn describe_partitions(&self, first: u32) -> Result<Vec<PartitionDescription>, Error> {
        let Inner { handle: stream, first_log, partitions, .. } = *self.inner;
        let count = (FREEZE_CHUNK as u32).min(partitions - first);
        let facts = self.database.ask(&DescribePartitions { stream, first_log, first, count })?;
        let facts = facts.ok_or_else(|| self.not_found())?;
        Ok((first..).zip(facts).map(|(partition, facts)| describe(partition, facts)).collect())
    }

    pub(crate) fn log(&self, partition: u32) -> Result<LogId, Error> {
        if partition >= self.inner.partitions {
            let last = self.inner.partitions - 1;
            let reason = format!("stream `{}` has partitions 0 to {last}, not {partition}", self.name());
            return Err(Error::InvalidOption { option: "partition", reason });
        }
        Ok(LogId(self.inner.first_log.0 + u64::from(partition)))
    }

    /// The stream was deleted: told once that is on disk.
    pub(crate) fn not_found(&self) -> Error {
        match self.database.ask(&RevealStream { id: self.inner.handle.id }) {
            Ok(()) => Error::NotFound { kind: "stream", name: self.name().to_owned() },
            Err(error) => error,
        }
    }

    #[inline]
    fn level(&self, options: &AppendOptions) -> Wanted {
        let otherwise = self.database.shared.level;
        options.level.map_or(Wanted::OfObject { otherwise }, Wanted::Named)
    }

    #[inline]
    fn group_of<'a>(&self, records: &'a [Record<'a>], partition: u32, options: &AppendOptions) -> Group<'a> {
        Group { partition, expect_offset: options.expect_offset, records }
    }

    #[inline]
    fn append_command<'a>(&self, groups: &'a [Group<'a>]) -> streams::Command<'a> {
        let (stream, mapping_partitions) = (self.inner.handle, self.inner.partitions);
        streams::Command::Append(streams::Append { stream, mapping_partitions, groups })
    }

    #[inline]
    fn partition_for(&self, record: &Record<'_>, options: &AppendOptions) -> u32 {
        match (options.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => self.partition_of(key),
            (None, None) if self.inner.partitions == 1 => 0,
            (None, None) => self.inner.sticky.of_record(record.user_bytes()),
        }
    }

    /// The partition of a whole batch, if it takes no look at a key to know it.
    fn one_partition(&self, records: &[Record<'_>], options: &AppendOptions) -> Option<u32> {
        match options.partition {
            Some(partition) => Some(partition),
            None if self.inner.partitions == 1 || records.is_empty() => Some(0),
            None => records.iter().all(|record| record.key.is_none()).then(|| self.inner.sticky.of_batch()),
        }
    }

    /// The partition of each record of a batch, by their keys. Those without one share a partition, and only they count
    /// as a use of it.
    fn batch_partitions(&self, records: &[Record<'_>]) -> Vec<u32> {
        let mut sticky = None;
        let place = |record: &Record<'_>| match record.key {
            Some(key) => self.partition_of(key),
            None => *sticky.get_or_insert_with(|| self.inner.sticky.of_batch()),
        };
        records.iter().map(place).collect()
    }
}

fn describe(partition: u32, facts: PartitionFacts) -> PartitionDescription {
    let PartitionFacts { start, end, bytes, last_timestamp } = facts;
    PartitionDescription { partition, start_offset: start, end_offset: end, bytes, last_timestamp }
}

#[inline]
fn ranges(reply: &Reply) -> &streams::Ranges {
    match reply {
        Reply::Streams(streams::Reply::Appended(ranges)) => ranges,
        _ => unreachable!("an append answers with where it went"),
    }
}

#[inline]
fn check_headers(records: &[Record<'_>]) -> Result<(), Error> {
    let (max, actual) = (HEADERS_PER_BATCH_MAX, records.iter().map(|record| record.headers.len()).sum::<usize>());
    if actual <= max {
        return Ok(());
    }
    Err(Error::LimitExceeded { limit: "headers per batch", max: max as u64, actual: actual as u64 })
}

fn appended(submitted: Submitted<Reply>) -> Appended {
    let first = ranges(&submitted.reply).first;
    Appended { partition: first.partition, offset: first.first_offset, receipt: receipt(&submitted) }
}

fn appended_batch(submitted: Submitted<Reply>) -> AppendedBatch {
    let partitions = ranges(&submitted.reply)
        .iter()
        .map(|r| AppendedRange { partition: r.partition, first_offset: r.first_offset, records: r.records })
        .collect();
    AppendedBatch { partitions, receipt: receipt(&submitted) }
}

#[inline]
fn receipt(submitted: &Submitted<Reply>) -> Receipt {
    Receipt { lsn: submitted.lsn, level: submitted.level }
}
