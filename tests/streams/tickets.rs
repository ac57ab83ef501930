//! Appends that are waited for later, and who sees what before it is durable.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use towpath::{AppendOptions, Appended, Error, Level, Options, Record, Start, Stream, StreamOptions, Ticket};

use crate::opening::{database_with, refusal_of, stream};
use crate::place::executor::block_on;
use crate::place::{IS_ATTACHED, PATIENCE, Place, drain, texts};

/// Nothing is synced unless someone waits for it.
fn never_flushed() -> Options {
    Options::temporary().flush_interval(Duration::from_secs(3600))
}

#[test]
fn a_ticket_waits_for_the_disk() {
    let (db, orders) = stream(StreamOptions::new());
    let tickets: Vec<Ticket<_>> =
        (0..100).map(|_| orders.submit(Record::new(b"a mug"), &AppendOptions::new()).unwrap()).collect();
    for (number, ticket) in (0..).zip(tickets) {
        let appended = ticket.wait().unwrap();
        assert_eq!((appended.offset, appended.receipt.level), (number, Level::Sync));
        assert!(db.stats().unwrap().durable_lsn > appended.lsn().get());
    }
}

#[test]
fn a_ticket_is_a_future() {
    let (db, orders) = stream(StreamOptions::new());
    let tickets: Vec<Ticket<_>> =
        (0..20).map(|_| orders.submit(Record::new(b"a mug"), &AppendOptions::new()).unwrap()).collect();
    for (number, ticket) in (0..).zip(tickets) {
        let appended = block_on(ticket).unwrap();
        assert_eq!(appended.offset, number);
        assert!(db.stats().unwrap().durable_lsn > appended.lsn().get());
    }
}

#[test]
fn a_ticket_can_be_waited_for_in_pieces() {
    let (_db, orders) = stream(StreamOptions::new());
    let mut ticket = orders.submit(Record::new(b"a mug"), &AppendOptions::new()).unwrap();
    let appended = loop {
        ticket = match ticket.wait_timeout(Duration::from_micros(50)) {
            Ok(outcome) => break outcome.unwrap(),
            Err(again) => again,
        };
    };
    assert_eq!(appended.offset, 0);
}

#[test]
fn a_ticket_is_done_after_a_barrier() {
    let db = database_with(never_flushed());
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let ticket = orders.submit(Record::new(b"a mug"), &AppendOptions::new()).unwrap();
    db.sync().unwrap();
    assert!(ticket.is_done());
    assert_eq!(ticket.wait().unwrap().offset, 0);
}

#[test]
fn a_buffered_ticket_is_done_at_once() {
    let db = database_with(never_flushed());
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let ticket = orders.submit(Record::new(b"a mug"), &AppendOptions::new().level(Level::Buffered)).unwrap();
    assert!(ticket.is_done() || IS_ATTACHED, "only the way to the host is waited for");
    assert_eq!(ticket.wait().unwrap().receipt.level, Level::Buffered);
}

#[test]
fn a_batch_has_a_ticket_that_waits_for_the_disk() {
    let db = database_with(never_flushed());
    let orders = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    let bodies = ["a mug", "a plate", "a fork"];
    let keyed = bodies.map(|body| Record::new(body.as_bytes()).key(body.as_bytes()));
    for (round, to) in (0..).zip([Some(1), None]) {
        let options = to.map_or(AppendOptions::new(), |partition| AppendOptions::new().partition(partition));
        let before = db.stats().unwrap().syncs;
        let ticket = orders.submit_batch(&keyed, &options).unwrap();
        // The host of another process begins the sync as soon as it has the batch.
        assert!(db.stats().unwrap().syncs == before || IS_ATTACHED, "it waits for no sync");
        let appended = if round == 0 { ticket.wait() } else { block_on(ticket) }.unwrap();
        assert!(db.stats().unwrap().durable_lsn > appended.receipt.lsn.get());
        assert_eq!(appended.partitions.iter().map(|range| range.records).sum::<u32>(), 3);
        assert!(to.is_none_or(|to| appended.partitions.iter().all(|range| range.partition == to)));
    }
    let ticket = orders.submit_batch(&keyed, &AppendOptions::new().level(Level::Buffered)).unwrap();
    assert!(ticket.is_done() || IS_ATTACHED, "only the way to the host is waited for");
}

