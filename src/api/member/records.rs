//! The records of a member one by one: as an iterator, and as a `Stream` of the `futures` crates.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::api::commit_options::CommitOptions;
use crate::api::error::Error;
use crate::api::records::OwnedRecord;
use crate::base::sync::{Arc, AtomicBool, Ordering};
use crate::engine::deadline_in;

use super::Member;
use super::delivery::{Delivery, Wait};

impl Member {
    /// Its records one by one, each waited for; what is done of them is committed as the options say.
    ///
    /// A record is done when the next one is asked for: whoever stops in the middle of one has not consumed it. What is
    /// done is committed after [some of it](CommitOptions), before a wait, when partitions are revoked, and when the
    /// iterator is dropped. So each record is handed out at least once, again only after a program died, or its
    /// partition was taken away, before the commit.
    ///
    /// # Partitions that come and go
    /// The iterator goes on with what the member owns. Of partitions that are to be given up, what is done is committed
    /// and the rest is dropped: their next owner reads it. Where a partition was taken away before, nothing of it is
    /// stored and its records are handed out again, by its next owner. Neither is an error: a program that is told of
    /// an error has none of it to repair. [`MemberRecords::commit`] and [`Member::poll`] tell.
    ///
    /// Who takes longer over one record than its rebalance timeout, or session timeout, may lose partitions meanwhile:
    /// the member is heard of when it asks for a record.
    ///
    /// # Afterwards
    /// The member goes on at the first record that is not done: the last one that was handed out is handed out again,
    /// unless [`MemberRecords::commit`] was called after it.
    ///
    /// ```
    /// use towpath::{CommitOptions, GroupOptions, MemberOptions};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// orders.append("one blue mug")?;
    /// orders.append("two green plates")?;
    /// let billing = orders.group("billing", GroupOptions::new())?;
    /// let mut member = billing.join(MemberOptions::new())?;
    /// let mut records = member.records(CommitOptions::new().every_records(100));
    /// while let Some(record) = records.next() {
    ///     let record = record?;
    ///     println!("{}: {}", record.offset(), String::from_utf8_lossy(record.body()));
    ///     if record.offset() == 1 {
    ///         break;
    ///     }
    /// }
    /// records.commit()?;
    /// assert_eq!(billing.describe()?.lag(), 0);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    pub fn records(&mut self, options: CommitOptions) -> MemberRecords<'_> {
        MemberRecords::new(Delivery::new(self, options))
    }

    /// The same without blocking the thread, on any runtime.
    ///
    /// ```
    /// # use towpath::{CommitOptions, GroupOptions, MemberOptions};
    /// # fn block_on<T>(future: impl Future<Output = T>) -> T {
    /// #     let mut future = std::pin::pin!(future);
    /// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    /// #     loop {
    /// #         if let std::task::Poll::Ready(output) = future.as_mut().poll(&mut context) {
    /// #             return output;
    /// #         }
    /// #     }
    /// # }
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// # let orders = db.create_stream("orders", towpath::StreamOptions::new())?;
    /// # orders.append("one blue mug")?;
    /// # let billing = orders.group("billing", GroupOptions::new())?;
    /// # let mut member = billing.join(MemberOptions::new())?;
    /// # block_on(async {
    /// let mut records = member.records_async(CommitOptions::manual());
    /// while let Some(record) = records.next().await {
    ///     let record = record?;
    ///     println!("{}: {}", record.offset(), String::from_utf8_lossy(record.body()));
    ///     records.commit_async().await?;
    /// #     break;
    /// }
    /// # Ok::<(), towpath::Error>(())
    /// # })?;
    /// # assert_eq!(billing.describe()?.lag(), 0);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    pub fn records_async(&mut self, options: CommitOptions) -> MemberRecordStream<'_> {
        MemberRecordStream::new(Delivery::new(self, options))
    }
}

/// The records of a [`Member`] one by one, committed as its options say. Made by [`Member::records`].
///
/// As an iterator it waits for the next record and ends only with the membership. Errors are items; after
/// [`Error::MemberEnded`], [`Error::Closed`], [`Error::Poisoned`] and [`Error::Forked`] it has ended, after all others
/// it may be asked again.
#[derive(Debug)]
pub struct MemberRecords<'a> {
    delivery: Delivery<'a>,
}

impl<'a> MemberRecords<'a> {
    fn new(delivery: Delivery<'a>) -> MemberRecords<'a> {
        MemberRecords { delivery }
    }

    /// The next record; `None` if there is none now. Does not wait for records, but may read from disk. The record
    /// before is done.
    ///
    /// # Errors
    /// As for [`Member::poll`], and what a commit may meet.
    pub fn try_next(&mut self) -> Result<Option<OwnedRecord>, Error> {
        self.delivery.next(Wait::No).map_err(|error| self.delivery.note(error))
    }

    /// The same; waits at most `timeout`, then `None`.
    ///
    /// # Errors
    /// As for [`MemberRecords::try_next`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<OwnedRecord>, Error> {
        let wait = Wait::Until(deadline_in(Some(timeout)));
        self.delivery.next(wait).map_err(|error| self.delivery.note(error))
    }

