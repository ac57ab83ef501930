//! Offsets, batches, partitions, expectations and timestamps.

use std::time::Duration;

use towpath::{AppendOptions, Database, Error, Level, ManualClock, Options, Record, StreamOptions, Timestamp};

use crate::opening::{database, database_with, refusal_of, stream};
use crate::place::{Kept, Place, extent, read_all, texts};

fn to(partition: u32) -> AppendOptions {
    AppendOptions::new().partition(partition)
}

#[test]
fn offsets_of_a_partition_are_dense_from_zero() {
    let (_db, orders) = stream(StreamOptions::new().partitions(2));
    for number in 0..50 {
        for partition in 0..2 {
            let body = format!("order {number} of {partition}");
            let level = if number % 2 == 0 { Level::Buffered } else { Level::Sync };
            let appended = orders.append_with(Record::new(body.as_bytes()), &to(partition).level(level)).unwrap();
            assert_eq!((appended.partition, appended.offset), (partition, number));
        }
    }
    for partition in 0..2 {
        let kept = read_all(&orders, partition);
        assert_eq!(kept.iter().map(|k| k.offset).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
        assert_eq!(kept[17].text(), format!("order 17 of {partition}"));
    }
}

#[test]
fn offsets_stay_dense_when_many_threads_append() {
    let (_db, orders) = stream(StreamOptions::new());
    let mut offsets: Vec<u64> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..8)
            .map(|writer| {
                let orders = &orders;
                scope.spawn(move || {
                    let append = |n: u32| orders.append(&format!("{writer} {n}")).unwrap().offset;
                    let offsets: Vec<u64> = (0..40).map(append).collect();
                    assert!(offsets.is_sorted(), "a later append of one thread has the greater offset");
                    offsets
                })
            })
            .collect();
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
    });
    offsets.sort_unstable();
    assert_eq!(offsets, (0..320).collect::<Vec<_>>());
    let texts = texts(&orders, 0);
    for writer in 0..8 {
        let prefix = format!("{writer} ");
        let own: Vec<&str> = texts.iter().filter_map(|text| text.strip_prefix(&prefix)).collect();
        assert_eq!(own, (0..40).map(|n| n.to_string()).collect::<Vec<_>>());
    }
}

#[test]
fn offsets_are_never_renumbered() {
    let place = Place::new();
    let db = place.open();
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    for order in ["one blue mug", "two green plates", "three forks"] {
        orders.append(order).unwrap();
    }
    orders.trim_before(0, 2).unwrap();
    let before = read_all(&orders, 0);
    assert_eq!(before[0].offset, 2);
    drop(orders);
    db.close().unwrap();
    let db = place.open();
    let orders = db.stream("orders").unwrap();
    assert_eq!(read_all(&orders, 0), before);
    orders.trim_before(0, 3).unwrap();
    assert_eq!(orders.append("four spoons").unwrap().offset, 3, "also when none is left");
}

#[test]
fn a_batch_is_contiguous_in_each_of_its_partitions() {
    let (_db, orders) = stream(StreamOptions::new().partitions(4));
    for partition in 0..4 {
        orders.append_with(Record::new(b"earlier"), &to(partition)).unwrap();
    }
    let keys: Vec<String> = (0..40).map(|n| format!("customer-{n}")).collect();
    let batch: Vec<Record<'_>> = keys.iter().map(|key| Record::new(key.as_bytes()).key(key.as_bytes())).collect();
    let appended = orders.append_batch(&batch, &AppendOptions::new()).unwrap();
    assert_eq!(appended.partitions.iter().map(|range| range.records).sum::<u32>(), 40);
    for range in &appended.partitions {
        assert_eq!(range.first_offset, 1);
        let expected: Vec<&String> =
            keys.iter().filter(|key| orders.partition_of(key.as_bytes()) == range.partition).collect();
        assert_eq!(expected.len(), range.records as usize);
        let kept = read_all(&orders, range.partition);
        assert_eq!(
            kept[1..].iter().map(Kept::text).collect::<Vec<_>>(),
            expected.into_iter().cloned().collect::<Vec<_>>()
        );
        assert!(kept[1..].iter().all(|record| record.lsn == appended.receipt.lsn), "one batch, one address");
    }
}

