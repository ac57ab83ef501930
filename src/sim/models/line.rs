//! Consumers that stand in line for messages, against those who send and make durable, and with one who leaves.

use super::check;
use crate::base::log::LogId;
use crate::base::lsn::Lsn;
use crate::base::row::RowKey;
use crate::base::sync::{Arc, Mutex, wait_listener};
use crate::engine::line::{Stand, Ticket};
use crate::engine::logs::Logs;
use crate::engine::wake::{self, HoldsLogs, Sight};
use crate::engine::watched::Watched;
use crate::journal::marks::Mark;

const QUEUE: RowKey = RowKey { kind: 57, id: 1 };

#[derive(Default)]
struct Core {
    logs: Logs,
    watched: Watched,
    /// How often the queue was sent to, and messages that nobody has.
    news: u64,
    ready: u64,
    /// End of the last frame for `Sync`: what is in it, and behind, is hidden until it is durable.
    barrier: Lsn,
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
}

impl Store {
    fn new() -> Arc<Store> {
        Arc::new(Store { core: Mutex::new(Core::default()), durable: Mark::new(Lsn(0)) })
    }

    fn send(&self, messages: u64, end: Lsn, sync: bool) {
        let mut core = self.core.lock();
        core.news += 1;
        core.ready += messages;
        if sync {
            core.barrier = end;
        }
        let event = core.watched.touch(QUEUE, end, sync);
        drop(core);
        event.iter().for_each(|event| drop(event.notify(usize::MAX)));
    }

    fn commit(&self, end: Lsn) {
        self.durable.advance(end);
        wake::reveal(&self.core, end);
    }

    /// Takes a message, or tells the news.
    fn take(&self) -> Result<(), u64> {
        let mut core = self.core.lock();
        if core.barrier > self.durable.get() || core.ready == 0 {
            return Err(if core.ready > 0 { u64::MAX } else { core.news });
        }
        core.ready -= 1;
        Ok(())
    }

    fn enter(&self, known: u64) -> Option<(Ticket, crate::base::sync::EventListener)> {
        let look = |core: &Core| {
            let sight = if core.news == known { Sight::Nothing } else { Sight::Seen((), core.barrier) };
            (sight, Stand { priority: 0, room: 1, yields: false })
        };
        let entered: Result<_, ()> = wake::enter_line(&self.core, &self.durable, || Ok(()), QUEUE, look);
        entered.expect("nobody closes")
    }

    fn leave(&self, ticket: Ticket) {
        let mut core = self.core.lock();
        let Core { watched, ready, barrier, .. } = &mut *core;
        let woken = watched.leave_line(QUEUE, ticket, || *ready > 0 && *barrier <= self.durable.get());
        drop(core);
        woken.iter().for_each(|event| drop(event.notify(usize::MAX)));
    }

    /// Waits until it has one.
    fn receive(&self) {
        let mut called = None;
        loop {
            let taken = self.take();
            called.take().into_iter().for_each(|ticket| self.leave(ticket));
            let Err(known) = taken else { return };
            if let Some((ticket, listener)) = self.enter(known) {
                wait_listener(listener, None);
                called = Some(ticket);
            }
        }
    }
}

#[test]
fn loom_line_of_two_each_gets_one_of_two() {
    check(2, || {
        let store = Store::new();
        let (one, other) = (store.clone(), store.clone());
        let one = loom::thread::spawn(move || one.receive());
        let other = loom::thread::spawn(move || other.receive());
        store.send(2, Lsn(8), false);
        one.join().expect("the one ends");
        other.join().expect("the other ends");
    });
}

#[test]
fn loom_line_of_two_and_a_commit() {
    check(2, || {
        let store = Store::new();
        let (one, other) = (store.clone(), store.clone());
        let one = loom::thread::spawn(move || one.receive());
        let other = loom::thread::spawn(move || other.receive());
        store.send(1, Lsn(8), true);
        store.send(1, Lsn(16), false);
        store.commit(Lsn(16));
        one.join().expect("the one ends");
        other.join().expect("the other ends");
    });
}

#[test]
fn loom_line_with_one_who_leaves() {
    check(3, || {
        let store = Store::new();
        let (one, other) = (store.clone(), store.clone());
        let one = loom::thread::spawn(move || one.receive());
        let other = loom::thread::spawn(move || {
            // Gives up without having looked, woken or not.
            let entered = other.enter(0);
            entered.into_iter().for_each(|(ticket, _)| other.leave(ticket));
        });
        store.send(1, Lsn(8), false);
        one.join().expect("the one ends");
        other.join().expect("the other ends");
    });
}
