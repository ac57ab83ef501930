//! A reader that registers, against those who make records visible, and against the one who closes.

use super::check;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::sync::{Arc, AtomicBool, Mutex, Ordering, wait_listener};
use crate::base::time::Timestamp;
use crate::engine::logs::Logs;
use crate::engine::machine::LogAppend;
use crate::engine::wake::{self, HoldsLogs};
use crate::engine::watched::Watched;
use crate::journal::marks::Mark;

const LOG: LogId = LogId(1);

struct Core(Logs, Watched);

impl HoldsLogs for Core {
    fn logs(&mut self) -> &mut Logs {
        &mut self.0
    }

    fn log_start(&self, _log: LogId) -> Option<u64> {
        Some(0)
    }

    fn watched(&mut self) -> &mut Watched {
        &mut self.1
    }
}

struct Store {
    core: Mutex<Core>,
    durable: Mark,
    closed: AtomicBool,
}

impl Store {
    fn new() -> Arc<Store> {
        let mut logs = Logs::default();
        logs.open(LOG, 0, None);
        let core = Mutex::new(Core(logs, Watched::default()));
        Arc::new(Store { core, durable: Mark::new(Lsn(0)), closed: AtomicBool::new(false) })
    }

    /// Appends record `first`, in a frame that ends at `end`; with `sync` it is hidden until `durable` has passed it.
    fn append(&self, first: u64, end: Lsn, sync: bool) {
        let barrier = sync.then_some(end);
        let append = LogAppend { log: LOG, first, count: 1, timestamp: Timestamp(first), bytes: 8 };
        let mut core = self.core.lock();
        let wants = core.0.append(&append, 0, first as u32 * 8, barrier);
        let event = match barrier {
            Some(end) => {
                core.0.wake_at(end, LOG);
                None
            }
            None => wants.wake.then(|| core.0.to_wake(LOG)).flatten(),
        };
        drop(core);
        event.iter().for_each(|event| drop(event.notify(usize::MAX)));
    }

    fn commit(&self, end: Lsn) {
        self.durable.advance(end);
        wake::reveal(&self.core, end);
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        let event = self.core.lock().0.to_wake(LOG);
        event.iter().for_each(|event| {
            event.notify(usize::MAX);
        });
    }

    fn check_alive(&self) -> Result<(), ()> {
        if self.closed.load(Ordering::Acquire) { Err(()) } else { Ok(()) }
    }

    /// Waits until `records` are visible, or until nobody will wake any more.
    fn read(&self, records: u64) -> Result<(), ()> {
        loop {
            let durable = self.durable.get();
            if self.core.lock().0.get_mut(LOG).expect("it stays open").visible_end(durable) >= records {
                return Ok(());
            }
            let registered = wake::register(&self.core, &self.durable, || self.check_alive(), LOG, records - 1)?;
            if let Some((_event, listener)) = registered {
                wait_listener(listener, None);
                self.core.lock().0.get_mut(LOG).expect("it stays open").leave();
            }
        }
    }
}

#[test]
fn loom_wake_by_an_append_and_by_its_commit() {
    check(3, || {
        let store = Store::new();
        let reader = store.clone();
        let reader = loom::thread::spawn(move || reader.read(2));
        store.append(0, Lsn(8), true);
        store.append(1, Lsn(16), false);
        store.commit(Lsn(16));
        reader.join().expect("the reader ends").expect("nobody closes");
    });
}

#[test]
fn loom_wake_by_an_append_at_buffered() {
    check(3, || {
        let store = Store::new();
        let reader = store.clone();
        let reader = loom::thread::spawn(move || reader.read(1));
        store.append(0, Lsn(8), false);
        reader.join().expect("the reader ends").expect("nobody closes");
    });
}

#[test]
fn loom_wake_by_closing() {
    check(3, || {
        let store = Store::new();
        let reader = store.clone();
        let reader = loom::thread::spawn(move || reader.read(1));
        store.close();
        reader.join().expect("the reader ends").expect_err("there is no record");
    });
}
