//! What is due when.
//!
//! The nearest [`TIMERS_IN_MEMORY`] stand in memory. A timer is derived from its object's state, so none is journaled:
//! what does not fit is dropped, and all are derived again once one that was dropped is nearer than those in memory.

use std::collections::BTreeSet;

use crate::base::bounds::TIMERS_IN_MEMORY;
use crate::base::row::RowKey;

/// Timers in the order of their due times, which are those of one clock.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    due: BTreeSet<(T, RowKey)>,
    /// When the nearest of those that were dropped is due.
    dropped: Option<T>,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers { due: BTreeSet::new(), dropped: None }
    }
}

/// What adding a timer came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Arming {
    /// Who sleeps until the nearest timer must look again.
    pub(crate) is_nearest: bool,
    /// The farthest timer, which had to make room. It may be the one that was added.
    pub(crate) dropped: Option<RowKey>,
}

impl<T: Ord + Copy> Timers<T> {
    /// Adds a timer.
    pub(crate) fn arm(&mut self, at: T, key: RowKey) -> Arming {
        let is_nearest = self.due.first().is_none_or(|first| (at, key) < *first);
        self.due.insert((at, key));
        let farthest = if self.due.len() > TIMERS_IN_MEMORY { self.due.pop_last() } else { None };
        if let Some((at, _)) = farthest {
            self.dropped = Some(self.dropped.map_or(at, |nearest| nearest.min(at)));
        }
        Arming { is_nearest, dropped: farthest.map(|(_, key)| key) }
    }

    pub(crate) fn disarm(&mut self, at: T, key: RowKey) {
        self.due.remove(&(at, key));
    }

    pub(crate) fn nearest(&self) -> Option<T> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Takes up to `max` timers that are due.
    pub(crate) fn take_due(&mut self, now: T, max: usize) -> Vec<RowKey> {
        let mut taken = Vec::new();
        while taken.len() < max && self.nearest().is_some_and(|at| at <= now) {
            taken.extend(self.due.pop_first().map(|(_, key)| key));
        }
        taken
    }

    /// Whether a timer that was dropped is nearer than all in memory: time to arm all from their objects.
    pub(crate) fn wants_rearming(&mut self) -> bool {
        let wants = self.dropped.is_some_and(|dropped| self.nearest().is_none_or(|nearest| nearest > dropped));
        if wants {
            self.dropped = None;
        }
        wants
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::base::time::Timestamp;

    fn key(id: u64) -> RowKey {
        RowKey { kind: 3, id }
    }

    #[test]
    fn timers_come_due_in_order() {
        let mut timers = Timers::default();
        assert!(timers.arm(Timestamp(20), key(1)).is_nearest);
        assert!(timers.arm(Timestamp(10), key(2)).is_nearest);
        assert!(!timers.arm(Timestamp(30), key(3)).is_nearest);
        timers.arm(Timestamp(15), key(4));
        timers.disarm(Timestamp(15), key(4));
        assert_eq!(timers.take_due(Timestamp(20), 10), [key(2), key(1)]);
        assert_eq!(timers.nearest(), Some(Timestamp(30)));
    }

    #[test]
    fn the_farthest_timers_are_dropped_and_asked_for_again() {
        let mut timers = Timers::default();
        for id in 0..TIMERS_IN_MEMORY as u64 {
            assert_eq!(timers.arm(Timestamp(id), key(id)).dropped, None);
        }
        let last = TIMERS_IN_MEMORY as u64 - 1;
        assert_eq!(timers.arm(Timestamp(5), key(last + 1)).dropped, Some(key(last)));
        assert_eq!(timers.arm(Timestamp(last + 2), key(last + 2)).dropped, Some(key(last + 2)));
        assert!(!timers.wants_rearming());
        timers.take_due(Timestamp(u64::MAX), TIMERS_IN_MEMORY);
        assert!(timers.wants_rearming());
        assert!(!timers.wants_rearming());
    }
}
