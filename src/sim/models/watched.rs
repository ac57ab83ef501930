//! One who waits for a change of an object, against those who change it, who make it durable, and who close.

use super::check;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::{Arc, AtomicBool, Mutex, Ordering, wait_listener};
use crate::engine::logs::Logs;
use crate::engine::wake::{self, HoldsLogs, Sight};
use crate::engine::watched::Watched;
use crate::journal::marks::Mark;

const MEMBER: RowKey = RowKey { kind: 34, id: 1 };

#[derive(Default)]
struct Core {
    logs: Logs,
    watched: Watched,
    /// The object: how often it was changed.
    changes: u64,
    /// End of the last frame that changed it for `Sync`.
    barrier: Lsn,
}

impl Core {
    fn sight(&self, known: u64) -> Sight<u64> {
        if self.changes == known { Sight::Nothing } else { Sight::Seen(self.changes, self.barrier) }
    }
}

impl HoldsLogs for Core {
    fn logs(&mut self) -> &mut Logs {
        &mut self.logs
    }

    fn log_start(&self, _log: LogId) -> Option<u64> {
        None
    }

    fn watched(&mut self) -> &mut Watched {
        &mut self.watched
    }
}

struct Store {
    core: Mutex<Core>,
    durable: Mark,
    closed: AtomicBool,
}

impl Store {
    fn new() -> Arc<Store> {
        let (core, durable) = (Mutex::new(Core::default()), Mark::new(Lsn(0)));
        Arc::new(Store { core, durable, closed: AtomicBool::new(false) })
    }

    /// Changes the object in a frame that ends at `end`; with `sync` it is hidden until `durable` has passed it.
    fn change(&self, end: Lsn, sync: bool) {
        let mut core = self.core.lock();
        core.changes += 1;
        if sync {
            core.barrier = end;
        }
        let event = core.watched.touch(MEMBER, end, sync);
        drop(core);
        event.iter().for_each(|event| drop(event.notify(usize::MAX)));
    }

    fn commit(&self, end: Lsn) {
        self.durable.advance(end);
        wake::reveal(&self.core, end);
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let events = self.core.lock().watched.events();
        events.iter().for_each(|event| drop(event.notify(usize::MAX)));
    }

    fn check_alive(&self) -> Result<(), ()> {
        if self.closed.load(Ordering::Acquire) { Err(()) } else { Ok(()) }
    }

    /// Waits until it has seen this many changes, or until nobody will wake any more.
    fn watch(&self, changes: u64) -> Result<(), ()> {
        let mut known = 0;
        while known < changes {
            self.check_alive()?;
            let seen = self.core.lock().sight(known);
            match seen {
                Sight::Seen(changes, end) if end <= self.durable.get() => known = changes,
                _ => self.wait(known)?,
            }
        }
        Ok(())
    }

    fn wait(&self, known: u64) -> Result<(), ()> {
        let look = |core: &Core| core.sight(known);
        let registered = wake::register_for_object(&self.core, &self.durable, || self.check_alive(), MEMBER, look)?;
        if let Some(listener) = registered {
            // It keeps its place: what is dropped with the last reference to the event, loom takes for a race, because
            // it does not see who counts them.
            wait_listener(listener, None);
        }
        Ok(())
    }
}

#[test]
fn loom_watched_change_at_buffered() {
    check(3, || {
        let store = Store::new();
        let member = store.clone();
        let member = loom::thread::spawn(move || member.watch(1));
        store.change(Lsn(8), false);
        member.join().expect("the member ends").expect("nobody closes");
    });
}

#[test]
fn loom_watched_change_and_its_commit() {
    check(3, || {
        let store = Store::new();
        let member = store.clone();
        let member = loom::thread::spawn(move || member.watch(2));
        store.change(Lsn(8), true);
        store.change(Lsn(16), false);
        store.commit(Lsn(16));
        member.join().expect("the member ends").expect("nobody closes");
    });
}

#[test]
fn loom_watched_changes_of_two() {
    check(2, || {
        let store = Store::new();
        let (member, other) = (store.clone(), store.clone());
        let member = loom::thread::spawn(move || member.watch(2));
        let other = loom::thread::spawn(move || other.change(Lsn(8), false));
        store.change(Lsn(16), false);
        other.join().expect("the other ends");
        member.join().expect("the member ends").expect("nobody closes");
    });
}

#[test]
fn loom_watched_closing() {
    check(3, || {
        let store = Store::new();
        let member = store.clone();
        let member = loom::thread::spawn(move || member.watch(1));
        store.close();
        member.join().expect("the member ends").expect_err("nothing changes");
    });
}
