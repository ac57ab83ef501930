//! Appends that are waited for later, and who sees what before it is durable.

use std::time::Duration;

use towpath::{AppendOptions, From, Level, Options, Record, StreamOptions, Ticket};

use crate::place::{Place, drain, texts};
use crate::stream;
use crate::wait::block_on;

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
    let db = never_flushed().open_temporary().unwrap();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let ticket = orders.submit(Record::new(b"a mug"), &AppendOptions::new()).unwrap();
    db.sync().unwrap();
    assert!(ticket.is_done());
    assert_eq!(ticket.wait().unwrap().offset, 0);
}

#[test]
fn a_buffered_ticket_is_done_at_once() {
    let db = never_flushed().open_temporary().unwrap();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let ticket = orders.submit(Record::new(b"a mug"), &AppendOptions::new().level(Level::Buffered)).unwrap();
    assert!(ticket.is_done());
    assert_eq!(ticket.wait().unwrap().receipt.level, Level::Buffered);
}

#[test]
fn dropping_a_ticket_does_not_undo_the_append() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    drop(orders.submit(Record::new(b"a mug"), &AppendOptions::new()).unwrap());
    drop(orders.submit(Record::new(b"a plate"), &AppendOptions::new()).unwrap());
    let mut reader = orders.reader(0, From::Earliest).unwrap();
    while reader.position() < 2 {
        reader.receive(10).unwrap();
    }
    drop((orders, reader));
    db.close().unwrap();
    assert_eq!(texts(&place.open().stream("orders").unwrap(), 0), ["a mug", "a plate"]);
}

#[test]
fn a_time_limit_is_refused_as_timed_out_or_kept() {
    let (_db, orders) = stream(StreamOptions::new());
    for number in 0..20 {
        let options = AppendOptions::new().timeout(Duration::from_micros(number * 20));
        match orders.append_with(Record::new(b"a mug"), &options) {
            Ok(_) | Err(towpath::Error::TimedOut) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let seen = orders.append("a plate").unwrap().offset;
    let texts = texts(&orders, 0);
    assert_eq!(texts.len() as u64, seen + 1, "one that timed out may be there, and then in its place");
}

#[test]
fn a_buffered_record_is_seen_before_it_is_durable() {
    let db = never_flushed().open_temporary().unwrap();
    let orders = db.create_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    let appended = orders.append("a mug").unwrap();
    assert_eq!(texts(&orders, 0), ["a mug"]);
    assert!(db.stats().unwrap().durable_lsn <= appended.lsn().get());
}

#[test]
fn a_sync_record_is_seen_once_it_is_durable_and_a_buffered_one_behind_it_not_earlier() {
    let (db, orders) = stream(StreamOptions::new());
    let mut reader = orders.reader(0, From::Earliest).unwrap();
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
        let latest = orders.reader(0, From::Latest).unwrap().position();
        let held = texts(&orders, 0).len() as u64;
        assert!(described <= latest && latest <= held, "{described} {latest} {held}");
        ticket.wait().unwrap();
    }
    assert_eq!(orders.describe().unwrap().partitions[0].end_offset, 200);
}
