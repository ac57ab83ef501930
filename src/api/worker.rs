//! Threads that work off a queue.

mod crew;
mod runs;

use std::fmt::Display;
use std::panic::resume_unwind;

use crate::base::sync::{Arc, JoinHandle, spawn};

use self::crew::{Crew, Task};
use super::consumer::Wish;
use super::delivery::Delivery;
use super::error::Error;
use super::queue::Queue;
use super::queue_outcomes::WorkerCounts;
use super::stopper::Stopper;
use super::subscription::Intake;
use super::worker_options::WorkerOptions;

impl Queue {
    /// Starts a worker: so many threads of its own, each of which takes one message after the other, calls `task` with
    /// it, and settles it. What comes of `task` decides how:
    ///
    /// | `task` | the message | kept with it |
    /// |---|---|---|
    /// | is `Ok` | is [acknowledged](Delivery::ack) | |
    /// | is an `Err` | has [failed](Delivery::fail): it comes back after the backoff, or is dead | the error's text |
    /// | panics | has failed, and the thread goes on | "panicked: " and the panic's text |
    ///
    /// A program that is built to abort on a panic dies of it; then the message has failed where it was the only one
    /// that this process had in its hands.
    ///
    /// # How long it may take
    /// While `task` runs, its message is extended whenever a third of the queue's visibility timeout has passed, for up
    /// to [`max_run`](WorkerOptions::max_run) (30 min). Then it is taken back with the visibility timeout, which counts
    /// as a failed attempt, and somebody else gets it. The task is not ended: what it comes to is counted as
    /// [stale](WorkerCounts::stale) and has no effect. A change of the visibility timeout by
    /// [`ensure_queue`](crate::Database::ensure_queue) is learned of with the next extension.
    ///
    /// # Errors while it works
    /// What passes by itself is tried again, after 10 ms at first and then after up to a second: a full disk, too many
    /// messages in flight, a host that went away with an answer. All other errors end the worker, and are told by
    /// [`Worker::stop`] and [`Worker::join`]: the database was closed or poisoned, or the queue was deleted. Stop the
    /// worker before the database is closed; else the messages of tasks that run then come back uncounted.
    ///
    /// ```
    /// use towpath::{Delivery, QueueOptions};
    /// # let db = towpath::Options::temporary().open_temporary()?;
    /// let mails = db.create_queue("mails", QueueOptions::new().max_attempts(1))?;
    /// mails.send("ann@example.org")?;
    /// mails.send("not an address")?;
    ///
    /// let worker = mails.work(4, |mail: &Delivery| match mail.body().contains(&b'@') {
    ///     true => Ok(()), // Here it would be sent.
    ///     false => Err("there is no @ in it"),
    /// })?;
    /// # while mails.describe()?.ready + mails.describe()?.in_flight > 0 {
    /// #     std::thread::yield_now();
    /// # }
    /// let counts = worker.stop()?;
    /// assert_eq!((counts.acked, counts.failed), (1, 1));
    /// assert_eq!(mails.dead_letters(None, 10)?[0].failures()[0].error, "there is no @ in it");
    /// # Ok::<(), towpath::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] for more than 1,024 threads, [`Error::InvalidOption`] for none, [`Error::Io`] if the
    /// system has no more of them; else as for [`Queue::describe`]. No thread is left then.
    pub fn work<E: Display>(
        &self,
        options: impl Into<WorkerOptions>,
        task: impl Fn(&Delivery) -> Result<(), E> + Send + Sync + 'static,
    ) -> Result<Worker, Error> {
        let options = options.into();
        options.check()?;
        let task = Box::new(move |delivery: &Delivery| task(delivery).map_err(|error| error.to_string()));
        Worker::start(self.clone(), options, task)
    }
}

