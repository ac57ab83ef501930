//! A write whose durability is waited for later.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::engine::{DurableWait, deadline_in};
use crate::primitives::Primitives;

use super::error::Error;

/// A write that was made and may not be on disk yet. Wait for it by [`Ticket::wait`] or as a future; dropping it does
/// not undo the write, which is synced within the flush interval anyway.
#[derive(Debug)]
#[must_use = "a ticket that is not waited for does not say whether the write is on disk"]
pub struct Ticket<T> {
    outcome: Option<T>,
    wait: DurableWait<Primitives>,
}

// The outcome is plain data; nothing in a ticket refers to its own address.
impl<T> Unpin for Ticket<T> {}

impl<T> Ticket<T> {
    pub(crate) fn new(outcome: T, wait: DurableWait<Primitives>) -> Ticket<T> {
        Ticket { outcome: Some(outcome), wait }
    }

    /// Whether waiting would return at once: the write is as durable as its level asks, or the disk has failed and
    /// [`Ticket::wait`] tells so.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.wait.is_done()
    }

    /// Blocks until the write is as durable as its level asks.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if the disk failed before.
    pub fn wait(mut self) -> Result<T, Error> {
        self.wait.wait(None)?;
        Ok(self.take())
    }

    /// The same, for at most `timeout`; gives the ticket back when that has passed, and the write goes on.
    ///
    /// # Errors
    /// As for [`Ticket::wait`].
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<Result<T, Error>, Ticket<T>> {
        match self.wait.wait(deadline_in(Some(timeout))).map_err(Error::from) {
            Ok(()) => Ok(Ok(self.take())),
            Err(Error::TimedOut) => Err(self),
            Err(error) => Ok(Err(error)),
        }
    }

    fn take(&mut self) -> T {
        self.outcome.take().expect("a ticket gives its outcome once")
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match Pin::new(&mut self.wait).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(Ok(self.take())),
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault.into())),
        }
    }
}
