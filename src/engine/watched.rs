//! Objects that somebody waits for a change of.
//!
//! As with records, a change that was written for `Sync` wakes once it is durable: those who look sooner are told of
//! nothing new (law 4). What changes at `Buffered` wakes at once.
//!
//! For objects of which each who waits may have a part they stand in line (`line.rs`), and a change wakes one of them.
//!
//! Invariant: whoever was told that there is nothing new, although there is something that is not durable yet, is woken
//! by an effect at that address; it is entered when the object is changed, or when the waiter is.

use std::collections::BTreeSet;

use hashbrown::HashMap;

use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::{Arc, Event};

use super::line::{Line, Stand, Ticket};

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
    lines: HashMap<RowKey, Line, foldhash::fast::RandomState>,
    /// A bit for each kind of which somebody may wait: of most frames no object is looked up.
    kinds: u64,
    /// Objects to wake for once `durable` has reached the address.
    effects: BTreeSet<(Lsn, RowKey)>,
}

impl Watched {
    /// Registers a waiter. What it would have seen rests on what is below `rests_on`, if that is not durable yet.
    pub(crate) fn wait(&mut self, key: RowKey, rests_on: Option<Lsn>) -> Arc<Event> {
        assert!(!self.lines.contains_key(&key), "one waits for an object or stands in line for it");
        self.kinds |= bit_of(key);
        self.effects.extend(rests_on.map(|end| (end, key)));
        let new = || Cell { waiting: 0, touched: Lsn(0), event: Arc::new(Event::new()) };
        let cell = self.cells.entry(key).or_insert_with(new);
        cell.waiting += 1;
        cell.event.clone()
    }

    /// Enters a line, as [`Watched::wait`] registers; `None` if it is not to wait, as [`Line::enter`] says.
    pub(crate) fn enter_line(
        &mut self,
        key: RowKey,
        stand: Stand,
        rests_on: Option<Lsn>,
    ) -> Option<(Ticket, Arc<Event>)> {
        assert!(!self.cells.contains_key(&key), "one waits for an object or stands in line for it");
        let entered = self.lines.entry(key).or_default().enter(stand);
        if entered.is_some() {
            self.kinds |= bit_of(key);
            self.effects.extend(rests_on.map(|end| (end, key)));
        }
        self.forget_if_empty(key);
        entered
    }

    /// Leaves a line. `offers` tells whether there is something still; whom that wakes is told.
    pub(crate) fn leave_line(
        &mut self,
        key: RowKey,
        ticket: Ticket,
        offers: impl FnOnce() -> bool,
    ) -> Option<Arc<Event>> {
        let woken = self.lines.get_mut(&key)?.leave(ticket, offers);
        self.forget_if_empty(key);
        woken
    }

    /// How much those in line may have who were woken and have not looked yet, and come before this priority.
    pub(crate) fn room_above(&self, key: RowKey, priority: u8) -> usize {
        if self.kinds & bit_of(key) == 0 {
            return 0;
        }
        self.lines.get(&key).map_or(0, |line| line.room_above(priority))
    }

    fn forget_if_empty(&mut self, key: RowKey) {
        if self.lines.get(&key).is_some_and(Line::is_empty) {
            self.lines.remove(&key);
        }
        self.forget_all_if_none();
    }

    /// Whether anybody waits for a change of the object.
    pub(crate) fn is_watched(&self, key: RowKey) -> bool {
        self.cells.contains_key(&key) || self.lines.contains_key(&key)
    }

    pub(crate) fn leave(&mut self, key: RowKey) {
        let cell = self.cells.get_mut(&key).expect("who leaves has waited");
        cell.waiting -= 1;
        if cell.waiting == 0 {
            self.cells.remove(&key);
        }
        self.forget_all_if_none();
    }

    fn forget_all_if_none(&mut self) {
        if self.cells.is_empty() && self.lines.is_empty() {
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
        let (cell, line) = (self.cells.get_mut(&key), self.lines.get_mut(&key));
        let touched = match (&cell, &line) {
            (None, None) => return None,
            (Some(cell), _) => cell.touched,
            (None, Some(line)) => line.touched,
        };
        if touched == end {
            return None;
        }
        cell.into_iter().for_each(|cell| cell.touched = end);
        line.into_iter().for_each(|line| line.touched = end);
        if sync {
            self.effects.insert((end, key));
            return None;
        }
        self.changed(key)
    }

    /// Whom a change wakes.
    fn changed(&mut self, key: RowKey) -> Option<Arc<Event>> {
        match self.lines.get_mut(&key) {
            Some(line) => line.change(),
            None => self.cells.get(&key).map(|cell| cell.event.clone()),
        }
    }

    /// Events of those whom `durable` releases, at most `max` of them. Tells whether more may be left.
    pub(crate) fn take_effects(&mut self, durable: Lsn, max: usize, wake: &mut Vec<Arc<Event>>) -> bool {
        for _ in 0..max {
            let due = self.effects.first().is_some_and(|(end, _)| *end <= durable);
            let Some((_, key)) = due.then(|| self.effects.pop_first()).flatten() else { return false };
            wake.extend(self.changed(key));
        }
        true
    }

    /// The event of each who waits.
    pub(crate) fn events(&self) -> Vec<Arc<Event>> {
        let of_cells = self.cells.values().map(|cell| cell.event.clone());
        of_cells.chain(self.lines.values().flat_map(Line::events)).collect()
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
