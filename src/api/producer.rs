//! The producer handle: appending once, however often a batch is sent.

#[cfg(doc)]
use crate::base::level::Level;
use crate::base::sync::Arc;
use crate::engine::{Refused, Submitted, deadline_in};
use crate::primitives::streams::{self, Append, Produce, ProducerHandle, Ranges, Record};
use crate::primitives::{Command, Refusal, Reply};
use crate::processes::questions::LastBatch;

use super::database::refusal;
use super::error::Error;
use super::outcomes::{Appended, AppendedBatch, ProducedBatch, Receipt};
use super::routing::{Routing, check_headers};
use super::stream::{Stream, appended_ranges};
use super::stream_options::AppendOptions;
use super::ticket::Ticket;

/// An idempotent producer: what it appends is stored once, however often it is sent, and nobody else appends under its
/// name.
///
/// Made by [`Stream::producer`]. Cheap to clone; usable from any thread.
///
/// # Sequences
/// In each partition a producer's records have *sequences*, dense from 0. Every append takes the next ones, in the
/// order in which appends come to the partition. The forms with `_at` name the sequence of the first record instead.
/// That is for a program whose source numbers what it appends, by the lines of a file say: it sends again whatever it
/// does not know to be stored, after [`Error::OutcomeUnknown`] or when it is started again, and what was
/// stored answers `duplicate` and the offsets that it has.
///
/// | a batch that begins | answer |
/// |---|---|
/// | at the next sequence | it is stored |
/// | behind it | [`Error::OutOfOrder`] with the sequence that is due |
/// | before it, with as many records as one of the last five batches had there | that batch's offsets, `duplicate` |
/// | before it, otherwise | [`Error::Overlapping`] |
///
/// Five batches are remembered in each partition. So who sends again more than the last one has at most five of them
/// unanswered there.
///
/// The forms without a sequence are for programs that keep no count. After [`Error::OutcomeUnknown`] such a program
/// asks [`Producer::last`] whether the batch came in: sent again it would be a new one.
///
/// Where partitions are added to the stream, keys fall into others than before: a batch that was numbered before and is
/// sent again after names the partition that it belongs to. Where it names none, and partitions were added since the
/// handle last appended, it is [`Error::InvalidOption`].
///
/// A batch over several partitions is stored in all of them or is a duplicate in all of them; where it is both, it is
/// [`Error::Overlapping`].
///
/// # Fencing
/// Opening a producer raises its *epoch*, and who has opened it before is answered [`Error::Fenced`] from then on. The
/// sequences go on over epochs, so [`Producer::last`] tells a program that starts again where to go on.
///
/// ```
/// use towpath::{AppendOptions, ProducerOptions, Record};
/// # let db = towpath::Options::temporary().open_temporary()?;
/// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
/// let lines = ["one blue mug", "two green plates", "three forks"];
/// # orders.producer("import", ProducerOptions::new())?.append(lines[0])?;
/// let import = orders.producer("import", ProducerOptions::new())?;
/// let stored = import.last(0)?.map_or(0, |last| last.next_sequence());
/// for (line, text) in (0..).zip(lines).skip(stored as usize) {
///     let appended = import.append_at(line, Record::new(text.as_bytes()), &AppendOptions::new())?;
///     assert!(!appended.duplicate);
/// }
/// let again = import.append_at(2, Record::new(b"three forks"), &AppendOptions::new())?;
/// assert!(again.duplicate && again.offset == 2);
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Producer {
    stream: Stream,
    name: Arc<str>,
    handle: ProducerHandle,
}

/// What a refusal is told of.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(super) stream: Arc<Routing>,
    pub(super) producer: Option<Arc<str>>,
    /// Its records are numbered in the partitions that their keys fell into.
    pub(super) is_numbered_by_keys: bool,
}

