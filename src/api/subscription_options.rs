//! Options of a subscription.

use crate::base::bounds::PREFETCH_MAX;

use super::error::Error;

/// How a subscription takes messages from its queue.
///
/// ```
/// use towpath::{QueueOptions, SubscriptionOptions};
/// # let db = towpath::Options::temporary().open_temporary()?;
/// # let mails = db.create_queue("mails", QueueOptions::new())?;
/// let subscription = mails.subscribe(SubscriptionOptions::new().prefetch(16))?;
/// # Ok::<(), towpath::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SubscriptionOptions {
    /// Empty: none.
    pub(super) name: Box<str>,
    pub(super) priority: u8,
    pub(super) prefetch: usize,
}

impl Default for SubscriptionOptions {
    fn default() -> SubscriptionOptions {
        SubscriptionOptions::new()
    }
}

impl SubscriptionOptions {
    /// A prefetch of 1: no message is taken before it is asked for, and none while one is unsettled. Priority 0, and no
    /// name.
    #[must_use]
    pub fn new() -> SubscriptionOptions {
        SubscriptionOptions { name: "".into(), priority: 0, prefetch: 1 }
    }

    /// The most messages that it has and has not settled, 1 to 1,024: while it has so many it is handed no more. As
    /// many are taken from the queue at once, and all but the first wait in reserve until they are asked for. It saves
    /// a call for each message, which is worth most in an attached process; but what is in reserve is with nobody else,
    /// comes before what is sent meanwhile at a higher priority, and if the process dies, which of several messages was
    /// to blame is to be found out.
    #[must_use]
    pub fn prefetch(self, messages: usize) -> SubscriptionOptions {
        SubscriptionOptions { prefetch: messages, ..self }
    }

    /// Its name among the [consumers](crate::Queue::consumers) of the queue, 1 to 255 bytes. Others may have the same.
    #[must_use]
    pub fn name(self, name: &str) -> SubscriptionOptions {
        SubscriptionOptions { name: name.into(), ..self }
    }

    /// Whether it comes before others who wait for messages: the higher one does, as long as it waits and has room. Who
    /// receives without a subscription has priority 0, as subscriptions have that name none.
    #[must_use]
    pub fn priority(self, priority: u8) -> SubscriptionOptions {
        SubscriptionOptions { priority, ..self }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        match self.prefetch {
            0 => Err(Error::InvalidOption { option: "prefetch", reason: "at least 1 is taken at once".to_owned() }),
            1..=PREFETCH_MAX => Ok(()),
            more => Err(Error::LimitExceeded { limit: "prefetch", max: PREFETCH_MAX as u64, actual: more as u64 }),
        }
    }
}
