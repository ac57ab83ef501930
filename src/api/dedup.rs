//! How far back the ids of messages are remembered.

use std::time::Duration;

use crate::base::bounds;
use crate::primitives::queues::Horizon;

use super::queue_options::micros;

/// How far back a queue or an exchange remembers the [ids](crate::Message::id) of messages. What is sent with an id
/// that is remembered is not stored: the call succeeds, tells `duplicate`, and gives the receipt of the original.
///
/// # Where ids are judged
/// Where a message enters, and nowhere else: at the exchange that it is published to, at the queue that it is sent to.
/// What an exchange leads to a queue is not judged there, nor is what comes back or is redriven. A message without an
/// id is never a duplicate. What was refused leaves no trace, and neither does a message that went to no queue.
///
/// # What is remembered
/// Exactly what is said here, over restarts and crashes, at the level of the message itself: an id is remembered if
/// the message is there, or was. All queues and exchanges together remember 1,048,576 ids, about 64 bytes of memory
/// each; with as many, a message with a new id is refused with
/// [`LimitExceeded`](crate::Error::LimitExceeded), and no id is forgotten for it. Ids are known by 128-bit hashes.
///
/// ```
/// use std::time::Duration;
/// use towpath::{Dedup, Message, QueueOptions};
/// # let db = towpath::Options::temporary().open_temporary()?;
/// let options = QueueOptions::new().dedup(Dedup::within(Duration::from_secs(600)));
/// let payments = db.create_queue("payments", options)?;
/// let first = payments.send(Message::new(b"40.00 EUR").id("payment-17"))?;
/// let again = payments.send(Message::new(b"40.00 EUR").id("payment-17"))?;
/// assert!(!first.duplicate && again.duplicate);
/// assert_eq!((again.sequence, again.lsn()), (first.sequence, first.lsn()));
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Dedup(pub(super) Horizon);

impl Dedup {
    /// The most ids that all queues and exchanges of a database remember together.
    pub const IDS_MAX: usize = bounds::DEDUP_IDS_MAX;

    /// Ids are kept with their messages and mean nothing, as if no dedup were named.
    #[must_use]
    pub const fn none() -> Dedup {
        Dedup(Horizon::None)
    }

    /// Ids of the last so and so long, by the wall clock, since the original was sent.
    #[must_use]
    pub fn within(duration: Duration) -> Dedup {
        Dedup(Horizon::For { micros: micros(duration) })
    }

    /// The last so many distinct ids. 1 to 1,048,576.
    #[must_use]
    pub const fn last(ids: u64) -> Dedup {
        Dedup(Horizon::Last { count: ids })
    }

    /// As long as the message lives: until it is acknowledged, dead, or gone in another way. For queues alone. Of what
    /// is sent to the queue one message of an id lives at a time; a message that comes by an exchange or is redriven
    /// enters in any case, and has its id if no other one has it.
    #[must_use]
    pub const fn until_settled() -> Dedup {
        Dedup(Horizon::UntilSettled)
    }
}