#[test]
fn batches_of_many_threads_do_not_mix() {
    let (_db, orders) = stream(StreamOptions::new());
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let orders = &orders;
            scope.spawn(move || {
                for number in 0..25 {
                    let bodies: Vec<String> = (0..10).map(|n| format!("{writer} {number} {n}")).collect();
                    let batch: Vec<Record<'_>> = bodies.iter().map(|body| Record::new(body.as_bytes())).collect();
                    let appended = orders.append_batch(&batch, &AppendOptions::new().level(Level::Buffered)).unwrap();
                    assert_eq!(appended.partitions.len(), 1);
                }
            });
        }
    });
    let texts = texts(&orders, 0);
    assert_eq!(texts.len(), 1000);
    for batch in texts.chunks(10) {
        let head = batch[0].strip_suffix(" 0").unwrap();
        assert_eq!(batch, (0..10).map(|n| format!("{head} {n}")).collect::<Vec<_>>());
    }
}

#[test]
fn a_key_goes_to_the_partition_that_kafkas_clients_compute() {
    let vectors: [(&str, i32); 6] = [
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];
    let db = database();
    for partitions in [1, 2, 7, 12, 100] {
        let orders = db.create_stream(&format!("orders-{partitions}"), StreamOptions::new().partitions(partitions));
        let orders = orders.unwrap();
        for (key, hash) in vectors {
            let partition = (hash as u32 & 0x7fff_ffff) % partitions;
            assert_eq!(orders.partition_of(key.as_bytes()), partition, "{key} of {partitions}");
            let record = Record::new(b"a mug").key(key.as_bytes());
            let appended = orders.append_with(record, &AppendOptions::new().level(Level::Buffered)).unwrap();
            assert_eq!(appended.partition, partition, "{key} of {partitions}");
        }
    }
}

#[test]
fn an_empty_key_is_a_key() {
    let (_db, orders) = stream(StreamOptions::new().partitions(5));
    let appended = orders.append(Record::new(b"a mug").key(b"")).unwrap();
    assert_eq!(appended.partition, orders.partition_of(b""));
    assert_eq!(read_all(&orders, appended.partition)[0].key, Some(Vec::new()));
}

#[test]
fn records_of_a_batch_without_keys_stay_together() {
    let (_db, orders) = stream(StreamOptions::new().partitions(8));
    for number in 0..20 {
        let body = vec![b'x'; 3000];
        let appended = orders.append_batch(&vec![Record::new(&body); 7], &AppendOptions::new()).unwrap();
        assert_eq!(appended.partitions.len(), 1, "batch {number}");
        assert_eq!(appended.partitions[0].records, 7);
    }
}

#[test]
fn a_batch_whose_records_all_have_keys_moves_no_other_on() {
    let (_db, orders) = stream(StreamOptions::new().partitions(5));
    let keyless = |body: &'static [u8]| orders.append_batch(&[Record::new(body)], &AppendOptions::new()).unwrap();
    let before = keyless(b"a mug").partitions[0].partition;
    for _ in 0..3 {
        orders.append_batch(&[Record::new(b"a plate").key(b"customer-7")], &AppendOptions::new()).unwrap();
        orders.append_batch(&[Record::new(b"a plate")], &AppendOptions::new().partition(2)).unwrap();
    }
    assert_eq!(keyless(b"a fork").partitions[0].partition, (before + 1) % 5);
}

#[test]
fn handles_that_append_once_spread_their_records() {
    let place = Place::new();
    let mut db = place.open();
    db.create_stream("orders", StreamOptions::new().partitions(4)).unwrap();
    for _ in 0..60 {
        db.stream("orders").unwrap().append("a mug").unwrap();
    }
    let ends = |db: &Database| [0, 1, 2, 3].map(|partition| extent(&db.stream("orders").unwrap(), partition).1);
    let before = ends(&db);
    assert!(before.iter().all(|&records| records >= 10), "{before:?}");
    for _ in 0..12 {
        db.close().unwrap();
        db = place.open();
        db.stream("orders").unwrap().append("a plate").unwrap();
    }
    let grown = ends(&db).iter().zip(before).filter(|(after, before)| *after > before).count();
    assert!(grown > 1, "a program that appends once and ends always meets the same partition");
}

#[test]
fn records_without_keys_reach_every_partition_in_time() {
    let (_db, orders) = stream(StreamOptions::new().partitions(4).level(Level::Buffered));
    let body = vec![b'x'; 1000];
    for _ in 0..400 {
        orders.append(&body).unwrap();
    }
    for partition in 0..4 {
        let (_, end) = extent(&orders, partition);
        assert!(end >= 50, "partition {partition} got {end} of 400");
    }
}

