//! What is let go, when, and that the disk follows.

use std::time::Duration;

use towpath::{AppendOptions, Level, ManualClock, Options, Record, Stream, StreamOptions, Timestamp};

use crate::opening::{Opened, database_with, stream};
use crate::place::{Place, disk_bytes, eventually, extent, noise, read_all, texts};

const HOUR: Duration = Duration::from_secs(3600);
const MIB: u64 = 1 << 20;

fn noon() -> Timestamp {
    Timestamp::from_micros(1_790_000_000_000_000)
}

fn aged(clock: &ManualClock) -> (Opened, Stream) {
    let db = database_with(Options::temporary().clock(clock.clone()));
    let orders = db.create_stream("orders", StreamOptions::new().retention_age(HOUR)).unwrap();
    (db, orders)
}

#[test]
fn retention_by_age_lets_go_of_what_is_older_and_keeps_what_is_not() {
    let clock = ManualClock::starting_at(noon());
    let (_db, orders) = aged(&clock);
    for number in 0..6 {
        orders.append(&format!("order at minute {}", number * 15)).unwrap();
        if number < 5 {
            clock.advance(HOUR / 4);
        }
    }
    eventually("the first has gone", || extent(&orders, 0).0 > 0);
    let expired_by = |minutes: u64| (minutes.saturating_sub(60)).div_ceil(15);
    assert!(extent(&orders, 0).0 <= expired_by(75) + 1, "{:?}", extent(&orders, 0));
    let newest = texts(&orders, 0);
    assert!(newest.len() >= 4 && newest.last().unwrap() == "order at minute 75", "{newest:?}");
    clock.advance(HOUR * 2);
    eventually("all have gone", || extent(&orders, 0) == (6, 6));
    assert_eq!(orders.append("order at minute 195").unwrap().offset, 6);
    assert_eq!(texts(&orders, 0), ["order at minute 195"]);
}

#[test]
fn a_step_of_the_wall_clock_that_boot_time_does_not_confirm_lets_nothing_go_for_ten_minutes() {
    let clock = ManualClock::starting_at(noon());
    let (db, orders) = aged(&clock);
    orders.append("one blue mug").unwrap();
    clock.step_wall(Timestamp::from_micros(noon().as_micros() + 24 * 3_600_000_000));
    for _ in 0..9 {
        clock.advance(Duration::from_secs(60));
        orders.append("one more").unwrap();
        db.checkpoint().unwrap();
    }
    assert_eq!(extent(&orders, 0), (0, 10));
    let last = read_all(&orders, 0).last().unwrap().timestamp;
    assert!(last.as_micros() <= noon().as_micros() + 10 * 60_000_000, "timestamps go on at the pace of boot time");
    for _ in 0..3 {
        clock.advance(Duration::from_secs(60));
        orders.append("one more").unwrap();
    }
    eventually("the step is believed after ten minutes", || extent(&orders, 0).0 >= 10);
}

#[test]
fn retention_by_count_keeps_exactly_the_newest() {
    let (_db, orders) = stream(StreamOptions::new().partitions(2).retention_records(7));
    for number in 0..20 {
        let body = format!("order {number}");
        let options = AppendOptions::new().partition(0).level(Level::Buffered);
        orders.append_with(Record::new(body.as_bytes()), &options).unwrap();
    }
    orders.append_with(Record::new(b"alone"), &AppendOptions::new().partition(1)).unwrap();
    eventually("7 are kept", || extent(&orders, 0) == (13, 20));
    assert_eq!(texts(&orders, 0), (13..20).map(|number| format!("order {number}")).collect::<Vec<_>>());
    assert_eq!(texts(&orders, 1), ["alone"], "partitions are counted apart");
}

#[test]
fn retention_by_count_cuts_within_a_batch() {
    let (_db, orders) = stream(StreamOptions::new().retention_records(3));
    let bodies: Vec<String> = (0..10).map(|number| format!("order {number}")).collect();
    let batch: Vec<Record<'_>> = bodies.iter().map(|body| Record::new(body.as_bytes())).collect();
    orders.append_batch(&batch, &AppendOptions::new()).unwrap();
    eventually("3 are kept", || extent(&orders, 0) == (7, 10));
    assert_eq!(texts(&orders, 0), bodies[7..]);
}

#[test]
fn retention_by_bytes_keeps_the_newest_that_fit() {
    let (_db, orders) = stream(StreamOptions::new().retention_bytes(1000));
    for _ in 0..25 {
        orders.append(Record::new(&[b'x'; 90]).key(b"customer-7")).unwrap();
    }
    eventually("10 of 100 bytes are kept", || extent(&orders, 0) == (15, 25));
    assert_eq!(orders.describe().unwrap().partitions[0].bytes, 1000);
    orders.append(&[b'y'; 950]).unwrap();
    eventually("only the large one fits", || extent(&orders, 0) == (25, 26));
}