#[test]
fn a_batch_that_is_refused_writes_nothing() {
    let (_db, orders) = stream(StreamOptions::new());
    let batch = [Record::new(b"a mug"), Record::new(b"a plate")];
    let wrong = orders.submit_batch(&batch, &AppendOptions::new().expect_offset(1));
    assert!(matches!(refusal_of(wrong), Error::WrongOffset { end: 0, .. }));
    let empty = orders.submit_batch(&[], &AppendOptions::new());
    assert!(matches!(refusal_of(empty), Error::InvalidOption { .. }));
    assert!(texts(&orders, 0).is_empty());
}

#[test]
fn a_barrier_as_a_future_waits_for_what_was_written_before_the_call() {
    let db = database_with(never_flushed());
    let orders = db.create_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    let before = orders.append("a mug").unwrap();
    let barrier = db.sync_async();
    db.sync().unwrap();
    let syncs = db.stats().unwrap().syncs;
    orders.append("a plate").unwrap();
    block_on(barrier).unwrap();
    assert_eq!(db.stats().unwrap().syncs, syncs, "nothing was left to do");
    let last = orders.append("a fork").unwrap();
    block_on(db.sync_async()).unwrap();
    assert!(before.lsn() < last.lsn() && db.stats().unwrap().durable_lsn > last.lsn().get());
    let other = db.clone();
    db.close().unwrap();
    assert!(matches!(block_on(other.sync_async()), Err(Error::Closed)));
}

#[test]
fn dropping_a_ticket_does_not_undo_the_append() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    drop(orders.submit(Record::new(b"a mug"), &AppendOptions::new()).unwrap());
    drop(orders.submit(Record::new(b"a plate"), &AppendOptions::new()).unwrap());
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    while reader.position() < 2 {
        reader.receive(10).unwrap();
    }
    drop((orders, reader));
    db.close().unwrap();
    assert_eq!(texts(&place.open().stream("orders").unwrap(), 0), ["a mug", "a plate"]);
}

/// Answers of each kind that all threads have met so far.
#[derive(Default)]
struct Met {
    timed_out: AtomicU64,
    unconfirmed: AtomicU64,
}

impl Met {
    fn count(&self, error: &Error) {
        match error {
            Error::TimedOut => self.timed_out.fetch_add(1, Ordering::Relaxed),
            Error::Unconfirmed => self.unconfirmed.fetch_add(1, Ordering::Relaxed),
            other => panic!("{other:?}"),
        };
    }

    fn is_enough(&self) -> bool {
        // The host takes the requests of one process one after the other: they hardly ever find its ring full.
        let timed_out = if IS_ATTACHED { 0 } else { 20 };
        self.timed_out.load(Ordering::Relaxed) >= timed_out && self.unconfirmed.load(Ordering::Relaxed) >= 20
    }
}

/// Appends bodies that begin with `name`, each with no time to wait, until enough of each answer were met.
fn hurry(orders: &Stream, name: &str, padding: usize, level: Level, met: &Met) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let options = AppendOptions::new().level(level).timeout(Duration::ZERO);
    let start = Instant::now();
    for number in 0.. {
        let body = format!("{name} {number}{}", ".".repeat(padding));
        let outcome = orders.append_with(Record::new(body.as_bytes()), &options);
        outcome.as_ref().err().into_iter().for_each(|error| met.count(error));
        outcomes.enter(format!("{name} {number}"), &outcome);
        if met.is_enough() {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "never met enough of each answer");
    }
    outcomes
}

#[derive(Default)]
struct Outcomes {
    written: BTreeSet<String>,
    not_written: BTreeSet<String>,
}

impl Outcomes {
    fn enter(&mut self, body: String, outcome: &Result<Appended, Error>) {
        match outcome {
            Err(error) if error.is_retryable() => self.not_written.insert(body),
            _ => self.written.insert(body),
        };
    }
}

