//! A disk that fails: nobody is left waiting for what will never be.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::base::sync::wait_listener;
use crate::engine::DurableWait;
use crate::sim::disk::{Fault as DiskFault, Operations};
use crate::{AppendOptions, Database, Error, Start, StreamOptions};

/// Far beyond what anything here takes; a test that reaches it would hang.
const PATIENCE_MICROS: u64 = 60_000_000;

#[derive(Default)]
struct Wakes(AtomicU64);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// An issued record whose sync will fail.
fn issue_and_fail_syncs(bench: &Bench) -> (StreamHandle, DurableWait<Primitives>) {
    let stream = bench.create("orders", 1, streams::Retention::default());
    let before = bench.engine.positions().issued;
    bench.append(stream, 0, b"one blue mug", Level::Buffered);
    bench.disk.inject(DiskFault::on(Operations::Syncs).forever());
    (stream, DurableWait::new(bench.engine.clone(), before.plus(1)))
}

#[test]
fn a_ticket_is_done_once_the_disk_has_failed_and_tells_that_the_outcome_is_unknown() {
    let bench = Bench::new();
    let (_, ticket) = issue_and_fail_syncs(&bench);
    assert!(!ticket.is_done());
    assert!(matches!(bench.engine.sync(None), Err(Fault::OutcomeUnknown)));
    assert!(ticket.is_done(), "waiting returns at once");
    assert!(matches!(ticket.wait(None), Err(Fault::OutcomeUnknown)));
}

#[test]
fn a_task_that_waits_for_a_ticket_is_woken_when_the_disk_fails() {
    let bench = Bench::new();
    let (_, ticket) = issue_and_fail_syncs(&bench);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(wakes.clone());
    let mut ticket = pin!(ticket);
    assert!(ticket.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(matches!(bench.engine.sync(None), Err(Fault::OutcomeUnknown)));
    assert!(wakes.0.load(Ordering::SeqCst) > 0);
    let outcome = ticket.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(matches!(outcome, Poll::Ready(Err(Fault::OutcomeUnknown))));
}

#[test]
fn a_reader_that_waits_is_woken_when_the_disk_fails() {
    let bench = Bench::new();
    let (stream, _ticket) = issue_and_fail_syncs(&bench);
    let log = bench.log(stream, 0);
    let (_event, listener) = bench.engine.wait_for(log, 1).expect("it is open").expect("there is nothing to see");
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            assert!(wait_listener(listener, Some(PATIENCE_MICROS)), "nobody woke the reader");
            bench.engine.wait_for(log, 1)
        });
        assert!(matches!(bench.engine.sync(None), Err(Fault::OutcomeUnknown)));
        assert!(matches!(reader.join().expect("it ends"), Err(Fault::Poisoned)));
    });
    assert!(matches!(bench.try_append(stream, 0, b"another", Level::Buffered), Err(Refused::Fault(Fault::Poisoned))));
    assert_eq!(bench.read_from(log, 0).0.len(), 1, "what is there can still be read");
}

#[test]
fn blocking_calls_of_every_kind_end_when_the_disk_fails() {
    let disk = SimDisk::new(1);
    let clock = ManualClock::starting_at(Timestamp(NOON));
    let opened = Database::open_on(disk.attach(), options(&clock), Level::Sync);
    let db = opened.expect("nothing refuses it");
    let orders = db.create_stream("orders", StreamOptions::new()).expect("a new stream");
    let patience = std::time::Duration::from_micros(PATIENCE_MICROS);
    std::thread::scope(|scope| {
        let mut reader = orders.reader(0, Start::Latest).expect("it is there");
        let reading = scope.spawn(move || reader.receive_timeout(1, patience).map(|records| records.is_some()));
        disk.inject(DiskFault::on(Operations::Syncs).forever());
        let buffered = AppendOptions::new().level(Level::Buffered);
        let writing: Vec<_> = (0..4).map(|_| scope.spawn(|| orders.append("one blue mug"))).collect();
        for writer in writing {
            let told = writer.join().expect("it ends");
            assert!(matches!(told, Err(Error::OutcomeUnknown | Error::Poisoned)), "{told:?}");
        }
        let told = reading.join().expect("it ends");
        assert!(matches!(told, Err(Error::Poisoned)), "{told:?}");
        let told = orders.append_with(crate::Record::new(b"another"), &buffered);
        assert!(matches!(told, Err(Error::Poisoned)), "{told:?}");
    });
    assert!(matches!(db.close(), Err(Error::Poisoned)));
}

#[test]
fn a_panic_between_a_frame_and_its_effect_poisons_and_wakes_those_who_wait() {
    let bench = Bench::new();
    let stream = bench.create("orders", 1, streams::Retention::default());
    let log = bench.log(stream, 0);
    bench.append(stream, 0, b"one blue mug", Level::Sync);
    bench.engine.core.lock().logs.get_mut(log).expect("it is open").end += 1;
    let (_event, listener) = bench.engine.wait_for(log, 2).expect("it is open").expect("there is nothing to see");
    let append = || bench.append(stream, 0, b"two green plates", Level::Buffered);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(append));
    panicked.expect_err("positions and state disagree");
    assert!(wait_listener(listener, Some(PATIENCE_MICROS)), "nobody woke the reader");
    let next = bench.try_append(stream, 0, b"another", Level::Buffered);
    assert!(matches!(next, Err(Refused::Fault(Fault::Poisoned))), "{next:?}");
    bench.engine.abandon();
    let bench = Bench::open(bench.disk, bench.clock);
    assert_eq!(bench.read_from(log, 0).0.len(), 2, "what the journal says holds");
}
