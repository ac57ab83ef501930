//! The stream handle: appending, trimming, describing.

use crate::base::bounds::FREEZE_CHUNK;
use crate::base::level::{Level, Wanted};
use crate::base::log::LogId;
use crate::base::sync::Arc;
use crate::base::time::{BootTime, Timestamp};
use crate::engine::{Refused, Submitted, deadline_in};
use crate::primitives::streams::{self, Record};
use crate::primitives::{Command, Refusal, Reply};
use crate::processes::grouping::{FindGroup, GroupNames};
use crate::processes::link::Issued;
use crate::processes::questions::{
    DescribePartitions, DescribeStream, FoundStream, OffsetForTime, PartitionFacts, RevealStream,
};

use super::database::{Database, refusal};
use super::error::Error;
use super::group::Group;
use super::group_options::GroupOptions;
use super::mapping::{self, Mapping, MappingRanges};
use super::outcomes::{Appended, AppendedBatch, AppendedRange, PartitionDescription, Receipt, StreamDescription};
use super::producer::{Names, Producer};
use super::reader::{Reader, Start};
use super::reader_options::ReaderOptions;
use super::routing::{Routing, check_headers};
use super::stream_options::{AppendOptions, ProducerOptions, StreamOptions};
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
    routing: Arc<Routing>,
}

impl Stream {
    pub(crate) fn new(database: Database, name: &str, found: FoundStream) -> Stream {
        let routing = Arc::new(Routing::new(name, found, &database.shared.spread));
        Stream { database, routing }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.routing.name
    }

