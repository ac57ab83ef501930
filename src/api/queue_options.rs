//! Options of a queue.

use std::time::Duration;

use crate::base::level::Level;
use crate::primitives::queues::{self, Growth, JitterKind};

use super::database::Database;
use super::dead_letter_options::DeadLetters;
use super::dedup::Dedup;
use super::error::Error;

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
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct QueueOptions {
    /// All but where dead letters go.
    options: queues::Options,
    dead_letters: DeadLetters,
}

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

    /// What a `send` does to a queue that holds as many messages as it may.
    #[must_use]
    pub fn overflow(self, overflow: Overflow) -> QueueOptions {
        self.with(|options| {
            options.overflow = match overflow {
                Overflow::Reject => queues::Overflow::Reject,
                Overflow::DropOldest => queues::Overflow::DropOldest,
            }
        })
    }

    /// What becomes of messages that die. A change holds for those that die after it.
    #[must_use]
    pub fn dead_letters(self, dead_letters: DeadLetters) -> QueueOptions {
        QueueOptions { dead_letters, ..self }
    }

    /// Dead messages go for good, in place of into the queue's dead set.
    #[must_use]
    pub fn discard_dead(self) -> QueueOptions {
        self.dead_letters(DeadLetters::Discard)
    }

    /// How far back it remembers the ids of messages that are sent to it; not at all, unless said. What kind of dedup
    /// it is stays as it was when the queue was created; how long, or how many ids, may change.
    #[must_use]
    pub fn dedup(self, dedup: Dedup) -> QueueOptions {
        self.with(|options| options.dedup = dedup.0)
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
        set(&mut self.options);
        self
    }

    /// As the machine knows them, for a queue of this name.
    pub(super) fn to_machine(&self, database: &Database, of: &str) -> Result<queues::Options, Error> {
        let dead_letters = self.dead_letters.resolve(database, of)?;
        Ok(queues::Options { dead_letters, ..self.options.clone() })
    }

    pub(super) fn visibility_micros(&self) -> u64 {
        self.options.visibility_micros
    }

    /// What the machine knows; `target` is the name of where dead letters go.
    pub(super) fn of_machine(options: queues::Options, target: Option<Box<str>>) -> QueueOptions {
        let dead_letters = DeadLetters::of_machine(&options.dead_letters, target);
        QueueOptions { options: queues::Options { dead_letters: queues::DeadLetters::Kept, ..options }, dead_letters }
    }

    /// Where dead letters go: its kind and its name.
    pub(super) fn target(&self) -> Option<(&'static str, &str)> {
        self.dead_letters.target()
    }
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// What a `send` does to a queue that holds as many messages as it may.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Overflow {
    /// It is refused with [`Error::Full`].
    #[default]
    Reject,
    /// The oldest messages of the lowest priority die for it, in flight ones excepted. More at once than the queue may
    /// hold is refused all the same.
    DropOldest,
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
