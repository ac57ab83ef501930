//! What is there when the database is opened again, and how it closes.

use std::thread;
use std::time::{Duration, Instant};

use towpath::{AppendOptions, Database, Error, Header, Level, Options, Record, Start, StreamOptions};

use crate::place::{Kept, PATIENCE, Place, disk_bytes, eventually, extent, noise, read_all, texts};

const MIB: u64 = 1 << 20;

/// Streams of several kinds with a few thousand records over several segments.
pub fn fill(db: &Database) {
    let orders = db.create_stream("orders", StreamOptions::new().partitions(3)).unwrap();
    let audit = db.create_stream("audit", StreamOptions::new().retention_records(100)).unwrap();
    let buffered = AppendOptions::new().level(Level::Buffered);
    for number in 0..600 {
        let (key, body) = (noise(number, 8), noise(number, (number as usize * 97) % 40_000));
        let headers = [Header { name: "number", value: &number.to_le_bytes() }];
        orders.append_with(Record::new(&body).key(&key).headers(&headers), &buffered).unwrap();
        audit.append_with(Record::new(b"login of carol"), &buffered).unwrap();
    }
    orders.append(Record::tombstone(b"customer-7")).unwrap();
    orders.trim_before(1, 20).unwrap();
    eventually("retention has held", || extent(&audit, 0) == (500, 600));
}

pub fn everything(db: &Database) -> Vec<(String, Vec<Vec<Kept>>)> {
    let read = |name: &str| {
        let stream = db.stream(name).unwrap();
        (0..stream.partitions()).map(|partition| read_all(&stream, partition)).collect()
    };
    db.streams().unwrap().iter().map(|described| (described.name.clone(), read(&described.name))).collect()
}

#[test]
fn everything_is_there_after_a_close() {
    let place = Place::new();
    let db = place.open();
    fill(&db);
    let (before, described) = (everything(&db), db.streams().unwrap());
    db.close().unwrap();
    for _ in 0..2 {
        let db = place.open();
        assert!(everything(&db) == before);
        assert_eq!(db.streams().unwrap(), described);
        db.close().unwrap();
    }
}

#[test]
fn what_is_buffered_is_synced_within_the_flush_interval_without_being_asked() {
    let place = Place::new();
    let db = place.open_with(Options::temporary().flush_interval(Duration::from_millis(10)));
    let orders = db.create_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    for _ in 0..5 {
        let lsn = orders.append("one blue mug").unwrap().lsn().get();
        eventually("it is durable", || db.stats().unwrap().durable_lsn > lsn);
    }
}

#[test]
fn a_ticket_outlives_the_close_with_a_true_answer() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let submit = |_| orders.submit(Record::new(b"one blue mug"), &AppendOptions::new()).unwrap();
    let tickets: Vec<_> = (0..50).map(submit).collect();
    db.close().unwrap();
    let answers: Vec<_> = tickets.into_iter().map(|ticket| ticket.wait()).collect();
    drop(orders);
    let held = extent(&place.open().stream("orders").unwrap(), 0).1;
    assert_eq!(held, 50, "a close flushes");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

#[test]
fn addresses_and_offsets_go_on_after_reopening() {
    let place = Place::new();
    let mut last = 0;
    for offset in 0..5 {
        let db = place.open();
        let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
        let appended = orders.append("one blue mug").unwrap();
        assert_eq!(appended.offset, offset);
        assert!(appended.lsn().get() > last, "no address is handed out twice");
        last = appended.lsn().get();
    }
}

#[test]
fn the_sizes_it_was_created_with_hold_whatever_is_asked_for_later() {
    let place = Place::new();
    place.close(place.open());
    let db = place.open_with(Options::new().ring_bytes(16 << 20).segment_bytes(32 << 20));
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let large = vec![7; 1 << 20];
    let refused = orders.append_batch(&[Record::new(&large); 3], &AppendOptions::new());
    assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "half of a 4 MiB ring still is the limit");
}

#[test]
fn writing_one_record_each_time_it_is_opened_grows_by_little() {
    let place = Place::new();
    let write = || {
        let db = place.open();
        db.create_stream("orders", StreamOptions::new()).unwrap().append("one blue mug").unwrap();
        place.close(db);
    };
    (0..5).for_each(|_| write());
    let before = disk_bytes(&place.data());
    (0..50).for_each(|_| write());
    let after = disk_bytes(&place.data());
    assert!(after <= before + 4 * MIB, "{before} became {after}: at most one more segment for a few kilobytes");
    assert_eq!(texts(&place.open().stream("orders").unwrap(), 0).len(), 55);
}

#[test]
fn a_close_waits_for_nobody_who_waits() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        let waiting = scope.spawn(move || reader.receive(1).map(|_| ()));
        thread::sleep(Duration::from_millis(10));
        db.close().unwrap();
        assert!(matches!(waiting.join().unwrap(), Err(Error::Closed)));
    });
    assert!(start.elapsed() < PATIENCE);
    drop(orders);
    place.open();
}
