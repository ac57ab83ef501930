//! Creating, changing, listing and deleting streams.

use std::time::Duration;

use towpath::{AppendOptions, Error, Level, Record, Start, StreamOptions};

use crate::opening::{database, stream};
use crate::place::{Place, extent, texts};

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[test]
fn creating_what_exists_with_equal_options_changes_nothing() {
    let (db, orders) = stream(StreamOptions::new().partitions(3).retention_records(1000));
    orders.append("one blue mug").unwrap();
    let again = db.create_stream("orders", StreamOptions::new().partitions(3).retention_records(1000)).unwrap();
    assert_eq!(again.describe().unwrap(), orders.describe().unwrap());
    let ensured = db.ensure_stream("orders", StreamOptions::new().partitions(3).retention_records(1000)).unwrap();
    assert_eq!(ensured.describe().unwrap(), orders.describe().unwrap());
}

#[test]
fn creating_what_exists_with_other_options_lists_every_difference_and_changes_nothing() {
    let (db, orders) = stream(StreamOptions::new().partitions(3).retention_age(WEEK));
    let before = orders.describe().unwrap();
    let other = StreamOptions::new().partitions(4).retention_bytes(1 << 20).level(Level::Buffered);
    let Err(Error::Mismatch { kind, name, differences }) = db.create_stream("orders", other) else {
        panic!("other options were taken");
    };
    assert_eq!((kind, name.as_str()), ("stream", "orders"));
    assert_eq!(differences.len(), 4, "partitions, age, bytes and level differ: {differences:?}");
    assert_eq!(orders.describe().unwrap(), before);
}

#[test]
fn ensure_creates_what_is_missing() {
    let db = database();
    let orders = db.ensure_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    assert_eq!(orders.partitions(), 2);
    assert_eq!(orders.append("one blue mug").unwrap().offset, 0);
}

#[test]
fn ensure_applies_what_may_change_and_keeps_the_records() {
    let place = Place::new();
    let wanted = StreamOptions::new().partitions(2).retention_age(WEEK).retention_records(50).level(Level::Buffered);
    {
        let db = place.open();
        let orders = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
        let to = AppendOptions::new().partition(0);
        orders.append_with(Record::new(b"one blue mug"), &to).unwrap();
        let ensured = db.ensure_stream("orders", wanted.clone()).unwrap();
        assert_eq!(ensured.describe().unwrap().options, wanted);
        let appended = ensured.append_with(Record::new(b"two green plates"), &to).unwrap();
        assert_eq!(appended.receipt.level, Level::Buffered);
        assert_eq!(texts(&ensured, 0), ["one blue mug", "two green plates"]);
        db.close().unwrap();
    }
    let db = place.open();
    assert_eq!(db.stream("orders").unwrap().describe().unwrap().options, wanted, "the change was durable");
}

#[test]
fn another_level_reaches_handles_that_exist() {
    let (db, orders) = stream(StreamOptions::new());
    let level = |named: AppendOptions| {
        let alone = orders.append_with(Record::new(b"a mug"), &named).unwrap().receipt.level;
        let batch = orders.append_batch(&[Record::new(b"a mug")], &named).unwrap().receipt.level;
        let ticket = orders.submit(Record::new(b"a mug"), &named).unwrap().wait().unwrap().receipt.level;
        assert_eq!((alone, alone), (batch, ticket));
        alone
    };
    assert_eq!(level(AppendOptions::new()), Level::Sync, "the database's");
    db.ensure_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    assert_eq!(level(AppendOptions::new()), Level::Buffered);
    assert_eq!(level(AppendOptions::new().level(Level::Sync)), Level::Sync);
    db.ensure_stream("orders", StreamOptions::new().level(Level::Sync)).unwrap();
    assert_eq!(level(AppendOptions::new()), Level::Sync);
    let appended = orders.append("a plate").unwrap();
    assert!(db.stats().unwrap().durable_lsn > appended.lsn().get(), "the level is not only told");
}

#[test]
fn ensure_refuses_another_number_of_partitions_and_changes_nothing() {
    let (db, orders) = stream(StreamOptions::new().partitions(2));
    let before = orders.describe().unwrap();
    let refused = db.ensure_stream("orders", StreamOptions::new().partitions(3).retention_records(5));
    let Err(Error::Mismatch { differences, .. }) = refused else { panic!("{refused:?}") };
    assert!(differences.iter().any(|difference| difference.contains("partitions")), "{differences:?}");
    assert_eq!(orders.describe().unwrap(), before, "retention was not changed either");
}

#[test]
fn a_tightened_retention_holds_for_what_is_there() {
    let (db, orders) = stream(StreamOptions::new());
    for order in ["one blue mug", "two green plates", "three forks"] {
        orders.append(order).unwrap();
    }
    db.ensure_stream("orders", StreamOptions::new().retention_records(1)).unwrap();
    crate::place::eventually("the two older records go", || extent(&orders, 0) == (2, 3));
    assert_eq!(texts(&orders, 0), ["three forks"]);
}

#[test]
fn a_stream_that_was_not_created_is_not_found() {
    let db = database();
    let Err(Error::NotFound { kind, name }) = db.stream("orders") else { panic!("found") };
    assert_eq!((kind, name.as_str()), ("stream", "orders"));
    assert!(matches!(db.delete_stream("orders"), Err(Error::NotFound { .. })));
}

