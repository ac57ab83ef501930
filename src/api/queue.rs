//! The handle of a queue.

mod looking;

use std::time::Duration;

use crate::base::bounds::{
    DELIVERIES_PER_CALL_MAX, HEADERS_PER_BATCH_MAX, MESSAGES_PER_RECEIVE_MAX, RECORDS_PER_BATCH_MAX,
};
use crate::base::level::{Level, Wanted};
use crate::base::name;
use crate::base::sync::Arc;
use crate::base::time::BootTime;
use crate::engine::{Refused, Submitted, deadline_in};
use crate::primitives::queues::{self, Command as OfQueues, DeliveryId, HandedRun, Holder, QueueNumber, Settlement};
use crate::primitives::{Command, Refusal, Reply};
use crate::processes::queueing::{Awaits, Called, DescribeQueue, Known};

use super::consumer::{Consumer, Wish};
use super::database::{Database, refusal};
use super::delivery::{Delivery, delivery_id};
use super::error::Error;
use super::message::Message;
use super::outcomes::Receipt;
use super::queue_options::QueueOptions;
use super::queue_outcomes::{QueueDescription, Sent};
use super::stored_message::MessageReader;

/// A queue: each message is handed to one consumer at a time, and stays until it is settled.
///
/// Made by [`Database::create_queue`] or [`Database::queue`]. Cheap to clone; usable from any thread.
///
/// # Which message is next
/// The one with the highest priority, and of those the one that was sent first. A message that comes back takes its old
/// place. A delayed one enters at its time, by the same order. Of a [group](Message::group) one is in flight at a time.
///
/// # What is promised
/// A message is handed out again until it is settled: after a crash, and after its consumer died. So a consumer may see
/// one twice, and never two consumers at the same time have one that is not overdue. What was sent at [`Level::Sync`]
/// is handed out once it is on disk.
///
/// ```
/// use towpath::QueueOptions;
/// # let db = towpath::Options::temporary().open_temporary()?;
/// let mails = db.create_queue("mails", QueueOptions::new())?;
/// mails.send("to the customer")?;
/// let mail = mails.receive()?;
/// assert_eq!(mail.body(), b"to the customer");
/// mail.ack()?;
/// assert_eq!(mails.describe()?.ready, 0);
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Queue {
    pub(super) database: Database,
    name: Arc<str>,
    pub(super) number: QueueNumber,
    pub(super) reader: Arc<MessageReader>,
    /// The one that calls on this handle and its clones are.
    consumer: Arc<Consumer>,
}

/// What was handed out, or what the queue knew when it had nothing.
pub(super) enum HandedOut {
    Messages(Vec<Delivery>),
    Nothing { known: Known },
}

impl Queue {
    pub(super) fn new(database: Database, name: &str, number: QueueNumber) -> Queue {
        let consumer = Arc::new(Consumer::new(&database, number, Wish::default()));
        Queue { database, name: name.into(), number, reader: Arc::default(), consumer }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sends one message, at the queue's level or else the database's. Blocks for a data sync at [`Level::Sync`], and
    /// while the disk is behind. A message with an [id](Message::id) that the queue [remembers](QueueOptions::dedup) is
    /// not stored again: the receipt is that of the original, and tells `duplicate`.
    ///
    /// # Errors
    /// [`Error::Full`] if the queue holds as many as it may; [`Error::LimitExceeded`], [`Error::InvalidOption`] and
    /// [`Error::InvalidName`] for what the message says of itself; [`Error::NotFound`] if the queue was deleted, and
    /// what any write may meet. Nothing is stored then.
    pub fn send<'a>(&self, message: impl Into<Message<'a>>) -> Result<Sent, Error> {
        self.send_messages(&[message.into().0], self.level())
    }

