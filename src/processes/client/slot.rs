//! Where the answer to one request is put, and waited for.

use std::task::Waker;

use crate::base::sync::{Arc, Mutex};
use crate::engine::Refused;
use crate::engine::fault::Fault;
use crate::primitives::Refusal;

/// What became of a request.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The bytes of the answer.
    Answered(Vec<u8>),
    Refused(Refused<Refusal>),
    /// This process hosts the database now: ask here. Or what was asked means nothing to the host that there is now.
    Moved,
}

impl From<Fault> for Outcome {
    fn from(fault: Fault) -> Outcome {
        Outcome::Refused(Refused::Fault(fault))
    }
}

/// The place of one answer.
#[derive(Debug)]
pub(super) struct Slot(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    is_done: bool,
    outcome: Option<Outcome>,
    wakers: Vec<Waker>,
}

impl Slot {
    pub(super) fn new() -> Arc<Slot> {
        Arc::new(Slot(Mutex::new(Inner { is_done: false, outcome: None, wakers: Vec::new() })))
    }

    /// The first outcome holds.
    pub(super) fn complete(&self, outcome: Outcome) {
        let mut inner = self.0.lock();
        if inner.is_done {
            return;
        }
        inner.is_done = true;
        inner.outcome = Some(outcome);
        let wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.lock().is_done
    }

    /// The outcome, once.
    pub(super) fn take(&self) -> Option<Outcome> {
        self.0.lock().outcome.take()
    }

    /// Wakes this once the outcome is there; `false` if it is there already.
    pub(super) fn register(&self, waker: &Waker) -> bool {
        let mut inner = self.0.lock();
        if inner.is_done {
            return false;
        }
        if !inner.wakers.iter().any(|known| known.will_wake(waker)) {
            inner.wakers.push(waker.clone());
        }
        true
    }

    /// Lets those who wait look at the world again, though there is no outcome.
    pub(super) fn nudge(&self) {
        let wakers = std::mem::take(&mut self.0.lock().wakers);
        wakers.into_iter().for_each(Waker::wake);
    }
}