#[test]
fn an_explicit_partition_overrides_the_key() {
    let (_db, orders) = stream(StreamOptions::new().partitions(4));
    let elsewhere = (orders.partition_of(b"customer-7") + 1) % 4;
    let appended = orders.append_with(Record::new(b"a mug").key(b"customer-7"), &to(elsewhere)).unwrap();
    assert_eq!(appended.partition, elsewhere);
    let batch = [Record::new(b"a plate").key(b"customer-7"), Record::new(b"a fork").key(b"customer-8")];
    let appended = orders.append_batch(&batch, &to(elsewhere)).unwrap();
    assert_eq!((appended.partitions.len(), appended.partitions[0].partition), (1, elsewhere));
    assert_eq!(texts(&orders, elsewhere), ["a mug", "a plate", "a fork"]);
}

#[test]
fn a_partition_that_does_not_exist_is_refused() {
    let (_db, orders) = stream(StreamOptions::new().partitions(2));
    let refused = orders.append_with(Record::new(b"a mug"), &to(2));
    assert!(matches!(refused, Err(Error::InvalidOption { option: "partition", .. })), "{refused:?}");
    assert!(matches!(orders.append_batch(&[Record::new(b"a")], &to(2)), Err(Error::InvalidOption { .. })));
    assert!(matches!(orders.reader(2, towpath::Start::Earliest), Err(Error::InvalidOption { .. })));
    assert!(matches!(orders.trim_before(2, 0), Err(Error::InvalidOption { .. })));
    assert_eq!((extent(&orders, 0), extent(&orders, 1)), ((0, 0), (0, 0)));
}

#[test]
fn an_expected_offset_that_is_not_the_end_stores_nothing() {
    let (_db, orders) = stream(StreamOptions::new());
    let expect = |offset| to(0).expect_offset(offset);
    assert_eq!(orders.append_with(Record::new(b"one blue mug"), &expect(0)).unwrap().offset, 0);
    for wrong in [0, 2, u64::MAX] {
        match orders.append_with(Record::new(b"two green plates"), &expect(wrong)) {
            Err(Error::WrongOffset { stream, partition, expected, end }) => {
                assert_eq!((stream.as_str(), partition, expected, end), ("orders", 0, wrong, 1));
            }
            other => panic!("{other:?}"),
        }
        let refused = orders.append_batch(&[Record::new(b"a"), Record::new(b"b")], &expect(wrong));
        assert!(matches!(refused, Err(Error::WrongOffset { end: 1, .. })), "{refused:?}");
        let refused = refusal_of(orders.submit(Record::new(b"a"), &expect(wrong)));
        assert!(matches!(refused, Error::WrongOffset { end: 1, .. }), "{refused:?}");
    }
    orders.append_batch(&[Record::new(b"two green plates"), Record::new(b"three forks")], &expect(1)).unwrap();
    assert_eq!(texts(&orders, 0), ["one blue mug", "two green plates", "three forks"]);
}

#[test]
fn the_expected_offset_is_of_the_partition_of_the_key() {
    let (_db, orders) = stream(StreamOptions::new().partitions(4));
    let first = orders.append(Record::new(b"one blue mug").key(b"customer-7")).unwrap();
    let record = Record::new(b"two green plates").key(b"customer-7");
    let refused = orders.append_with(record, &AppendOptions::new().expect_offset(0));
    assert!(matches!(refused, Err(Error::WrongOffset { partition, .. }) if partition == first.partition));
    assert_eq!(orders.append_with(record, &AppendOptions::new().expect_offset(1)).unwrap().offset, 1);
}

#[test]
fn of_writers_that_expect_the_same_offset_one_wins() {
    let (_db, orders) = stream(StreamOptions::new().level(Level::Buffered));
    for round in 0..50 {
        let won: usize = std::thread::scope(|scope| {
            let race = |writer: u32| {
                let orders = &orders;
                scope.spawn(move || {
                    let body = format!("{round} {writer}");
                    match orders.append_with(Record::new(body.as_bytes()), &to(0).expect_offset(round)) {
                        Ok(_) => 1,
                        Err(Error::WrongOffset { end, .. }) if end > round => 0,
                        Err(other) => panic!("{other:?}"),
                    }
                })
            };
            [race(0), race(1), race(2)].map(|writer| writer.join().unwrap()).iter().sum()
        });
        assert_eq!(won, 1);
    }
    assert_eq!(extent(&orders, 0), (0, 50));
}