/// Threads that work off a queue until they are stopped. Made by [`Queue::work`].
///
/// It keeps the database open. Dropping it is [`Worker::stop`], whose answer nobody gets: it blocks for the tasks that
/// run. Its own task must neither stop nor drop it, but may have a [`Stopper`] of it.
#[derive(Debug)]
#[must_use = "a worker that is dropped stops at once"]
pub struct Worker {
    threads: Vec<JoinHandle<()>>,
    timer: Option<JoinHandle<()>>,
    crew: Arc<Crew>,
    /// The process that it was started in.
    process: Option<u32>,
}

impl std::fmt::Debug for Crew {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Crew").field("queue", &self.queue().name()).finish_non_exhaustive()
    }
}

impl Worker {
    fn start(queue: Queue, options: WorkerOptions, task: Box<Task>) -> Result<Worker, Error> {
        let WorkerOptions { name, priority, threads, max_run_micros } = options;
        let process = queue.process();
        let consumer = queue.join(Wish { name, priority, prefetch: threads })?;
        let crew = Crew::new(queue, task, threads, max_run_micros)?;
        // Dropped if a thread cannot be started, which ends the others.
        let mut worker = Worker { threads: Vec::new(), timer: None, crew, process };
        let crew = worker.crew.clone();
        worker.timer = Some(begin("towpath-extend", move || crew.keep_extended())?);
        for thread in 0..threads {
            let crew = worker.crew.clone();
            let mut intake = Intake::new(crew.queue().clone(), consumer.clone(), 1, crew.stopper.clone())?;
            worker.threads.push(begin("towpath-work", move || crew.work(thread, &mut intake))?);
        }
        Ok(worker)
    }

    /// What became of the messages until now.
    #[must_use]
    pub fn counts(&self) -> WorkerCounts {
        self.crew.counts()
    }

    /// Whether it takes messages: it was neither stopped, nor ended by an error.
    #[must_use]
    pub fn is_running(&self) -> bool {
        !self.crew.stopper.is_stopped()
    }

    /// Stops it from another thread, or from its task; [`Worker::join`] waits until it has ended.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.crew.stopper.clone()
    }

    /// Takes no more messages and waits for the tasks that run, whose messages are settled as ever. What was taken and
    /// not begun is released. Then all its threads have ended.
    ///
    /// # Errors
    /// What ended it before: [`Error::Closed`], [`Error::Poisoned`], [`Error::NotFound`], [`Error::NoHost`], or an
    /// error in reading a message. Or why the last settlements failed; [`Worker::counts`] is to be asked before then.
    /// [`Error::Forked`] in a forked child, which has none of the threads.
    pub fn stop(self) -> Result<WorkerCounts, Error> {
        if self.is_here() {
            self.crew.stopper.stop();
        }
        self.join()
    }

    /// The same without stopping it: waits until somebody else does, or an error ends it.
    ///
    /// # Errors
    /// As for [`Worker::stop`].
    pub fn join(mut self) -> Result<WorkerCounts, Error> {
        if !self.is_here() {
            return Err(Error::Forked);
        }
        if let Err(panic) = self.end() {
            resume_unwind(panic);
        }
        match self.crew.take_error() {
            Some(error) => Err(error),
            None => Ok(self.crew.counts()),
        }
    }

    /// Waits for the threads; if one has panicked it tells that after all have ended.
    fn end(&mut self) -> Result<(), Box<dyn std::any::Any + Send>> {
        let mut ended = Ok(());
        for thread in self.threads.drain(..) {
            ended = ended.and(thread.join());
        }
        self.crew.end_timer();
        if let Some(timer) = self.timer.take() {
            ended = ended.and(timer.join());
        }
        ended
    }

    fn is_here(&self) -> bool {
        self.process.is_some() && self.process == self.crew.queue().process()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if self.is_here() {
            self.crew.stopper.stop();
            // A panic of a thread was told where it happened; here it has nobody to go to.
            let _ = self.end();
        } else {
            // The threads are the parent's.
            self.threads.drain(..).chain(self.timer.take()).for_each(std::mem::forget);
        }
    }
}

fn begin(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Error> {
    spawn(name, body).map_err(|source| Error::Io { attempt: "starting a thread of a worker", source })
}