    /// Commits all that was handed out, the last record too: it is done.
    ///
    /// # Errors
    /// [`Error::PartitionsMoved`] with those of which nothing was stored: others read them again, or this member does
    /// where it owns them anew. Else as for [`Member::commit`].
    pub fn commit(&mut self) -> Result<(), Error> {
        self.delivery.commit()
    }

    /// The member whose records these are.
    #[must_use]
    pub fn member(&self) -> &Member {
        self.delivery.member
    }
}

impl Iterator for MemberRecords<'_> {
    type Item = Result<OwnedRecord, Error>;

    fn next(&mut self) -> Option<Result<OwnedRecord, Error>> {
        if self.delivery.is_over() {
            return None;
        }
        let next = self.delivery.next(Wait::Until(None)).map_err(|error| self.delivery.note(error));
        next.map(|record| Some(record.expect("without a deadline it waits until there is one"))).transpose()
    }
}

/// The same as [`MemberRecords`] without blocking the thread, on any runtime: a `futures_core::Stream`. Made by
/// [`Member::records_async`].
///
/// What is there already is read in `poll_next`, which may read from disk. Dropping a future that waits for the next
/// record loses nothing.
#[derive(Debug)]
pub struct MemberRecordStream<'a> {
    state: State<'a>,
    /// Has a turn that is under way end, so that it gives the delivery back.
    stop: Arc<AtomicBool>,
}

enum State<'a> {
    Here(Delivery<'a>),
    Away(Turn<'a>),
    /// A turn has panicked.
    Gone,
}

type Turn<'a> = Pin<Box<dyn Future<Output = (Delivery<'a>, Result<(), Error>)> + Send + 'a>>;

impl std::fmt::Debug for State<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Here(delivery) => delivery.fmt(f),
            State::Away(_) => f.write_str("Away"),
            State::Gone => f.write_str("Gone"),
        }
    }
}

impl<'a> MemberRecordStream<'a> {
    fn new(delivery: Delivery<'a>) -> MemberRecordStream<'a> {
        MemberRecordStream { state: State::Here(delivery), stop: Arc::new(AtomicBool::new(false)) }
    }

    /// The next record; the one before is done. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<OwnedRecord, Error>> {
        poll_fn(|context| self.poll_record(context)).await
    }

    /// Commits all that was handed out, the last record too: it is done.
    ///
    /// # Errors
    /// As for [`MemberRecords::commit`].
    pub async fn commit_async(&mut self) -> Result<(), Error> {
        match self.recall() {
            Some(delivery) => delivery.commit_async().await,
            None => Err(Error::Closed),
        }
    }

    fn poll_record(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<OwnedRecord, Error>>> {
        loop {
            match std::mem::replace(&mut self.state, State::Gone) {
                State::Gone => return Poll::Ready(None),
                State::Here(mut delivery) => {
                    if delivery.is_over() {
                        self.state = State::Here(delivery);
                        return Poll::Ready(None);
                    }
                    delivery.finish();
                    if delivery.is_ready()
                        && let Some(record) = delivery.hand_out()
                    {
                        self.state = State::Here(delivery);
                        return Poll::Ready(Some(Ok(record)));
                    }
                    let stop = self.stop.clone();
                    self.state = State::Away(Box::pin(async move {
                        let done = delivery.turn(&stop).await;
                        (delivery, done)
                    }));
                }
                State::Away(mut turn) => {
                    let Poll::Ready((mut delivery, done)) = turn.as_mut().poll(context) else {
                        self.state = State::Away(turn);
                        return Poll::Pending;
                    };
                    let done = done.map_err(|error| delivery.note(error));
                    self.state = State::Here(delivery);
                    if let Err(error) = done {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        }
    }

    /// Ends a turn that is under way.
    fn recall(&mut self) -> Option<&mut Delivery<'a>> {
        self.state = match std::mem::replace(&mut self.state, State::Gone) {
            State::Away(mut turn) => {
                self.stop.store(true, Ordering::Relaxed);
                let ended = turn.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                self.stop.store(false, Ordering::Relaxed);
                let Poll::Ready((delivery, _)) = ended else { unreachable!("a turn leaves what it waits for") };
                State::Here(delivery)
            }
            state => state,
        };
        match &mut self.state {
            State::Here(delivery) => Some(delivery),
            State::Away(_) | State::Gone => None,
        }
    }
}

impl futures_core::Stream for MemberRecordStream<'_> {
    type Item = Result<OwnedRecord, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_record(context)
    }
}