#[test]
fn a_timeout_says_whether_the_record_was_written() {
    let (db, orders) = stream(StreamOptions::new());
    let (orders, met) = (&orders, &Met::default());
    let outcomes: Vec<Outcomes> = thread::scope(|scope| {
        let strict = |name| scope.spawn(move || hurry(orders, name, 0, Level::Sync, met));
        let large = scope.spawn(move || hurry(orders, "large", 500_000, Level::Buffered, met));
        let threads = ["a", "b", "c"].map(strict).into_iter().chain([large]);
        threads.map(|thread| thread.join().unwrap()).collect()
    });
    db.sync().unwrap();
    let there: BTreeSet<String> = texts(orders, 0).iter().map(|text| text.trim_end_matches('.').to_owned()).collect();
    let mut written = BTreeSet::new();
    for mut outcomes in outcomes {
        assert!(outcomes.not_written.is_disjoint(&there), "one that may be tried again is there");
        written.append(&mut outcomes.written);
    }
    assert_eq!(there, written);
    assert!(!Error::Unconfirmed.is_poisoned());
}

#[test]
fn a_buffered_record_is_seen_before_it_is_durable() {
    let db = database_with(never_flushed());
    let orders = db.create_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    let appended = orders.append("a mug").unwrap();
    assert_eq!(texts(&orders, 0), ["a mug"]);
    assert!(db.stats().unwrap().durable_lsn <= appended.lsn().get());
}

#[test]
fn a_sync_record_is_seen_once_it_is_durable_and_a_buffered_one_behind_it_not_earlier() {
    let (db, orders) = stream(StreamOptions::new());
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    let mut seen = 0;
    for round in 0..300 {
        let strict = orders.submit(Record::new(b"sync"), &AppendOptions::new()).unwrap();
        let behind = orders.append_with(Record::new(b"behind"), &AppendOptions::new().level(Level::Buffered)).unwrap();
        assert_eq!(behind.offset, 2 * round + 1);
        let shown = drain(&mut reader);
        let durable = db.stats().unwrap().durable_lsn;
        for kept in &shown {
            assert_eq!(kept.offset, seen);
            seen += 1;
            if kept.text() == "sync" {
                assert!(durable > kept.lsn.get(), "offset {} was shown before it was durable", kept.offset);
            }
        }
        if round % 10 == 0 {
            strict.wait().unwrap();
        }
    }
    while seen < 600 {
        seen += reader.receive(100).unwrap().len() as u64;
    }
}

#[test]
fn an_unsynced_sync_record_holds_back_no_other_partition_and_nothing_older() {
    let (_db, orders) = stream(StreamOptions::new().partitions(2));
    let buffered = |partition| AppendOptions::new().partition(partition).level(Level::Buffered);
    for round in 0..100 {
        orders.append_with(Record::new(b"older"), &buffered(0)).unwrap();
        let strict = orders.submit(Record::new(b"sync"), &AppendOptions::new().partition(0)).unwrap();
        orders.append_with(Record::new(b"beside"), &buffered(1)).unwrap();
        assert_eq!(texts(&orders, 1).len(), round + 1);
        assert!(texts(&orders, 0).len() > 2 * round);
        strict.wait().unwrap();
        assert_eq!(texts(&orders, 0).len(), 2 * round + 2);
    }
}

#[test]
fn the_end_that_is_told_is_the_end_that_can_be_read() {
    let (_db, orders) = stream(StreamOptions::new());
    for _ in 0..200 {
        let ticket = orders.submit(Record::new(b"a mug"), &AppendOptions::new()).unwrap();
        let described = orders.describe().unwrap().partitions[0].end_offset;
        let latest = orders.reader(0, Start::Latest).unwrap().position();
        let held = texts(&orders, 0).len() as u64;
        assert!(described <= latest && latest <= held, "{described} {latest} {held}");
        ticket.wait().unwrap();
    }
    assert_eq!(orders.describe().unwrap().partitions[0].end_offset, 200);
}
