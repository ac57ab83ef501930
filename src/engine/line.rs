//! Who waits in line for something of which each may have a part: consumers of a queue, for its next messages.
//!
//! A change wakes one of those who sleep: of the highest priority, and of those who came first. Who was woken stays in
//! line until it has looked. When it leaves, and there is something still, the wake goes on to the next; so it does
//! when who was woken leaves without having looked. A thousand who wait cost a change no more than one does.
//!
//! Invariants:
//! * Each change wakes somebody, or nobody sleeps. So whoever looked before the change is followed by one who looks
//!   after it.
//! * Nobody is woken twice by what has not changed meanwhile: the wake that nobody has use for ends. Who was told to
//!   let others go first has not looked, and is woken all the same.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::base::lsn::Lsn;
use crate::base::sync::{Arc, Event};

/// How somebody stands in line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stand {
    /// The higher one is woken first.
    pub(crate) priority: u8,
    /// How much it may have.
    pub(crate) room: usize,
    /// It was told to let others go first that had been woken before.
    pub(crate) yields: bool,
}

/// A place in line: by priority, then by when it was taken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Ticket {
    priority: Reverse<u8>,
    number: u64,
}

#[derive(Debug)]
struct Sleeper {
    event: Arc<Event>,
    room: usize,
    /// The change up to which it has looked.
    seen: u64,
}

/// All who stand in line for one object.
#[derive(Default, Debug)]
pub(super) struct Line {
    asleep: BTreeMap<Ticket, Sleeper>,
    /// With what each may have.
    awake: BTreeMap<Ticket, usize>,
    /// Changes since somebody stands here.
    changes: u64,
    next: u64,
    /// End of the last frame that changed it.
    pub(super) touched: Lsn,
}

impl Line {
    /// `None` if it is to let others go first, and there are none any more.
    pub(super) fn enter(&mut self, stand: Stand) -> Option<(Ticket, Arc<Event>)> {
        let Stand { priority, room, yields } = stand;
        if yields && self.room_above(priority) == 0 {
            return None;
        }
        self.next += 1;
        let ticket = Ticket { priority: Reverse(priority), number: self.next };
        let event = Arc::new(Event::new());
        // What has changed is counted from 1: there is always one that it has not seen.
        let seen = if yields { 0 } else { self.changes + 1 };
        self.asleep.insert(ticket, Sleeper { event: event.clone(), room, seen });
        Some((ticket, event))
    }

    pub(super) fn change(&mut self) -> Option<Arc<Event>> {
        self.changes += 1;
        self.wake_next()
    }

    /// Wakes the first who sleeps and has not looked since the last change.
    fn wake_next(&mut self) -> Option<Arc<Event>> {
        let changes = self.changes;
        let (ticket, _) = self.asleep.iter().find(|(_, sleeper)| sleeper.seen < changes + 1)?;
        let ticket = *ticket;
        let Sleeper { event, room, .. } = self.asleep.remove(&ticket).expect("just found");
        self.awake.insert(ticket, room);
        Some(event)
    }

    /// Leaves; if it was awake, and there is something still, the wake goes on.
    pub(super) fn leave(&mut self, ticket: Ticket, offers: impl FnOnce() -> bool) -> Option<Arc<Event>> {
        match self.awake.remove(&ticket) {
            #[cfg(not(planted = "wake_kept"))]
            Some(_) if offers() => self.wake_next(),
            Some(_) => None,
            None => {
                self.asleep.remove(&ticket);
                None
            }
        }
    }

    /// How much those may have that are awake and come before this priority.
    pub(super) fn room_above(&self, priority: u8) -> usize {
        let above = self.awake.range(..Ticket { priority: Reverse(priority), number: 0 });
        above.map(|(_, room)| *room).fold(0, usize::saturating_add)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.asleep.is_empty() && self.awake.is_empty()
    }

    /// Wakes all, for good.
    pub(super) fn events(&self) -> impl Iterator<Item = Arc<Event>> {
        self.asleep.values().map(|sleeper| sleeper.event.clone())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn stand(priority: u8) -> Stand {
        Stand { priority, room: 1, yields: false }
    }

    fn enter(line: &mut Line, priority: u8) -> (Ticket, Arc<Event>) {
        line.enter(stand(priority)).expect("it lets nobody go first")
    }

    fn is(woken: Option<Arc<Event>>, who: &(Ticket, Arc<Event>)) -> bool {
        woken.is_some_and(|woken| Arc::ptr_eq(&woken, &who.1))
    }

    #[test]
    fn a_change_wakes_one_the_higher_priority_first_then_who_came_first() {
        let mut line = Line::default();
        let (low, first, second) = (enter(&mut line, 0), enter(&mut line, 5), enter(&mut line, 5));
        for who in [&first, &second, &low] {
            assert!(is(line.change(), who));
        }
        assert!(line.change().is_none(), "nobody sleeps");
    }

    #[test]
    fn who_leaves_hands_the_wake_on_if_there_is_something_still() {
        let mut line = Line::default();
        let (first, second, third) = (enter(&mut line, 0), enter(&mut line, 0), enter(&mut line, 0));
        line.change();
        assert!(is(line.leave(first.0, || true), &second));
        assert!(line.leave(second.0, || false).is_none());
        assert!(line.leave(third.0, || panic!("it was not awake")).is_none());
        assert!(line.is_empty());
    }

    #[test]
    fn the_wake_ends_once_everybody_has_looked() {
        let mut line = Line::default();
        let (first, second) = (enter(&mut line, 0), enter(&mut line, 0));
        line.change();
        let again = enter(&mut line, 0);
        assert!(is(line.leave(first.0, || true), &second));
        assert!(line.leave(second.0, || true).is_none(), "the third has looked");
        assert!(is(line.change(), &again));
    }

    #[test]
    fn who_lets_others_go_first_is_woken_behind_them_and_does_not_wait_for_none() {
        let mut line = Line::default();
        let high = enter(&mut line, 5);
        line.change();
        assert_eq!((line.room_above(0), line.room_above(5)), (1, 0));
        let low = line.enter(Stand { yields: true, ..stand(0) }).expect("the other has yet to look");
        assert!(is(line.leave(high.0, || true), &low));
        assert!(line.enter(Stand { yields: true, ..stand(0) }).is_none(), "nobody goes first");
    }
}