impl Names {
    pub(super) fn refusal(&self, refused: Refused<Refusal>) -> Error {
        match (refused, &self.producer) {
            (Refused::Refusal(Refusal::Streams(streams::Refusal::NoSuchProducer)), Some(producer)) => {
                Error::NotFound { kind: "producer", name: producer.to_string() }
            }
            (refused, _) => match self.stream.learn_from(&refused) {
                true if self.is_numbered_by_keys => moved(),
                _ => refusal(refused, &self.stream.name),
            },
        }
    }
}

impl Producer {
    pub(super) fn new(stream: Stream, name: &str, handle: ProducerHandle) -> Producer {
        Producer { stream, name: name.into(), handle }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The stream that it appends to.
    #[must_use]
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// How often a producer of this name had been opened before this one was.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.handle.epoch
    }

    /// The last batch of this name that a partition took, in whatever epoch; `None` if it took none. Waits for nothing,
    /// unless that batch was written at [`Level::Sync`] just now: then for its sync.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the producer has expired or its stream was deleted, [`Error::InvalidOption`] for a
    /// partition that does not exist, [`Error::OutcomeUnknown`] if the disk failed in that sync, [`Error::Closed`].
    pub fn last(&self, partition: u32) -> Result<Option<ProducedBatch>, Error> {
        self.stream.log(partition)?;
        let known = self.stream.database.ask(&LastBatch { producer: self.handle.number, partition })?;
        let known = known.ok_or_else(|| Error::NotFound { kind: "producer", name: self.name.to_string() })?;
        Ok(known.last.map(|batch| ProducedBatch {
            sequence: batch.sequence,
            records: batch.records,
            first_offset: batch.first_offset,
            lsn: batch.lsn,
        }))
    }

