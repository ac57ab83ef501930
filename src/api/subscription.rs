//! The messages of a queue one by one: as an iterator, and as a `Stream` of the `futures` crates.

mod intake;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::engine::deadline_in;

use super::consumer::Wish;
use super::delivery::Delivery;
use super::error::Error;
use super::queue::Queue;
use super::stopper::Stopper;
use super::subscription_options::SubscriptionOptions;

pub(super) use self::intake::Intake;

impl Queue {
    /// Its messages one by one, each waited for. Each is to be settled like one that was
    /// [received](Queue::receive); they are handed out in the same order, and to one of all who receive and subscribe.
    ///
    /// # What is in reserve
    /// With a [prefetch](SubscriptionOptions::prefetch) of more than 1 some messages are taken before they are asked
    /// for. Those are *released* when the subscription is dropped or stopped, or the database is closed: they come back
    /// to their old places, and no attempt is counted. The visibility timeout counts anew for them whenever one is
    /// handed out, to within a tenth of it and a second. So a consumer who takes no longer than that over each loses
    /// none; if one takes longer, those in reserve are taken back too, and have failed. Who
    /// [extends](Delivery::extend) what he has should do with a prefetch of 1, or a [`Worker`](crate::Worker).
    ///
    /// # The end
    /// It ends when the database is closed or poisoned, or the queue is deleted, after telling that error once; and
    /// when a [`Stopper`] stops it.
    ///
    /// ```
    /// use towpath::{QueueOptions, SubscriptionOptions};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// let mails = db.create_queue("mails", QueueOptions::new())?;
    /// mails.send("to the customer")?;
    /// mails.send("the last one")?;
    /// for mail in mails.subscribe(SubscriptionOptions::new())? {
    ///     let mail = mail?;
    ///     let is_last = mail.body() == b"the last one";
    ///     mail.ack()?;
    ///     if is_last {
    ///         break;
    ///     }
    /// }
    /// assert_eq!(mails.describe()?.ready, 0);
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] for a prefetch beyond 1,024, [`Error::InvalidOption`] for none; else as for
    /// [`Queue::describe`].
    pub fn subscribe(&self, options: SubscriptionOptions) -> Result<Subscription, Error> {
        self.intake(options).map(|intake| Subscription { intake })
    }

    /// The same without blocking the thread while there is no message, on any runtime.
    ///
    /// ```
    /// use towpath::{QueueOptions, SubscriptionOptions};
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
    /// # let mails = db.create_queue("mails", QueueOptions::new())?;
    /// # mails.send("to the customer")?;
    /// # block_on(async {
    /// let mut subscription = mails.subscribe_async(SubscriptionOptions::new())?;
    /// while let Some(mail) = subscription.next().await {
    ///     mail?.ack()?;
    /// #     break;
    /// }
    /// # Ok::<(), towpath::Error>(())
    /// # })?;
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Queue::subscribe`].
    pub fn subscribe_async(&self, options: SubscriptionOptions) -> Result<SubscriptionStream, Error> {
        self.intake(options).map(|intake| SubscriptionStream { intake })
    }

    fn intake(&self, options: SubscriptionOptions) -> Result<Intake, Error> {
        options.check()?;
        let SubscriptionOptions { name, priority, prefetch } = options;
        let consumer = self.join(Wish { name, priority, prefetch })?;
        Intake::new(self.clone(), consumer, prefetch, Stopper::new())
    }
}

/// The messages of a [`Queue`] one by one. Made by [`Queue::subscribe`].
///
/// As an iterator it blocks until there is a message. Errors are items; after [`Error::Closed`], [`Error::Poisoned`],
/// [`Error::NotFound`], [`Error::Forked`] and [`Error::NoHost`] it has ended, after all others it may be asked again.
#[derive(Debug)]
#[must_use = "a subscription hands messages out as it is asked for them"]
pub struct Subscription {
    intake: Intake,
}

impl Subscription {
    /// The next message; `None` if there is none now, or it was stopped. Does not wait for messages, but may read from
    /// disk.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn try_next(&mut self) -> Result<Option<Delivery>, Error> {
        self.intake.try_next()
    }

    /// The same; waits at most `timeout`, then `None`.
    ///
    /// # Errors
    /// As for [`Queue::receive`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Result<Option<Delivery>, Error> {
        self.intake.next_until(deadline_in(Some(timeout)))
    }

    /// Stops it from another thread: who waits for the next message gets `None`, and so does whoever asks later.
    /// What is in reserve is released by whoever asks next, or with the subscription.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.intake.stopper().clone()
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        self.intake.queue()
    }
}

impl Iterator for Subscription {
    type Item = Result<Delivery, Error>;

    fn next(&mut self) -> Option<Result<Delivery, Error>> {
        self.intake.iterate()
    }
}

impl std::iter::FusedIterator for Subscription {}

/// The same as [`Subscription`] without blocking the thread, on any runtime: a `futures_core::Stream`. Made by
/// [`Queue::subscribe_async`].
///
/// What is there is handed out in `poll_next`, which may read from disk. Dropping a future that waits for the next
/// message loses nothing.
#[derive(Debug)]
#[must_use = "a subscription hands messages out as it is asked for them"]
pub struct SubscriptionStream {
    intake: Intake,
}

impl SubscriptionStream {
    /// The next message. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Delivery, Error>> {
        poll_fn(|context| self.intake.poll_iterate(context)).await
    }

    /// As [`Subscription::stopper`].
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.intake.stopper().clone()
    }

    /// The queue.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        self.intake.queue()
    }
}

impl futures_core::Stream for SubscriptionStream {
    type Item = Result<Delivery, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().intake.poll_iterate(context)
    }
}
