//! What becomes of the messages of a queue that die.

use crate::base::sync::Arc;
use crate::primitives::queues::{self, Destination, LetterTarget as Target};

use super::database::Database;
use super::error::Error;

/// What becomes of a message that dies: that was rejected, failed too often, outlived its time, or had to make room.
///
/// ```
/// use towpath::{DeadLetters, QueueOptions};
/// # let db = towpath::Options::temporary().open_temporary()?;
/// let failed = db.create_queue("failed", QueueOptions::new())?;
/// let to_failed = DeadLetters::Queue("failed".to_owned());
/// let mails = db.create_queue("mails", QueueOptions::new().dead_letters(to_failed))?;
/// mails.send("to nobody")?;
/// mails.receive()?.reject("no such address")?;
/// let letter = failed.receive()?;
/// let history = letter.message().history().expect("it died before");
/// assert_eq!(history.first_death().queue, "mails");
/// assert_eq!(history.errors()[0].error, "no such address");
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum DeadLetters {
    /// It stays in the queue's own dead set, until it is redriven or purged.
    #[default]
    Keep,
    /// It goes for good.
    Discard,
    /// It is moved to the end of this queue, whatever that holds: without its ttl, deadline and delay, with its
    /// history. A message that comes round to a queue which it left for no attempt of anybody's is dead there, and
    /// stays.
    Queue(String),
    /// It is published to this exchange, in the same way. One that the exchange leads nowhere stays in the dead set.
    Exchange {
        /// The exchange.
        name: String,
        /// In place of the message's own; that of one which was sent to a queue itself is the queue's name.
        routing_key: Option<String>,
    },
}

impl DeadLetters {
    /// As the machine knows it, for a queue of this name.
    pub(super) fn resolve(&self, database: &Database, of: &str) -> Result<queues::DeadLetters, Error> {
        let (destination, routing_key) = match self {
            DeadLetters::Keep => return Ok(queues::DeadLetters::Kept),
            DeadLetters::Discard => return Ok(queues::DeadLetters::Discarded),
            DeadLetters::Queue(name) if name == of => return Err(own_target()),
            DeadLetters::Queue(name) => (Destination::Queue(database.queue(name)?.number), None),
            DeadLetters::Exchange { name, routing_key } => {
                let exchange = Destination::Exchange(database.exchange(name)?.number);
                (exchange, routing_key.as_deref().map(Arc::from))
            }
        };
        Ok(queues::DeadLetters::Moved(Target { destination, routing_key }))
    }

    /// What the machine knows; `target` is the name of where letters go.
    pub(super) fn of_machine(letters: &queues::DeadLetters, target: Option<Box<str>>) -> DeadLetters {
        let name = || target.map(String::from).unwrap_or_default();
        match letters {
            queues::DeadLetters::Kept => DeadLetters::Keep,
            queues::DeadLetters::Discarded => DeadLetters::Discard,
            queues::DeadLetters::Moved(Target { destination: Destination::Queue(_), .. }) => DeadLetters::Queue(name()),
            queues::DeadLetters::Moved(Target { destination: Destination::Exchange(_), routing_key }) => {
                let routing_key = routing_key.as_ref().map(|key| key.to_string());
                DeadLetters::Exchange { name: name(), routing_key }
            }
        }
    }

    /// What letters go to: its kind and its name.
    pub(super) fn target(&self) -> Option<(&'static str, &str)> {
        match self {
            DeadLetters::Keep | DeadLetters::Discard => None,
            DeadLetters::Queue(name) => Some(("queue", name)),
            DeadLetters::Exchange { name, .. } => Some(("exchange", name)),
        }
    }
}

/// A queue's dead letters cannot go to the queue itself.
pub(super) fn own_target() -> Error {
    let reason = "a queue is no target of its own; it has a dead set, which keeps them".to_owned();
    Error::InvalidOption { option: "dead letters", reason }
}