#[test]
fn a_trim_moves_the_start_exactly_and_survives_reopening() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    let records: Vec<Record<'_>> = vec![Record::new(b"a mug"); 20];
    for partition in 0..2 {
        orders.append_batch(&records, &AppendOptions::new().partition(partition)).unwrap();
    }
    orders.trim_before(0, 13).unwrap();
    assert_eq!((extent(&orders, 0), extent(&orders, 1)), ((13, 20), (0, 20)));
    orders.trim_before(0, 5).unwrap();
    assert_eq!(extent(&orders, 0), (13, 20), "it never goes back");
    assert_eq!(orders.describe().unwrap().partitions[0].bytes, 7 * 5);
    drop(orders);
    db.close().unwrap();
    let db = place.open();
    let orders = db.stream("orders").unwrap();
    assert_eq!((extent(&orders, 0), extent(&orders, 1)), ((13, 20), (0, 20)));
    assert_eq!(read_all(&orders, 0)[0].offset, 13);
    orders.trim_before(0, u64::MAX).unwrap();
    assert_eq!(extent(&orders, 0), (20, 20), "beyond the end lets everything go");
    assert_eq!(orders.append_with(Record::new(b"a"), &AppendOptions::new().partition(0)).unwrap().offset, 20);
}

/// Appends `bytes` of noise in records of 16 KiB, and each 100th record a short one to `beside`.
fn pour(orders: &Stream, beside: Option<&Stream>, bytes: u64) {
    let body = noise(bytes, 1 << 14);
    let buffered = AppendOptions::new().level(Level::Buffered);
    for number in 0..bytes >> 14 {
        orders.append_with(Record::new(&body), &buffered).unwrap();
        if let Some(beside) = beside.filter(|_| number % 100 == 0) {
            beside.append_with(Record::new(&noise(number, 100)), &buffered).unwrap();
        }
    }
}

#[test]
fn the_disk_follows_retention() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new().retention_bytes(8 * MIB)).unwrap();
    let mut most = 0;
    for _ in 0..20 {
        pour(&orders, None, 20 * MIB);
        most = most.max(disk_bytes(&place.data()));
    }
    // Twice what lives, the journal's budget, and what an empty database takes.
    let bound = (2 * 8 + 256 + 32) * MIB;
    assert!(most <= bound, "{} MiB on disk while 400 MiB went through a retention of 8", most / MIB);
    eventually("the disk follows within a few segments", || {
        db.checkpoint().unwrap();
        disk_bytes(&place.data()) <= (8 + 64) * MIB
    });
    eventually("the last records beyond the limit go", || extent(&orders, 0) == (400 * 64 - 512, 400 * 64));
    assert_eq!(read_all(&orders, 0).len(), 512);
}

#[test]
fn a_deleted_stream_gives_its_space_back() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    let audit = db.create_stream("audit", StreamOptions::new()).unwrap();
    audit.append("login of carol").unwrap();
    pour(&orders, None, 64 * MIB);
    assert!(disk_bytes(&place.data()) >= 64 * MIB);
    db.delete_stream("orders").unwrap();
    audit.append("orders deleted by carol").unwrap();
    eventually("the space is given back", || {
        db.checkpoint().unwrap();
        disk_bytes(&place.data()) <= 64 * MIB
    });
    assert_eq!(texts(&audit, 0), ["login of carol", "orders deleted by carol"]);
}

#[test]
fn a_stream_that_keeps_longer_survives_cleaning_byte_for_byte() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new().retention_bytes(4 * MIB)).unwrap();
    let audit = db.create_stream("audit", StreamOptions::new()).unwrap();
    pour(&orders, Some(&audit), 320 * MIB);
    let before = read_all(&audit, 0);
    assert_eq!(before.len(), (320 * 64_usize).div_ceil(100));
    eventually("segments are cleaned", || {
        db.checkpoint().unwrap();
        db.stats().unwrap().cleaned_segments > 0
    });
    let stats = db.stats().unwrap();
    assert!(stats.stored_bytes <= 2 * stats.live_bytes + 256 * MIB, "{stats:?}");
    let expected: Vec<Vec<u8>> = (0..before.len() as u64).map(|number| noise(number * 100, 100)).collect();
    assert!(before.iter().map(|kept| kept.body.as_ref().unwrap()).eq(&expected));
    let told = |kept: &crate::place::Kept| (kept.offset, kept.timestamp, kept.body.clone());
    let before: Vec<_> = before.iter().map(told).collect();
    assert!(read_all(&audit, 0).iter().map(told).eq(before.iter().cloned()));
    drop((orders, audit));
    db.close().unwrap();
    let report = place.check();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let db = place.open();
    let audit = db.stream("audit").unwrap();
    assert!(read_all(&audit, 0).iter().map(told).eq(before));
}
