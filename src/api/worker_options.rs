//! Options of a worker.

use std::time::Duration;

use crate::base::bounds::{MAX_RUN_MICROS_DEFAULT, WORKER_THREADS_MAX};

use super::error::Error;
use super::queue_options::micros;

/// How a worker works off a queue. A number alone is one with so many threads.
///
/// ```
/// use std::time::Duration;
/// use towpath::WorkerOptions;
///
/// assert_eq!(WorkerOptions::from(4), WorkerOptions::new(4));
/// let patient = WorkerOptions::new(4).max_run(Duration::from_secs(3600));
/// assert_ne!(WorkerOptions::from(4), patient);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerOptions {
    /// Empty: none.
    pub(super) name: Box<str>,
    pub(super) priority: u8,
    pub(super) threads: usize,
    pub(super) max_run_micros: u64,
}

impl WorkerOptions {
    /// So many threads, 1 to 1,024, each of which has one message at a time; each message is extended for up to 30
    /// minutes.
    #[must_use]
    pub fn new(threads: usize) -> WorkerOptions {
        WorkerOptions { name: "".into(), priority: 0, threads, max_run_micros: MAX_RUN_MICROS_DEFAULT }
    }

    /// How long a message is extended while its task runs. A task that takes longer is not ended; but its message is
    /// taken back with the queue's visibility timeout, which counts as a failed attempt, and handed to somebody else.
    /// With zero no message is ever extended.
    #[must_use]
    pub fn max_run(self, time: Duration) -> WorkerOptions {
        WorkerOptions { max_run_micros: micros(time), ..self }
    }

    /// As [`SubscriptionOptions::name`](crate::SubscriptionOptions::name): all its threads are one consumer.
    #[must_use]
    pub fn name(self, name: &str) -> WorkerOptions {
        WorkerOptions { name: name.into(), ..self }
    }

    /// As [`SubscriptionOptions::priority`](crate::SubscriptionOptions::priority).
    #[must_use]
    pub fn priority(self, priority: u8) -> WorkerOptions {
        WorkerOptions { priority, ..self }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match self.threads {
            0 => Err(Error::InvalidOption { option: "threads", reason: "a worker has at least one".to_owned() }),
            1..=WORKER_THREADS_MAX => Ok(()),
            more => {
                let (limit, max) = ("threads of a worker", WORKER_THREADS_MAX as u64);
                Err(Error::LimitExceeded { limit, max, actual: more as u64 })
            }
        }
    }
}

impl From<usize> for WorkerOptions {
    fn from(threads: usize) -> WorkerOptions {
        WorkerOptions::new(threads)
    }
}