    /// The same at this level.
    ///
    /// # Errors
    /// As for [`Queue::send`].
    pub fn send_at<'a>(&self, level: Level, message: impl Into<Message<'a>>) -> Result<Sent, Error> {
        self.send_messages(&[message.into().0], level.into())
    }

    /// Sends several messages as one: all of them or none, at crashes too. At most 65,536. Of messages with
    /// [ids](Message::id) each is judged by itself, in order: those that the queue remembers are told, and the others
    /// stored.
    ///
    /// # Errors
    /// As for [`Queue::send`]; [`Error::InvalidOption`] if there is none.
    pub fn send_batch(&self, messages: &[Message<'_>]) -> Result<Sent, Error> {
        let messages: Vec<queues::Message<'_>> = messages.iter().map(|message| message.0).collect();
        self.send_messages(&messages, self.level())
    }

    fn send_messages(&self, messages: &[queues::Message<'_>], wanted: Wanted) -> Result<Sent, Error> {
        let headers = messages.iter().map(|message| message.record.headers.len()).sum::<usize>();
        for (limit, max, actual) in [
            ("messages per batch", RECORDS_PER_BATCH_MAX, messages.len()),
            ("headers per batch", HEADERS_PER_BATCH_MAX, headers),
        ] {
            if actual > max {
                return Err(Error::LimitExceeded { limit, max: max as u64, actual: actual as u64 });
            }
        }
        let command = OfQueues::Send { queue: self.number, messages };
        match self.submit(command, wanted).map_err(|refused| self.refusal_of(messages, refused))? {
            (queues::Reply::Sent { priority, offset }, receipt) => {
                let first = Some(queues::sequence(priority, offset));
                Ok(Sent::of(first, messages.len(), &[], receipt))
            }
            (queues::Reply::SentSome { first, told }, receipt) => Ok(Sent::of(first, messages.len(), &told, receipt)),
            _ => unreachable!("who sends is told where it went"),
        }
    }

    /// The next message: blocks until there is one.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the queue was deleted; [`Error::LimitExceeded`] with 131,072 messages in flight;
    /// [`Error::Poisoned`], [`Error::Closed`], and what any write may meet.
    pub fn receive(&self) -> Result<Delivery, Error> {
        Ok(one(self.receive_until(1, true, None)?).expect("without a deadline it waits until there is one"))
    }

    /// The same; `None` if there is none now.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn try_receive(&self) -> Result<Option<Delivery>, Error> {
        self.receive_until(1, false, None).map(one)
    }

    /// The same; waits at most `timeout`, then `None`.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn receive_timeout(&self, timeout: Duration) -> Result<Option<Delivery>, Error> {
        self.receive_until(1, true, deadline_in(Some(timeout))).map(one)
    }

    /// The same without blocking the thread while there is none, on any runtime. Dropping the future loses nothing.
    /// What is there is handed out in `poll`, which may read from disk.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub async fn receive_async(&self) -> Result<Delivery, Error> {
        Ok(one(self.receive_batch_async(1).await?).expect("it waits until there is one"))
    }

    /// Up to `max` messages, at most 1,024: blocks until there is one.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn receive_batch(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        self.receive_until(max, true, None)
    }

    /// The same; none if there is none now.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn try_receive_batch(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        self.receive_until(max, false, None)
    }

    /// The same; waits at most `timeout`.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn receive_batch_timeout(&self, max: usize, timeout: Duration) -> Result<Vec<Delivery>, Error> {
        self.receive_until(max, true, deadline_in(Some(timeout)))
    }

    /// The same as [`Queue::receive_async`], of up to `max` messages.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub async fn receive_batch_async(&self, max: usize) -> Result<Vec<Delivery>, Error> {
        let mut called = None;
        loop {
            match self.hand_out(&self.consumer, max, called.take())? {
                HandedOut::Messages(deliveries) if !deliveries.is_empty() => return Ok(deliveries),
                HandedOut::Messages(_) => {}
                HandedOut::Nothing { known } => {
                    let news = self.database.shared.link.wait_for_queue_async(self.number, known);
                    called = Some(news.await.map_err(|refused| self.refusal(refused))?);
                }
            }
        }
    }

    fn receive_until(&self, max: usize, waits: bool, deadline: Option<BootTime>) -> Result<Vec<Delivery>, Error> {
        let mut called = None;
        loop {
            let known = match self.hand_out(&self.consumer, max, called.take())? {
                HandedOut::Messages(deliveries) if !deliveries.is_empty() => return Ok(deliveries),
                HandedOut::Messages(_) => continue,
                HandedOut::Nothing { known } => known,
            };
            if !waits {
                return Ok(Vec::new());
            }
            let news = self.database.shared.link.wait_for_queue(self.number, known, deadline);
            match news.map_err(|refused| self.refusal(refused))? {
                None => return Ok(Vec::new()),
                by => called = by,
            }
        }
    }

    /// A consumer of its own.
    pub(super) fn join(&self, wish: Wish) -> Result<Arc<Consumer>, Error> {
        if self.database.shared.is_closing() {
            return Err(Error::Closed);
        }
        let consumer = Consumer::new(&self.database, self.number, wish);
        consumer.join(consumer.taker(), self.name())?;
        Ok(Arc::new(consumer))
    }

    /// Asks for messages; `called` is who was woken for that.
    pub(super) fn hand_out(
        &self,
        consumer: &Consumer,
        max: usize,
        mut called: Option<Called>,
    ) -> Result<HandedOut, Error> {
        if self.database.shared.is_closing() {
            return Err(Error::Closed);
        }
        let max = max.clamp(1, MESSAGES_PER_RECEIVE_MAX) as u32;
        let host = self.database.shared.link.host().map_err(|refused| self.refusal(refused))?;
        loop {
            let taker = consumer.taker();
            let command = OfQueues::Receive { queue: self.number, holder: Holder::HOST, taker, max };
            let nothing = |news, awaits| Ok(HandedOut::Nothing { known: Known { news, taker, max, awaits, host } });
            let reply = self.submit(command, Level::Buffered).map_err(|refused| self.refusal(refused))?.0;
            // Others need not wait until what was handed out is read.
            called.take().into_iter().for_each(Called::has_looked);
            return match reply {
                queues::Reply::Handed(runs) => self.take_hold(&runs).map(HandedOut::Messages),
                queues::Reply::Nothing { known: news } => nothing(news, Awaits::News),
                queues::Reply::NoRoom => nothing(0, Awaits::Turn),
                queues::Reply::Yields => nothing(0, Awaits::Others),
                queues::Reply::Unjoined => {
                    consumer.join(taker, self.name())?;
                    continue;
                }
                _ => unreachable!("who receives is told of messages, or that there are none"),
            };
        }
    }

    /// Reads what was handed out. If that fails everything is given back.
    fn take_hold(&self, runs: &[HandedRun]) -> Result<Vec<Delivery>, Error> {
        let mut deliveries = Vec::with_capacity(runs.iter().map(|run| run.count as usize).sum());
        for (number, run) in runs.iter().enumerate() {
            if let Err(error) = self.take_hold_of(run, &mut deliveries) {
                let held = deliveries.into_iter().map(Delivery::into_id).collect();
                self.give_back(held, &runs[number..]);
                return Err(error);
            }
        }
        Ok(deliveries)
    }

    fn take_hold_of(&self, run: &HandedRun, deliveries: &mut Vec<Delivery>) -> Result<(), Error> {
        let link = &self.database.shared.link;
        let (first, count) = (run.first, u64::from(run.count));
        match self.reader.read(link, run.log, run.priority, first, count) {
            Ok(messages) => {
                let delivery = |(offset, message)| Delivery::new(self.clone(), run, offset, message);
                deliveries.extend(messages.into_iter().map(delivery));
                Ok(())
            }
            Err(error) if error.is_corruption() && count == 1 => {
                // One that cannot be read is set apart: it is no reason to hold up the others.
                let text = error.to_string();
                self.settle(&Settlement::SetApart { error: &text }, &[delivery_id(run, first)])
                    .map(drop)
                    .or_else(unless_stale)
            }
            Err(error) if error.is_corruption() => (first..first + count)
                .try_for_each(|first| self.take_hold_of(&HandedRun { first, count: 1, ..*run }, deliveries)),
            Err(error) => Err(error),
        }
    }

    /// Releases what was handed out and could not be read.
    fn give_back(&self, mut held: Vec<DeliveryId>, runs: &[HandedRun]) {
        for run in runs {
            held.extend((run.first..run.first + u64::from(run.count)).map(|offset| delivery_id(run, offset)));
        }
        // What cannot be given back now is taken back with the visibility timeout, or with this process.
        let _ = self.settle(&Settlement::Release { delay_micros: 0 }, &held);
    }

    /// Acknowledges several at once. Tells how many had been taken back before, and were not.
    ///
    /// # Errors
    /// [`Error::Stale`] if all were; [`Error::InvalidOption`] if one is of another queue, and then all are as if they
    /// had been dropped; else as for [`Delivery::ack`].
    pub fn ack_batch(&self, deliveries: Vec<Delivery>) -> Result<usize, Error> {
        self.settle_batch(&Settlement::Ack, deliveries)
    }

    /// Has several fail at once, as [`Delivery::fail`] does one: all with this text. Tells as [`Queue::ack_batch`].
    ///
    /// # Errors
    /// As for [`Queue::ack_batch`].
    pub fn fail_batch(&self, deliveries: Vec<Delivery>, error: &str) -> Result<usize, Error> {
        self.settle_batch(&Settlement::Fail { error, delay_micros: None }, deliveries)
    }

    /// Releases several at once, as [`Delivery::release`] does one. Tells as [`Queue::ack_batch`].
    ///
    /// # Errors
    /// As for [`Queue::ack_batch`].
    pub fn release_batch(&self, deliveries: Vec<Delivery>) -> Result<usize, Error> {
        self.settle_batch(&Settlement::Release { delay_micros: 0 }, deliveries)
    }

    /// Rejects several at once, as [`Delivery::reject`] does one: all with this text. Tells as [`Queue::ack_batch`].
    ///
    /// # Errors
    /// As for [`Queue::ack_batch`].
    pub fn reject_batch(&self, deliveries: Vec<Delivery>, error: &str) -> Result<usize, Error> {
        self.settle_batch(&Settlement::Reject { error }, deliveries)
    }

    fn settle_batch(&self, how: &Settlement<'_>, deliveries: Vec<Delivery>) -> Result<usize, Error> {
        if deliveries.iter().any(|delivery| !delivery.is_here()) {
            return Err(Error::Forked);
        }
        if deliveries.iter().any(|delivery| !delivery.is_of(self)) {
            let reason = "one of them is of another queue, or of another handle of the database".to_owned();
            return Err(Error::InvalidOption { option: "deliveries", reason });
        }
        let ids: Vec<DeliveryId> = deliveries.into_iter().map(Delivery::into_id).collect();
        let mut stale = 0;
        for ids in ids.chunks(DELIVERIES_PER_CALL_MAX) {
            stale += match self.settle(how, ids) {
                Ok(stale) => stale.len(),
                Err(Error::Stale { .. }) => ids.len(),
                Err(error) => return Err(error),
            };
        }
        match stale == ids.len() && stale > 0 {
            true => Err(Error::Stale { queue: self.name().to_owned() }),
            false => Ok(stale),
        }
    }

    /// Hands nothing out until it is resumed; what is in flight can be settled. Durable on return.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the queue was deleted, and what any write may meet.
    pub fn pause(&self) -> Result<(), Error> {
        self.set_paused(true)
    }

    /// Goes on handing messages out. Durable on return.
    ///
    /// # Errors
    /// As for [`Queue::pause`].
    pub fn resume(&self) -> Result<(), Error> {
        self.set_paused(false)
    }

    fn set_paused(&self, is_paused: bool) -> Result<(), Error> {
        let pause = OfQueues::Pause { queue: self.number, is_paused };
        self.submit(pause, Level::Sync).map(drop).map_err(|refused| self.refusal(refused))
    }

    /// Lets all messages go that are ready or delayed; tells how many went. What is in flight stays, and what is sent
    /// meanwhile. Durable on return. A crash meanwhile may leave some of them.
    ///
    /// # Errors
    /// As for [`Queue::pause`].
    pub fn purge(&self) -> Result<u64, Error> {
        let (mut purged, mut to_go) = (0, Vec::new());
        loop {
            let purge = OfQueues::Purge { queue: self.number, left: &to_go };
            match self.submit(purge, Level::Sync).map_err(|refused| self.refusal(refused))?.0 {
                queues::Reply::Purged { messages, left } => {
                    purged += messages;
                    if left.is_empty() {
                        return Ok(purged);
                    }
                    to_go = left;
                }
                _ => unreachable!("who purges is told how many went"),
            }
        }
    }

    /// Options and counts. Waits for nothing, unless some of it is just being written at [`Level::Sync`]: then for the
    /// sync of that.
    ///
    /// # Errors
    /// [`Error::NotFound`] if the queue was deleted, [`Error::Poisoned`], [`Error::Closed`], [`Error::Forked`].
    pub fn describe(&self) -> Result<QueueDescription, Error> {
        let facts = self.database.ask(&DescribeQueue { queue: self.number })?.ok_or_else(|| self.not_found())?;
        let queues::QueueCounts { ready, delayed, in_flight, dead } = facts.counts;
        let options = QueueOptions::of_machine(facts.options, facts.target);
        let (name, is_paused, is_target) = (self.name().to_owned(), facts.is_paused, facts.is_target);
        Ok(QueueDescription { name, options, is_paused, ready, delayed, in_flight, dead, is_target })
    }

    fn level(&self) -> Wanted {
        Wanted::OfObject { otherwise: self.database.shared.level }
    }

    pub(super) fn submit(
        &self,
        command: OfQueues<'_>,
        level: impl Into<Wanted>,
    ) -> Result<(queues::Reply, Receipt), Refused<Refusal>> {
        let link = &self.database.shared.link;
        let Submitted { reply, lsn, level, .. } = link.submit(&Command::Queues(command), level, None)?;
        match reply {
            Reply::Queues(reply) => Ok((reply, Receipt { lsn, level })),
            _ => unreachable!("queues answer what queues are asked"),
        }
    }

    /// Of the names in a message only the group's may be wrong.
    fn refusal_of(&self, messages: &[queues::Message<'_>], refused: Refused<Refusal>) -> Error {
        let mut groups = messages.iter().filter_map(|message| message.group);
        match refused {
            Refused::Refusal(Refusal::Queues(queues::Refusal::InvalidName(fault))) => {
                let group = groups.find(|group| name::check(group) == Err(fault));
                Error::invalid_name(group.unwrap_or(self.name()), fault)
            }
            refused => self.refusal(refused),
        }
    }

    pub(super) fn not_found(&self) -> Error {
        Error::NotFound { kind: "queue", name: self.name().to_owned() }
    }

    pub(super) fn refusal(&self, refused: Refused<Refusal>) -> Error {
        refusal(refused, self.name())
    }
}

fn one(deliveries: Vec<Delivery>) -> Option<Delivery> {
    deliveries.into_iter().next()
}

fn unless_stale(error: Error) -> Result<(), Error> {
    match error {
        Error::Stale { .. } => Ok(()),
        error => Err(error),
    }
}
