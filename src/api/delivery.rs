//! A message in the hands of a consumer.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use crate::base::level::Level;
use crate::base::sync::{Arc, is_panicking};
use crate::primitives::queues::{Command, DeliveryId, HandedRun, Reply, Settlement};

use super::error::Error;
use super::queue::Queue;
use super::queue_options::micros;
use super::stored_message::StoredMessage;

/// A message that was handed out and is to be settled: done ([`Delivery::ack`]), tried and failed ([`Delivery::fail`]),
/// not tried ([`Delivery::release`]), or of no use to anybody ([`Delivery::reject`]).
///
/// # What if it is not settled
/// Dropping it is `fail("dropped")`; while its thread panics, `fail("the consumer panicked")`. If it is kept beyond the
/// queue's visibility timeout it is taken back, which counts as a failed attempt, and settling it is
/// [`Error::Stale`] from then on: whoever has it now is not disturbed. When its process dies it is taken back at once.
/// A process that had this message alone has failed; several come back uncounted, and are handed out one at a time,
/// until it is known which of them it was.
///
/// # Durability
/// Settlements are made at [`Level::Buffered`]: they survive the death of the process. A power cut may undo the newest,
/// and then the message is handed out once more. [`Database::sync`](crate::Database::sync) waits for them.
pub struct Delivery {
    queue: Queue,
    id: DeliveryId,
    failed: u32,
    message: StoredMessage,
    /// The process that it was handed to: a forked child does not settle what its parent has.
    process: Option<u32>,
    is_settled: bool,
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("queue", &self.queue.name())
            .field("sequence", &self.sequence())
            .field("attempt", &self.attempt())
            .finish_non_exhaustive()
    }
}

impl Deref for Delivery {
    type Target = StoredMessage;

    fn deref(&self) -> &StoredMessage {
        &self.message
    }
}

impl Delivery {
    pub(super) fn new(queue: Queue, run: &HandedRun, offset: u64, message: StoredMessage) -> Delivery {
        let (id, process) = (delivery_id(run, offset), queue.process());
        Delivery { queue, id, failed: run.failed, message, process, is_settled: false }
    }

