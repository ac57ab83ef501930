//! What is due when.
//!
//! The nearest [`TIMERS_IN_MEMORY`] stand in memory. A timer is derived from its object's state, so none is journaled:
//! what does not fit is dropped here and found again when its object is next looked at (`Timers::overflowed`).

use std::collections::BTreeSet;

use crate::base::bounds::TIMERS_IN_MEMORY;
use crate::base::row::RowKey;
use crate::base::time::Timestamp;

/// Timers in the order of their due times.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    due: BTreeSet<(Timestamp, RowKey)>,
    overflowed: bool,
}

impl Timers {
    /// Adds a timer. Tells whether it is now the nearest, so that who sleeps until the nearest must look again.
    pub(crate) fn arm(&mut self, at: Timestamp, key: RowKey) -> bool {
        let nearest = self.due.first().is_none_or(|first| (at, key) < *first);
        self.due.insert((at, key));
        if self.due.len() > TIMERS_IN_MEMORY {
            self.due.pop_last();
            self.overflowed = true;
        }
        nearest
    }

    pub(crate) fn nearest(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes up to `max` timers that are due.
    pub(crate) fn take_due(&mut self, now: Timestamp, max: usize) -> Vec<RowKey> {
        let mut taken = Vec::new();
        while taken.len() < max && self.nearest().is_some_and(|at| at <= now) {
            taken.extend(self.due.pop_first().map(|(_, key)| key));
        }
        taken
    }

    /// Whether timers were dropped and memory has room again: time to arm all from their objects.
    pub(crate) fn wants_rearming(&mut self) -> bool {
        let wants = self.overflowed && self.due.len() < TIMERS_IN_MEMORY / 2;
        if wants {
            self.overflowed = false;
        }
        wants
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn key(id: u64) -> RowKey {
        RowKey { kind: 3, id }
    }

    #[test]
    fn timers_come_due_in_order() {
        let mut timers = Timers::default();
        assert!(timers.arm(Timestamp(20), key(1)));
        assert!(timers.arm(Timestamp(10), key(2)));
        assert!(!timers.arm(Timestamp(30), key(3)));
        assert_eq!(timers.take_due(Timestamp(20), 10), [key(2), key(1)]);
        assert_eq!(timers.nearest(), Some(Timestamp(30)));
    }

    #[test]
    fn the_farthest_timers_are_dropped_and_asked_for_again() {
        let mut timers = Timers::default();
        for id in 0..=TIMERS_IN_MEMORY as u64 {
            timers.arm(Timestamp(id), key(id));
        }
        assert!(!timers.wants_rearming());
        timers.take_due(Timestamp(u64::MAX), TIMERS_IN_MEMORY);
        assert!(timers.wants_rearming());
        assert!(!timers.wants_rearming());
    }
}