    /// The number of its partitions, as far as this handle and its clones know: where others added some, they learn of
    /// it at their next append. [`Stream::mappings`] asks.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.routing.partitions()
    }

    /// The partition of a key: `(murmur2(key) & 0x7fffffff) % partitions`, as Kafka's clients compute it.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> u32 {
        streams::partition_of(key, self.partitions())
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
    /// [`Error::InvalidOption`] for a partition that does not exist, [`Error::Contended`] if partitions are added again
    /// and again.
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
        match self.submit_record(&record, options, level, deadline) {
            Ok(submitted) => Ok(appended(submitted)),
            Err(refused) => {
                let submit = || Ok(self.submit_record(&record, options, level, deadline));
                self.route_again(refused, submit).map(appended)
            }
        }
    }

    #[inline(always)]
    fn submit_record(
        &self,
        record: &Record<'_>,
        options: &AppendOptions,
        level: Wanted,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<Reply>, Refused<Refusal>> {
        self.routing.with_record(record, options, |command| self.submit_at(command, level, deadline))
    }

    #[inline(always)]
    fn submit_at(
        &self,
        command: &Command<'_>,
        level: Wanted,
        deadline: Option<BootTime>,
    ) -> Result<Submitted<Reply>, Refused<Refusal>> {
        self.database.shared.link.submit(command, level, deadline)
    }

    fn route_again<T>(
        &self,
        refused: Refused<Refusal>,
        attempt: impl Fn() -> Result<Result<T, Refused<Refusal>>, Error>,
    ) -> Result<T, Error> {
        self.routing.again(refused, attempt)?.map_err(|refused| refusal(refused, self.name()))
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
        let (level, deadline) = (self.level(options), deadline_in(options.timeout));
        let link = &self.database.shared.link;
        let issue = || self.routing.with_record(&record, options, |command| link.issue(command, level, deadline));
        let issued = issue().or_else(|refused| self.route_again(refused, || Ok(issue())))?;
        Ok(self.ticket(issued, appended))
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
        let submit = || self.routing.with_batch(records, options, |command| self.submit_at(command, level, deadline));
        let submitted = submit()?.or_else(|refused| self.route_again(refused, submit))?;
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
        let link = &self.database.shared.link;
        let issue = || self.routing.with_batch(records, options, |command| link.issue(command, level, deadline));
        let issued = issue()?.or_else(|refused| self.route_again(refused, issue))?;
        Ok(self.ticket(issued, appended_batch))
    }

    pub(super) fn names(&self) -> Names {
        Names { stream: self.routing.clone(), producer: None, is_numbered_by_keys: false }
    }

    pub(super) fn routing(&self) -> &Routing {
        &self.routing
    }

    /// A ticket that waits as long as the level of the write asks.
    fn ticket<T>(&self, issued: Issued, outcome: fn(Submitted<Reply>) -> T) -> Ticket<T> {
        Ticket::new(issued, outcome, self.names())
    }

    /// Opens the producer with this name and fences whoever opened it before; it comes to be if it is not there.
    /// Durable on return: blocks for a sync.
    ///
    /// ```
    /// use towpath::{Error, ProducerOptions};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// let first = orders.producer("web-1", ProducerOptions::new())?;
    /// first.append("one blue mug")?;
    /// let second = orders.producer("web-1", ProducerOptions::new())?;
    /// assert!(matches!(first.append("two green plates"), Err(Error::Fenced { current: 1, .. })));
    /// assert_eq!(second.append("two green plates")?.offset, 1);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::InvalidOption`], [`Error::LimitExceeded`] with 4,096 producers,
    /// [`Error::NotFound`] if the stream was deleted, and what any write may meet.
    pub fn producer(&self, name: &str, options: ProducerOptions) -> Result<Producer, Error> {
        let expire_after_micros = u64::try_from(options.expire_after.as_micros()).unwrap_or(u64::MAX);
        let open = streams::Command::OpenProducer { stream: self.routing.handle, name, expire_after_micros };
        let submitted = self.database.shared.link.submit(&Command::Streams(open), Level::Sync, None);
        let submitted = submitted.map_err(|refused| match refused {
            Refused::Refusal(Refusal::Streams(streams::Refusal::InvalidName(fault))) => {
                Error::invalid_name(name, fault)
            }
            refused => refusal(refused, self.name()),
        })?;
        match submitted.reply {
            Reply::Streams(streams::Reply::Producer(handle)) => Ok(Producer::new(self.clone(), name, handle)),
            _ => unreachable!("opening a producer answers with it"),
        }
    }

    /// Creates the consumer group with this name, or opens it if it exists. Durable on return: blocks for a sync if it
    /// is new.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if it exists and is not as the options name it, [`Error::InvalidName`];
    /// [`Error::LimitExceeded`] with 2,048 groups, or 131,072 partitions of all groups; [`Error::NotFound`] if the
    /// stream was deleted, and what any write may meet.
    pub fn group(&self, name: &str, options: GroupOptions) -> Result<Group, Error> {
        Group::create(self.clone(), name, options.to_machine())
    }

    /// Opens a consumer group that exists. Waits for nothing, unless it is just being created or deleted: then for the
    /// sync of that.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`].
    pub fn existing_group(&self, name: &str) -> Result<Group, Error> {
        let found = self.database.ask(&FindGroup { stream: self.routing.handle, name: name.into() })?;
        let number = found.ok_or_else(|| Error::NotFound { kind: "group", name: name.to_owned() })?;
        Ok(Group::new(self.clone(), name, number))
    }

    /// The names of its consumer groups, in order. One that is created or deleted meanwhile may be in it or not.
    ///
    /// # Errors
    /// [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`].
    pub fn group_names(&self) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().cloned().unwrap_or_default();
            let more = self.database.ask(&GroupNames { stream: self.routing.handle, after })?;
            if more.is_empty() {
                return Ok(names);
            }
            names.extend(more);
        }
    }

    /// Opens a cursor on one partition. Readers are independent of each other, and any number of them may be open.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] for an offset that is not there, [`Error::InvalidOption`] for a partition that does
    /// not exist, [`Error::NotFound`] if the stream was deleted.
    pub fn reader(&self, partition: u32, from: Start) -> Result<Reader, Error> {
        self.reader_with(partition, from, ReaderOptions::new())
    }

    /// The same with options: with a reset policy no offset is an error.
    ///
    /// ```
    /// use towpath::{ReaderOptions, Reset, Start};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// # orders.append("one blue mug")?;
    /// orders.append("two green plates")?;
    /// orders.trim_before(0, 1)?;
    /// let options = ReaderOptions::new().reset(Reset::Earliest);
    /// let mut reader = orders.reader_with(0, Start::Offset(0), options)?;
    /// assert_eq!(reader.receive(100)?.iter().next().map(|record| record.offset()), Some(1));
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Stream::reader`].
    pub fn reader_with(&self, partition: u32, from: Start, options: ReaderOptions) -> Result<Reader, Error> {
        Reader::open(self.clone(), partition, from, options)
    }

    /// Adds `count` partitions behind those that there are, and tells the mapping that holds from then on. Durable on
    /// return. Nothing takes partitions away again.
    ///
    /// Keys are distributed anew: of some the next records go to another partition than those before, and a reader of
    /// the new one may be ahead of a reader of the old one. [`Stream::ranges_by_mapping`] is for readers that want the
    /// records of each key in order all the same. Other handles, in any process, learn of it at their next append.
    ///
    /// ```
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new().partitions(4))?;
    /// let mapping = orders.add_partitions(2)?;
    /// assert_eq!((mapping.epoch, mapping.partitions), (2, 6));
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] beyond 4,096 partitions of the stream, 1,048,576 of all streams or 128 mappings;
    /// [`Error::InvalidOption`] for none, [`Error::NotFound`], and what any write may meet.
    pub fn add_partitions(&self, count: u32) -> Result<Mapping, Error> {
        let command = Command::Streams(streams::Command::AddPartitions { stream: self.routing.handle, count });
        let submitted = self.database.shared.link.submit(&command, Level::Sync, None);
        let submitted = submitted.map_err(|refused| refusal(refused, self.name()))?;
        let Reply::Streams(streams::Reply::Extended { epoch, partitions }) = submitted.reply else {
            unreachable!("who adds partitions is told how many there are")
        };
        self.routing.learn(partitions);
        Ok(Mapping { epoch, partitions, since_lsn: submitted.lsn })
    }

    /// Every mapping that the stream has had, oldest first. Waits for nothing, unless partitions are just being added:
    /// then for the sync of that.
    ///
    /// # Errors
    /// As for [`Stream::describe`].
    pub fn mappings(&self) -> Result<Vec<Mapping>, Error> {
        let (_, mappings) = self.known()?;
        Ok(mappings.iter().map(Mapping::from_machine).collect())
    }

    /// What there is to read now, mapping by mapping from `from_epoch` on, oldest first.
    ///
    /// Who reads all ranges of one mapping before those of the next, each partition in order, reads the records of each
    /// key in the order in which they were appended, though partitions were added meanwhile. A mapping that is over has
    /// its ranges for good, but for what retention takes. In the newest more may come: ask again, from its epoch on.
    /// May read from disk.
    ///
    /// ```
    /// # use towpath::{Record, Start};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// orders.append(Record::new(b"one blue mug").key(b"customer-7"))?;
    /// orders.add_partitions(3)?;
    /// orders.append(Record::new(b"no, two blue mugs").key(b"customer-7"))?;
    /// let mut seen = Vec::new();
    /// for ranges in orders.ranges_by_mapping(1)? {
    ///     for range in ranges.partitions {
    ///         let mut reader = orders.reader(range.partition, Start::Offset(range.start_offset))?;
    ///         while reader.position() < range.end_offset {
    ///             let most = (range.end_offset - reader.position()) as usize;
    ///             seen.extend(reader.receive(most)?.iter().map(|record| record.body().to_vec()));
    ///         }
    ///     }
    /// }
    /// assert_eq!(seen, [&b"one blue mug"[..], b"no, two blue mugs"]);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Stream::describe`], and [`Error::Corrupt`].
    pub fn ranges_by_mapping(&self, from_epoch: u32) -> Result<Vec<MappingRanges>, Error> {
        let described = self.describe()?;
        let (_, mappings) = self.known()?;
        mapping::ranges(self, from_epoch, &described.partitions, &mappings)
    }

    /// Lets all records below `offset` go, at level [`Level::Buffered`]: after a power cut they may be back. At or
    /// below the start it does nothing, and waits until what was written of the partition at [`Level::Sync`] is on
    /// disk; beyond the end it lets everything go. May read from disk. The room on disk follows within seconds, as far
    /// as whole segments are dead.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidOption`], and what any write may meet.
    pub fn trim_before(&self, partition: u32, offset: u64) -> Result<(), Error> {
        let stream = self.routing.handle;
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
        let (options, mappings) = self.known()?;
        let count = mappings.partitions();
        let mut partitions = Vec::with_capacity(count as usize);
        for first in (0..count).step_by(FREEZE_CHUNK) {
            partitions.extend(self.describe_partitions(first, (FREEZE_CHUNK as u32).min(count - first))?);
        }
        Ok(StreamDescription {
            name: self.name().to_owned(),
            options: StreamOptions::from_machine(&options),
            mappings: mappings.iter().map(Mapping::from_machine).collect(),
            partitions,
        })
    }

    /// As many partitions as one hold of the core lock is for, from `first` on.
    fn describe_partitions(&self, first: u32, count: u32) -> Result<Vec<PartitionDescription>, Error> {
        let facts = self.database.ask(&DescribePartitions { stream: self.routing.handle, first, count })?;
        let facts = facts.ok_or_else(|| self.not_found())?;
        Ok((first..).zip(facts).map(|(partition, facts)| describe(partition, facts)).collect())
    }

    /// Options and mappings as the host has them now, which this handle knows from then on.
    fn known(&self) -> Result<(streams::Options, streams::Mappings), Error> {
        let known = self.database.ask(&DescribeStream { stream: self.routing.handle })?;
        let (options, mappings) = known.ok_or_else(|| self.not_found())?;
        self.routing.learn(mappings.partitions());
        Ok((options, mappings))
    }

    /// The log of a partition; asks the host for one that the handle does not know.
    pub(crate) fn log(&self, partition: u32) -> Result<LogId, Error> {
        if let Some(log) = self.routing.log(partition) {
            return Ok(log);
        }
        let (_, mappings) = self.known()?;
        mappings.get(partition).ok_or_else(|| {
            let last = mappings.partitions() - 1;
            let reason = format!("stream `{}` has partitions 0 to {last}, not {partition}", self.name());
            Error::InvalidOption { option: "partition", reason }
        })
    }

    /// The stream was deleted: told once that is on disk.
    pub(crate) fn not_found(&self) -> Error {
        match self.database.ask(&RevealStream { id: self.routing.handle.id }) {
            Ok(()) => Error::NotFound { kind: "stream", name: self.name().to_owned() },
            Err(error) => error,
        }
    }

    #[inline]
    pub(super) fn level(&self, options: &AppendOptions) -> Wanted {
        let otherwise = self.database.shared.level;
        options.level.map_or(Wanted::OfObject { otherwise }, Wanted::Named)
    }
}

