//! Which messages a worker's threads have now, and when each is to be extended.
//!
//! A message is extended each time a third of the visibility timeout has passed, so that two thirds are left for a
//! timer that comes late. One thread does it for all. It sleeps until the first is due: whoever begins a run wakes it
//! only if his is due before that. Where runs are short it finds nothing when it wakes, and sleeps on.

use crate::base::bounds::EXTENSION_MICROS_MIN;
use crate::base::sync::{Event, EventListener, Mutex};
use crate::base::time::BootTime;
use crate::primitives::queues::DeliveryId;

/// The runs of all threads.
#[derive(Debug)]
pub(super) struct Runs {
    state: Mutex<State>,
    changed: Event,
}

#[derive(Debug)]
struct State {
    /// By the number of the thread.
    of_threads: Vec<Option<Run>>,
    visibility_micros: u64,
    /// When the timer looks again by itself.
    wakes: Option<BootTime>,
    is_over: bool,
}

/// A message in the hands of a thread.
#[derive(Clone, Copy, Debug)]
struct Run {
    id: DeliveryId,
    /// When it is to be extended next; `None` if it is not any more.
    due: Option<BootTime>,
    /// From then on it is not extended.
    until: BootTime,
}

/// What the timer does next.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Next {
    Extend(Vec<DeliveryId>),
    Sleep(Option<u64>),
    End,
}

impl Runs {
    pub(super) fn new(threads: usize, visibility_micros: u64) -> Runs {
        let of_threads = vec![None; threads];
        let state = State { of_threads, visibility_micros, wakes: None, is_over: false };
        Runs { state: Mutex::new(state), changed: Event::new() }
    }

    /// A thread has this message from `now` on, for which it is extended until then.
    pub(super) fn begin(&self, thread: usize, id: DeliveryId, now: BootTime, until: BootTime) {
        let mut state = self.state.lock();
        let due = now.plus(state.pause_micros());
        let due = (due < until).then_some(due);
        state.of_threads[thread] = Some(Run { id, due, until });
        let is_first = due.is_some_and(|due| state.wakes.is_none_or(|wakes| due < wakes));
        drop(state);
        if is_first {
            self.changed.notify(usize::MAX);
        }
    }

    pub(super) fn end(&self, thread: usize) {
        self.state.lock().of_threads[thread] = None;
    }

    /// No run begins any more.
    pub(super) fn finish(&self) {
        self.state.lock().is_over = true;
        self.changed.notify(usize::MAX);
    }

    /// For the timer, before it asks what is next.
    pub(super) fn listen(&self) -> EventListener {
        self.changed.listen()
    }

    /// What is to be done now; those that are due in a moment are extended with those that are.
    pub(super) fn next(&self, now: BootTime) -> Next {
        let mut state = self.state.lock();
        if state.is_over {
            return Next::End;
        }
        let soon = now.plus(state.pause_micros() / 4);
        state.wakes = state.runs().filter_map(|run| run.due).min();
        match state.wakes {
            Some(first) if first <= now => {
                let due = state.runs().filter(|run| run.due.is_some_and(|due| due <= soon));
                Next::Extend(due.map(|run| run.id).collect())
            }
            wakes => Next::Sleep(wakes.map(|wakes| wakes.since(now))),
        }
    }

    /// These were extended at `now` by the queue's visibility timeout.
    pub(super) fn extended(&self, ids: &[DeliveryId], now: BootTime, visibility_micros: u64) {
        let mut state = self.state.lock();
        state.visibility_micros = visibility_micros;
        let due = now.plus(state.pause_micros());
        state.defer(ids, Some(due));
    }

    /// These could not be extended; it is tried again after the pause.
    pub(super) fn not_extended(&self, ids: &[DeliveryId], now: BootTime, pause_micros: u64) {
        self.state.lock().defer(ids, Some(now.plus(pause_micros)));
    }

    /// These were taken back: there is nothing to extend.
    pub(super) fn lost(&self, ids: &[DeliveryId]) {
        self.state.lock().defer(ids, None);
    }
}

impl State {
    fn pause_micros(&self) -> u64 {
        (self.visibility_micros / 3).max(EXTENSION_MICROS_MIN)
    }

    fn runs(&self) -> impl Iterator<Item = &Run> {
        self.of_threads.iter().flatten()
    }

    /// A thread may have gone on to another message meanwhile.
    fn defer(&mut self, ids: &[DeliveryId], due: Option<BootTime>) {
        for run in self.of_threads.iter_mut().flatten().filter(|run| ids.contains(&run.id)) {
            run.due = due.filter(|due| *due < run.until);
        }
    }
}