#[test]
fn an_expected_offset_needs_all_records_in_one_partition() {
    let (_db, orders) = stream(StreamOptions::new().partitions(2));
    let keys: Vec<String> = (0..20).map(|n| format!("customer-{n}")).collect();
    let batch: Vec<Record<'_>> = keys.iter().map(|key| Record::new(b"a mug").key(key.as_bytes())).collect();
    let refused = orders.append_batch(&batch, &AppendOptions::new().expect_offset(0));
    assert!(matches!(refused, Err(Error::InvalidOption { option: "expect_offset", .. })), "{refused:?}");
    assert_eq!((extent(&orders, 0), extent(&orders, 1)), ((0, 0), (0, 0)));
}

#[test]
fn timestamps_of_a_partition_never_decrease() {
    let noon = Timestamp::from_micros(1_790_000_000_000_000);
    let clock = ManualClock::starting_at(noon);
    let db = database_with(Options::temporary().clock(clock.clone()));
    let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
    orders.append("one blue mug").unwrap();
    clock.step_wall(Timestamp::from_micros(noon.as_micros() - 3_000_000));
    orders.append("two green plates").unwrap();
    clock.advance(Duration::from_secs(2));
    orders.append("three forks").unwrap();
    clock.advance(Duration::from_secs(2));
    orders.append("four spoons").unwrap();
    let times: Vec<u64> = read_all(&orders, 0).iter().map(|kept| kept.timestamp.as_micros()).collect();
    let noon = noon.as_micros();
    assert_eq!(times, [noon, noon, noon, noon + 1_000_000], "a backward step freezes the clock");
}

#[test]
fn timestamps_do_not_decrease_over_a_restart_with_the_clock_set_back() {
    let place = Place::new();
    let noon = Timestamp::from_micros(1_790_000_000_000_000);
    for (run, wall) in [noon, Timestamp::from_micros(noon.as_micros() - 7_200_000_000)].into_iter().enumerate() {
        let db = place.open_with(Options::temporary().clock(ManualClock::starting_at(wall)));
        let orders = db.create_stream("orders", StreamOptions::new()).unwrap();
        orders.append(&format!("order of run {run}")).unwrap();
        let kept = read_all(&orders, 0);
        assert!(kept.iter().all(|record| record.timestamp >= noon), "run {run}: {kept:?}");
        db.close().unwrap();
    }
}

#[test]
fn the_level_is_the_calls_else_the_streams_else_the_databases() {
    let db = database_with(Options::temporary().level(Level::Buffered));
    let plain = db.create_stream("plain", StreamOptions::new()).unwrap();
    let strict = db.create_stream("strict", StreamOptions::new().level(Level::Sync)).unwrap();
    assert_eq!(plain.append("a").unwrap().receipt.level, Level::Buffered);
    assert_eq!(strict.append("a").unwrap().receipt.level, Level::Sync);
    let buffered = AppendOptions::new().level(Level::Buffered);
    assert_eq!(strict.append_with(Record::new(b"a"), &buffered).unwrap().receipt.level, Level::Buffered);
    assert_eq!(strict.append_batch(&[Record::new(b"a")], &buffered).unwrap().receipt.level, Level::Buffered);
    let (_db, orders) = stream(StreamOptions::new());
    assert_eq!(orders.append("a").unwrap().receipt.level, Level::Sync, "Sync unless told otherwise");
}

#[test]
fn a_sync_append_returns_when_its_record_is_durable() {
    let (db, orders) = stream(StreamOptions::new());
    for _ in 0..20 {
        let appended = orders.append("one blue mug").unwrap();
        assert!(db.stats().unwrap().durable_lsn > appended.lsn().get());
    }
}

#[test]
fn sync_makes_everything_before_it_durable() {
    let db = database_with(Options::temporary().flush_interval(Duration::from_secs(3600)));
    let orders = db.create_stream("orders", StreamOptions::new().level(Level::Buffered)).unwrap();
    let appended: Vec<_> = (0..100).map(|n| orders.append(&format!("order {n}")).unwrap()).collect();
    let last = appended[99];
    assert!(db.stats().unwrap().durable_lsn <= last.lsn().get(), "nobody has asked for a sync");
    db.sync().unwrap();
    assert!(db.stats().unwrap().durable_lsn > last.lsn().get());
}

#[test]
fn addresses_order_all_writes_of_the_database() {
    let db = database();
    let orders = db.create_stream("orders", StreamOptions::new().partitions(2)).unwrap();
    let audit = db.create_stream("audit", StreamOptions::new()).unwrap();
    let mut last = 0;
    for number in 0..20 {
        let appended = match number % 3 {
            0 => audit.append("login of carol").unwrap(),
            n => orders.append_with(Record::new(b"one blue mug"), &to(n - 1)).unwrap(),
        };
        assert!(appended.lsn().get() > last);
        last = appended.lsn().get();
    }
}
