//! Objects that somebody waits for a change of.
//!
//! As with records, a change that was written for `Sync` wakes once it is durable: those who look sooner are told of
//! nothing new (law 4). What changes at `Buffered` wakes at once.
//!
//! Invariant: whoever was told that there is nothing new, although there is something that is not durable yet, is woken
//! by an effect at that address; it is entered when the object is changed, or when the waiter is.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::{Arc, Event};

/// Who waits for one object.
#[derive(Debug)]
struct Cell {
    waiting: u32,
    /// End of the last frame that touched it: a frame wakes once, however often it touches.
    touched: Lsn,
    event: Arc<Event>,
}

/// All who wait.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    cells: HashMap<RowKey, Cell, foldhash::fast::RandomState>,
    /// A bit for each kind of which somebody may wait: of most frames no object is looked up.
    kinds: u64,
    /// Objects to wake for once `durable` has reached the address.
    effects: BTreeSet<(Lsn, RowKey)>,
}

impl Watched {
    /// Registers a waiter. What it would have seen rests on what is below `rests_on`, if that is not durable yet.
    pub(crate) fn wait(&mut self, key: RowKey, rests_on: Option<Lsn>) -> Arc<Event> {
        self.kinds |= bit_of(key);
        self.effects.extend(rests_on.map(|end| (end, key)));
        let new = || Cell { waiting: 0, touched: Lsn(0), event: Arc::new(Event::new()) };
        let cell = self.cells.entry(key).or_insert_with(new);
        cell.waiting += 1;
        cell.event.clone()
    }

    /// Whether anybody waits for a change of the object.
    pub(crate) fn is_watched(&self, key: RowKey) -> bool {
        self.cells.contains_key(&key)
    }

    pub(crate) fn leave(&mut self, key: RowKey) {
        let cell = self.cells.get_mut(&key).expect("who leaves has waited");
        cell.waiting -= 1;
        if cell.waiting == 0 {
            self.cells.remove(&key);
        }
        if self.cells.is_empty() {
            self.kinds = 0;
            self.effects.clear();
        }
    }

    /// To be called for every object that an event changes. Whom it wakes at once is told; with `sync` it is left to
    /// whoever moves `durable` to `end`.
    #[inline]
    pub(crate) fn touch(&mut self, key: RowKey, end: Lsn, sync: bool) -> Option<Arc<Event>> {
        if self.kinds & bit_of(key) == 0 { None } else { self.touch_watched(key, end, sync) }
    }

    fn touch_watched(&mut self, key: RowKey, end: Lsn, sync: bool) -> Option<Arc<Event>> {
        let cell = self.cells.get_mut(&key)?;
        if std::mem::replace(&mut cell.touched, end) == end {
            return None;
        }
        if sync {
            self.effects.insert((end, key));
            return None;
        }
        Some(cell.event.clone())
    }

    /// Events of those whom `durable` releases, at most `max` of them. Tells whether more may be left.
    pub(crate) fn take_effects(&mut self, durable: Lsn, max: usize, wake: &mut Vec<Arc<Event>>) -> bool {
        for _ in 0..max {
            let due = self.effects.first().is_some_and(|(end, _)| *end <= durable);
            let Some((_, key)) = due.then(|| self.effects.pop_first()).flatten() else { return false };
            wake.extend(self.cells.get(&key).map(|cell| cell.event.clone()));
        }
        true
    }

    /// The event of each who waits.
    pub(crate) fn events(&self) -> Vec<Arc<Event>> {
        self.cells.values().map(|cell| cell.event.clone()).collect()
    }
}

const fn bit_of(key: RowKey) -> u64 {
    1 << (key.kind % 64)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const CAROL: RowKey = RowKey { kind: 34, id: 1 };
    const DAVE: RowKey = RowKey { kind: 34, id: 2 };

    fn released(watched: &mut Watched, durable: Lsn) -> usize {
        let mut wake = Vec::new();
        assert!(!watched.take_effects(durable, 10, &mut wake));
        wake.len()
    }

    #[test]
    fn a_change_at_buffered_wakes_at_once_and_only_those_who_wait_for_the_object() {
        let mut watched = Watched::default();
        assert!(watched.touch(CAROL, Lsn(8), false).is_none(), "nobody waits");
        let event = watched.wait(CAROL, None);
        assert!(watched.touch(DAVE, Lsn(16), false).is_none());
        let woken = watched.touch(CAROL, Lsn(24), false).expect("somebody waits");
        assert!(Arc::ptr_eq(&woken, &event));
        assert!(watched.touch(CAROL, Lsn(24), false).is_none(), "one frame wakes once");
        watched.leave(CAROL);
        assert!(watched.touch(CAROL, Lsn(32), false).is_none(), "nobody waits any more");
    }

    #[test]
    fn a_change_at_sync_wakes_once_it_is_durable() {
        let mut watched = Watched::default();
        watched.wait(CAROL, None);
        assert!(watched.touch(CAROL, Lsn(24), true).is_none());
        assert_eq!((released(&mut watched, Lsn(16)), released(&mut watched, Lsn(24))), (0, 1));
        assert_eq!(released(&mut watched, Lsn(24)), 0);
    }

    #[test]
    fn who_comes_before_an_earlier_change_is_durable_is_woken_by_it() {
        let mut watched = Watched::default();
        watched.wait(CAROL, Some(Lsn(24)));
        watched.wait(DAVE, Some(Lsn(16)));
        assert_eq!((released(&mut watched, Lsn(16)), released(&mut watched, Lsn(24))), (1, 1));
        watched.wait(CAROL, Some(Lsn(32)));
        (0..2).for_each(|_| watched.leave(CAROL));
        watched.leave(DAVE);
        assert_eq!((watched.effects.len(), watched.kinds), (0, 0), "nothing is left behind");
    }
}
