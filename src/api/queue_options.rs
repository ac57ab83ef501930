//! Options of a queue.

use std::time::Duration;

use crate::base::level::Level;
use crate::primitives::queues::{self, Growth, JitterKind};

/// How a queue keeps and hands out its messages.
///
/// ```
/// use std::time::Duration;
/// use towpath::{Backoff, QueueOptions};
/// # let db = towpath::Options::temporary().open_temporary()?;
/// let options = QueueOptions::new().max_attempts(3).backoff(Backoff::fixed(Duration::from_secs(1)));
/// let mails = db.create_queue("mails", options)?;
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct QueueOptions(queues::Options);

impl QueueOptions {
    /// The level of the database; five attempts, a visibility timeout of 30 minutes, exponential backoff with full
    /// jitter from 1 s to 10 min, no ttl, no limit; dead letters are kept.
    #[must_use]
    pub fn new() -> QueueOptions {
        QueueOptions::default()
    }

    /// How durable a message is when its `send` returns, unless that says otherwise.
    #[must_use]
    pub fn level(self, level: Level) -> QueueOptions {
        self.with(|options| options.level = Some(level))
    }

    /// After so many failed attempts a message is dead. At least 1.
    #[must_use]
    pub fn max_attempts(self, attempts: u32) -> QueueOptions {
        self.with(|options| options.max_attempts = attempts)
    }

    /// How long a message may stay unsettled after it was handed out, before that counts as a failed attempt. It guards
    /// against consumers that hang; the death of a process is noticed at once.
    #[must_use]
    pub fn visibility_timeout(self, timeout: Duration) -> QueueOptions {
        self.with(|options| options.visibility_micros = micros(timeout))
    }

    /// How long a message waits after a failed attempt.
    #[must_use]
    pub fn backoff(self, backoff: Backoff) -> QueueOptions {
        self.with(|options| options.backoff = backoff.0)
    }

    /// How long a message lives from when it became ready; zero: it is for a consumer who waits, or for nobody. A
    /// change holds for messages that become ready after it.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> QueueOptions {
        self.with(|options| options.ttl_micros = Some(micros(ttl)))
    }

    /// The most messages that are ready or delayed: a `send` beyond is refused with
    /// [`Error::Full`](crate::Error::Full). What comes back enters always.
    #[must_use]
    pub fn max_messages(self, messages: u64) -> QueueOptions {
        self.with(|options| options.max_messages = Some(messages))
    }

    /// Dead messages go for good, in place of into the queue's dead set.
    #[must_use]
    pub fn discard_dead(self) -> QueueOptions {
        self.with(|options| options.discards_dead = true)
    }

    /// With `true` one consumer at a time is handed messages, and the others wait: a
    /// [subscription](crate::Queue::subscribe), a [`Worker`](crate::Worker), or all calls on one handle of the queue
    /// and its clones. It is the one with the highest [priority](crate::SubscriptionOptions::priority), of several the
    /// one that came first. When it is dropped or its process ends, or when a higher one has come, the next is handed
    /// messages as soon as all that it had is settled or taken back: order is kept over every hand-over.
    #[must_use]
    pub fn single_active_consumer(self, is_single: bool) -> QueueOptions {
        self.with(|options| options.single_active_consumer = is_single)
    }

    fn with(mut self, set: impl FnOnce(&mut queues::Options)) -> QueueOptions {
        set(&mut self.0);
        self
    }

    pub(crate) fn to_machine(self) -> queues::Options {
        self.0
    }

    pub(crate) fn of_machine(options: queues::Options) -> QueueOptions {
        QueueOptions(options)
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// How long a message waits after a failed attempt, before it is handed out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Backoff(queues::Backoff);

/// How chance shortens the pauses of a [`Backoff`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Jitter {
    /// Not at all.
    None,
    /// To anything between nothing and the pause.
    Full,
    /// To anything between the first pause and three times the last one.
    Decorrelated,
}

impl Backoff {
    /// No pause.
    #[must_use]
    pub fn none() -> Backoff {
        Backoff::of(Growth::None, Duration::ZERO, Duration::ZERO, JitterKind::None)
    }

    /// The same pause each time.
    #[must_use]
    pub fn fixed(pause: Duration) -> Backoff {
        Backoff::of(Growth::Fixed, pause, pause, JitterKind::None)
    }

    /// `step`, then twice that, then three times, up to `most`.
    #[must_use]
    pub fn linear(step: Duration, most: Duration) -> Backoff {
        Backoff::of(Growth::Linear, step, most, JitterKind::None)
    }

    /// `first`, then twice that, then four times, up to `most`; with full jitter.
    #[must_use]
    pub fn exponential(first: Duration, most: Duration) -> Backoff {
        Backoff::of(Growth::Exponential, first, most, JitterKind::Full)
    }

    /// Gives it another jitter.
    #[must_use]
    pub fn jitter(mut self, jitter: Jitter) -> Backoff {
        self.0.jitter = match jitter {
            Jitter::None => JitterKind::None,
            Jitter::Full => JitterKind::Full,
            Jitter::Decorrelated => JitterKind::Decorrelated,
        };
        self
    }

    fn of(growth: Growth, first: Duration, most: Duration, jitter: JitterKind) -> Backoff {
        let (first_micros, most_micros) = (micros(first), micros(most));
        Backoff(queues::Backoff { growth, first_micros, most_micros, jitter })
    }
}