    /// Which attempt this is: one more than failed before.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.failed + 1
    }

    /// How often the message was handed out, this time included. Attempts that were released, or taken from a process
    /// that died with several, count here and not as attempts.
    #[must_use]
    pub fn hand_outs(&self) -> u32 {
        self.id.acquired
    }

    /// The message by itself: it may be kept when the delivery is settled.
    #[must_use]
    pub fn message(&self) -> &StoredMessage {
        &self.message
    }

    /// The message is done, and goes. Does not wait for the disk.
    ///
    /// # Errors
    /// [`Error::Stale`] if it was taken back; [`Error::NotFound`] if the queue was deleted, and what any write may
    /// meet. The delivery is over in any case.
    pub fn ack(self) -> Result<(), Error> {
        self.settle(&Settlement::Ack)
    }

    /// This message is done, and so are all that its consumer was handed before it and has not settled: they go, in one
    /// step that a crash cannot divide. Tells how many went. Its consumer is the subscription or the worker that it
    /// comes from; the calls of one [`Queue`] and its clones are one consumer too. What it has in reserve, and what it
    /// was handed later, stays. Of what was received at once, *before* is by the queue's order. Does not wait for the
    /// disk.
    ///
    /// The other deliveries are over: whoever has them still is told that they are [`Error::Stale`], and may drop them.
    ///
    /// ```
    /// use towpath::QueueOptions;
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// let mails = db.create_queue("mails", QueueOptions::new())?;
    /// for body in ["one", "two", "three"] {
    ///     mails.send(body)?;
    /// }
    /// let mut batch = mails.receive_batch(3)?;
    /// let third = batch.pop().expect("three were sent");
    /// let second = batch.pop().expect("three were sent");
    /// assert_eq!(second.ack_through()?, 2);
    /// third.fail("no such address")?;
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Delivery::ack`]; then nothing else was settled either.
    pub fn ack_through(mut self) -> Result<u64, Error> {
        self.is_settled = true;
        self.check_process()?;
        let command = Command::AckThrough { queue: self.queue.number, delivery: self.id };
        match self.queue.submit(command, Level::Buffered) {
            Ok((Reply::AckedThrough { messages }, _)) => Ok(messages),
            Ok(_) => unreachable!("who settles is told what was"),
            Err(refused) => Err(self.queue.refusal(refused)),
        }
    }

    /// It was tried and failed: it comes back after the queue's backoff, or is dead if that was its last attempt.
    /// `error` is kept with it, up to 1,024 bytes.
    ///
    /// # Errors
    /// As for [`Delivery::ack`].
    pub fn fail(self, error: &str) -> Result<(), Error> {
        self.settle(&Settlement::Fail { error, delay_micros: None })
    }

    /// The same, with a pause of its own in place of the backoff.
    ///
    /// # Errors
    /// As for [`Delivery::ack`]; [`Error::InvalidOption`] for a pause of over 10,000 days.
    pub fn fail_with_delay(self, error: &str, delay: Duration) -> Result<(), Error> {
        self.settle(&Settlement::Fail { error, delay_micros: Some(micros(delay)) })
    }

    /// It was not tried: it comes back to its old place at once, and nothing is counted.
    ///
    /// # Errors
    /// As for [`Delivery::ack`].
    pub fn release(self) -> Result<(), Error> {
        self.release_with_delay(Duration::ZERO)
    }

    /// The same, after a pause.
    ///
    /// # Errors
    /// As for [`Delivery::fail_with_delay`].
    pub fn release_with_delay(self, delay: Duration) -> Result<(), Error> {
        self.settle(&Settlement::Release { delay_micros: micros(delay) })
    }

    /// It is dead: no further attempt is made.
    ///
    /// # Errors
    /// As for [`Delivery::ack`].
    pub fn reject(self, error: &str) -> Result<(), Error> {
        self.settle(&Settlement::Reject { error })
    }

    /// It may stay unsettled for as long from now on.
    ///
    /// # Errors
    /// As for [`Delivery::ack`]; [`Error::InvalidOption`] for no time, or over 10,000 days.
    pub fn extend(&self, timeout: Duration) -> Result<(), Error> {
        self.check_process()?;
        self.queue.settle(&Settlement::Extend { micros: micros(timeout) }, &[self.id]).map(drop)
    }

    fn settle(mut self, how: &Settlement<'_>) -> Result<(), Error> {
        self.is_settled = true;
        self.check_process()?;
        self.queue.settle(how, &[self.id]).map(drop)
    }

    fn check_process(&self) -> Result<(), Error> {
        if self.is_here() { Ok(()) } else { Err(Error::Forked) }
    }

    pub(super) fn is_here(&self) -> bool {
        self.process.is_some() && self.process == self.queue.process()
    }

    pub(super) fn is_of(&self, queue: &Queue) -> bool {
        self.queue.is(queue)
    }

    /// What settles it, by whomever.
    pub(super) fn id(&self) -> DeliveryId {
        self.id
    }

    /// The same, for a batch; it is over then.
    pub(super) fn into_id(mut self) -> DeliveryId {
        self.is_settled = true;
        self.id
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.is_settled || !self.is_here() {
            return;
        }
        let error = if is_panicking() { "the consumer panicked" } else { "dropped" };
        // Who drops it is not told what came of it; if it was taken back meanwhile, that is as good.
        let _ = self.queue.settle(&Settlement::Fail { error, delay_micros: None }, &[self.id]);
    }
}

pub(super) fn delivery_id(run: &HandedRun, offset: u64) -> DeliveryId {
    DeliveryId { lane: run.lane, offset, acquired: run.acquired }
}

impl Queue {
    /// Whether both are handles of one queue, made of one handle of the database.
    pub(super) fn is(&self, other: &Queue) -> bool {
        self.number == other.number && Arc::ptr_eq(&self.database.shared, &other.database.shared)
    }

    /// Which process this is among forked ones, as far as the link knows.
    pub(super) fn process(&self) -> Option<u32> {
        self.database.shared.link.process()
    }

    /// Settles deliveries; tells the places of those that were taken back before.
    pub(super) fn settle(&self, how: &Settlement<'_>, deliveries: &[DeliveryId]) -> Result<Vec<u32>, Error> {
        // What is not kept is not sent to the host either, which would refuse a frame that large.
        let command = Command::Settle { queue: self.number, how: how.cut(), deliveries };
        match self.submit(command, Level::Buffered) {
            Ok((Reply::Settled { stale }, _)) => Ok(stale),
            Ok(_) => unreachable!("who settles is told what was"),
            Err(refused) => Err(self.refusal(refused)),
        }
    }
}
