//! What the threads of a worker do, and share.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::api::delivery::Delivery;
use crate::api::error::Error;
use crate::api::queue::Queue;
use crate::api::queue_outcomes::WorkerCounts;
use crate::api::stopper::Stopper;
use crate::api::subscription::Intake;
use crate::base::bounds::{ASK_AGAIN_MICROS_MAX, ASK_AGAIN_MICROS_MIN};
use crate::base::sync::{Arc, Mutex, wait_listener};
use crate::primitives::queues::{DeliveryId, Settlement};
use crate::storage::disk::clock;

use super::runs::{Next, Runs};

/// What is done with each message; the error is its text.
pub(super) type Task = dyn Fn(&Delivery) -> Result<(), String> + Send + Sync;

/// What the threads of a worker share.
pub(super) struct Crew {
    queue: Queue,
    task: Box<Task>,
    max_run_micros: u64,
    runs: Runs,
    pub(super) stopper: Stopper,
    counts: Mutex<WorkerCounts>,
    /// What ended the worker.
    ended: Mutex<Option<Error>>,
}

/// What came of a task.
enum Outcome {
    Done,
    Failed(String),
    Panicked(String),
}

/// Pauses between attempts at what is refused for a while.
struct Pauses {
    micros: u64,
}

impl Pauses {
    fn new() -> Pauses {
        Pauses { micros: ASK_AGAIN_MICROS_MIN }
    }

    fn next(&mut self) -> u64 {
        let micros = self.micros;
        self.micros = (micros * 2).min(ASK_AGAIN_MICROS_MAX);
        micros
    }
}

impl Crew {
    pub(super) fn new(queue: Queue, task: Box<Task>, threads: usize, max_run_micros: u64) -> Result<Arc<Crew>, Error> {
        let runs = Runs::new(threads, queue.visibility_micros()?);
        let (stopper, counts, ended) = (Stopper::new(), Mutex::default(), Mutex::new(None));
        Ok(Arc::new(Crew { queue, task, max_run_micros, runs, stopper, counts, ended }))
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn counts(&self) -> WorkerCounts {
        *self.counts.lock()
    }

    /// What ended it, told once.
    pub(super) fn take_error(&self) -> Option<Error> {
        self.ended.lock().take()
    }

    /// What one thread does: a message after the other, until the worker ends.
    pub(super) fn work(&self, thread: usize, intake: &mut Intake) {
        let mut pauses = Pauses::new();
        loop {
            match intake.next_until(None) {
                Ok(None) => return,
                Ok(Some(delivery)) => {
                    pauses = Pauses::new();
                    self.perform(thread, delivery);
                }
                Err(error) if passes(&error) => self.rest(pauses.next()),
                Err(error) => return self.end(error),
            }
        }
    }

    fn perform(&self, thread: usize, delivery: Delivery) {
        if self.stopper.is_stopped() {
            // It was not begun. What cannot be given back now is taken back with its visibility timeout.
            let _ = delivery.release();
            return;
        }
        let begun = clock::boot();
        self.runs.begin(thread, delivery.id(), begun, begun.plus(self.max_run_micros));
        let outcome = self.outcome_of(&delivery);
        if !delivery.is_here() {
            // The task has forked, and this is the child.
            return self.end(Error::Forked);
        }
        let settled = self.settle(delivery.id(), &outcome);
        self.runs.end(thread);
        delivery.into_id();
        match settled {
            Ok(in_time) => self.count(&outcome, in_time),
            Err(error) => self.end(error),
        }
    }

    fn outcome_of(&self, delivery: &Delivery) -> Outcome {
        // The task is shared by all threads: who wrote it has it withstand that one of them ends in the middle.
        match catch_unwind(AssertUnwindSafe(|| (self.task)(delivery))) {
            Ok(Ok(())) => Outcome::Done,
            Ok(Err(text)) => Outcome::Failed(text),
            Err(payload) => {
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                Outcome::Panicked(format!("panicked: {}", text.unwrap_or("with no text")))
            }
        }
    }

    /// Whether it was settled in time. It is extended until then, so it may be tried again for as long as need be.
    fn settle(&self, id: DeliveryId, outcome: &Outcome) -> Result<bool, Error> {
        let how = match outcome {
            Outcome::Done => Settlement::Ack,
            Outcome::Failed(error) | Outcome::Panicked(error) => Settlement::Fail { error, delay_micros: None },
        };
        let mut pauses = Pauses::new();
        loop {
            match self.queue.settle(&how, &[id]) {
                Ok(_) => return Ok(true),
                Err(Error::Stale { .. }) => return Ok(false),
                Err(error) if passes(&error) && !self.stopper.is_stopped() => self.rest(pauses.next()),
                Err(error) => return Err(error),
            }
        }
    }

    fn count(&self, outcome: &Outcome, in_time: bool) {
        let mut counts = self.counts.lock();
        let count = match outcome {
            _ if !in_time => &mut counts.stale,
            Outcome::Done => &mut counts.acked,
            Outcome::Failed(_) => &mut counts.failed,
            Outcome::Panicked(_) => &mut counts.panicked,
        };
        *count += 1;
    }

    /// Sleeps, unless it is stopped meanwhile.
    fn rest(&self, micros: u64) {
        if let Some(stopped) = self.stopper.listen() {
            wait_listener(stopped, Some(micros));
        }
    }

    /// No thread takes another message.
    fn end(&self, error: Error) {
        self.ended.lock().get_or_insert(error);
        self.stopper.stop();
    }

    /// What the timer does: extends what the other threads have, until they have ended.
    pub(super) fn keep_extended(&self) {
        let mut pauses = Pauses::new();
        loop {
            let changed = self.runs.listen();
            match self.runs.next(clock::boot()) {
                Next::End => return,
                Next::Sleep(micros) => drop(wait_listener(changed, micros)),
                Next::Extend(ids) => match self.extend(&ids) {
                    Ok(()) => pauses = Pauses::new(),
                    Err(error) if passes(&error) => self.runs.not_extended(&ids, clock::boot(), pauses.next()),
                    Err(error) => {
                        self.runs.lost(&ids);
                        self.end(error);
                    }
                },
            }
        }
    }

    fn extend(&self, ids: &[DeliveryId]) -> Result<(), Error> {
        let micros = self.queue.visibility_micros()?;
        let now = clock::boot();
        match self.queue.settle(&Settlement::Extend { micros }, ids) {
            Ok(stale) => {
                let stale: Vec<DeliveryId> = stale.iter().map(|place| ids[*place as usize]).collect();
                self.runs.extended(ids, now, micros);
                self.runs.lost(&stale);
                Ok(())
            }
            Err(Error::Stale { .. }) => {
                self.runs.lost(ids);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn end_timer(&self) {
        self.runs.finish();
    }
}

/// Whether it is worth asking again. A settlement may be: one that took place already is told to be stale.
fn passes(error: &Error) -> bool {
    error.is_retryable() || matches!(error, Error::OutcomeUnknown | Error::LimitExceeded { .. })
}