fn describe(partition: u32, facts: PartitionFacts) -> PartitionDescription {
    let PartitionFacts { start, end, records, bytes, last_timestamp } = facts;
    PartitionDescription { partition, start_offset: start, end_offset: end, records, bytes, last_timestamp }
}

#[inline]
fn ranges(reply: &Reply) -> &streams::Ranges {
    match reply {
        Reply::Streams(streams::Reply::Appended(ranges)) => ranges,
        _ => unreachable!("an append answers with where it went"),
    }
}

#[inline]
fn appended(submitted: Submitted<Reply>) -> Appended {
    let receipt = receipt(&submitted);
    // Taken apart: of the reply there is only a list to drop, which one record does not have.
    match submitted.reply {
        Reply::Streams(streams::Reply::Appended(streams::Ranges { first, rest: _rest })) => {
            Appended { partition: first.partition, offset: first.first_offset, duplicate: false, receipt }
        }
        _ => unreachable!("an append answers with where it went"),
    }
}

fn appended_batch(submitted: Submitted<Reply>) -> AppendedBatch {
    let partitions = appended_ranges(ranges(&submitted.reply));
    AppendedBatch { partitions, duplicate: false, receipt: receipt(&submitted) }
}

pub(super) fn appended_ranges(ranges: &streams::Ranges) -> Vec<AppendedRange> {
    let range = |range: &streams::Range| AppendedRange {
        partition: range.partition,
        first_offset: range.first_offset,
        records: range.records,
    };
    ranges.iter().map(range).collect()
}

#[inline]
fn receipt(submitted: &Submitted<Reply>) -> Receipt {
    Receipt { lsn: submitted.lsn, level: submitted.level }
}
