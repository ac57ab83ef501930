//! A write whose durability is waited for later.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::engine::{DurableWait, Submitted, deadline_in};
use crate::primitives::{Primitives, Reply};
use crate::processes::client::{PendingWrite, Unasked};
use crate::processes::link::Issued;

use super::error::Error;
use super::producer::Names;

/// A write that was made and may not be on disk yet. Wait for it by [`Ticket::wait`] or as a future; dropping it does
/// not undo the write, which is synced within the flush interval anyway.
///
/// In a process that is attached to the host the write may still be on its way to it: then its refusals come with the
/// ticket too. One is [`Error::Contended`], where partitions were added meanwhile: nothing was stored, and the next
/// submit goes to where the record belongs now.
#[derive(Debug)]
#[must_use = "a ticket that is not waited for does not say whether the write is on disk"]
pub struct Ticket<T> {
    waiting: Waiting<T>,
}

#[derive(Debug)]
enum Waiting<T> {
    /// Made in this process.
    Here { outcome: Option<T>, wait: DurableWait<Primitives> },
    /// Sent to the host.
    There { pending: PendingWrite, outcome: fn(Submitted<Reply>) -> T, names: Names },
}

// The outcome is plain data; nothing in a ticket refers to its own address.
impl<T> Unpin for Ticket<T> {}

impl<T> Ticket<T> {
    pub(crate) fn new(issued: Issued, outcome: fn(Submitted<Reply>) -> T, names: Names) -> Ticket<T> {
        let waiting = match issued {
            Issued::Here(submitted, wait) => Waiting::Here { outcome: Some(outcome(submitted)), wait },
            Issued::There(pending) => Waiting::There { pending, outcome, names },
        };
        Ticket { waiting }
    }

    /// Whether waiting would return at once: the write is as durable as its level asks, or it failed and
    /// [`Ticket::wait`] tells so.
    #[must_use]
    pub fn is_done(&self) -> bool {
        match &self.waiting {
            Waiting::Here { wait, .. } => wait.is_done(),
            Waiting::There { pending, .. } => pending.is_done(),
        }
    }

    /// Blocks until the write is as durable as its level asks.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if the disk failed before, or the host went away and nobody can tell; in an attached
    /// process also what the append itself may be refused with.
    pub fn wait(self) -> Result<T, Error> {
        match self.waiting {
            Waiting::Here { outcome, wait } => {
                wait.wait(None)?;
                Ok(taken(outcome))
            }
            Waiting::There { pending, outcome, names } => {
                pending.wait_done(None)?;
                pending.outcome().map(outcome).map_err(|unasked| unanswered(unasked, &names))
            }
        }
    }

    /// The same, for at most `timeout`; gives the ticket back when that has passed, and the write goes on.
    ///
    /// # Errors
    /// As for [`Ticket::wait`].
    pub fn wait_timeout(self, timeout: Duration) -> Result<Result<T, Error>, Ticket<T>> {
        let deadline = deadline_in(Some(timeout));
        match self.waiting {
            Waiting::Here { outcome, wait } => match wait.wait(deadline).map_err(Error::from) {
                Ok(()) => Ok(Ok(taken(outcome))),
                Err(Error::TimedOut) => Err(Ticket { waiting: Waiting::Here { outcome, wait } }),
                Err(error) => Ok(Err(error)),
            },
            Waiting::There { pending, outcome, names } => match pending.wait_done(deadline) {
                Ok(true) => Ok(pending.outcome().map(outcome).map_err(|unasked| unanswered(unasked, &names))),
                Ok(false) => Err(Ticket { waiting: Waiting::There { pending, outcome, names } }),
                Err(fault) => Ok(Err(fault.into())),
            },
        }
    }
}

fn taken<T>(outcome: Option<T>) -> T {
    outcome.expect("a ticket gives its outcome once")
}

fn unanswered(unasked: Unasked, names: &Names) -> Error {
    match unasked {
        Unasked::Refused(refused) => names.refusal(refused),
        Unasked::Moved => unreachable!("a process that becomes the host answers its own writes"),
    }
}

impl<T> Future for Ticket<T> {
    type Output = Result<T, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.waiting {
            Waiting::Here { outcome, wait } => match Pin::new(wait).poll(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Ok(())) => Poll::Ready(Ok(taken(outcome.take()))),
                Poll::Ready(Err(fault)) => Poll::Ready(Err(fault.into())),
            },
            Waiting::There { pending, outcome, names } => {
                let outcome = *outcome;
                pending.poll(context).map(|answer| answer.map(outcome).map_err(|unasked| unanswered(unasked, names)))
            }
        }
    }
}
