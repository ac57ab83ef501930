//! How far back an entry point remembers ids, and the bytes of that.
//!
//! ```text
//! horizon  kind u8 (0 none, 1 for a time, 2 the last, 3 until settled) · micros of 1, count of 2
//! ```

use std::time::Duration;

use crate::base::bounds::{DEDUP_IDS_MAX, DURATION_MICROS_MAX};
use crate::base::codec::{Malformed, Put, Take, varint_len};

/// How far back ids are remembered. The kind of an entry point stays what it is.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) enum Horizon {
    /// Ids are kept with their messages and mean nothing.
    #[default]
    None,
    For {
        micros: u64,
    },
    /// So many distinct ids.
    Last {
        count: u64,
    },
    /// As long as the message lives: of queues alone.
    UntilSettled,
}

impl Horizon {
    fn kind(self) -> u8 {
        match self {
            Horizon::None => 0,
            Horizon::For { .. } => 1,
            Horizon::Last { .. } => 2,
            Horizon::UntilSettled => 3,
        }
    }

    /// Whether an entry point may be given the other in place of this.
    pub(in crate::primitives::queues) fn is_alike(self, other: Horizon) -> bool {
        self.kind() == other.kind()
    }

    fn amount(self) -> Option<u64> {
        match self {
            Horizon::None | Horizon::UntilSettled => None,
            Horizon::For { micros } => Some(micros),
            Horizon::Last { count } => Some(count),
        }
    }

    /// What is wrong with it: the option, and why.
    pub(in crate::primitives::queues) fn check(self) -> Result<(), (&'static str, &'static str)> {
        match self {
            Horizon::For { micros: 0 } => Err(("dedup", "who remembers ids for no time knows none")),
            Horizon::For { micros } if micros > DURATION_MICROS_MAX => Err(("dedup", "at most 10,000 days are kept")),
            Horizon::Last { count: 0 } => Err(("dedup", "who remembers the last none knows none")),
            Horizon::Last { count } if count > DEDUP_IDS_MAX as u64 => {
                Err(("dedup", "at most 1,048,576 ids are remembered"))
            }
            _ => Ok(()),
        }
    }

    pub(in crate::primitives::queues) fn encoded_len(self) -> usize {
        1 + self.amount().map_or(0, varint_len)
    }

    pub(in crate::primitives::queues) fn encode(self, out: &mut Put<'_>) {
        out.u8(self.kind());
        self.amount().into_iter().for_each(|amount| out.varint(amount));
    }

    pub(in crate::primitives::queues) fn decode(take: &mut Take<'_>) -> Result<Horizon, Malformed> {
        let horizon = match take.u8()? {
            0 => Horizon::None,
            1 => Horizon::For { micros: take.varint()? },
            2 => Horizon::Last { count: take.varint()? },
            3 => Horizon::UntilSettled,
            _ => return Err(Malformed("a dedup that there is not")),
        };
        horizon.check().map_err(|(_, reason)| Malformed(reason))?;
        Ok(horizon)
    }
}

/// As it is told of differences.
impl std::fmt::Display for Horizon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Horizon::None => f.write_str("none"),
            Horizon::For { micros } => write!(f, "for {:?}", Duration::from_micros(*micros)),
            Horizon::Last { count } => write!(f, "by the last {count} ids"),
            Horizon::UntilSettled => f.write_str("until settled"),
        }
    }
}
