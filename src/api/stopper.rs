//! Ends from another thread what takes messages one after the other.

use crate::base::sync::{Arc, AtomicBool, Event, EventListener, Ordering};

/// Has a [`Subscription`](crate::Subscription) or a [`Worker`](crate::Worker) take no more messages, from any thread.
///
/// Cheap to clone; all clones stop the same. Dropping it stops nothing.
#[derive(Clone, Debug)]
pub struct Stopper {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    is_stopped: AtomicBool,
    stopped: Event,
}

impl Stopper {
    pub(super) fn new() -> Stopper {
        Stopper { state: Arc::new(State { is_stopped: AtomicBool::new(false), stopped: Event::new() }) }
    }

    /// Stops it; wakes who waits for its next message. Does not wait until it has ended. There is no way back.
    pub fn stop(&self) {
        self.state.is_stopped.store(true, Ordering::SeqCst);
        self.state.stopped.notify(usize::MAX);
    }

    /// Whether it was stopped, by whomever.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.state.is_stopped.load(Ordering::SeqCst)
    }

    /// Is notified when it is stopped; `None` if it was already.
    pub(super) fn listen(&self) -> Option<EventListener> {
        let stopped = self.state.stopped.listen();
        (!self.is_stopped()).then_some(stopped)
    }
}
