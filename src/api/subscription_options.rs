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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SubscriptionOptions {
    pub(super) prefetch: usize,
}

impl Default for SubscriptionOptions {
    fn default() -> SubscriptionOptions {
        SubscriptionOptions::new()
    }
}

impl SubscriptionOptions {
    /// A prefetch of 1: no message is taken before it is asked for.
    #[must_use]
    pub fn new() -> SubscriptionOptions {
        SubscriptionOptions { prefetch: 1 }
    }

    /// The most messages that are taken from the queue at once, 1 to 1,024. All but the first wait in reserve until
    /// they are asked for. It saves a call for each message, which is worth most in an attached process; but what is
    /// in reserve is with nobody else, comes before what is sent meanwhile at a higher priority, and if the process
    /// dies, which of several messages was to blame is to be found out.
    #[must_use]
    pub fn prefetch(self, messages: usize) -> SubscriptionOptions {
        SubscriptionOptions { prefetch: messages }
    }

    pub(super) fn check(self) -> Result<(), Error> {
        match self.prefetch {
            0 => Err(Error::InvalidOption { option: "prefetch", reason: "at least 1 is taken at once".to_owned() }),
            1..=PREFETCH_MAX => Ok(()),
            more => Err(Error::LimitExceeded { limit: "prefetch", max: PREFETCH_MAX as u64, actual: more as u64 }),
        }
    }
}