    /// Appends one record at the stream's level, as [`Stream::append`] does, at the next sequence of its partition.
    ///
    /// # Errors
    /// As for [`Stream::append`], and [`Error::Fenced`], [`Error::NotFound`] if the producer has expired,
    /// [`Error::LimitExceeded`] if producers have appended to 16,384 partitions.
    pub fn append<'a>(&self, record: impl Into<Record<'a>>) -> Result<Appended, Error> {
        self.append_with(record.into(), &AppendOptions::default())
    }

    /// Appends one record as the options say.
    ///
    /// # Errors
    /// As for [`Producer::append`], and [`Error::TimedOut`], [`Error::Unconfirmed`], [`Error::InvalidOption`] for a
    /// partition that does not exist and for `expect_offset`, which a producer has no use for.
    pub fn append_with(&self, record: Record<'_>, options: &AppendOptions) -> Result<Appended, Error> {
        self.with_one(&record, None, options, |command| self.submit_and_wait(command, options)).map(produced)
    }

    /// Appends one record that has this sequence in its partition. A record without a key must be told its partition,
    /// so that it goes to the same one when it is sent again.
    ///
    /// # Errors
    /// As for [`Producer::append_with`], and [`Error::OutOfOrder`], [`Error::Overlapping`].
    pub fn append_at(&self, sequence: u64, record: Record<'_>, options: &AppendOptions) -> Result<Appended, Error> {
        self.with_one(&record, Some(sequence), options, |command| self.submit_and_wait(command, options)).map(produced)
    }

    /// Appends several records as one, as [`Stream::append_batch`] does, in each partition at the next sequence.
    ///
    /// # Errors
    /// As for [`Stream::append_batch`] and [`Producer::append_with`].
    pub fn append_batch(&self, records: &[Record<'_>], options: &AppendOptions) -> Result<AppendedBatch, Error> {
        self.with_batch(records, None, options, |command| self.submit_and_wait(command, options)).map(produced_batch)
    }

    /// Appends several records as one. `sequence_in` tells for each partition that gets some of them the sequence of
    /// the first of these. Records without a key must be told their partition.
    ///
    /// ```
    /// use towpath::{AppendOptions, ProducerOptions, Record};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// let import = orders.producer("import", ProducerOptions::new())?;
    /// let batch = [Record::new(b"one blue mug"), Record::new(b"two green plates")];
    /// assert!(!import.append_batch_at(|_| 0, &batch, &AppendOptions::new())?.duplicate);
    /// assert!(import.append_batch_at(|_| 0, &batch, &AppendOptions::new())?.duplicate);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Producer::append_batch`], and [`Error::OutOfOrder`], [`Error::Overlapping`].
    pub fn append_batch_at(
        &self,
        sequence_in: impl Fn(u32) -> u64,
        records: &[Record<'_>],
        options: &AppendOptions,
    ) -> Result<AppendedBatch, Error> {
        let submit = |command: &Command<'_>| self.submit_and_wait(command, options);
        self.with_batch(records, Some(&sequence_in), options, submit).map(produced_batch)
    }

    /// Appends one record and does not wait for its sync: the ticket does. See [`Stream::submit`].
    ///
    /// # Errors
    /// As for [`Producer::append_with`]; what comes after the append is the ticket's.
    pub fn submit(&self, record: Record<'_>, options: &AppendOptions) -> Result<Ticket<Appended>, Error> {
        self.with_one(&record, None, options, |command| self.issue(command, false, options, produced))
    }

    /// Appends one record that has this sequence in its partition, and does not wait for its sync.
    ///
    /// # Errors
    /// As for [`Producer::append_at`]; what comes after the append is the ticket's.
    pub fn submit_at(
        &self,
        sequence: u64,
        record: Record<'_>,
        options: &AppendOptions,
    ) -> Result<Ticket<Appended>, Error> {
        self.with_one(&record, Some(sequence), options, |command| self.issue(command, true, options, produced))
    }

    /// Appends several records as one and does not wait for their sync: the ticket does. See [`Stream::submit_batch`].
    ///
    /// # Errors
    /// As for [`Producer::append_batch`]; what comes after the append is the ticket's.
    pub fn submit_batch(
        &self,
        records: &[Record<'_>],
        options: &AppendOptions,
    ) -> Result<Ticket<AppendedBatch>, Error> {
        self.with_batch(records, None, options, |command| self.issue(command, false, options, produced_batch))
    }

    /// Appends several records as one, as [`Producer::append_batch_at`] does, and does not wait for their sync.
    ///
    /// # Errors
    /// As for [`Producer::append_batch_at`]; what comes after the append is the ticket's.
    pub fn submit_batch_at(
        &self,
        sequence_in: impl Fn(u32) -> u64,
        records: &[Record<'_>],
        options: &AppendOptions,
    ) -> Result<Ticket<AppendedBatch>, Error> {
        let issue = |command: &Command<'_>| self.issue(command, true, options, produced_batch);
        self.with_batch(records, Some(&sequence_in), options, issue)
    }

    /// Has one record appended; what was refused is tried again as long as that was because partitions had been added.
    fn with_one<T>(
        &self,
        record: &Record<'_>,
        sequence: Option<u64>,
        options: &AppendOptions,
        act: impl Fn(&Command<'_>) -> Result<T, Refused<Refusal>>,
    ) -> Result<T, Error> {
        let records = std::slice::from_ref(record);
        check_headers(records)?;
        self.check_place(records, sequence.is_some(), options)?;
        let sequences = sequence.as_ref().map(std::slice::from_ref);
        let routing = self.stream.routing();
        let attempt = || Ok(routing.route_record(record, options, |append| act(&self.command(append, sequences))));
        self.routed(sequence.is_some(), options, attempt)
    }

    /// The same for several records.
    fn with_batch<T>(
        &self,
        records: &[Record<'_>],
        sequence_in: Option<&dyn Fn(u32) -> u64>,
        options: &AppendOptions,
        act: impl Fn(&Command<'_>) -> Result<T, Refused<Refusal>>,
    ) -> Result<T, Error> {
        self.check_place(records, sequence_in.is_some(), options)?;
        let attempt = || {
            self.stream.routing().route_batch(records, options, |append| {
                let of_groups =
                    |of: &dyn Fn(u32) -> u64| append.groups.iter().map(|group| of(group.partition)).collect();
                let sequences: Option<Vec<u64>> = sequence_in.map(of_groups);
                act(&self.command(append, sequences.as_deref()))
            })
        };
        self.routed(sequence_in.is_some(), options, attempt)
    }

    /// A batch that is numbered by partitions which it did not name is not sent to others under the same numbers.
    fn routed<T>(
        &self,
        is_numbered: bool,
        options: &AppendOptions,
        attempt: impl Fn() -> Result<Result<T, Refused<Refusal>>, Error>,
    ) -> Result<T, Error> {
        let names = self.names(is_numbered, options);
        let sent = match attempt()? {
            Err(refused) if !names.is_numbered_by_keys => self.stream.routing().again(refused, attempt)?,
            sent => sent,
        };
        sent.map_err(|refused| names.refusal(refused))
    }

    /// Whether numbered records go to the same partitions whenever they are sent.
    fn check_place(&self, records: &[Record<'_>], is_numbered: bool, options: &AppendOptions) -> Result<(), Error> {
        let is_fixed = !is_numbered || options.partition.is_some() || self.stream.partitions() == 1;
        if is_fixed || records.iter().all(|record| record.key.is_some()) {
            return Ok(());
        }
        let reason = "a record without a key goes to another partition when it is sent again; name one".to_owned();
        Err(Error::InvalidOption { option: "partition", reason })
    }

    fn command<'a>(&self, append: Append<'a>, sequences: Option<&'a [u64]>) -> Command<'a> {
        Command::Streams(streams::Command::Produce(Produce { append, producer: self.handle, sequences }))
    }

    fn submit_and_wait(
        &self,
        command: &Command<'_>,
        options: &AppendOptions,
    ) -> Result<Submitted<Reply>, Refused<Refusal>> {
        let (level, deadline) = (self.stream.level(options), deadline_in(options.timeout));
        self.stream.database.shared.link.submit(command, level, deadline)
    }

    fn issue<T>(
        &self,
        command: &Command<'_>,
        is_numbered: bool,
        options: &AppendOptions,
        outcome: fn(Submitted<Reply>) -> T,
    ) -> Result<Ticket<T>, Refused<Refusal>> {
        let (level, deadline) = (self.stream.level(options), deadline_in(options.timeout));
        let issued = self.stream.database.shared.link.issue(command, level, deadline)?;
        Ok(Ticket::new(issued, outcome, self.names(is_numbered, options)))
    }

    fn names(&self, is_numbered: bool, options: &AppendOptions) -> Names {
        let is_numbered_by_keys = is_numbered && options.partition.is_none();
        Names { producer: Some(self.name.clone()), is_numbered_by_keys, ..self.stream.names() }
    }
}

/// The answer to a batch that was numbered by partitions which keys do not fall into any more. Not to be tried again as
/// it is: under the same sequence it could be stored in another partition, a second time.
#[cold]
fn moved() -> Error {
    let reason = "partitions were added, and its keys may fall into others than those it is numbered in; name one";
    Error::InvalidOption { option: "partition", reason: reason.to_owned() }
}

/// Where a batch went, whether it did so before, and the proof of it.
fn parts(submitted: &Submitted<Reply>) -> (&Ranges, bool, Receipt) {
    let level = submitted.level;
    match &submitted.reply {
        Reply::Streams(streams::Reply::Appended(ranges)) => (ranges, false, Receipt { lsn: submitted.lsn, level }),
        Reply::Streams(streams::Reply::Duplicate { ranges, lsn }) => (&**ranges, true, Receipt { lsn: *lsn, level }),
        _ => unreachable!("an append answers with where it went"),
    }
}

fn produced(submitted: Submitted<Reply>) -> Appended {
    let (ranges, duplicate, receipt) = parts(&submitted);
    Appended { partition: ranges.first.partition, offset: ranges.first.first_offset, duplicate, receipt }
}

fn produced_batch(submitted: Submitted<Reply>) -> AppendedBatch {
    let (ranges, duplicate, receipt) = parts(&submitted);
    AppendedBatch { partitions: appended_ranges(ranges), duplicate, receipt }
}
