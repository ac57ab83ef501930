//! Reading a partition.

use std::time::Duration;

use crate::base::bounds::RECORDS_PER_READ_MAX;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::time::{BootTime, Timestamp};
use crate::engine::read::{Cursor, Read};
use crate::engine::{Refused, deadline_in};
use crate::primitives::Refusal;
use crate::processes::questions::{ExtentOf, OffsetForLsn, OffsetForTime};

use super::database::unnamed;
use super::error::Error;
use super::reader_options::{ReaderOptions, Reset};
use super::records::Records;
use super::stream::Stream;

/// Where a reader begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    /// The first record that is there.
    Earliest,
    /// Behind the last record that may be seen: what becomes visible from now on.
    Latest,
    /// This record; or the end, to wait for the next.
    Offset(u64),
    /// The first record with this timestamp or a later one; the end if there is none.
    Time(Timestamp),
    /// The first record written at this address or a later one.
    Lsn(Lsn),
}

/// A cursor on one partition of a stream. It sees each record once, in order; reading removes nothing.
///
/// What was appended at [`Level::Sync`](crate::Level::Sync) is seen once it is on disk, so that no power cut takes back
/// what was seen of it. What was appended at [`Level::Buffered`](crate::Level::Buffered) is seen at once, and a power
/// cut may take back the newest of it. The position is the reader's own and is not stored.
///
/// # Falling behind
/// When retention or a trim has let go of the record that would be next, reading answers [`Error::OffsetOutOfRange`]
/// with what is there; [`Reader::seek`] to go on. With a [reset policy](ReaderOptions::reset) it goes on by itself, and
/// the offsets of the records tell what it has missed.
///
/// ```
/// use towpath::Start;
/// # let db = towpath::Options::temporary().open_temporary()?;
/// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
/// orders.append("one blue mug")?;
/// let mut reader = orders.reader(0, Start::Earliest)?;
/// for record in &reader.receive(100)? {
///     assert_eq!(record.body(), b"one blue mug");
/// }
/// assert!(reader.try_receive(100)?.is_none());
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Debug)]
pub struct Reader {
    stream: Stream,
    partition: u32,
    log: LogId,
    offset: u64,
    cursor: Cursor,
    reset: Option<Reset>,
}

impl Reader {
    pub(crate) fn open(stream: Stream, partition: u32, from: Start, options: ReaderOptions) -> Result<Reader, Error> {
        let log = stream.log(partition)?;
        let ReaderOptions { reset } = options;
        let mut reader = Reader { stream, partition, log, offset: 0, cursor: Cursor::default(), reset };
        reader.seek(from)?;
        Ok(reader)
    }