#[test]
fn streams_are_listed_by_name_with_what_they_hold() {
    let db = database();
    assert!(db.streams().unwrap().is_empty());
    for name in ["payments", "audit", "orders"] {
        db.create_stream(name, StreamOptions::new().partitions(2)).unwrap();
    }
    db.stream("audit").unwrap().append("login of carol").unwrap();
    let listed = db.streams().unwrap();
    let names: Vec<&str> = listed.iter().map(|described| described.name.as_str()).collect();
    assert_eq!(names, ["audit", "orders", "payments"]);
    assert_eq!(listed[0].partitions.iter().map(|p| p.end_offset).sum::<u64>(), 1);
    assert_eq!(listed[1].options.get_partitions(), 2);
}

#[test]
fn a_description_tells_bytes_of_keys_headers_and_bodies_and_the_newest_time() {
    let (_db, orders) = stream(StreamOptions::new());
    let empty = orders.describe().unwrap().partitions[0];
    assert_eq!((empty.bytes, empty.last_timestamp), (0, None));
    orders.append(towpath::Record::new(b"one blue mug").key(b"customer-7")).unwrap();
    let described = orders.describe().unwrap().partitions[0];
    assert_eq!(described.bytes, 12 + 10);
    let seen = crate::place::read_all(&orders, 0);
    assert_eq!(described.last_timestamp, Some(seen[0].timestamp));
}

#[test]
fn a_deleted_stream_is_gone_for_its_handles_and_its_readers() {
    let (db, orders) = stream(StreamOptions::new());
    orders.append("one blue mug").unwrap();
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    db.delete_stream("orders").unwrap();
    assert!(matches!(orders.append("two green plates"), Err(Error::NotFound { .. })));
    assert!(matches!(orders.describe(), Err(Error::NotFound { .. })));
    assert!(matches!(orders.trim_before(0, 1), Err(Error::NotFound { .. })));
    assert!(matches!(orders.reader(0, Start::Earliest), Err(Error::NotFound { .. })));
    assert!(matches!(reader.try_receive(10), Err(Error::NotFound { .. })));
    assert!(matches!(db.stream("orders"), Err(Error::NotFound { .. })));
    assert!(db.streams().unwrap().is_empty());
}

#[test]
fn a_name_used_again_after_a_delete_begins_anew() {
    let place = Place::new();
    {
        let db = place.open();
        let old = db.create_stream("orders", StreamOptions::new()).unwrap();
        old.append("one blue mug").unwrap();
        db.delete_stream("orders").unwrap();
        let new = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
        assert!(texts(&new, 0).is_empty());
        assert_eq!(new.append(towpath::Record::new(b"two green plates").key(b"a")).unwrap().offset, 0);
        assert!(matches!(old.append("three forks"), Err(Error::NotFound { .. })), "the old handle means the old one");
        db.close().unwrap();
    }
    let db = place.open();
    let held: Vec<String> = (0..2).flat_map(|p| texts(&db.stream("orders").unwrap(), p)).collect();
    assert_eq!(held, ["two green plates"]);
}

#[test]
fn names_have_1_to_255_bytes_of_utf_8_without_control_characters_or_a_leading_dollar() {
    let db = database();
    let long = "ü".repeat(127) + "x";
    for name in ["o", "orders.eu-west/2026", "Aufträge 注文 📦", "a$b", " ", long.as_str()] {
        db.create_stream(name, StreamOptions::new()).unwrap();
        assert_eq!(db.stream(name).unwrap().name(), name);
    }
    for name in ["", "$orders", "orders\n", "or\0ders", "or\u{7f}ders", "or\u{85}ders"] {
        let refused = db.create_stream(name, StreamOptions::new());
        assert!(matches!(refused, Err(Error::InvalidName { .. })), "{name:?}: {refused:?}");
    }
    let refused = db.create_stream(&"x".repeat(256), StreamOptions::new());
    assert!(matches!(refused, Err(Error::LimitExceeded { max: 255, actual: 256, .. })), "{refused:?}");
    assert_eq!(db.streams().unwrap().len(), 6);
}

#[test]
fn a_stream_needs_at_least_one_partition() {
    let db = database();
    let refused = db.create_stream("orders", StreamOptions::new().partitions(0));
    assert!(matches!(refused, Err(Error::InvalidOption { .. })), "{refused:?}");
    assert!(db.streams().unwrap().is_empty());
}

#[test]
fn a_closed_database_answers_closed() {
    let (db, orders) = stream(StreamOptions::new());
    let other = db.clone();
    let mut reader = orders.reader(0, Start::Earliest).unwrap();
    db.close().unwrap();
    assert!(matches!(orders.append("one blue mug"), Err(Error::Closed)));
    assert!(matches!(reader.try_receive(1), Err(Error::Closed)));
    assert!(matches!(other.stream("orders"), Err(Error::Closed)));
    assert!(matches!(other.streams(), Err(Error::Closed)));
    assert!(matches!(other.stats(), Err(Error::Closed)));
    assert!(matches!(other.sync(), Err(Error::Closed)));
    assert!(matches!(other.checkpoint(), Err(Error::Closed)));
}
