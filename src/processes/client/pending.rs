//! What was asked and is waited for, by blocking or as a future.

use std::pin::Pin;
use std::task::{Context, Poll};

use crate::base::bounds::VERDICT_MICROS;
use crate::base::codec::Take;
use crate::base::sync::Arc;
use crate::base::time::BootTime;
use crate::engine::fault::Fault;
use crate::engine::{Refused, Submitted};
use crate::primitives::{Refusal, Reply};

use super::super::questions::unreadable;
use super::super::wire::take_submitted;
use super::slot::{Outcome, Slot};
use super::{Client, Unasked};

/// A write that was sent and not answered yet.
#[derive(Debug)]
pub(crate) struct PendingWrite {
    pub(super) client: Arc<Client>,
    pub(super) slot: Arc<Slot>,
    pub(super) sequence: u64,
}

/// A question that was sent and not answered yet; it is withdrawn when dropped.
#[derive(Debug)]
pub(crate) struct PendingQuestion {
    pub(super) client: Arc<Client>,
    pub(super) slot: Arc<Slot>,
    pub(super) number: u64,
    /// The host keeps a place in line for who was told to look, until he does.
    pub(super) is_called: bool,
}

impl PendingWrite {
    pub(crate) fn is_done(&self) -> bool {
        self.slot.is_done()
    }

    /// Waits for the answer: until the deadline of the write, and a little longer for the host to say what became of
    /// it.
    pub(crate) fn wait(self, deadline: Option<BootTime>) -> Result<Submitted<Reply>, Unasked> {
        match self.wait_done(deadline.map(|deadline| deadline.plus(VERDICT_MICROS)))? {
            true => self.outcome(),
            false if self.client.state.lock().unanswered.withdraw_write(self.sequence) => Err(Fault::TimedOut.into()),
            false => Err(Fault::OutcomeUnknown.into()),
        }
    }

    /// Waits until the answer is there; `false` if the deadline has passed before.
    pub(crate) fn wait_done(&self, deadline: Option<BootTime>) -> Result<bool, Fault> {
        if !self.client.is_here() {
            return Err(Fault::Forked);
        }
        Ok(self.client.wait_done(&self.slot, deadline))
    }

    /// The answer, which is there.
    pub(crate) fn outcome(&self) -> Result<Submitted<Reply>, Unasked> {
        match self.slot.take() {
            Some(Outcome::Answered(bytes)) => Ok(take_submitted(&mut Take::new(&bytes)).map_err(unreadable)?),
            // The host no longer knows of the write: nobody can say whether it was applied.
            Some(Outcome::Refused(Refused::Refusal(Refusal::Sessions(_)))) => Err(Fault::OutcomeUnknown.into()),
            Some(Outcome::Refused(refused)) => Err(Unasked::Refused(refused)),
            Some(Outcome::Moved) => Err(Unasked::Moved),
            None => unreachable!("an answer is taken once, when it is there"),
        }
    }

    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Submitted<Reply>, Unasked>> {
        match self.client.poll_slot(&self.slot, context) {
            Poll::Ready(Ok(())) => Poll::Ready(self.outcome()),
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl PendingQuestion {
    pub(crate) fn client(&self) -> &Arc<Client> {
        &self.client
    }

    /// The call that its answer is.
    pub(crate) fn call(&self) -> impl FnOnce() -> Call + use<> {
        let (client, number) = (self.client.clone(), self.number);
        move || Call { client, number, has_looked: false }
    }

    /// The bytes of the answer; `None` if the deadline has passed before.
    pub(crate) fn wait(&self, deadline: Option<BootTime>) -> Result<Option<Vec<u8>>, Unasked> {
        match self.client.wait_done(&self.slot, deadline) {
            true => self.outcome().map(Some),
            false => Ok(None),
        }
    }

    fn outcome(&self) -> Result<Vec<u8>, Unasked> {
        match self.slot.take() {
            Some(Outcome::Answered(bytes)) => Ok(bytes),
            Some(Outcome::Refused(refused)) => Err(Unasked::Refused(refused)),
            Some(Outcome::Moved) => Err(Unasked::Moved),
            None => unreachable!("an answer is taken once, when it is there"),
        }
    }
}

/// Who was told to look at a queue, and for whom the host keeps a place in line until he does. If he leaves without
/// having looked, the host is told, and wakes the next.
#[derive(Debug)]
pub(crate) struct Call {
    client: Arc<Client>,
    /// That of the question.
    number: u64,
    has_looked: bool,
}

impl Call {
    /// The host has decided what he asked for.
    pub(crate) fn has_looked(mut self) {
        self.has_looked = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.has_looked && self.client.is_here() {
            self.client.state.lock().outbox.withdraw(self.number);
            self.client.send();
        }
    }
}

impl Future for PendingQuestion {
    type Output = Result<Vec<u8>, Unasked>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.client.poll_slot(&self.slot, context) {
            Poll::Ready(Ok(())) => Poll::Ready(self.outcome()),
            Poll::Ready(Err(fault)) => Poll::Ready(Err(fault.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Drop for PendingQuestion {
    fn drop(&mut self) {
        if !self.client.is_here() {
            return;
        }
        let is_unseen = || self.is_called && self.slot.take().is_some();
        if self.slot.is_done() && !is_unseen() {
            return;
        }
        let mut state = self.client.state.lock();
        // The answer may have come just now: who was called by it does not look, and says so all the same.
        if state.unanswered.take_question(self.number).is_some() || self.is_called {
            state.outbox.withdraw(self.number);
            drop(state);
            self.client.send();
        }
    }
}

impl Client {
    fn poll_slot(&self, slot: &Arc<Slot>, context: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        if !self.is_here() {
            return Poll::Ready(Err(Fault::Forked));
        }
        if !slot.register(context.waker()) {
            return Poll::Ready(Ok(()));
        }
        self.send();
        self.ask_keeper(&mut self.state.lock());
        Poll::Pending
    }
}