    /// The offset of the record that is read next.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.offset
    }

    /// Moves the cursor. May read from disk for [`Start::Time`] and [`Start::Lsn`].
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] for an offset that is not there, unless the reader has a reset policy,
    /// [`Error::NotFound`] if the stream was deleted.
    pub fn seek(&mut self, from: Start) -> Result<(), Error> {
        let (database, log) = (&self.stream.database, self.log);
        let extent = database.ask(&ExtentOf { log })?;
        let (start, end) = extent.ok_or_else(|| self.stream.not_found())?;
        self.offset = match from {
            Start::Earliest => start,
            Start::Latest => end,
            Start::Offset(offset) if offset < start || offset > end => self.reset(offset, start, end)?,
            Start::Offset(offset) => offset,
            Start::Time(time) => database.ask(&OffsetForTime { log, time })?.unwrap_or(end),
            Start::Lsn(lsn) => database.ask(&OffsetForLsn { log, lsn })?.ok_or_else(|| self.stream.not_found())?,
        };
        Ok(())
    }

    /// Up to `max` records, and never none: blocks until there is one. At most 65,536 are given at once, and often
    /// fewer than are there; a `max` of 0 asks for 1.
    ///
    /// # Errors
    /// [`Error::OffsetOutOfRange`] when it fell behind and has no reset policy, [`Error::NotFound`] when the stream was
    /// deleted, [`Error::Corrupt`], [`Error::Closed`].
    pub fn receive(&mut self, max: usize) -> Result<Records, Error> {
        let received = self.receive_until(max, None)?;
        Ok(received.expect("without a deadline it waits until there is something"))
    }

    /// Up to `max` records; `None` if there is none now. Does not wait for records, but may read from disk.
    ///
    /// # Errors
    /// As for [`Reader::receive`].
    pub fn try_receive(&mut self, max: usize) -> Result<Option<Records>, Error> {
        let max = max.clamp(1, RECORDS_PER_READ_MAX);
        loop {
            let link = &self.stream.database.shared.link;
            let read = link.read(self.log, self.offset, max, &mut self.cursor);
            let read = read.map_err(|refused| self.unread(refused))?;
            if let Some(taken) = self.taken(read, max)? {
                return Ok(taken.records());
            }
        }
    }

    /// Up to `max` records; waits at most `timeout` for the first, then `None`.
    ///
    /// # Errors
    /// As for [`Reader::receive`].
    pub fn receive_timeout(&mut self, max: usize, timeout: Duration) -> Result<Option<Records>, Error> {
        self.receive_until(max, deadline_in(Some(timeout)))
    }

    /// Up to `max` records; waits for the first without blocking the thread, on any runtime. Dropping the future loses
    /// nothing. What is there already is read in `poll`, which may read from disk.
    ///
    /// # Errors
    /// As for [`Reader::receive`].
    pub async fn receive_async(&mut self, max: usize) -> Result<Records, Error> {
        let max = max.clamp(1, RECORDS_PER_READ_MAX);
        loop {
            let link = &self.stream.database.shared.link;
            let read = link.read_async(self.log, self.offset, max, &mut self.cursor).await;
            let read = read.map_err(|refused| self.unread(refused))?;
            if let Some(taken) = self.taken(read, max)? {
                return Ok(taken.records().expect("it waits until there is something"));
            }
        }
    }

    fn receive_until(&mut self, max: usize, deadline: Option<BootTime>) -> Result<Option<Records>, Error> {
        let max = max.clamp(1, RECORDS_PER_READ_MAX);
        loop {
            let link = &self.stream.database.shared.link;
            let read = link.read_waiting(self.log, self.offset, max, &mut self.cursor, deadline);
            let Some(read) = read.map_err(|refused| self.unread(refused))? else { return Ok(None) };
            if let Some(taken) = self.taken(read, max)? {
                return Ok(taken.records());
            }
        }
    }

    /// Goes past what was read; `None` if it goes on elsewhere.
    fn taken(&mut self, read: Read, max: usize) -> Result<Option<Taken>, Error> {
        match read {
            Read::Items(batch) => {
                let records = Records::of(batch, self.partition, self.offset, max)?;
                self.offset = records.end();
                Ok(Some(Taken::Records(records)))
            }
            Read::AtEnd => Ok(Some(Taken::Nothing)),
            Read::Below { start, end } => {
                self.offset = self.reset(self.offset, start, end)?;
                Ok(None)
            }
            Read::Gone => Err(self.stream.not_found()),
        }
    }

    /// Where to go on instead of an offset that is not there.
    fn reset(&self, offset: u64, start: u64, end: u64) -> Result<u64, Error> {
        match self.reset {
            Some(Reset::Earliest) => Ok(start),
            Some(Reset::Latest) => Ok(end.max(start)),
            None => Err(self.out_of_range(offset, start, end)),
        }
    }

    /// Says whose records a damaged place held.
    fn unread(&self, refused: Refused<Refusal>) -> Error {
        match unnamed(refused) {
            Error::Corrupt { file, offset, from, to, reason } => {
                let reason = format!("{reason} of partition {} of stream `{}`", self.partition, self.stream.name());
                Error::Corrupt { file, offset, from, to, reason }
            }
            error => error,
        }
    }

    fn out_of_range(&self, offset: u64, start: u64, end: u64) -> Error {
        let (stream, partition) = (self.stream.name().to_owned(), self.partition);
        Error::OffsetOutOfRange { stream, partition, offset, start, end }
    }
}

/// What was read where there is something to read, or its end.
enum Taken {
    Records(Records),
    Nothing,
}

impl Taken {
    fn records(self) -> Option<Records> {
        match self {
            Taken::Records(records) => Some(records),
            Taken::Nothing => None,
        }
    }
}
